"""The whole objective: one forward pass of the networks, and every term of both sides' loss.

Zhang et al. 2020, section 3.3, as in the official training (official networks, 10).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cocosnet_hf import CorrespondenceNetwork, CorrespondenceOutput, Matching, losses, sharpness
from cocosnet_hf.models.blending import BlendingOutput
from cocosnet_hf.models.correspondence import Warp
from cocosnet_hf.models.perceptual import PerceptualNetwork

from .augment import diff_augment, random_shift
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
    flow (B, 2, h, w): for each position of the matching its place in the exemplar, in pixels, NaN
    where unknown. matching_condition, matching_exemplar_condition: both conditions at the size at
    which they are matched, where that is smaller than the picture's.
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
    flow: Tensor | None = None
    matching_condition: Tensor | None = None
    matching_exemplar_condition: Tensor | None = None

    @property
    def matching_scale(self) -> int:
        """How many times larger the picture is than what is matched."""
        if self.matching_condition is None:
            return 1
        return self.condition.shape[-1] // self.matching_condition.shape[-1]

    def for_matching(self) -> "Batch":
        """The pictures and conditions that the correspondence network sees."""
        scale = self.matching_scale
        if scale == 1:
            return self

        def at_centres(labels: Tensor | None) -> Tensor | None:
            return None if labels is None else labels[:, scale // 2 :: scale, scale // 2 :: scale]

        return replace(
            self,
            image=F.avg_pool2d(self.image, scale),
            exemplar=F.avg_pool2d(self.exemplar, scale),
            condition=self.matching_condition,
            exemplar_condition=self.matching_exemplar_condition,
            condition_labels=at_centres(self.condition_labels),
            exemplar_labels=at_centres(self.exemplar_labels),
            flow=None if self.flow is None else (self.flow - (scale - 1) / 2) / scale,
            matching_condition=None,
            matching_exemplar_condition=None,
        )


@dataclass(frozen=True)
class Painting:
    """What the networks made of a batch.

    image, warped_exemplar (B, 3, H, W), the same where nothing was painted; grid_exemplar: the
    warped exemplar as (B, 3, h, w), one colour per position of the matching. matching: None of a
    rival that paints without. batch: the examples that this is to be compared with, cut as it is.
    """

    image: Tensor
    warped_exemplar: Tensor
    grid_exemplar: Tensor
    matching: Matching | None
    features: CorrespondenceOutput
    batch: Batch | None = None


def paint(
    correspondence: nn.Module,
    translation: nn.Module | None,
    matcher: CorrespondenceNetwork,
    batch: Batch,
    *,
    exemplar_noise: bool = False,
    target: Tensor | None = None,
    crop: int = 0,
    frozen: bool = False,
) -> Painting:
    """Condition and exemplar to picture, as `CoCosPipeline` does it.

    translation: None to warp only. matcher: the correspondence network itself, which
    `correspondence` may wrap. exemplar_noise: let it put noise in the place of the exemplar's
    condition. target: the true photo, for the domain alignment term. crop: side of the random
    window of each picture that is painted, 0 for all of it. frozen: the matching is given.
    """
    small = batch.for_matching()
    with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
        features = correspondence(
            small.condition,
            small.exemplar,
            None if exemplar_noise else small.exemplar_condition,
            target,
        )
        # Whoever trains looks at all of a step's losses at once, and waits for the device once.
        check = not torch.is_grad_enabled()
        matching = matcher.match(features.content, features.style, check_finite=check)
    warp = matcher.warp(matching, batch.exemplar, tuple(batch.image.shape[-2:]))
    if crop:
        warp, batch = cropped(warp, batch, crop)
    picture = warp.picture
    if translation is not None:
        picture = picture_of(translation(warp.features, batch.condition))
    return Painting(picture, warp.picture, warp.grid, matching, features, batch)


def picture_of(output: Tensor | BlendingOutput) -> Tensor:
    """What a translation network painted, (B, 3, H, W), whatever else it tells."""
    return output if isinstance(output, Tensor) else output.image


def cropped(warp: Warp, batch: Batch, side: int) -> tuple[Warp, Batch]:
    """A random window of each item, the same in all of its pictures at full size.

    The exemplar becomes its warp: what the window's content must look like. Labels and flows are
    left out. Draws from torch's global generator.
    """
    count, _, height, width = batch.image.shape
    high, wide = min(side, height), min(side, width)
    # Even corners keep half-size maps aligned.
    tops = (torch.rand(count) * ((height - high) // 2 + 1)).long() * 2
    lefts = (torch.rand(count) * ((width - wide) // 2 + 1)).long() * 2
    corners = list(zip(tops.tolist(), lefts.tolist(), strict=True))

    def cut(pictures: Tensor) -> Tensor:
        windows = [
            picture[:, top : top + high, left : left + wide]
            for picture, (top, left) in zip(pictures, corners, strict=True)
        ]
        return torch.stack(windows).contiguous(memory_format=torch.channels_last)

    features = cut(warp.features)
    picture = features[:, :3]
    window = Batch(cut(batch.image), cut(batch.condition), picture.detach(), None, batch.is_self)
    return replace(warp, picture=picture, features=features), window


def generator_terms(
    weights: LossWeights,
    painting: Painting,
    batch: Batch,
    discriminator: nn.Module,
    perceptual: PerceptualNetwork | None,
    perceptual_layer: int,
    augment: bool,
    perceptual_shift: int = 0,
) -> dict[str, Tensor]:
    """Each term of the generator's loss times its weight; terms of weight 0 are not computed.

    perceptual: needed for the three perceptual terms only. perceptual_layer: which of its five
    layers the perceptual term compares, from 0. augment: `diff_augment` what is judged.
    perceptual_shift: most pixels by which pictures are moved before the perceptual network.
    """
    small, window = batch.for_matching(), painting.batch or batch
    output, target, exemplar = painting.image, window.image, window.exemplar
    found, matching = painting.features, painting.matching
    if weights.adversarial or weights.feature_matching:
        fake, real = judge(discriminator, window.condition, output, target, augment)
    if weights.need_perceptual_network:
        shifted = [output, target, exemplar]
        if perceptual_shift:
            shifted = random_shift(*shifted, most=perceptual_shift)
        output_maps = list(perceptual.calibrated(shifted[0]).values())
        with torch.no_grad():
            target_maps = list(perceptual.calibrated(shifted[1]).values())
            if weights.contextual:
                exemplar_maps = list(perceptual.calibrated(shifted[2]).values())
    if weights.known_flow or weights.region_flow:
        exact, likely = sharpness.known_flow_losses(matching, small.flow, small.is_self)
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
            matching.warp_back(painting.grid_exemplar), small.exemplar
        ),
        "self_warp": lambda: losses.self_warp_loss(painting.warped_exemplar, target, batch.is_self),
        "known_flow": lambda: exact,
        "region_flow": lambda: likely,
        "warped_mask": lambda: losses.warped_mask_loss(
            matching.warp(label_masks(small, matching.stride)),
            small.condition_labels,
            small.exemplar_labels,
            small.ignored_label,
        ),
        "self_pixel": lambda: losses.self_warp_loss(output, target, batch.is_self),
        "self_laplacian": lambda: sharpness.laplacian_pyramid_loss(output, target, batch.is_self),
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
    output, window = painting.image.detach(), painting.batch or batch
    fake, real = judge(discriminator, window.condition, output, window.image, augment)
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
