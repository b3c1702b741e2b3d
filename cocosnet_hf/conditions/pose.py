"""Poses: body joints of one person to a stick figure and one distance map per limb."""

from __future__ import annotations

import colorsys
import dataclasses
import functools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .base import MIN_SIDE, Condition, Picture, open_photo, resize_plane
from .edge import truncated_distance

JOINTS = (
    "nose neck r_shoulder r_elbow r_wrist l_shoulder l_elbow l_wrist r_hip r_knee r_ankle l_hip "
    "l_knee l_ankle r_eye l_eye r_ear l_ear"
).split()
"""OpenPose's 18 joints, in the order of `Pose.joints`."""

LIMBS = tuple(
    (JOINTS.index(first), JOINTS.index(second))
    for first, second in (
        pair.split("-")
        for pair in (
            "neck-r_shoulder neck-l_shoulder r_shoulder-r_elbow r_elbow-r_wrist "
            "l_shoulder-l_elbow l_elbow-l_wrist neck-r_hip r_hip-r_knee r_knee-r_ankle neck-l_hip "
            "l_hip-l_knee l_knee-l_ankle neck-nose nose-r_eye r_eye-r_ear nose-l_eye l_eye-l_ear"
        ).split()
    )
)
"""The 17 limbs as pairs of joint indices, in the order of the channels (official networks, 8.4)."""

BODY_25 = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)
"""Where OpenPose's BODY_25 output (with a mid-hip at 8) holds the 18 joints."""

# Where COCO's 17 keypoints hold the joints; the neck is made from the shoulders.
COCO = {
    "nose": 0, "l_eye": 1, "r_eye": 2, "l_ear": 3, "r_ear": 4, "l_shoulder": 5, "r_shoulder": 6,
    "l_elbow": 7, "r_elbow": 8, "l_wrist": 9, "r_wrist": 10, "l_hip": 11, "r_hip": 12, "l_knee": 13,
    "r_knee": 14, "l_ankle": 15, "r_ankle": 16,
}  # fmt: skip

COLORS = tuple(
    tuple(round(255 * part) for part in reversed(colorsys.hsv_to_rgb(step / 18, 1, 1)))
    for step in range(18)
)
"""RGB of joint and limb k: the hue wheel in steps of 20 degrees, red and blue exchanged."""

THICKNESS = 4
"""Half the width of a limb and radius of a joint, in source pixels."""

DEFAULT_POSE_ESTIMATOR = "usyd-community/vitpose-base-simple"


