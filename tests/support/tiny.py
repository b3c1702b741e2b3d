"""Networks and pipelines a few channels wide, seeded, and lively enough to be tested.

The official initialisation (gain 0.02, attention weight 0) would make outputs that hardly depend on
the inputs, so that many a mistake would go unseen.
"""

from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.utils import parametrize

from cocosnet_hf import (
    BlendingTranslationNetwork,
    CoCosPipeline,
    Condition,
    CorrespondenceNetwork,
    EdgeCondition,
    MultiscaleDiscriminator,
    StyleEncoder,
    TranslationNetwork,
)
from cocosnet_hf.systems import StyleVectorPipeline

ModuleT = TypeVar("ModuleT", bound=nn.Module)
POWER_ITERATIONS = 10
BLENDING_CHANNELS = (8, 24, 64, 64)

NETWORK_SETTINGS: dict[str, Any] = {
    "correspondence": {
        "base_channels": 4,
        "feature_channels": 8,
        "spade_channels": 4,
        "num_adaptor_blocks": 1,
        "num_residual_blocks": 1,
    },
    "translation": {"channels": [8, 8, 8, 8], "spade_channels": 4},
    "discriminator": {"base_channels": 4, "scales": 1},
}
"""Of a training run that takes seconds: its `networks`, without what they paint from."""

_CONTENT = {"base_channels": 4, "residual_blocks": 1}
_STYLE = {"style_channels": 4, "base_channels": 4, "halvings": 3}
_DECODER = {**_CONTENT, "style_channels": 4, "hidden_channels": 8}
_CRITIC = {"base_channels": 4, "halvings": 2, "scales": 1}
MUNIT_SETTINGS: dict[str, Any] = {
    f"{domain}_{part}": settings
    for domain in ("condition", "photo")
    for part, settings in {
        "content": _CONTENT,
        "style": _STYLE,
        "decoder": _DECODER,
        "critic": _CRITIC,
    }.items()
}

_LATENT = {"base_channels": 4, "residual_blocks": 1}
EGSCIT_SETTINGS: dict[str, Any] = {"shared": {"base_channels": 4}} | {
    f"{domain}_{part}": settings
    for domain in ("condition", "photo")
    for part, settings in {
        "autoencoder": _LATENT,
        "encoder": _LATENT,
        "decoder": _LATENT,
        "critic": {"base_channels": 4, "halvings": 2},
    }.items()
}

UNIT_SETTINGS: dict[str, Any] = {
    name: settings
    for name, settings in EGSCIT_SETTINGS.items()
    if not name.endswith("_autoencoder")
}

_TRUNK = {"widths": [4, 8], "depths": [1, 1]}
SIMS_SETTINGS: dict[str, Any] = {
    "transformation": _TRUNK,
    "ordering": {**_TRUNK, "hidden_channels": 8},
    "synthesis": {**_TRUNK, "decoder_widths": [8, 8, 4]},
}

COGAN_SETTINGS: dict[str, Any] = {
    "generator": {"style_channels": 6, "channels": [8, 8, 4, 4]},
    "critic": {"channels": [4, 8, 8], "hidden": 8},
}

ADAIN_SETTINGS: dict[str, Any] = {
    "encoder": {"class": "DistilledVGG19Features"},
    "decoder": {"widths": [128, 64, 32, 16]},
}

CONTEXTUAL_SETTINGS: dict[str, Any] = {"generator": {"widths": [8, 8, 4]}}

_BODY = {"base_channels": 4, "halvings": 2, "blocks": 1}
_PAIR_CRITIC = {"base_channels": 4, "halvings": 1}
CYCLEGAN_SETTINGS: dict[str, Any] = {
    f"{domain}_{part}": settings
    for domain in ("condition", "photo")
    for part, settings in {"generator": _BODY, "critic": _PAIR_CRITIC}.items()
}
GCGAN_SETTINGS: dict[str, Any] = {
    "generator": _BODY,
    "photo_critic": _PAIR_CRITIC,
    "turned_critic": _PAIR_CRITIC,
}
DISCOGAN_SETTINGS: dict[str, Any] = {
    f"{domain}_{part}": settings
    for domain in ("condition", "photo")
    for part, settings in {
        "generator": {"base_channels": 4, "levels": 3},
        "critic": {"base_channels": 4, "halvings": 3},
    }.items()
}

