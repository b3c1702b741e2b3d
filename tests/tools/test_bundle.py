"""From a finished run and its evaluations to a bundled pipeline and its card."""

import dataclasses
import re
import sys
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from PIL import Image
from skimage import data

from cocosnet_hf import EdgeCondition, bundled
from cocosnet_hf.datasets import DataSettings
from cocosnet_hf.evaluation import Estimate, Evaluation, EvaluationSettings, Result, evaluate
from cocosnet_hf.systems import CoCosNet, CoCosNetLosses, SystemSettings
from tests.support import tiny
from tools import bundle
from train.networks import export_pipeline

NAME = "edge-to-face"
HEADLINE = ("warp_accuracy", "identity_accuracy", "SWD")


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of bundled pipelines, with two photos to show and no pipeline yet."""
    folder = tmp_path / "assets"
    for module in (bundle, sys.modules["cocosnet_hf.bundled"]):  # a function hides its module
        monkeypatch.setattr(module, "ASSETS", folder)
    (folder / NAME / "examples").mkdir(parents=True)
    photo = Image.fromarray(data.astronaut())
    for stem, picture in (("layout", photo), ("exemplar", photo.rotate(180))):
        picture.crop((130, 0, 330, 200)).save(folder / NAME / "examples" / f"{stem}.jpg")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run a few channels wide."""
    condition = EdgeCondition()
    channels = condition.channels
    networks = {
        "correspondence": tiny.correspondence(channels),
        "translation": tiny.translation(channels),
        "discriminator": tiny.discriminator(channels),
    }
    system = CoCosNet(condition, networks, CoCosNetLosses(), SystemSettings(image_size=32))
    export_pipeline(system, networks, tmp_path / "run" / "pipeline")
    return tmp_path / "run"


def evaluated(folder: Path, exemplars: str, **provenance: object) -> Path:
    """An evaluation of two metrics whose exemplars were chosen so."""
    provenance = {
        "exemplars": exemplars,
        "weights": "abc",
        "dtype": "float32",
        "items": 3,
    } | provenance
    provenance |= {"size": 32}
    provenance |= {"data": {"source": "faces", "split": "test"}, "resize": "none", "formats": {}}
    results = [
        Result("pipeline", "png", metric, Estimate(value, 3))
        for metric, value in (("warp_accuracy", 0.5), ("SSIM", 0.7))
    ]
    folder.mkdir()
    Evaluation(provenance, {}, results, [], {}).save(folder)
    return folder


@pytest.mark.slow
def test_the_card_shows_figures_of_both_choices_of_exemplars_and_what_a_picture_costs(
    run: Path, assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bundle, "RUNS", 2)
    drawn = DataSettings(
        split="test", labels_column="labels", label_classes=12, image_size=32, load_size=32
    )
    settings = EvaluationSettings(
        str(run / "pipeline"),
        drawn,
        limit=3,
        pool_limit=4,
        baselines=("exemplar",),
        extractors=(),
        perceptual=None,
        lpips=False,
        diversity=0,
    )
    folders, expected, beside = {}, {}, []
    for choice, exemplars in (("retrieved", "retrieval"), ("random", "random")):
        folders[choice] = str(tmp_path / choice)
        found = evaluate(dataclasses.replace(settings, exemplars=exemplars, output=folders[choice]))
        for metric in HEADLINE:
            value = found.find("pipeline", metric).estimate.value
            expected[f"{metric} (PNG, {choice} exemplars)"] = round(value, 4)
        for method, text in (("pipeline", "this model"), ("exemplar", "the exemplar, pasted")):
            value = found.find(method, "SWD").estimate.value
            beside.append(rf"\| {text}.* \| {value:.4g} \|")
    bundle.main(
        [NAME, "--run", str(run), "--evaluation", folders["retrieved"]]
        + ["--random-evaluation", folders["random"]]
    )
    assert bundled(NAME).config.image_size == 32
    card = ModelCard.load(assets / NAME / "README.md")
    shown = {result.metric_name: result.metric_value for result in card.data.eval_results}
    assert shown.items() >= expected.items()
    names = list(shown)
    for metric in HEADLINE:
        place = names.index(f"{metric} (PNG, retrieved exemplars)")
        assert names[place + 1] == f"{metric} (PNG, random exemplars)"
    assert "copy_score (PNG, retrieved exemplars)" in shown
    assert "copy_score (PNG, random exemplars)" not in shown
    for name, value in expected.items():
        assert f"| {name} | {value:.4g} |" in card.text
    titles = [f"With {choice} exemplars:" for choice in folders]
    places = [re.search(part, card.text).start() for part in (titles[0], *beside[:2], titles[1])]
    assert places == sorted(places)
    assert all(re.search(line, card.text[places[-1] :]) for line in beside[2:])
    line = r"\| 32 x 32 \| (\d+\.\d{3}) \| (\d+\.\d{3}) \| (\d+) \|"
    call, prepared, peak = map(float, re.search(line, card.text).groups())
    assert 0 < prepared and 0 < call
    assert peak > 100
    assert f"--paint {NAME} examples/layout.jpg examples/exemplar.jpg --runs 2" in card.text
    assert card.text.index("## Figures") < card.text.index("## Beside others")
    assert card.text.index("## Beside others") < card.text.index("## Time and memory")
    assert card.text.index("## Time and memory") < card.text.index("## Limits")
    with Image.open(assets / NAME / "sample.png") as strip:
        assert strip.size == (4 * 32, 32)
    bundled_again = dataclasses.replace(settings, pipeline=NAME, output=str(tmp_path / "again"))
    evaluate(bundled_again)
    bundle.main([NAME, "--evaluation", str(tmp_path / "again")])
    card = ModelCard.load(assets / NAME / "README.md")
    assert len(card.data.eval_results) == len(names) - len(HEADLINE)


