"""What the loader hands to the trainer: batches on the device, held-out pairs, and bad data."""

import dataclasses
from itertools import islice
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image

from cocosnet_hf import Condition, EdgeCondition, MaskCondition, PoseCondition
from cocosnet_hf.datasets import mirrored_order, open_training_data
from cocosnet_hf.datasets.settings import DataConfig
from cocosnet_hf.synthetic import SCENE_CLASSES, SyntheticExamples, write_imagefolder
from cocosnet_hf.systems import CoCosNetLosses
from train.config import TrainConfig
from train.data import TrainingData

pytest.importorskip("datasets")

SCENE = MaskCondition.from_names(SCENE_CLASSES)
DRAWN = DataConfig(
    condition_column="condition", image_size=32, load_size=36, batch_size=2, workers=0
)


def training_data(
    data: DataConfig, condition: Condition = SCENE, losses: CoCosNetLosses | None = None
) -> TrainingData:
    return TrainingData(
        TrainConfig(output_dir="unused", data=data, losses=losses or CoCosNetLosses()),
        condition,
        Accelerator(cpu=True),
    )


def folder_of(root: Path, condition_labels: list[np.ndarray], split: str = "train") -> Path:
    """An image folder of grey photos with these label maps."""
    target = root / split
    target.mkdir(parents=True)
    lines = []
    for number, labels in enumerate(condition_labels):
        Image.new("RGB", labels.shape[::-1], (90, 90, 90)).save(target / f"{number}.png")
        Image.fromarray(labels.astype(np.uint8)).save(target / f"{number}_label.png")
        lines.append(f'{{"file_name": "{number}.png", "label_file_name": "{number}_label.png"}}')
    (target / "metadata.jsonl").write_text("\n".join(lines))
    return root


# Batches -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_masks_are_encoded_on_the_device_as_the_condition_encodes_them(flip: float, tmp_path: Path):
    faces = MaskCondition.celebahq("celebamask")  # glasses lie on top, eyes change sides
    labels = np.random.default_rng(0).integers(0, 19, (32, 32))
    data = DataConfig(
        source=str(folder_of(tmp_path, [labels, labels])),
        cache_dir=str(tmp_path / "cache"),
        condition_column="label",
        image_size=32,
        load_size=32,
        flip=flip,
        batch_size=2,
        workers=0,
    )
    batch = next(iter(training_data(data, faces)))
    encoded = faces.encode(labels, 32, 32)
    if flip:
        encoded = encoded.flip(2)[mirrored_order(faces.classes)]
    assert encoded[16].any()
    for found in (batch.condition, batch.exemplar_condition):
        assert found.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(found, encoded.expand(2, -1, -1, -1))
    assert torch.equal(batch.condition_labels[0] == 16, encoded[16] > 0)
    assert batch.classes == 19


def test_an_example_of_150_classes_is_not_larger_than_one_of_12():
    sizes = {}
    for condition in (SCENE, MaskCondition.ade20k()):
        example = open_training_data(DRAWN, condition)[0]
        sizes[condition.channels] = sum(tensor.nbytes for tensor in example.values())
    assert sizes[151] == sizes[12]


@pytest.mark.parametrize("kind", ["edge", "pose"])
def test_other_conditions_come_encoded_from_the_loader(kind: str):
    condition = {"edge": EdgeCondition(), "pose": PoseCondition()}[kind]
    data = dataclasses.replace(DRAWN, condition_column=None if kind == "edge" else "condition")
    batch = next(iter(training_data(data, condition)))
    assert (
        batch.condition.shape == batch.exemplar_condition.shape == (2, condition.channels, 32, 32)
    )
    assert batch.condition_labels is None


def test_label_maps_beside_another_condition_have_the_declared_number_of_classes():
    data = dataclasses.replace(
        DRAWN, condition_column=None, labels_column="labels", label_classes=20
    )
    batch = next(iter(training_data(data, EdgeCondition())))
    assert batch.condition_labels.max() < batch.classes == 20
    assert batch.ignored_label is None


def test_the_seconds_that_batches_were_waited_for_add_up():
    data = training_data(DRAWN)
    assert data.seconds_waited == 0
    seen = []
    for _ in islice(data, 3):
        seen.append(data.seconds_waited)
    assert 0 < seen[0] < seen[1] < seen[2]


def test_held_out_photos_without_exemplars_get_another_of_them_not_themselves(tmp_path: Path):
    rng = np.random.default_rng(0)
    labels = [np.kron(rng.integers(0, 12, (4, 4)), np.ones((8, 8))) for _ in range(6)]
    for split, part in (("train", labels[:2]), ("validation", labels[2:])):
        folder_of(tmp_path, part, split)
    plain = {"exemplar_column": None, "exemplar_condition_column": None, "same_look": False}
    data = training_data(scenes(tmp_path, workers=0, **plain))
    (batch, *_) = data.validation_batches()
    assert not batch.is_self_pair.any()
    assert not torch.equal(batch.condition_labels, batch.exemplar_labels)


# Held-out pairs ----------------------------------------------------------------------------------


def scenes(folder: Path, **settings: object) -> DataConfig:
    return dataclasses.replace(
        DRAWN,
        source=str(folder),
        cache_dir=str(folder / "cache"),
        condition_column="label",
        **settings,
    )


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """Four training and two validation scenes, and a list of exemplars for each part."""
    for split, first, length in (("train", 0, 4), ("validation", 4, 2)):
        examples = SyntheticExamples("mask", 40, length=length, first=first)
        write_imagefolder(examples, tmp_path, split)
    (tmp_path / "list.txt").write_text("mask-0-000000.png,mask-0-000001.png\n")
    (tmp_path / "list_test.txt").write_text("mask-0-000004.png,mask-0-000003.png\n")
    return tmp_path


