"""Sharing whole folders: trained pipelines, converted official checkpoints."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard, snapshot_download

from cocosnet_hf import PRESETS, CoCosPipeline, MultiscaleDiscriminator
from cocosnet_hf.cards import usage
from cocosnet_hf.convert import OFFICIAL_DATA, official_details
from cocosnet_hf.hub.__main__ import main
from cocosnet_hf.hub.publish import publish_converted, publish_folder
from cocosnet_hf.systems import StyleVectorPipeline
from tests.support import tiny
from tests.support.hubs import write_files
from tests.support.loopback_hub import LoopbackHub
from tests.support.official import OFFICIAL, official_weights, write_checkpoints
from tests.support.official import tiny as narrow

REPO = "alice/pictures"
SPACE = "alice/paint"


# A pipeline's folder -------------------------------------------------------------------------


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


@pytest.mark.usefixtures("hub")
def test_the_pipeline_of_another_system_is_shared_too(tmp_path: Path):
    pipe = tiny.style_pipeline()
    encoder = pipe.style_encoder
    pipe.save_pretrained(tmp_path)
    publish_folder(tmp_path, REPO)
    opened = StyleVectorPipeline.from_pretrained(REPO).style_encoder.state_dict()
    assert all(torch.equal(opened[key], value) for key, value in encoder.state_dict().items())
    (tmp_path / "style_encoder/diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ValueError, match="no style_encoder weights"):
        publish_folder(tmp_path, REPO)


def test_a_folder_with_networks_of_unknown_code_is_not_shared(hub: LoopbackHub, trained: Path):
    index = json.loads((trained / "model_index.json").read_text())
    index["translation"] = ["somebodys_module", "Painter"]
    (trained / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="somebodys_module.* for translation; expected"):
        publish_folder(trained, REPO)
    assert hub.repositories == {}


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


def test_links_out_of_a_folder_are_not_shared(hub: LoopbackHub, trained: Path, tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text("a key")
    (trained / "again.md").symlink_to(trained / "README.md")
    publish_folder(trained, REPO)
    assert "again.md" in hub.files(REPO)
    (trained / "samples.txt").symlink_to(secret)
    with pytest.raises(ValueError, match=r"samples.txt is a link to .*secret, which lies outside"):
        publish_folder(trained, "alice/second")
    assert ("model", "alice/second") not in hub.repositories


def test_no_folder_is_not_the_current_one(trained: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(trained)
    with pytest.raises(ValueError, match="no folder is named"):
        publish_folder("", REPO)


def test_a_download_in_the_cache_is_shared_though_it_is_links(
    hub: LoopbackHub, edges: CoCosPipeline
):
    edges.push_to_hub("alice/first")
    folder = snapshot_download("alice/first")
    assert any(path.is_symlink() for path in Path(folder).rglob("*"))
    publish_folder(folder, REPO)
    assert hub.files(REPO).keys() == hub.files("alice/first").keys()


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
