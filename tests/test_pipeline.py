"""The pipeline is its two networks and `Matching`."""

import copy
import inspect
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers.utils import logging
from PIL import Image
from torch import Tensor

from cocosnet_hf import CoCosPipeline, Matching
from tests.support import tiny
from tests.support.painting import (
    CLASSES,
    HEIGHT,
    WIDTH,
    assert_same_images,
    encoded,
    labels,
    photo,
    run,
    tensors,
)

# What it computes ---------------------------------------------------------------------------


@pytest.mark.parametrize("upsampling", ["nearest", "bilinear"])
@torch.no_grad()
def test_the_pipeline_equals_its_networks_called_by_hand(upsampling: str):
    pipe = tiny.pipeline(warp_upsampling=upsampling, temperature=0.02)
    condition, exemplar, own = encoded(2), tensors(2, height=48), encoded(2, 70, height=48)
    out = pipe(condition, exemplar, own, output_type="pt")

    features = pipe.correspondence(condition, 2 * exemplar - 1, own)
    matching = Matching(features.content, features.style, patch_size=3, temperature=0.02)
    warped = F.interpolate(matching.warp(2 * exemplar - 1), scale_factor=4, mode=upsampling)
    image = pipe.translation(warped, condition)
    assert_same_images(2 * out.images - 1, image)
    assert_same_images(2 * out.warped_exemplars - 1, warped)
    assert torch.equal(out.matching.flow(), matching.flow())


@torch.no_grad()
def test_a_patch_warping_pipeline_lays_whole_blocks_of_the_exemplar():
    pipe = tiny.pipeline(warp="patch", mix_condition=False)
    condition, exemplar = encoded(2), tensors(2)
    out = pipe(condition, exemplar, output_type="pt")
    features = pipe.correspondence(condition, 2 * exemplar - 1)
    warped = Matching(features.content, features.style).warp(2 * exemplar - 1, patches=True)
    assert_same_images(2 * out.warped_exemplars - 1, warped)
    assert_same_images(2 * out.images - 1, pipe.translation(warped, condition))