@dataclasses.dataclass(frozen=True, eq=False)
class Pose:
    """The joints of one person.

    joints: (18, 3) float64, x and y in pixels from the top left and a score; a joint that was not
        found has NaN coordinates and score 0. Order: `JOINTS`.
    size: (height, width) in pixels of the picture that the coordinates refer to.
    """

    joints: np.ndarray
    size: tuple[int, int]

    def __post_init__(self) -> None:
        joints = np.array(self.joints, dtype=np.float64)
        if joints.shape != (len(JOINTS), 3):
            raise ValueError(
                f"A pose has {len(JOINTS)} joints of (x, y, score), got shape {joints.shape}; "
                "Pose.from_array, from_coco and from_openpose_json convert other layouts."
            )
        if np.isinf(joints).any():
            raise ValueError("A pose must not contain infinite values; a missing joint is NaN.")
        try:
            height, width = (int(side) for side in self.size)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"A pose's size must be (height, width), got {self.size}.") from error
        if min(height, width) < MIN_SIDE:
            raise ValueError(
                f"A pose's size must be (height, width) of at least {MIN_SIDE}, got {self.size}."
            )
        if height * width > (Image.MAX_IMAGE_PIXELS or float("inf")):
            raise ValueError(
                f"A pose's size of {height} x {width} has more pixels than Pillow's limit of "
                f"{Image.MAX_IMAGE_PIXELS:,}; scale the joints and the size down together."
            )
        missing = np.isnan(joints).any(1)
        joints[missing] = (np.nan, np.nan, 0)
        if not missing.all():
            reach = np.abs(joints[~missing, :2]).max()
            if reach <= 1:
                raise ValueError(
                    "The joints' coordinates are all at most 1; they must be pixels: multiply x "
                    "by the width and y by the height."
                )
            if reach > 4 * max(height, width):
                raise ValueError(
                    f"A joint lies {reach:.0f} pixels from the corner of a {height} x {width} "
                    "picture; the size must be (height, width) of the picture with the pose."
                )
        joints.setflags(write=False)
        object.__setattr__(self, "joints", joints)
        object.__setattr__(self, "size", (height, width))

    @classmethod
    def from_array(cls, joints: Any, size: tuple[int, int]) -> Pose:
        """From (18, 2 or 3) in OpenPose's order, (25, 2 or 3) as BODY_25 or (17, 2 or 3) as COCO.

        With scores, a score of 0 or less means missing; without, NaN, (0, 0) and (-1, -1) do.
        size: (height, width) of the picture in pixels.
        """
        if isinstance(joints, Tensor):
            joints = joints.detach().cpu().double().numpy()
        try:
            array = np.array(joints, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"Joints must be rows of numbers, equally long: {error}.") from error
        if array.ndim != 2 or array.shape[0] not in (17, 18, 25) or array.shape[1] not in (2, 3):
            raise ValueError(
                "Joints must be (18, 2|3) in OpenPose order, (25, 2|3) BODY_25 or (17, 2|3) COCO, "
                f"got shape {array.shape}."
            )
        if array.shape[1] == 2:
            missing = (array == 0).all(1) | (array == -1).all(1)
            array = np.concatenate([array, np.where(missing, 0.0, 1.0)[:, None]], axis=1)
        array[~(array[:, 2] > 0)] = np.nan
        if len(array) == 17:
            return cls.from_coco(array, size)
        return cls(array[list(BODY_25)] if len(array) == 25 else array, size)

    @classmethod
    def from_coco(cls, keypoints: np.ndarray, size: tuple[int, int]) -> Pose:
        """From COCO's (17, 3) x, y, score; the neck is the middle of the shoulders."""
        keypoints = np.asarray(keypoints, dtype=np.float64)
        joints = np.full((len(JOINTS), 3), np.nan)
        for name, index in COCO.items():
            joints[JOINTS.index(name)] = keypoints[index]
        shoulders = keypoints[[COCO["r_shoulder"], COCO["l_shoulder"]]]
        joints[JOINTS.index("neck")] = (*shoulders[:, :2].mean(0), shoulders[:, 2].min())
        return cls(joints, size)

    def resized(self, height: int) -> Pose:
        """The same pose in a picture of this height, with all sides in proportion."""
        scale = height / self.size[0]
        width = max(MIN_SIDE, round(self.size[1] * scale))
        return Pose(self.joints * (width / self.size[1], scale, 1), (height, width))

    @classmethod
    def from_openpose_json(
        cls,
        source: str | os.PathLike[str] | Mapping[str, Any] | list[Any],
        size: tuple[int, int] | None = None,
        person: int = 0,
    ) -> Pose:
        """From an OpenPose JSON file or its content, 18 or 25 keypoints of people[person].

        Of a list of frames the first counts.
        size: (height, width); needed unless the JSON has `canvas_height` and `canvas_width`.
        Raises ValueError for another layout and where there is no such person.
        """
        if isinstance(source, (str, os.PathLike)):
            try:
                source = json.loads(Path(source).read_text())
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise ValueError(f"'{source}' is not a JSON file: {error}.") from error
        if isinstance(source, list) and source:
            source = source[0]
        if not isinstance(source, Mapping) or not isinstance(source.get("people"), list):
            raise ValueError("OpenPose JSON must be an object with a list 'people'.")
        people = source["people"]
        if not 0 <= person < len(people):
            raise ValueError(f"OpenPose found {len(people)} people; person {person} is not there.")
        found = people[person]
        numbers = found.get("pose_keypoints_2d") if isinstance(found, Mapping) else None
        if not isinstance(numbers, list):
            raise ValueError("A person in OpenPose JSON must have a list 'pose_keypoints_2d'.")
        if len(numbers) not in (3 * 18, 3 * 25):
            raise ValueError(
                "'pose_keypoints_2d' must hold 54 or 75 numbers (18 or 25 joints), got "
                f"{len(numbers)}."
            )
        if size is None:
            size = (source.get("canvas_height"), source.get("canvas_width"))
        if None in size:
            raise ValueError(
                "The JSON does not say how large its picture is; pass size=(height, width), as a "
                'condition {"openpose": path, "size": (height, width)}, or on the command line '
                "--condition-size or --exemplar-condition-size."
            )
        return cls.from_array([numbers[i : i + 3] for i in range(0, len(numbers), 3)], size)

    @classmethod
    def from_candidate_subset(cls, candidate: Any, subset: Any, size: tuple[int, int]) -> Pose:
        """From OpenPose's candidate (N, >= 3: x, y, score) and subset (>= 18 rows into it, or -1).

        Each an array or the path of a text file; of several people the first row of subset counts.
        """
        candidate = _read_table(candidate, "candidate")
        rows = _read_table(subset, "subset")[0][: len(JOINTS)]
        if candidate.shape[1] < 3 or len(rows) < len(JOINTS):
            raise ValueError(
                "'candidate' must be (N, >= 3) and 'subset' at least 18 numbers, got "
                f"{candidate.shape} and {len(rows)}."
            )
        if rows.max() >= len(candidate):
            raise ValueError(
                f"'subset' names row {rows.max():.0f}, but 'candidate' has {len(candidate)} rows."
            )
        joints = np.full((len(JOINTS), 3), np.nan)
        found = rows >= 0
        joints[found] = candidate[rows[found].astype(int), :3]
        return cls(joints, size)


