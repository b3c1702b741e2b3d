"""What is known of each row of a matching's softmax without holding it: its best, sum, entropy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .correlation import FLOOR, TINY, Side, Tiles, highest


@dataclass
class RowBest:
    """Per condition position: the highest logit, its exemplar and position, log of the row sum, and
    the row's entropy."""

    logit: Tensor
    exemplar: Tensor
    position: Tensor
    log_sum: Tensor
    entropy: Tensor


def best_of(
    rows: Side, columns: Sequence[Side], tiles_of: Callable[[Side, Side], Tiles]
) -> RowBest:
    """Of every row over the columns of all exemplars. tiles_of: makes those of two sides."""
    count = rows.height * rows.width
    logit = rows.mean.new_full((count,), float("-inf"))
    log_sum = logit.clone()
    entropy = torch.zeros_like(logit)
    position = torch.zeros(count, dtype=torch.long, device=logit.device)
    exemplar = position.clone()
    for index, side in enumerate(columns):
        tiles = tiles_of(rows, side)
        for row_range in tiles.row_ranges():
            u = rows.positions(row_range)
            for column_range in tiles.column_ranges():
                logits = tiles.logits(row_range, column_range)
                value, where = highest(logits, 1)
                better = value > logit[u]
                start = side.positions(column_range).start
                logit[u] = torch.where(better, value, logit[u])
                position[u] = torch.where(better, where + start, position[u])
                exemplar[u] = torch.where(better, index, exemplar[u])
                share = logits.sub_(value.clamp_min(FLOOR)[:, None]).exp_()
                mass = share.sum(1).clamp_min(TINY)
                within = torch.special.entr(share, out=share).sum(1) / mass + mass.log()
                log_sum[u], entropy[u] = _joined(log_sum[u], entropy[u], mass.log() + value, within)
    return RowBest(logit, exemplar, position, log_sum, entropy)


def _joined(
    log_sum: Tensor, entropy: Tensor, other_log_sum: Tensor, other_entropy: Tensor
) -> tuple[Tensor, Tensor]:
    """log of the sum and entropy of whole rows, from those of two parts; an empty part has -inf."""
    joined = torch.logaddexp(log_sum, other_log_sum)
    share = (log_sum - joined.clamp_min(FLOOR)).exp()
    other = (other_log_sum - joined.clamp_min(FLOOR)).exp()
    between = torch.special.entr(share) + torch.special.entr(other)
    return joined, share * entropy + other * other_entropy + between
