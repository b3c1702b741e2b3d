"""The three jobs as named endpoints, for programs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr
from PIL import Image

from .inputs import explained, painted_mask, pose_of, read_lines, read_photo, show, uploaded_mask
from .page import PAINTING
from .painters import Painter, missing_model
from .result import as_file

FILES = "Pictures are files that the client uploads; addresses of others are refused."

POSE = "pose: the content of a keypoint file, or {keypoints, size: [height, width]}"

File = Mapping[str, Any]
Pictures = tuple[str, str | None]


def endpoints(painters: Mapping[str, Painter | None]) -> None:
    """`/mask_to_image`, `/edge_to_face` and `/pose_to_body`; each gives picture, warped exemplar.

    The latter is None of a pipeline that does not match. Without a pipeline an endpoint says how to
    get one.
    """

    def mask_to_image(mask: File, exemplar: File, exemplar_mask: File | None = None) -> Pictures:
        """Paint a label map (index map, palette PNG or class colours) with an exemplar's look."""
        return _of_masks("mask-to-image", mask, exemplar, exemplar_mask)

    def mask_to_landscape(
        mask: File, exemplar: File, exemplar_mask: File | None = None
    ) -> Pictures:
        """The same with the classes of landscapes; what the exemplar shows is read where no mask of
        it is given."""
        return _of_masks("mask-to-landscape", mask, exemplar, exemplar_mask)

    def _of_masks(tab: str, mask: File, exemplar: File, exemplar_mask: File | None) -> Pictures:
        painter = _painter(tab)
        photo = read_photo(exemplar, "exemplar")

        def read(file: File, what: str, photo: Image.Image | None = None) -> Any:
            drawing = uploaded_mask(file, what, painter.condition, photo)
            return painted_mask(drawing, painter.condition)

        own = None if exemplar_mask is None else read(exemplar_mask, "exemplar_mask", photo)
        return _pictures(painter, read(mask, "mask"), photo, own)

    def edge_to_face(picture: File, exemplar: File, drawing: bool = False) -> Pictures:
        """Paint a photo's edges, or with drawing=True drawn lines, with an exemplar's look."""
        painter = _painter("edge-to-face")
        if drawing:
            source = painter.condition.opened({"edges": read_lines(picture, "picture")})
            show(source.notes, "A drawing that may be none")
        else:
            source = read_photo(picture, "picture")
        return _pictures(painter, source, read_photo(exemplar, "exemplar"))

    def pose_to_body(
        pose: Any,
        exemplar: File,
        exemplar_pose: Any | None = None,
        person: int | None = None,
        exemplar_person: int | None = None,
    ) -> Pictures:
        """Paint a pose (a keypoint file's content, or {"keypoints", "size"}) with an exemplar's
        look. Of several people the one who is there most counts, or the given one, from 0."""
        painter = _painter("pose-to-body")
        min_score = painter.condition.min_score
        own = None if exemplar_pose is None else pose_of(exemplar_pose, min_score, exemplar_person)
        photo = read_photo(exemplar, "exemplar")
        return _pictures(painter, pose_of(pose, min_score, person), photo, own)

    def _painter(tab: str) -> Painter:
        painter = painters[tab]
        if painter is None:
            raise ValueError(missing_model(tab))
        return painter

    with gr.Row(visible=False):
        results = [_picture("the painted picture"), _picture("the exemplar, warped into place")]
        exemplar = _picture("exemplar: the photo whose look is wanted")
        own_mask = _picture("exemplar_mask: the exemplar's own label map, where the model needs it")
        own_pose = gr.JSON(label="exemplar_pose: the exemplar's own pose, in the same form")
        drawing = gr.Checkbox(label="drawing: whether the picture is a drawing of lines")
        people = [
            gr.Number(None, precision=0, label=f"{name}: which of several people, from 0")
            for name in ("person", "exemplar_person")
        ]
        jobs: list[tuple[Callable, list]] = [
            (mask_to_image, [_picture("mask: a label map"), exemplar, own_mask]),
            (mask_to_landscape, [_picture("mask: a label map"), exemplar, own_mask]),
            (edge_to_face, [_picture("picture: a photo or a drawing"), exemplar, drawing]),
            (pose_to_body, [gr.JSON(label=POSE), exemplar, own_pose, *people]),
        ]
        for job, inputs in jobs:
            gr.Button().click(
                explained(job),
                inputs,
                results,
                api_name=job.__name__,
                api_description=f"{inspect.cleandoc(job.__doc__ or '')} {FILES}",
                preprocess=False,
                **PAINTING,
            )


def _picture(label: str) -> gr.Image:
    return gr.Image(image_mode=None, format="png", label=label)


def _pictures(painter: Painter, condition: Any, photo: Image.Image, own: Any = None) -> Pictures:
    painting = painter.paint(condition, photo, own)
    warped = None if painting.warped is None else as_file(painting.warped)
    return as_file(painting.image), warped
