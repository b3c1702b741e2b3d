"""The best match of each position, among places that are not yet crowded.

A place of the exemplar that correlates well with much of the condition draws whole regions to one
point, which then shows as a lattice of the same few pixels. So each place v loses its crowding, as
the first step of Sinkhorn's iteration takes it: with M the correlation, t a temperature and P(u, v)
the softmax of M(u, v) / t over all places v of all exemplars,

    crowding(v) = t log max(1, sum over u of P(u, v), as a multiple of its mean over all v)

which is 0 where no more positions want to look at v than there are for each place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .correlation import TINY, Side, Tiles, highest

KEPT_ENTRIES = 2**24
"""Most correlations of a batch that are kept: 64 MiB, one pair of maps of 64 x 64."""

CROWDING_TEMPERATURE = 0.03
"""Divisor of the softmax that says how many positions want to look at a place."""

CONSISTENCY_CELLS = 2.0
"""Standard deviation, in cells, of the way there and back that counts as the same place."""

_TILE_ENTRIES = 2**20  # of what is kept, seen at once: 4 MiB stay in the caches


class Correlations:
    """The correlation M of every item of a batch with each of its exemplars.

    It is gone through three times, and asked for single pairs after that. So it is kept where all
    of it takes at most `KEPT_ENTRIES`, and made tile by tile each time where it does not: memory
    never grows with the product of positions beyond that.

    kept: everything, flat, or None. starts: for each item where the matrix (N, N') of each of its
    exemplars begins in it.
    """

    def __init__(
        self,
        rows: Sequence[Side],
        columns: Sequence[Sequence[Side]],
        make_tiles: Callable[[Side, Side], Tiles],
    ):
        self.rows, self.columns = rows, columns
        self._make_tiles = make_tiles
        self.starts: list[list[int]] = []
        total = 0
        for own, item in zip(rows, columns, strict=True):
            self.starts.append([])
            for side in item:
                self.starts[-1].append(total)
                total += len(own.mean) * len(side.mean)
        self.kept: Tensor | None = None
        if total <= KEPT_ENTRIES:
            self.kept = rows[0].mean.new_empty(total)
            for index, item in enumerate(columns):
                for number in range(len(item)):
                    for u, v, correlation in self._made(index, number):
                        self._matrix(self.kept, index, number)[u, v] = correlation

    def tiles(self, item: int, number: int) -> Iterator[tuple[slice, slice, Tensor]]:
        """Positions, places of an exemplar and M of both, in a buffer that the next one uses."""
        if self.kept is None:
            yield from self._made(item, number)
            return
        matrix = self._matrix(self.kept, item, number)
        length = max(1, _TILE_ENTRIES // matrix.shape[1])
        buffer = torch.empty_like(matrix[:length])
        for start in range(0, len(matrix), length):
            rows = matrix[start : start + length]
            u = slice(start, start + len(rows))
            yield u, slice(0, matrix.shape[1]), buffer[: len(rows)].copy_(rows)

    def _matrix(self, kept: Tensor, item: int, number: int) -> Tensor:
        height, width = len(self.rows[item].mean), len(self.columns[item][number].mean)
        start = self.starts[item][number]
        return kept[start : start + height * width].view(height, width)

    def _made(self, item: int, number: int) -> Iterator[tuple[slice, slice, Tensor]]:
        tiles = self._make_tiles(self.rows[item], self.columns[item][number])
        for row_range in tiles.row_ranges():
            for column_range in tiles.column_ranges():
                logits = tiles.logits(row_range, column_range)
                u, v = tiles.rows.positions(row_range), tiles.columns.positions(column_range)
                yield u, v, logits.mul_(tiles.temperature)


@dataclass
class Nearest:
    """Best matches of one item in both directions.

    position, exemplar (N,): of each of its positions, less crowding. crowding, back: for each
    exemplar (N',), what a place of it loses, and the position that correlates best with it.
    """

    position: Tensor
    exemplar: Tensor
    crowding: list[Tensor]
    back: list[Tensor]

    @classmethod
    def of(cls, correlations: Correlations, item: int) -> Nearest:
        mass, backs = _mass_and_back(correlations, item)
        crowding = _crowding(correlations, item, mass)
        best = torch.full_like(mass, float("-inf"))
        position = torch.zeros(len(best), dtype=torch.long, device=best.device)
        exemplar = position.clone()
        for number, losses in enumerate(crowding):
            for u, v, correlation in correlations.tiles(item, number):
                value, where = highest(correlation.sub_(losses[v]), 1)
                better = value > best[u]
                best[u] = torch.where(better, value, best[u])
                position[u] = torch.where(better, where + v.start, position[u])
                exemplar[u] = torch.where(better, number, exemplar[u])
        return cls(position, exemplar, crowding, backs)

    def consistency(self, exemplar: Tensor, target: Tensor, width: int) -> Tensor:
        """How near the way back from each position's match leads to it, (N,) in 0..1."""
        own = torch.arange(len(exemplar), device=exemplar.device)
        returned = own.clone()
        for number, back in enumerate(self.back):
            mine = exemplar == number
            returned[mine] = back[target[mine]]
        across = (returned % width - own % width).square()
        down = (returned // width - own // width).square()
        return (-(across + down) / (2 * CONSISTENCY_CELLS**2)).exp()


def _mass_and_back(correlations: Correlations, item: int) -> tuple[Tensor, list[Tensor]]:
    """Each position's sum of exp((M - 1) / t), and the best position for each exemplar's places."""
    own = correlations.rows[item].mean
    mass = torch.zeros_like(own)
    backs = []
    for number, side in enumerate(correlations.columns[item]):
        best = torch.full_like(side.mean, float("-inf"))
        back = torch.zeros(len(best), dtype=torch.long, device=own.device)
        for u, v, correlation in correlations.tiles(item, number):
            value, where = highest(correlation, 0)
            better = value > best[v]
            best[v] = torch.where(better, value, best[v])
            back[v] = torch.where(better, where + u.start, back[v])
            mass[u] += _wish(correlation).sum(1)
        backs.append(back)
    return mass, backs


def _crowding(correlations: Correlations, item: int, mass: Tensor) -> list[Tensor]:
    """(N',) for each exemplar of an item, 0 or more."""
    share = 1 / mass.clamp_min(TINY)  # nothing is wanted where a region allows nothing
    wanted = []
    for number, side in enumerate(correlations.columns[item]):
        arriving = torch.zeros_like(side.mean)
        for u, v, correlation in correlations.tiles(item, number):
            arriving[v] += share[u] @ _wish(correlation)
        wanted.append(arriving)
    usual = torch.cat(wanted).mean().clamp_min(TINY)
    return [CROWDING_TEMPERATURE * (each / usual).clamp_min(1).log() for each in wanted]


def _wish(correlation: Tensor) -> Tensor:
    """exp((M - 1) / t), in place: a correlation is at most 1."""
    return correlation.sub_(1).div_(CROWDING_TEMPERATURE).exp_()
