"""Compare systems on one data set: train what is missing with one budget, evaluate all in one run.

    python -m train.compare train/configs/compare/drawn.yaml
    accelerate launch -m train.compare RECIPE --data.source=FOLDER --output_dir=OUT

The output folder then holds `compare.html`, with the paper's three tables, those of ablations, what
is the same for all and a sheet with a column for each system; the same as `compare.md`, the figures
as `compare.json`, and `systems/NAME/pipeline`. The same command goes on where it was stopped: a
system whose pipeline is there is not trained again, and pictures that are there are not painted
again. Removing a system's folder trains it anew.
"""

import argparse
import dataclasses
import hashlib
import json
import shutil
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list, parse_flag_from_env

from cocosnet_hf.datasets.settings import shares_rows
from cocosnet_hf.evaluation import EvaluationSettings
from cocosnet_hf.evaluation.methods import PIPELINE, TARGET
from cocosnet_hf.evaluation.pairs import RETRIEVAL
from cocosnet_hf.evaluation.protocol import Run
from cocosnet_hf.evaluation.storage import differences, keep_content, slug
from cocosnet_hf.processes import leave_group
from cocosnet_hf.settings_file import build, on_top, to_dict
from cocosnet_hf.whole_files import write_whole

from .compare_page import SPENT_FILE, Ablated, write_comparison
from .config import ScheduleConfig, TrainConfig, overridden, read_files
from .find_lr import trial
from .mistakes import is_mistake
from .stages import NAME, Stage, load_stages
from .stopping import Stopping
from .train import refuse, train_stage

OWN = ("batch_size", "workers", "cache_dir")
"""Settings of the data that systems may have each their own of."""

SIZES = ("image_size", "image_width", "load_size")
"""Settings of the data that may be smaller in a stage that is not the last."""

TRIED = 12
"""Steps whose times say how many fit into minutes."""


@dataclass(frozen=True)
class Budget:
    """What each system is trained with: steps, pictures seen, or minutes of training.

    Minutes are turned into steps by a short trial on this machine. Stages share the budget as their
    schedules do, each keeps the share of its steps in which the rates fall.
    """

    steps: int | None = None
    pictures: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in dataclasses.astuple(self) if value is not None]
        if len(given) != 1 or not given[0] > 0:
            raise ValueError(
                f"budget must be one of steps, pictures and minutes, above 0, got {to_dict(self)}."
            )

    def steps_of(self, config: TrainConfig, share: float) -> int:
        """Steps of a stage that gets this share of the budget, at least 1."""
        if self.minutes is not None:
            seconds = seconds_per_step(config)
            (wanted,) = broadcast_object_list([60 * self.minutes / seconds])  # all as the first
        elif self.pictures is not None:
            wanted = self.pictures / pictures_per_step(config)
        else:
            wanted = self.steps
        return max(1, round(share * wanted))

    def __str__(self) -> str:
        (text,) = (
            f"{value:,} {name}" for name, value in to_dict(self).items() if value is not None
        )
        return text.replace("pictures", "pictures seen")


@dataclass(frozen=True)
class Entry:
    """A system: recipes on top of each other, by their paths from the comparison's recipe, and
    settings on top of these."""

    config: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ablation:
    """A system, by its name, with something changed: recipes and settings on top of its own."""

    of: str
    config: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """How all systems are evaluated: fields of `EvaluationSettings`; None for "auto" there.

    split: the tested part.
    """

    split: str = "test"
    exemplars: str = RETRIEVAL
    limit: int | None = None
    pool_limit: int | None = None
    seed: int = 0
    baselines: tuple[str, ...] = ("exemplar",)
    extractors: tuple[str, ...] | None = None
    perceptual: str | None = "auto"
    lpips: bool | None = None
    segmenter: str | None = None
    pose_finder: str | None = None
    diversity: int = 4
    batch_size: int = 4