def test_the_warped_exemplar_is_made_of_the_exemplars_colours(edges: CoCosPipeline):
    exemplar = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    exemplar[:, : WIDTH // 2] = (250, 0, 0)
    exemplar[:, WIDTH // 2 :] = (0, 0, 250)
    warped = edges(photo(1), exemplar, output_type="np").warped_exemplars
    assert np.abs(warped[..., 1]).max() < 1e-3
    assert np.abs(warped[..., 0] + warped[..., 2] - 250 / 255).max() < 1e-3


def test_the_flow_says_which_exemplar_pixels_the_warped_ones_come_from():
    pipe = tiny.pipeline(temperature=1e-5)  # all but one match weigh nothing
    exemplar = tensors(seed=3)
    out = pipe(photo(1), exemplar, output_type="pt")
    column, row = ((out.matching.flow()[0] - 1.5) / 4).long().unbind(-1)
    expected = F.avg_pool2d(exemplar[0], 4)[:, row, column]
    settled = out.matching.confidence()[0] > 0.9999
    assert settled.float().mean() > 0.5
    assert_same_images(out.warped_exemplars[0, :, ::4, ::4][:, settled], expected[:, settled], 1e-3)


def test_an_item_of_a_batch_equals_the_item_alone(edges: CoCosPipeline):
    conditions, exemplars = encoded(3), tensors(3)
    together = run(edges, conditions, exemplars)
    for item in range(3):
        assert_same_images(together[item : item + 1], run(edges, conditions[item], exemplars[item]))


def test_running_twice_gives_the_same(edges: CoCosPipeline):
    assert torch.equal(run(edges, photo(1), photo(2)), run(edges, photo(1), photo(2)))


def test_several_exemplars_of_one_item_are_all_looked_at(edges: CoCosPipeline):
    # Sizes may differ between the exemplars and from the condition.
    exemplars = [tensors(seed=1)[0], tensors(seed=2, height=48, width=32)[0]]
    out = edges(photo(1), [exemplars], output_type="pt")
    assert out.images.shape == (1, 3, HEIGHT, WIDTH)
    assert set(out.matching.exemplar_index().unique().tolist()) == {0, 1}
    rows = out.matching.row((5, 5))
    assert [tuple(row.shape) for row in rows] == [(8, 10), (12, 8)]
    assert sum(row.sum().item() for row in rows) == pytest.approx(1, abs=1e-5)


def test_items_may_have_different_numbers_of_exemplars(edges: CoCosPipeline):
    first, second, third = (tensors(seed=seed)[0] for seed in (1, 2, 3))
    together = run(edges, encoded(2), [[first, second], [third]])
    assert_same_images(together[:1], run(edges, encoded(2)[0], [[first, second]]))
    assert_same_images(together[1:], run(edges, encoded(2)[1], third))


def test_the_same_exemplar_twice_changes_nothing(edges: CoCosPipeline):
    exemplar = tensors(seed=1)[0]
    assert_same_images(run(edges, photo(1), [[exemplar, exemplar]]), run(edges, photo(1), exemplar))


def test_regions_keep_every_position_within_its_own(edges: CoCosPipeline):
    exemplar = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    exemplar[:, : WIDTH // 2, 0] = 255
    left = np.zeros((HEIGHT, WIDTH), np.int64)
    left[:, WIDTH // 2 :] = 1
    top = torch.zeros(HEIGHT, WIDTH, dtype=torch.long)
    top[HEIGHT // 2 :] = 1
    out = edges(photo(1), exemplar, regions=top, exemplar_regions=left, output_type="pt")
    red = out.warped_exemplars[0, 0]
    assert (red[: HEIGHT // 2] - 1).abs().max() < 1e-5
    assert red[HEIGHT // 2 :].abs().max() < 1e-5


def test_regions_are_laid_out_like_conditions_and_exemplars(edges: CoCosPipeline):
    exemplars = [[tensors(seed=1)[0], tensors(seed=2, height=48)[0]], [tensors(seed=3)[0]]]
    own = [Image.fromarray(labels(seed)) for seed in (1, 2)]
    other = [[labels(3), labels(4, height=96)], [labels(5, 2 * HEIGHT, 2 * WIDTH)]]
    together = edges(encoded(2), exemplars, regions=own, exemplar_regions=other, output_type="pt")
    for item in range(2):
        alone = edges(
            encoded(2)[item],
            exemplars[item : item + 1],
            regions=own[item],
            exemplar_regions=other[item : item + 1],
            output_type="pt",
        )
        assert_same_images(together.warped_exemplars[item], alone.warped_exemplars[0])
        grid = torch.from_numpy(labels(item + 1))[::4, ::4]
        for index, region in enumerate(other[item]):
            size = exemplars[item][index].shape[1:]
            down, right = (
                4 * length // side for length, side in zip(region.shape, size, strict=True)
            )
            x, y = ((together.matching.flow()[item] - 1.5) / 4).long().unbind(-1)
            here = together.matching.exemplar_index()[item] == index
            looked_at = torch.from_numpy(region[::down, ::right].copy())[y[here], x[here]]
            assert torch.equal(looked_at, grid[here])


# Output -------------------------------------------------------------------------------------


def test_tensors_arrays_and_pictures_show_the_same(edges: CoCosPipeline):
    tensor, array, pictures = (
        edges([photo(1), photo(2)], photo(3), output_type=kind) for kind in ("pt", "np", "pil")
    )
    for name in ("images", "warped_exemplars"):
        assert tensor[name].shape == (2, 3, HEIGHT, WIDTH)
        assert tensor[name].dtype == torch.float32
        assert 0 <= tensor[name].min() < tensor[name].max() <= 1
        np.testing.assert_array_equal(array[name], tensor[name].permute(0, 2, 3, 1).numpy())
        drawn = np.stack([np.asarray(picture) for picture in pictures[name]])
        np.testing.assert_array_equal(drawn, (array[name] * 255).round())


def test_the_tuple_holds_the_fields_of_the_output(edges: CoCosPipeline):
    out = edges(photo(1), photo(2), output_type="pt")
    images, warped, matching = edges(photo(1), photo(2), output_type="pt", return_dict=False)
    assert torch.equal(images, out.images) and torch.equal(images, out[0])
    assert torch.equal(warped, out.warped_exemplars)
    assert torch.equal(matching.flow(), out.matching.flow())


def test_the_call_takes_the_arguments_that_users_rely_on():
    parameters = inspect.signature(CoCosPipeline.__call__).parameters
    assert list(parameters)[1:4] == ["condition", "exemplar", "exemplar_condition"]
    assert {"height", "width", "generator", "output_type", "return_dict"} <= parameters.keys()


def test_the_progress_bar_can_be_switched_off(capsys: pytest.CaptureFixture[str]):
    pipe = tiny.pipeline()
    pipe(photo(1), photo(2))
    assert "it/s" not in capsys.readouterr().err
    pipe.set_progress_bar_config(disable=False)
    pipe(photo(1), photo(2))
    assert "2/2" in capsys.readouterr().err


# Noise, unused conditions -------------------------------------------------------------------


def test_the_noise_variant_needs_no_exemplar_condition_and_repeats_with_a_generator():
    pipe = tiny.pipeline(CLASSES, exemplar_noise=0.5)

    def painted(seed: int, **settings: Any) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return run(pipe, labels(1), photo(2), generator=generator, **settings)

    assert torch.equal(painted(0), painted(0))
    assert not torch.equal(painted(0), painted(1))
    one_each = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    together = run(pipe, labels(1), [photo(2), photo(2)], generator=one_each)
    assert_same_images(together, torch.cat([painted(0), painted(1)]))
    prepared = pipe.encode_exemplar(photo(2), generator=torch.Generator().manual_seed(0))
    assert_same_images(run(pipe, labels(1), prepared), painted(0))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"exemplar_noise": 0.5}, "puts noise in its place"),
        ({"mix_condition": False}, "does not look at it"),
    ],
)
def test_an_exemplar_condition_that_is_not_used_is_mentioned(
    settings: dict, reason: str, caplog: pytest.LogCaptureFixture
):
    pipe = tiny.pipeline(CLASSES, **settings)
    logger = logging.get_logger("cocosnet_hf.pipeline")
    logger.addHandler(caplog.handler)
    try:
        pipe(labels(1), photo(2), generator=torch.Generator().manual_seed(0))
        assert caplog.text == ""
        pipe(labels(1), photo(2), labels(2), generator=torch.Generator().manual_seed(0))
    finally:
        logger.removeHandler(caplog.handler)
    assert f"exemplar_condition is not used: this model {reason}" in caplog.text


# Bad input ----------------------------------------------------------------------------------


def test_the_matching_alone_is_that_of_a_painting(masks: CoCosPipeline):
    silent = copy.deepcopy(masks)
    silent.translation.register_forward_pre_hook(lambda *_: pytest.fail("a picture was painted"))
    exemplars = [photo(1), photo(2, 64, 40)]
    inputs = (labels(), exemplars, [labels(1), labels(2, 64, 40)])
    regions = {"regions": labels(), "exemplar_regions": list(inputs[2])}
    for settings in ({}, {"height": 64, "width": 32}, regions):
        found, expected = silent.match(*inputs, **settings), masks(*inputs, **settings).matching
        assert torch.equal(found.flow(), expected.flow())
    with pytest.raises(ValueError, match="restrict only together"):
        silent.match(*inputs, regions=labels())


def test_sizes_may_be_whole_numbers_of_numpy(edges: CoCosPipeline):
    (picture,) = edges(photo(), photo(1), height=np.int64(32), width=np.uint8(48)).images
    assert picture.size == (48, 32)
