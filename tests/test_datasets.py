"""Data sets: reading, joint geometry, exemplars, resuming, and what bad data leads to."""

import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cocosnet_hf.conditions import (
    EdgeCondition,
    MaskCondition,
    PartEdgeCondition,
    Pose,
    PoseCondition,
)
from cocosnet_hf.conditions.edge import FACE_PARTS
from cocosnet_hf.conditions.pose import JOINTS
from cocosnet_hf.datasets import (
    DataSettings,
    EndlessBatches,
    Geometry,
    TrainingExamples,
    TrainingStream,
    mirrored_order,
    open_source,
    open_training_data,
    split_by_node,
)
from cocosnet_hf.datasets.geometry import NEAREST
from cocosnet_hf.datasets.settings import shares_rows
from cocosnet_hf.synthetic import SCENE_CLASSES, SyntheticExamples, write_imagefolder

datasets = pytest.importorskip("datasets")

# Parquet streams otherwise wait five seconds after every shuffled pass.
datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0
datasets.disable_progress_bars()

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"
SCENE = MaskCondition.from_names(SCENE_CLASSES)
COUNT = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An imagefolder with 12 drawn scenes of 40 x 40 pixels."""
    root = tmp_path_factory.mktemp("scenes")
    write_imagefolder(SyntheticExamples("mask", 40, length=COUNT), root)
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def scenes(folder: Path, cache: str) -> DataSettings:
    return DataSettings(
        source=str(folder), condition_column="label", image_size=32, load_size=36, cache_dir=cache
    )


@pytest.fixture
def broken_folder(folder: Path, tmp_path: Path) -> Path:
    """The drawn scenes, of which the third photo is cut off."""
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    path = copy / "train" / "images" / "mask-0-000002.png"
    path.write_bytes(path.read_bytes()[:200])
    return copy


@pytest.fixture(scope="module")
def parquet(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn scenes as three parquet files."""
    root = tmp_path_factory.mktemp("parquet")
    rows = datasets.load_dataset(
        "imagefolder", data_dir=str(folder), split="train", cache_dir=str(root / "cache")
    )
    target = root / "data"
    target.mkdir()
    for shard in range(3):
        rows.shard(3, shard).to_parquet(str(target / f"train-{shard:05d}.parquet"))
    return target


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def take(stream: TrainingStream, count: int) -> list[dict[str, Tensor]]:
    return list(itertools.islice(iter(stream), count))


class ListRows(list):
    """Rows in memory, as a data set with these columns."""

    @property
    def column_names(self) -> list[str]:
        return list(self[0]) if self else []


def mask_rows(count: int = 6, side: int = 40) -> ListRows:
    """Photos that show their mask: class k is grey 20 k."""
    rows = ListRows()
    for number in range(count):
        labels = np.kron(
            np.random.default_rng(number).integers(0, 12, (5, 5)), np.ones((8, 8))
        ).astype(np.uint8)
        photo = Image.fromarray(labels * 20).convert("RGB")
        rows.append({"image": photo, "condition": Image.fromarray(labels), "id": f"row{number}"})
    assert side == labels.shape[0]
    return rows


MEMORY = DataSettings(condition_column="condition", image_size=32, load_size=40)


# The training example


def test_a_training_example_has_the_promised_shapes_and_ranges(scenes: DataSettings):
    example = open_training_data(scenes, SCENE)[0]
    assert {key: tuple(value.shape) for key, value in example.items()} == {
        "image": (3, 32, 32),
        "exemplar": (3, 32, 32),
        "is_self": (),
        "condition_labels": (32, 32),
        "exemplar_labels": (32, 32),
    }
    for key in ("image", "exemplar"):
        assert example[key].dtype == torch.float32
        assert -1 <= example[key].min() < 0 < example[key].max() <= 1
    assert example["condition_labels"].dtype == torch.int64
    assert example["is_self"] == 1


def test_photo_and_mask_share_one_draw_and_the_exemplar_has_another():
    data = TrainingExamples(mask_rows(), SCENE, replace(MEMORY, load_size=40))
    moved = 0
    for index in range(6):
        example = data[0, index]
        for photo, labels in (("image", "condition_labels"), ("exemplar", "exemplar_labels")):
            grey = (example[photo][0] + 1) * 127.5
            assert torch.equal((grey / 20).round().long(), example[labels])
        moved += not torch.equal(example["image"], example["exemplar"])
    assert moved == 6


def test_a_warped_self_exemplar_keeps_photo_and_mask_aligned():
    settings = replace(MEMORY, warp=0.08, flip=0.0, load_size=32)
    example = TrainingExamples(mask_rows(), SCENE, settings)[0, 1]
    seen = ((example["exemplar"][0] + 1) * 127.5 / 20).round().long()
    assert not torch.equal(example["condition_labels"], example["exemplar_labels"])
    assert (seen == example["exemplar_labels"]).float().mean() > 0.75
    plain = TrainingExamples(mask_rows(), SCENE, replace(settings, warp=0.0))[0, 1]
    assert torch.equal(plain["condition_labels"], plain["exemplar_labels"])


def test_the_color_change_is_one_for_a_self_pair_and_two_for_a_real_pair():
    rows = mask_rows()
    for row in rows:
        row["exemplar"], row["exemplar_condition"] = row["image"], row["condition"]
    settings = replace(MEMORY, color=1.0, flip=0.0, load_size=32)
    alike = TrainingExamples(rows, SCENE, settings)[0, 0]
    assert torch.equal(alike["image"], alike["exemplar"])
    columns = {"exemplar_column": "exemplar", "exemplar_condition_column": "exemplar_condition"}
    settings = replace(settings, **columns, real_probability=1.0)
    differing = TrainingExamples(rows, SCENE, settings)[0, 0]
    assert differing["is_self"] == 0
    assert (differing["image"] - differing["exemplar"]).abs().mean() > 0.02
    same_look = TrainingExamples(rows, SCENE, replace(settings, same_look=True))[0, 0]
    assert same_look["is_self"] == 1
    assert torch.equal(same_look["image"], same_look["exemplar"])


