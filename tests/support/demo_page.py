"""The demo's page over tiny untrained pipelines, served on 127.0.0.1."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cocosnet_hf import CoCosPipeline, Condition, EdgeCondition, MaskCondition, Pose, PoseCondition
from cocosnet_hf.landscape_reader import LANDSCAPE_CLASSES
from cocosnet_hf.synthetic import SCENE_CLASSES
from tests.support import tiny
from tests.support.paths import CONFIGS, REPOSITORY
from train.config import load_config

DEMO = REPOSITORY / "demo"
UPLOADS = Path(os.environ["GRADIO_TEMP_DIR"])

from studio.gallery import standing_figure  # noqa: E402
from studio.painters import Painter  # noqa: E402

SIZE = 64
CONDITIONS: dict[str, Condition] = {
    "mask-to-image": MaskCondition(classes=SCENE_CLASSES),
    "mask-to-landscape": MaskCondition(classes=LANDSCAPE_CLASSES),
    "edge-to-face": EdgeCondition(),
    "pose-to-body": PoseCondition(min_score=0.3),
}


def tiny_pipelines() -> dict[str, CoCosPipeline]:
    """One for each tab; the one of poses needs the exemplar's own, those of masks do not.

    Two are not quite equal: keep the one that is compared with.
    """
    return {
        tab: tiny.pipeline(condition, SIZE, mix_condition=not tab.startswith("mask"))
        for tab, condition in CONDITIONS.items()
    }


def save_recipe_pipelines(folder: Path) -> dict[str, Condition]:
    """Untrained pipelines as the bundled ones are stored, and the conditions of their recipes."""
    found = {}
    for tab in CONDITIONS:
        recipe = load_config(CONFIGS / f"{tab}.yaml").networks
        found[tab] = recipe.make_condition()
        mixed = recipe.options["correspondence"].get("mix_condition", True)
        pipe = tiny.pipeline(found[tab], SIZE, mix_condition=mixed)
        pipe.to(torch.float16).save_pretrained(folder / tab, variant="fp16")
    return found


def painters() -> dict[str, Painter]:
    """The same, as the page takes them."""
    return {tab: Painter(pipe) for tab, pipe in tiny_pipelines().items()}


def noise(seed: int = 0, size: tuple[int, int] = (SIZE, SIZE)) -> Image.Image:
    """A picture of noise. size: (width, height)."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(pixels)


def pose(size: tuple[int, int] = (SIZE, SIZE)) -> Pose:
    """Somebody who stands upright. size: (height, width)."""
    return Pose.from_array(standing_figure() * size[::-1], size)


@contextmanager
def served(painters: Mapping[str, Painter | None]) -> Iterator[str]:
    """The address of a page, which is closed again at the end."""
    import app

    page = app.build(painters)
    try:
        yield page.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)[1]
    finally:
        page.close()
