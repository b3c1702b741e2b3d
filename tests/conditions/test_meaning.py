"""Whether the numbers or the colours of a mask picture are its classes, for what tools write."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFilter

from cocosnet_hf.conditions import MaskCondition

LABELS = np.kron(np.arange(12).reshape(3, 4) % 5, np.ones((12, 16), int)).astype(np.uint8)
PARTS = MaskCondition(
    classes=("background", "hair", "coat", "shoe", "bag"),
    colors=("#f4f1ea", "#6b4226", "#4f8f5f", "#2b2b33", "#ffd23f"),
)
BLACK = dataclasses.replace(PARTS, colors=("#000000", *PARTS.colors[1:]))
KNOWING = dataclasses.replace(PARTS, unknown=0)
SNAPPING = dataclasses.replace(PARTS, snap_colors=True)


def read(source: object, condition: MaskCondition = PARTS) -> np.ndarray:
    height, width = condition.natural_size(source)
    return condition.labels(source, height, width).numpy()


def channels(*planes: np.ndarray | int, mode: str = "RGB") -> Image.Image:
    """A picture of these planes; a number is a constant one."""
    shape = LABELS.shape
    stack = [np.full(shape, plane, np.uint8) if np.isscalar(plane) else plane for plane in planes]
    bands = [Image.fromarray(np.asarray(plane, np.uint8)) for plane in stack]
    return Image.merge(mode, bands)


def paletted(indices: np.ndarray, colors: dict[int, tuple[int, ...] | str]) -> Image.Image:
    image = Image.fromarray(indices.astype(np.uint8))
    palette = np.zeros((256, 3), np.uint8)
    for entry, color in colors.items():
        if isinstance(color, str):
            color = tuple(bytes.fromhex(color.removeprefix("#")))
        palette[entry] = color
    image.putpalette(palette.ravel().tolist())
    return image


ORDER = np.array([3, 0, 4, 1, 2])
"""The entries under which a tool keeps the classes, in its own order."""
IN_TOOLS_ORDER = ORDER[LABELS]


def tools_palette(**changed: str) -> dict[int, str]:
    colors = {int(entry): PARTS.colors[label] for label, entry in enumerate(ORDER)}
    return colors | {int(ORDER[PARTS.classes.index(name)]): c for name, c in changed.items()}


SAID = pytest.mark.filterwarnings("ignore:The mask:UserWarning")
"""Of tests of what is read: what is said of it is the matter of others."""


# Class numbers in other clothes ------------------------------------------------------------------

OTHER_CLOTHES: dict[str, Callable[[], Image.Image]] = {
    "red channel": lambda: channels(LABELS, 0, 0),
    "green channel": lambda: channels(0, LABELS, 0),
    "blue channel": lambda: channels(0, 0, LABELS),
    "equal channels": lambda: channels(LABELS, LABELS, LABELS),
    "red channel beside opaque alpha": lambda: channels(LABELS, 0, 0, 255, mode="RGBA"),
    "equal channels beside opaque alpha": lambda: channels(
        LABELS, LABELS, LABELS, 255, mode="RGBA"
    ),
    "alpha channel of black": lambda: channels(0, 0, 0, LABELS, mode="RGBA"),
    "alpha channel of white": lambda: channels(255, 255, 255, LABELS, mode="RGBA"),
    "alpha channel of grey": lambda: channels(0, LABELS, mode="LA"),
}


@pytest.mark.parametrize("condition", [PARTS, SNAPPING, BLACK], ids=["plain", "snapping", "black"])
@pytest.mark.parametrize("name", OTHER_CLOTHES)
def test_class_numbers_in_any_channel_are_read_and_said(name: str, condition: MaskCondition):
    where = "equal channels" if "equal" in name else " ".join(name.split()[:2])
    with pytest.warns(UserWarning, match=f"its {where} hold.*mode L"):
        assert np.array_equal(read(OTHER_CLOTHES[name](), condition), LABELS)


PLAIN: dict[str, Callable[[], Image.Image]] = {
    "L": lambda: Image.fromarray(LABELS),
    "LA, opaque": lambda: channels(LABELS, 255, mode="LA"),
    "16 bits": lambda: Image.fromarray(LABELS.astype(np.uint16)),
    "32 bits": lambda: Image.fromarray(LABELS.astype(np.int32)),
    "whole fractions": lambda: Image.fromarray(LABELS.astype(np.float32)),
    "P with a palette of its own": lambda: paletted(LABELS, {1: "#800000", 2: "#008000"}),
    "P and opaque alpha": lambda: paletted(LABELS, {1: "#800000"}).convert("PA"),
    "P in the classes' colours": lambda: paletted(LABELS, dict(enumerate(PARTS.colors))),
    "P, all but the background": lambda: paletted(
        LABELS, {0: "#000000"} | dict(list(enumerate(PARTS.colors))[1:])
    ),
}


@pytest.mark.parametrize("name", PLAIN)
def test_what_can_only_be_class_numbers_is_read_without_a_word(
    name: str,
):
    assert np.array_equal(read(PLAIN[name]()), LABELS)  # warnings are errors


def test_a_picture_of_one_bit_holds_the_first_two_classes():
    bits = LABELS % 2
    assert np.array_equal(read(Image.fromarray(bits.astype(bool))), bits)


@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
@pytest.mark.filterwarnings("ignore:The mask has one bit:UserWarning")
def test_black_on_white_is_read_by_its_colours_in_every_mode(mode: str, tmp_path: Path):
    condition = MaskCondition(classes=("ground", "figure"), colors=("#ffffff", "#000000"))
    figure = LABELS % 2
    Image.fromarray(figure == 0).convert(mode).save(tmp_path / "mask.png")
    assert np.array_equal(read(tmp_path / "mask.png", condition), figure)
    declared = dataclasses.replace(condition, values={7: 0, 0: 1, 1: 0})
    assert np.array_equal(read(tmp_path / "mask.png", declared), figure)


def test_one_bit_that_may_be_numbers_or_colours_is_said_to_be_colours():
    condition = MaskCondition(classes=("ground", "figure"), colors=("#ffffff", "#000000"))
    picture = Image.fromarray(LABELS % 2 == 0)
    with pytest.warns(UserWarning, match="one bit for each pixel.*the colours were read"):
        read(picture, condition)
    agreeing = dataclasses.replace(condition, colors=("#000000", "#ffffff"))
    assert np.array_equal(read(picture, agreeing), 1 - LABELS % 2)  # without a word


@SAID
@pytest.mark.parametrize("name", ["red channel", "equal channels"])
def test_class_numbers_are_read_from_files_and_arrays_alike(name: str, tmp_path: Path):
    picture = OTHER_CLOTHES[name]()
    picture.save(tmp_path / "mask.png")
    assert np.array_equal(read(tmp_path / "mask.png"), LABELS)
    assert np.array_equal(read(np.asarray(picture)), LABELS)


@SAID
def test_declared_values_are_read_in_a_channel_too():
    condition = dataclasses.replace(PARTS, values={4: 1, 7: 4, 1: 0, 0: 2})
    values = np.array([1, 4, 0, 3, 7])[LABELS]
    assert np.array_equal(read(channels(values, 0, 0), condition), LABELS)


@pytest.mark.parametrize(
    "picture",
    [
        channels(LABELS + 1, 0, 0),  # 5 is no class
        channels(LABELS * 20, LABELS * 20, LABELS * 20),
        channels(LABELS, LABELS // 2, 0),
        channels(LABELS, 255, 0),
        channels(255 * (LABELS > 2), 255 * (LABELS > 2), 255 * (LABELS > 2)),
        Image.effect_noise((64, 48), 80).convert("RGB"),
    ],
    ids=["outside", "scaled", "two channels", "yellow", "black and white", "noise"],
)
@pytest.mark.parametrize("condition", [PARTS, SNAPPING], ids=["plain", "snapping"])
def test_colours_that_are_neither_classes_nor_numbers_are_refused(
    picture: Image.Image, condition: MaskCondition
):
    with pytest.raises(ValueError, match="colours of no class.*index map"):
        read(picture, condition)


def test_colours_of_classes_that_could_be_numbers_are_said_to_be_colours():
    condition = MaskCondition(classes=("a", "b", "c"), colors=("#020202", "#010101", "#000000"))
    labels = LABELS % 3
    with pytest.warns(UserWarning, match="the colours were read"):
        assert np.array_equal(read(Image.fromarray(condition.palette[labels]), condition), labels)


@SAID
def test_numbers_that_are_near_colours_too_are_refused_where_colours_snap():
    condition = MaskCondition(
        classes=("a", "b", "c", "d"), colors=("#ffffff", "#010101", "#ff0000", "#000000")
    )
    assert np.array_equal(read(channels(*[LABELS % 4] * 3), condition), LABELS % 4)
    snapping = dataclasses.replace(condition, snap_colors=True)
    with pytest.raises(ValueError, match="may be an index map.*mode L"):
        read(channels(*[LABELS % 4] * 3), snapping)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_sixteen_bits_in_each_channel_are_refused_where_they_would_be_lost(
    mode: str, tmp_path: Path
):
    planes = [LABELS.astype(np.uint16)] * 3 + [np.full(LABELS.shape, 65535, np.uint16)]
    cv2.imwrite(str(tmp_path / "deep.png"), np.stack(planes[: len(mode)], -1))
    with pytest.raises(ValueError, match="16 bits in each.*mode L or I;16"):
        read(tmp_path / "deep.png", BLACK)


def test_class_colours_in_sixteen_bits_are_read(tmp_path: Path):
    colors = PARTS.palette[LABELS][..., ::-1].astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / "deep.png"), colors)
    assert np.array_equal(read(tmp_path / "deep.png"), LABELS)


def test_greys_that_are_class_colours_and_no_numbers_are_read_as_colours():
    condition = MaskCondition(classes=("a", "b", "c"), colors=("#000000", "#808080", "#ffffff"))
    grey = np.array([0, 128, 255], np.uint8)[LABELS % 3]
    assert np.array_equal(read(Image.fromarray(grey), condition), LABELS % 3)


def test_fractions_are_no_class_numbers():
    with pytest.raises(ValueError, match="mode F.*whole class numbers"):
        read(Image.fromarray(LABELS.astype(np.float32) / 2))


# Palettes ----------------------------------------------------------------------------------------


def test_the_palette_speaks_if_its_colours_are_those_of_classes():
    with pytest.warns(UserWarning, match="another order than its numbers; the colours were read"):
        assert np.array_equal(read(paletted(IN_TOOLS_ORDER, tools_palette())), LABELS)


@pytest.mark.parametrize("background", ["#000000", "#ffffff", "#123456"])
def test_a_palette_of_other_classes_colours_and_a_strange_one_contradicts_itself(background: str):
    picture = paletted(IN_TOOLS_ORDER, tools_palette(background=background))
    message = f"contradict each other: entry .*{background} is of no class.*mode L"
    with pytest.raises(ValueError, match=message):
        read(picture)
    with pytest.raises(ValueError, match="contradict each other"):
        read(picture, KNOWING)
    with pytest.raises(ValueError, match="contradict each other"):
        read(picture, SNAPPING)


def test_one_class_on_a_strange_background_contradicts_itself_too():
    bag = (LABELS == 4).astype(np.uint8)
    with pytest.raises(ValueError, match="contradict each other"):
        read(paletted(bag, {0: "#000000", 1: PARTS.colors[4]}))


@SAID
def test_a_palette_that_rounds_the_colours_of_classes_is_not_read_by_its_numbers():
    nearly = {entry: f"#{int(c[1:], 16) ^ 0x010101:06x}" for entry, c in tools_palette().items()}
    with pytest.raises(ValueError, match="colours of no class.*snap_colors=True"):
        read(paletted(IN_TOOLS_ORDER, nearly))
    assert np.array_equal(read(paletted(IN_TOOLS_ORDER, nearly), SNAPPING), LABELS)


@SAID
def test_only_entries_that_occur_count():
    palette = tools_palette() | {9: "#00ff00", 200: "#0000ff"}
    assert np.array_equal(read(paletted(IN_TOOLS_ORDER, palette)), LABELS)


def test_a_palette_that_shows_all_in_one_colour_says_nothing():
    picture = paletted(LABELS, dict.fromkeys(range(5), PARTS.colors[2]))
    assert np.array_equal(read(picture), LABELS)


def test_black_as_the_first_of_other_colours_leaves_the_numbers_and_is_said():
    condition = dataclasses.replace(PARTS, colors=(*PARTS.colors[:4], "#000000"))
    voc = {0: "#000000", 1: "#800000", 2: "#008000", 3: "#808000", 4: "#000080"}
    with pytest.warns(UserWarning, match="numbers of the palette's entries were read"):
        assert np.array_equal(read(paletted(LABELS, voc), condition), LABELS)


def test_an_indexed_copy_of_equal_channels_is_not_read_by_its_entries():
    order = np.array([4, 2, 0, 1, 3])
    palette = {int(entry): (label,) * 3 for label, entry in enumerate(order)}
    with pytest.raises(ValueError, match=r"greys that are class numbers.*convert\('L'\)"):
        read(paletted(order[LABELS], palette))


@pytest.mark.parametrize("clear", [0, bytes([0, 255, 255, 255, 255])], ids=["entry", "table"])
def test_transparency_leaves_class_numbers_as_they_are(clear: int | bytes):
    picture = paletted(LABELS, {1: "#800000", 2: "#008000"})
    picture.info["transparency"] = clear
    assert np.array_equal(read(picture), LABELS)
    assert np.array_equal(read(picture, KNOWING), LABELS)


@SAID
def test_a_transparent_entry_among_class_colours_is_unknown():
    picture = paletted(IN_TOOLS_ORDER, tools_palette(background="#123456"))
    picture.info["transparency"] = int(ORDER[0])
    assert np.array_equal(read(picture, KNOWING), LABELS)
    with pytest.raises(ValueError, match="transparent pixels.*unknown"):
        read(picture)


def test_transparency_that_is_no_entry_is_passed_over():
    picture = paletted(LABELS, dict(enumerate(PARTS.colors)))
    picture.info["transparency"] = -1
    assert np.array_equal(read(picture), LABELS)


# Transparency ------------------------------------------------------------------------------------


def test_transparent_pixels_of_grey_numbers_are_unknown():
    hidden = np.where(LABELS == 2, 0, 255)
    expected = np.where(LABELS == 2, 0, LABELS)
    assert np.array_equal(read(channels(LABELS, hidden, mode="LA"), KNOWING), expected)
    with pytest.raises(ValueError, match="transparent pixels.*unknown"):
        read(channels(LABELS, hidden, mode="LA"))


HIDING = paletted(1 + (LABELS > 2), {1: BLACK.colors[1], 2: KNOWING.colors[0]})
HIDING.info["transparency"] = 1
"""Class 0 by its colour beside what is hidden."""


@SAID
@pytest.mark.parametrize(
    "picture",
    [
        channels(*(Image.new("L", LABELS.shape[::-1], level) for level in (244, 241, 234)),
                 255 * (LABELS > 2), mode="RGBA"),
        channels(0, 255 * (LABELS > 2), mode="LA"),
        HIDING,
    ],
    ids=["RGBA", "LA", "P"],
)  # fmt: skip
def test_transparency_that_tells_nothing_of_the_class_beneath_is_mentioned(picture: Image.Image):
    condition = dataclasses.replace(BLACK, unknown=0) if picture.mode == "LA" else KNOWING
    with pytest.warns(UserWarning, match=r"visible in the mask is of class 0 \(background\)"):
        assert not read(picture, condition).any()


def test_a_hole_in_other_classes_is_unknown_without_a_word():
    picture = Image.fromarray(PARTS.palette[LABELS]).convert("RGBA")
    picture.putalpha(Image.fromarray((255 * (LABELS > 2)).astype(np.uint8)))
    assert np.array_equal(read(picture, KNOWING), np.where(LABELS > 2, LABELS, 0))


@pytest.mark.parametrize(
    ("numbers", "step"),
    [
        (LABELS.astype(np.uint16) * 256, 256),
        (LABELS.astype(np.uint16) * 257, 257),
        (LABELS * 50, 50),
        (np.uint8(255) * (LABELS > 2), 255),
    ],
    ids=["upper byte", "both bytes", "made visible", "black and white"],
)
def test_class_numbers_that_were_spread_are_refused_with_the_factor(
    numbers: np.ndarray, step: int, tmp_path: Path
):
    Image.fromarray(numbers).save(tmp_path / "mask.png")
    with pytest.raises(ValueError, match=f"class numbers times {step}, divide"):
        read(tmp_path / "mask.png")
    with pytest.raises(ValueError, match="values=.*or correct the mask.$"):
        read(Image.fromarray(LABELS + 3))  # by no factor


@pytest.mark.parametrize("number", [7, 50, 128])
def test_a_single_strange_number_is_no_times_of_another(number: int):
    with pytest.raises(ValueError, match="or correct the mask.$"):
        read(np.uint8(number) * (LABELS > 2))


def test_a_mask_that_is_transparent_everywhere_is_not_taken_for_unknown():
    picture = Image.fromarray(PARTS.palette[LABELS]).convert("RGBA")
    picture.putalpha(0)
    with pytest.raises(ValueError, match="Every pixel of the mask is transparent"):
        read(picture, KNOWING)


# Near colours ------------------------------------------------------------------------------------


def large(scale: int = 4) -> np.ndarray:
    return np.kron(LABELS, np.ones((scale, scale), np.uint8))


@pytest.mark.parametrize("quality", [60, 90])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_a_jpeg_of_class_colours_snaps(tmp_path: Path, quality: int, subsampling: int):
    picture = Image.fromarray(PARTS.palette[large()])
    picture.save(tmp_path / "mask.jpg", quality=quality, subsampling=subsampling)
    assert (read(tmp_path / "mask.jpg", SNAPPING) == large()).mean() > 0.98


def test_a_smooth_border_is_of_one_of_its_two_classes():
    condition = MaskCondition(  # the third lies just between the others
        classes=("left", "right", "between"), colors=("#ff0000", "#0000ff", "#800080"),
        snap_colors=True,
    )  # fmt: skip
    labels = np.repeat([[0] * 20 + [1] * 20], 40, 0)
    smooth = Image.fromarray(condition.palette[labels]).filter(ImageFilter.BoxBlur(2))
    found = read(smooth, condition)
    sure = np.ones(40, bool)
    sure[17:23] = False
    assert np.array_equal(found[:, sure], labels[:, sure])


@pytest.mark.parametrize("strange", ["#000000", "#ffffff", "#00ff00", "#8a5fd0"])
def test_an_area_of_a_strange_colour_is_never_snapped(strange: str):
    palette = PARTS.palette.copy()
    palette[2] = tuple(bytes.fromhex(strange[1:]))
    if strange == "#ffffff":
        palette[2] = (255, 255, 0)
        strange = "#ffff00"
    with pytest.raises(ValueError, match=f"{strange} .*near no class colour either"):
        read(Image.fromarray(palette[large()]), SNAPPING)


# A part of the picture means what the whole does --------------------------------------------------


@SAID
def test_a_cut_is_read_as_the_whole_picture():
    whole = PARTS.open(channels(LABELS, LABELS, LABELS))

    class Corner:
        """The first twelve rows and sixteen columns, which are all of class 0."""

        def picture(self, image: Image.Image, _: object = None) -> Image.Image:
            return image.crop((0, 0, 16, 12))

    cut = PARTS.moved(whole, Corner(), Image.new("RGB", (16, 12)))  # type: ignore[arg-type]
    assert (PARTS.labels(cut, 12, 16) == 0).all()
