"""Loading pipelines from a Hub: what is fetched, and what is refused."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard, constants, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load, save

from cocosnet_hf import (
    CoCosPipeline,
    CorrespondenceNetwork,
    MultiscaleDiscriminator,
    TranslationNetwork,
)
from tests.support import tiny
from tests.support.hubs import REPO, WEIGHTS, downloads, loaded, same
from tests.support.loopback_hub import LoopbackHub

# What is fetched, and from where -------------------------------------------------------------


def test_only_what_is_opened_is_downloaded(hub: LoopbackHub, edges: CoCosPipeline, tmp_path: Path):
    edges.save_pretrained(tmp_path / "saved")
    edges.save_pretrained(tmp_path / "saved", variant="other")
    tiny.discriminator().save_pretrained(tmp_path / "saved" / "discriminator")
    hub.put_folder(REPO, tmp_path / "saved")
    translation = tiny.translation(seed=5)
    assert loaded(translation=translation).translation is translation
    correspondence = ["correspondence/config.json", f"correspondence/{WEIGHTS}"]
    assert downloads(hub) == [*correspondence, "model_index.json"]


def test_a_single_network_is_loaded_by_its_folder(hub: LoopbackHub, edges: CoCosPipeline):
    hub.put(REPO, {"discriminator/config.json": b"{}"})
    edges.push_to_hub(REPO)
    network = TranslationNetwork.from_pretrained(REPO, subfolder="translation")
    for own, other in zip(network.parameters(), edges.translation.parameters(), strict=True):
        assert torch.equal(own, other)
    with pytest.raises(ValueError, match="expected the configuration of a CorrespondenceNetwork"):
        CorrespondenceNetwork.from_pretrained(REPO, subfolder="translation")
    with pytest.raises(ValueError, match="expected the configuration of a MultiscaleDiscriminator"):
        MultiscaleDiscriminator.from_pretrained(REPO, subfolder="discriminator")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["switched off", "hub gone", "local files only"])
def test_a_loaded_pipeline_is_there_again_without_the_hub(
    how: str, hub: LoopbackHub, edges: CoCosPipeline, monkeypatch: pytest.MonkeyPatch
):
    edges.push_to_hub(REPO)
    loaded()
    if how == "switched off":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    elif how == "hub gone":
        hub.stop()
    hub.requests.clear()
    again = loaded(local_files_only=True) if how == "local files only" else loaded()
    assert hub.requests == []
    assert same(again, edges)


@pytest.mark.slow
def test_a_variant_in_pieces_from_a_pull_request_is_there_again_without_the_hub(
    hub: LoopbackHub, edges: CoCosPipeline
):
    edges.push_to_hub(REPO)
    other, translation = tiny.pipeline(seed=3), tiny.translation(seed=5)
    other.push_to_hub(REPO, variant="fp32", max_shard_size="100KB", create_pr=True)
    chosen = {"variant": "fp32", "revision": "refs/pr/1"}
    loaded(**chosen)
    loaded(translation=translation)
    hub.stop()
    assert same(loaded(**chosen), other)
    assert loaded(translation=translation).translation is translation
    with pytest.raises(LocalEntryNotFoundError, match=f"incomplete.*translation/{WEIGHTS}"):
        loaded()


def test_a_part_of_a_repository_in_the_cache_is_not_taken_for_a_pipeline(
    hub: LoopbackHub, edges: CoCosPipeline, monkeypatch: pytest.MonkeyPatch
):
    first = edges.push_to_hub(REPO)
    loaded()
    hub.put(REPO, {"README.md": b"---\nlicense: mit\n---\nNewer.\n"})
    ModelCard.load(REPO)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(FileNotFoundError, match="cached copy .* has only README.md, .* revision="):
        loaded()
    assert same(loaded(revision=first.oid), edges)


def test_a_pipeline_that_was_never_loaded_is_missed_without_the_hub(
    hub: LoopbackHub, edges: CoCosPipeline, monkeypatch: pytest.MonkeyPatch
):
    edges.push_to_hub(REPO)
    with pytest.raises(LocalEntryNotFoundError, match="check your internet connection"):
        hub.stop()
        loaded()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(LocalEntryNotFoundError, match="HF_HUB_OFFLINE"):
        loaded()


# What is refused -----------------------------------------------------------------------------


class Trap:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self) -> tuple:
        return Path.touch, (self.trace,)


def test_a_repository_with_a_pickle_is_refused_before_anything_is_downloaded(
    hub: LoopbackHub, edges: CoCosPipeline, tmp_path: Path
):
    edges.push_to_hub(REPO)
    trap = pickle.dumps(Trap(tmp_path / "trace"))
    hub.put(REPO, {"translation/diffusion_pytorch_model.bin": trap})
    with pytest.raises(
        ValueError, match="refused because it holds pickled files: translation/diff"
    ):
        loaded()
    hub.remove(REPO, f"translation/{WEIGHTS}")
    with pytest.raises(ValueError, match="convert it"):
        loaded()
    assert downloads(hub) == []
    assert not (tmp_path / "trace").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pipeline.py", "translation/cocosnet_hf.py", "kernels/fast.SO"])
def test_a_repository_with_code_is_refused_before_anything_is_downloaded(
    name: str, hub: LoopbackHub, edges: CoCosPipeline, tmp_path: Path
):
    edges.push_to_hub(REPO)
    hub.put(REPO, {name: f"open({str(tmp_path / 'trace')!r}, 'w')".encode()})
    with pytest.raises(ValueError, match=f"refused because it holds code: {name}"):
        loaded()
    with pytest.raises(ValueError, match="refused because it holds code"):
        loaded(trust_remote_code=True, custom_pipeline=REPO)
    assert downloads(hub) == []
    assert not (tmp_path / "trace").exists()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["switched off", "hub gone", "local files only"])
def test_what_is_refused_on_the_hub_is_refused_in_the_cache(
    how: str,
    hub: LoopbackHub,
    edges: CoCosPipeline,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    edges.push_to_hub(REPO)
    code = f"open({str(tmp_path / 'trace')!r}, 'w')".encode()
    hub.put(REPO, {"translation/cocosnet_hf.py": code})
    snapshot_download(REPO)  # as another program may
    options = {"trust_remote_code": True}
    if how == "switched off":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    elif how == "hub gone":
        hub.stop()
    else:
        options["local_files_only"] = True
    with pytest.raises(ValueError, match="cached copy of alice/edges is refused .* holds code"):
        loaded(**options)
    assert not (tmp_path / "trace").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", [{"_class_name": ["pipeline", "Evil"]}, {"translation": ["evil", "Network"]}]
)
def test_an_index_that_names_what_this_package_does_not_have_is_refused(
    change: dict, hub: LoopbackHub, edges: CoCosPipeline
):
    edges.push_to_hub(REPO)
    index = json.loads(hub.files(REPO)["model_index.json"]) | change
    hub.put(REPO, {"model_index.json": json.dumps(index).encode()})
    with pytest.raises(ValueError, match=r"refused .* its model_index.json says \['(pipel|evil)"):
        loaded()


@pytest.mark.parametrize("entry", [{"a": 1}, "cocosnet_hf", [], None])
def test_an_index_whose_networks_are_no_pairs_is_refused(
    entry: object, hub: LoopbackHub, edges: CoCosPipeline
):
    edges.push_to_hub(REPO)
    index = json.loads(hub.files(REPO)["model_index.json"]) | {"translation": entry}
    hub.put(REPO, {"model_index.json": json.dumps(index).encode()})
    with pytest.raises(ValueError, match="refused because its model_index.json says .* translat"):
        loaded()


@pytest.mark.parametrize("index", [b"{", b"[]"], ids=["broken", "a list"])
def test_an_index_that_is_none_is_refused(index: bytes, hub: LoopbackHub, edges: CoCosPipeline):
    edges.push_to_hub(REPO)
    hub.put(REPO, {"model_index.json": index})
    with pytest.raises(ValueError, match="its model_index.json is no JSON object; expected one as"):
        loaded()


def test_a_repository_that_is_no_pipeline_is_refused(hub: LoopbackHub, edges: CoCosPipeline):
    hub.put(REPO, {"README.md": b"Nothing yet."})
    with pytest.raises(ValueError, match="has no model_index.json and is no saved pipeline"):
        loaded()
    edges.push_to_hub(REPO)
    hub.remove(REPO, "correspondence/config.json")
    with pytest.raises(ValueError, match="has no correspondence/config.json; expected a pipeline"):
        loaded()
    assert downloads(hub) == []


def test_missing_files_of_weights_are_refused_with_those_that_are_there(
    hub: LoopbackHub, edges: CoCosPipeline
):
    edges.push_to_hub(REPO, variant="fp32")
    edges.push_to_hub(REPO, variant="bf16")
    without = "no correspondence weights without a variant; .*: bf16, fp32"
    with pytest.raises(ValueError, match=without):
        loaded()
    with pytest.raises(ValueError, match="no correspondence weights of the variant 'fp16'"):
        loaded(variant="fp16")
    hub.remove(REPO, "translation/diffusion_pytorch_model.fp32.safetensors")
    with pytest.raises(ValueError, match="no translation weights of the variant 'fp32'; .*: bf16"):
        loaded(variant="fp32")
    assert downloads(hub) == []


def test_the_only_variant_is_found(hub: LoopbackHub, edges: CoCosPipeline):
    edges.push_to_hub(REPO, variant="fp32")
    assert same(loaded(), edges)
    hub.stop()
    assert same(loaded(), edges)


def test_missing_pieces_of_weights_are_refused_before_anything_is_downloaded(
    hub: LoopbackHub, edges: CoCosPipeline
):
    edges.push_to_hub(REPO, max_shard_size="100KB")
    whole = dict(hub.files(REPO))
    pieces = sorted(name for name in whole if "translation/" in name and "-of-" in name)
    assert len(pieces) > 1
    for name in (pieces[0], pieces[-1], f"translation/{WEIGHTS}.index.json"):
        hub.put(REPO, whole)
        hub.remove(REPO, name)
        with pytest.raises(ValueError, match="lacks pieces of the translation weights, or their"):
            loaded()
    assert downloads(hub) == []


def test_weights_that_are_there_twice_are_refused(hub: LoopbackHub, edges: CoCosPipeline):
    edges.push_to_hub(REPO)
    hub.put(REPO, {f"translation/{WEIGHTS}.index.json": b"{}"})
    with pytest.raises(ValueError, match="translation weights twice, whole and in pieces"):
        loaded()


@pytest.mark.slow
@pytest.mark.parametrize("problem", ["missing", "unexpected"])
def test_missing_and_extra_weights_are_refused_by_name(
    problem: str, hub: LoopbackHub, edges: CoCosPipeline
):
    edges.push_to_hub(REPO)
    name = f"translation/{WEIGHTS}"
    state = load(hub.files(REPO)[name])
    state["extra"] = state.pop("output_conv.bias") if problem == "missing" else torch.zeros(2)
    hub.put(REPO, {name: save(state, metadata={"format": "pt"})})
    named = "output_conv.bias" if problem == "missing" else "extra"
    with pytest.raises(ValueError, match=f"do not fit the Transl.*1 {problem}: {named}"):
        loaded()


@pytest.mark.parametrize("problem", ["pickle", "cut short", "empty"])
def test_weights_that_only_have_the_name_of_safetensors_are_refused_unopened(
    problem: str, hub: LoopbackHub, edges: CoCosPipeline, tmp_path: Path
):
    edges.push_to_hub(REPO)
    name = f"translation/{WEIGHTS}"
    content = {
        "pickle": pickle.dumps(Trap(tmp_path / "trace")),
        "cut short": hub.files(REPO)[name][:-1],
        "empty": b"",
    }
    hub.put(REPO, {name: content[problem]})
    with pytest.raises(ValueError, match=f"because {name} is no safetensors file"):
        loaded()
    assert not (tmp_path / "trace").exists()
