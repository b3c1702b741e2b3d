"""What evaluations name by import path: baselines, an extractor, a segmenter, a pose finder."""

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor, nn

from cocosnet_hf import Pose

NOT_A_FUNCTION = 3


def blurred(condition: Tensor, exemplar: Image.Image) -> Image.Image:
    """The exemplar, out of focus; the condition must have its size."""
    assert condition.shape[1:] == exemplar.size[::-1]
    return exemplar.filter(ImageFilter.GaussianBlur(2))


def tensors(condition: Tensor, exemplar: Image.Image) -> Tensor:
    """The condition's first three classes as colours."""
    del exemplar
    return condition[:3]


def transparent(condition: Tensor, exemplar: Image.Image) -> Image.Image:
    """Red that nobody sees."""
    del condition
    return Image.new("RGBA", exemplar.size, (255, 0, 0, 0))


def too_small(condition: Tensor, exemplar: Image.Image) -> Image.Image:
    """Half the size that was asked for."""
    del condition
    return exemplar.resize((exemplar.width // 2, exemplar.height // 2))


def colours() -> nn.Module:
    """A network whose 48 features are the colours of 4 x 4 cells."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten())


def dark_is_zero(photo: Image.Image) -> np.ndarray:
    """Class 0 where a photo is dark, else class 1."""
    return (np.asarray(photo.convert("L")) >= 128).astype(int)


def pose_in_the_middle(photo: Image.Image) -> Pose:
    """All joints in the middle of the photo."""
    middle = torch.tensor([photo.width / 2, photo.height / 2, 1.0])
    return Pose(middle.expand(18, 3).numpy(), (photo.height, photo.width))
