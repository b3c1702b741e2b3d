"""The terms of the official training, put together from the package's losses.

Source: official networks, 10.1 (weights) and 11 (what is fed to what).
"""

import torch
from torch import Tensor

from cocosnet_hf import VGG19Features, losses
from cocosnet_hf.gan_losses import HINGE
from tests.support.official import formula_weights

WEIGHTS = {
    "no_vgg_feat": 10,
    "GAN": 10,
    "GAN_Feat": 10,
    "contextual": 10,
    "D_Fake": 10,
    "D_real": 10,
}
TASK_WEIGHTS = {
    "ade20k": WEIGHTS | {"fm": 1, "perc": 0.01, "mask": 100},
    "celebahq": WEIGHTS | {"fm": 10, "perc": 0.001, "mask": 100, "G_warp_cycle": 0.1},
    "celebahq-edge": WEIGHTS | {"fm": 10, "perc": 0.001, "G_warp_cycle": 1},
    "deepfashion": WEIGHTS | {"fm": 10, "perc": 0.001, "G_warp_self": 100},
}
"""By task and recorded name of the term."""

OFFICIAL_NAMES = {
    "domain_alignment": "no_vgg_feat",
    "cycle": "G_warp_cycle",
    "self_warp": "G_warp_self",
    "adversarial": "GAN",
    "feature_matching": "GAN_Feat",
    "pseudo_exemplar": "fm",
    "perceptual": "perc",
    "contextual": "contextual",
    "warped_mask": "mask",
    "fake": "D_Fake",
    "real": "D_real",
}
"""Recorded name of each of the trainer's terms."""


def vgg() -> VGG19Features:
    """The network of the perceptual terms with its formula weights."""
    network = VGG19Features("caffe")
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    network.load_state_dict(formula_weights("vgg", shapes))
    return network.eval().requires_grad_(False)


def weighted(task: str, terms: dict[str, Tensor]) -> dict[str, Tensor]:
    """The terms that the task uses, as the total adds them."""
    weights = TASK_WEIGHTS[task]
    return {name: weights[name] * term for name, term in terms.items() if name in weights}


def perceptual_terms(
    task: str,
    network: VGG19Features,
    fake: Tensor,
    real: Tensor,
    exemplar: Tensor,
    is_self_pair: Tensor,
) -> dict[str, Tensor]:
    """`fm`, `perc` and `contextual` of images (B, 3, H, W) in [-1, 1]."""
    features = list(network.calibrated(fake).values())
    with torch.no_grad():
        real_features = list(network.calibrated(real).values())
        exemplar_features = list(network.calibrated(exemplar).values())
    layer = -1 if task == "ade20k" else -2
    return {
        "fm": losses.pseudo_exemplar_loss(features, real_features, is_self_pair),
        "perc": losses.perceptual_loss(features[layer], real_features[layer]),
        "contextual": losses.layered_contextual_loss(features[2:], exemplar_features[2:]),
    }


def adversarial_terms(
    fake: losses.DiscriminatorOutputs, real: losses.DiscriminatorOutputs
) -> dict[str, Tensor]:
    """`GAN` and `GAN_Feat`, from what the discriminator says of an output and of a photo."""
    return {
        "GAN": HINGE.for_painter(fake),
        "GAN_Feat": losses.discriminator_feature_matching_loss(fake, real),
    }
