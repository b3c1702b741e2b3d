"""A page to read: the figures with what made them, and pictures of the best and worst items."""

from __future__ import annotations

import colorsys
import html
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, cast

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ..conditions import Condition
from ..image_translation import ImageTranslationPipeline
from ..markdown import markdown_table
from ..matching import Matching
from ..pictures import grid, to_image
from ..whole_files import write_whole
from .methods import EXEMPLAR, PIPELINE, TARGET, matching_of, run_pipeline
from .pairs import EvaluationPairs, Pair
from .results import INPUT, MATCHING, METRICS, PHOTO, SETS, Evaluation, Result, metric_of
from .storage import FORMATS, RunFolder

ARROWS = {"higher": " ↑", "lower": " ↓", None: ""}
ROWS = 4
"""Items on each contact sheet."""

GAP, POINTS, PLOT_HEIGHT = 4, 4, 256
STYLE = (
    "body{font:15px/1.5 sans-serif;margin:2em auto;max-width:75em;padding:0 1em}"
    "table{border-collapse:collapse}td,th{border:1px solid #bbb;padding:.2em .6em;text-align:left}"
    "img{max-width:100%}figure{margin:1em 0}"
)


@dataclass(frozen=True)
class Heading:
    """A title; level 1 is the page's."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Table:
    """Rows of text under a header."""

    header: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Figure:
    """A picture beside the page."""

    path: str
    caption: str


Block: TypeAlias = "Heading | Table | Figure | str"
"""A part of a page; a str is a paragraph."""


def write_report(
    evaluation: Evaluation,
    folder: RunFolder,
    pairs: EvaluationPairs,
    pipe: ImageTranslationPipeline,
    with_classes: bool = False,
) -> None:
    """Write report.md, report.html and their pictures; with_classes: also every metric by class."""
    blocks = [
        *summary_blocks(evaluation, with_classes),
        *picture_blocks(evaluation, folder, pairs, pipe),
        *made_blocks(evaluation),
    ]
    write_whole(folder.path / "report.md", to_markdown(blocks))
    write_whole(folder.path / "report.html", to_html(blocks))


def summary(evaluation: Evaluation, with_classes: bool = False) -> str:
    """The figures as Markdown, without pictures."""
    return to_markdown(list(summary_blocks(evaluation, with_classes)))


# The figures -------------------------------------------------------------------------------------


def summary_blocks(evaluation: Evaluation, with_classes: bool) -> Iterator[Block]:
    """All figures."""
    yield Heading(f"Evaluation of {evaluation.provenance['pipeline']}", 1)
    yield headline(evaluation)
    yield from result_blocks(evaluation)
    if with_classes:
        yield from class_blocks(evaluation)
    yield from speed_blocks(evaluation)


def headline(evaluation: Evaluation) -> str:
    """The pipeline's main figures in a sentence.

    Where a Frechet distance has fewer pictures than features, the kernel distance speaks instead.
    """
    found = [r for r in evaluation.results if (r.method, r.format) == (PIPELINE, "png")]
    chosen = []
    for result in found:
        base = result.metric.partition("-")[0]
        if base in ("FID", "FD"):
            kernel = result.metric.replace(base, "KID", 1)
            usable = evaluation.find(PIPELINE, kernel) if result.note else result
            if usable is not None:
                chosen.append(usable)
        elif base in ("SWD", "semantic_consistency", "warp_accuracy"):
            chosen.append(result)
    provenance = evaluation.provenance
    data = provenance["data"]
    return (
        f"{provenance['items']} items of {Path(data['source']).name} ({data['split']}), "
        f"exemplars: {provenance['exemplars']}. The pipeline, as PNG: "
        + "; ".join(f"{result.metric} {value_of(result)}" for result in chosen)
        + "."
    )


def result_blocks(evaluation: Evaluation) -> Iterator[Block]:
    """A table for each group of metrics and each file format, and what to mind about them."""
    for group in (SETS, PHOTO, INPUT, MATCHING):
        metrics = evaluation.metrics(group)
        for kind in FORMATS if metrics else ():
            if group == MATCHING and kind != "png":
                continue  # no file format touches it
            yield Heading(group if group == MATCHING else f"{group}, {kind.upper()}")
            yield from metric_tables(evaluation, metrics, evaluation.methods, kind)
    used = {metric.partition("-")[0] for metric in (r.metric for r in evaluation.results)}
    yield (
        "Intervals are 95 % by bootstrap over the items. Distances of sets depend on the number of "
        "pictures: compare them within this page only."
    )
    yield Table(["metric", "is"], [[name, METRICS[name].text] for name in METRICS if name in used])
    if evaluation.skipped:
        yield Table(
            ["not measured", "why"], [[name, why] for name, why in evaluation.skipped.items()]
        )


def metric_tables(
    evaluation: Evaluation, metrics: Sequence[str], methods: Iterable[str], kind: str = "png"
) -> Iterator[Table]:
    """Metrics of those of the methods that have any, and what to mind about them."""
    rows, notes = [], []
    for method in methods:
        results = [evaluation.find(method, metric, kind) for metric in metrics]
        if any(results):
            rows.append([method, *("–" if r is None else value_of(r) for r in results)])
        notes += [[method, r.metric, r.note] for r in results if r is not None and r.note]
    header = [metric + ARROWS[metric_of(metric).better] for metric in metrics]
    yield Table(["method", *header], rows)
    if notes:
        yield Table(["method", "metric", "note"], notes)


def class_blocks(evaluation: Evaluation) -> Iterator[Block]:
    """A table for each metric that is measured class by class."""
    found = [result for result in evaluation.classes if result.format == "png"]
    for metric in sorted({result.metric for result in found}):
        of_metric = [result for result in found if result.metric == metric]
        methods = [m for m in evaluation.methods if any(r.method == m for r in of_metric)]
        names = {result.label: result.name for result in of_metric}
        values = {(r.label, r.method): f"{r.value:.4g}" for r in of_metric}
        items = {result.label: str(result.items) for result in of_metric}
        yield Heading(f"{metric} by class, PNG")
        yield Table(
            ["class", "items", *methods],
            [
                [names[label], items[label], *(values.get((label, m), "–") for m in methods)]
                for label in sorted(names)
            ],
        )


def speed_blocks(evaluation: Evaluation) -> Iterator[Block]:
    """How long each pair took, what scoring alone got through, and the memory it all took."""
    yield Heading("Seconds for each pair")
    stages = ["painting", "scoring", "swd"]
    rows = []
    for name, taken in evaluation.throughput.items():
        scored = 1 / (taken["scoring"] + taken.get("swd", 0))
        seconds = (f"{taken[stage]:.4g}" if stage in taken else "–" for stage in stages)
        rows.append([name, *seconds, f"{scored:.4g}"])
    yield Table(["method", *stages, "pairs scored per second"], rows)
    if evaluation.peak_memory:
        peaks = ", ".join(f"{name} {mb:,.0f} MB" for name, mb in evaluation.peak_memory.items())
        yield f"Peak memory since the last start: {peaks}."


def made_blocks(evaluation: Evaluation) -> Iterator[Block]:
    """What made the figures."""
    yield Heading("What was compared")
    yield Table(["method", "is"], [[name, text] for name, text in evaluation.methods.items()])
    yield Heading("What made the figures")
    yield Table(
        ["", ""],
        [
            [key, value if isinstance(value, str) else json.dumps(value)]
            for key, value in evaluation.provenance.items()
        ],
    )


def value_of(result: Result) -> str:
    """A value with its interval."""
    estimate = result.estimate
    text = f"{estimate.value:.4g}"
    if estimate.low is not None:
        text += f" [{estimate.low:.4g}, {estimate.high:.4g}]"
    return text


# The pictures ------------------------------------------------------------------------------------


def picture_blocks(
    evaluation: Evaluation,
    folder: RunFolder,
    pairs: EvaluationPairs,
    pipe: ImageTranslationPipeline,
) -> Iterator[Block]:
    """Contact sheets of the pipeline's best, median and worst items, and their correspondence."""
    order, metric = ranking(folder, len(pairs))
    rows = min(ROWS, len(order))
    middle = (len(order) - rows) // 2
    names = [PIPELINE, *(n for n in evaluation.methods if n not in (PIPELINE, TARGET, EXEMPLAR))]
    columns = ["condition", "exemplar", *names, TARGET]
    chosen = {
        "best": order[:rows],
        "median": order[middle : middle + rows],
        "worst": order[::-1][:rows],
    }
    yield Heading(f"Best, median and worst by {metric}")
    for title, indices in chosen.items():
        items = [pairs[int(index)] for index in indices]
        sheet = contact_sheet(folder, items, pipe.condition, (*names, TARGET))
        yield from _saved(sheet, folder, f"{title}.jpg", f"{title}: {', '.join(columns)}")
    if not pipe.has_matching:
        return
    yield Heading("Where the picture's places come from")
    for title, indices in chosen.items():
        pair = pairs[int(indices[0])]
        out = run_pipeline(pipe, [pair])
        picture, matching = cast(Tensor, out.images)[0], matching_of(out)
        plot = correspondence_plot(picture, pair.exemplar.photo, matching)
        caption = f"{title}: the picture and, joined, the best matches in its exemplar"
        yield from _saved(plot, folder, f"{title}-matches.jpg", caption)


