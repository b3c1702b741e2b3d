"""Differentiable augmentation of what the discriminator sees, for small data sets."""

import torch
import torch.nn.functional as F
from torch import Tensor

TRANSLATION = 1 / 8
"""Longest shift, as a share of the side."""
CUTOUT = 1 / 2
"""Side of the hidden square, as a share of the picture's."""


def diff_augment(condition: Tensor, *images: Tensor) -> list[Tensor]:
    """One random change per item, the same for all images: colour, shift and a hidden square.

    Zhao et al. 2020 (differentiable augmentation). The discriminator then cannot learn a small set
    by heart, and since real and fake are changed alike, the translation network does not learn the
    changes. condition (B, K, H, W) shares shift and square, so that it still fits; images
    (B, 3, H, W) in [-1, 1]. Returns the condition, then the images. Draws from torch's global
    generator.
    """
    batch, _, height, width = condition.shape

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(batch, 1, 1, 1, device=condition.device).uniform_(low, high)

    brightness, saturation, contrast = uniform(-0.5, 0.5), uniform(0, 2), uniform(0.5, 1.5)

    def recolor(image: Tensor) -> Tensor:
        image = image + brightness
        grey = image.mean(dim=1, keepdim=True)
        image = grey + (image - grey) * saturation
        mean = image.mean(dim=(1, 2, 3), keepdim=True)
        return mean + (image - mean) * contrast

    # One gather for shift and square: places outside the picture read from a border of zeros.
    y = torch.arange(height, device=condition.device).view(1, -1, 1)
    x = torch.arange(width, device=condition.device).view(1, 1, -1)
    shift = TRANSLATION
    source_y = y + (uniform(-shift, shift) * height).round().long().view(-1, 1, 1)
    source_x = x + (uniform(-shift, shift) * width).round().long().view(-1, 1, 1)
    center_y, center_x = uniform(0, height).view(-1, 1, 1), uniform(0, width).view(-1, 1, 1)
    hidden = ((y - center_y).abs() < CUTOUT * height / 2) & (
        (x - center_x).abs() < CUTOUT * width / 2
    )
    inside = (source_y >= 0) & (source_y < height) & (source_x >= 0) & (source_x < width)
    place = (source_y + 1).clamp(0, height + 1) * (width + 2) + (source_x + 1).clamp(0, width + 1)
    place = torch.where(inside & ~hidden, place, 0).flatten(1)

    def move(picture: Tensor) -> Tensor:
        flat = F.pad(picture, (1, 1, 1, 1)).flatten(2)
        index = place.unsqueeze(1).expand(-1, picture.shape[1], -1)
        return flat.gather(2, index).unflatten(2, (height, width))

    return [move(condition), *(move(recolor(image)) for image in images)]


def random_shift(*images: Tensor, most: int = 7) -> list[Tensor]:
    """The same window of every image, (H - most) x (W - most), at a random place for the batch.

    Before a network with strides: seen at every offset in turn, no pixel of a picture counts more
    than its neighbours, and no lattice pays. images (B, C, H, W); views come back. Draws from
    torch's global generator, on the CPU. Raises ValueError for images of different sizes or without
    a pixel more than `most` in height and width.
    """
    sizes = {tuple(image.shape[-2:]) for image in images}
    if len(sizes) != 1 or most < 0 or min(min(size) for size in sizes) <= most:
        raise ValueError(
            f"images must have one height and width of more than most = {most} >= 0 pixels, got "
            f"{sorted(sizes)}."
        )
    ((height, width),) = sizes
    top, left = torch.randint(most + 1, (2,)).tolist()
    rows, columns = slice(top, top + height - most), slice(left, left + width - most)
    return [image[..., rows, columns] for image in images]