@dataclass(frozen=True)
class Comparison:
    """A comparison. data, settings: of all systems' trainings, on top of their recipes.

    systems: an `Entry` by name, of which the first is the one whose matching is measured, if it has
    any. ablations: an `Ablation` by name, compared with the system that it is of. sheet: how many
    of the first pairs are shown.
    """

    output_dir: str
    budget: Budget
    systems: dict[str, Any]
    data: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    ablations: dict[str, Any] = field(default_factory=dict)
    evaluation: Measured = field(default_factory=Measured)
    sheet: int = 6


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m train.compare",
        description=__doc__,
        epilog="Any setting of the recipe may be given as --group.name=value.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("recipe", metavar="RECIPE", type=Path)
    known, overrides = parser.parse_known_args(arguments)
    stopping = Stopping()
    try:
        values = overridden(read_files(known.recipe), overrides)
        page = compare(build(Comparison, values, ""), known.recipe.parent, stopping)
        if page is not None:
            print(page)
    except Exception as error:
        if not is_mistake(error):
            raise
        refuse(parser, error)
    finally:
        leave_group()
    sys.exit(stopping.exit_code)


def compare(comparison: Comparison, base: Path, stopping: Stopping | None = None) -> Path | None:
    """Train what is missing, evaluate all and write the page, whose path is returned.

    base: the folder from which the recipes' paths go. None after a signal, and in all processes but
    the first. Raises ValueError for systems that cannot be compared, before anything is trained,
    and what training and evaluating raise.
    """
    state = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))
    systems = stages_by_system(comparison, base)
    require_fair(comparison, systems)
    ablated = what_changes(comparison, systems)
    for name, stages in systems.items():
        text = {"budget": to_dict(comparison.budget), "stages": [learned_from(s) for s in stages]}
        path = system_folder(comparison, name) / "recipe.json"
        if differing := keep_content(path, text, state.is_main_process):
            raise ValueError(
                f"{path.parent} holds a '{name}' that is trained otherwise: {differing}. Remove "
                f"the folder to train it again, or choose another output_dir."
            )
    for name, stages in systems.items():
        if not all(stage.is_complete for stage in stages):
            if state.is_main_process:
                forget(comparison, name)
            if not train_system(stages, comparison.budget, stopping):
                return None
    run = Run(evaluation_settings(comparison, systems))
    evaluation = run.complete()
    if evaluation is None:
        return None
    folder, budget = Path(comparison.output_dir), str(comparison.budget)
    return write_comparison(folder, systems, ablated, budget, run, evaluation, comparison.sheet)


# What is trained --------------------------------------------------------------------------------


def system_folder(comparison: Comparison, name: str) -> Path:
    """Where a system is trained."""
    return Path(comparison.output_dir, "systems", name)


def entries_by_name(comparison: Comparison) -> dict[str, Entry]:
    """What is trained: systems, then ablations as their system's recipes with their own on top.

    Raises ValueError for names that cannot be had and ablations of what is no system.
    """
    if not comparison.systems:
        raise ValueError("systems must name what is compared, by the recipe of each.")
    entries = {
        name: build(Entry, values, f"systems.{name}.")
        for name, values in comparison.systems.items()
    }
    for name, values in comparison.ablations.items():
        ablation = build(Ablation, values, f"ablations.{name}.")
        if ablation.of not in comparison.systems or name in comparison.systems:
            raise ValueError(
                f"ablations.{name}.of must be one of the systems ({', '.join(comparison.systems)}) "
                f"under another name, got {ablation.of}."
            )
        own = entries[ablation.of]
        settings = on_top(ablation.settings, own.settings)
        entries[name] = Entry((*own.config, *ablation.config), settings)
    for name in entries:
        if not NAME.fullmatch(name) or name in (PIPELINE, TARGET, *comparison.evaluation.baselines):
            raise ValueError(
                f"systems.{name}: a name is letters, digits and hyphens, and none of the "
                f"evaluation's own."
            )
    return entries


