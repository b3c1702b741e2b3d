"""Model cards: what they say, and that the Python in them runs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import EvalResult, ModelCard
from PIL import Image
from torch import nn

from cocosnet_hf import (
    PRESETS,
    AttributesCondition,
    CoCosPipeline,
    Condition,
    CorrespondenceNetwork,
    DomainCondition,
    EdgeCondition,
    MaskCondition,
    PartEdgeCondition,
    PictureCondition,
    PoseCondition,
    TranslationNetwork,
    bundled,
    bundled_names,
)
from cocosnet_hf.bundled import ASSETS
from cocosnet_hf.cards import (
    INSTALL,
    UNNAMED_SOURCE,
    CardDetails,
    add_results,
    model_card,
    renamed,
    write_card,
)
from cocosnet_hf.conditions import CONDITIONS
from cocosnet_hf.conditions.joints import JOINTS
from tests.support import tiny
from tests.support.loopback_hub import LoopbackHub
from tests.support.paths import REPOSITORY

REPO = "alice/pictures"
MASK = MaskCondition(classes=("sky", "land|sea", "trees"), colors=("#0000ff", "#00ff00", "#ff8800"))


def result(
    value: float, metric: str = "fid", split: str = "validation", **settings: object
) -> EvalResult:
    return EvalResult(
        task_type="image-to-image",
        dataset_type="alice/faces",
        dataset_name="Faces",
        dataset_split=split,
        metric_type=metric,
        metric_name=metric.upper(),
        metric_value=value,
        metric_args=settings,
    )


def python_of(card: ModelCard) -> str:
    (code,) = re.findall(r"```python\n(.*?)```", card.text, re.DOTALL)
    return code


def write_inputs(folder: Path) -> None:
    """Every file that any snippet reads."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name in ("exemplar", "layout", "face"):
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), np.uint8)).save(folder / f"{name}.jpg")
    for name in ("mask", "exemplar_mask", "face_parts", "exemplar_parts"):
        labels = np.kron(rng.integers(0, 3, (5, 6)), np.ones((8, 8), int)).astype(np.uint8)
        Image.fromarray(labels).save(folder / f"{name}.png")
    for name in ("pose", "exemplar_pose"):
        joints = np.column_stack([rng.uniform(4, 36, (len(JOINTS), 2)), np.ones(len(JOINTS))])
        person = {"pose_keypoints_2d": joints.flatten().tolist()}
        canvas = {"canvas_height": 40, "canvas_width": 48}
        (folder / f"{name}.json").write_text(json.dumps({"people": [person]} | canvas))


PIPELINES = [
    (AttributesCondition(("sun", "house")), {}),
    (DomainCondition(("day", "night")), {}),
    (EdgeCondition(), {}),
    (MASK, {}),
    (MASK, {"exemplar_noise": 0.1}),
    (PartEdgeCondition(), {}),
    (PictureCondition(), {}),
    (PoseCondition(), {}),
    (PoseCondition(), {"mix_condition": False}),
]
IDS = [
    *("attributes", "domain", "edge", "mask", "noise", "parts", "picture", "pose"),
    "pose without the exemplar's",
]


