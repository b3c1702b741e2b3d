"""The batch trial: which sizes it tries, when it ends, what it recommends."""

import dataclasses
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cocosnet_hf.synthetic import SyntheticExamples, write_imagefolder
from tests.support.training import SETTINGS, write_config
from train.config import load_config
from train.find_batch import Limits, advice, chosen, tried
from train.step_costs import OURS, Row
from train.train import main

ENOUGH = Limits(photos=None, memory=math.inf)


def costs(seconds: Callable[[int], float], most: float = math.inf) -> Callable[[int], Row | None]:
    """Trials of steps that take `seconds`, 100 MB and 50 for each example; above `most` none."""

    def attempt(size: int) -> Row | None:
        if size > most:
            return None
        taken = seconds(size)
        return Row(OURS, "no", size, taken, taken, taken, size / taken, 0.1, 100 + 50 * size)

    return attempt


def sizes(rows: list[Row]) -> list[int]:
    return [row.batch_size for row in rows]


def test_batches_are_doubled_until_they_gain_nothing_and_the_smallest_as_fast_is_taken():
    rows, why = tried(costs(lambda size: 1 + 0.25 * max(0, size - 4)), ENOUGH)
    assert [row.examples_per_second for row in rows] == [1, 2, 4, 4]
    assert why == "batches of 8 gain nothing over those of 4"
    assert chosen(rows) == 4


def test_batches_that_do_not_fit_or_are_more_than_the_data_end_the_trial():
    rows, why = tried(costs(lambda _: 1.0, most=10), ENOUGH)
    assert (sizes(rows), why) == ([1, 2, 4, 8], "batches of 16 do not fit into memory")
    rows, why = tried(costs(lambda _: 1.0), Limits(photos=5, memory=math.inf))
    assert (sizes(rows), why) == ([1, 2, 4], "batches of 8 are more than the data")


def test_what_would_take_more_memory_than_there_is_is_not_tried():
    rows, why = tried(costs(lambda _: 1.0), Limits(photos=None, memory=850))
    assert (sizes(rows), why) == ([1, 2, 4, 8], "batches of 16 need some 900 of 850 MB")


def test_a_single_example_that_does_not_fit_is_an_error_with_the_remedy():
    with pytest.raises(ValueError, match="not even a batch of 1.*image_size.*8gb.yaml"):
        tried(costs(lambda _: 1.0, most=0), ENOUGH)


def test_what_keeps_the_balance_of_the_losses_is_said_with_another_batch(tmp_path: Path):
    run = load_config(write_config(tmp_path, **SETTINGS))  # batches of 2, both weights 1
    rows = [row for size in (1, 2, 4) if (row := costs(lambda _: 1.0)(size)) is not None]
    said = advice(run, rows, "and no more")
    assert "take --data.batch_size=4; the recipe has 2" in said
    assert "stays with --losses.self_warp=2 --losses.self_pixel=2\n" in said
    own = dataclasses.replace(run, data=dataclasses.replace(run.data, batch_size=4))
    assert advice(own, rows, "and no more").splitlines()[-1].endswith("the recipe has 4")


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_process")
def test_the_command_trains_batches_that_the_data_have_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    write_imagefolder(SyntheticExamples("mask", 32, length=3), tmp_path / "set")
    columns = {"condition_column": "label", "exemplar_condition_column": "exemplar_label"}
    data = SETTINGS["data"] | {"source": str(tmp_path / "set")} | columns
    path = write_config(tmp_path, **SETTINGS | {"output_dir": str(tmp_path / "run"), "data": data})
    main(["--config", str(path), "--find-batch"])
    printed = capsys.readouterr().out
    assert re.search(r"\n +1 +\d+\.\d\d +\d+\.\d{3} +\d+% +\d+", printed), printed
    assert re.search(r"batches of 4 are more than the data|batches of 2 gain nothing", printed)
    assert re.search(r"take --data.batch_size=\d+; the recipe has 2", printed)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["run.yaml", "set"]


def test_one_of_several_stages_must_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = write_config(tmp_path, **SETTINGS, stages=[{"name": "first"}, {"name": "second"}])
    with pytest.raises(SystemExit):
        main(["--config", str(path), "--find-batch"])
    assert "--find-batch try one stage: say which by --stage" in capsys.readouterr().err
