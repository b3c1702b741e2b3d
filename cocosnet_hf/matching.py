"""The exact correspondence between two feature maps, without ever holding its N x N matrix.

The official networks compare 3x3 patches: each position is a vector of D = 9 C numbers, centred
and scaled to unit length, M(u, v) is the product of two of them, and softmax(M / temperature) over
v says where in the exemplar position u looks (Zhang et al. 2020, equations 2 and 3; specification,
section 5.4). With theta, phi the two maps, zero outside, m a patch's mean and n its length after
centring:

    S(u, v) = sum over d of <theta(u + d), phi(v + d)>            the patch product
    M(u, v) = (S(u, v) - D m_theta(u) m_phi(v)) / (n_theta(u) n_phi(v))

S is a box sum, along both maps at once, of the plain product <theta(u), phi(v)>. So a tile of M
costs C instead of 9 C multiplications per entry, and tiles are made, used and dropped, keeping a
running maximum and sum per row as flash attention does. The backward pass makes them again. Nothing
is approximated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial, wraps
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

Nested = Sequence[Sequence[Tensor]]
"""For each item of the batch, one tensor for each of its exemplars."""

_NEGLIGIBLE_VARIANCE = 1e-10
_ANYWHERE = -1  # the region of a condition position that may look everywhere
_FLOOR = -1e30  # below every logit, and finite so that a row without allowed positions stays finite
_TINY = torch.finfo(torch.float32).tiny
_TILE_BYTES_PER_POSITION = 2048  # tiles of 14 rows of a square map, whose borders cost a third


def _without_autocast(method: Callable) -> Callable:
    """Half precision is too coarse under a softmax that multiplies errors by 1 / temperature."""

    @wraps(method)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        device = next(a for a in (*args, *kwargs.values()) if hasattr(a, "device")).device
        with torch.autocast(device.type, enabled=False):
            return method(*args, **kwargs)

    return wrapper


@dataclass
class _Side:
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
    def of(cls, features: Tensor, patch_size: int, regions: Tensor | None = None) -> _Side:
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

    def detached(self) -> _Side:
        """The same without its history: tiles are differentiated by hand."""
        return replace(
            self,
            features=self.features.detach(),
            mean=self.mean.detach(),
            scale=self.scale.detach(),
        )

    def seeking(self, offered: Tensor | None) -> _Side:
        """The same, free to look anywhere from positions whose region is not offered."""
        if offered is None:
            return self
        found = torch.isin(self.regions, offered)
        return replace(self, regions=torch.where(found, self.regions, _ANYWHERE))

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
class _Tiles:
    """The matrix M / temperature of two maps, tile by tile, in two buffers that are used again."""

    rows: _Side
    columns: _Side
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
        if left.regions is not None:
            wanted, offered = left.regions[u, None], right.regions[None, v]
            logits.masked_fill_((wanted != offered) & (wanted != _ANYWHERE), float("-inf"))
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


class _Attend(torch.autograd.Function):
    """softmax(M / temperature) @ values for two maps, and the logarithm of each row's sum."""

    @staticmethod
    @_without_autocast
    def forward(
        ctx: Any, make_tiles: Callable[[], _Tiles], values: Tensor, *_: Tensor
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
            maximum = values.new_full((u.stop - u.start,), _FLOOR)
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
    @_without_autocast
    def backward(ctx: Any, out_gradient: Tensor, log_sum_gradient: Tensor) -> tuple:
        """Gradients of the values, then of features, mean and scale of the rows and the columns."""
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
                share = torch.mul(gradient, logits.clamp_min_(_FLOOR), out=share)
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


@dataclass
class _Best:
    """Per condition position: the highest logit, its exemplar and position, log of the row sum, and
    the row's entropy."""

    logit: Tensor
    exemplar: Tensor
    position: Tensor
    log_sum: Tensor
    entropy: Tensor


class Matching:
    """softmax(M / temperature) of a condition and its exemplars: exact, at any size, in tiles.

    Zhang et al. 2020, section 3.1. Always computed in float32; switch TF32 off on a GPU, since the
    softmax multiplies errors by 1 / temperature. Gradients reach content, style and all values.

    content: (B, C, h, w), the condition's projection. style: the exemplar's (B or 1, C, h', w'), or
    for each item of the batch a list of (C, h', w'), one for each of its exemplars, which need not
    agree in size; a position then chooses among the positions of all of them.
    patch_size: odd side of the patches that are compared. stride: pixels per position, in which
    `flow` and `row` speak. content_regions (B, h, w) and style_regions, laid out like style without
    its channels: integers; a position only looks where the region is its own, and everywhere if no
    exemplar has its region or if it is -1.
    tile_memory: bytes for the tiles in work, by default 2 KiB for each position, at least 32 MiB on
    a CPU and 512 MiB elsewhere; more costs memory and saves recomputed borders.
    check_finite: look for NaN in the maps, which waits for a GPU.

    Raises ValueError for maps whose shapes do not fit each other, or for NaN in them.
    """

    def __init__(
        self,
        content: Tensor,
        style: Tensor | Nested,
        *,
        patch_size: int = 3,
        temperature: float = 0.01,
        stride: int = 4,
        content_regions: Tensor | None = None,
        style_regions: Tensor | Nested | None = None,
        tile_memory: int | None = None,
        check_finite: bool = True,
    ):
        if patch_size < 1 or patch_size % 2 == 0:
            raise ValueError(f"patch_size must be odd and positive, got {patch_size}.")
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}.")
        if content.ndim != 4:
            raise ValueError(f"content must be (B, C, h, w), got {tuple(content.shape)}.")
        if (content_regions is None) != (style_regions is None):
            raise ValueError("content_regions and style_regions restrict only together; pass both.")
        self.temperature = temperature
        self.stride = stride
        self.tile_memory = tile_memory
        self._batch, channels, self._height, self._width = content.shape
        styles = self._nested("style", style, ndim=3)
        regions = [[None] * len(item) for item in styles]
        self._content_regions: list[Tensor | None] = [None] * self._batch
        if content_regions is not None:
            self._require(
                "content_regions", content_regions, (self._batch, self._height, self._width)
            )
            regions = self._nested("style_regions", style_regions, ndim=2)
            self._content_regions = [item.flatten() for item in content_regions]
        # An exemplar that several items share, with its regions, is prepared once.
        sides: dict[tuple[int, int], _Side] = {}
        self._columns: list[list[_Side]] = []
        for item, item_regions in zip(styles, regions, strict=True):
            for exemplar, region in zip(item, item_regions, strict=True):
                self._require("style", exemplar, (channels, *exemplar.shape[-2:]))
                if region is not None:
                    self._require("style_regions", region, tuple(exemplar.shape[-2:]))
                if (id(exemplar), id(region)) not in sides:
                    sides[id(exemplar), id(region)] = _Side.of(exemplar, patch_size, region)
            self._columns.append(
                [
                    sides[id(exemplar), id(region)]
                    for exemplar, region in zip(item, item_regions, strict=True)
                ]
            )
        self._rows = [_Side.of(item, patch_size) for item in content]
        if content_regions is not None:
            self._rows = [
                replace(rows, regions=own).seeking(torch.cat([side.regions for side in columns]))
                for rows, own, columns in zip(
                    self._rows, self._content_regions, self._columns, strict=True
                )
            ]
        if check_finite:
            self._require_finite()

    def warp(self, values: Tensor | Nested, patches: bool = False) -> Tensor:
        """See the exemplar's values through the matching (equation 3).

        values: laid out like style, with V channels, at its size or at s times that size. Returns
        (B, V, h, w), of each s x s block's mean; with patches=True (B, V, s h, s w), the blocks
        themselves averaged and laid side by side. Raises ValueError for other sizes.
        """
        nested = self._nested("values", values, ndim=3)
        scale = self._common_scale(nested)
        merged = []
        for rows, columns, item in zip(self._rows, self._columns, nested, strict=True):
            parts, log_sums = zip(
                *(
                    self._attend(rows, side, _to_positions(value, scale, patches))
                    for side, value in zip(columns, item, strict=True)
                ),
                strict=True,
            )
            merged.append(_merge(parts, log_sums))
        warped = torch.stack(merged).mT
        if patches:
            size = (self._height * scale, self._width * scale)
            return F.fold(warped, size, kernel_size=scale, stride=scale)
        return warped.unflatten(2, (self._height, self._width))

    def warp_back(self, values: Tensor) -> Tensor | list[list[Tensor]]:
        """See the condition's values from the exemplar: softmax over the condition's positions.

        values (B, V, h, w), usually the warped exemplar, for the cycle loss (section 3.3). Returns
        (B, V, h', w'), or as style came, lists of (V, h', w'). Regions restrict alike: an exemplar
        position whose region the condition lacks looks everywhere.
        """
        self._require("values", values, (self._batch, values.shape[1], self._height, self._width))
        results = []
        for index, item in enumerate(values):
            rows, columns = self._rows[index], self._columns[index]
            own = self._content_regions[index]
            results.append(
                [
                    self._attend(
                        side.seeking(own), replace(rows, regions=own), item.flatten(1).t()
                    )[0]
                    .t()
                    .unflatten(1, (side.height, side.width))
                    for side in columns
                ]
            )
        if self._nested_style:
            return results
        return torch.stack([item[0] for item in results])

    def flow(self) -> Tensor:
        """Where each position's best match lies: (B, h, w, 2), (x, y) in pixels of its exemplar.

        A position stands for the centre of its pixels. `exemplar_index` says which exemplar, and
        `exemplar_sizes` how large it was when it was matched: a pipeline resizes photos.
        """
        flows = []
        for best, columns in zip(self._best, self._columns, strict=True):
            widths = torch.tensor([side.width for side in columns], device=best.position.device)
            width = widths[best.exemplar]
            x, y = best.position % width, best.position // width
            flows.append(torch.stack([x, y], dim=-1))
        flow = torch.stack(flows).unflatten(1, (self._height, self._width))
        return flow * float(self.stride) + (self.stride - 1) / 2

    def exemplar_sizes(self) -> list[list[tuple[int, int]]]:
        """(height, width) in pixels of each item's exemplars, as `flow` means them."""
        return [
            [(side.height * self.stride, side.width * self.stride) for side in item]
            for item in self._columns
        ]

    def exemplar_index(self) -> Tensor:
        """Which of the item's exemplars each position's best match is in: (B, h, w) integers."""
        index = torch.stack([best.exemplar for best in self._best])
        return index.unflatten(1, (self._height, self._width))

    def confidence(self) -> Tensor:
        """The share of its best match in each position's softmax row: (B, h, w) in 0..1."""
        share = torch.stack([(best.logit - best.log_sum).exp() for best in self._best])
        return share.unflatten(1, (self._height, self._width))

    def entropy(self) -> Tensor:
        """How undecided each position is: the entropy of its softmax row in nats, (B, h, w).

        0 if it looks at one place only, log N if at all N positions alike.
        """
        entropy = torch.stack([best.entropy for best in self._best])
        return entropy.unflatten(1, (self._height, self._width))

    @torch.no_grad()
    def row(self, point: tuple[float, float], item: int = 0) -> Tensor | list[Tensor]:
        """Where the condition's pixel `point` = (x, y) looks: its softmax row, (h', w').

        item: which of the batch. A list, one map for each exemplar, if the style came as lists; the
        row sums to 1 over all of them. Raises ValueError for a point outside the condition.
        """
        x, y = (int(value // self.stride) for value in point)
        if not (0 <= x < self._width and 0 <= y < self._height):
            raise ValueError(
                f"point must lie in the condition, 0 <= x < {self._width * self.stride} and "
                f"0 <= y < {self._height * self.stride}, got {point}."
            )
        parts = []
        for side in self._columns[item]:
            tiles = self._tiles(self._rows[item], side)
            parts.append(
                torch.cat(
                    [
                        tiles.logits(range(y, y + 1), columns)[x].clone()
                        for columns in tiles.column_ranges()
                    ]
                )
            )
        shares = torch.cat(parts).softmax(0).split([len(part) for part in parts])
        maps = [
            share.unflatten(0, (side.height, side.width))
            for share, side in zip(shares, self._columns[item], strict=True)
        ]
        return maps if self._nested_style else maps[0]

    @cached_property
    @torch.no_grad()
    def _best(self) -> list[_Best]:
        return [
            self._best_of(rows, columns)
            for rows, columns in zip(self._rows, self._columns, strict=True)
        ]

    def _best_of(self, rows: _Side, columns: list[_Side]) -> _Best:
        count = rows.height * rows.width
        logit = rows.mean.new_full((count,), float("-inf"))
        log_sum = logit.clone()
        entropy = torch.zeros_like(logit)
        position = torch.zeros(count, dtype=torch.long, device=logit.device)
        exemplar = position.clone()
        for index, side in enumerate(columns):
            tiles = self._tiles(rows, side)
            for row_range in tiles.row_ranges():
                u = rows.positions(row_range)
                for column_range in tiles.column_ranges():
                    logits = tiles.logits(row_range, column_range)
                    value, where = logits.max(1)
                    better = value > logit[u]
                    start = side.positions(column_range).start
                    logit[u] = torch.where(better, value, logit[u])
                    position[u] = torch.where(better, where + start, position[u])
                    exemplar[u] = torch.where(better, index, exemplar[u])
                    share = logits.sub_(value.clamp_min(_FLOOR)[:, None]).exp_()
                    mass = share.sum(1).clamp_min(_TINY)
                    within = torch.special.entr(share, out=share).sum(1) / mass + mass.log()
                    log_sum[u], entropy[u] = _joined(
                        log_sum[u], entropy[u], mass.log() + value, within
                    )
        return _Best(logit, exemplar, position, log_sum, entropy)

    def _tiles(self, rows: _Side, columns: _Side) -> _Tiles:
        memory = self.tile_memory
        if memory is None:
            least = 32 if rows.mean.device.type == "cpu" else 512
            positions = max(len(rows.mean), len(columns.mean))
            memory = max(least * 2**20, positions * _TILE_BYTES_PER_POSITION)
        return _Tiles(rows.detached(), columns.detached(), self.temperature, memory)

    def _attend(self, rows: _Side, columns: _Side, values: Tensor) -> tuple[Tensor, Tensor]:
        return _Attend.apply(
            partial(self._tiles, rows, columns),
            values.float(),
            rows.features,
            rows.mean,
            rows.scale,
            columns.features,
            columns.mean,
            columns.scale,
        )

    def _nested(self, name: str, value: Tensor | Nested, ndim: int) -> list[list[Tensor]]:
        """One list of (..., h', w') for each item of the batch; remembers how the style came."""
        is_nested = not isinstance(value, Tensor)
        if name == "style":
            self._nested_style = is_nested
        elif is_nested != self._nested_style:
            raise ValueError(f"{name} must be a tensor or lists as the style was, got the other.")
        if is_nested:
            nested = [list(item) for item in value]
        else:
            if value.ndim != ndim + 1:
                raise ValueError(
                    f"{name} must have {ndim + 1} dimensions, got the shape {tuple(value.shape)}."
                )
            items = list(value)
            nested = [[item] for item in (items * self._batch if len(items) == 1 else items)]
        if len(nested) != self._batch:
            raise ValueError(
                f"{name} must serve the {self._batch} items of content, got {len(nested)}."
            )
        if not all(nested):
            raise ValueError(f"{name} must name at least one exemplar for each item.")
        return nested

    def _common_scale(self, values: list[list[Tensor]]) -> int:
        scales = set()
        for item, columns in zip(values, self._columns, strict=True):
            if len(item) != len(columns):
                raise ValueError(
                    f"values must hold one tensor for each of the {len(columns)} exemplars, "
                    f"got {len(item)}."
                )
            for value, side in zip(item, columns, strict=True):
                scale = max(value.shape[-2] // side.height, 1)
                if value.shape[-2:] != (side.height * scale, side.width * scale):
                    raise ValueError(
                        f"values must have {side.height} x {side.width} positions or a multiple, "
                        f"as their style, got {tuple(value.shape)}."
                    )
                scales.add(scale)
        if len(scales) > 1:
            raise ValueError(f"all values must be equally finer than their style, got {scales}.")
        return scales.pop()

    def _require_finite(self) -> None:
        for name, side in [("content", s) for s in self._rows] + [
            ("style", s) for item in self._columns for s in item
        ]:
            if not torch.isfinite(side.mean).all():
                raise ValueError(f"{name} contains NaN or infinite values; check the inputs.")

    @staticmethod
    def _require(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} must have the shape {shape}, got {tuple(tensor.shape)}.")


def _to_positions(value: Tensor, scale: int, patches: bool) -> Tensor:
    """(V, s h, s w) as one row per position: means (h w, V), or s x s blocks (h w, V s s)."""
    if patches:
        return F.unfold(value[None].float(), scale, stride=scale)[0].t()
    return F.avg_pool2d(value[None].float(), scale)[0].flatten(1).t()


def _joined(
    log_sum: Tensor, entropy: Tensor, other_log_sum: Tensor, other_entropy: Tensor
) -> tuple[Tensor, Tensor]:
    """log of the sum and entropy of whole rows, from those of two parts; an empty part has -inf."""
    joined = torch.logaddexp(log_sum, other_log_sum)
    share = (log_sum - joined.clamp_min(_FLOOR)).exp()
    other = (other_log_sum - joined.clamp_min(_FLOOR)).exp()
    between = torch.special.entr(share) + torch.special.entr(other)
    return joined, share * entropy + other * other_entropy + between


def _merge(parts: Sequence[Tensor], log_sums: Sequence[Tensor]) -> Tensor:
    """One softmax over the positions of several exemplars, from one softmax over each."""
    if len(parts) == 1:
        return parts[0]
    shares = torch.stack(log_sums).softmax(0)
    return (shares[..., None] * torch.stack(parts)).sum(0)
