"""Poses: body joints of one person to a stick figure and one distance map per limb."""

from __future__ import annotations

import colorsys
import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..person_reader import PERSON, NotFoundInPhotoError, read_person
from ..pictures import MIN_SIDE, Picture, open_photo, resize_plane, to_image
from ..propagation import Guide
from .base import Condition, ConditionCard, Geometry, Given, Landmarks, Source
from .descriptors import pose_descriptor
from .joints import BODY_25, COCO, JOINTS, LIMBS, Pose, read_keypoints, read_pose
from .lines import truncated_distance
from .posed import posed_guide
from .regions import kept
from .skinning import skinned

__all__ = ["BODY_25", "COCO", "COLORS", "JOINTS", "LIMBS", "Pose", "PoseCondition", "read_pose"]

COLORS = tuple(
    tuple(round(255 * part) for part in reversed(colorsys.hsv_to_rgb(step / 18, 1, 1)))
    for step in range(18)
)
"""RGB of joint and limb k: the hue wheel in steps of 20 degrees, red and blue exchanged."""

THICKNESS = 4
"""Half the width of a limb and radius of a joint, in source pixels."""

LONGEST = 2048
"""Longer side, in pixels, of the picture that a figure is drawn in. The 17 maps of distances of a
phone's photo, which are made smaller then, would take seconds and gigabytes."""

DEFAULT_POSE_ESTIMATOR = "usyd-community/vitpose-base-simple"


