"""A layout laid of the segments of a bank, in the order in which they cover each other (SIMS)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .drawn import drawn
from .network import size_of
from .segments import Found, SegmentBank, Segments, segments_of


class Laid(NamedTuple):
    """What was laid for one layout.

    canvas (3, H, W), filled (1, H, W); order: segments of the layout, from the back to the front;
    found: of each of the layout's segments its class, the photo of the bank and the overlap of the
    masks, the last two None where the bank has no such class.
    """

    canvas: Tensor
    filled: Tensor
    order: list[int]
    found: list[tuple[int, int | None, float | None]]


def laid(
    bank: SegmentBank, found: Sequence[Found | None], query: Segments, size: tuple[int, int]
) -> Tensor:
    """Each found segment in the box that it was found for: (M, 4, H, W), on the CPU.

    Colours in [-1, 1], 0 where it is not, then the mask, 0 or 1; all 0 where nothing was found.
    """
    layers = torch.zeros(len(found), 4, *size)
    for number, one in enumerate(found):
        if one is None:
            continue
        colors, mask = bank.cut(one.number)
        place = query.pixels(number, size)
        sides = [part.stop - part.start for part in place]
        given = torch.cat([colors, mask[None].float()])[None]
        scaled = F.interpolate(given, sides, mode="bilinear", align_corners=False)[0]
        inside = (scaled[3:] > 0.5).float()
        layers[number][..., place[0], place[1]] = torch.cat([scaled[:3] * inside, inside])
    return layers


def arranged(areas: Tensor, ahead: Tensor) -> list[int]:
    """Segments from the back to the front.

    areas (M,): of those that may come in any order the largest is first. ahead (M, M): whether the
    first lies before the second. Where these contradict each other, the largest is first too.
    """
    waiting = areas.argsort(descending=True, stable=True).tolist()
    before, order = ahead.tolist(), list[int]()
    while waiting:
        free = (n for n in waiting if not any(before[n][other] for other in waiting if other != n))
        chosen = next(free, waiting[0])
        waiting.remove(chosen)
        order.append(chosen)
    return order


def overlaid(
    layers: Tensor, order: Sequence[int], labels: Tensor, wanted: Tensor
) -> tuple[Tensor, Tensor]:
    """The canvas (3, H, W), and where it is filled (1, H, W), of layers (M, 4, H, W) in an order.

    labels (M,): classes of the layers. Where the front one is of another class than the layout
    wanted (H, W) has, and where there is none, the canvas is 0 and not filled.
    """
    canvas, on_top = torch.zeros_like(layers[0, :3]), torch.full_like(wanted, -1)
    for number in order:
        inside = layers[number, 3] > 0.5
        colors = layers[number, :3] / layers[number, 3:].clamp(min=0.5)
        canvas = torch.where(inside, colors, canvas)
        on_top = torch.where(inside, labels[number], on_top)
    filled = (on_top == wanted)[None].to(canvas)
    return canvas * filled, filled


def laid_out(nets: Mapping[str, Any], condition: Tensor, bank: SegmentBank) -> Laid:
    """What is laid for one layout (1, K, H, W)."""
    labels, size = condition.argmax(1), size_of(condition)
    query, numbers = segments_of(labels)
    found = bank.nearest(query)
    layers = laid(bank, found, query, size).to(condition)
    places = [number for number, one in enumerate(found) if one is not None]
    for number in places:  # one by one: of many at once memory would grow with the layout
        layers[number] = nets["transformation"](layers[number][None], condition)[0]
    ahead = torch.zeros(len(found), len(found), dtype=torch.bool)
    masks = layers[:, 3] > 0.5
    for one, other in combinations(places, 2):
        first, second = int(query.label[one]), int(query.label[other])
        if first == second or not (masks[one] & masks[other]).any():
            continue
        if not nets["ordering"].taught:
            continue
        pair = patch(condition, query, one, other, masks[[one, other]])
        scores = nets["ordering"](pair, drawn(condition))[0]
        in_front = scores[first] > scores[second]
        ahead[one, other], ahead[other, one] = in_front, ~in_front
    order = [number for number in arranged(query.area, ahead) if found[number] is not None]
    canvas, filled = overlaid(layers, order, query.label.to(labels), labels[0])
    sources: list[tuple[int, int | None, float | None]] = [
        (int(label), None, None)
        if one is None
        else (int(label), int(bank.segments.picture[one.number]), one.overlap)
        for label, one in zip(query.label, found, strict=True)
    ]
    return Laid(canvas, filled, order, sources)


def patch(condition: Tensor, query: Segments, one: int, other: int, masks: Tensor) -> Tensor:
    """Two segments in the colours of their classes, blank where they meet: (1, 3, H, W).

    condition (1, K, H, W); masks (2, H, W). What lies in the box around both is enlarged to the
    layout's size.
    """
    size, count = size_of(condition), condition.shape[1]
    labels = query.label[[one, other]].to(condition.device)
    alone = (masks & ~masks.flip(0)).to(condition)
    shown = torch.einsum("shw,sk->khw", alone, F.one_hot(labels, count).to(condition))
    places = [query.pixels(number, size) for number in (one, other)]
    around = [
        slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(*places, strict=True)
    ]
    return F.interpolate(drawn(shown[None])[:, :, around[0], around[1]], size, mode="nearest")
