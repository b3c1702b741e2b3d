"""The networks: one file for each box of the design's picture."""

from .blending import BlendingOutput, BlendingTranslationNetwork
from .coded_unet import CodedUNet, CodeEncoder
from .content_style import ContentEncoder, StyleCodeEncoder, StyledDecoder
from .correspondence import CorrespondenceNetwork, CorrespondenceOutput
from .discriminator import MultiscaleDiscriminator
from .efficientnet import EfficientNetLite0Features
from .patch_critic import PictureCritic
from .perceptual import DistilledVGG19Features
from .projected import ProjectedDiscriminator
from .shared_latent import DomainAutoencoder, DomainEncoder, GuidedDecoder, SharedLatent
from .style_encoder import StyleEncoder
from .translation import TranslationNetwork
from .vgg import VGG19Features

__all__ = [
    "BlendingOutput",
    "BlendingTranslationNetwork",
    "CodeEncoder",
    "CodedUNet",
    "ContentEncoder",
    "CorrespondenceNetwork",
    "CorrespondenceOutput",
    "DistilledVGG19Features",
    "DomainAutoencoder",
    "DomainEncoder",
    "EfficientNetLite0Features",
    "GuidedDecoder",
    "MultiscaleDiscriminator",
    "PictureCritic",
    "ProjectedDiscriminator",
    "SharedLatent",
    "StyleCodeEncoder",
    "StyleEncoder",
    "StyledDecoder",
    "TranslationNetwork",
    "VGG19Features",
]
