"""Masks: label maps, colour-coded pictures and soft masks to one channel per class."""

from __future__ import annotations

import colorsys
import dataclasses
import functools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image, ImageColor
from torch import Tensor
from torch.nn import functional as F

from . import ade20k
from .base import Condition, Picture, check_sides, open_image, open_photo, resize_plane, to_numpy

NEAREST = Image.Resampling.NEAREST

# The order of CelebA-HQ masks in the official CoCosNet data (official networks, 8.2) and the order
# of the label maps that CelebAMask-HQ users merge themselves; `glasses` is the part file `eye_g`.
OFFICIAL_FACE_CLASSES = (
    "background skin hair l_brow r_brow l_eye r_eye l_ear r_ear nose u_lip mouth l_lip neck cloth "
    "hat glasses ear_r neck_l"
).split()
CELEBAMASK_FACE_CLASSES = (
    "background skin nose glasses l_eye r_eye l_brow r_brow l_ear r_ear mouth u_lip l_lip hair hat "
    "ear_r neck_l neck cloth"
).split()
# In the official order, the colours in which CelebAMask-HQ's own tools draw its classes.
FACE_COLORS = (
    "#000000 #cc0000 #0000cc #00ffff #ffcccc #3333ff #cc00cc #663300 #ff0000 #4c9900 #ffff00 "
    "#66cc00 #000099 #ff9933 #00cc00 #ff3399 #cccc00 #00cccc #003300"
).split()