def contact_sheet(
    folder: RunFolder, pairs: Sequence[Pair], condition: Condition, methods: Sequence[str]
) -> Image.Image:
    """A row for each pair: its condition, its exemplar, and what each method painted."""
    return grid(
        [
            [condition.preview(pair.target.condition), to_image(pair.exemplar.photo)]
            + [saved_picture(folder, name, pair) for name in methods]
            for pair in pairs
        ],
        gap=GAP,
    )


def ranking(folder: RunFolder, count: int) -> tuple[np.ndarray, str]:
    """The items from the pipeline's best to its worst, and the metric that says so."""
    scores = folder.scores(PIPELINE, count)
    scores = scores[scores["format"] == "png"].sort_values("index")
    for base, sign in (("LPIPS", 1), ("perceptual_distance", 1), ("SSIM", -1)):
        for metric in scores.columns:
            if metric.partition("-")[0] == base:
                return np.argsort(sign * scores[metric].to_numpy(), kind="stable"), metric
    raise AssertionError("every item has an SSIM")


def correspondence_plot(picture: Tensor, exemplar: Tensor, matching: Matching) -> Image.Image:
    """Picture and exemplar side by side, with lines from places to their best matches.

    picture (3, H, W) in 0..1, exemplar (3, H', W') uint8. Of each of 4 x 4 cells of the picture the
    place whose match is surest is joined. Small pictures are enlarged.
    """
    scale = max(1, PLOT_HEIGHT // picture.shape[1])
    left, right = (
        one.resize((one.width * scale, one.height * scale), Image.Resampling.NEAREST)
        for one in (to_image(picture, low=0), to_image(exemplar))
    )
    offset = left.width + 4 * GAP
    plot = grid([[left, right]], gap=4 * GAP)
    draw = ImageDraw.Draw(plot)
    confidence, flow = matching.confidence()[0], matching.flow()[0]
    rows, columns = (torch.arange(side).chunk(POINTS) for side in confidence.shape)
    cells = [(row, column) for row in rows for column in columns]
    for number, (row, column) in enumerate(cells):
        cell = confidence[row[0] : row[-1] + 1, column[0] : column[-1] + 1]
        best = int(cell.argmax())
        y, x = int(row[0]) + best // cell.shape[1], int(column[0]) + best % cell.shape[1]
        start = [scale * matching.stride * (place + 0.5) for place in (x, y)]
        end = [offset + scale * (flow[y, x, 0].item() + 0.5), scale * (flow[y, x, 1].item() + 0.5)]
        hue = colorsys.hsv_to_rgb(number / len(cells), 1, 1)
        color = tuple(round(255 * part) for part in hue)
        draw.line([*start, *end], fill=color, width=1)
        for point in (start, end):
            draw.ellipse([*(c - 2 for c in point), *(c + 2 for c in point)], fill=color)
    return plot


def saved_picture(folder: RunFolder, name: str, pair: Pair) -> Image.Image:
    """A method's picture of an item, as it was saved."""
    with Image.open(folder.picture_file(name, pair.file_stem, "png")) as picture:
        return picture.convert("RGB")


def _saved(picture: Image.Image, folder: RunFolder, name: str, caption: str) -> Iterator[Figure]:
    target = folder.path / "sheets"
    target.mkdir(exist_ok=True)
    picture.save(target / name, quality=90)
    yield Figure(f"sheets/{name}", caption)


# The page ----------------------------------------------------------------------------------------


def to_markdown(blocks: Sequence[Block]) -> str:
    """A page as Markdown."""
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def to_html(blocks: Sequence[Block]) -> str:
    """A page as HTML that needs nothing but its pictures."""
    body = "\n".join(_html(block) for block in blocks)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Evaluation</title>'
        f"<style>{STYLE}</style><body>\n{body}\n</body></html>\n"
    )


def _markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return "#" * block.level + " " + block.text
    if isinstance(block, Figure):
        return f"![{block.caption}]({block.path})\n\n{block.caption}"
    if isinstance(block, Table):
        return markdown_table(block.header, block.rows)
    return block


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{html.escape(block.text)}</h{block.level}>"
    if isinstance(block, Figure):
        caption = html.escape(block.caption)
        source = html.escape(block.path)
        return (
            f'<figure><img src="{source}" alt="{caption}"><figcaption>{caption}</figcaption>'
            "</figure>"
        )
    if isinstance(block, Table):
        lines = [("th", block.header), *(("td", row) for row in block.rows)]
        rows = "".join(
            "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in line) + "</tr>"
            for tag, line in lines
        )
        return f"<table>{rows}</table>"
    return f"<p>{html.escape(block)}</p>"
