"""A pipeline takes every kind of input, at every size."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cocosnet_hf import CoCosPipeline, EdgeCondition, PreparedExemplar
from cocosnet_hf.conditions import open_photo
from cocosnet_hf.orientation import turned
from tests.support import tiny
from tests.support.metadata import exif_block, turned_by_tag
from tests.support.painting import (
    CLASSES,
    HEIGHT,
    WIDTH,
    assert_same_images,
    encoded,
    labels,
    photo,
    photo_array,
    quiet,
    run,
    tensors,
)

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


def test_an_exemplar_condition_of_another_shape_than_its_exemplar_is_refused(
    masks: CoCosPipeline,
):
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
    message = r"exemplar_condition has 32 x 40 pixels .* its photo 40 x 32.*neither is turned"
    with pytest.raises(ValueError, match=message):
        masks(labels(1), photo(2), labels(2).T)


@pytest.mark.parametrize("tag", [3, 6, 8])
def test_a_mask_of_the_stored_pixels_is_turned_as_its_exemplar(
    masks: CoCosPipeline, tmp_path: Path, tag: int
):
    stored = photo(2)
    block = exif_block([turned_by_tag(tag)])
    Image.fromarray(np.asarray(stored)).save(tmp_path / "turned.png", exif=block)
    exemplar = open_photo(tmp_path / "turned.png")
    mask = Image.fromarray(labels(2).astype(np.uint8))
    upright = turned(mask, tag if tag >= 5 else 1)  # its shape tells nothing of half a turn
    expected = masks(labels(1), np.asarray(exemplar), upright).images[0]
    with pytest.warns(UserWarning, match="turned by its orientation tag"):
        found = masks(labels(1), tmp_path / "turned.png", mask).images[0]
    assert np.array_equal(found, expected)


def test_a_prepared_exemplar_is_compared_by_identity(edges: CoCosPipeline):
    one, other = edges.encode_exemplar(photo(2)), edges.encode_exemplar(photo(2))
    assert one in [other, one]
    assert one != other
    assert one.to(dtype=torch.float16).styles[0][0].dtype == torch.float16


# Bad input ----------------------------------------------------------------------------------


def test_a_prepared_exemplar_brings_its_own_condition(edges: CoCosPipeline):
    prepared = edges.encode_exemplar(photo())
    with pytest.raises(ValueError, match="already contains its condition"):
        edges(photo(), prepared, photo())
