"""The coherent flow finds what is moved in one piece, and its warp shows the exemplar's pixels."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cocosnet_hf import Matching
from cocosnet_hf.coherence import CoherentFlow
from cocosnet_hf.propagation import (
    CROWDING_TEMPERATURE,
    FARTHEST,
    PIN_WEIGHT,
    SMOOTHNESS,
    SUBCELL_TEMPERATURE,
    Pin,
)

SIZE = 12


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def smooth(batch: int = 1, size: int = SIZE, seed: int = 0) -> Tensor:
    """Feature maps in which neighbours resemble each other, all places differ."""
    return F.interpolate(normal(batch, 16, 4, 4, seed=seed), size, mode="bicubic")


def picture(height: int, width: int) -> Tensor:
    """(1, 2, height, width): each pixel's place, as shares of the sides."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([(x + 0.5) / width, (y + 0.5) / height])[None].float()


def grid(height: int = SIZE, width: int = SIZE) -> Tensor:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x, y], dim=-1).float()


def plain_crowding(correlations: list[Tensor]) -> list[Tensor]:
    """(h', w') for each exemplar's places, from the whole correlations (h, w, h', w')."""
    logits = [each.flatten(2).flatten(0, 1) / CROWDING_TEMPERATURE for each in correlations]
    wanted = torch.cat(logits, dim=1).softmax(1).sum(0)
    crowding = CROWDING_TEMPERATURE * (wanted / wanted.mean()).log().clamp_min(0)
    parts = crowding.split([each.shape[1] for each in logits])
    return [part.view(each.shape[2:]) for part, each in zip(parts, correlations, strict=True)]


def test_a_map_that_is_matched_with_itself_stays_where_it_is():
    features = normal(2, 16, SIZE, SIZE)
    flow = Matching(features, features).coherent()
    torch.testing.assert_close(flow.position, grid().expand(2, -1, -1, -1), atol=1e-3, rtol=0)
    assert flow.consistency.min() == 1 and flow.score.min() > 0.999
    values = torch.rand(2, 3, 8 * SIZE, 8 * SIZE)
    warped = flow.warp(values, (8 * SIZE, 8 * SIZE))
    torch.testing.assert_close(warped, values, atol=1e-2, rtol=0)


def test_a_piece_that_moved_is_found_where_it_is_now():
    features = normal(1, 16, SIZE, SIZE)
    moved = features.roll((2, -3), dims=(2, 3))
    flow = Matching(features, moved).coherent().position[0]
    inner = slice(4, SIZE - 4)
    expected = grid()[inner, inner] + torch.tensor([-3.0, 2.0])
    torch.testing.assert_close(flow[inner, inner], expected, atol=1e-2, rtol=0)


def test_a_position_that_disagrees_with_all_around_it_follows_them():
    features = smooth()
    wrong = features.clone()
    wrong[0, :, 5:7, 5:7] = 0.55 * features[0, :, 5:7, 5:7] + 0.6 * features[0, :, :2, :2]
    matching = Matching(wrong, features, patch_size=1)
    scattered = (matching.flow()[0] - 1.5) / 4 - grid()
    assert scattered.abs().max() > 2
    coherent = matching.coherent(smoothness=0.3).position[0] - grid()
    assert coherent.abs().max() < 1.6


def test_propagation_is_the_plain_one():
    content, style = smooth(seed=1) + 0.3 * normal(1, 16, SIZE, SIZE), smooth(seed=2)
    matching = Matching(content, style, patch_size=1)
    rows, columns = (
        F.normalize(each - each.mean(1, keepdim=True), dim=1)[0].flatten(1)
        for each in (content, style)
    )
    scores = (rows.t() @ columns).view(SIZE, SIZE, SIZE, SIZE)
    correlation, scores = scores, scores - plain_crowding([scores])[0]
    best = scores.flatten(2).argmax(2)
    flow = {(y, x): divmod(int(best[y, x]), SIZE) for y in range(SIZE) for x in range(SIZE)}
    clamp = range(SIZE)
    for _ in range(3):
        shift = {(y, x): (v - y, u - x) for (y, x), (v, u) in flow.items()}
        new = {}
        for y, x in flow:
            around = [
                shift[min(max(y + dy, 0), SIZE - 1), min(max(x + dx, 0), SIZE - 1)]
                for dy in (-1, 0, 1)
                for dx in (-1, 0, 1)
            ]

            def energy(
                place: tuple[int, int], y: int = y, x: int = x, near: list = around
            ) -> float:
                own = (place[0] - y, place[1] - x)
                apart = [min(4, abs(own[0] - v) + abs(own[1] - u)) for v, u in near]
                return float(scores[y, x][place]) - SMOOTHNESS * sum(apart) / 9

            candidates = [
                (min(max(y + v, 0), SIZE - 1), min(max(x + u, 0), SIZE - 1)) for v, u in around
            ]
            new[y, x] = max([candidates[4], *candidates], key=energy)
        flow = new
    found = matching.coherent(rounds=3)
    nearest = found.position[0].round().long()
    agree = [tuple(nearest[y, x].flip(0).tolist()) == flow[y, x] for y in clamp for x in clamp]
    # Rounding of what lies between the cells may go to the neighbour.
    assert sum(agree) > 0.9 * len(agree)
    expected = torch.tensor([[correlation[y, x][flow[y, x]] for x in clamp] for y in clamp])
    torch.testing.assert_close(found.score[0], expected, atol=1e-4, rtol=0)


