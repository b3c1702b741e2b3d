"""StarGAN v2: one generator of many domains, in styles by chance or of a photo (Choi et al. 2020).

The condition is a picture and the domain that it is to be painted as one of; the exemplar is a
photo of that domain, as is the batch's image. At the paper's size the generator has 33.9 million
weights, the mapping network 2.4, style encoder and critic 20.9 each, with two domains. Written from
the paper; no code or weights of its authors are part of this package.

Decided where the paper leaves it open: the option for faces, which needs a network that finds
their landmarks, is left out; widths do not follow the size of the pictures; a photo of another
shape than the style encoder's is resized to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from ..call_inputs import as_batch, opened
from ..conditions import Condition
from ..conditions.asked import require_domains, taken_apart
from ..gan_losses import CROSS_ENTROPY, r1_penalty
from ..image_translation import require_output_type
from ..models import DomainCritic, DomainStyleEncoder, RestylingGenerator, StyleMapping
from ..models.network import Network
from .augment import diff_augment
from .base import LossWeights, Networks, Phase, System
from .batch import Batch, Generated, needed
from .paired import PairedOutput, generators_for
from .styled import StyledPipeline, require_one_style, together


class StarGANv2Pipeline(StyledPipeline):
    """Paints a picture as one of a domain, in the style of an exemplar, given, or by chance."""

    method = "[StarGAN v2](https://arxiv.org/abs/1912.01865)"

    generator: RestylingGenerator
    mapping: StyleMapping
    style_encoder: DomainStyleEncoder

    def __init__(
        self,
        generator: RestylingGenerator,
        mapping: StyleMapping,
        style_encoder: DomainStyleEncoder,
        condition: dict | Condition | None = None,
        image_size: int = 256,
        image_width: int | None = None,
    ):
        networks = {"generator": generator, "mapping": mapping, "style_encoder": style_encoder}
        super().__init__(networks, condition, image_size, image_width)

    def generate(self, condition: Tensor, exemplar: Tensor) -> Tensor:
        """condition (B, 3 + D, H, W) in the style of exemplar (B, 3, H', W') -> (B, 3, H, W)."""
        self._numbers(None, condition)
        return restyled(self.networks, condition, fitted(exemplar, self.style_encoder))

    @torch.no_grad()
    def __call__(
        self,
        condition: Any,
        exemplar: Any = None,
        exemplar_condition: Any = None,
        *,
        domain: str | None = None,
        style: Tensor | None = None,
        count: int = 1,
        height: int | None = None,
        width: int | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        output_type: str = "pil",
    ) -> PairedOutput:
        """Paint `condition` as one of a domain.

        condition: pictures, one or a list. domain: by its name; without, each condition says its
        own, {"picture": picture, "asked": name}. exemplar: photos of that domain, whose styles are
        taken; one serves many of the other. style (S,) or (B, S): such as of `encode`, `sample`,
        `interpolate` and the `styles` of an output; its domain counts, whatever a condition asks.
        count: of pictures for each condition, where neither is given; they follow each other.
        generator: which draws their styles, one, one for each condition or one for each picture;
        without, all have the style that 0 is mapped to.
        exemplar_condition: of no use here. height, width: of the picture. output_type: "pil", "np"
        or "pt". Raises ValueError for input that cannot be used.
        """
        del exemplar_condition
        require_output_type(output_type)
        require_one_style(exemplar, style, count)
        if style is not None and domain is not None:
            raise ValueError("a style is of a domain already: pass a style or a domain, not both.")
        given = self._given(condition, count=count, height=height, width=width, generator=generator)
        guide = given.condition
        if exemplar is not None:
            guide, photos = together(guide, self._photos(exemplar))
            styles = self.style_encoder(photos, self._numbers(domain, guide))
        elif style is not None:
            guide, styles = together(guide, self._checked(style))
        else:
            latent = given.noise((self.mapping.config.latent_channels,))
            if latent is None:
                latent = guide.new_zeros(len(guide), self.mapping.config.latent_channels)
            styles = self.mapping(latent, self._numbers(domain, guide))
        return self._output(self.generator(taken_apart(guide)[0], styles), output_type, styles)

    @torch.no_grad()
    def encode(self, exemplar: Any, domain: str) -> Tensor:  # type: ignore[override]  # of which
        """The style of each photo of a domain, (B, S); they are one or a list, of any sizes.

        Raises ValueError for one that cannot be read, and for an unknown domain.
        """
        photos = self._photos(exemplar)
        return self.style_encoder(photos, self._numbers(domain, photos))

    @torch.no_grad()
    def sample(  # type: ignore[override]  # of which domain
        self,
        count: int,
        domain: str,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
    ) -> Tensor:
        """Styles (count, S) of a domain by chance, of one generator, one each, or torch's own."""
        shape = count, self.mapping.config.latent_channels
        drawn = generators_for(generator, count, 1)
        latent = randn_tensor(shape, drawn, self._execution_device, self.dtype)
        return self.mapping(latent, self._numbers(domain, latent))

    def _photos(self, exemplar: Any) -> Tensor:
        """Photos (B, 3, size, size) in [-1, 1]."""
        photos = [self._reader.photo(opened(one), 1.0) for one in as_batch(exemplar, "exemplar")]
        squares = [fitted(one[None], self.style_encoder) for one in photos]
        return torch.cat(squares).to(self._execution_device, self.dtype)

    def _numbers(self, domain: str | None, guide: Tensor) -> Tensor:
        """Of the domain, or of that which each of the conditions asks for, (B,) int64.

        Raises ValueError for an unknown domain, and where nothing says which.
        """
        condition: Any = self.condition
        if domain is not None:
            return guide.new_full((len(guide),), condition.number(domain), dtype=torch.long)
        asked = taken_apart(guide)[1]
        if not ((asked.sum(1) == 1) & (asked.amax(1) == 1)).all():
            raise ValueError(
                f"domain must say what the picture is to become, one of "
                f"{', '.join(condition.names)}: pass domain=."
            )
        return wanted(guide)


