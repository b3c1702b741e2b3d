"""A pipeline that blends is its two networks, at two sizes, with every kind of input."""

import copy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from cocosnet_hf import CoCosPipeline, CoCosPipelineOutput, EdgeCondition, Matching
from cocosnet_hf.models.blending import blend_share, enlarged, with_strength
from cocosnet_hf.points import pairs_of_points, pins_of
from cocosnet_hf.propagation import Pin
from tests.support import painting, tiny
from tests.support.painting import CLASSES

photo_array = partial(painting.photo_array, width=80, height=64)


def photo(seed: int = 0, height: int = 64, width: int = 80) -> Image.Image:
    return painting.photo(seed, height, width)


def labels(seed: int = 0, height: int = 64, width: int = 80) -> np.ndarray:
    return painting.labels(seed, height, width)


def tensor(seed: int = 0, height: int = 64, width: int = 80) -> Tensor:
    """A photo (3, H, W) in 0..1."""
    return painting.tensors(1, seed, height, width)[0]


@pytest.fixture(scope="module")
def pipe() -> CoCosPipeline:
    """Paints 64 pixels from edges, matched at 32; not to be changed."""
    made = tiny.blending_pipeline()
    with torch.no_grad():
        made.translation.output_conv.weight.mul_(0.3)  # so that pictures are not cut off at 0 and 1
    return made


@pytest.fixture
def silent(pipe: CoCosPipeline) -> CoCosPipeline:
    """Fails where a network runs."""
    made = copy.deepcopy(pipe)
    for network in (made.translation, made.correspondence):
        network.register_forward_pre_hook(lambda *_: pytest.fail("a network ran"))
    return made


def run(pipe: CoCosPipeline, *arguments: Any, **settings: Any) -> CoCosPipelineOutput:
    return pipe(*arguments, output_type="pt", **settings)


def same(found: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)


# What it computes


@pytest.mark.parametrize("strength", [0.5, 0.8])
@pytest.mark.parametrize("scale", [1, 2])
@torch.no_grad()
def test_it_equals_its_networks_called_by_hand(pipe: CoCosPipeline, scale: int, strength: float):
    size = (64 * scale, 80 * scale)
    points = [((0.3, 0.6), (0.7, 0.2))]
    out = run(pipe, photo(1), photo(2), scale=scale, strength=strength, points=points)

    edges = pipe.condition
    condition, small = (edges.encode(photo(1), *side)[None] for side in ((64, 80), (32, 40)))
    exemplar = photo(2).resize(size[::-1], Image.Resampling.BICUBIC)
    exemplar = torch.from_numpy(np.array(exemplar)).permute(2, 0, 1)[None] / 127.5 - 1
    seen, own = F.interpolate(exemplar, (32, 40), mode="bilinear", antialias=True), None
    own = edges.encode(edges.from_photo(photo(2)), 32, 40)[None]
    features = pipe.correspondence(small, seen, own)
    matching = Matching(features.content, features.style, stride=8)
    at_paint = exemplar
    if scale > 1:
        at_paint = F.interpolate(exemplar, (64, 80), mode="bilinear", antialias=True)
    pin = Pin((0.3 * 10 - 0.5, 0.6 * 8 - 0.5), (0.7 * 10 - 0.5, 0.2 * 8 - 0.5))
    warp = pipe.correspondence.warp(matching, at_paint, (64, 80), [[pin]])
    output = pipe.translation(warp.features, condition)
    image = with_strength(warp.features, output, strength)
    share, warped = blend_share(output.blend, strength), warp.picture
    if scale > 1:
        warped = warp.flow.warp(exemplar, size)
        image = enlarged(image, share, warped)
        share = F.interpolate(share, size, mode="bilinear")
    assert (image.abs() < 1).float().mean() > 0.5
    same(out.images, (image.clamp(-1, 1) + 1) / 2)
    same(out.warped_exemplars, (warped.clamp(-1, 1) + 1) / 2)
    same(out.blend, share)
    assert torch.equal(out.matching.flow(), matching.flow())
    alone = pipe.match(photo(1), photo(2), scale=scale)
    assert torch.equal(alone.flow(), matching.flow())
    alone = pipe.match(photo(1), photo(2), height=size[0], width=size[1])
    assert torch.equal(alone.flow(), matching.flow())


