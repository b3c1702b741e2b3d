"""Paint with an exported pipeline: numpy, Pillow and onnxruntime, nothing else.

    python paint.py layout.png exemplar.png -o out.png

layout.png: of a model of masks a label map, a palette picture or one in the classes' colours; of
edges a drawing, dark lines on white; or an encoded condition, (K, H, W) in 0..1, as a .npy file.
`model.json` beside this file says what the model is, its classes, and the terms of its weights.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image

LONGEST = 8
"""Longest side over shortest of a picture that is painted."""


@dataclass(frozen=True)
class Prepared:
    """An exemplar that is ready to be painted from: (1, 3, H', W') in 0..1, (1, C, h', w')."""

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

    def prepare(self, photo: Image.Image, own: np.ndarray | None = None, seed: int = 0) -> Prepared:
        """Prepare an exemplar once, to paint from it many times.

        own: its encoded condition (K, H', W'), where the model needs one and cannot make it of the
        photo. seed: of the noise of a model that wants noise.
        """
        photo = photo.convert("RGB")
        height, width = self.size_for((photo.height, photo.width))
        resized = photo.resize((width, height), Image.Resampling.BICUBIC)
        exemplar = np.asarray(resized, np.float32).transpose(2, 0, 1)[None] / 255
        feeds = {"exemplar": exemplar}
        names = {entry.name for entry in self._prepare.get_inputs()}
        if "noise" in names:
            shape = (1, self.settings["channels"], height // 4, width // 4)
            feeds["noise"] = np.random.default_rng(seed).standard_normal(shape, np.float32)
        elif "exemplar_condition" in names:
            if own is None:
                own = self.edges_of(resized)
            feeds["exemplar_condition"] = own[None].astype(np.float32)
        (style,) = self._prepare.run(["style"], feeds)
        return Prepared(exemplar, style)

    def paint(
        self, condition: np.ndarray, prepared: Prepared, strength: float = 0.5
    ) -> dict[str, np.ndarray]:
        """The outputs of the graph by name, of an encoded condition (K, H, W).

        strength: of a model that blends, how much is copied from the exemplar, 0..1.
        """
        feeds: dict[str, Any] = {"condition": condition[None].astype(np.float32)}
        feeds |= {"exemplar": prepared.exemplar, "style": prepared.style}
        entries = self._paint.get_inputs()
        if any(entry.name == "strength" for entry in entries):
            feeds["strength"] = np.float32(strength)
        names = [entry.name for entry in self._paint.get_outputs()]
        return dict(zip(names, self._paint.run(names, feeds), strict=True))

    def encode(self, picture: Image.Image) -> np.ndarray:
        """A layout as the networks read it, (K, H, W) in 0..1.

        Raises ValueError for a model whose layouts are no pictures, and for unknown labels.
        """
        size = self.size_for((picture.height, picture.width))
        kind = self.settings["condition"]["type"]
        if kind == "mask":
            return self._one_hot(picture, size)
        if kind == "edge":
            grey = np.asarray(picture.convert("L"))
            return self._with_distance(_shrunk(grey < 128, size))
        raise ValueError(f"a layout of the type {kind!r} is no picture; give it encoded, as .npy.")

    def _one_hot(self, picture: Image.Image, size: tuple[int, int]) -> np.ndarray:
        channels = self.settings["channels"]
        if picture.mode not in ("P", "L", "I", "I;16"):
            colors = np.array(
                [[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in self._colors()]
            )
            pixels = np.asarray(picture.convert("RGB"), int)
            away = np.stack([np.abs(pixels - color).sum(2) for color in colors])
            labels = away.argmin(0)
        else:
            labels = np.asarray(picture).astype(int)
        if labels.max() >= channels:
            raise ValueError(
                f"the layout has the label {labels.max()}; the model knows 0..{channels - 1}: "
                f"{', '.join(self.settings['classes'])}."
            )
        rows, columns = (
            (np.arange(wanted) * given // wanted)
            for wanted, given in zip(size, labels.shape, strict=True)
        )
        return np.eye(channels, dtype=np.float32)[labels[rows][:, columns]].transpose(2, 0, 1)

    def _colors(self) -> list[str]:
        if not self.settings["colors"]:
            raise ValueError("the model's classes have no colours; give a label map (mode L or P).")
        return self.settings["colors"]

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

    def edges_of(self, photo: Image.Image) -> np.ndarray:
        """The edges of an exemplar, encoded. Raises ValueError where a photo does not tell."""
        condition = self.settings["condition"]
        if condition["type"] != "edge":
            raise ValueError(
                f"this model needs the exemplar's own {condition['type']} condition; pass own=, or "
                f"--exemplar-condition with a .npy file."
            )
        grey = np.asarray(photo.convert("L"), float) / 255
        found = canny(grey, condition["sigma"], condition["low"], condition["high"])
        return self._with_distance(found)


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


def opened(painter: Painter, path: str) -> np.ndarray:
    """An encoded condition of a file."""
    if path.endswith(".npy"):
        return np.load(path, allow_pickle=False)
    return painter.encode(Image.open(path))


def main(arguments: list[str] | None = None) -> None:
    """The command line; `arguments` default to the process's own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("condition", help="layout: a picture, or .npy")
    parser.add_argument("exemplar", help="photo whose look is wanted")
    parser.add_argument("-o", "--output", required=True, help="picture to write")
    parser.add_argument("--exemplar-condition", help="the exemplar's own layout, if it is needed")
    parser.add_argument("--strength", type=float, default=0.5, help="how much is copied, 0..1")
    parser.add_argument("--model", default=Path(__file__).parent, help="default: this folder")
    options = parser.parse_args(arguments)
    painter = Painter(options.model)
    own = options.exemplar_condition
    prepared = painter.prepare(
        Image.open(options.exemplar), None if own is None else opened(painter, own)
    )
    painted = painter.paint(opened(painter, options.condition), prepared, options.strength)
    picture = np.rint(painted["image"][0].transpose(1, 2, 0) * 255).astype(np.uint8)
    Image.fromarray(picture).save(options.output)
    print(options.output)


if __name__ == "__main__":
    main()
