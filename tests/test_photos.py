"""Faces are cropped and people cut out as the bundled models know them."""

import json

import numpy as np
import pytest
from PIL import Image, ImageFilter

from cocosnet_hf import MaskCondition
from cocosnet_hf.__main__ import main
from cocosnet_hf.person_reader import NotFoundInPhotoError
from cocosnet_hf.photos import crop_to_face, crop_to_person, cut_out, find_face
from tests.support import tiny
from tests.support.paths import REPOSITORY

GALLERY = REPOSITORY / "demo" / "gallery"
FACE = sorted((GALLERY / "edge-to-face").glob("*.jpg"))[1]


@pytest.fixture(scope="module")
def face() -> Image.Image:
    """A painted face in a corner of a larger picture, 100 pixels wide."""
    scene = Image.new("RGB", (400, 300), (120, 130, 140))
    scene.paste(Image.open(FACE).resize((100, 100)), (260, 40))
    return scene


@pytest.fixture(scope="module")
def person() -> tuple[Image.Image, np.ndarray]:
    """A painted person before coloured clouds, and where they are, (H, W) bool."""
    folder = GALLERY / "mask-to-image"
    condition = MaskCondition.from_config(json.loads((folder / "condition.json").read_text()))
    there = condition.labels(folder / "00.png", 384, 192).numpy() > 0
    noise = np.random.default_rng(0).integers(0, 256, (12, 12, 3)).astype(np.uint8)
    scene = Image.fromarray(noise).resize((420, 420), Image.Resampling.BICUBIC)
    mask = Image.fromarray(there.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(0.7))
    scene.paste(Image.open(folder / "00.jpg"), (120, 20), mask)
    where = np.zeros((420, 420), bool)
    where[20:404, 120:312] = there
    return scene, where


def test_a_face_is_found_in_a_larger_photo_and_cropped_around_its_middle(face: Image.Image):
    box = find_face(face)
    middle = np.array([box.left, box.top]) + box.side / 2
    assert np.hypot(*(middle - (310, 95))) < 12
    crop = crop_to_face(face)
    side = 1.75 * box.side
    assert crop.size == (round(side),) * 2
    left, top = np.round(middle - (0.5 * side, 0.55 * side)).astype(int).tolist()
    expected = face.crop((left, top, left + crop.width, top + crop.height))
    inside = (slice(max(-top, 0), None), slice(0, 400 - left))  # beyond, the border goes on
    assert (np.asarray(crop)[inside] == np.asarray(expected)[inside]).all()


def test_a_crop_beyond_the_photo_goes_on_with_its_border(face: Image.Image):
    crop = np.asarray(crop_to_face(face.crop((272, 62, 348, 136))))
    assert crop.shape[0] == crop.shape[1] > 76
    assert (crop[0] == crop[1]).all()


def test_a_larger_photo_has_its_face_at_the_same_place(face: Image.Image):
    small, large = find_face(face), find_face(face.resize((1600, 1200)))
    assert np.abs(np.array(large) / 4 - np.array(small)).max() < 6


def test_a_photo_without_a_face_is_refused_with_the_remedy():
    with pytest.raises(NotFoundInPhotoError, match="200 x 100 pixels: .* from the front"):
        crop_to_face(Image.new("RGB", (200, 100), "white"))


def test_the_frame_around_a_person_is_that_of_their_picture_on_white(
    person: tuple[Image.Image, np.ndarray],
):
    scene, _ = person
    framed, cut = np.asarray(crop_to_person(scene), int), np.asarray(cut_out(scene), int)
    assert framed.shape == cut.shape
    on_white = (cut == 255).all(2)
    assert 0.4 < on_white.mean() < 0.9
    assert (np.abs(framed - cut).max(2) < 2)[~on_white].mean() > 0.85  # all but the border


def test_a_person_is_cut_out_on_white_twice_as_high_as_wide(
    person: tuple[Image.Image, np.ndarray],
):
    scene, there = person
    cut = np.asarray(cut_out(scene))
    height, width = cut.shape[:2]
    rows = np.flatnonzero(there.any(1))
    assert abs(height - 2 * width) <= 1
    assert height == pytest.approx(1.04 * (rows[-1] - rows[0]), rel=0.1)
    assert (cut[[0, -1]] == 255).all() and (cut[:, [0, -1]] == 255).mean() > 0.9
    assert (cut == 255).all(2).mean() == pytest.approx(1 - there.sum() / (height * width), abs=0.06)


@pytest.mark.parametrize("size", [(120, 200), (200, 120)])
def test_a_photo_of_nobody_is_refused_with_the_remedy(size: tuple[int, int]):
    with pytest.raises(NotFoundInPhotoError, match=f"{size[0]} x {size[1]} .*from head to feet"):
        cut_out(Image.new("RGB", size, (90, 140, 200)))


@pytest.mark.slow
def test_the_command_fits_photo_and_exemplar(face: Image.Image, tmp_path, capsys):
    tiny.pipeline().save_pretrained(tmp_path / "pipeline")
    whole, close = tmp_path / "whole.png", tmp_path / "close.png"
    face.save(whole)
    crop_to_face(face).save(close)
    words = ["--model", str(tmp_path / "pipeline"), "-o"]
    main([str(whole), str(whole), *words, str(tmp_path / "a.png"), "--fit", "face"])
    main([str(close), str(close), *words, str(tmp_path / "b.png")])
    fitted, expected = (Image.open(tmp_path / name) for name in ("a.png", "b.png"))
    assert (np.asarray(fitted) == np.asarray(expected)).all()
    Image.new("RGB", (64, 64)).save(whole)
    with pytest.raises(SystemExit):
        main([str(whole), str(whole), *words, str(tmp_path / "a.png"), "--fit", "face"])
    assert "No face is found" in capsys.readouterr().err
