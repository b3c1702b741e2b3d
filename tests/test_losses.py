"""Each loss is its equation: recorded official values, closed forms, plain float64 oracles."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from goldens import SHARED, indices
from hypothesis import given, settings
from hypothesis import strategies as st
from official_objective import TASK_WEIGHTS, adversarial_terms, perceptual_terms, vgg, weighted
from operations import Operations
from torch import Tensor

import cocosnet_hf
from cocosnet_hf import VGG19Features, losses
from cocosnet_hf.losses import contextual_loss
from cocosnet_hf.models.blocks import unit_length

FORMS = ["forward", "original"]
CENTERINGS = ["position", "channel", None]
RECORDED = 2e-6  # relative, float32 against float32
ROUNDING = 1e-6  # of a float32 product of unit vectors, with slack
ONE_ROW, SOME_ROWS, EVERYTHING = 1, 4_000, 2**25  # bytes of a strip

examples = settings(max_examples=60, deadline=None, derandomize=True, database=None)
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"needs {SHARED}")


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# Recorded official values --------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    with np.load(SHARED / "golden_losses.npz") as file:
        return {name.removeprefix("A/"): file[name] for name in file.files}


@pytest.fixture(scope="module")
def extractor() -> VGG19Features:
    return vgg()


def recorded_input(recorded: dict[str, np.ndarray], name: str) -> Tensor:
    array = torch.from_numpy(recorded[f"input/{name}"])
    return (array.float() / 255 - 0.5) / 0.5 if name.endswith("_u8") else array


def recorded_judgements(recorded: dict[str, np.ndarray], kind: str) -> losses.Judgements:
    return [
        [torch.from_numpy(recorded[f"input/D_{kind}_scale{i}_out{j}"]) for j in range(5)]
        for i in range(2)
    ]


@needs_shared
@pytest.mark.parametrize("flags", ["10", "11", "00"])
@pytest.mark.parametrize("task", TASK_WEIGHTS)
def test_every_generator_term_is_the_recorded_one(
    task: str, flags: str, recorded: dict[str, np.ndarray], extractor: VGG19Features
):
    def tensor(name: str) -> Tensor:
        return recorded_input(recorded, name)

    self_reference = torch.tensor([float(flag) for flag in flags])
    fake, real, exemplar = (tensor(f"{name}_u8") for name in ("fake", "real", "ref"))
    terms = {
        "no_vgg_feat": losses.domain_alignment_loss(
            unit_length(tensor("feat_a")), unit_length(tensor("feat_b"))
        ),
        "G_warp_cycle": losses.cyclic_warp_loss(tensor("warp_cycle"), exemplar),
        "G_warp_self": losses.self_warp_loss(tensor("warp_out"), real, self_reference),
        "mask": losses.warped_mask_loss(
            tensor("warp_mask"), tensor("label")[:, 0], tensor("label_ref")[:, 0]
        ),
    }
    terms |= adversarial_terms(
        recorded_judgements(recorded, "fake"), recorded_judgements(recorded, "real")
    )
    terms |= perceptual_terms(task, extractor, fake, real, exemplar, self_reference)
    found = {name: term.item() for name, term in weighted(task, terms).items()}
    prefix = f"{task.replace('-', '')}/selfref{flags}/"
    expected = {
        name.removeprefix(prefix): float(value)
        for name, value in recorded.items()
        if name.startswith(prefix)
    }
    assert found == pytest.approx(expected, rel=RECORDED)


@needs_shared
@pytest.mark.parametrize("task", TASK_WEIGHTS)
def test_both_discriminator_terms_are_the_recorded_ones(task: str, recorded: dict[str, np.ndarray]):
    terms = {
        "D_Fake": losses.discriminator_fake_loss(recorded_judgements(recorded, "fake")),
        "D_real": losses.discriminator_real_loss(recorded_judgements(recorded, "real")),
    }
    for name, term in weighted(task, terms).items():
        value = float(recorded[f"{task.replace('-', '')}/{name}"])
        assert term.item() == pytest.approx(value, rel=RECORDED)


OFFICIAL_FORM = {"form": "original", "centering": "channel", "epsilon": 1e-5}


@needs_shared
@pytest.mark.parametrize("tile_memory", [SOME_ROWS, EVERYTHING])
@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("forward_PONO1", {}),
        ("forward_PONO1_h0.5", {"bandwidth": 0.5}),
        ("forward_PONO1_swapped", {}),
        ("forward_PONO0", {"centering": "channel"}),
        ("forward_PONO0_h0.5", {"centering": "channel", "bandwidth": 0.5}),
        ("forward_PONO0_swapped", {"centering": "channel"}),
        ("forward_nocentering", {"centering": None}),
        ("full", OFFICIAL_FORM),
        ("full_swapped", OFFICIAL_FORM),
        ("complex_patch1_backward", OFFICIAL_FORM),
        ("complex_patch1_forward", {"centering": "channel", "epsilon": 1e-5}),
    ],
)
def test_every_variant_of_the_contextual_loss_is_the_recorded_one(
    name: str, variant: dict, tile_memory: int, recorded: dict[str, np.ndarray]
):
    x, y = (recorded_input(recorded, f"ctx_{letter}") for letter in "XY")
    if name.endswith("swapped"):
        x, y = y, x
    for index, value in enumerate(recorded[f"ctx_{name}"]):
        one = slice(index, index + 1)
        found = contextual_loss(x[one], y[one], tile_memory=tile_memory, **variant)
        assert found.item() == pytest.approx(value, rel=RECORDED)


@needs_shared
@torch.no_grad()
def test_the_features_of_the_official_extractor_are_the_recorded_ones(
    recorded: dict[str, np.ndarray], extractor: VGG19Features
):
    images = recorded_input(recorded, "fake_u8")
    preprocessed = extractor.preprocess(images)[0, :, 0, :8].numpy()
    np.testing.assert_allclose(preprocessed, recorded["vgg_preprocess_fake_sample"], atol=1e-4)
    for name, features in extractor.calibrated(images).items():
        key = f"vgg_fake_r{name[4]}{name[6]}"
        rms = features.double().square().mean().sqrt().item()
        assert rms == pytest.approx(float(recorded[f"{key}_rms"]), rel=1e-5)
        sample = features.numpy()[:, indices(features.shape[1], 8)]
        sample = sample[:, :, indices(features.shape[2], 4)][..., indices(features.shape[3], 4)]
        np.testing.assert_allclose(sample, recorded[f"{key}_sample"], atol=2e-3)


# Contextual loss -----------------------------------------------------------------------------


def distances(x: Tensor, y: Tensor, centering: str | None) -> Tensor:
    if centering is not None:
        mean = y.mean(1 if centering == "position" else (2, 3), keepdim=True)
        x, y = x - mean, y - mean
    x, y = F.normalize(x.flatten(2), dim=1), F.normalize(y.flatten(2), dim=1)
    return 1 - x.mT @ y


def nearest(x: Tensor, y: Tensor, centering: str | None) -> float:
    """The smallest distance of all."""
    return distances(x.double(), y.double(), centering).min().item()


def plain_contextual(
    x: Tensor,
    y: Tensor,
    form: str = "forward",
    centering: str | None = "position",
    bandwidth: float = 0.1,
    epsilon: float = 1e-3,
) -> Tensor:
    """The definition with the whole N x N' matrix, in the precision of its inputs."""
    distance = distances(x, y, centering)
    relative = distance / (distance.amin(2, keepdim=True) + epsilon)
    weight = ((1 - relative) / bandwidth).exp()
    share = weight / weight.sum(2, keepdim=True)
    similarity = share.amax(2).mean(1) if form == "forward" else share.amax(1).mean(1)
    return -similarity.log().mean()


