"""The pipeline is its two networks and `Matching`, with every kind of input, or a clear refusal."""

import copy
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F
from diffusers.utils import logging
from PIL import Image
from torch import Tensor

from cocosnet_hf import (
    PRESETS,
    CoCosPipeline,
    EdgeCondition,
    MaskCondition,
    Matching,
    PreparedExemplar,
)

HEIGHT, WIDTH = 32, 40
CLASSES = MaskCondition.from_names(["sky", "tree", "water"])


def photo_array(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Blocks of colour, (height, width, 3) uint8: something with edges."""
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return blocks.repeat(8, 0).repeat(8, 1)


def photo(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> Image.Image:
    return Image.fromarray(photo_array(seed, height, width))


def labels(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return photo_array(seed, height, width)[:, :, 0] % 3


def tensors(batch: int = 1, seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    """Photos (B, 3, H, W) in 0..1."""
    stack = np.stack([photo_array(seed + i, height, width) for i in range(batch)])
    return torch.from_numpy(stack).permute(0, 3, 1, 2) / 255


def encoded(batch: int = 1, seed: int = 50, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    edges = EdgeCondition()
    maps = [edges.encode(photo(seed + i, height, width), height, width) for i in range(batch)]
    return torch.stack(maps)


@pytest.fixture(scope="module")
def edges() -> CoCosPipeline:
    """Paints from edges; not to be changed."""
    return tiny.pipeline()


@pytest.fixture(scope="module")
def masks() -> CoCosPipeline:
    """Paints from masks of three classes; not to be changed."""
    return tiny.pipeline(CLASSES)


def run(pipe: CoCosPipeline, *arguments: Any, **settings: Any) -> Tensor:
    return pipe(*arguments, output_type="pt", **settings).images


def assert_same_images(found: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)


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


# Input kinds --------------------------------------------------------------------------------


def test_every_kind_of_photo_gives_the_same_picture(edges: CoCosPipeline, tmp_path: Path):
    image, array = photo(2), photo_array(2)
    image.save(tmp_path / "exemplar.png")
    expected = run(edges, photo(1), image)
    for kind in (
        tmp_path / "exemplar.png",
        str(tmp_path / "exemplar.png"),
        array,
        array.astype(np.float32) / 255,
        torch.from_numpy(array).permute(2, 0, 1),
        tensors(seed=2)[0],
        tensors(seed=2),
        array[None],
        [image],
        (image,),
        [[image]],
    ):
        assert_same_images(run(edges, photo(1), kind), expected)


def test_every_kind_of_condition_gives_the_same_picture(masks: CoCosPipeline, tmp_path: Path):
    index_map = labels(1)
    Image.fromarray(index_map).save(tmp_path / "mask.png")
    own = labels(2)
    expected = run(masks, index_map, photo(2), own)
    one_hot = CLASSES.encode(index_map, HEIGHT, WIDTH)
    for kind in (
        tmp_path / "mask.png",
        Image.fromarray(index_map),
        torch.from_numpy(index_map),
        one_hot,
        one_hot[None],
        one_hot.half(),
        [index_map],
    ):
        assert_same_images(run(masks, kind, photo(2), own), expected)
    assert_same_images(
        run(masks, index_map, photo(2), CLASSES.encode(own, HEIGHT, WIDTH)), expected
    )


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "CMYK", "I;16"])
def test_photos_of_any_mode_are_painted_from(mode: str, edges: CoCosPipeline):
    if mode == "I;16":
        picture = Image.fromarray(photo_array(2)[:, :, 0].astype(np.uint16) * 257)
    else:
        picture = photo(2).convert("L").convert(mode) if mode == "LA" else photo(2).convert(mode)
    same = picture if mode != "I;16" else Image.fromarray(photo_array(2)[:, :, 0])
    assert_same_images(run(edges, photo(1), picture), run(edges, photo(1), same.convert("RGB")))


def test_transparent_pixels_are_white(edges: CoCosPipeline):
    transparent, white = photo(2).convert("RGBA"), photo(2)
    transparent.paste((9, 9, 9, 0), (0, 0, 16, 16))
    white.paste((255, 255, 255), (0, 0, 16, 16))
    assert_same_images(run(edges, photo(1), transparent), run(edges, photo(1), white))


def test_a_camera_rotated_photo_is_turned_upright(edges: CoCosPipeline, tmp_path: Path):
    upright = photo(2, 32, 64)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    turned.save(tmp_path / "turned.png", exif=exif)
    for rotated in (tmp_path / "turned.png", Image.open(tmp_path / "turned.png")):
        assert_same_images(run(edges, photo(1), rotated), run(edges, photo(1), upright))
        assert run(edges, rotated, photo(1)).shape == (1, 3, 32, 64)


def test_one_exemplar_serves_many_conditions_and_one_condition_many_exemplars(
    edges: CoCosPipeline,
):
    conditions, exemplars = [photo(1), photo(2)], [photo(3), photo(4)]
    assert_same_images(
        run(edges, conditions, exemplars[0]), run(edges, conditions, [exemplars[0]] * 2)
    )
    assert_same_images(
        run(edges, conditions[0], exemplars), run(edges, [conditions[0]] * 2, exemplars)
    )
    out = edges(conditions, exemplars[0])
    assert len(out.images) == len(out.warped_exemplars) == 2


def test_one_exemplar_condition_serves_many_exemplars(masks: CoCosPipeline):
    exemplars = [photo(3), photo(4)]
    assert_same_images(
        run(masks, labels(1), exemplars, labels(2)),
        run(masks, labels(1), exemplars, [labels(2)] * 2),
    )
    assert_same_images(
        run(masks, labels(1), [exemplars], labels(2)),
        run(masks, labels(1), [exemplars], [[labels(2)] * 2]),
    )


def test_edges_of_the_exemplar_are_found_if_not_given(edges: CoCosPipeline):
    assert_same_images(
        run(edges, photo(1), photo(2)), run(edges, photo(1), photo(2), exemplar_condition=photo(2))
    )


def test_a_prepared_exemplar_paints_the_same_without_encoding_again(edges: CoCosPipeline):
    prepared = edges.encode_exemplar([photo(3), photo(4)])
    assert isinstance(prepared, PreparedExemplar)
    assert len(prepared) == 2
    expected = run(edges, [photo(1), photo(2)], [photo(3), photo(4)])
    seen = []
    handle = edges.correspondence.exemplar_adaptor.register_forward_hook(lambda *_: seen.append(1))
    found = run(edges, [photo(1), photo(2)], prepared)
    handle.remove()
    assert seen == []
    assert_same_images(found, expected)
    one = edges.encode_exemplar([[photo(3), photo(4, 48)]])
    assert_same_images(
        run(edges, [photo(1), photo(2)], one),
        run(edges, [photo(1), photo(2)], [[photo(3), photo(4, 48)]] * 2),
    )


def test_prepared_exemplars_are_a_batch_as_pictures_are(edges: CoCosPipeline):
    prepared = [edges.encode_exemplar(photo(3)), edges.encode_exemplar([photo(4), photo(5, 48)])]
    expected = run(edges, photo(1), [photo(3), photo(4), photo(5, 48)])
    assert_same_images(run(edges, photo(1), prepared), expected)
    with pytest.raises(ValueError, match="got 1 prepared ones among 2"):
        edges(photo(1), [prepared[0], photo(4)])
    with pytest.raises(ValueError, match="prepared together"):
        edges(photo(1), [prepared])
    other = tiny.pipeline(feature_channels=12).encode_exemplar(photo(3))
    with pytest.raises(ValueError, match="prepared by another pipeline"):
        edges(photo(1), [prepared[0], other])


def test_a_prepared_exemplar_moves_to_another_precision(edges: CoCosPipeline):
    prepared = edges.encode_exemplar(photo(3)).to(torch.bfloat16)
    assert {t.dtype for item in prepared.styles + prepared.photos for t in item} == {torch.bfloat16}
    rough = edges(photo(1), prepared, output_type="pt").warped_exemplars
    exact = edges(photo(1), photo(3), output_type="pt").warped_exemplars
    assert (rough - exact).abs().mean() < 0.05


def test_regions_restrict_a_prepared_exemplar_too(edges: CoCosPipeline):
    regions = {"regions": labels(5), "exemplar_regions": labels(6)}
    assert_same_images(
        run(edges, photo(1), edges.encode_exemplar(photo(3)), **regions),
        run(edges, photo(1), photo(3), **regions),
    )


# Sizes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("natural", "given", "expected"),
    [
        ((64, 80), {}, (32, 40)),
        ((80, 64), {}, (40, 32)),
        ((24, 40), {}, (32, 56)),
        ((64, 80), {"height": 64, "width": 32}, (64, 32)),
        ((64, 80), {"height": 64}, (64, 80)),
        ((64, 80), {"width": 40}, (32, 40)),
        ((16, 400), {"height": 32, "width": 48}, (32, 48)),
    ],
)
def test_the_picture_keeps_the_conditions_aspect_unless_told_otherwise(
    natural: tuple[int, int], given: dict, expected: tuple[int, int], edges: CoCosPipeline
):
    out = edges(photo(1, *natural), photo(2), **given)
    assert out.images[0].size == out.warped_exemplars[0].size == expected[::-1]
    assert out.matching.flow().shape == (1, expected[0] // 4, expected[1] // 4, 2)


def test_sides_are_multiples_of_the_stride_of_the_translation():
    networks = tiny.correspondence(), tiny.translation(channels=(12, 12, 10, 8, 6, 6))
    pipe = CoCosPipeline(*networks, EdgeCondition(), image_size=64)
    pipe.set_progress_bar_config(disable=True)
    assert networks[1].stride == 32
    assert pipe(photo(1, 40, 72), photo(2)).images[0].size == (128, 64)


@pytest.mark.parametrize(
    ("natural", "expected"),
    [((64, 32), (64, 32)), ((64, 64), (64, 64)), ((32, 64), (64, 128)), ((128, 32), (128, 32))],
)
def test_a_pipeline_for_narrow_pictures_paints_what_covers_their_size(
    natural: tuple[int, int], expected: tuple[int, int], tmp_path: Path
):
    pipe = tiny.pipeline(image_size=64)
    pipe.register_to_config(image_width=32)
    pipe.save_pretrained(tmp_path)
    loaded = quiet(CoCosPipeline.from_pretrained(tmp_path))
    assert loaded.size_for(natural) == expected
    assert loaded.size_for(natural, height=128) == (128, 128 * natural[1] // natural[0])
    assert loaded.size_for(natural, height=32, width=80) == (32, 80)
    with pytest.raises(ValueError, match="height must be a multiple of 8"):
        loaded.size_for(natural, height=33)
    out = loaded(photo(1, *natural), photo(2, *natural))
    assert out.images[0].size == expected[::-1]
    assert out.matching.exemplar_sizes() == [[expected]]


def test_encoded_tensors_keep_their_size(edges: CoCosPipeline):
    assert run(edges, encoded(height=48, width=64), tensors(height=64)).shape == (1, 3, 48, 64)


def test_photos_are_fitted_with_bicubic_resampling(edges: CoCosPipeline):
    large, fitted = photo(2, 64, 80), photo(2, 64, 80).resize((40, 32), Image.Resampling.BICUBIC)
    own = encoded()[0]
    assert_same_images(run(edges, photo(1), large, own), run(edges, photo(1), fitted, own))


def test_the_exemplars_size_is_its_own(edges: CoCosPipeline):
    out = edges(photo(1), photo(2, 64, 128))
    assert out.matching.row((0, 0)).shape == (8, 16)
    assert out.matching.exemplar_sizes() == [[(32, 64)]]


def test_larger_pictures_see_larger_exemplars(edges: CoCosPipeline):
    def sizes(**settings: Any) -> list:
        return edges.match(photo(1), photo(2, 64, 128), **settings).exemplar_sizes()

    assert sizes(height=64, width=96) == [[(64, 128)]]
    assert sizes(height=16, width=96) == [[(32, 64)]]
    prepared = edges.encode_exemplar(photo(2, 64, 128), image_size=48)
    assert edges.match(photo(1), prepared).exemplar_sizes() == [[(48, 96)]]
    large = run(edges, photo(1), photo(2, 64, 128), height=64, width=96)
    prepared = edges.encode_exemplar(photo(2, 64, 128), image_size=64)
    assert_same_images(run(edges, photo(1), prepared, height=64, width=96), large)


def test_networks_in_training_mode_are_not_changed_by_painting():
    trained = [network.train() for network in (tiny.correspondence(), tiny.translation())]
    pipe = quiet(CoCosPipeline(*trained, EdgeCondition(), 32))
    before = copy.deepcopy(pipe.translation.state_dict())
    assert torch.equal(run(pipe, photo(1), photo(2)), run(pipe, photo(1), photo(2)))
    for name, value in pipe.translation.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_stretched_exemplar_condition_is_mentioned(
    masks: CoCosPipeline, caplog: pytest.LogCaptureFixture
):
    logger = logging.get_logger("cocosnet_hf.pipeline")
    logger.addHandler(caplog.handler)
    try:
        masks(labels(1), photo(2), labels(2))
        strided = quiet(
            CoCosPipeline(
                tiny.correspondence(),
                tiny.translation(channels=(12, 12, 10, 8, 6, 6)),
                EdgeCondition(),
                image_size=128,
            )
        )
        strided(photo(1), photo(2, 100, 75), photo(2, 100, 75))  # 160 x 128 pixels
        assert caplog.text == ""
        masks(labels(1), photo(2), labels(2).T)
    finally:
        logger.removeHandler(caplog.handler)
    assert "of 40 x 32 pixels is stretched to its exemplar's 32 x 40" in caplog.text


def test_a_prepared_exemplar_is_compared_by_identity(edges: CoCosPipeline):
    one, other = edges.encode_exemplar(photo(2)), edges.encode_exemplar(photo(2))
    assert one in [other, one]
    assert one != other
    assert one.to(dtype=torch.float16).styles[0][0].dtype == torch.float16


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


# Saving and loading -------------------------------------------------------------------------


def components_of(folder: Path) -> dict[str, Any]:
    index = json.loads((folder / "model_index.json").read_text())
    return {name: index[name] for name in ("correspondence", "translation")}


OURS = {
    "correspondence": ["cocosnet_hf", "CorrespondenceNetwork"],
    "translation": ["cocosnet_hf", "TranslationNetwork"],
}


def quiet(pipe: CoCosPipeline) -> CoCosPipeline:
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_a_pipeline_that_is_saved_again_does_not_tell_where_it_was_loaded_from(
    masks: CoCosPipeline, tmp_path: Path
):
    masks.save_pretrained(tmp_path / "first")
    CoCosPipeline.from_pretrained(tmp_path / "first").save_pretrained(tmp_path / "second")
    files = list((tmp_path / "second").rglob("*.json"))
    assert len(files) == 3
    assert not [file for file in files if str(tmp_path) in file.read_text()]


def test_a_saved_and_loaded_pipeline_paints_the_same(masks: CoCosPipeline, tmp_path: Path):
    masks.save_pretrained(tmp_path)
    loaded = quiet(CoCosPipeline.from_pretrained(tmp_path))
    assert loaded.condition == masks.condition
    assert loaded.config.image_size == masks.config.image_size
    arguments = labels(1), photo(2), labels(2)
    assert_same_images(run(loaded, *arguments), run(masks, *arguments))


def test_the_index_names_the_package_however_the_pipeline_came_to_be(
    edges: CoCosPipeline, tmp_path: Path
):
    edges.save_pretrained(tmp_path / "made")
    index = json.loads((tmp_path / "made" / "model_index.json").read_text())
    assert {name: value for name, value in index.items() if not name.startswith("_d")} == {
        "_class_name": "CoCosPipeline",
        **OURS,
        "condition": {"type": "edge", "sigma": 1.0, "low": 0.1, "high": 0.2, "reach": 32.0},
        "image_size": 32,
        "image_width": None,
        "matching_scale": 1,
    }
    loaded = CoCosPipeline.from_pretrained(tmp_path / "made")
    loaded.save_pretrained(tmp_path / "loaded")
    assert components_of(tmp_path / "loaded") == OURS
    CoCosPipeline.from_pipe(loaded).save_pretrained(tmp_path / "from_pipe")
    assert components_of(tmp_path / "from_pipe") == OURS
    loaded.translation = tiny.translation(seed=5)
    loaded.register_modules(correspondence=tiny.correspondence(seed=6))
    loaded.save_pretrained(tmp_path / "replaced")
    assert components_of(tmp_path / "replaced") == OURS
    assert_same_images(
        run(quiet(CoCosPipeline.from_pretrained(tmp_path / "replaced")), photo(1), photo(2)),
        run(quiet(loaded), photo(1), photo(2)),
    )


def test_a_discriminator_beside_the_pipeline_disturbs_nothing(edges: CoCosPipeline, tmp_path: Path):
    edges.save_pretrained(tmp_path)
    tiny.discriminator().save_pretrained(tmp_path / "discriminator")
    loaded = quiet(CoCosPipeline.from_pretrained(tmp_path))
    assert set(loaded.components) == {"correspondence", "translation"}
    assert_same_images(run(loaded, photo(1), photo(2)), run(edges, photo(1), photo(2)))


def test_a_component_may_be_passed_to_the_loading(edges: CoCosPipeline, tmp_path: Path):
    edges.save_pretrained(tmp_path)
    other = tiny.translation(seed=5)
    assert CoCosPipeline.from_pretrained(tmp_path, translation=other).translation is other


def test_a_variant_is_saved_and_loaded_by_name(edges: CoCosPipeline, tmp_path: Path):
    half = copy.deepcopy(edges).to(torch.float16)
    half.save_pretrained(tmp_path, variant="fp16")
    assert len(list(tmp_path.rglob("*.fp16.safetensors"))) == 2
    loaded = CoCosPipeline.from_pretrained(tmp_path, variant="fp16", dtype=torch.float32)
    rough = run(quiet(loaded), photo(1), photo(2))
    assert (rough - run(edges, photo(1), photo(2))).square().mean().sqrt() < 0.02
    with pytest.raises(ValueError, match="variant=bogus"):
        CoCosPipeline.from_pretrained(tmp_path, variant="bogus")
    with pytest.raises(OSError, match="no file named"):
        CoCosPipeline.from_pretrained(tmp_path)


def test_a_pipeline_saved_in_pieces_paints_the_same(edges: CoCosPipeline, tmp_path: Path):
    edges.save_pretrained(tmp_path, max_shard_size="8KB", variant="fp32")
    assert len(list(tmp_path.rglob("*.fp32-*-of-*.safetensors"))) > 4
    loaded = quiet(CoCosPipeline.from_pretrained(tmp_path, variant="fp32"))
    assert_same_images(run(loaded, photo(1), photo(2)), run(edges, photo(1), photo(2)))


def test_a_pipeline_is_loaded_by_its_name_on_the_hub(edges: CoCosPipeline, tmp_path: Path):
    repository = tmp_path / "models--someone--edges"
    edges.save_pretrained(repository / "snapshots" / ("0" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)  # as the Hub client leaves a download
    loaded = CoCosPipeline.from_pretrained("someone/edges", cache_dir=tmp_path)
    assert_same_images(run(quiet(loaded), photo(1), photo(2)), run(edges, photo(1), photo(2)))


def test_loading_in_half_precision_paints_about_the_same(edges: CoCosPipeline, tmp_path: Path):
    edges.save_pretrained(tmp_path)
    half = quiet(CoCosPipeline.from_pretrained(tmp_path, dtype=torch.bfloat16))
    assert half.dtype == torch.bfloat16
    out = half(photo(1), photo(2), output_type="pt")
    assert out.images.dtype == out.warped_exemplars.dtype == torch.float32
    error = out.images - run(edges, photo(1), photo(2))
    assert error.square().mean().sqrt() < 0.1
    mixed = CoCosPipeline.from_pretrained(
        tmp_path, dtype={"correspondence": torch.float32, "default": torch.bfloat16}
    )
    assert mixed.correspondence.dtype == torch.float32
    assert mixed.translation.dtype == torch.bfloat16
    assert run(quiet(mixed), photo(1), photo(2)).isfinite().all()
    mixed = CoCosPipeline.from_pretrained(
        tmp_path, dtype={"correspondence": torch.bfloat16, "default": torch.float32}
    )
    guides = []
    mixed.translation.register_forward_pre_hook(lambda _, inputs: guides.append(inputs[1]))
    run(quiet(mixed), photo(1), photo(2))
    encoded = mixed.condition.encode(photo(1), *guides[0].shape[-2:])
    assert torch.equal(guides[0][0], encoded)  # not by way of the other network's precision


@pytest.mark.parametrize("side", [0, -8, "256", 1.5])
def test_a_size_that_is_none_is_refused_when_the_pipeline_is_made(edges: CoCosPipeline, side: Any):
    for name in ("image_size", "image_width"):
        with pytest.raises(ValueError, match=f"{name} must be a number of pixels from 1 on"):
            CoCosPipeline(**edges.components, condition=edges.condition, **{name: side})


def test_a_pipeline_made_from_another_shares_its_networks(edges: CoCosPipeline):
    other = quiet(CoCosPipeline.from_pipe(edges))
    assert other.translation is edges.translation
    assert other.condition == edges.condition
    assert torch.equal(run(other, photo(1), photo(2)), run(edges, photo(1), photo(2)))


def test_components_and_parameters_are_those_of_the_constructor(edges: CoCosPipeline):
    assert edges.components == {
        "correspondence": edges.correspondence,
        "translation": edges.translation,
    }
    assert edges.parameters.keys() >= {"condition", "image_size"}
    again = CoCosPipeline(**edges.components, **edges.parameters)
    assert torch.equal(run(quiet(again), photo(1), photo(2)), run(edges, photo(1), photo(2)))


def test_offloading_changes_nothing(edges: CoCosPipeline, tmp_path: Path):
    edges.save_pretrained(tmp_path)
    offloaded = quiet(CoCosPipeline.from_pretrained(tmp_path))
    offloaded.enable_model_cpu_offload(device="cpu")
    for _ in range(2):
        assert_same_images(run(offloaded, photo(1), photo(2)), run(edges, photo(1), photo(2)))
    prepared = offloaded.encode_exemplar(photo(2))
    assert_same_images(run(offloaded, photo(1), prepared), run(edges, photo(1), photo(2)))


def test_folding_changes_the_picture_by_rounding_only_and_forbids_saving(
    edges: CoCosPipeline, tmp_path: Path
):
    folded = quiet(copy.deepcopy(edges))
    assert folded.fold() is folded
    assert folded.correspondence.folded and folded.translation.folded
    assert_same_images(run(folded, photo(1), photo(2)), run(edges, photo(1), photo(2)), 1e-3)
    with pytest.raises(ValueError, match="save it before calling fold"):
        folded.save_pretrained(tmp_path)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_makes_a_pipeline_that_knows_its_condition(name: str):
    with torch.device("meta"):
        pipe = CoCosPipeline.from_preset(name)
    assert pipe.condition == PRESETS[name].condition
    assert pipe.correspondence.config.condition_channels == pipe.condition.channels
    assert pipe.config.image_size == 256


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="unknown task 'faces'; known are ade20k, "):
        CoCosPipeline.from_preset("faces")


# Bad input ----------------------------------------------------------------------------------


def test_a_pipeline_needs_parts_that_fit_each_other():
    with pytest.raises(ValueError, match="needs to know its condition"):
        CoCosPipeline(tiny.correspondence(), tiny.translation())
    with pytest.raises(ValueError, match="needs its translation network, got None"):
        CoCosPipeline(tiny.correspondence(), None, EdgeCondition())
    with pytest.raises(ValueError, match="correspondence network reads conditions of 2 channels"):
        CoCosPipeline(tiny.correspondence(2), tiny.translation(3), CLASSES)
    with pytest.raises(ValueError, match="the translation network reads conditions of 2 channels"):
        CoCosPipeline(tiny.correspondence(3), tiny.translation(2), CLASSES)


@pytest.fixture
def guarded(edges: CoCosPipeline, masks: CoCosPipeline) -> dict[str, CoCosPipeline]:
    """Both pipelines, failing as soon as a network runs."""

    def fail(*_: Any) -> None:
        raise AssertionError("a network ran before the input was refused")

    handles = [
        network.register_forward_pre_hook(fail)
        for pipe in (edges, masks)
        for network in (pipe.correspondence, pipe.translation)
    ]
    yield {"edges": edges, "masks": masks}
    for handle in handles:
        handle.remove()


NAN_PHOTO = tensors()[0].index_fill(2, torch.tensor(3), float("nan"))
NAN_EDGES = encoded()[0].index_fill(2, torch.tensor(3), float("nan"))


def regions(shape: tuple[int, ...] = (HEIGHT, WIDTH)) -> np.ndarray:
    return np.zeros(shape, np.int64)


@pytest.mark.parametrize(
    ("pipeline", "arguments", "settings", "message"),
    [
        (
            "masks",
            (np.full((32, 40), 3), photo(), labels()),
            {},
            r"labels \[3\], but the classes are 0..2",
        ),
        (
            "masks",
            (np.full((32, 40), -1), photo(), labels()),
            {},
            r"labels \[-1\], but the classes",
        ),
        ("masks", (labels(), photo(), np.full((32, 40), 7)), {}, r"labels \[7\], but the classes"),
        ("masks", (torch.ones(4, 32, 40), photo(), labels()), {}, r"\(3, H, W\).* got shape \(4"),
        ("masks", (labels(), photo()), {}, "own mask condition .* pass exemplar_condition="),
        ("edges", (NAN_EDGES, photo()), {}, "condition contains NaN"),
        ("edges", (photo(), photo(), NAN_EDGES), {}, "condition contains NaN"),
        ("edges", (photo(), NAN_PHOTO), {}, "exemplar contains NaN"),
        ("edges", (photo(), np.full((32, 40, 3), np.nan)), {}, "exemplar contains NaN"),
        ("edges", (photo(), Image.new("RGB", (1, 1))), {}, "1 x 1 pixels; at least"),
        ("edges", (Image.new("RGB", (1, 1)), photo()), {}, "1 x 1 pixels; at least"),
        ("edges", (photo(), np.zeros((0, 0, 3), np.uint8)), {}, "0 x 0 pixels; at least"),
        ("edges", (np.zeros((0, 0), bool), photo()), {}, "0 x 0 pixels; at least"),
        ("edges", (np.ones((1, 1), bool), photo()), {}, "1 x 1 pixels; at least"),
        ("masks", (np.zeros((0, 0), int), photo(), labels()), {}, "0 x 0 pixels; at least"),
        ("masks", (np.zeros((3, 0, 0)), photo(), labels()), {}, "0 x 0 pixels; at least"),
        ("edges", ([photo()] * 2, [photo()] * 3), {}, "2 conditions and 3 exemplars"),
        ("edges", ([photo()] * 3, [photo()] * 2), {}, "3 conditions and 2 exemplars"),
        ("edges", ([], photo()), {}, "condition must hold at least one item"),
        ("edges", (photo(), []), {}, "exemplar must hold at least one item"),
        ("edges", (photo(), [[]]), {}, "exemplar must hold at least one item"),
        ("edges", (photo(), [[photo()], []]), {}, "exemplar must hold at least one item"),
        (
            "edges",
            (photo(), [photo()] * 3, [photo()] * 2),
            {},
            r"laid out like exemplar, got \[1, 1\] conditions for \[1, 1, 1\]",
        ),
        ("edges", ([photo(), photo(1, 64, 32)], photo()), {}, "must agree in size, got .*32, 40"),
        (
            "edges",
            (photo(), photo()),
            {"height": 30},
            "height must be a multiple of 8 .*, got 30; 32",
        ),
        ("edges", (photo(), photo()), {"width": 0}, "width must be a multiple of 8 .*, got 0; 16"),
        ("edges", (photo(), photo()), {"height": 8}, "from 16 on, got 8; 16"),
        ("edges", (photo(), photo()), {"width": 8}, "from 16 on, got 8; 16"),
        ("edges", (encoded()[0, :, :, :8], photo()), {}, "32 x 8; .* 32 x 16"),
        ("edges", (photo(), tensors()[0, :, :8]), {}, "8 x 40; .* 16 x 40"),
        ("edges", (encoded()[0], photo()), {"height": 64}, "must be those of an encoded condition"),
        ("edges", (torch.zeros(2, 30, 40), photo()), {}, "multiples of 8 .* got 30 x 40"),
        ("edges", (photo(1, 8, 80), photo()), {}, "more than 8 times as long as wide"),
        ("edges", (photo(), photo(1, 8, 80)), {}, "more than 8 times as long as wide"),
        ("edges", (photo(), torch.ones(3, 30, 40)), {}, "multiples of 8 .* got 30 x 40"),
        ("edges", (photo(), torch.ones(4, 32, 40)), {}, r"must be \(3, H, W\), got \(4"),
        ("edges", (photo(), 2 * tensors()[0] - 1), {}, r"values in 0..1.*map -1..1 by"),
        ("edges", (photo(), 255 * tensors()[0]), {}, "must hold values in 0..1"),
        ("edges", (photo(), 255.0 * photo_array()), {}, "must hold values in 0..1"),
        ("edges", (photo(), photo_array()[..., :2]), {}, "must have shape"),
        ("edges", (10 * encoded()[0], photo()), {}, "must hold values in 0..1.*softmax"),
        ("edges", (photo(), photo(), 10 * encoded()[0]), {}, "must hold values in 0..1"),
        ("edges", (photo(), 7), {}, "got int"),
        ("edges", (photo(), None), {}, "got NoneType"),
        ("edges", (photo(), encoded()[0]), {}, r"must be \(3, H, W\), got \(2, 32, 40\)"),
        (
            "edges",
            (photo(), photo(), encoded(height=64)[0]),
            {},
            r"must have its exemplar's size \(32, 40\), got \(64, 40\)",
        ),
        ("edges", (photo(), photo()), {"output_type": "latent"}, '"pil", "np" or "pt", got'),
        ("edges", (photo(), photo()), {"regions": regions()}, "restrict only together"),
        ("edges", (photo(), photo()), {"exemplar_regions": regions()}, "restrict only together"),
        (
            "edges",
            (photo(), photo()),
            {"regions": regions().astype(float), "exemplar_regions": regions()},
            "must hold integers",
        ),
        (
            "edges",
            (photo(), photo()),
            {"regions": regions((1, 32, 40)), "exemplar_regions": regions()},
            r"be \(H, W\), got .*\(1, 32, 40\)",
        ),
        (
            "edges",
            (photo(), photo()),
            {"regions": "regions.png", "exemplar_regions": regions()},
            "must hold integers",
        ),
        (
            "edges",
            (photo(), photo()),
            {"regions": regions((0, 0)), "exemplar_regions": regions()},
            r"be \(H, W\), got .*\(0, 0\)",
        ),
        (
            "edges",
            (photo(), photo()),
            {"regions": [regions()] * 2, "exemplar_regions": regions()},
            "a map for each of the 1 conditions .* got 2",
        ),
        (
            "edges",
            (photo(), [[photo()] * 2]),
            {"regions": regions(), "exemplar_regions": regions()},
            r"laid out like exemplar, \[2\], got 1 and \[1\]",
        ),
    ],
)
def test_input_that_cannot_be_used_is_refused_before_a_network_runs(
    pipeline: str,
    arguments: tuple,
    settings: dict,
    message: str,
    guarded: dict[str, CoCosPipeline],
):
    with pytest.raises(ValueError, match=message):
        guarded[pipeline](*arguments, **settings)


def test_a_generator_for_each_exemplar_needs_one_size_before_a_network_runs():
    pipe = tiny.pipeline(CLASSES, exemplar_noise=0.5)
    pipe.translation.register_forward_pre_hook(lambda *_: pytest.fail("a network ran"))
    pipe.correspondence.register_forward_pre_hook(lambda *_: pytest.fail("a network ran"))
    with pytest.raises(ValueError, match="exemplars of one size"):
        pipe(labels(), [photo(), photo(1, 64, 40)], generator=[torch.Generator()] * 2)
    with pytest.raises(ValueError, match="3 generators for 2 exemplars"):
        pipe(labels(), [photo(), photo(1)], generator=[torch.Generator()] * 3)


def test_an_exemplar_prepared_by_another_model_is_refused(guarded: dict[str, CoCosPipeline]):
    prepared = tiny.pipeline(feature_channels=12).encode_exemplar(photo())
    with pytest.raises(ValueError, match="prepared by another pipeline"):
        guarded["edges"](photo(), prepared)


def test_an_exemplar_prepared_with_other_weights_is_refused(edges: CoCosPipeline):
    trained_on = copy.deepcopy(edges)
    with torch.no_grad():
        trained_on.correspondence.style_projection.weight.mul_(1.1)
    with pytest.raises(ValueError, match="prepared by another pipeline"):
        edges(photo(), trained_on.encode_exemplar(photo()))


def test_a_prepared_exemplar_serves_the_same_weights_in_any_precision(edges: CoCosPipeline):
    folded = copy.deepcopy(edges).fold()
    for dtype in (torch.bfloat16, torch.float8_e4m3fn):
        rounded = copy.deepcopy(edges)
        with torch.no_grad():
            for weight in rounded.correspondence.parameters():
                weight.copy_(weight.to(dtype))
        assert folded(photo(), rounded.encode_exemplar(photo())).images
    assert edges(photo(), folded.encode_exemplar(photo())).images


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


def test_another_condition_may_be_set_and_is_saved(tmp_path: Path):
    pipe = tiny.pipeline()
    pipe.condition = EdgeCondition(reach=5.0)
    pipe.save_pretrained(tmp_path)
    assert "reach" in repr(pipe)
    assert CoCosPipeline.from_pretrained(tmp_path).condition == EdgeCondition(reach=5.0)
    with pytest.raises(ValueError, match="conditions of 2 channels.*has 3"):
        pipe.condition = CLASSES
    with pytest.raises(ValueError, match=r"an object such as EdgeCondition\(\)"):
        pipe.condition = EdgeCondition().to_config()
    assert pipe.condition == EdgeCondition(reach=5.0)


def test_nothing_is_saved_as_a_pickle(edges: CoCosPipeline, tmp_path: Path):
    for save in (edges.save_pretrained, edges.translation.save_pretrained):
        with pytest.raises(ValueError, match="would pickle"):
            save(tmp_path, safe_serialization=False)
    with pytest.raises(ValueError, match="would pickle"):
        edges.save_pretrained(tmp_path, False)
    assert not list(tmp_path.iterdir())


def test_a_prepared_exemplar_brings_its_own_condition(edges: CoCosPipeline):
    prepared = edges.encode_exemplar(photo())
    with pytest.raises(ValueError, match="already contains its condition"):
        edges(photo(), prepared, photo())


@pytest.mark.parametrize("place", ["condition", "exemplar", "exemplar_condition"])
def test_a_truncated_png_is_refused_by_name(
    place: str, guarded: dict[str, CoCosPipeline], tmp_path: Path
):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "cut.png")
    content = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    given = dict.fromkeys(("condition", "exemplar", "exemplar_condition"), photo())
    with pytest.raises(ValueError, match=r"cut\.png' is damaged or truncated"):
        guarded["edges"](**given | {place: tmp_path / "cut.png"})


@pytest.mark.parametrize("limit", [1000, 400])  # twice the limit: Pillow warns below, fails above
@pytest.mark.parametrize("place", ["condition", "exemplar"])
def test_a_decompression_bomb_is_refused(
    place: str,
    limit: int,
    guarded: dict[str, CoCosPipeline],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    photo().save(tmp_path / "bomb.png")
    given = {"condition": photo(), "exemplar": photo()}
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(ValueError, match=r"bomb\.png' has more pixels than Pillow's limit"):
        guarded["edges"](**given | {place: tmp_path / "bomb.png"})


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"no picture at all"])
def test_a_file_that_is_no_picture_is_refused(
    content: bytes, guarded: dict[str, CoCosPipeline], tmp_path: Path
):
    (tmp_path / "odd.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"odd\.png' is (not an image|damaged)"):
        guarded["edges"](photo(), tmp_path / "odd.png")


def test_a_missing_file_is_named(guarded: dict[str, CoCosPipeline], tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png"):
        guarded["edges"](photo(), tmp_path / "nowhere.png")


REFUSED: list[tuple[Callable[[dict], None], str]] = [
    (lambda index: index["condition"].update(type="sketch"), "must be one of .* got 'sketch'"),
    (lambda index: index["condition"].update(blur=2), r"Unknown setting \['blur'\]"),
    (lambda index: index.pop("condition"), "needs to know its condition"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_a_folder_with_a_condition_that_cannot_be_rebuilt_is_refused(
    change: Callable[[dict], None], message: str, edges: CoCosPipeline, tmp_path: Path
):
    edges.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    change(index)
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=message):
        CoCosPipeline.from_pretrained(tmp_path)


def test_a_folder_with_a_weight_missing_is_refused(edges: CoCosPipeline, tmp_path: Path):
    edges.save_pretrained(tmp_path)
    other = tiny.translation(channels=(12, 10, 8, 8))
    other.save_pretrained(tmp_path / "other")
    weights = "diffusion_pytorch_model.safetensors"
    (tmp_path / "other" / weights).replace(tmp_path / "translation" / weights)
    with pytest.raises(ValueError, match="do not fit the TranslationNetwork .* another shape"):
        CoCosPipeline.from_pretrained(tmp_path)
