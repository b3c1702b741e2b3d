"""Masks: label maps, colour-coded pictures and soft masks to one channel per class."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image, ImageColor
from torch import Tensor
from typing_extensions import Self

from ..orientation import TURNED, turned_by
from ..pairing import Framed, lying_on
from ..person_reader import PERSON_CLASSES
from ..pictures import Picture, check_sides, open_image, open_stored, resize_plane
from ..propagation import Guide
from . import ade20k
from .base import Condition, ConditionCard, Geometry, Landmarks, Source
from .descriptors import layout_descriptor
from .faces import CELEBAMASK_FACE_CLASSES, FACE_COLORS, OFFICIAL_FACE_CLASSES
from .guiding import mask_guide
from .label_maps import (
    NEAREST,
    distinct_colors,
    is_color_array,
    is_integer,
    labels_of_array,
    labels_of_image,
    plane_or_planes,
    read_overlay,
    resized_labels,
    soft_planes,
    whole_values,
)
from .labelling import DEFAULT_FACE_PARSER, DEFAULT_SCENE_PARSER, label_photo, parser_of
from .meaning import ClassCode, meaning_of
from .sides import mirrored_order


@dataclasses.dataclass(frozen=True)
class MaskCondition(Condition):
    """One channel per class, 1 where the class is.

    Source: Zhang et al. 2020, section 3; official networks, 8.1 and 8.2.

    classes: class names, the index is the channel.
    colors: "#rrggbb" per class for previews and colour-coded input; generated if empty.
    unknown: the class of transparent pixels; without it they are an error.
    values: class of a pixel value of an index map, where the two differ, such as {255: 150}.
    overlay: a class that lies on top of others, such as glasses: its channel is set and the class
        beneath stays set. Where an index map itself says `overlay`, `beneath` is put under it.
    snap_colors: read a colour that is near a class colour as that (JPEG artefacts), and a smooth
        border between two classes as the nearer one, instead of refusing them.
    guided: an exemplar's own mask guides its matching; always with the classes of mask-to-image.
    parser: Hub id of a transformers segmentation model for `from_photo`, classes matched by name;
        "person" or "landscape", bundled networks, if the classes are those of the models beside.

    Sources that `encode` accepts (pictures may be paths, PIL images or arrays):
    an index map: modes 1, L, LA, I, I;16, F and P, or an integer array or tensor (H, W) or
        (1, H, W); also RGB or RGBA where one channel holds the numbers, or all do alike;
    a colour-coded picture: RGB or RGBA, an array (H, W, 3 or 4) of uint8, or P where the palette
        has class colours in another order than the classes, as an indexed copy of one has;
        `docs/reading_files.md` says what is taken where a file may mean two things;
    a soft or one-hot mask: array or tensor (K, H, W) with values in [0, 1];
    with an overlay: {"labels": index map, <overlay's name>: 0/1 mask}, or integers (2, H, W).
    """

    type: ClassVar[str] = "mask"
    labelled: ClassVar[bool] = True
    drawn: ClassVar[str] = "mask"
    column: ClassVar[str] = "label maps"
    stored_as: ClassVar[str] = ".png"

    classes: tuple[str, ...]
    colors: tuple[str, ...] = ()
    unknown: int | None = None
    values: dict[int, int] = dataclasses.field(default_factory=dict)
    overlay: int | None = None
    beneath: int | None = None
    snap_colors: bool = False
    guided: bool = False
    parser: str | None = None

    def __hash__(self) -> int:  # a dict is among the settings
        return hash(json.dumps(self.to_config(), sort_keys=True))

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "values", whole_values(self.values))
        object.__setattr__(self, "colors", tuple(self.colors) or distinct_colors(len(self.classes)))
        object.__setattr__(self, "guided", self.guided or self.classes == PERSON_CLASSES)
        _check(self)

    @classmethod
    def from_names(cls, names: Sequence[str], **settings: Any) -> MaskCondition:
        """A mask of these classes in the order of the channels; `settings` are the other fields."""
        return cls(classes=tuple(names), **settings)

    @classmethod
    def ade20k(cls) -> MaskCondition:
        """ADE20K: 0 unknown, 1..150 the classes, value 255 read as 150 (official networks, 8.1)."""
        return cls(
            classes=("unknown", *ade20k.NAMES),
            colors=("#000000", *ade20k.COLORS),
            unknown=0,
            values={255: 150},
            parser=DEFAULT_SCENE_PARSER,
        )

    @classmethod
    def celebahq(cls, order: str = "official") -> MaskCondition:
        """CelebA-HQ faces in 19 channels, glasses on top of other parts (official networks, 8.2).

        `order` says in which order an index map numbers its classes: "official" (2 hair, 9 nose) or
        "celebamask" (2 nose, 3 glasses, 13 hair); the channels are the same. Where an index map
        says glasses, what is beneath them is not known: skin is assumed.
        """
        if order not in ("official", "celebamask"):
            raise ValueError(f"'order' must be 'official' or 'celebamask', got '{order}'.")
        index = OFFICIAL_FACE_CLASSES.index
        moved = {
            i: index(name) for i, name in enumerate(CELEBAMASK_FACE_CLASSES) if i != index(name)
        }
        return cls(
            classes=tuple(OFFICIAL_FACE_CLASSES),
            colors=tuple(FACE_COLORS),
            unknown=0,
            values=moved if order == "celebamask" else {},
            overlay=index("glasses"),
            beneath=index("skin"),
            parser=DEFAULT_FACE_PARSER,
        )

    @property
    def channels(self) -> int:
        """One per class."""
        return len(self.classes)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The classes."""
        return self.classes

    @property
    def palette(self) -> np.ndarray:
        """Class colours, (K, 3) uint8 RGB."""
        return np.array([ImageColor.getrgb(color) for color in self.colors], dtype=np.uint8)

    @property
    def code(self) -> ClassCode:
        """How its classes are written in pictures."""
        return ClassCode(self.classes, self.palette, self.values, self.unknown, self.snap_colors)

    def opened(self, source: Any) -> Source:
        """The mask's pictures, without reading their classes yet.

        Raises ValueError for what is no mask, what contradicts itself and a dict of other keys.
        """
        if isinstance(source, Mapping):
            labels, on_top = _split(source, self)
            opened = self.opened(labels)
            parts = {"labels": opened.value}
            if on_top is not None and self.overlay is not None:
                parts[self.classes[self.overlay]] = on_top
            return dataclasses.replace(opened, value=parts)
        if isinstance(source, (np.ndarray, Tensor)) and not is_color_array(source):
            source = plane_or_planes(source, self.channels)
            size = (source.shape[-2], source.shape[-1])
            check_sides(*size, "The mask")
            return Source(source, size)
        image = open_image(source, "mask")
        meaning = meaning_of(image, self.code)
        meaning.picture.info[TURNED] = turned_by(image)
        return Source(meaning.picture, (image.height, image.width), meaning.notes)

    def encode(self, source: Any, height: int, width: int) -> Tensor:
        """(K, height, width) float32 in [0, 1]; see the class for what `source` may be.

        Resized to the nearest pixel, so a one-hot mask stays one-hot. Raises ValueError for labels
        outside the classes, colours of no class, values that are not finite or not in [0, 1].
        """
        value = self.open(source).value
        if _is_soft(value, self):
            return soft_planes(value, height, width)
        labels, on_top = self._read(value, (height, width))
        encoded = self.one_hot(resized_labels(labels, height, width))
        if on_top is not None:
            on_top = resize_plane(on_top, height, width, NEAREST)
            encoded[self.overlay].masked_fill_(torch.from_numpy(on_top), 1.0)
        return encoded

    def labels(self, source: Any, height: int, width: int) -> Tensor:
        """The class on top at each position of a hard mask, (height, width) int64.

        A K-th of the memory of what `encode` makes, which `one_hot` makes of it too; only the class
        under an overlay is then `beneath`, whatever the source says. Raises ValueError as `encode`
        does, and for a soft mask.
        """
        labels, on_top = self._read(self.open(source).value, (height, width))
        if on_top is not None and self.overlay is not None:
            labels = np.where(on_top, self.overlay, labels)
        return resized_labels(labels, height, width)

    def one_hot(self, labels: Tensor) -> Tensor:
        """Classes on top (..., H, W) int64 as an encoded mask (..., K, H, W) float32."""
        encoded = labels.new_zeros(
            *labels.shape[:-2], self.channels, *labels.shape[-2:], dtype=torch.float32
        )
        if self.overlay is None or self.beneath is None:
            return encoded.scatter_(-3, labels.unsqueeze(-3), 1.0)
        on_top = labels == self.overlay
        encoded.scatter_(-3, labels.masked_fill(on_top, self.beneath).unsqueeze(-3), 1.0)
        encoded.select(-3, self.overlay).copy_(on_top)
        return encoded

    def preview(self, encoded: Tensor) -> Image.Image:
        """The colour of each position's strongest class, the overlay painted on top of it."""
        labels = _on_top(self.one_encoded(encoded), self.overlay)
        return Image.fromarray(self.palette[labels.numpy()])

    def from_photo(self, photo: Picture, model: str | None = None) -> Image.Image:
        """Label a photo with a segmentation model: a picture in the class colours.

        model: Hub id or folder, for which the extra `preprocess` is needed, "person" or
        "landscape"; default: `photo_parser`. Labels are matched by name; others become `unknown`.
        Raises ValueError without a model, for labels of no class and where nobody is seen.
        """
        if (model := model or self.photo_parser) is None:
            raise ValueError(
                "This mask condition names no model to label photos; pass model=, the Hub id of "
                "one that segments, with the same class names."
            )
        return Image.fromarray(self.palette[label_photo(photo, model, self.classes, self.unknown)])

    @property
    def photo_parser(self) -> str | None:
        """What `from_photo` labels with where no model is named; None if nothing does."""
        return self.parser or parser_of(self.classes)

    def segment(self, photo: Image.Image, model: str) -> np.ndarray:
        """As `from_photo` labels it."""
        return self.pack(self.from_photo(photo, model), photo.height, photo.width).numpy()

    def from_row(self, value: Any, photo: Framed, name: str) -> Source:
        """A label map that lies on the photo."""
        what = f"condition of {name}"
        picture, notes = lying_on(open_stored(value, what), photo, what)
        opened = self.opened(picture)
        return dataclasses.replace(opened, notes=(*notes, *opened.notes))

    def moved(self, source: Source, geometry: Geometry, photo: Image.Image) -> Source:
        """To the nearest pixel; what the whole picture means, a part of it means too."""
        moved = geometry.picture(source.value, NEAREST)
        return Source(moved, (moved.height, moved.width))

    def accept_label_groups(self, groups: tuple[tuple[int, ...], ...]) -> None:
        """As every condition with labels, unless its own `values` already bring them to classes."""
        if self.values:
            raise ValueError(
                "'label_groups' and the condition's 'values' would both map the values of the "
                "masks; use one of them."
            )
        super().accept_label_groups(groups)

    def pack(self, source: Any, height: int, width: int) -> Tensor:
        """The `labels`: 151 classes at 256 pixels would otherwise travel as 40 MB."""
        return self.labels(source, height, width)

    def unpack(self, packed: Tensor) -> Tensor:
        """One channel per class."""
        return self.one_hot(packed)

    def mirrored(self, packed: Tensor) -> Tensor:
        """Classes whose names differ in left and right only, such as l_eye and r_eye."""
        return torch.tensor(mirrored_order(self.classes))[packed]

    @property
    def has_landmarks(self) -> bool:
        """Whether it is `guided`."""
        return self.guided

    def unguided(self) -> Self:
        """Without landmarks, also of people, whose joints take time to read."""
        other = copy.copy(self)
        object.__setattr__(other, "guided", False)
        return other

    def landmarks(self, source: Source | Tensor) -> Landmarks | None:
        """The classes, of a soft mask the strongest ones, and the joints of people."""
        if not self.has_landmarks:
            return None
        if not isinstance(source, Tensor) and not _is_soft(source.value, self):
            labels = self.labels(source, *source.size)
        else:
            encoded = source if isinstance(source, Tensor) else self.encode(source, *source.size)
            strength = self.one_encoded(encoded)
            labels = _on_top(strength, self.overlay)
            if self.classes != PERSON_CLASSES:  # whose ground is what is left unpainted
                labels[strength.amax(0) == 0] = -1
        return mask_guide(self.classes).of_labels(labels.numpy())

    def landmarks_of_photo(self, photo: Picture) -> Landmarks | None:
        """Of people and landscapes what the bundled network sees; None where it sees nobody."""
        return mask_guide(self.classes).of_photo(photo)

    def guide(self, own: Landmarks, exemplar: Landmarks, exemplar_grid: tuple[int, int]) -> Guide:
        """Each class looks at its like, see `regions`; a body moves with its joints, `dressed`."""
        return mask_guide(self.classes).guide(own, exemplar, exemplar_grid)

    def descriptor(self, source: Any) -> np.ndarray:
        """Where each class lies, see `layout_descriptor`."""
        return layout_descriptor(source, self)

    def store(self, source: Any, path: Path, height: int, width: int) -> None:
        """As a picture in the class colours."""
        self.preview(self.encode(source, height, width)).save(path)

    def card(self) -> ConditionCard:
        """Its classes and their colours."""
        return _card(self)

    def _read(self, source: Any, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
        """Any hard source -> class index (H, W); where the overlay lies, (H, W) bool, if apart.

        A picture without an overlay apart is made smaller to `size` on the way.
        """
        on_top = None
        if isinstance(source, Mapping):
            source, on_top = _split(source, self)
        elif _carries_overlay(source, self):
            source, on_top = source
        if isinstance(source, Image.Image):
            own_size = (source.height, source.width)
            labels = labels_of_image(source, self.code, size if on_top is None else own_size)
        else:
            labels = labels_of_array(source, self.code)
        if on_top is not None and self.overlay is not None:
            on_top = read_overlay(on_top, self.classes[self.overlay], labels.shape)
        return labels, on_top


def _split(source: Mapping[str, Any], condition: MaskCondition) -> tuple[Any, Any]:
    """{"labels": ..., <overlay's name>: ...} -> (labels, overlay mask or None)."""
    known = ["labels"]
    if condition.overlay is not None:
        known.append(condition.classes[condition.overlay])
    if "labels" not in source or not set(source) <= set(known):
        raise ValueError(f"A mask dict has the keys {known}, got {list(source)}.")
    return source["labels"], source.get(known[-1]) if len(known) > 1 else None


def _on_top(strength: Tensor, overlay: int | None) -> Tensor:
    """The strongest class (H, W) of (K, H, W), under the overlay where that is."""
    if overlay is None:
        return strength.argmax(0)
    beneath = strength.clone()
    beneath[overlay] = -1
    return beneath.argmax(0).masked_fill(strength[overlay] > 0.5, overlay)


def _is_soft(source: Any, condition: MaskCondition) -> bool:
    """Whether this is a (K, H, W) array, which only needs a new size."""
    return (
        isinstance(source, (np.ndarray, Tensor))
        and source.ndim == 3
        and source.shape[0] == condition.channels
        and not is_color_array(source)
        and not _carries_overlay(source, condition)
    )


def _carries_overlay(source: Any, condition: MaskCondition) -> bool:
    """Whether this is a (2, H, W) integer array: labels, and where the overlay lies."""
    return (
        condition.overlay is not None
        and isinstance(source, (np.ndarray, Tensor))
        and source.ndim == 3
        and source.shape[0] == 2
        and is_integer(source)
    )


def _check(condition: MaskCondition) -> None:
    """Raise ValueError for settings that do not go together."""
    count = len(condition.classes)
    if count < 2 or not all(isinstance(name, str) and name for name in condition.classes):
        raise ValueError(f"'classes' must be two or more names, got {condition.classes!r}.")
    if len(set(condition.classes)) < count:
        raise ValueError(f"'classes' must be different names, got {condition.classes!r}.")
    for color in condition.colors:
        if not isinstance(color, str) or not re.fullmatch("#[0-9a-fA-F]{6}", color):
            raise ValueError(f"A colour must be written '#rrggbb', got {color!r}.")
    if len(condition.colors) != count or len({color.lower() for color in condition.colors}) < count:
        raise ValueError(
            f"'colors' must be {count} different colours, one per class, got {condition.colors!r}."
        )
    if (condition.overlay is None) != (condition.beneath is None):
        raise ValueError("'overlay' and 'beneath' go together: set both or none.")
    settings = (condition.unknown, condition.overlay, condition.beneath)
    for index in (*settings, *condition.values.values()):
        if index is not None and (type(index) is not int or not 0 <= index < count):
            raise ValueError(f"{index!r} must be a class, a number in 0..{count - 1}.")


def _card(condition: MaskCondition) -> ConditionCard:
    """What a mask is made from, and its classes."""
    names = condition.classes
    text = [
        f"A mask of {len(names)} classes: a picture or array of class numbers, or a picture in the "
        "class colours."
    ]
    if condition.values:
        moved = ", ".join(f"{value} as {index}" for value, index in condition.values.items())
        text.append(f"Pixel values of a label map are read as follows: {moved}.")
    if condition.unknown is not None:
        text.append(f"Transparent pixels are `{names[condition.unknown]}`.")
    if condition.overlay is not None and condition.beneath is not None:
        text.append(
            f"`{names[condition.overlay]}` lies on top of the other classes; what a label map "
            f"hides beneath it is taken for `{names[condition.beneath]}`."
        )
    if condition.parser is not None:
        text.append(f"`pipe.condition.from_photo(photo)` makes one with `{condition.parser}`.")
    return ConditionCard(
        summary="a semantic mask",
        source='"mask.png"',
        exemplar_source='"exemplar_mask.png"',
        text=" ".join(text),
        header=["class", "name", "colour"],
        rows=[
            [str(index), name, f"`{color}`"]
            for index, (name, color) in enumerate(zip(names, condition.colors, strict=True))
        ],
    )