STARGANV2_SETTINGS: dict[str, Any] = {
    "generator": {
        "style_channels": 4,
        "base_channels": 4,
        "widest": 8,
        "halvings": 2,
        "bottleneck_blocks": 1,
    },
    "mapping": {
        "latent_channels": 4,
        "hidden_channels": 8,
        "shared_layers": 1,
        "own_layers": 1,
    },
    "style_encoder": {"size": 32, "base_channels": 4, "widest": 8},
    "critic": {"base_channels": 4, "widest": 8},
}

FADER_SETTINGS: dict[str, Any] = {
    "encoder": {"base_channels": 4, "widest": 8, "halvings": 3},
    "critic": {"hidden": 8},
}

_PATCHES = {"base_channels": 4, "halvings": 1, "scales": 2}
BICYCLEGAN_SETTINGS: dict[str, Any] = {
    "generator": {"style_channels": 4, "base_channels": 4, "levels": 4},
    "encoder": {"style_channels": 4, "channels": [4, 8, 8]},
    "encoded_critic": _PATCHES,
    "random_critic": _PATCHES,
}


def lively(module: ModuleT, seed: int = 0) -> ModuleT:
    """Weights N(0, 1 / fan-in), every bias and gain off its start, singular values found."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            if parameter.ndim > 1:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
            else:
                parameter.add_(0.3 * noise)
        module.train()
        for part in module.modules():
            if parametrize.is_parametrized(part, "weight"):
                for _ in range(POWER_ITERATIONS):
                    _ = part.weight
    return module.eval()


def correspondence(
    condition_channels: int = 2, seed: int = 0, **settings: Any
) -> CorrespondenceNetwork:
    widths = {"base_channels": 4, "feature_channels": 8, "spade_channels": 6}
    blocks = {"num_adaptor_blocks": 2, "num_residual_blocks": 1}
    return lively(CorrespondenceNetwork(condition_channels, **widths | blocks | settings), seed)


def translation(
    condition_channels: int = 2, seed: int = 1, channels: tuple[int, ...] = (12, 10, 8, 6)
) -> TranslationNetwork:
    return lively(TranslationNetwork(condition_channels, channels, spade_channels=6), seed)


def blending_translation(condition_channels: int = 2) -> BlendingTranslationNetwork:
    torch.manual_seed(0)
    return lively(BlendingTranslationNetwork(condition_channels, BLENDING_CHANNELS))


def discriminator(condition_channels: int = 2, seed: int = 2) -> MultiscaleDiscriminator:
    return lively(MultiscaleDiscriminator(condition_channels, base_channels=4), seed)


def pipeline(
    condition: Condition | None = None, image_size: int = 32, **settings: Any
) -> CoCosPipeline:
    """A quiet pipeline, for edges if nothing else is said; `settings` of the correspondence."""
    condition = condition or EdgeCondition()
    made = CoCosPipeline(
        correspondence(condition.channels, **settings),
        translation(condition.channels),
        condition,
        image_size,
    )
    made.set_progress_bar_config(disable=True)
    return made


def blending_pipeline(
    condition: Condition | None = None, image_size: int = 64, mix_condition: bool = True
) -> CoCosPipeline:
    """A quiet pipeline that warps coherently, at half of its size, and blends."""
    condition = condition or EdgeCondition()
    painter = blending_translation(condition.channels)
    matcher = correspondence(condition.channels, warp="coherent", mix_condition=mix_condition)
    made = CoCosPipeline(matcher, painter, condition, image_size, matching_scale=2)
    made.set_progress_bar_config(disable=True)
    return made


def style_pipeline(image_size: int = 32) -> StyleVectorPipeline:
    """A quiet pipeline of another system, without a matching, for edges."""
    condition, encoder = EdgeCondition(), lively(StyleEncoder(9, (8, 8)))
    painter = translation(condition.channels + encoder.config.style_channels - 3)
    made = StyleVectorPipeline(encoder, painter, condition, image_size)
    made.set_progress_bar_config(disable=True)
    return made
