"""CoCosNet: match, warp, translate (Zhang et al. 2020), and the terms it learns from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import losses, sharpness
from ..conditions.base import Landmarks
from ..models import (
    BlendingTranslationNetwork,
    CorrespondenceNetwork,
    CorrespondenceOutput,
    TranslationNetwork,
)
from ..models.blending import BlendingOutput
from ..models.correspondence import Warp
from ..models.network import Network, size_of
from ..pipeline import CoCosPipeline
from ..propagation import Guide
from .adversarial import DISCRIMINATORS, AdversarialSystem, PictureLosses
from .base import LossWeights, Networks, Phase, SystemOptions, Terms
from .batch import Batch, Generated, needed

WRONG_WEIGHT = 4.0
"""By how much more a pixel of a self pair counts where a bent flow shows another class."""

BEND_LENGTH = 6
"""Cells between the random displacements that `bent` draws."""

TRANSLATIONS = (TranslationNetwork, BlendingTranslationNetwork)


@dataclass(frozen=True)
class CoCosNetLosses(PictureLosses):
    """Those of the picture, and of the matching alone (Zhang et al. 2020, section 3.3).

    warp_fidelity: that the picture is the moved exemplar where that shows the condition's class;
    needs labels and a correspondence network of warp="coherent". warp_identity: that it is the
    moved exemplar everywhere, for conditions that do not say what lies where. A pose tells no skirt
    from trousers: a painter that is held to the classes of the true photo, which it cannot know,
    paints a pale average of all garments.
    known_flow, region_flow: that the matching finds the places that the distortion of a self pair,
    or the regions of two photos, say; both need data.flow_stride, see `cocosnet_hf.sharpness`.

    A run of the matching's terms alone paints no picture: it teaches the correspondence network in
    a fraction of the time and leaves the translation network as it is. Validations still paint.
    """

    warp_fidelity: float = 0.0
    warp_identity: float = 0.0
    domain_alignment: float = 10.0
    cycle: float = 0.0
    self_warp: float = 0.0
    warped_mask: float = 0.0
    known_flow: float = 0.0
    region_flow: float = 0.0

    @property
    def need_picture(self) -> bool:
        """Whether any term looks at what the translation network paints."""
        names = [item.name for item in fields(PictureLosses)]
        return any(getattr(self, name) for name in (*names, "warp_fidelity", "warp_identity"))

    @property
    def need_labels(self) -> bool:
        """Whether any term looks at class numbers."""
        return self.warped_mask != 0 or self.warp_fidelity != 0

    @property
    def need_flow(self) -> bool:
        """Whether any term looks at known places in the exemplar."""
        return self.known_flow != 0 or self.region_flow != 0


@dataclass(frozen=True)
class CoCosNetOptions(SystemOptions):
    """How the two networks are taught.

    crop: side of the random window that is painted of each training picture, in pixels; 0 for all
    of it. flow_jitter: cells by which the flow of half of the self pairs is bent, so that the true
    photo teaches how to paint what a wrong match shows; needs losses.warp_fidelity, whose labels
    say where it does. freeze_correspondence: keep the matching as it is, and train the painting
    alone. mask_warmup: for how many units of the schedule a model with exemplar_noise still sees
    the exemplar's own condition (Zhang et al. 2020, supplement, section 5).
    """

    crop: int = 0
    flow_jitter: float = 0.0
    freeze_correspondence: bool = False
    mask_warmup: int = 0

    def __post_init__(self) -> None:
        for name in ("crop", "flow_jitter", "mask_warmup"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"system_options.{name} must be at least 0, got {getattr(self, name)}."
                )


class CoCosNet(AdversarialSystem):
    """The correspondence and the translation network, taught together.

    Zhang et al. 2020, section 3, with the terms and the order of the official training (official
    networks, 10).
    """

    network_classes = {
        "correspondence": (CorrespondenceNetwork,),
        "translation": TRANSLATIONS,
        "discriminator": DISCRIMINATORS,
    }
    averaged = ("correspondence", "translation")
    Losses = CoCosNetLosses
    losses: CoCosNetLosses
    Options = CoCosNetOptions
    options: CoCosNetOptions
    pipeline_class = CoCosPipeline

    @property
    def frozen(self) -> tuple[str, ...]:
        """The correspondence network where the options say so."""
        return ("correspondence",) if self.options.freeze_correspondence else ()

    @property
    def takes_guides(self) -> bool:
        """Where the matching is coherent."""
        return self._matcher.is_coherent

    @classmethod
    def require_known(
        cls,
        options: Mapping[str, Mapping[str, Any]],
        losses: LossWeights,
        perceptual: str,
        own: SystemOptions,
    ) -> None:
        """Also where bent flows have no labels that say where they go wrong."""
        super().require_known(options, losses, perceptual, own)
        if getattr(own, "flow_jitter", 0) and not getattr(losses, "warp_fidelity", 0):
            raise ValueError(
                "system_options.flow_jitter needs to know where the bent flow shows the right "
                "class: set losses.warp_fidelity above 0, or system_options.flow_jitter=0."
            )

    def step(self, phase: Phase, batch: Batch) -> Generated:
        """Both painting networks, or the one that the terms look at; then the discriminator."""
        trained = self.averaged if self.losses.need_picture else ("correspondence",)
        with phase(*trained, name="generator") as (nets, terms):
            generated = self.generate_to_learn(nets, batch, phase.unit)
            terms |= self.generator_terms(nets, batch, generated)
        self.discriminator_step(phase, batch, generated)
        return generated

    def generate(self, nets: Networks, batch: Batch) -> Generated:
        """As `CoCosPipeline` does it; a model of noise draws it from torch's global generator."""
        return self._generate(nets, batch, noise=self._is_noisy)

    def generate_to_learn(self, nets: Networks, batch: Batch, unit: int = 0) -> Generated:
        """As `generate`, with what the terms look at; unit: of the schedule, see `Phase`."""
        return self._generate(
            nets,
            batch,
            noise=self._is_noisy and unit >= self.options.mask_warmup,
            target=batch.for_matching().image if self.losses.domain_alignment else None,
            crop=self.options.crop,
            jitter=self.options.flow_jitter,
            paint=self.losses.need_picture,
        )

    def _generate(
        self,
        nets: Networks,
        batch: Batch,
        *,
        noise: bool,
        target: Tensor | None = None,
        crop: int = 0,
        jitter: float = 0.0,
        paint: bool = True,
    ) -> Generated:
        """Condition and exemplar to picture.

        noise: in the place of the exemplar's condition. target: the true photo, for the domain
        alignment term. crop: side of the random window of each picture that is painted, 0 for all
        of it. jitter: cells by which the flow of half of the self pairs is bent. paint: else the
        picture is the warped exemplar.
        """
        matcher = self._matcher  # nets may hold it wrapped
        small = batch.for_matching()
        is_taught = not self.options.freeze_correspondence
        with torch.set_grad_enabled(torch.is_grad_enabled() and is_taught):
            features = nets["correspondence"](
                small.condition, small.exemplar, None if noise else small.exemplar_condition, target
            )
            # Whoever trains looks at all of a step's losses at once, and waits for the device once.
            check = not torch.is_grad_enabled()
            guides = self._guides(batch, features) if matcher.is_coherent else []
            matching = matcher.match(
                features.content, features.style, check_finite=check, guides=guides
            )
        warp = matcher.warp(matching, batch.exemplar, size_of(batch.image))
        is_bent = None
        if jitter:
            is_bent = batch.is_self_pair * (torch.rand(len(batch.image)) < 0.5).to(batch.image)
            warp = bent(warp, batch, is_bent, jitter)
        agreement = self._agreement(warp, batch) if self.losses.warp_fidelity else None
        if crop:
            warp, batch, agreement = cropped(warp, batch, crop, agreement)
        self_target = self_weight = None
        if is_bent is not None:
            # Where the bent flow shows the right class, its pixels are as good as any; elsewhere
            # the photo says what belongs there.
            agreement, is_bent = needed(agreement, "moved labels"), is_bent[:, None, None, None]
            self_target = torch.lerp(batch.image, warp.picture, agreement * is_bent)
            self_weight = 1 + WRONG_WEIGHT * (1 - agreement) * is_bent
        picture = warp.picture
        if paint:
            picture = picture_of(nets["translation"](warp.features, batch.condition))
        return Generated(
            picture,
            warp.picture,
            warp.grid,
            matching,
            features,
            batch,
            agreement,
            self_target,
            self_weight,
        )

    def _guides(self, batch: Batch, features: CorrespondenceOutput) -> list[list[Guide]]:
        """What the landmarks of each pair say; nothing where the data have none."""
        if batch.landmarks is None or batch.exemplar_landmarks is None:
            return []
        grid = size_of(needed(features.style, "features"))
        own, other = batch.landmark_labels, batch.exemplar_landmark_labels
        if self.condition.labelled:
            own, other = batch.condition_labels, batch.exemplar_labels
        own_landmarks = _landmarks(batch.landmarks, own)
        exemplars = _landmarks(batch.exemplar_landmarks, other)
        pairs = zip(own_landmarks, exemplars, strict=True)
        return [[self.condition.guide(*pair, grid)] for pair in pairs]

    def _agreement(self, warp: Warp, batch: Batch) -> Tensor:
        if warp.flow is None:
            raise ValueError(
                "losses.warp_fidelity needs pixels that were moved: set "
                "networks.correspondence.warp=coherent, or the term to 0."
            )
        return sharpness.agreement_of(
            warp.flow,
            needed(batch.exemplar_labels, "labels"),
            needed(batch.condition_labels, "labels"),
            needed(batch.classes, "a number of classes"),
        )

    @property
    def _matcher(self) -> CorrespondenceNetwork:
        # `network_classes` allows no other.
        return cast(CorrespondenceNetwork, self.networks["correspondence"])

    @property
    def _is_noisy(self) -> bool:
        return self._matcher.config.exemplar_noise > 0

    def generator_terms(self, nets: Networks, batch: Batch, generated: Generated) -> Terms:
        """Each term of the generator's loss times its weight."""
        terms = self.picture_terms(nets, batch, generated) | self.matching_terms(batch, generated)
        return self.losses.applied(terms)

    def matching_terms(self, batch: Batch, generated: Generated) -> dict[str, Callable[[], Tensor]]:
        """What computes each unweighted term that looks at the matching only."""
        weights, small = self.losses, batch.for_matching()
        found = needed(generated.features, "features")
        matching = needed(generated.matching, "a matching")
        grid = needed(generated.grid_exemplar, "the warp's mean colours")
        seen, target = generated.warped_exemplar, (generated.batch or batch).image
        if self._matcher.is_coherent:
            # A coherent flow is a choice and passes no gradient on; the softmax's average does.
            seen = grid
            target = F.interpolate(batch.image, size_of(grid), mode="area")
        if weights.need_flow:
            flow = needed(small.flow, "flows")
            exact, likely = sharpness.known_flow_losses(matching, flow, small.is_self_pair)
        return {
            "warp_fidelity": lambda: sharpness.warp_fidelity_loss(
                generated.image,
                needed(generated.warped_exemplar, "a warped exemplar"),
                needed(generated.agreement, "the moved labels"),
            ),
            "warp_identity": lambda: sharpness.warp_fidelity_loss(
                generated.image, needed(generated.warped_exemplar, "a warped exemplar")
            ),
            "domain_alignment": lambda: losses.domain_alignment_loss(
                needed(found.content_features, "features"),
                needed(found.target_features, "features of the photo"),
            ),
            "cycle": lambda: losses.cyclic_warp_loss(
                cast(Tensor, matching.warp_back(grid)),  # as the style came
                small.exemplar,
            ),
            "self_warp": lambda: losses.self_warp_loss(
                needed(seen, "a warped exemplar"), target, batch.is_self_pair
            ),
            "known_flow": lambda: exact,
            "region_flow": lambda: likely,
            "warped_mask": lambda: losses.warped_mask_loss(
                matching.warp(label_masks(small, matching.stride)),
                needed(small.condition_labels, "labels"),
                needed(small.exemplar_labels, "labels"),
                small.ignored_label,
            ),
        }

    def pipeline(self, nets: Mapping[str, Network]) -> CoCosPipeline:
        """The pipeline of the averaged networks."""
        settings = self.settings
        make: Callable[..., CoCosPipeline] = CoCosPipeline  # whose networks these are, by name
        return make(
            nets["correspondence"],
            nets["translation"],
            self.condition,
            settings.image_size,
            settings.image_width,
            settings.matching_scale,
        )


