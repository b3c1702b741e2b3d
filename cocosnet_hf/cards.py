"""Model cards: what a reader of a pipeline's page learns about it."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, Protocol

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from PIL import Image
from torch import nn

from .conditions import Condition
from .markdown import markdown_table
from .transfer import files_of

INSTALL = """\
# no package index has cocosnet_hf: run this in a copy of its source code
pip install ."""
CARD_FILE = "README.md"
SAMPLE_FILE = "sample.png"
EXAMPLES_FOLDER = "examples"

UNNAMED = "CoCosNet pipeline"
"""Heading of a card that lies in a local folder, which may be moved and renamed."""
UNNAMED_SOURCE = "path/to/this/folder"

LINE = 88
"""Longest line of Python in a card."""

LONG_TABLE = 40
"""Rows above which a table is folded."""

LICENSE_ID = re.compile(r"[a-z0-9.-]+")
FILE = re.compile(r'"(\w+\.\w+)"')
FIGURES = re.compile(r"(?<=<!-- figures -->\n).*?(?=\n<!-- /figures -->)", re.DOTALL)


class CardedPipeline(Protocol):
    """What of an `ImageTranslationPipeline` its card tells."""

    condition: Condition
    config: Any
    method: ClassVar[str]
    uses_exemplar: ClassVar[bool]
    has_matching: ClassVar[bool]

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """By name."""

    @property
    def stride(self) -> int:
        """Of which the sides of pictures are multiples."""

    @property
    def needs_exemplar_condition(self) -> bool:
        """Whether an exemplar is of no use without its own condition."""


@dataclass(frozen=True)
class CardDetails:
    """What a card says that the pipeline itself does not know; texts are Markdown.

    license: the Hub's name for the terms of the weights, such as "apache-2.0"; "other" also needs
    license_link and license_name, an id such as "my-terms-1.0". data: what it was trained on, and
    the terms of those pictures. datasets: their Hub ids. recipe: the training run, as YAML.
    results: measured figures. sample: pictures side by side, with sample_caption to say which is
    which. examples: folder with the files that the usage snippet reads, so that it runs as it
    stands; without, it reads the user's own. limits: beside those of every such model.
    Raises ValueError for "other" terms without a name and a link, and a name that is no id.
    """

    license: str | None = None
    license_name: str | None = None
    license_link: str | None = None
    data: str = ""
    datasets: tuple[str, ...] = ()
    recipe: str = ""
    results: Sequence[EvalResult] = ()
    sample: Image.Image | None = None
    sample_caption: str = "condition, exemplar, warped exemplar, picture"
    examples: Path | None = None
    limits: str = ""

    def __post_init__(self) -> None:
        if self.license == "other" and not (self.license_name and self.license_link):
            raise ValueError(
                'license="other" says nothing by itself; pass license_name= and license_link=, or '
                "a licence that the Hub knows."
            )
        if self.license_name is not None and not LICENSE_ID.fullmatch(self.license_name):
            raise ValueError(
                'license_name must be an id in small letters, digits, "-" and ".", such as '
                f'"my-terms-1.0", got {self.license_name!r}.'
            )

    @property
    def terms(self) -> str:
        """The terms of the weights in a sentence."""
        if self.license is None:
            return "The owner of these weights has not said under which terms they may be used."
        if self.license != "other":
            return f"The weights are under the licence `{self.license}`."
        return f"The weights are under the terms [{self.license_name}]({self.license_link})."


def model_card(
    pipe: CardedPipeline, repo_id: str | None = None, details: CardDetails | None = None
) -> ModelCard:
    """The card of a pipeline in the repository `repo_id`, or without it in a local folder.

    Raises ValueError if details.examples lacks a file that the usage snippet reads.
    """
    details = details or CardDetails()
    name = repo_id or UNNAMED
    data = ModelCardData(
        library_name="cocosnet_hf",
        pipeline_tag="image-to-image",
        tags=["cocosnet", "exemplar-based", "image-translation", "gan", pipe.condition.type],
        license=details.license,
        license_name=details.license_name,
        license_link=details.license_link,
        datasets=list(details.datasets) or None,
        metrics=sorted({result.metric_type for result in details.results}) or None,
        model_name=name,
        eval_results=list(details.results) or None,
    )
    card = pipe.condition.card()
    look = " and the look of an exemplar photo" if pipe.uses_exemplar else ""
    networks = pipe.networks.values()
    count = sum(parameter.numel() for network in networks for parameter in network.parameters())
    return ModelCard.from_template(
        data,
        template_str=(files(__package__) / "card_template.md").read_text(encoding="utf-8"),
        name=name,
        method=pipe.method,
        matches=pipe.has_matching,
        summary=f"Paints a picture with the layout of {card.summary}{look}, in one forward pass.",
        parameters=f"{count / 1e6:.1f}",
        image_size=" x ".join(
            str(side) for side in (pipe.config.image_size, pipe.config.image_width) if side
        ),
        stride=pipe.stride,
        install=INSTALL,
        sample=details.sample is not None,
        sample_caption=details.sample_caption,
        usage=usage(pipe, repo_id, details.examples),
        condition=card.text,
        condition_table=_folded(markdown_table(card.header, card.rows), len(card.rows))
        if card.rows
        else "",
        data=details.data or "The owner has not said what it was trained on.",
        recipe=details.recipe.strip(),
        terms=details.terms,
        figures=_figures(details.results),
        limits=details.limits.strip(),
    )


def card_files(
    pipe: CardedPipeline, repo_id: str | None = None, details: CardDetails | None = None
) -> dict[str, Path | bytes]:
    """The card and its pictures, by their path in the repository. Raises as `model_card`."""
    details = details or CardDetails()
    found: dict[str, Path | bytes] = {CARD_FILE: str(model_card(pipe, repo_id, details)).encode()}
    if details.sample is not None:
        buffer = io.BytesIO()
        details.sample.save(buffer, format="PNG")
        found[SAMPLE_FILE] = buffer.getvalue()
    if details.examples is not None:
        examples = files_of(details.examples)
        found |= {f"{EXAMPLES_FOLDER}/{name}": path for name, path in examples.items()}
    return found


def write_card(
    folder: str | Path,
    pipe: CardedPipeline,
    repo_id: str | None = None,
    details: CardDetails | None = None,
) -> None:
    """Write the card and its pictures into a saved pipeline's folder. Raises as `model_card`."""
    for path, content in card_files(pipe, repo_id, details).items():
        target = Path(folder, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.read_bytes())


