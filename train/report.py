"""What a run shows while it goes: scalars, and pictures to look at."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from PIL import Image
from torch import Tensor

from cocosnet_hf import Condition
from cocosnet_hf.pictures import grid, to_image

WARPED = "warped exemplar"
COLUMNS = ("condition", "exemplar", WARPED, "output", "target")


def picture_grid(
    condition: Condition,
    conditions: Tensor,
    exemplars: Tensor,
    warped: Tensor | None,
    outputs: Tensor,
    targets: Tensor,
) -> Image.Image:
    """One row per example: condition, exemplar, warped exemplar, output, target.

    conditions (B, K, H, W); the others (B, 3, H, W) in [-1, 1]. warped: None of a system that warps
    nothing, whose rows have no such column.
    """
    columns = [one for one in (exemplars, warped, outputs, targets) if one is not None]
    rows = [
        [condition.preview(drawn), *(to_picture(photo) for photo in photos)]
        for drawn, *photos in zip(conditions, *columns, strict=True)
    ]
    return grid(rows, gap=4)


def to_picture(photo: Tensor) -> Image.Image:
    """A photo (3, H, W) in [-1, 1]."""
    return to_image(photo)


class Report:
    """Prints scalars and hands them, and picture grids, to TensorBoard."""

    def __init__(self, accelerator: Accelerator, folder: Path, first_step: int):
        self.accelerator = accelerator
        self.folder = folder
        # Steps that an interrupted run logged after its last checkpoint come again.
        accelerator.init_trackers(
            "tensorboard", init_kwargs={"tensorboard": {"purge_step": first_step}}
        )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One line on the terminal and one point per curve."""
        self.accelerator.log(dict(values), step=step)
        words = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        self.accelerator.print(f"step {step}  {words}", flush=True)

    def pictures(self, step: int, name: str, grid: Image.Image) -> None:
        """Save a grid as <output_dir>/pictures/<name>-<step>.png and show it in TensorBoard."""
        if not self.accelerator.is_main_process:
            return
        folder = self.folder / "pictures"
        folder.mkdir(parents=True, exist_ok=True)
        grid.save(folder / f"{name}-{step:08d}.png")
        writer: Any = self.accelerator.get_tracker("tensorboard", unwrap=True)
        writer.add_image(name, np.asarray(grid), step, dataformats="HWC")
