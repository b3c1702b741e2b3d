"""A visitor's own photo, brought to what the models have learned, and back again."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.events import Dependency
from PIL import Image

from cocosnet_hf.photos import crop_to_face

from .inputs import explained, read_photo
from .page import PRIVATE, RAW, ExemplarColumn, as_file, kept_picture

MUCH_ELSE = 0.75
"""A face's frame is cut out of a photo whose shorter side it takes less of."""


def face_of(photo: Image.Image) -> Image.Image:
    """The face as models know faces: cut out of a photo that shows much else, else the photo."""
    try:
        face = crop_to_face(photo)
    except ValueError:
        return photo
    return face if face.width < MUCH_ELSE * min(photo.size) else photo


def fit_row(
    tab: str, look: ExemplarColumn, text: str, fit: Callable[[Image.Image], Image.Image]
) -> list[Dependency]:
    """What fits a visitor's photo as it comes, a button that fits any exemplar, and one that takes
    either back; what they do."""
    whole = kept_picture(Image.new("RGB", (8, 8)), f"{tab}-whole")
    with gr.Row(elem_classes="buttons"):
        button = gr.Button(text, size="sm", elem_id=f"{tab}-fit")
        undo = gr.Button("Undo this", size="sm", visible=False, elem_id=f"{tab}-unfit")

    @explained
    def fitted(file: dict[str, Any] | None) -> tuple:
        photo = read_photo(file, "exemplar")
        return as_file(fit(photo)), as_file(photo), gr.Button(visible=True), False

    def back(file: dict[str, Any] | None) -> tuple:
        return as_file(read_photo(file, "photo")), gr.Button(visible=False), False

    def fitted_if_found(file: dict[str, Any] | None) -> tuple:
        try:
            return fitted(file)
        except gr.Error as error:
            gr.Info(html.unescape(error.message), title="The photo stays as it is")
            return gr.skip(), gr.skip(), gr.Button(visible=False), False

    outputs = [look.exemplar, whole, undo, look.keep]
    for another in (look.picker.select, look.picker.change):
        another(lambda: gr.Button(visible=False), None, undo, **PRIVATE)
    return [
        *(
            event(fitted_if_found, look.exemplar, outputs, **RAW)
            for event in (look.uploaded.success, look.exemplar.upload)
        ),
        button.click(fitted, look.exemplar, outputs, **RAW),
        undo.click(explained(back), whole, [look.exemplar, undo, look.keep], **RAW),
    ]
