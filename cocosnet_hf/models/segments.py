"""Segments: connected parts of label maps, a memory of those of photos, what is laid of them.

A segment is a connected part (by the four neighbours of a pixel) of one class in one label map. Of
each its box, its mask in its box and the labels around it are kept on a grid, so that segments of
any size compare. Qi et al. 2018 (SIMS), section 4.

Decided where the paper leaves it open: a label map has at most `MOST` segments, its largest parts,
as each is laid by itself and compared with every other. The specks that are left belong to what
surrounds them, and are no part of its class: a canvas is a hole there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from scipy import ndimage
from torch import Tensor

from ..whole_files import whole
from .network import size_of

GRID = 16
"""Cells on a side of the masks and surroundings that are compared."""
MOST = 100
"""Segments of a label map."""
READ = 32
"""Photos of a bank that are kept open, the latest."""

Read = Callable[[Any, Any], "tuple[Tensor, Tensor]"]
"""Makes of a photo and its label map, as they were named, (3, H, W) in [-1, 1] and (H, W)."""


class Segments(NamedTuple):
    """The segments of a batch of label maps, N in all, picture by picture.

    picture, label (N,): to which item and class each belongs. area (N,): its share of the picture.
    box (N, 4): top, left, bottom and right, as shares of the picture's sides. masks (N, G, G): the
    share of each cell of its box that it covers. contexts (N, G, G): labels in the box twice as
    large around it, -1 outside the picture.
    """

    picture: Tensor
    label: Tensor
    area: Tensor
    box: Tensor
    masks: Tensor
    contexts: Tensor

    def pixels(self, number: int, size: tuple[int, int]) -> tuple[slice, slice]:
        """Where the box of one lies in a picture (H, W)."""
        sides = torch.tensor([*size, *size], dtype=torch.float64)
        top, left, bottom, right = (self.box[number] * sides).round().long().tolist()
        return slice(top, max(bottom, top + 1)), slice(left, max(right, left + 1))


def components(labels: Tensor) -> Tensor:
    """The segment of each pixel: (B, H, W) labels -> (B, H, W) whole numbers from 0 on.

    They go on from one picture to the next, so that no two segments of the batch share one. Of a
    picture of more than `MOST` parts the largest count; each pixel of another is the nearest's of
    these.
    """
    return _numbered(labels)[0]


def _numbered(labels: Tensor) -> tuple[Tensor, list[int]]:
    """What `components` returns, and the class of each segment."""
    planes: list[np.ndarray] = []
    classes: list[int] = []
    for plane in labels.cpu().numpy():
        numbers, own = np.zeros(plane.shape, np.int64), list[int]()
        for label in np.unique(plane):
            found, parts = ndimage.label(plane == label)
            numbers[found > 0] = found[found > 0] - 1 + len(own)
            own += [int(label)] * parts
        if len(own) > MOST:
            numbers, kept = _largest(numbers)
            own = [own[number] for number in kept]
        planes.append(numbers + len(classes))
        classes += own
    return torch.from_numpy(np.stack(planes)), classes


def _largest(numbers: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """The numbers (H, W) of the `MOST` largest parts, counted anew, and which ones these are."""
    kept = np.sort(np.argsort(-np.bincount(numbers.ravel()), kind="stable")[:MOST])
    nearest = ndimage.distance_transform_edt(
        ~np.isin(numbers, kept), return_distances=False, return_indices=True
    )
    return np.searchsorted(kept, numbers[tuple(nearest)]), kept.tolist()


def segments_of(labels: Tensor) -> tuple[Segments, Tensor]:
    """The segments of label maps (B, H, W), on the CPU, and the number of each pixel's."""
    labels = labels.cpu()
    (numbers, classes), (height, width) = _numbered(labels), size_of(labels)
    rows = []
    for picture, plane in enumerate(numbers):
        boxes = enumerate(ndimage.find_objects(plane.numpy() + 1))
        for number, place in ((number, place) for number, place in boxes if place is not None):
            own = plane[place] == number
            top, left, bottom, right = (
                place[0].start,
                place[1].start,
                place[0].stop,
                place[1].stop,
            )
            rows.append(
                (
                    picture,
                    own.sum() / plane.numel(),
                    torch.tensor([top / height, left / width, bottom / height, right / width]),
                    F.interpolate(own[None, None].float(), (GRID, GRID), mode="area")[0, 0],
                    _around(labels[picture], (top, left, bottom, right)),
                )
            )
    pictures, areas, places, masks, contexts = zip(*rows, strict=True)
    return Segments(
        torch.tensor(pictures),
        torch.tensor(classes),
        torch.stack(areas),
        torch.stack(places).double(),
        torch.stack(masks),
        torch.stack(contexts),
    ), numbers


