"""What is ink: on paper of any tone, of any strength, with and without transparency."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter
from scipy.ndimage import binary_dilation

from cocosnet_hf.conditions import EdgeCondition
from cocosnet_hf.conditions.drawings import read_drawing

SIZE = (160, 120)
EDGES = EdgeCondition()


def strokes(width: int = 3) -> np.ndarray:
    image = Image.new("1", SIZE)
    draw = ImageDraw.Draw(image)
    draw.ellipse((30, 20, 110, 100), outline=1, width=width)
    draw.line((10, 110, 150, 12), fill=1, width=width)
    return np.array(image)


INK = strokes()


def drawn(paper: tuple[int, ...], ink: tuple[int, ...], mode: str = "RGB") -> Image.Image:
    pixels = np.where(INK[..., None], np.array(ink), np.array(paper)).astype(np.uint8)
    return Image.fromarray(pixels if pixels.shape[2] > 1 else pixels[..., 0], mode=None).convert(
        mode
    )


def grained(image: Image.Image, amount: float = 3.0, seed: int = 0) -> Image.Image:
    noise = np.random.default_rng(seed).normal(0, amount, (*SIZE[::-1], 1))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


def covers(found: np.ndarray, wanted: np.ndarray = INK) -> bool:
    """Whether nearly all of each lies within two pixels of the other."""
    pairs = ((found, wanted), (wanted, found))
    return all(
        (one & binary_dilation(other, iterations=2)).sum() > 0.95 * one.sum() > 0
        for one, other in pairs
    )


@pytest.mark.parametrize(
    ("paper", "ink"),
    [
        ((255, 255, 255), (190, 190, 190)),
        ((255, 255, 255), (235, 235, 235)),
        ((0, 0, 0), (60, 60, 60)),
        ((0, 0, 0), (20, 20, 20)),
        ((128, 128, 128), (100, 100, 100)),
        ((128, 128, 128), (250, 250, 250)),
        ((60, 60, 60), (30, 30, 30)),
        ((40, 70, 160), (235, 240, 255)),
        ((222, 200, 160), (110, 80, 50)),
        ((250, 230, 120), (120, 200, 250)),
        ((200, 60, 60), (60, 131, 60)),  # as light as its paper, in another colour
    ],
)
def test_ink_of_any_strength_is_found_on_paper_of_any_tone(paper: tuple, ink: tuple):
    found, notes = read_drawing(drawn(paper, ink))
    assert np.array_equal(found, INK) and notes == ()


@pytest.mark.parametrize(
    ("paper", "ink"), [(250, 170), (250, 215), (30, 90), (120, 80), (120, 190)]
)
def test_grain_of_the_paper_is_no_ink(paper: int, ink: int):
    picture = grained(drawn((paper,) * 3, (ink,) * 3))
    assert covers(read_drawing(picture)[0])


@pytest.mark.parametrize("quality", [50, 90])
def test_a_jpeg_of_faint_lines_is_read(tmp_path, quality: int):
    drawn((255, 255, 255), (200, 200, 200)).save(tmp_path / "pencil.jpg", quality=quality)
    assert covers(read_drawing(tmp_path / "pencil.jpg")[0])


def test_soft_lines_are_found_by_half_of_their_strength():
    soft = drawn((0, 0, 0), (240, 240, 240)).filter(ImageFilter.GaussianBlur(2))
    assert np.asarray(soft).max() < 200
    assert covers(read_drawing(soft)[0])


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "F", "CMYK"])
def test_drawings_of_every_mode_are_read(mode: str):
    grey = drawn((255, 255, 255), (0, 0, 0), "L")
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    elif mode == "F":
        picture = Image.fromarray(np.asarray(grey).astype(np.float32) / 255)
    else:
        picture = grey.convert("RGB").convert(mode)
    assert np.array_equal(read_drawing(picture)[0], INK)


def on_transparent(
    color: tuple[int, int, int], alpha: int = 255, mode: str = "RGBA"
) -> Image.Image:
    layer = Image.new("RGBA", SIZE, (*color, 0))
    layer.putalpha(Image.fromarray((INK * alpha).astype(np.uint8)))
    return layer.convert(mode)


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (200, 30, 30)])
@pytest.mark.parametrize("alpha", [255, 120, 40])
def test_strokes_on_a_transparent_ground_are_the_ink(color: tuple, alpha: int):
    assert np.array_equal(read_drawing(on_transparent(color, alpha))[0], INK)


def test_strokes_of_several_colours_on_a_transparent_ground_are_all_ink():
    layer = on_transparent((0, 0, 0))
    pixels = np.array(layer)
    pixels[:, :80, :3] = (250, 220, 0)
    assert np.array_equal(read_drawing(Image.fromarray(pixels))[0], INK)


@pytest.mark.parametrize("mode", ["LA", "P"])
def test_transparency_of_every_mode_is_read(mode: str):
    picture = on_transparent((0, 0, 0), mode="LA")
    if mode == "P":
        picture = Image.fromarray(INK.astype(np.uint8))
        picture.putpalette([0, 0, 0, 0, 0, 0])
        picture.info["transparency"] = 0
    assert np.array_equal(read_drawing(picture)[0], INK)


@pytest.mark.parametrize("margin", [6, 30])
@pytest.mark.parametrize(
    ("paper", "ink"),
    [
        ((255, 255, 255), (0, 0, 0)),
        ((255, 255, 255), (185, 185, 185)),
        ((40, 40, 60), (220, 220, 220)),
    ],
)
def test_ink_on_an_opaque_sheet_with_a_transparent_margin_is_found(
    paper: tuple, ink: tuple, margin: int
):
    sheet = drawn(paper, ink).convert("RGBA")
    whole = Image.new("RGBA", (SIZE[0] + 2 * margin, SIZE[1] + 2 * margin), (0, 0, 0, 0))
    whole.paste(sheet, (margin, margin))
    assert covers(read_drawing(whole)[0], np.pad(INK, margin))


def test_a_round_sheet_has_no_line_along_its_border():
    sheet = drawn((255, 255, 255), (90, 90, 90)).convert("RGBA")
    shape = Image.new("L", SIZE)
    ImageDraw.Draw(shape).ellipse((2, 2, 157, 117), fill=255)
    sheet.putalpha(shape.filter(ImageFilter.GaussianBlur(1)))
    assert covers(read_drawing(sheet)[0], INK & (np.asarray(shape) > 0))


def test_lines_cut_out_of_a_sheet_are_the_ink():
    sheet = Image.new("RGBA", SIZE, "white")
    sheet.putalpha(Image.fromarray((~INK * 255).astype(np.uint8)))
    assert np.array_equal(read_drawing(sheet)[0], INK)


def test_a_wide_brush_on_a_transparent_ground_is_ink():
    wide = strokes(40)
    layer = Image.new("RGBA", SIZE)
    layer.putalpha(Image.fromarray((wide * 255).astype(np.uint8)))
    assert np.array_equal(read_drawing(layer)[0], wide)


def test_transparency_that_is_the_same_everywhere_tells_nothing():
    half = drawn((255, 255, 255), (0, 0, 0)).convert("RGBA")
    half.putalpha(100)
    assert np.array_equal(read_drawing(half)[0], INK)
    half.putalpha(0)
    with pytest.raises(ValueError, match="transparent everywhere"):
        read_drawing(half)


def test_transparency_that_hardly_varies_tells_nothing():
    sheet = drawn((255, 255, 255), (0, 0, 0)).convert("RGBA")
    alpha = np.random.default_rng(0).integers(250, 256, SIZE[::-1])
    sheet.putalpha(Image.fromarray(alpha.astype(np.uint8)))
    found, notes = read_drawing(sheet)
    assert np.array_equal(found, INK) and notes == ()


def test_of_several_pages_the_first_is_read_and_said(tmp_path: Path):
    pages = [drawn((255, 255, 255), ink) for ink in ((0, 0, 0), (200, 0, 0))]
    pages[0].save(tmp_path / "a.tiff", save_all=True, append_images=pages[1:])
    found, notes = read_drawing(tmp_path / "a.tiff")
    assert np.array_equal(found, INK) and [note.kind for note in notes] == ["several"]


def test_an_array_of_paper_instead_of_ink_is_mentioned():
    assert [note.kind for note in read_drawing(~INK)[1]] == ["ink"]
    assert read_drawing(INK)[1] == ()


@pytest.mark.parametrize(
    "blank",
    [
        Image.new("RGB", SIZE, "white"),
        grained(Image.new("RGB", SIZE, (240, 235, 225)), 4),
        grained(Image.new("RGB", SIZE, (20, 20, 20)), 8),
        drawn((255, 255, 255), (250, 250, 250)),
    ],
    ids=["white", "grained", "dark and grained", "next to nothing"],
)
def test_paper_without_a_line_is_refused(blank: Image.Image):
    with pytest.raises(ValueError, match="no line that is clearer than the grain"):
        read_drawing(blank)


def test_a_photo_as_a_drawing_is_mentioned():
    photo = Image.fromarray(np.repeat(np.uint8([[40] * 90 + [220] * 70]), 120, 0))
    with pytest.warns(UserWarning, match="would be ink, which hardly are lines"):
        EDGES.encode({"edges": photo}, 120, 160)


X, Y = np.meshgrid(np.linspace(0, 1, SIZE[0]), np.linspace(0, 1, SIZE[1]))
LIGHT = {
    "from one side": 0.3 + 0.7 * X,
    "a lamp in the middle": 1 - 1.3 * ((X - 0.5) ** 2 + (Y - 0.5) ** 2),
    "a soft shadow": 1 - 0.5 / (1 + np.exp((X - 0.4) * 20)),
    "the shadow of a hand": 1 - 0.5 / (1 + np.exp((X + Y - 0.9) * 80)),
}


@pytest.mark.parametrize("light", LIGHT)
@pytest.mark.parametrize(
    ("paper", "ink"), [((232, 220, 196), (52, 70, 150)), ((70, 70, 70), (240, 240, 240))]
)
def test_lines_are_found_in_uneven_light(light: str, paper: tuple, ink: tuple):
    lit = np.asarray(drawn(paper, ink)) * LIGHT[light][..., None]
    found, _ = read_drawing(grained(Image.fromarray(lit.astype(np.uint8)), 1.5))
    assert covers(found)


def test_a_shadow_on_the_paper_is_mentioned():
    lit = np.asarray(drawn((232, 220, 196), (52, 70, 150))) * LIGHT["a soft shadow"][..., None]
    _, (note,) = read_drawing(Image.fromarray(lit.astype(np.uint8)))
    assert note.kind == "shade" and "not of one tone" in note.text


@pytest.mark.parametrize("beside", [(0, 0, 0), (120, 80, 50)], ids=["scanner", "desk"])
def test_what_lies_beside_the_sheet_is_mentioned(beside: tuple):
    pixels = np.array(drawn((240, 240, 240), (30, 30, 30)))
    pixels[:20], pixels[:, :14] = beside, beside
    found, (note,) = read_drawing(Image.fromarray(pixels))
    assert found[:20].all() and note.kind == "areas" and "Crop off" in note.text


def test_an_area_that_was_filled_stays_whole():
    ink = INK.copy()
    ink[60:110, 20:60] = True
    filled = np.where(ink[..., None], 30, 250).astype(np.uint8).repeat(3, 2)
    found, (note,) = read_drawing(Image.fromarray(filled))
    assert np.array_equal(found, ink) and note.kind == "areas"


@pytest.mark.parametrize("inks", [["black"], ["white"], ["red", "blue", "green", "purple"]])
@pytest.mark.parametrize("width", [20, 26, 40])
def test_bold_strokes_are_ink_from_end_to_end(width: int, inks: list[str]):
    """As wide as what is looked at around them, they are no paper with other lines on it."""
    paper = "black" if inks == ["white"] else "white"
    drawn = Image.new("RGB", (256, 256), paper)
    pen = ImageDraw.Draw(drawn)
    bones = [(128, 80, 128, 170), (60, 110, 196, 110), (128, 170, 80, 240), (128, 170, 176, 240)]
    for number, bone in enumerate(bones):
        pen.line(bone, fill=inks[number % len(inks)], width=width)
    truth = (np.asarray(drawn) != np.asarray(Image.new("RGB", (256, 256), paper))).any(2)
    lines, _ = read_drawing(drawn)
    assert np.array_equal(lines, truth)


def test_chalk_and_charcoal_on_shaded_paper_are_both_ink():
    shade = np.linspace(60, 200, 256).astype(int)[None].repeat(256, 0)
    truth = np.zeros((256, 256), int)
    for row in (40, 80, 120):
        truth[row : row + 3, 20:236] = -42
    for row in (160, 200):
        truth[row : row + 3, 20:236] = 42
    lines, (note,) = read_drawing(Image.fromarray((shade + truth).astype(np.uint8)))
    assert np.array_equal(lines, truth != 0) and note.kind == "shade"
