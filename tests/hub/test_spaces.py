"""Spaces that show a pipeline."""

import configparser
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import SpaceCard

from cocosnet_hf import EdgeCondition, ImageTranslationPipeline, bundled_names
from cocosnet_hf.cards import INSTALL
from cocosnet_hf.hub import publish
from cocosnet_hf.hub.publish import publish_space
from tests.support import tiny, toy_condition, toy_system
from tests.support.hubs import write_files
from tests.support.loopback_hub import ALICE, LoopbackHub
from tests.support.paths import REPOSITORY

REPO = "alice/pictures"
SPACE = "alice/paint"
DEMO = REPOSITORY / "demo"


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package without the bundled pipelines, of which each upload reads 36 MB."""
    copy = tmp_path_factory.mktemp("code") / publish.PACKAGE.name
    without = shutil.ignore_patterns("assets", "__pycache__")
    shutil.copytree(publish.PACKAGE, copy, ignore=without)
    shutil.copy(REPOSITORY / "LICENSE", copy.parent)
    return copy


@pytest.fixture
def small(code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spaces get the modules alone."""
    monkeypatch.setattr(publish, "PACKAGE", code)


@pytest.mark.usefixtures("small")
def test_a_space_shows_the_pipeline_that_it_is_published_for(hub: LoopbackHub, demo: Path):
    tiny.pipeline().push_to_hub(REPO)
    publish_space(SPACE, REPO, folder=demo)
    files = hub.files(SPACE, kind="space")
    assert {name for name in files if not name.startswith("cocosnet_hf/")} == {
        ".gitattributes",
        "LICENSE",
        "README.md",
        "app.py",
        "requirements.txt",
        "examples/mask.png",
    }
    card = SpaceCard(files["README.md"].decode())
    assert (card.data.title, card.data.models) == ("Paint", [REPO])
    assert card.text == "A demo.\n"
    assert hub.repositories["space", SPACE].variables == {"COCOSNET_PIPELINE": REPO}


@pytest.mark.slow
def test_a_space_can_show_the_bundled_pipelines_alone(hub: LoopbackHub, demo: Path):
    tiny.pipeline().push_to_hub(REPO)
    publish_space(SPACE, REPO, folder=demo)
    publish_space(SPACE, folder=demo)
    publish_space("alice/fresh", folder=demo)
    for name in (SPACE, "alice/fresh"):
        assert hub.repositories["space", name].variables == {}
        files = hub.files(name, kind="space")
        assert SpaceCard(files["README.md"].decode()).data.get("models") is None
        for bundled in bundled_names():
            assert f"cocosnet_hf/assets/{bundled}/model_index.json" in files


def tracked() -> set[str]:
    """The files of the package that git knows."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    listed = subprocess.run(
        ["git", "ls-files", "cocosnet_hf"], cwd=REPOSITORY, capture_output=True, text=True
    )
    if listed.returncode != 0:
        pytest.skip("this is no clone of the repository")
    return set(listed.stdout.split())


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clean copy of the package, which Spaces then get."""
    for name in ("LICENSE", "README.md", "pyproject.toml", "setup.cfg", *tracked()):
        target = tmp_path / "clone" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / name, target)
    monkeypatch.setattr(publish, "PACKAGE", tmp_path / "clone" / "cocosnet_hf")
    return publish.PACKAGE


def test_a_space_carries_the_package_and_nothing_that_merely_lies_in_its_folder(
    hub: LoopbackHub, demo: Path, package: Path
):
    write_files(
        package,
        "__pycache__/matching.cpython-311.pyc",
        "matching.pyc",
        "matching.py~",
        "#matching.py#",
        ".matching.py.swp",
        "notes.txt",
        "trial/experiment.py",
        "assets/pose-to-body/README.md",
        "assets/pose-to-body/translation/config.json",
        "assets/mask-to-image/README.md.orig",
        "assets/mask-to-image/examples/.DS_Store",
    )
    publish_space(SPACE, folder=demo)
    files = hub.files(SPACE, kind="space")
    assert {name for name in files if name.startswith("cocosnet_hf/")} == tracked()
    name = "cocosnet_hf/assets/mask-to-image/model_index.json"
    assert files[name] == (package.parent / name).read_bytes()


@pytest.mark.slow
def test_a_space_carries_what_pip_installs(package: Path, tmp_path: Path):
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--no-compile", "--quiet"]
    pip = [sys.executable, "-m", "pip", *INSTALL.splitlines()[-1].split()[1:], *options]
    subprocess.run([*pip, "--target", str(tmp_path / "site")], cwd=package.parent, check=True)
    installed = tmp_path / "site" / "cocosnet_hf"
    names = {p.relative_to(installed).as_posix() for p in installed.rglob("*") if p.is_file()}
    assert set(publish.package_files()) == names
    program = "from cocosnet_hf.hub import publish; print(publish.__file__, publish.licence_file())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path / "site",
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )
    module, licence = done.stdout.split()
    assert Path(module).is_relative_to(installed)
    assert Path(licence).read_bytes() == (REPOSITORY / "LICENSE").read_bytes()


