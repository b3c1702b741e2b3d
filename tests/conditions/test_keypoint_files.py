"""Keypoint files of every common program become the same pose, as files and as content."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cocosnet_hf.conditions import Pose, PoseCondition
from cocosnet_hf.conditions.joints import BODY_25, JOINTS, read_keypoints, read_pose
from tests.support.keypoints import (
    CANVAS,
    COCO_NAMES,
    JOINT_XY,
    SIZE,
    STANDING,
    coco,
    flat,
    landmarks,
    neck_of,
    openpose,
    short,
)

NECK = JOINTS.index("neck")
DEPTHS = np.column_stack([coco()[:, :2], np.linspace(-0.9, 0.8, 17)])
"""x, y, z, as networks that lift joints into space write them."""
PERSON = {"image_id": "a.jpg", "category_id": 1, "keypoints": flat(coco()), "score": 2.9}
BODY = np.full((25, 3), 5.0)
BODY[list(BODY_25)] = STANDING
MMPOSE = {
    "keypoints": coco()[:, :2].tolist(),
    "keypoint_scores": coco()[:, 2].tolist(),
    "bbox": [[0, 0, 60, 90]],
    "bbox_score": 0.8,
}
POINTS = [
    {"name": name, "x": float(x), "y": float(y), "score": float(score)}
    for name, (x, y, score) in zip(COCO_NAMES, coco(), strict=True)
]


BARE = [{key: point[key] for key in ("x", "y", "score")} for point in POINTS]


def annotated(**image: Any) -> dict[str, Any]:
    """COCO's annotations of one picture, a dog and a person in another order of joints."""
    order = [*reversed(COCO_NAMES), "left_big_toe"]
    rows = np.vstack([coco()[::-1], [[1, 1, 2]]])
    return {
        "images": [{"id": 7, "file_name": "a.jpg", "height": 96, "width": 64} | image],
        "annotations": [
            {"image_id": 7, "category_id": 18, "keypoints": [9, 9, 2], "bbox": [0, 0, 9, 9]},
            {"image_id": 7, "category_id": 1, "keypoints": flat(rows), "num_keypoints": 17},
            {"image_id": 7, "category_id": 1, "bbox": [1, 1, 3, 3]},
        ],
        "categories": [
            {"id": 1, "name": "person", "keypoints": order},
            {"id": 18, "name": "dog", "keypoints": ["tail"]},
        ],
    }


def sized(content: Any) -> dict[str, Any]:
    return {"openpose": content, "size": SIZE}


OPENPOSE_ORDER = {
    "openpose": openpose(STANDING, **CANVAS),
    "openpose 1.0": openpose(STANDING, key="pose_keypoints", **CANVAS),
    "openpose 0.1": sized(openpose(STANDING, key="body_parts")),
    "body 25": openpose(BODY, **CANVAS),
    "rows for a flat list": {"people": [{"pose_keypoints_2d": STANDING.tolist()}], **CANVAS},
    "alphapose cmu": sized({"version": "0.3", "bodies": [{"joints": flat(STANDING)}]}),
    "alphapose open, all pictures": sized({"a.jpg": openpose(STANDING)}),
    "frames": [openpose(STANDING, **CANVAS)],
    "frames in a dict": {"frames": [openpose(STANDING, **CANVAS)]},
    "a column of dicts of lists": {"people": {"pose_keypoints_2d": [flat(STANDING)]}, **CANVAS},
    "a column filled with null": {**openpose(STANDING, **CANVAS), "keypoints": None, "size": None},
    "shares of the canvas": openpose(STANDING / (64, 96, 1), **CANVAS),
    "flat": {"keypoints": flat(STANDING), "size": SIZE},
    "several people": {"keypoints": [STANDING.tolist()], "size": SIZE},
    "several flat people": {"keypoints": [flat(STANDING)], "size": list(SIZE)},
    "tensor": {"keypoints": torch.from_numpy(STANDING)[None], "size": torch.tensor(SIZE)},
    "other size names": {**openpose(STANDING), "width": 64.0, "height": 96},
    "numbered points": sized(
        [{"id": k, "x": x, "y": y, "v": v} for k, (x, y, v) in enumerate(STANDING)][::-1]
    ),
}

