"""How a flow becomes coherent: propagation between neighbours, and points that are given.

A position tries the displacements of its neighbours (Barnes et al. 2009, PatchMatch), and of the
pinned points, and takes what correlates best less what it differs from them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from .correlation import ANYWHERE, Side
from .nearest import Correlations, Nearest

SMOOTHNESS = 0.05
"""Correlation that a position gives up for each cell by which it differs from its neighbours."""

ROUNDS = 8
"""Most rounds of propagation; it ends earlier where nothing changes any more."""

FARTHEST = 4.0
"""Cells of difference beyond which two displacements, or two exemplars, disagree alike."""

SUBCELL_TEMPERATURE = 0.02
"""Softmax divisor over the nine correlations around a match."""

PIN_REACH = 1 / 10
"""Standard deviation of a pinned point's influence, as a share of the grid's longer side."""

PIN_WEIGHT = 1.5
"""Correlation that a pinned displacement gains at its point: more than any other can have."""

GUIDE_WEIGHT = 1.0
"""Correlation that a position gains by the displacement of its guide."""

Guide: TypeAlias = Callable[[tuple[int, int]], Tensor]
"""Where a condition's places likely lie in an exemplar, at any fineness.

For (h, w) it returns (h, w, 2): for the middles of as many equal boxes of the condition (x, y) in
cells of the exemplar's grid, cell centres at whole numbers, NaN where it does not know.
"""

_PAIRS_AT_ONCE = 16384
_ITSELF_FIRST = [4, 0, 1, 2, 3, 5, 6, 7, 8]  # of a 3 x 3 patch


@dataclass(frozen=True)
class Pin:
    """A point of the condition that must look at a point of an exemplar, in cells of their grids.

    target, source: (x, y), cell centres at whole numbers. exemplar: which of the item's.
    """

    target: tuple[float, float]
    source: tuple[float, float]
    exemplar: int = 0


class Pairs:
    """Correlations of chosen pairs, for all items and exemplars at once.

    A side is one exemplar's map; an exemplar that several items share is one side.
    local_to_side, side_to_local: for each item, from the number among its exemplars to the side and
    back.
    """

    def __init__(self, correlations: Correlations, nearest: Sequence[Nearest]):
        rows, columns = correlations.rows, correlations.columns
        self.height, self.width = rows[0].height, rows[0].width
        self.rows = rows
        device = rows[0].mean.device
        numbers: dict[int, int] = {}
        sides: list[Side] = []
        self.local_to_side, self.side_to_local = [], []
        for item in columns:
            for side in item:
                if id(side) not in numbers:
                    numbers[id(side)] = len(sides)
                    sides.append(side)
        for item in columns:
            local = torch.tensor([numbers[id(side)] for side in item], device=device)
            back = torch.zeros(len(sides), dtype=torch.long, device=device)
            back[local] = torch.arange(len(item), device=device)
            self.local_to_side.append(local)
            self.side_to_local.append(back)
        self.heights, self.widths, self.row_lengths = (
            torch.tensor([getattr(side, name) for side in sides], device=device)
            for name in ("height", "width", "row_length")
        )
        self.places = self.heights * self.widths
        self.crowding = torch.cat([losses for item in nearest for losses in item.crowding])
        sizes = iter(_starts([len(losses) for item in nearest for losses in item.crowding], device))
        shape = len(rows), len(sides)
        self.crowding_starts = torch.zeros(shape, dtype=torch.long, device=device)
        self.kept, self.kept_starts = correlations.kept, torch.zeros_like(self.crowding_starts)
        for own, local in enumerate(self.local_to_side):
            self.kept_starts[own, local] = torch.tensor(correlations.starts[own], device=device)
            for number in local:
                self.crowding_starts[own, number] = next(sizes)
        count = self.height * self.width
        index = torch.arange(len(rows) * count, device=device)
        item_of, inside = index // count, index % count
        self.x, self.y = inside % self.width, inside // self.width
        self.starts = _starts([len(side.mean) for side in sides], device)
        if self.kept is not None:
            return
        self.padded_starts = _starts([len(side.features) for side in sides], device)
        self.left, self.right = _Stacked.of(rows), _Stacked.of(sides)
        self.left_corner = item_of * len(rows[0].features) + self.y * rows[0].row_length + self.x
        self.offsets = range(2 * rows[0].radius + 1)

    def displacement(self, side: Tensor, target: Tensor) -> Tensor:
        """(n, 2) from each position, one after the other, to the target on its side."""
        width = self.widths[side]
        return torch.stack([target % width - self.x, target // width - self.y], dim=-1)

    def target(self, side: Tensor, displacement: Tensor, of: Tensor | None = None) -> Tensor:
        """The position on its side that a displacement leads to, moved onto the side.

        of: the positions that are displaced, by default all, one after the other.
        """
        x, y = (self.x, self.y) if of is None else (self.x[of], self.y[of])
        x = (x + displacement[..., 0]).clamp_min(0).minimum(self.widths[side] - 1)
        y = (y + displacement[..., 1]).clamp_min(0).minimum(self.heights[side] - 1)
        return y * self.widths[side] + x

    def correlation(self, own: Tensor, side: Tensor, target: Tensor) -> Tensor:
        """M of the pairs of position `own` and `target` on `side`: (n,); -inf across regions."""
        if self.kept is not None:
            count = self.height * self.width
            row = self.kept_starts[own // count, side] + own % count * self.places[side]
            return self.kept[row + target]
        parts = [
            self._correlation(*part)
            for part in zip(
                *(each.split(_PAIRS_AT_ONCE) for each in (own, side, target)), strict=True
            )
        ]
        return torch.cat(parts) if parts else own.new_zeros(0, dtype=torch.float32)

    def _correlation(self, own: Tensor, side: Tensor, target: Tensor) -> Tensor:
        left, right = self.left, self.right
        width = self.widths[side]
        corner = self.padded_starts[side]
        corner = corner + target // width * self.row_lengths[side] + target % width
        product = left.mean.new_zeros(len(own))
        for down in self.offsets:
            for across in self.offsets:
                first = left.features[
                    self.left_corner[own] + down * self.rows[0].row_length + across
                ]
                second = right.features[corner + down * self.row_lengths[side] + across]
                product += (first * second).sum(1)
        flat = self.starts[side] + target
        size = self.rows[0].patch_length
        product -= size * left.mean[own] * right.mean[flat]
        product *= left.scale[own] * right.scale[flat]
        if left.regions is not None and right.regions is not None:
            wanted, offered = left.regions[own], right.regions[flat]
            product[(wanted != offered) & (wanted != ANYWHERE)] = float("-inf")
        return product

    def losses(self, own: Tensor, side: Tensor, target: Tensor) -> Tensor:
        """What the crowding of `target` takes from these pairs' correlations, of any shape."""
        item = own // (self.height * self.width)
        return self.crowding[self.crowding_starts[item, side] + target]

    def between_cells(self, side: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 2) the match as (x, y) between the cells, and (n,) the correlation at its cell."""
        own = torch.arange(len(side), device=side.device)
        width, height = self.widths[side], self.heights[side]
        score = self.correlation(own, side, target)
        x, y = target % width, target // width
        total = torch.ones_like(score)
        moved = torch.stack([x, y], dim=-1).float()
        for down in (-1, 0, 1):
            for across in (-1, 0, 1):
                if down == across == 0:
                    continue
                near_x = (x + across).clamp_min(0).minimum(width - 1)
                near_y = (y + down).clamp_min(0).minimum(height - 1)
                near = self.correlation(own, side, near_y * width + near_x)
                # A neighbour that the propagation passed over may correlate better.
                share = ((near - score).clamp_max(0) / SUBCELL_TEMPERATURE).exp()
                share = share.nan_to_num()  # -inf - -inf, where a region allows neither
                moved += share[:, None] * torch.stack([near_x, near_y], dim=-1)
                total += share
        return moved / total[:, None], score.clamp_min(-1)


@dataclass
class _Stacked:
    """Several maps one after the other."""

    features: Tensor
    mean: Tensor
    scale: Tensor
    regions: Tensor | None

    @classmethod
    def of(cls, sides: Sequence[Side]) -> _Stacked:
        regions = [side.regions for side in sides if side.regions is not None]
        return cls(
            torch.cat([side.features.detach() for side in sides]),
            torch.cat([side.mean.detach() for side in sides]),
            torch.cat([side.scale.detach() for side in sides]),
            torch.cat(regions) if regions else None,
        )


@dataclass
class State:
    """The displacement (B, h, w, 2) of each position and the side (B, h, w) that it leads to."""

    displacement: Tensor
    side: Tensor


class Pinned:
    """The pins of a batch: candidates for every position, and what they gain there.

    displacement (k, 2) in whole cells and side (k,) of each pin; gain (k, B, h, w): of taking its
    displacement, 0 in other items than its own.
    """

    def __init__(
        self, pins: Sequence[Sequence[Pin]], pairs: Pairs, shape: tuple[int, int, int]
    ) -> None:
        batch, height, width = shape
        device = pairs.x.device
        given = [(index, pin) for index, item in enumerate(pins) for pin in item]
        self.item = torch.tensor([index for index, _ in given], device=device)
        self.targets = torch.tensor([pin.target for _, pin in given], device=device).float()
        self.sources = torch.tensor([pin.source for _, pin in given], device=device).float()
        self.displacement = (self.sources - self.targets).round().long()
        self.side = torch.stack([pairs.local_to_side[index][pin.exemplar] for index, pin in given])
        reach = max(1.0, max(height, width) * PIN_REACH)
        y, x = torch.meshgrid(
            torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij"
        )
        away = (x - self.targets[:, 0].view(-1, 1, 1)).square()
        away = away + (y - self.targets[:, 1].view(-1, 1, 1)).square()
        near = PIN_WEIGHT * (-away / (2 * reach**2)).exp()
        own = self.item.view(-1, 1) == torch.arange(batch, device=device)
        self.gain = near[:, None] * own[..., None, None]

    def candidates(self, near: Tensor, near_side: Tensor) -> tuple[Tensor, Tensor]:
        """The pins' displacements (n, k, 2) and sides (n, k); `near` are the positions' own first.

        A pin of another item stands for the position's own match.
        """
        count = len(near)
        own = torch.arange(count, device=near.device) // (count // self.gain.shape[1])
        belongs = self.item == own[:, None]
        displacement = torch.where(belongs[..., None], self.displacement, near[:, :1])
        return displacement, torch.where(belongs, self.side, near_side[:, :1])

    def gained(self, displacement: Tensor, side: Tensor) -> Tensor:
        """(n, c) what candidates gain: displacement (n, c, 2), side (n, c), n = B h w positions."""
        gain = torch.zeros(side.shape, device=side.device)
        for number in range(len(self.item)):
            off = (displacement - self.displacement[number]).abs().sum(-1)
            agreement = (1 - off / 2).clamp_min(0) * (side == self.side[number])
            gain = torch.maximum(gain, agreement * self.gain[number].reshape(-1, 1))
        return gain

    def exact(self, position: Tensor, state: State) -> Tensor:
        """Positions (B, h, w, 2) that took a pin's displacement, moved by what rounding took."""
        y, x = torch.meshgrid(
            *(torch.arange(side, device=position.device) for side in position.shape[1:3]),
            indexing="ij",
        )
        cell = torch.stack([x, y], dim=-1)
        for number, item in enumerate(self.item.tolist()):
            taken = (state.displacement[item] == self.displacement[number]).all(-1)
            taken &= state.side[item] == self.side[number]
            taken &= self.gain[number, item] > PIN_WEIGHT / 2
            exact = cell + (self.sources[number] - self.targets[number])
            position[item] = torch.where(taken[..., None], exact, position[item])
        return position