def with_gradients(
    loss: Callable[..., Tensor], x: Tensor, y: Tensor, **variant: object
) -> tuple[Tensor, Tensor, Tensor]:
    x, y = x.detach().requires_grad_(), y.detach().requires_grad_()
    value = loss(x, y, **variant)
    value.backward()
    return value.detach(), x.grad, y.grad


@examples
@given(
    sizes=st.tuples(*[st.integers(1, 7)] * 4),
    batch=st.integers(1, 2),
    channels=st.integers(4, 16),
    form=st.sampled_from(FORMS),
    centering=st.sampled_from(CENTERINGS),
    bandwidth=st.sampled_from([0.1, 0.5]),
    epsilon=st.sampled_from([1e-3, 1e-5]),
    tile_memory=st.sampled_from([ONE_ROW, SOME_ROWS, EVERYTHING]),
    seed=st.integers(0, 2**16),
)
def test_the_contextual_loss_and_its_gradients_equal_the_plain_matrix_at_any_size(
    sizes: tuple[int, int, int, int],
    batch: int,
    channels: int,
    form: str,
    centering: str | None,
    bandwidth: float,
    epsilon: float,
    tile_memory: int,
    seed: int,
):
    x = normal(batch, channels, *sizes[:2], seed=seed)
    y = normal(batch, channels, *(sizes[:2] if centering == "position" else sizes[2:]), seed=~seed)
    if centering == "channel" and y[0, 0].numel() == 1:
        y = torch.cat([y, -y], dim=3)  # a single position would be centred to nothing
    variant = {"form": form, "centering": centering, "bandwidth": bandwidth, "epsilon": epsilon}
    expected = with_gradients(plain_contextual, x.double(), y.double(), **variant)
    found = with_gradients(contextual_loss, x, y, tile_memory=tile_memory, **variant)
    assert all(tensor.dtype == torch.float32 for tensor in found)
    # Both forms divide the rounding of d by this, whoever computes them in float32.
    limit = ROUNDING / (bandwidth * (nearest(x, y, centering) + epsilon))
    torch.testing.assert_close(found[0].double(), expected[0], atol=limit, rtol=0)
    for gradient, plain in zip(found[1:], expected[1:], strict=True):
        scale = max(1.0, plain.abs().max().item())
        torch.testing.assert_close(gradient.double(), plain, atol=limit * scale, rtol=0)


