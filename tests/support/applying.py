"""Small collections that a tiny pipeline is applied to, and what came of it."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import torch
from pyarrow import parquet

from cocosnet_hf.applying import ApplySettings, apply
from cocosnet_hf.datasets import DataSettings
from tests.support.pictures import assert_same_but_for_rounding, whole_picture
from tests.support.processes import forget_processes, fork

COLUMNS = ("name", "position", "exemplar", "exemplar_position", "score")


def settings(root: Path, output: str | Path = "painted", **changes: Any) -> ApplySettings:
    """Of a run over the 20 scenes in `root`/data, in shards of 6, three pictures at once."""
    data = DataSettings(source=str(root / "data"), cache_dir=str(root / "cache"))
    pool = DataSettings(source=str(root / "pool"), cache_dir=str(root / "cache"))
    given = {"data": data, "exemplars": pool, "shard_items": 6, "batch_size": 3, "threads": 2}
    return ApplySettings(
        pipeline=str(root / "pipeline"), output=str(root / output), **given | changes
    )


def run(chosen: ApplySettings) -> None:
    """Apply as a process of its own does, on one thread: several add in any order."""
    forget_processes()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        apply(chosen)
    finally:
        torch.set_num_threads(threads)


def process(chosen: ApplySettings) -> Any:
    """A running process that applies."""
    return fork(run, chosen)


def files(folder: Path, suffix: str = "") -> dict[str, bytes]:
    """Every file of an output by its name, without the record."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob(f"*{suffix}"))
        if path.is_file() and ".apply" not in str(path.relative_to(folder))
    }


def assert_painted_alike(folder: Path, other: Path) -> None:
    """Two outputs of other processes hold the same, their pictures but for rounding."""
    found, expected = members(folder), members(other)
    assert found.keys() == expected.keys()
    for name, content in found.items():
        if name.endswith(".png"):
            same = whole_picture(io.BytesIO(expected[name]))
            assert_same_but_for_rounding(whole_picture(io.BytesIO(content)), same)
        else:
            assert content == expected[name], name


def members(folder: Path) -> dict[str, bytes]:
    """As `files`, with what is packed in tars and Parquet files in their place."""
    found = {}
    for name, content in files(folder).items():
        if name.endswith(".tar"):
            with tarfile.open(fileobj=io.BytesIO(content)) as packed:
                for member in packed:
                    found[f"{name}/{member.name}"] = packed.extractfile(member).read()
        elif name.endswith(".parquet"):
            for number, row in enumerate(parquet.read_table(io.BytesIO(content)).to_pylist()):
                found[f"{name}/{number}.png"] = row.pop("image")["bytes"]
                found[f"{name}/{number}"] = repr(row).encode()
        else:
            found[name] = content
    return found


def lines(folder: Path) -> list[dict[str, Any]]:
    """The provenance of all pictures in a folder."""
    return [
        json.loads(line)
        for path in sorted(folder.glob("*/metadata.jsonl"))
        for line in path.read_text().splitlines()
    ]
