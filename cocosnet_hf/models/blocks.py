"""The layers that the networks share: spectral norm, positional norm, SPADE, attention.

Every convolution starts Xavier-normal with gain 0.02 and zero bias, as the official networks do.
"""

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

LEAKY_SLOPE = 0.2
NORM_EPSILON = 1e-5
STRIP_ENTRIES = 2**20
"""Size of the modulation that a SPADE makes at once in inference: 4 MiB in float32."""


class SpectralNorm(nn.Module):
    """Divide a weight by the estimate u^T W v of its largest singular value (Miyato et al. 2018).

    A parametrization with the key names of `torch.nn.utils.parametrizations.spectral_norm`. Each
    training-mode use first runs one power iteration in the official order (v, then u; torch's own
    does u first), in evaluation u and v are used as stored.
    """

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
    if bias:
        nn.init.zeros_(conv.bias)
    if spectral:
        # unsafe: skips a trial call, which would already run a power iteration.
        parametrize.register_parametrization(conv, "weight", SpectralNorm(conv.weight), unsafe=True)
    return conv


def plain_conv2d(like: nn.Conv2d, weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    """A convolution with the geometry of `like` and these very weights."""
    conv = nn.Conv2d(
        weight.shape[1],
        weight.shape[0],
        weight.shape[2:],
        like.stride,
        like.padding,
        bias=bias is not None,
        device="meta",
    )
    conv.weight = nn.Parameter(weight)
    if bias is not None:
        conv.bias = nn.Parameter(bias)
    return conv


def without_spectral_norm(conv: nn.Conv2d) -> nn.Conv2d:
    """`conv` with its normalised weight as a plain one, as evaluation sees it; uses `conv` up.

    A new module: `remove_parametrizations` changes a class that deep copies share with the
    original, which would then lose its weight.
    """
    weight = conv.weight.detach().contiguous(memory_format=torch.channels_last)
    # Parametrized modules are freed late; this lets go of the old weight at once.
    conv.parametrizations.weight.original.data = weight
    return plain_conv2d(conv, weight, conv.bias)


def reflect_pad(x: Tensor) -> Tensor:
    """One mirrored row and column on each side of (B, C, H, W)."""
    return F.pad(x, (1, 1, 1, 1), mode="reflect")


def leaky_relu_(x: Tensor) -> Tensor:
    """LeakyReLU with the networks' slope of 0.2, in place."""
    return F.leaky_relu(x, LEAKY_SLOPE, inplace=True)


def instance_norm(x: Tensor) -> Tensor:
    """(x - mean) / sqrt(var + 1e-5) over the positions of each channel, var biased. (B, C, H, W).

    In two passes: on channels-last maps a multiple faster than `torch.var_mean` or
    `F.instance_norm`, and free of the cancellation of `F.group_norm`.
    """
    centered = x - x.mean(dim=(2, 3), keepdim=True)
    wide = centered.float() if x.dtype == torch.float16 else centered  # whose squares overflow
    variance = wide.square().mean(dim=(2, 3), keepdim=True)
    return centered * torch.rsqrt(variance + NORM_EPSILON).to(x.dtype)


def works_in_pieces(x: Tensor) -> bool:
    """Whether large intermediate maps are made piece by piece: in inference on a CPU.

    There it saves memory and keeps the pieces in the caches. A GPU wants large pieces, a compiler
    makes its own.
    """
    in_eager_inference = not torch.is_grad_enabled() and not torch.compiler.is_compiling()
    return x.device.type == "cpu" and in_eager_inference


def positional_norm(x: Tensor) -> Tensor:
    """(x - mean) / sqrt(var + 1e-5) over the channels at each position, var unbiased.

    Source: Li et al. 2019 (positional normalisation); Zhang et al. 2020, supplement, section 2;
    official networks, 5.1. (B, C, H, W).
    Written as a layer norm, which divides by the biased variance: with b = (C - 1) / C,
    1 / sqrt(var / b + eps) = sqrt(b) / sqrt(var + b eps).
    """
    channels = x.shape[1]
    biased_share = (channels - 1) / channels
    normalized = F.layer_norm(
        x.movedim(1, -1),
        (channels,),
        weight=x.new_full((channels,), math.sqrt(biased_share)),
        eps=biased_share * NORM_EPSILON,
    )
    return normalized.movedim(-1, 1)


def unit_length(x: Tensor) -> Tensor:
    """Each position's feature vector at length 1: x / (|x| + 2.2e-16) over dim 1.

    In float16, which has no number as small, 6.1e-5 is added.
    """
    epsilon = max(torch.finfo(torch.float64).eps, torch.finfo(x.dtype).tiny)
    return x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + epsilon)


