"""Edges: lines and the distance to them, from a photo alone or from face parts and a photo."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from PIL import Image
from skimage.feature import canny
from skimage.morphology import skeletonize
from torch import Tensor
from torch.nn import functional as F

from .base import Condition, Picture, check_sides, open_image, open_photo, resize_plane, to_numpy
from .mask import (
    CELEBAMASK_FACE_CLASSES,
    DEFAULT_FACE_PARSER,
    normal_name,
    read_integers,
    read_part,
    segment,
)

FACE_PARTS = "skin l_brow r_brow l_eye r_eye l_ear r_ear nose u_lip mouth l_lip eye_g hair".split()
"""The parts of a face in the order of the channels (official networks, 8.3)."""

# In the part files the skin lies beneath these parts too; in a label map they have cut it out.
PARTS_ON_SKIN = "l_brow r_brow l_eye r_eye nose u_lip mouth l_lip eye_g".split()


@dataclasses.dataclass(frozen=True)
class EdgeCondition(Condition):
    """Lines from a photo alone: channel 0 the lines, channel 1 the distance to the nearest one.

    The distance is city-block, 1 at `reach` pixels and beyond. Two channels: the edges of Zhang et
    al. 2020, section 3, without the face parts of the released weights (official networks, 8.3).

    sigma: smoothing before the Canny edge detector, in pixels.
    low, high: its two thresholds, as fractions of the grey range.

    Sources that `encode` accepts:
    a photo: picture of any kind;
    {"edges": drawing}: dark lines on light or light on dark (the rarer of the two is the line), or
        strokes on a transparent ground; strokes are thinned to one pixel, as Canny's edges are;
        as a bool array (H, W) of strokes it may also be empty;
    a bool array or tensor (H, W): the lines themselves, taken as they are.
    """

    type: ClassVar[str] = "edge"
    needs_only_photo: ClassVar[bool] = True

    sigma: float = 1.0
    low: float = 0.1
    high: float = 0.2
    reach: float = 32.0

    def __post_init__(self) -> None:
        if not self.reach > 0:
            raise ValueError(f"reach must be a positive number of pixels, got {self.reach}.")
        if self.sigma < 0 or not 0 <= self.low <= self.high <= 1:
            raise ValueError(
                "Edges need sigma >= 0 and 0 <= low <= high <= 1, got "
                f"sigma={self.sigma}, low={self.low}, high={self.high}."
            )

    @property
    def channels(self) -> int:
        """Lines and distance."""
        return 2

    def natural_size(self, source: Any) -> tuple[int, int]:
        """(height, width) of the photo, drawing or array in pixels."""
        source = _drawing(source) if isinstance(source, Mapping) else source
        if is_line_array(source):
            check_sides(*source.shape, "The line array")
            return source.shape[0], source.shape[1]
        image = open_image(source, "photo")
        return image.height, image.width

    def encode(self, source: Any, height: int, width: int) -> Tensor:
        """(2, height, width) float32 in [0, 1]; see the class for what `source` may be.

        Raises ValueError for unreadable pictures and for a drawing without a line.
        """
        if is_line_array(source):
            check_sides(*source.shape, "The line array")
            lines = fit_lines(to_numpy(source, "edges"), height, width)
        elif isinstance(source, Mapping):
            lines = skeletonize(fit_lines(read_drawing(_drawing(source)), height, width))
        else:
            photo = open_photo(source).resize((width, height), Image.Resampling.BILINEAR)
            lines = photo_edges(photo, self.sigma, self.low, self.high)
        distance = np.minimum(line_distance(lines) / self.reach, 1)
        return torch.from_numpy(np.stack([lines, distance]).astype(np.float32))

    def preview(self, encoded: Tensor) -> Image.Image:
        """The lines, dark on white."""
        return draw_lines(self.one_encoded(encoded)[0])

    def from_photo(self, photo: Picture) -> Picture:
        """The photo itself: `encode` finds its edges."""
        return photo


@dataclasses.dataclass(frozen=True)
class PartEdgeCondition(Condition):
    """CelebA-HQ edges: outlines of 13 face parts, distances to them, Canny edges around the face.

    15 channels (official networks, 8.3): 0 the outlines and the photo's edges outside the face,
    1..13 the distance to the outline of each of `FACE_PARTS` (1 everywhere for a missing part), 14
    the outlines.

    parser: Hub id of a transformers face parsing model for `from_photo`, parts matched by name.

    Source of `encode`: {"photo": picture, "parts": parts}, where parts are one of
    a dict from part name to mask (picture or array, 0 is outside); missing parts are left out or
        None;
    a label map (picture or integer array) in the order of CelebAMask-HQ: 1 skin, 2 nose, 3 glasses,
        ... 13 hair. The data set's part files hold the skin beneath eyes, brows, nose, lips and
        glasses, so these are added to it.
    """

    type: ClassVar[str] = "celebahq-edge"

    parser: str = DEFAULT_FACE_PARSER

    @property
    def channels(self) -> int:
        """Edges, 13 distances, outlines."""
        return 2 + len(FACE_PARTS)

    def natural_size(self, source: Any) -> tuple[int, int]:
        """(height, width) of the photo in pixels."""
        image = open_image(_photo_and_parts(source)[0], "photo")
        return image.height, image.width

    def encode(self, source: Any, height: int, width: int) -> Tensor:
        """(15, height, width) float32 in [0, 1]; see the class for what `source` must be.

        Parts are resized to the nearest pixel, the photo bilinearly, then edges are taken. Raises
        ValueError for unknown part names, unreadable pictures and a source without any part.
        """
        photo, parts = _photo_and_parts(source)
        masks = _read_parts(parts)
        outlines = np.zeros((height, width), bool)
        around = np.ones((height, width), bool)
        distances = []
        for name in FACE_PARTS:
            part = masks.get(name)
            if part is None:
                distances.append(truncated_distance(np.zeros((height, width), bool)))
                continue
            part = resize_plane(part, height, width, Image.Resampling.NEAREST)
            outline = mask_outline(part)
            outlines |= outline
            around[part] = name == "hair"
            distances.append(truncated_distance(outline))
        image = open_photo(photo).resize((width, height), Image.Resampling.BILINEAR)
        edges = outlines | (photo_edges(image) & around)
        planes = [edges.astype(np.uint8) * 255, *distances, outlines.astype(np.uint8) * 255]
        return torch.from_numpy(np.stack(planes)).float() / 255

    def preview(self, encoded: Tensor) -> Image.Image:
        """Outlines and edges, dark on white."""
        return draw_lines(self.one_encoded(encoded)[0])

    def from_photo(self, photo: Picture, model: str | None = None) -> dict[str, Any]:
        """Find the face parts with a transformers face parsing model (`parser` by default).

        Needs the extra `preprocess`. Raises ValueError for a model that labels no face parts.
        """
        model = model or self.parser
        found, names = segment(photo, model)
        classes = {name: index for index, name in enumerate(CELEBAMASK_FACE_CLASSES)}
        labels = np.zeros_like(found)
        for label, name in names.items():
            labels[found == label] = classes.get(normal_name(name).replace(" ", "_"), 0)
        if not labels.any():
            raise ValueError(
                f"'{model}' found no face part in the photo; its labels are "
                f"{list(names.values())[:5]}..., needed are {FACE_PARTS}."
            )
        return {"photo": photo, "parts": labels}


def photo_edges(
    photo: Image.Image, sigma: float = 1.0, low: float = 0.1, high: float = 0.2
) -> np.ndarray:
    """Canny edges of a photo's grey values, (H, W) bool; thresholds as fractions of the range."""
    grey = np.asarray(photo.convert("L")) / 255
    return canny(grey, sigma, low, high)


