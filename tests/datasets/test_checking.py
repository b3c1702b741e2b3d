"""Data are checked before time is spent on them: every row once, and what is wrong by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cocosnet_hf.conditions import EdgeCondition, MaskCondition, PoseCondition
from cocosnet_hf.datasets import DataSettings, check_data
from tests.support.rows import COUNT, SCENE

pytest.importorskip("datasets")

SIDE = 48
PARTS = MaskCondition.from_names(["ground", "left", "top"])


def labels_of() -> np.ndarray:
    """A quarter of 1 at the left, then 2 at the top, else 0."""
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[: SIDE // 4] = 2
    labels[:, : SIDE // 4] = 1
    return labels


@pytest.fixture
def parts(tmp_path: Path) -> DataSettings:
    """Six photos with masks of three classes."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(6):
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(
            tmp_path / f"{number}.jpg"
        )
        Image.fromarray(labels_of()).save(tmp_path / f"{number}.png")
        rows.append({"file_name": f"{number}.jpg", "label_file_name": f"{number}.png"})
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return DataSettings(source=str(tmp_path), condition_column="label", image_size=32, load_size=32)


def test_every_class_is_counted_over_whole_pictures(parts: DataSettings, tmp_path: Path):
    report = check_data(parts, PARTS, tmp_path / "out" / "sheet.png")
    assert report.rows == 6 and report.is_usable and not report.broken and not report.warnings
    assert report.sizes == {(SIDE, SIDE): 6}
    assert report.labels == {
        "ground": (pytest.approx(0.5625), 6),
        "left": (pytest.approx(0.25), 6),
        "top": (pytest.approx(0.1875), 6),
    }
    assert "2 top" in str(report) and "18.75 %" in str(report)
    with Image.open(tmp_path / "out" / "sheet.png") as sheet:
        assert sheet.size == (8 * 32, 3 * 32)
        colors = {color for _, color in sheet.crop((32, 0, 64, 32)).getcolors()}
    assert colors <= {tuple(color) for color in PARTS.palette.tolist()}


def test_every_bad_file_is_named_with_its_reason(parts: DataSettings, tmp_path: Path):
    (tmp_path / "1.jpg").write_bytes(b"no picture")
    labels = labels_of()
    labels[0, 0] = 255  # one pixel, which no sample of the picture may hold
    Image.fromarray(labels).save(tmp_path / "2.png")
    Image.new("L", (2 * SIDE, SIDE)).save(tmp_path / "3.png")
    (tmp_path / "4.png").unlink()
    report = check_data(parts, PARTS)
    assert report.rows == 6 and report.is_usable
    reasons = {Path(name).name: reason for name, reason in report.broken}
    assert list(reasons) == ["1.jpg", "2.jpg", "3.jpg", "4.jpg"]
    assert "labels [255]" in reasons["2.jpg"] and "{255: 3}" in reasons["2.jpg"]
    assert "another shape" in reasons["3.jpg"] and "4.png" in reasons["4.jpg"]
    assert "4 cannot be used" in str(report) and "1.jpg" in str(report)


def test_broken_rows_of_one_reason_stand_together(parts: DataSettings, tmp_path: Path):
    for number in range(6):
        Image.new("L", (SIDE, SIDE), 9).save(tmp_path / f"{number}.png")
    report = check_data(parts, PARTS)
    assert not report.is_usable and len(report.broken) == 6
    assert str(report).count("labels [9]") == 1 and "cannot be used (6)" in str(report)


def test_masks_in_lossy_files_are_said_aloud(parts: DataSettings, tmp_path: Path):
    for number in range(6):
        path = tmp_path / f"{number}.png"
        with Image.open(path) as picture:
            Image.fromarray(np.asarray(picture)).save(path, format="JPEG", quality=100)
    many = MaskCondition.from_names([str(number) for number in range(32)])
    (warning, unseen) = check_data(parts, many).warnings
    assert warning.startswith("6 label maps are JPEG") and "as PNG" in warning
    assert "classes are in no picture" in unseen


def test_photos_that_are_label_maps_are_said_aloud(parts: DataSettings, tmp_path: Path):
    for number in (2, 5):
        Image.fromarray(labels_of() * 100).save(tmp_path / f"{number}.jpg", quality=100)
    report = check_data(replace(parts, condition_column=None), EdgeCondition())
    (warning,) = report.warnings
    assert warning.startswith("2 of 6 photos look like label maps") and "2.jpg" in warning


def face(condition: MaskCondition) -> Image.Image:
    """A plain face by the names of CelebAMask-HQ's own order."""
    own = MaskCondition.celebahq("celebamask")
    values = {own.classes[index]: value for value, index in own.values.items()}
    areas = {"skin": (8, 8, 40, 44), "hair": (4, 0, 44, 20), "nose": (22, 26, 26, 30)}
    areas |= {"neck": (16, 44, 32, 48), "cloth": (4, 46, 44, 48)}
    labels = np.zeros((SIDE, SIDE), np.uint8)
    for name, (left, top, right, bottom) in areas.items():
        labels[top:bottom, left:right] = values.get(name, condition.classes.index(name))
    return Image.fromarray(labels)


def test_a_class_order_that_contradicts_the_names_is_said_aloud(
    parts: DataSettings, tmp_path: Path
):
    official = MaskCondition.celebahq()
    for number in range(6):
        face(official).save(tmp_path / f"{number}.png")
    warnings = check_data(parts, official).warnings
    assert "order of the classes contradicts their names" in warnings[0]
    assert "celebahq('celebamask')" in warnings[0]
    right = check_data(parts, MaskCondition.celebahq("celebamask")).warnings
    assert not [warning for warning in right if "contradicts" in warning]


def test_label_maps_beside_another_condition_are_counted(parts: DataSettings):
    settings = replace(parts, condition_column=None, labels_column="label", label_classes=3)
    report = check_data(settings, EdgeCondition())
    assert report.labels["label 1"] == (pytest.approx(0.25), 6)
    few = check_data(replace(settings, label_classes=2), EdgeCondition())
    assert len(few.broken) == 6 and "label_classes" in few.broken[0][1]


@pytest.mark.parametrize("streaming", [False, True])
def test_a_part_of_the_rows_and_a_stream_are_read(scenes: DataSettings, streaming: bool):
    report = check_data(replace(scenes, streaming=streaming), SCENE, limit=5)
    assert report.rows == 5
    assert check_data(replace(scenes, streaming=streaming), SCENE).rows == COUNT


def test_drawn_poses_are_checked_too(tmp_path: Path):
    settings = DataSettings(condition_column="condition", image_size=64, load_size=64)
    report = check_data(settings, PoseCondition(), tmp_path / "sheet.png", limit=3)
    assert report.rows == 3 and not report.broken and report.sheet is not None
