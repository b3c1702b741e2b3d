"""Put a finished run into the package, as a pipeline that `cocosnet_hf.bundled` opens.

    python train/bundle.py out/edge-to-face edge-to-face --evaluation evaluation --log run.log

The half precision weights go to cocosnet_hf/assets/NAME, with a card: the recipe, the terms of its
data, the figures of an evaluation folder, and a strip painted from NAME/examples, whose files must
be free to show. --log keeps the run's validation lines beside them.
"""

import argparse
import dataclasses
import re
import shutil
import sys
from pathlib import Path

if __package__ in (None, ""):  # started as a file, whose folder is then searched for modules
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from huggingface_hub import EvalResult

from cocosnet_hf.__main__ import main as paint
from cocosnet_hf.bundled import ASSETS, bundled
from cocosnet_hf.evaluation.results import Evaluation, eval_results
from cocosnet_hf.hub import CardDetails, write_card

RECIPES = Path(__file__).parent / "configs"

FACES = CardDetails(
    license="other",
    license_name="celebamask-hq-non-commercial-research",
    license_link="https://github.com/switchablenorms/CelebAMask-HQ",
    data="860 of 900 CelebA-HQ photos with the label maps of CelebAMask-HQ, which are for "
    "non-commercial research; so are these weights. None of the photos is shown here: `layout.jpg` "
    "is NASA's portrait of Eileen Collins, in the public domain, and `exemplar.jpg` was painted by "
    "this model.",
    limits="- Trained for 50 minutes on two CPU cores: soft, with ripples along dense lines, and "
    "best at 128 px.\n- Faces like those of CelebA-HQ, from the front and cut out alike: eyes a "
    "little above the middle, a quarter of the width apart.",
)
CLOTHES = CardDetails(
    license="apache-2.0",
    data="860 of 897 full-body photos of Clothing Co-Parsing (Yang, Luo, Lin, CVPR 2014), "
    "Apache-2.0, cut out on white. `layout.png` is drawn by `demo/draw_figures.py`, `exemplar.png` "
    "was painted by this model.",
    limits="- Trained for an hour on two CPU cores: faces and hands are blurred, plain cloth may "
    "get a faint weave, and it is best at 128 px.\n- One person, standing, from head to feet, as "
    "high as the picture, on a white or plain ground.",
)
POSES = dataclasses.replace(
    CLOTHES,
    data=CLOTHES.data.replace("layout.png", "layout.json")
    + " The joints it learned from were found by MoveNet.",
)
DETAILS = {"edge-to-face": FACES, "pose-to-body": POSES, "mask-to-image": CLOTHES}
"""What the cards say of the data."""

SHOWN = (
    "warp_accuracy",
    "identity_accuracy",
    "foreground_warp_accuracy",
    "foreground_identity_accuracy",
    "SWD",
    "KID",
    "style_colour",
    "style_texture",
    "semantic_consistency",
    "copy_score",
    "edge_F1",
)
"""The metrics that a card shows, by the part of their names before "-"."""


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="output_dir of a finished training")
    parser.add_argument("name", choices=DETAILS)
    parser.add_argument("--evaluation", type=Path, help="folder of python -m cocosnet_hf.evaluate")
    parser.add_argument("--log", type=Path, help="what the training printed")
    options = parser.parse_args(arguments)
    target = ASSETS / options.name
    copy_weights(options.run / "pipeline", target)
    if options.log is not None:
        lines = re.findall(r"^step \d+  validation/.*$", options.log.read_text(), re.MULTILINE)
        (target / "training.txt").write_text("\n".join(lines) + "\n")
    write_bundled_card(options.name, figures(options.evaluation))
    print(target)


def copy_weights(pipeline: Path, target: Path) -> None:
    """The float16 variant of both networks and what says how to open them."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(pipeline / "model_index.json", target / "model_index.json")
    for name in ("correspondence", "translation"):
        (target / name).mkdir(exist_ok=True)
        for file in (pipeline / name / "config.json", *(pipeline / name).glob("*.fp16.*")):
            shutil.copyfile(file, target / name / file.name)


def figures(evaluation: Path | None) -> list[EvalResult]:
    """The figures of the pipeline that a card shows."""
    if evaluation is None:
        return []
    names = {name.lower() for name in SHOWN}
    found = eval_results(Evaluation.load(evaluation))
    return [result for result in found if result.metric_type.partition("-")[0] in names]


def write_bundled_card(name: str, results: list[EvalResult]) -> None:
    """The card, with the strip painted from the examples."""
    target = ASSETS / name
    recipe = (RECIPES / f"{name}.yaml").read_text()
    details = dataclasses.replace(DETAILS[name], recipe=recipe, results=results)
    sources = [
        str(next((target / "examples").glob(f"{stem}.*"))) for stem in ("layout", "exemplar")
    ]
    paint([*sources, "--model", name, "--show", "-o", str(target / "sample.png")])
    write_card(target, bundled(name), name, details)
    card = target / "README.md"
    opening = (
        f'from cocosnet_hf import CoCosPipeline\n\npipe = CoCosPipeline.from_pretrained("{name}")'
    )
    strip = "![condition, exemplar, warped exemplar, picture](sample.png)"
    changes = {
        opening: f'from cocosnet_hf import bundled\n\npipe = bundled("{name}")',
        "## Use it": f"{strip}\n\n## Use it",
    }
    text = card.read_text()
    for old, new in changes.items():
        if old not in text:
            raise ValueError(f"the card's template has changed, expected in it: {old!r}")
        text = text.replace(old, new)
    card.write_text(text)


if __name__ == "__main__":
    main()