DEFAULT_SCENE_PARSER = "openmmlab/upernet-convnext-small"
DEFAULT_FACE_PARSER = "jonathandinu/face-parsing"


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
    snap_colors: read a colour that is no class colour as the nearest one (JPEG artefacts,
        smoothed borders) instead of refusing it.
    parser: Hub id of a transformers segmentation model for `from_photo`, classes matched by name.

    Sources that `encode` accepts (pictures may be paths, PIL images or arrays):
    an index map: modes 1, L, I, I;16 and P, or an integer array or tensor (H, W) or (1, H, W);
    a colour-coded picture: RGB or RGBA, an array (H, W, 3 or 4) of uint8, or P where the palette
        has class colours in another order than the classes, as an indexed copy of one has;
    a soft or one-hot mask: array or tensor (K, H, W) with values in [0, 1];
    with an overlay: {"labels": index map, <overlay's name>: 0/1 mask}, or integers (2, H, W).
    """

    type: ClassVar[str] = "mask"

    classes: tuple[str, ...]
    colors: tuple[str, ...] = ()
    unknown: int | None = None
    values: dict[int, int] = dataclasses.field(default_factory=dict)
    overlay: int | None = None
    beneath: int | None = None
    snap_colors: bool = False
    parser: str | None = None

    def __hash__(self) -> int:  # a dict is among the settings
        return hash(json.dumps(self.to_config(), sort_keys=True))

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "colors", tuple(self.colors))
        count = len(self.classes)
        if count < 2 or not all(isinstance(name, str) and name for name in self.classes):
            raise ValueError(f"'classes' must be two or more names, got {self.classes!r}.")
        if len(set(self.classes)) < count:
            raise ValueError(f"'classes' must be different names, got {self.classes!r}.")
        if not self.colors:
            object.__setattr__(self, "colors", distinct_colors(count))
        for color in self.colors:
            if not isinstance(color, str) or not re.fullmatch("#[0-9a-fA-F]{6}", color):
                raise ValueError(f"A colour must be written '#rrggbb', got {color!r}.")
        if len(self.colors) != count or len({color.lower() for color in self.colors}) < count:
            raise ValueError(
                f"'colors' must be {count} different colours, one per class, got {self.colors!r}."
            )
        if (self.overlay is None) != (self.beneath is None):
            raise ValueError("'overlay' and 'beneath' go together: set both or none.")
        for index in (self.unknown, self.overlay, self.beneath, *self.values.values()):
            if index is not None and (type(index) is not int or not 0 <= index < count):
                raise ValueError(f"{index!r} must be a class, a number in 0..{count - 1}.")

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
    def palette(self) -> np.ndarray:
        """Class colours, (K, 3) uint8 RGB."""
        return np.array([ImageColor.getrgb(color) for color in self.colors], dtype=np.uint8)

    def natural_size(self, source: Any) -> tuple[int, int]:
        """(height, width) of the mask in pixels."""
        if isinstance(source, Mapping):
            source = self._split(source)[0]
        if isinstance(source, (np.ndarray, Tensor)) and source.ndim in (2, 3):
            height, width = source.shape[:2] if is_color_array(source) else source.shape[-2:]
            check_sides(height, width, "The mask")
            return height, width
        image = open_image(source, "mask")
        return image.height, image.width

    def encode(self, source: Any, height: int, width: int) -> Tensor:
        """(K, height, width) float32 in [0, 1]; see the class for what `source` may be.

        Resized to the nearest pixel, so a one-hot mask stays one-hot. Raises ValueError for labels
        outside the classes, colours of no class, values that are not finite or not in [0, 1].
        """
        if self._is_soft(source):
            return self._encode_soft(source, height, width)
        labels, on_top = self._read(source)
        encoded = self.one_hot(_resized(labels, height, width))
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
        labels, on_top = self._read(source)
        if on_top is not None:
            labels = np.where(on_top, self.overlay, labels)
        return _resized(labels, height, width)

    def one_hot(self, labels: Tensor) -> Tensor:
        """Classes on top (..., H, W) int64 as an encoded mask (..., K, H, W) float32."""
        encoded = labels.new_zeros(
            *labels.shape[:-2], self.channels, *labels.shape[-2:], dtype=torch.float32
        )
        if self.overlay is None:
            return encoded.scatter_(-3, labels.unsqueeze(-3), 1.0)
        on_top = labels == self.overlay
        encoded.scatter_(-3, labels.masked_fill(on_top, self.beneath).unsqueeze(-3), 1.0)
        encoded.select(-3, self.overlay).copy_(on_top)
        return encoded

    def preview(self, encoded: Tensor) -> Image.Image:
        """The colour of each position's strongest class, the overlay painted on top of it."""
        strength = self.one_encoded(encoded)
        if self.overlay is not None:
            on_top = strength[self.overlay] > 0.5
            strength[self.overlay] = -1
            labels = strength.argmax(0).masked_fill(on_top, self.overlay)
        else:
            labels = strength.argmax(0)
        return Image.fromarray(self.palette[labels.numpy()])

    def from_photo(self, photo: Picture, model: str | None = None) -> Image.Image:
        """Label a photo with a transformers segmentation model: a picture in the class colours.

        model: Hub id or folder; default: this condition's `parser`. The model's labels are matched
        to the classes by name; a label of no class becomes `unknown`. Needs the extra `preprocess`.
        Raises ValueError where no model is named or its labels are not this condition's classes.
        """
        model = model or self.parser
        if model is None:
            raise ValueError(
                "This mask condition names no model to label photos; pass model=, the Hub id of a "
                "semantic segmentation model with the same class names."
            )
        found, names = segment(photo, model)
        classes = {normal_name(name): index for index, name in enumerate(self.classes)}
        table = {label: classes.get(normal_name(name)) for label, name in names.items()}
        if all(index is None for index in table.values()):
            raise ValueError(
                f"'{model}' labels {list(names.values())[:5]}..., none of which is a class of this "
                f"condition {list(self.classes)[:5]}...; pass another model."
            )
        picture = np.zeros((*found.shape, 3), np.uint8)
        for label in np.unique(found).tolist():
            index = self.unknown if table[label] is None else table[label]
            if index is None:
                raise ValueError(
                    f"'{model}' found '{names[label]}', which is no class of this condition; give "
                    "the condition an `unknown` class or pass another model."
                )
            picture[found == label] = self.palette[index]
        return Image.fromarray(picture)

    def _is_soft(self, source: Any) -> bool:
        """Whether this is a (K, H, W) array, which only needs a new size."""
        return (
            isinstance(source, (np.ndarray, Tensor))
            and source.ndim == 3
            and source.shape[0] == self.channels
            and not is_color_array(source)
            and not self._carries_overlay(source)
        )

    def _carries_overlay(self, source: Any) -> bool:
        """Whether this is a (2, H, W) integer array: labels, and where the overlay lies."""
        return (
            self.overlay is not None
            and isinstance(source, (np.ndarray, Tensor))
            and source.ndim == 3
            and source.shape[0] == 2
            and is_integer(source)
        )

    def _encode_soft(self, source: np.ndarray | Tensor, height: int, width: int) -> Tensor:
        planes = to_numpy(source, "mask").astype(np.float32)
        check_sides(*planes.shape[1:], "The mask")
        if planes.min() < -1e-3 or planes.max() > 1 + 1e-3:
            raise ValueError(
                f"A soft mask must lie in [0, 1], got {planes.min():.3g}..{planes.max():.3g}; "
                "apply softmax over the classes first."
            )
        planes = [resize_plane(plane, height, width, NEAREST) for plane in planes.clip(0, 1)]
        return torch.from_numpy(np.stack(planes))

    def _read(self, source: Any) -> tuple[np.ndarray, np.ndarray | None]:
        """Any hard source -> class index (H, W); where the overlay lies, (H, W) bool, if apart."""
        if isinstance(source, Mapping):
            source, on_top = self._split(source)
        elif self._carries_overlay(source):
            source, on_top = source
        else:
            on_top = None
        labels = self._read_labels(source)
        return labels, None if on_top is None else self._read_overlay(on_top, labels.shape)

    def _split(self, source: Mapping[str, Any]) -> tuple[Any, Any]:
        """{"labels": ..., <overlay's name>: ...} -> (labels, overlay mask or None)."""
        known = ["labels"]
        if self.overlay is not None:
            known.append(self.classes[self.overlay])
        if "labels" not in source or not set(source) <= set(known):
            raise ValueError(f"A mask dict has the keys {known}, got {list(source)}.")
        return source["labels"], source.get(known[-1]) if len(known) > 1 else None

    def _read_labels(self, source: Any) -> np.ndarray:
        if not isinstance(source, (np.ndarray, Tensor)) or is_color_array(source):
            return self._read_image(open_image(source, "mask"))
        array = to_numpy(source, "mask")
        if array.ndim == 3 and array.shape[0] == 1:
            array = array[0]
        if array.ndim != 2:
            raise ValueError(
                "A mask array must be integers (H, W) or (1, H, W), a soft mask "
                f"({self.channels}, H, W) or, in NumPy, colours (H, W, 3); got shape "
                f"{tuple(source.shape)}."
            )
        if not is_integer(array):
            raise ValueError(
                f"An index map must hold integers, got {array.dtype}; if it went through ToTensor, "
                "(x * 255).round().long() restores the indices."
            )
        check_sides(*array.shape, "The mask")
        return self._classes_of_values(array)

    def _read_image(self, image: Image.Image) -> np.ndarray:
        image = self.in_its_colors(image)
        if image.mode in ("1", "L", "P", "I") or image.mode.startswith("I;16"):
            return self._classes_of_values(np.asarray(image))
        if image.mode not in ("RGB", "RGBA"):
            raise ValueError(
                "A mask picture must be an index map (mode 1, L, P, I or I;16) or colours (RGB or "
                f"RGBA), got mode {image.mode}; convert it first."
            )
        rgba = np.asarray(image.convert("RGBA"))
        return self._classes_of_colors(rgba[:, :, :3], visible=rgba[:, :, 3] >= 128)

    def in_its_colors(self, image: Image.Image) -> Image.Image:
        """An indexed copy of a colour-coded mask as RGBA, any other picture as it is.

        A palette picture is such a copy if what is visible of it has the colours of classes, each
        index another one, and these are not the classes that its indices name. All black counts as
        no colour: a palette of zeros has it.
        """
        if image.mode != "P":
            return image
        found, first = np.unique(np.asarray(image), return_index=True)
        colored = image.convert("RGBA")
        rgba = np.asarray(colored).reshape(-1, 4)[first]
        visible = rgba[:, 3] >= 128
        codes = color_codes(rgba[visible, :3])
        of_color = {int(code): index for index, code in enumerate(color_codes(self.palette))}
        classes = [of_color.get(int(code)) for code in codes]
        named = [self.values.get(int(index), int(index)) for index in found[visible]]
        if not codes.any() or None in classes or len(set(classes)) < len(classes):
            return image
        return image if classes == named else colored

    def _read_overlay(self, source: Any, shape: tuple[int, ...]) -> np.ndarray:
        what = f"{self.classes[self.overlay]} mask"
        if isinstance(source, (np.ndarray, Tensor)):
            values = to_numpy(source, what)
            if not np.isin(values, (0, 1, 255)).all():
                raise ValueError(
                    f"The {what}, also as the second plane of integers (2, H, W), holds 0 and 1 "
                    f"(or 255), got {np.unique(values)[:5].tolist()}; several masks are a list."
                )
            plane = values > 0
        else:
            plane = read_part(source, what)
        if plane.shape != shape:
            raise ValueError(f"The {what} must have the labels' size {shape}, got {plane.shape}.")
        return plane

    def _classes_of_values(self, values: np.ndarray) -> np.ndarray:
        """Pixel values of an index map -> class indices."""
        found, position = np.unique(values, return_inverse=True)
        indices = np.array([self.values.get(int(value), int(value)) for value in found])
        outside = (indices < 0) | (indices >= self.channels)
        if outside.any():
            raise ValueError(
                f"The mask holds the labels {found[outside][:10].tolist()}, but the classes are "
                f"0..{self.channels - 1} ({self.channels} classes); map them to classes with "
                "values={label: class} of the condition, or correct the mask."
            )
        return indices[position].reshape(values.shape)

    def _classes_of_colors(self, rgb: np.ndarray, visible: np.ndarray) -> np.ndarray:
        """Colours (H, W, 3) -> class indices; what is not visible is unknown."""
        if self.unknown is None and not visible.all():
            raise ValueError(
                f"The mask has {(~visible).sum()} transparent pixels, but the condition has no "
                "`unknown` class for them; paint them or declare one."
            )
        found, position = np.unique(color_codes(rgb[visible]), return_inverse=True)
        codes = {int(code): index for index, code in enumerate(color_codes(self.palette))}
        indices = np.array([codes.get(int(code), -1) for code in found], dtype=np.int64)
        if self.snap_colors:
            indices[indices < 0] = self._nearest_classes(found[indices < 0])
        if (indices < 0).any():
            counts = np.bincount(position.reshape(-1))[indices < 0]
            strange = found[indices < 0]
            first = ", ".join(
                f"#{strange[i]:06x} ({counts[i]} pixels)" for i in np.argsort(-counts)[:5]
            )
            raise ValueError(
                f"The mask has {len(strange)} colours of no class: {first}. Save colour masks "
                "without compression or smoothing, set snap_colors=True to take the nearest class "
                "colour, or pass an index map (mode L or P) instead."
            )
        labels = np.full(visible.shape, -1 if self.unknown is None else self.unknown)
        labels[visible] = indices[position.reshape(-1)]
        return labels

    def _nearest_classes(self, codes: np.ndarray) -> np.ndarray:
        colors = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1)
        distance = ((colors[:, None] - self.palette[None].astype(np.int64)) ** 2).sum(-1)
        return distance.argmin(1)


