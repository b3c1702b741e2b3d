"""Put a finished run into the package, as a pipeline that `cocosnet_hf.bundled` opens.

    python train/bundle.py mask-to-image --run out/mask-to-image-2 --log runs.log
    python -m cocosnet_hf.evaluate mask-to-image ... -o out/retrieved
    python -m cocosnet_hf.evaluate mask-to-image ... --exemplars random -o out/random
    python train/bundle.py mask-to-image --evaluation out/retrieved --random-evaluation out/random

and likewise edge-to-face and pose-to-body, with the options of each evaluation from the head of its
recipe, train/configs/NAME.yaml. The half precision weights of --run go to cocosnet_hf/assets/NAME;
without it those that are there stay, and must be what was evaluated. --log keeps the run's
validation lines beside them; those of runs that go on from one another are one log. The card has
the recipe, the terms of its data, the figures of the evaluations, a strip painted from
NAME/examples, whose files must be free to show, and what one picture costs on this machine, which
should do nothing else meanwhile.
"""

import argparse
import dataclasses
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # started as a file, whose folder is then searched for modules
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
from huggingface_hub import EvalResult

from cocosnet_hf import CoCosPipeline
from cocosnet_hf.__main__ import main as paint
from cocosnet_hf.benchmark import machine, painting, painting_table
from cocosnet_hf.bundled import ASSETS, bundled
from cocosnet_hf.evaluation.methods import PIPELINE, WARPED
from cocosnet_hf.evaluation.protocol import weights_digest
from cocosnet_hf.evaluation.report import ARROWS, Block, Heading, Table, to_markdown, value_of
from cocosnet_hf.evaluation.results import Evaluation, eval_results, exemplar_choice, kind_of
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
    limits="- Trained for two hours on two CPU cores: soft, with ripples along dense lines, and "
    "best at 128 px.\n- Yellowish green looks come out about 30 degrees of hue too orange.\n"
    "- Faces like those of CelebA-HQ, from the front and cut out alike: eyes a little above the "
    "middle, a quarter of the width apart.",
)
CLOTHES = CardDetails(
    license="apache-2.0",
    data="860 of 897 full-body photos of Clothing Co-Parsing (Yang, Luo, Lin, CVPR 2014), "
    "Apache-2.0, cut out on white. `layout.png` is drawn by `demo/draw_figures.py`, `exemplar.png` "
    "was painted by this model.",
    limits="- Trained for two hours and a half on two CPU cores: faces and hands are soft, plain "
    "cloth may get a faint weave, and it is best at 192 px.\n- One person, standing, from head to "
    "feet, as high as the picture, on a white or plain ground.",
)
POSES = CardDetails(
    license="apache-2.0",
    data="The photos of the bundled `mask-to-image`, from an earlier version of which it started: "
    "860 of 897 full-body photos of Clothing Co-Parsing (Yang, Luo, Lin, CVPR 2014), Apache-2.0, "
    "cut out on white. The joints were found by MoveNet. `layout.json` is drawn by "
    "`demo/draw_figures.py`, `exemplar.png` was painted by that version.",
    limits="- Trained for two and a half hours on two CPU cores: faces, hands and hems are "
    "blurred, plain cloth may get a weave, and it is best at 192 px.\n- A pose does not say what "
    "is worn: a skirt may come out as trousers in its colours.\n- One person, standing, from head "
    "to feet, as high as the picture, on a plain ground, which is kept.",
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

SHOWN_RANDOM = (
    "warp_accuracy",
    "identity_accuracy",
    "foreground_warp_accuracy",
    "foreground_identity_accuracy",
    "SWD",
)
"""Those that it also shows for random exemplars."""

COMPARED = ("SWD", "KID", "style_colour", "style_texture", "semantic_consistency", "edge_F1")
"""Those in which it stands beside its rivals."""

RIVALS = {
    PIPELINE: "this model",
    "style": "without correspondence: a painter of the same size, trained for as many painting "
    "steps, guided by one style vector of the exemplar (`train/style_rival.py`)",
    WARPED: "the exemplar seen through this model's matching, unpainted",
    "exemplar": "the exemplar, pasted unchanged",
}
"""What a card compares, by the name in the evaluation."""

RUNS = 20
"""Calls that the times on a card are medians of."""


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", choices=DETAILS)
    parser.add_argument("--run", type=Path, help="output_dir of a finished training")
    parser.add_argument("--log", type=Path, help="what the training printed")
    parser.add_argument("--evaluation", type=Path, help="folder of python -m cocosnet_hf.evaluate")
    parser.add_argument("--random-evaluation", type=Path, help="the same with --exemplars random")
    options = parser.parse_args(arguments)
    if options.random_evaluation is not None and options.evaluation is None:
        parser.error("--random-evaluation is shown beside an --evaluation, which is not given.")
    if options.run is None and options.evaluation is None:
        parser.error("nothing new to put into the package: give --run, --evaluation or both.")
    target = ASSETS / options.name
    pipeline = target if options.run is None else options.run / "pipeline"
    try:
        if not (pipeline / "model_index.json").is_file():
            raise FileNotFoundError(
                f"--run must be the output_dir of a finished training; there is no pipeline in "
                f"{pipeline}."
            )
        results = figures(options.evaluation, options.random_evaluation)
        compared = comparison(options.evaluation, options.random_evaluation)
        if options.evaluation is not None:
            require_same_weights(options.evaluation, pipeline)
        lines = [] if options.log is None else validation_lines(options.log)
        shown = examples(target)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    if options.run is not None:
        copy_weights(pipeline, target)
    if options.log is not None:
        (target / "training.txt").write_text("\n".join(lines) + "\n")
    write_bundled_card(options.name, results, compared, *shown)
    print(target)


def examples(target: Path) -> tuple[Path, Path]:
    """The condition and the exemplar that a pipeline's card shows. Raises FileNotFoundError."""
    found = []
    for stem in ("layout", "exemplar"):
        files = sorted((target / "examples").glob(f"{stem}.*"))
        if not files:
            raise FileNotFoundError(
                f"the strip of the card is painted from {target / 'examples'}, which lacks "
                f"{stem}.*; put a file there that is free to show."
            )
        found.append(files[0])
    return found[0], found[1]


def validation_lines(log: Path) -> list[str]:
    """What the validations of a training printed. Raises ValueError without any."""
    lines = re.findall(r"^step \d+  validation/.*$", log.read_text(), re.MULTILINE)
    if not lines:
        raise ValueError(
            f"{log} must have lines such as 'step 400  validation/swd 71', what a training prints; "
            "it has none."
        )
    return lines


def require_same_weights(evaluation: Path, pipeline: Path) -> None:
    """Raise ValueError unless the evaluation measured one of the two precisions of a pipeline."""
    made = Evaluation.load(evaluation).made
    dtype = getattr(torch, made["dtype"])
    digests = [
        weights_digest(CoCosPipeline.from_pretrained(pipeline, variant=variant, dtype=dtype))
        for variant in (None, "fp16")
        if variant or any((pipeline / "correspondence").glob("*model.safetensors"))
    ]
    if made["weights"] not in digests:
        raise ValueError(
            f"{evaluation} must measure the weights in {pipeline}, {' or '.join(digests)}, but it "
            f"measured {made['weights']}; evaluate again, with another output folder."
        )


def copy_weights(pipeline: Path, target: Path) -> None:
    """The float16 variant of both networks and what says how to open them."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(pipeline / "model_index.json", target / "model_index.json")
    for name in ("correspondence", "translation"):
        (target / name).mkdir(exist_ok=True)
        for file in (pipeline / name / "config.json", *(pipeline / name).glob("*.fp16.*")):
            shutil.copyfile(file, target / name / file.name)


def figures(evaluation: Path | None, random_evaluation: Path | None) -> list[EvalResult]:
    """The figures of the pipeline that a card shows, those with random exemplars beside the others.

    Raises FileNotFoundError for a folder without figures, ValueError for exemplars that were chosen
    otherwise and for evaluations of two pipelines, or on other data.
    """
    if evaluation is None:
        return []
    retrieved = open_evaluation(evaluation, "retrieved")
    results = shown_results(retrieved, SHOWN)
    if random_evaluation is None:
        return results
    random = open_evaluation(random_evaluation, "random")
    for key in ("weights", "data", "items", "size"):
        if retrieved.made[key] != random.made[key]:
            raise ValueError(
                f"{evaluation} and {random_evaluation} must measure one pipeline on one data set, "
                f"but {key} differs: {retrieved.made[key]} and {random.made[key]}."
            )
    beside = {result.metric_type: result for result in shown_results(random, SHOWN_RANDOM)}
    pairs = ((result, beside.get(result.metric_type)) for result in results)
    return [result for pair in pairs for result in pair if result is not None]


def open_evaluation(folder: Path, choice: str) -> Evaluation:
    """An evaluation whose exemplars were chosen so. Raises as `figures`."""
    evaluation = Evaluation.load(folder)
    if exemplar_choice(evaluation) != choice:
        raise ValueError(
            f"{folder} must be an evaluation with {choice} exemplars, its are "
            f"{evaluation.made['exemplars']}; evaluate with --exemplars "
            f"{'retrieval' if choice == 'retrieved' else choice}."
        )
    return evaluation


def shown_results(evaluation: Evaluation, metrics: Sequence[str]) -> list[EvalResult]:
    """Entries of a card for these metrics."""
    names = {name.lower() for name in metrics}
    results = eval_results(evaluation)
    return [result for result in results if result.metric_type.partition("-")[0] in names]


def comparison(*folders: Path | None) -> str:
    """The section of a card on the model and its rivals, a table for each evaluation.

    Empty without an evaluation in which `COMPARED` metrics were measured.
    """
    blocks: list[Block] = []
    for evaluation in [Evaluation.load(folder) for folder in folders if folder is not None]:
        names = dict.fromkeys(result.metric for result in evaluation.results)
        metrics = [name for name in names if name.partition("-")[0] in COMPARED]
        rows = []
        for method, text in RIVALS.items():
            found = [evaluation.find(method, metric) for metric in metrics]
            if any(found):
                rows.append([text, *("–" if one is None else value_of(one) for one in found)])
        if rows:
            marked = [name + ARROWS[kind_of(name).better] for name in metrics]
            blocks += [
                f"With {exemplar_choice(evaluation)} exemplars:",
                Table(["painted by", *marked], rows),
            ]
    return to_markdown([Heading("Beside others"), *blocks]) + "\n" if blocks else ""


def costs(name: str, condition: Path, exemplar: Path) -> str:
    """The section of a card on time and memory, measured now."""
    target = ASSETS / name
    found = painting(str(target), "fp16", str(condition), str(exemplar), RUNS)
    files = " ".join(str(path.relative_to(target)) for path in (condition, exemplar))
    return (
        "## Time and memory\n\n"
        f"{painting_table(found)}\n\n"
        f"One picture on {machine('cpu')['threads']} CPU cores in float32, without a GPU: medians "
        f"of {RUNS} calls, in seconds from two files to the picture and with a prepared exemplar; "
        "and the peak in MB of a new process that imports the package, opens this pipeline and "
        "paints once. Measured by\n\n"
        "```bash\n"
        f"python -m cocosnet_hf.benchmark --paint {name} {files} --runs {RUNS}\n"
        "```\n\n"
    )


def write_bundled_card(
    name: str, results: list[EvalResult], compared: str, condition: Path, exemplar: Path
) -> None:
    """The card, with the strip painted from the two examples and what a picture costs.

    compared: the section on rivals, see `comparison`.
    """
    target = ASSETS / name
    recipe = (RECIPES / f"{name}.yaml").read_text()
    details = dataclasses.replace(DETAILS[name], recipe=recipe, results=results)
    shown = ["--model", name, "--show", "-o", str(target / "sample.png")]
    paint([str(condition), str(exemplar), *shown])
    write_card(target, bundled(name), name, details)
    card = target / "README.md"
    opening = (
        f'from cocosnet_hf import CoCosPipeline\n\npipe = CoCosPipeline.from_pretrained("{name}")'
    )
    strip = "![condition, exemplar, warped exemplar, picture](sample.png)"
    changes = {
        opening: f'from cocosnet_hf import bundled\n\npipe = bundled("{name}")',
        "## Use it": f"{strip}\n\n## Use it",
        "## Limits": f"{compared}{costs(name, condition, exemplar)}## Limits",
    }
    text = card.read_text()
    for old, new in changes.items():
        if old not in text:
            raise ValueError(f"the card's template has changed, expected in it: {old!r}")
        text = text.replace(old, new)
    card.write_text(text)


if __name__ == "__main__":
    main()