@pytest.mark.parametrize("form", FORMS)
def test_the_contextual_gradient_predicts_a_small_step(form: str):
    x, y, direction = (normal(1, 8, 5, 6, seed=seed) for seed in range(3))
    _, gradient, _ = with_gradients(contextual_loss, x, y, form=form, tile_memory=SOME_ROWS)
    step = 1e-4 * direction.double()
    change = plain_contextual(x.double() + step, y.double(), form) - plain_contextual(
        x.double() - step, y.double(), form
    )
    predicted = 2 * (gradient.double() * step).sum()
    assert predicted.item() == pytest.approx(change.item(), rel=1e-3)


@pytest.mark.parametrize("form", FORMS)
def test_the_contextual_loss_does_not_mind_where_a_feature_lies(form: str):
    x, y = normal(1, 8, 6, 6), normal(1, 8, 6, 6, seed=1)
    shuffled = y.flatten(2)[:, :, torch.randperm(36, generator=torch.Generator().manual_seed(2))]
    variant = {"form": form, "centering": "channel"}
    torch.testing.assert_close(
        contextual_loss(x, shuffled.view_as(y), **variant), contextual_loss(x, y, **variant)
    )


def test_the_original_form_misses_what_the_forward_form_does_not():
    exemplar = normal(1, 16, 4, 4)
    half = exemplar[:, :, :2]
    settings = {"centering": "channel", "bandwidth": 0.05}
    forward = contextual_loss(half, exemplar, form="forward", **settings)
    original = contextual_loss(half, exemplar, form="original", **settings)
    assert forward.item() < 0.01
    # Every second exemplar feature is found and no other: CX is one half.
    assert original.item() == pytest.approx(math.log(2), abs=0.02)


@pytest.mark.parametrize("form", FORMS)
def test_the_contextual_loss_never_holds_the_matrix(form: str):
    x, y = (normal(1, 4, 48, 48, seed=seed).requires_grad_() for seed in range(2))
    memory, matrix = 200_000, 4 * 48**4
    with Operations() as seen:
        contextual_loss(x, y, form=form, tile_memory=memory).backward()
    assert "aten::mm" in seen.names
    assert seen.largest_bytes <= memory < matrix / 100
    with Operations() as seen:
        plain_contextual(x, y, form).backward()
    assert seen.largest_bytes == matrix


def test_the_contextual_loss_is_computed_in_float32_under_autocast():
    x, y = normal(1, 8, 6, 6), normal(1, 8, 6, 6, seed=1)
    expected = with_gradients(contextual_loss, x, y)
    x, y = x.requires_grad_(), y.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = contextual_loss(x, y)
        loss.backward()
    for found, value in zip((loss, x.grad, y.grad), expected, strict=True):
        torch.testing.assert_close(found, value, atol=0, rtol=0)


def test_an_exemplar_without_gradient_gets_none():
    x, y = normal(1, 8, 6, 6).requires_grad_(), normal(1, 8, 6, 6, seed=1)
    contextual_loss(x, y).backward()
    assert y.grad is None
    assert x.grad.abs().sum() > 0


def test_flat_features_give_the_loss_of_no_preference_and_no_gradient():
    x = torch.zeros(1, 4, 3, 3, requires_grad=True)
    loss = contextual_loss(x, torch.zeros(1, 4, 3, 3))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(9))
    assert x.grad.abs().max() == 0


@pytest.mark.parametrize("length", [0.0, 1e-12])
@pytest.mark.parametrize("form", FORMS)
def test_a_position_without_texture_does_not_blow_up_the_gradient(form: str, length: float):
    x, y = normal(1, 8, 5, 5), normal(1, 8, 5, 5, seed=1)
    x[:, :, 2, 3] = length * x[:, :, 2, 3]
    _, gradient, other = with_gradients(contextual_loss, x, y, form=form, centering=None)
    assert gradient[:, :, 2, 3].abs().max() == 0
    assert 0 < gradient.abs().max() < 1
    assert 0 < other.abs().max() < 1


