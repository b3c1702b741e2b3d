"""The blending painter begins as the warp, and its pipeline paints every size from one matching."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from torch import Tensor

from cocosnet_hf import BlendingTranslationNetwork, CoCosPipeline, EdgeCondition
from cocosnet_hf.models.blending import enlarged, with_strength

WIDTHS = (8, 24, 64, 64)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def network(lively: bool = True) -> BlendingTranslationNetwork:
    torch.manual_seed(0)
    made = BlendingTranslationNetwork(2, WIDTHS).eval()
    return tiny.lively(made) if lively else made


def photo(seed: int = 0, height: int = 64, width: int = 64) -> Image.Image:
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return Image.fromarray(blocks.repeat(8, 0).repeat(8, 1))


@pytest.fixture(scope="module")
def pipe() -> CoCosPipeline:
    made = CoCosPipeline(
        tiny.correspondence(2, warp="coherent"), network(), EdgeCondition(), 64, None, 2
    )
    made.set_progress_bar_config(disable=True)
    return made


def run(pipe: CoCosPipeline, *arguments: Any, **settings: Any) -> Any:
    return pipe(*arguments, output_type="pt", **settings)


@torch.no_grad()
def test_before_training_the_picture_is_nearly_the_warp():
    warp = normal(1, 8, 32, 48).clamp(-1, 1)
    output = network(lively=False)(warp, torch.rand(1, 2, 32, 48))
    sharp, soft, _ = warp.split([3, 3, 2], 1)
    assert output.blend.mean() == pytest.approx(0.88, abs=0.02)
    torch.testing.assert_close(
        output.image, torch.lerp(soft, sharp, output.blend), atol=0.05, rtol=0
    )


@torch.no_grad()
def test_a_window_is_painted_as_in_the_whole_picture():
    # Statistics over positions would tell them apart; borders reach 100 px far.
    net = network()
    warp, condition = normal(1, 8, 512, 256).clamp(-1, 1), torch.rand(1, 2, 512, 256)
    whole = net(warp, condition).image[..., 96:416, :]
    window = net(warp[..., 96:416, :], condition[..., 96:416, :]).image
    torch.testing.assert_close(
        whole[..., 140:180, :], window[..., 140:180, :], atol=1e-4, rtol=1e-3
    )


def test_strength_runs_from_the_soft_colours_to_the_sharp_warp():
    warp, condition = normal(1, 8, 32, 32).clamp(-1, 1), torch.rand(1, 2, 32, 32)
    output = network()(warp, condition)
    sharp, soft, _ = warp.split([3, 3, 2], 1)
    assert with_strength(warp, output, 0.5) is output.image
    torch.testing.assert_close(with_strength(warp, output, 1.0), sharp)
    torch.testing.assert_close(with_strength(warp, output, 0.0), soft + output.change)


def test_the_finest_band_of_a_larger_picture_comes_from_the_larger_warp():
    large = normal(1, 3, 64, 64).clamp(-1, 1) * 0.5
    small = torch.nn.functional.interpolate(large, (32, 32), mode="bilinear", antialias=True)
    copied = enlarged(small, torch.ones(1, 1, 32, 32), large)
    torch.testing.assert_close(copied, large, atol=1e-5, rtol=0)
    painted = enlarged(small, torch.zeros(1, 1, 32, 32), large)
    assert (painted - large).abs().mean() > 0.05


def test_wrong_shapes_and_widths_are_refused():
    net = network()
    with pytest.raises(ValueError, match="warped_exemplar must have the shape"):
        net(torch.zeros(1, 3, 32, 32), torch.zeros(1, 2, 32, 32))
    with pytest.raises(ValueError, match="must agree in height and width"):
        net(torch.zeros(1, 8, 32, 48), torch.zeros(1, 2, 32, 32))
    with pytest.raises(ValueError, match="four multiples of 8"):
        BlendingTranslationNetwork(2, (8, 20, 64, 64))


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({}, (64, 64)),
        ({"scale": 2}, (128, 128)),
        ({"height": 192, "width": 192}, (192, 192)),
        ({"height": 48, "width": 96}, (48, 96)),
        ({"height": 256, "width": 128}, (256, 128)),
    ],
)
def test_any_size_is_painted_from_one_matching(
    pipe: CoCosPipeline, settings: dict, size: tuple[int, int]
):
    out = run(pipe, photo(1), photo(2), **settings)
    assert out.images.shape == out.warped_exemplars.shape == (1, 3, *size)
    assert out.blend.shape == (1, 1, *size)
    assert torch.isfinite(out.images).all()
    assert out.matching.flow().shape[2] <= 8 * max(1, size[1] // size[0])


def test_a_larger_picture_looks_like_the_smaller_one(pipe: CoCosPipeline):
    small = run(pipe, photo(1), photo(2)).images
    large = run(pipe, photo(1), photo(2), scale=4).images
    shrunk = torch.nn.functional.interpolate(large, (64, 64), mode="bilinear", antialias=True)
    assert (shrunk - small).abs().mean() < 0.05


def test_strength_1_is_the_warped_exemplar(pipe: CoCosPipeline):
    out = run(pipe, photo(1), photo(2), strength=1.0)
    torch.testing.assert_close(out.images, out.warped_exemplars, atol=1e-5, rtol=0)
    assert (run(pipe, photo(1), photo(2)).images - out.images).abs().mean() > 0.01


def test_a_prepared_exemplar_paints_as_its_photo(pipe: CoCosPipeline):
    prepared = pipe.encode_exemplar(photo(2))
    torch.testing.assert_close(
        run(pipe, photo(1), prepared).images, run(pipe, photo(1), photo(2)).images
    )


def test_batches_and_several_exemplars(pipe: CoCosPipeline):
    out = run(pipe, [photo(1), photo(3)], [[photo(2), photo(4, 64, 128)], photo(5)])
    assert out.images.shape == (2, 3, 64, 64)
    torch.testing.assert_close(out.images[1:], run(pipe, photo(3), photo(5)).images)


def test_pinned_points_show_what_they_name(pipe: CoCosPipeline):
    # Cell (5, 2) of 8 x 8 must show cell (1, 6).
    point = ((5.5 / 8, 2.5 / 8), (1.5 / 8, 6.5 / 8))
    for points in ([point], [[point]], [(*point, 0)]):
        out = run(pipe, photo(1), photo(2), points=points)
        shown = out.warped_exemplars[0, :, 18:22, 42:46]
        there = run(pipe, photo(1), photo(2), points=points, strength=1).images
        wanted = torch.from_numpy(np.array(photo(2))).permute(2, 0, 1)[:, 50:54, 10:14] / 255
        torch.testing.assert_close(shown, wanted, atol=0.02, rtol=0)
        torch.testing.assert_close(there[0, :, 18:22, 42:46], wanted, atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"points": [((12, 30), (40, 50))]}, "shares in 0..1"),
        ({"points": [(0.5, 0.5)]}, "points must be pairs"),
        ({"points": [((0.5, 0.5), (0.5, 0.5), 3)]}, "exemplar 3"),
        ({"strength": 1.5}, "strength must be in 0..1"),
        ({"scale": 2, "height": 64, "width": 64}, "in place of height and width"),
        ({"scale": 0}, "scale must be above 0"),
    ],
)
def test_knobs_out_of_range_are_refused(pipe: CoCosPipeline, settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        run(pipe, photo(1), photo(2), **settings)


@pytest.mark.parametrize(
    "settings", [{"strength": 0.9}, {"points": [((0, 0), (1, 1))]}, {"scale": 2}]
)
def test_the_official_networks_have_no_such_knobs(settings: dict):
    with pytest.raises(ValueError, match="belongs to pipelines that warp coherently"):
        tiny.pipeline()(photo(1), photo(2), **settings)


def test_networks_that_do_not_speak_of_the_same_warp_make_no_pipeline():
    with pytest.raises(ValueError, match="needs 'coherent'"):
        CoCosPipeline(tiny.correspondence(), network(), EdgeCondition(), 64)
    with pytest.raises(ValueError, match="matching_scale must be"):
        CoCosPipeline(tiny.correspondence(), tiny.translation(), EdgeCondition(), 64, None, 2)


def test_the_blend_is_a_grey_picture(pipe: CoCosPipeline):
    out = pipe(photo(1), photo(2))
    assert out.blend[0].mode == "L" and out.blend[0].size == (64, 64)
    assert pipe(photo(1), photo(2), output_type="np").blend.shape == (1, 64, 64, 1)
    assert tiny.pipeline()(photo(1), photo(2)).blend is None


def test_an_exemplar_of_one_colour_and_a_long_one(pipe: CoCosPipeline):
    plain = Image.new("RGB", (64, 64), (10, 200, 90))
    warped = run(pipe, photo(1), plain).warped_exemplars
    assert (warped - torch.tensor([10, 200, 90]).view(3, 1, 1) / 255).abs().max() < 0.01
    assert torch.isfinite(run(pipe, photo(1), photo(2, 32, 224)).images).all()


def test_saved_and_loaded_it_paints_the_same(pipe: CoCosPipeline, tmp_path: Path):
    pipe.save_pretrained(tmp_path)
    loaded = CoCosPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    assert isinstance(loaded.translation, BlendingTranslationNetwork)
    assert loaded.config.matching_scale == 2
    torch.testing.assert_close(
        run(loaded, photo(1), photo(2)).images,
        run(pipe, photo(1), photo(2)).images,
        atol=1e-4,
        rtol=0,
    )
