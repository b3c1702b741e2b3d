"""`Matching` and its gradients equal the plain N x N softmax at any size."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cocosnet_hf import Matching
from tests.support.matching_oracle import (
    FORWARD_TOLERANCE,
    SMALL_TILES,
    TINY_TILES,
    assert_gradients_agree,
    oracle,
    oracle_warp,
)
from tests.support.tensors import maps

examples = settings(max_examples=60, deadline=None, derandomize=True, database=None)

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
