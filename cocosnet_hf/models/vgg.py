"""VGG-19 features for the perceptual and contextual losses and for the metrics."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from diffusers import ModelMixin  # noqa: F401  (diffusers looks the base class up in this module)
from diffusers.configuration_utils import register_to_config
from huggingface_hub import hf_hub_download
from safetensors import safe_open
from torch import Tensor, nn
from typing_extensions import Self

from .network import require_channels
from .perceptual import PerceptualNetwork

CONVOLUTIONS = {1: 2, 2: 2, 3: 4, 4: 4, 5: 4}
"""Number of 3x3 convolutions before each 2x2 max pooling."""

LAYERS = ("relu1_2", "relu2_2", "relu3_2", "relu4_2", "relu5_2")
"""The layers that the losses of the official networks use."""


class VGG19Features(PerceptualNetwork):
    """The 16 convolutions of VGG-19 (Simonyan and Zisserman 2015; specification, section 10.3).

    preprocessing: what the weights were trained on: "caffe" for BGR in 0..255 less the mean colour
    (the weights of the official training), "torchvision" for RGB in 0..1, normalised.
    """

    layers = LAYERS

    @register_to_config
    def __init__(self, preprocessing: Literal["caffe", "torchvision"] = "torchvision"):
        super().__init__()
        if preprocessing not in ("caffe", "torchvision"):
            raise ValueError(
                f'preprocessing must be "caffe" or "torchvision", got {preprocessing!r}.'
            )
        channels = 3
        for stage, count in CONVOLUTIONS.items():
            for index in range(1, count + 1):
                width = min(64 * 2 ** (stage - 1), 512)
                self.add_module(f"conv{stage}_{index}", nn.Conv2d(channels, width, 3, padding=1))
                channels = width

    @classmethod
    def from_timm(cls, source: str | Path = "timm/vgg19.tv_in1k") -> Self:
        """The ImageNet weights of `timm/vgg19.tv_in1k` (BSD-3-Clause), or of a safetensors file.

        Only the convolutions are read. Raises ValueError if one of them is missing.
        """
        path = Path(source)
        if not path.is_file():
            path = Path(hf_hub_download(str(source), "model.safetensors"))
        model = cls(preprocessing="torchvision")
        keys, position = {}, 0
        for stage, count in CONVOLUTIONS.items():
            for index in range(1, count + 1):
                for kind in ("weight", "bias"):
                    keys[f"conv{stage}_{index}.{kind}"] = f"features.{position}.{kind}"
                position += 2  # a ReLU follows each convolution,
            position += 1  # a pooling each stage
        with safe_open(path, framework="pt") as file:
            missing = sorted(set(keys.values()) - set(file.keys()))
            if missing:
                raise ValueError(
                    f"expected the VGG-19 of timm in {path}, but it lacks {', '.join(missing[:3])}."
                )
            model.load_state_dict({ours: file.get_tensor(key) for ours, key in keys.items()})
        return model.eval().requires_grad_(False)

    @property
    def is_reference(self) -> bool:
        """True for the Caffe form, in whose units loss weights are given."""
        return self.config.preprocessing == "caffe"

    def forward(self, images: Tensor, layers: Iterable[str] = LAYERS) -> dict[str, Tensor]:
        """Features after the named ReLUs, in network order.

        images (B, 3, H, W) in [-1, 1]; values (B, C, H / 2^s, W / 2^s). Raises ValueError for
        an unknown layer.
        """
        require_channels("images", images, 3)
        wanted = set(layers)
        known = {
            f"relu{stage}_{i + 1}" for stage, count in CONVOLUTIONS.items() for i in range(count)
        }
        if not wanted or not wanted <= known:
            raise ValueError(
                f"unknown layers {sorted(wanted - known)}; VGG-19 has relu1_1 to relu5_4, got "
                f"{sorted(wanted)}."
            )
        features: dict[str, Tensor] = {}
        x = self.preprocess(images)
        for stage, count in CONVOLUTIONS.items():
            for index in range(1, count + 1):
                x = F.relu(getattr(self, f"conv{stage}_{index}")(x))
                name = f"relu{stage}_{index}"
                if name in wanted:
                    features[name] = x
                    if features.keys() == wanted:
                        return features
            x = F.max_pool2d(x, 2)
        return features

    def preprocess(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) in [-1, 1] as the weights expect them."""
        images = (images + 1) / 2
        if self.config.preprocessing == "caffe":
            mean = images.new_tensor([0.40760392, 0.45795686, 0.48501961]).view(3, 1, 1)
            return (images.flip(1) - mean) * 255
        mean = images.new_tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
        return (images - mean) / torch.tensor([0.229, 0.224, 0.225]).to(images).view(3, 1, 1)
