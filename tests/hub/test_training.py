"""Training and evaluation from and to the Hub: streamed data, pipelines, cards with figures."""

import copy
import dataclasses
import itertools
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import EvalResult, ModelCard
from huggingface_hub.errors import HfHubHTTPError

from cocosnet_hf import CoCosPipeline, MaskCondition, MultiscaleDiscriminator
from cocosnet_hf.cards import usage
from cocosnet_hf.datasets import DataSettings, open_training_data
from cocosnet_hf.evaluate import main as evaluate
from cocosnet_hf.evaluation import Evaluation
from cocosnet_hf.hub.publish import publish_figures
from cocosnet_hf.synthetic import SCENE_CLASSES, SyntheticExamples, write_imagefolder
from cocosnet_hf.transfer import TRANSPORT_ERROR
from tests.support import tiny
from tests.support.loopback_hub import LoopbackHub, connect_datasets, connected_hub
from tests.support.paths import REPOSITORY
from train.card import run_details
from train.config import TrainConfig, load_config
from train.networks import build_system
from train.train import train

datasets = pytest.importorskip("datasets")
pytestmark = pytest.mark.usefixtures("fresh_process")

SCENE = MaskCondition.from_names(SCENE_CLASSES)
DATA = "alice/scenes"
REPO = "alice/painter"

TINY = [
    "--data.image_size=32",
    "--data.load_size=32",
    "--data.batch_size=2",
    "--data.workers=0",
    "--networks.correspondence={base_channels: 4, feature_channels: 8, spade_channels: 4}",
    "--networks.translation={channels: [8, 8, 8, 8], spade_channels: 4}",
    "--networks.discriminator={base_channels: 4, scales: 1}",
    "--schedule={constant: 2, decay: 0}",
    "--output.validate_every=2",
    "--output.validation_batches=1",
    "--output.check_rows=0",
]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    with connected_hub(monkeypatch, tmp_path / "home") as running:
        connect_datasets(monkeypatch, running)
        yield running


def config(folder: Path, *overrides: str) -> TrainConfig:
    quickstart = REPOSITORY / "train/configs/quickstart.yaml"
    return load_config(quickstart, [f"--output_dir={folder / 'run'}", *TINY, *overrides])


# Data ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six drawn scenes as an image folder."""
    folder = tmp_path_factory.mktemp("scenes")
    write_imagefolder(SyntheticExamples("mask", 40, length=6), folder)
    return folder


def settings(source: str | Path, cache: Path, **changes: object) -> DataSettings:
    columns = {"condition_column": "label", "image_size": 32, "load_size": 36}
    return DataSettings(source=str(source), cache_dir=str(cache), **columns | changes)


def examples(settings: DataSettings, count: int = 6) -> list[dict]:
    return list(itertools.islice(iter(open_training_data(settings, SCENE)), count))


def same(first: list[dict], second: list[dict]) -> bool:
    return len(first) == len(second) > 0 and all(
        a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
        for a, b in zip(first, second, strict=True)
    )


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["pictures", "parquet"])
def test_a_data_set_of_the_hub_is_streamed_as_if_it_were_here(
    layout: str, hub: LoopbackHub, scenes: Path, tmp_path: Path
):
    if layout == "parquet":
        rows = datasets.load_dataset(
            "imagefolder", data_dir=str(scenes), split="train", cache_dir=str(tmp_path)
        )
        source = tmp_path / "parquet"
        source.mkdir()
        for shard in range(2):
            rows.shard(2, shard).to_parquet(str(source / f"train-{shard}.parquet"))
    else:
        source = scenes
    hub.put_folder(DATA, source, kind="dataset")
    local = examples(settings(source, tmp_path / "local", streaming=True))
    remote = examples(settings(DATA, tmp_path / "remote", streaming=True))
    assert same(remote, local)
    assert any(f"GET /datasets/{DATA}/resolve/" in line for line in hub.requests)


