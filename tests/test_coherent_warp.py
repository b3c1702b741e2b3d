"""What is seen through a coherent matching, with pinned points."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cocosnet_hf import Matching
from cocosnet_hf.coherence import JUMP, CoherentFlow, without_steps
from cocosnet_hf.propagation import Pin
from tests.support.flows import grid, normalized_patches, same
from tests.support.tensors import maps

pytestmark = pytest.mark.usefixtures("correlations_kept")

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
    logits = normalized_patches(content, 3) @ normalized_patches(style, 3).t() / 0.05
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
    shared = matching.coherent(smoothness=0, stiffness=0).position[0, 0, :, 0].round()
    assert len(shared.unique()) >= 3
    assert shared.max() <= 5


def test_a_permutation_of_the_exemplar_crowds_nothing():
    (style,) = maps(32, (1, 64, 8, 8))
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    content = style.flatten(2)[..., order].view_as(style)
    matching = Matching(content, style, patch_size=1, stride=1)
    found = matching.coherent(smoothness=0, stiffness=0).position[0].round()
    same(found, torch.stack([order % 8, order // 8], -1).view(8, 8, 2).float())


def test_only_where_places_jump_are_pixels_blended_with_their_neighbours():
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    place = torch.stack([x / 4, y / 4], dim=-1)[None]  # of a grid of 8 x 8 cells, 4 pixels each
    values = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(without_steps(values, place, (8, 8)), values)
    place[:, :, 16:, 0] += JUMP / 4 + 1
    found = without_steps(values, place, (8, 8))
    changed = (found != values).any(1)[0]
    assert changed[:, 15:17].all() and not changed[:, :15].any() and not changed[:, 17:].any()
    wide = F.pad(values, [1, 1, 1, 1], mode="replicate")
    ninth = F.avg_pool2d(F.avg_pool2d(wide, 2, 1), 2, 1)  # twice by two: 1, 2, 1 in each direction
    assert torch.allclose(found[..., 15:17], ninth[..., 15:17], atol=1e-6)
