"""Draw dressed people as label maps and poses: layouts for the demo that show nobody.

    python -m tools.draw_figures FOLDER

Writes masks/NN.png, in the class colours of the bundled `mask-to-image`, and poses/NN.json, the
same figure's joints as an OpenPose file. Everything follows from the tables of `tools/people`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .people import FIGURES, HEIGHT, WIDTH, draw_layout, joints


def main(arguments: list[str] | None = None) -> None:
    """The command line; `arguments` default to the process's own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder
    masks, poses = folder / "masks", folder / "poses"
    for kind in (masks, poses):
        kind.mkdir(parents=True, exist_ok=True)
    for number, figure in enumerate(FIGURES):
        draw_layout(figure).save(masks / f"{number:02d}.png", optimize=True)
        numbers = joints(figure).round(2).flatten().tolist()
        people = [{"pose_keypoints_2d": numbers}]
        content = {"people": people, "canvas_width": WIDTH, "canvas_height": HEIGHT}
        (poses / f"{number:02d}.json").write_text(json.dumps(content) + "\n")


if __name__ == "__main__":
    main()
