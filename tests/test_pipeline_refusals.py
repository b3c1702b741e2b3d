"""Input that cannot be used is refused before a network runs."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cocosnet_hf import CoCosPipeline, EdgeCondition
from tests.support import tiny
from tests.support.painting import CLASSES, encoded, labels, photo, photo_array, regions, tensors


def test_a_pipeline_needs_parts_that_fit_each_other():
    with pytest.raises(ValueError, match="needs to know its condition"):
        CoCosPipeline(tiny.correspondence(), tiny.translation())
    with pytest.raises(ValueError, match="needs its translation network, got None"):
        CoCosPipeline(tiny.correspondence(), None, EdgeCondition())
    with pytest.raises(ValueError, match="correspondence network reads conditions of 2 channels"):
        CoCosPipeline(tiny.correspondence(2), tiny.translation(3), CLASSES)
    with pytest.raises(ValueError, match="the translation network reads conditions of 2 channels"):
        CoCosPipeline(tiny.correspondence(3), tiny.translation(2), CLASSES)


def test_networks_that_do_not_speak_of_the_same_warp_make_no_pipeline():
    plain, blending, edges = tiny.pipeline(), tiny.blending_pipeline(), EdgeCondition()
    with pytest.raises(ValueError, match=r"reads warps of 8 channels.*makes 3.*needs 'coherent'"):
        CoCosPipeline(plain.correspondence, blending.translation, edges)
    with pytest.raises(ValueError, match=r"reads warps of 3 channels.*'coherent' makes 8"):
        CoCosPipeline(blending.correspondence, plain.translation, edges)


@pytest.mark.parametrize("scale", [0, 3, 8, 1.5, None])
def test_other_matching_scales_are_refused(scale: Any):
    pipe = tiny.blending_pipeline()
    with pytest.raises(ValueError, match="matching_scale must be 1, 2 or 4"):
        CoCosPipeline(
            pipe.correspondence, pipe.translation, EdgeCondition(), 64, matching_scale=scale
        )


def test_only_coherent_pipelines_match_at_a_smaller_size():
    plain = tiny.pipeline()
    with pytest.raises(ValueError, match="1 unless the correspondence network warps coherently"):
        CoCosPipeline(
            plain.correspondence, plain.translation, EdgeCondition(), 64, matching_scale=2
        )


NAN_PHOTO = tensors()[0].index_fill(2, torch.tensor(3), float("nan"))
NAN_EDGES = encoded()[0].index_fill(2, torch.tensor(3), float("nan"))


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
        ("edges", (photo(), tensors()[0].to("meta")), {}, "exemplar must be a dense tensor"),
        ("edges", (photo(), tensors()[0].to_sparse()), {}, r"exemplar .*\.to_dense\(\)"),
        ("edges", (encoded()[0].to(torch.float8_e4m3fn), photo()), {}, "condition must be a dense"),
        ("edges", (photo(), tensors()[0].to(torch.complex64)), {}, "exemplar must be a dense"),
        ("edges", (photo(), photo_array().astype(complex)), {}, "real numbers, got .* complex128"),
        ("masks", (np.ones((3, 32, 40), "U1"), photo(), labels()), {}, "real numbers, got .*<U1"),
        (
            "masks",
            (np.ma.masked_equal(np.zeros((32, 40), int), 0), photo(), labels()),
            {},
            r"mask has masked entries.*filled\(0\)",
        ),
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


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # before the error
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


@pytest.mark.parametrize(
    "sizes",
    [{"height": 10**9}, {"width": 1 << 15}, {"height": 16384, "width": 16384}, {"height": 16384}],
    ids=str,
)
def test_sizes_beyond_any_picture_are_refused_before_any_work(
    sizes: dict[str, int], guarded: dict[str, CoCosPipeline]
):
    with pytest.raises(ValueError, match="at most 16384 pixels"):
        guarded["edges"](photo(1), photo(2), **sizes)
    with pytest.raises(ValueError, match="at most 16384 pixels"):
        guarded["edges"].encode_exemplar(photo(2), image_size=max(sizes.values()))


def test_damaged_weights_that_paint_nan_are_an_error(edges: CoCosPipeline):
    broken = copy.deepcopy(edges)
    with torch.no_grad():
        broken.translation.output_conv.bias[0] = torch.nan
    for output_type in ("pil", "np", "pt"):
        with pytest.raises(ValueError, match="painted NaN or infinite values: their weights are"):
            broken(photo(1), photo(2), output_type=output_type)
