"""Evaluate a pipeline and its baselines: the paper's tables and more, with what made them.

    python -m cocosnet_hf.evaluate PIPELINE --data FOLDER --condition-column label -o evaluation
    python -m cocosnet_hf.evaluate PIPELINE --data FOLDER --config recipe.yaml

PIPELINE is a folder, a Hub id or a bundled name. Every item of --split is painted from its
condition with an exemplar from --train-split; the pictures are saved as PNG and as JPG, and both
are scored against the true photos. The output folder holds report.md, report.html, results.json,
scores.parquet and all pictures; the same command goes on where it was stopped, with the scores of
whatever has not changed since; what has is named and refused. Several processes (accelerate launch
-m cocosnet_hf.evaluate ...) share the work. --card puts the figures into the card of the pipeline,
in its folder or on the Hub.

--config takes from the `data` of a training recipe what describes the data: source, columns, label
groups and the like, which the options here stand above. What belongs to training (splits, sizes,
augmentation, its exemplars) is left out.

--baselines are painted and scored alike: exemplar (unchanged), warped (the exemplar,
warped), sharp (its own pixels, moved by the same matching), nearest (the training photo of the
nearest layout), NAME=FOLDER (a pipeline of any system, such as out/style-vector/pipeline, or
pictures called like the items) and NAME=package.module:function (a function from encoded condition
and exemplar photo to picture).
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path

from .bundled import bundled_names
from .cards import CARD_FILE
from .datasets import DataSettings
from .datasets.options import add_source, described_data
from .evaluation.protocol import evaluate
from .evaluation.report import summary
from .evaluation.results import eval_results
from .evaluation.settings import EvaluationSettings
from .hub.publish import publish_figures
from .own_modules import add_import
from .processes import leave_group


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    logging.basicConfig(format="%(message)s")
    parser = make_parser()
    options = parser.parse_args(argv)
    if options.card and options.pipeline in bundled_names():
        parser.error(
            f"--card fills the card of a pipeline in a folder or on the Hub; {options.pipeline} is "
            f"bundled with this package: leave it out."
        )
    folder = Path(options.pipeline)
    if options.card and folder.is_dir() and not (folder / CARD_FILE).is_file():
        parser.error(f"--card needs a card to fill, {folder / CARD_FILE}: save the pipeline again.")
    for name in ("pandas", "pyarrow", "torchmetrics"):  # asked before hours of painting
        if importlib.util.find_spec(name) is None:
            parser.error(f"{name} is not installed; pip install 'cocosnet-hf[eval]' brings it.")
    try:
        evaluation = evaluate(read_settings(options), options.classes)
        if evaluation is None:  # the first process has the figures
            return
        print(summary(evaluation, options.classes))
        print(Path(options.output) / "report.html")
        if options.card:
            publish_figures(options.pipeline, eval_results(evaluation))
    except (ValueError, OSError, ImportError) as error:
        parser.error(str(error))
    finally:
        leave_group()


def make_parser() -> argparse.ArgumentParser:
    """All options."""
    defaults = EvaluationSettings("", DataSettings())
    parser = argparse.ArgumentParser(
        prog="python -m cocosnet_hf.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("pipeline", metavar="PIPELINE")
    add("--variant", help="of the pipeline's weights on the Hub, such as fp16")
    add_import(parser)
    add("-o", "--output", default=defaults.output, help="folder for everything")
    add("--card", action="store_true", help="put the figures into the pipeline's own card")
    add_data(parser, defaults)
    add_measured(parser, defaults)
    speed = parser.add_argument_group("speed")
    speed.add_argument("--batch-size", type=int, default=defaults.batch_size)
    speed.add_argument("--dtype", default=defaults.dtype, choices=["float32", "bfloat16"])
    return parser


def add_data(parser: argparse.ArgumentParser, defaults: EvaluationSettings) -> None:
    """What is painted and from which exemplars."""
    group = parser.add_argument_group("data")
    add = group.add_argument
    add_source(group, "test", "the tested part; default: test")
    add(
        "--train-split",
        default=defaults.train_split,
        help="where exemplars come from; default: train",
    )
    add("--size", type=int, metavar="PIXELS", help="side of all pictures; default: the pipeline's")
    add(
        "--keep-aspect",
        action=argparse.BooleanOptionalAction,
        help="cut out the middle instead of squeezing",
    )
    add("--limit", type=int, metavar="N", help="only the first items")
    add(
        "--exemplars",
        default=defaults.exemplars,
        metavar="retrieval|random|column|FILE",
        help="how each item gets its exemplar; FILE has lines `image, exemplar`",
    )
    add("--pool-limit", type=int, metavar="N", help="exemplars only from the first training photos")
    add("--seed", type=int, default=defaults.seed)


def add_measured(parser: argparse.ArgumentParser, defaults: EvaluationSettings) -> None:
    """What is compared, and by which metrics."""
    add = parser.add_argument_group("what is compared and measured").add_argument
    add(
        "--baselines",
        nargs="*",
        metavar="exemplar|warped|sharp|nearest|NAME=FOLDER|NAME=module:function",
        help="painted and scored beside the pipeline; default: warped and exemplar, and nearest "
        "where that is not the exemplar itself",
    )
    add(
        "--extractors",
        nargs="*",
        default=defaults.extractors,
        metavar="Inception|MobileNetV2=FILE|NAME=module:function",
        help="for Frechet and kernel distance; default: Inception if it can be loaded",
    )
    add(
        "--perceptual",
        default="auto",
        metavar="VGG19[=SOURCE]|VGG19-distilled=FILE|none",
        help="for features at positions; default: VGG19 from the Hub if it can be loaded",
    )
    add(
        "--lpips",
        action=argparse.BooleanOptionalAction,
        default=defaults.lpips,
        help="default: if it can be loaded",
    )
    add("--segmenter", metavar="HUB-ID|module:function", help="for mask accuracy and mIoU")
    add("--pose-finder", metavar="HUB-ID|module:function", help="for PCK")
    add(
        "--diversity",
        type=int,
        default=defaults.diversity,
        metavar="EXEMPLARS",
        help="how many each condition is painted with to measure diversity; 0 leaves it out",
    )
    add(
        "--diversity-items",
        type=int,
        default=defaults.diversity_items,
        metavar="N",
        help="conditions for that",
    )
    add("--background", type=int, metavar="CLASS", help="the warp's accuracy also without it")
    add("--classes", action="store_true", help="also every metric class by class")


def read_settings(options: argparse.Namespace) -> EvaluationSettings:
    """What the options and recipes say. Raises ValueError for values that do not go together."""
    names = {field.name for field in dataclasses.fields(EvaluationSettings)} - {"data"}
    given = {name: getattr(options, name) for name in names}
    given |= {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
    if given["perceptual"] == "none":
        given["perceptual"] = None
    data = DataSettings(split=options.split, **described_data(options))
    return EvaluationSettings(data=data, **given)


if __name__ == "__main__":
    main()
