"""What guides a pipeline guides its training, from the rows on."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import default_collate

from cocosnet_hf import CoCosPipeline, EdgeCondition, MaskCondition, Pose, PoseCondition
from cocosnet_hf.conditions import Condition
from cocosnet_hf.datasets import DataSettings
from cocosnet_hf.datasets.composing import compose, unpacked
from cocosnet_hf.datasets.reading import Example
from cocosnet_hf.systems import Batch, CoCosNet, CoCosNetLosses, SystemSettings
from tests.support import painting, tiny
from tests.support.keypoints import STANDING
from tests.support.paths import REPOSITORY
from tests.support.pictures import whole_picture

SIDE = 64
SETTINGS = DataSettings(image_size=SIDE, load_size=SIDE, augment=False)
PEOPLE = PoseCondition(draw_height=SIDE)
SCENES = MaskCondition.from_names(["sky", "hill", "lake"], guided=True)
FACES = EdgeCondition(guided=True)


def source_of(condition: Condition, number: int) -> Image.Image | Pose:
    if condition is PEOPLE:
        joints = STANDING.copy()
        joints[:, 0] = 32 + 12 * np.sin(np.arange(18)) + 4 * number
        return Pose(joints, (SIDE, SIDE))
    if condition is FACES:
        return photo_of(condition, number)
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[16 + 8 * number :] = 1
    labels[40 - 4 * number :] = 2
    return Image.fromarray(labels)


def photo_of(condition: Condition, number: int) -> Image.Image:
    if condition is not FACES:
        return painting.photo(number, SIDE, SIDE)
    gallery = REPOSITORY / "demo" / "gallery" / "edge-to-face"
    return whole_picture(gallery / f"0{number}.jpg").convert("RGB").resize((SIDE, SIDE))


def example_of(condition: Condition, number: int) -> Example:
    own = None if condition is FACES else condition.open(source_of(condition, number))
    return Example(f"row {number}", photo_of(condition, number), own)


@pytest.mark.parametrize("condition", [PEOPLE, SCENES, FACES], ids=["poses", "masks", "edges"])
def test_rows_bring_what_guides_and_the_trainer_matches_as_the_pipeline_does(
    condition: Condition,
):
    rows = [example_of(condition, number) for number in range(2)]
    rng = np.random.default_rng(0)
    made = [compose(one, two, condition, SETTINGS, rng) for one, two in (rows, rows[::-1])]
    loaded = unpacked(default_collate(made), condition)
    batch = Batch(**loaded, classes=condition.channels)
    assert batch.landmarks is not None and batch.exemplar_landmarks is not None
    matcher = tiny.correspondence(condition.channels, warp="coherent", mix_condition=False)
    painter = tiny.blending_translation(condition.channels)
    networks = {"correspondence": matcher, "translation": painter, "discriminator": None}
    nothing = dict.fromkeys((item.name for item in dataclasses.fields(CoCosNetLosses)), 0.0)
    losses = CoCosNetLosses(**nothing | {"self_pixel": 1})
    system = CoCosNet(condition, networks, losses, SystemSettings(), None, CoCosNet.Options())
    with torch.no_grad():
        guided, free = (
            system.generate(system.networks, one).matching.coherent().position
            for one in (batch, dataclasses.replace(batch, landmarks=None))
        )
    pipe = CoCosPipeline(matcher, painter, condition, SIDE)
    pipe.set_progress_bar_config(disable=True)
    sources = [source_of(condition, number) for number in range(2)]
    photos = (batch.exemplar + 1) / 2
    used = pipe.match(sources, photos, sources[::-1]).coherent().position
    # Where nothing guides, untrained features nearly tie.
    near = [(one - used).abs().amax(-1).lt(0.01).float().mean() for one in (guided, free)]
    assert near[0] > 0.8 > 0.5 > near[1]
