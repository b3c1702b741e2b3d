"""The tab of makeup: paint on one portrait, see it on others while it is painted."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image, ImageDraw

from cocosnet_hf.coherence import CoherentFlow
from cocosnet_hf.pictures import open_photo

from .correspondence import packed
from .first_sight import made_of
from .fitting import face_of
from .gallery import FIRST, FOLDER, Gallery, address_in, exhibit_files, real_face
from .inputs import as_canvas, canvas_size, empty_canvas, explained, read_photo
from .page import (
    EACH,
    LAST,
    PAINTING,
    PRIVATE,
    RAW,
    as_file,
    board,
    card,
    kept_picture,
    thumbnails,
    upload_button,
)
from .painters import Painter
from .result import as_address, as_data

MOST_PHOTOS = 8

LIPS, SHADOW = "#b3123f", "#5b4fa8"

MAKEUP = [
    {"name": "lips", "color": LIPS},
    {"name": "blush", "color": "#e8798a"},
    {"name": "shadow", "color": SHADOW},
    {"name": "gold", "color": "#d9a441"},
    {"name": "white", "color": "#ffffff"},
]

FIRST_STROKES = [
    (LIPS, 11, [(288, 540), (312, 536), (338, 537), (360, 541), (384, 538), (434, 541)]),
    (LIPS, 22, [(306, 562), (330, 579), (362, 586), (394, 580), (416, 562)]),
    (SHADOW, 13, [(243, 376), (262, 366), (285, 364), (306, 372)]),
    (SHADOW, 13, [(420, 380), (440, 373), (465, 376), (488, 388)]),
]
"""What the gallery's real portrait wears at first sight: colour, width and points, on
a portrait of 768 pixels."""

FIRST_PHOTOS = (3, 11, 6, 5, 7, 8)
"""Whom the page shows in it: chosen by eye."""

MODEL = "edge-to-face"
"""Whose matching is followed."""

WORN = FOLDER / MODEL / FIRST / "worn.json"
"""What the first faces wear of the first portrait, so that nobody need wait for it."""

NO_MATCHING = "Makeup follows a matching, and the model of Edge to face paints without one."


def layer_tab(tab: str, painter: Painter, gallery: Gallery) -> None:
    """The tab's content. painter: that of the edges of faces."""
    if not painter.pipe.has_matching:
        gr.Markdown(NO_MATCHING, elem_classes="absent")
        return
    real = gallery.index_of(real_face())
    first = _portrait(real_face())
    exemplar = kept_picture(first, f"{tab}-portrait")
    with gr.Row(equal_height=False):
        with card(1, "Paint on a portrait", "The brush is live: the other faces wear each stroke."):
            editor = board(
                "canvas",
                as_canvas(first_layer(*first.size)),
                f"{tab}-canvas",
                palette=MAKEUP,
                brush=8,
                free=True,
                guide=guide_of(first),
                bound=True,
                label="Portrait to paint makeup on",
            )
            with gr.Row(elem_classes="buttons"):
                upload = upload_button("Use my photo", f"{tab}-upload")
                whole = kept_picture(first, f"{tab}-whole")
                undo = gr.Button("Undo the crop", size="sm", visible=False, elem_id=f"{tab}-unfit")
            picker = thumbnails(gallery.pictures, f"{tab}-gallery", chosen=real)
            gr.Markdown(gallery.told, elem_classes="label")
        with card(2, "See it on others", "Hold a face to see it without; every change is instant."):
            worn = board(
                "worn",
                {},
                f"{tab}-results",
                source=f"{tab}-canvas",
                first=first_address(painter),
                gallery=f"{tab}-gallery",
                tab=tab,
            )
    with card(3, "Choose whose faces", f"Up to {MOST_PHOTOS}: add photos, or remove some."):
        photos = gr.Gallery(
            [gallery[index].picture for index in FIRST_PHOTOS if index < len(gallery)],
            label="Faces",
            columns=MOST_PHOTOS,
            height=180,
            object_fit="cover",
            format="png",  # as they are, and not in lossy WebP
            allow_preview=False,
            sources=["upload"],
            buttons=[],
            interactive=True,
            elem_id=f"{tab}-photos",
        )
        cropped = gr.Checkbox(True, label="Crop to the faces", elem_id=f"{tab}-crop")
        with gr.Row(elem_classes="buttons"):
            further = upload_button("Add photos", f"{tab}-add", several=True)
            carry = gr.Button("Match the faces again", size="sm", elem_id=f"{tab}-paint")

    def start(portrait: Image.Image) -> tuple:
        portrait = _portrait(portrait)
        return as_file(portrait), gr.HTML(empty_canvas(*portrait.size), guide=guide_of(portrait))

    def choose(event: gr.SelectData) -> tuple:
        if event.index != real:
            return *start(gallery[event.index].picture), gr.Button(visible=False)
        worn_first = as_canvas(first_layer(*first.size))
        return as_file(first), gr.HTML(worn_first, guide=guide_of(first)), gr.Button(visible=False)

    @explained
    def uploaded(file: dict[str, Any] | None) -> tuple:
        photo = read_photo(file, "portrait").convert("RGB")
        face = face_of(photo)
        shown = gr.Button(visible=face is not photo)
        return *start(face), shown, as_file(photo), gr.Gallery(selected_index=None)

    @explained
    def uncropped(file: dict[str, Any] | None) -> tuple:
        return *start(read_photo(file, "portrait")), gr.Button(visible=False)

    @explained
    def added(
        shown: list[dict[str, Any]] | None, files: list[dict[str, Any]] | None
    ) -> list[Image.Image]:
        all_files = [*(one.get("image") for one in shown or ()), *(files or ())]
        if len(all_files) > MOST_PHOTOS:
            raise ValueError(f"At most {MOST_PHOTOS} faces are shown; remove some first.")
        return [read_photo(file, "photo").convert("RGB") for file in all_files]

    @explained
    def matched(
        portrait_file: dict[str, Any] | None, files: list[dict[str, Any]] | None, crop: bool
    ) -> dict[str, Any]:
        portrait = read_photo(portrait_file, "portrait").convert("RGB")
        if not files or len(files) > MOST_PHOTOS:
            raise ValueError(f"Choose 1 to {MOST_PHOTOS} portraits, got {len(files or [])}.")
        others = [read_photo(file.get("image"), "portrait").convert("RGB") for file in files]
        if crop:
            others = [face_of(other) for other in others]
        flows = painter.flows(portrait, others)
        return worn_value([as_address(other, "face.png") for other in others], flows)

    further.upload(added, [photos, further], photos, **RAW)
    changes: list[Callable[..., Any]] = [
        picker.select(choose, None, [exemplar, editor, undo], **(PRIVATE | EACH)).success,
        upload.upload(uploaded, upload, [exemplar, editor, undo, whole, picker], **RAW).success,
        undo.click(uncropped, whole, [exemplar, editor, undo], **RAW).success,
        photos.change,
        cropped.input,
        worn.input,  # at first sight
        carry.click,
    ]

    def tells(event: str) -> dict[str, Any]:
        board_there = f"document.querySelector('#{tab}-results .board')"
        return {
            "fn": None,
            "js": f"() => {{ {board_there}?.dispatchEvent(new Event('{event}')); }}",
        }

    for change in changes:
        change(**tells("waiting"), **PRIVATE)
        done = change(matched, [exemplar, photos, cropped], worn, **(LAST | RAW | PAINTING))
        done.failure(**tells("failed"), **PRIVATE)