COCO_ORDER = {
    "flat": {"keypoints": flat(coco()), "size": SIZE},
    "rows": {"keypoints": coco().tolist(), "size": SIZE},
    "flat in people": openpose(coco(), **CANVAS),
    "annotations": annotated(),
    "one annotation": sized(PERSON | {"bbox": [0, 0, 9, 9], "num_keypoints": 17}),
    "results": sized([PERSON]),
    "results of picture 9": sized([PERSON | {"image_id": 9}]),
    "halpe 26": {"keypoints": flat(coco(count=26)), "size": SIZE},
    "wholebody": {"keypoints": flat(coco(count=133)), "size": SIZE},
    "halpe 136": {"keypoints": flat(coco(count=136)), "size": SIZE},
    "mmpose predictions": sized([MMPOSE]),
    "mmpose of a video": sized([{"frame_id": 1, "instances": [MMPOSE]}]),
    "mmpose inferencer": sized({"predictions": [[MMPOSE]], "visualization": []}),
    "mmpose 0": sized([{"bbox": [0, 0, 9, 9, 1.0], "keypoints": coco().tolist()}]),
    "mmpose meta": sized(
        {
            "meta_info": {
                "keypoint_id2name": {str(k): name for k, name in enumerate(COCO_NAMES[::-1])}
            },
            "instance_info": [{"keypoints": coco()[::-1].tolist()}],
        }
    ),
    "poseflow": sized({"a.jpg": [{"keypoints": flat(coco()), "scores": 3.1, "idx": 1}]}),
    "transformers": sized(
        [[{"keypoints": torch.tensor(coco()[:, :2]), "scores": torch.tensor(coco()[:, 2])}]]
    ),
    "ultralytics": sized(
        [
            {
                "name": "person",
                "confidence": 0.9,
                "keypoints": dict(zip(("x", "y", "visible"), coco().T.tolist(), strict=True)),
            }
        ]
    ),
    "movenet": sized([{"score": 0.7, "keypoints": POINTS[::-1]}]),
    "posenet": sized(
        {
            "score": 0.7,
            "keypoints": [
                {
                    "part": f"{p['name']}",
                    "position": {"x": p["x"], "y": p["y"]},
                    "score": p["score"],
                }
                for p in POINTS
            ],
        }
    ),
    "points": sized(POINTS),
    "named": sized({name: row for name, row in zip(COCO_NAMES, coco().tolist(), strict=True)}),
    "detectron2": sized({"pred_keypoints": [coco().tolist()]}),
    "numbered from 1": sized([point | {"index": k + 1} for k, point in enumerate(BARE)][::-1]),
    "named points": sized({"body_parts": {short(p["name"]): p for p in POINTS}}),
    "mediapipe": sized({"pose_landmarks": [landmarks()]}),
    "mediapipe tasks": sized({"landmarks": [landmarks()], "worldLandmarks": [[{"x": 0, "y": 0}]]}),
    "mediapipe of a protobuf": sized({"pose_landmarks": {"landmark": landmarks()}}),
    "mediapipe alone": sized(landmarks()),
    "mediapipe people": sized([landmarks()]),
    "mediapipe numbers": sized([[p["x"], p["y"], p["z"], p["visibility"]] for p in landmarks()]),
    "a list of flat people": {"keypoints": [flat(coco())], "bbox": [[0, 0, 9, 9]], "size": SIZE},
}


def as_json(value: Any) -> Any:
    """What JSON makes of arrays and tensors."""
    if isinstance(value, (np.ndarray, torch.Tensor)):
        return value.tolist()
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    return [as_json(item) for item in value] if isinstance(value, (list, tuple)) else value


def every(kinds: dict[str, Any]) -> list[Any]:
    return [pytest.param(source, id=name) for name, source in kinds.items()]


