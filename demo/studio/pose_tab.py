"""The tab of poses: move the joints of a figure, or have them found in a photo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr
import numpy as np
from gradio.events import Dependency
from PIL import Image

from cocosnet_hf import Pose, PoseCondition
from cocosnet_hf.conditions.pose import COLORS, DEFAULT_POSE_ESTIMATOR, JOINTS, LIMBS
from cocosnet_hf.person_reader import NotFoundInPhotoError
from cocosnet_hf.photos import cut_out

from .fitting import CUT_OUT, fits
from .gallery import Exhibit, Gallery, standing_figure
from .inputs import (
    as_figure,
    downloaded,
    explained,
    people_of,
    posed,
    read_keypoints,
    read_photo,
)
from .page import (
    LAST,
    RAW,
    SLOW,
    ExemplarColumn,
    ExemplarCondition,
    Layout,
    board,
    card,
    examples_of,
    look_column,
    result_column,
    upload_button,
)
from .painters import Painter
from .result import as_data
from .wiring import wire

LOOK_HINT = "One person from head to feet. Yours is cut out on white, as the model knows people."

JOINTS_OF_LOOK = "Joints of the look"
"""Where a visitor finds them."""

GUIDE_SIDE = 384
"""Longer side of a photo beneath a figure, in pixels."""


def pose_tab(tab: str, painter: Painter, gallery: Gallery) -> None:
    """The tab's content."""
    condition: PoseCondition = painter.condition
    with gr.Row(equal_height=False):
        with card(1, "Pose the figure", "Drag its joints, or use the keyboard."):
            layout = _layout(tab, condition, gallery)
        with card(2, "Choose the look", LOOK_HINT):
            # One limb moves the whole condition.
            look = look_column(tab, gallery, fitted_by=CUT_OUT, can_keep=False)
            own = _own_pose(tab, painter, gallery, look, fits(tab, look, cut_out))
        result = result_column(tab, layout)
    wire(painter, gallery, layout, look, result, own)

    @explained
    def edit(file: dict[str, Any] | None, *pose: Any) -> gr.HTML:
        photo = read_photo(file, "look")
        if own.parts:
            return gr.HTML(figure(own.read(*pose), condition), guide=guide_of(photo))
        if (exhibit := gallery.find(photo)) is not None:
            return gr.HTML(figure(exhibit.condition, condition), guide=guide_of(photo))
        return found_in(photo, condition, standing_figure())

    look.edit.click(edit, [look.exemplar, *own.parts], layout.editor, **RAW)


def figure(pose: Pose, condition: PoseCondition) -> dict[str, Any]:
    """A pose for the editor."""
    return as_figure(pose, standing_figure(), condition.min_score)


def pose_board(pose: Pose, condition: PoseCondition, elem_id: str, guide: str = "") -> gr.HTML:
    """An editor that shows a pose. guide: a photo that the pose belongs to."""
    return board(
        "pose",
        figure(pose, condition),
        elem_id,
        names=JOINTS,
        limbs=[list(limb) for limb in LIMBS],
        colors=["#{:02x}{:02x}{:02x}".format(*color) for color in COLORS],
        guide=guide,
        bound=bool(guide),
    )


def guide_of(picture: Image.Image) -> str:
    """A photo to lie beneath a figure."""
    small = picture.convert("RGB")
    small.thumbnail((GUIDE_SIDE, GUIDE_SIDE))
    return as_data(small, "guide.jpg")


def somebody(pose: Pose, remedy: str) -> Pose:
    """A pose, if any of its joints is shown. Raises ValueError with the remedy where none is."""
    if np.isnan(pose.joints[:, 0]).all():
        raise ValueError(remedy)
    return pose


def found_in(
    photo: Image.Image, condition: PoseCondition, otherwise: np.ndarray, is_told: bool = True
) -> gr.HTML:
    """The editor with a photo beneath and its pose, by the optional model where that is here.

    otherwise: the joints (18, 2) as shares of the photo where nobody is seen. is_told: whether the
    visitor is told of that.
    """
    guide = guide_of(photo)
    try:
        try:
            found = condition.from_photo(photo, downloaded(DEFAULT_POSE_ESTIMATOR))
        except (ImportError, OSError):
            found = condition.from_photo(photo)
    except NotFoundInPhotoError as error:
        if is_told:
            title = "Move the joints by hand"
            gr.Warning(f"{error} Or drag the joints onto this photo.", title=title)
        joints = otherwise * (photo.width, photo.height)
        found = Pose.from_array(joints, (photo.height, photo.width))
    return gr.HTML(figure(found, condition), guide=guide)


