"""What the demo reads of the keypoint files that visitors and programs send."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import keypoints

gradio = pytest.importorskip("gradio", reason="needs the extra demo")
from studio.inputs import people_of, pose_of, read_keypoints  # noqa: E402


def uploaded(folder: Path, content: Any, encoding: str = "utf-8") -> dict[str, Any]:
    (folder / "pose.json").write_bytes(json.dumps(content).encode(encoding))
    return {"path": str(folder / "pose.json")}


@pytest.mark.parametrize(
    "content",
    [
        keypoints.openpose(keypoints.STANDING, key="pose_keypoints", **keypoints.CANVAS),
        [keypoints.openpose(keypoints.STANDING, **keypoints.CANVAS)],
        {"keypoints": keypoints.flat(keypoints.STANDING), "size": list(keypoints.SIZE)},
        keypoints.openpose(keypoints.STANDING / (64, 96, 1), **keypoints.CANVAS),
    ],
)
def test_uploads_and_programs_send_keypoints_of_any_kind(uploads: Path, content: Any):
    expected = keypoints.STANDING
    for found in (
        read_keypoints(uploaded(uploads, content, "utf-16")),
        pose_of(content),
        pose_of({"openpose": content}),
        pose_of(json.dumps(content)),
    ):
        assert found.size == keypoints.SIZE
        np.testing.assert_allclose(found.joints, expected)


def test_of_several_people_a_visitor_is_told_who_is_taken_and_can_choose(uploads: Path):
    scrap = keypoints.STANDING * (np.arange(18) < 2)[:, None]
    content = keypoints.openpose(scrap, keypoints.STANDING, **keypoints.CANVAS)
    file = uploaded(uploads, content)
    for read in (lambda **who: read_keypoints(file, **who), lambda **who: pose_of(content, **who)):
        with pytest.warns(UserWarning, match="2 people; person 1"):
            assert (read().joints[:, 2] > 0).all()
        assert (read(person=0).joints[:, 2] > 0).sum() == 2
        with pytest.raises(ValueError, match="person 3 is not there"):
            read(person=3)
    found = people_of(file)
    assert (found.people, found.person) == ((0, 1), 1)


def test_a_visitor_is_told_what_lies_outside(uploads: Path):
    rows = keypoints.STANDING.copy()
    rows[10, 1] = 110
    file = uploaded(uploads, keypoints.openpose(rows, **keypoints.CANVAS))
    with pytest.warns(UserWarning, match=r"\(r_ankle\) lie outside"):
        read_keypoints(file)


@pytest.mark.parametrize("text", ["", "{", "[" * 50_000, "pose"])
def test_a_file_that_is_no_json_is_refused_without_saying_where_it_lies(uploads: Path, text: str):
    (uploads / "pose.json").write_text(text)
    with pytest.raises(ValueError, match="not a JSON file") as caught:
        read_keypoints({"path": str(uploads / "pose.json")})
    assert str(uploads) not in str(caught.value)