# The snippet ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("with_examples", [True, False], ids=["its examples", "own files"])
@pytest.mark.parametrize(("condition", "settings"), PIPELINES, ids=IDS)
def test_the_snippet_of_a_card_runs_as_it_stands(
    condition: Condition,
    settings: dict,
    with_examples: bool,
    hub: LoopbackHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    inputs = tmp_path / "inputs"
    write_inputs(inputs)
    details = CardDetails(examples=inputs if with_examples else None)
    tiny.pipeline(condition, **settings).push_to_hub(REPO, details=details)
    card = ModelCard(hub.files(REPO)["README.md"].decode())
    workplace = tmp_path / "empty" if with_examples else inputs
    workplace.mkdir(exist_ok=True)
    monkeypatch.chdir(workplace)
    exec(python_of(card), {})
    with Image.open("painted.png") as picture:
        assert picture.size == (40, 32)


@pytest.mark.slow
@pytest.mark.parametrize("name", bundled_names())
def test_the_snippet_of_a_bundled_card_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_inputs(tmp_path)
    monkeypatch.chdir(tmp_path)
    exec(python_of(ModelCard.load(ASSETS / name / "README.md")), {})
    with Image.open("painted.png") as picture:
        assert min(picture.size) == bundled(name).config.image_size


def test_examples_that_the_snippet_would_miss_are_refused(tmp_path: Path):
    write_inputs(tmp_path)
    (tmp_path / "exemplar_mask.png").unlink()
    with pytest.raises(ValueError, match=r"lacks \['exemplar_mask.png'\]; add them"):
        model_card(tiny.pipeline(MASK), REPO, CardDetails(examples=tmp_path))


# What a card says ----------------------------------------------------------------------------


@pytest.mark.parametrize(("condition", "settings"), PIPELINES, ids=IDS)
def test_every_condition_of_this_package_is_described_in_its_own_words(
    condition: Condition, settings: dict
):
    own, default = condition.card(), Condition.card(condition)
    assert own.summary != default.summary
    assert own.source != default.source
    assert all(len(row) == len(own.header) for row in own.rows)
    assert own.summary in model_card(tiny.pipeline(condition, **settings)).text


def test_every_type_of_condition_has_a_pipeline_here():
    assert {condition.type for condition, _ in PIPELINES} == set(CONDITIONS)


class Depth(Condition):
    """Somebody's own condition: a grey picture."""

    type = "depth"
    channels = 1

    def natural_size(self, source: Image.Image) -> tuple[int, int]:
        return source.height, source.width

    def encode(self, source: Image.Image, height: int, width: int) -> torch.Tensor:
        pixels = np.asarray(source.convert("L").resize((width, height)), np.float32)
        return torch.from_numpy(pixels[None] / 255)

    def preview(self, encoded: torch.Tensor) -> Image.Image:
        return Image.fromarray((encoded[0] * 255).byte().numpy()).convert("RGB")

    def from_photo(self, photo: Image.Image) -> Image.Image:
        return photo


def test_a_pipeline_with_a_condition_of_somebodys_own_is_saved_with_a_card(tmp_path: Path):
    pipe = tiny.pipeline(Depth())
    pipe.save_pretrained(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "the layout of a condition of the type depth" in text
    assert '"condition.png"' in text and '"exemplar_condition.png"' in text
    assert "What a `Depth` encodes" in text
    assert "condition=Depth()" in text
    assert CoCosPipeline.from_pretrained(tmp_path, condition=Depth()).condition == Depth()


def test_the_card_shows_each_class_with_its_colour():
    text = model_card(tiny.pipeline(MASK)).text
    assert "| 0 | sky | `#0000ff` |" in text
    assert "| 1 | land\\|sea | `#00ff00` |" in text
    assert "| 2 | trees | `#ff8800` |" in text


def test_a_long_table_of_classes_is_folded():
    text = model_card(tiny.pipeline(MaskCondition.ade20k())).text
    start, end = text.index("<summary>All 151</summary>"), text.index("</details>")
    assert start < text.index("| 0 | unknown |") < text.index("| 150 | flag |") < end
    assert "<details>" not in model_card(tiny.pipeline(MASK)).text


def test_the_card_says_how_a_mask_is_read():
    celebahq = MaskCondition.celebahq("celebamask")
    text = " ".join(model_card(tiny.pipeline(celebahq)).text.split())
    assert "A mask of 19 classes" in text
    assert "read as follows: 2 as 9, 3 as 16," in text
    assert "Transparent pixels are `background`" in text
    assert "`glasses` lies on top of the other classes" in text
    assert "taken for `skin`" in text
    assert "makes one with `jonathandinu/face-parsing`" in text


@pytest.mark.parametrize(
    ("condition", "row"),
    [
        (EdgeCondition(sigma=2.0, high=0.3), "| sigma | 2 |"),
        (EdgeCondition(sigma=2.0, high=0.3), "| high | 0.3 |"),
        (PartEdgeCondition(), "| 14 | outlines of the parts |"),
        (PoseCondition(), "| neck to r_shoulder | `#0000ff` |"),
    ],
)
def test_the_card_shows_the_settings_of_other_conditions(condition: Condition, row: str):
    assert row in model_card(tiny.pipeline(condition)).text


def test_the_metadata_are_those_of_this_library():
    data = model_card(tiny.pipeline(MASK), REPO).data
    assert data.library_name == "cocosnet_hf"
    assert data.pipeline_tag == "image-to-image"
    assert "mask" in data.tags
    assert data.license is None


def test_what_nobody_said_is_not_made_up():
    text = model_card(tiny.pipeline()).text
    assert "has not said what it was trained on" in text
    assert "has not said under which terms" in text
    assert "None were measured." in text
    assert "The training run" not in text
    assert "sample.png" not in text


def test_details_fill_the_card_and_its_files(tmp_path: Path):
    pipe = tiny.pipeline()
    details = CardDetails(
        license="other",
        license_name="faces-terms",
        license_link="https://example.com/terms",
        data="900 faces, for research only.",
        datasets=("alice/faces",),
        recipe="seed: 3\n",
        results=[result(12.5)],
        sample=Image.new("RGB", (64, 16), "red"),
        sample_caption="condition, output",
        limits="- Only faces.",
    )
    write_card(tmp_path, pipe, REPO, details)
    with Image.open(tmp_path / "sample.png") as sample:
        assert sample.size == (64, 16)
    card = ModelCard.load(tmp_path / "README.md")
    assert (card.data.license, card.data.license_name) == ("other", "faces-terms")
    assert card.data.datasets == ["alice/faces"]
    assert card.data.eval_results == [result(12.5)]
    for said in (
        "![condition, output](sample.png)",
        "900 faces, for research only.",
        "```yaml\nseed: 3\n```",
        "under the terms [faces-terms](https://example.com/terms)",
        "| FID | 12.5 | Faces | validation |",
        "- Only faces.",
        "- One answer per input",
    ):
        assert said in card.text


def test_a_licence_that_the_hub_does_not_know_needs_a_name_and_a_link():
    with pytest.raises(ValueError, match="pass license_name= and license_link="):
        CardDetails(license="other", license_name="mine")
    with pytest.raises(ValueError, match="must be an id .* got 'My terms'"):
        CardDetails(license="other", license_name="My terms", license_link="https://example.com")


# Figures that come later ---------------------------------------------------------------------


def test_results_are_added_to_a_card_and_replace_those_of_the_same_measurement():
    card = model_card(tiny.pipeline(), REPO, CardDetails(results=[result(12.5), result(3, "swd")]))
    add_results(card, [result(11.0, low=10.0), result(13.0, split="test")])
    again = ModelCard(str(card))
    values = [(r.metric_type, r.dataset_split, r.metric_value) for r in again.data.eval_results]
    assert sorted(values) == [
        ("fid", "test", 13.0),
        ("fid", "validation", 11.0),
        ("swd", "validation", 3),
    ]
    assert again.data.metrics == ["fid", "swd"]
    assert "| FID | 11 | Faces | validation |" in again.text
    assert "12.5" not in str(again)
    assert "## Limits" in again.text


def test_results_are_added_where_there_were_none():
    card = model_card(tiny.pipeline())
    add_results(card, [result(11.0)])
    assert "None were measured." not in card.text
    assert ModelCard(str(card)).data.eval_results == [result(11.0)]


def test_results_are_added_to_a_card_written_by_hand():
    card = ModelCard("---\nlicense: mit\n---\n# Mine\n")
    add_results(card, [result(11.0)])
    again = ModelCard(str(card))
    assert again.data.eval_results == [result(11.0)]
    assert (again.data.license, again.text) == ("mit", "# Mine\n")


# Folders -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_pipeline_that_is_opened_without_this_package_says_what_to_install(
    hub: LoopbackHub, tmp_path: Path
):
    pipe = tiny.pipeline()
    pipe.save_pretrained(tmp_path / "saved")
    pipe.push_to_hub(REPO)
    program = (
        "import sys; sys.modules['cocosnet_hf'] = None\n"  # as if it were not installed
        "from diffusers import DiffusionPipeline\n"
        "for source in sys.argv[1:]:\n"
        "    try:\n"
        "        print('opened', DiffusionPipeline.from_pretrained(source))\n"
        "    except Exception as error:\n"
        "        print(' '.join(str(error).split()))\n"
    )
    environment = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "saved"), REPO],
        env=os.environ | environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    saved, pushed = done.stdout.splitlines()[-2:]
    assert "no attribute CoCosPipeline" in saved
    assert re.search("cocosnet_hf.* does not exist in alice", pushed)
    said = "Python package `cocosnet_hf`. `diffusers` alone cannot open it; install the package"
    for text, source in (
        ((tmp_path / "saved" / "README.md").read_text(), UNNAMED_SOURCE),
        (hub.files(REPO)["README.md"].decode(), REPO),
    ):
        assert said in " ".join(text.split())
        assert f"```bash\n{INSTALL}\n```" in text
        assert f'CoCosPipeline.from_pretrained("{source}")' in text


