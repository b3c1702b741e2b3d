"""What a comparison of systems writes: the paper's three tables, a sheet of pictures, one page."""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cocosnet_hf.evaluation.collecting import score_columns
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
from cocosnet_hf.evaluation.results import Evaluation, metric_of
from cocosnet_hf.whole_files import write_whole

from .report import with_names
from .stages import Stage

SPENT_FILE = "spent.json"
"""In the folder of a run: the steps, pictures and seconds that it took."""

TABLES = {
    "Image quality": ("FID", "FD", "KID", "SWD"),
    "Semantic consistency": ("semantic_consistency", "mIoU", "mask_accuracy", "edge_F1", "PCK"),
    "Style relevance": ("style_color", "style_texture"),
}
"""Tables 1 to 3 of Zhang et al. 2020 and the metrics of each, with later ones that say the same."""

WORST = 0.1
"""Share of the pictures that the least of a metric is said of: the supplement's ablations raise it,
the mean but little (Zhang et al. 2020, supplement, section 2)."""


@dataclass(frozen=True)
class Ablated:
    """Of which system an ablation is, and what it changes, in words."""

    of: str
    changes: str


def write_comparison(
    folder: Path,
    systems: Mapping[str, Sequence[Stage]],
    ablations: Mapping[str, Ablated],
    budget: str,
    run: Run,
    evaluation: Evaluation,
    shown_pairs: int,
) -> Path:
    """Write the tables, the sheet of the first pairs and the page, whose path is returned.

    systems: of which the first is the evaluation's pipeline, ablations included. budget: of each of
    them.
    """
    first = next(iter(systems))
    guided = {PIPELINE if name == first else name for name in systems} & {
        name for method in run.methods if method.uses_exemplar for name in method.names
    }
    shown = {name: first if name == PIPELINE else name for name in evaluation.methods}
    named = renamed(evaluation, shown)
    tables: dict[str, Any] = {}
    blocks: list[Block] = [
        Heading(f"Comparison of {', '.join(s for s in systems if s not in ablations)}", 1),
        fairness(budget, run),
        trained_table(systems),
    ]
    for title, bases in TABLES.items():
        metrics = measured(named, bases)
        methods = [shown[name] for name in shown if title != "Style relevance" or name in guided]
        methods = [name for name in methods if name not in ablations]
        blocks.append(Heading(title))
        blocks += metric_tables(named, metrics, methods) if metrics else ["Not measured."]
        tables[title] = figures(named, metrics, methods)
    for of in dict.fromkeys(ablation.of for ablation in ablations.values()):
        changed = {name: one.changes for name, one in ablations.items() if one.of == of}
        uses_exemplar = (PIPELINE if of == first else of) in guided
        groups = [TABLES[title] for title in TABLES if title != "Style relevance" or uses_exemplar]
        metrics = [metric for bases in groups for metric in measured(named, bases)]
        own_names = {name: own for own, name in shown.items() if name in (of, *changed)}
        blocks.append(Heading(f"Ablations of {of}"))
        blocks.append(Table(["ablation", "changes"], [[*pair] for pair in changed.items()]))
        blocks += metric_tables(named, metrics, own_names)
        blocks += worst_table(run, own_names, metrics)
        tables[f"Ablations of {of}"] = figures(named, metrics, own_names)
    columns = [*(name for name in shown if name not in (TARGET, EXEMPLAR)), TARGET]
    names = ["condition", "exemplar", *(shown[name] for name in columns)]
    pairs = [run.pairs[index] for index in range(min(shown_pairs, len(run.pairs)))]
    if pairs:
        sheet = contact_sheet(run.folder, pairs, run.pipe.condition, columns)
        with_names(sheet, names, GAP).save(folder / "sheet.png")
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


def measured(evaluation: Evaluation, bases: Sequence[str]) -> list[str]:
    """The metrics of these kinds that an evaluation has, in their order."""
    found = {result.metric for result in evaluation.results}
    return sorted(
        (metric for metric in found if metric.partition("-")[0] in bases),
        key=lambda metric: (bases.index(metric.partition("-")[0]), metric),
    )


def figures(
    evaluation: Evaluation, metrics: Sequence[str], methods: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """The estimates of metrics by method, of those that have any."""
    found = {
        method: {
            metric: dataclasses.asdict(result.estimate)
            for metric in metrics
            if (result := evaluation.find(method, metric))
        }
        for method in methods
    }
    return {method: values for method, values in found.items() if values}


def worst_table(
    run: Run, methods: Mapping[str, str], metrics: Sequence[str]
) -> Iterator[str | Table]:
    """What all but the worst tenth of the pictures reach, by metrics that each picture has.

    methods: by the name that is shown the evaluation's own.
    """
    found = {name: run.folder.scores(own, len(run.pairs)) for name, own in methods.items()}
    known = [one for one in metrics if all(one in score_columns(each) for each in found.values())]
    shares = [WORST if metric_of(one).better == "higher" else 1 - WORST for one in known]
    rows = []
    for name, scores in found.items():
        png = scores[scores["format"] == "png"]
        values = [png[one].quantile(share) for one, share in zip(known, shares, strict=True)]
        rows.append([name, *(f"{value:.4g}" for value in values)])
    if known:
        yield f"What all but the worst {WORST:.0%} of the pictures reach:".replace("%", " %")
        yield Table(["method", *known], rows)


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
