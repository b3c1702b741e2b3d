"""The three jobs as named endpoints, for programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from .inputs import explained, painted_mask, pose_of, read_lines, read_photo, show, uploaded_mask
from .page import PAINTING
from .painters import Painter, missing_model
from .result import as_file

File = Mapping[str, Any]
Pictures = tuple[str, str | None]


def endpoints(painters: Mapping[str, Painter | None]) -> None:
    """`/mask_to_image`, `/edge_to_face` and `/pose_to_body`; each gives picture, warped exemplar.

    The latter is None of a pipeline that does not match. Without a pipeline an endpoint says how to
    get one.
    """

    def mask_to_image(mask: File, exemplar: File, exemplar_mask: File | None = None) -> Pictures:
        """Paint a label map (index map, palette PNG or class colours) with an exemplar's look."""
        painter = _painter("mask-to-image")

        def read(file: File, what: str) -> Any:
            return painted_mask(uploaded_mask(file, what, painter.condition), painter.condition)

        own = None if exemplar_mask is None else read(exemplar_mask, "exemplar_mask")
        return _pictures(painter, read(mask, "mask"), exemplar, own)

    def edge_to_face(picture: File, exemplar: File, drawing: bool = False) -> Pictures:
        """Paint a photo's edges, or with drawing=True drawn lines, with an exemplar's look."""
        painter = _painter("edge-to-face")
        if drawing:
            source = painter.condition.opened({"edges": read_lines(picture, "picture")})
            show(source.notes, "A drawing that may be none")
            return _pictures(painter, source, exemplar)
        return _pictures(painter, read_photo(picture, "picture"), exemplar)

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
        return _pictures(painter, pose_of(pose, min_score, person), exemplar, own)

    def _painter(tab: str) -> Painter:
        painter = painters[tab]
        if painter is None:
            raise ValueError(missing_model(tab))
        return painter

    with gr.Row(visible=False):
        picture, exemplar, own = (gr.Image(image_mode=None, format="png") for _ in range(3))
        pose, own_pose = gr.JSON(), gr.JSON()
        person, own_person = gr.Number(None, precision=0), gr.Number(None, precision=0)
        drawing = gr.Checkbox()
        results = [gr.Image(format="png"), gr.Image(format="png")]
        jobs: list[tuple[Callable, list]] = [
            (mask_to_image, [picture, exemplar, own]),
            (edge_to_face, [picture, exemplar, drawing]),
            (pose_to_body, [pose, exemplar, own_pose, person, own_person]),
        ]
        for job, inputs in jobs:
            gr.Button().click(
                explained(job),
                inputs,
                results,
                api_name=job.__name__,
                preprocess=False,
                **PAINTING,
            )


def _pictures(painter: Painter, condition: Any, exemplar: File, own: Any = None) -> Pictures:
    painting = painter.paint(condition, read_photo(exemplar, "exemplar"), own)
    warped = None if painting.warped is None else as_file(painting.warped)
    return as_file(painting.image), warped