def test_figures_are_named_with_their_exemplars_and_the_random_ones_stand_beside(tmp_path: Path):
    retrieved = evaluated(tmp_path / "a", "first retrieved from 'train', by mask layout")
    (alone,) = bundle.figures(retrieved, None)
    assert alone.metric_name == "warp_accuracy (PNG, retrieved exemplars)"
    random = evaluated(tmp_path / "b", "random from 'train', seed 0")
    assert [result.metric_name for result in bundle.figures(retrieved, random)] == [
        "warp_accuracy (PNG, retrieved exemplars)",
        "warp_accuracy (PNG, random exemplars)",
    ]
    assert bundle.figures(None, None) == []


@pytest.mark.parametrize(
    ("exemplars", "provenance", "message"),
    [
        ("first retrieved from 'train'", {}, "with random exemplars, its are first retrieved"),
        ("random from 'train'", {"weights": "other"}, "weights differs: abc and other"),
        ("random from 'train'", {"items": 4}, "items differs: 3 and 4"),
    ],
)
def test_evaluations_that_do_not_belong_together_are_refused(
    exemplars: str, provenance: dict[str, object], message: str, tmp_path: Path
):
    retrieved = evaluated(tmp_path / "a", "first retrieved from 'train', by mask layout")
    random = evaluated(tmp_path / "b", exemplars, **provenance)
    with pytest.raises(ValueError, match=message):
        bundle.figures(retrieved, random)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--random-evaluation", "there"], "which is not given"),
        (["--evaluation", "nowhere"], "nowhere"),
        (["--run", "nothing"], "there is no pipeline in nothing"),
    ],
)
def test_a_mistake_on_the_command_line_leaves_everything_as_it_was(
    arguments: list[str],
    message: str,
    assets: Path,
    run: Path,
    capsys: pytest.CaptureFixture[str],
):
    with pytest.raises(SystemExit):
        bundle.main([NAME, "--run", str(run), *arguments])
    assert message in capsys.readouterr().err
    assert [path.name for path in (assets / NAME).iterdir()] == ["examples"]


def test_an_evaluation_of_other_weights_or_an_empty_log_leaves_everything_as_it_was(
    assets: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    other = evaluated(tmp_path / "a", "first retrieved from 'train'", weights="other")
    (tmp_path / "log").write_text("nothing\n")
    for arguments, message in (
        (["--evaluation", str(other)], "but it measured other"),
        (["--log", str(tmp_path / "log")], "it has none"),
    ):
        with pytest.raises(SystemExit):
            bundle.main([NAME, "--run", str(run), *arguments])
        assert message in capsys.readouterr().err
        assert [path.name for path in (assets / NAME).iterdir()] == ["examples"]


def test_without_an_example_to_show_nothing_is_copied(
    assets: Path, run: Path, capsys: pytest.CaptureFixture[str]
):
    (assets / NAME / "examples" / "exemplar.jpg").unlink()
    with pytest.raises(SystemExit):
        bundle.main([NAME, "--run", str(run)])
    assert "lacks exemplar.*" in capsys.readouterr().err
    assert [path.name for path in (assets / NAME).iterdir()] == ["examples"]


def test_a_card_is_not_written_anew_without_its_figures(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        bundle.main([NAME])
    assert "give --run, --evaluation or both" in capsys.readouterr().err
