"""The whole objective: one forward pass of the networks, and every term of both sides' loss.

Zhang et al. 2020, section 3.3, as in the official training (specification, section 10).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cocosnet_hf import CorrespondenceOutput, Matching, losses
from cocosnet_hf.models.perceptual import PerceptualNetwork

from .augment import diff_augment
from .config import LossWeights


@dataclass(frozen=True)
class Batch:
    """Training examples. B of them, photos (B, 3, H, W) in [-1, 1], conditions (B, K, H, W).

    image: the photo that belongs to the condition. is_self (B,): 1 where the exemplar is the image
    itself, distorted. The labels (B, H, W) are class numbers of condition and exemplar, where the
    data has them, and classes is how many the data declare: the largest label of a batch lies on
    the device, which would have to be waited for. ignored_label: the class that warped_mask leaves
    out: 0 in masks, as in the official training; None in label maps beside another condition, where
    every class counts.
    """

    image: Tensor
    condition: Tensor
    exemplar: Tensor
    exemplar_condition: Tensor
    is_self: Tensor
    condition_labels: Tensor | None = None
    exemplar_labels: Tensor | None = None
    classes: int | None = None
    ignored_label: int | None = 0


@dataclass(frozen=True)
class Painting:
    """What the networks made of a batch.

    image, warped_exemplar (B, 3, H, W), the same where nothing was painted; grid_exemplar: the
    warped exemplar as (B, 3, h, w), one colour per position of the matching. matching: None of a
    rival that paints without.
    """

    image: Tensor
    warped_exemplar: Tensor
    grid_exemplar: Tensor
    matching: Matching | None
    features: CorrespondenceOutput


def paint(
    correspondence: nn.Module,
    translation: nn.Module | None,
    settings: dict,
    batch: Batch,
    *,
    exemplar_noise: bool = False,
    target: Tensor | None = None,
) -> Painting:
    """Condition and exemplar to picture, as `CoCosPipeline` does it.

    translation: None to warp only. settings: the correspondence network's config. exemplar_noise:
    let it put noise in the place of the exemplar's condition. target: the true photo, for the
    domain alignment term.
    """
    features = correspondence(
        batch.condition,
        batch.exemplar,
        None if exemplar_noise else batch.exemplar_condition,
        target,
    )
    matching = Matching(
        features.content,
        features.style,
        patch_size=settings["patch_size"],
        temperature=settings["temperature"],
        # Whoever trains looks at all of a step's losses at once, and waits for the device once.
        check_finite=not torch.is_grad_enabled(),
    )
    if settings["warp"] == "patch":
        warped = matching.warp(batch.exemplar, patches=True)
        grid = F.avg_pool2d(warped, matching.stride)
    else:
        grid = matching.warp(batch.exemplar)
        warped = F.interpolate(grid, scale_factor=matching.stride, mode=settings["warp_upsampling"])
    image = warped if translation is None else translation(warped, batch.condition)
    return Painting(image, warped, grid, matching, features)


def generator_terms(
    weights: LossWeights,
    painting: Painting,
    batch: Batch,
    discriminator: nn.Module,
    perceptual: PerceptualNetwork | None,
    perceptual_layer: int,
    augment: bool,
) -> dict[str, Tensor]:
    """Each term of the generator's loss times its weight; terms of weight 0 are not computed.

    perceptual: needed for the three perceptual terms only. perceptual_layer: which of its five
    layers the perceptual term compares, from 0. augment: `diff_augment` what is judged.
    """
    output, target, exemplar = painting.image, batch.image, batch.exemplar
    found, matching = painting.features, painting.matching
    if weights.adversarial or weights.feature_matching:
        fake, real = judge(discriminator, batch.condition, output, target, augment)
    if weights.need_perceptual_network:
        output_maps = list(perceptual.calibrated(output).values())
        with torch.no_grad():
            target_maps = list(perceptual.calibrated(target).values())
            exemplar_maps = list(perceptual.calibrated(exemplar).values())
    terms: dict[str, Callable[[], Tensor]] = {
        "adversarial": lambda: losses.generator_adversarial_loss(fake),
        "feature_matching": lambda: losses.discriminator_feature_matching_loss(fake, real),
        "pseudo_exemplar": lambda: losses.pseudo_exemplar_loss(
            output_maps, target_maps, batch.is_self
        ),
        "perceptual": lambda: losses.perceptual_loss(
            output_maps[perceptual_layer], target_maps[perceptual_layer]
        ),
        "contextual": lambda: losses.layered_contextual_loss(output_maps[2:], exemplar_maps[2:]),
        "domain_alignment": lambda: losses.domain_alignment_loss(
            found.content_features, found.target_features
        ),
        "cycle": lambda: losses.cyclic_warp_loss(
            matching.warp_back(painting.grid_exemplar), exemplar
        ),
        "self_warp": lambda: losses.self_warp_loss(painting.warped_exemplar, target, batch.is_self),
        "warped_mask": lambda: losses.warped_mask_loss(
            matching.warp(label_masks(batch, matching.stride)),
            batch.condition_labels,
            batch.exemplar_labels,
            batch.ignored_label,
        ),
        "self_pixel": lambda: losses.self_warp_loss(output, target, batch.is_self),
    }
    return {
        name: weight * term()
        for name, term in terms.items()
        if (weight := getattr(weights, name)) != 0
    }


def discriminator_terms(
    weights: LossWeights, painting: Painting, batch: Batch, discriminator: nn.Module, augment: bool
) -> dict[str, Tensor]:
    """Both halves of the discriminator's hinge loss, on the output that the generator was given."""
    output = painting.image.detach()
    fake, real = judge(discriminator, batch.condition, output, batch.image, augment)
    return {
        "fake": weights.adversarial * losses.discriminator_fake_loss(fake),
        "real": weights.adversarial * losses.discriminator_real_loss(real),
    }


def judge(
    discriminator: nn.Module, condition: Tensor, fake: Tensor, real: Tensor, augment: bool
) -> tuple[losses.Judgements, losses.Judgements]:
    """The discriminator's outputs for fake and real pictures, from one call on both."""
    if augment:
        condition, fake, real = diff_augment(condition, fake, real)
    outputs = discriminator(torch.cat([condition, condition]), torch.cat([fake, real]))
    halves = [[layer.chunk(2) for layer in scale] for scale in outputs]
    return (
        [[layer[0] for layer in scale] for scale in halves],
        [[layer[1] for layer in scale] for scale in halves],
    )


def label_masks(batch: Batch, stride: int) -> Tensor:
    """The exemplar's labels one-hot at its positions, nearest: (B, classes, h, w)."""
    labels = batch.exemplar_labels[:, ::stride, ::stride]
    return F.one_hot(labels, batch.classes).movedim(-1, 1).float()
