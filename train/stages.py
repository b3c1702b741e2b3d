"""The stages of a recipe: runs one after another, each from the weights of the one before."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .config import TrainConfig, build_config, on_top, read_files

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")

STARTS = ("init_from", "transfer_from")
"""Settings of `networks` that say which weights a run starts with."""


@dataclass(frozen=True)
class Stage:
    """One run of a recipe.

    name: None for the only run of a recipe without stages. copy_to: where the pipeline goes too,
    of the last stage alone.
    """

    name: str | None
    config: TrainConfig
    copy_to: Path | None = None

    @property
    def pipeline(self) -> Path:
        """The folder that the finished run is exported to."""
        return Path(self.config.output_dir, "pipeline")

    @property
    def is_complete(self) -> bool:
        """Whether all that the stage ends with is there: its pipeline, and the copy."""
        return self.pipeline.is_dir() and (self.copy_to is None or self.copy_to.is_dir())


def load_stages(
    paths: str | Path | Sequence[str | Path], overrides: Sequence[str] = (), only: str | None = None
) -> list[Stage]:
    """The runs of a recipe, first to last: one without a name if it has no `stages`.

    Each stage's settings lie on top of the files', and the overrides on top of all. It writes to
    <output_dir>/<name>, and from the second on starts with the pipeline of the one before unless
    it sets `networks.init_from` or `networks.transfer_from`. These two as overrides are for the
    first stage. Only the last is uploaded.

    only: the name of the one stage that is wanted, which is then the first.

    Raises ValueError as `load_config` does, naming the stage, for stages that are not named or
    named alike, and if there is none called `only` or what it starts with is missing.
    """
    values = read_files(paths)
    entries = values.pop("stages", None)
    if entries is None:
        if only is not None:
            raise ValueError(f"there is no stage '{only}': the recipe has no stages.")
        return [Stage(None, build_config(values, overrides))]
    names = _names(entries)
    if only is not None and only not in names:
        raise ValueError(f"there is no stage '{only}'; the stages are {', '.join(names)}.")
    of_first = tuple(f"--networks.{name}=" for name in STARTS)
    of_all = [override for override in overrides if not override.startswith(of_first)]
    stages: list[Stage] = []
    for name, entry in zip(names, entries, strict=True):
        chosen = overrides if name == (only or names[0]) else of_all
        previous, last = stages[-1] if stages else None, name == names[-1]
        try:
            stages.append(_stage(name, entry, values, chosen, previous, last))
        except ValueError as error:
            raise ValueError(f"stage '{name}': {error}") from error
    if only is None:
        return stages
    index = names.index(only)
    if index and stages[index].config.networks.init_from == str(stages[index - 1].pipeline):
        _require_pipeline(stages[index - 1], only)
    return [stages[index]]


def _names(entries: Any) -> list[str]:
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"stages must be a list of groups of settings, got {entries!r}.")
    names: list[str] = []
    for number, entry in enumerate(entries, start=1):
        name = entry.get("name") if isinstance(entry, Mapping) else None
        if not isinstance(name, str) or not NAME.fullmatch(name) or name == "pipeline":
            raise ValueError(
                f"stage {number} must be a group of settings with a `name` of letters, digits and "
                f"hyphens, which is not 'pipeline', got {name if name is not None else entry!r}."
            )
        if name in names:
            raise ValueError(f"two stages are called '{name}'; a name is a folder of its own.")
        names.append(name)
    return names


def _stage(
    name: str,
    entry: Mapping[str, Any],
    recipe: Mapping[str, Any],
    overrides: Sequence[str],
    previous: Stage | None,
    last: bool,
) -> Stage:
    own = {key: value for key, value in entry.items() if key != "name"}
    if "output_dir" in own:
        raise ValueError("output_dir is the recipe's, in which this stage has a folder; remove it.")
    values = dict(recipe)
    networks = own.get("networks")
    if isinstance(networks, Mapping) and not networks.keys().isdisjoint(STARTS):
        values = on_top({"networks": dict.fromkeys(STARTS)}, values)
    elif previous is not None:
        start = dict.fromkeys(STARTS) | {"init_from": str(previous.pipeline)}
        values = on_top({"networks": start}, values)
    config = build_config(on_top(own, values), overrides)
    output = config.output if last else dataclasses.replace(config.output, push_to_hub=None)
    folder = Path(config.output_dir)
    config = dataclasses.replace(config, output_dir=str(folder / name), output=output)
    return Stage(name, config, folder / "pipeline" if last else None)


def _require_pipeline(previous: Stage, name: str) -> None:
    if not previous.pipeline.is_dir():
        raise ValueError(
            f"stage '{name}' starts with {previous.pipeline}, which is not there: run stage "
            f"'{previous.name}' first, or set networks.init_from."
        )