def test_what_a_warp_hands_to_the_painter_is_both_warps_and_the_trust(pipe: CoCosPipeline):
    matching = pipe.match(photo(1), photo(2))
    exemplar = tensor(2)[None] * 2 - 1
    warp = pipe.correspondence.warp(matching, exemplar)
    assert warp.picture.shape == (1, 3, 32, 40)
    assert warp.features.shape == (1, pipe.correspondence.warp_channels, 32, 40)
    assert torch.equal(warp.features[:, :3], warp.picture)
    grid = matching.warp(F.avg_pool2d(exemplar, 8))
    same(warp.grid, grid)
    same(warp.features[:, 3:6], F.interpolate(grid, (32, 40), mode="bilinear"))
    trust = F.interpolate(matching.coherent().trust(), (32, 40), mode="bilinear")
    same(warp.features[:, 6:], trust)
    same(warp.picture, warp.flow.warp(exemplar, (32, 40)))


@pytest.mark.parametrize("scale", [1, 2, 4])
@torch.no_grad()
def test_any_matching_scale_gives_a_grid_of_so_many_pixels(scale: int):
    made = tiny.blending_pipeline()
    pipe = CoCosPipeline(
        made.correspondence, made.translation, EdgeCondition(), 64, matching_scale=scale
    )
    pipe.set_progress_bar_config(disable=True)
    out = run(pipe, photo(1), photo(2))
    assert out.images.shape == (1, 3, 64, 80)
    assert out.matching.stride == 4 * scale
    assert out.matching.flow().shape == (1, 16 // scale, 20 // scale, 2)
    assert out.matching.exemplar_sizes() == [[(64, 80)]]


# Sizes


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({}, (64, 80)),
        ({"scale": 1}, (64, 80)),
        ({"scale": 1.5}, (96, 128)),
        ({"scale": 0.5}, (32, 32)),
        ({"height": 96}, (96, 128)),
        ({"width": 32}, (32, 32)),
        ({"height": 128, "width": 64}, (128, 64)),
        ({"height": 32, "width": 256}, (32, 256)),
    ],
)
def test_every_size_is_painted(pipe: CoCosPipeline, settings: dict, size: tuple[int, int]):
    out = run(pipe, photo(1), photo(2), **settings)
    assert out.images.shape == out.warped_exemplars.shape == (1, 3, *size)
    assert out.blend.shape == (1, 1, *size)
    for part in (out.images, out.warped_exemplars, out.blend):
        assert part.isfinite().all()
        assert 0 <= part.min() < part.max() <= 1


def test_an_encoded_condition_keeps_its_size_and_is_matched_at_half_of_it(pipe: CoCosPipeline):
    encoded = EdgeCondition().encode(photo(1), 64, 80)
    out = run(pipe, encoded, photo(2))
    assert out.images.shape == (1, 3, 64, 80)
    assert out.matching.flow().shape == (1, 8, 10, 2)
    assert run(pipe, encoded, photo(2), scale=2).images.shape == (1, 3, 128, 160)
    assert run(pipe, encoded, photo(2), height=96, width=64).images.shape == (1, 3, 96, 64)


