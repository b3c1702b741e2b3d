"""Losses have the recorded official values."""

import numpy as np
import pytest
import torch
from torch import Tensor

from cocosnet_hf import VGG19Features, losses
from cocosnet_hf.gan_losses import HINGE
from cocosnet_hf.losses import contextual_loss
from cocosnet_hf.models.blocks import normalize_features
from tests.support.goldens import indices
from tests.support.official_objective import (
    TASK_WEIGHTS,
    adversarial_terms,
    perceptual_terms,
    vgg,
    weighted,
)
from tests.support.paths import SHARED_PARITY

RECORDED = 2e-6  # relative, float32 against float32
ONE_ROW, SOME_ROWS, EVERYTHING = 1, 4_000, 2**25  # bytes of a chunk
needs_shared = pytest.mark.skipif(not SHARED_PARITY.is_dir(), reason=f"needs {SHARED_PARITY}")


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    with np.load(SHARED_PARITY / "golden_losses.npz") as file:
        return {name.removeprefix("A/"): file[name] for name in file.files}


@pytest.fixture(scope="module")
def extractor() -> VGG19Features:
    return vgg()


def recorded_input(recorded: dict[str, np.ndarray], name: str) -> Tensor:
    array = torch.from_numpy(recorded[f"input/{name}"])
    return (array.float() / 255 - 0.5) / 0.5 if name.endswith("_u8") else array


def recorded_judgements(recorded: dict[str, np.ndarray], kind: str) -> losses.DiscriminatorOutputs:
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

    is_self_pair = torch.tensor([float(flag) for flag in flags])
    fake, real, exemplar = (tensor(f"{name}_u8") for name in ("fake", "real", "ref"))
    terms = {
        "no_vgg_feat": losses.domain_alignment_loss(
            normalize_features(tensor("feat_a")), normalize_features(tensor("feat_b"))
        ),
        "G_warp_cycle": losses.cyclic_warp_loss(tensor("warp_cycle"), exemplar),
        "G_warp_self": losses.self_warp_loss(tensor("warp_out"), real, is_self_pair),
        "mask": losses.warped_mask_loss(
            tensor("warp_mask"), tensor("label")[:, 0], tensor("label_ref")[:, 0]
        ),
    }
    terms |= adversarial_terms(
        recorded_judgements(recorded, "fake"), recorded_judgements(recorded, "real")
    )
    terms |= perceptual_terms(task, extractor, fake, real, exemplar, is_self_pair)
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
    judged = [recorded_judgements(recorded, kind) for kind in ("fake", "real")]
    terms = dict(zip(("D_Fake", "D_real"), HINGE.for_critic(*judged), strict=True))
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
