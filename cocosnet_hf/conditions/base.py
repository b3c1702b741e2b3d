"""What every condition promises, and the loading of pictures that conditions and photos share."""

from __future__ import annotations

import dataclasses
import os
import struct
import typing
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, TypeAlias, TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

MIN_SIDE = 8
"""Smallest accepted side of a picture, in pixels: less is a broken file or a mistake."""

Picture: TypeAlias = "Image.Image | str | os.PathLike[str] | np.ndarray | Tensor"
"""What a user may pass as a picture."""

ConditionT = TypeVar("ConditionT", bound="Condition")


@dataclasses.dataclass(frozen=True)
class Condition(ABC):
    """A recipe that turns user input (mask, edges, pose) into the tensor the networks read.

    A condition is a value: equal settings are equal conditions, and `to_config` / `from_config`
    carry it through a pipeline's JSON configuration unchanged.
    """

    type: ClassVar[str]
    needs_only_photo: ClassVar[bool] = False
    """Whether `from_photo` works on any photo, without further models or input."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """Number of channels K of the encoded condition."""

    @abstractmethod
    def natural_size(self, source: Any) -> tuple[int, int]:
        """(height, width) of `source` in pixels, after EXIF rotation."""

    @abstractmethod
    def encode(self, source: Any, height: int, width: int) -> Tensor:
        """Rasterise `source` to (K, height, width), float32 in [0, 1].

        Raises ValueError on unusable input.
        """

    @abstractmethod
    def preview(self, encoded: Tensor) -> Image.Image:
        """Draw an encoded condition (K, H, W) as an RGB picture that a person can read."""

    @abstractmethod
    def from_photo(self, photo: Picture) -> Any:
        """Make from a photo a source that `encode` accepts."""

    def validate_encoded(self, tensor: Tensor) -> None:
        """Raise ValueError unless `tensor` is (K, H, W) or (B, K, H, W) with finite values."""
        if tensor.ndim not in (3, 4) or tensor.shape[-3] != self.channels:
            raise ValueError(
                f"An encoded '{self.type}' condition must have shape ({self.channels}, H, W) or "
                f"(B, {self.channels}, H, W), got {tuple(tensor.shape)}; make it with "
                "condition.encode(...)."
            )
        if not torch.isfinite(tensor).all():
            raise ValueError(
                f"The encoded '{self.type}' condition contains NaN or infinite values."
            )

    def one_encoded(self, encoded: Tensor) -> Tensor:
        """An encoded condition (K, H, W), checked, as float32 in [0, 1] on the CPU."""
        self.validate_encoded(encoded)
        if encoded.ndim != 3:
            raise ValueError(
                f"One condition (K, H, W) is previewed at a time, got {encoded.ndim}-D."
            )
        return encoded.detach().float().cpu().clamp(0, 1)

    def to_config(self) -> dict[str, Any]:
        """This condition as a dict of plain values with string keys: nested dicts, never lists.

        (diffusers takes a list in a pipeline's configuration for a component.)
        """
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {"type": self.type} | {name: _plain(value) for name, value in values.items()}

    @classmethod
    def from_config(cls: type[ConditionT], config: Mapping[str, Any]) -> ConditionT:
        """Rebuild a condition from `to_config`'s dict.

        Raises ValueError on an unknown key, a missing one or a wrong type.
        """
        hints = typing.get_type_hints(cls)
        known = [field.name for field in dataclasses.fields(cls)]
        values = {name: value for name, value in config.items() if name != "type"}
        if unknown := sorted(set(values) - set(known)):
            raise ValueError(
                f"Unknown setting {unknown} of the '{cls.type}' condition; known are {known}."
            )
        if config.get("type", cls.type) != cls.type:
            raise ValueError(f"{cls.__name__} reads the type '{cls.type}', got '{config['type']}'.")
        try:
            return cls(**{name: _typed(name, value, hints[name]) for name, value in values.items()})
        except TypeError as error:
            raise ValueError(
                f"Incomplete configuration of the '{cls.type}' condition: {error}."
            ) from error


def _plain(value: Any) -> Any:
    """Dataclass field -> configuration value: a tuple becomes {"0": first, "1": second, ...}."""
    if isinstance(value, tuple):
        value = dict(enumerate(value))
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    return value


def _typed(name: str, value: Any, hint: Any) -> Any:
    """Configuration value -> dataclass field of type `hint`; the inverse of `_plain`."""
    origin = typing.get_origin(hint)
    if origin is tuple:
        if not isinstance(value, Mapping) or set(value) != {str(i) for i in range(len(value))}:
            raise ValueError(
                f"'{name}' must be a dict with the keys '0', '1', ... without gaps, got {value!r}."
            )
        return tuple(value[str(i)] for i in range(len(value)))
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise ValueError(f"'{name}' must be a dict, got {value!r}.")
        if not all(str(key).isdigit() for key in value):
            raise ValueError(f"'{name}' must have whole numbers for keys, got {list(value)}.")
        return {int(key): item for key, item in value.items()}
    allowed = typing.get_args(hint) or (hint,)
    if float in allowed and type(value) is int:
        value = float(value)
    if type(value) not in allowed:
        names = " or ".join(kind.__name__ for kind in allowed)
        raise ValueError(f"'{name}' must be {names}, got {value!r}.")
    return value


def open_image(source: Picture, what: str = "image") -> Image.Image:
    """Open a picture, load it fully and turn it upright.

    source: PIL image, path, array (H, W[, C]) or tensor ([C,] H, W); arrays and tensors are uint8
    0..255, uint16 0..65535 or floating 0..1. `what` names the picture in error messages. The mode
    of an image file is kept. Raises ValueError for a file that is no image or is truncated, a
    file beyond Pillow's size limit (PIL.Image.MAX_IMAGE_PIXELS), a side below MIN_SIDE and
    arrays with NaN or values out of range; FileNotFoundError.
    """
    if isinstance(source, (np.ndarray, Tensor)):
        return _image_from_array(source, what)
    if isinstance(source, (str, os.PathLike)):
        label = f"The {what} '{os.fspath(source)}'"
    elif isinstance(source, Image.Image):
        label = f"The {what}" + (
            f" '{source.filename}'" if getattr(source, "filename", None) else ""
        )
    else:
        raise ValueError(
            f"The {what} must be a PIL image, a path, a NumPy array or a torch tensor, got "
            f"{type(source).__name__}."
        )
    try:
        image = source if isinstance(source, Image.Image) else _open_file(source)
        image.load()
        image = ImageOps.exif_transpose(image)
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{label} has more pixels than Pillow's limit of {Image.MAX_IMAGE_PIXELS:,}; make it "
            "smaller first."
        ) from error
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except UnidentifiedImageError as error:
        raise ValueError(f"{label} is not an image that Pillow can read.") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise ValueError(f"{label} is damaged or truncated: {error}.") from error
    check_sides(image.height, image.width, label)
    return image


def _open_file(path: str | os.PathLike[str]) -> Image.Image:
    """Image.open, which up to twice its size limit only warns, with an error instead."""
    image = Image.open(path)
    # By hand: turning warnings into errors for a moment would do so in all threads.
    if image.width * image.height > (Image.MAX_IMAGE_PIXELS or float("inf")):
        raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels")
    return image


def open_photo(source: Picture, what: str = "photo") -> Image.Image:
    """Open a photo as RGB: grey, palette, 16-bit and CMYK are converted, transparency is laid on
    white.

    Accepts and raises what `open_image` does.
    """
    image = open_image(source, what)
    if image.mode == "F":
        image = _image_from_array(np.asarray(image), what)
    elif image.mode == "I" or image.mode.startswith("I;16"):
        image = _image_from_array(np.asarray(image).clip(0, 65535).astype(np.uint16), what)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def resize_plane(
    plane: np.ndarray, height: int, width: int, resample: Image.Resampling
) -> np.ndarray:
    """An array (H, W), bool, uint8, int32 or float32, resized by Pillow (official networks, 8)."""
    if plane.shape == (height, width):
        return plane
    if plane.dtype == bool:
        return resize_plane(plane.astype(np.uint8), height, width, resample).astype(bool)
    return np.asarray(Image.fromarray(plane).resize((width, height), resample))


def to_numpy(array: np.ndarray | Tensor, what: str) -> np.ndarray:
    """An array on the CPU; half precisions as float32. Raises ValueError on NaN or infinity."""
    if isinstance(array, Tensor):
        array = array.detach().cpu()
        array = (array.float() if array.is_floating_point() else array).numpy()
    if np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float32)
        if not np.isfinite(array).all():
            raise ValueError(f"The {what} contains NaN or infinite values.")
    return array


def _image_from_array(source: np.ndarray | Tensor, what: str) -> Image.Image:
    array = to_numpy(source, what)
    if isinstance(source, Tensor) and array.ndim == 3:
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        layout = "([1|3|4,] H, W)" if isinstance(source, Tensor) else "(H, W[, 1|3|4])"
        raise ValueError(f"The {what} must have shape {layout}, got {tuple(source.shape)}.")
    check_sides(*array.shape[:2], f"The {what}")
    if array.dtype == np.uint16:
        array = array / np.float32(65535)
    if np.issubdtype(array.dtype, np.floating):
        if array.min() < -1e-3 or array.max() > 1 + 1e-3:
            raise ValueError(
                f"The {what} must hold values in 0..1 when floating, got "
                f"{array.min():.3g}..{array.max():.3g}; divide "
                "0..255 by 255, map -1..1 by (x + 1) / 2."
            )
        array = np.rint(array.clip(0, 1) * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise ValueError(f"The {what} must be uint8, uint16 or floating, got {array.dtype}.")
    return Image.fromarray(np.ascontiguousarray(array))


def check_sides(height: int, width: int, label: str) -> None:
    """Raise ValueError, naming the picture by `label`, if a side is below MIN_SIDE."""
    if min(height, width) < MIN_SIDE:
        raise ValueError(
            f"{label} is {height} x {width} pixels; at least {MIN_SIDE} x {MIN_SIDE} are needed."
        )