class Guided:
    """A likely place for each position in some of its exemplars.

    place (B h w, k, 2): (x, y) in cells of the exemplar, NaN where there is none; side (B h w, k).
    """

    def __init__(self, guides: Sequence[Sequence[Guide | None]], pairs: Pairs) -> None:
        most = max(len(item) for item in guides)
        size = (pairs.height, pairs.width)
        nowhere = torch.full((*size, 2), float("nan"), device=pairs.x.device)
        places: list[Tensor] = []
        sides: list[Tensor] = []
        for item, local in zip(guides, pairs.local_to_side, strict=True):
            given = [nowhere if one is None else one(size).to(nowhere) for one in item]
            padding = most - len(given)
            places.append(torch.stack(given + [nowhere] * padding, dim=2).flatten(0, 1))
            numbers = torch.cat([local, local[:1].expand(padding)])
            sides.append(numbers.expand(len(places[-1]), -1))
        self.place, self.side = torch.cat(places), torch.cat(sides)
        self.is_there = ~self.place.isnan().any(-1)
        cell = torch.stack([pairs.x, pairs.y], dim=-1)[:, None]
        last = torch.stack([pairs.widths, pairs.heights], dim=-1)[self.side] - 1
        inside = self.place.nan_to_num().clamp_min(0).minimum(last)
        self.displacement = inside.round().long() - cell

    def candidates(self, near: Tensor, near_side: Tensor) -> tuple[Tensor, Tensor]:
        """As of `Pinned`; where there is no guide, the position's own match stands in."""
        displacement = torch.where(self.is_there[..., None], self.displacement, near[:, :1])
        return displacement, torch.where(self.is_there, self.side, near_side[:, :1])

    def gained(self, displacement: Tensor, side: Tensor) -> Tensor:
        """As of `Pinned`."""
        off = (displacement[:, :, None] - self.displacement[:, None]).abs().sum(-1)
        agrees = (side[:, :, None] == self.side[:, None]) & self.is_there[:, None]
        return GUIDE_WEIGHT * ((1 - off / 2).clamp_min(0) * agrees).amax(-1)

    def exact(self, position: Tensor, state: State) -> tuple[Tensor, Tensor]:
        """Positions (B, h, w, 2), at the guide's own place where it was followed; and where."""
        near = (state.displacement.view(-1, 1, 2) - self.displacement).abs().amax(-1) <= 1
        followed = near & (state.side.view(-1, 1) == self.side) & self.is_there
        chosen = followed.float().argmax(1, keepdim=True)
        place = self.place.gather(1, chosen[..., None].expand(-1, -1, 2)).view_as(position)
        taken = followed.any(1).view(position.shape[:-1])
        return torch.where(taken[..., None], place, position), taken