def check(source: Any, expected: np.ndarray, folder: Path) -> None:
    """The source, its text and a file of it are this person, without a word."""
    content = as_json(source)
    path = folder / "pose.json"
    path.write_text(json.dumps(content.pop("openpose") if "openpose" in content else content))
    wrapped = {"openpose": path, "size": SIZE} if "openpose" in source else path
    for given in (
        source,
        wrapped,
        json.dumps(as_json(source)),
        json.dumps(as_json(source)).encode(),
    ):
        reading = read_keypoints(given)
        assert reading.notes == ()
        assert reading.pose.size == SIZE
        np.testing.assert_allclose(reading.pose.joints, expected, atol=1e-6)


@pytest.mark.parametrize("source", every(OPENPOSE_ORDER))
def test_joints_in_openposes_order_are_read(source: Any, tmp_path: Path):
    check(source, STANDING, tmp_path)


@pytest.mark.parametrize("source", every(COCO_ORDER))
def test_joints_in_other_orders_are_read_and_gain_a_neck(source: Any, tmp_path: Path):
    expected = STANDING.copy()
    expected[NECK] = neck_of(STANDING)
    check(source, expected, tmp_path)


def labelme(*groups: int | None) -> dict[str, Any]:
    """LabelMe's file of people who stand one beside the other, a box among the points."""
    shapes = [{"label": "coat", "points": [[1, 1], [9, 9]], "shape_type": "rectangle"}]
    for place, group in enumerate(groups):
        for name, (x, y) in zip(JOINTS, JOINT_XY.tolist(), strict=True):
            at = [[x + place, y]]
            shapes.append({"label": name, "points": at, "group_id": group, "shape_type": "point"})
    return {"shapes": shapes, "imagePath": "a.jpg", "imageHeight": 96, "imageWidth": 64}


def test_points_of_labelme_are_joints_by_their_labels():
    reading = read_keypoints(json.dumps(labelme(None)))
    assert (reading.pose.size, reading.notes) == (SIZE, ())
    assert np.array_equal(reading.pose.joints[:, :2], JOINT_XY)
    second = read_keypoints({"openpose": labelme(1, 2), "person": 1})
    assert np.array_equal(second.pose.joints[:, 0], JOINT_XY[:, 0] + 1)
    with pytest.raises(ValueError, match="'nose' twice in one group.*a group_id of their own"):
        read_keypoints(labelme(None, None))
    shouted = labelme(None)
    shouted["shapes"].append(shouted["shapes"][1] | {"label": "NOSE"})
    with pytest.raises(ValueError, match="'NOSE' twice in one group"):
        read_keypoints(shouted)
    with pytest.raises(ValueError, match="found 0 people"):
        read_keypoints(labelme())


def test_what_dwpose_returns_is_read():
    """Places of all people as shares of the picture, and which of them are whose joints."""
    places = np.concatenate([STANDING, np.full((18, 3), 5.0)])[:, :2] / (64, 96)
    rows = np.where(np.arange(18) == 4, -1, np.arange(18))[None]
    bodies = {"candidate": places, "subset": rows.astype(float)}
    content = {"bodies": bodies, "hands": np.zeros((2, 21, 2)), "faces": []}
    for given in (sized(content), sized(as_json(content))):
        reading = read_keypoints(given)
        assert reading.notes == () and np.isnan(reading.pose.joints[4, 0])
        found = np.delete(reading.pose.joints[:, :2], 4, 0)
        np.testing.assert_allclose(found, np.delete(JOINT_XY, 4, 0), atol=1e-6)


def test_text_of_json_within_json_is_read():
    text = json.dumps(json.dumps(openpose(STANDING, **CANVAS)))
    for given in (text, text.encode()):
        assert np.array_equal(read_pose(given).joints, STANDING)
    with pytest.raises(ValueError, match="A pose must be a Pose"):
        read_pose(json.dumps("pose.json"))


def test_scores_a_little_below_0_and_minus_1_are_of_missing_joints():
    joints = coco()
    joints[3, 2], joints[4, 2], joints[5, 2] = -0.02, -0.05, -1
    found = read_pose({"keypoints": joints, "size": SIZE}).joints
    gone = [JOINTS[place] for place in np.flatnonzero(np.isnan(found[:, 0]))]
    assert gone == ["neck", "l_shoulder", "r_ear", "l_ear"]


