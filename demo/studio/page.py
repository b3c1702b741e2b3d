"""What the tabs share: the columns for the look and the result, and how all are wired."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.events import Dependency
from gradio.processing_utils import save_file_to_cache
from gradio.utils import get_upload_folder
from PIL import Image

from .gallery import Exhibit, Gallery
from .inputs import explained, read_photo
from .painters import DemoResult, Painter
from .views import (
    centre,
    confidence_view,
    flow_view,
    match_text,
    match_view,
    point_of,
    shown,
)

PAINTING: dict[str, Any] = {"concurrency_id": "painting", "concurrency_limit": 1}
"""One painting at a time: a second one would only slow both down."""

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""Quick handlers: a message of theirs covers none of the parts that they would have changed."""

RAW: dict[str, Any] = {"preprocess": False} | PRIVATE
"""Handlers get descriptions of files, which `inputs` reads with limits and messages of its own."""

SLOW: dict[str, Any] = RAW | {"show_progress": "full"}

KEEP = "Paint only what I change"
"""What the choice is called that leaves the rest of an edited picture alone."""

WITHOUT_MATCHING = "This model paints without a matching: no part came from one place."
"""What stands in the place of the views of a matching."""

VIEW: dict[str, Any] = {
    "interactive": False,
    "buttons": [],
    "show_label": False,
    "height": 240,
    "elem_classes": "picture",
}


@dataclass(frozen=True)
class Layout:
    """The column of the condition.

    editor: holds it, and tells of each stroke in live mode. read: makes the pipeline's condition of
    the editor's value, query: what a gallery is searched by, began: the condition that the editor
    had before it was changed. loads: the events that put another layout into the editor. The last
    two are for tabs where an edited picture can be kept.
    """

    editor: gr.HTML
    read: Callable[[Any], Any]
    query: Callable[[Any], Any]
    began: Callable[[Any], Any] = lambda _: None
    loads: list[Dependency] = field(default_factory=list)


@dataclass(frozen=True)
class ExemplarCondition:
    """Components for the exemplar's own condition, where a pipeline needs it.

    read: makes it of the values of `parts`. offer: their values for a picture of the gallery.
    """

    parts: list[gr.components.Component] = field(default_factory=list)
    read: Callable[..., Any] = lambda: None
    offer: Callable[[Exhibit], list[Any]] = lambda _: []


@dataclass(frozen=True)
class ExemplarColumn:
    """The column of the exemplar.

    order: the gallery's pictures as they are shown now. edit: puts the exemplar's own layout into
    the editor; keep: whether the exemplar stays where the layout is as it was there.
    """

    exemplar: gr.Image
    picker: gr.Gallery
    suggest: gr.Button
    order: gr.JSON
    edit: gr.Button
    keep: gr.Checkbox


@dataclass(frozen=True)
class Result:
    """The column of the painting. `views`: what is shown of the correspondence."""

    paint: gr.Button
    live: gr.Checkbox
    image: gr.Image
    state: gr.State
    match: gr.Image
    note: gr.Markdown
    views: list[gr.components.Component]


@contextmanager
def card(number: int, title: str, hint: str) -> Iterator[None]:
    """A column with a numbered heading."""
    with gr.Column(elem_classes="card", min_width=330):
        gr.HTML(
            f'<h3><span class="step">{number}</span>{title}</h3><p class="hint">{hint}</p>',
            apply_default_css=False,
            elem_classes="card-head",
        )
        yield


BEFORE = {"canvas": ("keeping", "pixels"), "pose": ("keeping",)}
"""Scripts that stand before an editor's own."""


def board(kind: str, value: Any, elem_id: str, **props: Any) -> gr.HTML:
    """A part of our own: "canvas", "pose" or "worn", see its script's comments for `props`."""
    here = Path(__file__).parent
    given: dict[str, Any] = {"guide": "", "live": False} | props
    scripts = (*BEFORE.get(kind, ()), kind)
    return gr.HTML(
        value,
        html_template=(here / f"{kind}.html").read_text(),
        js_on_load="".join((here / f"{name}.js").read_text() for name in scripts),
        apply_default_css=False,
        elem_id=elem_id,
        elem_classes="editor",
        **given,
    )


