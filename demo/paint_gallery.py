"""Paint the faces that the demo offers, so that it needs no photograph of anybody.

    python demo/paint_gallery.py FOLDER --sheet sheet.jpg      # all candidates, to choose from
    python demo/paint_gallery.py FOLDER --keep 5 27 46

FOLDER: photos of faces. Candidate i has the edges of photo i and the look of another photo with
similar edges, so that it shows nobody.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image
from studio.gallery import FOLDER

from cocosnet_hf import bundled
from cocosnet_hf.__main__ import strip
from cocosnet_hf.conditions import open_photo
from cocosnet_hf.retrieval import ExemplarIndex

TAB = "edge-to-face"
CANDIDATES = 100
NEIGHBOURS = 5
"""Candidate i takes its look from the neighbour of rank i modulo this, for variety."""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--keep", type=int, nargs="+", default=[])
    options = parser.parse_args()
    pipe = bundled(TAB)
    pipe.set_progress_bar_config(disable=True)
    side = pipe.config.image_size
    paths = sorted(path for path in options.folder.iterdir() if path.is_file())[:CANDIDATES]
    photos = [open_photo(path).resize((side, side), Image.Resampling.BICUBIC) for path in paths]
    index = ExemplarIndex.build(photos, pipe.condition)
    chosen = options.keep or range(len(photos))
    painted = []
    for number in chosen:
        found = index.nearest(photos[number], NEIGHBOURS + 1, exclude=[number])
        look = photos[found[number % NEIGHBOURS].index]
        painted.append(pipe(photos[number], look).images[0])
    if options.sheet:
        rows = [strip(painted[start : start + 10]) for start in range(0, len(painted), 10)]
        sheet = Image.new("RGB", (10 * side, len(rows) * side))
        for place, row in enumerate(rows):
            sheet.paste(row, (0, place * side))
        sheet.save(options.sheet)
    if options.keep:
        (FOLDER / TAB).mkdir(parents=True, exist_ok=True)
        for place, picture in enumerate(painted):
            picture.save(FOLDER / TAB / f"{place:02d}.jpg", quality=95)


if __name__ == "__main__":
    main()