@dataclasses.dataclass(frozen=True)
class PoseCondition(Condition):
    """A person's pose: a coloured stick figure, distances to its limbs (official networks, 8.4).

    20 channels: 0..2 the stick figure in RGB, 3..19 the distance to each of `LIMBS`, 1 everywhere
    for a missing limb. Drawn, then resized.

    min_score: joints whose score is not above it are left out. reach: distance in pixels at which
    a channel is 1, officially so far that pictures of 256 px only see a third of the range.
    draw_height: of the picture that the figure is drawn in, so that poses of any size look alike;
    None draws at the pose's own size, as officially.

    Sources that `encode` accepts: a `Pose`; the path or content of an OpenPose JSON file with its
    canvas size; {"openpose": path or content, "size": (height, width)}; {"candidate": ...,
    "subset": ..., "size": ...}; {"keypoints": (17|18|25, 2|3), "size": ...}, see `Pose.from_array`.
    """

    type: ClassVar[str] = "pose"

    min_score: float = 0.0
    reach: float = 765.0
    draw_height: int | None = None

    def __post_init__(self) -> None:
        if not self.reach > 0:
            raise ValueError(f"'reach' must be a positive number of pixels, got {self.reach}.")
        if self.draw_height is not None and self.draw_height < 32:
            raise ValueError(f"'draw_height' must be 32 or more pixels, got {self.draw_height}.")
        if not 0 <= self.min_score < 1:
            raise ValueError(f"'min_score' must be in [0, 1), got {self.min_score}.")

    @property
    def channels(self) -> int:
        """Stick figure and limbs."""
        return 3 + len(LIMBS)

    def natural_size(self, source: Any) -> tuple[int, int]:
        """(height, width) of the picture that the pose was found in."""
        return read_pose(source).size

    def encode(self, source: Any, height: int, width: int) -> Tensor:
        """(20, height, width) float32 in [0, 1]; see the class for what `source` may be.

        Raises ValueError for unreadable poses and where no joint is left to draw.
        """
        pose = read_pose(source)
        if self.draw_height is not None:
            pose = pose.resized(self.draw_height)
        present = pose.joints[:, 2] > self.min_score
        if not present.any():
            raise ValueError(
                f"No joint of the pose has a score above min_score={self.min_score}; there is "
                "nobody to draw."
            )
        canvas = np.zeros((*pose.size, 3), np.uint8)
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

    def preview(self, encoded: Tensor) -> Image.Image:
        """The stick figure on black."""
        figure = self.one_encoded(encoded)[:3]
        return Image.fromarray((figure * 255).round().byte().permute(1, 2, 0).numpy())

    def from_photo(self, photo: Picture, model: str = DEFAULT_POSE_ESTIMATOR) -> Pose:
        """Find the pose with a transformers ViTPose model; the whole photo is taken for the person.

        model: Hub id or folder. Needs the extra `preprocess`.
        """
        image = open_photo(photo)
        processor, network = _load_estimator(model)
        boxes = [[[0.0, 0.0, float(image.width), float(image.height)]]]
        with torch.inference_mode():
            output = network(**processor(image, boxes=boxes, return_tensors="pt"))
        person = processor.post_process_pose_estimation(output, boxes=boxes)[0][0]
        keypoints = torch.cat([person["keypoints"], person["scores"][:, None]], dim=1)
        return Pose.from_array(keypoints, (image.height, image.width))


def read_pose(source: Any) -> Pose:
    """Any source of `PoseCondition.encode` as a `Pose`. Raises ValueError for anything else."""
    if isinstance(source, Pose):
        return source
    if isinstance(source, (str, os.PathLike)):
        return Pose.from_openpose_json(source)
    if isinstance(source, Mapping):
        keys = set(source)
        if "people" in keys:
            return Pose.from_openpose_json(source)
        if keys == {"openpose", "size"}:
            return Pose.from_openpose_json(source["openpose"], source["size"])
        if keys == {"candidate", "subset", "size"}:
            return Pose.from_candidate_subset(**source)
        if keys == {"keypoints", "size"}:
            return Pose.from_array(source["keypoints"], source["size"])
    got = f"a dict with {sorted(source)}" if isinstance(source, Mapping) else type(source).__name__
    raise ValueError(
        "A pose must be a Pose, OpenPose JSON (path or dict), or a dict with 'openpose', "
        f"'keypoints' or 'candidate' and 'subset' beside 'size' (height, width); got {got}. "
        "condition.from_photo(photo) finds the pose in a photo."
    )


def limb_outline(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The polygon around a limb: an ellipse from joint to joint, one corner per degree, (N, 2)."""
    x, y = ((start + end) / 2).astype(int).tolist()
    across, down = start - end
    angle = int(np.degrees(np.arctan2(down, across)))
    axes = (int(np.hypot(across, down) / 2), THICKNESS)
    return cv2.ellipse2Poly((x, y), axes, angle, 0, 360, 1)


def _read_table(source: Any, name: str) -> np.ndarray:
    """Rows of numbers from a text file or an array."""
    try:
        if isinstance(source, (str, os.PathLike)):
            source = [
                line.split() for line in Path(source).read_text().splitlines() if line.strip()
            ]
        table = np.atleast_2d(np.array(source, dtype=np.float64))
    except ValueError as error:
        raise ValueError(f"'{name}' must be rows of numbers, equally long: {error}.") from error
    if table.ndim != 2 or table.size == 0:
        raise ValueError(f"'{name}' holds nobody: it must be rows of numbers, got {table.shape}.")
    return table


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
