"""The pictures of docs/contextual.md: what they are made of, and that they are there."""

import pytest
from PIL import Image

from tests.support.paths import REPOSITORY
from tools.contextual_figures import LANDSCAPES, SIDE, TRANSFERRED, USES

PAGE = (REPOSITORY / "docs/contextual.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("use", ["transfer", *USES])
def test_the_page_shows_a_small_picture_of_each_use(use: str):
    name = f"images/contextual-{use}.jpg"
    assert f"]({name})" in PAGE
    assert (REPOSITORY / "docs" / name).stat().st_size < 150_000
    Image.open(REPOSITORY / "docs" / name).verify()


@pytest.mark.parametrize("use", USES)
def test_unseen_sources_are_others_than_those_learned_from_and_targets_are_none(use: str):
    source, target, count = USES[use]
    drawn = [source(number).tobytes() for number in (0, 1, 1000, 1001)]
    targets = [target(number) for number in range(min(count, 2))]
    assert len({*drawn, *(one.tobytes() for one in targets)}) == len(drawn) + len(targets)
    assert {one.size for one in (source(0), *targets)} == {(SIDE, SIDE)}


def test_the_landscapes_that_are_restyled_are_there():
    for number in {number for pair in TRANSFERRED for number in pair}:
        assert (LANDSCAPES / f"{number:02d}.jpg").is_file()
