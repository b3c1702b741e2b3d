"""Put a finished run into the package, as a pipeline that `cocosnet_hf.bundled` opens.

    python -m tools.bundle mask-to-image --run out/mask-to-image-2 --log runs.log
    python -m cocosnet_hf.evaluate mask-to-image ... -o out/retrieved
    python -m cocosnet_hf.evaluate mask-to-image ... --exemplars random -o out/random
    python -m tools.bundle mask-to-image --evaluation out/retrieved --random-evaluation out/random

and likewise edge-to-face and pose-to-body, with the options of each evaluation from the head of its
recipe, train/configs/NAME.yaml. The half precision weights of --run go to cocosnet_hf/assets/NAME;
without it those that are there stay, and must be what was evaluated. --log keeps the run's
validation lines beside them; those of runs that go on from one another are one log. The card has
the recipe, what tools/cards/NAME.yaml says of the data and their terms, the figures of the
evaluations, a strip painted from NAME/examples, whose files must be free to show, and what one
picture costs on this machine, which should do nothing else meanwhile.
"""

import argparse
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
import yaml
from huggingface_hub import EvalResult

from cocosnet_hf import CoCosPipeline
from cocosnet_hf.benchmark import in_fresh_process
from cocosnet_hf.bundled import ASSETS, bundled
from cocosnet_hf.cards import CardDetails, write_card
from cocosnet_hf.evaluation.methods import PIPELINE, SHARP, WARPED
from cocosnet_hf.evaluation.opening import weights_digest
from cocosnet_hf.evaluation.report import ARROWS, Block, Heading, Table, to_markdown, value_of
from cocosnet_hf.evaluation.results import Evaluation, eval_results, exemplar_choice, metric_of
from cocosnet_hf.measuring import machine
from cocosnet_hf.painting_costs import PaintedCall, painting, painting_table
from cocosnet_hf.strips import call_strip

from .recipes import recipe_file

CARDS = Path(__file__).parent / "cards"
"""What each card says of the data and the limits, as arguments of `CardDetails`."""

SHOWN = (
    "warp_accuracy",
    "identity_accuracy",
    "foreground_warp_accuracy",
    "foreground_identity_accuracy",
    "SWD",
    "KID",
    "style_color",
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

COMPARED = ("SWD", "KID", "style_color", "style_texture", "semantic_consistency", "edge_F1")
"""Those in which it stands beside its baselines."""

BASELINES = {
    PIPELINE: "this model",
    "previous": "the model that shipped before, made for smaller pictures",
    "style": "without correspondence: a painter of the same size, trained for as many batch "
    "steps, guided by one style vector of the exemplar (`cocosnet_hf/systems/style_vector.py`)",
    WARPED: "the exemplar seen through this model's matching, unpainted",
    SHARP: "the exemplar's own pixels, moved by this model's matching, unpainted",
    "exemplar": "the exemplar, pasted unchanged",
}
"""What a card compares, by the name in the evaluation."""

RUNS = 20
"""Calls that the times on a card are medians of."""


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", choices=sorted(path.stem for path in CARDS.glob("*.yaml")))
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


def examples(target: Path) -> tuple[Path, ...]:
    """The condition and the exemplar that a pipeline's card shows, and the exemplar's own condition
    where there is one.

    Raises FileNotFoundError.
    """
    found = []
    for stem in ("layout", "exemplar", "exemplar_condition"):
        files = sorted((target / "examples").glob(f"{stem}.*"))
        if not files and stem == "exemplar_condition":
            continue
        if not files:
            raise FileNotFoundError(
                f"the strip of the card is painted from {target / 'examples'}, which lacks "
                f"{stem}.*; put a file there that is free to show."
            )
        found.append(files[0])
    return tuple(found)


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
    provenance = Evaluation.load(evaluation).provenance
    dtype = getattr(torch, provenance["dtype"])
    digests = [
        weights_digest(CoCosPipeline.from_pretrained(pipeline, variant=variant, dtype=dtype))
        for variant in (None, "fp16")
        if variant or any((pipeline / "correspondence").glob("*model.safetensors"))
    ]
    if provenance["weights"] not in digests:
        raise ValueError(
            f"{evaluation} must measure the weights in {pipeline}, {' or '.join(digests)}, but it "
            f"measured {provenance['weights']}; evaluate again, with another output folder."
        )


def copy_weights(pipeline: Path, target: Path) -> None:
    """The float16 variant of both networks and what says how to open them."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(pipeline / "model_index.json", target / "model_index.json")
    for name in CoCosPipeline.network_names():
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
        if retrieved.provenance[key] != random.provenance[key]:
            raise ValueError(
                f"{evaluation} and {random_evaluation} must measure one pipeline on one data set, "
                f"but {key} differs: {retrieved.provenance[key]} and {random.provenance[key]}."
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
            f"{evaluation.provenance['exemplars']}; evaluate with --exemplars "
            f"{'retrieval' if choice == 'retrieved' else choice}."
        )
    return evaluation


def shown_results(evaluation: Evaluation, metrics: Sequence[str]) -> list[EvalResult]:
    """Entries of a card for these metrics."""
    names = {name.lower() for name in metrics}
    results = eval_results(evaluation)
    return [result for result in results if result.metric_type.partition("-")[0] in names]


def comparison(*folders: Path | None) -> str:
    """The section of a card on the model and its baselines, a table for each evaluation.

    Empty without an evaluation in which `COMPARED` metrics were measured.
    """
    blocks: list[Block] = []
    for evaluation in [Evaluation.load(folder) for folder in folders if folder is not None]:
        names = dict.fromkeys(result.metric for result in evaluation.results)
        metrics = [name for name in names if name.partition("-")[0] in COMPARED]
        rows = []
        for method, text in BASELINES.items():
            found = [evaluation.find(method, metric) for metric in metrics]
            if any(found):
                rows.append([text, *("–" if one is None else value_of(one) for one in found)])
        if rows:
            marked = [name + ARROWS[metric_of(name).better] for name in metrics]
            blocks += [
                f"With {exemplar_choice(evaluation)} exemplars:",
                Table(["painted by", *marked], rows),
            ]
    return to_markdown([Heading("Beside others"), *blocks]) + "\n" if blocks else ""


def costs(name: str, condition: Path, exemplar: Path) -> str:
    """The section of a card on time and memory, measured now."""
    target = ASSETS / name
    call = PaintedCall(str(target), "fp16", str(condition), str(exemplar))
    found = painting(call, RUNS, (), in_fresh_process)
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
    name: str, results: list[EvalResult], compared: str, condition: Path, exemplar: Path, *own: Path
) -> None:
    """The card, with the strip painted from the examples and what a picture costs.

    compared: the section on baselines, see `comparison`. own: the exemplar's own condition.
    """
    target = ASSETS / name
    details = CardDetails(
        **yaml.safe_load((CARDS / f"{name}.yaml").read_text()),
        recipe=recipe_file(name).read_text(),
        results=results,
    )
    pipe = bundled(name)
    pipe.set_progress_bar_config(disable=True)
    out = pipe(str(condition), str(exemplar), *map(str, own))
    call_strip(pipe, str(condition), str(exemplar), out).save(target / "sample.png")
    write_card(target, pipe, name, details)
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