def test_a_bundled_pipeline_that_could_not_be_opened_is_not_put_into_a_space(
    hub: LoopbackHub, demo: Path, package: Path
):
    (weights,) = (package / "assets/mask-to-image/translation").glob("*.safetensors")
    weights.unlink()
    with pytest.raises(ValueError, match="mask-to-image has no translation weights of the variant"):
        publish_space(SPACE, folder=demo)
    assert ("space", SPACE) not in hub.repositories


@pytest.mark.usefixtures("small")
def test_what_an_earlier_version_left_in_a_space_is_removed_in_the_same_commit(
    hub: LoopbackHub, demo: Path
):
    publish_space(SPACE, folder=demo)
    current = dict(hub.files(SPACE, kind="space"))
    old = ("cocosnet_hf/matching_old.py", "cocosnet_hf/assets/old/model_index.json", "old_tab.py")
    hub.put(SPACE, {name: b"old" for name in (*old, ".gitignore", "app.py")}, kind="space")
    hub.requests.clear()
    publish_space(SPACE, folder=demo)
    assert hub.files(SPACE, kind="space") == current | {".gitignore": b"old"}
    assert len(hub.commits) == 1
    publish_space(SPACE, folder=demo)
    assert len(hub.commits) == 1


@pytest.mark.usefixtures("small")
def test_an_upload_of_a_space_that_breaks_changes_nothing_and_can_be_repeated(
    hub: LoopbackHub, demo: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(time, "sleep", lambda _: None)  # the client waits between its attempts
    tiny.pipeline().push_to_hub(REPO)
    publish_space(SPACE, folder=demo)
    before = dict(hub.files(SPACE, kind="space"))
    (demo / "examples" / "mask.png").write_bytes(b"another picture")
    hub.put(SPACE, {"old.py": b""}, kind="space")
    hub.cut_after = 3
    with pytest.raises(
        ConnectionError,
        match="upload to alice/paint broke off .*holds all of this commit or nothing",
    ):
        publish_space(SPACE, REPO, folder=demo)
    assert hub.files(SPACE, kind="space") == before | {"old.py": b""}
    assert hub.repositories["space", SPACE].variables == {}
    hub.cut_after = None
    publish_space(SPACE, REPO, folder=demo)
    assert hub.files(SPACE, kind="space")["examples/mask.png"] == b"another picture"
    assert hub.repositories["space", SPACE].variables == {"COCOSNET_PIPELINE": REPO}


@pytest.mark.usefixtures("small")
def test_the_demo_of_this_repository_is_such_a_space(hub: LoopbackHub):
    tiny.pipeline().push_to_hub(REPO)
    publish_space(SPACE, REPO, folder=DEMO)
    files = hub.files(SPACE, kind="space")
    assert {"app.py", "requirements.txt"} < set(files)
    before = SpaceCard((DEMO / "README.md").read_text(encoding="utf-8"))
    after = SpaceCard(files["README.md"].decode())
    assert after.data.to_dict() == before.data.to_dict() | {"models": [REPO]}
    assert after.text == before.text
    assert after.data.license == "other" and "for non-commercial research" in after.text


SHOWN = """
import importlib, os, urllib.error, urllib.request
shown = os.environ.pop("COCOSNET_PIPELINE")
import app, cocosnet_hf
print("SHOWN", app.demo.title, cocosnet_hf.__file__, sep="\\n")
try:
    urllib.request.urlopen(os.environ["HF_ENDPOINT"] + "/now-another")
except urllib.error.HTTPError:
    pass
os.environ["COCOSNET_PIPELINE"] = shown
importlib.reload(app)
print("SHOWN", app.demo.title, cocosnet_hf.__file__, sep="\\n")
"""
"""A Space of the bundled pipelines, then, in the same process, one of a pipeline of the Hub."""


@pytest.mark.slow
def test_a_published_space_runs_the_package_beside_it_and_shows_the_pipeline(
    hub: LoopbackHub, tmp_path: Path
):
    pytest.importorskip("gradio")
    tiny.pipeline().push_to_hub(REPO)
    publish_space("alice/bundled", None, folder=DEMO)
    publish_space(SPACE, REPO, folder=DEMO)
    files = dict(hub.files(SPACE, kind="space"))
    assert hub.repositories["space", "alice/bundled"].variables == {}
    bundled = dict(hub.files("alice/bundled", kind="space"))
    assert files.pop("README.md") != bundled.pop("README.md")
    assert files == bundled
    for name, content in files.items():
        path = tmp_path / "space" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    environment |= {"HF_HOME": str(tmp_path / "space-cache")}
    hub.requests.clear()
    result = subprocess.run(
        [sys.executable, "-c", SHOWN],
        cwd=tmp_path / "space",
        env=environment | hub.repositories["space", SPACE].variables,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    (marked,) = (i for i, line in enumerate(hub.requests) if line == "GET /now-another")
    fetched = [f"GET /{REPO}/resolve/" in line for line in hub.requests]
    assert not any(fetched[:marked]) and any(fetched[marked:])
    parts = result.stdout.split("SHOWN\n")[1:]
    assert len(parts) == 2
    for part in parts:
        title, package = part.splitlines()[:2]
        assert title.startswith("CoCosNet")
        assert Path(package).is_relative_to(tmp_path / "space")


def test_a_space_installs_what_the_package_needs():
    setup = configparser.ConfigParser()
    setup.read(DEMO.parent / "setup.cfg")
    needed = setup["options"]["install_requires"].split("\n")
    lines = (DEMO / "requirements.txt").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [name for name in needed if name]


@pytest.mark.usefixtures("small")
def test_a_space_is_published_again_for_another_pipeline(hub: LoopbackHub, demo: Path):
    for name in (REPO, "alice/others"):
        tiny.pipeline().push_to_hub(name)
        publish_space(SPACE, name, folder=demo)
    assert hub.repositories["space", SPACE].variables == {"COCOSNET_PIPELINE": "alice/others"}
    assert b"- alice/others" in hub.files(SPACE, kind="space")["README.md"]


@pytest.mark.usefixtures("small")
def test_a_private_pipeline_gets_a_private_space_from_its_owner_only(
    hub: LoopbackHub, demo: Path, monkeypatch: pytest.MonkeyPatch
):
    tiny.pipeline().push_to_hub(REPO, private=True)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ValueError, match="push the pipeline first, or use a token that may read"):
        publish_space(SPACE, REPO, folder=demo)
    assert ("space", SPACE) not in hub.repositories
    publish_space(SPACE, REPO, folder=demo, private=True, token=ALICE)
    assert hub.repositories["space", SPACE].private
    assert hub.repositories["space", SPACE].variables == {"COCOSNET_PIPELINE": REPO}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "app.py").unlink(), "lacks app.py; expected a Space's folder"),
        (
            lambda folder: (folder / "README.md").write_text("---\nsdk: static\n---\n"),
            "must say `sdk: gradio`, got 'static'",
        ),
    ],
    ids=["no app", "another kind"],
)
def test_a_folder_that_is_no_gradio_space_is_refused(
    change: Callable[[Path], object], message: str, hub: LoopbackHub, demo: Path
):
    tiny.pipeline().push_to_hub(REPO)
    change(demo)
    with pytest.raises(ValueError, match=message):
        publish_space(SPACE, REPO, folder=demo)
    assert ("space", SPACE) not in hub.repositories