@pytest.mark.slow
def test_a_stream_asks_the_hub_only_for_what_it_reads(
    hub: LoopbackHub, scenes: Path, tmp_path: Path
):
    rows = datasets.load_dataset(
        "imagefolder", data_dir=str(scenes), split="train", cache_dir=str(tmp_path / "made")
    )
    for shard in range(3):
        path = tmp_path / "parquet" / f"train-{shard}.parquet"
        path.parent.mkdir(exist_ok=True)
        rows.shard(3, shard).to_parquet(str(path))
    hub.put_folder(DATA, tmp_path / "parquet", kind="dataset")
    cache = tmp_path / "cache"
    assert len(examples(settings(DATA, cache, streaming=True), count=1)) == 1
    read = [line for line in hub.requests if line.startswith("GET") and "/resolve/" in line]
    assert any("train-0" in line for line in read) and not any("train-2" in line for line in read)
    kept = [*cache.rglob("*"), *(tmp_path / "home").rglob("*")]
    assert not any(path.suffix in (".arrow", ".parquet", ".png") for path in kept)


@pytest.mark.slow
@pytest.mark.parametrize("streaming", [True, False])
def test_a_data_set_whose_connection_breaks_does_not_end_early_and_is_whole_the_next_time(
    streaming: bool,
    hub: LoopbackHub,
    scenes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    hub.put_folder(DATA, scenes, kind="dataset")
    chosen = settings(DATA, tmp_path / "remote", streaming=streaming)
    hub.cut_after = 100
    with pytest.raises((ConnectionError, TRANSPORT_ERROR), match="Disconnected|closed connection"):
        examples(chosen)
    hub.cut_after = None
    assert len(examples(chosen)) == 6


def test_a_private_data_set_is_streamed_with_its_owners_token_only(
    hub: LoopbackHub, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    hub.put(DATA, {}, kind="dataset", private=True)
    hub.put_folder(DATA, scenes, kind="dataset")
    assert len(examples(settings(DATA, tmp_path / "own", streaming=True))) == 6
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ValueError, match="'alice/scenes' cannot be opened"):
        examples(settings(DATA, tmp_path / "other", streaming=True))


def test_a_data_set_of_the_hub_is_downloaded_without_streaming(
    hub: LoopbackHub, scenes: Path, tmp_path: Path
):
    hub.put_folder(DATA, scenes, kind="dataset")
    found = open_training_data(settings(DATA, tmp_path / "remote"), SCENE)
    local = open_training_data(settings(scenes, tmp_path / "local"), SCENE)
    assert same([found[i] for i in range(6)], [local[i] for i in range(6)])


def test_one_of_several_data_sets_of_a_hub_id_is_chosen_by_its_name(
    hub: LoopbackHub, scenes: Path, tmp_path: Path
):
    folder = Path(shutil.copytree(scenes, tmp_path / "several"))
    configs = [{"config_name": name, "data_dir": "train"} for name in ("large", "small")]
    header = yaml.safe_dump({"configs": configs})
    (folder / "README.md").write_text(f"---\n{header}---\n")
    hub.put_folder(DATA, folder, kind="dataset")
    chosen = settings(DATA, tmp_path / "remote")
    with pytest.raises(ValueError, match=r"(?s)Config name is missing.*config_name, if it has"):
        open_training_data(chosen, SCENE)
    found = open_training_data(dataclasses.replace(chosen, config_name="small"), SCENE)
    local = open_training_data(settings(scenes, tmp_path / "local"), SCENE)
    assert same([found[i] for i in range(6)], [local[i] for i in range(6)])


@pytest.mark.slow
def test_a_run_trains_on_a_streamed_data_set(hub: LoopbackHub, scenes: Path, tmp_path: Path):
    folder = Path(shutil.copytree(scenes, tmp_path / "scenes"))
    write_imagefolder(SyntheticExamples("mask", 40, length=2, first=6), folder, "validation")
    hub.put_folder(DATA, folder, kind="dataset")
    streamed = config(
        tmp_path,
        f"--data.source={DATA}",
        "--data.streaming=true",
        f"--data.cache_dir={tmp_path / 'cache'}",
        "--data.condition_column=label",
        "--data.exemplar_column=null",
        "--data.exemplar_condition_column=null",
        "--data.same_look=false",
    )
    CoCosPipeline.from_pretrained(train(streamed))
    assert not list((tmp_path / "cache").rglob("*.arrow"))


# Start and end -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("with_discriminator", [True, False])
def test_a_run_starts_from_a_pipeline_of_the_hub(
    with_discriminator: bool, hub: LoopbackHub, tmp_path: Path
):
    pipe, discriminator = tiny.pipeline(SCENE), tiny.discriminator(SCENE.channels)
    pipe.save_pretrained(tmp_path / "saved")
    if with_discriminator:
        discriminator.save_pretrained(tmp_path / "saved" / "discriminator")
    expected = copy.deepcopy(pipe.translation).state_dict()
    pipe.to(torch.float16).save_pretrained(tmp_path / "saved", variant="fp16")
    hub.put_folder(REPO, tmp_path / "saved")
    system = build_system(config(tmp_path, f"--networks.init_from={REPO}"))
    networks = system.networks
    assert system.condition == SCENE
    found = networks["translation"].state_dict()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    own = networks["discriminator"].state_dict()
    taken_over = own.keys() == discriminator.state_dict().keys() and all(
        torch.equal(own[key], value) for key, value in discriminator.state_dict().items()
    )
    assert taken_over == with_discriminator
    assert not any("fp16" in line for line in hub.requests)


def test_a_run_does_not_start_from_a_repository_with_code_in_it(hub: LoopbackHub, tmp_path: Path):
    tiny.pipeline(SCENE).push_to_hub(REPO)
    hub.put(REPO, {"translation/network.py": b""})
    with pytest.raises(ValueError, match="refused because it holds code"):
        build_system(config(tmp_path, f"--networks.init_from={REPO}"))


@pytest.mark.slow
def test_a_finished_run_is_shared_with_both_precisions_and_the_discriminator(
    hub: LoopbackHub, tmp_path: Path
):
    chosen = config(
        tmp_path,
        f"--output.push_to_hub={REPO}",
        "--output.license=apache-2.0",
        "--output.card_pictures=true",
        "--output.data_terms=drawn by a program, free to use",
    )
    folder = train(chosen)
    local = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(hub.files(REPO)) - {".gitattributes"} == local
    shared = CoCosPipeline.from_pretrained(REPO, variant="fp16", dtype=torch.float32)
    trained = CoCosPipeline.from_pretrained(folder)
    for own, other in zip(
        shared.translation.parameters(), trained.translation.parameters(), strict=True
    ):
        torch.testing.assert_close(own, other, rtol=1e-2, atol=1e-2)
    MultiscaleDiscriminator.from_pretrained(REPO, subfolder="discriminator")
    card = ModelCard(hub.files(REPO)["README.md"].decode())
    assert card.data.license == "apache-2.0"
    assert card.data.library_name == "cocosnet_hf"
    assert f"```python\n{usage(trained, REPO)}\n```" in card.text
    assert "](sample.png)" in card.text and "sample.png" in local
    assert "drawn by a program, free to use" in card.text
    assert "constant: 2" in card.text
    assert "condition, exemplar, warped exemplar, output, target" in card.text
    assert str(tmp_path) not in card.text


def test_the_card_of_a_run_tells_no_place_of_this_machine(tmp_path: Path):
    (tmp_path / "scenes").mkdir()
    chosen = config(
        tmp_path, f"--data.source={tmp_path / 'scenes'}", f"--data.cache_dir={tmp_path / 'cache'}"
    )
    details = run_details(chosen, tmp_path / "run")
    assert str(tmp_path) not in details.recipe + details.data
    assert "source: scenes" in details.recipe
    assert "`scenes`, split `train`: their terms were not stated." in details.data
    assert (details.datasets, details.sample) == ((), None)


@pytest.mark.parametrize(
    ("source", "named"), [(DATA, (DATA,)), ("synthetic", ()), ("data/*.parquet", ())]
)
def test_the_card_of_a_run_names_its_data_set_of_the_hub(
    source: str, named: tuple[str, ...], tmp_path: Path
):
    assert run_details(config(tmp_path, f"--data.source={source}"), tmp_path).datasets == named


def test_a_licence_that_a_card_could_not_explain_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="output.license must be a licence that the Hub knows"):
        config(tmp_path, "--output.license=other")


