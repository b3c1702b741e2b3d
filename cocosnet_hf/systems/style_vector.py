"""The baseline without correspondence: the same translation network, guided by one style vector.

It is trained by a recipe of CoCosNet under the layer style-vector.yaml, with the same data, steps
and networks beside it, and then measured on the same pairs as the recipe's own model:

    python -m cocosnet_hf.evaluate out/edge-to-face-128/pipeline --data FOLDER \\
        --baselines exemplar style=out/style-vector/pipeline
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..conditions import Condition
from ..image_translation import ImageTranslationPipeline
from ..models import StyleEncoder, TranslationNetwork
from ..models.network import Network
from .adversarial import DISCRIMINATORS, AdversarialSystem
from .base import Networks
from .batch import Batch, Generated


class StyleVectorPipeline(ImageTranslationPipeline):
    """Paints a picture with the layout of a condition in the style of an exemplar."""

    style_encoder: StyleEncoder
    translation: TranslationNetwork

    def __init__(
        self,
        style_encoder: StyleEncoder,
        translation: TranslationNetwork,
        condition: dict | Condition | None = None,
        image_size: int = 256,
        image_width: int | None = None,
    ):
        networks = {"style_encoder": style_encoder, "translation": translation}
        super().__init__(networks, condition, image_size, image_width)

    def generate(self, condition: Tensor, exemplar: Tensor) -> Tensor:
        """See `translate_in_style`."""
        return translate_in_style(self.style_encoder, self.translation, condition, exemplar)


class StyleVector(AdversarialSystem):
    """A style encoder in the place of the correspondence network; terms of the picture alone."""

    network_classes = {
        "style_encoder": (StyleEncoder,),
        "translation": (TranslationNetwork,),
        "discriminator": DISCRIMINATORS,
    }
    averaged = ("style_encoder", "translation")
    pipeline_class = StyleVectorPipeline

    @classmethod
    def make_networks(
        cls, condition: Condition, options: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Network]:
        """New networks, of which the translation network reads the style beside the condition."""
        encoder = cls.make("style_encoder", options)
        given = condition.channels + encoder.config.style_channels - 3
        reads = {"translation": given, "discriminator": condition.channels}
        return {"style_encoder": encoder} | {
            name: cls.make(name, options, channels) for name, channels in reads.items()
        }

    def generate(self, nets: Networks, batch: Batch) -> Generated:
        """See `translate_in_style`."""
        networks = nets["style_encoder"], nets["translation"]
        return Generated(translate_in_style(*networks, batch.condition, batch.exemplar))


def translate_in_style(
    encoder: nn.Module, translation: nn.Module, condition: Tensor, exemplar: Tensor
) -> Tensor:
    """The picture (B, 3, H, W) in [-1, 1].

    condition (B, K, H, W); exemplar (B, 3, H', W') in [-1, 1]. The translation network reads S - 3
    channels more than the condition has: of the style, the mean colour stands where it expects the
    warped exemplar, the others before the condition; it concatenates both anyway.
    """
    style = encoder(exemplar)[:, :, None, None].expand(-1, -1, *condition.shape[-2:])
    guide = torch.cat([style, condition], dim=1)
    return translation(guide[:, :3], guide[:, 3:])
