"""The terms beside the paper's: known flows count places, the pyramid counts bands."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cocosnet_hf import Matching
from cocosnet_hf.conditions import EdgeCondition
from cocosnet_hf.evaluation import edge_f1
from cocosnet_hf.pictures import to_image
from cocosnet_hf.sharpness import (
    agreement_of,
    flow_error,
    known_flow_losses,
    laplacian_pyramid_loss,
    line_consistency_loss,
    warp_fidelity_loss,
)
from tests.support.tensors import normal


def centres(size: int) -> Tensor:
    """(1, 2, size, size): the flow that leaves everything where it is, 4 pixels a position."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return torch.stack([x, y])[None] * 4 + 1.5


def test_the_right_places_cost_less_than_wrong_ones_and_have_no_error():
    features = normal(2, 8, 8, 8)
    matching, is_self_pair = Matching(features, features), torch.tensor([1.0, 0.0])
    right = centres(8).expand(2, -1, -1, -1)
    exact, likely = known_flow_losses(matching, right, is_self_pair)
    for loss, wrong in zip(
        (exact, likely), known_flow_losses(matching, right.flip(3), is_self_pair), strict=True
    ):
        assert 0 < loss < wrong
    assert flow_error(matching, right, is_self_pair) == (0, 0)
    assert flow_error(matching, right + torch.tensor([8.0, 0]).view(1, 2, 1, 1), is_self_pair) == (
        2,
        2,
    )


def test_unknown_places_and_missing_kinds_cost_nothing():
    features = normal(1, 8, 8, 8).requires_grad_()
    flow = centres(8)
    flow[..., 2:] = torch.nan
    matching, own = Matching(features, features), torch.ones(1)
    exact, likely = known_flow_losses(matching, flow, own)
    assert exact > 0 and likely == 0
    known = known_flow_losses(matching, centres(8), own)[0]
    assert exact != known
    exact.backward()
    assert torch.isfinite(features.grad).all()
    nothing = known_flow_losses(matching, torch.full_like(flow, torch.nan), own)
    assert nothing == (0, 0)


def test_a_few_steps_on_known_flows_come_near_the_places():
    target = normal(1, 8, 8, 8)
    moved = target.roll(2, dims=3).clone().requires_grad_()
    flow = centres(8)
    assert flow_error(Matching(target, moved), flow, torch.ones(1))[0] == 2
    optimizer = torch.optim.Adam([moved], 0.05)
    for _ in range(40):
        loss = known_flow_losses(Matching(target, moved), flow, torch.ones(1))[0]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # One cell is the spread that the loss itself allows.
    assert flow_error(Matching(target, moved), flow, torch.ones(1))[0] <= 1


def test_the_pyramid_counts_a_fine_error_more_than_a_coarse_one_and_self_pairs_only():
    target = torch.zeros(2, 3, 32, 32)
    checks = torch.tensor([1.0, -1.0]).repeat(16)
    fine = target + 0.5 * checks * checks[:, None]
    coarse = target + 0.5 * F.interpolate(normal(2, 3, 2, 2).sign(), 32, mode="nearest")
    every = torch.ones(2)
    assert laplacian_pyramid_loss(fine, target, every) > laplacian_pyramid_loss(
        coarse, target, every
    )
    assert laplacian_pyramid_loss(target, target, every) == 0
    first = laplacian_pyramid_loss(fine, target, torch.tensor([1.0, 0.0]))
    assert first == pytest.approx(laplacian_pyramid_loss(fine[:1], target[:1], every[:1]))
    assert laplacian_pyramid_loss(fine, target, torch.zeros(2)) == 0


