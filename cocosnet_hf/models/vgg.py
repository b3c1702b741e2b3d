"""VGG-19 features for the perceptual and contextual losses and for the metrics."""

from pathlib import Path
from typing import Literal

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin as ModelMixin  # diffusers asks for it here
from huggingface_hub import hf_hub_download
from safetensors import safe_open
from torch import Tensor
from typing_extensions import Self

from .perceptual import DistilledVGG19Features, PerceptualNetwork


class VGG19Features(PerceptualNetwork):
    """The 16 convolutions of VGG-19 (Simonyan and Zisserman 2015; official networks, 10.3).

    preprocessing: what the weights were trained on: "caffe" for BGR in 0..255 less the mean colour
    (the weights of the official training), "torchvision" for RGB in 0..1, normalised.
    """

    layers = ("relu1_2", "relu2_2", "relu3_2", "relu4_2", "relu5_2")
    convolutions = (2, 2, 4, 4, 4)
    widths = (64, 128, 256, 512, 512)

    @register_to_config
    def __init__(self, preprocessing: Literal["caffe", "torchvision"] = "torchvision"):
        super().__init__()
        if preprocessing not in ("caffe", "torchvision"):
            raise ValueError(
                f'preprocessing must be "caffe" or "torchvision", got {preprocessing!r}.'
            )
        self.add_convolutions()

    @classmethod
    def from_timm(cls, source: str | Path = "timm/vgg19.tv_in1k") -> Self:
        """The ImageNet weights of `timm/vgg19.tv_in1k` (BSD-3-Clause), or of a safetensors file.

        Only the convolutions are read. Raises ValueError if one of them is missing.
        """
        path = Path(source)
        if not path.is_file():
            path = Path(hf_hub_download(str(source), "model.safetensors"))
        model = cls(preprocessing="torchvision")
        keys = {
            # A ReLU follows each convolution, a pooling each stage.
            f"conv{layer}.{kind}": f"features.{2 * number + int(layer[0]) - 1}.{kind}"
            for number, layer in enumerate(cls.convolution_names())
            for kind in ("weight", "bias")
        }
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

    def preprocess(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) in [-1, 1] as the weights expect them."""
        red, green, blue = ((images + 1) / 2).unbind(1)
        # Numbers, not tensors of them: a GPU is waited for when those are copied to it.
        if self.config.preprocessing == "caffe":
            means = ((blue, 0.40760392), (green, 0.45795686), (red, 0.48501961))
            return torch.stack([(plane - mean) * 255 for plane, mean in means], dim=1)
        scales = ((red, 0.485, 0.229), (green, 0.456, 0.224), (blue, 0.406, 0.225))
        return torch.stack([(plane - mean) / scale for plane, mean, scale in scales], dim=1)


def open_perceptual(network: Literal["vgg19", "vgg19-distilled"], source: str) -> PerceptualNetwork:
    """A frozen network for perceptual features, by its name and where its weights are.

    source: for VGG-19 a Hub id, a safetensors file of the same layout or a folder of a saved
    `VGG19Features`; for the distilled one a file, see `DistilledVGG19Features.from_file`. Raises
    what these raise for weights that are not there or not their own.
    """
    if network == "vgg19-distilled":
        return DistilledVGG19Features.from_file(source)
    if Path(source).is_dir():
        return VGG19Features.from_pretrained(source).eval().requires_grad_(False)
    return VGG19Features.from_timm(source)
