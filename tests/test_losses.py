"""Each loss is its equation: closed forms, plain float64 oracles."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cocosnet_hf import losses
from cocosnet_hf.gan_losses import HINGE
from tests.support.tensors import normal

# Features ------------------------------------------------------------------------------------


def test_domain_alignment_is_the_mean_difference_and_moves_both_adaptors():
    x, y = normal(2, 3, 4, 5).requires_grad_(), normal(2, 3, 4, 5, seed=1).requires_grad_()
    loss = losses.domain_alignment_loss(x, y)
    torch.testing.assert_close(loss, (x - y).abs().mean())
    loss.backward()
    torch.testing.assert_close(x.grad, -y.grad)
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("flags", "expected"),
    [([1.0, 0.0], 1 / (2 * 1)), ([1.0, 1.0], (1 + 3) / (2 * 2)), ([0.0, 0.0], 0.0)],
)
def test_a_self_pair_counts_one_over_batch_times_number_of_self_pairs(
    flags: list[float], expected: float
):
    output = torch.stack([torch.full((2, 3, 3), 1.0), torch.full((2, 3, 3), 3.0)])
    target, flag = torch.zeros_like(output), torch.tensor(flags)
    only_the_last = [[target] * 4 + [maps] for maps in (output, target)]  # of weight 1
    for loss in (
        losses.self_warp_loss(output, target, flag),
        losses.pseudo_exemplar_loss(*only_the_last, flag),
    ):
        assert loss.item() == pytest.approx(expected, rel=2e-5)


def test_the_pseudo_exemplar_loss_weighs_its_layers_and_leaves_the_target_alone():
    outputs = [torch.full((1, 2, 4, 4), 1.0, requires_grad=True) for _ in range(5)]
    targets = [torch.zeros(1, 2, 4, 4, requires_grad=True) for _ in range(5)]
    loss = losses.pseudo_exemplar_loss(outputs, targets, torch.ones(1))
    assert loss.item() == pytest.approx(1 / 32 + 1 / 16 + 1 / 8 + 1 / 4 + 1, rel=2e-5)
    loss.backward()
    assert all(target.grad is None for target in targets)
    gradients = torch.stack([output.grad.sum() for output in outputs])
    torch.testing.assert_close(gradients / gradients[-1], torch.tensor([1, 2, 4, 8, 32.0]) / 32)


def test_the_perceptual_loss_is_the_mean_square_and_leaves_the_target_alone():
    x, y = normal(2, 3, 4, 5).requires_grad_(), normal(2, 3, 4, 5, seed=1).requires_grad_()
    loss = losses.perceptual_loss(x, y)
    torch.testing.assert_close(loss, (x - y).square().mean())
    loss.backward()
    assert y.grad is None
    assert x.grad.abs().sum() > 0


def test_large_half_precision_features_do_not_overflow():
    x = torch.full((1, 2, 4, 4), 6e4, dtype=torch.float16)
    assert losses.perceptual_loss(x, -x).item() == pytest.approx(1.44e10, rel=1e-2)
    assert losses.self_warp_loss(x, -x, torch.ones(1)).item() == pytest.approx(1.2e5, rel=1e-2)


# Discriminator -------------------------------------------------------------------------------


def outputs_of(*logits: float) -> list[list[Tensor]]:
    """One scale for each value, its feature maps and logits constant."""
    return [[torch.full((2, 3, 4, 4), value), torch.full((2, 1, 3, 3), value)] for value in logits]


@pytest.mark.parametrize(
    ("logits", "generator", "fake", "real"),
    [((0.0, 0.0), 0.0, 1.0, 1.0), ((2.0, -4.0), 1.0, 1.5, 2.5), ((-1.0,), 1.0, 0.0, 2.0)],
)
def test_the_hinge_losses_have_their_known_values(
    logits: tuple[float, ...], generator: float, fake: float, real: float
):
    judged = outputs_of(*logits)
    assert HINGE.for_painter(judged).item() == generator
    assert [half.item() for half in HINGE.for_critic(judged, judged)] == [fake, real]


def test_feature_matching_sums_layers_averages_scales_and_leaves_out_the_logits():
    fake, real = outputs_of(1.0, 2.0), outputs_of(0.0, 0.0)
    fake[0].insert(0, torch.full((2, 3, 8, 8), 5.0))
    real[0].insert(0, torch.full((2, 3, 8, 8), 1.0))
    assert losses.discriminator_feature_matching_loss(fake, real).item() == (1 + 4 + 2) / 2


def test_judgements_of_other_discriminators_are_refused():
    with pytest.raises(ValueError, match="one discriminator"):
        losses.discriminator_feature_matching_loss(outputs_of(1.0, 2.0), outputs_of(1.0))
    with pytest.raises(ValueError, match="at least one discriminator"):
        HINGE.for_painter([])


# Warped exemplar -----------------------------------------------------------------------------


def test_the_cycle_is_compared_with_the_pooled_exemplar():
    exemplar = normal(2, 3, 8, 12)
    blocks = exemplar.reshape(2, 3, 2, 4, 3, 4).mean((3, 5))
    assert losses.cyclic_warp_loss(blocks, exemplar).item() == pytest.approx(0, abs=1e-7)
    assert losses.cyclic_warp_loss(blocks + 0.5, exemplar).item() == pytest.approx(0.5)
    assert losses.cyclic_warp_loss(exemplar - 1, exemplar).item() == pytest.approx(1)


def one_hot_map(classes: list[list[int]], count: int) -> Tensor:
    return F.one_hot(torch.tensor([classes]), count).movedim(-1, 1).float()


def test_the_mask_loss_counts_only_classes_that_the_exemplar_has_and_not_class_0():
    # At half size: condition [[1, 2], [3, 0]], exemplar [[1, 1], [0, 3]].
    classes = torch.tensor([[[1, 2], [3, 0]]]).repeat_interleave(2, 1).repeat_interleave(2, 2)
    exemplar = torch.tensor([[[1, 1], [0, 3]]]).repeat_interleave(2, 1).repeat_interleave(2, 2)
    warped = torch.full((1, 4, 2, 2), 0.25)
    warped[0, 3, 1, 0] = 0.5
    loss = losses.warped_mask_loss(warped, classes, exemplar)
    assert loss.item() == pytest.approx((math.log(4) + math.log(2)) / 2, rel=1e-5)
    loss = losses.warped_mask_loss(warped, classes, exemplar, ignored=None)
    assert loss.item() == pytest.approx((2 * math.log(4) + math.log(2)) / 3, rel=1e-5)


def test_the_mask_loss_takes_the_first_pixel_of_each_block():
    classes = torch.full((1, 4, 4), 2)
    classes[:, ::2, ::2] = 1
    warped = one_hot_map([[1, 1], [1, 1]], 3)
    assert losses.warped_mask_loss(warped, classes, classes).item() == pytest.approx(0, abs=1e-6)


def test_the_mask_loss_of_nothing_to_count_is_0_and_of_a_certain_mistake_is_finite():
    zeros, ones = torch.zeros(1, 2, 2).int(), torch.ones(1, 2, 2).int()
    warped = one_hot_map([[0, 0], [0, 0]], 2).requires_grad_()
    assert losses.warped_mask_loss(warped, zeros, zeros).item() == 0
    assert losses.warped_mask_loss(warped, ones, zeros).item() == 0
    loss = losses.warped_mask_loss(warped, ones, ones)
    assert loss.item() == pytest.approx(-math.log(1e-10), rel=1e-4)
    loss.backward()
    assert torch.isfinite(warped.grad).all()


def test_the_mask_loss_reads_no_labels_of_a_device_that_would_have_to_be_waited_for():
    warped = torch.ones(2, 3, 4, 4, device="meta")  # holds no values
    labels = torch.zeros(2, 8, 8, dtype=torch.long, device="meta")
    assert losses.warped_mask_loss(warped, labels, labels).shape == ()


# Shapes that do not fit ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: losses.domain_alignment_loss(torch.ones(2, 3, 4, 4), torch.ones(1, 3, 4, 4)),
            "one shape",
        ),
        (
            lambda: losses.perceptual_loss(torch.ones(2, 3, 4, 4), torch.ones(2, 1, 4, 4)),
            "one shape",
        ),
        (
            lambda: losses.pseudo_exemplar_loss([torch.ones(1, 2, 3, 3)], [], torch.ones(1)),
            "of the 5 layers",
        ),
        (
            lambda: losses.self_warp_loss(
                torch.ones(2, 3, 4, 4), torch.ones(2, 3, 4, 4), torch.ones(2, 1, 1, 1)
            ),
            "one flag for each of the 2 samples",
        ),
        (
            lambda: losses.cyclic_warp_loss(torch.ones(1, 3, 4, 4), torch.ones(1, 3, 10, 8)),
            "or a multiple",
        ),
        (
            lambda: losses.cyclic_warp_loss(torch.ones(1, 3, 4, 4), torch.ones(1, 3, 2, 2)),
            "or a multiple",
        ),
        (
            lambda: losses.warped_mask_loss(
                torch.ones(1, 3, 4, 4), torch.ones(1, 6, 6), torch.ones(1, 4, 4)
            ),
            "or a multiple",
        ),
        (
            lambda: losses.warped_mask_loss(
                torch.ones(1, 3, 4, 4), torch.ones(1, 4, 4), torch.ones(2, 4, 4)
            ),
            r"exemplar_classes must be \(1, H, W\)",
        ),
        (
            lambda: losses.warped_mask_loss(
                torch.ones(1, 3, 4, 4), torch.full((1, 4, 4), 3), torch.ones(1, 4, 4)
            ),
            r"classes must lie in 0\.\.2",
        ),
    ],
)
def test_tensors_that_do_not_fit_each_other_are_refused(call: Callable[[], Tensor], message: str):
    with pytest.raises(ValueError, match=message):
        call()