def test_the_contextual_loss_is_exported():
    assert cocosnet_hf.contextual_loss is contextual_loss


@pytest.mark.parametrize(
    ("shapes", "variant", "message"),
    [
        (((1, 4, 3, 3), (2, 4, 3, 3)), {}, "batch and channels"),
        (((1, 4, 3, 3), (1, 5, 3, 3)), {}, "batch and channels"),
        (((4, 3, 3), (4, 3, 3)), {}, r"\(B, C, h, w\)"),
        (((1, 4, 3, 0), (1, 4, 3, 0)), {}, r"\(B, C, h, w\)"),
        (((1, 4, 3, 3), (1, 4, 3, 4)), {}, 'use centering="channel"'),
        (((1, 4, 3, 3), (1, 4, 3, 3)), {"form": "backward"}, "form must be"),
        (((1, 4, 3, 3), (1, 4, 3, 3)), {"centering": "batch"}, "centering must be"),
        (((1, 4, 3, 3), (1, 4, 3, 3)), {"bandwidth": 0.0}, "bandwidth and epsilon"),
        (((1, 4, 3, 3), (1, 4, 3, 3)), {"epsilon": -1.0}, "bandwidth and epsilon"),
    ],
)
def test_the_contextual_loss_refuses_what_it_cannot_compare(
    shapes: tuple, variant: dict, message: str
):
    with pytest.raises(ValueError, match=message):
        contextual_loss(*(torch.ones(shape) for shape in shapes), **variant)


def test_the_layered_contextual_loss_weighs_three_layers_and_pools_the_finest():
    x = [normal(1, 4, 8, 8), normal(1, 6, 4, 4, seed=1), normal(1, 6, 2, 2, seed=2)]
    y = [normal(1, 4, 8, 8, seed=3), normal(1, 6, 4, 4, seed=4), normal(1, 6, 2, 2, seed=5)]
    expected = (
        2 * plain_contextual(F.avg_pool2d(x[0], 2), F.avg_pool2d(y[0], 2))
        + 4 * plain_contextual(x[1], y[1])
        + 8 * plain_contextual(x[2], y[2])
    )
    torch.testing.assert_close(losses.layered_contextual_loss(x, y), expected)
    exemplar = y[2].requires_grad_()
    x[2].requires_grad_()
    losses.layered_contextual_loss(x, y).backward()
    assert exemplar.grad is None
    with pytest.raises(ValueError, match="3 coarsest layers"):
        losses.layered_contextual_loss(x[:2], y)


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
    for loss in (
        losses.self_warp_loss(output, target, flag),
        losses.pseudo_exemplar_loss([output], [target], flag, [1.0]),
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


def judgements(*logits: float) -> list[list[Tensor]]:
    """One scale for each value, its feature maps and logits constant."""
    return [[torch.full((2, 3, 4, 4), value), torch.full((2, 1, 3, 3), value)] for value in logits]


@pytest.mark.parametrize(
    ("logits", "generator", "fake", "real"),
    [((0.0, 0.0), 0.0, 1.0, 1.0), ((2.0, -4.0), 1.0, 1.5, 2.5), ((-1.0,), 1.0, 0.0, 2.0)],
)
def test_the_hinge_losses_have_their_known_values(
    logits: tuple[float, ...], generator: float, fake: float, real: float
):
    judged = judgements(*logits)
    assert losses.generator_adversarial_loss(judged).item() == generator
    assert losses.discriminator_fake_loss(judged).item() == fake
    assert losses.discriminator_real_loss(judged).item() == real


def test_feature_matching_sums_layers_averages_scales_and_leaves_out_the_logits():
    fake, real = judgements(1.0, 2.0), judgements(0.0, 0.0)
    fake[0].insert(0, torch.full((2, 3, 8, 8), 5.0))
    real[0].insert(0, torch.full((2, 3, 8, 8), 1.0))
    assert losses.discriminator_feature_matching_loss(fake, real).item() == (1 + 4 + 2) / 2


def test_judgements_of_other_discriminators_are_refused():
    with pytest.raises(ValueError, match="one discriminator"):
        losses.discriminator_feature_matching_loss(judgements(1.0, 2.0), judgements(1.0))
    with pytest.raises(ValueError, match="at least one discriminator"):
        losses.generator_adversarial_loss([])


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
            "name the same layers",
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
