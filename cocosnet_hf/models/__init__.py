"""The networks: one file for each box of the design's picture."""

from .blending import BlendingOutput, BlendingTranslationNetwork
from .correspondence import CorrespondenceNetwork, CorrespondenceOutput
from .discriminator import MultiscaleDiscriminator
from .efficientnet import EfficientNetLite0Features
from .perceptual import DistilledVGG19Features
from .projected import ProjectedDiscriminator
from .style_encoder import StyleEncoder
from .translation import TranslationNetwork
from .vgg import VGG19Features

__all__ = [
    "BlendingOutput",
    "BlendingTranslationNetwork",
    "CorrespondenceNetwork",
    "CorrespondenceOutput",
    "DistilledVGG19Features",
    "EfficientNetLite0Features",
    "MultiscaleDiscriminator",
    "ProjectedDiscriminator",
    "StyleEncoder",
    "TranslationNetwork",
    "VGG19Features",
]