def propagated(
    pairs: Pairs, state: State, smoothness: float, rounds: int, hints: Sequence[Pinned | Guided]
) -> State:
    batch, height, width = state.side.shape
    count = batch * height * width
    own = torch.arange(count, device=state.side.device)
    side = state.side.reshape(-1)
    score = pairs.correlation(own, side, pairs.target(side, state.displacement.reshape(-1, 2)))
    for _ in range(rounds):
        around = _neighbourhood(torch.cat([state.displacement, state.side[..., None]], dim=-1))
        near, near_side = around[..., :2], around[..., 2]
        extra = [(near, near_side)] + [hint.candidates(near, near_side) for hint in hints]
        displacement = torch.cat([each for each, _ in extra], dim=1)
        sides = torch.cat([each for _, each in extra], dim=1)
        target = pairs.target(sides, displacement, own[:, None].expand_as(sides))
        # Displacements are those that were reached: the exemplar's border cuts them short.
        reached = torch.stack([target % pairs.widths[sides], target // pairs.widths[sides]], dim=-1)
        reached = reached - torch.stack([pairs.x, pairs.y], dim=-1)[:, None]
        value = _correlations(pairs, own, sides, target, score)
        apart = (reached[:, :, None] - near[:, None]).abs().sum(-1).float()
        apart[sides[:, :, None] != near_side[:, None]] = FARTHEST
        energy = value - pairs.losses(own[:, None], sides, target)
        energy -= smoothness * apart.clamp_max(FARTHEST).mean(-1)
        for hint in hints:
            energy = energy + hint.gained(reached, sides)
        best = energy.argmax(1, keepdim=True)
        displacement = reached.gather(1, best[..., None].expand(-1, -1, 2))[:, 0]
        side = sides.gather(1, best)[:, 0]
        score = value.gather(1, best)[:, 0]
        changed = (displacement.view_as(state.displacement) != state.displacement).any()
        changed |= (side.view_as(state.side) != state.side).any()
        state = State(displacement.view_as(state.displacement), side.view_as(state.side))
        if not changed:
            break
    return state


def _correlations(
    pairs: Pairs, own: Tensor, sides: Tensor, target: Tensor, own_score: Tensor
) -> Tensor:
    """Correlations (n, c) of all candidates, of which the first is the position's own.

    One that stands there twice is computed once, and cannot win by its second place: in a coherent
    flow nearly all neighbours propose the same, and later rounds cost little.
    """
    key = pairs.starts[sides] + target
    fresh = torch.stack(
        [(key[:, :index] != key[:, index, None]).all(1) for index in range(1, key.shape[1])], dim=1
    )
    rows, columns = fresh.nonzero(as_tuple=True)
    value = torch.full(key.shape, float("-inf"), device=key.device)
    value[:, 0] = own_score
    columns = columns + 1
    value[rows, columns] = pairs.correlation(own[rows], sides[rows, columns], target[rows, columns])
    return value


def _neighbourhood(grid: Tensor) -> Tensor:
    """grid (B, h, w, c) integers: (B h w, 9, c), each position itself and its eight neighbours."""
    padded = F.pad(grid.movedim(-1, 1).float(), (1, 1, 1, 1), mode="replicate")
    patches = F.unfold(padded, 3).unflatten(1, (grid.shape[-1], 9))[:, :, _ITSELF_FIRST]
    return patches.permute(0, 3, 2, 1).flatten(0, 1).round().long()


def _starts(lengths: list[int], device: torch.device) -> Tensor:
    return torch.tensor([0, *lengths], device=device).cumsum(0)[:-1]
