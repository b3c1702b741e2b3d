"""From the exact correlation to a flow that moves whole pieces, and pixels seen through it.

The softmax of `Matching` averages many positions, so what it warps is soft. A picture that keeps
the exemplar's texture needs one place for each position, and neighbours that agree on it:

1. the best match of each position, from the tiles, among places that are not yet crowded;
2. propagation (Barnes et al. 2009, PatchMatch): in each round a position also tries the
   displacements of its eight neighbours, and takes what maximises its correlation less a penalty
   for disagreeing with them;
3. a softmax over the 3 x 3 correlations around the match: where between the cells it lies;
4. an affine map fitted to the matches around each position (`stiffness`), so that what is one
   piece in the exemplar stays one piece.

`CoherentFlow.warp` then looks at the exemplar's pixels themselves, as overlapped block motion
compensation does (Orchard and Sullivan 1994): each pixel blends what it sees through the
displacements of the four nearest cells. To interpolate the displacements instead would give lines
of garbage wherever the flow jumps; this gives a cross-fade between two pieces that are both valid.
Where cells follow a guide, it is asked again for every pixel, as it knows more than a cell shows;
where it cuts, pixels on both sides are blended with their neighbours.
All of it takes memory in proportion to the number of positions and pixels; a correlation of at most
`nearest.KEPT_ENTRIES` is kept, as that is faster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .correlation import Side, Tiles
from .nearest import Correlations, Nearest
from .propagation import ROUNDS, SMOOTHNESS, Guide, Guided, Pairs, Pin, Pinned, State, propagated
from .stiffness import RADIUS, locally_affine

SAME_PIECE = 0.8
"""Cells by which two neighbours' places may differ from a shift and still be of one piece."""

STRAIGHT, FASTEST = 0.3, 3.0
"""Cells by which the changes to both sides may differ where a piece turns far, and by which one of
them may differ from a shift."""

JUMP = 16.0
"""Pixels by which the places of two neighbouring pixels lie apart where a guide cuts."""


@dataclass(frozen=True, eq=False)
class CoherentFlow:
    """Where each cell of the condition's grid looks, and how much that is to be trusted.

    position (B, h, w, 2): (x, y) in cells of its exemplar's grid, cell centres at whole numbers.
    exemplar (B, h, w): which of the item's exemplars. score (B, h, w): the correlation there, in
    -1..1. consistency (B, h, w): in 0..1, 1 where the exemplar's place looks back at the cell.
    grids: for each item (h', w') of its exemplars. guides: of the matching. follows (B, h, w) bool:
    the cells that lie where their guide says; None without guides.
    """

    position: Tensor
    exemplar: Tensor
    score: Tensor
    consistency: Tensor
    grids: tuple[tuple[tuple[int, int], ...], ...]
    guides: Sequence[Sequence[Guide | None]] = ()
    follows: Tensor | None = None

    def trust(self) -> Tensor:
        """Correlation and consistency as two channels, (B, 2, h, w) in -1..1 and 0..1."""
        return torch.stack([self.score, self.consistency], dim=1)

    def warp(self, values: Tensor | Sequence[Sequence[Tensor]], size: tuple[int, int]) -> Tensor:
        """The exemplars' values in the condition's layout, (B, V, *size), as sharp as they are.

        values: (B or 1, V, H', W'), or for each item a list of (V, H', W'), one for each of its
        exemplars; of any resolution, since a flow speaks of shares of the exemplar. A value finer
        than the output aliases: resize it first. Gradients reach the values. Raises ValueError for
        another number of items or exemplars.
        """
        batch, height, width = self.exemplar.shape
        rows = _cells(size[0], height, self.position.device)
        columns = _cells(size[1], width, self.position.device)
        if isinstance(values, Tensor) and all(len(item) == 1 for item in self.grids):
            if len(values) not in (1, batch):
                raise ValueError(f"values must serve {batch} items, got {len(values)}.")
            values = values.expand(batch, -1, -1, -1)
            if len(set(self.grids)) == 1:
                return self._sampled(slice(None), 0, values, rows, columns)
            values = [[value] for value in values]
        counts = [len(item) for item in self.grids]
        if isinstance(values, Tensor) or [len(item) for item in values] != counts:
            raise ValueError(f"values must be lists, one for each item, of {counts} exemplars.")
        return torch.cat(
            [
                torch.as_tensor(
                    sum(
                        self._sampled(slice(index, index + 1), number, value[None], rows, columns)
                        for number, value in enumerate(item)
                    )
                )
                for index, item in enumerate(values)
            ]
        )

    def _sampled(
        self, items: slice, number: int, values: Tensor, rows: _Cells, columns: _Cells
    ) -> Tensor:
        """The share of these items' pixels that comes from their exemplar of this number."""
        grid = self.grids[items][0][number]
        position, exemplar = self.position[items], self.exemplar[items]
        across, down = _slopes(position)
        guided = self._guided(items, number, (len(rows.place), len(columns.place)))
        total: Tensor | int = 0
        share: Tensor | int = 0
        for row, row_weight in ((rows.first, 1 - rows.share), (rows.second, rows.share)):
            for column, column_weight in (
                (columns.first, 1 - columns.share),
                (columns.second, columns.share),
            ):
                weight = row_weight[:, None] * column_weight
                seen = position[:, row][:, :, column]
                seen = seen + across[:, row][:, :, column] * (columns.place - column)[:, None]
                seen = seen + down[:, row][:, :, column] * (rows.place - row)[:, None, None]
                if len(self.grids[items][0]) > 1:
                    weight = weight * (exemplar[:, row][:, :, column] == number)
                if guided is not None and self.follows is not None:
                    finer = weight * self.follows[items][:, row][:, :, column] * guided.is_there
                    share = share + finer
                    weight = weight - finer
                if weight.ndim == 3:
                    weight = weight[:, None]
                total = total + weight * _looked(values, seen, grid)
        if guided is not None:
            seen = without_steps(_looked(values, guided.place, grid), guided.place, grid)
            total = total + torch.as_tensor(share)[:, None] * seen
        return torch.as_tensor(total)

    def _guided(self, items: slice, number: int, size: tuple[int, int]) -> _Guided | None:
        """What the guides say of each pixel in the items' exemplars of a number."""
        if self.follows is None:
            return None
        nowhere = self.position.new_full((*size, 2), torch.nan)
        guides = [item[number] for item in self.guides[items]]
        place = torch.stack([nowhere if one is None else one(size).to(nowhere) for one in guides])
        is_there = ~place.isnan().any(-1)
        return _Guided(place.nan_to_num(), is_there) if is_there.any() else None


