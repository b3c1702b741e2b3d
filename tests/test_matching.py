"""What `Matching` does at identity, flat maps, half precision, in little memory; its refusals."""

import io
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cocosnet_hf import Matching
from tests.support.matching_oracle import (
    SMALL_TILES,
    TINY_TILES,
    assert_gradients_agree,
    oracle,
    oracle_warp,
)
from tests.support.operations import Operations
from tests.support.tensors import maps


def test_one_exemplar_serves_the_whole_batch():
    content, style, values = maps(14, (3, 6, 5, 6), (1, 6, 4, 7), (1, 3, 4, 7))
    shared = Matching(content, style)
    repeated = Matching(content, style.expand(3, -1, -1, -1))
    assert torch.equal(shared.warp(values), repeated.warp(values.expand(3, -1, -1, -1)))
    assert torch.equal(shared.warp(values.expand(3, -1, -1, -1)), shared.warp(values))
    assert shared.warp_back(content).shape == (3, 6, 4, 7)


def test_warping_a_finer_map_sees_the_mean_of_each_block():
    content, style, photo = maps(15, (2, 6, 5, 6), (2, 6, 4, 7), (2, 3, 16, 28))
    matching = Matching(content, style)
    torch.testing.assert_close(matching.warp(photo), matching.warp(F.avg_pool2d(photo, 4)))


def test_patch_warp_and_its_gradient_lay_averaged_blocks_side_by_side():
    content, style, photo = maps(16, (2, 6, 5, 6), (2, 6, 4, 7), (2, 3, 16, 28))

    def ours(content: Tensor, style: Tensor, photo: Tensor) -> Tensor:
        return Matching(content, style, tile_memory=SMALL_TILES).warp(photo, patches=True)

    def plain(content: Tensor, style: Tensor, photo: Tensor) -> Tensor:
        warped = []
        for c, s, p in zip(content, style, photo, strict=True):
            blocks = F.unfold(p[None], 4, stride=4)[0].t()
            seen = (oracle(c, [s]).softmax(1) @ blocks).t()
            warped.append(F.fold(seen[None], (20, 24), 4, stride=4)[0])
        return torch.stack(warped)

    assert_gradients_agree([content, style, photo], ours, plain)


def test_identity_matching_returns_the_exemplar():
    features, photo = maps(17, (1, 16, 6, 8), (1, 3, 24, 32))
    matching = Matching(features, features, stride=4)
    torch.testing.assert_close(matching.warp(photo, patches=True), photo, atol=1e-5, rtol=0)
    assert matching.confidence().min() > 0.9999
    x = torch.arange(8) * 4 + 1.5
    y = torch.arange(6) * 4 + 1.5
    expected = torch.stack([x.expand(6, 8), y[:, None].expand(6, 8)], dim=-1)
    assert torch.equal(matching.flow()[0], expected)
    assert torch.equal(matching.exemplar_index(), torch.zeros(1, 6, 8, dtype=torch.long))


def test_shifting_the_exemplar_shifts_the_flow():
    (scene,) = maps(18, (1, 16, 8, 10))
    content, style = scene[:, :, 1:7, 1:8], scene[:, :, 0:7, 3:10]
    flow = Matching(content, style, stride=4).flow()
    # Content (x, y) shows scene (x + 1, y + 1), where the exemplar shows its (x - 2, y + 1).
    inner = flow[0, 1:5, 3:6]
    x, y = torch.arange(3, 6), torch.arange(1, 5)
    assert torch.equal(inner[..., 0], ((x - 2) * 4 + 1.5).expand(4, 3))
    assert torch.equal(inner[..., 1], ((y + 1) * 4 + 1.5)[:, None].expand(4, 3))


def test_the_best_exemplar_is_named_whichever_comes_first():
    features, other = maps(19, (1, 16, 4, 5), (16, 6, 3))
    for styles, index in (([features[0], other], 0), ([other, features[0]], 1)):
        matching = Matching(features, [styles])
        assert (matching.exemplar_index() == index).all()
        rows = matching.row((0.0, 0.0))
        assert rows[index][0, 0] > 0.9999
        assert rows[1 - index].max() < 1e-4


