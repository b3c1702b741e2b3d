"""The networks: one file for each box of the design's picture."""

from .attributes import AttributeDecoder, ForgetfulEncoder, LatentCritic
from .blending import BlendingOutput, BlendingTranslationNetwork
from .cascaded import CascadedGenerator
from .coarse_to_fine import CoarseToFineGenerator
from .code_encoder import CodeEncoder
from .content_style import ContentEncoder, StyleCodeEncoder, StyledDecoder
from .correspondence import CorrespondenceNetwork, CorrespondenceOutput
from .coupled import CoupledCritic, CoupledGenerator
from .discriminator import MultiscaleDiscriminator
from .efficientnet import EfficientNetLite0Features
from .feature_encoder import FeatureEncoder
from .layered import CanvasPainter, OrderingNetwork, SegmentTransformer
from .many_domains import (
    DomainCritic,
    DomainStyleEncoder,
    RestylingGenerator,
    StyleMapping,
)
from .mirrored import MirroredDecoder
from .patchgan import PatchGAN
from .perceptual import DistilledVGG19Features
from .projected import ProjectedDiscriminator
from .shared_latent import (
    DomainAutoencoder,
    DomainDecoder,
    DomainEncoder,
    GuidedDecoder,
    SharedLatent,
)
from .spade_generator import ImageEncoder, SPADEGenerator
from .style_encoder import StyleEncoder
from .translation import TranslationNetwork
from .unet import UNet
from .vgg import VGG19Features

__all__ = [
    "AttributeDecoder",
    "BlendingOutput",
    "BlendingTranslationNetwork",
    "CanvasPainter",
    "CascadedGenerator",
    "CoarseToFineGenerator",
    "CodeEncoder",
    "ContentEncoder",
    "CorrespondenceNetwork",
    "CorrespondenceOutput",
    "CoupledCritic",
    "CoupledGenerator",
    "DistilledVGG19Features",
    "DomainAutoencoder",
    "DomainCritic",
    "DomainDecoder",
    "DomainEncoder",
    "DomainStyleEncoder",
    "EfficientNetLite0Features",
    "FeatureEncoder",
    "ForgetfulEncoder",
    "GuidedDecoder",
    "ImageEncoder",
    "LatentCritic",
    "MirroredDecoder",
    "MultiscaleDiscriminator",
    "OrderingNetwork",
    "PatchGAN",
    "ProjectedDiscriminator",
    "RestylingGenerator",
    "SharedLatent",
    "SPADEGenerator",
    "SegmentTransformer",
    "StyleCodeEncoder",
    "StyleEncoder",
    "StyleMapping",
    "StyledDecoder",
    "TranslationNetwork",
    "UNet",
    "VGG19Features",
]
