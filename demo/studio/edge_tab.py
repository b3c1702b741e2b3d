"""The tab of edges: draw lines, or have them found in a photo."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from cocosnet_hf import EdgeCondition
from cocosnet_hf.call_inputs import MAX_ASPECT
from cocosnet_hf.photos import crop_to_face

from .fitting import CROP, face_of, fits
from .gallery import Gallery
from .inputs import (
    CANVAS_SIDE,
    MAX_SIDE,
    as_canvas,
    explained,
    read_drawing,
    read_photo,
    read_start,
)
from .page import (
    RAW,
    ExemplarCondition,
    Layout,
    as_file,
    board,
    card,
    examples_of,
    kept_picture,
    look_column,
    result_column,
    upload_button,
)
from .painters import Painter, with_thresholds
from .result import as_data
from .wiring import wire

KEPT_SIDE = 512
"""Longer side of the photo that is kept, to find its edges again with another threshold."""


def edge_tab(tab: str, painter: Painter, gallery: Gallery) -> None:
    """The tab's content."""
    photo = kept_picture(gallery.layout.picture, f"{tab}-photo")
    with gr.Row(equal_height=False):
        with card(1, "Draw the lines", "Draw a face, or change the lines of a photo."):
            layout, trace, traced = _layout(tab, painter, gallery, photo)
        with card(2, "Choose the look", "One face. Yours is cropped as the model knows faces."):
            look = look_column(tab, gallery, fitted_by=CROP)
            fits(tab, look, crop_to_face)
        result = result_column(tab, layout)
    wire(painter, gallery, layout, look, result, ExemplarCondition())
    look.edit.click(
        explained(lambda *values: (*trace(*values), True)),
        [look.exemplar, *layout.settings],
        [*traced, look.keep],
        **RAW,
    )


def _layout(
    tab: str, painter: Painter, gallery: Gallery, photo: gr.Image
) -> tuple[Layout, Callable[..., tuple], list[gr.components.Component]]:
    """The layout, what traces a file with its settings, and the parts of the page that it sets."""
    condition: EdgeCondition = painter.condition

    def shown(
        picture: Image.Image, threshold: float, traced: bool, index: int | None = None
    ) -> gr.HTML:
        return gr.HTML(
            as_canvas(edge_drawing(painter, picture, threshold)) | {"example": index},
            guide=_traced(picture) if traced else "",
        )

    first = gallery.layout.picture
    editor = board(
        "canvas",
        as_canvas(edge_drawing(painter, first, condition.high)) | {"example": 0},
        f"{tab}-canvas",
        palette=[{"name": "line", "color": "#000000"}],
        brush=line_width(*painter.fitted(*first.size)),
        paper=True,
        label="Canvas to draw lines on",
    )
    with gr.Row(elem_classes="buttons"):
        upload = upload_button("Take a photo's edges", f"{tab}-upload")
        crop = gr.Button("Crop it to the face", size="sm", elem_id=f"{tab}-crop")
        whole = kept_picture(gallery.layout.picture, f"{tab}-uncropped")
        undo = gr.Button("Undo the crop", size="sm", visible=False, elem_id=f"{tab}-uncrop")
    threshold = gr.Slider(
        0.02,
        0.5,
        condition.high,
        step=0.01,
        label="Least contrast of a line",
        elem_id=f"{tab}-threshold",
    )
    traced = gr.Checkbox(label="Show the photo beneath", elem_id=f"{tab}-traced")
    examples = examples_of(tab, gallery.previews())

    def begun(picture: Image.Image, high: float, beneath: bool) -> tuple:
        picture.thumbnail((KEPT_SIDE, KEPT_SIDE))
        return as_file(picture), shown(picture, high, beneath)

    def trace(file: dict[str, Any] | None, high: float, beneath: bool) -> tuple:
        picture = read_photo(file, "photo").convert("RGB")
        return *begun(picture, high, beneath), *buttons(is_cropped=False)

    def buttons(is_cropped: bool) -> tuple[gr.Button, gr.Button]:
        return gr.Button(visible=not is_cropped), gr.Button(visible=is_cropped)

    @explained
    def uploaded(file: dict[str, Any] | None, high: float, beneath: bool) -> tuple:
        picture = read_photo(file, "photo").convert("RGB")
        face = face_of(picture)
        return (
            *begun(face.copy(), high, beneath),
            as_file(picture),
            *buttons(is_cropped=face is not picture),
        )

    @explained
    def cropped(file: dict[str, Any] | None, high: float, beneath: bool) -> tuple:
        picture = read_photo(file, "photo")
        face = crop_to_face(picture)
        return *begun(face, high, beneath), as_file(picture), *buttons(is_cropped=True)

    def example(index: int, high: float, beneath: bool) -> list[Any]:
        picture = gallery[index].picture
        canvas = shown(picture, high, beneath, index)
        return [as_file(picture), *buttons(is_cropped=False), canvas]

    @explained
    def find_again(file: dict[str, Any], high: float) -> dict[str, Any]:
        picture = read_photo(file, "photo")
        found = as_canvas(edge_drawing(painter, picture, high))
        # What the visitor drew stays.
        return found | {"redrawn": True, "example": gallery.index_of(picture)}

    @explained
    def trace_again(file: dict[str, Any], beneath: bool) -> gr.HTML:
        return gr.HTML(guide=_traced(read_photo(file, "photo")) if beneath else "")

    settings: list[gr.components.Component] = [threshold, traced]
    fitted, parts = [photo, editor, whole, crop, undo], [photo, editor, crop, undo]
    loads = [
        upload.upload(uploaded, [upload, *settings], fitted, **RAW),
        crop.click(cropped, [photo, *settings], fitted, **RAW),
        undo.click(explained(trace), [whole, *settings], parts, **RAW),
    ]
    # By pointer, by keys and by typing.
    threshold.change(find_again, [photo, threshold], editor, trigger_mode="always_last", **RAW)
    traced.change(trace_again, [photo, traced], editor, **RAW)

    def read(value: dict[str, Any] | None) -> dict[str, Image.Image]:
        return {"edges": read_drawing(value)}

    def query(value: dict[str, Any] | None) -> Image.Image:
        drawing = read_drawing(value)
        return Image.alpha_composite(Image.new("RGBA", drawing.size, "white"), drawing)

    layout = Layout(
        editor,
        examples,
        example,
        [photo, crop, undo, editor],
        read,
        query,
        lines_before,
        loads,
        settings,
        {"contrast": threshold},
    )
    return layout, trace, parts


