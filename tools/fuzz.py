"""Malformed input, by the seed: each case ends in a picture or in an error that says what to do.

    python -m tools.fuzz pictures 200 0
    python -m tools.fuzz all 50 7 --only 12

A case is made from category, seed and number alone, so that --only repeats one. What is neither a
picture nor one of `DOCUMENTED`, or takes longer than a case may, is printed; the exit status is
then 1. Memory is bounded too, where the system can do that.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import signal
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from cocosnet_hf import (
    CoCosPipeline,
    CorrespondenceNetwork,
    EdgeCondition,
    MaskCondition,
    PoseCondition,
    TranslationNetwork,
)
from cocosnet_hf.conditions.joints import JOINTS
from cocosnet_hf.convert import convert_checkpoint
from cocosnet_hf.settings_file import parsed

DOCUMENTED = (ValueError, OSError, ImportError)
"""What bad input may raise."""

SECONDS = 120
"""That a case may take, of the clock; on a quiet machine it takes one."""

BYTES = 3 << 30
"""Of address space that all cases may take beyond what the process has when they begin."""

LEAST = 20
"""Letters below which an error's message says nothing."""

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "I;16", "F")
STRANGE: tuple[Any, ...] = (
    None, True, -1, 0, 3.5, float("nan"), float("inf"), 10**400, 2**63, "", "5", "x", [], {}, [[]],
    ["cocosnet_hf", "x"], {"0": 1}, "\ud800", "a" * 3000,
)  # fmt: skip
"""Values that a setting may be replaced by."""

SHAPES = MaskCondition.from_names(["ground", "disk", "square"], unknown=0)


