"""A flow whose neighbourhoods move like sheets: doubled eyes and mouths become one again.

The match of a position is right within a cell or so, and a cell is a fifth of a small face: where
one eye's cells differ by one, it stands there twice. Between two pictures of one kind of thing, a
neighbourhood moves nearly as an affine map says (the local model of Lucas and Kanade 1981); that of
each position is fitted to the matches around it, robustly, so that pieces which really move apart
still do.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

RADIUS = 3
"""Cells on each side of a position whose matches the fit sees."""

SIGMA = 2.2
"""Standard deviation, in cells, of the weight by distance."""

TOLERANCE = 2.5
"""Cells of disagreement at which a match's weight is down to a quarter."""

RIDGE = 0.5
"""Weight of the slopes towards 0 in the fit, against some 25 of a full neighbourhood's matches."""

FITS = 2
"""The second one judges disagreement by the first instead of by the position's own match."""


def locally_affine(position: Tensor, side: Tensor, radius: int = RADIUS) -> Tensor:
    """Each position's match by the affine map that fits those around it.

    position (B, h, w, 2): (x, y) in cells of the exemplar's grid. side (B, h, w): which exemplar;
    matches in another one do not count. Returns (B, h, w, 2), which may lie off the exemplar.
    """
    height, width = side.shape[1:]
    y, x = torch.meshgrid(
        *(torch.arange(length, device=position.device) for length in (height, width)), indexing="ij"
    )
    displacement = (position - torch.stack([x, y], dim=-1)).movedim(-1, 0)
    offsets = torch.arange(-radius, radius + 1, device=position.device)
    down, across = (each.flatten() for each in torch.meshgrid(offsets, offsets, indexing="ij"))
    closeness = (-(down.square() + across.square()) / (2 * SIGMA**2)).exp()
    basis = torch.stack([torch.ones_like(down), across, down], dim=-1).to(position)
    products = (basis[:, :, None] * basis[:, None]).flatten(1)
    near = _around(displacement, radius)
    counts = _around(torch.ones_like(side), radius) * (_around(side, radius) == side[..., None])
    closeness = counts * closeness
    ridge = RIDGE * torch.diag(basis.new_tensor([0, 1, 1]))
    fitted = displacement
    for _ in range(FITS):
        apart = (near - fitted[..., None]).abs().sum(0)
        weight = closeness * (1 + (apart / TOLERANCE).square()).pow(-2)
        normal = (weight @ products).unflatten(-1, (3, 3)) + ridge
        wanted = ((weight * near) @ basis).movedim(0, -1)
        fitted = torch.linalg.solve(normal, wanted)[..., 0, :].movedim(-1, 0)
    return position + (fitted - displacement).movedim(0, -1)


def _around(values: Tensor, radius: int) -> Tensor:
    """(..., h, w, n) what lies around each place of (..., h, w), row by row; 0 beyond it."""
    side = 2 * radius + 1
    padded = F.pad(values, (radius,) * 4)
    return padded.unfold(-2, side, 1).unfold(-2, side, 1).flatten(-2)
