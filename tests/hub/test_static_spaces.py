"""Static Spaces, whose page paints in the browser."""

import json
from pathlib import Path

import pytest

from cocosnet_hf import bundled_names
from cocosnet_hf.bundled import ASSETS, READERS
from cocosnet_hf.hub.__main__ import main
from cocosnet_hf.hub.live import build_page, publish_page
from tests.support.loopback_hub import LoopbackHub
from tests.support.paths import REPOSITORY

SPACE = "alice/live"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    folder = tmp_path / "page"
    (folder / "models").mkdir(parents=True)
    (folder / "README.md").write_text("---\ntitle: Paint\nsdk: static\n---\nA page.\n")
    (folder / "index.html").write_text("<title>Paint</title>")
    (folder / "models" / "paint.onnx").write_bytes(b"a graph")
    return folder


def test_a_static_space_holds_what_the_page_holds_and_nothing_older(hub: LoopbackHub, page: Path):
    publish_page(SPACE, page)
    (page / "models" / "paint.onnx").rename(page / "models" / "other.onnx")
    publish_page(SPACE, page)
    files = hub.files(SPACE, kind="space")
    assert set(files) - {".gitattributes"} == {"README.md", "index.html", "models/other.onnx"}
    assert files["models/other.onnx"] == b"a graph"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("README.md", "---\ntitle: Paint\nsdk: gradio\n---\n", "must say `sdk: static`, got 'gra"),
        ("index.html", None, "lacks index.html; give a folder that build_page wrote"),
    ],
)
def test_a_folder_that_is_no_such_page_is_refused(
    hub: LoopbackHub, page: Path, name: str, text: str | None, message: str
):
    (page / name).unlink()
    if text is not None:
        (page / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        publish_page(SPACE, page)
    assert ("space", SPACE) not in hub.repositories


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--static", "--pipeline", "alice/other"], "shows the bundled pipelines alone"),
        (["--models", "pose-to-body"], "--models belongs to --static"),
        (["--static", "--models", "nothing"], "no bundled pipeline is nothing; known are"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: list[str], message: str):
    with pytest.raises(SystemExit, match=message):
        main(["space", SPACE, *options])


def test_a_page_of_a_pipeline_that_there_is_not_writes_nothing(tmp_path: Path):
    with pytest.raises(ValueError, match="no bundled pipeline is nothing"):
        build_page(tmp_path / "page", ["nothing"])
    assert not (tmp_path / "page").exists()


def test_the_page_offers_every_bundled_pipeline_and_begins_with_pictures_that_there_are():
    demo = REPOSITORY / "demo"
    jobs = {job["name"]: job for job in json.loads((demo / "live" / "jobs.json").read_text())}
    assert set(jobs) == set(READERS) == set(bundled_names())
    for name, job in jobs.items():
        pictures = sorted((demo / "gallery" / name).glob("*.jpg"))
        assert max(job["first"]) < len(pictures), name
    folders = {reader for readers in READERS.values() for reader in readers}
    assert all((ASSETS / reader / "config.json").is_file() for reader in folders)