def kept_picture(picture: Image.Image, elem_id: str) -> gr.Image:
    """A picture that the page keeps for its handlers, which get and give a file.

    A `gr.State` would be the server's, which forgets the oldest of its visitors.
    """
    return gr.Image(picture, format="png", visible="hidden", elem_id=elem_id)


def thumbnails(pictures: list[Image.Image], elem_id: str) -> gr.Gallery:
    """Small pictures to choose one of."""
    return gr.Gallery(
        pictures,
        show_label=False,
        columns=5,
        height="auto",
        object_fit="cover",
        allow_preview=False,
        interactive=False,
        buttons=[],
        elem_id=elem_id,
        elem_classes="thumbnails",
    )


def examples_of(tab: str, pictures: list[Image.Image]) -> gr.Gallery:
    """Layouts to start from, in the order of the tab's gallery."""
    gr.Markdown("Start from an example", elem_classes="label")
    return thumbnails(pictures, f"{tab}-examples")


def upload_button(
    text: str, elem_id: str, kind: str = "image", *, exact: bool = False
) -> gr.UploadButton:
    """A small button that takes one file.

    kind: as gradio names it, or a file's ending. exact: no browser may make the picture smaller.
    """
    return gr.UploadButton(
        text,
        file_types=[kind],
        size="sm",
        elem_id=elem_id,
        elem_classes=["exact"] if exact else [],
    )


def look_column(tab: str, gallery: Gallery, *, can_keep: bool = True) -> ExemplarColumn:
    """Choose or upload an exemplar, have the best one found, or edit it.

    can_keep: whether changes of a layout have their places.
    """
    exemplar = gr.Image(
        gallery.look.picture,
        label="Exemplar",
        format="png",
        sources=["upload", "clipboard"],
        buttons=["fullscreen"],
        height=360,
        elem_id=f"{tab}-exemplar",
        elem_classes="picture",
    )
    picker = thumbnails(gallery.pictures, f"{tab}-gallery")
    suggest = gr.Button("Find the best match for my layout", size="sm", elem_id=f"{tab}-suggest")
    edit = gr.Button("Edit this picture", size="sm", elem_id=f"{tab}-edit")
    keep = gr.Checkbox(
        label=KEEP,
        info="Where the layout stays as it began, the picture stays as it is.",
        visible=can_keep,
        elem_id=f"{tab}-keep",
    )
    order = gr.JSON(list(range(len(gallery))), visible="hidden")
    return ExemplarColumn(exemplar, picker, suggest, order, edit, keep)


def result_column(tab: str) -> Result:
    """The card of the painting, and below it what the correspondence tells."""
    with card(3, "See the picture", "And where each part of it came from."):
        with gr.Row(elem_classes="go"):
            paint = gr.Button("Paint", variant="primary", scale=3, elem_id=f"{tab}-paint")
            live = gr.Checkbox(label="Live", scale=1, min_width=90, elem_id=f"{tab}-live")
        image = gr.Image(
            label="Result",
            format="png",
            height=480,
            interactive=False,
            buttons=["fullscreen"],
            elem_id=f"{tab}-result",
            elem_classes="picture pickable",
        )
        note = gr.Markdown(
            "Press **Paint**, then click a point of the result to see where it came from.",
            elem_id=f"{tab}-note",
            elem_classes="note",
        )
        with gr.Tabs(elem_classes="views"):
            with gr.Tab("Match"):
                match = gr.Image(elem_id=f"{tab}-match", **VIEW)
            with gr.Tab("Compare"):
                slider = gr.ImageSlider(format="png", elem_id=f"{tab}-slider", **VIEW)
            with gr.Tab("Warped"):
                warped = gr.Image(elem_id=f"{tab}-warped", **VIEW)
            with gr.Tab("Certainty"):
                confidence = gr.Image(elem_id=f"{tab}-confidence", **VIEW)
            with gr.Tab("Flow"):
                flow = gr.Image(elem_id=f"{tab}-flow", **VIEW)
        download = gr.DownloadButton(
            "Download", size="sm", interactive=False, elem_id=f"{tab}-download"
        )
    state = gr.State(None, time_to_live=3600)
    views = [match, note, slider, warped, confidence, flow, download]
    return Result(paint, live, image, state, match, note, views)


