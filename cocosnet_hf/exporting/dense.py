"""The matching of one condition with one exemplar each, as tensors of any size that can be traced.

What `correlation`, `nearest`, `propagation`, `stiffness` and `coherence` compute tile by tile, for
B pairs at once and with the N x N' correlation held: an exported graph has no place for tiles whose
number depends on its input. The formulas are theirs, without regions and pinned points, and in
their order, so that ties fall alike. Everything is float32; positions are (x, y) in cells of the
exemplar's grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..coherence import FASTEST, SAME_PIECE, STRAIGHT, without_steps
from ..correlation import TINY
from ..nearest import CONSISTENCY_CELLS, CROWDING_TEMPERATURE
from ..propagation import FARTHEST, GUIDE_WEIGHT, ROUNDS, SMOOTHNESS, SUBCELL_TEMPERATURE
from ..stiffness import FITS, RADIUS, RIDGE, SIGMA, TOLERANCE

_NEGLIGIBLE_VARIANCE = 1e-10
_FAR = 1e6  # cells: of a neighbour that there is not


@dataclass(frozen=True)
class Flow:
    """`coherence.CoherentFlow` as channels: position, trust (B, 2, h, w), follows (B, 1, h, w).

    follows: 1 at the cells that lie where their guide says, otherwise 0; None without a guide.
    """

    position: Tensor
    trust: Tensor
    follows: Tensor | None


class DenseMatching:
    """softmax(M / temperature) of contents (B, C, h, w) and styles (B, C, h', w'), M held whole.

    logits (B, N, N'): M / temperature. patch_size, temperature: as of `Matching`.
    """

    def __init__(self, content: Tensor, style: Tensor, patch_size: int, temperature: float):
        self.height, self.width = content.shape[-2:]
        self.style_height, self.style_width = style.shape[-2:]
        self.temperature = temperature
        self.last = _pair(self.style_width - 1, self.style_height - 1)
        left, left_mean, left_scale = _side(content, patch_size)
        right, right_mean, right_scale = _side(style, patch_size)
        total = left.flatten(2).transpose(1, 2) @ right.flatten(2)
        total = total.unflatten(2, right.shape[-2:]).unflatten(1, left.shape[-2:])
        sides = ((2, self.width, self.style_width), (1, self.height, self.style_height))
        for axis, own, other in sides:  # a patch's sum, along both maps at once
            first, *rest = (
                total.narrow(axis, k, own).narrow(axis + 2, k, other) for k in range(patch_size)
            )
            total = sum(rest, first)
        total = total.flatten(3).flatten(1, 2)
        patch_length = content.shape[1] * patch_size**2
        column_mean = right_mean * right_scale * patch_length
        total = total * right_scale[:, None] - left_mean[:, :, None] * column_mean[:, None]
        self.logits = total * (left_scale / temperature)[:, :, None]

    def warp(self, values: Tensor) -> Tensor:
        """values (B, V, h', w') seen through the softmax: (B, V, h, w)."""
        seen = self.logits.softmax(2) @ values.flatten(2).transpose(1, 2)
        return seen.transpose(1, 2).unflatten(2, (self.height, self.width))

    def best(self) -> tuple[Tensor, Tensor]:
        """Where each position's best match lies (B, 2, h, w), its share of the row (B, h, w)."""
        share = self.logits.softmax(2)
        size = (self.height, self.width)
        confidence = share.amax(2).unflatten(1, size)
        return self._places(self.logits.argmax(2)).unflatten(2, size), confidence

    def coherent(self, guide: Tensor | None = None) -> Flow:
        """`coherence.coherent_flow`. guide (B, 2, h, w): likely places, NaN where there is none."""
        size = (self.height, self.width)
        correlation = self.logits * self.temperature
        wish = ((correlation - 1) / CROWDING_TEMPERATURE).exp()
        share = 1 / wish.sum(2).clamp_min(TINY)
        arriving = (share[:, None] @ wish)[:, 0]
        usual = arriving.mean(1, keepdim=True).clamp_min(TINY)
        crowding = CROWDING_TEMPERATURE * (arriving / usual).clamp_min(1).log()

        cells = self._cells(correlation)
        hint = None if guide is None else self._hint(guide.flatten(2))
        target = self._places((correlation - crowding[:, None]).argmax(2))
        for _ in range(ROUNDS):
            target = self._propagated(correlation, crowding, target, cells, hint)
        position, score = self._between_cells(correlation, target)
        position = self._affine(position.unflatten(2, size), cells.unflatten(1, size))

        back = correlation.argmax(1)
        returned = back.gather(1, self._index(target))
        away = (_unflattened(returned, self.width) - cells).square().sum(1)
        consistency = (-away / (2 * CONSISTENCY_CELLS**2)).exp()
        follows = None
        if guide is not None and hint is not None:
            taken = ((target - hint.place).abs().amax(1) <= 1) & hint.is_there
            consistency = torch.where(taken, 1.0, consistency)
            taken = taken[:, None].unflatten(2, size)
            position = torch.where(taken, guide, position)
            follows = taken.float()
        trust = torch.stack([score.clamp_min(-1), consistency], dim=1)
        return Flow(position, trust.unflatten(2, size), follows)

    def _hint(self, guide: Tensor) -> _Hint:
        is_there = ~guide.isnan().any(1)
        inside = self._inside(torch.where(is_there[:, None], guide, 0.0)[..., None])[..., 0]
        return _Hint(inside.round(), is_there)

    def _cells(self, like: Tensor) -> Tensor:
        """(2, N): each position's own (x, y)."""
        return torch.stack(
            torch.meshgrid(
                torch.arange(self.width, dtype=like.dtype, device=like.device),
                torch.arange(self.height, dtype=like.dtype, device=like.device),
                indexing="xy",
            )
        ).flatten(1)

    def _places(self, index: Tensor) -> Tensor:
        """(B, 2, ...) as (x, y) of flat indices (B, ...) into the exemplar's grid."""
        return _unflattened(index, self.style_width)

    def _index(self, place: Tensor) -> Tensor:
        """Flat indices (B, ...) of whole places (B, 2, ...)."""
        return (place[:, 1] * self.style_width + place[:, 0]).long()

    def _inside(self, place: Tensor) -> Tensor:
        """Places (B, 2, any, any) moved onto the exemplar's grid."""
        return place.clamp_min(0).minimum(self.last)

    def _propagated(
        self,
        correlation: Tensor,
        crowding: Tensor,
        target: Tensor,
        cells: Tensor,
        hint: _Hint | None,
    ) -> Tensor:
        """One round of `propagation.propagated`: targets (B, 2, N), each of its cell."""
        moved = (target - cells).unflatten(2, (self.height, self.width))
        near = neighbours(F.pad(moved, (1, 1, 1, 1), mode="replicate"), 1)
        near = torch.cat([near[:, :, 4:5], near[:, :, :4], near[:, :, 5:]], dim=2)  # itself first
        near = near.flatten(3)
        reached = self._inside(near + cells[:, None])
        if hint is not None:
            wanted = torch.where(hint.is_there[:, None], hint.place, target)
            reached = torch.cat([reached, wanted[:, :, None]], dim=2)
        index = self._index(reached)
        value = correlation.gather(2, index.transpose(1, 2)).transpose(1, 2)
        loss = crowding.gather(1, index.flatten(1)).view_as(value)
        apart = ((reached - cells[:, None])[:, :, :, None] - near[:, :, None]).abs().sum(1)
        energy = value - loss - SMOOTHNESS * apart.clamp_max(FARTHEST).mean(2)
        if hint is not None:
            off = (reached - hint.place[:, :, None]).abs().sum(1)
            energy = energy + GUIDE_WEIGHT * (1 - off / 2).clamp_min(0) * hint.is_there[:, None]
        best = energy.argmax(1, keepdim=True)
        return reached.gather(2, best[:, None].expand(-1, 2, -1, -1))[:, :, 0]

    def _between_cells(self, correlation: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """`Pairs.between_cells`: (B, 2, N) and the correlation at the cell (B, N)."""
        offsets = [(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1)]
        around = target.new_tensor(offsets).T[:, :, None]
        near = self._inside(target[:, :, None] + around)
        value = correlation.gather(2, self._index(near).transpose(1, 2)).transpose(1, 2)
        score = value[:, 4:5]
        share = ((value - score).clamp_max(0) / SUBCELL_TEMPERATURE).exp()
        return (share[:, None] * near).sum(2) / share.sum(1)[:, None], score[:, 0]

    def _affine(self, position: Tensor, cells: Tensor) -> Tensor:
        """`stiffness.locally_affine` of positions (B, 2, h, w), moved onto the grid."""
        displacement = position - cells
        near = neighbours(F.pad(displacement, (RADIUS,) * 4), RADIUS)
        is_there = neighbours(F.pad(torch.ones_like(displacement[:, :1]), (RADIUS,) * 4), RADIUS)
        steps = range(-RADIUS, RADIUS + 1)
        across = position.new_tensor([x for _ in steps for x in steps]).view(-1, 1, 1)
        down = position.new_tensor([y for y in steps for _ in steps]).view(-1, 1, 1)
        closeness = (-(across.square() + down.square()) / (2 * SIGMA**2)).exp() * is_there[:, 0]
        fitted = displacement
        for _ in range(FITS):
            apart = (near - fitted[:, :, None]).abs().sum(1)
            weight = closeness * (1 + (apart / TOLERANCE).square()).square().reciprocal()
            whole, slope_x, slope_y = ((weight * basis).sum(1) for basis in (1, across, down))
            xx, xy, yy = (
                (weight * basis).sum(1) for basis in (across.square(), across * down, down.square())
            )
            xx, yy = xx + RIDGE, yy + RIDGE
            wanted, wanted_x, wanted_y = (
                (weight[:, None] * near * basis).sum(2) for basis in (1, across, down)
            )
            # The constant of the fit, by elimination of the two slopes: their block is at least
            # RIDGE, and so never near singular.
            determinant = xx * yy - xy.square()
            first = (slope_x * yy - slope_y * xy) / determinant
            second = (slope_y * xx - slope_x * xy) / determinant
            left = whole - first * slope_x - second * slope_y
            fitted = wanted - first[:, None] * wanted_x - second[:, None] * wanted_y
            fitted = fitted / left[:, None]
        return self._inside(position + (fitted - displacement))


@dataclass(frozen=True)
class _Hint:
    """`propagation.Guided`: place (B, 2, N), the guide's whole cell; is_there (B, N) bool."""

    place: Tensor
    is_there: Tensor


def _unflattened(index: Tensor, width: int) -> Tensor:
    """(B, 2, ...) as whole (x, y) of flat indices (B, ...) into a grid, below 2**22.

    In float32, as the exporter knows no remainder by a width that is an input's. Half a cell keeps
    the quotient away from the whole numbers.
    """
    flat = index.float()
    y = ((flat + 0.5) / width).floor()
    return torch.stack([flat - y * width, y], dim=1)


def _pair(x: int, y: int) -> Tensor:
    """(2, 1, 1) of two sizes, which may be symbols: `torch.tensor` would make them numbers."""
    return torch.cat([torch.full((1, 1, 1), side) for side in (x, y)]).float()


def neighbours(padded: Tensor, radius: int) -> Tensor:
    """(B, V, h + 2 r, w + 2 r): (B, V, k, h, w), the k = (2 r + 1)^2 values around each position.

    By a convolution with a single 1 in each kernel, which copies exactly, in one node of a graph.
    """
    side = 2 * radius + 1
    ones = torch.eye(side**2).view(-1, 1, side, side).tolist()
    kernels = torch.tensor(ones, device=padded.device)  # as numbers, not as nodes of a graph
    return F.conv2d(padded.flatten(0, 1)[:, None], kernels).unflatten(0, padded.shape[:2])


def seen(values: Tensor, flow: Flow, pixels: int, guide: Tensor | None = None) -> Tensor:
    """`CoherentFlow.warp` at `pixels` for each cell of the flow's grid, and of the exemplar's.

    values (B, V, pixels h', pixels w'); guide (B, 2, pixels h, pixels w) in cells, NaN where there
    is none, of a flow that follows one: (B, V, pixels h, pixels w).
    """
    position = flow.position
    height, width = position.shape[-2:]
    across, down = _slopes(position, 3, (1.0, 0.0)), _slopes(position, 2, (0.0, 1.0))
    rows, columns = (_between(side, pixels, position) for side in (height, width))
    is_there = None if guide is None else ~guide.isnan().any(1, keepdim=True)
    total: Tensor | int = 0
    finer: Tensor | int = 0
    for row, row_share in ((rows[1], 1 - rows[3]), (rows[2], rows[3])):
        for column, column_share in ((columns[1], 1 - columns[3]), (columns[2], columns[3])):

            def here(grid: Tensor, row: Tensor = row, column: Tensor = column) -> Tensor:
                return grid.index_select(2, row).index_select(3, column)

            place = here(position) + here(across) * (columns[0] - column)
            place = place + here(down) * (rows[0] - row)[:, None]
            weight = row_share[:, None] * column_share
            if is_there is not None and flow.follows is not None:
                followed = weight * here(flow.follows) * is_there
                finer = finer + followed
                weight = weight - followed
            total = total + weight * _looked(values, place, pixels)
    if guide is not None and is_there is not None:
        place = torch.where(is_there, guide, 0.0)
        grid = (values.shape[2] / pixels, values.shape[3] / pixels)
        guided = without_steps(_looked(values, place, pixels), place.movedim(1, 3), grid)
        total = total + finer * guided
    return torch.as_tensor(total)


def _looked(values: Tensor, place: Tensor, pixels: int) -> Tensor:
    """Values (B, V, H', W') at places (B, 2, H, W) in cells of so many pixels."""
    grid = ((2 * place + 1) * pixels / _pair(*values.shape[:1:-1]) - 1).movedim(1, 3)
    return F.grid_sample(values, grid, padding_mode="border", align_corners=False)


def _slopes(position: Tensor, axis: int, step: tuple[float, float]) -> Tensor:
    """`coherence._slopes` along one axis of positions (B, 2, h, w)."""
    shift = torch.tensor(step).view(1, 2, 1, 1)
    count = position.shape[axis] - 1
    change = position.narrow(axis, 1, count) - position.narrow(axis, 0, count) - shift
    edge = [0, 0] * (3 - axis)
    after, before = (F.pad(change, [*edge, *side], value=_FAR) for side in ((0, 1), (1, 0)))
    is_straight = (_length(after - before) < STRAIGHT) & (_length(after) < FASTEST)
    total: Tensor | int = 0
    number: Tensor | int = 0
    for side in (after, before):
        counts = (is_straight | (_length(side) < SAME_PIECE)).to(position)
        total = total + side.clamp(-_FAR, _FAR) * counts
        number = number + counts
    return shift + total / torch.as_tensor(number).clamp_min(1)


def _length(change: Tensor) -> Tensor:
    return change.square().sum(1, keepdim=True).sqrt()


def _between(cells: int, pixels: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`coherence._cells`: place in cells, the two nearest cells, the second's share."""
    index = torch.arange(cells * pixels, dtype=like.dtype, device=like.device)
    place = (index + 0.5) / pixels - 0.5
    low = place.floor()
    first, second = (each.long().clamp(0, cells - 1) for each in (low, low + 1))
    return place, first, second, place - low


def smaller(photo: Tensor, scale: int) -> Tensor:
    """(B, V, H, W) made `scale` times smaller, as by `F.interpolate` with antialias=True."""
    if scale == 1:
        return photo
    taps = [1 - abs((tap + 0.5) / scale - 1) for tap in range(2 * scale)]
    channels = int(photo.shape[1])  # in a trace a size is a tensor
    kernel = torch.tensor([[[[down * across for across in taps] for down in taps]]] * channels)

    def summed(x: Tensor) -> Tensor:
        return F.conv2d(x, kernel, stride=scale, padding=scale // 2, groups=channels)

    return summed(photo) / summed(torch.ones_like(photo))


def _side(features: Tensor, patch_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """`correlation.Side.of`: the map with its ring, (B, C, h + 2 r, w + 2 r), and each patch's mean
    and scale, (B, N).
    """
    features = features.float()
    channels = features.shape[1]
    offset = features.mean((1, 2, 3), keepdim=True)
    power = features.square().mean((1, 2, 3), keepdim=True)
    padded = F.pad(features, (patch_size // 2,) * 4) - offset
    size = channels * patch_size**2

    def patch_sum(per_position: Tensor) -> Tensor:
        return F.avg_pool2d(per_position, patch_size, stride=1) * patch_size**2

    mean = patch_sum(padded.sum(1, keepdim=True)) / size
    squares = patch_sum(padded.square().sum(1, keepdim=True))
    variance = squares - size * mean.square()
    textured = variance > _NEGLIGIBLE_VARIANCE * (squares + size * power)
    scale = torch.where(textured, variance, 1).rsqrt() * textured
    return padded, mean.flatten(1), scale.flatten(1)
