"""One image's look on another image's layout."""

from diffusers.models.modeling_utils import ModelMixin as ModelMixin  # diffusers asks for it here

from .bundled import bundled, bundled_names, open_model
from .conditions import (
    Condition,
    EdgeCondition,
    MaskCondition,
    PartEdgeCondition,
    PictureCondition,
    Pose,
    PoseCondition,
    condition_from_config,
)
from .image_translation import ImageTranslationOutput, ImageTranslationPipeline
from .losses import contextual_loss
from .matching import Matching
from .models import (
    BlendingTranslationNetwork,
    CoarseToFineGenerator,
    CodeEncoder,
    ContentEncoder,
    CorrespondenceNetwork,
    CorrespondenceOutput,
    CoupledCritic,
    CoupledGenerator,
    DistilledVGG19Features,
    DomainAutoencoder,
    DomainDecoder,
    DomainEncoder,
    FeatureEncoder,
    GuidedDecoder,
    ImageEncoder,
    MultiscaleDiscriminator,
    PatchGAN,
    ProjectedDiscriminator,
    SharedLatent,
    SPADEGenerator,
    StyleCodeEncoder,
    StyledDecoder,
    StyleEncoder,
    TranslationNetwork,
    UNet,
    VGG19Features,
)
from .pipeline import CoCosPipeline, CoCosPipelineOutput, PreparedExemplar
from .presets import PRESETS, Preset

__version__ = "0.1.0.dev0"

__all__ = [
    "PRESETS",
    "BlendingTranslationNetwork",
    "CoCosPipeline",
    "CoCosPipelineOutput",
    "CoarseToFineGenerator",
    "CodeEncoder",
    "Condition",
    "ContentEncoder",
    "CorrespondenceNetwork",
    "CorrespondenceOutput",
    "CoupledCritic",
    "CoupledGenerator",
    "DistilledVGG19Features",
    "DomainAutoencoder",
    "DomainDecoder",
    "DomainEncoder",
    "EdgeCondition",
    "FeatureEncoder",
    "GuidedDecoder",
    "ImageEncoder",
    "ImageTranslationOutput",
    "ImageTranslationPipeline",
    "MaskCondition",
    "Matching",
    "MultiscaleDiscriminator",
    "PartEdgeCondition",
    "PatchGAN",
    "PictureCondition",
    "Pose",
    "PoseCondition",
    "PreparedExemplar",
    "Preset",
    "ProjectedDiscriminator",
    "SharedLatent",
    "SPADEGenerator",
    "StyleCodeEncoder",
    "StyleEncoder",
    "StyledDecoder",
    "TranslationNetwork",
    "UNet",
    "VGG19Features",
    "bundled",
    "bundled_names",
    "condition_from_config",
    "contextual_loss",
    "open_model",
]
