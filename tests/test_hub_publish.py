"""Sharing whole folders: trained pipelines, converted official checkpoints, Spaces."""

import configparser
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tiny
import torch
from huggingface_hub import ModelCard, SpaceCard
from loopback_hub import ALICE, LoopbackHub, connected_hub
from official import OFFICIAL, official_weights, write_checkpoints
from official import tiny as narrow
from PIL import Image

from cocosnet_hf import PRESETS, CoCosPipeline, MultiscaleDiscriminator, bundled_names
from cocosnet_hf.convert import OFFICIAL_DATA, official_details
from cocosnet_hf.hub import CardDetails, publish, write_card
from cocosnet_hf.hub.__main__ import main
from cocosnet_hf.hub.cards import INSTALL, usage
from cocosnet_hf.hub.publish import (
    publish_converted,
    publish_folder,
    publish_space,
)

REPO = "alice/pictures"
SPACE = "alice/paint"
REPOSITORY = Path(__file__).parent.parent
DEMO = REPOSITORY / "demo"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    with connected_hub(monkeypatch, tmp_path / "home") as running:
        yield running


def write_files(folder: Path, *names: str) -> None:
    """Files with something in them."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("something")


# A pipeline's folder -------------------------------------------------------------------------


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A folder as the trainer leaves it: two precisions, discriminator, card and sample."""
    pipe, folder = tiny.pipeline(), tmp_path / "pipeline"
    details = CardDetails(data="Drawn scenes.", sample=Image.new("RGB", (8, 8)))
    pipe.save_pretrained(folder)
    write_card(folder, pipe, details=details)
    tiny.discriminator().save_pretrained(folder / "discriminator")
    pipe.to(torch.float16).save_pretrained(folder, variant="fp16")
    return folder


def test_a_folder_is_shared_with_everything_in_it(hub: LoopbackHub, trained: Path):
    local = {p.relative_to(trained).as_posix() for p in trained.rglob("*") if p.is_file()}
    write_files(trained, ".cache/notes", "README.md~", "translation/#config.json#")
    publish_folder(trained, REPO, private=True, commit_message="Trained")
    assert set(hub.files(REPO)) - {".gitattributes"} == local
    assert hub.repositories["model", REPO].private
    assert CoCosPipeline.from_pretrained(REPO, variant="fp16") is not None
    MultiscaleDiscriminator.from_pretrained(REPO, subfolder="discriminator")
    text = hub.files(REPO)["README.md"].decode()
    assert f'from_pretrained("{REPO}")' in text
    assert "Drawn scenes." in text


def test_a_folder_can_be_proposed_or_put_on_a_branch(hub: LoopbackHub, trained: Path):
    hub.put(REPO, {"README.md": b"Other."})
    assert publish_folder(trained, REPO, create_pr=True).pr_num == 1
    publish_folder(trained, REPO, revision="v2")
    assert set(hub.files(REPO)) == {"README.md"}
    assert "model_index.json" in hub.files(REPO, "v2")
    with pytest.raises(ValueError, match="made against main; pass create_pr or revision"):
        publish_folder(trained, "alice/third", create_pr=True, revision="v2")
    assert ("model", "alice/third") not in hub.repositories


def test_a_folder_without_the_first_variant_is_shared_too(hub: LoopbackHub, tmp_path: Path):
    tiny.pipeline().save_pretrained(tmp_path / "half", variant="fp16")
    publish_folder(tmp_path / "half", REPO)
    assert "translation/diffusion_pytorch_model.fp16.safetensors" in hub.files(REPO)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "optimizer.pt").touch(), "holds pickled files: optimizer.pt"),
        (lambda folder: (folder / "model_index.json").unlink(), "is no saved pipeline"),
        (
            lambda folder: (
                folder / "translation/diffusion_pytorch_model.fp16.safetensors"
            ).unlink(),
            "no translation weights of the variant 'fp16'",
        ),
    ],
    ids=["pickle", "no index", "half a variant"],
)
def test_a_folder_that_nobody_could_open_is_not_shared(
    change: Callable[[Path], object], message: str, hub: LoopbackHub, trained: Path
):
    change(trained)
    with pytest.raises(ValueError, match=message):
        publish_folder(trained, REPO)
    assert hub.repositories == {}


# Converted official checkpoints --------------------------------------------------------------


def test_every_official_task_has_its_terms():
    conditions = [PRESETS[name].condition for name in OFFICIAL_DATA]
    assert all(preset.condition in conditions for preset in PRESETS.values())
    for preset in PRESETS.values():
        details = official_details(tiny.pipeline(preset.condition))
        assert "terms of use" in details.data or "non-commercial" in details.data


@pytest.mark.slow
def test_a_converted_checkpoint_is_shared_with_its_terms(hub: LoopbackHub, tmp_path: Path):
    weights = official_weights(narrow(OFFICIAL["celebahq"]))
    files = write_checkpoints(tmp_path / "official", weights)
    publish_converted(files, REPO, private=True)
    assert hub.repositories["model", REPO].private
    pipe = CoCosPipeline.from_pretrained(REPO)
    assert pipe.condition == PRESETS["celebahq"].condition
    key = "discriminators.1.layers.4.bias"
    network = MultiscaleDiscriminator.from_pretrained(REPO, subfolder="discriminator")
    found = network.state_dict()[key]
    assert torch.equal(found, weights["netD"]["discriminator_1.model4.0.bias"])
    card = ModelCard(hub.files(REPO)["README.md"].decode())
    assert card.data.license == "other"
    assert card.data.license_link == "https://github.com/microsoft/CoCosNet"
    assert "available for non-commercial research purposes only" in card.text
    assert card.data.library_name == "cocosnet_hf"
    assert f"```python\n{usage(pipe, REPO)}\n```" in card.text