def add_results(card: ModelCard, results: Sequence[EvalResult]) -> None:
    """Put figures into a card, as metadata and as a table; those measured before stay.

    Of the same metric on the same data only the new one does. A card without our template's table
    gets the metadata alone.
    """
    data = metadata_of(card)
    data.model_name = data.model_name or UNNAMED  # which metadata of figures must have
    measured = {_measurement(result) for result in results}
    kept = [old for old in data.eval_results or [] if _measurement(old) not in measured]
    data.eval_results = kept + list(results)
    data.metrics = sorted({result.metric_type for result in data.eval_results})
    table = _figures(data.eval_results)
    card.text = FIGURES.sub(lambda _: table, card.text)


def metadata_of(card: ModelCard) -> ModelCardData:
    """What a model card's header says. Raises TypeError for the card of something else."""
    if not isinstance(card.data, ModelCardData):
        raise TypeError(f"expected the card of a model, got one with {type(card.data).__name__}.")
    return card.data


def renamed(card: ModelCard, repo_id: str) -> ModelCard:
    """The card of the same pipeline in another repository."""
    card = ModelCard(str(card))
    data = metadata_of(card)
    old = data.model_name
    if old is None:  # not one of ours
        return card
    source = UNNAMED_SOURCE if old == UNNAMED else old
    data.model_name = repo_id
    card.text = card.text.replace(f'"{source}"', f'"{repo_id}"').replace(
        f"# {old}\n", f"# {repo_id}\n"
    )
    return card


def usage(pipe: CardedPipeline, repo_id: str | None = None, examples: Path | None = None) -> str:
    """Python that opens the pipeline and paints.

    examples: see `CardDetails`; only a repository's own are used. Raises ValueError if one of the
    files is not there.
    """
    card = pipe.condition.card()
    arguments = [card.source, *(['"exemplar.jpg"'] if pipe.uses_exemplar else [])]
    if pipe.needs_exemplar_condition and not pipe.condition.needs_only_photo:
        arguments.append(f"exemplar_condition={card.exemplar_source}")
    kind = type(pipe)
    module = "cocosnet_hf" if kind.__name__ == "CoCosPipeline" else kind.__module__
    imports = [f"from {module} import {kind.__name__}"]
    opened = f'"{repo_id or UNNAMED_SOURCE}"'
    if pipe.condition.is_foreign():
        own = type(pipe.condition)
        imports.append(f"from {own.__module__} import {own.__name__}  # its author's")
        opened += f", condition={pipe.condition!r}"
    lines = [f"pipe = {kind.__name__}.from_pretrained({opened})"]
    if examples is not None and repo_id is not None:
        needed = {file for argument in arguments for file in FILE.findall(argument)}
        if missing := needed - files_of(examples).keys():
            raise ValueError(
                f"the usage snippet reads {sorted(needed)}, but {examples} lacks "
                f"{sorted(missing)}; add them, or leave examples out."
            )
        imports.append("from huggingface_hub import snapshot_download")
        lines += [
            f'folder = snapshot_download("{repo_id}", allow_patterns="{EXAMPLES_FOLDER}/*")',
            f'examples = folder + "/{EXAMPLES_FOLDER}/"',
        ]
        arguments = [FILE.sub(r'examples + "\1"', argument) for argument in arguments]
    call = [f"out = pipe({', '.join(arguments)})"]
    if len(call[0]) > LINE:
        call = ["out = pipe(", *(f"    {argument}," for argument in arguments), ")"]
    return "\n".join([*imports, "", *lines, *call, 'out.images[0].save("painted.png")'])


def _measurement(result: EvalResult) -> tuple:
    """What a result says something about."""
    return (*result.unique_identifier, result.metric_type, result.metric_name)


def _figures(results: Sequence[EvalResult]) -> str:
    if not results:
        return "None were measured."
    rows = [
        [
            result.metric_name or result.metric_type,
            f"{result.metric_value:.4g}"
            if isinstance(result.metric_value, float)
            else str(result.metric_value),
            result.dataset_name,
            result.dataset_split or "",
        ]
        for result in results
    ]
    return markdown_table(["metric", "value", "data", "split"], rows)


def _folded(table: str, rows: int) -> str:
    """A table that a reader opens, if it is long."""
    if rows <= LONG_TABLE:
        return table
    return f"<details><summary>All {rows}</summary>\n\n{table}\n\n</details>"
