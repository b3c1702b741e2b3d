"""Paint the pictures that the demo offers, so that it needs no photograph of anybody.

    python -m tools.paint_gallery edge-to-face FOLDER --sheet sheet.jpg    # all, to choose from
    python -m tools.paint_gallery edge-to-face FOLDER --keep 5 27 46
    python -m tools.paint_gallery mask-to-image FOLDER --keep 38 27 15

FOLDER: photos of faces, or paintings of landscapes; for other masks and poses a split of the
recipe's image folder, whose metadata.jsonl has file_name, label_file_name and keypoints. Its
pictures lend their looks.

Candidate i of the faces has the edges of photo i and the look of another photo with similar edges.
Those of the others have drawn layouts, see tools/draw_figures.py and tools/scenes.py: candidate
5 f + r is figure f with the look of the photo whose layout is the r-th nearest.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops, ImageFilter, ImageOps

from cocosnet_hf import Condition, Pose, bundled
from cocosnet_hf.datasets import DataSettings
from cocosnet_hf.datasets.reading import Reader
from cocosnet_hf.landscape_reader import LANDSCAPE
from cocosnet_hf.pictures import grid, open_photo
from cocosnet_hf.retrieval import ExemplarIndex
from demo.studio.gallery import FOLDER, Exhibit, store
from demo.studio.painters import TABS
from train.config import load_config

from .people import FIGURES, HEIGHT, WIDTH, Figure, draw_layout, joints
from .recipes import recipe_file
from .scenes import SCENES, draw_scene

PHOTOS = 150
"""How many photos of faces, or paintings, are read."""

NEIGHBOURS = 5
"""Candidate i takes its look from the neighbour of rank i modulo this, for variety."""


def on_white(picture: Image.Image, figure: Figure) -> Image.Image:
    """A painted figure on plain white beyond a pixel around its layout, whose ground is class 0.

    What is left there of the photo that lent its look is no part of the figure.
    """
    layout = draw_layout(figure)
    ground = layout.convert("RGB").getpixel((0, 0))
    difference = ImageChops.difference(layout.convert("RGB"), Image.new("RGB", layout.size, ground))
    mask = difference.convert("L").point(lambda value: 255 * (value > 0)).resize(picture.size)
    mask = mask.filter(ImageFilter.MaxFilter(3)).filter(ImageFilter.GaussianBlur(0.7))
    return Image.composite(picture, Image.new("RGB", picture.size, "white"), mask)


def read_folder(
    tab: str, folder: Path, condition: Condition, size: tuple[int, int]
) -> tuple[list, list]:
    """The photos of a folder, cut to a size (height, width), and their conditions."""

    def fitted(photo: Image.Image) -> Image.Image:
        return ImageOps.fit(photo, (size[1], size[0]), Image.Resampling.BICUBIC)

    if condition.needs_only_photo or shows_landscapes(condition):
        paths = sorted(path for path in folder.iterdir() if path.is_file())[:PHOTOS]
        photos = [fitted(open_photo(path)) for path in paths]
        labelled = condition.labelled
        return photos, [condition.from_photo(photo) if labelled else photo for photo in photos]
    recipe = load_config(recipe_file(tab)).data
    groups = recipe.label_groups if condition.labelled else ()
    settings = DataSettings(condition_column=recipe.condition_column, label_groups=groups)
    reader = Reader(settings, condition)
    lines = (folder / "metadata.jsonl").read_text().splitlines()
    examples = []
    for number, row in enumerate(map(json.loads, lines)):
        files = {"image": folder / row["file_name"], "label": folder / row["label_file_name"]}
        examples.append(reader.read(row | files, number))
    return [fitted(one.image) for one in examples], [one.condition for one in examples]


def shows_landscapes(condition: Condition) -> bool:
    """Whether it is a mask of landscapes."""
    return getattr(condition, "photo_parser", None) == LANDSCAPE


def drawn_layouts(condition: Condition) -> list[Any]:
    """The layouts of all candidates for masks or poses: each drawing once per neighbour."""
    drawn: list[Any]
    if shows_landscapes(condition):
        drawn = [draw_scene(number) for number in range(len(SCENES))]
    elif condition.labelled:
        drawn = [draw_layout(figure) for figure in FIGURES]
    else:
        drawn = [Pose(joints(figure), (HEIGHT, WIDTH)) for figure in FIGURES]
    return [one for one in drawn for _ in range(NEIGHBOURS)]


def main(arguments: list[str] | None = None) -> None:
    """The command line; `arguments` default to the process's own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tab", choices=TABS, help="the tab, and the bundled model that paints")
    parser.add_argument("folder", type=Path, help="photos that lend their looks")
    parser.add_argument("--sheet", type=Path, help="where the candidates are drawn, in tens")
    parser.add_argument(
        "--keep", type=int, nargs="+", default=[], help="numbers of the candidates to offer"
    )
    options = parser.parse_args(arguments)
    pipe = bundled(options.tab)
    pipe.set_progress_bar_config(disable=True)
    photos, layouts = read_folder(options.tab, options.folder, pipe.condition, pipe.learned_size)
    index = ExemplarIndex.build(layouts, pipe.condition)
    own_layouts = pipe.condition.needs_only_photo
    wanted = layouts if own_layouts else drawn_layouts(pipe.condition)
    exhibits = []
    for number in options.keep or range(len(wanted)):
        found = index.nearest(wanted[number], NEIGHBOURS, exclude=[number] if own_layouts else [])
        look = found[number % NEIGHBOURS].index
        own = layouts[look] if pipe.takes_exemplar_condition else None
        picture = pipe(wanted[number], photos[look], own).images[0]
        if pipe.condition.labelled and not shows_landscapes(pipe.condition):
            picture = on_white(picture, FIGURES[number // NEIGHBOURS])
        exhibits.append(Exhibit(picture, wanted[number]))
    if options.sheet:
        painted = [exhibit.picture for exhibit in exhibits]
        rows = [painted[start : start + 10] for start in range(0, len(painted), 10)]
        grid(rows).save(options.sheet)
    if options.keep:
        store(exhibits, FOLDER / options.tab, pipe.condition)


if __name__ == "__main__":
    main()