def test_what_cannot_be_converted_is_not_shared(hub: LoopbackHub, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="expected latest_net_Corr.pth"):
        publish_converted(tmp_path, REPO)
    assert hub.repositories == {}


# Spaces --------------------------------------------------------------------------------------


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    folder = tmp_path / "demo"
    (folder / "examples").mkdir(parents=True)
    (folder / "__pycache__").mkdir()
    (folder / "README.md").write_text("---\ntitle: Paint\nsdk: gradio\n---\nA demo.\n")
    (folder / "app.py").write_text("print('hello')\n")
    (folder / "requirements.txt").write_text("torch\n")
    (folder / "examples" / "mask.png").write_bytes(b"a picture")
    (folder / "__pycache__" / "app.pyc").write_bytes(b"bytes")
    return folder


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


@pytest.mark.slow
@pytest.mark.parametrize("pipeline", [REPO, None], ids=["of the Hub", "bundled"])
def test_a_published_space_runs_the_package_beside_it_and_shows_the_pipeline(
    pipeline: str | None, hub: LoopbackHub, tmp_path: Path
):
    pytest.importorskip("gradio")
    tiny.pipeline().push_to_hub(REPO)
    publish_space(SPACE, pipeline, folder=DEMO)
    for name, content in hub.files(SPACE, kind="space").items():
        path = tmp_path / "space" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    program = "import app, cocosnet_hf; print(app.demo.title, cocosnet_hf.__file__, sep='\\n')"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    environment |= {"HF_HOME": str(tmp_path / "space-cache")}
    hub.requests.clear()
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path / "space",
        env=environment | hub.repositories["space", SPACE].variables,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    fetched = [line for line in hub.requests if f"GET /{REPO}/resolve/" in line]
    assert bool(fetched) == (pipeline is not None)
    title, package = result.stdout.splitlines()[-2:]
    assert title.startswith("CoCosNet")
    assert Path(package).is_relative_to(tmp_path / "space")


def test_a_space_installs_what_the_package_needs():
    setup = configparser.ConfigParser()
    setup.read(DEMO.parent / "setup.cfg")
    needed = setup["options"]["install_requires"].split("\n")
    lines = (DEMO / "requirements.txt").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [name for name in needed if name]


@pytest.mark.slow
def test_a_space_is_published_again_for_another_pipeline(hub: LoopbackHub, demo: Path):
    for name in (REPO, "alice/others"):
        tiny.pipeline().push_to_hub(name)
        publish_space(SPACE, name, folder=demo)
    assert hub.repositories["space", SPACE].variables == {"COCOSNET_PIPELINE": "alice/others"}
    assert b"- alice/others" in hub.files(SPACE, kind="space")["README.md"]


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


def test_a_space_for_what_is_no_pipeline_is_refused(hub: LoopbackHub, demo: Path):
    with pytest.raises(ValueError, match="alice/pictures cannot be found on the Hub"):
        publish_space(SPACE, REPO, folder=demo)
    hub.put(REPO, {"README.md": b"Nothing yet."})
    with pytest.raises(ValueError, match="is no saved pipeline"):
        publish_space(SPACE, REPO, folder=demo)
    assert ("space", SPACE) not in hub.repositories


# Command line --------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_line_shares_pipelines_and_spaces(
    hub: LoopbackHub,
    trained: Path,
    demo: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    weights = official_weights(narrow(OFFICIAL["ade20k"]))
    files = write_checkpoints(tmp_path / "official", weights)
    main(["folder", str(trained), REPO])
    main(["converted", str(files), "alice/official", "--task", "ade20k-noise", "--private"])
    main(["space", SPACE, "--pipeline", REPO, "--folder", str(demo)])
    main(["space", "alice/bundled", "--folder", str(demo)])
    links = capsys.readouterr().out.split()
    places = [REPO, "alice/official", f"spaces/{SPACE}", "spaces/alice/bundled"]
    assert [link.partition("/commit/")[0] for link in links] == [f"{hub.url}/{p}" for p in places]
    assert hub.repositories["model", "alice/official"].private
    assert not hub.repositories["model", REPO].private
    assert hub.repositories["space", "alice/bundled"].variables == {}
    assert CoCosPipeline.from_pretrained("alice/official").correspondence.config.exemplar_noise


def test_the_command_line_proposes_and_writes_to_branches(hub: LoopbackHub, trained: Path):
    hub.put(REPO, {"README.md": b"Other."})
    main(["folder", str(trained), REPO, "--create-pr"])
    main(["folder", str(trained), REPO, "--revision", "v2"])
    assert set(hub.files(REPO)) == {"README.md"}
    assert hub.files(REPO, "refs/pr/1") == hub.files(REPO, "v2")
    assert "model_index.json" in hub.files(REPO, "v2")


def test_the_command_line_reports_an_error_without_a_traceback(tmp_path: Path):
    with pytest.raises(SystemExit, match="^error: .* is no saved pipeline"):
        main(["folder", str(tmp_path), REPO])


@pytest.mark.slow
def test_the_command_is_found_by_its_name():
    command = [sys.executable, "-W", "error::RuntimeWarning", "-m", "cocosnet_hf.hub", "--help"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "user/space --pipeline user/repo" in result.stdout