@dataclasses.dataclass(frozen=True)
class PoseCondition(Condition):
    """A person's pose: a coloured stick figure, distances to its limbs (official networks, 8.4).

    20 channels: 0..2 the stick figure in RGB, 3..19 the distance to each of `LIMBS`, 1 everywhere
    for a missing limb. Drawn, then resized.

    min_score: joints whose score is not above it are left out. reach: distance in pixels at which
    a channel is 1, officially so far that pictures of 256 px only see a third of the range.
    draw_height: of the picture that the figure is drawn in, so that poses of any size look alike;
    None draws at the pose's own size, as officially, up to `LONGEST`. person: which of several
    people in a source is meant, from 0; None takes the one who is there most, and says so.

    Sources that `encode` accepts: a `Pose`; the path, text or content of a keypoint file of any
    common kind that says the size of its picture; {"openpose": any of these, "size": (height,
    width), "person": 1, "frame": 0}, where each but the first may be left out; {"candidate": ...,
    "subset": ..., "size": ...}; {"keypoints": (17|18|25, 2|3), "size": ...}; see `read_keypoints`.
    """

    type: ClassVar[str] = "pose"
    has_joints: ClassVar[bool] = True
    drawn: ClassVar[str] = "pose"
    column: ClassVar[str] = "keypoints"
    stored_as: ClassVar[str] = ".json"

    min_score: float = 0.0
    reach: float = 765.0
    draw_height: int | None = None
    person: int | None = None

    def __post_init__(self) -> None:
        if not self.reach > 0:
            raise ValueError(f"'reach' must be a positive number of pixels, got {self.reach}.")
        if self.draw_height is not None and self.draw_height < 32:
            raise ValueError(f"'draw_height' must be 32 or more pixels, got {self.draw_height}.")
        if not 0 <= self.min_score < 1:
            raise ValueError(f"'min_score' must be in [0, 1), got {self.min_score}.")
        if self.person is not None and self.person < 0:
            raise ValueError(f"'person' must be 0 or more, got {self.person}.")

    @property
    def channels(self) -> int:
        """Stick figure and limbs."""
        return 3 + len(LIMBS)

    def opened(self, source: Any, photo_size: tuple[int, int] | None = None) -> Source:
        """The `Pose`; its size is that of the picture it was found in.

        photo_size: where nothing else says the size. Raises as `read_keypoints` says.
        """
        of_poses = isinstance(source, Pose)  # which are one person
        reading = read_keypoints(
            source,
            photo_size=photo_size,
            person=None if of_poses or _names_person(source) else self.person,
            min_score=self.min_score,
        )
        return Source(reading.pose, reading.pose.size, reading.notes)

    def encode(self, source: Any, height: int, width: int) -> Tensor:
        """(20, height, width) float32 in [0, 1]; see the class for what `source` may be.

        Raises ValueError for unreadable poses and where no joint is left to draw.
        """
        pose = self._to_draw(self.open(source).value)
        present = pose.joints[:, 2] > self.min_score
        if not present.any():
            raise ValueError(
                f"No joint of the pose has a score above min_score={self.min_score}; there is "
                "nobody to draw."
            )
        canvas: np.ndarray = np.zeros((*pose.size, 3), np.uint8)
        for joint in np.flatnonzero(present):
            center = pose.joints[joint, :2].astype(int).tolist()
            cv2.circle(canvas, center, THICKNESS, COLORS[joint], cv2.FILLED)
        planes = []
        for number, (first, second) in enumerate(LIMBS):
            shape = np.zeros(pose.size, np.uint8)
            if present[first] and present[second]:
                outline = limb_outline(pose.joints[first, :2], pose.joints[second, :2])
                cv2.fillConvexPoly(shape, outline, 1)
                painted = cv2.fillConvexPoly(canvas.copy(), outline, COLORS[number])
                canvas = cv2.addWeighted(canvas, 0.4, painted, 0.6, 0)
            distance = truncated_distance(shape > 0, self.reach)
            planes.append(resize_plane(distance, height, width, Image.Resampling.BILINEAR))
        figure = [
            resize_plane(plane, height, width, Image.Resampling.NEAREST)
            for plane in np.ascontiguousarray(canvas.transpose(2, 0, 1))
        ]
        return torch.from_numpy(np.stack(figure + planes)).float() / 255

    def _to_draw(self, pose: Pose) -> Pose:
        """The pose in a picture that is `draw_height` high and no longer than `LONGEST`."""
        scale = (self.draw_height or pose.size[0]) / pose.size[0]
        scale *= min(1, max(LONGEST, self.draw_height or 0) / (scale * max(pose.size)))
        if scale == 1:
            return pose
        return pose.resized(*(max(MIN_SIDE, round(side * scale)) for side in pose.size))

    def preview(self, encoded: Tensor) -> Image.Image:
        """The stick figure on black."""
        return to_image(self.one_encoded(encoded)[:3], low=0)

    def from_photo(self, photo: Picture, model: str = PERSON) -> Pose:
        """Find the pose of the largest person with the bundled network, or by a ViTPose model.

        model: "person", or Hub id or folder of a transformers ViTPose model, which finds joints
        better, takes the whole photo for the person and needs the extra `preprocess`; such as
        `DEFAULT_POSE_ESTIMATOR`. Raises ValueError where the bundled network sees nobody.
        """
        image = open_photo(photo)
        if model == PERSON:
            return Pose.from_array(read_person(image).joints, (image.height, image.width))
        processor, network = _load_estimator(model)
        boxes = [[[0.0, 0.0, float(image.width), float(image.height)]]]
        with torch.inference_mode():
            output = network(**processor(image, boxes=boxes, return_tensors="pt"))
        person = processor.post_process_pose_estimation(output, boxes=boxes)[0][0]
        keypoints = torch.cat([person["keypoints"], person["scores"][:, None]], dim=1)
        return Pose.from_array(keypoints, (image.height, image.width))

    def find_pose(self, photo: Image.Image, model: str) -> Pose:
        """As `from_photo` finds it."""
        return self.from_photo(photo, model)

    @property
    def has_landmarks(self) -> bool:
        """The joints."""
        return True

    @property
    def least_score(self) -> float:
        """See `min_score`."""
        return self.min_score

    def with_size(self, source: Any, size: tuple[int, int]) -> dict[str, Any]:
        """Keypoints that do not say how large their picture is."""
        return _wrapped(source) | {"size": size}

    def of_several(
        self, source: Any, person: int | None = None, frame: int | str | None = None
    ) -> dict[str, Any]:
        """Keypoints of several people or frames, and which of them is meant."""
        chosen = {"person": person, "frame": frame}
        return _wrapped(source) | {key: one for key, one in chosen.items() if one is not None}

    def from_row(self, value: Any, photo: Image.Image, name: str) -> Source:
        """Keypoints of any kind that `open` takes; without a size they are the photo's.

        Raises ValueError, naming the row, also where the keypoints say that their picture has
        another aspect than the photo.
        """
        try:
            source = self.opened(value, (photo.height, photo.width))
        except (ValueError, OSError) as error:
            raise ValueError(f"The pose of '{name}' cannot be read: {error}") from error
        height, width = source.size
        # Sides of a picture that was made smaller are off by up to a pixel.
        if abs(height * photo.width - width * photo.height) > max(*photo.size, height, width):
            raise ValueError(
                f"The pose of '{name}' lies on a picture of {height} x {width} (height x width), "
                f"its photo has {photo.height} x {photo.width}: one is turned or cropped. Bring "
                "both to one aspect."
            )
        if not (source.value.joints[:, 2] > self.min_score).any():
            raise ValueError(f"No joint of '{name}' has a score above min_score={self.min_score}.")
        return source

    def moved(self, source: Source, geometry: Geometry, photo: Image.Image) -> Source:
        """The joints' new places, of which some may be cut off."""
        pose = geometry.pose(source.value)
        return Source(pose, pose.size)

    def joints(self, source: Source, geometry: Geometry) -> np.ndarray:
        """The joints that count, in pixels; NaN for the others."""
        joints = geometry.joints(source.value)
        joints[joints[:, 2] <= self.min_score] = np.nan
        return joints

    def landmarks(self, source: Source | Tensor) -> Landmarks | None:
        """The joints that count, (18, 2); None of an encoded pose."""
        return None if isinstance(source, Tensor) else self._landmarks(source.value)

    def _landmarks(self, pose: Pose) -> Landmarks:
        joints, (height, width) = pose.joints, pose.size
        places = joints[:, :2] / (width, height)
        places[joints[:, 2] <= self.min_score] = np.nan
        return Landmarks(torch.from_numpy(places).float())

    def landmarks_in(self, photo: Picture, source: Given = None) -> Landmarks | None:
        """The joints, and what is worn as the bundled network sees it; of joints alone, see above.

        Without a source the joints are those that it sees. None where it sees nobody.
        """
        given = None if source is None else self.landmarks(source)
        try:
            person = read_person(photo)
        except NotFoundInPhotoError:
            return given
        height, width = person.labels.shape
        places = given or self._landmarks(Pose.from_array(person.joints, (height, width)))
        return dataclasses.replace(places, labels=kept(person.labels), is_read=True)

    def guide(self, own: Landmarks, exemplar: Landmarks, exemplar_grid: tuple[int, int]) -> Guide:
        """Along and beside the limbs, each with what belongs to it where that was seen."""
        if exemplar.labels is not None:
            return posed_guide(own, exemplar, exemplar_grid)
        moved = skinned(own.points, exemplar.points, exemplar_grid)

        @functools.lru_cache(maxsize=4)  # of a call: the grid's, the window's and the picture's
        def places(size: tuple[int, int]) -> Tensor:
            found = moved(size)
            return torch.from_numpy(np.stack([found.real, found.imag], axis=-1)).float()

        return places

    def descriptor(self, source: Any) -> np.ndarray:
        """Where each joint lies, see `pose_descriptor`."""
        return pose_descriptor(self.open(source).value, self.min_score)

    def store(self, source: Any, path: Path, height: int, width: int) -> None:
        """As an OpenPose file, in the pose's own size."""
        path.write_text(json.dumps(self.open(source).value.to_openpose()) + "\n")

    def card(self) -> ConditionCard:
        """Its limbs and their colours."""
        text = (
            "One person's 18 OpenPose joints: OpenPose JSON, COCO or OpenPose arrays, or "
            "`pipe.condition.from_photo(photo)`. Joints may be missing"
        )
        if self.min_score:
            text += f", and count as missing up to a score of {self.min_score:g}"
        return ConditionCard(
            summary="a body pose",
            source='"pose.json"',
            exemplar_source='"exemplar_pose.json"',
            text=f"{text}.",
            header=["limb", "colour"],
            rows=[
                [f"{JOINTS[first]} to {JOINTS[second]}", "`#{:02x}{:02x}{:02x}`".format(*color)]
                for (first, second), color in zip(LIMBS, COLORS, strict=False)
            ],
        )


