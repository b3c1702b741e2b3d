"""Pipelines to be measured, and what their weights are told apart by."""

from __future__ import annotations

import hashlib

import torch

from ..bundled import open_model
from ..image_translation import ImageTranslationPipeline


def open_pipeline(
    name: str, variant: str | None, dtype: torch.dtype
) -> tuple[ImageTranslationPipeline, str]:
    """A bundled pipeline, a folder's or the Hub's, folded, and a fingerprint of its weights.

    It may be that of any system whose module has been imported. Raises as `open_model`.
    """
    pipe = open_model(name, variant, dtype)
    pipe.set_progress_bar_config(disable=True)
    digest = weights_digest(pipe)
    return pipe.fold(), digest


def weights_digest(pipe: ImageTranslationPipeline) -> str:
    """A fingerprint of the weights of all networks, as they were before folding."""
    digest = hashlib.sha256()
    for network in pipe.networks.values():
        for key, tensor in network.state_dict().items():
            digest.update(key.encode())
            digest.update(tensor.float().numpy().tobytes())
    return digest.hexdigest()[:16]