def test_halpe_has_a_neck_of_its_own():
    rows = coco(count=26)
    rows[18] = (31, 22, 0.8)
    assert Pose.from_array(rows, SIZE).joints[NECK].tolist() == [31, 22, 0.8]
    rows[18, 2] = 0
    assert Pose.from_array(rows, SIZE).joints[NECK].tolist() == neck_of(STANDING)


@pytest.mark.parametrize("gap", [None, [], [0, 0], [-1, -1], [None, None]])
def test_what_editors_write_for_a_hidden_joint_is_a_missing_one(gap: Any):
    rows: list[Any] = JOINT_XY.tolist()
    rows[4] = gap
    joints = read_pose({"width": 64, "height": 96, "keypoints": [rows]}).joints
    assert np.isnan(joints[4, 0]) and joints[4, 2] == 0
    assert np.array_equal(np.delete(joints[:, :2], 4, 0), np.delete(JOINT_XY, 4, 0))


def test_a_mediapipe_point_without_visibility_counts():
    points = [{"x": p["x"], "y": p["y"], "z": p["z"]} for p in landmarks()]
    assert (read_pose(sized(points)).joints[:, 2] == 1).all()


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252"],
)
def test_a_file_may_be_text_in_any_encoding(encoding: str, tmp_path: Path):
    text = json.dumps(openpose(STANDING, **CANVAS, name="pose_à_côté"), ensure_ascii=False)
    (tmp_path / "pose.json").write_bytes(text.encode(encoding))
    assert np.array_equal(read_pose(tmp_path / "pose.json").joints, STANDING)
    assert np.array_equal(read_pose(text.encode(encoding)).joints, STANDING)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_candidate_and_subset_may_begin_with_a_mark(encoding: str, tmp_path: Path):
    table = np.hstack([STANDING, np.arange(18)[:, None]])
    lines = "\n".join(" ".join(map(str, row)) for row in table.tolist())
    (tmp_path / "candidate.txt").write_text(lines, encoding=encoding)
    pose = Pose.from_candidate_subset(tmp_path / "candidate.txt", list(range(18)), SIZE)
    assert np.array_equal(pose.joints, STANDING)


@pytest.mark.parametrize(
    ("name", "joint"),
    [
        ("left_eye", "l_eye"),
        ("leftEye", "l_eye"),
        ("Left Eye", "l_eye"),
        ("LEye", "l_eye"),
        ("eye_l", "l_eye"),
        ("LEFT_EYE", "l_eye"),
        ("lefteye", "l_eye"),
        ("r-ankle", "r_ankle"),
        ("Nose", "nose"),
    ],
)
def test_a_joint_goes_by_any_spelling_of_its_name(name: str, joint: str):
    others = {"neck": [9, 9], "right_knee": [3, 4], name: [20, 30], "left_eye_inner": [1, 1]}
    joints = read_pose(sized(others)).joints
    assert joints[JOINTS.index(joint)].tolist() == [20, 30, 1]
    assert (joints[:, 2] > 0).sum() == 3


