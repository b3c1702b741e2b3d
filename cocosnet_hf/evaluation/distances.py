"""Distances between two sets of pictures: sliced Wasserstein, Frechet and kernel distance."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .intervals import Estimate, draws, interval
from .picture_sets import Pictures, open_pair, to_float

LEAST_SIDE = 16
"""Short side of the coarsest level that `swd_levels` compares."""

DIRECTIONS_AT_ONCE = 16


# Sliced Wasserstein distance ----------------------------------------------------------------------


def swd(pictures: Pictures, targets: Pictures, **settings: Any) -> float:
    """The sliced Wasserstein distance of two sets, times 1000: the mean of `swd_levels`."""
    return fmean(swd_levels(pictures, targets, **settings).values())


@torch.no_grad()
def swd_levels(
    pictures: Pictures,
    targets: Pictures,
    *,
    patches: int = 128,
    patch_size: int = 7,
    repeats: int = 4,
    directions: int = 128,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> dict[int, float]:
    """The sliced Wasserstein distance, times 1000, of each level of a Laplacian pyramid.

    Source: Karras et al. 2018 (progressive growing of GANs), section 5 and appendix. Of every
    picture and level `patches` random patches are taken; each channel of all of a set's patches is
    brought to mean 0 and deviation 1; the distance is the mean over `repeats` times `directions`
    random directions of the 1-D Wasserstein distances of the projected patches. Keys: the level's
    short side, from the pictures' own down to 16. The places are drawn for each picture, by what it
    shows: so equal sets have the distance 0 in any order. Sets that differ ever so little have at
    least what random places cost, 30 for 30 pictures of 128 px and less for more: compare only at
    equal numbers.

    Pictures are read once for each level; memory is 75 KB for each picture of both sets. Raises
    ValueError for sets that differ in number or size and for pictures below 16 pixels.
    """
    pictures, targets = open_pair(pictures, targets)
    short = min(pictures[0].shape[1:])
    if short < LEAST_SIDE:
        raise ValueError(
            f"Pictures must be at least {LEAST_SIDE} pixels high and wide, got "
            f"{tuple(pictures[0].shape[1:])}."
        )
    sides = [short]
    while (sides[-1] + 1) // 2 >= LEAST_SIDE:
        sides.append((sides[-1] + 1) // 2)
    distances = {}
    for level, side in enumerate(sides):
        is_last = level == len(sides) - 1
        first, second = (
            _descriptors(one, level, is_last, patches, patch_size, seed, device)
            for one in (pictures, targets)
        )
        distances[side] = 1000 * _sliced_distance(first, second, repeats, directions, seed)
    return distances


def laplacian_level(picture: Tensor, level: int, is_last: bool) -> Tensor:
    """What one level of the Laplacian pyramid of (3, H, W) shows; the last one all that is left."""
    for _ in range(level):
        picture = _halved(picture)
    return picture if is_last else picture - _doubled(_halved(picture), picture.shape[1:])


def patch_corners(
    picture: Tensor, level: int, room: tuple[int, int], count: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of a picture's patches on one level; room: how many places there are."""
    content = zlib.crc32(to_float(picture).cpu().numpy().tobytes())
    rng = np.random.default_rng([seed, level, content])
    return rng.integers(room[0], size=count), rng.integers(room[1], size=count)


def slicing_directions(length: int, repeats: int, directions: int, seed: int) -> Tensor:
    """Random unit vectors, (length, repeats * directions)."""
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(length, repeats * directions, generator=generator), dim=0)


def _descriptors(
    pictures: Tensor | Sequence[Tensor],
    level: int,
    is_last: bool,
    count: int,
    size: int,
    seed: int,
    device: torch.device | str,
) -> Tensor:
    """(N * count, 3 * size * size): a set's patches of one level, each channel normalised."""
    patches = torch.empty(len(pictures), count, 3, size, size, device=device)
    for index, picture in enumerate(pictures):
        detail = laplacian_level(picture.float(), level, is_last)
        room = (detail.shape[1] - size + 1, detail.shape[2] - size + 1)
        rows, columns = patch_corners(picture, level, room, count, seed)
        windows = detail.unfold(1, size, 1).unfold(2, size, 1)
        patches[index] = windows[:, rows, columns].transpose(0, 1)
    deviation, mean = torch.std_mean(patches, dim=(0, 1, 3, 4), correction=0, keepdim=True)
    # In place; a channel that is the same everywhere stays at 0.
    patches.sub_(mean).div_(deviation.clamp_min(torch.finfo(deviation.dtype).tiny))
    return patches.flatten(2).flatten(0, 1)


