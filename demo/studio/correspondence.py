"""Where each part of a painting came from, as the page's script takes it: once for each picture."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cocosnet_hf import CoCosPipeline, Condition, Pose
from cocosnet_hf.conditions.joints import JOINTS
from cocosnet_hf.pipeline import CoCosPipelineOutput

from .words import plain

MOST_PINS = 5

CELL = 4
"""Pixels for each cell, at which a label map is drawn to see what most of the cell is."""

NEAR = 0.12
"""A place is called by its nearest joint up to this share of the figure's height."""

ONCE = 1.5
"""By so many cells of a picture a place of an exemplar may be shown, and each is still sure."""

OTHERWISE = 0.1
"""How sure at most a place of another class than its match is: a guess."""

SIDES = {"r": "right", "l": "left"}

Pair = tuple[tuple[float, float], tuple[float, float], int]
"""A place in the picture, one in an exemplar, and the number of that."""


@dataclass(frozen=True, eq=False)
class Correspondence:
    """places (h, w, 2): (x, y) in an exemplar, in shares of its sides, for each cell of a picture.

    sure (h, w): 0..1, how much that is to be trusted. which (h, w): the number of the exemplar.
    grids: each exemplar's cells, (h', w').
    """

    places: np.ndarray
    sure: np.ndarray
    which: np.ndarray
    grids: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, painted: CoCosPipelineOutput) -> Correspondence:
        """That of the first picture: of the flow that it was painted from, where there is one."""
        matching = painted.matching
        ((own, grids),) = matching.grids()[:1]
        which = torch.zeros(own, dtype=torch.long)
        if painted.flow is not None:
            cells, which = (
                painted.flow.position[0].cpu() + 0.5,
                painted.flow.exemplar[0].cpu().long(),
            )
            # A guided place looks back at its cell by itself: what it repeats is a guess as well.
            sure = painted.flow.consistency[0].cpu() * shown_once(cells, which, grids)
        else:
            cells = (matching.flow()[0].cpu() + 0.5) / matching.stride
            sure = matching.confidence()[0].sqrt()  # of a sharp softmax a tenth is already much
        sides = torch.tensor(grids).flip(1)[which]
        places = (cells / sides).clamp(0, 1).numpy()
        return cls(places, sure.float().cpu().numpy(), which.numpy(), tuple(grids))

    def sent(self) -> dict[str, Any]:
        """As `result.js` reads it."""
        places = np.round(self.places * 65535).astype("<u2")
        further: dict[str, Any] = {}
        if len(self.grids) > 1:
            which = packed(self.which.astype(np.uint8))
            further = {"which": which, "secondGrid": list(self.grids[1])}
        return further | {
            "grid": list(self.sure.shape),
            "other": list(self.grids[0]),
            "flow": packed(places),
            "sure": packed_shares(self.sure),
        }

    def of_one_class(self, here: np.ndarray, there: Sequence[np.ndarray | None]) -> np.ndarray:
        """How sure each cell is (h, w) if no place of another class can be.

        here (h, w): the cells' classes. there: those of each exemplar, None where not known.
        """
        sure = self.sure.copy()
        for number, (classes, grid) in enumerate(zip(there, self.grids, strict=True)):
            if classes is None:
                continue
            last = np.array(grid) - 1
            cells = np.minimum((self.places * grid[::-1]).astype(int), last[::-1])
            own = self.which == number
            there_at = classes[np.where(own, cells[..., 1], 0), np.where(own, cells[..., 0], 0)]
            unlike = own & (there_at != here)
            sure[unlike] = np.minimum(sure[unlike], OTHERWISE)
        return sure


def shown_once(cells: Tensor, which: Tensor, grids: Sequence[tuple[int, int]]) -> Tensor:
    """1 for cells of a picture whose places in an exemplar it shows once, 1/n for n times, (h, w).

    A part that is larger than in the exemplar repeats it or is stretched from it. cells (h, w, 2):
    (x, y) in cells of the exemplar, of the number `which` (h, w). grids: the exemplars' cells.
    """
    once = torch.ones(which.shape)
    for number, (rows, columns) in enumerate(grids):
        own = which == number
        last = torch.tensor([columns, rows]) - 1
        x, y = cells[own].long().clamp_min(0).minimum(last).unbind(-1)
        times = torch.bincount(y * columns + x, minlength=rows * columns).view(1, rows, columns)
        near = F.avg_pool2d(times.float(), 3, 1, 1, count_include_pad=False)[0, y, x]
        once[own] = (ONCE * which.numel() / (rows * columns) / near).clamp_max(1)
    return once


