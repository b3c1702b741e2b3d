"""MaskCondition: index maps, colours and soft masks to one channel per class."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional as F

from cocosnet_hf.conditions import MaskCondition
from cocosnet_hf.conditions.faces import CELEBAMASK_FACE_CLASSES, OFFICIAL_FACE_CLASSES
from cocosnet_hf.conditions.label_maps import distinct_colors
from cocosnet_hf.pictures import enlarged_labels
from tests.support.pictures import whole_picture
from tests.support.segmenter import save_segmenter

LABELS = np.arange(80).reshape(8, 10) % 3
SHAPES = MaskCondition.from_names(
    ["ground", "disk", "square"], colors=("#000000", "#ff0000", "#0000ff")
)


def one_hot(labels: np.ndarray, classes: int = 3) -> torch.Tensor:
    return F.one_hot(torch.tensor(labels).long(), classes).permute(2, 0, 1).float()


def paletted(labels: np.ndarray) -> Image.Image:
    image = Image.fromarray(labels.astype(np.uint8))
    image.putpalette([200, 10, 10, 3, 3, 3, 90, 90, 250])
    return image


def colored(labels: np.ndarray) -> Image.Image:
    return Image.fromarray(SHAPES.palette[labels])


SOURCES = {
    "L picture": Image.fromarray(LABELS.astype(np.uint8)),
    "palette picture": paletted(LABELS),
    "I picture": Image.fromarray(LABELS.astype(np.int32)),
    "16-bit picture": Image.fromarray(LABELS.astype(np.uint16)),
    "integer array": LABELS,
    "uint8 array (1, H, W)": LABELS[None].astype(np.uint8),
    "integer tensor": torch.from_numpy(LABELS),
    "integer tensor (1, H, W)": torch.from_numpy(LABELS)[None],
    "colour picture": colored(LABELS),
    "opaque RGBA picture": colored(LABELS).convert("RGBA"),
    "colour array": np.asarray(colored(LABELS)),
    "one-hot tensor": one_hot(LABELS),
    "one-hot bool array": one_hot(LABELS).bool().numpy(),
    "soft half-precision tensor": one_hot(LABELS).bfloat16(),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_every_kind_of_mask_gives_the_same_one_hot_tensor(source):
    encoded = SHAPES.encode(source, 8, 10)
    assert encoded.dtype == torch.float32
    assert torch.equal(encoded, one_hot(LABELS))


def test_equal_conditions_are_one_in_a_set():
    one, other = (MaskCondition(classes=("a", "b"), values={3: 0, 7: 1}) for _ in range(2))
    assert one == other
    assert len({one, other, MaskCondition(classes=("a", "b"), values={3: 1, 7: 0})}) == 2


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_the_natural_size_is_height_and_width(source):
    assert SHAPES.natural_size(source) == (8, 10)


@pytest.mark.parametrize("as_type", [str, Path])
def test_a_mask_is_read_from_a_path(tmp_path: Path, as_type: type):
    paletted(LABELS).save(tmp_path / "mask.png")
    source = as_type(tmp_path / "mask.png")
    assert torch.equal(SHAPES.encode(source, 8, 10), one_hot(LABELS))


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_a_mask_is_resized_to_the_nearest_pixel_as_pillow_does(source):
    picture = Image.fromarray(LABELS.astype(np.uint8)).resize((23, 17), Image.Resampling.NEAREST)
    assert torch.equal(SHAPES.encode(source, 17, 23), one_hot(np.asarray(picture)))


def test_an_exif_rotation_is_applied(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to view
    Image.fromarray(LABELS.astype(np.uint8)).save(tmp_path / "turned.png", exif=exif)
    turned = np.rot90(LABELS, -1).copy()
    assert SHAPES.natural_size(tmp_path / "turned.png") == (10, 8)
    assert torch.equal(SHAPES.encode(tmp_path / "turned.png", 10, 8), one_hot(turned))


@given(st.lists(st.integers(0, 2), min_size=64, max_size=64))
def test_the_preview_of_a_mask_encodes_to_the_same_mask(labels: list[int]):
    encoded = SHAPES.encode(np.array(labels).reshape(8, 8), 8, 8)
    assert torch.equal(SHAPES.encode(SHAPES.preview(encoded), 8, 8), encoded)


def test_the_preview_of_a_soft_mask_shows_the_strongest_class():
    soft = torch.tensor([0.2, 0.7, 0.5])[:, None, None].expand(3, 8, 8)
    assert SHAPES.preview(soft).getpixel((4, 4)) == (255, 0, 0)


def test_a_soft_mask_keeps_its_values():
    soft = torch.rand(3, 8, 8)
    assert torch.equal(SHAPES.encode(soft, 8, 8), soft)


def test_labels_outside_the_classes_are_named_with_the_remedy():
    labels = LABELS.copy()
    labels[0, :2] = [7, 255]
    with pytest.raises(ValueError, match=r"labels \[7, 255\].*0\.\.2 \(3 classes\).*values="):
        SHAPES.encode(labels, 8, 10)


def test_negative_labels_are_refused():
    with pytest.raises(ValueError, match=r"labels \[-1\]"):
        SHAPES.encode(LABELS - 1, 8, 10)


def test_a_declared_value_is_read_as_its_class():
    ignoring = MaskCondition.from_names(["ground", "disk", "square"], values={255: 0})
    labels = np.where(LABELS == 0, 255, LABELS)
    assert torch.equal(ignoring.encode(labels, 8, 10), one_hot(LABELS))


def test_unknown_colours_are_named_and_counted():
    picture = colored(LABELS)
    picture.putpixel((0, 0), (1, 2, 3))
    message = r"1 colours of no class: #010203 \(1 pixels\).*snap_colors"
    with pytest.raises(ValueError, match=message):
        SHAPES.encode(picture, 8, 10)


def test_snapping_repairs_jpeg_colours(tmp_path: Path):
    blocks = np.kron(LABELS, np.ones((16, 16), int))
    colored(blocks).save(tmp_path / "mask.jpg", quality=90, subsampling=0)
    with pytest.raises(ValueError, match="colours of no class"):
        SHAPES.encode(tmp_path / "mask.jpg", 128, 160)
    snapping = MaskCondition.from_names(SHAPES.classes, colors=SHAPES.colors, snap_colors=True)
    encoded = snapping.encode(tmp_path / "mask.jpg", 128, 160)
    assert (encoded == one_hot(blocks)).float().mean() > 0.999


READ_BY_COLOUR = "palette has the colours of classes .* the colours were read"


@pytest.mark.parametrize("tool", ["quantize", "convert"])
def test_an_indexed_copy_of_a_colour_coded_mask_is_read_by_its_colours(tool: str, tmp_path: Path):
    picture = colored(LABELS)
    adaptive = {"palette": Image.Palette.ADAPTIVE, "colors": 3}
    copy = picture.quantize(3) if tool == "quantize" else picture.convert("P", **adaptive)
    copy.save(tmp_path / "mask.png")
    assert np.unique(np.asarray(whole_picture(tmp_path / "mask.png"))).tolist() == [0, 1, 2]
    with pytest.warns(UserWarning, match=READ_BY_COLOUR):
        assert torch.equal(SHAPES.encode(tmp_path / "mask.png", 8, 10), one_hot(LABELS))


@pytest.mark.parametrize("label", [1, 2])
def test_an_indexed_copy_of_one_class_is_read_by_its_colour(label: int):
    copy = colored(np.full((8, 10), label)).quantize(1)
    assert np.asarray(copy).max() == 0
    with pytest.warns(UserWarning, match=READ_BY_COLOUR):
        assert SHAPES.encode(copy, 8, 10)[label].all()


@pytest.mark.filterwarnings("ignore:.*the colours were read")
def test_what_is_transparent_in_an_indexed_copy_is_unknown():
    copy = Image.fromarray((2 - LABELS).astype(np.uint8))
    copy.putpalette([*SHAPES.palette[::-1].ravel().tolist(), 1, 2, 3])
    copy.putpixel((4, 2), 3)
    copy.info["transparency"] = 3
    with pytest.raises(ValueError, match="1 transparent pixels.*unknown"):
        SHAPES.encode(copy, 8, 10)
    knowing = MaskCondition.from_names(SHAPES.classes, colors=SHAPES.colors, unknown=2)
    labels = LABELS.copy()
    labels[2, 4] = 2
    assert torch.equal(knowing.encode(copy, 8, 10), one_hot(labels))


def test_a_palette_of_zeros_leaves_the_indices_as_they_are():
    shapes = MaskCondition(("ground", "disk", "square"), colors=("#0000ff", "#ff0000", "#000000"))
    picture = Image.fromarray(np.ones((8, 10), np.uint8))
    picture.putpalette([0] * 9)
    assert shapes.encode(picture, 8, 10)[1].all()


def test_a_palette_of_other_colours_leaves_the_indices_as_they_are():
    picture = Image.fromarray(LABELS.astype(np.uint8))
    picture.putpalette([1, 2, 3, 4, 5, 6, 7, 8, 9])
    assert torch.equal(SHAPES.encode(picture, 8, 10), one_hot(LABELS))


def test_transparent_pixels_are_the_unknown_class():
    picture = colored(LABELS).convert("RGBA")
    picture.putpixel((4, 2), (12, 34, 56, 0))
    with pytest.raises(ValueError, match="1 transparent pixels.*unknown"):
        SHAPES.encode(picture, 8, 10)
    knowing = MaskCondition.from_names(SHAPES.classes, colors=SHAPES.colors, unknown=2)
    labels = LABELS.copy()
    labels[2, 4] = 2
    assert torch.equal(knowing.encode(picture, 8, 10), one_hot(labels))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (LABELS / 255, "must hold integers.*ToTensor"),
        (np.where(LABELS == 0, np.nan, 1.0), "NaN"),
        (torch.full((3, 8, 8), torch.nan), "NaN"),
        (torch.full((3, 8, 8), torch.inf), "infinite"),
        (torch.full((3, 8, 8), 4.0), "softmax"),
        (torch.zeros(4, 8, 10), r"got shape \(4, 8, 10\)"),
        (LABELS[:1, :1], "1 x 1 pixels; at least 8 x 8"),
        (Image.new("L", (1, 1)), "1 x 1 pixels; at least 8 x 8"),
        (Image.new("CMYK", (9, 9)), "got mode CMYK"),
        ({"labels": LABELS, "hat": LABELS}, r"has the keys \['labels'\]"),
        (7, "got int"),
    ],
)
def test_an_unusable_mask_is_refused_with_the_reason(source, message: str):
    with pytest.raises(ValueError, match=message):
        SHAPES.encode(source, 8, 8)


def test_an_array_that_is_no_mask_has_no_natural_size():
    with pytest.raises(ValueError, match="A mask array must be"):
        SHAPES.natural_size(np.zeros(9))


def test_ade20k_has_an_unknown_channel_and_150_classes():
    ade = MaskCondition.ade20k()
    assert ade.channels == 151
    assert (ade.classes[0], ade.classes[1], ade.classes[150]) == ("unknown", "wall", "flag")
    labels = np.tile(np.array([0, 1, 150, 255], np.uint8), (8, 2))
    assert ade.encode(labels, 8, 8).argmax(0)[0].tolist() == [0, 1, 150, 150] * 2


def test_ade20k_reads_the_published_colour_map():
    rgb = np.full((8, 8, 3), (6, 230, 230), np.uint8)  # sky
    rgb[0] = (140, 140, 140)  # road
    labels = MaskCondition.ade20k().encode(rgb, 8, 8).argmax(0)
    names = [MaskCondition.ade20k().classes[index] for index in labels[:2, 0]]
    assert names == ["road", "sky"]


# The order mapping of the data set's label maps to the official channels; glasses (3) apart.
CELEBAMASK_TO_OFFICIAL = {
    0: 0, 1: 1, 2: 9, 4: 5, 5: 6, 6: 3, 7: 4, 8: 7, 9: 8, 10: 11, 11: 10, 12: 12, 13: 2, 14: 15,
    15: 17, 16: 18, 17: 13, 18: 14,
}  # fmt: skip


def test_celebamask_order_lands_in_the_official_channels():
    labels = np.zeros((8, 24), np.uint8)
    labels[:, : len(CELEBAMASK_TO_OFFICIAL)] = list(CELEBAMASK_TO_OFFICIAL)
    encoded = MaskCondition.celebahq("celebamask").encode(labels, 8, 24)
    found = encoded.argmax(0)[0, : len(CELEBAMASK_TO_OFFICIAL)]
    assert found.tolist() == list(CELEBAMASK_TO_OFFICIAL.values())
    assert not encoded[16].any()


def test_glasses_of_a_celebamask_label_map_lie_on_skin():
    encoded = MaskCondition.celebahq("celebamask").encode(np.full((8, 8), 3), 8, 8)
    assert encoded.flatten(1).all(1).nonzero().flatten().tolist() == [1, 16]
    assert encoded.sum() == 2 * 64


def test_the_two_face_orders_hold_the_same_classes():
    assert sorted(CELEBAMASK_FACE_CLASSES) == sorted(OFFICIAL_FACE_CLASSES)


def test_glasses_leave_the_class_beneath_them_set():
    faces = MaskCondition.celebahq()
    labels = np.full((8, 8), 5)
    glasses = np.zeros((8, 8), int)
    glasses[2:4] = 1
    encoded = faces.encode({"labels": labels, "glasses": glasses}, 8, 8)
    assert encoded[5].all()
    assert torch.equal(encoded[16], torch.from_numpy(glasses).float())
    assert torch.equal(faces.encode(np.stack([labels, glasses]), 8, 8), encoded)
    assert torch.equal(faces.encode(torch.from_numpy(np.stack([labels, glasses])), 8, 8), encoded)
    picture = Image.fromarray((glasses * 255).astype(np.uint8))
    assert torch.equal(faces.encode({"labels": labels, "glasses": picture}, 8, 8), encoded)


def test_glasses_may_be_a_picture_in_colour_as_the_data_set_saves_them():
    glasses = Image.new("RGB", (8, 8))
    glasses.paste("white", (0, 2, 8, 4))
    encoded = MaskCondition.celebahq().encode(
        {"labels": np.ones((8, 8), int), "glasses": glasses}, 8, 8
    )
    assert encoded[16].sum() == 16 and encoded[16, 2:4].all()


def test_two_stacked_masks_are_not_taken_for_glasses():
    with pytest.raises(ValueError, match=r"holds 0 and 1 \(or 255\), got \[5\]; several masks are"):
        MaskCondition.celebahq().encode(np.full((2, 8, 8), 5), 8, 8)


def test_face_colours_are_those_of_the_data_set():
    rgb = np.full((8, 8, 3), (76, 153, 0), np.uint8)
    rgb[0] = (0, 0, 204)
    faces = MaskCondition.celebahq()
    labels = faces.encode(rgb, 8, 8).argmax(0)
    assert [faces.classes[index] for index in labels[:2, 0]] == ["hair", "nose"]


def test_glasses_of_another_size_than_the_labels_are_refused():
    source = {"labels": LABELS[:8, :8], "glasses": np.ones((9, 9))}
    with pytest.raises(ValueError, match=r"labels' size \(8, 8\), got \(9, 9\)"):
        MaskCondition.celebahq().encode(source, 8, 8)


def test_labels_hold_all_that_the_encoded_mask_does():
    faces = MaskCondition.celebahq("celebamask")
    maps = np.random.default_rng(0).integers(0, 19, (2, 12, 10))
    labels = torch.stack([faces.labels(item, 24, 20) for item in maps])
    assert labels.dtype == torch.int64
    expected = torch.stack([faces.encode(item, 24, 20) for item in maps])
    assert expected[:, 16].any()
    assert torch.equal(faces.one_hot(labels), expected)
    assert torch.equal(SHAPES.one_hot(torch.from_numpy(LABELS)), one_hot(LABELS))


def test_labels_show_the_glasses_and_hide_what_is_beneath():
    glasses = np.zeros((8, 8), int)
    glasses[2:4] = 1
    labels = MaskCondition.celebahq().labels(
        {"labels": np.full((8, 8), 5), "glasses": glasses}, 8, 8
    )
    assert torch.equal(labels, torch.from_numpy(np.where(glasses, 16, 5)))


def test_a_soft_mask_has_no_labels():
    with pytest.raises(ValueError, match="got shape"):
        SHAPES.labels(np.full((3, 8, 8), 1 / 3), 8, 8)


def test_the_preview_paints_glasses_on_top():
    faces = MaskCondition.celebahq()
    encoded = faces.encode(np.full((8, 8), 16), 8, 8)
    assert faces.preview(encoded).getpixel((0, 0)) == tuple(faces.palette[16])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": ("one",)}, "two or more names"),
        ({"classes": ("a", "a")}, "different names"),
        ({"classes": ("a", "b"), "colors": ("#000000", "#000000")}, "different colours"),
        ({"classes": ("a", "b"), "colors": ("#000000",)}, "2 different colours"),
        ({"classes": ("a", "b"), "colors": ("black", "white")}, "#rrggbb"),
        ({"classes": ("a", "b"), "unknown": 2}, "2 must be a class"),
        ({"classes": ("a", "b"), "values": {255: 9}}, "9 must be a class"),
        ({"classes": ("a", "b"), "overlay": 1}, "go together"),
    ],
)
def test_a_contradictory_mask_condition_is_refused(settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        MaskCondition(**settings)


def test_an_unknown_face_order_is_refused():
    with pytest.raises(ValueError, match="'official' or 'celebamask', got 'mine'"):
        MaskCondition.celebahq("mine")


@pytest.mark.parametrize("count", [2, 19, 300])
def test_generated_colours_are_different_and_stable(count: int):
    assert len(set(distinct_colors(count))) == count
    assert distinct_colors(count)[:2] == distinct_colors(2)


PHOTO = np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8)


def test_a_photo_is_labelled_by_a_transformers_model(tmp_path: Path):
    save_segmenter(tmp_path, ["Square, box", "disk", "ground"])
    source = SHAPES.from_photo(PHOTO, model=str(tmp_path))
    assert source.size == (40, 30)
    assert torch.equal(SHAPES.encode(source, 30, 40).sum(0), torch.ones(30, 40))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_labels_are_enlarged_class_by_class_as_all_at_once(dtype: torch.dtype):
    logits = torch.randn(7, 9, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    enlarged = F.interpolate(logits[None].float(), (50, 33), mode="bilinear")
    assert torch.equal(enlarged_labels(logits, 50, 33), enlarged[0].argmax(0))


def test_glasses_that_a_model_finds_lie_on_skin(tmp_path: Path):
    save_segmenter(tmp_path, ["eye_g", "eye_g"])
    encoded = MaskCondition.celebahq().encode(
        MaskCondition.celebahq().from_photo(PHOTO, str(tmp_path)), 30, 40
    )
    assert encoded[[1, 16]].all()


def test_a_model_of_other_classes_is_refused(tmp_path: Path):
    save_segmenter(tmp_path, ["cat", "dog"])
    with pytest.raises(ValueError, match="none of which is a class"):
        SHAPES.from_photo(PHOTO, str(tmp_path))


def test_a_label_of_no_class_is_unknown_or_an_error(tmp_path: Path):
    save_segmenter(tmp_path, ["cat", "dog", "disk"])
    with pytest.raises(ValueError, match="give the condition an `unknown` class"):
        SHAPES.from_photo(PHOTO, str(tmp_path))
    knowing = MaskCondition.from_names(SHAPES.classes, unknown=0)
    labels = knowing.encode(knowing.from_photo(PHOTO, str(tmp_path)), 30, 40).argmax(0)
    assert set(labels.unique().tolist()) <= {0, 1}


def test_without_a_model_the_condition_says_what_to_pass():
    with pytest.raises(ValueError, match="pass model="):
        SHAPES.from_photo(PHOTO)


def test_without_transformers_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match="pip install -U transformers"):
        SHAPES.from_photo(PHOTO, model="a model that was never loaded")
