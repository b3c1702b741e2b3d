"""Colours as a viewer shows them: what a picture's profile says, brought to sRGB."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterable

import numpy as np
from PIL import Image, ImageCms

from .notes import Note, log

PLANES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}
"""The mode of the pixels that a profile of each colour space describes."""

ALIKE = 2
"""Steps of 0..255 below which a profile counts as sRGB: its pixels stay as they are stored."""

PNG_GAMMA = 1 / 2.2
"""What sRGB files say in the gAMA chunk of a PNG, which knows powers only."""


def to_srgb(
    image: Image.Image, what: str, tell: Callable[[Iterable[Note]], None] = log
) -> Image.Image:
    """A photo in sRGB by its own profile, else by a PNG's gamma; as it is where it has neither.

    Keeps transparency. A profile that cannot be used, or is of another colour space than the
    pixels, is passed over, which `tell` says of the photo, named by `what`.
    """
    profile = image.info.get("icc_profile")
    if not profile:
        return _by_gamma(image)
    flat, alpha = _without_alpha(image)
    try:
        space = _space(profile)
        if space == "RGB" and flat.mode == "L":
            flat = flat.convert("RGB")  # a grey photo saved by an editor that works in colour
        if PLANES.get(space) != flat.mode:
            raise ValueError(f"it is for {space} pixels, the picture has mode {flat.mode}")
        transform = _transform(profile, flat.mode)
        converted = flat if transform is None else transform.apply(flat)
    except (ImageCms.PyCMSError, ValueError, OSError, TypeError) as error:
        text = (
            f"The {what} has a colour profile that cannot be used ({error}); its colours are read "
            "as sRGB. Convert it to sRGB in a photo editor if they look wrong."
        )
        tell([Note("profile", text)])
        return _without_profile(image)
    if transform is None and alpha is None:
        return _without_profile(image)
    if alpha is not None:
        converted = converted.convert("RGB")
        converted.putalpha(alpha)
    converted.info = image.info | {"icc_profile": profile}
    return _without_profile(converted)


def _without_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """The colours in a mode that profiles speak of, and the transparency (H, W), if any."""
    grey = image.mode in ("L", "LA")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return image.convert("L" if grey else "RGB"), image.getchannel("A")
    return image.convert("RGB") if image.mode in ("P", "PA") else image, None


def _space(profile: bytes) -> str:
    """RGB, GRAY, CMYK, ...; raises PyCMSError or OSError for what is no profile."""
    return ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space.strip()


@functools.lru_cache(maxsize=16)  # photos of one camera share a profile; a printer's takes a while
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From a profile to sRGB for pixels of a mode; None where the two are alike.

    Raises PyCMSError for a profile without the tables that pixels need.
    """
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    transform = ImageCms.ImageCmsTransform(opened, srgb, mode, "RGB")
    return None if mode == "RGB" and _changes_nothing(transform) else transform


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether colours all over the cube stay within `ALIKE`."""
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    colors = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(27, 27, 3)
    found = np.asarray(transform.apply(Image.fromarray(colors)))
    return bool(np.abs(found.astype(int) - colors).max() <= ALIKE)


def _by_gamma(image: Image.Image) -> Image.Image:
    """A PNG whose gamma is not sRGB's, such as 1 for linear light, with the gamma of sRGB."""
    gamma = image.info.get("gamma")
    plain = image.mode in ("L", "LA", "P", "RGB", "RGBA")
    if not (plain and isinstance(gamma, float) and 0.1 < gamma <= 10) or "srgb" in image.info:
        return image
    levels = np.rint(255 * (np.arange(256) / 255) ** (PNG_GAMMA / gamma)).astype(int)
    if np.abs(levels - np.arange(256)).max() <= ALIKE:
        return image
    flat, alpha = _without_alpha(image)
    converted = flat.convert("RGB").point(levels.tolist() * 3)
    if alpha is not None:
        converted.putalpha(alpha)
    converted.info = {key: value for key, value in image.info.items() if key != "gamma"}
    return converted


def _without_profile(image: Image.Image) -> Image.Image:
    """What has been converted, or passed over with a warning, is not converted again."""
    if "icc_profile" in image.info:
        image = image.copy()
        del image.info["icc_profile"]
    return image
