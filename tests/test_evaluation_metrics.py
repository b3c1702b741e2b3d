"""Every metric against a closed form or a second implementation, and what it promises."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import ndimage, stats
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import poly_kernel

from cocosnet_hf import Matching, Pose
from cocosnet_hf.evaluation import (
    PictureFiles,
    carry_labels,
    class_iou,
    confusion,
    copy_score,
    diversity,
    edge_f1,
    frechet_distance,
    is_rank_deficient,
    kernel_distance,
    mask_accuracy,
    mean_estimate,
    perceptual_distance,
    pose_pck,
    psnr,
    semantic_consistency,
    ssim,
    style_relevance,
    swd,
    swd_levels,
)
from cocosnet_hf.evaluation.distances import patch_corners, slicing_directions
from cocosnet_hf.evaluation.regions import pool_regions
from cocosnet_hf.synthetic import SyntheticExamples


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def drawn(count: int, side: int = 64, seed: int = 0) -> Tensor:
    """Drawn scenes, (N, 3, side, side) in 0..1."""
    examples = SyntheticExamples("mask", side, seed)
    photos = [np.array(examples[index]["image"]) for index in range(count)]
    return torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2).float() / 255


@pytest.fixture(scope="module")
def scenes() -> Tensor:
    return drawn(12)


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


def noisy(pictures: Tensor, strength: float) -> Tensor:
    return pictures + strength * noise(3, *pictures.shape)


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


# Regions -----------------------------------------------------------------------------------------


def blocks(seed: int, side: int = 32, classes: int = 4) -> Tensor:
    """A label map of coarse blocks that do not fit the features' grid."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(classes, (1, 1, 5, 5), generator=generator).float()
    return F.interpolate(coarse, size=(side, side), mode="nearest")[0, 0].long()


def reference_consistency(
    layers: list[np.ndarray], others: list[np.ndarray], labels: np.ndarray, own: np.ndarray
) -> float:
    """Features enlarged to the pictures, masks of each class, cosines, area: one after the other.

    labels of the first picture, `own` those of the second; class 0 counts.
    """
    height, width = labels.shape
    scores = []
    for layer, other in zip(layers, others, strict=True):
        big, other_big = (
            np.repeat(np.repeat(x, height // x.shape[1], 1), width // x.shape[2], 2)
            for x in (layer.astype(float), other.astype(float))
        )
        score = area = 0.0
        for label in set(np.unique(labels)) & set(np.unique(own)):
            a, b = big[:, labels == label].mean(1), other_big[:, own == label].mean(1)
            share = (labels == label).mean()
            score += share * (a @ b) / np.linalg.norm(a) / np.linalg.norm(b)
            area += share
        scores.append(score / area)
    return float(np.mean(scores))


def test_region_pooling_agrees_with_a_second_implementation():
    layers = [noise(0, 2, 6, 16, 16) + 0.5, noise(1, 2, 9, 4, 4) + 0.5]
    others = [noise(2, 2, 6, 16, 16) + 0.5, noise(3, 2, 9, 4, 4) + 0.5]
    labels = torch.stack([blocks(0), blocks(1)])
    own = torch.stack([blocks(2, classes=3), blocks(3)])
    found = semantic_consistency(layers, others, labels)
    relevance = style_relevance(layers[0], others[0], labels, own, ignore=None)
    for index in range(2):
        maps, other_maps = ([x[index].numpy() for x in some] for some in (layers, others))
        own_labels = labels[index].numpy()
        expected = reference_consistency(maps, other_maps, own_labels, own_labels)
        assert found[index].mean() == pytest.approx(expected, abs=1e-5)
        expected = reference_consistency(maps[:1], other_maps[:1], own_labels, own[index].numpy())
        assert relevance[index].mean() == pytest.approx(expected, abs=1e-5)


def test_pooled_means_are_those_of_the_map_enlarged_to_any_size():
    features, labels = noise(0, 3, 5, 7), blocks(1, 33)[:, :29]
    big = F.interpolate(features[None], size=labels.shape, mode="nearest")[0]
    classes, count, means = pool_regions(features, labels)
    for label, pixels, mean in zip(classes, count, means, strict=True):
        assert pixels == (labels == label).sum()
        torch.testing.assert_close(mean, big[:, labels == label].mean(1))


def test_an_image_is_consistent_with_itself_and_pooling_matters():
    features, labels = [noise(0, 1, 16, 32, 32) + 1], blocks(0)[None]
    assert semantic_consistency(features, features, labels)[0].mean() == pytest.approx(1)
    # The same content with other noise on it: the regions agree, their positions do not.
    others = [noise(1, 1, 16, 32, 32) + 1]
    by_position = F.cosine_similarity(features[0], others[0]).mean().item()
    by_region = semantic_consistency(features, others, labels)[0].mean()
    assert by_position < 0.6 < 0.95 < by_region


def test_regions_do_not_depend_on_the_order_of_the_batch():
    features, others = noise(0, 3, 4, 8, 8), noise(1, 3, 4, 8, 8)
    labels = torch.stack([blocks(seed) for seed in range(3)])
    plain = semantic_consistency([features], [others], labels)
    turned = semantic_consistency([features.flip(0)], [others.flip(0)], labels.flip(0))
    assert [score.mean() for score in plain] == [score.mean() for score in reversed(turned)]


def test_style_relevance_leaves_out_class_0_and_classes_that_one_side_lacks():
    features, others = noise(0, 1, 4, 2, 2), noise(1, 1, 4, 2, 2)
    labels = torch.tensor([[[0, 1], [2, 2]]])
    exemplar_labels = torch.tensor([[[2, 0], [0, 3]]])
    (found,) = style_relevance(features, others, labels, exemplar_labels)
    assert (found.classes.tolist(), found.area.tolist()) == ([2], [0.5])
    mine, theirs = features[0, :, 1].mean(1), others[0, :, 0, 0]
    assert found.mean() == pytest.approx(F.cosine_similarity(mine, theirs, dim=0).item())
    (kept,) = style_relevance(features, others, labels, exemplar_labels, ignore=None)
    assert kept.classes.tolist() == [0, 2]


def test_a_picture_that_shares_no_class_with_its_exemplar_has_no_style_score():
    features = noise(0, 1, 4, 2, 2)
    (found,) = style_relevance(
        features, features, torch.ones(1, 2, 2).long(), torch.zeros(1, 2, 2).long()
    )
    assert len(found.classes) == 0 and math.isnan(found.mean())


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        ([], torch.zeros(1, 4, 4).long(), "the same layers, at least one, got 0 and 1"),
        ([noise(0, 1, 3, 4, 4)], torch.zeros(1, 4, 4), r"whole numbers \(B, H, W\), got torch.f"),
        ([noise(0, 1, 2, 4, 4)], torch.zeros(1, 4, 4).long(), r"got \(1, 2, 4, 4\) and"),
        ([noise(0, 2, 3, 4, 4)], torch.zeros(1, 4, 4).long(), "for the B = 1 label maps"),
    ],
)
def test_regions_of_unfitting_shapes_are_refused(
    features: list[Tensor], labels: Tensor, message: str
):
    with pytest.raises(ValueError, match=message):
        semantic_consistency(features, [noise(1, 1, 3, 4, 4)], labels)


