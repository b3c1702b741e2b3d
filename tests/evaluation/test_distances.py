"""Distances between sets of pictures, and intervals, against second implementations."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage, stats
from torch import Tensor
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import poly_kernel

from cocosnet_hf.evaluation import (
    PictureFiles,
    frechet_distance,
    is_rank_deficient,
    kernel_distance,
    mean_estimate,
    swd,
    swd_levels,
)
from cocosnet_hf.evaluation.distances import patch_corners, slicing_directions
from tests.support.metrics import drawn, noise, noisy

# Sliced Wasserstein distance ---------------------------------------------------------------------


def reference_swd(
    pictures: Tensor, targets: Tensor, draw: Callable[..., Any] = patch_corners
) -> list[float]:
    """Levels of the sliced Wasserstein distance with SciPy, patch by patch; draw: their places."""
    binomial = np.array([1, 4, 6, 4, 1]) / 16
    kernel = np.outer(binomial, binomial)

    def smooth(x: np.ndarray) -> np.ndarray:
        return np.stack([ndimage.convolve(plane, kernel, mode="mirror") for plane in x])

    def pyramid(x: np.ndarray) -> list[np.ndarray]:
        levels = [x]
        while min(levels[-1].shape[1:]) >= 32:
            levels.append(smooth(levels[-1])[:, ::2, ::2])
        for finer, coarser in zip(levels, levels[1:], strict=False):
            spread = np.zeros_like(finer)
            spread[:, ::2, ::2] = coarser
            finer -= 4 * smooth(spread)
        return levels

    def patches(photos: Tensor, level: int) -> np.ndarray:
        found = []
        for photo in photos:
            detail = pyramid(photo.double().numpy())[level]
            room = (detail.shape[1] - 6, detail.shape[2] - 6)
            corners = zip(*draw(photo, level, room, 128, 0), strict=True)
            found += [detail[:, row : row + 7, column : column + 7] for row, column in corners]
        found = np.stack(found)
        for channel in range(3):
            values = found[:, channel]
            found[:, channel] = (values - values.mean()) / values.std()
        return found.reshape(len(found), -1)

    distances = []
    for level in range(3):
        axes = slicing_directions(147, 4, 128, 0).double().numpy()
        ours, theirs = patches(pictures, level) @ axes, patches(targets, level) @ axes
        each = [stats.wasserstein_distance(*pair) for pair in zip(ours.T, theirs.T, strict=True)]
        distances.append(1000 * np.mean(each))
    return distances


def test_swd_agrees_with_a_second_implementation(scenes: Tensor):
    found = swd_levels(scenes[:3], scenes[3:6])
    assert list(found) == [64, 32, 16]
    expected = reference_swd(scenes[:3], scenes[3:6])
    assert list(found.values()) == pytest.approx(expected, rel=1e-5)
    assert swd(scenes[:3], scenes[3:6]) == pytest.approx(np.mean(expected), rel=1e-5)


@pytest.mark.parametrize("strength", [0.01, 0.3])
def test_swd_is_that_of_patches_drawn_anew_for_every_picture(strength: float, scenes: Tensor):
    rng = np.random.default_rng(0)

    def anew(_: Tensor, __: int, room: tuple[int, int], count: int, ___: int) -> Any:
        return rng.integers(room[0], size=count), rng.integers(room[1], size=count)

    spoiled = noisy(scenes, strength)
    expected = np.mean(reference_swd(spoiled, scenes, anew))
    assert swd(spoiled, scenes) == pytest.approx(expected, rel=0.1)


def test_swd_of_a_set_against_itself_is_zero_in_any_order(scenes: Tensor):
    assert swd(scenes, scenes) == 0
    assert swd(scenes, scenes.flip(0)) == pytest.approx(0, abs=1e-3)


def test_swd_takes_other_places_in_other_pictures_and_levels(scenes: Tensor):
    first, same, other, coarser = (
        patch_corners(picture, level, (58, 40), 500, 0)
        for picture, level in ((scenes[0], 0), (scenes[0], 0), (scenes[1], 0), (scenes[0], 1))
    )
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other) and not np.array_equal(first, coarser)
    rows, columns = first
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (0, 57, 0, 39)


def test_swd_does_not_depend_on_the_order_of_the_pictures(scenes: Tensor):
    ours, theirs = scenes[:6], scenes[6:]
    shuffled = swd(ours.roll(2, 0), theirs.flip(0))
    assert swd(ours, theirs) == pytest.approx(shuffled, rel=1e-5)


def blurred(pictures: Tensor, sigma: float) -> Tensor:
    return torch.from_numpy(ndimage.gaussian_filter(pictures.numpy(), (0, 0, sigma, sigma)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "strengths"),
    [(blurred, [0.5, 1.0, 1.5, 2.5]), (noisy, [0.02, 0.05, 0.1, 0.2, 0.4])],
)
def test_swd_grows_with_blur_and_with_noise(
    spoil: Callable[[Tensor, float], Tensor], strengths: list[float]
):
    scenes = drawn(30)  # of fewer, other places make more difference than a little blur
    distances = [0.0] + [swd(spoil(scenes, strength), scenes) for strength in strengths]
    assert all(low < high for low, high in zip(distances, distances[1:], strict=False)), distances


def test_swd_compares_levels_from_the_picture_down_to_16():
    wide = torch.rand(2, 3, 100, 140)
    assert list(swd_levels(wide, wide)) == [100, 50, 25]
    full = torch.zeros(1, 3, 256, 256, dtype=torch.uint8)
    assert swd_levels(full, full) == dict.fromkeys((256, 128, 64, 32, 16), 0.0)


def test_swd_of_uint8_files_and_of_their_tensors_agree(tmp_path: Path, scenes: Tensor):
    pictures = (scenes[:4] * 255).round().byte()
    for index, picture in enumerate(pictures):
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(tmp_path / f"{index}.png")
    assert swd(tmp_path, pictures) == 0
    files = PictureFiles.of_folder(tmp_path)
    assert torch.equal(torch.stack(list(files)), pictures)


@pytest.mark.parametrize(
    ("pictures", "targets", "message"),
    [
        (torch.rand(2, 3, 32, 32), torch.rand(3, 3, 32, 32), "equally many pictures, got 2 and 3"),
        (torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 48), r"one size, got \(32, 32\) and"),
        (torch.rand(2, 3, 15, 32), torch.rand(2, 3, 15, 32), "at least 16 pixels"),
        (torch.rand(0, 3, 32, 32), torch.rand(0, 3, 32, 32), "must not be empty"),
        (torch.rand(2, 4, 32, 32), torch.rand(2, 4, 32, 32), r"must be \(3, H, W\), got \(4, 32"),
    ],
)
def test_sets_that_cannot_be_compared_are_refused(pictures: Tensor, targets: Tensor, message: str):
    with pytest.raises(ValueError, match=message):
        swd(pictures, targets)


def test_a_folder_with_pictures_of_two_sizes_or_none_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="holds no picture"):
        PictureFiles.of_folder(tmp_path)
    with pytest.raises(ValueError, match="There is no folder"):
        PictureFiles.of_folder(tmp_path / "nowhere")
    for name, size in (("a.png", (32, 32)), ("b.jpg", (32, 40))):
        Image.new("RGB", size).save(tmp_path / name)
    with pytest.raises(ValueError, match=r"b.jpg has \(32, 40\) and others \(32, 32\)"):
        list(PictureFiles.of_folder(tmp_path))


def test_transparent_pictures_are_laid_on_white(tmp_path: Path):
    Image.new("RGBA", (16, 16), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("L", (16, 16), 7).save(tmp_path / "grey.png")
    clear, grey = PictureFiles.of_folder(tmp_path)
    assert clear.unique().tolist() == [255]
    assert grey.shape == (3, 16, 16) and grey.unique().tolist() == [7]


# Frechet and kernel distance ---------------------------------------------------------------------


def with_moments(seed: int, count: int, mean: Tensor, covariance: Tensor) -> Tensor:
    """Vectors whose own mean and covariance are exactly these."""
    drawn = noise(seed, count, len(mean)).double()
    drawn = drawn - drawn.mean(0)
    white = drawn @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(drawn.t()))).t()
    return white @ torch.linalg.cholesky(covariance).t() + mean


def test_frechet_distance_equals_the_closed_form_for_gaussians():
    means = torch.tensor([[0.0, 1.0], [2.0, -0.5]]).double()
    first = torch.tensor([[2.0, 0.6], [0.6, 1.0]]).double()
    second = torch.tensor([[0.5, -0.3], [-0.3, 3.0]]).double()
    product = first @ second
    overlap = (product.trace() + 2 * torch.linalg.det(product).sqrt()).sqrt()  # of two dimensions
    shift = (means[0] - means[1]).square().sum()
    expected = (shift + first.trace() + second.trace() - 2 * overlap).item()
    ours = with_moments(0, 50, means[0], first)
    theirs = with_moments(1, 70, means[1], second)
    assert frechet_distance(ours, theirs) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("count", [20, 60], ids=["rank-deficient", "full rank"])
def test_frechet_distance_agrees_with_torchmetrics(count: int):
    ours, theirs = noise(0, count, 40), 1.5 * noise(1, count, 40) + 0.1

    class Unchanged(torch.nn.Module):
        num_features = 40

        def forward(self, features: Tensor) -> Tensor:
            return features

    metric = FrechetInceptionDistance(feature=Unchanged(), normalize=True).set_dtype(torch.double)
    metric.update(theirs.double(), real=True)
    metric.update(ours.double(), real=False)
    assert frechet_distance(ours, theirs) == pytest.approx(metric.compute().item(), rel=1e-5)
    assert is_rank_deficient(count, 40) == (count == 20)


def test_frechet_distance_to_itself_is_zero_in_any_order():
    features = noise(0, 30, 50)
    assert frechet_distance(features, features.flip(0)) == pytest.approx(0, abs=1e-9)


def test_kernel_distance_agrees_with_torchmetrics_kernel_pair_by_pair():
    ours, theirs = noise(0, 7, 5), noise(1, 7, 5) + 0.5
    same = poly_kernel(ours, ours) + poly_kernel(theirs, theirs)
    cross = poly_kernel(ours, theirs)
    terms = [same[i, j] - cross[i, j] - cross[j, i] for i in range(7) for j in range(7) if i != j]
    assert kernel_distance(ours, theirs).value == pytest.approx(np.mean(terms), rel=1e-5)


def test_kernel_distance_is_zero_on_average_for_one_distribution_and_in_any_order():
    values = [kernel_distance(*noise(seed, 2, 20, 8)).value for seed in range(40)]
    assert abs(np.mean(values)) < 2 * np.std(values) / 40**0.5
    assert min(values) < 0
    ours, theirs = noise(0, 2, 20, 8)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    plain, shuffled = (
        dataclasses.asdict(kernel_distance(*some))
        for some in ((ours, theirs), (ours[order], theirs[order]))
    )
    assert shuffled == pytest.approx(plain)


def test_the_interval_of_the_kernel_distance_covers_the_truth():
    far = 0.4
    truth = kernel_distance(noise(100, 1500, 4), noise(101, 1500, 4) + far).value
    covered = 0
    for seed in range(40):
        found = kernel_distance(noise(2 * seed, 60, 4), noise(2 * seed + 1, 60, 4) + far)
        assert found.low < found.value < found.high
        covered += found.low <= truth <= found.high
    assert covered >= 33  # of 40, of which 38 are expected


def test_features_that_cannot_be_compared_are_refused():
    with pytest.raises(ValueError, match=r"must be \(N, D\) and \(M, D\), got \(4, 3\)"):
        frechet_distance(noise(0, 4, 3), noise(0, 4, 2))
    with pytest.raises(ValueError, match="at least two pictures in each set, got 1 and 4"):
        frechet_distance(noise(0, 1, 3), noise(0, 4, 3))
    with pytest.raises(ValueError, match="one row for each item in both sets, got 5 and 4"):
        kernel_distance(noise(0, 5, 3), noise(0, 4, 3))


# Intervals ---------------------------------------------------------------------------------------


def test_the_interval_of_a_mean_is_that_of_scipys_bootstrap():
    scores = noise(0, 80).double().numpy()
    found = mean_estimate([*scores, float("nan")])
    expected = stats.bootstrap(
        (scores,), np.mean, n_resamples=5000, method="percentile", random_state=0
    ).confidence_interval
    assert (found.value, found.count) == (pytest.approx(scores.mean()), 80)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.02)
    assert mean_estimate(scores[::-1]) == found


def test_a_mean_of_nothing_is_none_and_of_one_has_no_interval():
    assert mean_estimate([float("nan")]) is None
    single = mean_estimate([0.5])
    assert (single.value, single.count, single.low, single.high) == (0.5, 1, None, None)
