"""What bad data and contradicting settings lead to."""

import itertools
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from cocosnet_hf.conditions import EdgeCondition, MaskCondition, PartEdgeCondition, PoseCondition
from cocosnet_hf.datasets import (
    DataSettings,
    EndlessBatches,
    TrainingExamples,
    open_source,
    open_training_data,
)
from cocosnet_hf.datasets.settings import shares_rows
from cocosnet_hf.synthetic import SyntheticExamples
from tests.support.rows import COUNT, MEMORY, SCENE, ListRows, always, equal, take

datasets = pytest.importorskip("datasets")


@pytest.fixture
def broken_folder(folder: Path, tmp_path: Path) -> Path:
    """The drawn scenes, of which the third photo is cut off."""
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    path = copy / "train" / "images" / "mask-0-000002.png"
    path.write_bytes(path.read_bytes()[:200])
    return copy


def test_a_missing_column_is_named_beside_those_found(scenes: DataSettings):
    with pytest.raises(ValueError, match="no column 'mask'.*'label'.*Set condition_column"):
        open_training_data(replace(scenes, condition_column="mask"), SCENE)
    with pytest.raises(ValueError, match="needs 'condition_column'.*label maps.*'label'"):
        open_training_data(replace(scenes, condition_column=None), SCENE)
    with pytest.raises(ValueError, match="no column 'picture'.*Set image_column"):
        open_training_data(replace(scenes, image_column="picture"), SCENE)
    with pytest.raises(ValueError, match="no column 'mask'"):
        open_training_data(replace(scenes, condition_column="mask", streaming=True), SCENE)


def test_labels_outside_the_classes_are_reported_with_the_examples_name(scenes: DataSettings):
    few = MaskCondition.from_names(["sky", "sun", "cloud"])
    with pytest.raises(RuntimeError, match=r"mask-0-000000.*labels \[.*the classes are 0\.\.2"):
        open_training_data(scenes, few)[0]


@pytest.mark.parametrize("streaming", [False, True])
def test_a_row_with_a_label_of_no_class_is_left_out_as_a_broken_one(
    folder: Path,
    scenes: DataSettings,
    tmp_path: Path,
    streaming: bool,
    caplog: pytest.LogCaptureFixture,
):
    copy = shutil.copytree(folder, tmp_path / "copy")
    mask = copy / "train" / "labels" / "mask-0-000002.png"
    with Image.open(mask) as picture:
        Image.new("L", picture.size, 200).save(mask)
    settings = replace(scenes, source=str(copy), max_broken_share=0.1, streaming=streaming)
    data = open_training_data(settings, SCENE)
    found = take(data, COUNT) if streaming else [data[index] for index in range(COUNT)]
    assert len(found) == COUNT and data.broken.broken == 1
    assert "labels [200], but the classes are 0..11" in caplog.text
    strict = open_training_data(replace(settings, max_broken_share=0.0), SCENE)
    with pytest.raises(RuntimeError, match=r"1 of .*labels \[200\].*max_broken_share"):
        take(strict, COUNT) if streaming else [strict[index] for index in range(COUNT)]


@pytest.mark.parametrize("streaming", [False, True])
def test_an_unknown_or_empty_split_is_refused(
    scenes: DataSettings, tmp_path: Path, streaming: bool
):
    settings = replace(scenes, streaming=streaming)
    with pytest.raises(ValueError, match="split 'tset'.*cannot be opened"):
        open_training_data(replace(settings, split="tset"), SCENE)
    (tmp_path / "train").mkdir()
    with pytest.raises(ValueError, match="cannot be opened"):
        open_training_data(replace(settings, source=str(tmp_path)), SCENE)
    features = open_source(scenes, SCENE).features
    empty = {name: [] for name in features}
    path = tmp_path / "empty" / "train.parquet"
    path.parent.mkdir()
    datasets.Dataset.from_dict(empty, features=features).to_parquet(str(path))
    settings = replace(settings, source=str(path.parent))
    with pytest.raises(ValueError, match="empty"):
        data = open_training_data(settings, SCENE)
        next(iter(data))


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
def test_more_workers_than_files_are_refused_by_the_workers_without_one(
    stream_settings: DataSettings,
):
    data = open_training_data(stream_settings, SCENE)
    loader = torch.utils.data.DataLoader(data, batch_size=1, num_workers=4)
    with pytest.raises(ValueError, match="3 shards are too few for 4 loader workers"):
        list(itertools.islice(loader, 8))


@pytest.mark.parametrize("streaming", [False, True])
def test_a_broken_picture_is_skipped_named_and_counted(
    broken_folder: Path, scenes: DataSettings, caplog: pytest.LogCaptureFixture, streaming: bool
):
    settings = replace(scenes, source=str(broken_folder), max_broken_share=0.2, streaming=streaming)
    data = open_training_data(settings, SCENE)
    if streaming:
        examples = take(data, COUNT - 1)
    else:
        examples = [data[index] for index in range(COUNT)]
        unmoved = open_training_data(replace(settings, augment=False), SCENE)
        assert torch.equal(unmoved[2]["image"], unmoved[3]["image"])
    assert len(examples) == COUNT - streaming
    assert "mask-0-000002" in caplog.text
    assert data.broken.broken >= 1
    assert data.broken.read > data.broken.broken


@pytest.mark.parametrize("streaming", [False, True])
def test_too_many_broken_pictures_stop_the_run(
    broken_folder: Path, scenes: DataSettings, streaming: bool
):
    settings = replace(scenes, source=str(broken_folder), max_broken_share=0.0)
    data = open_training_data(replace(settings, streaming=streaming), SCENE)
    with pytest.raises(RuntimeError, match="mask-0-000002.*max_broken_share"):
        take(data, COUNT) if streaming else [data[index] for index in range(COUNT)]