@pytest.mark.usefixtures("hub")
def test_a_run_that_may_not_write_to_its_repository_ends_before_training(tmp_path: Path):
    with pytest.raises(OSError, match="alice has no rights to write to bob/painter"):
        train(config(tmp_path, "--output.push_to_hub=bob/painter"))
    assert not (tmp_path / "run" / "pictures").exists()


@pytest.mark.slow
def test_a_connection_that_breaks_at_the_end_of_a_run_loses_nothing(
    hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    hub.cut_after = 100
    with pytest.raises(ConnectionError, match=f"upload to {REPO} broke off"):
        train(config(tmp_path, f"--output.push_to_hub={REPO}", "--output.validate_every=0"))
    assert set(hub.files(REPO)) == {".gitattributes"}
    CoCosPipeline.from_pretrained(tmp_path / "run" / "pipeline")


# Figures -------------------------------------------------------------------------------------


def measure(pipeline: str | Path, folder: Path) -> float:
    """Evaluate a pipeline for the figures of its card; the SSIM."""
    arguments = [str(pipeline), "--card", "--data=synthetic", "--exemplars=random", "--limit=2"]
    arguments += ["--pool-limit=4", "--condition-column=condition", "--diversity=0", "--baselines"]
    evaluate([*arguments, "--extractors", "--perceptual=none", f"--output={folder}"])
    return round(Evaluation.load(folder).find("pipeline", "SSIM").estimate.value, 4)


def figures(card: ModelCard, metric: str = "ssim") -> list[float]:
    return [one.metric_value for one in card.data.eval_results or [] if one.metric_type == metric]


@pytest.mark.slow
def test_an_evaluation_puts_its_figures_into_the_card_of_a_folder(tmp_path: Path):
    tiny.pipeline(SCENE).save_pretrained(tmp_path / "saved")
    before = ModelCard.load(tmp_path / "saved" / "README.md")
    value = measure(tmp_path / "saved", tmp_path / "evaluation")
    card = ModelCard.load(tmp_path / "saved" / "README.md")
    assert figures(before) == [] and figures(card) == [value]
    assert f"| SSIM (PNG, random exemplars) | {value:.4g} | synthetic | test |" in card.text
    assert card.text.partition("## Figures")[0] == before.text.partition("## Figures")[0]


@pytest.mark.slow
def test_an_evaluation_puts_its_figures_into_the_card_on_the_hub_in_one_commit(
    hub: LoopbackHub, tmp_path: Path
):
    tiny.pipeline(SCENE).push_to_hub(REPO)
    before = dict(hub.files(REPO))
    hub.requests.clear()
    value = measure(REPO, tmp_path / "evaluation")
    assert len(hub.commits) == 1
    after = hub.files(REPO)
    assert {name for name in after if after[name] != before.get(name)} == {"README.md"}
    card = ModelCard(after["README.md"].decode())
    assert figures(card) == [value]
    assert card.data.model_name == REPO


def test_figures_that_cannot_be_sent_change_nothing(
    hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    tiny.pipeline(SCENE).push_to_hub(REPO)
    before = dict(hub.files(REPO))
    figure = EvalResult("image-to-image", "synthetic", "synthetic", "ssim", 0.5)
    hub.users.clear()
    with pytest.raises(HfHubHTTPError, match="401"):
        publish_figures(REPO, [figure])
    hub.stop()
    with pytest.raises(ConnectionError, match=f"upload to {REPO} broke off .*push again"):
        publish_figures(REPO, [figure])
    assert hub.files(REPO) == before


@pytest.mark.usefixtures("hub")
def test_the_card_of_a_bundled_pipeline_is_not_changed_by_an_evaluation(
    capsys: pytest.CaptureFixture[str],
):
    with pytest.raises(SystemExit):
        evaluate(["mask-to-image", "--card", "--data=synthetic"])
    assert "--card fills the card of a pipeline in a folder" in capsys.readouterr().err


def test_a_folder_without_a_card_is_refused_before_the_evaluation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit):
        evaluate([str(tmp_path), "--card", "--data=synthetic", f"--output={tmp_path / 'out'}"])
    assert f"needs a card to fill, {tmp_path / 'README.md'}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