def test_without_augmentation_the_middle_is_cut_and_nothing_flipped():
    settings = replace(MEMORY, load_size=40, augment=False)
    row = mask_rows()[2]
    example = TrainingExamples(ListRows([row]), SCENE, settings)[0]
    wanted = torch.from_numpy(np.array(row["condition"])[4:36, 4:36]).long()
    assert torch.equal(example["condition_labels"], wanted)
    assert torch.equal(example["exemplar_labels"], wanted)


def test_the_cut_starts_anywhere_from_zero_to_the_remaining_room():
    settings = DataSettings(image_size=32, load_size=34)
    corners = {
        Geometry.draw((50, 70), settings, np.random.default_rng(seed)).corner for seed in range(200)
    }
    assert corners == set(itertools.product(range(3), range(3)))


def test_keeping_the_aspect_only_the_short_side_is_the_load_size():
    settings = DataSettings(image_size=32, load_size=36, keep_aspect=True)
    assert Geometry.draw((100, 50), settings, np.random.default_rng(0)).load == (72, 36)
    assert Geometry.draw((50, 100), settings, np.random.default_rng(0)).load == (36, 72)


@pytest.mark.parametrize("keep_aspect", [False, True])
@pytest.mark.parametrize("size", [(64, 64), (96, 64), (64, 160)])
def test_a_narrow_picture_is_cut_around_the_middle(size: tuple[int, int], keep_aspect: bool):
    settings = DataSettings(image_size=32, image_width=16, load_size=36, keep_aspect=keep_aspect)
    drawn = [Geometry.draw(size, settings, np.random.default_rng(seed)) for seed in range(300)]
    middle = replace(settings, augment=False)
    still = Geometry.draw(size, middle, np.random.default_rng(0))
    assert {one.size for one in [*drawn, still]} == {(16, 32)}
    aspect = drawn[0].load[0] / drawn[0].load[1]
    assert aspect == pytest.approx(size[0] / size[1] if keep_aspect else 1, rel=0.03)
    columns = {one.corner[0] for one in drawn}
    assert columns <= set(range(still.corner[0] - 2, still.corner[0] + 3))
    assert len(columns) == 1 + min(4, drawn[0].load[0] - 16)
    assert {one.corner[1] for one in drawn} == set(range(drawn[0].load[1] - 32 + 1))


def test_a_narrow_picture_and_its_mask_lie_on_each_other():
    rows = SyntheticExamples("mask", 40, length=3)
    condition = MaskCondition(rows.classes)
    settings = replace(MEMORY, image_size=40, load_size=40, augment=False)
    for index in range(3):
        wide = TrainingExamples(rows, condition, settings)[index]
        narrow = TrainingExamples(rows, condition, replace(settings, image_width=16))[index]
        assert torch.equal(narrow["image"], wide["image"][:, :, 12:28])
        assert torch.equal(narrow["condition_labels"], wide["condition_labels"][:, 12:28])


@pytest.mark.parametrize("mode", ["1", "L", "P", "indexed copy", "I", "I;16", "RGB"])
def test_label_pictures_of_every_mode_keep_their_values(mode: str):
    classes = MaskCondition(("a", "b"), colors=("#000000", "#ffffff"))
    pixels = np.kron(np.eye(4, dtype=np.uint8), np.ones((10, 10), np.uint8))
    if mode == "RGB":
        mask = Image.fromarray(pixels * 255).convert("RGB")
    elif mode == "P":
        mask = Image.fromarray(pixels)
        mask.putpalette(classes.palette.tobytes())
    elif mode == "indexed copy":
        mask = Image.fromarray(1 - pixels)
        mask.putpalette(classes.palette[::-1].tobytes())
    elif mode == "1":
        mask = Image.fromarray(pixels > 0)
    else:
        mask = Image.fromarray(pixels.astype({"L": "u1", "I": "i4", "I;16": "u2"}[mode]))
    assert mask.mode == {"indexed copy": "P"}.get(mode, mode)
    row = {"image": Image.fromarray(pixels * 255).convert("RGB"), "condition": mask, "id": mode}
    for warp in (0.0, 0.05):
        settings = replace(MEMORY, load_size=40, warp=warp)
        example = TrainingExamples(ListRows([row]), classes, settings)[3, 0]
        assert set(example["exemplar_labels"].unique().tolist()) == {0, 1}
        seen = (example["image"][0] > 0).long()
        assert torch.equal(seen, example["condition_labels"])


# Flips


def test_mirrored_names_are_found_in_every_spelling():
    names = ["l_eye", "nose", "r_eye", "Ear Left", "ear right", "l_lip", "u_lip"]
    assert mirrored_order(names) == [2, 1, 0, 4, 3, 5, 6]
    joints = mirrored_order(JOINTS)
    assert JOINTS[joints[JOINTS.index("r_wrist")]] == "l_wrist"
    assert [joints[other] for other in joints] == list(range(18))


@pytest.mark.parametrize("swap", [True, False])
def test_a_flip_exchanges_left_and_right_classes_if_wanted(swap: bool):
    classes = MaskCondition.from_names(["skin", "l_eye", "r_eye"])
    labels = np.zeros((32, 32), np.uint8)
    labels[8:16, 4:12], labels[8:16, 20:28] = 1, 2
    row = {"image": Image.new("RGB", (32, 32)), "condition": Image.fromarray(labels), "id": "face"}
    settings = replace(MEMORY, load_size=32, flip=1.0, swap_sides=swap)
    example = TrainingExamples(ListRows([row]), classes, settings)[0]
    wanted = torch.from_numpy(labels).long()
    if not swap:
        wanted = wanted.flip(1)
    assert torch.equal(example["condition_labels"], wanted)


