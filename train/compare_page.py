"""What a comparison of systems writes: the paper's three tables, a sheet of pictures, one page."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from cocosnet_hf.evaluation.methods import EXEMPLAR, PIPELINE, TARGET
from cocosnet_hf.evaluation.protocol import Run
from cocosnet_hf.evaluation.report import (
    GAP,
    Block,
    Figure,
    Heading,
    Table,
    contact_sheet,
    made_blocks,
    metric_tables,
    to_html,
    to_markdown,
)
from cocosnet_hf.evaluation.results import Evaluation
from cocosnet_hf.pictures import grid
from cocosnet_hf.whole_files import write_whole

from .stages import Stage

SPENT_FILE = "spent.json"
"""In the folder of a run: the steps, pictures and seconds that it took."""

TABLES = {
    "Image quality": ("FID", "FD", "KID", "SWD"),
    "Semantic consistency": ("semantic_consistency", "mIoU", "mask_accuracy", "edge_F1", "PCK"),
    "Style relevance": ("style_color", "style_texture"),
}
"""Tables 1 to 3 of Zhang et al. 2020 and the metrics of each, with later ones that say the same."""

HEAD, COLUMN = 16, 128
"""Pixels above the sheet for the names of its columns, and the least width of one."""


def write_comparison(
    folder: Path,
    systems: Mapping[str, Sequence[Stage]],
    budget: str,
    run: Run,
    evaluation: Evaluation,
    shown_pairs: int,
) -> Path:
    """Write the tables, the sheet of the first pairs and the page, whose path is returned.

    systems: of which the first is the evaluation's pipeline. budget: of each of them.
    """
    first = next(iter(systems))
    guided = {PIPELINE if name == first else name for name in systems} & {
        name for method in run.methods if method.uses_exemplar for name in method.names
    }
    shown = {name: first if name == PIPELINE else name for name in evaluation.methods}
    named = renamed(evaluation, shown)
    tables: dict[str, Any] = {}
    blocks: list[Block] = [
        Heading(f"Comparison of {', '.join(systems)}", 1),
        fairness(budget, run),
        trained_table(systems),
    ]
    for title, bases in TABLES.items():
        found = {result.metric for result in named.results}
        metrics = sorted(
            (metric for metric in found if metric.partition("-")[0] in bases),
            key=lambda metric: (bases.index(metric.partition("-")[0]), metric),
        )
        methods = [shown[name] for name in shown if title != "Style relevance" or name in guided]
        blocks.append(Heading(title))
        blocks += metric_tables(named, metrics, methods) if metrics else ["Not measured."]
        figures = {
            method: {
                metric: dataclasses.asdict(result.estimate)
                for metric in metrics
                if (result := named.find(method, metric))
            }
            for method in methods
        }
        tables[title] = {method: values for method, values in figures.items() if values}
    columns = [*(name for name in shown if name not in (TARGET, EXEMPLAR)), TARGET]
    names = ["condition", "exemplar", *(shown[name] for name in columns)]
    pairs = [run.pairs[index] for index in range(min(shown_pairs, len(run.pairs)))]
    sheet = contact_sheet(run.folder, pairs, run.pipe.condition, columns)
    with_names(sheet, names).save(folder / "sheet.png")
    blocks += [Heading("Pictures"), Figure("sheet.png", f"the first pairs: {', '.join(names)}")]
    if named.skipped:
        blocks.append(Table(["not measured", "why"], [[*pair] for pair in named.skipped.items()]))
    blocks += made_blocks(named)
    page = folder / "compare.html"
    write_whole(
        folder / "compare.json", json.dumps({"tables": tables, **spent_by(systems)}, indent=1)
    )
    write_whole(folder / "compare.md", to_markdown(blocks))
    write_whole(page, to_html(blocks))
    return page


def with_names(sheet: Image.Image, names: Sequence[str]) -> Image.Image:
    """A sheet with the names of its columns above them, enlarged where these would be narrow."""
    width = (sheet.width + GAP) // len(names)
    scale = -(-COLUMN // width)
    sheet = sheet.resize((scale * sheet.width, scale * sheet.height), Image.Resampling.NEAREST)
    head = Image.new("RGB", (sheet.width, HEAD), "white")
    for index, name in enumerate(names):
        ImageDraw.Draw(head).text((index * scale * width, 2), name, fill="black")
    return grid([[head], [sheet]])


def renamed(evaluation: Evaluation, names: Mapping[str, str]) -> Evaluation:
    """The same with other names of its methods."""
    return dataclasses.replace(
        evaluation,
        methods={names[name]: text for name, text in evaluation.methods.items()},
        results=[
            dataclasses.replace(result, method=names[result.method])
            for result in evaluation.results
        ],
    )


def fairness(budget: str, run: Run) -> str:
    """What is the same for all, in words."""
    made, data = run.provenance, run.data
    extractors = ", ".join(made["extractors"]) or "no extractor"
    return (
        f"The same for all: the photos of {Path(data.source).name} that are learned from, their "
        f"size ({data.image_size} px) and augmentation; a budget of {budget} each; the "
        f"{made['items']} tested pairs ('{data.split}', seen by none), their exemplars "
        f"({made['exemplars']}), the file format (PNG), and what measures ({extractors}). Each "
        f"system's own: networks, losses, rates and batch size, as its recipe says. A system that "
        f"reads no exemplar has no style relevance."
    )


def spent_by(systems: Mapping[str, Sequence[Stage]]) -> dict[str, Any]:
    """By system what its stages took together."""
    spent: dict[str, Any] = {}
    for name, stages in systems.items():
        paths = [Path(stage.config.output_dir, SPENT_FILE) for stage in stages]
        parts = [json.loads(path.read_text()) for path in paths]
        spent[name] = {key: sum(part[key] for part in parts) for key in parts[0]}
    return {"systems": spent}


def trained_table(systems: Mapping[str, Sequence[Stage]]) -> Table:
    """What each system was trained with."""
    rows = []
    for name, spent in spent_by(systems)["systems"].items():
        config = systems[name][-1].config
        batch = config.data.batch_size * config.speed.accumulation
        numbers = f"{spent['pictures']:,}", f"{spent['steps']:,}", str(batch)
        minutes = f"{spent['seconds'] / 60:.1f}"
        rows.append([name, config.system, *numbers, minutes, f"{config.ema:g}"])
    return Table(["name", "system", "pictures seen", "steps", "batch", "minutes", "EMA"], rows)
