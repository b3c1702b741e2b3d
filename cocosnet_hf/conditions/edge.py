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

from ..notes import Note
from ..pairing import lying_on
from ..pictures import (
    Picture,
    check_sides,
    open_image,
    open_photo,
    open_stored,
    resize_plane,
    to_image,
    to_numpy,
)
from .base import NEAREST, Condition, ConditionCard, Geometry, Source
from .descriptors import gradient_descriptor
from .drawings import is_line_array, read_drawing
from .faces import CELEBAMASK_FACE_CLASSES
from .label_maps import read_integers, read_part
from .labelling import DEFAULT_FACE_PARSER, normal_name, segment
from .meaning import ClassCode, index_map
from .sides import mirrored_order

FACE_PARTS = "skin l_brow r_brow l_eye r_eye l_ear r_ear nose u_lip mouth l_lip eye_g hair".split()
"""The parts of a face in the order of the channels (official networks, 8.3)."""

PARTS = "label map of face parts"

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
    {"edges": drawing}: lines on paper of any tone (the rarer is the line), or strokes on a
        transparent ground, see `read_drawing`; strokes are thinned to one pixel, as Canny's edges
        are; as a bool array (H, W) of strokes it may also be empty;
    a bool array or tensor (H, W): the lines themselves, taken as they are.
    """

    type: ClassVar[str] = "edge"
    needs_only_photo: ClassVar[bool] = True
    drawn: ClassVar[str] = "edge"

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

    def opened(self, source: Any) -> Source:
        """The photo in RGB, {"edges": strokes (H, W) bool} of a drawing, or the lines (H, W) bool.

        Raises ValueError for unreadable pictures and for a drawing without a line.
        """
        if isinstance(source, Mapping):
            strokes, notes = read_drawing(_drawing(source))
            height, width = strokes.shape
            check_sides(height, width, "The line array")
            return Source({"edges": strokes}, (height, width), notes)
        if is_line_array(source):
            height, width = source.shape
            check_sides(height, width, "The line array")
            return Source(to_numpy(source, "edges"), (height, width))
        photo = open_photo(source)
        return Source(photo, (photo.height, photo.width))

    def encode(self, source: Any, height: int, width: int) -> Tensor:
        """(2, height, width) float32 in [0, 1]; see the class for what `source` may be.

        Raises ValueError as `open` does.
        """
        value = self.open(source).value
        if isinstance(value, Mapping):
            lines = skeletonize(fit_lines(value["edges"], height, width))
        elif isinstance(value, np.ndarray):
            lines = fit_lines(value, height, width)
        else:
            photo = value.resize((width, height), Image.Resampling.BILINEAR)
            lines = self.lines(photo)
        distance = np.minimum(line_distance(lines) / self.reach, 1)
        return torch.from_numpy(np.stack([lines, distance]).astype(np.float32))

    def preview(self, encoded: Tensor) -> Image.Image:
        """The lines, dark on white."""
        return draw_lines(self.one_encoded(encoded)[0])

    def from_photo(self, photo: Picture) -> Picture:
        """The photo itself: `encode` finds its edges."""
        return photo

    def as_drawing(self, drawing: Picture) -> dict[str, Any]:
        """Drawn lines, in place of a photo with edges."""
        return {"edges": drawing}

    def from_row(self, value: Any, photo: Image.Image, name: str) -> Source:
        """A drawing; its strokes are found in the whole, as a cut may have no line."""
        what = f"condition of {name}"
        drawing, notes = lying_on(open_stored(value, what), photo, what)
        try:
            opened = self.opened({"edges": drawing})
            return dataclasses.replace(opened, notes=(*notes, *opened.notes))
        except ValueError as error:
            raise ValueError(f"The condition of {name} cannot be used: {error}") from error

    def moved(self, source: Source, geometry: Geometry, photo: Image.Image) -> Source:
        """The strokes, of which thin ones are kept."""
        strokes = fit_lines(source.value["edges"], *geometry.load[::-1])
        moved = geometry.picture(Image.fromarray(strokes.astype(np.uint8)), NEAREST)
        return self.open({"edges": np.array(moved) > 0})

    def jittered(self, rng: np.random.Generator, amount: float) -> EdgeCondition:
        """Blur and both thresholds times up to 1 + amount, or divided by it."""
        blur, threshold = (1 + amount) ** rng.uniform(-1, 1, 2)
        low, high = (min(1.0, value * threshold) for value in (self.low, self.high))
        return dataclasses.replace(self, sigma=self.sigma * blur, low=low, high=high)

    def compared(self, source: Source | None, photo: Image.Image) -> Image.Image:
        """The photo, also where there is a drawing of it."""
        return photo

    def descriptor(self, source: Any) -> np.ndarray:
        """Slopes of a photo, see `gradient_descriptor`."""
        return gradient_descriptor(_value(source))

    def lines(self, photo: Image.Image) -> np.ndarray:
        """The photo's edges."""
        return photo_edges(photo, self.sigma, self.low, self.high)

    def card(self) -> ConditionCard:
        """The settings that edges are found by."""
        settings = {key: value for key, value in self.to_config().items() if key != "type"}
        return ConditionCard(
            summary="the edges of a photo or drawn lines",
            source='"layout.jpg"',
            exemplar_source='"exemplar.jpg"',
            text="A photo, whose edges are found (Canny), or drawn lines as `{'edges': drawing}`. "
            "The exemplar's edges are found in the exemplar.",
            header=["setting of the edges", "value"],
            rows=[[name, f"{value:g}"] for name, value in settings.items()],
        )


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
    column: ClassVar[str] = "label maps"
    unmeasured: ClassVar[Mapping[str, str]] = {
        "edge_F1": "the condition has outlines of face parts, which no photo shows alone"
    }

    parser: str = DEFAULT_FACE_PARSER

    @property
    def channels(self) -> int:
        """Edges, 13 distances, outlines."""
        return 2 + len(FACE_PARTS)

    def opened(self, source: Any) -> Source:
        """{"photo": picture, "parts": parts}, the pictures opened. Raises ValueError for others."""
        photo, parts = _photo_and_parts(source)
        photo = open_photo(photo)
        notes: tuple[Note, ...] = ()
        if not isinstance(parts, (Mapping, np.ndarray, Tensor)):
            parts, notes = _parts_on(open_image(parts, PARTS), photo)
        return Source({"photo": photo, "parts": parts}, (photo.height, photo.width), notes)

    def encode(self, source: Any, height: int, width: int) -> Tensor:
        """(15, height, width) float32 in [0, 1]; see the class for what `source` must be.

        Parts are resized to the nearest pixel, the photo bilinearly, then edges are taken. Raises
        ValueError for unknown part names, unreadable pictures and a source without any part.
        """
        value = self.open(source).value
        masks = _read_parts(value["parts"])
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
        image = value["photo"].resize((width, height), Image.Resampling.BILINEAR)
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

    def from_row(self, value: Any, photo: Image.Image, name: str) -> Source:
        """The label map of the parts beside the photo."""
        what = f"condition of {name}"
        parts, notes = _parts_on(open_stored(value, what), photo, what)
        return Source({"photo": photo, "parts": parts}, (photo.height, photo.width), notes)

    def moved(self, source: Source, geometry: Geometry, photo: Image.Image) -> Source:
        """The moved photo, and the parts beside it."""
        parts = geometry.picture(source.value["parts"], NEAREST)
        return Source({"photo": photo, "parts": parts}, (photo.height, photo.width))

    def mirrored(self, packed: Tensor) -> Tensor:
        """The distances to parts such as l_eye and r_eye."""
        parts = [1 + index for index in mirrored_order(FACE_PARTS)]
        return packed[[0, *parts, len(FACE_PARTS) + 1]]

    def compared(self, source: Source | None, photo: Image.Image) -> Image.Image:
        """The photo alone."""
        return photo

    def descriptor(self, source: Any) -> np.ndarray:
        """Slopes of a photo, see `gradient_descriptor`; of a source, of its photo."""
        value = _value(source)
        return gradient_descriptor(value["photo"] if isinstance(value, Mapping) else value)

    def card(self) -> ConditionCard:
        """What each channel holds."""
        rows = [["0", "outlines of the parts, and the photo's edges around the face"]]
        rows += [[str(1 + i), f"distance to the {part}"] for i, part in enumerate(FACE_PARTS)]
        rows.append([str(1 + len(FACE_PARTS)), "outlines of the parts"])
        return ConditionCard(
            summary="the edges and the part outlines of a face",
            source='{"photo": "face.jpg", "parts": "face_parts.png"}',
            exemplar_source='{"photo": "exemplar.jpg", "parts": "exemplar_parts.png"}',
            text="`{'photo': photo, 'parts': label map}` with the labels of CelebAMask-HQ, or "
            "masks of the parts by name; `pipe.condition.from_photo(photo)` finds them with "
            f"`{self.parser}`.",
            header=["channel", "content"],
            rows=rows,
        )


