"""EGSC-IT: an exemplar's statistics and masks of the content guide UNIT (Ma et al. 2019).

Two runs. `stage: autoencoders` teaches one autoencoder for each domain; `stage: translation` starts
from that run's pipeline (networks.init_from), keeps their encoders as they are and looks through
them: of the picture to translate for masks, of the exemplar for its statistics. The critics go on
from one stage to the next. Without pairs: see `cocosnet_hf.systems.unpaired`. Written from the
paper; no code or weights of its authors are part of this package.

Decided where the paper leaves it open: in a cycle the mask is of the translated picture; all
updates of a step are on its one batch; the perceptual features are those behind each ReLU; the
exemplar's statistics are its deviation and mean, by the paper's formula; rates fall linearly, where
the authors' fall by a polynomial.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from ..conditions import Condition
from ..image_translation import ImageTranslationPipeline
from ..models import (
    DomainAutoencoder,
    DomainEncoder,
    GuidedDecoder,
    PatchGAN,
    SharedLatent,
)
from ..models.drawn import drawn
from ..models.network import Network
from ..models.perceptual import PerceptualNetwork
from .base import LossWeights, Networks, Phase, SystemOptions
from .batch import Batch, Generated, needed
from .judged import summed
from .unpaired import DOMAINS, OTHER, Pair, UnpairedSystem, apart, domains

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
"""Whose differences the content term adds up, with weights 1/5, 2/5, ..., 1, and the style term."""

CRITIC = {"halvings": 4, "joins": False}


class EGSCITPipeline(ImageTranslationPipeline):
    """Paints photos of conditions that look like an exemplar."""

    method = "[EGSC-IT](https://arxiv.org/abs/1805.11145)"

    condition_autoencoder: DomainAutoencoder
    photo_autoencoder: DomainAutoencoder
    condition_encoder: DomainEncoder
    photo_encoder: DomainEncoder
    shared: SharedLatent
    condition_decoder: GuidedDecoder
    photo_decoder: GuidedDecoder

    def __init__(
        self,
        condition_autoencoder: DomainAutoencoder,
        photo_autoencoder: DomainAutoencoder,
        condition_encoder: DomainEncoder,
        photo_encoder: DomainEncoder,
        shared: SharedLatent,
        condition_decoder: GuidedDecoder,
        photo_decoder: GuidedDecoder,
        condition: dict | Condition | None = None,
        image_size: int = 256,
        image_width: int | None = None,
    ):
        networks = {
            "condition_autoencoder": condition_autoencoder,
            "photo_autoencoder": photo_autoencoder,
            "condition_encoder": condition_encoder,
            "photo_encoder": photo_encoder,
            "shared": shared,
            "condition_decoder": condition_decoder,
            "photo_decoder": photo_decoder,
        }
        super().__init__(networks, condition, image_size, image_width)

    def generate(self, condition: Tensor, exemplar: Tensor) -> Tensor:
        """condition (B, K, H, W) with the look of exemplar (B, 3, H', W') -> (B, 3, H, W)."""
        return painted(self.networks, drawn(condition), exemplar)


@dataclass(frozen=True)
class EGSCITLosses(LossWeights):
    """Multiplier of each term, summed over both domains; those of UNIT, and two perceptual ones.

    adversarial: least squares, of the critics too. image: that a picture comes back from its own
    code. cycle: that it comes back from its translation. latent: mean square of codes, of pictures
    and of translations. content: that perceptual features of the source stay. style: that their
    Gram matrices are the exemplar's. The last two, at values for faces, and cycle are of the second
    stage.
    """

    perceptual_terms = ("content", "style")

    adversarial: float = 10.0
    image: float = 100.0
    cycle: float = 100.0
    latent: float = 0.1
    content: float = 10.0
    style: float = 5000.0


@dataclass(frozen=True)
class EGSCITOptions(SystemOptions):
    """stage: see the module. generator_updates: for each of the critics, in the second stage."""

    stage: Literal["autoencoders", "translation"] = "translation"
    generator_updates: int = 5

    def __post_init__(self) -> None:
        if self.generator_updates < 1:
            raise ValueError(
                f"system_options.generator_updates must be at least 1, got "
                f"{self.generator_updates}."
            )


class EGSCIT(UnpairedSystem):
    """Two autoencoders, then two encoders and decoders around a shared latent map."""

    network_classes = {
        "condition_autoencoder": (DomainAutoencoder,),
        "photo_autoencoder": (DomainAutoencoder,),
        "condition_encoder": (DomainEncoder,),
        "photo_encoder": (DomainEncoder,),
        "shared": (SharedLatent,),
        "condition_decoder": (GuidedDecoder,),
        "photo_decoder": (GuidedDecoder,),
        "condition_critic": (PatchGAN,),
        "photo_critic": (PatchGAN,),
    }
    averaged = tuple(name for name in network_classes if not name.endswith("_critic"))
    defaults = dict.fromkeys(("condition_critic", "photo_critic"), CRITIC)
    Losses = EGSCITLosses
    losses: EGSCITLosses
    Options = EGSCITOptions
    options: EGSCITOptions
    pipeline_class = EGSCITPipeline

    @classmethod
    def make_networks(
        cls, condition: Condition, options: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Network]:
        """New networks. Raises ValueError for painting networks of different widths."""
        networks = super().make_networks(condition, options)
        widths = {name: networks[name].config.base_channels for name in cls.averaged}
        if len(set(widths.values())) > 1:
            raise ValueError(
                f"the painting networks of egsc-it guide each other channel by channel: they need "
                f"one base_channels, got {widths}."
            )
        return networks

    def prepare(
        self, open_perceptual: Callable[[], PerceptualNetwork], device: torch.device | str
    ) -> None:
        """Also raises ValueError where the second stage starts without the first."""
        if self.is_translating:
            new = [
                name
                for name in self._autoencoders
                if not cast(DomainAutoencoder, self.networks[name]).taught
            ]
            if new:
                raise ValueError(
                    f"egsc-it's stage translation looks through {', '.join(new)}, which nothing "
                    f"has been taught: run system_options.stage=autoencoders first, and name its "
                    f"pipeline as networks.init_from."
                )
            super().prepare(open_perceptual, device)

    @property
    def is_translating(self) -> bool:
        """Whether this is the second stage."""
        return self.options.stage == "translation"

    @property
    def frozen(self) -> tuple[str, ...]:
        """The autoencoders, or in the first stage all other painting networks."""
        autoencoders = self._autoencoders
        if self.is_translating:
            return autoencoders
        return tuple(name for name in self.averaged if name not in autoencoders)

    @property
    def _autoencoders(self) -> tuple[str, ...]:
        return tuple(f"{name}_autoencoder" for name in DOMAINS)

    def generate(self, nets: Networks, batch: Batch) -> Generated:
        """The condition with the look of the exemplar; in the first stage the exemplar decoded.

        What that is to be compared with is then the exemplar itself.
        """
        if self.is_translating:
            return Generated(painted(nets, drawn(batch.condition), batch.exemplar))
        decoded, _ = nets["photo_autoencoder"](batch.exemplar)
        return Generated(decoded, batch=replace(batch, image=batch.exemplar))

    def step(self, phase: Phase, batch: Batch) -> Generated:
        """The critics once, then the others: once, or as often as the options say."""
        pictures = domains(batch)
        if not self.is_translating:
            return self._autoencoder_step(phase, batch, pictures)
        with torch.no_grad():
            fakes = Translation(self.networks, pictures).fakes
        self.critics_step(phase, pictures, fakes)
        trained = [name for name in self.averaged if name not in self.frozen]
        for _ in range(self.options.generator_updates):
            with phase(*trained, name="generators") as (nets, terms):
                made = Translation(nets, pictures)
                terms |= self.losses.applied(self._translation_terms(nets, made))
        return Generated(made.fakes["photo"].detach())

    def _autoencoder_step(self, phase: Phase, batch: Batch, pictures: Pair) -> Generated:
        with torch.no_grad():
            fakes = self._reconstructed(self.networks, pictures)[0]
        self.critics_step(phase, pictures, fakes)
        with phase(*self._autoencoders, name="autoencoders") as (nets, terms):
            fakes, means = self._reconstructed(nets, pictures)
            terms |= self.losses.applied(
                {
                    "adversarial": lambda: self.fooled(nets, fakes),
                    "image": lambda: apart(fakes, pictures),
                    "latent": lambda: squares(means),
                }
            )
        for name in self._autoencoders:
            cast(DomainAutoencoder, self.networks[name]).taught.fill_(True)
        return Generated(fakes["photo"].detach(), batch=replace(batch, image=batch.exemplar))

    def _reconstructed(self, nets: Networks, pictures: Pair) -> tuple[Pair, Pair]:
        """Pictures decoded again, and their codes."""
        decoded, means = {}, {}
        for name, picture in pictures.items():
            decoded[name], means[name] = nets[f"{name}_autoencoder"](picture)
        return decoded, means

    def _translation_terms(
        self, nets: Networks, made: Translation
    ) -> dict[str, Callable[[], Tensor]]:
        """What computes each unweighted term of the second stage."""
        if self.losses.need_perceptual_network:
            network = needed(self.perceptual, "a perceptual network")
            found = {name: list(network(made.fakes[name], LAYERS).values()) for name in DOMAINS}
            with torch.no_grad():
                true = {
                    name: list(network(made.pictures[name], LAYERS).values()) for name in DOMAINS
                }
        return {
            "adversarial": lambda: self.fooled(nets, made.fakes),
            "image": lambda: apart(made.decoded(), made.pictures),
            "cycle": lambda: apart(made.back(), made.pictures),
            "latent": lambda: squares(made.means) + squares(made.again[1]),
            "content": lambda: summed(content_loss(found[OTHER[n]], true[n]) for n in DOMAINS),
            "style": lambda: summed(style_loss(found[n], true[n]) for n in DOMAINS),
        }


class Translation:
    """What the second stage makes of a picture of each domain, every part of it once.

    fakes: by domain a picture in it, of the other's content and with the look of its own. means: of
    the codes.
    """

    def __init__(self, nets: Networks, pictures: Pair):
        self.nets, self.pictures = nets, pictures
        self._features = {name: features(nets, name, pictures[name]) for name in DOMAINS}
        self._shared, self.means = encoded(nets, pictures)
        self.fakes = {
            name: self._decoded(name, self._shared[OTHER[name]], self._features[OTHER[name]])
            for name in DOMAINS
        }

    @cached_property
    def again(self) -> tuple[Pair, Pair]:
        """The shared maps of the fakes, and the means of their codes."""
        return encoded(self.nets, self.fakes)

    def decoded(self) -> Pair:
        """Each picture from its own code, content and look."""
        return {n: self._decoded(n, self._shared[n], self._features[n]) for n in DOMAINS}

    def back(self) -> Pair:
        """Each picture from the code and content of its translation, and its own look."""
        contents = {name: features(self.nets, name, self.fakes[name]) for name in DOMAINS}
        return {
            name: self._decoded(name, self.again[0][OTHER[name]], contents[OTHER[name]])
            for name in DOMAINS
        }

    def _decoded(self, name: str, shared: Tensor, content: Tensor) -> Tensor:
        return self.nets[f"{name}_decoder"](shared, content, self._features[name])


def painted(nets: Networks, condition: Tensor, exemplar: Tensor) -> Tensor:
    """A drawn condition (B, 3, H, W) as a photo (B, 3, H, W) that looks like the exemplar."""
    shared, _ = nets["shared"](nets["condition_encoder"](condition))
    content, look = features(nets, "condition", condition), features(nets, "photo", exemplar)
    return nets["photo_decoder"](shared, content, look)


def features(nets: Networks, name: str, picture: Tensor) -> Tensor:
    """What the autoencoder of a domain, which no phase of the second stage wraps, sees in it."""
    return cast(DomainAutoencoder, nets[f"{name}_autoencoder"]).features(picture)


def encoded(nets: Networks, pictures: Pair) -> tuple[Pair, Pair]:
    """The shared maps of pictures, and the means of their codes, by domain."""
    made = {n: nets["shared"](nets[f"{n}_encoder"](picture)) for n, picture in pictures.items()}
    return {n: shared for n, (shared, _) in made.items()}, {
        n: mean for n, (_, mean) in made.items()
    }


def squares(means: Pair) -> Tensor:
    """Mean squares, summed over both domains: UNIT's KL of codes with unit variance, as a mean."""
    return summed(mean.square().mean() for mean in means.values())


