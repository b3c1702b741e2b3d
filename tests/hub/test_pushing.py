"""Pushing pipelines: the real Hub client against a Hub on 127.0.0.1."""

import copy
import io
from pathlib import Path

import pytest
import torch
from huggingface_hub import EvalResult, ModelCard, constants
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from PIL import Image

from cocosnet_hf import CoCosPipeline
from cocosnet_hf.cards import CardDetails
from tests.support import tiny
from tests.support.hubs import REPO, WEIGHTS, downloads, loaded, painted, same
from tests.support.loopback_hub import ALICE, BOB, LoopbackHub

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