class SPADE(nn.Module):
    """Scale and shift each position of a normalised map by what the condition says there.

    Source: Park et al. 2019, equation 1, around positional instead of batch norm (official
    networks, 5.1). The first half of `modulation`'s outputs is the scale itself, with a bias that
    starts at 1, where the paper writes 1 + gamma.
    """

    def __init__(self, channels: int, condition_channels: int, hidden_channels: int):
        super().__init__()
        self.channels = channels
        self.style_encoder = conv2d(condition_channels, hidden_channels, 3)
        self.modulation = conv2d(hidden_channels, 2 * channels, 3)
        for half in self.modulation.weight.chunk(2):
            nn.init.xavier_normal_(half, gain=0.02)
        nn.init.ones_(self.modulation.bias[:channels])

    def forward(self, normalized: Tensor, condition: Tensor) -> Tensor:
        """normalized (B, C, h, w) from `positional_norm`; condition (B, K, H, W) of any size."""
        strips = self.strips(condition, normalized.shape[-2:])
        if not works_in_pieces(normalized):
            ((_, scale, shift),) = strips
            return torch.addcmul(shift, normalized, scale)
        out = torch.empty_like(normalized)
        for rows, scale, shift in strips:
            out[:, :, rows] = torch.addcmul(shift, normalized[:, :, rows], scale)
        return out

    def strips(self, condition: Tensor, size: torch.Size) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Scale (B, C, rows, w) and shift, from the condition's nearest values at `size` (h, w).

        Some rows at a time where it `works_in_pieces`: the hidden map and the modulation are by
        far the largest tensors of the networks. Each strip makes the hidden rows around it again.
        """
        if condition.shape[-2:] != size:
            condition = F.interpolate(condition, size=size, mode="nearest")
        condition = reflect_pad(condition)
        height, width = size
        length = height
        if works_in_pieces(condition):
            row_entries = condition.shape[0] * width * self.modulation.out_channels
            length = max(STRIP_ENTRIES // row_entries, 1)
        for start in range(0, height, length):
            stop = min(start + length, height)
            top, bottom = int(start == 0), int(stop == height)
            style = self.style_encoder(condition[:, :, start - 1 + top : stop + 3 - bottom])
            style = F.pad(F.relu_(style), (1, 1, top, bottom), mode="reflect")
            modulation = self.modulation(style)
            yield (
                slice(start, stop),
                modulation[:, : self.channels],
                modulation[:, self.channels :],
            )


class SPADEResidualBlock(nn.Module):
    """Two SPADE-modulated 3x3 convolutions around a shortcut (official networks, 5.1)."""

    def __init__(
        self, in_channels: int, out_channels: int, condition_channels: int, hidden_channels: int
    ):
        super().__init__()
        middle_channels = min(in_channels, out_channels)
        self.norm_0 = SPADE(in_channels, condition_channels, hidden_channels)
        self.conv_0 = conv2d(in_channels, middle_channels, 3, spectral=True)
        self.norm_1 = SPADE(middle_channels, condition_channels, hidden_channels)
        self.conv_1 = conv2d(middle_channels, out_channels, 3, spectral=True)
        self.has_shortcut = in_channels != out_channels
        if self.has_shortcut:
            self.norm_s = SPADE(in_channels, condition_channels, hidden_channels)
            self.conv_s = conv2d(in_channels, out_channels, 1, bias=False, spectral=True)
        self.folded = False

    def forward(self, x: Tensor, condition: Tensor, upsample: bool = False) -> Tensor:
        """x (B, C, h, w); condition (B, K, H, W); returns (B, C', h, w), or twice that size."""
        normalized = positional_norm(x)
        if upsample:  # after the norm, which sees one position at a time: the same, on a quarter
            normalized = F.interpolate(normalized, scale_factor=2, mode="nearest")
        if self.has_shortcut:
            shortcut = self._shortcut(normalized, condition)
        else:
            shortcut = F.interpolate(x, scale_factor=2, mode="nearest") if upsample else x
        x = leaky_relu_(self.norm_0(normalized, condition))
        del normalized
        x = self.conv_0(reflect_pad(x))
        x = leaky_relu_(self.norm_1(positional_norm(x), condition))
        return shortcut + self.conv_1(reflect_pad(x))

    def _shortcut(self, normalized: Tensor, condition: Tensor) -> Tensor:
        if not self.folded:
            return self.conv_s(self.norm_s(normalized, condition))
        return torch.cat(
            [
                self.conv_s(normalized[:, :, rows] * scale).add_(shift)
                for rows, scale, shift in self.norm_s.strips(condition, normalized.shape[-2:])
            ],
            dim=2,
        )

    @torch.no_grad()
    def fold(self) -> None:
        """Let the shortcut's shift make the output channels at once, exactly.

        conv_s(n * scale + shift) = conv_s(n * scale) + (conv_s . modulation_shift)(style): the
        1x1 convolution moves into the 3x3 one that makes the shift, which then has fewer outputs.
        """
        if not self.has_shortcut or self.folded:
            return
        modulation, channels = self.norm_s.modulation, self.norm_s.channels
        # On the CPU: not every accelerator knows float64.
        mix = self.conv_s.weight.flatten(1).cpu().double()
        weight = torch.tensordot(mix, modulation.weight[channels:].cpu().double(), dims=1)
        bias = mix @ modulation.bias[channels:].cpu().double()
        self.norm_s.modulation = plain_conv2d(
            modulation,
            torch.cat([modulation.weight[:channels], weight.to(modulation.weight)]),
            torch.cat([modulation.bias[:channels], bias.to(modulation.bias)]),
        )
        self.folded = True


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


def attend_in_tiles(query: Tensor, key: Tensor, value: Tensor, tile: int = 512) -> Tensor:
    """`attend` in tiles of tile x tile positions that stay in a CPU's caches.

    The softmax is taken in float32 with a running maximum and sum per row (Milakov and Gimelshein
    2018). With 16,384 queries of 4,096 keys 2 times as fast in bfloat16 as the fused kernel, which
    pads E to V, and 1.1 times in float32.
    """
    keys, values = key.mT.float().split(tile, dim=2), value.contiguous().split(tile, dim=1)
    return torch.cat(
        [_attend_rows(rows.float(), keys, values) for rows in query.split(tile, dim=1)], dim=1
    )


def _attend_rows(query: Tensor, keys: Sequence[Tensor], values: Sequence[Tensor]) -> Tensor:
    """`attend` for some rows; keys are transposed."""
    first = values[0]
    maximum = query.new_full((*query.shape[:2], 1), -torch.inf)
    total = torch.zeros_like(maximum)
    attended = query.new_zeros(*query.shape[:2], first.shape[-1])
    for key, value in zip(keys, values, strict=True):
        scores = query @ key
        higher = torch.maximum(maximum, scores.amax(dim=2, keepdim=True))
        shares = scores.sub_(higher).exp_()
        kept = maximum.sub_(higher).exp_()
        total.mul_(kept).add_(shares.sum(dim=2, keepdim=True))
        if value.dtype == torch.float16:  # of numbers up to 65,504: a tile's sum may be larger
            value = value.float()
        attended.mul_(kept).add_(shares.to(value.dtype) @ value)
        maximum = higher
    return (attended / total).to(first.dtype)


class SelfAttention(nn.Module):
    """Non-local block: every position looks at every 2x2-pooled position (Zhang et al. 2019).

    Added to its input with a learned weight `gamma` that starts at 0 (official networks, 6).
    """

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
        query = self.query(x).flatten(2).mT
        key = F.max_pool2d(self.key(x), 2).flatten(2).mT
        value = F.max_pool2d(self.value(x), 2).flatten(2).mT
        attended = (attend_in_tiles if works_in_pieces(x) else attend)(query, key, value)
        attended = attended.mT.reshape(batch, -1, height, width)
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