def mask_outline(mask: np.ndarray) -> np.ndarray:
    """Both pixels of every horizontally or vertically adjacent pair that differ, (H, W) bool."""
    outline = np.zeros(mask.shape, bool)
    across = mask[:, 1:] != mask[:, :-1]
    down = mask[1:] != mask[:-1]
    outline[:, 1:] |= across
    outline[:, :-1] |= across
    outline[1:] |= down
    outline[:-1] |= down
    return outline


def truncated_distance(lines: np.ndarray, reach: float = 765) -> np.ndarray:
    """City-block distance to the nearest line, (H, W) uint8, 255 at `reach` pixels and beyond.

    255 everywhere where there is no line (official networks, 8.3, whose distance is divided by 3).
    """
    return np.minimum(line_distance(lines) / (reach / 255), 255).astype(np.uint8)


def line_distance(lines: np.ndarray) -> np.ndarray:
    """City-block distance in pixels to the nearest line, (H, W); infinite where there is none."""
    if not lines.any():
        return np.full(lines.shape, np.inf, np.float32)
    return cv2.distanceTransform((~lines).astype(np.uint8), cv2.DIST_L1, 3)


def fit_lines(lines: np.ndarray, height: int, width: int) -> np.ndarray:
    """Lines (H, W) bool at another size; a thin line survives being made smaller."""
    if lines.shape == (height, width):
        return lines
    planes = torch.tensor(np.ascontiguousarray(lines))[None].float()
    return F.adaptive_max_pool2d(planes, (height, width))[0].numpy() > 0