def test_of_equal_matches_the_first_is_named():
    content, exemplar = maps(30, (1, 16, 4, 5), (16, 4, 5))
    assert not Matching(content, [[exemplar, exemplar]]).exemplar_index().any()


def test_a_row_sums_to_one_and_a_lower_temperature_sharpens_it():
    content, style = maps(20, (1, 6, 5, 6), (1, 6, 4, 7))
    warm, cold = (Matching(content, style, temperature=temperature) for temperature in (1.0, 0.001))
    for matching in (warm, cold):
        row = matching.row((23.9, 19.9))
        assert row.shape == (4, 7)
        assert row.sum().item() == pytest.approx(1, abs=1e-5)
    assert (cold.confidence() > warm.confidence()).all()


@pytest.mark.parametrize("level", [0.0, 1.0, -3.0, 1e4])
def test_flat_maps_attend_to_everything_alike(level: float):
    (values,) = maps(21, (1, 3, 5, 6))
    # patch_size 1: with 3 the zeros outside would give the border patches texture.
    flat = torch.full((1, 6, 5, 6), level, requires_grad=True)
    warped = Matching(flat, flat, patch_size=1).warp(values)
    expected = values.mean((2, 3), keepdim=True).expand_as(warped)
    torch.testing.assert_close(warped, expected, atol=1e-6, rtol=1e-5)
    (gradient,) = torch.autograd.grad(warped.square().sum(), flat)
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_a_flat_patch_among_others_attends_uniformly():
    content, style, values = maps(22, (1, 6, 7, 7), (1, 6, 5, 5), (1, 3, 5, 5))
    content[:, :, :5, :5] = 2.0  # positions 1..3 then have flat patches
    warped = Matching(content, style).warp(values)
    uniform = values.mean((2, 3))[0]
    torch.testing.assert_close(warped[0, :, 2, 2], uniform, atol=1e-6, rtol=1e-5)
    assert (warped[0, :, 5, 5] - uniform).abs().max() > 0.1


def test_adding_a_constant_to_one_map_changes_nothing_but_its_border():
    content, style, values = maps(23, (1, 6, 7, 8), (1, 6, 7, 8), (1, 3, 7, 8))
    # A power of two on a grid of 1/64 is added without rounding.
    content = (content * 64).round() / 64
    plain = Matching(content, style).warp(values)
    shifted = Matching(content + 1024, style).warp(values)
    inner = (..., slice(1, -1), slice(1, -1))
    torch.testing.assert_close(shifted[inner], plain[inner], atol=1e-4, rtol=0)
    pointwise = [
        Matching(content + offset, style + offset, patch_size=1).warp(values)
        for offset in (0.0, 0.5)
    ]
    torch.testing.assert_close(pointwise[1], pointwise[0], atol=1e-4, rtol=0)


def test_a_constant_of_a_thousand_keeps_the_accuracy_of_the_oracle():
    content, style, values = maps(24, (1, 6, 7, 8), (1, 6, 5, 9), (1, 3, 5, 9))
    content, style = content + 1e3, style - 1e3
    warped = Matching(content, style).warp(values)
    logits = oracle(content[0].double(), [style[0].double()])
    expected = oracle_warp(logits, [values[0].double()], (7, 8))
    # The border patches are 1e3 long and lose 1e3 * 2^-24 each, times 1 / temperature.
    torch.testing.assert_close(warped[0].double(), expected, atol=1e-2, rtol=0)


