"""What all conditions share: configurations, encoded tensors, the loading of pictures."""

from __future__ import annotations

import ast
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from cocosnet_hf.conditions import (
    CONDITIONS,
    AttributesCondition,
    Condition,
    DomainCondition,
    EdgeCondition,
    MaskCondition,
    PartEdgeCondition,
    PictureCondition,
    PoseCondition,
    condition_from_config,
    open_image,
    open_photo,
)
from cocosnet_hf.synthetic import SyntheticExamples
from tests.support import tiny
from tests.support.paths import REPOSITORY

EXAMPLES = {
    "attributes": AttributesCondition(("sun", "house")),
    "domain": DomainCondition(("dawn", "day", "night")),
    "ade20k": MaskCondition.ade20k(),
    "celebahq": MaskCondition.celebahq(),
    "celebamask": MaskCondition.celebahq("celebamask"),
    "names": MaskCondition.from_names(["a", "b"], unknown=1, values={7: 0, 9: 1}),
    "edge": EdgeCondition(sigma=2.0, low=0.05, high=0.3),
    "celebahq-edge": PartEdgeCondition(),
    "picture": PictureCondition(),
    "pose": PoseCondition(min_score=0.3),
}


def leaves(config: Any) -> list[Any]:
    if isinstance(config, dict):
        assert all(isinstance(key, str) for key in config)
        return [leaf for value in config.values() for leaf in leaves(value)]
    return [config]


@pytest.mark.parametrize("condition", EXAMPLES.values(), ids=EXAMPLES)
def test_a_configuration_rebuilds_the_condition_through_json(condition: Condition):
    config = condition.to_config()
    assert condition_from_config(config) == condition
    assert json.loads(json.dumps(config)) == config
    assert condition_from_config(json.loads(json.dumps(config))).to_config() == config


@pytest.mark.parametrize("condition", EXAMPLES.values(), ids=EXAMPLES)
def test_a_configuration_holds_plain_values_and_no_lists(condition: Condition):
    allowed = (str, int, float, bool, type(None))
    assert all(isinstance(leaf, allowed) for leaf in leaves(condition.to_config()))


@given(
    names=st.lists(st.text(min_size=1), min_size=2, max_size=12, unique=True),
    value=st.integers(0, 70000),
    snap=st.booleans(),
)
def test_any_mask_condition_survives_json(names: list[str], value: int, snap: bool):
    condition = MaskCondition.from_names(names, values={value: 1}, snap_colors=snap)
    assert condition_from_config(json.loads(json.dumps(condition.to_config()))) == condition


def test_settings_that_are_left_out_take_their_defaults():
    assert condition_from_config({"type": "edge"}) == EdgeCondition()


def test_a_whole_number_will_do_for_a_fraction():
    assert condition_from_config({"type": "edge", "sigma": 2}) == EdgeCondition(sigma=2.0)


@pytest.mark.parametrize(
    ("config", "condition"),
    [
        ({"type": "edge", "sigma": "1e-1"}, EdgeCondition(sigma=0.1)),  # as YAML reads 1e-1
        ({"type": "edge", "guided": 1}, EdgeCondition(guided=True)),
        (
            {"type": "mask", "classes": ["a", "b"], "values": {7: 1.0}, "unknown": 1.0},
            MaskCondition(("a", "b"), values={7: 1}, unknown=1),
        ),
        ({"type": "mask", "classes": {1: "b", 0: "a"}}, MaskCondition(("a", "b"))),
    ],
    ids=["fraction", "truth", "lists", "numbered"],
)
def test_a_configuration_is_read_as_recipes_and_files_write_it(
    config: dict[str, Any], condition: Condition
):
    assert condition_from_config(config) == condition


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("edge", "must be a dict .*, got 'edge'"),
        ({}, r"must be one of \['attributes', 'celebahq-edge', 'domain', .* 'pose'\], got None"),
        ({"type": "depth"}, "got 'depth'"),
        (
            {"type": "edge", "sgima": 1.0},
            r"condition\.sgima; did you mean condition\.sigma\? "
            r"Known are sigma, low, high, reach, guided\.$",
        ),
        ({"type": "edge", "sigma": "one"}, "sigma must be float, got 'one'"),
        ({"type": "edge", "sigma": True}, "sigma must be float, got True"),
        ({"type": "edge", "guided": 2}, "guided must be bool, got 2"),
        ({"type": "mask"}, r"condition\.classes is missing"),
        ({"type": "mask", "classes": "ab"}, "classes must be a list"),
        ({"type": "mask", "classes": {"0": "a", "2": "b"}}, "without gaps"),
        ({"type": "mask", "classes": {"0": "a", "1": 2}}, "must be str, got 2"),
        ({"type": "mask", "classes": {"0": "a", "1": "b"}, "values": {"x": 1}}, "whole numbers"),
        ({"type": "mask", "classes": {"0": "a", "1": "b"}, "values": 3}, "values must be a group"),
        ({"type": "mask", "classes": {"0": "a", "1": "b"}, "unknown": "a"}, "must be int"),
    ],
)
def test_a_wrong_configuration_is_refused_with_what_is_known(config: Any, message: str):
    with pytest.raises(ValueError, match=message):
        condition_from_config(config)


