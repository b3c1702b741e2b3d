"""Every row of a data set read once, before time is spent on it: what is there, what is wrong."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..conditions import Condition
from ..conditions.faces import OFFICIAL_FACE_CLASSES
from ..picture_files import LOSSY_HEAD
from ..pictures import grid, to_image
from .composing import class_numbers, compose, cut, unpacked
from .geometry import Geometry
from .reading import BrokenExample, Example, Reader
from .settings import DataSettings
from .sources import iterate, open_source

logger = logging.getLogger(__name__)

SHOWN = 16
"""Composed examples on the sheet."""

NAMED = 10
"""Broken files that the text names of each kind; `DataReport.broken` holds all."""

FEW_COLORS = 24
"""Colours up to which a photo of many pixels looks like a label map."""

LARGE_PARTS = ("hair", "skin")
SMALL_PARTS = frozenset(OFFICIAL_FACE_CLASSES) & {
    *("l_brow", "r_brow", "l_eye", "r_eye", "l_ear", "r_ear", "nose", "u_lip", "mouth", "l_lip"),
    *("glasses", "ear_r", "neck_l"),
}
"""Of a face: what always covers more than any of the others, on average over many pictures."""


@dataclasses.dataclass(frozen=True)
class DataReport:
    """What a data set holds.

    rows: read. labels: for each class its share of all pixels (0..1) and the number of its
    pictures; empty where there are no labels. sizes: photos by (width, height). broken: names of
    rows that cannot be used, each with the reason. warnings: sentences about what can be used, and
    probably should not be. sheet: where the composed examples are shown.
    """

    rows: int
    labels: Mapping[str, tuple[float, int]]
    sizes: Mapping[tuple[int, int], int]
    broken: Sequence[tuple[str, str]]
    warnings: Sequence[str]
    sheet: Path | None = None

    @property
    def is_usable(self) -> bool:
        """Whether there is a row that can be used."""
        return self.rows > len(self.broken)

    def __str__(self) -> str:
        """Lines for a terminal."""
        lines: list[str] = []
        if self.labels:
            lines.append("classes, by their share of all pixels and the pictures they are in:")
            longest = max(map(len, self.labels))
            lines += [
                f"  {number:>3} {name:<{longest}} {100 * share:6.2f} %  {pictures}"
                for number, (name, (share, pictures)) in enumerate(self.labels.items())
            ]
        return self._text(lines)

    @property
    def brief(self) -> str:
        """The same with the classes in one line."""
        shares = {name: share for name, (share, pictures) in self.labels.items() if pictures}
        most = ", ".join(f"{name} {share:.0%}" for name, share in Counter(shares).most_common(5))
        classes = f"{len(shares)} of {len(self.labels)} classes are in them, most of all {most}"
        return self._text([classes] if shares else [])

    def _text(self, classes: Sequence[str]) -> str:
        sides = Counter(self.sizes).most_common(3)
        common = ", ".join(f"{width} x {height} ({count})" for (width, height), count in sides)
        lines = [f"{self.rows} rows read, {len(self.broken)} cannot be used; photos: {common}"]
        lines += [*classes, *_grouped(self.broken)]
        lines += [f"careful: {warning}" for warning in self.warnings]
        if self.sheet is not None:
            lines.append(f"composed examples to look at: {self.sheet}")
        return "\n".join(lines)


def check_data(
    settings: DataSettings,
    condition: Condition,
    sheet: Path | None = None,
    seed: int = 0,
    limit: int | None = None,
) -> DataReport:
    """Read each row of `settings.source` once, as training would, and say what is there.

    sheet: PNG to write `SHOWN` composed examples to: photo, condition, condition over the photo and
    a self exemplar. limit: rows at most, evenly spread (of a stream the first); None for all, of
    drawn pictures 64. Raises what `open_source` raises; broken rows are reported, not raised.
    """
    rows = open_source(settings, condition, seed)
    if settings.source == "synthetic" and limit is None:
        limit = 64
    reader = Reader(settings, condition)
    # Of the trainer's settings those of the rows alone: others would miss their exemplar list.
    own = {field.name: getattr(settings, field.name) for field in dataclasses.fields(DataSettings)}
    chosen_here = {"augment": False, "retrieve": False, "exemplar_list": None, "same_look": False}
    plain = DataSettings(**own | chosen_here)
    count = _Count(settings, condition)
    shown: list[Example] = []
    chosen, total = _chosen(rows, settings, limit)
    every = max(1, total // SHOWN)
    for number, (position, row) in enumerate(chosen):
        count.rows += 1
        try:
            example = reader.read(row, position)
            labels = _labels(example, condition, plain)
            if settings.exemplar_column is not None:
                reader.read_exemplar(row, position)
        except BrokenExample as error:
            count.broken.append((reader.name(row, position), str(error)))
            continue
        count.add(row, example, labels)
        if number % every == 0 and len(shown) < SHOWN:
            shown.append(example)
    if sheet is not None and shown:
        sheet.parent.mkdir(parents=True, exist_ok=True)
        _sheet(shown, condition, settings, seed).save(sheet)
    return count.report(sheet if shown else None)


def _chosen(
    rows: Any, settings: DataSettings, limit: int | None
) -> tuple[Iterable[tuple[int, Mapping[str, Any]]], int]:
    """The rows to read with their positions, and about how many there are."""
    if settings.streaming:
        taken = rows if limit is None else itertools.islice(rows, limit)
        return enumerate(taken), limit or SHOWN
    if limit is None or limit >= len(rows):
        return enumerate(iterate(rows)), len(rows)
    indices = np.unique(np.linspace(0, len(rows) - 1, limit).round().astype(int)).tolist()
    return ((index, rows[index]) for index in indices), len(indices)


def _labels(example: Example, condition: Condition, settings: DataSettings) -> np.ndarray | None:
    """The classes (H, W) of the whole example; None where it has none.

    Raises BrokenExample for what training could not use.
    """
    if condition.labelled and example.condition is not None:
        try:
            return condition.pack(example.condition, *example.condition.size).numpy()
        except ValueError as error:
            raise BrokenExample(
                f"The condition of '{example.name}' cannot be used: {error}"
            ) from error
    # Nothing is drawn at random without augmentation.
    middle = Geometry.draw(example.image.size, settings, np.random.default_rng(0))
    cut(example, middle, condition, settings)
    if example.labels is None:
        return None
    return class_numbers(example.labels, example.name, settings).numpy()


class _Count:
    """What has been found so far."""

    def __init__(self, settings: DataSettings, condition: Condition) -> None:
        self.settings, self.condition = settings, condition
        self.rows = 0
        self.broken: list[tuple[str, str]] = []
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.pixels: Counter[int] = Counter()
        self.pictures: Counter[int] = Counter()
        self.lossy: list[str] = []
        self.maps: list[str] = []

    def add(self, row: Mapping[str, Any], example: Example, labels: np.ndarray | None) -> None:
        """A row that can be used. labels (H, W): the classes of its whole picture."""
        self.sizes[example.image.size] += 1
        if labels is not None:
            found, counts = np.unique(labels, return_counts=True)
            self.pixels.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
            self.pictures.update(found.tolist())
        column = self.settings.condition_column
        if not self.condition.labelled:
            column = self.settings.labels_column
        if column is not None and _is_lossy(row[column]):
            self.lossy.append(example.name)
        if _looks_like_labels(example.image):
            self.maps.append(example.name)

    @property
    def names(self) -> Sequence[str]:
        """Of the classes; numbers where they have no names."""
        if self.condition.labelled:
            return self.condition.label_names
        return [f"label {number}" for number in range(self.settings.label_classes or 0)]

    def report(self, sheet: Path | None) -> DataReport:
        """All of it."""
        total = sum(self.pixels.values())
        labels = {
            name: (self.pixels[number] / total, self.pictures[number])
            for number, name in enumerate(self.names)
            if total
        }
        warnings = []
        if self.lossy:
            warnings.append(
                f"{len(self.lossy)} label maps are JPEG or lossy WebP, such as that of "
                f"'{self.lossy[0]}': class numbers change along every edge. Export them again as "
                "PNG; a lossy file cannot be repaired by converting it."
            )
        if 0 < len(self.maps) < self.rows:
            warnings.append(
                f"{len(self.maps)} of {self.rows} photos look like label maps, such as "
                f"'{self.maps[0]}': a folder that mixes both is learned as photos. Name the folder "
                "of the photos alone, or let metadata.jsonl say what is what."
            )
        warnings += contradicted_order(labels)
        unseen = [name for name, (_, pictures) in labels.items() if not pictures]
        if unseen:
            warnings.append(
                f"{len(unseen)} of {len(labels)} classes are in no picture that was read: "
                f"{', '.join(unseen[:8])}{', ...' if len(unseen) > 8 else ''}."
            )
        return DataReport(self.rows, labels, self.sizes, self.broken, warnings, sheet)


def contradicted_order(labels: Mapping[str, tuple[float, int]]) -> list[str]:
    """What of faces cannot be, if the numbers of their label maps have these names.

    labels: as in `DataReport`. CelebAMask-HQ's parts are merged in two orders, whose files look
    alike: in the other one the nose is called hair, and the necklace is the neck.
    """
    if not SMALL_PARTS <= labels.keys() or not set(LARGE_PARTS) <= labels.keys():
        return []
    least = min(labels[name][0] for name in LARGE_PARTS)
    wrong = [name for name in sorted(SMALL_PARTS) if labels[name][0] > least]
    if not wrong:
        return []
    return [
        f"the order of the classes contradicts their names: {', '.join(wrong[:3])} cover more than "
        "hair or skin does. The label maps are probably merged in CelebAMask-HQ's own order, in "
        "which 2 is the nose and 13 the hair: write networks.condition with the values of "
        "MaskCondition.celebahq('celebamask').to_config(), or merge the part files by "
        "python -m cocosnet_hf.prepare."
    ]


def _is_lossy(value: Any) -> bool:
    """Whether a stored picture is a JPEG or lossy WebP file."""
    if not isinstance(value, Mapping):
        return False
    head = (value.get("bytes") or b"")[:16]
    if not head and value.get("path"):
        with open(value["path"], "rb") as file:
            head = file.read(16)
    return LOSSY_HEAD.match(head) is not None


def _looks_like_labels(photo: Image.Image) -> bool:
    """Whether a photo has so few colours as no photo has."""
    if photo.width * photo.height < 64 * FEW_COLORS:
        return False
    return photo.convert("RGB").getcolors(FEW_COLORS) is not None


def _sheet(
    examples: Sequence[Example], condition: Condition, settings: DataSettings, seed: int
) -> Image.Image:
    """Composed examples, two in a row: photo, condition, both on each other, exemplar."""
    pictures = []
    for number, example in enumerate(examples):
        rng = np.random.default_rng([seed, number])
        try:
            made = compose(example, None, condition, settings, rng)
        except BrokenExample as error:  # such as a crop without anybody in it
            logger.warning("Not on the sheet: %s", error)
            continue
        photo = to_image(made["image"])
        shown = condition.preview(unpacked(made, condition)["condition"]).resize(photo.size)
        pictures.append([photo, shown, Image.blend(photo, shown, 0.5), to_image(made["exemplar"])])
    half = (len(pictures) + 1) // 2
    left, right = pictures[:half], pictures[half:]
    right += [[] for _ in range(half - len(right))]
    return grid([one + other for one, other in zip(left, right, strict=True)])


def _grouped(broken: Sequence[tuple[str, str]]) -> list[str]:
    """Lines on the rows that cannot be used: those of one reason together."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for name, reason in broken:
        kind = re.sub(r"\d+", "#", reason.replace(name, ""))
        kinds.setdefault(kind, []).append((name, reason))
    lines = []
    for group in kinds.values():
        lines.append(f"cannot be used ({len(group)}): {group[0][1]}")
        lines += [f"    also {name}" for name, _ in group[1:NAMED]]
        if len(group) > NAMED:
            lines.append(f"    and {len(group) - NAMED} more")
    return lines
