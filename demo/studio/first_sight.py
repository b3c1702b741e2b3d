"""What a tab shows before anything was done: a painted picture of two pictures chosen by eye.

It is painted when a model is bundled (`python -m tools.paint_first_sights`), so that the page need
not wait for it, and once at the start of the page for any other model.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import Any

from PIL import Image

from cocosnet_hf.bundled import ASSETS, READERS

from .gallery import FIRST, FIRST_PAIRS, FOLDER, Gallery, address_in, exhibit_files
from .painters import Painter
from .result import Address, as_data, board_value, encoded

RECORD = "record.json"


def first_sight(tab: str, painter: Painter, gallery: Gallery) -> dict[str, Any]:
    """A tab's first picture as `result.js` takes it."""
    folder = FOLDER / tab / FIRST
    if painter.is_bundled and (folder / RECORD).is_file():
        record = json.loads((folder / RECORD).read_text())
        if record["made_of"] == made_of(tab):
            # As files: within the page they would keep all of it from those with slow networks.
            files = record["files"].items()
            pictures = {name: address_in(tab, FIRST, file) for name, file in files}
            return record["value"] | pictures
    return paint(painter, gallery, as_data)


def paint(painter: Painter, gallery: Gallery, address: Address) -> dict[str, Any]:
    """The same, painted now. address: see `board_value`."""
    layout, look = gallery.layout.condition, gallery.look
    painting = painter.paint(layout, look.picture, look.condition)
    return board_value(painting, painter, layout, [look], address)


def store(tab: str, painter: Painter, gallery: Gallery) -> None:
    """Paint a tab's first sight and keep it beside its gallery."""
    folder = FOLDER / tab / FIRST
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()

    def kept(picture: Image.Image, name: str) -> str:
        file = name.replace("painting.png", "picture.jpg")  # one file for both
        (folder / file).write_bytes(encoded(picture, file))
        return file

    value = paint(painter, gallery, kept)
    files = {
        name: value.pop(name) for name in ("image", "download", "before", "warped", "exemplar")
    }
    record = {"made_of": made_of(tab), "files": files, "value": value}
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n")


def made_of(tab: str) -> str:
    """By which a stored picture is known to be of the bundled model, gallery and pair of now.

    The networks that guide the model's matching count as parts of it.
    """
    networks = [
        path
        for name in (tab, *READERS[tab])
        for path in sorted((ASSETS / name).rglob("*"))
        if path.suffix in (".json", ".safetensors")
    ]
    digest = hashlib.sha256(repr(FIRST_PAIRS[tab]).encode())
    for path in (*networks, *exhibit_files(FOLDER / tab)):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
