"""The exact correspondence between two feature maps, without ever holding its N x N matrix.

The matrix, its patches and its tiles are explained in `correlation`; here is what is read from
them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor

from .coherence import CoherentFlow, coherent_flow
from .correlation import Attend, Side, Tiles, merge, normal_weights, to_positions
from .propagation import ROUNDS, SMOOTHNESS, Guide, Pin
from .row_statistics import RowBest, best_of
from .stiffness import RADIUS

Nested = Sequence[Sequence[Tensor]]
"""For each item of the batch, one tensor for each of its exemplars."""

_TILE_BYTES_PER_POSITION = 2048  # tiles of 14 rows of a square map, whose borders cost a third


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
    guides: for each item and exemplar a `propagation.Guide` or None; `coherent` follows them.
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
        guides: Sequence[Sequence[Guide | None]] = (),
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
        regions: Sequence[Sequence[Tensor | None]] = [[None] * len(item) for item in styles]
        self._content_regions: list[Tensor | None] = [None] * self._batch
        if content_regions is not None and style_regions is not None:
            _require("content_regions", content_regions, (self._batch, self._height, self._width))
            regions = self._nested("style_regions", style_regions, ndim=2)
            self._content_regions = [item.flatten() for item in content_regions]
        self._guides = _checked_guides(guides, styles)
        self._columns = _sides_of(styles, regions, patch_size, channels)
        self._rows = [Side.of(item, patch_size) for item in content]
        if content_regions is not None:
            self._rows = [
                replace(rows, regions=own).seeking(_offered(columns))
                for rows, own, columns in zip(
                    self._rows, self._content_regions, self._columns, strict=True
                )
            ]
        if check_finite:
            _require_finite(self._rows, self._columns)

    def to(self, device: torch.device | str) -> Matching:
        """The same on another device, without a history of gradients."""
        sides: dict[int, Side] = {}  # those that items share stay shared

        def moved(side: Side) -> Side:
            if id(side) not in sides:
                sides[id(side)] = side.detached().to(device)
            return sides[id(side)]

        other = copy.copy(self)
        vars(other).pop("_best", None)
        other._rows = [moved(side) for side in self._rows]
        other._columns = [[moved(side) for side in item] for item in self._columns]
        other._content_regions = [
            None if regions is None else regions.to(device) for regions in self._content_regions
        ]
        return other

    def warp(self, values: Tensor | Nested, patches: bool = False) -> Tensor:
        """See the exemplar's values through the matching (equation 3).

        values: laid out like style, with V channels, at its size or at s times that size. Returns
        (B, V, h, w), of each s x s block's mean; with patches=True (B, V, s h, s w), the blocks
        themselves averaged and laid side by side. Raises ValueError for other sizes.
        """
        nested = self._nested("values", values, ndim=3)
        scale = _common_scale(nested, self._columns)
        merged = []
        for rows, columns, item in zip(self._rows, self._columns, nested, strict=True):
            parts, log_sums = zip(
                *(
                    self._attend(rows, side, to_positions(value, scale, patches))
                    for side, value in zip(columns, item, strict=True)
                ),
                strict=True,
            )
            merged.append(merge(parts, log_sums))
        warped = torch.stack(merged).mT
        if patches:
            size = (self._height * scale, self._width * scale)
            return F.fold(warped, size, kernel_size=scale, stride=scale)
        return warped.unflatten(2, (self._height, self._width))

    def warp_back(self, values: Tensor) -> Tensor | list[list[Tensor]]:
        """See the condition's values from the exemplar: softmax over the condition's positions.

        values (B, V, h, w), usually the warped exemplar, for the cycle loss (Zhang et al. 2020,
        section 3.3). Returns (B, V, h', w'), or as style came, lists of (V, h', w'). Regions
        restrict alike: an exemplar position whose region the condition lacks looks everywhere.
        """
        channels = getattr(values, "shape", (0, "V"))[1:2]
        _require("values", values, (self._batch, *channels, self._height, self._width))
        results = []
        for index, item in enumerate(values):
            rows, columns = self._rows[index], self._columns[index]
            own = self._content_regions[index]
            results.append(
                [
                    _attend(
                        side.seeking(own),
                        replace(rows, regions=own),
                        item.flatten(1).t(),
                        self._tiles,
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

    def at_grid(self, values: Tensor | Nested) -> Tensor | Nested:
        """Values of any size, laid out like style, as the mean of each position."""
        nested = self._nested("values", values, ndim=3)
        pooled = [
            [
                F.adaptive_avg_pool2d(value.float(), (side.height, side.width))
                for value, side in zip(item, columns, strict=True)
            ]
            for item, columns in zip(nested, self._columns, strict=True)
        ]
        return pooled if self._nested_style else torch.stack([item[0] for item in pooled])

    def log_share(self, places: Tensor, spread: float = 1.0) -> Tensor:
        """The share of given places in each position's softmax row, as its logarithm: (B, h, w).

        places (B, h, w, 2): (x, y) in cells of the exemplar's grid, cell centres at whole numbers,
        NaN where unknown. spread: standard deviation, in cells, of the normal distribution around a
        place, over whose cells the logarithm is averaged. NaN where the place is. Gradients reach
        content and style. Raises ValueError for other shapes, and if an item has several exemplars.
        """
        _require("places", places, (self._batch, self._height, self._width, 2))
        if any(len(item) > 1 for item in self._columns):
            raise ValueError("log_share needs one exemplar for each item, got several.")
        shares = [
            _log_share(rows, side, place.flatten(0, 1), spread, self.temperature, self._tiles)
            for rows, (side,), place in zip(self._rows, self._columns, places, strict=True)
        ]
        return torch.stack(shares).unflatten(1, (self._height, self._width))

    def coherent(
        self,
        *,
        smoothness: float = SMOOTHNESS,
        rounds: int = ROUNDS,
        stiffness: int = RADIUS,
        pins: Sequence[Sequence[Pin]] = (),
    ) -> CoherentFlow:
        """One place in an exemplar for each position, on which neighbours agree, between the cells.

        smoothness: correlation given up for each cell that a position differs from its neighbours.
        rounds: of propagation, at most. stiffness: cells around a position that move with it, 0 for
        none. pins: for each item, points that must match. No gradient. Steps: see `coherence`.
        """
        return coherent_flow(
            self._rows,
            self._columns,
            self._tiles,
            smoothness=smoothness,
            rounds=rounds,
            stiffness=stiffness,
            pins=pins,
            guides=self._guides,
        )

    def exemplar_sizes(self) -> list[list[tuple[int, int]]]:
        """(height, width) in pixels of each item's exemplars, as `flow` means them."""
        return [
            [(side.height * self.stride, side.width * self.stride) for side in item]
            for item in self._columns
        ]

    def grids(self) -> list[tuple[tuple[int, int], list[tuple[int, int]]]]:
        """(h, w) of the positions of each item's condition, and of each of its exemplars."""
        own = (self._height, self._width)
        return [(own, [(side.height, side.width) for side in item]) for item in self._columns]

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
        size = (self._height * self.stride, self._width * self.stride)
        _require_place(point, size, item, self._batch)
        x, y = (int(value // self.stride) for value in point)
        parts = [self._tiles(self._rows[item], side).row(y, x) for side in self._columns[item]]
        shares = torch.cat(parts).softmax(0).split([len(part) for part in parts])
        maps = [
            share.unflatten(0, (side.height, side.width))
            for share, side in zip(shares, self._columns[item], strict=True)
        ]
        return maps if self._nested_style else maps[0]

    @cached_property
    @torch.no_grad()
    def _best(self) -> list[RowBest]:
        return [
            best_of(rows, columns, self._tiles)
            for rows, columns in zip(self._rows, self._columns, strict=True)
        ]

    def _attend(self, rows: Side, columns: Side, values: Tensor) -> tuple[Tensor, Tensor]:
        """See `correlation.Attend`; here alone, so that a faster kernel may take its place."""
        return _attend(rows, columns, values, self._tiles)

    def _tiles(self, rows: Side, columns: Side) -> Tiles:
        memory = self.tile_memory
        if memory is None:
            least = 32 if rows.mean.device.type == "cpu" else 512
            positions = max(len(rows.mean), len(columns.mean))
            memory = max(least * 2**20, positions * _TILE_BYTES_PER_POSITION)
        return Tiles(rows.detached(), columns.detached(), self.temperature, memory)

    def _nested(self, name: str, value: Tensor | Nested, ndim: int) -> list[list[Tensor]]:
        """One list of (..., h', w') for each item of the batch; remembers how the style came."""
        is_nested = not isinstance(value, Tensor)
        if name == "style":
            self._nested_style = is_nested
        elif is_nested != self._nested_style:
            raise ValueError(f"{name} must be a tensor or lists as the style was, got the other.")
        if not isinstance(value, Tensor):
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


def _log_share(
    rows: Side,
    side: Side,
    place: Tensor,
    spread: float,
    temperature: float,
    make_tiles: Callable[[Side, Side], Tiles],
) -> Tensor:
    """As `Matching.log_share`, of one item: place (h w, 2), the result (h w)."""
    known = ~place.isnan().any(-1)
    index, weights = normal_weights(place.nan_to_num(), side, spread)
    # The product with a mean of patches is the mean of the products with each.
    wanted = F.embedding_bag(index, side.patches(), per_sample_weights=weights, mode="sum")
    logit = (rows.patches() * wanted).sum(1) / temperature
    _, log_sum = _attend(rows, side, logit.new_zeros(len(side.mean), 1), make_tiles)
    return torch.where(known, logit - log_sum, torch.nan)


def _checked_guides(
    guides: Sequence[Sequence[Guide | None]], styles: Nested
) -> Sequence[Sequence[Guide | None]]:
    """The guides, none at all where all are None. Raises ValueError for another layout."""
    if all(guide is None for item in guides for guide in item):
        return ()
    counts = [len(item) for item in styles]
    if [len(item) for item in guides] != counts:
        raise ValueError(
            f"guides must be laid out like style, {counts}, got {[len(item) for item in guides]}."
        )
    return guides


def _sides_of(
    styles: list[list[Tensor]],
    regions: Sequence[Sequence[Tensor | None]],
    patch_size: int,
    channels: int,
) -> list[list[Side]]:
    """One side for each exemplar; one that several items share, with its regions, once."""
    sides: dict[tuple[int, int], Side] = {}
    for exemplar, region in zip(chain(*styles), chain(*regions), strict=True):
        _require("style", exemplar, (channels, *exemplar.shape[-2:]))
        if region is not None:
            _require("style_regions", region, tuple(exemplar.shape[-2:]))
        if (id(exemplar), id(region)) not in sides:
            sides[id(exemplar), id(region)] = Side.of(exemplar, patch_size, region)
    return [
        [sides[id(exemplar), id(region)] for exemplar, region in zip(*item, strict=True)]
        for item in zip(styles, regions, strict=True)
    ]


def _offered(columns: list[Side]) -> Tensor:
    """The regions of all positions of an item's exemplars."""
    return torch.cat([side.regions for side in columns if side.regions is not None])


def _attend(
    rows: Side, columns: Side, values: Tensor, tiles: Callable[[Side, Side], Tiles]
) -> tuple[Tensor, Tensor]:
    return Attend.apply(
        partial(tiles, rows, columns),
        values.float(),
        rows.features,
        rows.mean,
        rows.scale,
        columns.features,
        columns.mean,
        columns.scale,
    )


def _common_scale(values: list[list[Tensor]], sides: list[list[Side]]) -> int:
    """How many times finer than their styles all values are. Raises ValueError unless they are."""
    scales = set()
    for item, columns in zip(values, sides, strict=True):
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


def _require_finite(rows: list[Side], columns: list[list[Side]]) -> None:
    for name, side in [("content", s) for s in rows] + [
        ("style", s) for item in columns for s in item
    ]:
        if not torch.isfinite(side.mean).all():
            raise ValueError(f"{name} contains NaN or infinite values; check the inputs.")


def _require(name: str, tensor: object, shape: tuple[int, ...]) -> None:
    got = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
    if got != shape:
        raise ValueError(f"{name} must have the shape {shape}, got {got}.")


def _require_place(point: Sequence[float], size: tuple[int, int], item: int, batch: int) -> None:
    if isinstance(point, str) or not hasattr(point, "__len__") or len(point) != 2:
        raise ValueError(f"point must be (x, y) in pixels of the condition, got {point!r}.")
    if not (0 <= point[0] < size[1] and 0 <= point[1] < size[0]):
        raise ValueError(
            f"point must lie in the condition, 0 <= x < {size[1]} and 0 <= y < {size[0]}, got "
            f"{point}."
        )
    if not -batch <= item < batch:
        raise ValueError(f"item must be below {batch}, the batch's size, got {item}.")