def test_held_out_photos_have_a_list_of_their_own_that_names_training_photos(listed: Path):
    lists = {"exemplar_list": "list.txt", "validation_exemplar_list": "list_test.txt"}
    data = training_data(scenes(listed, **lists))
    (batch,) = data.validation_batches()
    assert batch.is_self_pair.tolist() == [0, 1]  # the second photo is in no line
    exemplar = SyntheticExamples("mask", 40)[3]["condition"].resize((32, 32), Image.NEAREST)
    expected = torch.from_numpy(np.array(exemplar)).long()
    assert torch.equal(batch.exemplar_labels[0], expected)


def test_held_out_photos_of_one_look_are_each_others_exemplars(listed: Path):
    (listed / "list_test.txt").write_text("mask-0-000004.png,mask-0-000005.png\n")
    lists = {"exemplar_list": "list.txt", "validation_exemplar_list": "list_test.txt"}
    data = training_data(scenes(listed, same_look=True, **lists))
    (batch,) = data.validation_batches()
    assert torch.equal(batch.exemplar[0], batch.image[1])


def test_a_list_of_training_photos_alone_is_not_enough_to_validate(listed: Path):
    data = scenes(listed, exemplar_list="list.txt")
    with pytest.raises(ValueError, match="set data.validation_exemplar_list"):
        TrainConfig(output_dir="unused", data=data)
    with pytest.raises(ValueError, match="belongs to a data.exemplar_list"):
        scenes(listed, validation_exemplar_list="list_test.txt")


@pytest.mark.parametrize("split", ["held_out", "train[4:]"])
def test_a_held_out_part_that_is_not_there_or_empty_names_the_remedy(split: str, listed: Path):
    data = training_data(scenes(listed, split="train[:4]", validation_split=split))
    with pytest.raises(ValueError, match=r"data.validation_split=train\[95%:\], or set output"):
        data.validation_batches()


@pytest.fixture
def streamed(listed: Path) -> DataConfig:
    return dataclasses.replace(scenes(listed), streaming=True, batch_size=1)


def test_the_held_out_pairs_of_a_stream_are_those_of_a_copy(streamed: DataConfig):
    data = training_data(streamed)
    batches = list(data.validation_batches())
    expected = list(
        training_data(dataclasses.replace(streamed, streaming=False)).validation_batches()
    )
    assert len(batches) == len(expected) == 2
    for one, other in zip(batches, expected, strict=True):
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.condition_labels, other.condition_labels)


def test_a_stream_copies_nothing_to_the_disk(listed: Path, streamed: DataConfig):
    data = training_data(streamed)
    next(iter(data))
    next(data.validation_batches())
    assert not list(listed.rglob("*.arrow"))


def test_the_held_out_pairs_of_a_stream_find_their_exemplars_among_themselves(
    streamed: DataConfig,
):
    data = training_data(dataclasses.replace(streamed, retrieve=True))
    first, second = data.validation_batches()
    assert torch.equal(first.exemplar, second.image)
    assert torch.equal(second.exemplar, first.image)


def test_a_held_out_part_of_a_stream_that_cannot_be_cut_names_the_remedy(
    streamed: DataConfig, tmp_path: Path
):
    for split in ("train", "validation"):
        rows = datasets.load_dataset("imagefolder", data_dir=streamed.source, split=split)
        rows.to_parquet(tmp_path / "cut" / f"{split}.parquet")
    source = str(tmp_path / "cut")
    data = training_data(
        dataclasses.replace(
            streamed, source=source, split="train", validation_split="validation[:1]"
        )
    )
    with pytest.raises(ValueError, match=r"Bad split.*or set output.validate_every=0"):
        data.validation_batches()


def test_a_stream_goes_on_with_as_many_readers_as_before(streamed: DataConfig):
    states = training_data(streamed).stream_states()
    changed = dataclasses.replace(streamed, workers=1)
    for data, found in ((changed, states), (streamed, states * 2)):
        with pytest.raises(ValueError, match="can only go on so; got 1 processes and data.workers"):
            TrainingData(
                TrainConfig(output_dir="unused", data=data),
                SCENE,
                Accelerator(cpu=True),
                stream_states=found,
            )


# Data that cannot be used ------------------------------------------------------------------------


def test_a_split_without_examples_is_an_error_that_names_it(listed: Path):
    with pytest.raises(ValueError, match=r"'train\[4:\]' of .* corresponds to no data"):
        training_data(scenes(listed, split="train[4:]"))


def test_labels_beyond_the_classes_are_an_error_that_names_the_example(tmp_path: Path):
    folder = folder_of(tmp_path, [np.full((32, 32), label) for label in (3, 12)])
    with pytest.raises(RuntimeError, match=r"'.*1\.png' cannot be used: .*labels \[12\].*0\.\.11"):
        list(islice(training_data(scenes(folder)), 2))


def test_a_loss_of_labels_where_there_are_none_is_an_error():
    weights = CoCosNetLosses(warped_mask=1)
    data = dataclasses.replace(DRAWN, condition_column=None)
    with pytest.raises(ValueError, match="set data.labels_column, or these weights to 0"):
        training_data(data, EdgeCondition(), weights)