def content_loss(maps: Sequence[Tensor], source_maps: Sequence[Tensor]) -> Tensor:
    """sum_l (l / 5) mean |u_l(output) - u_l(source)|, u: each channel at unit length.

    maps, source_maps: (B, C, h, w) at each of `LAYERS`.
    """
    pairs = zip(maps, source_maps, strict=True)
    return summed(
        level / len(LAYERS) * F.l1_loss(normalized_maps(one), normalized_maps(other))
        for level, (one, other) in enumerate(pairs, start=1)
    )


def style_loss(maps: Sequence[Tensor], exemplar_maps: Sequence[Tensor]) -> Tensor:
    """sum_l mean |G_l(output) - G_l(exemplar)|, G = u u^T the products of channels at unit length.

    maps, exemplar_maps: (B, C, h, w) at each of `LAYERS`.
    """

    def gram(maps: Tensor) -> Tensor:
        flat = normalized_maps(maps).flatten(2)
        return flat @ flat.mT

    pairs = zip(maps, exemplar_maps, strict=True)
    return summed(F.l1_loss(gram(one), gram(other)) for one, other in pairs)


def normalized_maps(maps: Tensor) -> Tensor:
    """Each channel of (B, C, h, w) at length 1 over its positions; one that is 0 stays so."""
    return F.normalize(maps.float().flatten(2), dim=2).unflatten(2, maps.shape[2:])