def stages_by_system(comparison: Comparison, base: Path) -> dict[str, list[Stage]]:
    """The runs of each system and ablation, with the settings of all on top of its recipes, and
    its own on top.

    Raises ValueError, naming the system, for what cannot be read.
    """
    systems = {}
    for name, entry in entries_by_name(comparison).items():
        overrides = [
            *as_overrides(comparison.settings | {"data": comparison.data}),
            *as_overrides(entry.settings),
            f"--output_dir={system_folder(comparison, name)}",
        ]
        try:
            systems[name] = staged([base / path for path in entry.config], overrides)
        except ValueError as error:
            raise ValueError(f"systems.{name}: {error}") from error
    return systems


def staged(recipes: Sequence[Path], overrides: Sequence[str]) -> list[Stage]:
    """The runs of a system, of which those that a recipe has on smaller pictures stay smaller, by
    the share that these have of the last one's."""
    sizes = tuple(f"--data.{name}=" for name in SIZES)
    own = load_stages(recipes, [one for one in overrides if not one.startswith(sizes)])
    stages = load_stages(recipes, overrides)
    last = stages[-1].config.data
    for index, plain in enumerate(own):
        share = plain.config.data.image_size / own[-1].config.data.image_size
        given = {name: getattr(last, name) for name in SIZES}
        smaller = {name: size and round(share * size) for name, size in given.items()}
        data = dataclasses.replace(stages[index].config.data, **smaller)
        config = dataclasses.replace(stages[index].config, data=data)
        stages[index] = dataclasses.replace(stages[index], config=config)
    return stages


def as_overrides(settings: Mapping[str, Any], prefix: str = "--") -> Iterator[str]:
    """Settings as the command line gives them; a condition is one setting, not a group of them."""
    for name, value in settings.items():
        if isinstance(value, dict) and name != "condition":
            yield from as_overrides(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}={json.dumps(value)}"


def what_changes(
    comparison: Comparison, systems: Mapping[str, Sequence[Stage]]
) -> dict[str, Ablated]:
    """The ablations, with what differs from the system of each. Raises ValueError for nothing."""

    def settings(name: str) -> list[Any]:
        text = json.dumps([learned_from(stage) for stage in reversed(systems[name])])
        return json.loads(text.replace(str(system_folder(comparison, name)), ""))  # of init_from

    ablated = {}
    for name, values in comparison.ablations.items():
        stages = zip(settings(values["of"]), settings(name), strict=False)
        texts = (text for pair in stages for text in differences(*pair))
        changes = dict.fromkeys(text.replace("was None", "was the default") for text in texts)
        if not changes:
            raise ValueError(
                f"ablations.{name} changes nothing of {values['of']}: name a layer under config, "
                f"or settings that are not {values['of']}'s."
            )
        ablated[name] = Ablated(values["of"], "; ".join(changes))
    return ablated


def shared_settings(config: TrainConfig) -> dict[str, Any]:
    """What must be the same for systems to be compared."""
    data = {f"data.{name}": value for name, value in to_dict(config.data).items()}
    return {name: value for name, value in data.items() if name[5:] not in OWN} | {
        "networks.condition": config.networks.make_condition().to_config(),
        "diff_augment": config.diff_augment,
    }


def require_fair(comparison: Comparison, systems: Mapping[str, Sequence[Stage]]) -> None:
    """Raise ValueError for trainings on other data, sizes or augmentation, and on tested photos."""
    named = [(name, stage) for name, stages in systems.items() for stage in stages]
    first, ends = named[0], [stages[-1] for stages in systems.values()]
    expected = shared_settings(next(iter(systems.values()))[-1].config)
    for name, stage in named:
        for key, value in shared_settings(stage.config).items():
            may_differ = stage not in ends and key.removeprefix("data.") in SIZES
            if value != expected[key] and not may_differ:
                raise ValueError(
                    f"systems are compared on the same data, size and augmentation: {key} is "
                    f"{expected[key]} in {first[0]} and {value} in {name}; set it for all, under "
                    f"data or settings."
                )
    data, tested = first[1].config.data, comparison.evaluation.split
    if shares_rows(data.split, tested):
        raise ValueError(
            f"evaluation.split '{tested}' shares photos with data.split '{data.split}': name a "
            f"part that no system learns from."
        )


