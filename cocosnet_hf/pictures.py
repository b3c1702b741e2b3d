"""Pictures: opening what a user passes as one, to tensors and back, in rows and columns."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional as F

from .color_profiles import to_srgb
from .notes import Note, log
from .orientation import ORIENTATION, TURNED, orientation, turned_by, upright
from .pairing import Frame
from .picture_files import is_heic, loaded, read_file


class Refused(ValueError):
    """A picture that could be read and is not wanted, such as one that is too large."""


class Unreadable(ValueError):
    """What is no picture, of a format that is not read, or beyond Pillow's size limit."""


MIN_SIDE = 8
"""Smallest accepted side of a picture, in pixels: less is a broken file or a mistake."""

DARK = 4096
"""Of 16 bits: a photo whose numbers are all below has 12 bits or fewer, or shows a night."""

NUMBERS = (
    *(torch.bool, torch.uint8, torch.uint16, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
)
"""Types of tensors that are read."""

Picture: TypeAlias = "Image.Image | str | os.PathLike[str] | np.ndarray | Tensor"
"""What a user may pass as a picture."""


def open_image(
    source: Picture | BinaryIO,
    what: str = "image",
    *,
    formats: tuple[str, ...] | None = None,
    before: Callable[[Image.Image], None] | None = None,
    decoded: Callable[[Image.Image], Image.Image] | None = None,
) -> Image.Image:
    """Open a picture, load it fully and turn it upright by its orientation tag.

    source: PIL image, path, binary file, array (H, W[, C]) or tensor ([C,] H, W); arrays and
    tensors are uint8 0..255, uint16 0..65535 or floating 0..1. `what` names the picture in error
    messages. The mode of an image file is kept, and no colour profile is applied. formats, before:
    of a file, see `read_file`; decoded: makes of a file's pixels what is to be turned, such as a
    smaller picture. Raises ValueError for a file that is no image or whose pixels are damaged, a
    file beyond Pillow's size limit (PIL.Image.MAX_IMAGE_PIXELS), a side below MIN_SIDE and arrays
    with NaN or values out of range, but not for damaged metadata; FileNotFoundError.
    """
    if isinstance(source, (np.ndarray, Tensor)):
        return _image_from_array(source, what)
    if isinstance(source, (str, os.PathLike)):
        label = f"The {what} '{os.fspath(source)}'"
    elif isinstance(source, Image.Image):
        name = getattr(source, "filename", None)
        label = f"The {what} '{name}'" if name else f"The {what}"
    elif hasattr(source, "read"):
        label = f"The {what}"
    else:
        raise ValueError(
            f"The {what} must be a PIL image, a path, a NumPy array or a torch tensor, got "
            f"{type(source).__name__}."
        )
    try:
        if isinstance(source, Image.Image):
            image = upright(loaded(source))
        else:
            with read_file(source, formats, before) as file:  # one of several frames stays open
                image = upright(file if decoded is None else _made(decoded, file), own=True)
    except Image.DecompressionBombError as error:
        raise Unreadable(
            f"{label} has more pixels than Pillow's limit of {Image.MAX_IMAGE_PIXELS:,}; make it "
            "smaller first."
        ) from error
    except (FileNotFoundError, IsADirectoryError, PermissionError, Refused, MemoryError):
        raise
    except UnidentifiedImageError as error:
        is_path = isinstance(source, (str, os.PathLike))
        found = "is not an image" if is_path else "cannot be read: it is no image"
        heic = not isinstance(source, Image.Image) and is_heic(source)
        remedy = " It is HEIC: pip install pillow-heif, or save it as JPEG." if heic else ""
        raise Unreadable(f"{label} {found} that Pillow can read.{remedy}") from error
    except Exception as error:  # Pillow's formats raise whatever damaged bytes lead them to
        raise ValueError(f"{label} is damaged or truncated: {error}.") from error
    check_sides(image.height, image.width, label)
    return image


def _made(decoded: Callable[[Image.Image], Image.Image], file: Image.Image) -> Image.Image:
    """What is made of a file's pixels, to be turned as the file is."""
    tag, picture = orientation(file), decoded(file)
    if picture is not file:  # a TIFF says it outside of its `info`
        exif = Image.Exif()
        exif[ORIENTATION] = tag
        picture.info = picture.info | {"exif": exif.tobytes()}
    return picture


def open_photo(
    source: Picture, what: str = "photo", tell: Callable[[Iterable[Note]], None] = log
) -> Image.Image:
    """Open a photo as RGB, in the colours that a viewer shows.

    Grey, palette, 16-bit and CMYK are converted, a colour profile is applied, and transparency is
    laid on white. tell: says what was taken where a photo may mean two things, by default in the
    log. Accepts and raises what `open_image` does; ValueError also for numbers beyond 16 bits.
    """
    image = open_image(source, what)
    tag, info = turned_by(image), image.info
    if image.mode == "F":
        image = _image_from_array(np.asarray(image), what)
    elif image.mode == "I" or image.mode.startswith("I;16"):
        image = _from_whole_numbers(np.asarray(image), what, tell)
    elif image.mode in ("La", "RGBa"):  # premultiplied, which Pillow brings to no other mode
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    image.info = info  # of which an array has none
    image = to_srgb(image, what, tell)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if not image.getchannel("A").getextrema()[1]:
            text = (
                f"The {what} is transparent everywhere, so that it is taken as white; save it "
                "without transparency if that is not meant."
            )
            tell([Note("transparent", text)])
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB")
    if tag != 1:
        image.info[TURNED] = tag
    return image


def _from_whole_numbers(
    values: np.ndarray, what: str, tell: Callable[[Iterable[Note]], None]
) -> Image.Image:
    """A photo of one channel of 16 or 32 bits, (H, W): 16 bits, or 8 where no number is larger."""
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ValueError(
            f"The {what} holds whole numbers from {low} to {high}; photos have 8 bits, 0..255, or "
            "16, 0..65535. Scale it to 8 bits first."
        )
    text = (
        f"The {what} has 16 or 32 bits and no number above {high}, so that they are taken for "
        "those of 8 bits, 0..255. Save it with 8 bits to be sure."
    )
    if 0 < high < 256:
        tell([Note("bits", text)])
        return Image.fromarray(values.astype(np.uint8))
    if 0 < high < DARK:
        text = (
            f"The {what} has 16 bits, 0..65535, and no number above {high}, so that it is very "
            "dark. If it holds 10 or 12 bits, scale them to 16 first."
        )
        tell([Note("dark", text)])
    return _image_from_array(values.astype(np.uint16), what)


def open_stored(value: Any, what: str) -> Image.Image:
    """The picture that a row of the `datasets` library holds, in its own mode, upright.

    value: {"bytes": ..., "path": ...}, either of which may be None, or what `open_image` takes.
    Raises ValueError, naming the picture by `what`, for anything that cannot be read.
    """
    if value is None:
        raise ValueError(f"There is no {what}.")
    try:
        return open_image(_stored(value) if isinstance(value, Mapping) else value, what)
    except (ValueError, OSError, UnidentifiedImageError, SyntaxError) as error:
        if what in str(error):
            raise ValueError(str(error)) from error
        raise ValueError(f"The {what} cannot be read: {error}.") from error


def frame_of(value: Any, what: str) -> Frame:
    """Size and turning of the photo that a row holds, where possible from the head of its file.

    Accepts and raises what `open_stored` does.
    """
    stored = _stored(value) if isinstance(value, Mapping) else value
    if isinstance(stored, (str, os.PathLike, io.BytesIO)):
        try:
            with Image.open(stored) as file:
                return Frame.of(file.size, orientation(file))
        except Exception:  # such as text that is too large: reading it all says what is wrong
            pass
    image = open_stored(value, what)
    return Frame(image.size, image.info)


def _stored(value: Mapping[str, Any]) -> Any:
    if value.get("bytes") is not None:
        return io.BytesIO(value["bytes"])
    if os.path.exists(value["path"]) or "://" not in value["path"]:
        return value["path"]
    import datasets  # which the row came from

    return datasets.Image().decode_example(dict(value))


def to_pixels(picture: Image.Image) -> Tensor:
    """A picture as (C, H, W) uint8, or of one plane (H, W) in its own type."""
    pixels = torch.from_numpy(np.array(picture))
    return pixels.permute(2, 0, 1) if pixels.ndim == 3 else pixels


def to_numbers(picture: Image.Image) -> np.ndarray:
    """The whole numbers that a picture holds, such as those of instances: (H, W) int32.

    Of colours red + 256 green + 65,536 blue, as COCO's panoptic maps are written; of a palette its
    places.
    """
    pixels = np.asarray(picture).astype(np.int32)
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[2] < 3:  # grey and opacity
        return pixels[..., 0]
    return pixels[..., 0] + 256 * pixels[..., 1] + 65536 * pixels[..., 2]


def to_tensor(photo: Image.Image) -> Tensor:
    """A photo as the networks read it: (3, H, W) float32 in [-1, 1]."""
    return to_pixels(photo).float() / 127.5 - 1


def to_image(pixels: Tensor, low: float = -1.0) -> Image.Image:
    """(3, H, W) or (H, W) as a picture: uint8, or floating from `low` to 1; beyond is cut off."""
    pixels = pixels.detach().cpu()
    if pixels.is_floating_point():
        pixels = ((pixels.float().clamp(low, 1) - low) * (255 / (1 - low))).round().byte()
    if pixels.ndim == 3:
        pixels = pixels.permute(1, 2, 0)
    return Image.fromarray(pixels.contiguous().numpy())


def grid(
    rows: Sequence[Sequence[Image.Image]], gap: int = 0, ground: str = "white", mode: str = "RGB"
) -> Image.Image:
    """Pictures in rows and columns, each at the top left of its cell, `gap` pixels apart."""
    columns = range(max(map(len, rows)))
    widths = [max(row[x].width for row in rows if x < len(row)) for x in columns]
    heights = [max(picture.height for picture in row) for row in rows]
    width, height = (sum(sides) + gap * (len(sides) - 1) for sides in (widths, heights))
    sheet = Image.new(mode, (width, height), ground)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            sheet.paste(picture, (sum(widths[:x]) + gap * x, sum(heights[:y]) + gap * y))
    return sheet


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
    """An array on the CPU; half precisions as float32.

    Raises ValueError on NaN or infinity, on what holds no real numbers or hides some behind a mask,
    and as `require_plain` does.
    """
    if isinstance(array, Tensor):
        require_plain(array, what)
        array = array.detach().cpu()
        array = (array.float() if array.is_floating_point() else array).numpy()
    if array.dtype.kind not in "biuf":
        raise ValueError(f"The {what} must hold real numbers, got an array of {array.dtype}.")
    if np.ma.is_masked(array):
        raise ValueError(
            f"The {what} has masked entries, of which nothing is known; fill them first, such as "
            "by array.filled(0)."
        )
    if np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float32)
        if not np.isfinite(array).all():
            raise ValueError(f"The {what} contains NaN or infinite values.")
    return array


def require_plain(tensor: Tensor, what: str) -> None:
    """Raise ValueError for a tensor that holds no real numbers, or not each in its own place."""
    is_dense = tensor.layout == torch.strided and not (tensor.is_nested or tensor.is_quantized)
    if not is_dense or tensor.is_meta or tensor.dtype not in NUMBERS:
        raise ValueError(
            f"The {what} must be a dense tensor of real numbers in memory, got one of "
            f"{tensor.dtype}, {tensor.layout}, on {tensor.device}; .to_dense(), .dequantize() or "
            ".float() makes one."
        )


def _image_from_array(source: np.ndarray | Tensor, what: str) -> Image.Image:
    array = to_numpy(source, what)
    if isinstance(source, Tensor) and array.ndim == 3:
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        layout = "([1|3|4,] H, W)" if isinstance(source, Tensor) else "(H, W[, 1|3|4])"
        raise ValueError(f"The {what} must have shape {layout}, got {tuple(source.shape)}.")
    check_sides(array.shape[0], array.shape[1], f"The {what}")
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
