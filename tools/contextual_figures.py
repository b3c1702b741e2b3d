"""Make the pictures of docs/contextual.md: each use of the contextual loss, on drawn pictures.

    python -m tools.contextual_figures VGG OUT transfer style animation puppet domain

VGG: weights of the small perceptual network. OUT: a folder for data, runs and the pictures, named
contextual-USE.jpg. `transfer` trains nothing, and takes landscapes that the demo shows; each other
use is a training run of train/configs/contextual.yaml on two folders.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from cocosnet_hf import DistilledVGG19Features, semantic_style_transfer
from cocosnet_hf.pictures import grid
from cocosnet_hf.synthetic import NamedScenes, SyntheticExamples
from cocosnet_hf.systems import ContextualPipeline
from train.config import load_config
from train.train import train

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIGS = REPOSITORY / "train/configs"
SIDE, SHOWN, SOURCES, TARGETS = 64, 128, 60, 30
PERFORMER, PUPPET = 3, 8
"""Numbers of looks of drawn people."""
LANDSCAPES = REPOSITORY / "demo/gallery/mask-to-landscape"
PAINTING = LANDSCAPES / "02.jpg"
TRANSFERRED, TRANSFERRED_SIDE = ((8, 2), (5, 2)), 192
"""Numbers of landscapes, contents and the styles that they are to take; and how large."""
TARGET_WEIGHTS = {"style": 3.0, "domain": 3.0}
"""Of the recipe's term of the target, where that is not 1."""


def scene(number: int) -> Image.Image:
    """A drawn landscape in plain light."""
    return SyntheticExamples("mask", SIDE).draw(number, number)[0]


def night(number: int) -> Image.Image:
    """Another drawn landscape, by night."""
    rows = NamedScenes(SyntheticExamples("mask", SIDE, first=3000))
    return rows[3 * number + 2]["image"]


def person(look: int) -> Callable[[int], Image.Image]:
    """A drawn person of one look in pose after pose."""
    return lambda number: SyntheticExamples("pose", SIDE).draw(number, look)[0]


def painting(number: int) -> Image.Image:
    """The one picture of a style."""
    del number
    return Image.open(PAINTING).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def puppet(number: int) -> Image.Image:
    """The puppet in poses that no source has."""
    return person(PUPPET)(number + 5000)


USES: dict[str, tuple[Callable[[int], Image.Image], Callable[[int], Image.Image], int]] = {
    "style": (scene, painting, 1),
    "animation": (person(PERFORMER), puppet, 1),
    "puppet": (person(PERFORMER), puppet, TARGETS),
    "domain": (scene, night, TARGETS),
}
"""By name what draws sources and targets, and how many targets there are."""


def write(pictures: Iterable[Image.Image], folder: Path) -> None:
    """As numbered files of a split of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        picture.save(folder / f"{number:03d}.png")


def transferred(perceptual: Path) -> Image.Image:
    """A row for each pair of landscapes: the content, the style, the content in that style."""
    network, rows = DistilledVGG19Features.from_file(perceptual), []
    settings: dict[str, Any] = {"steps": 150, "rate": 4.0, "positions": 900}
    settings |= {"size": TRANSFERRED_SIDE, "variation_weight": 1e-3}
    for numbers in TRANSFERRED:
        content, style = (Image.open(LANDSCAPES / f"{n:02d}.jpg").convert("RGB") for n in numbers)
        rows.append([content, style, semantic_style_transfer(content, style, network, **settings)])
    size = (TRANSFERRED_SIDE, TRANSFERRED_SIDE)
    return grid([[one.resize(size, Image.Resampling.LANCZOS) for one in row] for row in rows], 4)


def figure(use: str, perceptual: Path, out: Path, steps: int) -> Image.Image:
    """Train for one use, and show unseen sources above what is painted of them, behind a target."""
    source, target, count = USES[use]
    for split, first in {"train": 0, "validation": 1000}.items():
        write((source(first + at) for at in range(SOURCES)), out / use / "sources" / split)
        write((target(at) for at in range(count)), out / use / "targets" / split)
    recipe = [CONFIGS / name for name in ("contextual.yaml", "layers/two-folders.yaml")]
    settings = {
        "output_dir": out / use / "run",
        "data.source": out / use / "targets",
        "data.condition_source": out / use / "sources",
        "data.workers": 0,
        "perceptual.source": perceptual,
        "losses.target": TARGET_WEIGHTS.get(use, 1.0),
        "schedule.constant": steps // 2,
        "schedule.decay": steps - steps // 2,
        "output.validate_every": 0,
        "output.grid_every": 0,
        "output.checkpoint_every": steps,
    }
    config = load_config(recipe, [f"--{name}={value}" for name, value in settings.items()])
    pipe = ContextualPipeline.from_pretrained(train(config))
    unseen = [source(1000 + at) for at in range(5)]
    rows = [[target(0), *unseen], [target(count - 1), *pipe(unseen).images]]
    size = (SHOWN, SHOWN)
    return grid([[one.resize(size, Image.Resampling.BICUBIC) for one in row] for row in rows], 4)


def main(arguments: list[str] | None = None) -> None:
    """The command line; `arguments` default to the process's own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("perceptual", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("uses", nargs="+", choices=["transfer", *USES])
    parser.add_argument("--steps", type=int, default=400)
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    for use in given.uses:
        if use == "transfer":
            made = transferred(given.perceptual)
        else:
            made = figure(use, given.perceptual, given.out, given.steps)
        made.save(given.out / f"contextual-{use}.jpg", quality=90)


if __name__ == "__main__":
    main()
