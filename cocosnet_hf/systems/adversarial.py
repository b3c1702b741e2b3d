"""What CoCosNet and its baseline share: its terms of a picture, and its discriminators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import losses, sharpness
from ..losses import contextual_loss as default_contextual_loss
from ..models import (
    EfficientNetLite0Features,
    MultiscaleDiscriminator,
    ProjectedDiscriminator,
)
from ..models.perceptual import PerceptualNetwork
from ..pictures import to_image
from .augment import random_shift
from .base import LossWeights, Networks, SystemOptions
from .batch import Batch, Generated, needed
from .judged import JudgedLosses, JudgedSystem

DISCRIMINATORS = (MultiscaleDiscriminator, ProjectedDiscriminator)
DISTILLED = "vgg19-distilled"
"""The backbone that is the recipe's perceptual network."""


@dataclass(frozen=True)
class PictureLosses(JudgedLosses):
    """Multiplier of each term that looks at the picture; one of weight 0 is not computed.

    Zhang et al. 2020, section 3.3; the terms are the functions of `cocosnet_hf.losses`.
    self_pixel: mean absolute difference of picture and target, on self pairs only (not in the
    paper; does for runs without a perceptual network what pseudo_exemplar does).
    self_laplacian: the same band by band, see `cocosnet_hf.sharpness`.
    line_consistency: that the lines of the picture are those that were asked for; needs a condition
    whose channel 0 holds lines of photos, as that of edges does.
    """

    perceptual_terms = ("pseudo_exemplar", "perceptual", "contextual")

    adversarial: float = 10.0
    pseudo_exemplar: float = 10.0
    perceptual: float = 0.001
    contextual: float = 10.0
    self_pixel: float = 0.0
    self_laplacian: float = 0.0
    line_consistency: float = 0.0


class AdversarialSystem(JudgedSystem):
    """A system with the network `discriminator`, which sees condition and picture.

    A subclass says how its averaged networks generate.
    """

    losses: PictureLosses
    Losses = PictureLosses
    _contextual_loss: Callable[[Tensor, Tensor], Tensor] = staticmethod(default_contextual_loss)

    @classmethod
    def require_known(
        cls,
        options: Mapping[str, Mapping[str, Any]],
        losses: LossWeights,
        perceptual: str,
        own: SystemOptions,
    ) -> None:
        """Also where the discriminator judges by a network that the run does not load.

        Early, since a recipe comes to its discriminator only after hours of matching.
        """
        super().require_known(options, losses, perceptual, own)
        chosen = options.get("discriminator", {})
        backbones = chosen.get("backbones", ProjectedDiscriminator.backbones)
        if (
            chosen.get("class") == ProjectedDiscriminator.__name__
            and DISTILLED in backbones
            and perceptual != DISTILLED
        ):
            raise ValueError(
                f"networks.discriminator judges by {DISTILLED}, and perceptual.network is "
                f"{perceptual}: set networks.discriminator.backbones=[efficientnet-lite0], or "
                f"perceptual.network={DISTILLED} with its file as perceptual.source."
            )

    def prepare(
        self, open_perceptual: Callable[[], PerceptualNetwork], device: torch.device | str
    ) -> None:
        """Also those by which a discriminator judges."""
        super().prepare(open_perceptual, device)
        discriminator = self.networks["discriminator"]
        if isinstance(discriminator, ProjectedDiscriminator):
            makers = {
                "efficientnet-lite0": EfficientNetLite0Features.from_package,
                DISTILLED: open_perceptual,
            }
            discriminator.attach(
                {name: makers[name]().to(device) for name in discriminator.config.backbones}
            )

    def use_forms(self, *, contextual_loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        """See `System`."""
        self._contextual_loss = contextual_loss

    def picture_terms(
        self, nets: Networks, batch: Batch, generated: Generated
    ) -> dict[str, Callable[[], Tensor]]:
        """What computes each unweighted term of `PictureLosses`."""
        weights, settings = self.losses, self.settings
        window = generated.batch or batch
        output, target, exemplar = generated.image, window.image, window.exemplar
        self_target = target if generated.self_target is None else generated.self_target
        self_output = output
        if generated.self_weight is not None:  # both terms are linear in the difference
            self_output = self_target + generated.self_weight * (output - self_target)
        if weights.adversarial:
            fake, real = self.judge(nets["discriminator"], self.seen(window), output, target)
        if weights.need_perceptual_network:
            shifted = [output, target, exemplar, self_target]
            if settings.perceptual_shift:
                shifted = random_shift(*shifted, most=settings.perceptual_shift)
            perceptual = needed(self.perceptual, "a perceptual network")
            output_maps = list(perceptual.calibrated(shifted[0]).values())
            with torch.no_grad():
                target_maps = list(perceptual.calibrated(shifted[1]).values())
                self_maps = target_maps
                if generated.self_target is not None:
                    self_maps = list(perceptual.calibrated(shifted[3]).values())
                if weights.contextual:
                    exemplar_maps = list(perceptual.calibrated(shifted[2]).values())
        layer = settings.perceptual_layer
        return {
            "adversarial": lambda: self.gan.for_painter(fake),
            "feature_matching": lambda: losses.discriminator_feature_matching_loss(fake, real),
            "pseudo_exemplar": lambda: losses.pseudo_exemplar_loss(
                output_maps, self_maps, batch.is_self_pair
            ),
            "perceptual": lambda: losses.perceptual_loss(output_maps[layer], target_maps[layer]),
            "contextual": lambda: losses.layered_contextual_loss(
                output_maps[2:], exemplar_maps[2:], loss=self._contextual_loss
            ),
            "self_pixel": lambda: losses.self_warp_loss(output, self_target, batch.is_self_pair),
            "self_laplacian": lambda: sharpness.laplacian_pyramid_loss(
                self_output, self_target, batch.is_self_pair
            ),
            "line_consistency": lambda: sharpness.line_consistency_loss(
                output, self.lines_in(output), window.condition[:, 0] > 0.5
            ),
        }

    def lines_in(self, pictures: Tensor) -> Tensor:
        """What the condition would ask for of pictures (B, 3, H, W), (B, H, W) bool.

        Raises ValueError for a condition without lines.
        """
        found = [self.condition.lines(to_image(picture)) for picture in pictures]
        if any(lines is None for lines in found):
            raise ValueError(
                f"losses.line_consistency needs a condition of lines, such as 'edge', got "
                f"'{self.condition.type}': set it to 0."
            )
        return torch.from_numpy(np.stack([lines for lines in found if lines is not None]))