def test_autocast_around_it_changes_nothing():
    content, style, values = maps(25, (2, 6, 5, 6), (2, 6, 4, 7), (2, 3, 4, 7))

    def run() -> list[Tensor]:
        inputs = [t.clone().requires_grad_() for t in (content, style, values)]
        matching = Matching(*inputs[:2])
        warped = matching.warp(inputs[2])
        loss = matching.warp_back(warped).square().sum()
        return [
            warped,
            matching.flow(),
            matching.confidence(),
            matching.entropy(),
            matching.row((1.0, 1.0)),
            *torch.autograd.grad(loss, inputs),
        ]

    plain = run()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = run()
    for found, expected in zip(under_autocast, plain, strict=True):
        assert found.dtype == torch.float32
        assert torch.equal(found, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_maps_are_matched_in_float32(dtype: torch.dtype):
    content, style, values = (
        t.to(dtype) for t in maps(26, (1, 6, 5, 6), (1, 6, 4, 7), (1, 3, 4, 7))
    )
    inputs = [t.clone().requires_grad_() for t in (content, style, values)]
    warped = Matching(*inputs[:2]).warp(inputs[2])
    assert warped.dtype == torch.float32
    assert torch.equal(warped, Matching(content.float(), style.float()).warp(values.float()))
    gradients = torch.autograd.grad(warped.sum(), inputs)
    assert all(gradient.dtype == dtype for gradient in gradients)


def test_a_matching_of_maps_that_need_no_gradient_makes_no_graph():
    content, style, values = maps(27, (1, 6, 5, 6), (1, 6, 4, 7), (1, 3, 4, 7))
    assert not Matching(content, style).warp(values).requires_grad
    with torch.no_grad():
        grown = [t.requires_grad_() for t in (content, style)]
        assert not Matching(*grown).warp(values).requires_grad


def largest_bytes(side: int, tile_memory: int) -> int:
    content, style, values = (
        t.requires_grad_()
        for t in maps(28, (1, 4, side, side), (1, 4, side, side), (1, 3, side, side))
    )
    with Operations() as seen:
        matching = Matching(content, style, tile_memory=tile_memory)
        warped = matching.warp(values)
        matching.warp_back(warped).sum().backward()
        matching.flow()
    return seen.largest_bytes


@pytest.mark.slow
def test_the_largest_tensor_grows_with_the_positions_and_not_with_their_square():
    small, large = (largest_bytes(side, TINY_TILES) for side in (8, 24))
    assert large < 9 * small
    assert large < 24**4 * 4 / 20


def test_no_tensor_is_larger_than_the_tile_memory():
    tile_memory = 2**20
    assert 2**17 < largest_bytes(32, tile_memory) <= tile_memory


VALID = {"content": (2, 6, 5, 6), "style": (2, 6, 4, 7)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patch_size": 2}, "patch_size must be odd and positive, got 2"),
        ({"patch_size": -1}, "patch_size must be odd and positive, got -1"),
        ({"temperature": 0.0}, "temperature must be positive, got 0"),
        ({"temperature": float("nan")}, "temperature must be positive, got nan"),
        ({"content": torch.ones(6, 5, 6)}, r"content must be \(B, C, h, w\), got \(6, 5, 6\)"),
        ({"style": torch.ones(6, 4, 7)}, r"style must have 4 dimensions, got .*\(6, 4, 7\)"),
        ({"style": torch.ones(2, 5, 4, 7)}, r"style must have the shape \(6, 4, 7\), got \(5"),
        ({"style": torch.ones(3, 6, 4, 7)}, "style must serve the 2 items of content, got 3"),
        ({"style": [[torch.ones(6, 4, 7)]]}, "style must serve the 2 items of content, got 1"),
        ({"style": [[torch.ones(6, 4, 7)], []]}, "style must name at least one exemplar"),
        ({"content": torch.full((2, 6, 5, 6), float("nan"))}, "content contains NaN"),
        ({"style": torch.full((2, 6, 5, 6), float("inf"))}, "style contains NaN or infinite"),
        ({"content_regions": torch.zeros(2, 5, 6).long()}, "restrict only together; pass both"),
        ({"style_regions": torch.zeros(2, 4, 7).long()}, "restrict only together; pass both"),
        (
            {
                "content_regions": torch.zeros(2, 6, 5).long(),
                "style_regions": torch.zeros(2, 4, 7).long(),
            },
            r"content_regions must have the shape \(2, 5, 6\), got \(2, 6, 5\)",
        ),
        (
            {
                "content_regions": torch.zeros(2, 5, 6).long(),
                "style_regions": torch.zeros(2, 7, 4).long(),
            },
            r"style_regions must have the shape \(4, 7\), got \(7, 4\)",
        ),
    ],
)
def test_maps_that_cannot_be_matched_are_refused(arguments: dict, message: str):
    valid = {name: torch.randn(shape) for name, shape in VALID.items()}
    with pytest.raises(ValueError, match=message):
        Matching(**valid | arguments)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.ones(2, 3, 7, 4), r"values must have 4 x 7 positions or a multiple.*\(3, 7, 4\)"),
        (torch.ones(2, 3, 8, 7), r"values must have 4 x 7 positions or a multiple.*\(3, 8, 7\)"),
        (torch.ones(2, 3, 2, 3), r"values must have 4 x 7 positions or a multiple.*\(3, 2, 3\)"),
        (torch.ones(3, 3, 4, 7), "values must serve the 2 items of content, got 3"),
        ([[torch.ones(3, 4, 7)]] * 2, "values must be a tensor or lists as the style was"),
    ],
)
def test_values_that_do_not_lie_on_the_exemplar_are_refused(values: object, message: str):
    matching = Matching(*(torch.randn(shape) for shape in VALID.values()))
    with pytest.raises(ValueError, match=message):
        matching.warp(values)


