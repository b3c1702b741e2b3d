"""The coherent flow finds what is moved in one piece, and its warp shows the exemplar's pixels."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cocosnet_hf import Matching
from cocosnet_hf.propagation import PIN_WEIGHT, SMOOTHNESS, Pin
from tests.support.flows import SIZE, grid, plain_crowding
from tests.support.tensors import normal

pytestmark = pytest.mark.usefixtures("correlations_kept")


def smooth(batch: int = 1, size: int = SIZE, seed: int = 0) -> Tensor:
    """Feature maps in which neighbours resemble each other, all places differ."""
    return F.interpolate(normal(batch, 16, 4, 4, seed=seed), size, mode="bicubic")


def picture(height: int, width: int) -> Tensor:
    """(1, 2, height, width): each pixel's place, as shares of the sides."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([(x + 0.5) / width, (y + 0.5) / height])[None].float()


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
    flow = Matching(features, moved).coherent(stiffness=0).position[0]
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
    found = matching.coherent(rounds=3, stiffness=0)
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
