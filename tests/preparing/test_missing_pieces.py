"""A layout of which a part is missing or wrong says which, and how to go on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cocosnet_hf.prepare import main as prepare_command
from cocosnet_hf.preparing import LayoutError, prepare, recognised
from tests.support.layouts import LAYOUTS, images_and_masks, label_map, photo

pytest.importorskip("datasets")


def removed(*names: str) -> Callable[[Path], None]:
    def remove(root: Path) -> None:
        for name in names:
            shutil.rmtree(root / name)

    return remove


def without_some_masks(root: Path) -> None:
    for path in sorted((root / "masks").glob("*.png"))[:4]:
        path.unlink()


def with_another_part(root: Path) -> None:
    place = root / "CelebAMask-HQ/CelebAMask-HQ-mask-anno/0"
    shutil.copy(place / "00000_skin.png", place / "00000_beard.png")


def with_masks_as_jpeg(root: Path) -> None:
    for path in (root / "masks").glob("*.png"):
        with Image.open(path) as picture:
            picture.save(path.with_suffix(".jpg"))
        path.unlink()


def with_smooth_masks(root: Path) -> None:
    for path in (root / "masks").glob("*.png"):
        photo(path)


def with_few_names(root: Path) -> None:
    (root / "classes.txt").write_text("ground\nhouse\n")


def with_two_kinds_of_masks(root: Path) -> None:
    for path in (root / "masks").glob("*.png"):
        label_map(root / "labels" / path.name, [0, 1])


def with_one_class(root: Path) -> None:
    for path in (root / "masks").glob("*.png"):
        label_map(path, [4])


def with_broken_keypoints(root: Path) -> None:
    path = next((root / "openpose").rglob("*.json"))
    path.write_text('{"shapes": 3}')


WRONG = {
    "no photos of Cityscapes": (
        "Cityscapes",
        removed("leftImg8bit"),
        "not its photos: unpack leftImg8bit_trainvaltest.zip",
    ),
    "no labels of Cityscapes": (
        "Cityscapes",
        removed("gtFine"),
        "no gtFine.*labelIds.png: unpack gtFine_trainvaltest.zip",
    ),
    "no labels of ADE20K": ("ADE20K", removed("annotations"), "no folder annotations.*unpack"),
    "no photos of COCO": (
        "COCO-Stuff",
        removed("train2017", "val2017"),
        "not its photos: unpack train2017.zip",
    ),
    "no photos of faces": (
        "CelebAMask-HQ",
        removed("CelebAMask-HQ/CelebA-HQ-img"),
        "not its photos: unpack CelebA-HQ-img",
    ),
    "a part that is none": ("CelebAMask-HQ", with_another_part, "beard.png is no part file.*Move"),
    "no keypoints of fashion": (
        "DeepFashion, OpenPose",
        removed("openpose"),
        "no keypoints. Run OpenPose.*--condition edge",
    ),
    "broken keypoints": (
        "DeepFashion, OpenPose",
        with_broken_keypoints,
        "name of a photo and holds no keypoints.*repair it",
    ),
    "no keypoints of VITON": (
        "VITON",
        removed("train/openpose_json", "test/openpose_json"),
        "laid out as VITON and has no keypoints.*unpack",
    ),
    "masks missing": (
        "images and masks",
        without_some_masks,
        "4 of 6 photos have no label map of their name: images/0.jpg.*--condition edge",
    ),
    "masks as JPEG": (
        "images and masks",
        with_masks_as_jpeg,
        "lossy file.*export the label maps again as PNG",
    ),
    "masks that are photos": ("images and masks", with_smooth_masks, "colours: these are photos"),
    "too few names": (
        "images and masks",
        with_few_names,
        "names 2 classes, and the label maps hold numbers up to 2: add the missing names",
    ),
    "two kinds of masks": (
        "images and masks",
        with_two_kinds_of_masks,
        "several folders.*labels, masks.*--labels masks",
    ),
    "one class": ("images and masks", with_one_class, "hold the number 4 alone.*two classes"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_missing_is_said_with_the_remedy(case: str, tmp_path: Path):
    layout, spoil, message = WRONG[case]
    root = tmp_path / "data"
    root.mkdir()
    LAYOUTS[layout](root)
    spoil(root)
    with pytest.raises(LayoutError, match=message):
        prepare(root, tmp_path / "out")


def test_the_command_says_it_in_one_line_and_ends_with_an_error(tmp_path: Path):
    with pytest.raises(SystemExit, match="^error: There is no folder .*nowhere.$"):
        prepare_command([str(tmp_path / "nowhere")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match="^error: .*empty holds no photos"):
        prepare_command([str(tmp_path / "empty")])


def test_one_photo_is_too_few(tmp_path: Path):
    photo(tmp_path / "data" / "0.jpg")
    with pytest.raises(LayoutError, match="at least two photos, one of them held out; found 1"):
        prepare(tmp_path / "data", tmp_path / "out")


def test_a_used_folder_is_not_written_into(tmp_path: Path):
    images_and_masks(tmp_path / "data")
    with pytest.raises(LayoutError, match="holds other things already.*-o"):
        prepare(tmp_path / "data", tmp_path / "data")


def test_which_label_maps_are_meant_may_be_said(tmp_path: Path):
    images_and_masks(tmp_path / "data")
    with_two_kinds_of_masks(tmp_path / "data")
    found = recognised(tmp_path / "data", labels="masks")
    assert {item.label.parent.name for item in found.items if item.label} == {"masks"}
    with pytest.raises(LayoutError, match="others holds no pictures"):
        recognised(tmp_path / "data", labels="others")


def test_rows_that_cannot_be_used_are_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    images_and_masks(tmp_path / "data")
    (tmp_path / "data/images/1.jpg").write_bytes(b"no picture")
    label_map(tmp_path / "data/masks/2.png", [0, 1, 2], (200, 80))
    prepare_command([str(tmp_path / "data"), "-o", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "2 rows that cannot be used are left out" in said
    assert "data/images/1.jpg" in said and "another shape" in said
    lines = (tmp_path / "out/train/metadata.jsonl").read_text().splitlines()
    kept = [Path(json.loads(line)["file_name"]).name for line in lines]
    assert kept == ["0.jpg", "3.jpg", "4.jpg"]


@pytest.mark.parametrize(
    ("values", "classes", "mapping"),
    [
        ([0, 255], ("background", "foreground"), {255: 1}),
        ([0, 1, 3], ("class_0", "class_1", "class_2", "class_3"), {}),
        ([10, 100, 200], ("label_10", "label_100", "label_200"), {10: 0, 100: 1, 200: 2}),
        ([0, 1, 255], ("class_0", "class_1", "unlabeled"), {255: 2}),
    ],
)
def test_class_numbers_are_found(
    values: list[int], classes: tuple[str, ...], mapping: dict[int, int], tmp_path: Path
):
    images_and_masks(tmp_path / "data")
    (tmp_path / "data/classes.txt").unlink()
    for path in (tmp_path / "data/masks").glob("*.png"):
        label_map(path, values)
    made = prepare(tmp_path / "data", tmp_path / "out")
    mask = made.plan.mask
    assert mask is not None and mask.classes == classes and mask.values == mapping
    assert not made.left_out


@pytest.mark.parametrize("named", [False, True])
def test_masks_in_colours_and_palettes_keep_their_colours(named: bool, tmp_path: Path):
    images_and_masks(tmp_path / "data")
    (tmp_path / "data/classes.txt").unlink()
    palette = np.array([[0, 0, 0], [200, 30, 30], [30, 200, 30]], np.uint8)
    for path in (tmp_path / "data/masks").glob("*.png"):
        label_map(path, [0, 1, 2])
        with Image.open(path) as picture:
            Image.fromarray(palette[np.asarray(picture)]).save(path)
    if named:
        (tmp_path / "data/class_dict.csv").write_text(
            "name,r,g,b\nground,0,0,0\nhouse,200,30,30\ntree,30,200,30\n"
        )
    mask = prepare(tmp_path / "data", tmp_path / "out").plan.mask
    assert mask is not None and set(mask.colors) == {"#000000", "#c81e1e", "#1ec81e"}
    if named:
        assert mask.classes == ("ground", "house", "tree")