def _layout(tab: str, condition: PoseCondition, gallery: Gallery) -> Layout:
    editor = pose_board(gallery.layout.condition, condition, f"{tab}-pose")
    editor.value["example"] = 0
    with gr.Row(elem_classes="buttons"):
        photo = upload_button("Take a photo's pose", f"{tab}-photo")
        keypoints = upload_button("Use a file of joints", f"{tab}-upload", ".json")
    person = gr.Dropdown(
        label="Person in the file", choices=[], visible=False, elem_id=f"{tab}-person"
    )
    examples = examples_of(tab, gallery.previews())

    def example(index: int) -> list[Any]:
        posed_so = figure(gallery[index].condition, condition)
        return [gr.HTML(posed_so | {"example": index}, guide="")]

    @explained
    def uploaded(file: dict[str, Any] | None) -> gr.HTML:
        return gr.HTML(figure(read_keypoints(file, condition.min_score), condition), guide="")

    @explained
    def choices(file: dict[str, Any] | None) -> gr.Dropdown:
        found = people_of(file, condition.min_score)
        named = [(f"Person {index}", index) for index in found.people]
        return gr.Dropdown(named, value=found.person, visible=len(named) > 1)

    @explained
    def choose(file: dict[str, Any] | None, index: int | None) -> gr.HTML:
        pose = read_keypoints(file, condition.min_score, person=index)
        return gr.HTML(figure(pose, condition), guide="")

    @explained
    def from_photo(file: dict[str, Any] | None) -> gr.HTML:
        return found_in(read_photo(file, "photo"), condition, standing_figure())

    opened = keypoints.upload(uploaded, keypoints, editor, **RAW)
    opened.success(choices, keypoints, person, **RAW)
    person.input(choose, [keypoints, person], editor, **(LAST | RAW))
    loads = [opened, photo.upload(from_photo, photo, editor, **SLOW)]

    def read(value: dict[str, Any] | None) -> Pose:
        return somebody(posed(value), "All joints are hidden: show some, or start from an example.")

    return Layout(editor, examples, example, [editor], read, read, loads=loads)


def _own_pose(
    tab: str,
    painter: Painter,
    gallery: Gallery,
    look: ExemplarColumn,
    fitting: Sequence[Dependency],
) -> ExemplarCondition:
    """Where the exemplar's joints are; the gallery's pictures bring theirs."""
    if not painter.takes_exemplar_condition:
        return ExemplarCondition()
    condition: PoseCondition = painter.condition
    first = gallery.look
    with gr.Accordion(JOINTS_OF_LOOK, open=False, elem_id=f"{tab}-joints"):
        guide = guide_of(first.picture)
        editor = pose_board(first.condition, condition, f"{tab}-exemplar-pose", guide)

    def offer(exhibit: Exhibit) -> list[Any]:
        return [gr.HTML(figure(exhibit.condition, condition), guide=guide_of(exhibit.picture))]

    @explained
    def uploaded(file: dict[str, Any] | None) -> gr.HTML:
        photo = read_photo(file, "look")
        if (exhibit := gallery.find(photo)) is not None:
            return gr.HTML(figure(exhibit.condition, condition), guide=guide_of(photo))
        # Joints that are not known guide nothing, until the visitor shows them; that nobody is seen
        # was told when the photo was to be cut.
        unknown = np.full((len(JOINTS), 2), np.nan)
        return found_in(photo, condition, unknown, is_told=False)

    def read(value: dict[str, Any] | None) -> Pose:
        pose = posed(value)
        if not painter.pipe.needs_exemplar_condition:
            return pose
        return somebody(
            pose, f"Nobody is known in the look: open “{JOINTS_OF_LOOK}” and show some."
        )

    for event in fitting:
        event.success(uploaded, look.exemplar, editor, **SLOW)
    return ExemplarCondition([editor], read, offer)
