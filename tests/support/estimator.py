"""A tiny transformers pose model, such as conditions find joints with."""

from pathlib import Path

import pytest
import torch


def save_estimator(folder: Path) -> None:
    """Save to `folder` a seeded ViTPose for 48 x 64 pixels that finds COCO's 17 keypoints.

    Skips the test where transformers is not installed.
    """
    transformers = pytest.importorskip("transformers")
    config = transformers.VitPoseConfig(
        backbone_config=transformers.VitPoseBackboneConfig(
            image_size=(64, 48),
            patch_size=(16, 16),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            out_indices=[1],
        ),
        num_labels=17,
        use_simple_decoder=True,
    )
    torch.manual_seed(0)
    transformers.VitPoseForPoseEstimation(config).save_pretrained(folder)
    processor = transformers.VitPoseImageProcessor(size={"height": 64, "width": 48})
    processor.save_pretrained(folder)
