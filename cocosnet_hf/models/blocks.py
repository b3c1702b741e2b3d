"""The layers that the networks share: spectral norm, SPADE, attention.

Every convolution starts Xavier-normal with gain 0.02 and zero bias, as the official networks do.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .inference import (
    FoldedShortcut,
    attend_in_chunks,
    modulate_in_chunks,
    modulation_of,
    reflect_pad,
    works_in_chunks,
)
from .norms import instance_norm, make_norm

LEAKY_SLOPE = 0.2


class SpectralNorm(nn.Module):
    """Divide a weight by the estimate u^T W v of its largest singular value (Miyato et al. 2018).

    A parametrization with the key names of `torch.nn.utils.parametrizations.spectral_norm`. Each
    training-mode use first runs one power iteration in the official order (v, then u; torch's own
    does u first), in evaluation u and v are used as stored.
    """

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor):
        super().__init__()
        rows = weight.shape[0]
        columns = weight.numel() // rows
        self.register_buffer("_u", F.normalize(torch.randn(rows), dim=0, eps=1e-12))
        self.register_buffer("_v", F.normalize(torch.randn(columns), dim=0, eps=1e-12))

    def forward(self, weight: Tensor) -> Tensor:
        # Half precision, autocast included, would put an error of one per mille on sigma.
        with torch.autocast(weight.device.type, enabled=False):
            matrix = weight.flatten(1)
            matrix = matrix.to(torch.promote_types(matrix.dtype, torch.float32))
            if self.training:
                self._power_iteration(matrix)
            # Copies: a second forward pass before the backward pass moves the buffers on.
            u, v = self._u.to(matrix, copy=True), self._v.to(matrix, copy=True)
            sigma = torch.dot(u, torch.mv(matrix, v))
            return weight / sigma.to(weight.dtype)

    def used(self) -> tuple[Tensor, Tensor]:
        """See `recompute.MovingNorm`."""
        return self._u.clone(), self._v.clone()

    @contextmanager
    def as_used(self, used: tuple[Tensor, Tensor]) -> Iterator[None]:
        """See `recompute.MovingNorm`."""
        now = self._u, self._v, self.training
        self._u, self._v, self.training = *used, False
        try:
            yield
        finally:
            self._u, self._v, self.training = now

    @torch.no_grad()
    def _power_iteration(self, matrix: Tensor) -> None:
        v = F.normalize(torch.mv(matrix.t(), self._u.to(matrix)), dim=0, eps=1e-12)
        u = F.normalize(torch.mv(matrix, v), dim=0, eps=1e-12)
        self._v.copy_(v)
        self._u.copy_(u)


def conv2d(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    stride: int = 1,
    padding: int = 0,
    bias: bool = True,
    spectral: bool = False,
) -> nn.Conv2d:
    """A convolution with the official initialisation, under spectral norm if asked."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=bias)
    nn.init.xavier_normal_(conv.weight, gain=0.02)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    if spectral:
        # unsafe: skips a trial call, which would already run a power iteration.
        parametrize.register_parametrization(conv, "weight", SpectralNorm(conv.weight), unsafe=True)
    return conv


def leaky_relu_(x: Tensor) -> Tensor:
    """LeakyReLU with the networks' slope of 0.2, in place."""
    return F.leaky_relu(x, LEAKY_SLOPE, inplace=True)


def normalize_features(x: Tensor) -> Tensor:
    """Each position's feature vector at length 1: x / (|x| + 2.2e-16) over dim 1.

    In float16, which has no number as small, 6.1e-5 is added.
    """
    epsilon = max(torch.finfo(torch.float64).eps, torch.finfo(x.dtype).tiny)
    return x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + epsilon)


class SPADE(nn.Module):
    """Scale and shift each position of a normalised map by what the condition says there.

    Source: Park et al. 2019, equation 1; around positional instead of batch norm in the official
    networks, 5.1. The first half of `modulation`'s outputs is the scale itself, with a bias that
    starts at 1, where the paper writes 1 + gamma.
    """

    in_chunks = True
    """Whether inference may make the modulation some rows at a time."""

    def __init__(self, channels: int, condition_channels: int, hidden_channels: int):
        super().__init__()
        self.channels = channels
        self.style_encoder = conv2d(condition_channels, hidden_channels, 3)
        self.modulation = conv2d(hidden_channels, 2 * channels, 3)
        for half in self.modulation.weight.chunk(2):
            nn.init.xavier_normal_(half, gain=0.02)
        nn.init.ones_(self.modulation.get_parameter("bias")[:channels])

    def forward(self, normalized: Tensor, condition: Tensor) -> Tensor:
        """normalized (B, C, h, w), by any norm; condition (B, K, H, W) of any size."""
        if self.in_chunks and works_in_chunks(normalized):
            return modulate_in_chunks(self.style_encoder, self.modulation, normalized, condition)
        size = normalized.shape[-2:]
        made = modulation_of(self.style_encoder, self.modulation, condition, size)
        scale, shift = made.chunk(2, dim=1)
        return torch.addcmul(shift, normalized, scale)