def test_a_call_decodes_each_file_once(
    pipe: CoCosPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    paths = [tmp_path / "condition.png", tmp_path / "exemplar.png"]
    for seed, path in enumerate(paths):
        photo(seed).save(path)
    opened, decode = [], Image.open
    monkeypatch.setattr(Image, "open", lambda path: opened.append(path) or decode(path))
    found = run(pipe, *paths).images
    assert opened == paths
    same(found, run(pipe, photo(0), photo(1)).images)


def test_an_exemplar_tensor_is_used_as_it_is(pipe: CoCosPipeline):
    same(run(pipe, photo(1), tensor(2)).images, run(pipe, photo(1), photo(2)).images)
    noise = torch.rand(3, 128, 160, generator=torch.Generator().manual_seed(0))
    out = run(pipe, photo(1), noise)  # finer than the picture shows: it would alias
    small = F.interpolate(noise[None], (64, 80), mode="bilinear", antialias=True)
    assert out.images.shape == (1, 3, 64, 80)
    same(out.warped_exemplars, out.matching.coherent().warp(small, (64, 80)))


def test_a_larger_picture_shows_more_of_a_larger_exemplar(pipe: CoCosPipeline):
    noise = np.random.default_rng(0).integers(0, 256, (128, 160, 3), np.uint8)
    large = run(pipe, photo(1), noise, scale=2, strength=1)
    enlarged_small = F.interpolate(run(pipe, photo(1), noise, strength=1).images, scale_factor=2)

    def roughness(picture: Tensor) -> Tensor:
        return (picture[..., 1:] - picture[..., :-1]).abs().mean()

    assert roughness(large.warped_exemplars) > 1.5 * roughness(enlarged_small)
    assert roughness(large.images) > 1.5 * roughness(enlarged_small)


def test_a_prepared_exemplar_paints_larger_pictures_as_its_photo(pipe: CoCosPipeline):
    prepared = pipe.encode_exemplar(photo(2, 128, 160), image_size=128)
    found = run(pipe, photo(1), prepared, scale=2)
    expected = run(pipe, photo(1), photo(2, 128, 160), scale=2)
    same(found.images, expected.images)
    same(found.warped_exemplars, expected.warped_exemplars)


# Batches and several exemplars


@pytest.mark.parametrize("scale", [1, 2])
def test_an_item_of_a_batch_equals_the_item_alone(pipe: CoCosPipeline, scale: int):
    conditions, exemplars = [photo(1), photo(3)], [[photo(2), photo(4, 96, 64)], photo(5)]
    points = [[((0.2, 0.3), (0.9, 0.1), 1)], [((0.6, 0.6), (0.1, 0.9))]]
    together = run(pipe, conditions, exemplars, scale=scale, points=points)
    assert together.images.shape == (2, 3, 64 * scale, 80 * scale)
    for item in range(2):
        alone = run(
            pipe,
            conditions[item],
            exemplars[item : item + 1],
            scale=scale,
            points=points[item],
        )
        same(together.images[item : item + 1], alone.images)
        same(together.warped_exemplars[item : item + 1], alone.warped_exemplars)
        same(together.blend[item : item + 1], alone.blend)


def test_one_condition_serves_many_exemplars_and_the_reverse(pipe: CoCosPipeline):
    alone = run(pipe, photo(1), photo(2)).images
    same(run(pipe, photo(1), [photo(3), photo(2)]).images[1:], alone)
    same(run(pipe, [photo(3), photo(1)], photo(2)).images[1:], alone)
    same(run(pipe, photo(1), [[photo(2), photo(2)]]).images, alone)


def test_several_exemplars_of_one_item_are_all_looked_at(pipe: CoCosPipeline):
    red, blue = np.zeros((2, 64, 80, 3), np.uint8)
    red[..., 0] = photo_array(2)[..., 0] // 2 + 120
    blue[..., 2] = photo_array(3)[..., 0] // 2 + 120
    points = [((0.25, 0.25), (0.5, 0.5), 0), ((0.75, 0.75), (0.5, 0.5), 1)]
    shown = run(pipe, photo(1), [[red, blue]], points=points).warped_exemplars[0]
    assert shown[0, 16, 20] > 0.4
    assert shown[2, 16, 20] < 0.01
    assert shown[2, 48, 60] > 0.4
    assert shown[0, 48, 60] < 0.01


def test_regions_keep_every_cell_within_its_own(pipe: CoCosPipeline):
    exemplar = np.zeros((64, 80, 3), np.uint8)
    exemplar[:, :40, 0] = 255
    left, top = np.zeros((2, 64, 80), np.int64)
    left[:, 40:] = 1
    top[32:] = 1
    out = run(pipe, photo(1), exemplar, regions=top, exemplar_regions=left)
    flow = out.matching.coherent().position[0, ..., 0]
    assert (flow[:4] <= 4).all()
    assert (flow[4:] >= 5).all()
    red = out.warped_exemplars[0, 0]
    assert red[:28].mean() > 0.9
    assert red[36:].mean() < 0.1


def test_masks_are_matched_at_half_their_size():
    pipe = tiny.blending_pipeline(CLASSES)
    out = run(pipe, labels(1), photo(2), labels(2))
    assert out.images.shape == (1, 3, 64, 80)
    small = CLASSES.encode(labels(1), 32, 40)[None]
    content = pipe.correspondence(small, None).content
    style = pipe.encode_exemplar(photo(2), labels(2)).styles[0][0]
    assert torch.equal(out.matching.flow(), Matching(content, style[None], stride=8).flow())


@torch.no_grad()
def test_an_encoded_condition_of_the_exemplar_is_matched_at_half_its_size(pipe: CoCosPipeline):
    own = EdgeCondition().encode(photo(3), 64, 80)
    prepared = pipe.encode_exemplar(tensor(2), own)
    seen = F.interpolate(tensor(2)[None] * 2 - 1, (32, 40), mode="bilinear", antialias=True)
    small = F.interpolate(own[None], (32, 40), mode="area")
    same(prepared.styles[0][0], pipe.correspondence(None, seen, small).style[0])


# Strength and points


@pytest.mark.parametrize("output_type", ["pil", "np", "pt"])
def test_strength_1_is_the_warped_exemplar_and_0_copies_nothing(
    output_type: str, pipe: CoCosPipeline
):
    def pixels(value: Any) -> np.ndarray:
        array = np.stack([np.asarray(item, np.float32) for item in value])
        return array / 255 if output_type == "pil" else array

    copied = pipe(photo(1), photo(2), strength=1, output_type=output_type)
    np.testing.assert_allclose(pixels(copied.images), pixels(copied.warped_exemplars), atol=1e-5)
    assert pixels(copied.blend).min() > 0.999
    painted = pipe(photo(1), photo(2), strength=0, output_type=output_type)
    assert pixels(painted.blend).max() == 0
    assert np.abs(pixels(painted.images) - pixels(copied.images)).mean() > 0.05
    decided = pixels(pipe(photo(1), photo(2), output_type=output_type).blend)
    assert 0 < decided.mean() < 1


def test_a_larger_picture_of_strength_1_is_nearly_the_larger_warp(pipe: CoCosPipeline):
    out = run(pipe, photo(1), photo(2, 128, 160), scale=2, strength=1)
    assert (out.images - out.warped_exemplars).abs().mean() < 0.02


def test_a_prepared_exemplar_takes_points_too(pipe: CoCosPipeline):
    points = [((0.3, 0.6), (0.7, 0.2))]
    prepared = pipe.encode_exemplar(photo(2))
    found = run(pipe, photo(1), prepared, points=points).images
    same(found, run(pipe, photo(1), photo(2), points=points).images)
    assert (found - run(pipe, photo(1), photo(2)).images).abs().max() > 0.05


def test_points_may_come_as_arrays_and_an_item_of_a_batch_may_have_none(pipe: CoCosPipeline):
    points = [((0.3, 0.6), (0.7, 0.2)), ((0.8, 0.1), (0.2, 0.2))]
    wanted = run(pipe, photo(1), photo(2), points=points).images
    same(run(pipe, photo(1), photo(2), points=np.array(points)).images, wanted)
    same(run(pipe, photo(1), photo(2), points=[points]).images, wanted)
    plain = run(pipe, photo(1), photo(2)).images
    for none in ([], [[]]):
        same(run(pipe, photo(1), photo(2), points=none).images, plain)
    batch = run(pipe, photo(1), [photo(2)] * 2, points=[[], points]).images
    same(batch, torch.cat([plain, wanted]))
    shared = run(pipe, photo(1), [photo(2)] * 2, points=points).images
    same(shared, torch.cat([wanted, wanted]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"points": [((12, 30), (40, 50))]}, "shares in 0..1"),
        ({"points": [((0.5, -0.1), (0.4, 0.5))]}, "shares in 0..1"),
        ({"points": [((0.5, float("nan")), (0.4, 0.5))]}, "shares in 0..1"),
        ({"points": [(0.5, 0.5)]}, "points must be pairs"),
        ({"points": ((0.5, 0.5), (0.1, 0.1))}, "points must be pairs"),
        ({"points": [((0.5, 0.5), (0.1, 0.1, 0.1))]}, "points must be pairs"),
        ({"points": [((0.5, 0.5),)]}, "points must be pairs"),
        ({"points": 0.5}, "points must be pairs"),
        ({"points": [[((0.5, 0.5), (0.1, 0.1))]] * 2}, "for 1 items"),
        ({"points": [((0.5, 0.5), (0.5, 0.5), 1)]}, "exemplar 1, but an item has 1"),
        ({"points": [((0.5, 0.5), (0.5, 0.5), -1)]}, "exemplar -1"),
        ({"points": [((0.5, 0.5), (0.5, 0.5), 0.5)]}, "exemplar 0.5"),
        ({"points": [((0.5, 0.5), (0.5, 0.5), 0, 0)]}, "points must be pairs"),
        ({"strength": -0.1}, "strength must be in 0..1"),
        ({"strength": float("nan")}, "strength must be in 0..1"),
        ({"scale": 2, "height": 64}, "in place of height and width"),
        ({"scale": 17}, "at most 16"),
        ({"scale": -1}, "above 0"),
        ({"height": 40}, "height must be a multiple of 16"),
        ({"height": 32, "width": 512}, "more than 8 times as long"),
    ],
)
def test_knobs_that_cannot_be_used_are_refused_before_a_network_runs(
    settings: dict, message: str, silent: CoCosPipeline
):
    with pytest.raises(ValueError, match=message):
        silent(photo(1), photo(2), **settings)