def picture_of(output: Tensor | BlendingOutput) -> Tensor:
    """What a translation network painted, (B, 3, H, W), whatever else it tells."""
    return output if isinstance(output, Tensor) else output.image


def bent(warp: Warp, batch: Batch, chosen: Tensor, cells: float) -> Warp:
    """The warp through flows that go wrong smoothly, by up to some `cells`, where chosen is 1.

    chosen (B,): 0 or 1 for each item. Draws from torch's global generator. The soft warp and the
    flow's trust stay: at use, too, they do not tell of every wrong match. Raises ValueError if the
    warp has no flow.
    """
    flow = needed(warp.flow, "a coherent flow")
    count, height, width, _ = flow.position.shape
    rows, columns = (max(2, round(side / BEND_LENGTH)) for side in (height, width))
    field = torch.randn(count, 2, rows, columns)
    field = F.interpolate(field, (height, width), mode="bicubic").movedim(1, -1)
    extent = cells * torch.rand(count, 1, 1, 1) * chosen.cpu()[:, None, None, None]
    position = flow.position + (extent * field).to(flow.position)
    follows = flow.follows
    if follows is not None:
        follows = follows & (chosen == 0)[:, None, None]
    flow = replace(flow, position=position, follows=follows)
    picture = flow.warp(batch.exemplar, size_of(batch.image))
    features = torch.cat([picture, warp.features[:, 3:]], dim=1)
    return replace(warp, picture=picture, features=features, flow=flow)


def cropped(
    warp: Warp, batch: Batch, side: int, agreement: Tensor | None = None
) -> tuple[Warp, Batch, Tensor | None]:
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
    window = Batch(
        cut(batch.image), cut(batch.condition), picture.detach(), None, batch.is_self_pair
    )
    agreement = None if agreement is None else cut(agreement)
    return replace(warp, picture=picture, features=features), window, agreement


def label_masks(batch: Batch, stride: int) -> Tensor:
    """The exemplar's labels one-hot at its positions, nearest: (B, classes, h, w)."""
    labels = needed(batch.exemplar_labels, "labels")[:, ::stride, ::stride]
    return F.one_hot(labels, needed(batch.classes, "a number of classes")).movedim(-1, 1).float()


def _landmarks(points: Tensor, labels: Tensor | None) -> list[Landmarks]:
    """Of each of a batch, with one transfer: the flow is found on the CPU."""
    points = points.cpu()
    if labels is None:
        return [Landmarks(one) for one in points]
    return [Landmarks(*pair) for pair in zip(points, labels.short().cpu(), strict=True)]
