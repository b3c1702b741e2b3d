"""The softmax over a correlation as one Triton kernel, for GPUs: no tile ever leaves the chip.

`correlation.Attend` makes each tile of M in memory, by a product and two box sums. Here a block of
positions goes through all places of the exemplar and keeps what it needs in registers, as flash
attention does (Dao et al. 2022); each entry costs 9 C multiplications instead of C, and no memory
traffic. Which is faster, the machine must say: `python -m cocosnet_hf.benchmark --device cuda`.

Not run on a GPU by us yet: Triton's interpreter (TRITON_INTERPRET=1) runs the same kernel on CPUs,
and where triton is installed a test holds it to `reference`. torch brings triton along on Linux
with CUDA.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from .correlation import ANYWHERE, FLOOR, Side
from .matching import Matching

BLOCK_ROWS, BLOCK_COLUMNS, BLOCK_CHANNELS = 64, 64, 32
"""Positions, places and channels that one program multiplies at a time."""

LEAST_WIDTH = 16
"""The smallest side of a matrix that tensor cores multiply."""


class FusedMatching(Matching):
    """A `Matching` whose `warp` is one kernel, without gradients."""

    def _attend(self, rows: Side, columns: Side, values: Tensor) -> tuple[Tensor, Tensor]:
        return attend(rows, columns, values.float(), self.temperature)


@torch.no_grad()
def attend(rows: Side, columns: Side, values: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """softmax(M / temperature) @ values, (N, V), and the logarithm of each row's sum, (N,).

    values (N', V) float32: of each place of `columns`. Rows that may look nowhere get 0 and -inf.
    """
    count, places = len(rows.mean), len(columns.mean)
    channels, width = values.shape[1], triton.next_power_of_2(max(values.shape[1], LEAST_WIDTH))
    out, log_sum = values.new_empty(count, channels), values.new_empty(count)
    restricted = rows.regions is not None and columns.regions is not None
    regions: Sequence[Tensor] = (log_sum, log_sum)  # not looked at
    if rows.regions is not None and columns.regions is not None:
        regions = [each.long().contiguous() for each in (rows.regions, columns.regions)]
    with torch.cuda.device_of(values):  # on which Triton starts kernels; of CPUs none
        _attend_kernel[(triton.cdiv(count, BLOCK_ROWS),)](
            rows.features,
            columns.features,
            rows.mean,
            (rows.scale / temperature).contiguous(),
            columns.mean,
            columns.scale.contiguous(),
            *regions,
            values.contiguous(),
            out,
            log_sum,
            count,
            places,
            rows.width,
            rows.row_length,
            columns.width,
            columns.row_length,
            channels,
            rows.features.shape[1],
            restricted,
            2 * rows.radius + 1,
            width,
            ANYWHERE,
            FLOOR,
            BLOCK_ROWS,
            BLOCK_COLUMNS,
            BLOCK_CHANNELS,
        )
    return out, log_sum


@triton.jit
def _attend_kernel(  # type: ignore[no-untyped-def]  # pointers, compiled by Triton
    rows,
    columns,
    row_mean,
    row_scale,
    column_mean,
    column_scale,
    row_region,
    column_region,
    values,
    out,
    log_sum,
    count,
    places,
    row_width,
    row_length,
    column_width,
    column_length,
    value_channels,
    channels: tl.constexpr,
    restricted: tl.constexpr,
    patch: tl.constexpr,
    width: tl.constexpr,
    anywhere: tl.constexpr,
    floor: tl.constexpr,
    block_rows: tl.constexpr,
    block_columns: tl.constexpr,
    block_channels: tl.constexpr,
):
    u = tl.program_id(0) * block_rows + tl.arange(0, block_rows)
    is_row = u < count
    # With its ring of zeros a patch begins at its own position's place in the map.
    corner_u = (u // row_width) * row_length + u % row_width
    mean_u = tl.load(row_mean + u, mask=is_row, other=0.0)
    scale_u = tl.load(row_scale + u, mask=is_row, other=0.0)
    if restricted:
        wanted = tl.load(row_region + u, mask=is_row, other=anywhere)
    value = tl.arange(0, width)
    k = tl.arange(0, block_channels)
    maximum = tl.full((block_rows,), floor, tl.float32)
    mass = tl.zeros((block_rows,), tl.float32)
    total = tl.zeros((block_rows, width), tl.float32)
    for start in range(0, places, block_columns):
        v = start + tl.arange(0, block_columns)
        is_column = v < places
        corner_v = (v // column_width) * column_length + v % column_width
        product = tl.zeros((block_rows, block_columns), tl.float32)
        for tap in range(patch * patch):
            at_u = corner_u + (tap // patch) * row_length + tap % patch
            at_v = corner_v + (tap // patch) * column_length + tap % patch
            for first in range(0, channels, block_channels):
                channel = first + k
                is_channel = channel < channels
                left = tl.load(
                    rows + at_u[:, None] * channels + channel[None, :],
                    mask=is_row[:, None] & is_channel[None, :],
                    other=0.0,
                )
                right = tl.load(
                    columns + at_v[None, :] * channels + channel[:, None],
                    mask=is_column[None, :] & is_channel[:, None],
                    other=0.0,
                )
                # TF32 is too coarse under a softmax that multiplies errors by 1 / temperature.
                product += tl.dot(left, right, input_precision="ieee")
        mean_v = tl.load(column_mean + v, mask=is_column, other=0.0)
        scale_v = tl.load(column_scale + v, mask=is_column, other=0.0)
        size = channels * patch * patch
        logits = (product - size * mean_u[:, None] * mean_v[None, :]) * scale_v[None, :]
        logits = logits * scale_u[:, None]
        allowed = is_column[None, :]
        if restricted:
            offered = tl.load(column_region + v, mask=is_column, other=anywhere)
            alike = wanted[:, None] == offered[None, :]
            allowed = allowed & (alike | (wanted == anywhere)[:, None])
        logits = tl.where(allowed, logits, float("-inf"))
        higher = tl.maximum(maximum, tl.max(logits, 1))
        share = tl.exp(logits - higher[:, None])
        kept = tl.exp(maximum - higher)
        seen = tl.load(
            values + v[:, None] * value_channels + value[None, :],
            mask=is_column[:, None] & (value < value_channels)[None, :],
            other=0.0,
        )
        total = total * kept[:, None] + tl.dot(share, seen, input_precision="ieee")
        mass = mass * kept + tl.sum(share, 1)
        maximum = higher
    total = total / tl.maximum(mass, 1e-37)[:, None]
    tl.store(
        out + u[:, None] * value_channels + value[None, :],
        total,
        mask=is_row[:, None] & (value < value_channels)[None, :],
    )
    tl.store(log_sum + u, maximum + tl.log(mass), mask=is_row)
