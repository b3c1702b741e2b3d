"""The correlation of two feature maps, tile by tile: what `Matching` is made of.

The official networks compare 3x3 patches: each position is a vector of D = 9 C numbers, centred
and scaled to unit length, M(u, v) is the product of two of them, and softmax(M / temperature) over
v says where in the exemplar position u looks (Zhang et al. 2020, equations 2 and 3; official
networks, 5.4). With theta, phi the two maps, zero outside, m a patch's mean and n its length after
centring:

    S(u, v) = sum over d of <theta(u + d), phi(v + d)>            the patch product
    M(u, v) = (S(u, v) - D m_theta(u) m_phi(v)) / (n_theta(u) n_phi(v))

S is a box sum, along both maps at once, of the plain product <theta(u), phi(v)>. So a tile of M
costs C instead of 9 C multiplications per entry, and tiles are made, used and dropped, keeping a
running maximum and sum per row as flash attention does. The backward pass makes them again. Nothing
is approximated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

P = ParamSpec("P")
R = TypeVar("R")

_NEGLIGIBLE_VARIANCE = 1e-10
ANYWHERE = -1  # the region of a condition position that may look everywhere
FLOOR = -1e30  # below every logit, and finite so that a row without allowed positions stays finite
TINY = torch.finfo(torch.float32).tiny


def without_autocast(method: Callable[P, R]) -> Callable[P, R]:
    """Half precision is too coarse under a softmax that multiplies errors by 1 / temperature."""

    @wraps(method)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        device = next(a.device for a in (*args, *kwargs.values()) if hasattr(a, "device"))
        with torch.autocast(device.type, enabled=False):
            return method(*args, **kwargs)

    return wrapper


@dataclass
class Side:
    """One feature map, ready for tiles.

    features (P, C): the map with a ring of `radius` positions around it, row-major, less its mean.
    mean, scale (N,): each patch's mean, and 1 / its length after centring (0 for a flat patch).
    regions (N,): integers that must agree, or None.
    """

    features: Tensor
    mean: Tensor
    scale: Tensor
    height: int
    width: int
    radius: int
    regions: Tensor | None = None

    @classmethod
    def of(cls, features: Tensor, patch_size: int, regions: Tensor | None = None) -> Side:
        """From features (C, h, w) and regions (h, w)."""
        channels, height, width = features.shape
        radius = patch_size // 2
        features = features.float()
        # Centring takes any constant out of a patch again, its zeros outside included. Taking the
        # map's own mean out first keeps the differences below free of cancellation.
        offset = features.detach().mean()
        power = features.detach().square().mean()
        padded = F.pad(features, (radius,) * 4) - offset
        size = channels * patch_size**2

        def patch_sum(per_position: Tensor) -> Tensor:
            pooled = F.avg_pool2d(per_position[None, None], patch_size, stride=1)
            return pooled[0, 0] * patch_size**2

        mean = patch_sum(padded.sum(0)) / size
        squares = patch_sum(padded.square().sum(0))
        variance = squares - size * mean.square()
        textured = variance.detach() > _NEGLIGIBLE_VARIANCE * (squares.detach() + size * power)
        scale = torch.where(textured, variance, torch.ones_like(variance)).rsqrt() * textured
        return cls(
            padded.flatten(1).t().contiguous(),
            mean.flatten(),
            scale.flatten(),
            height,
            width,
            radius,
            None if regions is None else regions.flatten(),
        )

    def detached(self) -> Side:
        """The same without its history: tiles are differentiated by hand."""
        return replace(
            self,
            features=self.features.detach(),
            mean=self.mean.detach(),
            scale=self.scale.detach(),
        )

    def to(self, device: torch.device | str) -> Side:
        """The same on another device."""
        moved = {name: getattr(self, name).to(device) for name in ("features", "mean", "scale")}
        regions = None if self.regions is None else self.regions.to(device)
        return replace(self, **moved, regions=regions)

    def seeking(self, offered: Tensor | None) -> Side:
        """The same, free to look anywhere from positions whose region is not offered."""
        if offered is None or self.regions is None:
            return self
        found = torch.isin(self.regions, offered)
        return replace(self, regions=torch.where(found, self.regions, ANYWHERE))

    def patches(self) -> Tensor:
        """Every patch, centred and at unit length: (N, D)."""
        size = 2 * self.radius + 1
        padded = self.features.unflatten(0, (-1, self.row_length)).movedim(-1, 0)
        patches = F.unfold(padded[None], size)[0].t()
        return (patches - self.mean[:, None]) * self.scale[:, None]

    @property
    def row_length(self) -> int:
        return self.width + 2 * self.radius

    @property
    def patch_length(self) -> int:
        return self.features.shape[1] * (2 * self.radius + 1) ** 2

    def padded_rows(self, rows: range) -> slice:
        return slice(rows.start * self.row_length, (rows.stop + 2 * self.radius) * self.row_length)

    def positions(self, rows: range) -> slice:
        return slice(rows.start * self.width, rows.stop * self.width)


@dataclass
class Tiles:
    """The matrix M / temperature of two maps, tile by tile, in two buffers that are used again."""

    rows: Side
    columns: Side
    temperature: float
    memory: int

    def __post_init__(self) -> None:
        self.row_chunk, self.column_chunk = self._chunks()
        row_extent = (self.row_chunk + 2 * self.rows.radius) * self.rows.row_length
        column_extent = (self.column_chunk + 2 * self.columns.radius) * self.columns.row_length
        self._first, self._second = self.rows.features.new_empty(2, row_extent * column_extent)
        self.row_scale = self.rows.scale / self.temperature
        self.column_mean = self.columns.mean * self.columns.scale * self.rows.patch_length

    def _chunks(self) -> tuple[int, int]:
        """How many rows of each map one tile spans, from the memory for its two buffers."""
        entries = self.memory / (2 * self.rows.features.element_size())
        halo = 2 * self.rows.radius
        # About square in positions: the halo is recomputed for each tile.
        side = int(entries**0.5)
        row_chunk = max(1, min(self.rows.height, side // self.rows.row_length - halo))
        row_extent = (row_chunk + halo) * self.rows.row_length
        column_chunk = int(entries / row_extent) // self.columns.row_length - halo
        column_chunk = max(1, min(self.columns.height, column_chunk))
        column_extent = (column_chunk + halo) * self.columns.row_length
        row_chunk = int(entries / column_extent) // self.rows.row_length - halo
        return max(1, min(self.rows.height, row_chunk)), column_chunk

    def row(self, y: int, x: int) -> Tensor:
        """The logits of one row position with all columns: (N',)."""
        parts = [
            self.logits(range(y, y + 1), columns)[x].clone() for columns in self.column_ranges()
        ]
        return torch.cat(parts)

    def row_ranges(self) -> Iterator[range]:
        return _ranges(self.rows.height, self.row_chunk)

    def column_ranges(self) -> Iterator[range]:
        return _ranges(self.columns.height, self.column_chunk)

    def logits(self, rows: range, columns: range) -> Tensor:
        """M / temperature for these rows of the two maps: (positions, positions), in a buffer."""
        left, right = self.rows, self.columns
        a, b = left.features[left.padded_rows(rows)], right.features[right.padded_rows(columns)]
        product = self._buffer(self._first, len(a), len(b))
        torch.mm(a, b.t(), out=product)
        # Flattened with their rings, both maps shift together: by 1 along x, a row length along y.
        summed = self._buffer(self._second, len(a), len(b))
        _diagonal_sum(product, summed, (1, 1), left.radius)
        _diagonal_sum(summed, product, (left.row_length, right.row_length), left.radius)
        inner = product[: len(rows) * left.row_length, : len(columns) * right.row_length]
        inner = inner.unflatten(1, (len(columns), -1)).unflatten(0, (len(rows), -1))
        inner = inner[:, : left.width, :, : right.width]
        u, v = left.positions(rows), right.positions(columns)
        logits = self._buffer(self._second, len(rows) * left.width, len(columns) * right.width)
        torch.mul(inner, right.scale[v].view(len(columns), -1), out=logits.view(inner.shape))
        logits.addr_(left.mean[u], self.column_mean[v], alpha=-1)
        logits.mul_(self.row_scale[u, None])
        if left.regions is not None and right.regions is not None:
            wanted, offered = left.regions[u, None], right.regions[None, v]
            logits.masked_fill_((wanted != offered) & (wanted != ANYWHERE), float("-inf"))
        return logits

    def spread(self, gradient: Tensor, rows: range, columns: range) -> Tensor:
        """The transpose of the two box sums: d loss / d product from d loss / d S, in a buffer."""
        left, right = self.rows, self.columns
        extent = (
            (len(rows) + 2 * left.radius) * left.row_length,
            (len(columns) + 2 * right.radius) * right.row_length,
        )
        product = self._buffer(self._first, *extent).zero_()
        inner = product[: len(rows) * left.row_length, : len(columns) * right.row_length]
        inner = inner.unflatten(1, (len(columns), -1)).unflatten(0, (len(rows), -1))
        inner = inner[:, : left.width, :, : right.width]
        inner.copy_(gradient.view(inner.shape))
        summed = self._buffer(self._second, *extent)
        _diagonal_spread(product, summed, (left.row_length, right.row_length), left.radius)
        _diagonal_spread(summed, product, (1, 1), left.radius)
        return product

    @staticmethod
    def _buffer(buffer: Tensor, height: int, width: int) -> Tensor:
        return buffer[: height * width].view(height, width)


def highest(logits: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """`logits.max(dim)` of a matrix, the first where several are equal, in a third of the time.

    On a CPU torch finds values at once for many entries, and places one after the other.
    """
    value = logits.amax(dim, keepdim=True)
    place = torch.arange(logits.shape[dim], device=logits.device, dtype=torch.float32)
    place = place.view(-1, 1) if dim == 0 else place
    where = torch.where(logits == value, place, torch.inf).amin(dim)
    # A row of -inf - inf or NaN equals nothing.
    return value.squeeze(dim), where.nan_to_num(posinf=0).long()


def _ranges(length: int, chunk: int) -> Iterator[range]:
    return (range(start, min(start + chunk, length)) for start in range(0, length, chunk))


def _diagonal_sum(source: Tensor, out: Tensor, step: tuple[int, int], radius: int) -> None:
    """out[i, j] = sum over k = 0 ... 2 radius of source[i + k s0, j + k s1], where that is."""
    if radius == 0:
        out.copy_(source)
        return
    height, width = (side - 2 * radius * s for side, s in zip(source.shape, step, strict=True))
    terms = [source[k * step[0] :, k * step[1] :][:height, :width] for k in range(2 * radius + 1)]
    out = out[:height, :width]
    torch.add(terms[0], terms[1], out=out)
    for term in terms[2:]:
        out.add_(term)


def _diagonal_spread(source: Tensor, out: Tensor, step: tuple[int, int], radius: int) -> None:
    """The transpose of `_diagonal_sum`: out[i, j] = sum over k of source[i - k s0, j - k s1]."""
    out.copy_(source)
    for k in range(1, 2 * radius + 1):
        down, right = k * step[0], k * step[1]
        out[down:, right:].add_(source[: len(source) - down, : source.shape[1] - right])


class Attend(torch.autograd.Function):
    """softmax(M / temperature) @ values for two maps, and the logarithm of each row's sum."""

    @staticmethod
    @without_autocast
    def forward(
        ctx: Any, make_tiles: Callable[[], Tiles], values: Tensor, *_: Tensor
    ) -> tuple[Tensor, Tensor]:
        """values (N', V); the maps' features, means and scales follow for their gradients."""
        tiles = make_tiles()
        rows = tiles.rows
        count, width = rows.height * rows.width, values.shape[1]
        weighted = torch.cat([values, values.new_ones(len(values), 1)], dim=1)
        out, log_sum = values.new_empty(count, width), values.new_empty(count)
        for row_range in tiles.row_ranges():
            u = rows.positions(row_range)
            total = values.new_zeros(u.stop - u.start, width + 1)
            maximum = values.new_full((u.stop - u.start,), FLOOR)
            for column_range in tiles.column_ranges():
                logits = tiles.logits(row_range, column_range)
                higher = torch.maximum(maximum, logits.amax(1))
                share = logits.sub_(higher[:, None]).exp_()
                total.mul_((maximum - higher).exp_()[:, None])
                total.addmm_(share, weighted[tiles.columns.positions(column_range)])
                maximum = higher
            mass = total[:, -1]
            out[u] = total[:, :-1] / mass.clamp_min(torch.finfo(mass.dtype).tiny)[:, None]
            log_sum[u] = maximum + mass.log()
        ctx.make_tiles = make_tiles
        ctx.save_for_backward(values, out, log_sum)
        return out, log_sum

    @staticmethod
    @once_differentiable
    @without_autocast
    def backward(ctx: Any, *gradients: Tensor) -> tuple:
        """Gradients of the values, then of features, mean and scale of the rows and the columns."""
        out_gradient, log_sum_gradient = gradients
        tiles = ctx.make_tiles()
        values, out, log_sum = ctx.saved_tensors
        left, right = tiles.rows, tiles.columns
        # A row without allowed positions has log_sum -inf and share exp(-inf - 0) = 0.
        log_sum = torch.where(log_sum.isinf(), 0, log_sum)
        offset = (out_gradient * out).sum(1) - log_sum_gradient
        d_values = torch.zeros_like(values)
        d_left, d_right = (
            [torch.zeros_like(t) for t in (side.features, side.mean, side.scale)]
            for side in (left, right)
        )
        size = left.patch_length
        for row_range in tiles.row_ranges():
            u, padded_u = left.positions(row_range), left.padded_rows(row_range)
            for column_range in tiles.column_ranges():
                v, padded_v = right.positions(column_range), right.padded_rows(column_range)
                logits = tiles.logits(row_range, column_range)
                share = (logits - log_sum[u, None]).exp_()
                d_values[v].addmm_(share.t(), out_gradient[u])
                gradient = torch.addmm(-offset[u, None], out_gradient[u], values[v].t())
                gradient.mul_(share)
                # M / temperature is linear in both scales: d / d scale = M / temperature / scale.
                # (-inf, where a region forbids the pair, meets a gradient of 0.)
                share = torch.mul(gradient, logits.clamp_min_(FLOOR), out=share)
                d_left[2][u] += share.sum(1)
                d_right[2][v] += share.sum(0)
                gradient.mul_(tiles.row_scale[u, None]).mul_(right.scale[v])
                d_left[1][u].addmv_(gradient, right.mean[v], alpha=-size)
                d_right[1][v].addmv_(gradient.t(), left.mean[u], alpha=-size)
                d_product = tiles.spread(gradient, row_range, column_range)
                d_left[0][padded_u].addmm_(d_product, right.features[padded_v])
                d_right[0][padded_v].addmm_(d_product.t(), left.features[padded_u])
        for d_side, side in ((d_left, left), (d_right, right)):
            flat = side.scale == 0
            d_side[2] = torch.where(flat, 0, d_side[2] / torch.where(flat, 1, side.scale))
        return None, d_values, *d_left, *d_right


def to_positions(value: Tensor, scale: int, patches: bool) -> Tensor:
    """(V, s h, s w) as one row per position: means (h w, V), or s x s blocks (h w, V s s)."""
    if patches:
        return F.unfold(value[None].float(), scale, stride=scale)[0].t()
    return F.avg_pool2d(value[None].float(), scale)[0].flatten(1).t()


def normal_weights(places: Tensor, side: Side, spread: float) -> tuple[Tensor, Tensor]:
    """For each place (N, 2) the cells of a side around it and their normal weights, both (N, k)."""
    reach = max(1, round(2 * spread))
    around = torch.arange(-reach, reach + 1, device=places.device)
    x, y = places.unbind(1)
    near_x, near_y = x.round()[:, None] + around, y.round()[:, None] + around
    across, down = (
        ((near - exact[:, None]).square() / (-2 * spread**2)).exp()
        * ((near >= 0) & (near < length))
        for near, exact, length in ((near_x, x, side.width), (near_y, y, side.height))
    )
    weights = (down[:, :, None] * across[:, None]).flatten(1)
    rows = near_y.clamp(0, side.height - 1)[:, :, None] * side.width
    index = (rows + near_x.clamp(0, side.width - 1)[:, None]).long().flatten(1)
    return index, weights / weights.sum(1, keepdim=True).clamp_min(TINY)


def merge(parts: tuple[Tensor, ...], log_sums: tuple[Tensor, ...]) -> Tensor:
    """One softmax over the positions of several exemplars, from one softmax over each."""
    if len(parts) == 1:
        return parts[0]
    shares = torch.stack(log_sums).softmax(0)
    return (shares[..., None] * torch.stack(parts)).sum(0)