def _around(labels: Tensor, box: tuple[int, int, int, int]) -> Tensor:
    """The labels (G, G) at the cells of the box twice as large, -1 outside the picture."""
    steps = 2 * (torch.arange(GRID) + 0.5) / GRID - 0.5
    spans = ((box[0], box[2]), (box[1], box[3]))
    rows, columns = ((start + (end - start) * steps).floor().long() for start, end in spans)
    height, width = size_of(labels)
    seen = labels[rows.clamp(0, height - 1)][:, columns.clamp(0, width - 1)].long()
    inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
    return seen.where(inside, -1)


def overlap(mask: Tensor, masks: Tensor) -> Tensor:
    """Intersection over union of a mask (G, G) with each of masks (N, G, G), their boxes as one."""
    both = torch.minimum(mask, masks).sum(dim=(1, 2))
    return both / torch.maximum(mask, masks).sum(dim=(1, 2)).clamp(min=1e-6)


def large_ones(segments: Segments, picture: int, least: float) -> Tensor:
    """The segments of a picture whose share of it is above this, or its largest one."""
    own = (segments.picture == picture).nonzero()[:, 0]
    large = own[segments.area[own] > least]
    return large if len(large) else own[segments.area[own].argmax()][None]


def crossed(segments: Segments, one: int, other: int, size: tuple[int, int]) -> tuple[slice, slice]:
    """Where the boxes of two segments meet; empty where they do not."""
    places = zip(segments.pixels(one, size), segments.pixels(other, size), strict=True)
    rows, columns = (
        slice(max(a.start, b.start), max(a.start, b.start, min(a.stop, b.stop))) for a, b in places
    )
    return rows, columns


def meeting(segments: Segments, chosen: Tensor, numbers: Tensor) -> list[tuple[int, int, int]]:
    """Pairs of two classes whose boxes meet in a layout (H, W), and the one that has more there."""
    met = []
    for one, other in combinations(chosen.tolist(), 2):
        if segments.label[one] == segments.label[other]:
            continue
        shared = numbers[crossed(segments, one, other, size_of(numbers))]
        counts = (shared == one).sum(), (shared == other).sum()
        if counts[0] != counts[1]:
            met.append((one, other, one if counts[0] > counts[1] else other))
    return met


class Found(NamedTuple):
    """A segment of a bank. number: which; overlap: of its mask with the one it was found for."""

    number: int
    overlap: float


