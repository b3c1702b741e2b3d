"""Beyond what a region may look at, what it may look at is seen in a mirror."""

import numpy as np
import pytest

from cocosnet_hf.conditions.reflection import INSIDE, core_of, held_to_regions

HEIGHT, WIDTH = 200, 120
GRID = (HEIGHT, WIDTH)
Y, X = np.mgrid[:HEIGHT, :WIDTH]
STILL = X + 1j * Y
ALL = np.zeros(GRID, int)
MARGIN = round(INSIDE * HEIGHT)


def left_of(border: int) -> np.ndarray:
    return border > X


def both(shown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What may be looked at also continues."""
    return (core_of(shown),) * 2


def test_what_a_region_may_look_at_stays_where_it_is():
    held = held_to_regions(STILL, ALL, lambda _: both(left_of(60)), GRID)
    inside = left_of(60 - MARGIN - 2)
    assert np.array_equal(held[inside], STILL[inside])


def test_beyond_the_border_stands_a_mirror():
    held = held_to_regions(STILL, ALL, lambda _: both(left_of(60)), GRID)
    beyond = ~left_of(62) & left_of(90) & (abs(Y - 100) < 60)
    mirrored = 2 * (60 - MARGIN - 1) - X + 1j * Y
    assert abs(held - mirrored)[beyond].max() <= 2


def test_all_of_a_region_looks_at_what_it_may_however_far_that_is():
    shown = left_of(25) & (abs(Y - 100) < 30)
    held = held_to_regions(STILL, ALL, lambda _: both(shown), GRID)
    assert not np.isnan(held).any()
    seen = shown[held.imag.round().astype(int), held.real.round().astype(int)]
    assert seen.all()


def test_far_beyond_mirrors_are_mirrored_and_no_border_is_drawn_out():
    held = held_to_regions(STILL, ALL, lambda _: both(left_of(25)), GRID)
    step = abs(np.diff(held.real, axis=1))[60:140]  # 0 along a border that is drawn out
    assert np.mean((step > 0.5) & (step < 2.1)) > 0.8


def test_regions_know_nothing_of_each_other():
    regions = (Y >= 100).astype(int) + 3 * (X >= 80)
    shown = {0: left_of(30), 1: ~left_of(30), 3: np.zeros(GRID, bool), 4: left_of(200)}
    held = held_to_regions(STILL, regions, lambda number: both(shown[number]), GRID)
    for number, allowed in shown.items():
        found = held[regions == number]
        assert np.isnan(found).all() == (number == 3)
        if number != 3:
            assert allowed[found.imag.round().astype(int), found.real.round().astype(int)].all()


def test_where_nothing_is_known_the_rest_of_the_region_says():
    hidden = STILL.copy()
    hidden[90:110, 50:70] = np.nan
    held = held_to_regions(hidden, ALL, lambda _: both(np.ones(GRID, bool)), GRID)
    assert not np.isnan(held).any()
    assert abs(held - STILL)[80:120, 40:80].max() < 25


@pytest.mark.parametrize("finer", [0.5, 1, 2])
def test_what_may_be_looked_at_has_any_fineness(finer: float):
    size = round(HEIGHT * finer), round(WIDTH * finer)
    shown = np.mgrid[: size[0], : size[1]][1] < 60 * finer
    held = held_to_regions(STILL, ALL, lambda _: both(shown), GRID)
    expected = held_to_regions(STILL, ALL, lambda _: both(left_of(60)), GRID)
    assert abs(held - expected).max() <= 4


def test_a_strip_thinner_than_its_border_is_still_seen():
    held = held_to_regions(STILL, ALL, lambda _: both(abs(X - 60) < 1), GRID)
    assert abs(held.real - 60).max() <= 1


def test_what_may_be_looked_at_need_not_continue():
    """As a head stays one piece, and only its hair is continued beyond it."""
    may_look, continues = left_of(60), left_of(60) & (Y < 100)
    held = held_to_regions(STILL, ALL, lambda _: (core_of(may_look), core_of(continues)), GRID)
    inside = left_of(60 - MARGIN - 2)
    assert np.array_equal(held[inside], STILL[inside])
    assert (held[~left_of(62)].imag < 100).all()
    nothing = core_of(np.zeros(GRID, bool))
    alone = held_to_regions(STILL, ALL, lambda _: (core_of(may_look), nothing), GRID)
    assert np.array_equal(alone, held_to_regions(STILL, ALL, lambda _: both(may_look), GRID))
