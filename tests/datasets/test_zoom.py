"""Zoomed exemplars, and conditions at the size of the matching."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from cocosnet_hf.conditions import EdgeCondition, MaskCondition, PartEdgeCondition, Pose
from cocosnet_hf.datasets import DataSettings, Geometry, TrainingExamples
from cocosnet_hf.synthetic import SyntheticExamples
from tests.support.rows import ListRows, coordinate_rows, coordinates, joints_at

STRIDE = 4
SETTINGS = DataSettings(
    image_size=96, load_size=112, elastic=0.2, zoom=0.4, flip=0.5, flow_stride=STRIDE
)
ONE_CLASS = MaskCondition.from_names(["all", "none"])


# Zoom


@pytest.mark.parametrize("keep_aspect", [False, True])
@pytest.mark.parametrize("width", [None, 48])
def test_zoom_takes_a_part_of_what_the_exemplar_would_show(width: int | None, keep_aspect: bool):
    settings = replace(SETTINGS, image_width=width, keep_aspect=keep_aspect, elastic=0.0)
    shares = []
    for seed in range(200):
        plain = Geometry.draw((160, 120), settings, np.random.default_rng(seed))
        zoomed = Geometry.draw((160, 120), settings, np.random.default_rng(seed), zoom=0.4)
        assert zoomed.size == plain.size
        for axis in (0, 1):
            start = zoomed.corner[axis] - plain.corner[axis]
            assert 0 <= start <= plain.size[axis] - zoomed.cut[axis]
        shares.append(zoomed.cut[1] / plain.size[1])
        assert zoomed.cut[0] / plain.size[0] == pytest.approx(shares[-1], abs=0.02)
    assert 0.59 < min(shares) < 0.63
    assert 0.97 < max(shares) <= 1


def test_zoom_changes_the_exemplar_of_a_self_pair_only():
    settings = replace(
        SETTINGS, condition_column="condition", elastic=0.0, load_size=96, flip=0.0, flow_stride=0
    )
    data = TrainingExamples(coordinate_rows(), ONE_CLASS, settings)
    whole = coordinates().resize((96, 96), Image.Resampling.BICUBIC)
    whole = torch.from_numpy(np.array(whole)).permute(2, 0, 1) / 127.5 - 1
    for epoch in range(3):
        example = data[epoch, 0]
        assert torch.equal(example["image"], whole)
        assert not torch.equal(example["exemplar"], whole)
    row = coordinate_rows()[0]
    row |= {"exemplar": row["image"], "exemplar_condition": row["condition"]}
    columns = {"exemplar_column": "exemplar", "exemplar_condition_column": "exemplar_condition"}
    real = replace(settings, **columns, real_probability=1.0)
    assert torch.equal(TrainingExamples(ListRows([row]), ONE_CLASS, real)[0]["exemplar"], whole)


def test_a_zoomed_photo_and_its_joints_stay_together():
    """A white spot is painted at the joint; after the geometry the joint is still on it."""
    pixels = np.zeros((96, 96, 3), np.uint8)
    pixels[46:51, 49:54] = 255
    pose = Pose(joints_at(nose=(51, 48)), (96, 96))
    for seed in range(8):
        rng = np.random.default_rng(seed)
        geometry = Geometry.draw((96, 96), SETTINGS, rng, elastic=0.05, zoom=0.4)
        photo = np.asarray(geometry.picture(Image.fromarray(pixels)), float)[:, :, 0]
        grid = np.indices(photo.shape).transpose(1, 2, 0)
        y, x = (photo[..., None] * grid).sum((0, 1)) / photo.sum()
        np.testing.assert_allclose(geometry.joints(pose)[0, :2], (x, y), atol=1.5)


# The condition at the size of the matching


@pytest.mark.parametrize("scale", [2, 4])
def test_edges_for_a_smaller_matching_are_those_of_the_moved_photo(scale: int):
    settings = DataSettings(image_size=64, image_width=32, load_size=72, matching_scale=scale)
    data = TrainingExamples(SyntheticExamples("edge", 80, length=2), EdgeCondition(), settings)
    for epoch in range(3):
        example = data[epoch, 0]
        for photo, name in (("image", ""), ("exemplar", "exemplar_")):
            pixels = ((example[photo] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
            wanted = EdgeCondition().encode(Image.fromarray(pixels), 64 // scale, 32 // scale)
            assert torch.equal(example[f"matching_{name}condition"], wanted)
            assert example[f"{name}condition"].shape == (2, 64, 32)


def test_face_parts_of_both_sizes_exchange_their_sides_alike():
    labels = np.zeros((64, 64), np.uint8)
    labels[8:56, 8:56] = 1
    labels[20:28, 12:20] = 4
    rows = ListRows(
        [{"image": Image.new("RGB", (64, 64)), "condition": Image.fromarray(labels), "id": "face"}]
    )
    settings = DataSettings(
        condition_column="condition", image_size=64, load_size=64, flip=1.0, matching_scale=2
    )
    example = TrainingExamples(rows, PartEdgeCondition(), settings)[0]
    full, small = example["condition"], example["matching_condition"]
    assert small.shape == (15, 32, 32)
    there = (full < 1).flatten(1).any(1)
    assert torch.equal((small < 1).flatten(1).any(1), there)
    assert there.sum() < 15


def test_masks_and_pictures_matched_at_their_own_size_have_one_encoding():
    scaled = replace(SETTINGS, condition_column="condition", matching_scale=2)
    assert "matching_condition" not in TrainingExamples(coordinate_rows(), ONE_CLASS, scaled)[0]
    plain = DataSettings(image_size=64, load_size=72)
    edges = TrainingExamples(SyntheticExamples("edge", 80, length=1), EdgeCondition(), plain)
    assert "matching_condition" not in edges[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 90, "flow_stride": 4}, "'flow_stride' must divide.*90 x 90.*got 4"),
        ({"image_width": 90, "flow_stride": 4}, "'flow_stride' must divide.*256 x 90"),
        ({"flow_stride": -1}, "'flow_stride'"),
        ({"image_size": 90, "matching_scale": 4}, "'matching_scale' must divide.*90 x 90.*got 4"),
        ({"matching_scale": 0}, "'matching_scale' must be 1, 2 or 4"),
        ({"matching_scale": 8}, "'matching_scale' must be 1, 2 or 4"),
        ({"zoom": 0.5}, "'zoom' must be in 0..0.5, below"),
        ({"zoom": -0.1}, "'zoom'"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        DataSettings(**changes)
