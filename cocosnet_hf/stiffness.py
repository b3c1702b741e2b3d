"""A flow whose neighbourhoods move like sheets: doubled eyes and mouths become one again.

The match of a position is right within a cell or so, and a cell is a fifth of a small face: where
one eye's cells differ by one, it stands there twice. Between two pictures of one kind of thing, a
neighbourhood moves nearly as an affine map says (the local model of Lucas and Kanade 1981); that of
each position is fitted to the matches around it, robustly, so that pieces which really move apart
still do.
"""

from __future__ import annotations

import math

import torch
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
    batch, height, width, _ = position.shape
    device = position.device
    y, x = torch.meshgrid(
        torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij"
    )
    displacement = position - torch.stack([x, y], dim=-1)
    fitted = displacement
    for _ in range(FITS):
        normal = position.new_zeros(batch, height, width, 3, 3)
        wanted = position.new_zeros(batch, height, width, 3, 2)
        for down in range(-radius, radius + 1):
            for across in range(-radius, radius + 1):
                here, there = _overlap(height, width, down, across)
                near = displacement[there]
                apart = (near - fitted[here]).abs().sum(-1)
                weight = (1 + (apart / TOLERANCE).square()).pow(-2)
                weight = weight * (side[there] == side[here])
                weight = weight * _closeness(down, across)
                basis = position.new_tensor([1, across, down])
                normal[here] += weight[..., None, None] * basis[:, None] * basis
                wanted[here] += (weight[..., None, None] * basis[:, None]) * near[..., None, :]
        normal[..., 1, 1] += RIDGE
        normal[..., 2, 2] += RIDGE
        fitted = torch.linalg.solve(normal, wanted)[..., 0, :]
    return position + (fitted - displacement)


def _closeness(down: int, across: int) -> float:
    return math.exp(-(down**2 + across**2) / (2 * SIGMA**2))


def _overlap(height: int, width: int, down: int, across: int) -> tuple[tuple, tuple]:
    """Indices of the positions that have a neighbour this far away, and of those neighbours."""
    rows = slice(max(0, -down), min(height, height - down))
    columns = slice(max(0, -across), min(width, width - across))
    here = (slice(None), rows, columns)
    there = (
        slice(None),
        slice(rows.start + down, rows.stop + down),
        slice(columns.start + across, columns.stop + across),
    )
    return here, there
