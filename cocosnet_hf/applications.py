"""Uses of the correspondence beyond painting: editing a photo's layout, carrying a layer over."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch.nn.functional as F
from PIL import Image, ImageFilter
from torch import Tensor

from .image_translation import ImageTranslationPipeline
from .pictures import Picture, open_image, open_photo, to_image, to_pixels
from .pipeline import CoCosPipeline

NOTICEABLE = 0.05
"""How much a channel of the condition, in 0..1, must differ for its place to count as edited."""


def edit_photo(
    pipe: ImageTranslationPipeline,
    photo: Picture,
    condition: Any,
    photo_condition: Any = None,
    *,
    margin: int = 8,
    whole: bool = False,
    painted: Image.Image | None = None,
) -> Image.Image:
    """Change a photo by changing its layout: repaint it with itself as the exemplar.

    The paper's image editing (Zhang et al. 2020, section 4). What the edit does not touch keeps the
    photo's own pixels.

    condition: the edited layout; photo_condition: the layout it was made from, both as
    `pipe.condition` takes them; by default what it makes from the photo itself. margin: width in
    pixels of the painting of the seam around what differs, in which both are mixed. whole: show the
    repainted picture everywhere, as for poses, where a limb that moves far changes the condition
    nearly everywhere. painted: the pipeline's picture of this condition and photo, where there is
    one already.

    Returns a picture of the photo's size. Raises ValueError for input that the pipeline refuses.
    """
    if not isinstance(margin, Integral) or margin < 0:
        raise ValueError(f"margin must be a whole number of pixels, 0 or more, got {margin!r}.")
    original = open_photo(photo)
    before = pipe.condition.from_photo(original) if photo_condition is None else photo_condition
    if painted is None:
        needed = before if pipe.takes_exemplar_condition else None
        painted = pipe(condition, original, needed).images[0]
    else:
        painted = open_photo(painted, "painted picture")
    repainted = painted.resize(original.size, Image.Resampling.BICUBIC)
    if whole:
        return repainted
    size = (painted.height, painted.width)
    difference = pipe.condition.encode(condition, *size) - pipe.condition.encode(before, *size)
    edited = difference.abs().amax(0) > NOTICEABLE
    return Image.composite(repainted, original, _seam(edited, margin, original.size))


def _seam(edited: Tensor, margin: int, size: tuple[int, int]) -> Image.Image:
    """255 where edited (H, W), falling to 0 over `margin` pixels around, at another size."""
    mask = Image.fromarray(edited.cpu().numpy().astype(np.uint8) * 255)
    if margin > 1:  # some versions of Pillow end the process on a MaxFilter of one pixel
        mask = mask.filter(ImageFilter.MaxFilter(2 * (margin // 2) + 1))
    if margin:
        mask = mask.filter(ImageFilter.GaussianBlur(margin / 4))
    return mask.resize(size, Image.Resampling.BILINEAR)


def transfer_layer(
    pipe: CoCosPipeline,
    layer: Picture,
    exemplar: Picture,
    photos: Picture | Sequence[Picture],
    *,
    exemplar_condition: Any = None,
    conditions: Sequence[Any] | None = None,
    strength: float = 1.0,
) -> list[Image.Image]:
    """Carry what is painted on an exemplar to the corresponding places of photos.

    The paper's makeup transfer (Zhang et al. 2020, section 4): the layer is painted once and
    follows the correspondence into each photo, which is otherwise left as it is.

    layer: a picture with transparency, as large as the exemplar. photos: one or many; conditions:
    the layout of each as `pipe.condition` takes it, by default what it makes from the photo.
    exemplar_condition: the exemplar's own, where the pipeline needs it. strength: 0..1, how opaque
    the layer becomes.

    Returns the photos, in their own sizes, with the layer on them. Raises ValueError for a layer of
    another size or without transparency, and for input that the pipeline refuses.
    """
    painted = open_image(layer, "layer")
    if not painted.has_transparency_data:
        raise ValueError(
            "The layer must have transparency (RGBA), opaque where something is painted; got mode "
            f"{painted.mode}."
        )
    photo_of_layer = open_photo(exemplar, "exemplar")
    if painted.size != photo_of_layer.size:
        raise ValueError(
            f"The layer must be as large as the exemplar it is painted on, {photo_of_layer.size}, "
            f"got {painted.size}."
        )
    if not isinstance(strength, Real) or not 0 <= strength <= 1:
        raise ValueError(f"strength must be in 0..1, got {strength!r}.")
    given: Sequence[Any] = photos if isinstance(photos, (list, tuple)) else [photos]
    originals = [open_photo(photo) for photo in given]
    if conditions is None:
        conditions = [pipe.condition.from_photo(photo) for photo in originals]
    if not isinstance(conditions, (list, tuple)) or len(conditions) != len(originals):
        count = len(conditions) if isinstance(conditions, (list, tuple)) else type(conditions)
        raise ValueError(
            f"conditions must be a list of one for each of the {len(originals)} photos, got "
            f"{count}."
        )
    prepared = pipe.encode_exemplar(photo_of_layer, exemplar_condition)
    values = _premultiplied(painted, prepared.photos[0][0].shape[-2:]).to(prepared.photos[0][0])
    height, width = values.shape[-2:]
    results = []
    for photo, condition in zip(originals, conditions, strict=True):
        matching = pipe.match(condition, prepared)
        if pipe.correspondence.config.warp == "coherent":  # as sharp as the layer is
            carried = matching.coherent().warp(values[None], (height, width))
        else:
            carried = matching.warp(values[None])
        results.append(_laid_on(photo, carried, strength))
    return results


def _premultiplied(layer: Image.Image, size: Sequence[int]) -> Tensor:
    """Colour times opacity, and opacity: (4, H, W) in 0..1."""
    rgba = to_pixels(layer.convert("RGBA")).float() / 255
    rgba[:3] *= rgba[3:]
    return F.interpolate(rgba[None], tuple(size), mode="area")[0]


def _laid_on(photo: Image.Image, layer: Tensor, strength: float) -> Image.Image:
    """A premultiplied layer (1, 4, h, w) over a photo, at the photo's size."""
    layer = F.interpolate(
        layer.float().cpu() * strength, (photo.height, photo.width), mode="bilinear"
    )[0]
    ground = to_pixels(photo).float() / 255
    return to_image(layer[:3] + (1 - layer[3:]) * ground, low=0)