def test_values_for_lists_of_exemplars_must_be_laid_out_like_them():
    first, second = maps(29, (6, 4, 7), (6, 6, 3))
    matching = Matching(torch.randn(1, 6, 5, 6), [[first, second]])
    with pytest.raises(ValueError, match="a tensor or lists as the style was"):
        matching.warp(torch.ones(1, 3, 4, 7))
    with pytest.raises(ValueError, match="one tensor for each of the 2 exemplars, got 1"):
        matching.warp([[torch.ones(3, 4, 7)]])
    with pytest.raises(ValueError, match="equally finer than their style"):
        matching.warp([[torch.ones(3, 4, 7), torch.ones(3, 12, 6)]])


def test_values_seen_back_must_lie_on_the_condition():
    matching = Matching(*(torch.randn(shape) for shape in VALID.values()))
    with pytest.raises(ValueError, match=r"values must have the shape \(2, 3, 5, 6\)"):
        matching.warp_back(torch.ones(2, 3, 4, 7))


def test_what_is_no_point_item_or_map_is_refused():
    matching = Matching(*(torch.randn(shape) for shape in VALID.values()))
    for point in ("ab", 3, (1, 2, 3)):
        with pytest.raises(ValueError, match=r"point must be \(x, y\)"):
            matching.row(point)
    with pytest.raises(ValueError, match="item must be below 2, the batch's size, got 5"):
        matching.row((0, 0), 5)
    for values in ([1, 2], torch.ones(3, 5, 6)):
        with pytest.raises(
            ValueError, match=r"values must have the shape \(2, .*, got (list|\(3, 5, 6)"
        ):
            matching.warp_back(values)


@pytest.mark.parametrize("point", [(-1.0, 0.0), (0.0, -0.5), (24.0, 0.0), (0.0, 20.0)])
def test_a_row_outside_the_condition_is_refused(point: tuple[float, float]):
    matching = Matching(*(torch.randn(shape) for shape in VALID.values()), stride=4)
    with pytest.raises(ValueError, match="0 <= x < 24 and 0 <= y < 20"):
        matching.row(point)


def stored_bytes(matching: Matching) -> int:
    """What two items share is stored once."""
    file = io.BytesIO()
    torch.save(matching, file)
    return file.tell()


def test_a_matching_moved_to_another_device_is_the_same_and_shares_what_it_shared(
    monkeypatch: pytest.MonkeyPatch,
):
    content, style = maps(7, (2, 4, 5, 6), (1, 4, 5, 6))
    regions = torch.zeros(2, 5, 6, dtype=torch.long)
    matching = Matching(
        content.requires_grad_(), style, content_regions=regions, style_regions=regions[:1]
    )
    confidence = matching.confidence()  # which is kept
    values = style[:, :3]
    moved = matching.to("cpu")
    assert not moved.warp(values).requires_grad
    torch.testing.assert_close(moved.warp(values), matching.warp(values).detach())
    torch.testing.assert_close(moved.confidence(), confidence)
    torch.testing.assert_close(moved.flow(), matching.flow())
    assert stored_bytes(moved) <= stored_bytes(matching)
    if not torch.cuda.is_available():
        # A device that autocast does not know.
        monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
        assert matching.to("meta").warp(values.to("meta")).is_meta