def lines_before(value: dict[str, Any] | None) -> Any:
    """The condition of the lines that a canvas began with, of which there may be none."""
    drawing = read_start(value)
    if drawing.getchannel("A").getextrema()[1]:
        return {"edges": drawing}
    return Image.new("RGB", drawing.size, "white")  # a photo without edges: drawings have lines


def edge_drawing(painter: Painter, photo: Image.Image, threshold: float) -> Image.Image:
    """A photo's edges as black strokes on a transparent ground, about as large as other canvases.

    threshold: 0..1, the recipe's `high`. Each pixel of the painting becomes a square of whole
    pixels, so that the edges come back as they are, unless the painting is larger than a canvas.
    """
    size = painter.fitted(*photo.size)
    longer = min(max(size), MAX_SIDE)
    shortest = math.ceil(longer / MAX_ASPECT)  # sides that fit the networks may be a little less
    width, height = (max(round(side * longer / max(size)), shortest) for side in size)
    encoded = with_thresholds(painter.condition, threshold).encode(photo, height, width)
    lines = encoded[0].numpy() > 0
    scale = line_width(width, height)
    drawing = np.zeros((height * scale, width * scale, 4), np.uint8)
    drawing[..., 3] = 255 * lines.repeat(scale, axis=0).repeat(scale, axis=1)
    return Image.fromarray(drawing)


def line_width(width: int, height: int) -> int:
    """How many pixels of a canvas one of a painting of this size is, and so how wide its lines."""
    return max(1, min(round(CANVAS_SIDE / min(width, height)), MAX_SIDE // max(width, height)))


def _traced(picture: Image.Image) -> str:
    """A photo small enough to lie beneath the canvas."""
    small = picture.convert("RGB")
    small.thumbnail((CANVAS_SIDE, CANVAS_SIDE))
    return as_data(small, "guide.jpg")
