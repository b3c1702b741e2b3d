"""The page of a blind comparison: its command, its server, and a browser that votes."""

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from PIL import Image

from cocosnet_hf.evaluation.preferences import Study, open_items
from cocosnet_hf.study import main, named, page_server

COLORS = {"red": (255, 0, 0), "blue": (0, 0, 255)}


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """Results of two systems, three items each, and their exemplars in another file type."""
    for name, color in {**COLORS, "exemplar": (0, 255, 0)}.items():
        folder = tmp_path / name / "png"
        folder.mkdir(parents=True)
        for item in range(3):
            suffix = "webp" if name == "exemplar" else "png"
            Image.new("RGB", (24, 16), color).save(folder / f"{item}.{suffix}", lossless=True)
    return [str(tmp_path / name / "png") for name in COLORS]


@pytest.fixture
def study(folders: list[str], tmp_path: Path) -> Study:
    beside = {"exemplar": tmp_path / "exemplar" / "png"}
    return Study(open_items(named(folders), beside), tmp_path / "votes.jsonl")


@contextmanager
def served(study: Study) -> Iterator[str]:
    with page_server(study) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def ask(address: str, body: Any = None, **headers: str) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(address, data, headers)) as reply:
        return json.load(reply)


def refused(address: str, body: Any = None, **headers: str) -> int:
    with pytest.raises(HTTPError) as refusal:
        ask(address, body, **headers)
    refusal.value.close()
    return refusal.value.code


def color(address: str) -> tuple[int, ...]:
    with urlopen(address) as reply:
        content = reply.read()
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.format == "PNG" and not picture.info
        return picture.getpixel((0, 0))


def test_folders_are_called_by_what_tells_them_apart(folders: list[str], tmp_path: Path):
    assert named(folders) == {name: tmp_path / name / "png" for name in COLORS}
    assert list(named([f"ours={folders[0]}", folders[1]])) == ["ours", "png"]
    assert named([]) == {}
    with pytest.raises(ValueError, match="needs a name of its own, as NAME=FOLDER"):
        named([folders[0], folders[0]])
    with pytest.raises(ValueError, match=r"No two folders may have one name, got \['a', 'a'\]"):
        named([f"a={folders[0]}", f"a={folders[1]}"])


def test_pictures_are_served_by_their_sides_and_nothing_names_their_systems(study: Study):
    with served(study) as address:
        state = ask(f"{address}/state")
        assert state["done"] == 0 and state["total"] == 3 and state["beside"] == ["exemplar"]
        assert not any(name in json.dumps(state) for name in COLORS)
        for trial, shown in enumerate(study.trials):
            for side, name in enumerate(shown.sides):
                assert color(f"{address}/picture/{trial}/{side}") == COLORS[name]
            assert color(f"{address}/beside/{trial}/0") == (0, 255, 0)
        for place in ("picture/3/0", "picture/0/2", "picture/0", "picture/a/b", "votes.jsonl"):
            assert refused(f"{address}/{place}") == 404


def test_a_vote_on_another_trial_than_the_current_one_is_not_counted(study: Study):
    with served(study) as address:
        assert ask(f"{address}/vote", {"trial": 0, "side": 1})["done"] == 1
        assert ask(f"{address}/vote", {"trial": 0, "side": 0})["done"] == 1  # pressed twice
        assert ask(f"{address}/undo", {"trial": 5})["done"] == 1
        assert study.votes[0].preferred == study.trials[0].sides[1]
        assert ask(f"{address}/undo", {"trial": 1})["done"] == 0


def test_what_is_no_vote_is_refused(study: Study):
    with served(study) as address:
        for body in ({}, [], {"trial": 0}, {"trial": 0, "side": 2}, {"trial": 0, "side": "1"}):
            assert refused(f"{address}/vote", body) == 400
        assert refused(f"{address}/else", {"trial": 0, "side": 0}) == 404
    assert study.votes == []


def test_another_site_in_the_same_browser_neither_sees_nor_votes(study: Study):
    with served(study) as address:
        vote = {"trial": 0, "side": 0}
        assert refused(f"{address}/vote", vote, Origin="http://elsewhere.example") == 403
        assert refused(f"{address}/state", Host="elsewhere.example") == 403
        assert ask(f"{address}/vote", vote, Origin=address)["done"] == 1


def test_the_table_of_the_votes_so_far_is_printed(
    study: Study, folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    study.vote(study.trials[0].sides.index("red"))
    main([*folders, "--votes", str(tmp_path / "votes.jsonl"), "--table"])
    printed = capsys.readouterr().out
    assert "| red | 1 | 100 % | 21 to 100 % |" in printed
    assert "Votes: 1, voters: 1, items: 1." in printed


def test_folders_that_cannot_be_compared_end_the_command(
    folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    Path(folders[1], "2.png").unlink()
    with pytest.raises(SystemExit) as end:
        main([*folders, "--votes", str(tmp_path / "votes.jsonl")])
    assert end.value.code == 2
    assert "2.png is of 'red' alone" in capsys.readouterr().err
    assert not (tmp_path / "votes.jsonl").exists()


@pytest.mark.slow
@pytest.mark.browser
def test_a_visitor_votes_by_keys_and_clicks_takes_back_and_reads_the_table(study: Study):
    from tests.support.axe import findings
    from tests.support.browsing import expect, started

    def side_of(name: str) -> int:
        assert study.current is not None
        return study.current.sides.index(name)

    with served(study) as address, started() as browser:
        page = browser.new_page()
        page.set_default_timeout(15_000)
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        progress, pictures = page.locator("#progress"), page.locator("#choices button")
        expect(progress).to_have_text("1 of 3")
        expect(page.locator("#undo")).to_be_disabled()
        expect(page.get_by_text("exemplar")).to_be_visible()
        assert findings(page) == []
        assert not any(name in page.content() for name in COLORS)
        page.keyboard.press(str(side_of("red") + 1))
        expect(progress).to_have_text("2 of 3")
        page.keyboard.press("3")  # no such side
        page.keyboard.press("0")
        expect(progress).to_have_text("3 of 3")
        page.keyboard.press("u")
        expect(progress).to_have_text("2 of 3")
        page.reload()  # as after a stop
        expect(progress).to_have_text("2 of 3")
        pictures.nth(side_of("red")).click()
        expect(progress).to_have_text("3 of 3")
        page.keyboard.press("0")
        rows = page.locator("#table tr")
        expect(rows).to_have_text(
            ["preferredvotesshare95 % interval", "red267 %21 to 94 %"]
            + ["blue00 %0 to 56 %", "no difference133 %6 to 79 %"]
        )
        expect(pictures).to_have_count(0)
        page.locator("#undo").click()
        expect(progress).to_have_text("3 of 3")
        assert complaints == []
        browser.close()
