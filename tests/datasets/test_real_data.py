"""The data sets beside the repository, where they are there."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cocosnet_hf.conditions import MaskCondition, PoseCondition
from cocosnet_hf.datasets import DataSettings, Geometry, open_training_data
from cocosnet_hf.datasets.geometry import NEAREST
from tests.support.paths import SHARED_DATA
from tests.support.rows import take

pytest.importorskip("datasets")


def real(name: str) -> str:
    if not (SHARED_DATA / name).is_dir():
        pytest.skip(f"needs the data set {name}")
    return str(SHARED_DATA / name)


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
    geometry = Geometry.draw((70, 50), DataSettings(), np.random.default_rng(0), elastic=0.1)
    assert set(np.unique(np.asarray(geometry.picture(labels, NEAREST)))) <= {0, 7, 200}
