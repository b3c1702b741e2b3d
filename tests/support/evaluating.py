"""A small evaluation of drawn scenes."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cocosnet_hf import MaskCondition
from cocosnet_hf.datasets import DataSettings
from cocosnet_hf.evaluation import EvaluationSettings
from cocosnet_hf.synthetic import SCENE_CLASSES

BASELINES = "tests.support.baselines"
SCENE = MaskCondition.from_names(SCENE_CLASSES)
SIDE = 32
DRAWN = DataSettings(
    source="synthetic",
    split="test",
    condition_column="condition",
    exemplar_column="exemplar",
    exemplar_condition_column="exemplar_condition",
    image_size=SIDE,
    load_size=SIDE,
)


def photo(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def settings(
    pipeline: Path, perceptual: str | None, output: Path, **changes: Any
) -> EvaluationSettings:
    given: dict[str, Any] = {
        "exemplars": "column",
        "limit": 5,
        "baselines": ("warped", "exemplar"),
        "extractors": (f"colours={BASELINES}:colours",),
        "perceptual": perceptual,
        "lpips": False,
        "diversity": 3,
        "diversity_items": 2,
        "batch_size": 2,
    }
    return EvaluationSettings(str(pipeline), DRAWN, str(output), **given | changes)
