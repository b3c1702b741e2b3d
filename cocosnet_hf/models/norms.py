"""The normalisations, exchangeable by name: a part without parameters, then a scale and a shift.

`make_norm` makes a layer of any of `NORMS`, with a scale and a shift per channel of its own or
none. Where something else says the scale and the shift, the part without parameters stands alone: a
SPADE reads them from a condition (`cocosnet_hf.models.blocks`), `adaptive_norm` takes them as they
are.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NORM_EPSILON = 1e-5
PIXEL_EPSILON = 1e-8


def _standardized(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """(x - mean) / sqrt(var + 1e-5) over these dimensions, var biased.

    In two passes: on channels-last maps a multiple faster than `torch.var_mean` or
    `F.instance_norm`, and free of the cancellation of `F.group_norm`.
    """
    centered = x - x.mean(dim=dims, keepdim=True)
    wide = centered.float() if x.dtype == torch.float16 else centered  # whose squares overflow
    variance = wide.square().mean(dim=dims, keepdim=True)
    return centered * torch.rsqrt(variance + NORM_EPSILON).to(x.dtype)


def instance_norm(x: Tensor) -> Tensor:
    """(x - mean) / sqrt(var + 1e-5) over the positions of each channel, var biased. (B, C, H, W).

    Source: Ulyanov et al. 2016.
    """
    return _standardized(x, (2, 3))


def layer_norm(x: Tensor) -> Tensor:
    """(x - mean) / sqrt(var + 1e-5) over channels and positions of each item, var biased.

    Source: Ba et al. 2016, as the decoder of MUNIT uses it. (B, C, H, W).
    """
    return _standardized(x, (1, 2, 3))


def positional_norm(x: Tensor) -> Tensor:
    """(x - mean) / sqrt(var + 1e-5) over the channels at each position, var unbiased.

    Source: Li et al. 2019 (positional normalisation); Zhang et al. 2020, supplement, section 2;
    official networks, 5.1. (B, C, H, W).
    Written as a layer norm, which divides by the biased variance: with b = (C - 1) / C,
    1 / sqrt(var / b + eps) = sqrt(b) / sqrt(var + b eps).
    """
    channels = int(x.shape[1])  # in a trace a size is a tensor
    biased_share = (channels - 1) / channels
    normalized = F.layer_norm(
        x.movedim(1, 3),
        (channels,),
        weight=x.new_full((channels,), math.sqrt(biased_share)),
        eps=biased_share * NORM_EPSILON,
    )
    return normalized.movedim(3, 1)


def pixel_norm(x: Tensor) -> Tensor:
    """x / sqrt(mean of squares over the channels + 1e-8) at each position. (B, C, H, W).

    Source: Karras et al. 2018 (progressive growing).
    """
    wide = x.float() if x.dtype == torch.float16 else x
    return (wide * torch.rsqrt(wide.square().mean(1, keepdim=True) + PIXEL_EPSILON)).to(x.dtype)


def adaptive_norm(
    x: Tensor, scale: Tensor, shift: Tensor, normalize: Callable[[Tensor], Tensor] = instance_norm
) -> Tensor:
    """scale normalize(x) + shift: adaptive instance norm, unless another normalisation is given.

    Source: Huang and Belongie 2017, equation 8. x (B, C, H, W); scale, shift (B, C): the standard
    deviation and mean to have (MUNIT), or 1 + and + of what a style says (StarGAN v2). Raises
    ValueError for other shapes.
    """
    if not scale.shape == shift.shape == x.shape[:2]:
        raise ValueError(
            f"scale and shift must be {tuple(x.shape[:2])}, one number for each item and channel, "
            f"got {tuple(scale.shape)} and {tuple(shift.shape)}."
        )
    return torch.addcmul(shift[:, :, None, None], normalize(x), scale[:, :, None, None])


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Standard deviation and mean of each channel, (B, C) each: what `adaptive_norm` can give.

    x (B, C, H, W). The deviation is the biased one, with the epsilon of the norms, so that
    adaptive_norm(x, *moments(x)) is x.
    """
    deviation = (x.var(dim=(2, 3), correction=0) + NORM_EPSILON).sqrt()
    return deviation, x.mean(dim=(2, 3))


class Normalize(nn.Module):
    """A normalisation that knows nothing but the map it is given."""

    def __init__(self, normalize: Callable[[Tensor], Tensor]):
        super().__init__()
        self.normalize = normalize

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W); the same shape comes back."""
        return self.normalize(x)

    def extra_repr(self) -> str:
        """Which."""
        return getattr(self.normalize, "__name__", "")


class Affine(nn.Module):
    """A learned scale and shift for each channel, which start at 1 and 0."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W); the same shape comes back."""
        return torch.addcmul(self.bias[:, None, None], x, self.weight[:, None, None])


PLAIN_NORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "instance": instance_norm,
    "positional": positional_norm,
    "layer": layer_norm,
    "pixel": pixel_norm,
}
"""Those that look at one item alone, and are the same in training and evaluation."""
BATCH_NORMS: dict[str, type[nn.Module]] = {"batch": nn.BatchNorm2d, "sync_batch": nn.SyncBatchNorm}
"""Those with the statistics of a batch in training and their running mean in evaluation.

The second takes them over all processes, which then must have GPUs; in one process it is the first.
"""
NORMS = ("none", *PLAIN_NORMS, *BATCH_NORMS)


def make_norm(name: str, channels: int, affine: bool = False) -> nn.Module:
    """The norm of this name for maps (B, channels, H, W).

    affine: with a learned scale and shift for each channel behind it; "none" has neither. Raises
    ValueError for another name, and for a positional norm of one channel, which would be 0.
    """
    if name == "positional" and channels < 2:
        raise ValueError('norm="positional" compares channels: it needs 2 or more, got 1.')
    if name in BATCH_NORMS:
        return BATCH_NORMS[name](channels, eps=NORM_EPSILON, affine=affine)
    if name in PLAIN_NORMS:
        normalize = Normalize(PLAIN_NORMS[name])
        return nn.Sequential(normalize, Affine(channels)) if affine else normalize
    if name == "none":
        return nn.Identity()
    raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {name!r}.")
