"""Paint with an exported pipeline: numpy, Pillow and onnxruntime, nothing else.

    python paint.py layout.png exemplar.png -o out.png
    python paint.py inputs.npz -o out.png

layout.png: of a model of masks a label map, class numbers or the classes' colours; of edges a
drawing, dark lines on white or on nothing, or with --photo a photo. inputs.npz: what
`cocosnet_hf.export.graph_inputs` returned, which needs torch: the only way for poses, and the one
that a model wants that is guided; from layout.png it paints without guides, and moves the exemplar
less well. `model.json` beside this file says what the model is, its classes, and the terms of its
weights.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

LONGEST = 8
"""Longest side over shortest of a picture that is painted."""

OPAQUE = 128
"""Alpha from which a pixel is visible."""

NONE = -1
"""In place of a class."""

ENDS_AND_CORNERS = {
    **{3: 1, 6: 1, 10: 3, 11: 1, 12: 1, 14: 1, 24: 2, 26: 2, 40: 3, 48: 0, 56: 2, 96: 2, 104: 2},
    **{108: 2, 129: 0, 130: 3, 131: 1, 134: 1, 160: 3, 161: 1, 176: 2, 192: 2, 194: 1, 198: 1},
    224: 2,
}
"""Corners of stairs and ends of double lines, by their neighbours: see `thinned`."""

UNGUIDED = (
    "this model is guided, and paints without guides here: it moves the exemplar much less well. "
    "Give it inputs.npz with what cocosnet_hf.export.graph_inputs returns."
)


@dataclass(frozen=True)
class Prepared:
    """Exemplars that are ready to be painted from: (B, 3, H', W') in 0..1, (B, C, h', w')."""

    exemplar: np.ndarray
    style: np.ndarray


class Painter:
    """The two halves of an exported pipeline.

    folder: what `python -m cocosnet_hf.export` wrote. threads: of onnxruntime; 0: all cores.
    """

    def __init__(self, folder: str | Path, threads: int = 0):
        folder = Path(folder)
        self.settings = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._prepare, self._paint = (
            onnxruntime.InferenceSession(
                folder / f"{name}.onnx", options, providers=["CPUExecutionProvider"]
            )
            for name in ("prepare", "paint")
        )

    def size_for(self, size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) at which a picture of this (height, width) is painted or matched.

        The smallest that covers what the networks learned. Raises ValueError for a longer picture.
        """
        height, width = size
        if max(size) > LONGEST * min(size):
            raise ValueError(f"a picture of {height} x {width} pixels is too long; crop it.")
        learned, stride = self.settings["size"], self.settings["stride"]
        scale = max(wanted / side for wanted, side in zip(learned, size, strict=True))
        return tuple(max(2, round(side * scale / stride)) * stride for side in size)

    def prepare(
        self, photo: Image.Image, own: Image.Image | None = None, seed: int = 0
    ) -> Prepared:
        """Prepare an exemplar once, to paint from it many times.

        own: its layout, where the model needs one and cannot make it of the photo. seed: of the
        noise of a model that wants noise.
        """
        photo = shown(photo)
        height, width = self.size_for((photo.height, photo.width))
        resized = photo.resize((width, height), Image.Resampling.BICUBIC)
        feeds = {"exemplar": np.asarray(resized, np.float32).transpose(2, 0, 1)[None] / 255}
        names = {entry.name for entry in self._prepare.get_inputs()}
        if "noise" in names:
            pixels = self.settings["pixels"]
            shape = (1, self.settings["channels"], height // pixels, width // pixels)
            feeds["noise"] = np.random.default_rng(seed).standard_normal(shape, np.float32)
        elif "exemplar_condition" in names:
            size = self._matched((height, width))
            layout = photo if own is None else ImageOps.exif_transpose(own)
            feeds["exemplar_condition"] = self._encoded_at(layout, size, own is None)[None]
        return self.prepared(feeds)

    def prepared(self, inputs: Mapping[str, np.ndarray]) -> Prepared:
        """The same of arrays by the names of the graph's inputs."""
        (style,) = _run(self._prepare, inputs).values()
        return Prepared(inputs["exemplar"], style)

    def paint(self, inputs: Mapping[str, np.ndarray], prepared: Prepared) -> dict[str, np.ndarray]:
        """The outputs of the graph by name.

        inputs: by name as `encode` returns them, and more that the graph takes: strength, of a
        model that blends, how much is copied from the exemplar, 0..1; guide and guide_cells, of a
        model that is guided.
        """
        batch, _, height, width = inputs["condition"].shape
        pixels = self.settings["pixels"]
        unknown: dict[str, Any] = {"strength": 0.5}
        for name, unit in (("guide", 1), ("guide_cells", pixels)):
            shape = (batch, 2, height // unit, width // unit)
            unknown[name] = np.full(shape, np.nan, np.float32)
        exemplar = {"exemplar": prepared.exemplar, "style": prepared.style}
        return _run(self._paint, {**unknown, **inputs, **exemplar})

    def encode(self, picture: Image.Image, is_photo: bool = False) -> dict[str, np.ndarray]:
        """A layout as the networks read it: condition (1, K, H, W), matched_condition, in 0..1.

        is_photo: a photo whose edges are wanted. Raises ValueError for a model whose layouts are no
        pictures, and for unknown labels.
        """
        picture = ImageOps.exif_transpose(picture)
        size = self.size_for((picture.height, picture.width))
        sizes = {"condition": size, "matched_condition": self._matched(size)}
        return {
            name: self._encoded_at(picture, each, is_photo)[None] for name, each in sizes.items()
        }

    def _encoded_at(
        self, picture: Image.Image, size: tuple[int, int], is_photo: bool = False
    ) -> np.ndarray:
        kind = self.settings["condition"]["type"]
        if is_photo:
            return self.edges_of(picture, size)
        if kind == "mask":
            return self._one_hot(picture, size)
        if kind == "edge":
            return self._with_distance(thinned(_shrunk(ink_of(picture), size)))
        raise ValueError(
            f"a layout of the type {kind!r} is no picture; give an .npz file of "
            f"cocosnet_hf.export.graph_inputs."
        )

    def _matched(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size at which a picture of this size is matched."""
        height, width = (side // self.settings["matching_scale"] for side in size)
        return height, width

    def _one_hot(self, picture: Image.Image, size: tuple[int, int]) -> np.ndarray:
        plane = Image.fromarray(self.classes_of(picture).astype(np.int32))
        labels = np.asarray(plane.resize(size[::-1], Image.Resampling.NEAREST))
        overlay = self.settings["condition"].get("overlay")
        on_top = labels == overlay
        if overlay is not None:
            labels = np.where(on_top, self.settings["condition"]["beneath"], labels)
        encoded = np.eye(self.settings["channels"], dtype=np.float32)[labels].transpose(2, 0, 1)
        if overlay is not None:
            encoded[overlay] = on_top
        return encoded

    def classes_of(self, picture: Image.Image) -> np.ndarray:
        """The class at each pixel of a label map, (H, W): what the pipeline reads, or refused.

        Class numbers in one plane or in three that are equal, or exactly the colours of classes.
        Raises ValueError for others, and where numbers and palette contradict each other.
        """
        if picture.mode == "LA" and np.asarray(picture)[..., 1].min() >= OPAQUE:
            picture = picture.getchannel("L")
        if picture.mode.startswith("I"):
            return self._of_numbers(np.asarray(picture).astype(int))
        if picture.mode not in ("1", "L", "P", "LA", "RGB", "RGBA"):
            raise ValueError(f"a layout of mode {picture.mode} is no label map: save it as PNG.")
        rgba = np.asarray(picture.convert("RGBA")).astype(int)
        codes, hidden = rgba[..., :3] @ (1 << 16, 1 << 8, 1), rgba[..., 3] < OPAQUE
        colors = {int(color[1:], 16): label for label, color in enumerate(self.settings["colors"])}
        unknown = self.settings["condition"].get("unknown")
        by_color = np.where(hidden, NONE if unknown is None else unknown, _all(codes, colors.get))
        if picture.mode in ("RGB", "RGBA", "LA"):
            return self._of_colors(by_color, rgba)
        numbers = np.asarray(picture).astype(int)
        by_number = _all(numbers, self._class_of)
        if picture.mode == "1":
            both = [colors.get(code, NONE) for code in (0, 0xFFFFFF)]
            are_colors = NONE not in both and both != [self._class_of(0), self._class_of(1)]
        elif picture.mode == "L":
            are_colors = NONE in by_number and NONE not in by_color
        else:
            seen = np.unique(codes[~hidden])
            is_one = len(seen) == 1 < len(np.unique(numbers[~hidden]))
            is_palette = bool(seen.any()) and not is_one
            are_colors = is_palette and NONE not in by_color
            contrary = (by_color != NONE) & (by_color != by_number) & (codes != 0) & ~hidden
            if is_palette and not are_colors and contrary.any():
                raise ValueError(
                    "the layout's palette and its numbers contradict each other: some of its "
                    "colours are those of classes with other numbers. Save it in mode L."
                )
        return by_color if are_colors else self._of_numbers(numbers)

    def _of_numbers(self, numbers: np.ndarray) -> np.ndarray:
        labels = _all(numbers, self._class_of)
        if (strange := numbers[labels == NONE]).size:
            raise ValueError(
                f"the layout has the label {strange.max()}; the model knows "
                f"0..{self.settings['channels'] - 1}: {', '.join(self.settings['classes'])}."
            )
        return labels

    def _of_colors(self, by_color: np.ndarray, rgba: np.ndarray) -> np.ndarray:
        if NONE not in by_color:
            return by_color
        red, hidden = rgba[..., 0], rgba[..., 3] < OPAQUE
        are_numbers = (rgba[..., :3] == rgba[..., :1]).all() and not np.isin(red, (0, 255)).all()
        if are_numbers and not hidden.any() and NONE not in _all(red, self._class_of):
            return self._of_numbers(red)
        strange = rgba[(by_color == NONE) & ~hidden]
        what = "transparent"
        if len(strange):
            what = "of no class, such as #{:02x}{:02x}{:02x}".format(*strange[0])
        known = ", ".join(self.settings["colors"][:4])
        colors = f"paint them in exactly the classes' colours, {known} ..., or " if known else ""
        raise ValueError(
            f"the layout has pixels that are {what}: {colors}save class numbers in mode L."
        )

    def _class_of(self, value: int) -> int | None:
        """The class of a pixel value, if it has one."""
        label = int(self.settings["condition"].get("values", {}).get(str(value), value))
        return label if 0 <= label < self.settings["channels"] else None

    def _with_distance(self, lines: np.ndarray) -> np.ndarray:
        """Lines (H, W) and the city-block distance to them, as share of the model's reach."""
        distance = np.where(lines, 0.0, np.inf)
        for axis in (0, 1):
            ramp = np.expand_dims(np.arange(lines.shape[axis], dtype=float), 1 - axis)
            for flip in (False, True):
                here = np.flip(distance, axis) if flip else distance
                here = np.minimum.accumulate(here - ramp, axis) + ramp
                distance = np.flip(here, axis) if flip else here
        reach = self.settings["condition"]["reach"]
        return np.stack([lines, np.minimum(distance / reach, 1)]).astype(np.float32)

    def edges_of(self, photo: Image.Image, size: tuple[int, int]) -> np.ndarray:
        """The edges of a photo, (K, *size). Raises ValueError where a photo does not tell."""
        condition = self.settings["condition"]
        if condition["type"] != "edge":
            raise ValueError(
                f"this model needs a {condition['type']} condition, which a photo does not tell; "
                f"for the exemplar's own pass --exemplar-condition, or own= from Python."
            )
        small = shown(photo).resize(size[::-1], Image.Resampling.BILINEAR)
        grey = np.asarray(small.convert("L"), float) / 255
        found = canny(grey, condition["sigma"], condition["low"], condition["high"])
        return self._with_distance(found)


def _run(
    session: onnxruntime.InferenceSession, inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    names = [entry.name for entry in session.get_outputs()]
    if missing := [entry.name for entry in session.get_inputs() if entry.name not in inputs]:
        raise ValueError(f"the model needs {', '.join(missing)}, got {', '.join(inputs)}.")
    feeds = {
        entry.name: np.asarray(inputs[entry.name], np.float32) for entry in session.get_inputs()
    }
    return dict(zip(names, session.run(names, feeds), strict=True))


def shown(photo: Image.Image) -> Image.Image:
    """A photo upright and in RGB, what is transparent on white. Raises ValueError above 8 bits."""
    if photo.mode == "F" or photo.mode.startswith("I"):  # Pillow would cut what is above 255
        raise ValueError(f"a picture of mode {photo.mode} has no 8 bits: save it as RGB or L.")
    photo = ImageOps.exif_transpose(photo)
    if photo.has_transparency_data:
        photo = photo.convert("RGBA")
        photo = Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo)
    return photo.convert("RGB")


def ink_of(drawing: Image.Image) -> np.ndarray:
    """Dark lines (H, W) bool. Raises ValueError where there are none, or more ink than paper."""
    ink = np.asarray(shown(drawing).convert("L")) < 128
    if not 0 < ink.mean() < 0.5:
        raise ValueError(
            f"{ink.mean():.0%} of the drawing is darker than grey 128: draw dark lines on white."
        )
    return ink


def _all(values: np.ndarray, class_of: Callable[[int], int | None]) -> np.ndarray:
    """The class (H, W) of each of the values (H, W), `NONE` where there is none."""
    found, place = np.unique(values, return_inverse=True)
    classes = (class_of(int(value)) for value in found)
    known = np.array([NONE if one is None else one for one in classes])
    return known[place].reshape(values.shape)


def canny(grey: np.ndarray, sigma: float, low: float, high: float) -> np.ndarray:
    """Edges of a grey picture (H, W) in 0..1, bool (Canny 1986), as scikit-image finds them."""
    reach = int(4 * sigma + 0.5)
    bell = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    bell /= bell.sum()
    inside = _along(_along(np.ones_like(grey), bell, 0, "constant"), bell, 1, "constant")
    smooth = _along(_along(grey, bell, 0, "constant"), bell, 1, "constant")
    smooth /= inside + np.finfo(float).eps
    slope, mean = np.array([-1.0, 0, 1]), np.array([1.0, 2, 1])
    down = _along(_along(smooth, slope, 0, "symmetric"), mean, 1, "symmetric")
    across = _along(_along(smooth, slope, 1, "symmetric"), mean, 0, "symmetric")
    size = np.hypot(down, across)
    steep = np.abs(down) > np.abs(across)
    share = np.where(steep, across, down) / np.where(size > 0, np.where(steep, down, across), 1)
    around = np.pad(size, 1)

    def at(y: int, x: int) -> np.ndarray:
        return around[1 + y : 1 + y + size.shape[0], 1 + x : 1 + x + size.shape[1]]

    is_peak = size >= low
    is_peak[[0, -1]] = is_peak[:, [0, -1]] = False  # nobody knows what lies beyond the border
    for side in (-1, 1):
        straight = np.where(steep, at(side, 0), at(0, side))
        aslant = np.where(
            share < 0, np.where(steep, at(side, -side), at(-side, side)), at(side, side)
        )
        is_peak &= size >= np.abs(share) * aslant + (1 - np.abs(share)) * straight
    found = is_peak & (size >= high)
    while True:  # what hangs together with a strong edge is one
        padded = np.pad(found, 1)
        rows = padded[:-2] | padded[1:-1] | padded[2:]
        grown = (rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]) & is_peak
        if (grown == found).all():
            return found
        found = grown


def _along(values: np.ndarray, weights: np.ndarray, axis: int, border: Any) -> np.ndarray:
    """Weighted sums along an axis, the weights as they are written."""
    reach = len(weights) // 2
    padding = [(0, 0), (0, 0)]
    padding[axis] = (reach, reach)
    padded = np.pad(values, padding, mode=border)
    length = values.shape[axis]
    return sum(
        weight * np.take(padded, range(start, start + length), axis)
        for start, weight in enumerate(weights)
    )


def thinned(strokes: np.ndarray) -> np.ndarray:
    """Strokes (H, W) bool thinned to one pixel (Zhang and Suen 1984), as scikit-image does it."""
    may_go = np.array([ENDS_AND_CORNERS.get(bits, _goes(bits)) for bits in range(256)])
    height, width = strokes.shape
    clockwise = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
    lines, before = np.pad(strokes, 1).astype(np.uint8), -1
    while (left := int(lines.sum())) != before:
        before = left
        for step in (1, 2):
            near = [lines[1 + y :, 1 + x :][:height, :width] for y, x in clockwise]
            bits = sum(one.astype(int) << place for place, one in enumerate(near))
            lines[1:-1, 1:-1][may_go[bits] & step > 0] = 0
    return lines[1:-1, 1:-1] > 0


def _goes(bits: int) -> int:
    """In which of two steps, as a bit each, a place goes whose neighbours these are, clockwise from
    the upper left."""
    near = [bits >> place & 1 for place in range(8)]
    rises = sum(near[place - 1] < near[place] for place in range(8))
    if not 2 <= sum(near) <= 6 or rises != 1:
        return 0
    _, up, _, right, _, down, _, left = near
    first, second = not (right and down and (up or left)), not (up and left and (right or down))
    return int(first) + 2 * int(second)


def _shrunk(lines: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Lines (H, W) at another size; a thin one survives being made smaller."""
    for axis, wanted in enumerate(size):
        given = lines.shape[axis]
        starts = np.arange(wanted) * given // wanted
        stops = -(-(np.arange(wanted) + 1) * given // wanted)
        lines = np.stack(
            [
                np.take(lines, range(start, stop), axis).any(axis)
                for start, stop in zip(starts, stops, strict=True)
            ],
            axis,
        )
    return lines


def main(arguments: list[str] | None = None) -> None:
    """The command line; `arguments` default to the process's own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("condition", help="layout: a picture; or an .npz file, then no exemplar")
    parser.add_argument("exemplar", nargs="?", help="photo whose look is wanted")
    parser.add_argument("-o", "--output", required=True, help="picture to write")
    parser.add_argument("--photo", action="store_true", help="the layout is a photo's edges")
    parser.add_argument("--exemplar-condition", help="the exemplar's own layout, if it is needed")
    parser.add_argument("--strength", type=float, help="how much is copied, 0..1; default: 0.5")
    parser.add_argument("--model", default=Path(__file__).parent, help="default: this folder")
    options = parser.parse_args(arguments)
    if options.exemplar is None and not options.condition.endswith(".npz"):
        parser.error("a layout needs an exemplar beside it")
    try:
        _painted(options).save(options.output)
    except (ValueError, OSError, BadZipFile, Image.DecompressionBombError) as error:
        parser.error(str(error))
    print(options.output)


def _painted(options: argparse.Namespace) -> Image.Image:
    """The picture that the command line asks for."""
    painter = Painter(options.model)
    if options.condition.endswith(".npz"):
        with open(options.condition, "rb") as file, np.load(file, allow_pickle=False) as stored:
            inputs = dict(stored)
        prepared = painter.prepared(inputs)
    else:
        if painter.settings["guided"]:
            print(f"note: {UNGUIDED}", file=sys.stderr)
        inputs = painter.encode(Image.open(options.condition), options.photo)
        look, own = Image.open(options.exemplar), options.exemplar_condition
        prepared = painter.prepare(look, None if own is None else Image.open(own))
    if options.strength is not None:
        inputs["strength"] = np.asarray(options.strength)
    painted = painter.paint(inputs, prepared)
    return Image.fromarray(np.rint(painted["image"][0].transpose(1, 2, 0) * 255).astype(np.uint8))


if __name__ == "__main__":
    main()
