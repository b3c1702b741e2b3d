"""Matches that move as the affine map which fits those around them."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cocosnet_hf import Matching
from cocosnet_hf.stiffness import FITS, RADIUS, RIDGE, SIGMA, TOLERANCE, locally_affine
from tests.support.tensors import normal

ONE = torch.zeros(1, 12, 14, dtype=torch.long)


def places(height: int = 12, width: int = 14) -> Tensor:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x, y], dim=-1)[None].float()


def test_it_equals_a_plain_weighted_least_squares_fit():
    position = places() + normal(1, 12, 14, 2) + 3 * (places() > 6)
    side = (places()[..., 0] > 9).long()
    moved = (position - places())[0].numpy()
    fitted = moved.copy()
    for _ in range(FITS):
        new = fitted.copy()
        for y in range(12):
            for x in range(14):
                rows, values, weights = [], [], []
                for v in range(max(0, y - RADIUS), min(12, y + RADIUS + 1)):
                    for u in range(max(0, x - RADIUS), min(14, x + RADIUS + 1)):
                        if side[0, v, u] != side[0, y, x]:
                            continue
                        apart = np.abs(moved[v, u] - fitted[y, x]).sum()
                        near = np.exp(-((v - y) ** 2 + (u - x) ** 2) / (2 * SIGMA**2))
                        weights.append(near / (1 + (apart / TOLERANCE) ** 2) ** 2)
                        rows.append([1, u - x, v - y])
                        values.append(moved[v, u])
                root = np.sqrt(np.array([*weights, RIDGE, RIDGE]))[:, None]
                system = np.array([*rows, [0, 1, 0], [0, 0, 1]])
                wanted = np.array([*values, [0, 0], [0, 0]])
                new[y, x] = np.linalg.lstsq(system * root, wanted * root, rcond=None)[0][0]
        fitted = new
    expected = places() + torch.from_numpy(fitted)
    torch.testing.assert_close(
        locally_affine(position, side), expected, atol=1e-4, rtol=0, check_dtype=False
    )


def test_a_sheet_comes_out_of_matches_that_are_off_by_a_cell():
    affine = 0.9 * places() + 0.1 * places().flip(-1) + 2
    noisy = (affine + normal(1, 12, 14, 2).clamp(-1, 1)).round()
    before, after = (
        (each - affine).square().mean().sqrt() for each in (noisy, locally_affine(noisy, ONE))
    )
    assert after < before / 2


def test_pieces_that_move_apart_stay_apart():
    left = places()[..., :1] < 7
    position = places() + torch.where(left, 0.0, 12.0)
    torch.testing.assert_close(locally_affine(position, ONE), position, atol=0.02, rtol=0)


def test_another_exemplar_does_not_count():
    side = (places()[..., 0] >= 7).long()
    position = places() + 1.5 * side[..., None]
    torch.testing.assert_close(locally_affine(position, side), position, atol=1e-4, rtol=0)


def test_an_item_of_a_batch_is_fitted_as_it_is_alone():
    positions = places() + normal(3, 12, 14, 2)
    together = locally_affine(positions, ONE.expand(3, -1, -1))
    for item, fitted in enumerate(together):
        alone = locally_affine(positions[item : item + 1], ONE)[0]
        torch.testing.assert_close(fitted, alone)


def test_a_cell_alone_keeps_its_match():
    position = torch.tensor([[[[4.0, 2.0]]]])
    torch.testing.assert_close(
        locally_affine(position, torch.zeros(1, 1, 1, dtype=torch.long)), position
    )


def test_the_flow_of_a_matching_is_stiff_and_stays_on_the_exemplar():
    style = F.interpolate(normal(1, 32, 6, 7), (12, 14), mode="bicubic")  # neighbours are alike
    noisy = style[..., 2:] + 0.3 * normal(1, 32, 12, 12, seed=1)
    matching = Matching(noisy, style, patch_size=1)
    expected = places(12, 12) + torch.tensor([2, 0])
    loose, stiff = (matching.coherent(stiffness=cells, smoothness=0).position for cells in (0, 3))
    errors = [(each - expected).abs().mean() for each in (loose, stiff)]
    assert errors[1] < errors[0] / 1.5
    assert stiff.min() >= 0 and (stiff <= torch.tensor([13, 11])).all()


def test_a_region_is_not_bent_by_what_its_neighbour_sees():
    features, gap = normal(1, 32, 12, 12), normal(1, 32, 12, 2, seed=1)
    style = torch.cat([features[..., :6], gap, features[..., 6:]], dim=-1)
    own = torch.tensor([0] * 6 + [1] * 6).expand(1, 12, 12)
    offered = torch.tensor([0] * 6 + [2] * 2 + [1] * 6).expand(1, 12, 14)
    expected = places(12, 12) + 2 * own[..., None] * torch.tensor([1, 0])
    free = Matching(features, style, patch_size=1).coherent().position
    bound = Matching(
        features, style, content_regions=own, style_regions=offered, patch_size=1
    ).coherent()
    torch.testing.assert_close(bound.position, expected, atol=0.02, rtol=0)
    assert (free - expected).abs().max() > 0.1
