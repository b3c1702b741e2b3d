"""The networks behind metrics, by name: the name of a metric says whose features it compares."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..models import DistilledVGG19Features
from ..models.perceptual import PerceptualNetwork
from ..models.vgg import open_perceptual
from .mobilenet import MobileNetV2
from .picture_sets import Pictures, open_pictures, to_float

INCEPTION, MOBILENET = "Inception", "MobileNetV2"


@dataclass(frozen=True)
class Extractor:
    """A network that makes one vector of each picture, for Frechet and kernel distance.

    network: pictures (B, 3, H, W) in 0..1 -> (B, D). resize: how pictures come to its size.
    source: file or function that it is from, if not a library.
    """

    name: str
    network: Callable[[Tensor], Tensor]
    resize: str = "by the network itself"
    source: str | None = None

    @property
    def frechet(self) -> str:
        """FID only for Inception, on which that name rests; FD-<name> for every other network."""
        return "FID" if self.name == INCEPTION else f"FD-{self.name}"

    @property
    def kernel(self) -> str:
        """KID for Inception, KID-<name> for every other network."""
        return "KID" if self.name == INCEPTION else f"KID-{self.name}"


class InceptionFeatures(nn.Module):
    """The 2048-d pooled features of FID's Inception, as torchmetrics and torch-fidelity load them.

    Raises ImportError where they, or the torchvision that they need, cannot be imported.
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            from torchmetrics.image.fid import NoTrainInceptionV3

            self.network = NoTrainInceptionV3(
                name="inception-v3-compat", features_list=["2048"], antialias=False
            )
        except (ImportError, RuntimeError) as error:
            raise ImportError(
                "FID needs torchmetrics, torch-fidelity and a torchvision that fits torch: pip "
                "install torchmetrics[image]; or name another extractor, such as "
                f"MobileNetV2=weights.safetensors. ({error})"
            ) from error

    def forward(self, pictures: Tensor) -> Tensor:
        """pictures (B, 3, H, W) in 0..1 -> (B, 2048)."""
        return self.network((pictures * 255).round().byte())


def load_extractor(spec: str) -> Extractor:
    """An extractor by its spec.

    "Inception"; "MobileNetV2=FILE", a safetensors file (see `MobileNetV2.from_file`); or
    "NAME=package.module:function", a function that returns a network. Raises ValueError for another
    spec, ImportError for what cannot be imported.
    """
    name, _, source = spec.partition("=")
    if name == INCEPTION and not source:
        resize = "299 px, bilinear as TensorFlow 1"
        return Extractor(name, InceptionFeatures().eval().requires_grad_(False), resize)
    if name == MOBILENET and source:
        network = MobileNetV2.from_file(source)
        return Extractor(name, network, "224 px, bicubic with antialiasing", source)
    if not name or name == INCEPTION or ":" not in source:
        raise ValueError(
            f"An extractor is '{INCEPTION}', '{MOBILENET}=FILE' or 'NAME=package.module:function', "
            f"got {spec!r}."
        )
    network = import_function(source)()
    if isinstance(network, nn.Module):
        network = network.eval().requires_grad_(False)
    return Extractor(name, network, source=source)


@torch.no_grad()
def extract(
    extractor: Extractor,
    pictures: Pictures,
    batch_size: int = 32,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Features of a whole set, (N, D) float32 on the CPU. The network must be on `device`."""
    pictures = open_pictures(pictures)
    found = []
    for start in range(0, len(pictures), batch_size):
        stop = min(start + batch_size, len(pictures))
        batch = torch.stack([to_float(pictures[index]) for index in range(start, stop)])
        found.append(extractor.network(batch.to(device)).float().cpu())
    return torch.cat(found)


def load_perceptual(spec: str) -> PerceptualNetwork:
    """A network for features at positions by its spec.

    "VGG19", from the Hub (timm/vgg19.tv_in1k); "VGG19=SOURCE" or "VGG19-distilled=FILE", see
    `open_perceptual`. Raises ValueError for another spec.
    """
    name, _, source = spec.partition("=")
    if name == "VGG19":
        return open_perceptual("vgg19", source or "timm/vgg19.tv_in1k")
    if name == "VGG19-distilled" and source:
        return open_perceptual("vgg19-distilled", source)
    raise ValueError(
        f"A perceptual network is 'VGG19', 'VGG19=SOURCE' or 'VGG19-distilled=FILE', got {spec!r}."
    )


def perceptual_name(network: PerceptualNetwork) -> str:
    """What metrics call it: VGG19 with torchvision's weights, VGG19-caffe, VGG19-distilled."""
    if isinstance(network, DistilledVGG19Features):
        return "VGG19-distilled"
    return "VGG19-caffe" if network.is_reference else "VGG19"


def load_lpips() -> Callable[[Tensor, Tensor], Tensor]:
    """LPIPS with AlexNet: two (B, 3, H, W) in 0..1 -> (B,).

    Raises ImportError where torchmetrics or the torchvision that it needs cannot be imported.
    """
    try:
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        metric = LearnedPerceptualImagePatchSimilarity("alex", reduction="none", normalize=True)
    except (ImportError, RuntimeError) as error:
        raise ImportError(
            "LPIPS needs torchmetrics and a torchvision that fits torch: pip install "
            f"torchmetrics[image]. ({error})"
        ) from error

    def distance(pictures: Tensor, targets: Tensor) -> Tensor:
        found = metric.to(pictures.device)(pictures, targets).reshape(-1)
        metric.reset()  # it would remember every score
        return found

    return distance


def import_function(path: str) -> Callable[..., Any]:
    """The function "package.module:function". Raises ImportError if it is not there."""
    module, _, name = path.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except AttributeError as error:
        raise ImportError(f"The module '{module}' has no '{name}'.") from error
    if not callable(function):
        raise ImportError(f"'{path}' is not a function.")
    return function