def _resized(labels: np.ndarray, height: int, width: int) -> Tensor:
    """Class indices (H, W) at another size, nearest: (height, width) int64."""
    labels = resize_plane(labels.astype(np.int32), height, width, NEAREST)
    return torch.from_numpy(labels.astype(np.int64))


def read_part(source: Picture, what: str) -> np.ndarray:
    """Where the mask of one part is set, that is neither 0 nor black: (H, W) bool.

    source: integers or booleans (H, W), or a picture in greys of any mode, or one of two colours
    with a palette; CelebAMask-HQ saves its parts as RGB. Raises ValueError for anything else.
    """
    if isinstance(source, (np.ndarray, Tensor)):
        return read_integers(source, what) > 0
    image = open_image(source, what)
    if image.mode not in ("P", "LA", "RGB", "RGBA"):
        if image.mode not in ("1", "L", "I") and not image.mode.startswith("I;16"):
            raise ValueError(
                f"The {what} must be a picture in greys or RGB, got mode {image.mode}; convert it."
            )
        return np.asarray(image) > 0
    rgba = np.asarray(image.convert("RGBA"))
    colors, visible = rgba[:, :, :3], rgba[:, :, 3] >= 128
    in_greys = (colors == colors[:, :, :1]).all()
    if not in_greys and (image.mode != "P" or len(np.unique(color_codes(colors[visible]))) > 2):
        raise ValueError(
            f"The {what} must be black where the part is not and grey or white where it is; it has "
            "colours, as a photo or a map of several parts has."
        )
    return colors.any(2) & visible