def test_broken_pictures_are_counted_over_all_workers(broken_folder: Path, scenes: DataSettings):
    settings = replace(scenes, source=str(broken_folder), max_broken_share=1.0)
    data = open_training_data(settings, SCENE)
    order = EndlessBatches(COUNT, 1)
    loader = torch.utils.data.DataLoader(data, batch_sampler=order, num_workers=2)
    list(itertools.islice(loader, COUNT))
    assert data.broken.broken >= 1
    assert data.broken.read >= COUNT


def test_a_set_without_one_readable_picture_stops_even_if_all_may_be_broken(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    rows = ListRows([{"image": str(tmp_path / "a.png")}] * 3)
    settings = DataSettings(image_size=32, load_size=36, max_broken_share=1.0)
    with pytest.raises(RuntimeError, match="None of the 3 examples"):
        TrainingExamples(rows, EdgeCondition(), settings)[0]


def test_a_broken_picture_does_not_enter_the_exemplar_index(
    folder: Path, scenes: DataSettings, tmp_path: Path
):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "train" / "labels" / "mask-0-000005.png").write_bytes(b"broken")
    settings = replace(scenes, source=str(copy), retrieve=True, easy_candidates=11)
    data = open_training_data(always(settings, "easy"), SCENE)
    others = [index for index in range(COUNT) if index != 5]
    # Where a broken exemplar is chosen, the photo itself takes its place.
    assert not any(data[epoch, index]["is_self_pair"] for epoch in range(8) for index in others)
    assert data.broken.broken == 0


def test_a_pose_without_a_certain_joint_counts_as_broken():
    example = SyntheticExamples("pose", 40)[0]
    joints = example["condition"].joints * (0.2, 0.2, 0.1)
    good = {"image": example["image"], "condition": example["condition"], "id": "good"}
    unsure = {**good, "condition": joints.tolist(), "id": "unsure"}
    missing = {**good, "condition": None, "id": "missing"}
    settings = replace(MEMORY, max_broken_share=0.9)
    data = TrainingExamples(ListRows([unsure, missing, good]), PoseCondition(0.3), settings)
    alone = TrainingExamples(ListRows([good]), PoseCondition(0.3), settings)
    assert equal(data[0], alone[0])
    assert data.broken.broken == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 300}, "'image_size'.*not above 'load_size'"),
        ({"image_width": 4}, "'image_width' must be at least 8"),
        ({"flip": 1.5}, "'flip' must be in 0..1"),
        ({"hard_probability": 0.9}, "must not be above"),
        ({"elastic": 0.5}, "'elastic' must be in 0..0.2"),
        ({"hard_rank": 0}, "must be at least 1"),
        ({"shuffle_buffer": -1}, "'shuffle_buffer'"),
        ({"retrieve": True, "exemplar_list": "refs.txt"}, "set one of"),
        ({"exemplar_condition_column": "mask"}, "belong to an 'exemplar_column'"),
        ({"streaming": True, "exemplar_list": "refs.txt"}, "streaming: false"),
        ({"same_look": True}, "'same_look'"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        DataSettings(**changes)


@pytest.mark.parametrize(
    ("changes", "condition", "message"),
    [
        ({"streaming": True}, SCENE, "streaming: false"),
        ({"split": "train[:9]"}, SCENE, "The drawn pictures have no parts"),
        ({}, PartEdgeCondition(), "no drawn pictures for a 'celebahq-edge'"),
        ({}, MaskCondition.from_names(["a", "b"]), "the condition declares 2"),
        ({"exemplar_column": "exemplar"}, SCENE, "needs 'exemplar_condition_column'"),
    ],
)
def test_drawn_pictures_that_cannot_be_had_are_refused(changes: dict, condition, message: str):
    settings = DataSettings(condition_column="condition", **changes)
    with pytest.raises(ValueError, match=message):
        open_training_data(settings, condition)


@pytest.mark.slow
def test_without_the_datasets_library_the_error_says_how_to_install_it():
    program = (
        "import sys; sys.modules['datasets'] = None\n"
        "from cocosnet_hf.datasets import *\n"
        "from cocosnet_hf import EdgeCondition\n"
        "assert len(open_training_data(DataSettings(), EdgeCondition())) > 0\n"
        "open_training_data(DataSettings(source='folder'), EdgeCondition())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "ImportError: Reading data sets needs the datasets library" in done.stderr
    assert "pip install -U datasets" in done.stderr


@pytest.mark.parametrize(
    ("one", "two", "shared"),
    [
        ("train", "test", False),
        ("train", "train", True),
        ("train[:90%]", "train[90%:]", False),
        ("train[:90%]", "train[80%:]", True),
        ("train[:860]", "train[860:]", False),
        ("train[:860]", "train[800:900]", True),
        ("train[100:860]", "train[:100]", False),
        ("train[:9]", "train[:1%]", True),
        ("train[:9]", "test[:9]", False),
        ("train[:9]+test", "test[5:]", True),
        ("train[:]", "train[5:6]", True),
        ("train[:90%]", "train[-5:]", False),  # not known
        ("train[-5:]", "train[-5:]", True),
        ("train[:10%](closest)", "train[:5%]", False),  # not known
        ("test + train", "train", True),
        ("train[10:20]", "train[10%:20%]", False),  # not known
    ],
)
def test_parts_of_a_split_that_share_photos_are_noticed(one: str, two: str, shared: bool):
    assert shares_rows(one, two) == shares_rows(two, one) == shared
