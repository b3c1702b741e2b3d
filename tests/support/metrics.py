"""Pictures and label maps to be measured."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cocosnet_hf.synthetic import SyntheticExamples


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def drawn(count: int, side: int = 64, seed: int = 0) -> Tensor:
    """Drawn scenes, (N, 3, side, side) in 0..1."""
    examples = SyntheticExamples("mask", side, seed)
    photos = [np.array(examples[index]["image"]) for index in range(count)]
    return torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2).float() / 255


def noisy(pictures: Tensor, strength: float) -> Tensor:
    return pictures + strength * noise(3, *pictures.shape)


def blocks(seed: int, side: int = 32, classes: int = 4) -> Tensor:
    """A label map of coarse blocks that do not fit the features' grid."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(classes, (1, 1, 5, 5), generator=generator).float()
    return F.interpolate(coarse, size=(side, side), mode="nearest")[0, 0].long()
