"""What a mask picture means: class numbers, or the colours of classes.

A file may say both, and tools disagree on which counts. Here it is decided once, on the whole
picture, and what was decided is said.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
from PIL import Image

from ..notes import Note
from ..picture_files import DEEP
from .label_files import native, notes_of_entries, notes_of_file

MANY = 1 << 16
"""Colours above which a picture is no label map, but a photo or a mask that JPEG has changed."""

ALIKE = 12.0
"""Distance in RGB within which the colour of a palette is meant for a class's: tools round."""

NEAR = 32.0
"""Distance in RGB within which `snap_colors` takes a colour for a class's: JPEG moves those of flat
areas by a few steps, quantising to the 216 colours of the web by up to 25 in each channel."""

OPAQUE = 128
"""Alpha from which a pixel is visible."""

CHUNK = 1 << 20
"""Pixels that are looked at a time; all of a large map at once would take gigabytes."""

ADVICE = "Save it as an index map in mode L to be sure."


@dataclasses.dataclass(frozen=True, eq=False)
class ClassCode:
    """How classes are written in pictures.

    names: of the K classes. palette (K, 3) uint8: their colours, or (0, 3) if they have none.
    values: the class of a pixel value, where the two differ. unknown: of transparent pixels. snap:
    whether near colours count.
    """

    names: Sequence[object]
    palette: np.ndarray
    values: Mapping[int, int] = dataclasses.field(default_factory=dict)
    unknown: int | None = None
    snap: bool = False

    def of_values(self, values: np.ndarray) -> np.ndarray:
        """The class of each pixel value (N,); -1 for a value of none."""
        named = np.array([self.values.get(int(value), int(value)) for value in values], np.int64)
        named[(named < 0) | (named >= len(self.names))] = -1
        return named

    def of_colors(self, colors: np.ndarray, reach: float = 0.0) -> np.ndarray:
        """The class of each colour (N, 3) whose own is not further than `reach`; -1 for none."""
        found = np.full(len(colors), -1, np.int64)
        for start in range(0, len(colors), 4096):  # a photo's would need gigabytes at once
            part = colors[start : start + 4096].astype(np.int64)
            if not len(self.palette) or not len(part):
                break
            distance = ((part[:, None] - self.palette[None].astype(np.int64)) ** 2).sum(-1)
            nearest = distance.argmin(1)
            close = distance[np.arange(len(part)), nearest] <= reach**2
            found[start : start + 4096] = np.where(close, nearest, -1)
        return found


@dataclasses.dataclass(frozen=True, eq=False)
class Meaning:
    """A mask picture that means one thing: class numbers (L or I) or class colours (RGB or RGBA).

    notes: what was taken where the file may mean two things.
    """

    picture: Image.Image
    notes: tuple[Note, ...] = ()

    @property
    def is_colored(self) -> bool:
        """Whether its colours count."""
        return self.picture.mode in ("RGB", "RGBA")


def meaning_of(image: Image.Image, code: ClassCode) -> Meaning:
    """Decide whether the numbers or the colours of a mask picture are its classes.

    Raises ValueError for a picture whose palette contradicts itself, that is invisible, or whose
    mode holds neither.
    """
    found = _meaning_of(native(image), code)
    by_greys = image.mode == "L" and found.picture is not image
    of_file = notes_of_file(image.info, found.is_colored or by_greys)
    return dataclasses.replace(found, notes=(*found.notes, *of_file))


