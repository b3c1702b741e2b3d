"""Write a pipeline without one of its pieces each, to be measured beside it.

    python -m tools.write_ablations edge-to-face out/ablations
    python -m cocosnet_hf.evaluate edge-to-face --data FOLDER --config RECIPE \
        --baselines sharp unguided=out/ablations/unguided ...

`sharp`, the warp alone, is the one without the painter. What a pipeline does not have is not
written.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from cocosnet_hf.bundled import locate

PIECES: dict[str, tuple[str, tuple[str, ...], Any]] = {
    "unguided": ("model_index.json", ("condition", "guided"), False),
    "matched-coarser": ("model_index.json", ("matching_scale",), 4),
    "detail-as-painted": ("translation/config.json", ("detail",), []),
}
"""By the name of what is left: the file, the setting in it and its value without the piece."""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pipeline", help="a pipeline's folder, or a bundled name")
    parser.add_argument("output", type=Path, help="gets a folder for each")
    options = parser.parse_args()
    folder, _ = locate(options.pipeline)
    for name in PIECES:
        if write_without(Path(folder), options.output / name, name):
            print(f"{name}={options.output / name}")


def write_without(folder: Path, output: Path, name: str) -> bool:
    """Write a pipeline's folder without a piece of `PIECES`; whether it has that piece."""
    file, (*groups, key), value = PIECES[name]
    if not (folder / file).is_file():
        return False
    settings = json.loads((folder / file).read_text())
    group = settings
    for each in groups:
        group = group.get(each) or {}
    if group.get(key, value) == value:
        return False
    group[key] = value
    shutil.copytree(folder, output, dirs_exist_ok=True)
    (output / file).write_text(json.dumps(settings, indent=2) + "\n")
    return True


if __name__ == "__main__":
    main()