@pytest.mark.parametrize(
    "settings", [{"strength": 0.9}, {"points": [((0, 0), (1, 1))]}, {"scale": 2}]
)
def test_a_pipeline_that_does_not_blend_has_no_such_knobs_and_no_blend(settings: dict):
    official = tiny.pipeline()
    with pytest.raises(ValueError, match=f"{next(iter(settings))} belongs to pipelines that warp"):
        official(photo(1), photo(2), **settings)
    assert official(photo(1), photo(2)).blend is None
    assert len(official(photo(1), photo(2), return_dict=False)) == 3


# Outputs and files


def test_the_blend_comes_in_every_output_type(pipe: CoCosPipeline):
    (picture,) = pipe(photo(1), photo(2)).blend
    array = pipe(photo(1), photo(2), output_type="np").blend
    stack = run(pipe, photo(1), photo(2)).blend
    assert (picture.mode, picture.size) == ("L", (80, 64))
    assert array.shape == (1, 64, 80, 1)
    assert stack.shape == (1, 1, 64, 80)
    np.testing.assert_allclose(array[0, ..., 0], stack[0, 0].numpy(), atol=1e-6)
    np.testing.assert_allclose(np.asarray(picture) / 255, array[0, ..., 0], atol=1 / 255)
    assert len(pipe(photo(1), photo(2), return_dict=False)) == 5