def _meaning_of(image: Image.Image, code: ClassCode) -> Meaning:
    if image.mode in ("1", "L", "I") or image.mode.startswith("I;16"):
        return _of_plane(image, code)
    if image.mode == "F":
        for _, part in chunks(image):
            values = np.asarray(part)
            if (strange := values[(values != np.rint(values)) | ~(np.abs(values) < 1 << 31)]).size:
                raise ValueError(
                    "A mask picture of fractions (mode F) must hold whole class numbers, got "
                    f"values such as {strange[:1]}; round it, or pass scores of the classes as an "
                    "array (K, H, W)."
                )
        return _of_plane(_whole(image), code)
    if image.mode == "P" or (image.mode == "PA" and _is_opaque(image)):
        return _of_palette(image, code)
    if image.mode in ("LA", "PA", "RGB", "RGBA"):
        return _of_channels(image, code)
    raise ValueError(
        "A mask picture must be an index map (mode 1, L, LA, P, I, I;16 or F) or colours (RGB or "
        f"RGBA), got mode {image.mode}; convert it first."
    )


def index_map(image: Image.Image, code: ClassCode) -> tuple[Image.Image, tuple[Note, ...]]:
    """One plane of class numbers of a picture that has no class colours; as it is if it has none.

    A palette is for showing only. Returns what was taken where that was not clear, too.
    """
    notes = notes_of_file(image.info, is_colored=False)
    if image.mode in ("P", "1"):
        return Image.fromarray(np.asarray(image, np.uint8)), notes
    if image.mode not in ("LA", "PA", "RGB", "RGBA"):
        return native(image), notes
    found = _of_channels(image, dataclasses.replace(code, palette=np.empty((0, 3), np.uint8)))
    return (image, ()) if found.is_colored else (found.picture, (*found.notes, *notes))