@pytest.mark.parametrize("name", bundled_names())
def test_the_card_of_a_bundled_pipeline_says_what_the_others_say(name: str):
    text = (ASSETS / name / "README.md").read_text()
    made = str(model_card(bundled(name), name).text)
    opening, condition = "This is a [CoCosNet]", "## The condition it reads"
    for start, end in ((opening, "```\n"), (condition, "## What it learned from")):
        said = made[made.index(start) :].partition(end)[0]
        assert said in text


def millions(*networks: nn.Module) -> str:
    count = sum(parameter.numel() for network in networks for parameter in network.parameters())
    return f"{count / 1e6:.1f}"


@pytest.mark.slow
def test_the_overview_names_every_pipeline_with_its_size():
    lines = (REPOSITORY / "model_card.md").read_text().splitlines()
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in lines]
    table = {cells[0]: cells for cells in rows if cells}
    for name in bundled_names():
        pipe = bundled(name)
        cells = table[name]
        assert cells[2].startswith(f"{millions(pipe.correspondence, pipe.translation)} M (")
        height, width = pipe.learned_size
        assert cells[3] == (f"{height} px" if height == width else f"{height} x {width} px")
        card = ModelCard.load(ASSETS / name / "README.md")
        assert cells[5] == {"apache-2.0": "Apache-2.0", "other": "research only"}[card.data.license]
    for name, preset in PRESETS.items():
        with torch.device("meta"):
            networks = (
                CorrespondenceNetwork(**preset.correspondence_arguments()),
                TranslationNetwork(**preset.network_arguments()),
            )
        cells = table[name]
        assert cells[2] == str(preset.condition.channels)
        assert cells[4] == f"{millions(*networks)} M"


