"""Pushing and loading pipelines: the real Hub client against a Hub on 127.0.0.1."""

import copy
import io
import json
import pickle
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny
import torch
from huggingface_hub import EvalResult, ModelCard, constants, snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from loopback_hub import ALICE, BOB, LoopbackHub, connected_hub
from PIL import Image
from safetensors.torch import load, save
from torch import Tensor

from cocosnet_hf import (
    CoCosPipeline,
    CorrespondenceNetwork,
    MultiscaleDiscriminator,
    TranslationNetwork,
)
from cocosnet_hf.hub import CardDetails

REPO = "alice/edges"
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    with connected_hub(monkeypatch, tmp_path / "home") as running:
        yield running


@pytest.fixture
def edges() -> CoCosPipeline:
    return tiny.pipeline()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client waits seconds between its attempts."""
    monkeypatch.setattr(time, "sleep", lambda _: None)


def photo(seed: int) -> Image.Image:
    noise = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(seed))
    array = (noise * 255).byte().permute(1, 2, 0).numpy()
    return Image.fromarray(array).resize((40, 40), Image.Resampling.BICUBIC)


def painted(pipe: CoCosPipeline) -> Tensor:
    pipe.set_progress_bar_config(disable=True)
    return pipe(photo(1), photo(2), output_type="pt").images


def same(first: CoCosPipeline, second: CoCosPipeline) -> bool:
    """Whether two pipelines have the very same weights."""
    return all(
        torch.equal(own, other)
        for name in ("correspondence", "translation")
        for own, other in zip(
            getattr(first, name).state_dict().values(),
            getattr(second, name).state_dict().values(),
            strict=True,
        )
    )


def loaded(repo_id: str = REPO, **options: object) -> CoCosPipeline:
    return CoCosPipeline.from_pretrained(repo_id, **options)


def downloads(hub: LoopbackHub) -> list[str]:
    """The files whose content was asked for."""
    gets = [line for line in hub.requests if line.startswith("GET") and "/resolve/" in line]
    return sorted(line.split("/resolve/")[1].split("/", 1)[1] for line in gets)


# Push and load -------------------------------------------------------------------------------


def test_a_pushed_pipeline_is_loaded_by_its_id_and_paints_the_same(
    hub: LoopbackHub, edges: CoCosPipeline
):
    commit = edges.push_to_hub(REPO, commit_message="First light")
    assert commit.repo_url.repo_id == REPO
    assert commit.commit_message == "First light"
    assert len(hub.commits) == 1
    assert set(hub.files(REPO)) - {".gitattributes"} == {
        "README.md",
        "model_index.json",
        "correspondence/config.json",
        f"correspondence/{WEIGHTS}",
        "translation/config.json",
        f"translation/{WEIGHTS}",
    }
    torch.testing.assert_close(painted(loaded()), painted(edges), rtol=0, atol=1e-5)


def test_a_name_without_an_owner_is_pushed_to_the_users_own(hub: LoopbackHub, edges: CoCosPipeline):
    edges.push_to_hub("edges")
    assert b'from_pretrained("alice/edges")' in hub.files(REPO)["README.md"]


@pytest.mark.slow
def test_a_variant_stands_beside_the_first_one(hub: LoopbackHub, edges: CoCosPipeline):
    edges.push_to_hub(REPO)
    copy.deepcopy(edges).to(torch.float16).push_to_hub(REPO, variant="fp16")
    assert {f"translation/{WEIGHTS}", "translation/diffusion_pytorch_model.fp16.safetensors"} < set(
        hub.files(REPO)
    )
    assert same(loaded(), edges)
    hub.requests.clear()
    half = loaded(variant="fp16", dtype=torch.float32)
    assert downloads(hub) == [
        f"{name}/diffusion_pytorch_model.fp16.safetensors"
        for name in ("correspondence", "translation")
    ]
    assert (painted(half) - painted(edges)).square().mean().sqrt() < 0.02


@pytest.mark.slow
def test_a_pipeline_pushed_in_pieces_paints_the_same(hub: LoopbackHub, edges: CoCosPipeline):
    edges.push_to_hub(REPO, max_shard_size="100KB", variant="fp32")
    assert sum("fp32-0000" in name for name in hub.files(REPO)) > 4
    assert same(loaded(variant="fp32"), edges)


@pytest.mark.slow
def test_pieces_are_removed_when_the_network_comes_in_one_file_and_the_reverse(
    hub: LoopbackHub, edges: CoCosPipeline
):
    def weights() -> set[str]:
        return {name for name in hub.files(REPO) if "diffusion_pytorch_model" in name}

    half = copy.deepcopy(edges).to(torch.float16)
    half.push_to_hub(REPO, variant="fp16")
    fp16 = weights()
    edges.push_to_hub(REPO, max_shard_size="100KB")
    assert f"translation/{WEIGHTS}.index.json" in weights()
    other = tiny.pipeline(seed=3)
    other.push_to_hub(REPO)
    assert weights() - fp16 == {f"correspondence/{WEIGHTS}", f"translation/{WEIGHTS}"}
    assert same(loaded(), other)
    edges.push_to_hub(REPO, max_shard_size="100KB")
    assert f"translation/{WEIGHTS}" not in weights()
    assert fp16 < weights()
    assert same(loaded(), edges)


def test_an_unchanged_pipeline_makes_no_second_commit(hub: LoopbackHub, edges: CoCosPipeline):
    first = edges.push_to_hub(REPO)
    assert edges.push_to_hub(REPO).oid == first.oid
    assert len(hub.commits) == 1


def test_a_private_pipeline_needs_its_owners_token(
    hub: LoopbackHub, edges: CoCosPipeline, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("HF_TOKEN")
    edges.push_to_hub(REPO, private=True, token=ALICE)
    assert hub.repositories["model", REPO].private
    for token in (None, BOB):
        with pytest.raises(RepositoryNotFoundError, match="make sure you are authenticated"):
            loaded(token=token)
    assert same(loaded(token=ALICE), edges)
    monkeypatch.setenv("HF_TOKEN", ALICE)
    assert same(loaded(force_download=True), edges)


@pytest.mark.slow
@pytest.mark.usefixtures("hub")
def test_a_pull_request_leaves_main_alone_until_it_is_merged(edges: CoCosPipeline):
    edges.push_to_hub(REPO)
    other, another = tiny.pipeline(seed=3), tiny.pipeline(seed=4)
    commit = other.push_to_hub(REPO, create_pr=True)
    assert commit.pr_revision == "refs/pr/1"
    assert same(loaded(), edges)
    assert same(loaded(revision="refs/pr/1"), other)
    another.push_to_hub(REPO, revision="refs/pr/1")
    assert same(loaded(revision="refs/pr/1"), another)
    assert same(loaded(), edges)


@pytest.mark.slow
@pytest.mark.usefixtures("hub")
def test_a_branch_is_made_when_it_is_pushed_to_and_a_commit_can_be_loaded(edges: CoCosPipeline):
    first = edges.push_to_hub(REPO)
    other = tiny.pipeline(seed=3)
    other.push_to_hub(REPO, revision="v2")
    edges.push_to_hub(REPO, revision="v2")
    second = other.push_to_hub(REPO, revision="v2")
    assert same(loaded(revision="v2"), other)
    assert same(loaded(revision=second.oid), other)
    assert same(loaded(), loaded(revision=first.oid))
    with pytest.raises(RevisionNotFoundError):
        loaded(revision="v3")


def test_what_cannot_be_pushed_is_refused_before_anything_is_made(
    hub: LoopbackHub, edges: CoCosPipeline, tmp_path: Path
):
    with pytest.raises(ValueError, match="made against main; pass create_pr or revision"):
        edges.push_to_hub(REPO, create_pr=True, revision="v2")
    with pytest.raises(ValueError, match=r"share with pipe.push_to_hub\(repo_id\)"):
        edges.save_pretrained(tmp_path, push_to_hub=True)
    with pytest.raises(ValueError, match="folded for inference and can no longer be saved"):
        edges.fold().push_to_hub(REPO)
    assert hub.repositories == {}


def test_a_push_without_the_right_token_says_so(
    hub: LoopbackHub, edges: CoCosPipeline, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(HfHubHTTPError, match="403 Forbidden: bob has no rights"):
        edges.push_to_hub(REPO, token=BOB)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HfHubHTTPError, match="401"):
        edges.push_to_hub(REPO)
    assert hub.repositories == {}


def test_a_card_that_is_there_stays_unless_another_is_asked_for(
    hub: LoopbackHub, edges: CoCosPipeline
):
    edges.push_to_hub(REPO)
    hub.put(REPO, {"README.md": b"---\nlicense: mit\n---\nBy hand.\n"})
    tiny.pipeline(seed=3).push_to_hub(REPO)
    assert hub.files(REPO)["README.md"].endswith(b"By hand.\n")
    result = EvalResult("image-to-image", "faces", "Faces", "fid", 12.5)
    strip = Image.new("RGB", (64, 16), "red")
    details = CardDetails(license="apache-2.0", results=[result], sample=strip)
    edges.push_to_hub(REPO, details=details)
    with Image.open(io.BytesIO(hub.files(REPO)["sample.png"])) as shown:
        assert shown.size == strip.size
    card = ModelCard.load(REPO)
    assert (card.data.license, card.data.library_name) == ("apache-2.0", "cocosnet_hf")
    assert card.data.eval_results == [result]


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
    with pytest.raises(ValueError, match="has no correspondence/config.json; expected a CoCosPip"):
        loaded()
    assert downloads(hub) == []


def test_missing_files_of_weights_are_refused_with_those_that_are_there(
    hub: LoopbackHub, edges: CoCosPipeline
):
    edges.push_to_hub(REPO, variant="fp32")
    with pytest.raises(ValueError, match="no correspondence weights without a variant; .*: fp32"):
        loaded()
    with pytest.raises(ValueError, match="no correspondence weights of the variant 'fp16'"):
        loaded(variant="fp16")
    hub.remove(REPO, "translation/diffusion_pytorch_model.fp32.safetensors")
    with pytest.raises(ValueError, match="no translation weights of the variant 'fp32'; .*: none"):
        loaded(variant="fp32")
    assert downloads(hub) == []


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


# Broken connections --------------------------------------------------------------------------


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("pieces", [None, "100KB"], ids=["whole", "pieces"])
def test_a_download_that_breaks_loads_nothing_and_goes_on_the_next_time(
    pieces: str | None,
    hub: LoopbackHub,
    edges: CoCosPipeline,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    edges.push_to_hub(REPO, max_shard_size=pieces)
    hub.cut_after = 1000
    with pytest.raises(ConnectionError, match="download of alice/edges broke off .*Try again"):
        loaded()
    with pytest.raises(OSError, match="incomplete"), monkeypatch.context() as offline:
        offline.setattr(constants, "HF_HUB_OFFLINE", True)
        loaded()
    (snapshot,) = (tmp_path / "home" / "hub").glob("models--*/snapshots/*")
    kept = {path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*.*")}
    assert "model_index.json" in kept
    hub.cut_after = None
    hub.requests.clear()
    assert same(loaded(), edges)
    assert kept.isdisjoint(downloads(hub))


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("protocol", ["lfs", "xet"])
def test_an_upload_that_breaks_changes_nothing_and_can_be_repeated(
    protocol: str, hub: LoopbackHub, edges: CoCosPipeline, monkeypatch: pytest.MonkeyPatch
):
    edges.push_to_hub(REPO)
    before = dict(hub.files(REPO))
    other = tiny.pipeline(seed=3)
    hub.cut_after = 1000
    with monkeypatch.context() as way:
        if protocol == "xet":  # which this Hub does not speak, so that its storage is not found
            pytest.importorskip("hf_xet")
            way.setattr(constants, "HF_HUB_DISABLE_XET", False)
        with pytest.raises(ConnectionError, match="upload to alice/edges broke off .*all of this"):
            other.push_to_hub(REPO)
    assert hub.files(REPO) == before
    hub.cut_after = None
    other.push_to_hub(REPO)
    assert same(loaded(), other)


@pytest.mark.usefixtures("impatient")
def test_a_push_whose_answer_is_lost_can_be_repeated(hub: LoopbackHub, edges: CoCosPipeline):
    hub.silent = True
    with pytest.raises(ConnectionError, match="holds all of this commit or nothing of it; push ag"):
        edges.push_to_hub(REPO)
    assert same(loaded(), edges)
    hub.silent = False
    made = len(hub.repositories["model", REPO].commits)
    edges.push_to_hub(REPO)
    assert len(hub.repositories["model", REPO].commits) == made


@pytest.mark.usefixtures("impatient")
def test_a_push_where_no_hub_answers_says_so(hub: LoopbackHub, edges: CoCosPipeline):
    hub.stop()
    with pytest.raises(ConnectionError, match="creating alice/edges broke off .*refused"):
        edges.push_to_hub(REPO)
