"""Blind comparisons: what is refused, the order of chance, votes that are kept, and the table."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cocosnet_hf.evaluation.intervals import share_interval
from cocosnet_hf.evaluation.preferences import (
    NEITHER,
    Item,
    Study,
    Vote,
    open_items,
    preference_table,
)

Folders = dict[str, Path]


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """Three systems' pictures of five items."""
    found = {}
    for index, name in enumerate("abc"):
        found[name] = tmp_path / name
        found[name].mkdir()
        for item in range(5):
            color = (80 * index, 40 * item, 0)
            Image.new("RGB", (16, 8), color).save(found[name] / f"{item}.png")
    return found


@pytest.fixture
def study(folders: Folders, tmp_path: Path) -> Callable[..., Study]:
    def opened(**options: Any) -> Study:
        return Study(open_items(folders), tmp_path / "votes.jsonl", **options)

    return opened


def order(study: Study) -> list[tuple[str, ...]]:
    return [(trial.item.name, *trial.sides) for trial in study.trials]


def test_an_item_has_a_picture_of_each_system_and_what_is_beside_it(folders: Folders):
    beside = folders.pop("c")
    (beside / "0.png").rename(beside / "0.jpg")  # the file type of these is their own
    items = open_items(folders, {"exemplar": beside})
    assert items[0] == Item(
        "0.png",
        {"a": folders["a"] / "0.png", "b": folders["b"] / "0.png"},
        {"exemplar": beside / "0.jpg"},
    )
    assert [item.name for item in items] == [f"{index}.png" for index in range(5)]


def one_less(folders: Folders) -> None:
    (folders["b"] / "3.png").unlink()


def one_more(folders: Folders) -> None:
    (folders["b"] / "3.png").rename(folders["b"] / "4.jpg")


def another_size(folders: Folders) -> None:
    Image.new("RGB", (8, 8)).save(folders["b"] / "2.png")


def no_picture(folders: Folders) -> None:
    (folders["b"] / "2.png").write_text("none")


def no_folder(folders: Folders) -> None:
    folders["b"] = folders["b"] / "none"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (one_less, r"1 are not in both '.*a' \(5\) and '.*b' \(4\): 3.png is of 'a' alone"),
        (one_more, r"2 are not in both '.*a' \(5\) and '.*b' \(5\): 3.png is of 'a' alone"),
        (another_size, "one size, but 2.png is 16 x 8 of 'a', 8 x 8 of 'b', 16 x 8 of 'c'"),
        (no_picture, "b/2.png' cannot be read as a picture"),
        (no_folder, "There is no folder '.*none'"),
    ],
)
def test_folders_that_do_not_belong_together_are_refused(
    change: Callable[[Folders], None], message: str, folders: Folders
):
    change(folders)
    with pytest.raises(ValueError, match=message):
        open_items(folders)


def test_numbers_of_systems_that_keys_cannot_choose_among_are_refused(folders: Folders):
    for names in ("a", "abcdefghij"):
        with pytest.raises(ValueError, match=f"2 to 9 folders are compared, got {len(names)}"):
            open_items(dict.fromkeys(names, folders["a"]))


def test_what_is_beside_the_pictures_must_be_there_once(folders: Folders):
    beside = folders.pop("c")
    Image.new("RGB", (8, 8)).save(beside / "1.jpg")
    with pytest.raises(ValueError, match="holds both 1.jpg and 1.png; keep one"):
        open_items(folders, {"exemplar": beside})
    (beside / "1.jpg").unlink()
    (beside / "1.png").unlink()
    with pytest.raises(ValueError, match="c' holds no picture called 1, to be shown with 1.png"):
        open_items(folders, {"exemplar": beside})


def test_seed_and_voter_decide_the_order_of_items_and_sides(
    study: Callable[..., Study], tmp_path: Path
):
    first = study(voter="ada")
    assert order(study(voter="ada")) == order(first) != order(study(voter="bob"))
    (tmp_path / "votes.jsonl").unlink()
    assert order(study(voter="ada", seed=1)) != order(first)
    assert sorted(row[0] for row in order(first)) == [f"{index}.png" for index in range(5)]
    assert all(sorted(sides) == ["a", "b", "c"] for _, *sides in order(first))


def test_no_side_is_any_systems_own(tmp_path: Path, folders: Folders):
    one = open_items(folders)[0]
    items = [Item(f"{index}", one.pictures, {}) for index in range(600)]
    trials = Study(items, tmp_path / "votes.jsonl").trials
    for side in range(3):
        for name in "abc":  # 200 expected, standard deviation 11.5
            assert 150 < sum(trial.sides[side] == name for trial in trials) < 250


def test_a_limit_leaves_all_voters_the_same_items(study: Callable[..., Study]):
    chosen = [{trial.item.name for trial in study(limit=2, voter=voter).trials} for voter in "xyz"]
    assert len(chosen[0]) == 2 and chosen[0] == chosen[1] == chosen[2]
    with pytest.raises(ValueError, match="limit must be 1 or more, got 0"):
        study(limit=0)


