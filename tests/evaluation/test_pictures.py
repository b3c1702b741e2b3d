"""Metrics of single pictures, edges, joints and masks against other libraries."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from cocosnet_hf import Pose
from cocosnet_hf.evaluation import (
    class_iou,
    confusion,
    copy_score,
    diversity,
    edge_f1,
    mask_accuracy,
    perceptual_distance,
    pose_pck,
    psnr,
    ssim,
)
from tests.support.metrics import blocks, noise, noisy


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
