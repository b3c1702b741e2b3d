"""The tab of layers: paint on one portrait, carry the paint over to others."""

from __future__ import annotations

from typing import Any

import gradio as gr
from PIL import Image

from .gallery import Gallery
from .inputs import as_url, canvas_size, empty_canvas, explained, read_drawing, read_photo
from .page import (
    PAINTING,
    PRIVATE,
    RAW,
    SLOW,
    as_file,
    board,
    card,
    kept_picture,
    thumbnails,
    upload_button,
)
from .painters import Painter

MOST_PHOTOS = 8

MAKEUP = [
    {"name": "lips", "color": "#b3123f"},
    {"name": "blush", "color": "#e8798a"},
    {"name": "shadow", "color": "#5b4fa8"},
    {"name": "gold", "color": "#d9a441"},
    {"name": "white", "color": "#ffffff"},
]


def layer_tab(painter: Painter, gallery: Gallery) -> None:
    """The tab's content."""
    tab = "layers"
    first = _portrait(gallery.layout.picture)
    exemplar = kept_picture(first, f"{tab}-portrait")
    with gr.Row(equal_height=False):
        with card(1, "Paint on a portrait", "Lipstick, glasses, a beard: whatever you like."):
            editor = board(
                "canvas",
                empty_canvas(*first.size),
                f"{tab}-canvas",
                palette=MAKEUP,
                brush=8,
                free=True,
                guide=as_url(first),
            )
            picker = thumbnails(gallery.pictures, f"{tab}-gallery")
            upload = upload_button("Upload a portrait", f"{tab}-upload")
        with card(2, "Choose the others", f"Up to {MOST_PHOTOS} portraits that shall wear it."):
            photos = gr.Gallery(
                gallery.pictures[1 : MOST_PHOTOS + 1],
                label="Portraits",
                columns=3,
                height=380,
                object_fit="cover",
                sources=["upload"],
                buttons=[],
                interactive=True,
                elem_id=f"{tab}-photos",
            )
        with card(3, "Carry it over", "The paint follows the correspondence into each portrait."):
            strength = gr.Slider(0.1, 1, 0.7, step=0.05, label="Strength")
            carry = gr.Button("Carry over", variant="primary", elem_id=f"{tab}-paint")
            results = gr.Gallery(
                label="Results",
                columns=3,
                height=380,
                object_fit="cover",
                format="png",
                interactive=False,
                buttons=["download", "fullscreen"],
                elem_id=f"{tab}-results",
            )

    def start(portrait: Image.Image) -> tuple:
        portrait = _portrait(portrait)
        return as_file(portrait), gr.HTML(empty_canvas(*portrait.size), guide=as_url(portrait))

    def choose(event: gr.SelectData) -> tuple:
        return start(gallery[event.index].picture)

    @explained
    def uploaded(file: dict[str, Any] | None) -> tuple:
        return start(read_photo(file, "portrait"))

    @explained
    def carried(
        drawing: dict[str, Any] | None,
        portrait_file: dict[str, Any] | None,
        files: list[dict[str, Any]] | None,
        opacity: float,
    ) -> list[str]:
        portrait = read_photo(portrait_file, "portrait").convert("RGB")
        layer = read_drawing(drawing).resize(portrait.size, Image.Resampling.NEAREST)
        if not files or len(files) > MOST_PHOTOS:
            raise ValueError(f"Choose 1 to {MOST_PHOTOS} portraits, got {len(files or [])}.")
        others = [read_photo(file.get("image"), "portrait").convert("RGB") for file in files]
        worn = painter.transfer_layer(layer, portrait, others, strength=opacity)
        return [as_file(picture) for picture in worn]

    picker.select(choose, None, [exemplar, editor], **PRIVATE)
    upload.upload(uploaded, upload, [exemplar, editor], **RAW)
    carry.click(carried, [editor, exemplar, photos, strength], results, **PAINTING, **SLOW)


def _portrait(picture: Image.Image) -> Image.Image:
    """A picture at the size of the canvas."""
    return picture.convert("RGB").resize(canvas_size(*picture.size), Image.Resampling.BICUBIC)
