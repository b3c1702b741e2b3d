"""How the edges of a face are guided: each part lies on its like, hair on hair, ground on ground.

The parts of both faces are read by the network of `face_reader`. Between the points that they have
in common the flow is a thin plate spline (Bookstein 1989), held to what each region may look at.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import cv2
import numpy as np
import torch
from scipy.interpolate import RBFInterpolator
from torch import Tensor

from ..face_reader import likeliest, read_face_shares
from ..propagation import Guide
from .base import Landmarks
from .faces import CELEBAMASK_FACE_CLASSES
from .reflection import core_of, held_to_regions
from .regions import LEAST, at_size, kept, labels_of, surely

EYES, BROWS = ("l_eye", "r_eye"), ("l_brow", "r_brow")
LIPS = ("mouth", "u_lip", "l_lip")
FACE = ("skin", "nose", "glasses", *EYES, *BROWS, *LIPS)
EARS = ("l_ear", "r_ear", "ear_r")

REGIONS = (
    ("background",),
    ("hair", "hat"),
    (*FACE, *EARS),
    ("neck", "neck_l"),
    ("cloth",),
)
"""What only looks at its like."""

LEAST_PART = 0.0003
"""Share of a picture below which a part is not seen."""

SURE = 0.75
"""Share above which a region is read without doubt: an exemplar's is only looked at there."""

LEAST_SPREAD = 0.02
"""Standard deviation, in shares of a picture, of a face's points in every direction: with less it
is a line or a dot, and says nothing of what lies beside it."""

PARTS_FIT, OUTLINE_FITS, HEAD_FITS = 0.3, 1.0, 4.0
"""How loosely the spline goes through points: of the parts, of the face's outline, which is less
surely the same place in both, and of the hair's."""

LOOSENESS = 2e-4
"""Smoothing of the spline where that is 1, in squared shares of a picture."""

FINE = 64
"""Places in a row for which the spline is computed; what lies between is interpolated."""

_TIP = 0.02
"""Share of a part that its ends are the middle of: single pixels are noise."""


def landmarks_of_portrait(seen: Tensor) -> Landmarks:
    """What guides of a picture as `face_reader` sees it; no point where no face is seen."""
    shares = read_face_shares(seen)
    parts = likeliest(shares)
    region_of = torch.from_numpy(_REGION_OF).long()
    of_regions = torch.zeros(len(REGIONS), *parts.shape).index_add_(0, region_of, shares)
    sure = of_regions.amax(0) > SURE
    points = torch.from_numpy(points_of(parts))
    return Landmarks(points, kept(_REGION_OF[parts]), is_read=True, sure=sure)


def points_of(parts: np.ndarray) -> np.ndarray:
    """Points of a face whose parts (h, w) are in the order of CelebAMask-HQ: (n, 2) float32.

    (x, y) in shares, always of the same places in the same order; NaN where one is not seen, and
    all where no face is.
    """
    height, width = parts.shape
    points = np.array([point for point, _ in _points(parts)])
    points[np.isnan(points).any(1)] = np.nan
    if not (_sees(parts, *EYES, "glasses") and _sees(parts, "nose") and _sees(parts, *LIPS)):
        points[:] = np.nan
    return ((points + 0.5) / (width, height)).astype(np.float32)


def portrait_guide(own: Landmarks, exemplar: Landmarks, exemplar_grid: tuple[int, int]) -> Guide:
    """Each region along the spline between the two faces; NaN where one of them shows none.

    Raises ValueError for landmarks without labels.
    """
    labels, seen = labels_of(own), labels_of(exemplar)
    ours, theirs = (each.points.double().cpu().numpy() for each in (own, exemplar))
    both = ~np.isnan(ours).any(1) & ~np.isnan(theirs).any(1)

    def cores(region: int) -> tuple[np.ndarray, np.ndarray]:
        if region not in exemplar.cores:
            there = seen == region
            there = surely(there, exemplar) if there.mean() >= LEAST else seen >= 0
            exemplar.cores[region] = (core_of(there),) * 2
        return exemplar.cores[region]

    @functools.lru_cache(maxsize=4)  # of a call: the grid's, the window's and the picture's
    def places(size: tuple[int, int]) -> Tensor:
        if not all(_is_spread(points[both]) for points in (ours, theirs)):
            return torch.full((*size, 2), torch.nan)
        flow = _spline(ours[both], theirs[both], _FITS[both], size)
        flow = flow * exemplar_grid[::-1] - 0.5
        regions = at_size(labels, size).astype(int)
        found = held_to_regions(flow[..., 0] + 1j * flow[..., 1], regions, cores, exemplar_grid)
        return torch.from_numpy(np.stack([found.real, found.imag], axis=-1)).float()

    return places