def test_a_condition_refuses_the_configuration_of_another():
    with pytest.raises(ValueError, match="reads the type 'pose', got 'edge'"):
        PoseCondition.from_config({"type": "edge"})


def test_every_example_type_is_registered():
    assert {condition.type for condition in EXAMPLES.values()} == set(CONDITIONS)


@pytest.mark.parametrize("condition", EXAMPLES.values(), ids=EXAMPLES)
def test_encoded_conditions_are_accepted_alone_and_in_batches(condition: Condition):
    condition.validate_encoded(torch.rand(condition.channels, 8, 16))
    condition.validate_encoded(torch.rand(2, condition.channels, 8, 16))


@pytest.mark.parametrize("condition", EXAMPLES.values(), ids=EXAMPLES)
def test_tensors_that_are_no_encoded_condition_are_refused(condition: Condition):
    channels = condition.channels
    with pytest.raises(ValueError, match=rf"\({channels}, H, W\).*got \({channels + 1}, 8, 8\)"):
        condition.validate_encoded(torch.rand(channels + 1, 8, 8))
    with pytest.raises(ValueError, match="got"):
        condition.validate_encoded(torch.rand(8, 8))
    with pytest.raises(ValueError, match="NaN or infinite"):
        condition.validate_encoded(torch.full((channels, 8, 8), torch.nan))


@pytest.mark.parametrize("condition", EXAMPLES.values(), ids=EXAMPLES)
def test_a_soft_tensor_beyond_the_range_can_be_previewed(condition: Condition):
    tensor = torch.randn(condition.channels, 16, 24, dtype=torch.float16, requires_grad=True) * 3
    picture = condition.preview(tensor)
    assert (picture.mode, picture.size) == ("RGB", (24, 16))


@pytest.mark.parametrize("condition", EXAMPLES.values(), ids=EXAMPLES)
def test_a_batch_is_not_previewed_as_one(condition: Condition):
    with pytest.raises(ValueError, match="at a time, got 4-D"):
        condition.preview(torch.rand(2, condition.channels, 16, 24))


# Nobody else asks which condition it is ------------------------------------------------------

CLASSES = {condition.__name__ for condition in CONDITIONS.values()}


def questions_of_type(source: str) -> list[str]:
    """Where a source asks for a class of condition, or looks something up by it or its name."""
    found = []
    for node in ast.walk(ast.parse(source)):
        asked: list[ast.AST] = []
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
            asked = node.args[1:]
        elif isinstance(node, ast.Compare):
            asked = [node.left, *node.comparators]
        elif isinstance(node, ast.Dict):
            asked = [key for key in node.keys if key is not None]
        elif isinstance(node, ast.MatchClass):
            asked = [node.cls]
        named = {ast.unparse(part) for one in asked for part in ast.walk(one)}
        classes = {name.rpartition(".")[2] for name in named} & CLASSES
        by_type = any(name.endswith("condition.type") for name in named) and any(
            isinstance(one, ast.Constant) for one in asked
        )
        if classes or by_type:
            found.append(f"{node.lineno}: {ast.unparse(node)[:80]}")
    return found


@pytest.mark.parametrize("root", ["cocosnet_hf", "train", "demo", "tools"])
def test_what_depends_on_the_type_of_a_condition_is_asked_of_the_condition(root: str):
    found = {
        str(path.relative_to(REPOSITORY)): questions
        for path in sorted((REPOSITORY / root).rglob("*.py"))
        if (REPOSITORY / "cocosnet_hf/conditions") not in path.parents
        and (questions := questions_of_type(path.read_text()))
    }
    assert found == {}