def maps(seed: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


# Known flows


def test_exact_and_likely_places_are_averaged_apart():
    content, style = maps(0, (3, 6, 5, 6), (3, 6, 4, 7))
    flow = torch.rand(3, 2, 5, 6, generator=torch.Generator().manual_seed(0))
    flow = flow * torch.tensor([27.0, 15.0])[:, None, None]
    flow[0, :, 2], flow[1, 0, :, 3] = float("nan"), float("nan")
    matching = Matching(content, style, temperature=0.1)
    exact, likely = known_flow_losses(matching, flow, torch.tensor([1.0, 0.0, 1.0]))
    places = (flow.permute(0, 2, 3, 1) - 1.5) / 4
    shares = matching.log_share(places)
    assert exact.item() == pytest.approx(-shares[[0, 2]].nanmean().item(), rel=1e-5)
    assert likely.item() == pytest.approx(-shares[1].nanmean().item(), rel=1e-5)
    assert exact > 0
    assert likely > 0


def test_the_error_is_the_median_of_cells_for_each_kind():
    (features,) = maps(4, (3, 32, 7, 7))
    matching = Matching(features, features, patch_size=1)
    flow = centres(7).repeat(3, 1, 1, 1)
    flow[1] += torch.tensor([12.0, 16.0]).view(2, 1, 1)
    flow[2, :, 1:] = torch.nan
    assert flow_error(matching, flow, torch.tensor([1.0, 0.0, 1.0])) == pytest.approx((0, 5))
    exact, likely = flow_error(matching, flow, torch.ones(3))
    assert exact == 0
    assert math.isnan(likely)
    exact, likely = flow_error(matching, torch.full_like(flow, float("nan")), torch.zeros(3))
    assert math.isnan(exact)
    assert math.isnan(likely)


# The Laplacian pyramid


def test_a_checkerboard_lies_in_the_finest_band_and_a_constant_in_the_rest():
    y, x = torch.meshgrid(torch.arange(32), torch.arange(48), indexing="ij")
    checkers = ((x + y) % 2 * 2.0 - 1).expand(2, 3, 32, 48)
    zeros, ones = torch.zeros(2, 3, 32, 48), torch.ones(2)
    assert laplacian_pyramid_loss(checkers, zeros, ones).item() == pytest.approx(1)
    assert laplacian_pyramid_loss(zeros + 0.5, zeros, ones).item() == pytest.approx(0.5 / 16)
    found = laplacian_pyramid_loss(zeros + 0.5, zeros, ones, levels=2)
    assert found.item() == pytest.approx(0.5 / 4)


def test_fine_differences_count_more_than_coarse_ones():
    pictures = []
    for period in (2, 4, 8, 16):
        stripes = (torch.arange(64) // (period // 2) % 2 * 2.0 - 1).expand(1, 3, 64, 64)
        pictures.append(laplacian_pyramid_loss(stripes, torch.zeros(1, 3, 64, 64), torch.ones(1)))
    assert pictures == sorted(pictures, reverse=True)


@pytest.mark.parametrize("size", [(30, 50), (17, 33)])
def test_its_gradient_reaches_the_output_and_not_the_target(size: tuple[int, int]):
    output, target = (part.requires_grad_() for part in maps(6, (2, 3, *size), (2, 3, *size)))
    laplacian_pyramid_loss(output, target, torch.tensor([1.0, 0.0])).backward()
    assert target.grad is None
    assert output.grad[0].abs().min() > 0
    assert not output.grad[1].any()


def test_moved_labels_agree_where_they_are_the_wanted_ones():
    features = normal(1, 8, 4, 4)
    flow = Matching(features, features).coherent()
    moved = torch.zeros(1, 16, 16, dtype=torch.long)
    moved[:, :, 8:] = 1
    wanted = moved.clone()
    wanted[:, 12:] = 2
    agreement = agreement_of(flow, moved, wanted, 3)
    assert agreement.shape == (1, 1, 16, 16)
    torch.testing.assert_close(agreement[:, :, :12, :4], torch.ones(1, 1, 12, 4))
    torch.testing.assert_close(agreement[:, :, :12, 12:], torch.ones(1, 1, 12, 4))
    assert not agreement[:, :, 12:].any()


def test_a_picture_is_held_to_the_warp_only_where_labels_agree():
    warped, agreement = normal(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
    agreement[..., :16] = 1
    output = warped.clone()
    output[..., 16:] += 1
    assert warp_fidelity_loss(output, warped, agreement) == 0
    near, far = (warp_fidelity_loss(warped + by, warped, agreement) for by in (0.1, 0.2))
    assert 0 < near < far
    leaf = (warped + 0.1).requires_grad_()
    warp_fidelity_loss(leaf, warped, agreement).backward()
    assert leaf.grad[..., :16].abs().sum() > 0 and not leaf.grad[..., 24:].any()


def squares(*corners: int) -> Tensor:
    """(1, 3, 64, 64) in -1..1: grey, with a lighter square of 20 pixels at each corner."""
    picture = torch.full((1, 3, 64, 64), -0.4)
    for corner in corners:
        picture[..., corner : corner + 20, corner : corner + 20] = 0.4
    return picture


def lines(picture: Tensor) -> Tensor:
    return torch.from_numpy(EdgeCondition().lines(to_image(picture[0])))[None]


def test_a_picture_with_the_lines_that_were_asked_for_costs_nothing():
    wanted = lines(squares(10, 34))
    assert line_consistency_loss(squares(10, 34), wanted, wanted) == 0
    missing = line_consistency_loss(squares(10), lines(squares(10)), wanted)
    unasked = line_consistency_loss(squares(10, 34), wanted, lines(squares(10)))
    assert missing > 0.1 and unasked > 0.1


@pytest.mark.parametrize(("start", "asked"), [((10,), (10, 34)), ((10, 34), (10,))])
def test_it_draws_lines_that_are_missing_and_fades_those_that_nobody_asked_for(
    start: tuple[int, ...], asked: tuple[int, ...]
):
    generator = torch.Generator().manual_seed(0)
    picture = squares(*start) + 0.02 * torch.rand(1, 3, 64, 64, generator=generator)
    picture.requires_grad_()
    wanted, optimizer = lines(squares(*asked)), torch.optim.Adam([picture], lr=0.01)

    def alike() -> float:
        return edge_f1(lines(picture.detach())[0].numpy(), wanted[0].numpy())

    assert alike() < 0.75
    for _ in range(60):
        optimizer.zero_grad()
        line_consistency_loss(picture, lines(picture.detach()), wanted).backward()
        optimizer.step()
    assert alike() > 0.9