# Correspondence ----------------------------------------------------------------------------------


def test_a_matching_that_finds_everything_carries_every_label():
    content = noise(0, 2, 16, 8, 8)
    labels = 100 + torch.stack([blocks(0, 8), blocks(1, 8)])
    pictures = labels.repeat_interleave(4, 1).repeat_interleave(4, 2)
    matching = Matching(content, content.flip(3), patch_size=1)
    carried = carry_labels(matching, pictures, pictures.flip(2))
    assert carried.accuracy().tolist() == [1, 1]
    assert torch.equal(carried.warped, labels)
    expected = (labels == labels.flip(2)).float().mean((1, 2))
    assert torch.equal(carried.identity_accuracy(), expected)
    assert expected.max() < 1


def test_labels_of_an_exemplar_of_another_size_have_no_identity_accuracy():
    matching = Matching(noise(0, 2, 16, 8, 8), noise(1, 2, 16, 6, 10))
    labels = torch.zeros(2, 32, 32).long()
    carried = carry_labels(matching, labels, torch.zeros(2, 24, 40).long())
    assert carried.identity_accuracy() is None
    assert carried.accuracy().tolist() == [1, 1]
    with pytest.raises(ValueError, match="4 times as large as the matching's grid"):
        carry_labels(matching, labels[:, :16], torch.zeros(2, 24, 40).long())


# Pictures ----------------------------------------------------------------------------------------


def test_ssim_and_psnr_agree_with_other_libraries(scenes: Tensor):
    pictures = noisy(scenes[:3], 0.1).clamp(0, 1)
    _, everywhere = structural_similarity_index_measure(
        pictures, scenes[:3], data_range=1.0, return_full_image=True, reduction="none"
    )
    whole_windows = everywhere[:, :, 5:-5, 5:-5].mean((1, 2, 3))
    torch.testing.assert_close(ssim(pictures, scenes[:3]).float(), whole_windows)
    expected = [
        peak_signal_noise_ratio(theirs.numpy(), ours.numpy(), data_range=1.0)
        for ours, theirs in zip(pictures, scenes[:3], strict=True)
    ]
    assert psnr(pictures, scenes[:3]).tolist() == pytest.approx(expected, rel=1e-5)