def test_the_flow_is_that_of_the_picture_with_its_points(pipe: CoCosPipeline):
    for points in (None, [((0.25, 0.25), (0.75, 0.75))]):
        out = pipe(photo(1), photo(2), points=points)
        pins = pins_of(pairs_of_points(points, [1]), out.matching)
        assert torch.equal(out.flow.position, out.matching.coherent(pins=pins).position)


def test_saved_and_loaded_it_paints_the_same(pipe: CoCosPipeline, tmp_path: Path):
    pipe.save_pretrained(tmp_path)
    loaded = CoCosPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    assert loaded.config.matching_scale == 2
    for settings in ({}, {"scale": 2, "points": [((0.3, 0.6), (0.7, 0.2))]}):
        found, expected = (run(each, photo(1), photo(2), **settings) for each in (loaded, pipe))
        same(found.images, expected.images)
        same(found.blend, expected.blend)


def test_folding_changes_nothing(pipe: CoCosPipeline):
    folded = copy.deepcopy(pipe).fold()
    same(run(folded, photo(1), photo(2)).images, run(pipe, photo(1), photo(2)).images)


def test_half_precision_runs(pipe: CoCosPipeline):
    half = copy.deepcopy(pipe).to(torch.bfloat16)
    out = run(half, photo(1), photo(2), scale=2)
    assert out.images.dtype == torch.float32
    assert out.images.isfinite().all()
    assert out.images.shape == (1, 3, 128, 160)


@pytest.mark.parametrize("settings", [{}, {"scale": 2}, {"points": [((0.2, 0.2), (0.8, 0.8))]}])
def test_an_exemplar_of_one_colour_is_seen_in_that_colour(pipe: CoCosPipeline, settings: dict):
    plain = Image.new("RGB", (80, 64), (10, 200, 90))
    out = run(pipe, photo(1), plain, **settings)
    color = torch.tensor([10, 200, 90]).view(3, 1, 1) / 255
    same(out.warped_exemplars[0], color.expand_as(out.warped_exemplars[0]), 0.01)
    assert out.images.isfinite().all()
    blank = run(pipe, Image.new("RGB", (80, 64)), plain, **settings)  # no edge at all
    assert blank.images.isfinite().all()
    assert blank.blend.isfinite().all()