def limb_outline(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The polygon around a limb: an ellipse from joint to joint, one corner per degree, (N, 2)."""
    x, y = ((start + end) / 2).astype(int).tolist()
    across, down = start - end
    angle = int(np.degrees(np.arctan2(down, across)))
    axes = (int(np.hypot(across, down) / 2), THICKNESS)
    return np.asarray(cv2.ellipse2Poly((x, y), axes, angle, 0, 360, 1))


def _wrapped(source: Any) -> dict[str, Any]:
    """A source as {"openpose": source}, beside which its size and person may stand."""
    is_wrapped = isinstance(source, Mapping) and "openpose" in source
    return dict(source) if is_wrapped else {"openpose": source}


def _names_person(source: Any) -> bool:
    """Whether a source says itself which person is meant."""
    return isinstance(source, Mapping) and source.get("person") is not None


@functools.lru_cache(maxsize=2)
def _load_estimator(model: str) -> tuple[Any, Any]:
    try:
        from transformers import AutoImageProcessor, VitPoseForPoseEstimation
    except ImportError as error:
        raise ImportError(
            "Finding a pose in a photo needs transformers: pip install -U transformers"
        ) from error
    processor = AutoImageProcessor.from_pretrained(model)
    return processor, VitPoseForPoseEstimation.from_pretrained(model).eval()