@dataclass(frozen=True)
class _Guided:
    """place (B, H, W, 2): (x, y) in cells; is_there (B, H, W) bool: where it is known."""

    place: Tensor
    is_there: Tensor


def _looked(values: Tensor, place: Tensor, grid: tuple[int, int]) -> Tensor:
    """Values (B, V, H', W') at places (B, H, W, 2) in cells of a grid (h, w) over them."""
    x, y = place.unbind(-1)
    seen = torch.stack([(2 * x + 1) / grid[1] - 1, (2 * y + 1) / grid[0] - 1], dim=-1)
    return F.grid_sample(values.float(), seen, padding_mode="border", align_corners=False)


def without_steps(seen: Tensor, place: Tensor, grid: tuple[float, float]) -> Tensor:
    """Values (B, V, H, W) seen at places (B, H, W, 2), blended across where the place jumps.

    Each pixel looks at one place, so that a cut would have the steps of the pixels' edges.
    grid: (h, w) of the exemplar, in whose cells the places are.
    """
    height, width = place.shape[1:3]
    # Not by `diff`, which ONNX does not have.
    right, below = place[:, :, 1:] - place[:, :, :-1], place[:, 1:] - place[:, :-1]
    across = (right.abs().amax(-1) > JUMP * grid[1] / width).float()
    down = (below.abs().amax(-1) > JUMP * grid[0] / height).float()
    cuts = F.pad(across, [0, 1]) + F.pad(across, [1, 0])
    cuts = cuts + F.pad(down, [0, 0, 0, 1]) + F.pad(down, [0, 0, 1, 0])
    wide = F.pad(seen, [1, 1, 1, 1], mode="replicate")
    wide = wide[..., :-2] + 2 * wide[..., 1:-1] + wide[..., 2:]
    wide = wide[..., :-2, :] + 2 * wide[..., 1:-1, :] + wide[..., 2:, :]
    return torch.where(cuts[:, None] > 0, wide / 16, seen)


