"""The program that an export leaves reads layouts and photos as the pipeline does, or refuses."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from cocosnet_hf import CoCosPipeline, Condition, EdgeCondition, MaskCondition, PoseCondition
from cocosnet_hf.export import graph_inputs
from tests.support import tiny
from tests.support.painting import CLASSES, labels, photo

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from cocosnet_hf.exporting import runner  # noqa: E402
from cocosnet_hf.exporting.writing import settings_of  # noqa: E402

VOID = MaskCondition(("sky", "tree", "water", "void"), values={255: 3}, unknown=3)
FACES = MaskCondition.celebahq("celebamask")
CONDITIONS = {"plain": CLASSES, "void": VOID, "faces": FACES}


def made(condition: Condition) -> tuple[CoCosPipeline, runner.Painter]:
    """A pipeline, and a painter that knows of it what `model.json` says."""
    pipe = tiny.blending_pipeline(condition)
    painter = object.__new__(runner.Painter)
    painter.settings = settings_of(pipe, "fp32", {})
    return pipe, painter


@pytest.fixture(scope="module", params=CONDITIONS)
def masks(request: pytest.FixtureRequest) -> tuple[CoCosPipeline, runner.Painter]:
    return made(CONDITIONS[request.param])


@pytest.fixture(scope="module")
def edges() -> tuple[CoCosPipeline, runner.Painter]:
    return made(EdgeCondition())


def assert_read_alike(
    both: tuple[CoCosPipeline, runner.Painter],
    picture: Image.Image,
    source: object = None,
    is_photo: bool = False,
) -> None:
    """At the size that is painted and at the one that is matched."""
    pipe, painter = both
    own = pipe.condition.one_hot(torch.zeros(64, 64).long()) if pipe.condition.labelled else None
    expected = graph_inputs(pipe, picture if source is None else source, photo(1, 64, 64), own)
    found = painter.encode(picture, is_photo)
    assert set(found) == {"condition", "matched_condition"}
    for name, each in found.items():
        np.testing.assert_allclose(each, expected[name], atol=1e-6)


def numbers_of(condition: MaskCondition, drawn: np.ndarray) -> np.ndarray:
    """The pixel values that stand for classes (H, W)."""
    table = np.arange(condition.channels)
    for value, label in condition.values.items():
        table[label] = value
    return table[drawn]


def by_palette(condition: MaskCondition, drawn: np.ndarray, turned: int) -> Image.Image:
    """Classes (H, W) by a palette of their colours, whose entries are `turned` on."""
    entries = (np.arange(condition.channels) + turned) % condition.channels
    picture = Image.fromarray(entries[drawn].astype(np.uint8))
    palette = np.zeros((256, 3), np.uint8)
    palette[entries] = condition.palette
    picture.putpalette(palette.flatten().tolist())
    return picture


def in_colors(condition: MaskCondition, drawn: np.ndarray) -> Image.Image:
    return Image.fromarray(condition.palette[drawn])


def with_a_clear_corner(condition: MaskCondition, drawn: np.ndarray) -> Image.Image:
    picture = in_colors(condition, drawn).convert("RGBA")
    picture.paste((1, 2, 3, 0), (0, 0, picture.width // 2, picture.height // 3))
    return picture


def in_one_plane(kind: type, condition: MaskCondition, drawn: np.ndarray) -> Image.Image:
    return Image.fromarray(numbers_of(condition, drawn).astype(kind))


def in_three_planes(condition: MaskCondition, drawn: np.ndarray) -> Image.Image:
    return in_one_plane(np.uint8, condition, drawn).convert("RGB")


FORMS: dict[str, Callable[[MaskCondition, np.ndarray], Image.Image]] = {
    "8 bits": partial(in_one_plane, np.uint8),
    "16 bits": partial(in_one_plane, np.uint16),
    "32 bits": partial(in_one_plane, np.int32),
    "three planes": in_three_planes,
    "colours": in_colors,
    "palette": partial(by_palette, turned=0),
    "turned palette": partial(by_palette, turned=1),
    "transparent": with_a_clear_corner,
}


@pytest.mark.filterwarnings("ignore:.* mask")  # says what was taken where it may mean two things
@pytest.mark.parametrize("form", FORMS)
def test_masks_of_every_size_are_read_and_resized_as_the_pipeline_does(
    form: str, masks: tuple[CoCosPipeline, runner.Painter]
):
    condition = masks[0].condition
    for seed in range(6):
        rng = np.random.default_rng(seed)
        height, width = rng.integers(17, 230, 2)
        drawn = rng.integers(0, condition.channels, (height, width))
        if form == "palette" and condition is not CLASSES:
            drawn = np.minimum(drawn, 2)  # whose numbers are their places
        if form == "transparent" and condition.unknown is None:
            with pytest.raises(ValueError, match="pixels that are transparent"):
                masks[1].encode(FORMS[form](condition, drawn))
            continue
        assert_read_alike(masks, FORMS[form](condition, drawn))


def odd_picture(rng: np.random.Generator, condition: MaskCondition) -> Image.Image:
    """Class colours and numbers, others among them at times, in any mode."""
    drawn = labels(int(rng.integers(99)), 32, 40)
    strange = rng.random() < 0.3
    mode = rng.choice(["1", "L", "LA", "P", "RGB", "RGBA"])
    if mode in ("1", "L"):
        values = rng.choice([0, 1, 2, 255, 9 if strange else 2], 3)
        picture = Image.fromarray(values[drawn].astype(np.uint8))
        return picture if mode == "L" else Image.fromarray(drawn > 1)
    known = np.concatenate([condition.palette, [[0, 0, 0], [1, 1, 1], [2, 2, 2]]])
    colors = known[rng.integers(0, len(known) if strange else condition.channels, 3)]
    if mode == "P":
        picture = Image.fromarray(drawn.astype(np.uint8))
        picture.putpalette(colors.astype(np.uint8).flatten().tolist())
        return picture
    picture = Image.fromarray(colors[drawn].astype(np.uint8))
    if mode == "LA":
        picture = Image.fromarray(drawn.astype(np.uint8)).convert("LA")
    elif mode == "RGBA":
        picture = picture.convert("RGBA")
    if mode != "RGB" and rng.random() < 0.5:
        picture.putalpha(Image.fromarray(np.where(drawn == 1, 0, 255).astype(np.uint8)))
    return picture


@pytest.mark.filterwarnings("ignore:.* mask")
def test_what_the_runner_does_not_refuse_it_reads_as_the_pipeline_does(
    masks: tuple[CoCosPipeline, runner.Painter],
):
    pipe, painter = masks
    rng = np.random.default_rng(0)
    read = 0
    for _ in range(150):
        picture = odd_picture(rng, pipe.condition)
        try:
            found = painter.classes_of(picture)
        except ValueError:
            continue
        read += 1
        expected = pipe.condition.labels(picture, *found.shape)
        assert (found == expected.numpy()).all(), picture.mode
    assert read > 50


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (Image.new("L", (80, 64), 9), "has the label 9; the model knows 0..2: sky, tree, water"),
        (Image.new("L", (900, 64)), "too long"),
        (photo(1, 64, 80), "of no class, such as #.* in exactly the classes' colours, #"),
        (Image.new("CMYK", (80, 64)), "mode CMYK is no label map"),
    ],
)
def test_a_layout_that_is_none_is_refused_with_the_remedy(picture: Image.Image, message: str):
    with pytest.raises(ValueError, match=message):
        made(CLASSES)[1].encode(picture)


def test_a_palette_that_contradicts_its_numbers_is_refused():
    picture = Image.fromarray(labels(1, 64, 80).astype(np.uint8))
    palette = [[9, 9, 9], *CLASSES.palette[[2, 1]].tolist()]
    picture.putpalette(np.array(palette, np.uint8).flatten().tolist())
    with pytest.raises(ValueError, match="contradict each other.*Save it in mode L"):
        made(CLASSES)[1].encode(picture)


def test_colours_are_no_remedy_for_a_model_without():
    painter = made(CLASSES)[1]
    painter.settings["colors"] = []
    with pytest.raises(ValueError, match="#.*: save class numbers in mode L"):
        painter.encode(photo(1, 64, 80))


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_photos_and_drawings_above_8_bits_are_refused(
    kind: type, edges: tuple[CoCosPipeline, runner.Painter]
):
    deep = Image.fromarray(np.linspace(0, 65520, 64 * 80).reshape(64, 80).astype(kind))
    for is_photo in (False, True):
        with pytest.raises(ValueError, match="no 8 bits: save it as"):
            edges[1].encode(deep, is_photo)


@pytest.mark.parametrize(("paper", "ink"), [(255, 150), (0, 255), (255, 255)])
def test_a_drawing_that_is_not_dark_on_white_is_refused(
    paper: int, ink: int, edges: tuple[CoCosPipeline, runner.Painter]
):
    picture = Image.new("L", (80, 64), paper)
    ImageDraw.Draw(picture).line((10, 10, 60, 40), fill=ink, width=3)
    with pytest.raises(ValueError, match="darker than grey 128: draw dark lines on white"):
        edges[1].encode(picture)


def test_poses_are_refused():
    with pytest.raises(ValueError, match="'pose' is no picture; give an .npz file"):
        made(PoseCondition())[1].encode(Image.new("L", (80, 64)))


@pytest.mark.parametrize("size", [(64, 80), (67, 93), (201, 150)])
def test_edges_of_photos_are_found_as_by_the_pipeline_also_of_turned_ones(
    size: tuple[int, int], edges: tuple[CoCosPipeline, runner.Painter]
):
    picture = photo(3, 216, 216).rotate(20).resize(size[::-1])
    assert_read_alike(edges, picture, is_photo=True)
    turned = picture.copy()
    turned.getexif()[0x0112] = 6
    assert_read_alike(edges, turned, is_photo=True)


@pytest.mark.parametrize("ground", ["white", "clear"])
def test_strokes_of_every_width_become_the_lines_that_the_pipeline_makes_of_them(
    ground: str, edges: tuple[CoCosPipeline, runner.Painter]
):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        width, height = (int(side) for side in rng.integers(60, 240, 2))
        paper = Image.new("RGBA", (width, height), (255, 255, 255, 255 * (ground == "white")))
        pen = ImageDraw.Draw(paper)
        for _ in range(6):
            points = rng.uniform(0, (width, height), (3, 2)).flatten().tolist()
            pen.line(points, fill="black", width=int(rng.integers(1, 6)))
        picture = paper.convert("L") if ground == "white" else paper
        assert_read_alike(edges, picture, {"edges": picture})


def test_a_photo_is_shown_upright_and_what_is_transparent_on_white():
    picture = photo(2, 32, 40)
    turned = picture.copy()
    turned.getexif()[0x0112] = 6
    assert runner.shown(turned).size == (32, 40)
    clear = picture.convert("RGBA")
    clear.putalpha(0)
    assert runner.shown(clear).getcolors() == [(32 * 40, (255, 255, 255))]
    assert np.array_equal(np.asarray(runner.shown(picture)), np.asarray(picture))
