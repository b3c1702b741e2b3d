"""The three jobs as named endpoints, for programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from .inputs import explained, mask_drawing, painted_mask, pose_of, read_label_map, read_photo
from .page import PAINTING, as_file
from .painters import Painter, missing_model

File = Mapping[str, Any]
Pictures = tuple[str, str]


def endpoints(painters: Mapping[str, Painter | None]) -> None:
    """`/mask_to_image`, `/edge_to_face` and `/pose_to_body`; each gives picture, warped exemplar.

    Without a pipeline an endpoint says how to get one.
    """

    def mask_to_image(mask: File, exemplar: File, exemplar_mask: File | None = None) -> Pictures:
        """Paint a label map (index map, palette PNG or class colours) with an exemplar's look."""
        painter = _painter("mask-to-image")

        def read(file: File, what: str) -> Any:
            labels = read_label_map(file, what)
            size = labels.size
            return painted_mask(mask_drawing(labels, painter.condition, *size), painter.condition)

        own = None if exemplar_mask is None else read(exemplar_mask, "exemplar_mask")
        return _pictures(painter, read(mask, "mask"), exemplar, own)

    def edge_to_face(picture: File, exemplar: File, drawing: bool = False) -> Pictures:
        """Paint a photo's edges, or with drawing=True drawn lines, with an exemplar's look."""
        source: Any = read_photo(picture, "picture")
        painter = _painter("edge-to-face")
        return _pictures(painter, {"edges": source} if drawing else source, exemplar)

    def pose_to_body(
        pose: dict[str, Any], exemplar: File, exemplar_pose: dict[str, Any] | None = None
    ) -> Pictures:
        """Paint a pose (OpenPose JSON, or {"keypoints", "size"}) with an exemplar's look."""
        own = None if exemplar_pose is None else pose_of(exemplar_pose)
        return _pictures(_painter("pose-to-body"), pose_of(pose), exemplar, own)

    def _painter(tab: str) -> Painter:
        painter = painters[tab]
        if painter is None:
            raise ValueError(missing_model(tab))
        return painter

    with gr.Row(visible=False):
        picture, exemplar, own = (gr.Image(image_mode=None, format="png") for _ in range(3))
        pose, own_pose = gr.JSON(), gr.JSON()
        drawing = gr.Checkbox()
        results = [gr.Image(format="png"), gr.Image(format="png")]
        jobs: list[tuple[Callable, list]] = [
            (mask_to_image, [picture, exemplar, own]),
            (edge_to_face, [picture, exemplar, drawing]),
            (pose_to_body, [pose, exemplar, own_pose]),
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
    return as_file(painting.image), as_file(painting.warped)