def test_names_tell_the_order_where_the_number_would_tell_another():
    names = [*COCO_NAMES, "neck"]  # 18 joints, and not OpenPose's
    content = {
        "images": [{"id": 1, "height": 96, "width": 64, "file_name": "a.jpg"}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "keypoints": flat(np.vstack([coco(), STANDING[1]]))}
        ],
        "categories": [{"id": 1, "keypoints": names}],
    }
    np.testing.assert_array_equal(read_pose(content).joints, STANDING)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (3, "A pose must be .*got int"),
        ({}, r"got a dict with \[\]"),
        ({"version": 1.3}, r"got a dict with \['version'\]"),
        ({"shapes": "labelme"}, "A pose must be"),
        ("pose.txt of a string", None),
        ([1, 2, 3], "54 or 75 numbers.*51.*got 3"),
        ({"keypoints": flat(STANDING)[:45], "size": SIZE}, "54 or 75 numbers.*got 45"),
        ({"keypoints": [[1, 2, 3]] * 14, "size": SIZE}, r"got shape \(14, 3\)"),
        ({"keypoints": [[1, 2, 3]] * 33, "size": SIZE}, r"\(33, 2\|4\) MediaPipe"),
        ({"keypoints": [[1, 2], [1, 2, 3]], "size": SIZE}, "rows of numbers, equally long"),
        ({"keypoints": ["a"] * 51, "size": SIZE}, "rows of numbers"),
        ({"keypoints": np.zeros((18, 2), complex), "size": SIZE}, "rows of numbers"),
        ({"keypoints": [[10**400, 2, 1]] * 18, "size": SIZE}, "rows of numbers"),
        ({"keypoints": [[1e300, 2, 1]] * 18, "size": SIZE}, "outside of the 96 x 64 picture"),
        ({"keypoints": DEPTHS, "size": SIZE}, "scores.*lie in 0..1, got .*If these are depths"),
        ({"openpose": openpose(STANDING), "size": 512}, "size must be"),
        ({"openpose": openpose(STANDING), "size": {64, 96}}, "size must be"),
        ({"openpose": openpose(STANDING), "size": ("64", "96")}, "size must be"),
        ({"openpose": openpose(STANDING), "sise": SIZE}, r"got \['sise'\]"),
        ({"annotations": [3], "images": []}, "A pose must be"),
        ({"head_top": [1, 2], "pelvis": [3, 4], "thorax": [5, 6]}, "A pose must be"),
        ("[" * 100_000, "is not a JSON file"),
        (b"\x89PNG", "is not a JSON file"),
        ('{"people": [', "is not a JSON file"),
        ('{"people": ' + "9" * 5000 + "}", "is not a JSON file|a list 'people'"),
    ],
)
def test_what_is_no_pose_is_refused_with_what_was_expected(content: Any, message: str | None):
    expected = FileNotFoundError if message is None else ValueError
    with pytest.raises(expected, match=message):
        read_pose(content)


def test_brackets_within_brackets_are_refused():
    deep: Any = landmarks()
    for _ in range(5000):
        deep = {"landmarks": deep}
    with pytest.raises(ValueError, match="brackets within brackets"):
        read_pose(deep)


def test_a_shorter_array_is_none_of_cocos():
    with pytest.raises(ValueError, match=r"\(17, 3\), got shape \(12, 3\)"):
        Pose.from_coco(np.ones((12, 3)), SIZE)


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="needs names of open files")
def test_a_file_of_a_pipe_is_read_once():
    end, start = os.pipe()
    os.write(start, json.dumps(openpose(STANDING, **CANVAS)).encode())
    os.close(start)
    condition = PoseCondition()
    try:
        source = condition.open(f"/dev/fd/{end}")
    finally:
        os.close(end)
    assert condition.natural_size(source) == SIZE
    assert condition.encode(source, *SIZE).any()


@pytest.mark.parametrize("key", ["openpose", "keypoints", "people"])
def test_what_a_file_holds_names_no_other_file(key: str, tmp_path: Path):
    (tmp_path / "secret.json").write_text(json.dumps(openpose(STANDING, **CANVAS)))
    (tmp_path / "pose.json").write_text(
        json.dumps({key: str(tmp_path / "secret.json"), "size": SIZE})
    )
    with pytest.raises(ValueError, match="A pose must be|a list 'people'"):
        read_pose(tmp_path / "pose.json")


def test_masked_joints_are_missing():
    array = np.ma.array(STANDING, mask=np.zeros((18, 3)))
    array.mask[3] = True
    assert np.isnan(Pose.from_array(array, SIZE).joints[3, 0])


def test_text_that_names_a_file_is_its_path_even_with_a_bracket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("[1].json").write_text(json.dumps(openpose(STANDING, **CANVAS)))
    assert np.array_equal(read_pose("[1].json").joints, STANDING)


def test_a_condition_takes_what_files_hold():
    condition = PoseCondition()
    expected = condition.encode(Pose(STANDING, SIZE), *SIZE)
    for source in (openpose(STANDING, **CANVAS), json.dumps(openpose(STANDING, **CANVAS))):
        assert torch.equal(condition.encode(source, *SIZE), expected)
