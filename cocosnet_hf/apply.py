"""Paint a whole collection: each condition of a data set with an exemplar that fits it.

    python -m cocosnet_hf.apply edge-to-face --data photos --exemplars portraits --output painted
    python -m cocosnet_hf.apply PIPELINE --data user/masks --streaming --condition-column label \\
        --exemplars column --exemplar-column image --output user/painted

PIPELINE is a folder, a Hub id or a bundled name. --data is whatever a training reads: a folder, a
Hub id, parquet or WebDataset files. --exemplars is such a source too, from which the nearest layout
is retrieved for each row; or `column`, where each row has its own.

--output is a folder, x.parquet, x.tar (WebDataset), each in shards, or a Hub data set user/repo.
Beside every picture stands what it was made of: the row, the exemplar, how alike they are. The same
command goes on where it was stopped, even by kill -9: no row is lost and none is there twice. Rows
that cannot be painted are counted and named.

Several processes and machines (accelerate launch -m cocosnet_hf.apply ...) share the shards, with
--ray the workers of a Ray cluster do; all must see the folder --work.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

from .applying import ApplySettings, Summary, apply
from .applying.ray_cluster import apply_with_ray
from .applying.settings import FORMATS, PICTURES
from .datasets import BrokenExample, DataSettings
from .datasets.options import add_source, described_data
from .own_modules import add_import
from .processes import leave_group

COLUMN = "column"
"""In place of a source of exemplars: each row has its own."""

ONLY_EXEMPLARS = ("exemplar_column", "exemplar_condition_column", "exemplar_labels_column")


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    logging.basicConfig(format="%(message)s")
    parser = make_parser()
    options = parser.parse_args(argv)
    try:
        settings = read_settings(options)
        if options.ray:
            modules = tuple(module.__name__ for module in options.modules)
            summary: Summary | None = apply_with_ray(
                settings, options.ray_workers, options.ray_gpus, modules
            )
        else:
            summary = apply(settings)
        if summary is not None:  # the first process tells
            print(summary)
            print(settings.output)
    except (ValueError, OSError, ImportError) as error:
        parser.error(str(error))
    except RuntimeError as error:
        if not isinstance(error.__cause__, BrokenExample):
            raise
        parser.error(str(error))  # too many broken rows
    finally:
        leave_group()


def make_parser() -> argparse.ArgumentParser:
    """All options."""
    parser = argparse.ArgumentParser(
        prog="python -m cocosnet_hf.apply",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("pipeline", metavar="PIPELINE")
    add("--variant", help="of the pipeline's weights on the Hub, such as fp16")
    add_import(parser)

    data = parser.add_argument_group("data")
    add = data.add_argument
    add_source(data, "train", "the part that is painted; default: train")
    add("--streaming", action="store_true", help="read it in order, without a copy on disk")
    add("--cache-dir", help="where the data set library keeps its files")
    add("--limit", type=int, metavar="N", help="only the first rows")
    add(
        "--max-broken-share",
        type=float,
        default=DataSettings.max_broken_share,
        help="the run stops when a larger share of the rows cannot be painted; default: 0.01",
    )

    exemplars = parser.add_argument_group("exemplars")
    add = exemplars.add_argument
    add("--exemplars", required=True, metavar="SOURCE|column", help="as --data, or column")
    add("--exemplars-config-name", metavar="NAME")
    add("--exemplars-split", default="train", help="default: train")
    add("--exemplars-image-column", metavar="NAME", help="default: as --image-column")
    add("--exemplars-condition-column", metavar="NAME", help="default: as --condition-column")
    add("--exemplars-labels-column", metavar="NAME", help="default: as --labels-column")

    output = parser.add_argument_group("output")
    add = output.add_argument
    add("-o", "--output", required=True, help="folder, x.parquet, x-{shard}.tar or user/repo")
    add("--format", choices=FORMATS, help="where the name of the output does not say it")
    add("--picture", choices=PICTURES, default="png", help="file format; default: png")
    add("--private", action="store_true", help="a new Hub data set is only for its owner")
    add("--work", metavar="FOLDER", help="record and index; default: beside the output")
    add("--shard-items", type=int, default=ApplySettings.shard_items, metavar="N")

    painting = parser.add_argument_group("painting")
    add = painting.add_argument
    add("--height", type=int, help="of the pictures, if not the pipeline's own size")
    add("--width", type=int, help="of the pictures")
    add("--scale", type=float, help="how many times larger, in place of height and width")
    add("--strength", type=float, help="how much is copied, 0..1, of a pipeline that blends")
    add("--batch-size", type=int, default=ApplySettings.batch_size)
    add("--dtype", default=ApplySettings.dtype, choices=["float32", "bfloat16"])
    add("--prepared", type=int, default=ApplySettings.prepared, help="exemplars kept prepared")
    add("--threads", type=int, default=ApplySettings.threads, help="for reading and encoding")

    ray = parser.add_argument_group("a Ray cluster")
    add = ray.add_argument
    add("--ray", action="store_true", help="share the work by Ray Data; RAY_ADDRESS says where")
    add("--ray-workers", type=int, default=1, metavar="N")
    add("--ray-gpus", type=float, default=0.0, metavar="N", help="GPUs of a worker; default: 0")
    return parser


def read_settings(options: argparse.Namespace) -> ApplySettings:
    """What the options and recipes say. Raises ValueError for values that do not go together."""
    data = DataSettings(
        split=options.split,
        streaming=options.streaming,
        cache_dir=options.cache_dir,
        max_broken_share=options.max_broken_share,
        **described_data(options),
    )
    exemplars = None
    if options.exemplars != COLUMN:
        own: dict[str, Any] = dict.fromkeys((*ONLY_EXEMPLARS, "exemplar_person_column"))
        for name in ("image_column", "condition_column", "labels_column"):
            if (column := getattr(options, f"exemplars_{name}")) is not None:
                own[name] = column
        exemplars = dataclasses.replace(
            data,
            source=options.exemplars,
            config_name=options.exemplars_config_name,
            split=options.exemplars_split,
            streaming=False,
            **own,
        )
    given = vars(options)
    names = {field.name for field in dataclasses.fields(ApplySettings)} - {"data", "exemplars"}
    return ApplySettings(data=data, exemplars=exemplars, **{name: given[name] for name in names})


if __name__ == "__main__":
    main()
