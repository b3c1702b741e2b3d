"""MUNIT: conditions and photos share contents, each domain has its own styles (Huang et al. 2018).

Without pairs: see `cocosnet_hf.systems.unpaired` for what is read of an example. Written from the
paper; no code or weights of its authors are part of this package.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..conditions import Condition
from ..models import ContentEncoder, PatchGAN, StyleCodeEncoder, StyledDecoder
from ..models.drawn import drawn
from ..models.norms import instance_norm
from .base import LossWeights, Networks, Phase
from .batch import Batch, Generated, needed
from .judged import summed
from .styled import StyledPipeline
from .unpaired import DOMAINS, OTHER, Pair, UnpairedSystem, apart, domains

CRITIC = {"halvings": 4, "norm": "none", "scales": 3, "joins": False}


class MUNITPipeline(StyledPipeline):
    """Paints photos of conditions in the style of an exemplar, of a code, or of chance."""

    method = "[MUNIT](https://arxiv.org/abs/1804.04732)"

    condition_content: ContentEncoder
    photo_style: StyleCodeEncoder
    photo_decoder: StyledDecoder

    def __init__(
        self,
        condition_content: ContentEncoder,
        condition_style: StyleCodeEncoder,
        condition_decoder: StyledDecoder,
        photo_content: ContentEncoder,
        photo_style: StyleCodeEncoder,
        photo_decoder: StyledDecoder,
        condition: dict | Condition | None = None,
        image_size: int = 256,
        image_width: int | None = None,
    ):
        networks = {
            "condition_content": condition_content,
            "condition_style": condition_style,
            "condition_decoder": condition_decoder,
            "photo_content": photo_content,
            "photo_style": photo_style,
            "photo_decoder": photo_decoder,
        }
        super().__init__(networks, condition, image_size, image_width)

    @property
    def style_channels(self) -> int:
        """Numbers of a style."""
        return self.photo_style.config.style_channels

    def encode_exemplar(self, exemplar: Tensor) -> Tensor:
        """The styles (B, S) of photos (B, 3, H, W) in [-1, 1]."""
        return self.photo_style(exemplar)

    def paint(self, condition: Tensor, style: Tensor) -> Tensor:
        """condition (B, K, H, W) in styles (B, S) -> (B, 3, H, W) in [-1, 1]."""
        return self.photo_decoder(self.condition_content(drawn(condition)), style)


@dataclass(frozen=True)
class MUNITLosses(LossWeights):
    """Multiplier of each term, summed over both domains; see Huang et al. 2018, section 4.

    adversarial: least squares, of the critics too. image: that a picture comes back from its own
    content and style. content, style: that they come back from the picture that was made of them.
    cycle: that a picture comes back from its translation's content and its own style. perceptual:
    that the deepest perceptual features stay, without their means and spreads. The last two are
    for domains whose contents would drift apart.
    """

    adversarial: float = 1.0
    image: float = 10.0
    content: float = 1.0
    style: float = 1.0
    cycle: float = 0.0
    perceptual: float = 0.0


class MUNIT(UnpairedSystem):
    """Six networks that paint, two critics; one step teaches the critics, then the others."""

    network_classes = {
        "condition_content": (ContentEncoder,),
        "condition_style": (StyleCodeEncoder,),
        "condition_decoder": (StyledDecoder,),
        "photo_content": (ContentEncoder,),
        "photo_style": (StyleCodeEncoder,),
        "photo_decoder": (StyledDecoder,),
        "condition_critic": (PatchGAN,),
        "photo_critic": (PatchGAN,),
    }
    averaged = tuple(name for name in network_classes if not name.endswith("_critic"))
    defaults = dict.fromkeys(("condition_critic", "photo_critic"), CRITIC)
    Losses = MUNITLosses
    losses: MUNITLosses
    pipeline_class = MUNITPipeline

    def generate(self, nets: Networks, batch: Batch) -> Generated:
        """The condition in the style of the exemplar."""
        content = nets["condition_content"](drawn(batch.condition))
        return Generated(nets["photo_decoder"](content, nets["photo_style"](batch.exemplar)))

    def step(self, phase: Phase, batch: Batch) -> Generated:
        """The critics, then all others; pictures are made in styles N(0, 1) of this step."""
        pictures = domains(batch)
        styles = {name: self._drawn_styles(name, batch) for name in DOMAINS}
        with torch.no_grad():
            contents = {name: self.networks[f"{name}_content"](pictures[name]) for name in DOMAINS}
            fakes = translated(self.networks, contents, styles)
        self.critics_step(phase, pictures, fakes)
        with phase(*self.averaged, name="generators") as (nets, terms):
            contents, own = encoded(nets, pictures)
            fakes = translated(nets, contents, styles)
            again, found = encoded(nets, fakes)

            def back(contents: Pair, styles: Pair) -> Tensor:
                return summed(
                    F.l1_loss(nets[f"{name}_decoder"](contents[name], styles[name]), picture)
                    for name, picture in pictures.items()
                )

            terms |= self.losses.applied(
                {
                    "adversarial": lambda: self.fooled(nets, fakes),
                    "image": lambda: back(contents, own),
                    "content": lambda: apart(again, {n: contents[OTHER[n]] for n in DOMAINS}),
                    "style": lambda: apart(found, styles),
                    "cycle": lambda: back({n: again[OTHER[n]] for n in DOMAINS}, own),
                    "perceptual": lambda: self._perceptual(fakes, pictures),
                }
            )
        return Generated(fakes["photo"].detach())

    def _drawn_styles(self, name: str, batch: Batch) -> Tensor:
        channels = self.networks[f"{name}_style"].config.style_channels
        return torch.randn(len(batch.image), channels).to(batch.image)

    def _perceptual(self, fakes: Pair, pictures: Pair) -> Tensor:
        """Mean squared difference of instance-normed features, of both translations."""
        network = needed(self.perceptual, "a perceptual network")
        deepest = network.layers[-1]

        def features(picture: Tensor) -> Tensor:
            return instance_norm(network(picture, [deepest])[deepest])

        return summed(
            F.mse_loss(features(fakes[OTHER[name]]), features(pictures[name])) for name in DOMAINS
        )


def encoded(nets: Networks, pictures: Pair) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Contents and styles of pictures, by domain."""
    contents = {name: nets[f"{name}_content"](picture) for name, picture in pictures.items()}
    styles = {name: nets[f"{name}_style"](picture) for name, picture in pictures.items()}
    return contents, styles


def translated(nets: Networks, contents: Pair, styles: Pair) -> dict[str, Tensor]:
    """By domain a picture in it, of the other domain's content and a style of its own."""
    return {name: nets[f"{name}_decoder"](contents[OTHER[name]], styles[name]) for name in DOMAINS}
