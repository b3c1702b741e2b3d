"""AdaIN: features of one picture with the statistics of another, decoded (Huang and Belongie 2017).

The encoder is the recipe's perceptual network up to relu4_1, as it is; the decoder, 3.5 million
weights behind VGG-19, is what learns. Content is the condition, drawn as a picture, and style the
exemplar, which nothing pairs: see `cocosnet_hf.systems.unpaired`. Written from the paper; no code
or weights of its authors are part of this package.

Decided where the paper leaves it open: features are those of the network as it stands, not scaled
to means of 1, and its borders are its own; colours are kept by giving the style the mean and
deviation of the content's red, green and blue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..call_inputs import as_batch, opened
from ..conditions import Condition
from ..image_translation import (
    ImageTranslationOutput,
    require_output_type,
)
from ..models import DistilledVGG19Features, MirroredDecoder, VGG19Features
from ..models.drawn import drawn
from ..models.network import Network, size_of
from ..models.norms import adaptive_norm, moments
from ..models.perceptual import PerceptualNetwork
from .base import LossWeights, Networks, Phase, System
from .batch import Batch, Generated
from .judged import summed
from .paired import PairedPipeline
from .unpaired import domains

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
DEEPEST = LAYERS[-1]


class AdaINPipeline(PairedPipeline):
    """Paints a content in a style, or in several, as strongly as asked."""

    method = "[AdaIN](https://arxiv.org/abs/1703.06868)"

    encoder: PerceptualNetwork
    decoder: MirroredDecoder

    def __init__(
        self,
        encoder: VGG19Features | DistilledVGG19Features,
        decoder: MirroredDecoder,
        condition: dict | Condition | None = None,
        image_size: int = 256,
        image_width: int | None = None,
    ):
        networks = {"encoder": encoder, "decoder": decoder}
        super().__init__(networks, condition, image_size, image_width)

    def generate(self, condition: Tensor, exemplar: Tensor) -> Tensor:
        """condition (B, K, H, W) in the style of exemplar (B, 3, H', W') -> (B, 3, H, W)."""
        return self.decoder(stylized(self.networks, drawn(condition), exemplar))

    @torch.no_grad()
    def __call__(
        self,
        condition: Any,
        exemplar: Any,
        exemplar_condition: Any = None,
        *,
        strength: float = 1.0,
        weights: Sequence[float] | Tensor | None = None,
        keep_colors: bool = False,
        height: int | None = None,
        width: int | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        output_type: str = "pil",
    ) -> ImageTranslationOutput:
        """Paint `condition` in the style of `exemplar`.

        condition, exemplar: one of each or lists; one serves many of the other. weights: every
        content in all of the exemplars, mixed by as many numbers (n,), or by maps (n, H, W) that
        say where; they are divided by their sum. strength: from 0, the content decoded, to 1.
        keep_colors: styles in the content's colours. exemplar_condition, generator: of no use here.
        height, width: of the picture. output_type: "pil", "np" or "pt". Raises ValueError for input
        that cannot be used.
        """
        del exemplar_condition, generator
        require_output_type(output_type)
        if not 0 <= strength <= 1:
            raise ValueError(f"strength must be in 0..1, got {strength}.")
        content = drawn(self._given(condition, height=height, width=width).condition)
        photos = [self._reader.photo(opened(one), 1.0) for one in as_batch(exemplar, "exemplar")]
        if weights is None:
            content, style = self._stacked({"contents": list(content), "exemplars": photos})
            styles = [style]
        else:
            styles = [one[None].to(content) for one in photos]
        shares = shares_of(weights, len(styles)).to(content)
        if keep_colors:
            own = moments(content)
            styles = [
                adaptive_norm(one.expand(len(content), -1, -1, -1), *own).clamp(-1, 1)
                for one in styles
            ]
        features = self.encoder(content, [DEEPEST])[DEEPEST]
        shares = F.interpolate(shares[None], size_of(features), mode="area")[0]
        wanted = [
            share * stylized(self.networks, content, style)
            for share, style in zip(shares, styles, strict=True)
        ]
        mixed = torch.stack(wanted).sum(0)
        images = self.decoder(torch.lerp(features, mixed, strength))
        return ImageTranslationOutput(self._finished(images, output_type))


def shares_of(weights: Sequence[float] | Tensor | None, count: int) -> Tensor:
    """Weights (n,) or (n, H, W) as maps (n, H, W) that add up to 1; of one style None will do.

    Raises ValueError for another number of them, negative ones and places where all are 0.
    """
    given = torch.as_tensor([1.0] if weights is None else weights, dtype=torch.float32)
    maps = given[:, None, None] if given.ndim == 1 else given
    if maps.ndim != 3 or len(maps) != count or (maps < 0).any() or not (maps.sum(0) > 0).all():
        raise ValueError(
            f"weights must be ({count},) or ({count}, H, W), one for each exemplar, from 0 on and "
            f"nowhere all 0, got {tuple(given.shape)}."
        )
    return maps / maps.sum(0)


@dataclass(frozen=True)
class AdaINLosses(LossWeights):
    """Multiplier of each term; see Huang and Belongie 2017, equations 11 to 13.

    content: squared differences of the picture's features and those it was decoded from. style: of
    the means and deviations of channels at four layers.
    """

    content: float = 1.0
    style: float = 10.0


class AdaIN(System):
    """One step teaches the decoder."""

    network_classes = {
        "encoder": (VGG19Features, DistilledVGG19Features),
        "decoder": (MirroredDecoder,),
    }
    averaged = ("encoder", "decoder")
    Losses = AdaINLosses
    losses: AdaINLosses
    pipeline_class = AdaINPipeline

    @classmethod
    def make_networks(
        cls, condition: Condition, options: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Network]:
        """New networks, the encoder still without what it knows."""
        del condition
        return {name: cls.make(name, options) for name in cls.network_classes}

    @property
    def frozen(self) -> tuple[str, ...]:
        """The encoder."""
        return ("encoder",)

    def prepare(
        self, open_perceptual: Callable[[], PerceptualNetwork], device: torch.device | str
    ) -> None:
        """Give the encoder the weights of the recipe's perceptual network.

        Raises ValueError for one of another class.
        """
        super().prepare(open_perceptual, device)
        known, encoder = open_perceptual(), self.networks["encoder"]
        if type(known) is not type(encoder):
            raise ValueError(
                f"adain's encoder is the recipe's perceptual network, a {type(known).__name__}: "
                f"set networks.encoder.class to it, got {type(encoder).__name__}."
            )
        encoder.register_to_config(**known.config)
        encoder.load_state_dict(known.state_dict())

    def generate(self, nets: Networks, batch: Batch) -> Generated:
        """The condition in the style of the exemplar."""
        pictures = domains(batch).values()
        return Generated(nets["decoder"](stylized(nets, *pictures)))

    def step(self, phase: Phase, batch: Batch) -> Generated:
        """The decoder."""
        content, style = domains(batch).values()
        with torch.no_grad():
            goal = stylized(self.networks, content, style)
            looks = self.networks["encoder"](style, LAYERS)
        with phase("decoder") as (nets, terms):
            made = nets["decoder"](goal)
            found = nets["encoder"](made, LAYERS)
            terms |= self.losses.applied(
                {
                    "content": lambda: F.mse_loss(found[DEEPEST], goal),
                    "style": lambda: summed(
                        F.mse_loss(one, other)
                        for name in LAYERS
                        for one, other in zip(
                            moments(found[name]), moments(looks[name]), strict=True
                        )
                    ),
                }
            )
        return Generated(made.detach())


def stylized(nets: Networks, content: Tensor, style: Tensor) -> Tensor:
    """AdaIN(f(content), f(style)) at relu4_1, (B, C, H / 8, W / 8); equation 8.

    content (B, 3, H, W), style (B or 1, 3, H', W') in [-1, 1].
    """
    features = nets["encoder"](content, [DEEPEST])[DEEPEST]
    scale, shift = moments(nets["encoder"](style, [DEEPEST])[DEEPEST])
    return adaptive_norm(features, scale.expand(len(content), -1), shift.expand(len(content), -1))
