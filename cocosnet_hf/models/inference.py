"""How the layers of `blocks` compute in inference: in chunks on a CPU, and folded.

Chunks save memory and stay in a CPU's caches. Folding rewrites weights so that fewer layers are
left. Both give what the plain layers give, up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RAW_WEIGHT = "parametrizations.weight.original"
"""The weight of a layer under spectral norm that is trained, not yet divided."""
CHUNK_ENTRIES = 2**20
"""Size of the modulation that a SPADE makes at once: 4 MiB in float32."""


def works_in_chunks(x: Tensor) -> bool:
    """Whether large intermediate maps are made chunk by chunk: in inference on a CPU.

    A GPU wants large pieces, a compiler makes its own, and a trace would keep their number.
    """
    is_compiled = torch.compiler.is_compiling() or torch.jit.is_tracing()
    in_eager_inference = not torch.is_grad_enabled() and not is_compiled
    return x.device.type == "cpu" and in_eager_inference


def reflect_pad(x: Tensor) -> Tensor:
    """One mirrored row and column on each side of (B, C, H, W)."""
    return F.pad(x, (1, 1, 1, 1), mode="reflect")


def modulation_chunks(
    style_encoder: nn.Conv2d, modulation: nn.Conv2d, condition: Tensor, size: torch.Size, rows: int
) -> Iterator[tuple[slice, Tensor]]:
    """A SPADE's modulation (B, C, rows, w) of the condition's nearest values at `size` (h, w).

    rows: at a time; the hidden map and the modulation are by far the largest tensors of the
    networks. Each chunk makes the hidden rows around it again. Yields which rows, and them.
    """
    if condition.shape[-2:] != size:
        condition = F.interpolate(condition, size=size, mode="nearest")
    condition = reflect_pad(condition)
    height = size[0]
    for start in range(0, height, rows):
        stop = min(start + rows, height)
        top, bottom = int(start == 0), int(stop == height)
        style = style_encoder(condition[:, :, start - 1 + top : stop + 3 - bottom])
        style = F.pad(F.relu_(style), (1, 1, top, bottom), mode="reflect")
        yield slice(start, stop), modulation(style)


def modulation_of(
    style_encoder: nn.Conv2d, modulation: nn.Conv2d, condition: Tensor, size: torch.Size
) -> Tensor:
    """A SPADE's modulation (B, C, h, w) of the condition's nearest values at `size` (h, w)."""
    if condition.shape[-2:] != size:
        condition = F.interpolate(condition, size=size, mode="nearest")
    return modulation(reflect_pad(F.relu_(style_encoder(reflect_pad(condition)))))


def rows_of_a_chunk(modulation: nn.Conv2d, condition: Tensor, size: torch.Size) -> int:
    """How many rows of a SPADE's modulation at `size` (h, w) make a chunk."""
    return max(CHUNK_ENTRIES // (len(condition) * size[1] * modulation.out_channels), 1)


def modulate_in_chunks(
    style_encoder: nn.Conv2d, modulation: nn.Conv2d, normalized: Tensor, condition: Tensor
) -> Tensor:
    """What a SPADE of these two layers makes of (B, C, h, w) and a condition (B, K, H, W)."""
    size = normalized.shape[-2:]
    rows = rows_of_a_chunk(modulation, condition, size)
    out = torch.empty_like(normalized)
    for here, made in modulation_chunks(style_encoder, modulation, condition, size, rows):
        scale, shift = made.chunk(2, dim=1)
        out[:, :, here] = torch.addcmul(shift, normalized[:, :, here], scale)
    return out


class FoldedShortcut(nn.Module):
    """A SPADE and the 1x1 convolution behind it, whose output channels its shift makes at once.

    conv(n * scale + shift) = conv(n * scale) + (conv . modulation_shift)(style): the 1x1
    convolution moves into the 3x3 one that makes the shift, which then has fewer outputs.
    """

    in_chunks = True
    """Whether it may work some rows at a time."""

    def __init__(self, style_encoder: nn.Conv2d, modulation: nn.Conv2d, conv: nn.Conv2d):
        super().__init__()
        self.channels = conv.in_channels
        # On the CPU: not every accelerator knows float64.
        mix = conv.weight.flatten(1).cpu().double()
        shared = modulation.get_parameter("bias")
        shift, bias = modulation.weight[self.channels :], shared[self.channels :]
        weight = torch.tensordot(mix, shift.cpu().double(), dims=1)
        bias = mix @ bias.cpu().double()
        self.style_encoder = style_encoder
        self.modulation = plain_conv2d(
            modulation,
            torch.cat([modulation.weight[: self.channels], weight.to(shift)]),
            torch.cat([shared[: self.channels], bias.to(shared)]),
        )
        self.conv = conv

    def forward(self, normalized: Tensor, condition: Tensor) -> Tensor:
        """normalized (B, C, h, w), condition (B, K, H, W) of any size; returns (B, C', h, w)."""
        size = normalized.shape[-2:]
        if not (self.in_chunks and works_in_chunks(normalized)):
            return self._mixed(
                normalized, modulation_of(self.style_encoder, self.modulation, condition, size)
            )
        rows = rows_of_a_chunk(self.modulation, condition, size)
        chunks = modulation_chunks(self.style_encoder, self.modulation, condition, size, rows)
        out = [self._mixed(normalized[:, :, here], made) for here, made in chunks]
        return torch.cat(out, dim=2)

    def _mixed(self, normalized: Tensor, made: Tensor) -> Tensor:
        scale, shift = made.tensor_split([self.channels], dim=1)
        return self.conv(normalized * scale).add_(shift)


def attend_in_chunks(query: Tensor, key: Tensor, value: Tensor, chunk: int = 512) -> Tensor:
    """`blocks.attend` in tiles of chunk x chunk positions that stay in a CPU's caches.

    The softmax is taken in float32 with a running maximum and sum per row (Milakov and Gimelshein
    2018). With 16,384 queries of 4,096 keys 2 times as fast in bfloat16 as the fused kernel, which
    pads E to V, and 1.1 times in float32.
    """
    keys, values = key.mT.float().split(chunk, dim=2), value.contiguous().split(chunk, dim=1)
    return torch.cat(
        [_attend_rows(rows.float(), keys, values) for rows in query.split(chunk, dim=1)], dim=1
    )


def _attend_rows(query: Tensor, keys: Sequence[Tensor], values: Sequence[Tensor]) -> Tensor:
    """`blocks.attend` for some rows; keys are transposed."""
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


def plain_conv2d(like: nn.Conv2d, weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    """A convolution with the geometry of `like` and these very weights."""
    out_channels, in_channels, *kernel_size = weight.shape
    conv = nn.Conv2d(
        in_channels,
        out_channels,
        _pair(kernel_size),
        _pair(like.stride),
        like.padding if isinstance(like.padding, str) else _pair(like.padding),
        bias=bias is not None,
        device="meta",
    )
    conv.weight = nn.Parameter(weight)
    if bias is not None:
        conv.bias = nn.Parameter(bias)
    return conv


def _pair(sides: Sequence[int]) -> tuple[int, int]:
    vertical, horizontal = sides
    return vertical, horizontal


def without_spectral_norm(conv: nn.Conv2d) -> nn.Conv2d:
    """`conv` with its normalised weight as a plain one, as evaluation sees it; uses `conv` up.

    A new module: `remove_parametrizations` changes a class that deep copies share with the
    original, which would then lose its weight.
    """
    weight = conv.weight.detach().contiguous(memory_format=torch.channels_last)
    # Parametrized modules are freed late; this lets go of the old weight at once.
    conv.get_parameter(RAW_WEIGHT).data = weight
    return plain_conv2d(conv, weight, conv.bias)