class SegmentBank:
    """Segments of photos whose label maps are known, and where their pixels are read.

    It holds what segments look like on a grid, and reads pixels at need: what `save` writes has
    names and no photograph. sources: what each photo and its label map are called, as `read` takes
    them.
    """

    def __init__(self, segments: Segments, sources: Sequence[tuple[Any, Any]], read: Read):
        self.segments, self.sources, self._read = segments, list(sources), read
        self._opened = lru_cache(READ)(self._open)

    @classmethod
    def of(cls, sources: Sequence[tuple[Any, Any]], read: Read) -> SegmentBank:
        """The bank of photos and their label maps. Raises ValueError for none."""
        if not sources:
            raise ValueError("a bank of segments needs at least one photo and its label map.")
        found = []
        for number, source in enumerate(sources):
            segments, _ = segments_of(read(*source)[1][None])
            found.append(segments._replace(picture=segments.picture + number))
        parts = (torch.cat(part) for part in zip(*found, strict=True))
        return cls(Segments(*parts), sources, read)

    @classmethod
    def held(cls, photos: Tensor, labels: Tensor) -> SegmentBank:
        """The bank of photos (n, 3, H, W) in [-1, 1] with labels (n, H, W), kept in memory."""
        numbered = [(number, number) for number in range(len(photos))]
        return cls.of(numbered, lambda photo, own: (photos[photo], labels[own]))

    def __len__(self) -> int:
        return len(self.segments.label)

    def nearest(self, query: Segments, without: int | None = None) -> list[Found | None]:
        """For each segment of a query the one of its class with the likest mask and surroundings.

        Likeness is the overlap of the masks plus the share of cells whose labels agree. without: a
        photo of the bank that is left out. None where nothing of the class is there.
        """
        found: list[Found | None] = []
        for label, mask, context in zip(query.label, query.masks, query.contexts, strict=True):
            usable = self.segments.label == label
            if without is not None:
                usable &= self.segments.picture != without
            rows = usable.nonzero()[:, 0]
            if not len(rows):
                found.append(None)
                continue
            overlaps = overlap(mask, self.segments.masks[rows])
            alike = (self.segments.contexts[rows] == context).float().mean(dim=(1, 2))
            best = int((overlaps + alike).argmax())
            found.append(Found(int(rows[best]), overlaps[best].item()))
        return found

    def cut(self, index: int) -> tuple[Tensor, Tensor]:
        """The pixels of a segment's box: colours (3, h, w) in [-1, 1], and where it is (h, w).

        Raises ValueError where the label map that is read has other segments than the bank knows.
        """
        picture = int(self.segments.picture[index])
        photo, numbers = self._opened(picture)
        first = int((self.segments.picture < picture).sum())
        place = self.segments.pixels(index, size_of(photo))
        return photo[..., place[0], place[1]], numbers[place] == index - first

    def _open(self, picture: int) -> tuple[Tensor, Tensor]:
        photo, labels = self._read(*self.sources[picture])
        (numbers,), classes = _numbered(labels[None])
        known = self.segments.label[self.segments.picture == picture].tolist()
        if classes != known:
            raise ValueError(
                f"the label map {self.sources[picture][1]} has {len(classes)} segments, and the "
                f"bank knows other {len(known)}: the file was changed, or the bank was saved when "
                f"segments were counted otherwise. Make the bank anew."
            )
        of_its_class = torch.tensor(classes)[numbers] == labels.cpu()
        return photo.cpu(), numbers.where(of_its_class, -1)

    def save(self, path: str | Path) -> None:
        """Write masks, surroundings and the names of the files, but no pixels, as safetensors.

        Raises ValueError for photos that are no files, whose pixels nobody would find again.
        """
        if not all(isinstance(name, (str, Path)) for pair in self.sources for name in pair):
            raise ValueError(
                "a bank is saved by the names of its files, as photographs are their owners': make "
                "it of paths."
            )
        names = {f"{n}": "\n".join(map(str, pair)) for n, pair in enumerate(self.sources)}
        with whole(Path(path)) as made:
            save_file(self.segments._asdict(), made, metadata=names)

    @classmethod
    def load(cls, path: str | Path, read: Read) -> SegmentBank:
        """The bank that `save` wrote, whose files are read at need."""
        with safe_open(path, framework="pt") as file:
            names = file.metadata()
            segments = Segments(*(file.get_tensor(name) for name in Segments._fields))
        pairs = [tuple(names[f"{number}"].split("\n")) for number in range(len(names))]
        return cls(segments, pairs, read)