@pytest.mark.usefixtures("small")
def test_a_space_shows_the_pipeline_of_any_system_of_this_package(hub: LoopbackHub, demo: Path):
    tiny.style_pipeline().push_to_hub(REPO)
    publish_space(SPACE, REPO, folder=demo)
    assert hub.repositories["space", SPACE].variables == {"COCOSNET_PIPELINE": REPO}


@pytest.mark.parametrize(
    ("make", "needed"),
    [
        (
            lambda: toy_system.ToyPipeline(toy_system.Shifter(3), EdgeCondition()),
            toy_system.__name__,
        ),
        (lambda: tiny.pipeline(toy_condition.Brightness()), toy_condition.__name__),
    ],
    ids=["system", "condition"],
)
def test_a_space_for_what_another_package_defines_is_refused(
    make: Callable[[], ImageTranslationPipeline], needed: str, hub: LoopbackHub, demo: Path
):
    make().push_to_hub(REPO)
    with pytest.raises(ValueError, match=needed):
        publish_space(SPACE, REPO, folder=demo)
    assert ("space", SPACE) not in hub.repositories


def test_a_space_for_what_is_no_pipeline_is_refused(hub: LoopbackHub, demo: Path):
    with pytest.raises(ValueError, match="alice/pictures cannot be found on the Hub"):
        publish_space(SPACE, REPO, folder=demo)
    hub.put(REPO, {"README.md": b"Nothing yet."})
    with pytest.raises(ValueError, match="is no saved pipeline"):
        publish_space(SPACE, REPO, folder=demo)
    assert ("space", SPACE) not in hub.repositories