def worn_value(photos: list[str], flows: Sequence[CoherentFlow]) -> dict[str, Any]:
    """Photos by their addresses and where their places lie on a portrait, as `worn.js` takes it."""
    grid = list(flows[0].grids[0][0])
    last = np.maximum(np.array(grid[::-1]) - 1, 1)
    positions = [flow.position[0].numpy() for flow in flows]
    return {
        "photos": photos,
        "cells": [list(position.shape[:2]) for position in positions],
        "flows": [
            packed(np.round((each / last).clip(0, 1) * 65535).astype("<u2")) for each in positions
        ],
        "grid": grid,
    }


def first_address(painter: Painter) -> str:
    """Where the page finds what is worn at first; "" where the model must be asked."""
    if not painter.is_bundled or not WORN.is_file():
        return ""
    is_of_now = json.loads(WORN.read_text())["made_of"] == _made_of()
    return address_in(MODEL, FIRST, WORN.name) if is_of_now else ""


def store_first(painter: Painter, gallery: Gallery) -> None:
    """Match the first faces and keep that beside the gallery, whose files the page shows."""
    files = exhibit_files(FOLDER / MODEL)
    photos = [gallery[index].picture for index in FIRST_PHOTOS]
    names = [
        next(file.name for file in files if _equal(open_photo(file), photo)) for photo in photos
    ]
    flows = painter.flows(_portrait(real_face()), [photo.convert("RGB") for photo in photos])
    value = worn_value([f"../{name}" for name in names], flows)
    WORN.write_text(json.dumps({"made_of": _made_of()} | value) + "\n")


def _made_of() -> str:
    return f"{made_of(MODEL)}-{FIRST_PHOTOS}"


def _equal(one: Image.Image, other: Image.Image) -> bool:
    first, second = (np.asarray(picture.convert("RGB")) for picture in (one, other))
    return np.array_equal(first, second)


def first_layer(width: int, height: int) -> Image.Image:
    """What the first portrait wears, RGBA."""
    layer = Image.new("RGBA", (768, 768))
    draw = ImageDraw.Draw(layer)
    for color, thick, points in FIRST_STROKES:
        draw.line(points, fill=color, width=thick, joint="curve")
        for x, y in points:  # round ends
            reach = thick / 2
            draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=color)
    return layer.resize((width, height), Image.Resampling.BOX)


def guide_of(portrait: Image.Image) -> str:
    """What lies beneath the canvas."""
    return as_data(portrait, "portrait.jpg")


def _portrait(picture: Image.Image) -> Image.Image:
    """A picture at the size of the canvas."""
    return picture.convert("RGB").resize(canvas_size(*picture.size), Image.Resampling.BICUBIC)