def test_a_flip_exchanges_the_sides_of_face_parts():
    labels = np.zeros((32, 32), np.uint8)
    labels[8:24, 4:28] = 1
    labels[10:14, 6:10] = 4
    row = {"image": Image.new("RGB", (32, 32)), "condition": Image.fromarray(labels), "id": "face"}
    settings = replace(MEMORY, load_size=32, flip=1.0)
    straight = TrainingExamples(ListRows([row]), PartEdgeCondition(), replace(settings, flip=0.0))
    flipped = TrainingExamples(ListRows([row]), PartEdgeCondition(), settings)
    left, right = 1 + FACE_PARTS.index("l_eye"), 1 + FACE_PARTS.index("r_eye")
    before, after = straight[0]["condition"], flipped[0]["condition"]
    assert before[left].min() == 0
    assert before[right].min() == 1
    assert torch.equal(after[right], before[left].flip(1))
    assert torch.equal(after[left], before[right].flip(1))


def pose_at(points: dict[str, tuple[float, float]], side: int) -> Pose:
    joints = np.full((18, 3), np.nan)
    for name, (x, y) in points.items():
        joints[JOINTS.index(name)] = (x, y, 1)
    return Pose(joints, (side, side))


def test_joints_follow_the_cut_and_the_flip():
    pose = pose_at({"r_wrist": (10, 20), "nose": (30, 8)}, side=64)
    geometry = Geometry(load=(128, 128), corner=(12, 24), size=(64, 64), flipped=False)
    moved = geometry.pose(pose)
    assert moved.size == (32, 32)
    np.testing.assert_allclose(moved.joints[JOINTS.index("r_wrist"), :2], (4, 8))
    mirrored = replace(geometry, flipped=True, swap_sides=True).pose(pose)
    np.testing.assert_allclose(mirrored.joints[JOINTS.index("l_wrist"), :2], (27, 8))
    assert np.isnan(mirrored.joints[JOINTS.index("r_wrist"), 0])
    unswapped = replace(geometry, flipped=True).pose(pose)
    np.testing.assert_allclose(unswapped.joints[JOINTS.index("r_wrist"), :2], (27, 8))


@pytest.mark.parametrize("width", [None, 56])
@pytest.mark.parametrize("seed", range(4))
def test_joints_move_with_the_photo_under_flip_and_warp(seed: int, width: int | None):
    """A white spot is painted at the joint; after the geometry the joint is still on it."""
    side = 96
    pixels = np.zeros((side, side, 3), np.uint8)
    pixels[38:43, 53:58] = 255
    settings = DataSettings(image_size=80, load_size=96, image_width=width, flip=0.5)
    rng = np.random.default_rng(seed)
    geometry = Geometry.draw((side, side), settings, rng, warp=0.06)
    photo = np.asarray(geometry.picture(Image.fromarray(pixels)), float)[:, :, 0]
    y, x = (photo[..., None] * np.indices(photo.shape).transpose(1, 2, 0)).sum((0, 1)) / photo.sum()
    geometry = replace(geometry, swap_sides=False)
    joint = geometry.pose(pose_at({"nose": (55, 40)}, side)).joints[0, :2]
    np.testing.assert_allclose(joint, (x, y), atol=1.5)


