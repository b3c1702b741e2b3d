"""What `--check-data` does: every row of a run's data read once, before time is spent on it."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from cocosnet_hf import Condition
from cocosnet_hf.datasets import check_data

from .config import TrainConfig
from .networks import condition_of
from .stages import Stage


def check_stages(stages: Sequence[Stage]) -> int:
    """Print a report on each data set of a recipe; 1 if more rows are broken than may be, else 0.

    Stages that read the same rows in the same way are checked once. Sheets of composed examples
    are written to <output_dir>/check. Raises what `check_data` raises.
    """
    checked: list[tuple[object, ...]] = []
    result = 0
    for stage in stages:
        config = stage.config
        told = dataclasses.asdict(config.data)
        about = tuple(told[name] for name in told if name.endswith(("_column", "source", "split")))
        if about in checked:
            continue
        checked.append(about)
        result |= check_config(config)
    return result


def check_config(config: TrainConfig) -> int:
    """As `check_stages`, of one run: its training rows and, if it validates, the held-out ones."""
    data, condition = config.data, condition_of(config)
    parts = {"train": data}
    if config.output.validate_every:
        parts["validation"] = dataclasses.replace(
            data,
            source=data.validation_source or data.source,
            config_name=None if data.validation_source else data.config_name,
            split=data.validation_split,
        )
    result = 0
    for name, part in parts.items():
        report = check_data(part, condition, sheet_file(config, name), config.seed)
        print(f"--- {part.source}, {part.split}\n{report}", flush=True)
        if len(report.broken) > part.max_broken_share * report.rows:
            result = 1
    return result


def first_look(config: TrainConfig, condition: Condition) -> str:
    """What `output.check_rows` rows of the training data hold, of all parts of it; and their sheet.

    Raises what `check_data` raises.
    """
    sheet, limit = sheet_file(config, "train"), config.output.check_rows
    report = check_data(config.data, condition, sheet, config.seed, limit)
    return f"a look at the data, of which --check-data reads all: {report.brief}"


def sheet_file(config: TrainConfig, part: str) -> Path:
    """Where the composed examples of a part of the data are shown."""
    return Path(config.output_dir, "check", f"{part}.png")