def read_drawing(drawing: Picture | np.ndarray | Tensor) -> np.ndarray:
    """The strokes of a drawing, (H, W) bool; a bool array as it is.

    Raises ValueError if a picture has none.
    """
    if is_line_array(drawing):
        # Pillow makes arrays whose true is 255, at which the thinning would read out of its bounds.
        return to_numpy(drawing, "edges").view(np.uint8) > 0
    image = open_image(drawing, "drawing")
    if image.has_transparency_data and image.convert("RGBA").getextrema()[3][0] < 128:
        lines = np.asarray(image.convert("RGBA"))[:, :, 3] >= 128
    else:
        light = np.asarray(open_photo(image, "drawing").convert("L")) >= 128
        lines = light if light.mean() < 0.5 else ~light
    if not lines.any():
        raise ValueError(
            "The drawing has no line; draw dark lines on white or white ones on black."
        )
    return lines


def draw_lines(strength: Tensor) -> Image.Image:
    """(H, W) in [0, 1], 1 on the lines -> RGB, dark lines on white."""
    return Image.fromarray(((1 - strength) * 255).round().byte().numpy()).convert("RGB")


def is_line_array(source: Any) -> bool:
    """Whether this is a bool array or tensor (H, W)."""
    return (
        isinstance(source, (np.ndarray, Tensor))
        and source.ndim == 2
        and source.dtype == (torch.bool if isinstance(source, Tensor) else bool)
    )


def _drawing(source: Mapping[str, Any]) -> Any:
    if set(source) != {"edges"}:
        raise ValueError(f"An edge dict has the one key 'edges', got {list(source)}.")
    return source["edges"]


def _photo_and_parts(source: Any) -> tuple[Picture, Any]:
    if not isinstance(source, Mapping) or set(source) != {"photo", "parts"}:
        got = list(source) if isinstance(source, Mapping) else type(source).__name__
        raise ValueError(
            "CelebA-HQ edges need {'photo': picture, 'parts': masks by name, or a label map in "
            f"CelebAMask-HQ order}}, got {got}; condition.from_photo(photo) makes it."
        )
    return source["photo"], source["parts"]


def _read_parts(parts: Any) -> dict[str, np.ndarray]:
    """Part masks by name, or a CelebAMask-HQ label map -> present parts, (H, W) bool each."""
    if isinstance(parts, Mapping):
        if unknown := sorted(set(parts) - set(FACE_PARTS)):
            raise ValueError(f"Unknown face parts {unknown}; known are {FACE_PARTS}.")
        masks = {
            name: read_part(mask, f"mask of {name}")
            for name, mask in parts.items()
            if mask is not None
        }
    else:
        labels = _read_plane(parts, "label map of face parts")
        if labels.min() < 0 or labels.max() >= len(CELEBAMASK_FACE_CLASSES):
            raise ValueError(
                f"A label map of face parts has the labels 0..{len(CELEBAMASK_FACE_CLASSES) - 1}, "
                f"got {labels.min()}..{labels.max()}."
            )
        classes = [{"glasses": "eye_g"}.get(name, name) for name in CELEBAMASK_FACE_CLASSES]
        masks = {name: labels == classes.index(name) for name in FACE_PARTS}
        for name in PARTS_ON_SKIN:
            masks["skin"] = masks["skin"] | masks[name]
        masks = {name: mask for name, mask in masks.items() if mask.any()}
    if not masks:
        raise ValueError("No face part is given; at least one mask is needed.")
    return masks


def _read_plane(source: Any, what: str) -> np.ndarray:
    """A picture or array of one plane, (H, W) integers; a palette picture means its indices."""
    if isinstance(source, (np.ndarray, Tensor)):
        return read_integers(source, what)
    image = open_image(source, what)
    if image.mode not in ("1", "L", "P", "I") and not image.mode.startswith("I;16"):
        raise ValueError(f"The {what} must be one plane (mode 1, L, P or I), got {image.mode}.")
    return np.asarray(image)