def color_codes(rgb: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 -> (...) uint32, 0xrrggbb."""
    codes = rgb[..., 0].astype(np.uint32) << 8
    codes |= rgb[..., 1]
    codes <<= 8
    codes |= rgb[..., 2]
    return codes


def chunk_rows(width: int) -> int:
    """How many rows of this width make a chunk."""
    return max(1, CHUNK // max(1, width))


def chunks(image: Image.Image, beyond: int = 0) -> Iterator[tuple[int, Image.Image]]:
    """A picture in pieces of whole rows, from top to bottom, and the row that each begins at.

    beyond: rows of the neighbours that each piece has at its top and bottom as well.
    """
    rows = chunk_rows(image.width)
    for top in range(0, image.height, rows):
        first, last = max(0, top - beyond), min(image.height, top + rows + beyond)
        yield top, image.crop((0, first, image.width, last))


def _whole(image: Image.Image) -> Image.Image:
    """One plane of whole numbers of any type as mode L where they fit, else as mode I."""
    low, high = cast("tuple[float, float]", image.getextrema())  # of one plane
    mode, kind = ("L", np.uint8) if low >= 0 and high < 256 else ("I", np.int32)
    plane = Image.new(mode, image.size)
    for top, part in chunks(image):
        plane.paste(Image.fromarray(np.asarray(part).astype(kind)), (0, top))
    return plane


def _colors_in(image: Image.Image) -> np.ndarray | None:
    """The colours (N, 4) of a picture, with transparency; None for more than `MANY`."""
    if image.mode == "RGBA" or (image.mode == "RGB" and not image.has_transparency_data):
        found: set[Any] = {color for _, color in image.getcolors(MANY) or []}
    else:
        found = set()
        for _, part in chunks(image):
            found.update(color for _, color in part.convert("RGBA").getcolors(MANY) or [])
            if not found or len(found) > MANY:
                return None
    colors = np.array(sorted(found), np.uint8)
    if not len(colors):
        return None
    return colors if colors.shape[1] == 4 else np.insert(colors, 3, 255, axis=1)


def _as_color(image: Image.Image) -> Image.Image:
    """A picture in colours, with transparency if it has any; not copied where it need not be."""
    if image.mode == "RGBA" or (image.mode == "RGB" and not image.has_transparency_data):
        return image
    return image.convert("RGBA")


def hexadecimal(code: int) -> str:
    """0xrrggbb as #rrggbb."""
    return f"#{code:06x}"


def _of_plane(image: Image.Image, code: ClassCode) -> Meaning:
    """Numbers; greys of class colours where they can be nothing else."""
    if image.mode == "1":
        return _of_bits(Image.fromarray(np.asarray(image, np.uint8)), code)
    if image.mode == "L":
        values = np.array([value for _, value in image.getcolors(256) or []])
        greys = np.repeat(values[:, None], 3, 1)
        if (code.of_values(values) < 0).any() and (code.of_colors(greys) >= 0).all():
            return Meaning(
                _numbered_by(image, values, code.of_colors(greys), code) or image.convert("RGBA")
            )
    elif image.mode != "I":
        image = _whole(image)
    return Meaning(image)


def _of_bits(plane: Image.Image, code: ClassCode) -> Meaning:
    """0 and 1; black and white where both are class colours under other numbers."""
    bits = np.array([0, 1])
    shown = code.of_colors(np.repeat(255 * bits[:, None], 3, 1))
    if (shown < 0).any() or (shown == code.of_values(bits)).all():
        return Meaning(plane)
    picture = _numbered_by(plane, bits, shown, code)
    if picture is None:
        picture = plane.point([0] + [255] * 255).convert("RGB")
    text = (
        "The mask has one bit for each pixel, and black and white are the colours of classes under "
        f"other numbers than 0 and 1; the colours were read. {ADVICE}"
    )
    return Meaning(picture, (Note("bits", text),))


def _of_palette(image: Image.Image, code: ClassCode) -> Meaning:
    """The palette speaks if its colours are classes'; else the indices do.

    Only entries that occur count. One colour for all of them, or black, is no palette.
    """
    plane = image.getchannel("P") if image.mode == "PA" else Image.fromarray(np.asarray(image))
    numbers = Meaning(plane)
    used = np.array([value for _, value in plane.getcolors(256) or []])
    rgba = _palette_colors(image)[used]
    visible = rgba[:, 3] >= OPAQUE
    colors, named = rgba[visible, :3], code.of_values(used[visible])
    codes = color_codes(colors)
    if not codes.any() or (len(codes) > 1 and len(set(codes.tolist())) == 1):
        return numbers
    exact, shown = code.of_colors(colors), code.of_colors(colors, ALIKE)
    shown[(colors.max(1) <= ALIKE) & (exact < 0)] = -1  # near black, as the first of many palettes
    if (shown >= 0).all():
        if (shown == named).all():
            return numbers
        classes = np.full(len(used), -1 if code.unknown is None else code.unknown)
        classes[visible] = exact
        picture = _numbered_by(plane, used, classes, code) or image.convert("RGBA")
        if not (named >= 0).all():
            return Meaning(picture, _one_class(classes, visible, code))
        text = (
            "The mask's palette has the colours of classes in another order than its numbers; the "
            f"colours were read. {ADVICE}"
        )
        return Meaning(picture, (Note("palette", text), *_one_class(classes, visible, code)))
    contrary = (exact >= 0) & (exact != named) & (codes != 0)
    if (shown >= 0).sum() * 2 >= len(shown):
        contrary |= (shown >= 0) & (shown != named) & (codes != 0)
    if contrary.any():
        raise ValueError(_contradiction(used[visible], codes, shown, contrary, code))
    greys = colors[:, 0]
    if (colors == colors[:, :1]).all() and len(set(greys.tolist())) == len(greys):
        meant = code.of_values(greys)
        if (meant >= 0).all() and (named >= 0).all() and (meant != named).any():
            raise ValueError(
                f"The mask's palette holds greys that are class numbers, {greys[:5].tolist()}..., "
                f"in another order than the entries {used[visible][:5].tolist()}... that have "
                "them. If the greys are the classes, save picture.convert('L'); if the entries "
                "are, pass np.asarray(picture)."
            )
    if ((exact >= 0) & (exact != named)).any():
        text = (
            "Black in the mask's palette is the colour of a class, but its other colours are "
            f"none's; the numbers of the palette's entries were read. {ADVICE}"
        )
        return Meaning(plane, (Note("black", text),))
    if not visible.all() and code.unknown is not None:
        hidden = code.of_values(used[~visible])
        if (hidden != code.unknown).any():
            text = "The mask has transparent pixels whose numbers are classes; these were read."
            return Meaning(plane, (Note("transparent", f"{text} {ADVICE}"),))
    near = code.of_colors(colors, NEAR)
    return Meaning(plane, notes_of_entries(image.info, near, named, len(code.names)))


def _numbered_by(
    plane: Image.Image, used: np.ndarray, classes: np.ndarray, code: ClassCode
) -> Image.Image | None:
    """A plane (mode L) with the class numbers that its own ones stand for, without colours between.

    used, classes (N,): its own numbers, and the class of each. None where one has no class, or that
    no number below 256: then the colours themselves say what is wrong, in four times the memory.
    """
    meant = code.of_values(np.arange(256))
    numbers = {int(meant[value]): value for value in reversed(range(256)) if meant[value] >= 0}
    if any(int(index) not in numbers for index in classes):
        return None
    table = dict(zip(used.tolist(), classes.tolist(), strict=True))
    return plane.point([numbers[table[value]] if value in table else 0 for value in range(256)])


def _contradiction(
    used: np.ndarray, codes: np.ndarray, shown: np.ndarray, contrary: np.ndarray, code: ClassCode
) -> str:
    said = ", ".join(
        f"{used[i]} is {hexadecimal(codes[i])} of class {shown[i]} ({code.names[shown[i]]})"
        for i in np.flatnonzero(contrary)[:3]
    )
    strange = ", ".join(hexadecimal(value) for value in codes[shown < 0][:5])
    return (
        f"The mask's palette and its numbers contradict each other: entry {said}; {strange} is of "
        "no class. If the colours are right, give every entry the colour of its class; if the "
        "numbers are, save the picture in mode L or pass np.asarray(picture)."
    )


def _palette_colors(image: Image.Image) -> np.ndarray:
    """(256, 4) uint8: the colour of each entry; of those that are not there, opaque black."""
    strip = Image.frombytes("P", (256, 1), bytes(range(256)))
    mode = image.palette.mode if image.palette is not None else "RGB"
    strip.putpalette(image.getpalette(mode) or [], mode)
    clear = image.info.get("transparency")
    if isinstance(clear, bytes) or (isinstance(clear, int) and 0 <= clear < 256):
        strip.info["transparency"] = clear
    return np.asarray(strip.convert("RGBA"))[0]


def _of_channels(image: Image.Image, code: ClassCode) -> Meaning:
    """Colours if they are classes'; else the one channel that holds class numbers, or all alike."""
    colors = _colors_in(image)
    if colors is None:
        return Meaning(_as_color(image))
    alpha, visible = colors[:, 3], colors[:, 3] >= OPAQUE
    flat = (colors[:, :3] == colors[:1, :3]).all()
    if flat and _are_numbers(alpha, code) and alpha.max() < 255:
        return Meaning(_as_color(image).getchannel("A"), (_note("alpha channel", alpha),))
    if not visible.any():
        if flat:
            return Meaning(_as_color(image))
        raise ValueError(
            "Every pixel of the mask is transparent, though there are colours beneath; save it "
            "without transparency (RGB), or as an index map in mode L."
        )
    if image.mode == "LA":
        notes = _one_class(code.of_values(colors[:, 0]), visible, code)
        return dataclasses.replace(_of_grey(image, bool(visible.all()), code), notes=notes)
    exact = code.of_colors(colors[:, :3])
    name, numbers = _numbered(colors[:, :3])
    if (exact[visible] >= 0).all() and not (image.info.get(DEEP) and not colors[:, :3].any()):
        meant = code.of_values(numbers)
        other = name is not None and (meant >= 0).all() and (meant != exact)[visible].any()
        notes = (_as_colors(name),) if other else _one_class(exact, visible, code)
        return Meaning(_as_color(image), notes)
    if image.info.get(DEEP):
        raise ValueError(
            "The mask has 16 bits in each of several channels, of which only the upper 8 can be "
            "read; save class numbers in one channel (mode L or I;16), or class colours in 8 bits."
        )
    if name is None or not visible.all() or not _are_numbers(numbers, code):
        return Meaning(_as_color(image))
    snapped = code.of_colors(colors[:, :3], NEAR) if code.snap else exact
    meant = code.of_values(numbers)
    if code.snap and (snapped >= 0).all() and ((exact >= 0) & (exact != meant)).any():
        raise ValueError(
            "The mask may be an index map (its channels hold class numbers) or near the colours "
            f"of classes. {ADVICE} For the colours, repaint it in exactly those of the classes."
        )
    channel = "R" if name == "equal channels" else name[0].upper()
    return Meaning(_as_color(image).getchannel(channel), (_note(name, numbers),))


def _of_grey(image: Image.Image, is_opaque: bool, code: ClassCode) -> Meaning:
    """Grey with transparency: numbers, and the class `unknown` where nothing is visible."""
    grey = image.getchannel("L")
    if is_opaque:
        return _of_plane(grey, code)
    alpha = image.getchannel("A")
    choices = [*range(len(code.names)), *code.values]
    own = [value for value in choices if code.values.get(value, value) == code.unknown]
    if code.unknown is None or not own:
        hidden = sum(alpha.histogram()[:OPAQUE])
        raise ValueError(
            f"The mask has {hidden} transparent pixels, but the condition has no `unknown` class "
            "for them; paint them or declare one."
        )
    if not 0 <= own[0] < 256:
        grey = grey.convert("I")
    grey.paste(own[0], mask=alpha.point([255] * OPAQUE + [0] * (256 - OPAQUE)))
    return Meaning(grey)


def _are_numbers(values: np.ndarray, code: ClassCode) -> bool:
    """Whether the values of a channel are classes, and no plain black and white."""
    return not np.isin(values, (0, 255)).all() and bool((code.of_values(values) >= 0).all())


def _numbered(colors: np.ndarray) -> tuple[str | None, np.ndarray]:
    """The channel (its name, its values) of colours (N, 3) beside which the others are 0 or equal.

    (None, ...) where colours differ in more.
    """
    if (colors == colors[:, :1]).all():
        return "equal channels", colors[:, 0]
    for channel, name in enumerate(("red channel", "green channel", "blue channel")):
        others = np.delete(colors, channel, axis=1)
        if not others.any():
            return name, colors[:, channel]
    return None, colors[:, 0]


def _note(channel: str, values: np.ndarray) -> Note:
    verb = "hold" if channel.endswith("s") else "holds"
    return Note(
        "channel",
        f"The mask is not in class colours; its {channel} {verb} class numbers from {values.min()} "
        f"to {values.max()}, which were read. {ADVICE}",
    )


def _as_colors(channel: str | None) -> Note:
    return Note(
        "colours",
        f"The mask is in class colours, whose {channel} could be class numbers as well; the "
        f"colours were read. {ADVICE}",
    )


def _one_class(classes: np.ndarray, visible: np.ndarray, code: ClassCode) -> tuple[Note, ...]:
    """Said where what is visible has the class that what is not visible counts as."""
    if code.unknown is None or visible.all() or (classes[visible] != code.unknown).any():
        return ()
    text = (
        f"What is visible in the mask is of class {code.unknown} ({code.names[code.unknown]}), "
        "which is that of transparent pixels too, so that it is everywhere. If transparency is "
        "what you drew with, save picture.getchannel('A') as an index map in mode L."
    )
    return (Note("transparent", text),)


def _is_opaque(image: Image.Image) -> bool:
    low, _ = image.getchannel("A").getextrema()
    return isinstance(low, (int, float)) and low >= OPAQUE
