"""The tab of masks: paint regions in the colours of named classes."""

from __future__ import annotations

import html
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from cocosnet_hf import MaskCondition
from cocosnet_hf.person_reader import PERSON
from cocosnet_hf.photos import crop_to_person, cut_out

from .fitting import CUT_OUT, fits
from .gallery import Exhibit, Gallery
from .inputs import (
    as_canvas,
    canvas_size,
    downloaded,
    explained,
    mask_drawing,
    painted_mask,
    read_drawing,
    read_photo,
    read_start,
    unpainted,
    uploaded_mask,
)
from .page import (
    KEEP,
    RAW,
    SLOW,
    ExemplarCondition,
    Layout,
    as_file,
    board,
    card,
    examples_of,
    look_column,
    result_column,
    upload_button,
)
from .painters import Painter
from .second_look import offers_second, second_look
from .wiring import wire
from .words import plain

HINT = "Its colours and textures go into the picture."
PERSON_HINT = "One person from head to feet. Yours is cut out on white, as the model knows people."

BODY = {"skin", "hair"}
"""Classes of a person that nobody puts on."""


def mask_tab(tab: str, painter: Painter, gallery: Gallery) -> None:
    """The tab's content."""
    condition: MaskCondition = painter.condition
    with gr.Row(equal_height=False):
        ground = unpainted(condition)
        name = "left to the model" if ground is None else condition.classes[ground]
        title = "Paint the figure" if dresses(condition) else "Paint the regions"
        hint = f"Choose what to paint. What stays unpainted is {html.escape(name)}."
        with card(1, title, hint):
            layout = _layout(tab, condition, gallery)
        needs = painter.pipe.needs_exemplar_condition
        is_person = condition.photo_parser == PERSON and not needs
        with card(2, "Choose the look", PERSON_HINT if is_person else HINT):
            look = look_column(
                tab,
                gallery,
                fitted_by=CUT_OUT if is_person else None,
                reads_photos=condition.photo_parser is not None or needs,
            )
            if is_person:
                fits(tab, look, cut_out)
            own = _own_mask(tab, painter, gallery)
            second = None
            if offers_second(painter):

                def most(value: dict[str, Any] | None) -> int:
                    return largest(layout.read(value), condition)

                second = second_look(tab, condition, gallery, layout.editor, most)
        result = result_column(tab, layout)
    wire(painter, gallery, layout, look, result, own, second)

    @explained
    def edit(file: dict[str, Any] | None, *mask: Any) -> tuple:
        if own.parts:
            return on_canvas(own.read(*mask), condition), True
        photo = read_photo(file, "look")
        exhibit = gallery.find(photo)
        found = labelled(photo, condition) if exhibit is None else exhibit.condition
        return on_canvas(found, condition), True

    look.edit.click(edit, [look.exemplar, *own.parts], [layout.editor, look.keep], **RAW)


def on_canvas(mask: Any, condition: MaskCondition) -> dict[str, Any]:
    """A source of the condition as the canvas takes it."""
    height, width = condition.natural_size(mask)
    return as_canvas(mask_drawing(mask, condition, *canvas_size(width, height)))


def dresses(condition: MaskCondition) -> bool:
    """Whether the classes are a person's clothes."""
    return {"top", "dress"} <= set(condition.classes)


def largest(mask: Any, condition: MaskCondition) -> int:
    """The class that covers most of a mask's foreground, of a dressed figure a garment's."""
    areas = condition.encode(mask, *condition.natural_size(mask)).sum((1, 2))
    if (ground := unpainted(condition)) is not None:
        areas[ground] = -1
    if dresses(condition):
        for body in BODY & set(condition.classes):
            areas[condition.classes.index(body)] = -1
    return int(areas.argmax())


def labelled(photo: Image.Image, condition: MaskCondition) -> Image.Image:
    """The mask of an uploaded photo. Raises ValueError where no model is known that makes it."""
    if (parser := condition.photo_parser) is None:
        raise ValueError(
            f"The mask of an uploaded picture is not known here: upload it in step 1, tick "
            f"“{KEEP}”, and change it."
        )
    return condition.from_photo(photo, downloaded(parser))


def _layout(tab: str, condition: MaskCondition, gallery: Gallery) -> Layout:
    palette = [
        {"name": plain(name), "color": color.lower()}
        for index, (name, color) in enumerate(zip(condition.classes, condition.colors, strict=True))
        if index != condition.unknown
    ]

    @explained
    def by_model(file: dict[str, Any] | None) -> dict[str, Any]:
        photo = read_photo(file, "photo")
        if condition.photo_parser == PERSON:
            photo = crop_to_person(photo)
        return on_canvas(labelled(photo, condition), condition)

    editor = board(
        "canvas",
        on_canvas(gallery.layout.condition, condition) | {"example": 0},
        f"{tab}-canvas",
        palette=palette,
        first=condition.colors[largest(gallery.layout.condition, condition)].lower(),
        brush=20,
        label="Canvas to paint regions on",
    )
    with gr.Row(elem_classes="buttons"):
        loads = []
        if condition.photo_parser is not None:
            what = "figure" if dresses(condition) else "regions"
            photo = upload_button(f"Take a photo's {what}", f"{tab}-photo")
            loads.append(photo.upload(by_model, photo, editor, **SLOW))
        upload = upload_button("Use a painted mask", f"{tab}-upload", exact=True)
    examples = examples_of(tab, gallery.previews())

    def example(index: int) -> list[Any]:
        return [on_canvas(gallery[index].condition, condition) | {"example": index}]

    @explained
    def uploaded(file: dict[str, Any] | None) -> dict[str, Any]:
        return on_canvas(uploaded_mask(file, "label map", condition), condition)

    loads.append(upload.upload(uploaded, upload, editor, **RAW))

    def read(value: dict[str, Any] | None) -> np.ndarray:
        return painted_mask(read_drawing(value), condition)

    def began(value: dict[str, Any] | None) -> np.ndarray:
        return painted_mask(read_start(value), condition)

    return Layout(editor, examples, example, [editor], read, read, began, loads)


def _own_mask(tab: str, painter: Painter, gallery: Gallery) -> ExemplarCondition:
    """Where the exemplar's mask is uploaded; the gallery's pictures bring theirs."""
    if not painter.pipe.needs_exemplar_condition:
        return ExemplarCondition()
    condition: MaskCondition = painter.condition

    def on_mask(exhibit: Exhibit) -> Image.Image:
        return mask_drawing(exhibit.condition, condition, *exhibit.picture.size)

    mask = gr.Image(
        on_mask(gallery.look),
        label="The look's own mask",
        sources=["upload"],
        buttons=[],
        image_mode=None,
        height=160,
        format="png",
        elem_id=f"{tab}-exemplar-mask",
        elem_classes=["picture", "exact"],
    )

    def read(file: dict[str, Any] | None) -> np.ndarray:
        return painted_mask(uploaded_mask(file, "look's own mask", condition), condition)

    return ExemplarCondition([mask], read, lambda exhibit: [as_file(on_mask(exhibit))])
