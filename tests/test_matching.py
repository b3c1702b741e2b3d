"""`Matching` is the plain N x N softmax over centred unit patches, exactly, in little memory."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from operations import Operations
from torch import Tensor

from cocosnet_hf import Matching

FORWARD_TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-4
TINY_TILES, SMALL_TILES = 1, 20_000  # bytes: one row against one row; a few rows
examples = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def unit_patches(features: Tensor, size: int) -> Tensor:
    """(C, h, w) to centred patches of unit length, zeros outside, (h w, C size^2)."""
    patches = F.unfold(features[None], size, padding=size // 2)[0].t()
    return F.normalize(patches - patches.mean(1, keepdim=True), dim=1)


def oracle(
    content: Tensor,
    styles: list[Tensor],
    patch_size: int = 3,
    temperature: float = 0.01,
    regions: tuple[Tensor, list[Tensor]] | None = None,
) -> Tensor:
    """Logits (h w, all positions of all exemplars), from (C, h, w) and a list of (C, h', w')."""
    rows = unit_patches(content, patch_size)
    columns = torch.cat([unit_patches(style, patch_size) for style in styles])
    logits = rows @ columns.t() / temperature
    if regions is not None:
        wanted = regions[0].flatten()[:, None]
        offered = torch.cat([region.flatten() for region in regions[1]])[None]
        allowed = wanted == offered
        free = ~allowed.any(1, keepdim=True) | (wanted == -1)
        logits = logits.masked_fill(~(allowed | free), float("-inf"))
    return logits


def rows_of(values: list[Tensor]) -> Tensor:
    """Values of several exemplars, (V, h', w') each, as one longer list of positions (N', V)."""
    return torch.cat([value.flatten(1).t() for value in values])


def oracle_warp(logits: Tensor, values: list[Tensor], size: torch.Size) -> Tensor:
    return (logits.softmax(1) @ rows_of(values)).t().unflatten(1, size)


def maps(seed: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def gradients_of(loss: Tensor, *inputs: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, inputs))


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Of gradients; those of a softmax that has all but settled are compared in absolute terms."""
    return ((found.double() - expected).abs().max() / expected.abs().max().clamp_min(0.1)).item()


def assert_gradients_agree(
    inputs: list[Tensor],
    compute: Callable[..., Tensor],
    compute_oracle: Callable[..., Tensor],
) -> None:
    """Both sides get the same inputs, in float32 and float64, and the same loss."""
    ours = [tensor.clone().requires_grad_() for tensor in inputs]
    doubles = [tensor.double().requires_grad_() for tensor in inputs]
    out, expected = compute(*ours), compute_oracle(*doubles)
    assert (out - expected).abs().max() < FORWARD_TOLERANCE
    (weights,) = maps(99, tuple(out.shape))
    found = gradients_of((out * weights).sum(), *ours)
    wanted = gradients_of((expected * weights).sum(), *doubles)
    for ours_gradient, oracle_gradient in zip(found, wanted, strict=True):
        assert relative_error(ours_gradient, oracle_gradient) < GRADIENT_TOLERANCE


sides = st.integers(1, 7)


@examples
@given(
    batch=st.integers(1, 4),
    channels=st.integers(2, 6),
    size=st.tuples(sides, sides),
    exemplar_size=st.tuples(sides, sides),
    patch_size=st.sampled_from([1, 3, 5]),
    tile_memory=st.sampled_from([TINY_TILES, 3_000, SMALL_TILES, 2**25]),
    seed=st.integers(0, 10_000),
)
def test_warp_and_its_gradients_equal_the_plain_softmax(
    batch: int,
    channels: int,
    size: tuple[int, int],
    exemplar_size: tuple[int, int],
    patch_size: int,
    tile_memory: int,
    seed: int,
):
    channels = channels * 9 // patch_size  # patches of few numbers may happen to be all but flat
    content, style, values = maps(
        seed,
        (batch, channels, *size),
        (batch, channels, *exemplar_size),
        (batch, 3, *exemplar_size),
    )

    def ours(content: Tensor, style: Tensor, values: Tensor) -> Tensor:
        return Matching(content, style, patch_size=patch_size, tile_memory=tile_memory).warp(values)

    def plain(content: Tensor, style: Tensor, values: Tensor) -> Tensor:
        return torch.stack(
            [
                oracle_warp(oracle(c, [s], patch_size), [v], size)
                for c, s, v in zip(content, style, values, strict=True)
            ]
        )

    assert_gradients_agree([content, style, values], ours, plain)


@examples
@given(
    batch=st.integers(1, 4),
    size=st.tuples(sides, sides),
    exemplar_size=st.tuples(sides, sides),
    patch_size=st.sampled_from([1, 3]),
    tile_memory=st.sampled_from([TINY_TILES, SMALL_TILES, 2**25]),
    seed=st.integers(0, 10_000),
)
def test_warp_back_and_its_gradients_equal_the_softmax_over_the_condition(
    batch: int,
    size: tuple[int, int],
    exemplar_size: tuple[int, int],
    patch_size: int,
    tile_memory: int,
    seed: int,
):
    channels = 36 // patch_size
    content, style, values = maps(
        seed, (batch, channels, *size), (batch, channels, *exemplar_size), (batch, 2, *size)
    )

    def ours(content: Tensor, style: Tensor, values: Tensor) -> Tensor:
        matching = Matching(content, style, patch_size=patch_size, tile_memory=tile_memory)
        return matching.warp_back(values)

    def plain(content: Tensor, style: Tensor, values: Tensor) -> Tensor:
        return torch.stack(
            [
                oracle_warp(oracle(c, [s], patch_size).t(), [v], exemplar_size)
                for c, s, v in zip(content, style, values, strict=True)
            ]
        )

    assert_gradients_agree([content, style, values], ours, plain)


@pytest.mark.parametrize("tile_memory", [TINY_TILES, SMALL_TILES, 2**25])
def test_the_cycle_and_its_gradient_equal_the_plain_one(tile_memory: int):
    content, style, photo = maps(0, (2, 6, 5, 7), (2, 6, 6, 4), (2, 3, 6, 4))

    def ours(content: Tensor, style: Tensor, photo: Tensor) -> Tensor:
        matching = Matching(content, style, tile_memory=tile_memory)
        return matching.warp_back(matching.warp(photo))

    def plain(content: Tensor, style: Tensor, photo: Tensor) -> Tensor:
        cycles = []
        for c, s, p in zip(content, style, photo, strict=True):
            logits = oracle(c, [s])
            warped = oracle_warp(logits, [p], c.shape[-2:])
            cycles.append(oracle_warp(logits.t(), [warped], s.shape[-2:]))
        return torch.stack(cycles)

    assert_gradients_agree([content, style, photo], ours, plain)


@pytest.mark.parametrize("tile_memory", [TINY_TILES, SMALL_TILES, 2**25])
def test_several_exemplars_are_one_longer_list_of_positions(tile_memory: int):
    content, first, second, third = maps(1, (2, 6, 5, 6), (6, 4, 7), (6, 6, 3), (6, 5, 5))
    values = maps(2, (3, 4, 7), (3, 6, 3), (3, 5, 5))

    def ours(content: Tensor, first: Tensor, second: Tensor, third: Tensor, *values: Tensor):
        matching = Matching(content, [[first, second], [third]], tile_memory=tile_memory)
        return matching.warp([values[:2], values[2:]])

    def plain(content: Tensor, first: Tensor, second: Tensor, third: Tensor, *values: Tensor):
        size = content.shape[-2:]
        return torch.stack(
            [
                oracle_warp(oracle(content[0], [first, second]), list(values[:2]), size),
                oracle_warp(oracle(content[1], [third]), list(values[2:]), size),
            ]
        )

    assert_gradients_agree([content, first, second, third, *values], ours, plain)


def test_several_exemplars_are_seen_back_each_at_its_own_size():
    content, first, second, values = maps(3, (1, 6, 5, 6), (6, 4, 7), (6, 6, 3), (1, 2, 5, 6))
    found = Matching(content, [[first, second]]).warp_back(values)
    for style, back in zip([first, second], found[0], strict=True):
        logits = oracle(content[0].double(), [style.double()]).t()
        expected = oracle_warp(logits, [values[0].double()], style.shape[-2:])
        torch.testing.assert_close(back.double(), expected, atol=FORWARD_TOLERANCE, rtol=0)


def test_best_match_confidence_and_row_agree_with_the_plain_softmax():
    content, first, second = maps(4, (2, 6, 5, 6), (6, 4, 7), (6, 6, 3))
    matching = Matching(content, [[first, second], [second]], stride=4, tile_memory=SMALL_TILES)
    for item, styles in enumerate([[first, second], [second]]):
        logits = oracle(content[item].double(), [style.double() for style in styles])
        share, best = logits.softmax(1).max(1)
        torch.testing.assert_close(
            matching.confidence()[item].flatten().double(), share, atol=1e-5, rtol=0
        )
        sizes = torch.tensor([style[0].numel() for style in styles])
        starts = sizes.cumsum(0) - sizes
        exemplar = torch.searchsorted(starts, best, right=True) - 1
        assert torch.equal(matching.exemplar_index()[item].flatten(), exemplar)
        widths = torch.tensor([style.shape[2] for style in styles])[exemplar]
        position = best - starts[exemplar]
        x, y = position % widths, position // widths
        expected = torch.stack([x, y], 1) * 4 + 1.5
        assert torch.equal(matching.flow()[item].flatten(0, 1), expected)
        rows = matching.row((2 * 4 + 3, 3 * 4), item=item)
        expected_row = logits.softmax(1)[3 * 6 + 2]
        torch.testing.assert_close(
            torch.cat([row.flatten() for row in rows]).double(), expected_row, atol=1e-5, rtol=0
        )
        assert [row.shape for row in rows] == [style.shape[1:] for style in styles]


def region_maps(seed: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(-1, 4, shape, generator=generator) for shape in shapes]


@pytest.mark.parametrize("tile_memory", [TINY_TILES, SMALL_TILES, 2**25])
def test_regions_restrict_where_a_position_looks_and_missing_ones_do_not(tile_memory: int):
    content, first, second, third = maps(5, (2, 6, 5, 6), (6, 4, 7), (6, 6, 3), (6, 5, 5))
    values = maps(6, (3, 4, 7), (3, 6, 3), (3, 5, 5))
    own, *other = region_maps(7, (2, 5, 6), (4, 7), (6, 3), (5, 5))
    other = [region.clamp(max=2) for region in other]  # region 3 is nowhere in any exemplar

    def ours(content: Tensor, first: Tensor, second: Tensor, third: Tensor, *values: Tensor):
        matching = Matching(
            content,
            [[first, second], [third]],
            content_regions=own,
            style_regions=[other[:2], other[2:]],
            tile_memory=tile_memory,
        )
        return matching.warp([values[:2], values[2:]])

    def plain(content: Tensor, first: Tensor, second: Tensor, third: Tensor, *values: Tensor):
        size = content.shape[-2:]
        return torch.stack(
            [
                oracle_warp(
                    oracle(content[0], [first, second], regions=(own[0], other[:2])),
                    list(values[:2]),
                    size,
                ),
                oracle_warp(
                    oracle(content[1], [third], regions=(own[1], other[2:])),
                    list(values[2:]),
                    size,
                ),
            ]
        )

    assert_gradients_agree([content, first, second, third, *values], ours, plain)


def test_regions_restrict_the_best_match_and_the_row_too():
    content, style = maps(8, (1, 6, 5, 6), (1, 6, 4, 7))
    own, other = region_maps(9, (1, 5, 6), (1, 4, 7))
    matching = Matching(content, style, content_regions=own, style_regions=other, stride=1)
    shares = oracle(content[0].double(), [style[0].double()], regions=(own[0], [other[0]])).softmax(
        1
    )
    x, y = matching.flow()[0].long().unbind(-1)
    assert torch.equal((y * 7 + x).flatten(), shares.argmax(1))
    torch.testing.assert_close(
        matching.confidence()[0].flatten().double(), shares.amax(1), atol=1e-5, rtol=0
    )
    row = matching.row((4, 2))
    torch.testing.assert_close(row.flatten().double(), shares[2 * 6 + 4], atol=1e-5, rtol=0)


@pytest.mark.parametrize("tile_memory", [TINY_TILES, 3_000, 2**25])
@pytest.mark.parametrize("temperature", [1e-3, 0.01, 0.1, 10.0])
def test_entropy_is_that_of_the_softmax_rows(temperature: float, tile_memory: int):
    content, first, second, third = maps(30, (2, 6, 5, 6), (6, 4, 7), (6, 6, 3), (6, 5, 5))
    own, *other = region_maps(31, (2, 5, 6), (4, 7), (6, 3), (5, 5))
    restricted = {"content_regions": own, "style_regions": [other[:2], other[2:]]}
    for regions in ({}, restricted):
        matching = Matching(
            content,
            [[first, second], [third]],
            temperature=temperature,
            tile_memory=tile_memory,
            **regions,
        )
        for item, styles in enumerate([[first, second], [third]]):
            logits = oracle(
                content[item].double(),
                [style.double() for style in styles],
                temperature=temperature,
                regions=(own[item], restricted["style_regions"][item]) if regions else None,
            )
            expected = torch.special.entr(logits.softmax(1)).sum(1)
            found = matching.entropy()[item].flatten().double()
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-3)


def test_a_flat_map_has_the_entropy_of_all_positions_alike():
    flat = torch.ones(1, 6, 5, 7)
    entropy = Matching(flat, flat, patch_size=1, tile_memory=TINY_TILES).entropy()
    torch.testing.assert_close(entropy, torch.full((1, 5, 7), 35.0).log())


@pytest.mark.parametrize("tile_memory", [TINY_TILES, SMALL_TILES, 2**25])
def test_regions_restrict_the_way_back_and_missing_ones_do_not(tile_memory: int):
    content, style, values = maps(10, (2, 6, 5, 6), (2, 6, 4, 7), (2, 2, 5, 6))
    own, other = region_maps(11, (2, 5, 6), (2, 4, 7))
    own = own.clamp(max=2)  # region 3 of the exemplar is nowhere in the condition

    def ours(content: Tensor, style: Tensor, values: Tensor) -> Tensor:
        matching = Matching(
            content, style, content_regions=own, style_regions=other, tile_memory=tile_memory
        )
        return matching.warp_back(values)

    def plain(content: Tensor, style: Tensor, values: Tensor) -> Tensor:
        return torch.stack(
            [
                oracle_warp(oracle(s, [c], regions=(o, [w])), [v], (4, 7))
                for c, s, v, w, o in zip(content, style, values, own, other, strict=True)
            ]
        )

    assert_gradients_agree([content, style, values], ours, plain)


def test_one_exemplar_may_have_other_regions_for_each_item():
    content, style, values = maps(12, (2, 6, 4, 4), (1, 6, 4, 4), (1, 3, 4, 4))
    own, other = region_maps(13, (2, 4, 4), (2, 4, 4))
    warped = Matching(content, style, content_regions=own, style_regions=other).warp(values)
    for item in range(2):
        logits = oracle(
            content[item].double(), [style[0].double()], regions=(own[item], [other[item]])
        )
        expected = oracle_warp(logits, [values[0].double()], (4, 4))
        torch.testing.assert_close(warped[item].double(), expected, atol=1e-5, rtol=0)


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


@pytest.mark.parametrize("point", [(-1.0, 0.0), (0.0, -0.5), (24.0, 0.0), (0.0, 20.0)])
def test_a_row_outside_the_condition_is_refused(point: tuple[float, float]):
    matching = Matching(*(torch.randn(shape) for shape in VALID.values()), stride=4)
    with pytest.raises(ValueError, match="0 <= x < 24 and 0 <= y < 20"):
        matching.row(point)