def test_a_stopped_study_goes_on_with_its_votes(study: Callable[..., Study], tmp_path: Path):
    first = study()
    expected = []
    for side in (2, 0, None, 1):
        trial = first.current
        assert trial is not None
        expected.append(Vote(trial.item.name, None if side is None else trial.sides[side]))
        first.vote(side)
    first.undo()
    again = study()
    assert again.votes == expected[:3] and again.current == first.current
    again.vote(1)
    again.vote(1)
    assert again.current is None and len(study().votes) == 5
    with pytest.raises(ValueError, match="got 0 with 5 of 5 judged"):
        again.vote(0)
    lines = [json.loads(line) for line in (tmp_path / "votes.jsonl").read_text().splitlines()]
    assert len(lines) == 8 and set(lines[5]) == {"voter", "undone"}
    assert lines[1]["preferred"] == lines[1]["sides"][2]


def test_a_side_that_is_not_there_is_no_vote(study: Callable[..., Study]):
    own = study()
    for side in (-1, 3):
        with pytest.raises(ValueError, match="a side is 0 to 2 or None"):
            own.vote(side)
    assert own.votes == study().votes == []


def test_to_undo_before_any_vote_does_nothing(study: Callable[..., Study]):
    study().undo()
    assert study().votes == []


def test_a_line_that_was_not_ended_is_no_vote_and_spoils_none(
    study: Callable[..., Study], tmp_path: Path
):
    study().vote(0)
    with (tmp_path / "votes.jsonl").open("a") as file:
        file.write('{"voter": "", "item": "3.p')
    study().vote(0)
    assert len(study().votes) == 2


def test_voters_undo_their_own_votes_and_are_counted_together(study: Callable[..., Study]):
    ada, bob = study(voter="ada"), study(voter="bob")
    ada.vote(0)
    bob.vote(0)
    bob.vote(0)
    ada.undo()
    assert {name: len(votes) for name, votes in ada.all_votes().items()} == {"ada": 0, "bob": 2}
    assert "Votes: 2, voters: 1, items: 2." in ada.table()[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"seed": 1}, "seed was 0, is 1"), ({"question": "Why?"}, "question was .*, is Why")],
)
def test_votes_on_something_else_are_not_gone_on_with(
    options: dict[str, Any], message: str, study: Callable[..., Study]
):
    study()
    with pytest.raises(ValueError, match=f"votes of another study: {message}.*another file"):
        study(**options)


def test_votes_on_other_pictures_are_not_gone_on_with(
    study: Callable[..., Study], folders: Folders
):
    study()
    Image.new("RGB", (16, 8), "white").save(folders["b"] / "2.png")
    with pytest.raises(ValueError, match=r"another study: pictures\.b was"):
        study()


def test_a_file_of_something_else_is_left_alone(study: Callable[..., Study], tmp_path: Path):
    path = tmp_path / "votes.jsonl"
    for content in ("a letter", "[1]\n", '{"a": 1}\n'):
        path.write_text(content)
        with pytest.raises(ValueError, match="is no file of votes; choose another"):
            study()
        assert path.read_text() == content


@pytest.mark.parametrize(
    "line",
    [
        "no JSON",
        "[]",
        '{"voter": ""}',
        '{"voter": "", "item": "0.png", "preferred": "d"}',
        '{"voter": "", "undone": "0.png"}',
    ],
)
def test_a_line_that_is_no_vote_is_named(line: str, study: Callable[..., Study], tmp_path: Path):
    study()
    with (tmp_path / "votes.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match="line 2 of .*votes.jsonl is no vote of this study"):
        study()


def test_votes_that_do_not_follow_the_order_are_refused(
    study: Callable[..., Study], tmp_path: Path
):
    study().vote(0)
    path = tmp_path / "votes.jsonl"
    header, vote = path.read_text().splitlines()
    path.write_text("\n".join([header, vote, vote, ""]))
    with pytest.raises(ValueError, match="not on the first items of its order"):
        study()


def test_a_table_gives_shares_of_all_votes_with_wilsons_intervals():
    votes = [Vote(f"{index}", "a" if index < 7 else "b") for index in range(9)]
    table = preference_table([*votes, Vote("9", None)], ["b", "a"])
    assert table.rows == [
        ["a", "7", "70 %", "40 to 89 %"],
        ["b", "2", "20 %", "6 to 51 %"],
        [NEITHER, "1", "10 %", "2 to 40 %"],
    ]
    assert preference_table([], ["b", "a"]).rows == []


def test_more_votes_on_the_same_items_do_not_narrow_the_intervals():
    votes = [Vote(f"{index}", "a" if index < 7 else "b") for index in range(10)]
    assert (
        preference_table(votes, "ab").rows[0][2:] == preference_table(votes * 5, "ab").rows[0][2:]
    )


@pytest.mark.parametrize(
    ("share", "count", "low", "high"),
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    [
        (81 / 263, 263, 0.2553, 0.3662),
        (15 / 148, 148, 0.0624, 0.1605),
        (0.0, 20, 0.0, 0.1611),
        (1 / 29, 29, 0.0061, 0.1718),
    ],
)
def test_wilsons_interval_has_published_values(share: float, count: int, low: float, high: float):
    assert share_interval(share, count) == pytest.approx((low, high), abs=6e-5)


def test_a_share_of_nothing_is_refused():
    for share, count in ((0.5, 0), (1.5, 3), (-0.1, 3)):
        with pytest.raises(ValueError, match="share must be in 0..1 of 1 item or more, got"):
            share_interval(share, count)