@pytest.mark.parametrize(
    "source",
    [
        "isinstance(condition, MaskCondition)",
        "isinstance(pipe.condition, (conditions.EdgeCondition, PoseCondition))",
        "issubclass(kind, EdgeCondition)",
        "type(condition) is PoseCondition",
        "{MaskCondition: 1}[type(condition)]",
        "self.condition.type == 'pose'",
        "match condition:\n    case MaskCondition(): pass",
    ],
)
def test_a_question_for_the_type_is_found(source: str):
    assert len(questions_of_type(source)) == 1


@pytest.mark.parametrize(
    "source", ["isinstance(config, Condition)", "condition.labelled", "MaskCondition(classes)"]
)
def test_other_uses_of_conditions_are_no_questions(source: str):
    assert questions_of_type(source) == []


# Sources ---------------------------------------------------------------------------------------

DRAWN = ["mask", "edge", "pose"]


def drawn(kind: str) -> tuple[Condition, Any]:
    """A condition of this kind and a source of it."""
    examples = SyntheticExamples(kind, 48)
    return examples.condition, examples[0]["condition"]


@pytest.mark.parametrize("kind", DRAWN)
def test_a_source_is_opened_once_for_its_size_and_its_encoding(kind: str):
    condition, source = drawn(kind)
    opened = condition.open(source)
    assert condition.open(opened) is opened
    assert condition.natural_size(opened) == opened.size == condition.natural_size(source)
    assert torch.equal(condition.encode(opened, 32, 40), condition.encode(source, 32, 40))


@pytest.mark.parametrize("kind", DRAWN)
def test_what_is_packed_and_unpacked_is_what_is_encoded(kind: str):
    condition, source = drawn(kind)
    packed = torch.stack([condition.pack(source, 32, 40)] * 2)
    assert torch.equal(condition.unpack(packed)[1], condition.encode(source, 32, 40))


@pytest.mark.parametrize("kind", ["mask", "pose"])
def test_what_is_stored_is_opened_again(kind: str, tmp_path: Path):
    condition, source = drawn(kind)
    path = tmp_path / f"stored{condition.stored_as}"
    condition.store(source, path, 48, 48)
    difference = condition.encode(path, 48, 48) - condition.encode(source, 48, 48)
    assert difference.abs().mean() < 1e-3


@pytest.mark.parametrize("kind", ["mask", "edge"])
def test_a_call_decodes_each_file_once(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    condition, source = drawn(kind)
    for name in ("condition", "exemplar"):
        source.save(tmp_path / f"{name}.png")
    opened, decode = [], Image.open
    monkeypatch.setattr(Image, "open", lambda path: opened.append(path) or decode(path))
    paths = [tmp_path / "condition.png", tmp_path / "exemplar.png"]
    own = [] if condition.needs_only_photo else [source]
    tiny.pipeline(condition)(*paths, *own)
    assert opened == paths


def test_only_edges_are_jittered():
    rng = np.random.default_rng(0)
    assert PoseCondition().jittered(rng, 0.3) == PoseCondition()
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state
    assert EdgeCondition().jittered(rng, 0.3) != EdgeCondition()


# Pictures --------------------------------------------------------------------------------------

RGB = np.random.default_rng(0).integers(0, 256, (12, 10, 3)).astype(np.uint8)
GREY = RGB[:, :, 0]


@pytest.mark.parametrize(
    "source",
    [
        Image.fromarray(RGB),
        RGB,
        RGB / 255,
        torch.from_numpy(RGB).permute(2, 0, 1),
        torch.from_numpy(RGB).permute(2, 0, 1) / 255,
        RGB.astype(np.uint16) * 257,
    ],
    ids=["picture", "array", "float array", "tensor", "float tensor", "16-bit array"],
)
def test_every_kind_of_photo_opens_to_the_same_colours(source):
    assert np.array_equal(np.asarray(open_photo(source)), RGB)


@pytest.mark.parametrize(
    "source",
    [
        Image.fromarray(GREY),
        Image.fromarray(GREY.astype(np.uint16) * 257),
        Image.fromarray(GREY.astype(np.int32) * 257),
        Image.fromarray(GREY.astype(np.float32) / 255),
        GREY,
        GREY[:, :, None],
        torch.from_numpy(GREY)[None],
    ],
    ids=["L", "I;16", "I", "F", "array", "array (H, W, 1)", "tensor (1, H, W)"],
)
def test_a_grey_photo_becomes_three_equal_channels(source):
    assert np.array_equal(np.asarray(open_photo(source)), np.stack([GREY] * 3, axis=-1))


def test_palette_and_cmyk_photos_become_rgb():
    palette = Image.fromarray(RGB).quantize(256)
    assert open_photo(palette).tobytes() == palette.convert("RGB").tobytes()
    assert open_photo(Image.new("CMYK", (8, 8), (0, 255, 255, 0))).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(mode: str):
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0)).convert(mode)
    assert open_photo(clear).getpixel((3, 3)) == (255, 255, 255)
    half = Image.new("RGBA", (8, 8), (0, 0, 0, 128)).convert(mode)
    assert open_photo(half).getpixel((3, 3)) == (127, 127, 127)


