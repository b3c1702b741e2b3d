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
from .page import RAW, ExemplarColumn, as_file, at_once, kept_picture

CROP = ("Crop to the face", "Undo the crop")
CUT_OUT = ("Cut out the person", "Undo the cut")
"""What the buttons say that fit a photo, and take that back."""

MUCH_ELSE = 0.75
"""A face's frame is cut out of a photo whose shorter side it takes less of."""


def face_of(photo: Image.Image) -> Image.Image:
    """The face as models know faces: cut out of a photo that shows much else, else the photo."""
    try:
        face = crop_to_face(photo)
    except ValueError:
        return photo
    return face if face.width < MUCH_ELSE * min(photo.size) else photo


def fits(
    tab: str, look: ExemplarColumn, fit: Callable[[Image.Image], Image.Image]
) -> list[Dependency]:
    """Fit a visitor's photo as it comes, by a button any exemplar, and by one that takes its place
    take either back; what does so."""
    whole = kept_picture(Image.new("RGB", (8, 8)), f"{tab}-whole")

    def buttons(is_fitted: bool) -> tuple[gr.Button, gr.Button]:
        return gr.Button(visible=not is_fitted), gr.Button(visible=is_fitted)

    @explained
    def fitted(file: dict[str, Any] | None) -> tuple:
        photo = read_photo(file, "look")
        return as_file(fit(photo)), as_file(photo), *buttons(True), False

    def back(file: dict[str, Any] | None) -> tuple:
        return as_file(read_photo(file, "photo")), *buttons(False), False

    def fitted_if_found(file: dict[str, Any] | None) -> tuple:
        try:
            return fitted(file)
        except gr.Error as error:
            gr.Info(f"{html.unescape(error.message)} The photo stays as it is.")
            return gr.skip(), gr.skip(), *buttons(False), False

    either = [look.fit, look.unfit]
    outputs = [look.exemplar, whole, *either, look.keep]
    for another in (look.picker.select, look.picker.change):
        another(outputs=either, **at_once({"visible": True}, {"visible": False}))
    return [
        *(
            event(fitted_if_found, look.exemplar, outputs, **RAW)
            for event in (look.uploaded.success, look.exemplar.upload)
        ),
        look.fit.click(fitted, look.exemplar, outputs, **RAW),
        look.unfit.click(explained(back), whole, [look.exemplar, *either, look.keep], **RAW),
    ]
