"""The tab of masks: paint regions in the colours of named classes."""

from __future__ import annotations

import html
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from cocosnet_hf import MaskCondition

from .gallery import Exhibit, Gallery
from .inputs import (
    as_canvas,
    explained,
    mask_drawing,
    painted_mask,
    read_drawing,
    read_photo,
    read_picture,
    unpainted,
)
from .page import (
    PICKABLE,
    PRIVATE,
    RAW,
    ExemplarCondition,
    Layout,
    board,
    card,
    look_column,
    result_column,
    wire,
)
from .painters import Painter

SHORT_SIDE = 256
"""Of the canvas, in pixels."""


def mask_tab(tab: str, painter: Painter, gallery: Gallery) -> None:
    """The tab's content."""
    condition: MaskCondition = painter.condition
    with gr.Row(equal_height=False):
        ground = unpainted(condition)
        name = "unknown" if ground is None else condition.classes[ground]
        hint = f"Choose a class and paint with it. What stays unpainted is {html.escape(name)}."
        with card(1, "Paint the layout", hint):
            layout = _layout(tab, condition, gallery)
        with card(2, "Choose the look", "The picture whose colours and textures are wanted."):
            look = look_column(tab, gallery)
            own = _own_mask(tab, painter, gallery)
        with card(3, "See the picture", "And where each part of it came from."):
            result = result_column(tab)
    wire(painter, gallery, layout, look, result, own)


def _layout(tab: str, condition: MaskCondition, gallery: Gallery) -> Layout:
    def on_canvas(mask: Any) -> dict[str, Any]:
        height, width = condition.natural_size(mask)
        scale = SHORT_SIDE / min(height, width)
        drawing = mask_drawing(mask, condition, round(width * scale), round(height * scale))
        return as_canvas(drawing)

    palette = [
        {"name": name, "color": color.lower()}
        for index, (name, color) in enumerate(zip(condition.classes, condition.colors, strict=True))
        if index != condition.unknown
    ]
    editor = board(
        "canvas",
        on_canvas(gallery.layout.condition),
        f"{tab}-canvas",
        palette=palette,
        brush=20,
    )
    gr.Markdown("Start from an example", elem_classes="label")
    examples = gr.Gallery(gallery.previews(), elem_id=f"{tab}-examples", **PICKABLE)
    with gr.Row(elem_classes="buttons"):
        upload = gr.UploadButton(
            "Upload a label map", file_types=["image"], size="sm", elem_id=f"{tab}-upload"
        )
        if condition.parser is not None:
            photo = gr.UploadButton("Label a photo", file_types=["image"], size="sm")
            photo.upload(
                explained(lambda file: on_canvas(condition.from_photo(read_photo(file, "photo")))),
                photo,
                editor,
                **RAW,
            )

    def start(event: gr.SelectData) -> dict[str, Any]:
        return on_canvas(gallery[event.index].condition)

    @explained
    def uploaded(file: dict[str, Any] | None) -> dict[str, Any]:
        return on_canvas(read_picture(file, "label map"))

    examples.select(start, None, editor, **PRIVATE)
    upload.upload(uploaded, upload, editor, **RAW)

    def read(value: dict[str, Any] | None) -> np.ndarray:
        return painted_mask(read_drawing(value), condition)

    return Layout(editor, [editor], read, read)


def _own_mask(tab: str, painter: Painter, gallery: Gallery) -> ExemplarCondition:
    """Where the exemplar's mask is uploaded; the gallery's pictures bring theirs."""
    if not painter.needs_exemplar_condition:
        return ExemplarCondition()
    condition: MaskCondition = painter.condition

    def on_mask(exhibit: Exhibit) -> Image.Image:
        return mask_drawing(exhibit.condition, condition, *exhibit.picture.size)

    mask = gr.Image(
        on_mask(gallery.look),
        label="The exemplar's own label map",
        sources=["upload"],
        buttons=[],
        image_mode=None,
        height=160,
        format="png",
        elem_id=f"{tab}-exemplar-mask",
        elem_classes="picture",
    )

    def read(file: dict[str, Any] | None) -> np.ndarray:
        picture = read_picture(file, "exemplar's label map")
        drawing = mask_drawing(picture, condition, picture.width, picture.height)
        return painted_mask(drawing, condition)

    return ExemplarCondition([mask], read, lambda exhibit: [on_mask(exhibit)])
