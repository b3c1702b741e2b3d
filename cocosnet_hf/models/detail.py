"""Clear detail made clearer, faint detail fainter, in the finest bands of a picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BEYOND, FADING, STRONG = 0.05, 0.35, 0.8
"""How far the curve may go beyond what is around a place, in units of a picture in [-1, 1]: at an
edge of STRONG contrast or more, and how much further for each unit that it is weaker. A strong edge
that is made clearer becomes a bright line beside dark hair; faint lines are what it is for."""


class DetailCurve(nn.Module):
    """What a painter's finest bands lack beside those of photos: few strong lines, on little grain.

    A network that is taught by mean differences paints the lines it is unsure of too faintly, and
    everywhere a little of them. The curve is the opposite of coring, which takes grain away.

    bands: of the finest band and on, (faint, clear, knee): the factor of what is much weaker than
    the knee, that of what is much stronger, and the knee, in units of a picture in [-1, 1]. Each is
    a band of a pyramid of means (Burt and Adelson 1983).

    Raises ValueError for factors that are not positive.
    """

    def __init__(self, bands: Sequence[Sequence[float]]):
        super().__init__()
        if any(len(band) != 3 or min(band) <= 0 for band in bands):
            raise ValueError(
                f"detail must be a factor of faint and one of clear detail and a knee for each "
                f"band, all above 0, got {bands}."
            )
        self.bands = [tuple(band) for band in bands]

    def forward(self, image: Tensor) -> Tensor:
        """image (B, C, H, W), H and W multiples of 2 for each band; the same size."""
        levels = [image]
        for _ in self.bands:
            levels.append(F.avg_pool2d(levels[-1], 2))
        result = levels.pop()
        below = result
        for (faint, clear, knee), fine in zip(self.bands[::-1], levels[::-1], strict=True):
            band = fine - F.interpolate(below, scale_factor=2.0, mode="bilinear")
            strength = F.avg_pool2d(band.abs().amax(1, keepdim=True), 3, 1, 1).square()
            factor = faint + (clear - faint) * strength / (strength + knee**2)
            result = F.interpolate(result, scale_factor=2.0, mode="bilinear") + factor * band
            below = fine
        low, high = around(image)
        contrast = F.max_pool2d((high - low).amax(1, keepdim=True), 5, 1, 2)  # 4 pixels away too
        beyond = BEYOND + FADING * F.relu(STRONG - contrast)
        return torch.minimum(torch.maximum(result, low - beyond), high + beyond)


def around(image: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the greatest of each place and its neighbours, (B, C, H, W) both."""
    return -F.max_pool2d(-image, 3, 1, 1), F.max_pool2d(image, 3, 1, 1)