def _sliced_distance(
    first: Tensor, second: Tensor, repeats: int, directions: int, seed: int
) -> float:
    axes = slicing_directions(first.shape[1], repeats, directions, seed).to(first)
    distances = []
    for some in axes.split(DIRECTIONS_AT_ONCE, dim=1):
        ours, theirs = ((some.t() @ points.t()).sort(dim=1).values for points in (first, second))
        distances.append((ours - theirs).abs().mean(1))
    return torch.cat(distances).double().mean().item()


def _halved(picture: Tensor) -> Tensor:
    return F.conv2d(_mirrored(picture), _binomial(picture), stride=2)[:, 0]


def _doubled(picture: Tensor, size: torch.Size) -> Tensor:
    spread = picture.new_zeros(len(picture), *size)
    spread[:, ::2, ::2] = picture
    return F.conv2d(_mirrored(spread), 4 * _binomial(picture))[:, 0]


def _mirrored(picture: Tensor) -> Tensor:
    return F.pad(picture[:, None], (2, 2, 2, 2), mode="reflect")


def _binomial(like: Tensor) -> Tensor:
    weights = like.new_tensor([1, 4, 6, 4, 1]) / 16
    return torch.outer(weights, weights)[None, None]


# Frechet and kernel distance ----------------------------------------------------------------------


def frechet_distance(features: Tensor, target_features: Tensor) -> float:
    """|m - m'|^2 + tr(S + S' - 2 (S S')^(1/2)) of the Gaussians with the means and covariances.

    Source: Heusel et al. 2017, where the features are Inception's (FID). features (N, D),
    target_features (M, D). Biased by N and M: compare only at equal numbers; see
    `is_rank_deficient`. Raises ValueError for fewer than two of either.

    tr (S S')^(1/2) is the sum of the singular values of A A'^T for any S = A^T A and S' = A'^T A':
    exact for every rank, where the D x D product has many eigenvalues near 0.
    """
    _require_features(features, target_features)
    first, second = features.double(), target_features.double()
    a, b = _covariance_root(first), _covariance_root(second)
    shift = (first.mean(0) - second.mean(0)).square().sum()
    overlap = torch.linalg.svdvals(a @ b.t()).sum()
    return (shift + a.square().sum() + b.square().sum() - 2 * overlap).item()


def is_rank_deficient(count: int, dimensions: int) -> bool:
    """Whether `count` features are too few for a covariance of full rank.

    A Frechet distance then says more about the number of pictures than about the pictures.
    """
    return count <= dimensions


def kernel_distance(features: Tensor, target_features: Tensor, seed: int = 0) -> Estimate:
    """The squared maximum mean discrepancy with the kernel (<x, y> / D + 1)^3, and its interval.

    Source: Binkowski et al. 2018, where the features are Inception's (KID). Unbiased at any
    number, also below 0. features, target_features (N, D): row i of both belongs to item i. The
    estimate is the U-statistic (Gretton et al. 2012, equation 4): pairs of an item with itself are
    left out everywhere, since an output resembles its own target more than another photo does;
    so are an item's pairs with its copies in the bootstrap samples of the interval. Raises
    ValueError for unequal numbers and for fewer than two.
    """
    _require_features(features, target_features)
    if len(features) != len(target_features):
        raise ValueError(
            f"features must hold one row for each item in both sets, got {len(features)} and "
            f"{len(target_features)}."
        )
    first, second = features.double(), target_features.double()
    cross = _cubic_kernel(first, second)
    gain = _cubic_kernel(first, first) + _cubic_kernel(second, second) - cross - cross.t()
    gains = gain.fill_diagonal_(0).cpu().numpy()
    count = len(gains)
    order = gains.sum(1).argsort()  # the interval, too, is the same in any order of the items
    gains = gains[order][:, order]
    shares = draws(count, seed)
    pairs = 1 - np.square(shares).sum(1)
    several = pairs > 0  # a sample of one item only has no pairs
    replicates = ((shares @ gains) * shares).sum(1)[several] / pairs[several]
    return Estimate(float(gains.sum() / (count * (count - 1))), count, *interval(replicates))


def _cubic_kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.t() / x.shape[1] + 1) ** 3


def _covariance_root(features: Tensor) -> Tensor:
    """A with A^T A the covariance, of at most D rows."""
    centred = (features - features.mean(0)) / (len(features) - 1) ** 0.5
    return centred if len(centred) <= centred.shape[1] else torch.linalg.qr(centred, mode="r").R


def _require_features(features: Tensor, others: Tensor) -> None:
    if features.ndim != 2 or others.ndim != 2 or features.shape[1] != others.shape[1]:
        raise ValueError(
            f"features must be (N, D) and (M, D), got {tuple(features.shape)} and "
            f"{tuple(others.shape)}."
        )
    if min(len(features), len(others)) < 2:
        raise ValueError(
            f"A distance of distributions needs at least two pictures in each set, got "
            f"{len(features)} and {len(others)}."
        )
