"""What every feature network of the perceptual losses declares, and a small stand-in for VGG-19."""

from abc import abstractmethod
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin as ModelMixin  # diffusers asks for it here
from safetensors.torch import load_file
from torch import Tensor, nn
from typing_extensions import Self

from .network import Network, require_channels

# mean |F(a) - F(b)| of VGG-19 in its Caffe form at relu1_2, ..., relu5_2, in units of the mean
# |a - b| of the pictures in 0..255: the divisors by which Chen and Koltun 2017 (cascaded refinement
# networks) bring these five terms to one size.
REFERENCE_CHANGES = (2.6, 4.8, 3.7, 5.6, 0.15)
_PROBE_SIZE, _PROBE_BLUR = 128, 4


class PerceptualNetwork(Network):
    """A VGG whose features the losses compare, whichever weights a machine has.

    layers: its names of five layers, fine to coarse, in the roles of VGG-19's relu1_2, relu2_2,
    relu3_2, relu4_2 and relu5_2. Loss weights are meant for the Caffe form of VGG-19, on which the
    official networks were trained; `calibrated` gives the features of any other network in its
    units, so that the weights mean the same.
    convolutions, widths: number and output channels of the 3x3 convolutions in each stage. Between
    two stages lies a 2x2 max pooling.
    """

    layers: tuple[str, ...]
    convolutions: tuple[int, ...]
    widths: tuple[int, ...]

    @classmethod
    def convolution_names(cls) -> list[str]:
        """Stage and number of each convolution in network order: "1_1", "1_2", ..., "2_1", ..."""
        counts = enumerate(cls.convolutions, start=1)
        return [f"{stage}_{number}" for stage, count in counts for number in range(1, count + 1)]

    def add_convolutions(self, **options: Any) -> None:
        """Make "conv1_1", "conv1_2", ... with these options of `nn.Conv2d`."""
        channels = 3
        for layer in self.convolution_names():
            width = self.widths[int(layer[0]) - 1]
            self.add_module(f"conv{layer}", nn.Conv2d(channels, width, 3, padding=1, **options))
            channels = width

    @abstractmethod
    def preprocess(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) in [-1, 1] as the weights expect them."""

    def forward(self, images: Tensor, layers: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Features after the named ReLUs, by default after `layers`, in network order.

        images (B, 3, H, W) in [-1, 1]; values (B, C, H / 2^s, W / 2^s). Raises ValueError for an
        unknown layer.
        """
        require_channels("images", images, 3)
        wanted = set(self.layers if layers is None else layers)
        known = [f"relu{layer}" for layer in self.convolution_names()]
        if not wanted or not wanted <= set(known):
            raise ValueError(
                f"unknown layers {sorted(wanted - set(known))}; {type(self).__name__} has "
                f"{known[0]} to {known[-1]}, got {sorted(wanted)}."
            )
        features: dict[str, Tensor] = {}
        x = self.preprocess(images)
        for layer in self.convolution_names():
            if layer.endswith("_1") and layer != "1_1":
                x = F.max_pool2d(x, 2)
            x = F.relu(getattr(self, f"conv{layer}")(x))
            if f"relu{layer}" in wanted:
                features[f"relu{layer}"] = x
                if features.keys() == wanted:
                    break
        return features

    @property
    def is_reference(self) -> bool:
        """Whether the features are in the units of the official training as they are."""
        return False

    def calibrated(self, images: Tensor) -> dict[str, Tensor]:
        """Features at `layers`, fine to coarse, times `scales`. images (B, 3, H, W) in [-1, 1]."""
        features = self(images, self.layers)
        return {name: self.scales[name] * features[name] for name in self.layers}

    @cached_property
    @torch.no_grad()
    def scales(self) -> dict[str, float]:
        """What each of `layers` is multiplied by to be in the units of VGG-19's Caffe form.

        1 for that network. For others measured once, to three digits, on three photographs that
        come with scikit-image: there the mean absolute change under a 4x4 blur becomes
        `REFERENCE_CHANGES` times that of the pixels, as for the Caffe form on its training pairs.
        Measured under another blur or on other photographs, scales differ by a factor up to 1.7;
        between unrelated pictures features change 2 to 6 times less per pixel than under a blur.

        Raises ValueError if a layer does not react to its input.
        """
        if self.is_reference:
            return dict.fromkeys(self.layers, 1.0)
        sharp = _photographs().to(next(self.parameters()))
        blurred = F.interpolate(F.avg_pool2d(sharp, _PROBE_BLUR), scale_factor=_PROBE_BLUR)
        pixels = 127.5 * (sharp - blurred).abs().float().mean()
        with torch.autocast(sharp.device.type, enabled=False):
            features, others = self(sharp, self.layers), self(blurred, self.layers)
        scales = {}
        for name, reference in zip(self.layers, REFERENCE_CHANGES, strict=True):
            change = float((features[name] - others[name]).abs().float().mean() / pixels)
            if not change > 0:
                raise ValueError(
                    f"{name} of this {type(self).__name__} is the same for different pictures; its "
                    f"weights are not those of a trained network. Load them from a file."
                )
            scales[name] = float(f"{reference / change:.3g}")
        return scales


def _photographs() -> Tensor:
    """Three photographs, square, (3, 3, 128, 128) in [-1, 1]."""
    from skimage import data  # slow to import, and only needed here

    photos = []
    for photo in (data.astronaut(), data.coffee(), data.chelsea()):
        side = min(photo.shape[:2])
        square = torch.from_numpy(np.ascontiguousarray(photo[:side, :side, :3])).movedim(-1, 0)
        photos.append(F.interpolate(square[None] / 127.5 - 1, size=_PROBE_SIZE, mode="area"))
    return torch.cat(photos)


class DistilledVGG19Features(PerceptualNetwork):
    """VGG-19 up to relu5_1, pruned 16 times and distilled (Wang et al. 2020), for small machines.

    Its features have a quarter of the channels or less, and only resemble those of VGG-19: results
    must name it.
    """

    layers = ("relu1_2", "relu2_2", "relu3_2", "relu4_2", "relu5_1")
    convolutions = (2, 2, 4, 4, 1)
    widths = (16, 32, 64, 128, 128)

    @register_to_config
    def __init__(self) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(3, 3, 1)  # the preprocessing, from RGB in 0..1
        self.add_convolutions(padding_mode="reflect")

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """The weights `wct_se_16x_new/5SE` of Collaborative-Distillation, as safetensors.

        The file's maps to the channels of VGG-19 are left out. Raises FileNotFoundError if there is
        no such file and ValueError if it holds another network.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"expected the weights of {cls.__name__} in {path}; not there.")
        model = cls()
        found = {key: value for key, value in load_file(path).items() if "_aux." not in key}
        shapes = [
            {key: value.shape for key, value in s.items()} for s in (model.state_dict(), found)
        ]
        if shapes[0] != shapes[1]:
            wrong = sorted({key for key, _ in shapes[0].items() ^ shapes[1].items()})
            raise ValueError(
                f"expected the distilled VGG-19 in {path}, but {', '.join(wrong[:3])} "
                f"{'is' if len(wrong) == 1 else 'are'} missing, left over or of another shape."
            )
        model.load_state_dict(found)
        return model.eval().requires_grad_(False)

    def preprocess(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) in [-1, 1] as the weights expect them.

        Raises ValueError for fewer than 32 pixels in height or width.
        """
        if min(images.shape[-2:]) < 32:
            raise ValueError(
                f"images must be at least 32 pixels high and wide, got {tuple(images.shape[-2:])}; "
                f"the coarsest layer mirrors its borders."
            )
        return self.conv0((images + 1) / 2)