def test_saving_again_leaves_a_card_as_it_is(tmp_path: Path):
    tiny.pipeline().save_pretrained(tmp_path)
    (tmp_path / "README.md").write_text("By hand.")
    tiny.pipeline().save_pretrained(tmp_path, variant="fp16")
    assert (tmp_path / "README.md").read_text() == "By hand."


@pytest.mark.parametrize("results", [[], [result(12.5)]], ids=["without figures", "with figures"])
@pytest.mark.parametrize("before", [None, "bob/pictures"])
def test_a_card_moves_to_another_repository(before: str | None, results: list[EvalResult]):
    pipe, details = tiny.pipeline(), CardDetails(results=results)
    moved = renamed(ModelCard(str(model_card(pipe, before, details))), REPO)
    assert str(moved) == str(model_card(pipe, REPO, details))


def test_a_card_written_by_hand_is_moved_unchanged():
    text = "---\nlicense: mit\n---\n# Mine\n"
    assert str(renamed(ModelCard(text), REPO)) == text


def test_a_loaded_pipeline_makes_the_same_card(hub: LoopbackHub):
    tiny.pipeline(MASK).push_to_hub(REPO)
    card = model_card(CoCosPipeline.from_pretrained(REPO), REPO)
    assert str(card) == hub.files(REPO)["README.md"].decode()