def pipeline(condition: Any) -> CoCosPipeline:
    """A pipeline a few channels wide."""
    torch.manual_seed(0)
    widths = {"base_channels": 4, "feature_channels": 8, "spade_channels": 4}
    blocks = {"num_adaptor_blocks": 1, "num_residual_blocks": 1}
    made = CoCosPipeline(
        CorrespondenceNetwork(condition.channels, **widths | blocks),
        TranslationNetwork(condition.channels, (8, 8, 8, 8), spade_channels=4),
        condition,
        32,
    )
    made.set_progress_bar_config(disable=True)
    return made


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Bytes with some changed, cut off, doubled or put elsewhere."""
    data = bytearray(content)
    for _ in range(rng.choice((0, 0, 1, 3, 30))):
        offset = rng.randrange(len(data) + 1)
        change = rng.randrange(4)
        if change == 0 and offset < len(data):
            data[offset] ^= 1 << rng.randrange(8)
        elif change == 1:
            data[offset : offset + rng.randrange(20)] = rng.randbytes(rng.randrange(20))
        elif change == 2 and rng.random() < 0.3:
            del data[offset:]
        else:
            data[offset:offset] = data[offset : offset + rng.randrange(200)]
    return bytes(data)


def picture(rng: random.Random) -> Image.Image:
    """Noise, or few values, in any mode and of any shape."""
    width, height = (rng.choice((7, 8, 40, 40, 64, 64, 100)) for _ in range(2))
    numbers = np.random.default_rng(rng.randrange(1 << 32))
    plane = numbers.integers(0, rng.choice((1, 3, 256)), (height, width, 4)).astype(np.uint8)
    mode = rng.choice(MODES)
    if mode in ("I", "I;16", "F"):
        kind = {"I": np.int32, "I;16": np.uint16, "F": np.float32}[mode]
        return Image.fromarray(plane[..., 0].astype(kind) * kind(rng.choice((1, 200))))
    return Image.fromarray(plane).convert("RGB" if mode in ("CMYK", "YCbCr") else mode)


def picture_file(rng: random.Random, folder: Path) -> Path:
    """A picture file of any format, more or less damaged."""
    kind = rng.choice(FORMATS)
    path = folder / f"picture.{kind.lower()}"
    made, options = picture(rng), {}
    if rng.random() < 0.3:
        exif = Image.Exif()
        exif[274] = rng.randrange(-1, 10) % 65536
        options["exif"] = exif
    try:
        made.save(path, kind, **options)
    except (OSError, ValueError, KeyError, TypeError, SystemError):  # a format without the mode
        made.convert("RGB").save(path, "PNG")
    path.write_bytes(damaged(path.read_bytes(), rng))
    return path


def changed(value: Any, rng: random.Random) -> Any:
    """Something JSON with one of its values, at any depth, replaced or left out."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value))
        if rng.random() < 0.15:
            return {name: item for name, item in value.items() if name != key}
        return value | {key: changed(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        index = rng.randrange(len(value))
        return [*value[:index], changed(value[index], rng), *value[index + 1 :]]
    return rng.choice(STRANGE)


def pictures(rng: random.Random, folder: Path) -> Any:
    """Exemplars, photos and drawings."""
    pipe, file = pipeline(EdgeCondition()), picture_file(rng, folder)
    source: Any = pipe.condition.as_drawing(file) if rng.random() < 0.3 else file
    exemplar = (
        picture_file(rng, folder) if rng.random() < 0.5 else Image.new("RGB", (40, 40), "red")
    )
    return pipe(source, exemplar)


def masks(rng: random.Random, folder: Path) -> Any:
    """Label maps as files and pictures."""
    pipe = pipeline(SHAPES)
    source: Any = picture_file(rng, folder) if rng.random() < 0.6 else picture(rng)
    exemplar = Image.new("RGB", (40, 40), "red")
    return pipe(source, exemplar, np.zeros((40, 40), np.uint8))


def poses(rng: random.Random, folder: Path) -> Any:
    """Keypoint files, their text and their content."""
    joints = [rng.uniform(-5, 70) for _ in range(3 * rng.choice((17, len(JOINTS), 25, 4)))]
    content: Any = {"people": [{"pose_keypoints_2d": joints}], "canvas_height": 64}
    content["canvas_width"] = 64
    for _ in range(rng.choice((0, 1, 2))):
        content = changed(content, rng)
    text = json.dumps(content).encode()
    if rng.random() < 0.3:
        text = rng.choice((damaged(text, rng), b"[" * 100_000, b"\xff\xfe" + text))
    path = folder / "pose.json"
    path.write_bytes(text)
    wrapped = {"openpose": path, "size": rng.choice((512, (64, 64), "64", {64}, [64, "64"]))}
    return PoseCondition().encode(rng.choice((path, content, wrapped)), 32, 32)


def arrays(rng: random.Random, folder: Path) -> Any:
    """Arrays and tensors in place of pictures, and sizes."""
    del folder
    shape = [rng.choice((0, 1, 2, 3, 4, 32, 40)) for _ in range(rng.randrange(5))]
    kind = rng.choice((np.uint8, np.int64, np.uint16, np.float32, np.float16, bool, np.complex64))
    numbers = np.random.default_rng(rng.randrange(99)).random(shape)
    array: Any = np.asarray(numbers * 3).astype(kind)
    if rng.random() < 0.4:
        array = torch.from_numpy(array.astype(np.float32 if kind is np.uint16 else kind))
    condition: Any = rng.choice((EdgeCondition(), SHAPES))
    given = [array, Image.new("RGB", (40, 40), "red"), None]
    rng.shuffle(given)
    sides = (None, 0, -8, 8, 32, 33, 1.5, "32", True, 10**9)
    sizes: dict[str, Any] = {name: rng.choice(sides) for name in ("height", "width")}
    return pipeline(condition)(*given, **sizes)


def folders(rng: random.Random, folder: Path) -> Any:
    """Saved pipelines of which a file is changed."""
    pipeline(rng.choice((EdgeCondition(), SHAPES))).save_pretrained(folder)
    file = rng.choice(sorted(path for path in folder.rglob("*") if path.suffix != ".md"))
    if file.suffix == ".json" and rng.random() < 0.8:
        value = json.loads(file.read_text())
        for _ in range(rng.choice((1, 2))):
            value = changed(value, rng)
        file.write_text(json.dumps(value))
    else:
        file.write_bytes(damaged(file.read_bytes(), rng))
    opened = CoCosPipeline.from_pretrained(folder)
    opened.set_progress_bar_config(disable=True)
    return opened


def checkpoints(rng: random.Random, folder: Path) -> Any:
    """What may lie in place of official weights."""
    state: Any = {"layer1.0.weight_orig": torch.zeros(3, 2), "layer1.0.bias": torch.ones(3)}
    if rng.random() < 0.5:
        state = rng.choice(
            (state["layer1.0.bias"], [state], {1: state}, {}, {"a": "b"}, EdgeCondition())
        )
    for name in ("latest_net_Corr.pth", "latest_net_G.pth"):
        torch.save(state, folder / name, _use_new_zipfile_serialization=rng.random() < 0.7)
        (folder / name).write_bytes(damaged((folder / name).read_bytes(), rng))
    return convert_checkpoint(folder, folder / "made")


def settings(rng: random.Random, folder: Path) -> Any:
    """Text in place of YAML."""
    del folder
    text = b"data: {source: photos, split: train}\nschedule: {steps: 10}\n"
    deep = (b"{" * 5000, b"- " * 5000, b"day: 2020-01-01", b"x: !!binary aa", b"a: &a [*a]")
    return parsed(rng.choice((damaged(text, rng), *deep)), "recipe.yaml")


CATEGORIES: dict[str, Callable[[random.Random, Path], Any]] = {
    case.__name__: case for case in (pictures, masks, poses, arrays, folders, checkpoints, settings)
}


class TooSlow(BaseException):
    """A case that takes longer than it may."""


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Raise TooSlow in what takes longer; in the main thread of a Unix system."""

    def stop(*_: Any) -> None:
        raise TooSlow(f"it takes more than {seconds} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run(category: str, seed: int, number: int) -> tuple[str, str]:
    """How one case ends, "picture", "refused" or "WRONG", and what is said."""
    rng = random.Random(f"{category} {seed} {number}")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with at_most(SECONDS):
                CATEGORIES[category](rng, Path(folder))
        except DOCUMENTED as error:
            said = f"{type(error).__name__}: {error}"
            return ("refused" if len(str(error)) >= LEAST else "WRONG"), said
        except (Exception, TooSlow) as error:  # which is what is looked for
            return "WRONG", f"{type(error).__name__}: {error}"
    return "picture", ""


def bound_memory() -> None:
    """Let allocations fail that go beyond `BYTES`, where the system says what there is now."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):  # no Linux
        return
    limit = pages * resource.getpagesize() + BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("category", choices=[*CATEGORIES, "all"])
    parser.add_argument("count", type=int, metavar="N", help="cases of each category")
    parser.add_argument("seed", type=int)
    parser.add_argument("--only", type=int, metavar="NUMBER", help="repeat one case")
    options = parser.parse_args(arguments)
    logging.disable(logging.ERROR)
    bound_memory()
    wrong = 0
    for category in CATEGORIES if options.category == "all" else [options.category]:
        ends: Counter[str] = Counter()
        numbers = range(options.count) if options.only is None else [options.only]
        for number in numbers:
            end, said = run(category, options.seed, number)
            ends[end] += 1
            if end == "WRONG" or options.only is not None:
                print(f"{category} {number}: {end} {said[:300]}", flush=True)
        print(f"{category}: {dict(sorted(ends.items()))}", flush=True)
        wrong += ends["WRONG"]
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
