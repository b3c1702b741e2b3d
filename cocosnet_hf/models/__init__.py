"""The networks: one file for each box of the design's picture."""

from .correspondence import CorrespondenceNetwork, CorrespondenceOutput
from .discriminator import MultiscaleDiscriminator
from .perceptual import DistilledVGG19Features
from .translation import TranslationNetwork
from .vgg import VGG19Features

__all__ = [
    "CorrespondenceNetwork",
    "CorrespondenceOutput",
    "DistilledVGG19Features",
    "MultiscaleDiscriminator",
    "TranslationNetwork",
    "VGG19Features",
]