def read_integers(source: np.ndarray | Tensor, what: str) -> np.ndarray:
    """An array of one plane, (H, W) integers or bool. Raises ValueError for anything else."""
    plane = to_numpy(source, what)
    if plane.ndim != 2 or not is_integer(plane):
        raise ValueError(
            f"The {what} must be integers or bool (H, W), got {plane.dtype} {plane.shape}."
        )
    check_sides(*plane.shape, f"The {what}")
    return plane


def is_color_array(source: Any) -> bool:
    """Whether a NumPy array is a colour picture (H, W, 3 or 4); no mask is 3 or 4 pixels wide."""
    return isinstance(source, np.ndarray) and source.ndim == 3 and source.shape[2] in (3, 4)


def is_integer(array: np.ndarray | Tensor) -> bool:
    """Whether an array or tensor holds integers or booleans."""
    if isinstance(array, Tensor):
        return not array.is_floating_point() and not array.is_complex()
    return array.dtype == bool or np.issubdtype(array.dtype, np.integer)


def color_codes(rgb: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 -> (...) int64, 0xrrggbb."""
    red, green, blue = np.moveaxis(rgb.astype(np.int64), -1, 0)
    return red << 16 | green << 8 | blue


def distinct_colors(count: int) -> tuple[str, ...]:
    """`count` different "#rrggbb" colours, the same on every call: hues a golden angle apart."""
    colors: dict[str, None] = {}
    step = 0
    while len(colors) < count:
        saturation, value = ((0.65, 0.95), (0.9, 0.6), (0.4, 0.8))[step % 3]
        rgb = colorsys.hsv_to_rgb(step * 0.618034 % 1, saturation, value)
        colors["#" + "".join(f"{round(255 * part):02x}" for part in rgb)] = None
        step += 1
    return tuple(colors)


def normal_name(name: str) -> str:
    """A class name for comparison: of "bed, beds" the first counts, "eye_g" means glasses."""
    name = name.split(",")[0].split(";")[0].strip().lower().replace("_", " ")
    return "glasses" if name == "eye g" else name


def segment(photo: Picture, model: str) -> tuple[np.ndarray, dict[int, str]]:
    """Labels (H, W) of a photo by a transformers segmentation model, and the labels' names.

    Raises ImportError without the extra `preprocess`.
    """
    image = open_photo(photo)
    processor, network = _load_segmentation(model)
    with torch.inference_mode():
        logits = network(**processor(images=image, return_tensors="pt")).logits
        labels = enlarged_labels(logits[0], image.height, image.width)
    names = {int(label): name for label, name in network.config.id2label.items()}
    return labels.numpy(), names


def enlarged_labels(logits: Tensor, height: int, width: int) -> Tensor:
    """The class with the largest of bilinearly enlarged logits (K, h, w): (height, width) int64.

    Class by class: of a phone's photo all at once would take gigabytes.
    """
    largest = torch.full((height, width), -torch.inf)
    labels = torch.zeros((height, width), dtype=torch.int64)
    for label, plane in enumerate(logits.float()):
        plane = F.interpolate(plane[None, None], (height, width), mode="bilinear")[0, 0]
        labels[plane > largest] = label
        torch.maximum(largest, plane, out=largest)
    return labels


@functools.lru_cache(maxsize=2)
def _load_segmentation(model: str) -> tuple[Any, Any]:
    try:
        from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation
    except ImportError as error:
        raise ImportError(
            "Making a mask from a photo needs transformers: pip install -U transformers"
        ) from error
    processor = AutoImageProcessor.from_pretrained(model)
    return processor, AutoModelForSemanticSegmentation.from_pretrained(model).eval()
