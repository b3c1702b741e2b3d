"""A second look, of which chosen parts of the layout are taken: "the jacket from this one"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from cocosnet_hf import MaskCondition

from .correspondence import takes_points
from .gallery import Gallery
from .inputs import explained, read_photo, unpainted
from .page import EACH, PRIVATE, RAW, as_file, thumbnails, upload_button
from .painters import Painter
from .words import plain


@dataclass(frozen=True)
class SecondLook:
    """picture: of it, None for no second look; picker: the gallery to choose it from.

    taken: the classes that are taken from it, by their numbers. drop: leaves it out again.
    """

    picture: gr.Image
    picker: gr.Gallery
    taken: gr.CheckboxGroup
    drop: gr.Button

    @property
    def parts(self) -> list[Any]:
        """What a painting needs to know."""
        return [self.picture, self.taken]

    @property
    def outputs(self) -> list[Any]:
        """What changes with the choice, as `shown` and `left_out` do."""
        return [self.picture, self.drop, self.taken, self.picker]

    def shown(self, photo: Image.Image, classes: list[int], index: int | None) -> tuple:
        """With a photo, of this index in the gallery or the visitor's own."""
        picture = gr.Image(as_file(photo), visible=True)
        return picture, gr.Button(visible=True), classes, gr.Gallery(selected_index=index)

    def left_out(self) -> tuple:
        """Without a second look."""
        nothing = gr.Image(None, visible="hidden")
        return nothing, gr.Button(visible=False), [], gr.Gallery(selected_index=None)


def offers_second(painter: Painter) -> bool:
    """Whether a pipeline can take named parts of a layout from another exemplar."""
    labelled = painter.condition.labelled and not painter.pipe.needs_exemplar_condition
    return labelled and takes_points(painter.pipe)


def second_look(
    tab: str,
    condition: MaskCondition,
    gallery: Gallery,
    editor: gr.HTML,
    most: Callable[[Any], int],
) -> SecondLook:
    """Its components, closed until somebody wants them.

    most: the class that covers most of an editor's value; it is the first that is taken.
    """
    ground = unpainted(condition)
    named = [
        (plain(name), number)
        for number, name in enumerate(condition.label_names)
        if number not in (ground, condition.unknown)
    ]
    with gr.Accordion("A second look", open=False, elem_id=f"{tab}-second-look"):
        picture = gr.Image(
            label="Second look",
            format="png",
            sources=["upload"],
            buttons=[],
            height=240,
            visible="hidden",
            elem_id=f"{tab}-second",
            elem_classes="picture exemplar",
        )
        picker = thumbnails(gallery.pictures, f"{tab}-second-gallery")
        with gr.Row(elem_classes="buttons"):
            upload = upload_button("Use my photo", f"{tab}-second-upload")
            drop = gr.Button("Leave it out", size="sm", visible=False, elem_id=f"{tab}-second-drop")
        taken = gr.CheckboxGroup(
            named,
            label="Taken from it",
            info="With nothing ticked each part comes from the look that fits it better.",
            elem_id=f"{tab}-second-taken",
        )

    @explained
    def choose(value: Any, ticked: list[int], event: gr.SelectData) -> tuple:
        photo = gallery[event.index].picture
        return second.shown(photo, ticked or [most(value)], event.index)

    @explained
    def own_photo(file: dict[str, Any] | None, value: Any, ticked: list[int]) -> tuple:
        return second.shown(read_photo(file, "photo"), ticked or [most(value)], None)

    second = SecondLook(picture, picker, taken, drop)
    outputs = second.outputs
    picker.select(choose, [editor, taken], outputs, **(RAW | EACH))
    upload.upload(own_photo, [upload, editor, taken], outputs, **RAW)
    drop.click(second.left_out, None, outputs, **PRIVATE)
    return second


def classes_of(link: Any, second: SecondLook) -> list[int]:
    """The numbers of classes that a link names, "5.6"; what cannot be taken is left out."""
    named = {int(name) for name in str(link).split(".") if name.isdecimal()}
    return [int(number) for _, number in second.taken.choices if number in named]


def regions_of(mask: np.ndarray, taken: Sequence[int]) -> np.ndarray | None:
    """1 where a mask (K, H, W) is of a class that is taken from the second look; None for none."""
    return (mask[list(taken)].max(0) > 0.5).astype(np.int64) if taken else None
