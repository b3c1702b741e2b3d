"""The correspondence network: condition and exemplar brought into one domain.

Zhang et al. 2020, section 3.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin as ModelMixin  # diffusers asks for it here
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor, nn

from ..coherence import CoherentFlow
from ..matching import Matching, Nested
from ..propagation import Pin
from .blocks import (
    InstanceNormResidualBlock,
    SPADEResidualBlock,
    conv2d,
    leaky_relu_,
    normalize_features,
)
from .network import Network, require_channels, require_stride
from .norms import instance_norm


@dataclass
class CorrespondenceOutput(BaseOutput):
    """What `Matching` compares, and the shared-domain features that the losses compare.

    content, style: projections of the condition and of the exemplar, (B, C, H/4, W/4) each.
    content_features, target_features: outputs of the domain adaptors for the condition and the
    target, at unit length per position, of the same shape.
    """

    content: Tensor | None = None
    style: Tensor | None = None
    content_features: Tensor | None = None
    target_features: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Warp:
    """The exemplar seen through a matching.

    picture (B, 3, H, W): in the condition's layout. grid (B, 3, h, w): one mean colour for each
    position. features (B, C, H, W): what a translation network reads: the picture itself, or with
    warp="coherent" the picture, the soft warp and the flow's trust. flow: of warp="coherent".
    """

    picture: Tensor
    grid: Tensor
    features: Tensor
    flow: CoherentFlow | None = None


class DomainAdaptor(nn.Module):
    """Maps a condition or photo into the shared domain, at a quarter size (official networks, 5.2).

    Its SPADE blocks are conditioned on the adaptor's own input.
    """

    def __init__(
        self,
        in_channels: int,
        base_channels: int,
        feature_channels: int,
        spade_channels: int,
        blocks: int,
        context_levels: int,
        kernel_size: int,
    ):
        super().__init__()
        widths = [in_channels, *(base_channels * factor for factor in (1, 2, 4, 8, 8))]
        kernels, strides = (3, kernel_size, 3, kernel_size, 3), (1, 2, 1, 2, 1)
        # No bias: the instance norm behind each convolution removes it.
        self.layers = nn.ModuleList(
            conv2d(before, after, kernel, stride=stride, padding=1, bias=False, spectral=True)
            for before, after, kernel, stride in zip(
                widths[:-1], widths[1:], kernels, strides, strict=True
            )
        )
        width = widths[-1]
        self.context_down, self.context_up = (
            nn.ModuleList(
                conv2d(width, width, 3, stride=stride, padding=1, bias=False, spectral=True)
                for _ in range(context_levels)
            )
            for stride in (2, 1)
        )
        outputs = [width] * (blocks - 1) + [feature_channels]
        self.blocks = nn.ModuleList(
            SPADEResidualBlock(width, output, in_channels, spade_channels) for output in outputs
        )

    def forward(self, x: Tensor) -> Tensor:
        """x (B, K, H, W), H and W multiples of 4; returns (B, C, H/4, W/4) at unit length."""
        features = x
        for layer in self.layers[:-1]:
            features = leaky_relu_(instance_norm(layer(features)))
        features = self._with_context(instance_norm(self.layers[-1](features)))
        for block in self.blocks:
            features = block(features, x)
        return normalize_features(features)

    def _with_context(self, features: Tensor) -> Tensor:
        """Add what coarser and coarser maps see around each position: a line needs its face."""
        finer = []
        for layer in self.context_down:
            finer.append(features)
            features = leaky_relu_(instance_norm(layer(features)))
        for layer, skipped in zip(self.context_up, reversed(finer), strict=True):
            features = F.interpolate(features, size=skipped.shape[-2:], mode="nearest")
            features = skipped + instance_norm(layer(features))
        return features


class CorrespondenceNetwork(Network):
    """Turns condition and exemplar into two feature maps whose patches can be matched.

    Zhang et al. 2020, section 3.1; layers and, by default, widths as in official networks, 5. The
    paper's supplement draws the adaptors differently; the published weights need them so.

    condition_channels: K of the condition. base_channels: width of the adaptors' first layer.
    feature_channels: C of features and projections. spade_channels: hidden width of each SPADE.
    num_adaptor_blocks, num_residual_blocks: SPADE blocks of each adaptor, and shared blocks.
    context_levels: how many times the adaptors halve their map further, to see wider surroundings,
    before the SPADE blocks; 0 in the official networks.
    adaptor_kernel_size: kernel of the two strided adaptor layers, 3 or 4.
    mix_condition: append the condition to the features before the shared blocks; the exemplar then
    needs a condition of its own, unless exemplar_noise > 0: the standard deviation of the normal
    noise that stands in for it (Zhang et al. 2020, supplement, section 5).
    patch_size, temperature, warp, warp_upsampling: how the pipeline matches and warps
    (official networks, 5.4 and 5.5): side of the compared patches; softmax divisor; "mean"
    warps the average colour of each position and upsamples, "patch" warps 4x4 pixels; "coherent",
    not in the paper, moves the pixels themselves by the flow of `Matching.coherent`.
    centring: what is taken out before patches are compared: the mean over the "channels" of each,
    or each channel's over the "positions", with which the supplement compares.
    """

    stride = 4
    free_settings = frozenset({"temperature", "warp", "warp_upsampling"})
    matching_class: type = Matching

    recomputed = (DomainAdaptor, InstanceNormResidualBlock, SPADEResidualBlock)

    @register_to_config
    def __init__(
        self,
        condition_channels: int,
        base_channels: int = 64,
        feature_channels: int = 256,
        spade_channels: int = 128,
        num_adaptor_blocks: int = 3,
        num_residual_blocks: int = 4,
        context_levels: int = 0,
        adaptor_kernel_size: int = 3,
        mix_condition: bool = True,
        exemplar_noise: float = 0.0,
        patch_size: int = 3,
        temperature: float = 0.01,
        warp: Literal["mean", "patch", "coherent"] = "mean",
        warp_upsampling: Literal["nearest", "bilinear"] = "nearest",
        centring: Literal["channels", "positions"] = "channels",
    ):
        super().__init__()
        if patch_size < 1 or patch_size % 2 == 0:
            raise ValueError(f"patch_size must be odd and positive, got {patch_size}.")
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}.")
        if exemplar_noise < 0:
            raise ValueError(f"exemplar_noise must not be negative, got {exemplar_noise}.")
        if warp not in ("mean", "patch", "coherent"):
            raise ValueError(f'warp must be "mean", "patch" or "coherent", got {warp!r}.')
        if warp_upsampling not in ("nearest", "bilinear"):
            raise ValueError(
                f'warp_upsampling must be "nearest" or "bilinear", got {warp_upsampling!r}.'
            )
        if centring not in ("channels", "positions"):
            raise ValueError(f'centring must be "channels" or "positions", got {centring!r}.')
        if adaptor_kernel_size not in (3, 4):
            raise ValueError(
                f"adaptor_kernel_size must be 3 or 4, got {adaptor_kernel_size}: other kernels do "
                f"not halve the size exactly."
            )
        self.condition_adaptor, self.exemplar_adaptor = (
            DomainAdaptor(
                channels,
                base_channels,
                feature_channels,
                spade_channels,
                num_adaptor_blocks,
                context_levels,
                adaptor_kernel_size,
            )
            for channels in (condition_channels, 3)
        )
        mixed_channels = feature_channels + (condition_channels if mix_condition else 0)
        self.residual_blocks = nn.Sequential(
            *(InstanceNormResidualBlock(mixed_channels) for _ in range(num_residual_blocks))
        )
        self.content_projection = conv2d(mixed_channels, feature_channels, 1)
        self.style_projection = conv2d(mixed_channels, feature_channels, 1)

    @property
    def needs_exemplar_condition(self) -> bool:
        """Whether an exemplar is of no use without its own condition."""
        return self.config.mix_condition and not self.config.exemplar_noise

    @property
    def is_coherent(self) -> bool:
        """Whether it warps the exemplar's own pixels, see `cocosnet_hf.coherence`."""
        return self.config.warp == "coherent"

    def forward(
        self,
        condition: Tensor | None,
        exemplar: Tensor | None,
        exemplar_condition: Tensor | None = None,
        target: Tensor | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
    ) -> CorrespondenceOutput:
        """Bring condition and exemplar into one domain, ready to be matched.

        condition (B, K, H, W); exemplar (B, 3, H', W') in [-1, 1], with its exemplar_condition
        (B, K, any, any) where the model mixes it in; either may be None, for its half alone.
        target, the true photo, like exemplar, is only for the domain alignment loss. A model with
        exemplar_noise draws the noise with generator where exemplar_condition is None, as official
        inference always does; given, it is used (the mask warm-up of training).

        Raises ValueError for other shapes or a missing exemplar_condition.
        """
        output: dict[str, Tensor] = {}
        if condition is not None:
            require_channels("condition", condition, self.config.condition_channels)
            require_stride("condition", condition, self.stride)
            features = self.condition_adaptor(condition)
            mixed = self.residual_blocks(self._mix(features, condition))
            output |= {"content": self.content_projection(mixed), "content_features": features}
        if exemplar is not None:
            require_channels("exemplar", exemplar, 3)
            require_stride("exemplar", exemplar, self.stride)
            if exemplar_condition is not None:
                require_channels(
                    "exemplar_condition", exemplar_condition, self.config.condition_channels
                )
            elif self.needs_exemplar_condition:
                raise ValueError(
                    "this model mixes the exemplar's own condition into its features, got none; "
                    "pass exemplar_condition, prepared like condition but from the exemplar."
                )
            features = self.exemplar_adaptor(exemplar)
            if exemplar_condition is None and self.config.mix_condition:
                exemplar_condition = self._noise(features, generator)
            mixed = self.residual_blocks(self._mix(features, exemplar_condition))
            output["style"] = self.style_projection(mixed)
        if target is not None:
            output["target_features"] = self.exemplar_adaptor(target)
        return CorrespondenceOutput(**output)

    @property
    def warp_channels(self) -> int:
        """Channels of `Warp.features`."""
        return 8 if self.is_coherent else 3

    def match(
        self, content: Tensor, style: Tensor | Nested, *, pixels: int = 1, **options: Any
    ) -> Matching:
        """The matching of two projections as this network learned it.

        pixels: of the painted picture for each pixel that this network saw, in both directions.
        options: of `Matching`: regions, guides, and check_finite.
        """
        config = self.config
        if config.centring == "positions":
            content = centred_over_positions(content)
            if isinstance(style, Tensor):
                style = centred_over_positions(style)
            else:
                style = [[centred_over_positions(one) for one in item] for item in style]
        return self.matching_class(
            content,
            style,
            patch_size=config.patch_size,
            temperature=config.temperature,
            stride=self.stride * pixels,
            **options,
        )

    def warp(
        self,
        matching: Matching,
        photos: Tensor | Nested,
        size: tuple[int, int] | None = None,
        pins: Sequence[Sequence[Pin]] = (),
    ) -> Warp:
        """The exemplars in the condition's layout, as `warp` and `warp_upsampling` say.

        photos: laid out like the matching's style; at the size they were matched at, or with
        warp="coherent" at any. size: (H, W) of the result with warp="coherent"; otherwise, and by
        default, `stride` pixels for each position. pins: see `Matching.coherent`.
        """
        mode = self.config.warp
        if mode == "patch":
            picture = matching.warp(photos, patches=True)
            return Warp(picture, F.avg_pool2d(picture, self.stride), picture)
        if mode == "mean":
            grid = matching.warp(photos)
            upsampling = self.config.warp_upsampling
            picture = F.interpolate(grid, scale_factor=self.stride, mode=upsampling)
            return Warp(picture, grid, picture)
        grid = matching.warp(matching.at_grid(photos))
        if size is None:
            size = (grid.shape[-2] * self.stride, grid.shape[-1] * self.stride)
        flow = matching.coherent(pins=pins)
        picture = flow.warp(photos, size)
        soft = F.interpolate(grid, size, mode="bilinear")
        trust = F.interpolate(flow.trust(), size, mode="bilinear")
        return Warp(picture, grid, torch.cat([picture, soft, trust], dim=1), flow)

    def _noise(
        self, features: Tensor, generator: torch.Generator | list[torch.Generator] | None
    ) -> Tensor:
        shape = (features.shape[0], self.config.condition_channels, *features.shape[-2:])
        noise = randn_tensor(shape, generator, features.device, features.dtype)
        return self.config.exemplar_noise * noise

    def _mix(self, features: Tensor, condition: Tensor | None) -> Tensor:
        if condition is None or not self.config.mix_condition:
            return features
        condition = F.interpolate(condition, size=features.shape[-2:], mode="nearest")
        return torch.cat([features, condition], dim=1)


def centred_over_positions(features: Tensor) -> Tensor:
    """(..., C, h, w) less the mean of each channel, beside its negative: (..., 2 C, h, w) float32.

    A matching takes the mean over the channels out of each patch. Here that is 0, so that its
    products of patches at unit length are those of the features centred over the positions alone.
    """
    centred = features.float() - features.float().mean((-2, -1), keepdim=True)
    return torch.cat([centred, -centred], dim=-3)
