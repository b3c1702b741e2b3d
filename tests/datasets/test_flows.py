"""Known flows: exact between two cuts of one photo, likely between two photos; zoom, two sizes."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from cocosnet_hf.conditions import EdgeCondition, MaskCondition, Pose, PoseCondition
from cocosnet_hf.conditions.joints import JOINTS
from cocosnet_hf.datasets import DataSettings, Geometry, TrainingExamples, open_training_data
from cocosnet_hf.datasets.flows import (
    agreeing,
    centres,
    known_flow,
    limb_flow,
    region_flow,
    without_flat_places,
)
from cocosnet_hf.synthetic import SCENE_CLASSES, SyntheticExamples, write_imagefolder
from tests.support.rows import ListRows, coordinate_rows, coordinates, joints_at

STRIDE = 4
SETTINGS = DataSettings(
    image_size=96, load_size=112, elastic=0.2, zoom=0.4, flip=0.5, flow_stride=STRIDE
)
ONE_CLASS = MaskCondition.from_names(["all", "none"])


def photo_places(picture: Tensor, places: np.ndarray) -> np.ndarray:
    """Where in the photo, as shares of it, a picture of `coordinates` shows places (..., 2)."""
    height, width = picture.shape[1:]
    grid = torch.from_numpy((places * 2 + 1) / (width, height) - 1)[None].to(picture)
    seen = F.grid_sample(picture[None, :2], grid, padding_mode="border", align_corners=False)
    return (seen[0].permute(1, 2, 0).numpy() + 1) / 2


def errors(example: dict[str, Tensor], pixels: tuple[float, float]) -> np.ndarray:
    """Pixels between what the target shows in each known cell and what the exemplar does."""
    flow = example["flow"].numpy()
    places = flow.transpose(1, 2, 0)
    known = ~np.isnan(places[..., 0])
    height, width = example["image"].shape[1:]
    wanted = photo_places(example["image"], centres((width, height), STRIDE))
    seen = photo_places(example["exemplar"], np.nan_to_num(places))
    return np.abs((wanted - seen) * pixels)[known]


# Exact flows


@pytest.mark.parametrize("keep_aspect", [False, True])
@pytest.mark.parametrize("width", [None, 48])
def test_a_self_exemplar_shows_at_its_flow_what_the_photo_shows(
    width: int | None, keep_aspect: bool
):
    settings = replace(
        SETTINGS, image_width=width, keep_aspect=keep_aspect, condition_column="condition"
    )
    data = TrainingExamples(coordinate_rows(width=200), ONE_CLASS, settings, seed=1)
    known, shifts = [], []
    for epoch in range(12):
        example = data[epoch, 0]
        assert example["flow"].dtype == torch.float32
        assert example["flow"].shape == (2, 96 // STRIDE, settings.width // STRIDE)
        # One step of a colour is 0.6 of the pixels of the largest picture.
        wrong = errors(example, (140, 112) if keep_aspect else (112, 112))
        known.append(len(wrong) / example["flow"][0].numel())
        assert np.quantile(wrong, 0.99) < 1.5
        places = example["flow"].permute(1, 2, 0).numpy()
        shifts.append(np.nanmax(np.abs(places - centres((settings.width, 96), STRIDE))))
    assert np.mean(known) > 0.3
    assert min(shifts) > 3  # nothing of this would pass with a flow that stays in place


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("other_flipped", [False, True])
def test_the_exact_flow_is_mirrored_where_one_of_both_is(flipped: bool, other_flipped: bool):
    photo = coordinates()
    rng = np.random.default_rng(3)
    target = replace(Geometry.draw(photo.size, SETTINGS, rng, elastic=0.1), flipped=flipped)
    exemplar = Geometry.draw(photo.size, SETTINGS, rng, elastic=0.1, zoom=0.3)
    exemplar = replace(exemplar, flipped=other_flipped)
    image, look = (
        torch.from_numpy(np.array(geometry.picture(photo))).permute(2, 0, 1) / 127.5 - 1
        for geometry in (target, exemplar)
    )
    flow = torch.from_numpy(known_flow(target, exemplar, STRIDE))
    wrong = errors({"image": image, "exemplar": look, "flow": flow}, (112, 112))
    assert len(wrong) > 150
    assert np.quantile(wrong, 0.99) < 1.5
    runs_back = np.nanmean(np.diff(flow[0].numpy(), axis=1)) < 0
    assert runs_back == (flipped != other_flipped)


def test_the_flow_of_an_unmoved_photo_is_where_its_cells_are():
    still = Geometry((96, 96), (0, 0), (96, 48))
    flow = known_flow(still, still, STRIDE)
    np.testing.assert_allclose(flow.transpose(1, 2, 0), centres((96, 48), STRIDE), atol=1e-4)
    assert tuple(flow[:, 0, 0]) == pytest.approx((1.5, 1.5))


def test_what_the_exemplar_does_not_show_has_no_flow():
    target = Geometry((128, 128), (0, 0), (64, 64))
    exemplar = Geometry((128, 128), (32, 0), (64, 64))
    flow = known_flow(target, exemplar, STRIDE)
    assert np.isnan(flow[:, :, :8]).all()
    np.testing.assert_allclose(flow[0, :, 8:], np.tile(np.arange(8) * 4 + 1.5, (16, 1)), atol=1e-4)


def test_a_place_that_only_a_repeated_border_fills_has_no_flow():
    right = np.zeros((64, 64, 2), np.float32)
    right[..., 0] = 20
    plain, moved = (Geometry((64, 64), (0, 0), (64, 64), displacement=d) for d in (None, right))
    flow = known_flow(moved, plain, STRIDE)
    assert np.isnan(flow[0, :, 11:]).all()
    np.testing.assert_allclose(flow[0, :, :11], np.tile(np.arange(11) * 4 + 21.5, (16, 1)))
    back = known_flow(plain, moved, STRIDE)
    assert np.isnan(back[0, :, :5]).all()
    np.testing.assert_allclose(back[0, :, 5:], np.tile(np.arange(11) * 4 + 1.5, (16, 1)), atol=0.1)


def test_a_self_pair_with_flows_is_flipped_as_one_and_keeps_its_labels():
    labels = np.zeros((96, 96), np.uint8)
    labels[24:72, 8:40], labels[24:72, 56:88] = 1, 2
    photo = coordinates(96, 96)
    rows = ListRows([{"image": photo, "condition": Image.fromarray(labels), "id": "face"}])
    classes = MaskCondition.from_names(["skin", "l_eye", "r_eye"])
    data = TrainingExamples(rows, classes, replace(SETTINGS, condition_column="condition"))
    for epoch in range(6):
        example = data[epoch, 0]
        flow, wanted, other = (
            example[key].numpy() for key in ("flow", "condition_labels", "exemplar_labels")
        )
        kept = ~np.isnan(agreeing(flow, wanted, other)[0])
        known = ~np.isnan(flow[0])
        assert kept[known].mean() > 0.9  # but for the cells on a border


# Likely flows by regions


def regions(width: int, height: int, **boxes: tuple[int, int, int, int]) -> np.ndarray:
    """A label map with boxes class="left, top, right, bottom", of which c1 is class 1."""
    labels = np.zeros((height, width), np.int64)
    for name, (left, top, right, bottom) in boxes.items():
        labels[top:bottom, left:right] = int(name[1:])
    return labels


def test_a_region_is_mapped_corner_to_corner():
    labels = regions(96, 64, c1=(8, 16, 40, 32), c2=(60, 40, 92, 60))
    exemplar = regions(96, 64, c1=(20, 4, 76, 28), c2=(4, 44, 20, 60))
    flow = region_flow(labels, exemplar, 1)
    for corner, wanted in (
        ((8, 16), (20, 4)),
        ((39, 16), (75, 4)),
        ((8, 31), (20, 27)),
        ((39, 31), (75, 27)),
        ((60, 40), (4, 44)),
        ((91, 59), (19, 59)),
    ):
        np.testing.assert_allclose(flow[:, corner[1], corner[0]], wanted, atol=0.6)
    assert (exemplar[tuple(np.rint(flow[::-1, 16:32, 8:40]).astype(int))] == 1).all()


def test_a_region_is_scaled_by_no_more_than_two():
    labels = regions(96, 64, c1=(0, 0, 10, 10))
    exemplar = regions(96, 64, c1=(0, 0, 60, 60))
    flow = region_flow(labels, exemplar, 1)
    np.testing.assert_allclose(flow[:, 0, 0], 29.5 - 2 * 4.5)
    np.testing.assert_allclose(flow[:, 9, 9], 29.5 + 2 * 4.5)


def test_a_class_that_the_exemplar_lacks_or_hardly_has_leads_nowhere():
    labels = regions(96, 64, c1=(8, 16, 40, 32), c2=(60, 40, 92, 60), c3=(60, 4, 92, 20))
    exemplar = regions(96, 64, c2=(4, 44, 20, 60), c3=(50, 30, 52, 33))
    flow = region_flow(labels, exemplar, STRIDE)
    assert flow.shape == (2, 16, 24)
    assert np.isnan(flow[:, 4:8, 2:10]).all()
    assert np.isnan(flow[:, 1:5, 15:23]).all()
    assert not np.isnan(flow[:, 10:15, 15:23]).any()


def test_flows_by_regions_only_lead_to_the_same_class():
    rng = np.random.default_rng(0)
    labels, exemplar = (np.kron(rng.integers(0, 9, (6, 4)), np.ones((16, 16), int)) for _ in "ab")
    flow = region_flow(labels.astype(np.uint8), exemplar.astype(np.uint8), STRIDE)
    known = ~np.isnan(flow[0])
    assert 0.05 < known.mean() < 1
    columns, rows = np.rint(flow[:, known]).astype(int)
    cells = np.rint(centres((64, 96), STRIDE)[known]).astype(int)
    assert (exemplar[rows, columns] == labels[cells[:, 1], cells[:, 0]]).all()
    np.testing.assert_array_equal(agreeing(flow, labels, exemplar), flow)


ARM = joints_at(r_shoulder=(20, 20), r_elbow=(60, 20), r_wrist=(60, 50))
TURNED = joints_at(r_shoulder=(40, 10), r_elbow=(40, 70), r_wrist=(10, 70))


# Likely flows by limbs


def test_a_limb_is_mapped_joint_to_joint():
    flow = limb_flow(ARM, TURNED, (96, 80), 1)
    for joint in ("r_shoulder", "r_elbow", "r_wrist"):
        x, y = ARM[JOINTS.index(joint), :2].astype(int)
        wanted = TURNED[JOINTS.index(joint), :2]
        np.testing.assert_allclose(flow[:, y, x], wanted, atol=1e-4)
    np.testing.assert_allclose(flow[:, 20, 40], (40, 40), atol=1e-4)


def test_what_lies_beside_a_limb_turns_and_grows_with_it():
    flow = limb_flow(ARM, TURNED, (96, 80), 1)
    # Four pixels above the middle of the upper arm; the exemplar's is 1.5 times as long.
    np.testing.assert_allclose(flow[:, 16, 40], (46, 40), atol=1e-4)
    assert np.isnan(flow[:, 33, 30]).all()  # 13 of 40 pixels aside
    assert not np.isnan(flow[:, 31, 30]).any()


def test_a_cell_moves_with_the_nearest_limb():
    flow = limb_flow(ARM, TURNED, (96, 80), 1)
    # (58, 29) is 2 pixels from the forearm and 9 from the upper arm, which reaches it too.
    np.testing.assert_allclose(flow[:, 29, 58], (40 - 9, 70 - 2), atol=1e-4)


@pytest.mark.parametrize("missing", ["target", "exemplar"])
def test_a_limb_that_one_of_both_lacks_leads_nowhere(missing: str):
    partial = joints_at(r_shoulder=(20, 20), r_elbow=(60, 20))
    pair = (partial, TURNED) if missing == "target" else (ARM, partial)
    flow = limb_flow(*pair, (96, 80), STRIDE)
    assert flow.shape == (2, 20, 24)
    assert np.isnan(flow[:, 10, 15]).all()
    assert not np.isnan(flow[:, 4:6, 6:14]).any()


def test_a_limb_seen_from_its_end_and_a_place_outside_lead_nowhere():
    point = joints_at(r_shoulder=(20, 20), r_elbow=(20.5, 20))
    assert np.isnan(limb_flow(ARM, point, (96, 80), STRIDE)).all()
    outside = joints_at(r_shoulder=(-60, 20), r_elbow=(-20, 20))
    assert np.isnan(limb_flow(ARM, outside, (96, 80), STRIDE)).all()


def pose_rows() -> ListRows:
    """A person and an exemplar, 96 x 96, whose arm is class 1; the forearm of one is bare: 2."""
    labels = regions(96, 96, c1=(14, 14, 66, 26), c2=(54, 26, 66, 56))
    other = regions(96, 96, c1=(34, 4, 46, 76))
    maps = [Image.fromarray(plane.astype(np.uint8)) for plane in (labels, other)]
    poses = [Pose(joints, (96, 96)) for joints in (ARM, TURNED)]
    photo = coordinates(96, 96)
    row = {"image": photo, "condition": poses[0], "labels": maps[0], "id": "one"}
    row |= {"exemplar": photo, "exemplar_condition": poses[1], "exemplar_labels": maps[1]}
    return ListRows([row])


POSES = replace(
    SETTINGS.for_validation(),
    load_size=96,
    condition_column="condition",
    exemplar_column="exemplar",
    exemplar_condition_column="exemplar_condition",
)


def test_poses_of_two_photos_give_the_flow_of_their_limbs():
    flow = TrainingExamples(pose_rows(), PoseCondition(), POSES)[0]["flow"].numpy()
    np.testing.assert_allclose(flow, limb_flow(ARM, TURNED, (96, 96), STRIDE), atol=1e-4)
    assert not np.isnan(flow[:, 10, 14]).any()
    unsure = pose_rows()
    unsure[0]["condition"] = Pose(ARM * (1, 1, 0.2), (96, 96))
    unsure[0]["condition"].joints.setflags(write=True)
    unsure[0]["condition"].joints[0] = (48, 90, 1)  # a nose, so that somebody is there
    flow = TrainingExamples(unsure, PoseCondition(0.3), POSES)[0]["flow"]
    assert flow.isnan().all()


def test_limbs_count_before_regions_and_only_within_their_label():
    columns = {"labels_column": "labels", "exemplar_labels_column": "exemplar_labels"}
    settings = replace(POSES, **columns, label_classes=3)
    example = TrainingExamples(pose_rows(), PoseCondition(), settings)[0]
    flow, labels, other = (
        example[key].numpy() for key in ("flow", "condition_labels", "exemplar_labels")
    )
    limbs = agreeing(limb_flow(ARM, TURNED, (96, 96), STRIDE), labels, other)
    by_limb = ~np.isnan(limbs)
    np.testing.assert_allclose(flow[by_limb], limbs[by_limb], atol=1e-4)
    np.testing.assert_array_equal(flow[~by_limb], region_flow(labels, other, STRIDE)[~by_limb])
    assert by_limb[:, 4, 8].all()  # the sleeve
    assert np.isnan(flow[:, 10, 14]).all()  # bare in one, background in the other
    assert (~np.isnan(flow) & ~by_limb).any()  # the background, by its region


def test_two_photos_without_labels_and_poses_have_no_flow():
    photo = SyntheticExamples("edge", 96)[0]["image"]
    rows = ListRows([{"image": photo, "exemplar": photo, "id": "one"}])
    settings = replace(POSES, condition_column=None, exemplar_condition_column=None)
    flow = TrainingExamples(rows, EdgeCondition(), settings)[0]["flow"]
    assert flow.shape == (2, 24, 24)
    assert flow.isnan().all()


def test_a_flat_place_has_no_flow_and_a_faint_texture_has():
    photo = torch.full((3, 96, 64), 0.9)
    photo[:, 40:60, 16:40] += 0.05 * ((torch.arange(24) // 4) % 2)
    flow = without_flat_places(torch.ones(2, 24, 16), photo)
    assert not flow[:, 10:15, 4:10].isnan().any()
    assert flow[:, :8].isnan().all() and flow[:, 17:].isnan().all()
    assert flow[:, :, 12:].isnan().all()
    one_channel = photo.clone()
    one_channel[:2] = 0.9
    assert torch.equal(
        without_flat_places(torch.ones(2, 24, 16), one_channel).isnan(), flow.isnan()
    )


# The data set with flows


def test_the_same_example_has_the_same_flow_twice_and_none_unless_asked_for():
    settings = replace(SETTINGS, condition_column="condition")
    first, second = (TrainingExamples(coordinate_rows(), ONE_CLASS, settings)[2, 0] for _ in "ab")
    assert first.keys() == second.keys()
    for key in first.keys() - {"flow"}:
        assert torch.equal(first[key], second[key])
    np.testing.assert_array_equal(first["flow"], second["flow"])
    plain = TrainingExamples(coordinate_rows(), ONE_CLASS, replace(settings, flow_stride=0))[2, 0]
    assert "flow" not in plain


def test_validation_has_flows_and_neither_distortion_nor_zoom():
    settings = replace(SETTINGS, condition_column="condition").for_validation()
    example = TrainingExamples(coordinate_rows(), ONE_CLASS, settings)[0]
    assert torch.equal(example["image"], example["exemplar"])
    places = example["flow"].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(places, centres((96, 96), STRIDE), atol=1e-3)


def test_a_stream_delivers_flows_and_both_sizes(tmp_path: Path):
    pytest.importorskip("datasets")
    folder = tmp_path / "scenes"
    write_imagefolder(SyntheticExamples("mask", 40, length=3), folder)
    settings = DataSettings(
        source=str(folder),
        streaming=True,
        cache_dir=str(tmp_path / "cache"),
        labels_column="label",
        label_classes=len(SCENE_CLASSES),
        retrieve=True,
        real_probability=0.5,
        image_size=32,
        load_size=36,
        elastic=0.1,
        zoom=0.2,
        flow_stride=4,
        matching_scale=2,
    )
    examples = list(itertools.islice(open_training_data(settings, EdgeCondition(), seed=1), 6))
    for example in examples:
        assert example["flow"].shape == (2, 8, 8)
        assert example["matching_condition"].shape == (2, 16, 16)
        assert not example["flow"].isnan().all()
    assert {float(example["is_self_pair"]) for example in examples} == {0, 1}
