"""A tiny transformers segmentation model, such as conditions make masks and face parts with."""

from pathlib import Path

import pytest
import torch


def save_segmenter(folder: Path, names: list[str]) -> None:
    """Save to `folder` a seeded Segformer for 32 x 32 pixels whose labels have these names.

    Skips the test where transformers is not installed.
    """
    transformers = pytest.importorskip("transformers")
    config = transformers.SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[8, 8],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[1, 1],
        mlp_ratios=[2, 2],
        decoder_hidden_size=8,
        id2label=dict(enumerate(names)),
    )
    torch.manual_seed(0)
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(folder)
    transformers.SegformerImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
