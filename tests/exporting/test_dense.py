"""The traceable form of both halves computes what the pipeline computes, at any size and batch."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cocosnet_hf import CoCosPipeline, MaskCondition, PoseCondition
from cocosnet_hf.exporting.checking import Trial, random_trial, settled_pixels
from cocosnet_hf.exporting.dense import neighbours, smaller
from cocosnet_hf.exporting.graphs import GUIDES, Paint, Prepare
from tests.support import tiny
from tests.support.painting import CLASSES, quiet


def residual_pipeline() -> CoCosPipeline:
    """Whose painter adds to the warp, as `residual` of a translation network says."""
    made = tiny.pipeline(CLASSES, mix_condition=False)
    made.translation.residual = True
    return made


PIPELINES = {
    "coherent": tiny.blending_pipeline,
    "guided by poses": partial(tiny.blending_pipeline, PoseCondition(), mix_condition=False),
    "guided by classes": partial(
        tiny.blending_pipeline, MaskCondition(CLASSES.classes, guided=True)
    ),
    "mean": partial(tiny.pipeline, CLASSES, mix_condition=False),
    "residual": residual_pipeline,
    "patch": partial(tiny.pipeline, warp="patch", patch_size=1),
    "centred": partial(tiny.pipeline, CLASSES, centring="positions"),
    "noise": partial(tiny.pipeline, CLASSES, exemplar_noise=0.5, warp_upsampling="bilinear"),
}


@torch.no_grad()
def painted(pipe: CoCosPipeline, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the two halves make of inputs, by name."""
    given = {name: torch.from_numpy(np.asarray(each)) for name, each in inputs.items()}
    prepare, paint = Prepare(pipe), Paint(pipe)
    given["style"] = prepare(*(given[name] for name in prepare.inputs))
    outputs = paint(*(given[name] for name in paint.inputs))
    return {name: each.numpy() for name, each in zip(paint.outputs, outputs, strict=True)}


@pytest.mark.parametrize("kind", PIPELINES)
@pytest.mark.parametrize(("batch", "down", "across"), [(1, 0, 0), (2, 3, 1), (3, 0, 5)])
def test_both_halves_compute_what_the_pipeline_computes(
    kind: str, batch: int, down: int, across: int
):
    pipe = PIPELINES[kind]().fold()
    size = (pipe.stride * (2 + down), pipe.stride * (3 + across))
    own_size = (size[0], size[1] + 3 * pipe.stride) if down else (size[0] + pipe.stride, size[1])
    trial = random_trial(pipe, size, own_size, batch, seed=down)
    found = trial.agreement(painted(pipe, trial.inputs()))
    assert found.moved == 0 and found.confidence < 1e-4
    assert min(found.decibels, found.warped_decibels) > 80


def test_guides_matter_and_none_is_a_guide_of_nothing():
    pipe = tiny.blending_pipeline(PoseCondition(), mix_condition=False).fold()
    trial = random_trial(pipe, (96, 64), (96, 64), 1, seed=1)
    inputs = trial.inputs()
    unguided = {name: np.full_like(inputs[name], np.nan) for name in GUIDES}
    without = painted(pipe, inputs | unguided)
    assert trial.agreement(without).decibels < 40
    encoded = torch.from_numpy(inputs["condition"])  # which tells no joints
    matched = F.avg_pool2d(encoded, 2).numpy()
    expected = Trial(trial.pipe, trial.arguments | {"condition": encoded})
    assert (
        expected.agreement(
            painted(pipe, inputs | unguided | {"matched_condition": matched})
        ).decibels
        > 80
    )


@pytest.mark.parametrize("strength", [0.0, 0.3, 0.5, 1.0])
def test_strength_is_that_of_the_pipeline(strength: float):
    pipe = tiny.blending_pipeline().fold()
    random = random_trial(pipe, (64, 64), (64, 64), 1, seed=3)
    trial = Trial(random.pipe, {**random.arguments, "strength": strength})
    found = painted(pipe, trial.inputs())
    out = trial.pipe(**trial.arguments, output_type="pt")
    for name, expected in (("image", out.images), ("blend", out.blend)):
        torch.testing.assert_close(torch.from_numpy(found[name]), expected, atol=1e-4, rtol=0)


def test_an_agreement_that_is_too_small_is_refused():
    pipe = quiet(tiny.pipeline(CLASSES, mix_condition=False)).fold()
    trial = random_trial(pipe, (32, 32), (32, 48), 1, seed=0)
    found = painted(pipe, trial.inputs())
    found["image"] = found["image"] + 0.05
    with pytest.raises(ValueError, match="whole.onnx does not paint what the pipeline paints"):
        trial.agreement(found).require("fp32", "whole.onnx")


def test_pixels_around_places_that_rounding_chose_are_not_compared_unless_they_are_many():
    elsewhere = torch.zeros(1, 20, 20, dtype=torch.bool)
    elsewhere[0, 10, 10] = True
    settled = settled_pixels(elsewhere, (80, 80))
    assert settled.shape == (1, 1, 80, 80)
    assert not settled[0, 0, 32:52, 32:52].any() and settled.sum() == 80 * 80 - 20 * 20
    elsewhere[0, ::4] = True
    assert settled_pixels(elsewhere, (80, 80)).all()


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_photos_become_smaller_as_by_antialiased_interpolation(scale: int):
    photo = torch.rand(2, 3, 16, 24)
    expected = F.interpolate(
        photo, (16 // scale, 24 // scale), mode="bilinear", antialias=scale > 1
    )
    torch.testing.assert_close(smaller(photo, scale), expected, atol=1e-6, rtol=0)


def test_neighbours_are_copied_in_the_order_of_rows():
    grid = torch.arange(12.0).view(1, 1, 3, 4)
    around = neighbours(F.pad(grid, (1, 1, 1, 1)), 1)
    assert around.shape == (1, 1, 9, 3, 4)
    assert around[0, 0, :, 1, 1].tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 10]