def test_edges_are_those_of_the_cut_and_flipped_photo():
    settings = DataSettings(image_size=32, load_size=36, augment=True)
    data = TrainingExamples(SyntheticExamples("edge", 48, length=4), EdgeCondition(), settings)
    for epoch in range(3):
        example = data[epoch, 0]
        pixels = ((example["image"] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        encoded = EdgeCondition().encode(Image.fromarray(pixels), 32, 32)
        assert torch.equal(encoded, example["condition"])
        assert "condition_labels" not in example


def test_a_drawing_in_a_column_is_read_as_lines():
    drawing = Image.new("L", (40, 40), 255)
    drawing.paste(0, (10, 0, 12, 40))
    row = {"image": Image.new("RGB", (40, 40), "red"), "condition": drawing, "id": "drawn"}
    data = TrainingExamples(ListRows([row]), EdgeCondition(), replace(MEMORY, augment=False))
    lines = data[0]["condition"][0]
    # The stroke is thinned to one pixel; thinning also takes a pixel off its ends.
    assert 28 <= lines.sum() <= 32
    assert lines[:, 6:8].sum() == lines.sum()


def test_a_drawing_keeps_its_thin_lines_and_may_be_empty_where_it_is_cut():
    drawing = np.full((160, 160), 255, np.uint8)
    drawing[:, 13] = drawing[30] = 0
    row = {
        "image": Image.new("RGB", (160, 160), "red"),
        "condition": Image.fromarray(drawing),
        "id": "drawn",
    }
    settings = replace(MEMORY, image_size=16, load_size=40, flip=0.0)
    data = TrainingExamples(ListRows([row]), EdgeCondition(), settings)
    lines = [data[epoch, 0]["condition"][0] for epoch in range(40)]
    found = {(bool(cut.any(0).all()), bool(cut.any(1).all())) for cut in lines}
    assert found >= {(False, False), (True, False), (False, True)}
    assert max(cut.sum() for cut in lines) <= 2 * 16


def test_a_drawing_without_a_line_is_a_broken_example():
    row = {"image": Image.new("RGB", (40, 40)), "condition": Image.new("L", (40, 40), 255)}
    settings = replace(MEMORY, max_broken_share=0.0)
    data = TrainingExamples(ListRows([row | {"id": "blank"}]), EdgeCondition(), settings)
    with pytest.raises(RuntimeError, match="blank cannot be used: The drawing has no line"):
        data[0]


@pytest.mark.parametrize("kind", ["edge", "pose"])
def test_a_labels_column_gives_label_maps_to_conditions_that_are_no_masks(kind: str):
    examples = SyntheticExamples(kind, 48, length=3)
    settings = DataSettings(
        condition_column="condition" if kind == "pose" else None,
        labels_column="labels",
        label_classes=len(examples.classes),
        exemplar_column="exemplar",
        exemplar_condition_column="exemplar_condition" if kind == "pose" else None,
        exemplar_labels_column="exemplar_labels",
        image_size=32,
        load_size=36,
    )
    example = TrainingExamples(examples, examples.condition, settings)[0]
    assert example["condition_labels"].shape == example["exemplar_labels"].shape == (32, 32)
    assert 0 < example["condition_labels"].max() < len(examples.classes)


@pytest.mark.parametrize("missing", ["labels", "exemplar_labels"])
def test_a_row_without_its_label_map_is_a_broken_example(missing: str):
    photo, labels = Image.new("RGB", (32, 32), "red"), Image.new("L", (32, 32))
    row = {"image": photo, "labels": labels, "exemplar": photo, "exemplar_labels": labels}
    settings = DataSettings(
        labels_column="labels",
        label_classes=2,
        exemplar_column="exemplar",
        exemplar_labels_column="exemplar_labels",
        image_size=32,
        load_size=32,
        real_probability=1.0,
        max_broken_share=0.0,
    )
    data = TrainingExamples(
        ListRows([row | {missing: None, "id": "one"}]), EdgeCondition(), settings
    )
    with pytest.raises(RuntimeError, match="There is no label map of .*one"):
        data[0]


def test_a_flip_exchanges_the_sides_of_a_label_map():
    photo = Image.new("RGB", (32, 32), "red")
    labels = np.repeat(np.array([[0, 1, 2, 3]], np.uint8), 32, 0).repeat(8, 1)
    row = {"image": photo, "labels": Image.fromarray(labels), "id": "one"}
    settings = DataSettings(
        labels_column="labels",
        label_classes=4,
        label_sides=((0, 3),),
        image_size=32,
        load_size=32,
        flip=1.0,
        real_probability=0.0,
        hard_probability=0.0,
    )
    edges = Image.new("L", (32, 32), 255)
    edges.paste(0, (10, 0, 12, 32))
    rows = ListRows([row | {"edges": edges}])
    found = TrainingExamples(rows, EdgeCondition(), replace(settings, condition_column="edges"))
    assert found[0]["condition_labels"][0, ::8].tolist() == [0, 2, 1, 3]
    plain = replace(settings, condition_column="edges", label_sides=())
    unswapped = TrainingExamples(rows, EdgeCondition(), plain)
    assert unswapped[0]["condition_labels"][0, ::8].tolist() == [3, 2, 1, 0]
    few = replace(plain, label_classes=3)
    with pytest.raises(ValueError, match=r"'one'.*classes 0..2, got .* from 0 to 3"):
        TrainingExamples(rows, EdgeCondition(), few)[0]


def test_values_of_a_label_map_are_grouped_into_classes():
    photo = Image.new("RGB", (32, 32), "red")
    labels = np.repeat(np.array([[0, 7, 3, 9]], np.uint8), 32, 0).repeat(8, 1)
    rows = ListRows([{"image": photo, "labels": Image.fromarray(labels), "id": "one"}])
    settings = DataSettings(
        labels_column="labels",
        label_classes=3,
        label_groups=((9,), (0, 3), (7,)),
        image_size=32,
        load_size=32,
        flip=0.0,
    )
    example = TrainingExamples(rows, EdgeCondition(), settings)[0]
    assert example["condition_labels"][0, ::8].tolist() == [1, 2, 1, 0]
    without_seven = replace(settings, label_groups=((9,), (0, 3), (1,)))
    with pytest.raises(ValueError, match=r"map of one.*values in label_groups.*\[7\] outside"):
        TrainingExamples(rows, EdgeCondition(), without_seven)[0]
    masks = replace(settings, condition_column="labels", labels_column=None, label_classes=None)
    example = TrainingExamples(rows, MaskCondition.from_names("abc"), masks)[0]
    assert example["condition_labels"][0, ::8].tolist() == [1, 2, 1, 0]
    with pytest.raises(ValueError, match="each of the 2 classes of the condition, got 3"):
        TrainingExamples(rows, MaskCondition.from_names("ab"), masks)
    with pytest.raises(ValueError, match="use one of them"):
        TrainingExamples(rows, MaskCondition.from_names("abc", values={7: 1}), masks)
    with pytest.raises(ValueError, match="of which there are none"):
        unlabelled = replace(settings, labels_column=None, label_classes=None)
        TrainingExamples(rows, EdgeCondition(), unlabelled)


def test_an_index_of_grouped_labels_compares_groups():
    def row(name: str, top: int, bottom: int) -> dict:
        labels = np.full((32, 32), bottom, np.uint8)
        labels[:16] = top
        return {"image": Image.new("RGB", (32, 32)), "labels": Image.fromarray(labels), "id": name}

    rows = ListRows([row("query", 5, 0), row("other", 0, 5), row("alike", 6, 0)])
    settings = DataSettings(
        labels_column="labels",
        label_classes=2,
        label_groups=((0,), (5, 6)),
        retrieve=True,
        image_size=32,
        load_size=32,
        real_probability=1.0,
        hard_probability=0.0,
    )
    assert TrainingExamples(rows, EdgeCondition(), settings)._easy[0].tolist() == [2]


@pytest.mark.parametrize("groups", [((0,), (1,)), ((0,), (1, 2), (2,))])
def test_label_groups_that_are_no_classes_are_refused(groups: tuple[tuple[int, ...], ...]):
    with pytest.raises(ValueError, match="label_groups"):
        DataSettings(labels_column="labels", label_classes=3, label_groups=groups)


@pytest.mark.parametrize("pair", [(0, 4), (1,), (0, 1, 2)])
def test_sides_that_are_no_pairs_of_classes_are_refused(pair: tuple[int, ...]):
    with pytest.raises(ValueError, match="pairs of classes below 'label_classes'"):
        DataSettings(labels_column="labels", label_classes=4, label_sides=(pair,))


# Sources


@pytest.mark.parametrize("streaming", [False, True])
def test_a_folder_parquet_and_tars_hold_the_same_examples(
    folder: Path, parquet: Path, scenes: DataSettings, tmp_path: Path, streaming: bool
):
    import tarfile

    tars = tmp_path / "tars"
    tars.mkdir()
    for shard, numbers in enumerate((range(6), range(6, 12))):
        with tarfile.open(tars / f"train-{shard}.tar", "w") as tar:
            for number in numbers:
                name = f"mask-0-{number:06d}"
                tar.add(folder / "train" / "images" / f"{name}.png", f"{name}.image.png")
                tar.add(folder / "train" / "labels" / f"{name}.png", f"{name}.label.png")
    settings = replace(scenes, streaming=streaming)
    columns = {"image_column": "image.png", "condition_column": "label.png"}
    sources = [
        settings,
        replace(settings, source=str(parquet)),
        replace(settings, source=str(parquet / "*.parquet")),
        replace(settings, source=str(tars), **columns),
    ]
    found = []
    for source in sources:
        rows = open_source(source.for_validation(), SCENE)
        data = open_training_data(source.for_validation(), SCENE)
        examples = take(data, COUNT) if streaming else [data[i] for i in range(len(rows))]
        found.append(sorted(float(example["image"].sum()) for example in examples))
    assert len(found[0]) == COUNT
    assert all(sums == found[0] for sums in found[1:])


def test_a_folder_of_photos_alone_is_enough_for_edges(tmp_path: Path, cache: str):
    for number in range(3):
        image = SyntheticExamples("edge", 40)[number]["image"]
        image.save(tmp_path / f"{number}.png")
    settings = DataSettings(source=str(tmp_path), image_size=32, load_size=36, cache_dir=cache)
    data = open_training_data(settings, EdgeCondition())
    assert len(data) == 3
    assert data[1]["condition"].shape == (2, 32, 32)


def test_a_data_set_saved_to_disk_is_opened(scenes: DataSettings, tmp_path: Path):
    open_source(scenes, SCENE).save_to_disk(str(tmp_path / "saved"))
    data = open_training_data(replace(scenes, source=str(tmp_path / "saved")), SCENE)
    assert equal(data[0, 4], open_training_data(scenes, SCENE)[0, 4])


@pytest.mark.parametrize("split", ["train[:3]", "train[75%:]", "train"])
@pytest.mark.parametrize("streaming", [False, True])
def test_a_saved_data_set_has_the_splits_of_what_was_saved(
    scenes: DataSettings, tmp_path: Path, split: str, streaming: bool
):
    open_source(scenes, SCENE).save_to_disk(str(tmp_path / "saved"))
    saved = replace(scenes, source=str(tmp_path / "saved"), split=split, streaming=streaming)
    expected = [row["id"] for row in open_source(replace(scenes, split=split), SCENE)]
    assert [row["id"] for row in open_source(saved, SCENE)] == expected


def test_several_splits_saved_as_one_data_set_are_called_train(
    scenes: DataSettings, tmp_path: Path
):
    rows = open_source(replace(scenes, split="train[:2]+train[5:]"), SCENE)
    assert "+" in str(rows.split)
    rows.save_to_disk(str(tmp_path / "saved"))
    saved = open_source(replace(scenes, source=str(tmp_path / "saved"), split="train[:4]"), SCENE)
    assert saved["id"] == rows["id"][:4]


@pytest.mark.parametrize("split", ["validation", "train[:3]+validation"])
def test_a_split_that_was_not_saved_is_an_error(scenes: DataSettings, tmp_path: Path, split: str):
    open_source(scenes, SCENE).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(ValueError, match=r'Unknown split "validation".*train'):
        open_source(replace(scenes, source=str(tmp_path / "saved"), split=split), SCENE)


def test_several_data_sets_saved_as_one_are_its_splits(scenes: DataSettings, tmp_path: Path):
    rows = open_source(scenes, SCENE)
    parts = {"train": rows.select(range(8)), "held_out": rows.select(range(8, COUNT))}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
    saved = replace(scenes, source=str(tmp_path / "saved"), split="train[:2]+held_out")
    expected = [rows[place]["id"] for place in (0, 1, *range(8, COUNT))]
    assert [row["id"] for row in open_source(saved, SCENE)] == expected


def test_keypoints_in_metadata_become_poses(tmp_path: Path, cache: str):
    write_imagefolder(SyntheticExamples("pose", 128, length=2), tmp_path)
    settings = DataSettings(
        source=str(tmp_path),
        condition_column="keypoints",
        labels_column="label",
        label_classes=len(SyntheticExamples("pose", 128).classes),
        image_size=128,
        load_size=128,
        augment=False,
        cache_dir=cache,
    )
    example = open_training_data(settings, PoseCondition())[0]
    figure = example["condition"][:3].amax(0) > 0
    assert figure.any()
    person = example["condition_labels"] > 1
    assert person[figure].float().mean() > 0.75


def test_openpose_json_text_and_dicts_become_poses():
    pose = SyntheticExamples("pose", 64)[0]
    numbers = pose["condition"].joints * (0.5, 0.5, 1)
    people = {"people": [{"pose_keypoints_2d": numbers.reshape(-1).tolist()}]}
    conditions = [people, json.dumps(people), {"keypoints": numbers}, numbers.tolist()]
    rows = ListRows({"image": pose["image"], "condition": each, "id": "p"} for each in conditions)
    settings = replace(MEMORY, image_size=64, load_size=64, augment=False)
    data = TrainingExamples(rows, PoseCondition(), settings)
    assert all(torch.equal(data[i]["condition"], data[0]["condition"]) for i in range(4))


# Exemplars


def test_one_draw_decides_between_hard_easy_and_the_photo_itself(scenes: DataSettings):
    settings = replace(scenes, retrieve=True, hard_rank=4)
    data = open_training_data(settings, SCENE)
    ranks: dict[str, int] = dict.fromkeys(("self", "easy", "hard"), 0)
    for index in range(COUNT):
        for draw, expected in ((0.1, "hard"), (0.3, "easy"), (0.69, "easy"), (0.7, "self")):
            row = data.rows[index]
            found = data._real_exemplar(row, index, draw, np.random.default_rng(0))
            kind = "self" if found is None else "other"
            assert (kind == "self") == (expected == "self")
            if expected != "self":
                chosen = data._easy if expected == "easy" else data._hard
                assert found.name == f"mask-0-{chosen[index, 0]:06d}"
                assert chosen[index, 0] != index
            ranks[expected] += 1
    shares = [float(data[epoch, 0]["is_self"]) for epoch in range(150)]
    assert 0.2 < np.mean(shares) < 0.4


def test_the_easy_exemplar_overlaps_more_than_the_hard_one(scenes: DataSettings):
    data = open_training_data(replace(scenes, retrieve=True, hard_rank=10), SCENE)
    maps = [np.array(data.reader.read(data.rows[i], i).condition) for i in range(COUNT)]

    def agreement(choices: np.ndarray) -> float:
        return float(np.mean([(maps[i] == maps[choices[i, 0]]).mean() for i in range(COUNT)]))

    assert agreement(data._easy) > agreement(data._hard) + 0.05


def test_label_maps_beside_edges_decide_which_exemplar_is_near(
    scenes: DataSettings, tmp_path: Path
):
    settings = replace(
        scenes,
        condition_column=None,
        labels_column=scenes.condition_column,
        label_classes=SCENE.channels,
        retrieve=True,
        cache_dir=str(tmp_path),
    )
    by_labels = open_training_data(settings, EdgeCondition())
    by_masks = open_training_data(replace(scenes, retrieve=True, cache_dir=str(tmp_path)), SCENE)
    np.testing.assert_array_equal(by_labels._easy, by_masks._easy)


def test_edge_jitter_changes_the_lines_and_not_the_photo():
    examples = SyntheticExamples("edge", 64, length=2)
    settings = replace(MEMORY, condition_column=None, image_size=64, load_size=64)
    plain, varied = (
        TrainingExamples(examples, EdgeCondition(), replace(settings, edge_jitter=jitter))
        for jitter in (0.0, 0.9)
    )
    changed = 0
    for epoch in range(4):
        assert torch.equal(plain[epoch, 0]["image"], varied[epoch, 0]["image"])
        changed += not torch.equal(plain[epoch, 0]["condition"], varied[epoch, 0]["condition"])
    assert changed
    still = TrainingExamples(
        examples, EdgeCondition(), replace(settings, edge_jitter=0.9, augment=False)
    )
    assert torch.equal(still[0, 0]["condition"], still[1, 0]["condition"])


def test_the_index_of_a_folder_is_built_once(
    scenes: DataSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = replace(scenes, retrieve=True, cache_dir=str(tmp_path))
    first = open_training_data(settings, SCENE)
    assert len(list(tmp_path.glob("exemplars-*.safetensors"))) == 1
    # Reading the pictures again would fail.
    monkeypatch.setattr("cocosnet_hf.datasets.reading.Reader.read_layout", None)
    second = open_training_data(settings, SCENE)
    np.testing.assert_array_equal(first._easy, second._easy)


def test_validation_takes_the_easy_exemplar_from_the_training_rows(
    scenes: DataSettings, tmp_path: Path
):
    write_imagefolder(SyntheticExamples("mask", 40, length=2, first=3), tmp_path, "test")
    train = open_source(scenes, SCENE)
    settings = replace(scenes, source=str(tmp_path), split="test", retrieve=True).for_validation()
    data = TrainingExamples(open_source(settings, SCENE), SCENE, settings, pool=train)
    # The same drawings are in the training folder, so they are their own nearest exemplars.
    assert data._easy[:, 0].tolist() == [3, 4]
    assert [float(data[epoch, 1]["is_self"]) for epoch in range(5)] == [0] * 5
    assert equal(data[0, 1], data[7, 1])
    assert torch.equal(data[0]["exemplar_labels"], data[0]["condition_labels"])


def test_a_list_names_easy_and_hard_references(scenes: DataSettings, tmp_path: Path):
    path = tmp_path / "refs.txt"
    path.write_text(
        "images/mask-0-000001.png, mask-0-000004.png, mask-0-000005\n\n"
        "mask-0-000002,mask-0-000002\n"
    )
    data = open_training_data(replace(scenes, exemplar_list=str(path)), SCENE)
    row = data.rows[1]
    rng = np.random.default_rng(0)
    assert data._real_exemplar(row, 1, 0.5, rng).name == "mask-0-000004"
    assert data._real_exemplar(row, 1, 0.1, rng).name == "mask-0-000005"
    assert data._real_exemplar(data.rows[2], 2, 0.1, rng) is None
    assert data._real_exemplar(data.rows[0], 0, 0.1, rng) is None


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("mask-0-000001\n", "Line 1 .* must be"),
        (
            "mask-0-000001, mask-0-000002\nmask-0-000001, nobody.png\n",
            "Line 2 .*'nobody.png' names",
        ),
    ],
)
def test_a_wrong_line_of_a_list_is_reported(
    scenes: DataSettings, tmp_path: Path, lines: str, message: str
):
    path = tmp_path / "refs.txt"
    path.write_text(lines)
    with pytest.raises(ValueError, match=message):
        open_training_data(replace(scenes, exemplar_list=str(path)), SCENE)


def test_an_ambiguous_name_in_a_list_is_refused(tmp_path: Path):
    rows = ListRows({"image": f"{d}/1.png", "condition": None} for d in ("a", "b"))
    path = tmp_path / "refs.txt"
    path.write_text("a/1.png, b/1.png\n")
    settings = replace(MEMORY, exemplar_list=str(path))
    assert TrainingExamples(rows, SCENE, settings)._easy.tolist() == [[1], [-1]]
    path.write_text("1.png, b/1.png\n")
    with pytest.raises(ValueError, match="name of several examples"):
        TrainingExamples(rows, SCENE, settings)


def test_a_row_without_an_id_is_called_by_its_file_only(tmp_path: Path):
    rows = ListRows({"image": f"{name}.png", "condition": None, "id": None} for name in "ab")
    path = tmp_path / "refs.txt"
    path.write_text("a, b\n")
    settings = replace(MEMORY, exemplar_list=str(path))
    assert TrainingExamples(rows, SCENE, settings)._easy.tolist() == [[1], [-1]]
    path.write_text("a, None\n")
    with pytest.raises(ValueError, match="'None' names no example"):
        TrainingExamples(rows, SCENE, settings)


def test_a_null_in_the_exemplar_column_means_the_photo_itself():
    rows = mask_rows(2)
    for row, other in zip(rows, (None, rows[0]), strict=True):
        row["exemplar"] = other and other["image"]
        row["exemplar_condition"] = other and other["condition"]
    settings = replace(
        MEMORY,
        exemplar_column="exemplar",
        exemplar_condition_column="exemplar_condition",
        real_probability=1.0,
    )
    data = TrainingExamples(rows, SCENE, settings)
    assert [float(data[i]["is_self"]) for i in range(2)] == [1, 0]


# Determinism and resuming


def test_an_example_depends_on_seed_epoch_and_index_alone(scenes: DataSettings):
    settings = replace(scenes, retrieve=True, warp=0.03, color=0.3)
    data = open_training_data(settings, SCENE, seed=5)
    wanted = {(epoch, index): data[epoch, index] for epoch in range(2) for index in range(COUNT)}
    again = open_training_data(settings, SCENE, seed=5)
    for key in sorted(wanted, reverse=True):
        assert equal(again[key], wanted[key])
    assert equal(data[3], wanted[0, 3])
    assert not equal(wanted[0, 3], wanted[1, 3])
    assert not equal(open_training_data(settings, SCENE, seed=6)[0, 3], wanted[0, 3])


def test_workers_and_a_resumed_run_see_the_same_batches(scenes: DataSettings):
    data = open_training_data(scenes, SCENE, seed=1)

    def batches(first: int, count: int, workers: int) -> list[dict[str, Tensor]]:
        order = EndlessBatches(len(data), 5, seed=1, first_batch=first)
        loader = torch.utils.data.DataLoader(data, batch_sampler=order, num_workers=workers)
        return list(itertools.islice(loader, count))

    straight = batches(0, 6, workers=0)
    for first, count, workers in ((0, 6, 2), (4, 2, 0), (3, 3, 2)):
        found = batches(first, count, workers)
        assert all(map(equal, found, straight[first : first + count]))


def test_two_processes_see_what_one_with_the_doubled_batch_sees():
    one = iter(EndlessBatches(7, 6, seed=3))
    two = [iter(EndlessBatches(7, 3, seed=3, rank=rank, world_size=2)) for rank in range(2)]
    for _ in range(10):
        assert next(one) == [key for batches in two for key in next(batches)]


def test_every_epoch_is_another_permutation_of_everything():
    keys = list(itertools.chain(*itertools.islice(EndlessBatches(10, 4, seed=0), 10)))
    epochs = [[index for epoch, index in keys if epoch == e] for e in range(4)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    unshuffled = next(iter(EndlessBatches(10, 4, shuffle=False)))
    assert unshuffled == [(0, 0), (0, 1), (0, 2), (0, 3)]


# Streams


@pytest.fixture
def stream_settings(parquet: Path, scenes: DataSettings) -> DataSettings:
    return replace(scenes, source=str(parquet), streaming=True)


VARIANTS = [
    {},
    {"retrieve": True, "exemplar_buffer": 4, "hard_rank": 3},
    {"exemplar_column": "exemplar", "exemplar_condition_column": "exemplar_label"},
    {"shuffle_buffer": 1},
]


@pytest.mark.parametrize("changes", VARIANTS)
@pytest.mark.parametrize("stop", [1, 5, 12, 17])
def test_a_stream_resumes_exactly(
    stream_settings: DataSettings, changes: dict[str, Any], stop: int
):
    settings = replace(stream_settings, **changes)
    wanted = take(open_training_data(settings, SCENE, seed=2), 22)
    stream = open_training_data(settings, SCENE, seed=2)
    running = iter(stream)
    for _ in range(stop):
        next(running)
    state = stream.state_dict()
    resumed = open_training_data(settings, SCENE, seed=2)
    resumed.load_state_dict(state)
    assert all(map(equal, take(resumed, 22 - stop), wanted[stop:]))


def test_a_stream_is_not_moved_by_asking_for_its_state_before_it_goes_on(
    stream_settings: DataSettings,
):
    stream = open_training_data(stream_settings, SCENE)
    running = iter(stream)
    next(running)
    state = stream.state_dict()
    resumed = open_training_data(stream_settings, SCENE)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stateful_loader_resumes_a_stream_exactly(stream_settings: DataSettings, workers: int):
    loaders = pytest.importorskip("torchdata.stateful_dataloader")
    settings = replace(stream_settings, retrieve=True, exemplar_buffer=3, hard_rank=2)

    def loader() -> Any:
        data = open_training_data(settings, SCENE, seed=2)
        return loaders.StatefulDataLoader(data, batch_size=2, num_workers=workers)

    straight = list(itertools.islice(loader(), 10))
    first = loader()
    running = iter(first)
    for _ in range(4):
        next(running)
    state = first.state_dict()
    del running
    second = loader()
    second.load_state_dict(state)
    assert all(map(equal, itertools.islice(second, 6), straight[4:]))


def test_the_exemplars_of_a_stream_are_earlier_examples_and_the_nearest_of_them(
    stream_settings: DataSettings,
):
    settings = replace(stream_settings, retrieve=True, exemplar_buffer=5).for_validation()
    examples = take(open_training_data(settings, SCENE), COUNT)
    assert float(examples[0]["is_self"]) == 1
    for number, example in enumerate(examples[1:], start=1):
        assert float(example["is_self"]) == 0
        past = examples[max(0, number - 5) : number]
        assert any(torch.equal(example["exemplar"], other["image"]) for other in past)


def test_processes_share_a_stream_without_overlap(stream_settings: DataSettings):
    settings = stream_settings.for_validation()
    sums = []
    for rank, count in ((0, 4), (1, 4), (2, 4)):
        data = open_training_data(settings, SCENE, rank=rank, world_size=3)
        sums += [float(example["image"].sum()) for example in take(data, count)]
    whole = [float(e["image"].sum()) for e in take(open_training_data(settings, SCENE), COUNT)]
    assert sorted(sums) == sorted(whole)
    with pytest.raises(ValueError, match="'rank' must be in 0..1"):
        split_by_node(open_source(settings, SCENE), rank=2, world_size=2)


def test_a_stream_finds_no_exemplar_among_photos_without_structure(tmp_path: Path, cache: str):
    for name, photo in (
        ("a", Image.new("RGB", (40, 40), "white")),
        ("b", SyntheticExamples("edge", 40)[0]["image"]),
    ):
        photo.save(tmp_path / f"{name}.png")
    settings = DataSettings(
        source=str(tmp_path),
        streaming=True,
        retrieve=True,
        real_probability=1.0,
        hard_probability=0.0,
        image_size=32,
        load_size=32,
        cache_dir=cache,
    )
    examples = take(open_training_data(settings, EdgeCondition()), 2)
    assert [float(example["is_self"]) for example in examples] == [1, 1]


def test_every_pass_of_a_stream_draws_anew(stream_settings: DataSettings):
    examples = take(open_training_data(stream_settings, SCENE), 2 * COUNT)
    assert not equal(examples[0], examples[COUNT])


# Bad input


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
    with pytest.raises(ValueError, match=r"mask-0-000000.*labels \[.*the classes are 0\.\.2"):
        open_training_data(scenes, few)[0]


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
        neighbour = data.reader.read(data.rows[3], 3)
        assert data._readable(2)[2].name == neighbour.name
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
    order = EndlessBatches(COUNT, 1, shuffle=False)
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
    broken_folder: Path, scenes: DataSettings
):
    (broken_folder / "train" / "labels" / "mask-0-000005.png").write_bytes(b"broken")
    settings = replace(scenes, source=str(broken_folder), retrieve=True, easy_candidates=11)
    data = open_training_data(settings, SCENE)
    others = [index for index in range(COUNT) if index != 5]
    assert 5 not in data._easy[others]


def test_a_pose_without_a_certain_joint_counts_as_broken():
    example = SyntheticExamples("pose", 40)[0]
    joints = example["condition"].joints * (0.2, 0.2, 0.1)
    good = {"image": example["image"], "condition": example["condition"], "id": "good"}
    unsure = {**good, "condition": joints.tolist(), "id": "unsure"}
    missing = {**good, "condition": None, "id": "missing"}
    settings = replace(MEMORY, max_broken_share=0.9)
    data = TrainingExamples(ListRows([unsure, missing, good]), PoseCondition(0.3), settings)
    assert data._readable(0)[2].name == "good"
    assert data.broken.broken == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 300}, "'image_size'.*not above 'load_size'"),
        ({"image_width": 300}, "'image_width'.*not above 'image_size'"),
        ({"image_width": 4}, "'image_width' must be at least 8"),
        ({"flip": 1.5}, "'flip' must be in 0..1"),
        ({"hard_probability": 0.9}, "must not be above"),
        ({"warp": 0.5}, "'warp' must be in 0..0.2"),
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


