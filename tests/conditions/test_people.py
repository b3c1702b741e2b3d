"""Of several people the one who is there most, on the canvas that most of their joints fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cocosnet_hf.conditions import Pose, PoseCondition
from cocosnet_hf.conditions.joints import JOINTS, read_keypoints, read_pose
from tests.support.keypoints import CANVAS, SIZE, STANDING, coco, flat, openpose

POSES = PoseCondition(min_score=0.3)
SCALED = STANDING / (SIZE[1], SIZE[0], 1)


def only(*places: int, rows: np.ndarray = STANDING) -> np.ndarray:
    """Of a person nothing but these joints."""
    left = np.zeros_like(rows)
    left[list(places)] = rows[list(places)]
    return left


def small(share: float, corner: tuple[float, float] = (2, 2)) -> np.ndarray:
    """The whole person, far behind."""
    return STANDING * (share, share, 1) + (*corner, 0)


SCRAP = only(0, 14)
PASSERS_BY = {
    "a scrap": SCRAP,
    "one joint": only(9),
    "two joints far apart": only(0, 10) * (1, 1, 0.5),
    "an unsure person": STANDING * (1, 1, 0.5),
    "somebody far behind": small(0.3),
    "nobody": np.zeros((18, 3)),
    "somebody off the canvas": STANDING + (500, 0, 0),
    "an arm at the edge": only(2, 3, 4),
}


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("other", PASSERS_BY.values(), ids=PASSERS_BY.keys())
@pytest.mark.filterwarnings("ignore:.*people; person")
def test_a_passer_by_loses_against_the_whole_person(other: np.ndarray, place: int):
    people = [other, other]
    people.insert(place, STANDING)
    reading = read_keypoints(openpose(*people, **CANVAS), min_score=0.2)
    assert reading.person == place
    assert np.array_equal(reading.pose.joints, STANDING)


def test_a_large_half_of_somebody_wins_against_a_small_whole_one():
    half = only(*range(8), 14, 15, 16, 17)
    reading = read_keypoints(openpose(small(0.2), half, **CANVAS))
    assert reading.person == 1


KINDS = {
    "openpose": openpose(SCRAP, STANDING, **CANVAS),
    "older": openpose(SCRAP, STANDING, key="pose_keypoints", **CANVAS),
    "body only of one": {
        "people": [{"pose_keypoints_2d": None}, {"pose_keypoints_2d": []}]
        + openpose(SCRAP, STANDING)["people"],
        **CANVAS,
    },
    "coco results": {
        "openpose": [{"image_id": 1, "keypoints": flat(coco(one))} for one in (SCRAP, STANDING)],
        "size": SIZE,
    },
    "mmpose": {
        "openpose": [
            {"keypoints": coco(one)[:, :2].tolist(), "keypoint_scores": coco(one)[:, 2].tolist()}
            for one in (SCRAP, STANDING)
        ],
        "size": SIZE,
    },
    "an array": {"keypoints": np.stack([SCRAP, STANDING]), "size": SIZE},
    "flat lists": {"keypoints": [flat(SCRAP), flat(STANDING)], "size": SIZE},
    "tables": {
        "candidate": np.vstack([SCRAP, STANDING]),
        "subset": [[0, *[-1] * 13, 14, *[-1] * 5], [*range(18, 36), 20, 18]],
        "size": SIZE,
    },
}


@pytest.mark.parametrize("source", KINDS.values(), ids=KINDS.keys())
def test_the_choice_is_said_with_the_remedy_and_can_be_another(source: Any):
    with pytest.warns(
        UserWarning, match='has 2 people; person . of .*, who is there most.*"person"'
    ):
        opened = POSES.open(source)
    last = opened.value.joints
    wanted = STANDING[JOINTS.index("r_knee")]
    assert np.allclose(last[JOINTS.index("r_knee")], wanted)
    scrap = read_keypoints(source).person - 1
    assert opened.notes[0].kind == "people"
    chosen = source | {"person": scrap} if "openpose" in source else {"openpose": source}
    chosen |= {"person": scrap}
    for condition, given in (
        (POSES, chosen),
        (PoseCondition(min_score=0.3, person=scrap), source),
        (PoseCondition(min_score=0.3, person=5), chosen),
        (POSES, POSES.of_several(source, person=scrap)),
    ):
        assert condition.open(given).value.joints[:, 2].astype(bool).sum() == 2


@pytest.mark.parametrize("person", [2, -1, 1.5, True, "1"])
def test_somebody_who_is_not_there_is_refused(person: Any):
    with pytest.raises(ValueError, match="found 2 people; person .* is not there"):
        read_keypoints(openpose(SCRAP, STANDING, **CANVAS), person=person)


def test_a_negative_person_is_no_setting():
    with pytest.raises(ValueError, match="'person' must be 0 or more"):
        PoseCondition(person=-1)


def test_a_pose_is_one_person_of_one_size():
    pose = Pose(STANDING, SIZE)
    assert read_pose({"openpose": pose, "size": SIZE, "person": 0}) is pose
    for wish in ({"person": 1}, {"size": (64, 96)}):
        with pytest.raises(ValueError, match="A Pose"):
            read_pose({"openpose": pose} | wish)
    assert PoseCondition(person=1).open(pose).value is pose


# Frames ------------------------------------------------------------------------------------------

EMPTY: dict[str, Any] = {"people": [], **CANVAS}
OTHER = STANDING * (0.9, 0.9, 1)
FRAMES = {
    "list": [EMPTY, openpose(STANDING, **CANVAS), openpose(OTHER, **CANVAS)],
    "none": [None, openpose(STANDING, **CANVAS), openpose(OTHER, **CANVAS)],
    "by name": {"b.jpg": EMPTY, "c.jpg": openpose(STANDING, **CANVAS), "a.jpg": openpose(OTHER)},
    "alphapose": [
        {"image_id": name, "keypoints": flat(one), "height": 96, "width": 64}
        for name, one in (("b", STANDING * 0), ("c", STANDING), ("a", OTHER))
    ],
    "coco": {
        "images": [
            {"id": k, "file_name": f"{k}.jpg", "height": 96, "width": 64} for k in (3, 1, 2)
        ],
        "annotations": [
            {"image_id": 2, "keypoints": flat(OTHER)},
            {"image_id": 1, "keypoints": flat(STANDING)},
        ],
        "categories": [],
    },
    "video": {
        "meta_info": {},
        "instance_info": [
            {"frame_id": k, "instances": [{"keypoints": one.tolist()}] if len(one) else []} | CANVAS
            for k, one in ((1, STANDING[:0]), (2, STANDING), (3, OTHER))
        ],
    },
}


@pytest.mark.parametrize("frames", FRAMES.values(), ids=FRAMES.keys())
def test_of_frames_the_first_with_somebody_is_taken_and_said(frames: Any):
    with pytest.warns(UserWarning, match='has 3 frames; frame 1.*first with somebody.*"frame"'):
        pose = POSES.open(frames).value
    assert np.array_equal(pose.joints, STANDING)
    last = {"openpose": frames, "frame": 2, "size": SIZE}
    assert np.array_equal(POSES.open(last).value.joints, OTHER)


def test_a_frame_goes_by_its_name():
    assert np.array_equal(
        read_keypoints({"openpose": FRAMES["coco"], "frame": "2.jpg"}).pose.joints, OTHER
    )
    with pytest.raises(ValueError, match=r"3 frames, and none is 'x.jpg'.*'3.jpg'"):
        read_keypoints(FRAMES["coco"], frame="x.jpg")
    with pytest.raises(ValueError, match="3 frames, and none is 3"):
        read_keypoints(FRAMES["list"], frame=3)
    with pytest.raises(ValueError, match="found 0 people"):
        read_keypoints(FRAMES["list"], frame=0)


def test_frames_without_anybody_are_refused():
    with pytest.raises(ValueError, match="found 0 people"):
        POSES.open([EMPTY, EMPTY])


# Canvas ------------------------------------------------------------------------------------------


def moved(rows: np.ndarray, **places: tuple[float, float]) -> np.ndarray:
    rows = rows.copy()
    for name, place in places.items():
        rows[JOINTS.index(name), :2] = place
    return rows


OUTLIERS = {
    "a foot": {"r_ankle": (0.6, 1.11)},
    "a foot far below": {"r_ankle": (0.6, 3.5)},
    "both feet and a knee": {"r_ankle": (0.6, 1.3), "l_ankle": (0.7, 1.4), "l_knee": (0.7, 1.1)},
    "a hand on the left": {"l_wrist": (-0.2, 0.5)},
    "both hands": {"l_wrist": (-0.2, 0.5), "r_wrist": (1.2, 0.5)},
}


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("places", OUTLIERS.values(), ids=OUTLIERS.keys())
def test_a_joint_outside_does_not_make_shares_into_pixels(places: Any, wrapped: bool):
    rows = moved(SCALED, **places)
    source = {"keypoints": rows, "size": SIZE} if wrapped else openpose(rows, **CANVAS)
    reading = read_keypoints(source)
    expected = rows * (SIZE[1], SIZE[0], 1)
    np.testing.assert_allclose(reading.pose.joints, expected)
    outside = next(note for note in reading.notes if note.kind == "outside")
    assert all(name in outside.text for name in places)
    assert "picture" in outside.text and "size (height, width)" in outside.text
    assert ("range" in {note.kind for note in reading.notes}) == (rows[:, :2] < 0).any()


@pytest.mark.parametrize("places", [{}, {"r_knee": (0.4, 1.05)}], ids=["inside", "one outside"])
def test_shares_from_minus_one_to_one_are_read_and_said(places: Any):
    rows = moved(SCALED * (2, 2, 1) - (1, 1, 0), **places)
    reading = read_keypoints(openpose(rows, **CANVAS))
    expected = (rows + (1, 1, 0)) / 2 * (SIZE[1], SIZE[0], 2)
    np.testing.assert_allclose(reading.pose.joints, expected)
    assert any("from -1 to 1" in note.text for note in reading.notes)


def test_a_joint_outside_of_the_pixels_is_said_and_cut_off():
    rows = moved(STANDING, r_ankle=(30, 110))
    with pytest.warns(UserWarning, match=r"1 of 18 joints \(r_ankle\) lie outside of the 96 x 64"):
        pose = POSES.open(openpose(rows, **CANVAS)).value
    assert np.array_equal(pose.joints, rows)


def test_a_joint_far_away_is_left_out_and_said():
    rows = moved(STANDING, r_ankle=(30, 1e7))
    reading = read_keypoints(openpose(rows, **CANVAS))
    assert np.isnan(reading.pose.joints[JOINTS.index("r_ankle"), 0])
    assert "far away are left out" in reading.notes[0].text
    assert (reading.pose.joints[:, 2] > 0).sum() == 17


@pytest.mark.parametrize("value", [np.inf, 1e300, 1e5])
def test_a_joint_that_does_not_count_is_nowhere(value: float):
    rows = moved(STANDING, r_ankle=(value, 5))
    rows[JOINTS.index("r_ankle"), 2] = 0.1
    reading = read_keypoints(openpose(rows, **CANVAS), min_score=0.3)
    assert np.isnan(reading.pose.joints[JOINTS.index("r_ankle"), 0])
    assert reading.notes == ()


def test_most_joints_outside_are_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"must be \(height, width\) of the picture with the pose"):
        read_keypoints(openpose(STANDING + (40, 0, 0), **CANVAS))


def test_a_size_the_wrong_way_round_is_recognised():
    wide = STANDING[:, [1, 0, 2]] * (1, 0.9, 1)
    source = {"openpose": openpose(wide), "size": (96, 64)}
    reading = read_keypoints(source)
    assert r"fit (64, 96): is the size (height, width)?" in reading.notes[0].text


def test_corners_where_programs_put_missing_joints_are_said():
    rows = moved(STANDING, **dict.fromkeys(("r_ear", "l_ear", "r_knee"), (0, 0)))
    reading = read_keypoints(openpose(rows, **CANVAS))
    assert [note.kind for note in reading.notes] == ["corner"]
    assert (reading.pose.joints[:, 2] > 0).sum() == 15
    lower = only(*range(5)) + (0, 0, 1) * (STANDING[:, 2:] > 0)  # 13 at (0, 0), with a score
    reading = read_keypoints(openpose(lower, **CANVAS))
    assert np.array_equal(reading.pose.joints[:5, :2], STANDING[:5, :2])


def test_a_size_that_contradicts_the_file_is_taken_and_said():
    reading = read_keypoints({"openpose": openpose(STANDING, **CANVAS), "size": (192, 128)})
    assert reading.pose.size == (192, 128)
    assert "says that its picture is 96 x 64" in reading.notes[0].text
    same = read_keypoints({"openpose": openpose(STANDING, **CANVAS), "size": SIZE})
    assert same.notes == ()


@pytest.mark.parametrize("scale", [1, 100, 1 / 96])
def test_without_a_size_a_pose_can_stand_in_a_square(scale: float):
    rows = STANDING * (scale, scale, 1)
    with pytest.raises(ValueError, match="--condition-size"):
        read_keypoints(openpose(rows))
    reading = read_keypoints(openpose(rows), square=True)
    assert not reading.said_size
    assert reading.pose.size[0] == reading.pose.size[1]
    for one, other in ((reading.pose.joints, rows),):
        shape = one[:, :2] - one[0, :2]
        assert np.allclose(
            shape / np.abs(shape).max(),
            (other[:, :2] - other[0, :2]) / np.abs(other[:, :2] - other[0, :2]).max(),
        )
