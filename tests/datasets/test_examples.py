"""One training example: what is cut, moved, coloured and flipped together."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from cocosnet_hf.conditions import EdgeCondition, MaskCondition, PartEdgeCondition, Pose
from cocosnet_hf.conditions.joints import JOINTS
from cocosnet_hf.conditions.part_edge import FACE_PARTS
from cocosnet_hf.datasets import (
    DataSettings,
    Geometry,
    TrainingExamples,
    mirrored_order,
    open_training_data,
)
from cocosnet_hf.synthetic import SyntheticExamples
from tests.support.rows import MEMORY, SCENE, ListRows, mask_rows

pytest.importorskip("datasets")


# The training example


def test_a_training_example_has_the_promised_shapes_and_ranges(scenes: DataSettings):
    example = open_training_data(scenes, SCENE)[0]
    assert {key: tuple(value.shape) for key, value in example.items()} == {
        "image": (3, 32, 32),
        "exemplar": (3, 32, 32),
        "is_self_pair": (),
        "condition_labels": (32, 32),
        "exemplar_labels": (32, 32),
    }
    for key in ("image", "exemplar"):
        assert example[key].dtype == torch.float32
        assert -1 <= example[key].min() < 0 < example[key].max() <= 1
    assert example["condition_labels"].dtype == torch.int64
    assert example["is_self_pair"] == 1


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
    settings = replace(MEMORY, elastic=0.08, flip=0.0, load_size=32)
    example = TrainingExamples(mask_rows(), SCENE, settings)[0, 1]
    seen = ((example["exemplar"][0] + 1) * 127.5 / 20).round().long()
    assert not torch.equal(example["condition_labels"], example["exemplar_labels"])
    assert (seen == example["exemplar_labels"]).float().mean() > 0.75
    plain = TrainingExamples(mask_rows(), SCENE, replace(settings, elastic=0.0))[0, 1]
    assert torch.equal(plain["condition_labels"], plain["exemplar_labels"])


def test_the_color_change_is_one_for_a_self_pair_and_two_for_a_real_pair():
    rows = mask_rows()
    for row in rows:
        row["exemplar"], row["exemplar_condition"] = row["image"], row["condition"]
    settings = replace(MEMORY, color_jitter=1.0, flip=0.0, load_size=32)
    alike = TrainingExamples(rows, SCENE, settings)[0, 0]
    assert torch.equal(alike["image"], alike["exemplar"])
    columns = {"exemplar_column": "exemplar", "exemplar_condition_column": "exemplar_condition"}
    settings = replace(settings, **columns, real_probability=1.0)
    differing = TrainingExamples(rows, SCENE, settings)[0, 0]
    assert differing["is_self_pair"] == 0
    assert (differing["image"] - differing["exemplar"]).abs().mean() > 0.02
    same_look = TrainingExamples(rows, SCENE, replace(settings, same_look=True))[0, 0]
    assert same_look["is_self_pair"] == 1
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


@pytest.mark.parametrize("keep_aspect", [False, True])
def test_a_landscape_fills_a_picture_that_is_wider_than_high(keep_aspect: bool):
    settings = DataSettings(image_size=32, image_width=64, load_size=36, keep_aspect=keep_aspect)
    drawn = [Geometry.draw((200, 100), settings, np.random.default_rng(seed)) for seed in range(99)]
    assert {one.size for one in drawn} == {(64, 32)}
    assert {one.load for one in drawn} == {(72, 36) if keep_aspect else (68, 36)}
    for one in drawn:
        assert all(
            0 <= at <= load - side
            for at, load, side in zip(one.corner, one.load, one.size, strict=True)
        )
    photo = Image.new("RGB", (200, 100), (255, 0, 0))
    photo.paste((0, 0, 255), (100, 0, 200, 100))
    for one in (
        drawn[0],
        Geometry.draw(photo.size, settings.for_validation(), np.random.default_rng()),
    ):
        pixels = np.asarray(replace(one, flipped=False).picture(photo))
        assert pixels.shape == (32, 64, 3)
        assert pixels[0, 0].tolist() == [255, 0, 0] and pixels[-1, -1].tolist() == [0, 0, 255]


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
    for elastic in (0.0, 0.05):
        settings = replace(MEMORY, load_size=40, elastic=elastic)
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
def test_joints_move_with_the_photo_under_flip_and_distortion(seed: int, width: int | None):
    """A white spot is painted at the joint; after the geometry the joint is still on it."""
    side = 96
    pixels = np.zeros((side, side, 3), np.uint8)
    pixels[38:43, 53:58] = 255
    settings = DataSettings(image_size=80, load_size=96, image_width=width, flip=0.5)
    rng = np.random.default_rng(seed)
    geometry = Geometry.draw((side, side), settings, rng, elastic=0.06)
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