@dataclass(frozen=True)
class StarGANv2Losses(LossWeights):
    """Multiplier of each term; see Choi et al. 2020, section 3.2.

    adversarial: of the critic too. r1: of its slope at true pictures. style: that a picture's style
    is read off it. diversity: how far pictures in two styles are apart, which is to be large; its
    weight falls to 0 over the run; 1 for faces. cycle: that a picture comes back in its own style.
    """

    adversarial: float = 1.0
    r1: float = 1.0
    style: float = 1.0
    diversity: float = 2.0
    cycle: float = 1.0


class StarGANv2(System):
    """One step teaches the critic by styles of chance and of photos, then the others likewise.

    By chance all that paints learns, by photos the generator alone.
    """

    network_classes = {
        "generator": (RestylingGenerator,),
        "mapping": (StyleMapping,),
        "style_encoder": (DomainStyleEncoder,),
        "critic": (DomainCritic,),
    }
    averaged = ("generator", "mapping", "style_encoder")
    rates = {"mapping": 0.01}
    Losses = StarGANv2Losses
    losses: StarGANv2Losses
    pipeline_class = StarGANv2Pipeline

    @classmethod
    def make_networks(
        cls, condition: Condition, options: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Network]:
        """New networks for the condition's domains. Raises ValueError for one without any."""
        count = require_domains(condition)
        generator: Any = cls.make("generator", options)
        style = {"style_channels": generator.config.style_channels, "domains": count}
        encoder: Any = cls.make("style_encoder", options, **style)
        return {
            "generator": generator,
            "mapping": cls.make("mapping", options, **style),
            "style_encoder": encoder,
            "critic": cls.make("critic", options, size=encoder.config.size, domains=count),
        }

    def generate(self, nets: Networks, batch: Batch) -> Generated:
        """The picture as one of the domain that is asked for, in the style of the exemplar."""
        return Generated(restyled(nets, batch.condition, batch.exemplar))

    def step(self, phase: Phase, batch: Batch) -> Generated:
        """The critic twice, then the generator with those that make its styles, then alone."""
        picture, domain = taken_apart(batch.condition)[0], wanted(batch.condition)
        channels = self.networks["mapping"].config.latent_channels
        latents = torch.randn(2, len(picture), channels).to(picture)

        def by_chance(nets: Networks) -> list[Tensor]:
            return [nets["mapping"](latent, domain) for latent in latents]

        def of_photos(nets: Networks) -> list[Tensor]:
            return [nets["style_encoder"](one, domain) for one in (batch.exemplar, batch.image)]

        ways = {"latent": by_chance, "reference": of_photos}
        if self.losses.adversarial:
            for way, styles_of in ways.items():
                with torch.no_grad():
                    fake = self.networks["generator"](picture, styles_of(self.networks)[0])
                with phase("critic", name=f"critic_{way}") as (nets, terms):
                    terms |= self._critic_terms(nets, batch, fake, domain)
        for way, names in {"latent": self.averaged, "reference": ("generator",)}.items():
            with phase(*names, name=f"generator_{way}") as (nets, terms):
                style, other = ways[way](nets)
                fake = nets["generator"](picture, style)
                terms |= self.losses.applied(
                    self._painter_terms(nets, batch, fake, style, other, 1 - phase.share)
                )
        return Generated(fake.detach())

    def _critic_terms(
        self, nets: Networks, batch: Batch, fake: Tensor, domain: Tensor
    ) -> dict[str, Tensor]:
        true = taken_apart(batch.condition)[0].detach().requires_grad_(self.losses.r1 > 0)
        source = needed(batch.source_domain, "the domain of each picture")
        said = nets["critic"](self._seen(true), source)
        terms = {
            "fake": CROSS_ENTROPY.fake(nets["critic"](self._seen(fake), domain).float()),
            "real": CROSS_ENTROPY.real(said.float()),
        }
        weighted = {name: self.losses.adversarial * term for name, term in terms.items()}
        return weighted | self.losses.applied(
            {"r1": lambda: r1_penalty(said, true)} if self.losses.r1 else {}
        )

    def _painter_terms(
        self, nets: Networks, batch: Batch, fake: Tensor, style: Tensor, other: Tensor, left: float
    ) -> dict[str, Callable[[], Tensor]]:
        """What computes each unweighted term. left: share of the run that is still to come."""
        picture, domain = taken_apart(batch.condition)[0], wanted(batch.condition)
        source = needed(batch.source_domain, "the domain of each picture")

        def apart() -> Tensor:
            with torch.no_grad():
                painted = nets["generator"](picture, other)
            return F.l1_loss(fake, painted)

        def back() -> Tensor:
            own = nets["style_encoder"](picture, source)
            return F.l1_loss(nets["generator"](fake, own), picture)

        return {
            "adversarial": lambda: CROSS_ENTROPY.painted(
                nets["critic"](self._seen(fake), domain).float()
            ),
            "style": lambda: F.l1_loss(nets["style_encoder"](fake, domain), style),
            "diversity": lambda: -left * apart(),
            "cycle": back,
        }

    def _seen(self, picture: Tensor) -> Tensor:
        """What the critic sees of a picture."""
        if not self.settings.diff_augment:
            return picture
        return diff_augment(picture[:, :0], picture)[1]


def restyled(nets: Networks, condition: Tensor, exemplar: Tensor) -> Tensor:
    """A picture (B, 3, H, W) in the style of exemplars, as one of the domain that is asked for.

    condition (B, 3 + D, H, W); exemplar (B, 3, size, size) in [-1, 1].
    """
    style = nets["style_encoder"](exemplar, wanted(condition))
    return nets["generator"](taken_apart(condition)[0], style)


def wanted(condition: Tensor) -> Tensor:
    """The number of the domain that encoded conditions (B, 3 + D, H, W) ask for, (B,) int64."""
    return taken_apart(condition)[1].argmax(1)


def fitted(photo: Tensor, encoder: DomainStyleEncoder) -> Tensor:
    """A photo (B, 3, H, W) at the size of the encoder."""
    side = encoder.config.size
    if tuple(photo.shape[-2:]) == (side, side):
        return photo
    return F.interpolate(photo, (side, side), mode="bilinear", antialias=True)