def learned_from(stage: Stage) -> dict[str, Any]:
    """The settings of a run that make its weights."""
    values = to_dict(stage.config)
    data = {name: value for name, value in values["data"].items() if name not in OWN[1:]}
    left_out = ("output", "output_dir")
    return {name: value for name, value in values.items() if name not in left_out} | {"data": data}


def forget(comparison: Comparison, name: str) -> None:
    """Remove what was measured of a system that is to be trained."""
    first = name == next(iter(comparison.systems))
    for folder in Path(comparison.output_dir).glob("evaluation-*"):
        shutil.rmtree(folder if first else folder / "scores" / slug(name), ignore_errors=True)


def train_system(stages: Sequence[Stage], budget: Budget, stopping: Stopping | None) -> bool:
    """Train what is missing of a system; whether it is complete then, and no signal came."""
    shares = [stage.config.schedule.total for stage in stages]
    for stage, part in zip(stages, shares, strict=True):
        if stage.is_complete:
            continue
        path = Path(stage.config.output_dir, SPENT_FILE)
        spent: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {"seconds": 0}
        if "steps" not in spent:  # of minutes, another trial would find others
            spent["steps"] = budget.steps_of(stage.config, part / sum(shares))
            spent["pictures"] = spent["steps"] * pictures_per_step(stage.config)
        schedule = schedule_of(stage.config.schedule, spent["steps"])
        given = dataclasses.replace(stage.config, schedule=schedule)
        start = time.perf_counter()
        try:
            folder = train_stage(dataclasses.replace(stage, config=given), "latest", stopping)
        finally:
            if PartialState().is_main_process:
                spent["seconds"] += time.perf_counter() - start
                write_whole(path, json.dumps(spent))
        if folder is None:
            return False
    return True


def schedule_of(schedule: ScheduleConfig, steps: int) -> ScheduleConfig:
    """As many steps, of which the rates fall in the same share as before, to the very end."""
    constant = round(steps * schedule.constant / schedule.total)
    return ScheduleConfig(unit="step", constant=constant, decay=steps - constant)


def pictures_per_step(config: TrainConfig) -> int:
    """Examples that all processes together see in a step."""
    return config.data.batch_size * config.speed.accumulation * PartialState().num_processes


def seconds_per_step(config: TrainConfig) -> float:
    """The median of a short trial, which leaves nothing behind."""
    clock = [time.perf_counter() for _ in trial(config, ScheduleConfig("step", TRIED, 0))]
    return statistics.median(end - start for start, end in pairwise(clock))


# What is measured -------------------------------------------------------------------------------


def evaluation_settings(
    comparison: Comparison, systems: Mapping[str, Sequence[Stage]]
) -> EvaluationSettings:
    """One evaluation of all: of the first system, with the others beside it.

    In a folder of its own for each way of measuring, but not for each set of systems.
    """
    values = to_dict(comparison.evaluation)
    baselines, split = values.pop("baselines"), values.pop("split")
    data = next(iter(systems.values()))[0].config.data
    data = dataclasses.replace(data, split=split, batch_size=1, workers=0)
    (first, pipeline), *others = (
        (name, str(system_folder(comparison, name) / "pipeline")) for name in systems
    )
    key = json.dumps([first, values, to_dict(data)])
    digest = hashlib.sha256(key.encode()).hexdigest()[:8]
    for name in ("extractors", "lpips"):
        values[name] = "auto" if values[name] is None else values[name]
    return EvaluationSettings(
        pipeline,
        data,
        output=str(Path(comparison.output_dir, f"evaluation-{digest}")),
        train_split=next(iter(systems.values()))[0].config.data.split,
        baselines=(*(f"{name}={folder}" for name, folder in others), *baselines),
        **values,
    )


if __name__ == "__main__":
    main()