# The data sets beside the repository


def real(name: str) -> str:
    if not (SHARED / name).is_dir():
        pytest.skip(f"needs the data set {name}")
    return str(SHARED / name)


def check_real(settings: DataSettings, condition, count: int) -> Iterator[dict[str, Tensor]]:
    data = open_training_data(settings, condition)
    assert len(data) == count
    for index in (0, count // 2, count - 1):
        example = data[0, index]
        assert example["image"].shape == (3, 64, 64)
        assert example["condition_labels"].shape == (64, 64)
        assert torch.isfinite(example["image"]).all()
        yield example
    assert data.broken.broken == 0


@pytest.mark.slow
def test_celebamask_faces_are_read_with_their_own_order_of_classes(cache: str):
    settings = DataSettings(
        source=real("celebamask_hq_256"),
        split="test",
        condition_column="label",
        image_size=64,
        load_size=72,
        retrieve=True,
        cache_dir=cache,
    )
    condition = MaskCondition.celebahq(order="celebamask")
    for example in check_real(settings, condition, 100):
        hair = condition.classes.index("hair")
        skin = condition.classes.index("skin")
        center = example["condition_labels"][32:, 16:48]
        assert (center == skin).sum() > (center == hair).sum()
        assert not (example["condition_labels"] == 0).all()


@pytest.mark.slow
def test_clothed_people_are_read_with_their_keypoints(cache: str):
    settings = DataSettings(
        source=real("ccp_body_256"),
        split="test",
        condition_column="keypoints",
        labels_column="label",
        label_classes=59,
        image_size=64,
        load_size=72,
        cache_dir=cache,
    )
    for example in check_real(settings, PoseCondition(min_score=0.3), 94):
        figure = example["condition"][:3].amax(0) > 0
        assert (example["condition_labels"][figure] > 0).float().mean() > 0.7


@pytest.mark.slow
def test_facades_are_read_streamed_and_as_a_map(cache: str):
    names = "various building car door pavement road sky vegetation window".split()
    condition = MaskCondition.from_names(names)
    settings = DataSettings(
        source=real("labelmefacade_256"),
        split="test",
        condition_column="label",
        image_size=64,
        load_size=72,
        retrieve=True,
        cache_dir=cache,
    )
    for example in check_real(settings, condition, 107):
        assert example["condition_labels"].max() <= 8
    streamed = take(open_training_data(replace(settings, streaming=True), condition), 3)
    assert streamed[2]["condition_labels"].shape == (64, 64)


def test_nearest_resampling_invents_no_label():
    labels = Image.fromarray(np.random.default_rng(0).choice([0, 7, 200], (50, 70)).astype("u1"))
    geometry = Geometry.draw((70, 50), DataSettings(), np.random.default_rng(0), warp=0.1)
    assert set(np.unique(np.asarray(geometry.picture(labels, NEAREST)))) <= {0, 7, 200}