class SPADEResidualBlock(nn.Module):
    """Two SPADE-modulated 3x3 convolutions around a shortcut (official networks, 5.1).

    norm: what each SPADE modulates, by its name in `cocosnet_hf.models.norms`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        condition_channels: int,
        hidden_channels: int,
        norm: str = "positional",
    ):
        super().__init__()
        middle_channels = min(in_channels, out_channels)
        self.normalize_0 = make_norm(norm, in_channels)
        self.normalize_1 = make_norm(norm, middle_channels)
        self.norm_0 = SPADE(in_channels, condition_channels, hidden_channels)
        self.conv_0 = conv2d(in_channels, middle_channels, 3, spectral=True)
        self.norm_1 = SPADE(middle_channels, condition_channels, hidden_channels)
        self.conv_1 = conv2d(middle_channels, out_channels, 3, spectral=True)
        self.has_shortcut = in_channels != out_channels
        if self.has_shortcut:
            self.norm_s: nn.Module = SPADE(in_channels, condition_channels, hidden_channels)
            self.conv_s: nn.Module = conv2d(in_channels, out_channels, 1, bias=False, spectral=True)

    def forward(self, x: Tensor, condition: Tensor, upsample: bool = False) -> Tensor:
        """x (B, C, h, w); condition (B, K, H, W); returns (B, C', h, w), or twice that size."""
        normalized = self.normalize_0(x)
        if upsample:  # after the norm, whose means and variances it leaves alone: on a quarter
            normalized = F.interpolate(normalized, scale_factor=2, mode="nearest")
        if self.has_shortcut:
            shortcut = self.conv_s(self.norm_s(normalized, condition))
        else:
            shortcut = F.interpolate(x, scale_factor=2, mode="nearest") if upsample else x
        x = leaky_relu_(self.norm_0(normalized, condition))
        del normalized
        x = self.conv_0(reflect_pad(x))
        x = leaky_relu_(self.norm_1(self.normalize_1(x), condition))
        return shortcut + self.conv_1(reflect_pad(x))

    @torch.no_grad()
    def fold(self) -> None:
        """Make the shortcut's last two linear maps one, exactly (see `FoldedShortcut`)."""
        if not self.has_shortcut:
            return
        norm, conv = self.norm_s, self.conv_s
        if isinstance(norm, SPADE) and isinstance(conv, nn.Conv2d):
            self.norm_s = FoldedShortcut(norm.style_encoder, norm.modulation, conv)
            self.conv_s = nn.Identity()


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(query key^T) value for (B, N, E), (B, M, E), (B, M, V), without its N x M matrix."""
    # The fused kernels want one width for all three and each position's numbers side by side.
    missing = value.shape[-1] - query.shape[-1]
    return F.scaled_dot_product_attention(
        F.pad(query, (0, missing)).unsqueeze(1),
        F.pad(key, (0, missing)).unsqueeze(1),
        value.unsqueeze(1).contiguous(),
        scale=1.0,
    ).squeeze(1)


class SelfAttention(nn.Module):
    """Non-local block: every position looks at every 2x2-pooled position (Zhang et al. 2019).

    Added to its input with a learned weight `gamma` that starts at 0 (official networks, 6).
    """

    attend: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None
    """In the place of `attend` and `attend_in_chunks`."""

    def __init__(self, channels: int):
        super().__init__()
        self.query = conv2d(channels, channels // 8, 1, bias=False, spectral=True)
        self.key = conv2d(channels, channels // 8, 1, bias=False, spectral=True)
        self.value = conv2d(channels, channels // 2, 1, bias=False, spectral=True)
        self.out = conv2d(channels // 2, channels, 1, bias=False, spectral=True)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, h, w) with even h and w; the same shape comes back."""
        batch, _, height, width = x.shape
        query = self.query(x).flatten(2).transpose(1, 2)
        key = F.max_pool2d(self.key(x), 2).flatten(2).transpose(1, 2)
        value = F.max_pool2d(self.value(x), 2).flatten(2).transpose(1, 2)
        attend_here = self.attend or (attend_in_chunks if works_in_chunks(x) else attend)
        attended = attend_here(query, key, value)
        attended = attended.transpose(1, 2).reshape(batch, -1, height, width)
        return x + self.gamma * self.out(attended)


class InstanceNormResidualBlock(nn.Module):
    """Two 3x3 convolutions with instance norm and one PReLU slope (official networks, 5.3)."""

    def __init__(self, channels: int):
        super().__init__()
        # No bias: the instance norm behind each convolution removes it.
        self.conv1 = conv2d(channels, channels, 3, bias=False)
        self.conv2 = conv2d(channels, channels, 3, bias=False)
        self.prelu = nn.PReLU(init=0.25)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, h, w); the same shape comes back."""
        y = self.prelu(instance_norm(self.conv1(reflect_pad(x))))
        y = instance_norm(self.conv2(reflect_pad(y)))
        return self.prelu(x + y)
