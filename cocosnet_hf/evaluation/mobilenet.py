"""MobileNetV2 (Sandler et al. 2018) as a feature extractor that needs no metric library."""

from __future__ import annotations

import os
from pathlib import Path

import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from typing_extensions import Self

# Expansion, channels, number of blocks and stride of the first one (table 2 of the paper).
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
SIZE = 224


class MobileNetV2(nn.Module):
    """Pooled 1280-d features of pictures, from weights of TensorFlow's form.

    That is, batch norm folded into the convolutions and borders padded with more zeros at the end
    than at the start. Pictures are resized to 224 pixels, bicubic with antialiasing.
    """

    dimensions = 1280

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Convolution(3, 32, 3, stride=2)
        blocks, channels = [], 32
        for expansion, width, count, stride in STAGES:
            for index in range(count):
                step = stride if index == 0 else 1
                blocks.append(_InvertedResidual(channels, width, expansion, step))
                channels = width
        self.blocks = nn.ModuleList(blocks)
        self.head = _Convolution(channels, self.dimensions, 1)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """Weights from a safetensors file: `stem`, `blocks.N.expand`, `.dw`, `.project`, `head`.

        A `classifier` in it is left out. Raises FileNotFoundError if there is no such file and
        ValueError if it holds another network.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"expected the weights of MobileNetV2 in {path}; not there.")
        found = {
            key: value
            for key, value in load_file(path).items()
            if not key.startswith("classifier.")
        }
        model = cls()
        shapes, theirs = (
            {key: value.shape for key, value in state.items()}
            for state in (model.state_dict(), found)
        )
        if shapes != theirs:
            wrong = sorted({key for key, _ in shapes.items() ^ theirs.items()})
            raise ValueError(
                f"expected a MobileNetV2 in {path}, but {', '.join(wrong[:3])} and perhaps others "
                "are missing, left over or of another shape."
            )
        model.load_state_dict(found)
        return model.eval().requires_grad_(False)

    def forward(self, pictures: Tensor) -> Tensor:
        """pictures (B, 3, H, W) in 0..1 -> (B, 1280)."""
        if pictures.shape[-2:] != (SIZE, SIZE):
            size = (SIZE, SIZE)
            pictures = F.interpolate(pictures, size, mode="bicubic", antialias=True).clamp(0, 1)
        x = F.relu6(self.stem(2 * pictures - 1))
        for block in self.blocks:
            x = block(x)
        return F.relu6(self.head(x)).mean((2, 3))


class _Convolution(nn.Conv2d):
    """A convolution whose output is its input's size over the stride, rounded up."""

    def forward(self, x: Tensor) -> Tensor:
        pads = []
        for side, kernel, stride in zip(x.shape[:1:-1], self.kernel_size, self.stride, strict=True):
            missing = max((-(side // -stride) - 1) * stride + kernel - side, 0)
            pads += [missing // 2, missing - missing // 2]
        return super().forward(F.pad(x, pads))


class _InvertedResidual(nn.Module):
    """Expand, filter each channel by itself, project; a shortcut where the shape stays."""

    def __init__(self, channels: int, width: int, expansion: int, stride: int) -> None:
        super().__init__()
        inner = channels * expansion
        self.expand = _Convolution(channels, inner, 1) if expansion > 1 else None
        self.dw = _Convolution(inner, inner, 3, stride=stride, groups=inner)
        self.project = _Convolution(inner, width, 1)
        self.has_shortcut = stride == 1 and channels == width

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.dw(y)))
        return x + y if self.has_shortcut else y
