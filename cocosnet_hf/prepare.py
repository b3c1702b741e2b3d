"""Look at a folder of photos, say what it holds, and write what a training needs.

    python -m cocosnet_hf.prepare FOLDER
    python -m cocosnet_hf.prepare FOLDER -o data/mine --condition edge
    python -m cocosnet_hf.prepare FOLDER --push user/photos --private

FOLDER: photos alone, photos with label maps of their names (images/ and masks/, labels/,
annotations/ or gtFine/), photos with keypoints of their names (OpenPose or COCO), or Cityscapes,
ADE20K, COCO-Stuff, CelebAMask-HQ, DeepFashion or VITON as they are downloaded. The photos stay
where they are. The output folder then holds metadata.jsonl for each split, pairs.png to look at
(photo, condition, both on each other, an exemplar) and recipe.yaml, with which training starts.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from .preparing import Prepared, prepare
from .preparing.sharing import push


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; `arguments` default to the process's own."""
    parser = argparse.ArgumentParser(
        prog="python -m cocosnet_hf.prepare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument(
        "-o", "--output", type=Path, help="where to write; default: prepared/NAME, by the folder's"
    )
    parser.add_argument("--name", help="of the run and its folder out/NAME; default: the folder's")
    parser.add_argument(
        "--condition",
        choices=("edge", "mask", "pose"),
        help="what to paint from; default: poses, else label maps, else edges, whichever there are",
    )
    parser.add_argument(
        "--labels", metavar="NAME", help="the folder in FOLDER that holds the label maps"
    )
    parser.add_argument(
        "--read-people",
        action="store_true",
        help="find label maps and poses of the people in photos with the bundled network",
    )
    parser.add_argument(
        "--push", metavar="user/repo", help="put the data and the recipe on the Hub too"
    )
    parser.add_argument("--private", action="store_true", help="with --push: only for its owner")
    options = parser.parse_args(arguments)
    name = options.name or options.folder.resolve().name
    output = options.output or Path("prepared", name)
    given = sys.argv[1:] if arguments is None else arguments
    command = f"{parser.prog} {shlex.join(map(str, given))}"
    try:
        made = prepare(
            options.folder,
            output,
            name,
            options.condition,
            options.labels,
            command,
            options.read_people,
        )
        print(describe(made))
        if options.push is not None:
            shown = f"{parser.prog} FOLDER --push {options.push}"  # no path of this machine
            shared = push(made.plan, output, options.push, shown, options.private)
            print(
                f"the data and a recipe that reads them there are on the Hub: {shared}; here too, "
                f"--data.source={shared} takes them from there"
            )
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
    print(
        f"train:  python -m train --config {made.recipe} --resume latest\n"
        f"share:  python -m cocosnet_hf.hub folder out/{name}/pipeline user/repo"
    )


def describe(made: Prepared) -> str:
    """What was found and taken, in lines."""
    counts = ", ".join(f"{len(items)} {split}" for split, items in made.found.splits.items())
    lines = [f"found {made.found.layout}: {counts}; to paint from: {made.plan.kind}"]
    lines += made.found.notes
    for split, report in made.reports.items():
        lines += [f"--- {split}", str(report)]
    if made.left_out:
        lines.append(f"{made.left_out} rows that cannot be used are left out of the metadata.")
    lines.append(f"--- written: {made.recipe.parent}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