def test_each_position_takes_the_exemplar_that_has_its_piece():
    whole = normal(1, 16, SIZE, SIZE)
    left, right = whole.clone(), whole.clone()
    left[..., SIZE // 2 :] = normal(1, 16, SIZE, SIZE // 2, seed=5)
    right[..., : SIZE // 2] = normal(1, 16, SIZE, SIZE // 2, seed=6)
    flow = Matching(whole, [[left[0], right[0]]]).coherent()
    assert (flow.exemplar[0, :, :4] == 0).all() and (flow.exemplar[0, :, -4:] == 1).all()
    shown = flow.warp([[torch.zeros(1, 24, 24), torch.ones(1, 24, 24)]], (48, 48))[0, 0]
    assert shown[:, :14].max() == 0 and shown[:, -14:].min() == 1


def test_items_of_a_batch_do_not_know_each_other():
    content, style = smooth(2, seed=3), smooth(2, seed=4)
    both = Matching(content, style).coherent()
    alone = Matching(content[1:], style[1:]).coherent()
    torch.testing.assert_close(both.position[1:], alone.position, atol=1e-3, rtol=0)
    torch.testing.assert_close(both.consistency[1:], alone.consistency, atol=1e-3, rtol=0)


def test_regions_hold_in_the_coherent_flow():
    content, style = smooth(seed=3), smooth(seed=4)
    regions = torch.zeros(1, SIZE, SIZE, dtype=torch.long)
    regions[:, 6:] = 1
    flow = Matching(
        content, style, content_regions=regions, style_regions=regions.flip(1)
    ).coherent()
    rows = flow.position[0, ..., 1].round()
    assert rows[:6].min() >= 6 and rows[6:].max() <= 5


def test_many_positions_that_look_at_one_place_are_not_consistent():
    style = normal(1, 16, SIZE, SIZE)
    content = style[..., 6:7, 6:7].expand(-1, -1, SIZE, SIZE) + 0.01 * normal(1, 16, SIZE, SIZE)
    flow = Matching(content, style, patch_size=1).coherent()
    assert flow.consistency.mean() < 0.2


@pytest.mark.parametrize("size", [(48, 48), (37, 61), (7, 5), (200, 96)])
def test_a_warp_has_any_size_and_shows_the_same_place(size: tuple[int, int]):
    features = normal(1, 16, SIZE, SIZE + 4)
    flow = Matching(features, features).coherent()
    warped = flow.warp(picture(60, 80), size)
    torch.testing.assert_close(warped, picture(*size), atol=0.02, rtol=0)


def test_gradients_reach_the_values():
    flow = Matching(smooth(seed=3), smooth(seed=4)).coherent()
    values = torch.rand(1, 3, 24, 24, requires_grad=True)
    flow.warp(values, (24, 24)).sum().backward()
    assert values.grad.sum() == pytest.approx(3 * 24 * 24, rel=1e-3)


def test_an_exemplar_of_one_colour_gives_that_colour_and_no_nan():
    flow = Matching(smooth(), torch.zeros(1, 16, 5, 9)).coherent()
    assert torch.isfinite(flow.position).all() and torch.isfinite(flow.trust()).all()
    assert (flow.warp(torch.full((1, 3, 40, 72), 0.3), (48, 48)) - 0.3).abs().max() < 1e-6


def test_a_pinned_point_is_where_it_was_put_and_takes_its_surroundings_along():
    features = smooth(size=20)
    pin = Pin((10.0, 10.0), (15.4, 7.0))
    matching = Matching(features, features)
    flow = matching.coherent(pins=[[pin]]).position[0]
    torch.testing.assert_close(flow[10, 10], torch.tensor([15.4, 7.0]), atol=1e-3, rtol=0)
    assert (flow[10, 11] - flow[10, 10] - torch.tensor([1.0, 0.0])).abs().max() < 1.1
    far = matching.coherent().position[0][:3, :3]
    torch.testing.assert_close(flow[:3, :3], far, atol=1e-3, rtol=0)
    assert PIN_WEIGHT > 1


def test_values_for_other_items_or_exemplars_are_refused():
    flow = Matching(smooth(2), smooth(2, seed=1)).coherent()
    with pytest.raises(ValueError, match="must serve 2 items, got 3"):
        flow.warp(torch.zeros(3, 1, 8, 8), (8, 8))
    with pytest.raises(ValueError, match="exemplars"):
        flow.warp([[torch.zeros(1, 8, 8)] * 2] * 2, (8, 8))


def test_the_log_share_of_known_places_is_the_plain_one_with_its_gradient():
    content = normal(2, 4, 6, 7).requires_grad_()
    style = normal(2, 4, 6, 7, seed=1).requires_grad_()
    places = torch.rand(2, 6, 7, 2, generator=torch.Generator().manual_seed(2)) * 5
    places[0, 1, 2] = torch.nan

    def patches(each: Tensor) -> Tensor:
        unfolded = F.unfold(each, 3, padding=1)
        return F.normalize(unfolded - unfolded.mean(1, keepdim=True), dim=1)

    logits = patches(content).mT @ patches(style) / 0.1
    cells, wanted = grid(6, 7).flatten(0, 1), places.flatten(1, 2)
    away = wanted[:, :, None] - cells
    weight = (away.square().sum(-1) / -2).exp()
    weight = weight * ((cells - wanted.round()[:, :, None]).abs() <= 2).all(-1)
    plain = (
        (weight / weight.sum(2, keepdim=True) * logits.log_softmax(2)).sum(2).unflatten(1, (6, 7))
    )
    ours = Matching(content, style, temperature=0.1).log_share(places)
    torch.testing.assert_close(ours, plain, atol=1e-5, rtol=1e-4, equal_nan=True)
    found = torch.autograd.grad(ours.nansum(), (content, style))
    known = ~plain.isnan()
    expected = torch.autograd.grad(
        (weight.nan_to_num() / weight.nan_to_num().sum(2, keepdim=True).clamp_min(1e-9))
        .mul(logits.log_softmax(2))
        .sum(2)
        .unflatten(1, (6, 7))[known]
        .sum(),
        (content, style),
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


def maps(seed: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def unit_patches(features: Tensor, size: int) -> Tensor:
    """(C, h, w) to centred patches of unit length, zeros outside, (h w, C size^2)."""
    patches = F.unfold(features[None], size, padding=size // 2)[0].t()
    return F.normalize(patches - patches.mean(1, keepdim=True), dim=1)


def same(found: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)


def flows_agree(found: CoherentFlow, expected: CoherentFlow) -> None:
    assert torch.equal(found.exemplar, expected.exemplar)
    for name in ("position", "score", "consistency"):
        same(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("patch_size", [1, 3])
def test_a_known_translation_is_found_exactly(patch_size: int):
    style, photo = maps(1, (2, 32, 9, 11), (2, 3, 36, 44))
    content = style[:, :, 2:8, 3:10]
    flow = Matching(content, style, patch_size=patch_size).coherent()
    same(flow.position, grid(6, 7).expand(2, -1, -1, -1) + torch.tensor([3.0, 2.0]), 1e-3)
    same(flow.warp(photo, (24, 28)), photo[:, :, 8:32, 12:40], 5e-3)


def test_pieces_of_several_exemplars_are_found_in_the_right_one():
    first, second = maps(3, (32, 6, 7), (32, 9, 5))
    content = torch.cat([first[:, 1:6, :3], second[:, 2:7, 1:5]], dim=2)[None]
    pictures = maps(4, (3, 24, 28), (3, 36, 20))
    flow = Matching(content, [[first, second]], patch_size=1).coherent()
    assert torch.equal(flow.exemplar[0], (torch.arange(7) >= 3).long().expand(5, 7))
    same(flow.position[0, :, :3], grid(5, 3) + torch.tensor([0.0, 1.0]), 1e-3)
    same(flow.position[0, :, 3:], grid(5, 4) + torch.tensor([1.0, 2.0]), 1e-3)
    warped = flow.warp([pictures], (20, 28))[0]
    same(warped[:, :, :10], pictures[0][:, 4:24, :10], 5e-3)  # one half cell off the seam
    same(warped[:, :, 14:], pictures[1][:, 8:28, 6:20], 5e-3)


def test_an_item_of_a_batch_equals_the_item_alone():
    content, first, second, third = maps(5, (2, 6, 5, 6), (6, 4, 7), (6, 6, 3), (6, 5, 5))
    nested = [[first, second], [second, third, first]]
    together = Matching(content, nested).coherent()
    for item, styles in enumerate(nested):
        alone = Matching(content[item : item + 1], [styles]).coherent()
        assert torch.equal(together.exemplar[item], alone.exemplar[0])
        for name in ("position", "score", "consistency"):
            same(getattr(together, name)[item], getattr(alone, name)[0])
        assert together.grids[item] == alone.grids[0]
        photos = maps(6, *((3, 4 * style.shape[1], 4 * style.shape[2]) for style in styles))
        other = maps(7, *((3, 8, 8) for _ in nested[1 - item]))
        both = [photos, other] if item == 0 else [other, photos]
        same(together.warp(both, (20, 24))[item], alone.warp([photos], (20, 24))[0])


def test_items_whose_exemplars_differ_in_size_are_warped_from_one_tensor():
    content, first, second = maps(8, (2, 6, 5, 6), (6, 4, 7), (6, 6, 3))
    (photos,) = maps(9, (2, 3, 16, 16))
    flow = Matching(content, [[first], [second]]).coherent()
    warped = flow.warp(photos, (10, 12))
    same(warped, flow.warp([[photo] for photo in photos], (10, 12)))
    alone = Matching(content[1:], second[None]).coherent()
    same(warped[1:], alone.warp(photos[1:], (10, 12)))


@pytest.mark.parametrize("tile_memory", [1, 20_000, None])
def test_the_size_of_the_tiles_changes_nothing(tile_memory: int | None):
    content, style = maps(10, (1, 6, 7, 6), (1, 6, 5, 8))
    found = Matching(content, style, tile_memory=tile_memory).coherent()
    flows_agree(found, Matching(content, style).coherent())


@pytest.mark.parametrize("region", [-1, 7])
def test_a_region_that_no_exemplar_has_and_one_of_minus_one_look_anywhere(region: int):
    content, style = maps(12, (1, 8, 6, 7), (1, 8, 5, 9))
    own = torch.full((1, 6, 7), region)
    other = torch.zeros(1, 5, 9, dtype=torch.long)
    matching = Matching(content, style, content_regions=own, style_regions=other)
    flows_agree(matching.coherent(), Matching(content, style).coherent())


def test_a_region_of_the_second_exemplar_leads_to_it():
    content, first, second = maps(13, (1, 8, 4, 5), (8, 4, 5), (8, 3, 6))
    content[0] = first  # without regions all would look at the first
    regions = [torch.zeros(4, 5, dtype=torch.long), torch.ones(3, 6, dtype=torch.long)]
    own = torch.ones(1, 4, 5, dtype=torch.long)
    matching = Matching(content, [[first, second]], content_regions=own, style_regions=[regions])
    assert (matching.coherent().exemplar == 1).all()
    assert not Matching(content, [[first, second]]).coherent().exemplar.any()


# Agreement of neighbours


def test_coherence_removes_the_isolated_outliers_of_the_best_match():
    (style,) = maps(14, (1, 64, 9, 10))
    content = style.clone()
    unit = F.normalize(style - style.mean(1, keepdim=True), dim=1)
    for (x, y), (far_x, far_y) in {(2, 2): (8, 7), (6, 3): (1, 8), (4, 6): (9, 0)}.items():
        content[0, :, y, x] = 0.68 * unit[0, :, y, x] + 0.73 * unit[0, :, far_y, far_x]
    matching = Matching(content, style, patch_size=1, stride=1)
    off = (matching.flow()[0] - grid(9, 10)).abs().sum(-1) > 0
    assert off.sum() == 3
    same(matching.coherent().position[0], grid(9, 10), 0.02)
    alone = matching.coherent(smoothness=0).position[0].round()
    same(alone, matching.flow()[0])


def reference(
    content: Tensor, styles: list[Tensor], patch_size: int, rounds: int, smoothness: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Exemplar (h, w), position (h, w, 2), score and consistency (h, w), by N x N and loops."""
    height, width = content.shape[-2:]
    left = unit_patches(content, patch_size)
    correlation = [
        (left @ unit_patches(style, patch_size).t()).view(height, width, *style.shape[-2:])
        for style in styles
    ]

    crowding = plain_crowding(correlation)
    less_crowded = [part - lost for part, lost in zip(correlation, crowding, strict=True)]

    def onto(side: int, x: int, y: int) -> tuple[int, int]:
        rows, columns = styles[side].shape[-2:]
        return min(max(x, 0), columns - 1), min(max(y, 0), rows - 1)

    def around(x: int, y: int) -> list[tuple[int, int]]:
        """The cell and its neighbours, those beyond the border moved onto it."""
        near = [(x + a, y + d) for d, a in itertools.product((-1, 0, 1), repeat=2) if a or d]
        near = [(min(max(i, 0), width - 1), min(max(j, 0), height - 1)) for i, j in near]
        return [(x, y), *near]

    grid = list(itertools.product(range(height), range(width)))
    state = {}
    for y, x in grid:
        best = [part[y, x].max() for part in less_crowded]
        side = int(torch.stack(best).argmax())
        row, column = divmod(int(less_crowded[side][y, x].argmax()), styles[side].shape[-1])
        state[x, y] = side, column - x, row - y
    for _ in range(rounds):
        renewed = {}
        for y, x in grid:
            near = [state[place] for place in around(x, y)]
            energies = []
            for side, across, down in near:
                column, row = onto(side, x + across, y + down)
                apart = [
                    min(FARTHEST, abs(column - x - other[1]) + abs(row - y - other[2]))
                    if other[0] == side
                    else FARTHEST
                    for other in near
                ]
                score = less_crowded[side][y, x, row, column].item()
                energy = score - smoothness * sum(apart) / 9
                energies.append((energy, (side, column - x, row - y)))
            renewed[x, y] = max(energies, key=lambda pair: pair[0])[1]
        if renewed == state:
            break
        state = renewed
    exemplar = torch.zeros(height, width, dtype=torch.long)
    position, score, consistency = (torch.zeros(height, width, n).squeeze(-1) for n in (2, 1, 1))
    for y, x in grid:
        side, across, down = state[x, y]
        column, row = x + across, y + down
        here = correlation[side][y, x]
        exemplar[y, x], score[y, x] = side, here[row, column]
        places, shares = [], []
        for d, a in itertools.product((-1, 0, 1), repeat=2):
            i, j = onto(side, column + a, row + d)
            places.append(torch.tensor([i, j]).float())
            over = (here[j, i] - here[row, column]).clamp_max(0) / SUBCELL_TEMPERATURE
            shares.append(over.exp())
        shares = torch.stack(shares)
        position[y, x] = (shares[:, None] * torch.stack(places)).sum(0) / shares.sum()
        back = correlation[side][:, :, row, column].flatten().argmax()
        away = (back % width - x) ** 2 + (back // width - y) ** 2
        consistency[y, x] = (-away / 8).exp()
    return exemplar, position, score, consistency


@pytest.mark.parametrize(
    ("patch_size", "rounds", "smoothness", "seed"),
    [
        (3, 8, SMOOTHNESS, 0),
        (3, 1, SMOOTHNESS, 1),
        (1, 8, SMOOTHNESS, 2),
        (1, 2, SMOOTHNESS, 3),
        (1, 8, 0.3, 23),  # cells that change twice
        (1, 8, 0.3, 86),
    ],
)
def test_it_equals_plain_loops_over_the_whole_correlation(
    patch_size: int, rounds: int, smoothness: float, seed: int
):
    content, first, second = maps(20 + seed, (1, 4, 6, 7), (4, 5, 8), (4, 7, 4))
    # Parts that agree a little, so that there is something to propagate: of displacements that
    # differ by much, or that are the same in both exemplars.
    if seed % 2:
        content[0, :, 1:5, 1:5] += first[:, 0:4, 2:6]
        content[0, :, :, 4:] += second[:, :6, :3]
    else:
        content[0, :, :5, :] += first[:, :, :7]
        content[0, :, :, :4] += second[:, :6, :]
    matching = Matching(content, [[first, second]], patch_size=patch_size)
    flow = matching.coherent(rounds=rounds, smoothness=smoothness)
    found = (flow.exemplar[0], flow.position[0], flow.score[0], flow.consistency[0])
    expected = reference(content[0], [first, second], patch_size, rounds, smoothness)
    assert torch.equal(found[0], expected[0])
    assert set(found[0].unique().tolist()) == {0, 1}
    for ours, plain in zip(found[1:], expected[1:], strict=True):
        same(ours, plain, 1e-4)


def test_a_match_between_the_cells_is_found_between_them():
    frequencies, phases = maps(15, (256, 2), (256,))

    def waves(shift: tuple[float, float]) -> Tensor:
        places = grid(8, 9) + torch.tensor(shift)
        return (0.7 * places @ frequencies.t() + 3 * phases).cos().movedim(-1, 0)[None]

    for shift in ((0.5, 0.0), (0.0, 0.5), (0.0, 0.0)):
        flow = Matching(waves(shift), waves((0.0, 0.0)), patch_size=1).coherent()
        inner = flow.position[0, 1:-1, 1:-1] - grid(8, 9)[1:-1, 1:-1]
        assert (inner - torch.tensor(shift)).abs().max() < 0.3
        assert (inner - torch.tensor(shift)).abs().mean() < 0.05


# What is seen through it


def identity(height: int, width: int) -> CoherentFlow:
    (features,) = maps(17, (1, 16, height, width))
    return Matching(features, features, patch_size=1).coherent()


@pytest.mark.parametrize("size", [(20, 28), (40, 56), (13, 9), (5, 7), (1, 1), (33, 28)])
@pytest.mark.parametrize("photo_size", [(20, 28), (5, 7), (11, 15)])
def test_any_size_is_warped_from_any_size(size: tuple[int, int], photo_size: tuple[int, int]):
    (photo,) = maps(18, (1, 2, *photo_size))
    warped = identity(5, 7).warp(photo, size)
    same(warped, F.interpolate(photo, size, mode="bilinear"), 5e-3)


def test_a_seam_is_a_cross_fade_of_what_both_sides_see():
    position = torch.tensor([[[[0.0, 0.0], [5.0, 0.0]]]])  # the second cell looks 4 to the right
    ones, zeros = torch.ones(1, 1, 2), torch.zeros(1, 1, 2, dtype=torch.long)
    flow = CoherentFlow(position, zeros, ones, ones, (((1, 8),),))
    photo = torch.arange(8.0).view(1, 1, 1, 8)
    seen = flow.warp(photo, (1, 8))[0, 0, 0]
    places = (torch.arange(8) + 0.5) / 4 - 0.5
    share = places.clamp(0, 1)
    same(seen, ((1 - share) * places.clamp_min(0) + share * (places + 4)).clamp(0, 7))


def test_one_photo_serves_the_whole_batch():
    content, style, photo = maps(19, (3, 6, 5, 6), (1, 6, 4, 7), (1, 3, 16, 28))
    flow = Matching(content, style).coherent()
    same(flow.warp(photo, (10, 12)), flow.warp(photo.expand(3, -1, -1, -1), (10, 12)))


def test_the_weights_of_each_pixel_sum_to_one_over_all_exemplars_and_the_gradient_finds_them():
    content, first, second = maps(30, (1, 6, 5, 6), (6, 4, 7), (6, 6, 3))
    flow = Matching(content, [[first, second]]).coherent()
    assert set(flow.exemplar.unique().tolist()) == {0, 1}
    photos = [torch.ones(2, 8, 14).requires_grad_(), torch.ones(2, 12, 6).requires_grad_()]
    warped = flow.warp([photos], (23, 17))
    same(warped, torch.ones(1, 2, 23, 17))
    warped.sum().backward()
    grads = [photo.grad for photo in photos]
    assert all(grad.min() >= -1e-5 and grad.max() > 0.1 for grad in grads)
    assert sum(grad.sum() for grad in grads).item() == pytest.approx(2 * 23 * 17, rel=1e-4)


@pytest.mark.parametrize("with_regions", [False, True])
def test_flat_maps_give_a_finite_flow_within_the_exemplar(with_regions: bool):
    content, style = torch.full((2, 4, 5, 6), 0.3), torch.zeros(2, 4, 3, 7)
    regions = {}
    if with_regions:
        regions["content_regions"] = torch.arange(30).view(5, 6).expand(2, 5, 6) % 3
        regions["style_regions"] = torch.arange(21).view(3, 7).expand(2, 3, 7) % 2
    flow = Matching(content, style, **regions).coherent(pins=[[Pin((1, 1), (6, 2))], []])
    for value in (flow.position, flow.score, flow.consistency):
        assert value.isfinite().all()
    assert (flow.position >= 0).all()
    assert (flow.position <= torch.tensor([6, 2])).all()
    assert flow.warp(torch.rand(2, 3, 12, 28), (20, 24)).isfinite().all()


@pytest.mark.parametrize(("size", "other"), [((1, 1), (1, 1)), ((1, 5), (4, 1)), ((3, 3), (1, 2))])
def test_maps_of_a_few_cells_are_served(size: tuple[int, int], other: tuple[int, int]):
    content, style = maps(31, (1, 8, *size), (1, 8, *other))
    flow = Matching(content, style).coherent()
    assert flow.position.shape == (1, *size, 2)
    assert flow.warp(torch.rand(1, 3, *other), (8, 8)).isfinite().all()


def test_a_flow_needs_no_graph():
    content, style = (part.requires_grad_() for part in maps(32, (1, 6, 5, 6), (1, 6, 4, 7)))
    flow = Matching(content, style).coherent()
    assert not flow.position.requires_grad
    assert not flow.trust().requires_grad


def test_values_for_another_number_of_items_or_exemplars_are_refused():
    content, first, second = maps(33, (2, 6, 5, 6), (6, 4, 7), (6, 6, 3))
    one = Matching(content, first[None]).coherent()
    photo = torch.zeros(3, 8, 8)
    with pytest.raises(ValueError, match="must serve 2 items, got 3"):
        one.warp(torch.zeros(3, 3, 8, 8), (8, 8))
    with pytest.raises(ValueError, match=r"lists, one for each item, of \[1, 1\] exemplars"):
        one.warp([[photo]], (8, 8))
    several = Matching(content, [[first, second], [first]]).coherent()
    for values in (torch.zeros(2, 3, 8, 8), [[photo], [photo]], [[photo] * 2] * 2):
        with pytest.raises(ValueError, match=r"lists, one for each item, of \[2, 1\] exemplars"):
            several.warp(values, (8, 8))


# Pinned points


def pinned_pair() -> tuple[Tensor, Tensor]:
    return tuple(maps(34, (2, 8, 12, 14), (2, 8, 11, 13)))


def test_a_pinned_point_looks_exactly_where_it_must_and_takes_its_neighbours_along():
    content, style = pinned_pair()
    free = Matching(content, style).coherent()
    pins = [[Pin((6, 5), (2.3, 7.6))], []]
    flow = Matching(content, style).coherent(pins=pins)
    assert flow.position[0, 5, 6].tolist() == pytest.approx([2.3, 7.6], abs=1e-5)
    shift = torch.tensor([2.3 - 6, 7.6 - 5])
    near = flow.position[0, 4:7, 5:8] - grid(12, 14)[4:7, 5:8] - shift
    assert (near.abs().amax(-1) < 0.01).sum() >= 5  # the point and most of those beside it
    far = free.position[0, 5, 6] - torch.tensor([2.3, 7.6])
    assert far.abs().max() > 1  # it would have looked elsewhere
    assert torch.equal(flow.position[0, :, 12:], free.position[0, :, 12:])  # and those far away do
    assert torch.equal(flow.position[1], free.position[1])


def test_a_point_between_the_cells_moves_the_nearest_cell_by_as_much():
    content, style = pinned_pair()
    flow = Matching(content, style).coherent(pins=[[], [Pin((3.4, 7.8), (9.1, 2.9))]])
    expected = [3 + 9.1 - 3.4, 8 + 2.9 - 7.8]
    assert flow.position[1, 8, 3].tolist() == pytest.approx(expected, abs=1e-4)


def test_several_points_of_one_item_hold_together():
    content, style = pinned_pair()
    pins = [Pin((2, 2), (10, 9)), Pin((11, 9), (1, 1)), Pin((2, 9), (3, 2))]
    position = Matching(content, style).coherent(pins=[pins, []]).position[0]
    for pin in pins:
        x, y = pin.target
        assert position[y, x].tolist() == pytest.approx(list(pin.source), abs=1e-5)


def test_a_pin_names_its_exemplar():
    content, first, second = maps(35, (1, 8, 10, 10), (8, 9, 9), (8, 6, 12))
    content[0, :, :9, :9] = first  # all but the border would look at the first
    pin = Pin((4, 4), (8, 3), exemplar=1)
    flow = Matching(content, [[first, second]]).coherent(pins=[[pin]])
    assert flow.exemplar[0, 4, 4] == 1
    assert flow.position[0, 4, 4].tolist() == pytest.approx([8, 3], abs=1e-5)
    assert flow.exemplar[0, 0, 0] == 0


def test_a_pin_prefers_its_own_exemplar_to_the_same_displacement_in_another():
    content, other = maps(50, (1, 8, 9, 9), (8, 9, 9))
    pin = Pin((4, 4), (4, 4), exemplar=1)
    flow = Matching(content, [[content[0], other]]).coherent(pins=[[pin]])
    assert flow.exemplar[0, 4, 4] == 1
    assert flow.position[0, 4, 4].tolist() == pytest.approx([4, 4], abs=1e-5)


def test_a_pin_gains_nothing_in_the_other_items_of_a_batch():
    content, (style, _) = pinned_pair()
    style = style[None]  # shared, so that both items look into the same exemplar
    free = Matching(content, style).coherent()
    # What the second item's neighbour does, so that the displacement is there to be taken.
    x, y = (free.position[1, 5, 9].round() - torch.tensor([1.0, 0.0])).tolist()
    flow = Matching(content, style).coherent(pins=[[Pin((8, 5), (x, y))], []])
    assert flow.position[0, 5, 8].tolist() == pytest.approx([x, y], abs=1e-5)
    assert (free.position[1, 5, 8] - torch.tensor([x, y])).abs().max() > 0.6
    assert torch.equal(flow.position[1], free.position[1])


def test_a_pin_does_not_lead_other_items_to_an_exemplar_that_is_not_theirs():
    first, second, foreign = maps(51, (8, 9, 9), (8, 9, 9), (8, 9, 9))
    matching = Matching(torch.stack([first, second]), [[second], [foreign]])
    flow = matching.coherent(pins=[[Pin((4, 4), (4, 4))], []])
    assert torch.equal(flow.position[1], matching.coherent().position[1])
    assert flow.score[1].max() < 0.99


@pytest.mark.parametrize("corner", [(0, 0), (12, 0), (0, 10), (12, 10)])
def test_a_pin_into_a_corner_keeps_its_neighbours_on_the_exemplar(corner: tuple[int, int]):
    content, style = pinned_pair()
    flow = Matching(content, style).coherent(pins=[[Pin((6, 5), corner)], []])
    assert flow.position[0, 5, 6].tolist() == pytest.approx(list(corner), abs=1e-5)
    assert (flow.position >= 0).all()
    assert (flow.position <= torch.tensor([12, 10])).all()


# What `Matching` says besides


def test_values_at_the_grid_are_the_mean_of_each_position():
    content, first, second = maps(36, (2, 6, 5, 6), (6, 4, 7), (6, 6, 3))
    photos = maps(37, (3, 8, 21), (3, 6, 3))
    nested = Matching(content, [[first, second], [second]])
    pooled = nested.at_grid([photos, photos[1:]])
    same(pooled[0][0], F.avg_pool2d(photos[0], (2, 3)))
    same(pooled[0][1], photos[1])
    same(pooled[1][0], photos[1])
    shared = Matching(content, first[None])
    assert torch.equal(shared.at_grid(photos[0][None])[0], pooled[0][0])
    assert nested.warp(pooled).shape == (2, 3, 5, 6)
    with pytest.raises(ValueError, match="lists as the style was"):
        nested.at_grid(photos[0][None])


def test_the_grids_are_those_of_the_condition_and_of_each_exemplar():
    content, first, second = maps(38, (2, 6, 5, 6), (6, 4, 7), (6, 6, 3))
    matching = Matching(content, [[first, second], [second]])
    assert matching.grids() == [((5, 6), [(4, 7), (6, 3)]), ((5, 6), [(6, 3)])]
    assert matching.coherent().grids == (((4, 7), (6, 3)), ((6, 3),))


def plain_log_share(content: Tensor, style: Tensor, places: Tensor, spread: float) -> Tensor:
    """sum_v w(v) log softmax(M / temperature)_uv with normal weights w, by N x N and loops."""
    height, width = style.shape[-2:]
    logits = unit_patches(content, 3) @ unit_patches(style, 3).t() / 0.05
    logs = logits.log_softmax(1)
    shares = []
    for log, (x, y) in zip(logs, places.flatten(0, 1), strict=True):
        if x.isnan() or y.isnan():
            shares.append(log.new_tensor(float("nan")))
            continue
        total = weights = 0
        reach = max(1, round(2 * spread))
        for row, column in itertools.product(range(height), range(width)):
            if max(abs(column - x.round()), abs(row - y.round())) <= reach:
                weight = (-((column - x) ** 2 + (row - y) ** 2) / (2 * spread**2)).exp()
                total = total + weight * log[row * width + column]
                weights = weights + weight
        shares.append(total / weights)
    return torch.stack(shares).view(content.shape[-2:])


@pytest.mark.parametrize("spread", [0.3, 1.0, 1.6])
@pytest.mark.parametrize("tile_memory", [1, None])
def test_the_log_share_of_places_and_its_gradients_equal_the_plain_softmax(
    spread: float, tile_memory: int | None
):
    content, style = maps(39, (2, 6, 4, 5), (2, 6, 6, 5))
    places = torch.rand(2, 4, 5, 2, generator=torch.Generator().manual_seed(0))
    places = places * torch.tensor([5.0, 6.0]) - 0.5
    places[0, 1, 2], places[1, 0, 0, 1] = float("nan"), float("nan")
    ours = [part.clone().requires_grad_() for part in (content, style)]
    doubles = [part.double().requires_grad_() for part in (content, style)]
    matching = Matching(*ours, temperature=0.05, tile_memory=tile_memory)
    found = matching.log_share(places, spread)
    pairs = zip(*doubles, places.double(), strict=True)
    expected = torch.stack([plain_log_share(*pair, spread) for pair in pairs])
    assert torch.equal(found.isnan(), expected.isnan())
    assert found.isnan().sum() == 2
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=1e-5, equal_nan=True)
    known = ~found.isnan()
    (weights,) = maps(40, tuple(found.shape))
    gradients = torch.autograd.grad((found * weights)[known].sum(), ours)
    wanted = torch.autograd.grad((expected * weights)[known].sum(), doubles)
    for gradient, plain in zip(gradients, wanted, strict=True):
        assert gradient.isfinite().all()
        assert (gradient.double() - plain).abs().max() < 1e-4 * plain.abs().max()


def test_the_log_share_of_a_settled_match_is_zero():
    (features,) = maps(41, (1, 32, 5, 6))
    matching = Matching(features, features)
    same(matching.log_share(grid(5, 6)[None], spread=0.05), torch.zeros(1, 5, 6), 1e-3)
    wrong = matching.log_share(grid(5, 6)[None].flip(2), spread=0.05)
    assert wrong.max() < -30


def test_log_share_refuses_other_shapes_and_several_exemplars():
    content, first, second = maps(42, (1, 6, 5, 6), (6, 4, 7), (6, 6, 3))
    with pytest.raises(ValueError, match=r"places must have the shape \(1, 5, 6, 2\)"):
        Matching(content, first[None]).log_share(torch.zeros(1, 2, 5, 6))
    with pytest.raises(ValueError, match="one exemplar for each item"):
        Matching(content, [[first, second]]).log_share(torch.zeros(1, 5, 6, 2))


def test_a_place_that_many_would_look_at_shares_them_with_places_that_resemble_it():
    (style,) = maps(30, (1, 64, 1, 12))
    popular = style[..., :1]
    style[..., 1:6] = popular + 0.45 * style[..., 1:6]
    content = popular + 0.3 * maps(31, (1, 64, 1, 12))[0]
    matching = Matching(content, style, patch_size=1, stride=1)
    nearest = matching.flow()[0, 0, :, 0]
    assert (nearest == 0).all()
    shared = matching.coherent(smoothness=0).position[0, 0, :, 0].round()
    assert len(shared.unique()) >= 3
    assert shared.max() <= 5


def test_a_permutation_of_the_exemplar_crowds_nothing():
    (style,) = maps(32, (1, 64, 8, 8))
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    content = style.flatten(2)[..., order].view_as(style)
    matching = Matching(content, style, patch_size=1, stride=1)
    found = matching.coherent(smoothness=0).position[0].round()
    same(found, torch.stack([order % 8, order // 8], -1).view(8, 8, 2).float())