def _spline(
    ours: np.ndarray, theirs: np.ndarray, fits: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Where the middles of h x w boxes lie, (h, w, 2) in shares, by points (n, 2) in shares.

    In shares a tall picture bends as easily in both directions as a square one.
    """
    spline = RBFInterpolator(ours, theirs, smoothing=LOOSENESS * fits)
    rows, columns = (min(length, FINE) for length in size)
    y, x = np.mgrid[:rows, :columns]
    boxes = np.stack([(x + 0.5) / columns, (y + 0.5) / rows], axis=-1)
    moved = spline(boxes.reshape(-1, 2)).reshape(boxes.shape) - boxes
    # The way is enlarged, not the place, which would stand still along the border.
    y, x = np.mgrid[: size[0], : size[1]]
    places = np.stack([(x + 0.5) / size[1], (y + 0.5) / size[0]], axis=-1)
    return places + cv2.resize(moved, size[::-1], interpolation=cv2.INTER_CUBIC)


def _is_spread(points: np.ndarray) -> bool:
    """Whether points (n, 2) in shares lie in the plane, not on a line."""
    if len(points) < 3:
        return False
    narrowest = np.linalg.svd(points - points.mean(0), compute_uv=False)[-1]
    return bool(narrowest >= LEAST_SPREAD * len(points) ** 0.5)


def _points(parts: np.ndarray) -> Iterator[tuple[tuple[float, float], float]]:
    """Points (x, y) in pixels and how loosely they are fitted, NaN where a part is not seen."""
    lips, face = (_region(parts, *names) for names in (LIPS, FACE))
    head = _region(parts, *FACE, *EARS, "hair", "hat")
    for name in (*EYES, *BROWS):
        left, right, _, _, middle = _ends(_region(parts, name))
        fit = PARTS_FIT if name in EYES else OUTLINE_FITS
        yield from ((point, fit) for point in (left, right, middle))
    nose, mouth = _ends(_region(parts, "nose")), _ends(lips)
    yield from ((point, PARTS_FIT) for point in (*nose, *mouth))
    across = mouth[4][0]
    for name, end in (("u_lip", 1), ("l_lip", 0)):  # where the mouth opens
        yield (across, _between(_region(parts, name)[:, _at(across, parts)])[end]), PARTS_FIT
    _, _, hairline, chin, _ = _ends(face)
    yield chin, OUTLINE_FITS
    eyes = _ends(_region(parts, *EYES, "glasses"))[4]
    rows = (eyes[1], nose[4][1], mouth[4][1], (mouth[3][1] + chin[1]) / 2)
    last = parts.shape[1] - 1
    for region, fit, levels in (
        (face, OUTLINE_FITS, rows),
        (head, HEAD_FITS, (hairline[1], *rows, chin[1])),
    ):
        for y in levels:
            for x in _between(region[_at(y, parts.T)]):
                # An outline that leaves the picture ends anywhere.
                yield (x if 0 < x < last else np.nan, y), fit
    for x in (_ends(_region(parts, name))[4][0] for name in (EYES[0], "nose", EYES[1])):
        for region, fit in ((face, OUTLINE_FITS), (head, HEAD_FITS)):
            top = _between(region[:, _at(x, parts)])[0]
            yield (x, top if top > 0 else np.nan), fit


def _ends(region: np.ndarray) -> list[tuple[float, float]]:
    """(x, y) of a region's left, right, upper and lower end and of its middle; NaN of a speck."""
    y, x = np.nonzero(region)
    if len(x) < LEAST_PART * region.size:
        return [(np.nan, np.nan)] * 5
    ends = []
    for values in (x, -x, y, -y):
        end = values <= np.quantile(values, _TIP) + max(1, _TIP * np.ptp(values))
        ends.append((x[end].mean(), y[end].mean()))
    return [*ends, (x.mean(), y.mean())]


def _between(line: np.ndarray) -> tuple[float, float]:
    """The first and the last place of a line that are set; NaN where none is."""
    places = np.nonzero(line)[0]
    return (places[0], places[-1]) if len(places) else (np.nan, np.nan)


def _at(place: float, parts: np.ndarray) -> slice | int:
    """A column's index, or nothing of an unknown place."""
    return slice(0) if np.isnan(place) else int(np.clip(round(place), 0, parts.shape[1] - 1))


def _region(parts: np.ndarray, *names: str) -> np.ndarray:
    return np.isin(parts, [_NUMBER[name] for name in names])


def _sees(parts: np.ndarray, *names: str) -> bool:
    return bool(_region(parts, *names).mean() >= LEAST_PART)


_NUMBER = {name: number for number, name in enumerate(CELEBAMASK_FACE_CLASSES)}
_REGION_OF = np.array(
    [
        next(number for number, names in enumerate(REGIONS) if name in names)
        for name in CELEBAMASK_FACE_CLASSES
    ],
    np.int16,
)
_FITS = np.array([fit for _, fit in _points(np.zeros((4, 4), np.uint8))])
