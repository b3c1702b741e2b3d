"""What the tabs share: the columns for the layout, the look and the result; see `wiring`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.events import Dependency
from PIL import Image

from .gallery import LOOK, Exhibit, Gallery
from .inputs import explained, read_photo
from .result import Result, as_file, result_parts

PAINTING: dict[str, Any] = {"concurrency_id": "painting", "concurrency_limit": 1}
"""One painting at a time: a second one would only slow both down."""

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""Quick handlers: a message of theirs covers none of the parts that they would have changed."""

READING: dict[str, Any] = {"concurrency_id": "reading", "concurrency_limit": 1}
"""One at a time of all that read visitors' files and look at them: each takes memory."""

RAW: dict[str, Any] = {"preprocess": False} | PRIVATE | READING
"""Handlers get descriptions of files, which `inputs` reads with limits and messages of its own."""

SLOW: dict[str, Any] = RAW | {"show_progress": "full"}

LAST: dict[str, Any] = {"trigger_mode": "always_last"}
"""What comes while an earlier event is worked on replaces the one that waits; gradio's way is to
forget it."""

EACH: dict[str, Any] = {"trigger_mode": "multiple", "concurrency_limit": 1}
"""The same for pictures that are chosen, one after another: what waits by `LAST` is done with the
choice that came first."""

KEEP = "Paint only what I change"
"""What the choice is called that leaves the rest of an edited picture alone."""


def at_once(*changes: dict[str, Any]) -> dict[str, Any]:
    """Settings of a listener that changes settings of its outputs, in the browser alone.

    Of several listeners to one event gradio asks the server one after another, so that the first
    choice's last one would come after those of the next choice.
    """
    updates = [{"__type__": "update"} | change for change in changes]
    made = json.dumps(updates if len(updates) > 1 else updates[0])
    return {"fn": None, "js": f"() => ({made})"} | PRIVATE


@dataclass(frozen=True)
class Layout:
    """The column of the condition.

    editor: holds it, and tells of each stroke in live mode. examples: layouts to start from, of
    which `example` makes the values of `parts` by the index and the settings' values. read: makes
    the pipeline's condition of the editor's value, query: what a gallery is searched by, began: the
    condition that the editor had before it was changed, for tabs where an edited picture can be
    kept. loads: the events that put another layout into the editor. numbers: those of the settings
    that a link tells of, by their names there.
    """

    editor: gr.HTML
    examples: gr.Gallery
    example: Callable[..., list[Any]]
    parts: list[gr.components.Component]
    read: Callable[[Any], Any]
    query: Callable[[Any], Any]
    began: Callable[[Any], Any] = lambda _: None
    loads: list[Dependency] = field(default_factory=list)
    settings: list[gr.components.Component] = field(default_factory=list)
    numbers: dict[str, gr.Slider] = field(default_factory=dict)


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
    the editor; keep: whether the exemplar stays where the layout is as it was there. uploaded: the
    visitor's own photo has become the exemplar. fit, unfit: see `fitting.fits`.
    """

    exemplar: gr.Image
    picker: gr.Gallery
    suggest: gr.Button
    unsort: gr.Button
    order: gr.JSON
    edit: gr.Button
    keep: gr.Checkbox
    uploaded: Dependency
    fit: gr.Button
    unfit: gr.Button


@contextmanager
def card(number: int, title: str, hint: str, kind: str = "") -> Iterator[None]:
    """A column with a numbered heading. kind: a further class of it."""
    with gr.Column(elem_classes=["card", kind], min_width=0):
        gr.HTML(
            f'<h3><span class="step">{number}</span>{title}</h3><p class="hint">{hint}</p>',
            apply_default_css=False,
            elem_classes="card-head",
        )
        yield


TALL = 1.5
"""From so many times their width on pictures are shown small as what they are: tall."""

BEFORE = {"canvas": ("keeping", "pixels"), "pose": ("keeping",)}
"""Scripts that stand before an editor's own."""


def board(kind: str, value: Any, elem_id: str, **props: Any) -> gr.HTML:
    """A part of our own: "canvas", "pose" or "worn", see its script's comments for `props`."""
    here = Path(__file__).parent
    given: dict[str, Any] = {"guide": "", "live": True} | props
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