def test_equal_pictures_have_the_best_scores(scenes: Tensor):
    assert ssim(scenes[:2], scenes[:2]).tolist() == pytest.approx([1, 1])
    assert psnr(scenes[:2], scenes[:2]).tolist() == [100, 100]
    assert copy_score(scenes[:2], scenes[:2]).tolist() == [0, 0]
    with pytest.raises(ValueError, match="of one shape"):
        copy_score(scenes[:2], scenes[:1])


def test_perceptual_distance_is_one_minus_the_cosine_averaged_over_layers():
    layers, others = [noise(0, 2, 5, 8, 8), noise(1, 2, 7, 4, 4)], [noise(2, 2, 5, 8, 8)]
    others.append(noise(3, 2, 7, 4, 4))
    expected = torch.stack(
        [(1 - F.cosine_similarity(a, b)).mean((1, 2)) for a, b in zip(layers, others, strict=True)]
    ).mean(0)
    torch.testing.assert_close(perceptual_distance(layers, others), expected)
    dead = [torch.zeros(1, 4, 2, 2)]
    assert perceptual_distance(dead, dead).item() == 0


def test_diversity_is_the_mean_distance_of_all_pairs():
    layers = [noise(0, 3, 5, 4, 4)]
    pairs = [(0, 1), (0, 2), (1, 2)]
    each = [perceptual_distance([layers[0][[i]]], [layers[0][[j]]]).item() for i, j in pairs]
    assert diversity(layers) == pytest.approx(np.mean(each))
    assert diversity([layers[0][:1].expand(4, -1, -1, -1)]) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="at least two pictures of a condition, got 1"):
        diversity([layers[0][:1]])


def test_edges_one_pixel_aside_are_right_and_two_are_not():
    wanted = np.zeros((16, 16), bool)
    wanted[4:12, 8] = True
    assert edge_f1(wanted, wanted) == edge_f1(np.roll(wanted, 1, 1), wanted) == 1
    assert edge_f1(np.roll(wanted, 2, 1), wanted) == 0
    assert edge_f1(np.roll(wanted, 2, 1), wanted, tolerance=2) == 1
    half = wanted.copy()
    half[8:] = False
    precision, recall = 1, 5 / 8  # the end of the half line reaches one pixel further
    assert edge_f1(half, wanted) == pytest.approx(2 * precision * recall / (precision + recall))
    nothing = np.zeros_like(wanted)
    assert (edge_f1(nothing, nothing), edge_f1(nothing, wanted)) == (1, 0)
    with pytest.raises(ValueError, match="must agree in size"):
        edge_f1(wanted[:8], wanted)


def pose(seed: int, size: tuple[int, int] = (100, 200)) -> Pose:
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, 1, (18, 2)) * size[::-1]
    return Pose(np.concatenate([places, np.ones((18, 1))], axis=1), size)


def test_pck_counts_joints_within_a_tenth_of_the_persons_extent():
    wanted = pose(0)
    reach = 0.1 * np.ptp(wanted.joints[:, :2], axis=0).max()
    joints = wanted.joints.copy()
    joints[:6, 0] += 0.99 * reach
    joints[6:9, 0] += 1.01 * reach
    joints[9:12] = (np.nan, np.nan, 0)
    assert pose_pck(Pose(joints, wanted.size), wanted) == pytest.approx(12 / 18)
    half = Pose(joints * (0.5, 0.5, 1), (50, 100))
    assert pose_pck(half, wanted) == pytest.approx(12 / 18)
    fewer = wanted.joints.copy()
    fewer[6:, 2] = 0.2
    assert pose_pck(wanted, Pose(fewer, wanted.size), min_score=0.3) == 1
    assert math.isnan(pose_pck(wanted, wanted, min_score=1))


def test_mask_accuracy_and_iou_are_those_of_the_masks():
    labels, wanted = blocks(0), blocks(1)
    confused = confusion(labels, wanted, 5)
    assert mask_accuracy(confused) == pytest.approx((labels == wanted).float().mean().item())
    for label, found in enumerate(class_iou(confused)):
        a, b = labels == label, wanted == label
        if label == 4:
            assert math.isnan(found)
        else:
            assert found == pytest.approx((a & b).sum() / (a | b).sum())
    with pytest.raises(ValueError, match=r"labels must be in 0..2, got 0..3"):
        confusion(labels, wanted, 3)
