"""GcGAN: one generator, which must paint a turned picture as the picture turned (Fu et al. 2019).

One way only, from conditions to photos, with half of CycleGAN's weights. Without pairs: see
`cocosnet_hf.systems.unpaired`. Written from the paper; no code or weights of its authors are part
of this package.

Decided where the paper leaves it open: the generator is one for both, as for all but two of its
data sets; the pool of each critic holds pictures of its own kind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..models import CoarseToFineGenerator, PatchGAN
from ..models.drawn import drawn
from ..models.perceptual import PerceptualNetwork
from .base import LossWeights, Networks, Phase
from .batch import Batch, Generated
from .cyclegan import GENERATOR
from .judged import summed
from .paired import PlainPipeline
from .unpaired import PooledSystem, PoolOptions, domains


class GcGANPipeline(PlainPipeline):
    """Paints photos of conditions."""

    method = "[GcGAN](https://arxiv.org/abs/1809.05852)"

    def generate(self, condition: Tensor, exemplar: Tensor | None = None) -> Tensor:
        """condition (B, K, H, W) as a photo (B, 3, H, W)."""
        del exemplar
        return self.generator(drawn(condition))


@dataclass(frozen=True)
class GcGANLosses(LossWeights):
    """Multiplier of each term, summed over the picture and the turned one (Fu et al. 2019).

    adversarial: least squares, of the critics too, there halved. geometry: that the two
    translations are each other turned, each learning from the other as it stands. identity: that
    photos stay as they are.
    """

    adversarial: float = 1.0
    geometry: float = 20.0
    identity: float = 5.0


@dataclass(frozen=True)
class GcGANOptions(PoolOptions):
    """transform: a rotation by 90 degrees, of square pictures, or a flip upside down.

    Either takes away what a critic knows of up and down.
    """

    transform: Literal["rotation", "flip"] = "rotation"


class GcGAN(PooledSystem):
    """One step teaches the generator, then a critic of photos and one of turned photos."""

    network_classes = {
        "generator": (CoarseToFineGenerator,),
        "photo_critic": (PatchGAN,),
        "turned_critic": (PatchGAN,),
    }
    averaged = ("generator",)
    defaults = {"generator": GENERATOR}
    Losses = GcGANLosses
    losses: GcGANLosses
    Options = GcGANOptions
    options: GcGANOptions
    pipeline_class = GcGANPipeline

    def prepare(
        self, open_perceptual: Callable[[], PerceptualNetwork], device: torch.device | str
    ) -> None:
        """Also raises ValueError for a rotation of pictures that are not square."""
        wide = self.settings.image_width
        if self.options.transform == "rotation" and wide not in (None, self.settings.image_size):
            raise ValueError(
                f"a rotation needs square pictures, got {self.settings.image_size} x {wide}: set "
                f"system_options.transform=flip, or leave data.image_width out."
            )
        super().prepare(open_perceptual, device)

    def turned(self, picture: Tensor, back: bool = False) -> Tensor:
        """A picture (B, C, H, W) through the transform or its inverse, to the bit."""
        if self.options.transform == "flip":
            return picture.flip(2)
        return torch.rot90(picture, -1 if back else 1, (2, 3))

    def generate(self, nets: Networks, batch: Batch) -> Generated:
        """The condition as a photo."""
        return Generated(nets["generator"](drawn(batch.condition)))

    def step(self, phase: Phase, batch: Batch) -> Generated:
        """The generator, then the critics."""
        picture, photo = domains(batch).values()
        photos = {"photo": photo, "turned": self.turned(photo)}
        with phase("generator") as (nets, terms):
            paint = nets["generator"]
            made, turned = paint(picture), paint(self.turned(picture))
            fakes = {"photo": made, "turned": turned}
            terms |= self.losses.applied(
                {
                    "adversarial": lambda: self.fooled(nets, fakes),
                    "geometry": lambda: (
                        F.l1_loss(made, self.turned(turned, back=True).detach())
                        + F.l1_loss(turned, self.turned(made).detach())
                    ),
                    "identity": lambda: summed(
                        F.l1_loss(paint(one), one) for one in photos.values()
                    ),
                }
            )
        self.pooled_step(phase, photos, fakes)
        return Generated(made.detach())