def wire(
    painter: Painter,
    gallery: Gallery,
    layout: Layout,
    look: ExemplarColumn,
    result: Result,
    own: ExemplarCondition,
) -> None:
    """Connect the three columns of a tab."""
    everything = [layout.editor, look.exemplar, look.keep, *own.parts]

    @explained
    def paint(
        value: dict[str, Any] | None, file: dict[str, Any] | None, keep: bool, *own_values: Any
    ) -> tuple[str, DemoResult]:
        painting = painter.paint(
            layout.read(value),
            read_photo(file, "exemplar"),
            own.read(*own_values),
            before=layout.began(value) if keep else None,
        )
        return as_file(shown(painting)), painting

    for trigger, mode, settings in (
        (result.paint.click, "once", SLOW),
        # A stroke that comes while one is painted replaces the one that waits.
        (layout.editor.input, "always_last", RAW),
    ):
        painted = trigger(
            paint,
            everything,
            [result.image, result.state],
            trigger_mode=mode,
            **PAINTING,
            **settings,
        )
        painted.success(all_views, result.state, result.views, **PRIVATE)
    result.live.change(lambda on: gr.HTML(live=on), result.live, layout.editor, **PRIVATE)
    result.image.select(match_at, result.state, [result.match, result.note], **PRIVATE)

    @explained
    def suggest(value: dict[str, Any] | None) -> tuple:
        found = gallery.best(layout.query(value))
        labelled = [(gallery[match.index].picture, f"{match.score:.0%}") for match in found]
        order = [match.index for match in found]
        return (
            gr.Gallery(labelled, selected_index=0),
            order,
            *chosen(order[0]),
        )

    def choose(order: list[int], event: gr.SelectData) -> list[Any]:
        return chosen(order[event.index])

    def chosen(place: int) -> list[Any]:
        exhibit = gallery[place]
        return [as_file(exhibit.picture), False, *own.offer(exhibit)]

    choice = [look.exemplar, look.keep, *own.parts]
    look.suggest.click(suggest, layout.editor, [look.picker, look.order, *choice], **RAW)
    look.picker.select(choose, look.order, choice, **PRIVATE)
    # In the browser: an answer of the server's could come after the visitor's own choice.
    unkept: dict[str, Any] = {"fn": None, "outputs": look.keep, "js": "() => false", **PRIVATE}
    look.exemplar.upload(**unkept)
    for load in layout.loads:  # of which the exemplar is no picture
        load.success(**unkept)


def all_views(painting: DemoResult) -> tuple:
    """What is shown of a new painting's correspondence, in the order of `Result.views`."""
    before, after = painting.compared
    download = as_file(after, "painting")
    warped = None if painting.warped is None else as_file(painting.warped)
    compared, button = (
        (as_file(before), download),
        gr.DownloadButton(value=download, interactive=True),
    )
    if painting.matching is None:
        return None, WITHOUT_MATCHING, compared, warped, None, None, button
    point = centre(painting)
    return (
        as_file(match_view(painting, point)),
        match_text(painting, point),
        compared,
        warped,
        as_file(confidence_view(painting)),
        as_file(flow_view(painting)),
        button,
    )


def match_at(painting: DemoResult | None, event: gr.SelectData) -> tuple[str | None, str]:
    """Where a clicked point of the painting came from."""
    if painting is None:
        raise gr.Error("Press Paint again: this painting is no longer kept.", title="Too old")
    if painting.matching is None:
        return None, WITHOUT_MATCHING
    point = point_of(painting, event.index)
    return as_file(match_view(painting, point)), match_text(painting, point)


def as_file(picture: Image.Image, name: str = "picture") -> str:
    """A picture among gradio's files, which it clears away after a while.

    gradio's own way writes equal pictures of two visitors over each other while they are read.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{name}.png")
        picture.save(path)
        return save_file_to_cache(path, get_upload_folder())
