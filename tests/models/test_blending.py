"""The blending painter begins as the warp, and its pipeline paints every size from one matching."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from cocosnet_hf import BlendingTranslationNetwork, CoCosPipeline, EdgeCondition
from cocosnet_hf.models.blending import blend_share, enlarged, set_strength, with_strength
from tests.support import painting, tiny
from tests.support.tensors import normal


def network(lively: bool = True) -> BlendingTranslationNetwork:
    if lively:
        return tiny.blending_translation()
    torch.manual_seed(0)
    return BlendingTranslationNetwork(2, tiny.BLENDING_CHANNELS).eval()


def photo(seed: int = 0, height: int = 64, width: int = 64) -> Image.Image:
    return painting.photo(seed, height, width)


@pytest.fixture(scope="module")
def pipe() -> CoCosPipeline:
    return tiny.blending_pipeline()


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


def test_a_strength_can_be_made_the_networks_own():
    net, warp, condition = network(), normal(1, 8, 32, 32).clamp(-1, 1), torch.rand(1, 2, 32, 32)
    expected = with_strength(warp, net(warp, condition), 0.9)
    set_strength(net, 0.9)
    torch.testing.assert_close(net(warp, condition).image, expected, atol=1e-5, rtol=1e-4)
    for refused in (0.4, 1.0):
        with pytest.raises(ValueError, match=f"0.5 to below 1, got {refused}"):
            set_strength(net, refused)


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


@pytest.fixture(scope="module")
def painter() -> BlendingTranslationNetwork:
    """Not to be changed."""
    return network()


def inputs(batch: int = 1, height: int = 32, width: int = 48, seed: int = 0) -> tuple[Tensor, ...]:
    """A warp of 8 channels and a condition of 2."""
    generator = torch.Generator().manual_seed(seed)
    warp = torch.rand(batch, 8, height, width, generator=generator) * 2 - 1
    return warp, torch.rand(batch, 2, height, width, generator=generator)


@torch.no_grad()
def test_the_picture_is_the_blend_of_both_warps_and_the_change(painter: BlendingTranslationNetwork):
    warp, condition = inputs()
    output = painter(warp, condition)
    expected = output.blend * warp[:, :3] + (1 - output.blend) * warp[:, 3:6] + output.change
    torch.testing.assert_close(output.image, expected, atol=1e-5, rtol=0)
    assert 0 < output.blend.min() < output.blend.max() < 1
    assert output.change.std() > 0.01


@torch.no_grad()
def test_every_input_matters(painter: BlendingTranslationNetwork):
    warp, condition = inputs()
    output = painter(warp, condition)
    for channel in range(8):
        other = warp.clone()
        other[:, channel] = other[:, channel].flip(-1)
        assert (painter(other, condition).change - output.change).abs().max() > 1e-3
    for channel in range(2):
        other = condition.clone()
        other[:, channel] = 1 - other[:, channel]
        assert (painter(warp, other).change - output.change).abs().max() > 1e-3


@torch.no_grad()
def test_the_condition_joins_at_half_size_already():
    painter = network()
    for silenced in (painter.condition_quarter, painter.condition_eighth):
        silenced.weight.zero_()
    warp, condition = inputs()
    change = painter(warp, condition).change
    assert (painter(warp, 1 - condition).change - change).abs().max() > 1e-3


@torch.no_grad()
def test_a_cut_along_x_is_painted_as_its_part_of_the_whole(painter: BlendingTranslationNetwork):
    warp, condition = inputs(1, 32, 480)
    whole, cut = painter(warp, condition), painter(warp[..., 64:416], condition[..., 64:416])
    for name in ("image", "blend", "change"):
        part, found = getattr(whole, name)[..., 64:416], getattr(cut, name)
        torch.testing.assert_close(found[..., 168:184], part[..., 168:184], atol=1e-3, rtol=0)
        assert (found[..., :16] - part[..., :16]).abs().max() > 1e-3


@torch.no_grad()
def test_an_item_of_a_batch_equals_the_item_alone(painter: BlendingTranslationNetwork):
    warp, condition = inputs(3, 32, 32)
    together = painter(warp, condition).image
    for item in range(3):
        alone = painter(warp[item : item + 1], condition[item : item + 1]).image
        torch.testing.assert_close(together[item : item + 1], alone, atol=1e-4, rtol=1e-4)


def test_gradients_reach_every_weight_the_warp_and_the_condition():
    painter = network()
    warp, condition = (part.requires_grad_() for part in inputs(2))
    painter(warp, condition).image.square().mean().backward()
    for name, parameter in painter.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    assert (warp.grad.abs().amax((0, 2, 3)) > 0).all()
    assert (condition.grad.abs().amax((0, 2, 3)) > 0).all()


@torch.no_grad()
def test_half_precision_paints_about_the_same(painter: BlendingTranslationNetwork):
    half = copy.deepcopy(painter).to(torch.bfloat16)
    output = half(*(part.to(torch.bfloat16) for part in inputs()))
    assert output.image.dtype == torch.bfloat16
    assert (output.image.float() - painter(*inputs()).image).abs().mean() < 0.02


@torch.no_grad()
def test_folding_changes_nothing(painter: BlendingTranslationNetwork):
    folded = copy.deepcopy(painter).fold()
    torch.testing.assert_close(folded(*inputs()).image, painter(*inputs()).image, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w, c: (w[:, :7], c), r"warped_exemplar must have the shape \(B, 8, H, W\)"),
        (lambda w, c: (w[0], c), "warped_exemplar must have the shape"),
        (lambda w, c: (w, c[:, :1]), r"condition must have the shape \(B, 2, H, W\)"),
        (lambda w, c: (w[..., :40], c[..., :40]), "multiples of 16 .* got 32 x 40"),
        (lambda w, c: (w[..., :16], c), "must agree in height and width"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    change: Callable[..., tuple], message: str, painter: BlendingTranslationNetwork
):
    with pytest.raises(ValueError, match=message):
        painter(*change(*inputs()))


@pytest.mark.parametrize("channels", [(8, 16, 32), (8, 16, 32, 60), (12, 16, 32, 64)])
def test_channels_must_be_four_multiples_of_eight(channels: tuple[int, ...]):
    with pytest.raises(ValueError, match="four multiples of 8, .* got"):
        BlendingTranslationNetwork(2, channels, condition_width=4)


@pytest.mark.parametrize(
    "channels", [(24, 16, 96, 128), (24, 48, 48, 128), (24, 48, 96, 32), (0, 48, 96, 128)]
)
def test_channels_must_leave_room_for_what_joins_them(channels: tuple[int, ...]):
    with pytest.raises(ValueError, match="room for what joins them"):
        BlendingTranslationNetwork(2, channels, condition_width=16)


def test_a_share_of_strength_is_a_factor_of_its_odds():
    blend = torch.tensor([0.0, 1e-9, 0.2, 0.5, 0.9, 1.0]).view(1, 1, 1, 6)
    assert torch.equal(blend_share(blend, 0.5), blend)
    assert not blend_share(blend, 0.0).any()
    torch.testing.assert_close(blend_share(blend, 1.0), torch.ones_like(blend))
    found = blend_share(blend, 0.8)
    torch.testing.assert_close(found[0, 0, 0, 2:5], torch.tensor([0.5, 0.8, 36 / 37]))
    assert found[0, 0, 0, 0] == 0
    assert found[0, 0, 0, 5] == 1


@torch.no_grad()
def test_strength_goes_from_the_painting_alone_to_the_sharp_warp_alone(
    painter: BlendingTranslationNetwork,
):
    warp, condition = inputs()
    sharp, soft = warp[:, :3], warp[:, 3:6]
    output = painter(warp, condition)

    def picture(strength: float) -> Tensor:
        return with_strength(warp, output, strength)

    assert torch.equal(picture(0.5), output.image)
    torch.testing.assert_close(picture(0), soft + output.change)
    torch.testing.assert_close(picture(1), sharp)
    odds = 3 * output.blend / (1 - output.blend)
    expected = torch.lerp(soft, sharp, odds / (1 + odds)) + 0.5 * output.change
    torch.testing.assert_close(picture(0.75), expected)
    away = [(picture(strength) - sharp).abs().mean() for strength in (0, 0.25, 0.5, 0.75, 1)]
    assert away == sorted(away, reverse=True)


def test_a_picture_that_copies_nothing_takes_no_detail():
    warp = inputs(1, 64, 96)[0][:, :3]
    # Smooth: at hard edges the bicubic filter itself draws the lines that are left out.
    image = F.avg_pool2d(inputs(1, 32, 48, seed=1)[0][:, :3], 3, 1, 1)
    found = enlarged(image, torch.zeros(1, 1, 32, 48), warp)
    expected = F.interpolate(image, (64, 96), mode="bicubic")
    torch.testing.assert_close(found, expected.clamp(-1, 1))


def test_the_detail_of_an_edge_draws_no_bright_line_beside_the_pictures_own():
    warp = torch.full((1, 3, 64, 96), 0.4)
    warp[..., 48:] = -0.8
    image = F.interpolate(warp.roll(2, dims=3), (32, 48), mode="bilinear", antialias=True)
    found = enlarged(image, torch.ones(1, 1, 32, 48), warp)[..., 8:-8]
    assert found.max() < 0.5 and found.min() > -0.9


def test_detail_is_taken_where_the_picture_is_copied_and_nothing_leaves_the_range():
    warp = inputs(1, 64, 96)[0][:, :3]
    share = torch.zeros(1, 1, 32, 48)
    share[..., 24:] = 1
    image = F.interpolate(warp, (32, 48), mode="bilinear", antialias=True)
    found = enlarged(image, share, warp)
    torch.testing.assert_close(found[..., 52:], warp[..., 52:], atol=1e-5, rtol=0)
    assert (found[..., :44] - warp[..., :44]).abs().mean() > 0.1
    bright = enlarged(torch.ones_like(image), torch.ones_like(share), warp)
    assert bright.max() == 1
    assert bright.min() >= -1


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
    alone = run(pipe, photo(3), photo(5)).images
    torch.testing.assert_close(out.images[1:], alone, atol=1e-4, rtol=0)


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
