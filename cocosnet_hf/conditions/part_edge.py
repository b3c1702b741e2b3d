"""Edges of a face and the outlines of its parts, as the released CelebA-HQ weights read them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..notes import Note
from ..pairing import lying_on
from ..pictures import Picture, open_image, open_photo, open_stored, resize_plane
from .base import NEAREST, Condition, ConditionCard, Geometry, Source, value_of
from .descriptors import gradient_descriptor
from .faces import CELEBAMASK_FACE_CLASSES
from .label_maps import read_integers, read_part
from .labelling import DEFAULT_FACE_PARSER, normal_name, segment
from .lines import draw_lines, photo_edges, truncated_distance
from .meaning import ClassCode, index_map
from .sides import mirrored_order

FACE_PARTS = "skin l_brow r_brow l_eye r_eye l_ear r_ear nose u_lip mouth l_lip eye_g hair".split()
"""The parts of a face in the order of the channels (official networks, 8.3)."""

PARTS = "label map of face parts"

# In the part files the skin lies beneath these parts too; in a label map they have cut it out.
PARTS_ON_SKIN = "l_brow r_brow l_eye r_eye nose u_lip mouth l_lip eye_g".split()


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
        value = value_of(source)
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
