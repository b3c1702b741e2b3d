"""The learning rate range test: what it recommends, and that it leaves nothing behind."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.support.training import SETTINGS, write_config
from train.find_lr import HIGHEST, LOWEST, Rising, fastest_fall, smoothed
from train.train import main

pytestmark = pytest.mark.usefixtures("fresh_process")


def test_rates_rise_by_the_same_factor_from_the_lowest_to_the_highest():
    schedule = Rising(constant=7, decay=0)
    rates = np.array([schedule.rate(step) for step in range(7)])
    assert rates[[0, -1]] == pytest.approx([LOWEST, HIGHEST])
    assert rates[1:] / rates[:-1] == pytest.approx([10] * 6)


def test_a_constant_loss_is_its_own_average():
    assert smoothed([3.0] * 5) == pytest.approx([3.0] * 5)
    assert list(smoothed([4.0, 2.0, 2.0])) == sorted(smoothed([4.0, 2.0, 2.0]), reverse=True)


def test_the_steepest_place_before_the_lowest_one_is_taken():
    # Flat, then falling, fastest between 5 and 6, lowest at 8, then it explodes and falls again.
    losses = np.array([9, 9, 9, 8.9, 8.5, 7.5, 5.5, 4.8, 4.7, 30, 90, 20])
    assert fastest_fall(losses) in (5, 6)


@pytest.mark.parametrize("losses", [[], [1.0, 2.0, 3.0], [2.0, 1.0, 5.0, 9.0]])
def test_a_loss_that_does_not_fall_is_said_with_the_remedy(losses: list[float]):
    with pytest.raises(ValueError, match="no learning rate from 0.001 to 1000 times .*check-data"):
        fastest_fall(np.array(losses))


@pytest.mark.slow
def test_the_command_recommends_rates_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = write_config(tmp_path, **SETTINGS | {"output_dir": str(tmp_path / "run")})
    main(["--config", str(path), "--find-lr", "12"])
    last = capsys.readouterr().out.splitlines()[-1]
    found = re.fullmatch(
        r"the loss falls fastest at --optimizer.generator_lr=(\S+) "
        r"--optimizer.discriminator_lr=(\S+); the recipe has 1.0e-04 and 4.0e-04",
        last,
    )
    assert found is not None, last
    generator, discriminator = map(float, found.groups())
    assert 1e-7 <= generator <= 0.1 and discriminator == pytest.approx(4 * generator, rel=0.1)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["run.yaml"]


def test_a_trial_of_too_few_steps_or_of_several_stages_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    stages = [{"name": "first"}, {"name": "second"}]
    path = write_config(tmp_path, **SETTINGS, stages=stages)
    for words, message in (
        (["--find-lr"], "--find-lr and --find-batch try one stage: say which by --stage"),
        (["--find-lr", "3", "--stage", "first"], "at least 10 steps, got 3"),
    ):
        with pytest.raises(SystemExit):
            main(["--config", str(path), *words])
        assert message in capsys.readouterr().err
