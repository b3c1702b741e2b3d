"""A small run of the fuzzer, and that it notices what is wrong."""

import random
from pathlib import Path

import pytest

from tools import fuzz

LONG = ("settings", "folders")
"""Categories whose cases start trainings or commands."""


@pytest.mark.parametrize(
    "category",
    [pytest.param(one, marks=[pytest.mark.slow] * (one in LONG)) for one in fuzz.CATEGORIES],
)
def test_malformed_input_ends_in_a_picture_or_in_a_documented_error(category: str):
    ends = {number: fuzz.run(category, 0, number) for number in range(6)}
    assert [said for end, said in ends.values() if end == "WRONG"] == []


def test_a_case_is_the_same_whenever_it_is_run():
    assert fuzz.run("arrays", 3, 5) == fuzz.run("arrays", 3, 5)


def test_an_error_that_is_not_documented_or_says_nothing_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def fails(rng: random.Random, _: Path) -> None:
        raise rng.choice((KeyError("condition"), ValueError("bad")))

    monkeypatch.setitem(fuzz.CATEGORIES, "arrays", fails)
    monkeypatch.setattr(fuzz, "bound_memory", lambda: None)  # of the test's process
    monkeypatch.setattr(fuzz.logging, "disable", lambda _: None)
    assert fuzz.main(["arrays", "8", "0"]) == 1
    said = capsys.readouterr().out
    assert "WRONG KeyError: 'condition'" in said
    assert "WRONG ValueError: bad" in said
    assert "arrays: {'WRONG': 8}" in said
