"""What is written is there whole, or what was there before is."""

from pathlib import Path

import pytest

from cocosnet_hf.whole_files import whole, write_whole


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_in_its_new_folder_at_the_end_of_the_block(tmp_path: Path):
    target = tmp_path / "deep/er/file.txt"
    with whole(target) as place:
        place.write_text("half")
        assert not target.exists() and place.parent == target.parent
    assert target.read_text() == "half" and names(target.parent) == ["file.txt"]


@pytest.mark.parametrize("content", ["ä", "ä".encode()])
def test_text_is_written_as_utf8_and_bytes_as_they_are(content: str | bytes, tmp_path: Path):
    write_whole(tmp_path / "file", content)
    assert (tmp_path / "file").read_bytes() == "ä".encode()


def test_a_block_that_fails_leaves_what_was_there_and_nothing_else(tmp_path: Path):
    write_whole(tmp_path / "file", "before")
    with pytest.raises(OSError, match="full"):
        with whole(tmp_path / "file") as place:
            place.write_text("half")
            raise OSError("the disk is full")
    assert (tmp_path / "file").read_text() == "before" and names(tmp_path) == ["file"]


def test_a_folder_takes_the_place_of_an_earlier_one_from_a_place_that_is_said(tmp_path: Path):
    target, unfinished = tmp_path / "shard", tmp_path / "work/shard"
    for content in ("first", "second"):
        write_whole(unfinished / "left-over", "of a process that was killed")
        with whole(target, unfinished) as place:
            assert place == unfinished and not place.exists()
            place.mkdir()
            (place / content).touch()
        assert names(target) == [content] and names(tmp_path / "work") == []


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path):
    with whole(tmp_path / "file") as one, whole(tmp_path / "file") as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert (tmp_path / "file").read_text() == "one" and names(tmp_path) == ["file"]
