"""A visitor's own photo, brought to what the models have learned, and back again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.events import Dependency
from PIL import Image

from .inputs import explained, read_photo
from .page import PRIVATE, RAW, ExemplarColumn, as_file, kept_picture


def fit_row(
    tab: str, look: ExemplarColumn, text: str, fit: Callable[[Image.Image], Image.Image]
) -> tuple[Dependency, Dependency]:
    """A button that fits the exemplar, and another that takes this back; what they do."""
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

    done = button.click(fitted, look.exemplar, [look.exemplar, whole, undo, look.keep], **RAW)
    undone = undo.click(explained(back), whole, [look.exemplar, undo, look.keep], **RAW)
    for another in (look.exemplar.upload, look.picker.select, look.picker.change):
        another(lambda: gr.Button(visible=False), None, undo, **PRIVATE)
    return done, undone
