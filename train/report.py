"""What a run shows while it goes: a bar or lines, curves, and pictures to look at."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from PIL import Image, ImageDraw
from torch import Tensor
from tqdm import tqdm

from cocosnet_hf import Condition
from cocosnet_hf.pictures import grid, to_image
from cocosnet_hf.systems import Batch, Generated
from cocosnet_hf.whole_files import write_whole

from .config import TrainConfig, to_dict

WARPED = "warped exemplar"
COLUMNS = ("condition", "exemplar", WARPED, "output", "target")
GRID_ROWS = 6
GAP = 4
HEAD, COLUMN = 16, 128
"""Pixels of the line with the names of columns, and of a column that holds one."""

METRICS_FILE = "metrics.jsonl"
MEASURED = ("training", "validation", "learning_rate")
"""Groups of values that are no phases of a step."""


def picture_grid(
    condition: Condition,
    conditions: Tensor,
    exemplars: Tensor,
    warped: Tensor | None,
    outputs: Tensor,
    targets: Tensor,
) -> Image.Image:
    """One row per example: condition, exemplar, warped exemplar, output, target; and their names.

    conditions (B, K, H, W); the others (B, 3, H, W) in [-1, 1]. warped: None of a system that warps
    nothing, whose rows have no such column.
    """
    columns = [one for one in (exemplars, warped, outputs, targets) if one is not None]
    names = [name for name in COLUMNS if name != WARPED or warped is not None]
    rows = [
        [condition.preview(drawn), *(to_picture(photo) for photo in photos)]
        for drawn, *photos in zip(conditions, *columns, strict=True)
    ]
    return with_names(grid(rows, gap=GAP), names, GAP)


def with_names(sheet: Image.Image, names: Sequence[str], gap: int) -> Image.Image:
    """A sheet with the names of its columns above them, enlarged where these would be narrow.

    gap: pixels between the columns.
    """
    width = (sheet.width + gap) // len(names)
    scale = -(-COLUMN // width)
    sheet = sheet.resize((scale * sheet.width, scale * sheet.height), Image.Resampling.NEAREST)
    head = Image.new("RGB", (sheet.width, HEAD), "white")
    for index, name in enumerate(names):
        ImageDraw.Draw(head).text((index * scale * width, 2), name, fill="black")
    return grid([[head], [sheet]])


def to_picture(photo: Tensor) -> Image.Image:
    """A photo (3, H, W) in [-1, 1]."""
    return to_image(photo)


class Report:
    """Tells the terminal, metrics.jsonl and the loggers of `output.report_to` how a run goes.

    total: steps of the whole run. Without a terminal there are lines in place of the bar.
    """

    def __init__(self, accelerator: Accelerator, config: TrainConfig, first_step: int, total: int):
        self.accelerator, self.config, self.total = accelerator, config, total
        self.folder = Path(config.output_dir)
        self.examples_per_step = (
            config.data.batch_size * config.speed.accumulation * accelerator.num_processes
        )
        self._bar: tqdm | None = None
        if accelerator.is_main_process:
            self.folder.mkdir(parents=True, exist_ok=True)
            _forget_after(self.folder / METRICS_FILE, first_step)
        loggers = config.output.loggers
        options: dict[str, dict[str, Any]] = {name: {"name": self.folder.name} for name in loggers}
        # Steps that an interrupted run logged after its last checkpoint come again.
        options["tensorboard"] = {"purge_step": first_step}
        accelerator.init_trackers(config.output.tracker_project, init_kwargs=options)
        settings = to_dict(config)
        for tracker in accelerator.trackers:
            if tracker.name == "tensorboard":  # whose hyperparameters would be a second run
                text = yaml.safe_dump(settings, sort_keys=False)
                tracker.log({"settings": f"```yaml\n{text}```"}, step=first_step)
            else:
                tracker.store_init_configuration(settings)

    def start(self, step: int) -> None:
        """Before the first of the steps that are left."""
        if self.accelerator.is_main_process and sys.stderr.isatty():
            self._bar = tqdm(total=self.total, initial=step, unit="step", dynamic_ncols=True)

    def advance(self) -> None:
        """After each step."""
        if self._bar is not None:
            self._bar.update()

    def say(self, text: str) -> None:
        """A line of the main process, above the bar."""
        if not self.accelerator.is_main_process:
            return
        if self._bar is None:
            print(text, flush=True)
        else:
            self._bar.write(text)

    def losses(self, step: int, values: Mapping[str, float]) -> None:
        """What was measured over the last steps: the phases' sums are shown, all is written."""
        seconds = values["seconds_per_step"]
        sums = {name: f"{value:.4g}" for name, value in phase_sums(values).items()}
        rate = f"{self.examples_per_step / seconds:.3g}"
        if self._bar is not None:
            self._bar.set_postfix({"examples/s": rate} | sums)
        else:
            left = timedelta(seconds=round((self.total - step) * seconds))
            shown = "  ".join(f"{name} {value}" for name, value in sums.items())
            self.say(f"step {step:,} of {self.total:,}  {left} left  {rate} examples/s  {shown}")
        self._write(step, values)

    def scores(self, step: int, values: Mapping[str, float]) -> None:
        """What a validation measured: all on one line."""
        words = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        self.say(f"step {step}  {words}")
        self._write(step, values)

    def pictures(self, step: int, name: str, grid: Image.Image) -> None:
        """Save a grid as <output_dir>/pictures/<name>-<step>.png and show it in the loggers."""
        if not self.accelerator.is_main_process:
            return
        folder = self.folder / "pictures"
        folder.mkdir(parents=True, exist_ok=True)
        grid.save(folder / f"{name}-{step:08d}.png")
        for tracker in self.accelerator.trackers:
            if tracker.name == "tensorboard":
                tracker.tracker.add_image(name, np.asarray(grid), step, dataformats="HWC")
            elif tracker.name == "trackio":  # accelerate hands it no pictures
                import trackio

                tracker.log({name: trackio.Image(grid)}, step=step)
            else:
                tracker.log_images({name: [grid]}, step=step)

    def draw(
        self, step: int, name: str, condition: Condition, batch: Batch, generated: Generated
    ) -> None:
        """The first pairs of a batch, or the windows of them that were painted, as pictures."""
        batch = generated.batch or batch
        count = min(GRID_ROWS, len(batch.image))
        warped = generated.warped_exemplar
        grid = picture_grid(
            condition,
            batch.condition[:count],
            batch.exemplar[:count],
            None if warped is None else warped[:count],
            generated.image[:count],
            batch.image[:count],
        )
        self.pictures(step, name, grid)

    def close(self) -> None:
        """After the last step, however it ended."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _write(self, step: int, values: Mapping[str, float]) -> None:
        self.accelerator.log(dict(values), step=step)
        if self.accelerator.is_main_process:
            plain = {name: value if isfinite(value) else None for name, value in values.items()}
            with open(self.folder / METRICS_FILE, "a") as file:
                file.write(json.dumps({"step": step} | plain) + "\n")


def phase_sums(values: Mapping[str, float]) -> dict[str, float]:
    """The sum of the terms of each phase, of values named phase/term."""
    sums: dict[str, float] = {}
    for name, value in values.items():
        phase, slash, term = name.partition("/")
        if slash and phase not in MEASURED and term != "gradient_norm":
            sums[phase] = sums.get(phase, 0.0) + value
    return sums


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's metrics.jsonl, oldest first: step, and values by name."""
    path = folder / METRICS_FILE
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:  # the last line of a process that was killed
            continue
    return rows


def require_loggers(names: tuple[str, ...]) -> None:
    """Raise ImportError for a logger that is not installed: accelerate would leave it out."""
    there = {str(name) for name in get_available_trackers()}
    for name in names:
        if name not in there:
            raise ImportError(
                f"output.report_to names {name}, which is not installed: pip install {name}, or "
                f"set output.report_to=none; {METRICS_FILE} is always written."
            )


def _forget_after(path: Path, step: int) -> None:
    """Leave out what comes again, or is of another run."""
    if path.is_file():
        kept = [row for row in read_metrics(path.parent) if 0 < step and row["step"] <= step]
        write_whole(path, "".join(json.dumps(row) + "\n" for row in kept))