def test_a_transparent_palette_colour_is_laid_on_white(tmp_path: Path):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([9, 9, 9, 200, 0, 0])
    image.save(tmp_path / "clear.png", transparency=1)
    assert open_photo(tmp_path / "clear.png").getpixel((0, 0)) == (255, 255, 255)


def test_a_turned_photo_is_set_upright(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RGB).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(np.asarray(open_photo(tmp_path / "turned.png")), np.rot90(RGB, -1))


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tiff"])
def test_a_truncated_file_is_refused_with_its_name(tmp_path: Path, suffix: str):
    path = tmp_path / f"cut.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match=f"cut.{suffix}' is damaged"):
        open_photo(path)
    with pytest.raises(ValueError, match=f"cut.{suffix}"):
        open_photo(Image.open(path) if suffix != "webp" else path)


def test_a_file_that_is_no_image_is_refused_with_its_name(tmp_path: Path):
    (tmp_path / "notes.png").write_text("not a picture")
    with pytest.raises(ValueError, match="notes.png' is not an image"):
        open_photo(tmp_path / "notes.png")


def test_an_empty_file_is_refused(tmp_path: Path):
    (tmp_path / "empty.png").touch()
    with pytest.raises(ValueError, match="empty.png' is not an image"):
        open_photo(tmp_path / "empty.png")


def test_a_missing_file_stays_a_missing_file(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="nowhere.png"):
        open_photo(tmp_path / "nowhere.png")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # before the error
@pytest.mark.parametrize("limit", [200, 100])
def test_pillows_size_limit_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int):
    Image.new("L", (20, 20)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)  # a warning above it, an error above 2x
    with pytest.raises(
        ValueError, match=f"bomb.png' has more pixels than Pillow's limit of {limit}"
    ):
        open_image(tmp_path / "bomb.png")


def test_opening_a_picture_leaves_the_warnings_of_other_threads_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (20, 20)).save(tmp_path / "picture.png", exif=exif)
    before, during = list(warnings.filters), []

    def exif_transpose(image: Image.Image) -> Image.Image:
        during.append(list(warnings.filters))
        return image

    monkeypatch.setattr(ImageOps, "exif_transpose", exif_transpose)
    open_image(tmp_path / "picture.png")
    assert during == [before]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Image.new("RGB", (1, 1)), "The photo is 1 x 1 pixels; at least 8 x 8"),
        (Image.new("RGB", (100, 7)), "The photo is 7 x 100 pixels"),
        (Image.new("RGB", (0, 0)), "The photo is 0 x 0 pixels"),
        (np.zeros((0, 9, 3), np.uint8), "The photo is 0 x 9 pixels"),
        (np.full((9, 9, 3), np.nan), "NaN or infinite"),
        (torch.full((3, 9, 9), torch.inf), "NaN or infinite"),
        (np.full((9, 9, 3), 200.0), "divide 0..255 by 255"),
        (torch.full((3, 9, 9), -1.0), r"\(x \+ 1\) / 2"),
        (torch.zeros(9, 9, 3), r"\(\[1\|3\|4,\] H, W\), got \(9, 9, 3\)"),
        (np.zeros((9, 9, 5), np.uint8), r"\(H, W\[, 1\|3\|4\]\), got \(9, 9, 5\)"),
        (np.zeros((9, 9), np.int64), "uint8, uint16 or floating, got int64"),
        (None, "got NoneType"),
    ],
)
def test_an_unusable_photo_is_refused_with_the_reason(source, message: str):
    with pytest.raises(ValueError, match=message):
        open_photo(source)
