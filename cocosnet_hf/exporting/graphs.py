"""A pipeline as functions of tensors alone: the exemplar's half, and the condition's half.

Pictures and conditions are (B, ..., H, W) in 0..1, one exemplar for each condition, at the size
that the networks learned: what the pipeline brings pictures to before it matches them, s times
smaller (its `matching_scale`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..models.blending import BlendingTranslationNetwork
from ..models.correspondence import centred_over_positions
from ..pipeline import CoCosPipeline
from .dense import DenseMatching, seen, smaller

GUIDES = ("guide", "guide_cells")
"""Inputs of a graph whose condition has landmarks."""


class Prepare(nn.Module):
    """What `encode_exemplar` computes: a style (B, C, h', w')."""

    outputs = ("style",)

    def __init__(self, pipe: CoCosPipeline):
        super().__init__()
        self.correspondence = pipe.correspondence
        self.scale = pipe.config.matching_scale
        config = pipe.correspondence.config
        self.noise = config.exemplar_noise if config.mix_condition else 0.0
        own = ["noise"] if self.noise else ["exemplar_condition"]
        self.inputs = ("exemplar", *(own if config.mix_condition else ()))

    def forward(self, exemplar: Tensor, own: Tensor | None = None) -> Tensor:
        """exemplar (B, 3, H', W').

        own: its condition (B, K, H' / s, W' / s), or of a model with exemplar noise standard normal
        numbers (B, K, h', w'); None where `inputs` names neither.
        """
        if own is not None and self.noise:
            own = own * self.noise
        photo = smaller(exemplar * 2 - 1, self.scale)
        return self.correspondence(None, photo, own).style


class Paint(nn.Module):
    """What a call computes with a prepared exemplar."""

    def __init__(self, pipe: CoCosPipeline):
        super().__init__()
        self.correspondence, self.translation = pipe.correspondence, pipe.translation
        self.scale = pipe.config.matching_scale
        self.pixels = self.scale * pipe.correspondence.stride
        self.blends = isinstance(pipe.translation, BlendingTranslationNetwork)
        self.inputs: tuple[str, ...] = ("condition", "exemplar", "style")
        self.outputs: tuple[str, ...] = ("image", "warped_exemplar", "flow", "confidence")
        if self.blends:
            self.inputs += ("matched_condition", "strength")
            self.outputs += ("blend",)
            if pipe.condition.has_landmarks:
                self.inputs += GUIDES

    def forward(
        self,
        condition: Tensor,
        exemplar: Tensor,
        style: Tensor,
        matched_condition: Tensor | None = None,
        strength: Tensor | None = None,
        guide: Tensor | None = None,
        guide_cells: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """condition (B, K, H, W), exemplar (B, 3, H', W'), style of `Prepare`.

        Of networks that blend also matched_condition (B, K, H / s, W / s), the same as it is
        matched, and strength () in 0..1. Of a condition with landmarks guide (B, 2, H, W) and
        guide_cells (B, 2, h, w): where the middle of each pixel and of each cell likely lies in the
        exemplar, (x, y) in its pixels, NaN where nothing is known.

        Returns `image` and `warped_exemplar` (B, 3, H, W), `flow` (B, 2, h, w): (x, y) in pixels of
        the exemplar, `confidence` (B, h, w) in 0..1, and of networks that blend `blend`
        (B, 1, H, W).
        """
        photo = exemplar * 2 - 1
        config = self.correspondence.config
        matched = condition if matched_condition is None else matched_condition
        content = self.correspondence(matched, None).content
        if config.centring == "positions":
            content, style = centred_over_positions(content), centred_over_positions(style)
        matching = DenseMatching(content, style, config.patch_size, config.temperature)
        place, confidence = matching.best()
        if strength is None:
            picture = self._averaged(matching, photo)
            image = self.translation(picture, condition)
            more: tuple[Tensor, ...] = ()
        else:
            guide, guide_cells = (
                None if one is None else in_cells(one, self.pixels) for one in (guide, guide_cells)
            )
            flow = matching.coherent(guide_cells)
            place = flow.position
            picture = seen(photo, flow, self.pixels, guide)
            soft = self._enlarged(matching.warp(F.avg_pool2d(photo, self.pixels)))
            warp = torch.cat([picture, soft, self._enlarged(flow.trust)], dim=1)
            output = self.translation(warp, condition)
            copied = strength * output.blend
            share = copied / (copied + (1 - strength) * (1 - output.blend)).clamp_min(1e-6)
            share = torch.where(strength >= 1, 1.0, share)
            base = torch.lerp(soft, picture, share)
            image = base + (2 * (1 - strength)).clamp(max=1) * output.change
            more = (share,)
        return _shown(image), _shown(picture), in_pixels(place, self.pixels), confidence, *more

    def _averaged(self, matching: DenseMatching, photo: Tensor) -> Tensor:
        """The soft warp as the paper's networks read it, `CorrespondenceNetwork.warp`."""
        config, stride = self.correspondence.config, self.correspondence.stride
        if config.warp == "patch":
            return F.pixel_shuffle(matching.warp(F.pixel_unshuffle(photo, stride)), stride)
        grid = matching.warp(F.avg_pool2d(photo, stride))
        size = [side * stride for side in grid.shape[-2:]]
        return F.interpolate(grid, size, mode=config.warp_upsampling)

    def _enlarged(self, x: Tensor) -> Tensor:
        return F.interpolate(x, [side * self.pixels for side in x.shape[-2:]], mode="bilinear")


def in_pixels(place: Tensor, pixels: int) -> Tensor:
    """Places in cells of so many pixels, cell centres at whole numbers, in pixels alike."""
    return place * pixels + (pixels - 1) / 2


def in_cells(place: Tensor, pixels: int) -> Tensor:
    """The inverse of `in_pixels`."""
    return (place - (pixels - 1) / 2) / pixels


def _shown(picture: Tensor) -> Tensor:
    """[-1, 1] and beyond -> 0..1."""
    return ((picture + 1) / 2).clamp(0, 1)
