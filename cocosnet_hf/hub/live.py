"""The page that paints in the browser: built of the demo's `live`, shared as a static Space."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import CommitInfo, SpaceCard

from .. import face_reader
from ..bundled import READERS, bundled_names, locate, open_model
from ..cards import CARD_FILE
from ..conditions.guiding import KIN
from ..export import export, terms_of
from ..models.person import PersonNetwork
from ..models.scene import SceneNetwork
from ..transfer import commit, create_repository, own_files
from ..whole_files import write_whole
from .publish import PACKAGE, licence_file

RUNTIME = "1.30.0"
"""The version of onnxruntime-web on npm that the page runs."""

RUNTIME_SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
"""Of its package."""

RUNTIME_FILES = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)
"""What the page reads of it: with threads on the CPU, and on the GPU."""

EDITORS = {"canvas": ("keeping", "pixels", "canvas"), "pose": ("keeping", "pose")}
"""The editors of the demo's page, and the scripts that they are made of."""

EXPORTED = ("prepare.onnx", "paint.onnx", "model.json")


def build_page(
    output: str | Path, models: Sequence[str] = (), folder: str | Path = "demo", checks: int = 1
) -> Path:
    """Write the page that paints in the browser, with all that it reads, into a folder.

    models: names of bundled pipelines; all by default. folder: of the demo, whose `live` the page
    is, with the editors and the gallery that it shares. checks: see `export`. npm fetches
    onnxruntime-web, or takes it from its cache. The folder is a static Space as it stands; on
    other servers the two headers that its card names let browsers use threads. Raises ValueError
    for an unknown model, OSError where npm is missing or cannot fetch, and what `export` raises.
    """
    output, folder = Path(output), Path(folder)
    unknown = sorted(set(models) - set(bundled_names()))
    if unknown:
        raise ValueError(f"no bundled pipeline is {unknown[0]}; known are {bundled_names()}.")
    names = list(models) or bundled_names()
    shutil.copytree(folder / "live", output, dirs_exist_ok=True)
    studio = folder / "studio"
    for name in ("editors.css", "icon.svg"):
        shutil.copyfile(studio / name, output / name)
    for kind, scripts in EDITORS.items():
        (output / f"{kind}.js").write_text(_editor(studio, kind, scripts), encoding="utf-8")
    fetch_runtime(output / "ort")
    pictures = {name: _gallery(folder / "gallery" / name, output) for name in names}
    (output / "pictures.json").write_text(json.dumps(pictures) + "\n")
    for name in names:
        _write_model(name, output / "models" / name, checks)
    for reader in sorted({reader for name in names for reader in READERS[name]}):
        _write_reader(reader, output / "readers")
    shutil.copyfile(licence_file(), output / "LICENSE")
    return output


def publish_page(
    space_id: str,
    page: str | Path,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
) -> CommitInfo:
    """Put the page that paints in the browser on the Hub as a static Space, which needs no server.

    page: the folder that `build_page` wrote. Other files that the Space has are removed in the same
    commit. Raises ValueError for another folder, and what `create_repository` and `commit` raise.
    """
    files = own_files(page)
    if missing := [name for name in (CARD_FILE, "index.html") if name not in files]:
        raise ValueError(f"{page} lacks {missing[0]}; give a folder that build_page wrote.")
    sdk = SpaceCard.load(Path(page, CARD_FILE)).data.get("sdk")
    if sdk != "static":
        raise ValueError(f"the header of {page}/{CARD_FILE} must say `sdk: static`, got {sdk!r}.")
    space_id = create_repository(
        space_id, repo_type="space", space_sdk="static", private=private, token=token
    )
    message = "Paint in the browser"
    return commit(files, space_id, message, repo_type="space", token=token, mirror=True)


def fetch_runtime(output: Path) -> None:
    """Lay the files of onnxruntime-web into a folder, by npm.

    Raises OSError where npm is missing or fails, and ValueError for another package than is meant.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise OSError("npm, which fetches onnxruntime-web, is not installed; install Node.js.")
    with tempfile.TemporaryDirectory() as folder:
        package = f"onnxruntime-web@{RUNTIME}"
        command = [npm, "pack", package, "--prefer-offline", "--silent"]
        done = subprocess.run(
            [*command, "--pack-destination", folder], cwd=folder, capture_output=True, text=True
        )
        archive = Path(folder, f"onnxruntime-web-{RUNTIME}.tgz")
        if done.returncode or not archive.is_file():
            reason = done.stderr.strip()[-300:] or f"npm ended with {done.returncode}"
            raise OSError(f"npm cannot fetch {package}: {reason}. Connect once, and try again.")
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != RUNTIME_SHA256:
            raise ValueError(
                f"{package} has the checksum {found}, expected {RUNTIME_SHA256}; npm's registry "
                f"gave another package. Try another registry."
            )
        output.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as files:
            for name in RUNTIME_FILES:
                content: Any = files.extractfile(f"package/dist/{name}")
                (output / name).write_bytes(content.read())


def _editor(studio: Path, kind: str, scripts: Sequence[str]) -> str:
    """An editor of the demo's page, which gradio gives its element and props, as a module."""
    template = json.dumps((studio / f"{kind}.html").read_text(encoding="utf-8"))
    source = "".join((studio / f"{name}.js").read_text(encoding="utf-8") for name in scripts)
    return (
        f"// Made of the demo's editors: {', '.join(f'{name}.js' for name in scripts)}.\n"
        f"export const template = {template};\n"
        f"export function attach(element, props, trigger, watch) {{\n{source}}}\n"
    )


def _gallery(source: Path, output: Path) -> list[dict[str, str]]:
    """Copy a job's pictures, and layouts where they have any; what the page calls them."""
    if not source.is_dir():
        raise FileNotFoundError(f"{source}, with the pictures to choose from, is not there.")
    target = output / "gallery" / source.name
    target.mkdir(parents=True, exist_ok=True)
    entries = []
    for picture in sorted(source.glob("*.jpg")):
        entry = {"picture": picture}
        for suffix in (".png", ".json"):
            if (layout := picture.with_suffix(suffix)).is_file():
                entry["layout"] = layout
        for path in entry.values():
            shutil.copyfile(path, target / path.name)
        entries.append({what: f"gallery/{source.name}/{path.name}" for what, path in entry.items()})
    return entries


def _write_model(name: str, target: Path, checks: int) -> None:
    """Export a bundled pipeline; beside its settings stands what the page's scripts cannot know."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        terms = terms_of(locate(name)[0]) | {"source": name}
        export(open_model(name), made, "fp16", terms, checks)
        for file in EXPORTED:
            shutil.copyfile(Path(made, file), target / file)
    settings = json.loads((target / "model.json").read_text())
    classes = settings["classes"]
    settings["face_side"] = face_reader.SIDE
    settings["kin"] = {
        classes.index(one): [classes.index(other) for other in kin]
        for one, kin in KIN.items()
        if {one, *kin} <= set(classes)
    }
    (target / "model.json").write_text(json.dumps(settings, indent=2) + "\n")


def _write_reader(name: str, target: Path) -> None:
    from ..exporting.readers import reader_file  # needs the extra that `export` has asked for

    kinds = {kind.__name__: kind for kind in (PersonNetwork, SceneNetwork)}
    folder = PACKAGE / "assets" / name
    kind = kinds[json.loads((folder / "config.json").read_text())["_class_name"]]
    network = kind.from_pretrained(folder, variant="fp16", dtype=torch.float32)
    write_whole(target / f"{name}.onnx", reader_file(network))