def photo_edges(
    photo: Image.Image, sigma: float = 1.0, low: float = 0.1, high: float = 0.2
) -> np.ndarray:
    """Canny edges of a photo's grey values, (H, W) bool; thresholds as fractions of the range."""
    grey = np.asarray(photo.convert("L")) / 255
    return canny(grey, sigma, low, high)


def mask_outline(mask: np.ndarray) -> np.ndarray:
    """Both pixels of every horizontally or vertically adjacent pair that differ, (H, W) bool.

    What `skimage.segmentation.find_boundaries` finds as "thick", in an eightieth of the time.
    """
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


def draw_lines(strength: Tensor) -> Image.Image:
    """(H, W) in [0, 1], 1 on the lines -> RGB, dark lines on white."""
    return to_image(1 - strength, low=0).convert("RGB")


def _value(source: Any) -> Any:
    return source.value if isinstance(source, Source) else source


def _drawing(source: Mapping[str, Any]) -> Any:
    if set(source) != {"edges"}:
        raise ValueError(f"An edge dict has the one key 'edges', got {list(source)}.")
    return source["edges"]


def _parts_on(
    parts: Image.Image, photo: Image.Image, what: str = PARTS
) -> tuple[Image.Image, tuple[Note, ...]]:
    """A label map of parts as it lies on its photo, in one plane, and what was taken."""
    parts, notes = lying_on(parts, photo, what)
    parts, more = index_map(parts, ClassCode(CELEBAMASK_FACE_CLASSES, np.empty((0, 3), np.uint8)))
    return parts, (*notes, *more)


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
        labels = _read_plane(parts, PARTS)
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