def _slopes(position: Tensor) -> tuple[Tensor, Tensor]:
    """By how much the place (B, h, w, 2) moves with one cell across, and with one down.

    Of the changes to the neighbours on either side those count that differ from a shift by less
    than `SAME_PIECE`, or from each other by less than `STRAIGHT`; a shift, where neither does.
    """
    slopes = []
    for axis, step in ((2, (1.0, 0.0)), (1, (0.0, 1.0))):
        shift = position.new_tensor(step)
        change = position.diff(dim=axis) - shift
        edge = [0, 0] * (position.ndim - 1 - axis)
        nowhere = float("inf")
        after, before = (
            F.pad(change, [*edge, 0, 1], value=nowhere),
            F.pad(change, [*edge, 1, 0], value=nowhere),
        )
        is_straight = _length(after - before) < STRAIGHT  # inf - inf is not
        is_straight &= _length(after) < FASTEST
        sides = [(side, is_straight | (_length(side) < SAME_PIECE)) for side in (after, before)]
        total = sum(torch.where(counts, side, 0) for side, counts in sides)
        count = sum(counts.float() for _, counts in sides)
        slopes.append(shift + total / torch.as_tensor(count).clamp_min(1))
    return slopes[0], slopes[1]


def _length(change: Tensor) -> Tensor:
    return change.square().sum(-1, keepdim=True).sqrt()


@dataclass(frozen=True)
class _Cells:
    """For each pixel of one axis: its place in cells, the two nearest cells, the second's share."""

    place: Tensor
    first: Tensor
    second: Tensor
    share: Tensor


def _cells(pixels: int, cells: int, device: torch.device) -> _Cells:
    place = (torch.arange(pixels, device=device) + 0.5) * (cells / pixels) - 0.5
    low = place.floor()
    first, second = (index.long().clamp(0, cells - 1) for index in (low, low + 1))
    return _Cells(place, first, second, place - low)


@torch.no_grad()
def coherent_flow(
    rows: Sequence[Side],
    columns: Sequence[Sequence[Side]],
    make_tiles: Callable[[Side, Side], Tiles],
    *,
    smoothness: float = SMOOTHNESS,
    rounds: int = ROUNDS,
    stiffness: int = RADIUS,
    pins: Sequence[Sequence[Pin]] = (),
    guides: Sequence[Sequence[Guide | None]] = (),
) -> CoherentFlow:
    """Steps 1 to 4 of this module for every item of a batch.

    rows: the conditions' maps, all of one size; columns: for each of them its exemplars' maps.
    make_tiles: gives their correlation, divided by any temperature. pins: for each item the points
    that are given; a pinned displacement is tried everywhere and gains `PIN_WEIGHT` at its point
    and less around it. guides: as of `Matching`.
    """
    height, width = rows[0].height, rows[0].width
    correlations = Correlations(rows, columns, make_tiles)
    nearest = [Nearest.of(correlations, item) for item in range(len(rows))]
    pairs = Pairs(correlations, nearest)
    target = torch.stack([item.position for item in nearest]).view(-1)
    side = torch.stack([pairs.local_to_side[i][n.exemplar] for i, n in enumerate(nearest)])
    side = side.view(-1)
    state = State(
        pairs.displacement(side, target).view(len(rows), height, width, 2),
        side.view(len(rows), height, width),
    )
    pinned = Pinned(pins, pairs, (len(rows), height, width)) if any(pins) else None
    guided = Guided(guides, pairs) if guides else None
    hints = [hint for hint in (pinned, guided) if hint is not None]
    state = propagated(pairs, state, smoothness, rounds, hints)

    side = state.side.view(-1)
    target = pairs.target(side, state.displacement.view(-1, 2))
    position, score = pairs.between_cells(side, target)
    position = position.view(len(rows), height, width, 2)
    if stiffness:
        piece = state.side
        regions = [each.regions for each in rows if each.regions is not None]
        if regions:  # which are bounds: what lies in another does not count
            piece = piece + len(pairs.places) * torch.stack(regions).view_as(piece)
        position = locally_affine(position, piece, stiffness)
        most = torch.stack([pairs.widths, pairs.heights], dim=-1)[state.side]
        position = position.clamp_min(0).minimum(most - 1)
    follows = None
    if guided is not None:
        position, follows = guided.exact(position, state)
    if pinned is not None:
        before = position.clone()
        position = pinned.exact(position, state)
        if follows is not None:
            follows = follows & (position == before).all(-1)
    consistency = torch.cat(
        [
            item.consistency(pairs.side_to_local[index][own], where, width)
            for index, (item, own, where) in enumerate(
                zip(nearest, side.view(len(rows), -1), target.view(len(rows), -1), strict=True)
            )
        ]
    )
    shape = (len(rows), height, width)
    consistency = consistency.view(shape)
    if follows is not None:
        consistency = consistency.masked_fill(follows, 1)
    local = torch.stack([pairs.side_to_local[i][own] for i, own in enumerate(state.side)])
    return CoherentFlow(
        position,
        local,
        score.view(shape),
        consistency,
        tuple(tuple((each.height, each.width) for each in item) for item in columns),
        guides,
        follows,
    )