def thumbnails(pictures: list[Image.Image], elem_id: str, chosen: int | None = None) -> gr.Gallery:
    """Small pictures to choose one of. chosen: which of them is framed as such."""
    tall = all(picture.height > TALL * picture.width for picture in pictures)
    return gr.Gallery(
        pictures,
        selected_index=chosen,
        show_label=False,
        columns=5,
        height="auto",
        object_fit="cover",
        allow_preview=False,
        interactive=False,
        buttons=[],
        elem_id=elem_id,
        elem_classes=["picks", "tall"] if tall else ["picks"],
    )


def examples_of(tab: str, pictures: list[Image.Image]) -> gr.Gallery:
    """Layouts to start from, in the order of the tab's gallery."""
    gr.Markdown("Start from an example", elem_classes="label")
    return thumbnails(pictures, f"{tab}-examples", chosen=0)


def upload_button(
    text: str, elem_id: str, kind: str = "image", *, exact: bool = False, several: bool = False
) -> gr.UploadButton:
    """A small button that takes one file, or several.

    kind: as gradio names it, or a file's ending. exact: no browser may make the picture smaller.
    """
    return gr.UploadButton(
        text,
        file_count="multiple" if several else "single",
        file_types=[kind],
        size="sm",
        elem_id=elem_id,
        elem_classes=["exact"] if exact else [],
    )


def look_column(
    tab: str,
    gallery: Gallery,
    *,
    fitted_by: tuple[str, str] | None = None,
    can_keep: bool = True,
    reads_photos: bool = True,
) -> ExemplarColumn:
    """Choose or upload an exemplar, have the best one found, or edit it.

    fitted_by: the words of the buttons that fit a photo to what the model knows, and back.
    can_keep: whether changes of a layout have their places. reads_photos: whether the layout of a
    visitor's own photo can be found, to edit it.
    """
    exemplar = gr.Image(
        gallery.look.picture,
        label="Look",
        format="png",
        sources=["upload"],
        buttons=["fullscreen"],
        height=360,
        elem_id=f"{tab}-exemplar",
        elem_classes="picture exemplar",
    )
    do, undo = fitted_by or ("", "")
    with gr.Row(elem_classes="buttons"):
        upload = upload_button("Use my photo", f"{tab}-exemplar-upload")
        fit = gr.Button(do, size="sm", visible=bool(fitted_by), elem_id=f"{tab}-fit")
        unfit = gr.Button(undo, size="sm", visible=False, elem_id=f"{tab}-unfit")
    picker = thumbnails(gallery.pictures, f"{tab}-gallery", chosen=LOOK)
    gr.Markdown(gallery.told, elem_classes="label")
    with gr.Row(elem_classes="buttons"):
        suggest = gr.Button("Find the best match", size="sm", elem_id=f"{tab}-suggest")
        unsort = gr.Button("First order", size="sm", visible=False, elem_id=f"{tab}-unsort")
        edit = gr.Button("Edit this picture", size="sm", elem_id=f"{tab}-edit")
    keep = gr.Checkbox(
        label=KEEP,
        info="Where the drawing is unchanged, so is the picture.",
        visible=can_keep,
        elem_id=f"{tab}-keep",
    )
    order = gr.JSON(list(range(len(gallery))), visible="hidden")

    @explained
    def own_photo(file: dict[str, Any] | None) -> tuple:
        photo = as_file(read_photo(file, "photo"))
        return photo, gr.Gallery(selected_index=None), gr.Button(visible=reads_photos)

    uploaded = upload.upload(own_photo, upload, [exemplar, picker, edit], **RAW)
    listed = {"selected_index": None}, {"visible": reads_photos}
    exemplar.upload(outputs=[picker, edit], **at_once(*listed))
    if not reads_photos:
        picker.select(outputs=edit, **at_once({"visible": True}))
    return ExemplarColumn(
        exemplar, picker, suggest, unsort, order, edit, keep, uploaded, fit, unfit
    )


def result_column(tab: str, layout: Layout) -> Result:
    """The card of the painting, with what the correspondence tells."""
    with card(
        3, "See the picture", "And where in the look each part of it came from.", "result-card"
    ):
        return result_parts(tab, layout.editor, layout.numbers)