def packed(numbers: np.ndarray) -> str:
    """An array's bytes as text."""
    return base64.b64encode(np.ascontiguousarray(numbers).tobytes()).decode()


def packed_shares(shares: np.ndarray) -> str:
    """Numbers in 0..1 as a byte each."""
    return packed(np.round(shares * 255).astype(np.uint8))


def names_sent(
    correspondence: Correspondence, condition: Condition, layout: Any, own: Sequence[Any]
) -> dict[str, Any]:
    """What the cells of both sides are called, as `result.js` reads it; {} if nobody knows.

    Of classes also how sure the cells are anew: none that comes from another class is. layout, own:
    the sources of the picture's condition and of each exemplar's, None if that is not known.
    """
    if not (condition.labelled or condition.has_joints):
        return {}
    names = ["", *map(_in_words, JOINTS)]  # a chest is no background
    if condition.labelled:
        names = list(map(plain, condition.label_names))
    sides = {"here": (layout, correspondence.sure.shape)}
    sides |= zip(("there", "second"), zip(own, correspondence.grids, strict=True), strict=False)
    named = {
        side: _named(condition, source, grid)
        for side, (source, grid) in sides.items()
        if source is not None
    }
    found = {"names": names} | {side: packed(numbers) for side, numbers in named.items()}
    if condition.labelled and "here" in named:
        there = [named.get(side) for side in ("there", "second")[: len(own)]]
        found["sure"] = packed_shares(correspondence.of_one_class(named["here"], there))
    return found


def _in_words(joint: str) -> str:
    side, _, part = joint.partition("_")
    return f"{SIDES[side]} {part}" if part else side


def _named(condition: Condition, source: Any, grid: tuple[int, int]) -> np.ndarray:
    """The number of each cell's name, (h, w) uint8."""
    height, width = grid
    if condition.labelled:
        encoded = condition.encode(source, height * CELL, width * CELL)
        shares = F.adaptive_avg_pool2d(encoded[: len(condition.label_names)], grid)
        return shares.argmax(0).numpy().astype(np.uint8)
    return _nearest_joint(source, grid)


def _nearest_joint(pose: Pose, grid: tuple[int, int]) -> np.ndarray:
    """1 more than the nearest joint's number, 0 for no near one."""
    height, width = pose.size
    rows, columns = ((np.arange(cells) + 0.5) / cells for cells in grid)
    y, x = np.meshgrid(rows * height, columns * width, indexing="ij")
    joints = pose.joints[:, :2]
    distance = np.hypot(*(np.stack([x, y], -1)[..., None, :] - joints).transpose(3, 0, 1, 2))
    distance[np.isnan(distance)] = math.inf
    known = joints[~np.isnan(joints[:, 1]), 1]
    reach = NEAR * np.ptp(known) if len(known) else 0
    return np.where(distance.min(-1) <= reach, distance.argmin(-1) + 1, 0).astype(np.uint8)


def takes_points(pipe: Any) -> bool:
    """Whether a pipeline takes pairs of points that must match, and a strength of the look."""
    return isinstance(pipe, CoCosPipeline) and pipe.correspondence.is_coherent


def pairs_of(value: Any, look: str) -> list[Pair] | None:
    """The pairs of points that a visitor set, as `CoCosPipeline` takes them; None for none.

    value: as `result.js` sends it. look: the exemplar's; pairs for another one say nothing. Raises
    ValueError for what is no such pair.
    """
    if not isinstance(value, Mapping) or value.get("look") != look:
        return None
    pins = value.get("pins")
    try:
        pairs = [
            (_point(pin["from"]), _point(pin["to"]), int(pin.get("which", 0)))
            for pin in list(pins or ())[:MOST_PINS]
        ]
    except (TypeError, KeyError, IndexError, ValueError, AttributeError) as error:
        raise ValueError("The pinned points cannot be read; reload the page.") from error
    if not all(0 <= share <= 1 for pair in pairs for point in pair[:2] for share in point):
        raise ValueError("A pinned point lies outside its picture; unpin it.")
    return pairs or None


def _point(given: Any) -> tuple[float, float]:
    return float(given[0]), float(given[1])
