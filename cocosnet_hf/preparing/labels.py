"""What the label maps of a folder hold: which numbers or colours, and what they are called."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ..conditions import MaskCondition
from ..conditions.meaning import color_codes, hexadecimal
from ..picture_files import LOSSY_HEAD
from ..pictures import open_image
from .found import LayoutError

VOID = 255
"""The value that label maps of this field have where there is no label."""

MOST_CLASSES = 256
"""Colours above which a folder of colour maps holds no flat classes."""

SPARSE = 4
"""How many times more numbers than found ones a map may have before they are renumbered."""

NAME_FILES = re.compile(
    r"(class(es)?|labels?|categories|names|(class|label)[_-]?(names|list|dict|colou?rs?|map)|"
    r"id2label|objects)\.(txt|json|csv)",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True)
class Survey:
    """What is in some label maps.

    values: pixels of each class number; of colour maps of each colour, 0xrrggbb. colored: which.
    palette: the colour that palette pictures show each number in, if they agree. maps: read.
    """

    values: Mapping[int, int]
    colored: bool
    palette: Mapping[int, str]
    maps: int


def survey(paths: Sequence[Path], limit: int = 400) -> Survey:
    """Count what the label maps hold; of many, `limit` that are spread evenly.

    Raises LayoutError for files that have lost their classes (JPEG, photos), and for folders that
    mix numbers and colours.
    """
    if len(paths) > limit:
        indices = np.linspace(0, len(paths) - 1, limit).round().astype(int)
        paths = [paths[index] for index in indices]
    numbers: Counter[int] = Counter()
    colors: Counter[int] = Counter()
    palette: dict[int, str] = {}
    palettes_agree = True
    for path in paths:
        _refuse_lossy(path)
        try:
            image = open_image(path, f"label map '{path}'")
        except (ValueError, OSError) as error:
            raise LayoutError(f"{error} Repair or remove it.") from error
        if image.mode == "P":
            own = _palette_of(image)
            palettes_agree &= all(palette.setdefault(key, one) == one for key, one in own.items())
        if image.mode in ("1", "L", "P", "I") or image.mode.startswith("I;16"):
            found, counts = np.unique(np.asarray(image).astype(np.int64), return_counts=True)
            numbers.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
            continue
        found, counts = np.unique(color_codes(np.asarray(image.convert("RGB"))), return_counts=True)
        colors.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
        if len(colors) > MOST_CLASSES:
            raise LayoutError(
                f"'{path}' has brought the label maps to {len(colors)} colours: these are photos, "
                "or maps that were smoothed or compressed. Export them again as PNG without "
                "smoothing, or say by --labels which folder holds the label maps."
            )
    grey = {code: code & 255 for code in colors if code == 0x010101 * (code & 255)}
    if len(grey) == len(colors) and max(grey.values(), default=0) < VOID:
        numbers.update({grey[code]: count for code, count in colors.items()})
        colors.clear()  # copies of class numbers in three channels
    if numbers and colors:
        raise LayoutError(
            f"Some of the label maps in {paths[0].parent} hold class numbers and some colours: "
            "save all in one way."
        )
    shown = palette if palettes_agree and len(set(palette.values())) == len(palette) else {}
    return Survey(colors or numbers, bool(colors), shown, len(paths))


def mask_of(found: Survey, folder: Path) -> tuple[MaskCondition, tuple[str, ...]]:
    """The condition that reads such label maps, and what was taken for what.

    folder: where a file such as classes.txt may name the classes. Raises LayoutError for names
    that do not fit and for label maps of one class.
    """
    names, colors, source = names_in(folder)
    notes = [f"The names of the classes are those of {source}."] if source else []
    if found.colored:
        return _of_colors(found, names, colors, source), tuple(notes)
    values = sorted(found.values)
    if len(values) < 2:
        raise LayoutError(
            f"All {found.maps} label maps that were read hold the number {values[0]} alone: a mask "
            "needs two classes. Check that these are the label maps (--labels says which folder)."
        )
    if values == [0, VOID]:
        pair = (names[0], names[1]) if len(names) == 2 else ("background", "foreground")
        return MaskCondition(pair, values={VOID: 1}), ("0 is the ground, 255 what lies on it.",)
    known = [value for value in values if value != VOID or VOID < len(names)]
    has_void = VOID in values and VOID not in known
    count = max(known[-1] + 1, len(names))
    if names and known[-1] >= len(names):
        raise LayoutError(
            f"{source} names {len(names)} classes, and the label maps hold numbers up to "
            f"{known[-1]}: add the missing names, one a line in the order of the numbers."
        )
    mapping: dict[int, int] = {}
    if not names and count > SPARSE * len(known):
        mapping = {value: index for index, value in enumerate(known)}
        names = tuple(f"label_{value}" for value in known)
        count = len(known)
        notes.append(
            f"The numbers {known[:8]}... are far apart: classes count from 0 in their order."
        )
    names = names or tuple(f"class_{number}" for number in range(count))
    if has_void:
        mapping[VOID] = count
        names = (*names, "unlabeled" if "unlabeled" not in names else "void")
        notes.append(f"255, which has no label, becomes the class {count}, {names[-1]}.")
    if not colors and not mapping and set(range(len(names))) <= found.palette.keys():
        colors = tuple(found.palette[number] for number in range(len(names)))
        notes.append("The colours of the classes are those of the maps' palette.")
    mapping = {value: index for value, index in mapping.items() if value != index}
    return MaskCondition(names, colors if len(colors) == len(names) else (), values=mapping), tuple(
        notes
    )


def names_in(folder: Path) -> tuple[tuple[str, ...], tuple[str, ...], str | None]:
    """Names, colours ("#rrggbb", or none) and the file that names the classes of a folder.

    Raises LayoutError for a file that cannot be read as such.
    """
    paths = [path for path in sorted(folder.glob("*")) + sorted(folder.glob("*/*"))]
    path = next((path for path in paths if NAME_FILES.fullmatch(path.name)), None)
    if path is None:
        return (), (), None
    try:
        if path.suffix == ".json":
            entries = json.loads(path.read_text(encoding="utf-8-sig"))
            if isinstance(entries, dict):
                entries = [entries[key] for key in sorted(entries, key=int)]
            rows = [(str(entry), "") for entry in entries]
        elif path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8-sig") as file:
                rows = [_csv_row(row) for row in csv.reader(file) if row]
            rows = [row for row in rows if row[0].lower() not in ("name", "class", "label")]
        else:
            rows = [_line(line) for line in path.read_text(encoding="utf-8-sig").splitlines()]
            rows = [row for row in rows if row[0]]
    except (ValueError, TypeError, AttributeError) as error:
        raise LayoutError(
            f"'{path}' does not name classes ({error}): write one name a line, in the order of the "
            "numbers, or move it away."
        ) from error
    names = tuple(name for name, _ in rows)
    if len(set(names)) < len(names):
        repeated = next(name for name, count in Counter(names).items() if count > 1)
        raise LayoutError(f"'{path}' names the class '{repeated}' twice; names must differ.")
    colors = tuple(color for _, color in rows if color)
    return names, colors if len(set(colors)) == len(names) else (), str(path)


def _line(line: str) -> tuple[str, str]:
    """Name and colour of "sky", "3: sky", "3 sky" and "128 64 128 sky"."""
    if match := re.match(r"\s*(\d+)[\s,]+(\d+)[\s,]+(\d+)[\s,]+(\S.*)", line):
        red, green, blue = map(int, match.groups()[:3])
        return match[4].strip(), f"#{red:02x}{green:02x}{blue:02x}"
    return re.sub(r"^\s*\d+\s*[:,\s]\s*", "", line).strip(), ""


def _csv_row(row: Sequence[str]) -> tuple[str, str]:
    """Name and colour of "sky,70,130,180", or of "3,sky"."""
    cells = [cell.strip() for cell in row]
    if len(cells) >= 4 and all(cell.isdigit() for cell in cells[1:4]):
        red, green, blue = map(int, cells[1:4])
        return cells[0], f"#{red:02x}{green:02x}{blue:02x}"
    return (cells[1] if len(cells) > 1 and cells[0].isdigit() else cells[0]), ""


def _of_colors(
    found: Survey, names: tuple[str, ...], colors: tuple[str, ...], source: str | None
) -> MaskCondition:
    """Classes by colour: those of a file, else one for each that was found, the largest first."""
    held = [hexadecimal(code) for code, _ in sorted(found.values.items(), key=lambda one: -one[1])]
    if colors:
        if strange := [color for color in held if color not in colors]:
            raise LayoutError(
                f"The label maps hold the colours {', '.join(strange[:5])}, which {source} does "
                "not name: add them there."
            )
        return MaskCondition(names, colors)
    if len(held) < 2:
        raise LayoutError(
            f"All label maps have the one colour {held[0]}: a mask needs two classes."
        )
    if set(held) == {"#000000", "#ffffff"}:
        return MaskCondition(("background", "foreground"), ("#000000", "#ffffff"))
    return MaskCondition(tuple(f"color_{color[1:]}" for color in held), tuple(held))


def _palette_of(image: Image.Image) -> dict[int, str]:
    """The colours of the numbers that a palette picture uses."""
    entries = image.getpalette("RGB") or []
    used = np.unique(np.asarray(image)).tolist()
    rows = {number: entries[3 * number : 3 * number + 3] for number in used if number != VOID}
    return {
        number: "#{:02x}{:02x}{:02x}".format(*(row or (0, 0, 0))) for number, row in rows.items()
    }


def _refuse_lossy(path: Path) -> None:
    with path.open("rb") as file:
        if LOSSY_HEAD.match(file.read(16)):
            raise LayoutError(
                f"'{path}' is a label map in a lossy file (JPEG or WebP), which changes class "
                "numbers along every edge: export the label maps again as PNG. If these are "
                "photos, say by --labels which folder holds the label maps, or --condition edge."
            )
