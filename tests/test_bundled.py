"""The bundled pipelines and the command line that paints with them or any other pipeline."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors import safe_open
from skimage import data

from cocosnet_hf import CoCosPipeline, Pose, PoseCondition, bundled, bundled_names
from cocosnet_hf.__main__ import main
from cocosnet_hf.bundled import ASSETS, locate
from cocosnet_hf.synthetic import SyntheticExamples
from tests.support import tiny
from tests.support.keypoints import CANVAS, SIZE, STANDING, openpose
from tests.support.paths import CONFIGS
from tests.support.pictures import assert_same_but_for_rounding, whole_picture
from train.config import load_config
from train.networks import build_system

LARGEST = 14 * 10**6
every_model = pytest.mark.parametrize("name", bundled_names())


def face() -> Image.Image:
    """The middle of a photograph that scikit-image carries."""
    return Image.fromarray(data.astronaut()).crop((130, 0, 330, 200))


def example(name: str, stem: str) -> str:
    """The layout or exemplar that comes with a bundled pipeline."""
    (path,) = (ASSETS / name / "examples").glob(f"{stem}.*")
    return str(path)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    tiny.pipeline().save_pretrained(tmp_path / "pipeline")
    return str(tmp_path / "pipeline")


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    face().save(tmp_path / "condition.png")
    face().rotate(180).resize((96, 64)).save(tmp_path / "exemplar.jpg")
    return [str(tmp_path / "condition.png"), str(tmp_path / "exemplar.jpg")]


def test_a_name_leads_to_what_can_be_opened():
    assert locate("edge-to-face") == (ASSETS / "edge-to-face", "fp16")
    assert locate("user/repo") == ("user/repo", None)


@pytest.mark.parametrize("shards", ["10GB", "10KB"])
def test_a_folder_with_one_variant_is_opened_as_that(shards: str, tmp_path: Path):
    pipe, folder = tiny.pipeline(), str(tmp_path)
    pipe.save_pretrained(folder, variant="fp16", max_shard_size=shards)
    assert len(list(tmp_path.glob("translation/*.safetensors"))) > (shards == "10KB")
    assert locate(folder) == (folder, "fp16")
    pipe.save_pretrained(folder, variant="bf16", max_shard_size=shards)
    assert locate(folder) == (folder, None)
    pipe.save_pretrained(folder, max_shard_size=shards)
    assert locate(folder) == (folder, None)


@every_model
def test_a_bundled_pipeline_is_small_half_precision_and_has_a_card(name: str):
    files = list((ASSETS / name).rglob("*.safetensors"))
    assert len(files) == 2
    assert sum(file.stat().st_size for file in files) < LARGEST
    for file in files:
        with safe_open(file, framework="pt") as weights:
            assert {str(weights.get_tensor(key).dtype) for key in weights.keys()} == {
                "torch.float16"
            }
    card = (ASSETS / name / "README.md").read_text()
    assert "license" in card and "library_name: cocosnet_hf" in card


@pytest.mark.parametrize("name", ["edge-to-face", "pose-to-body", "mask-to-image"])
def test_the_recipe_of_a_bundled_pipeline_makes_one_that_is_small_enough(name: str):
    networks = build_system(load_config(CONFIGS / f"{name}.yaml")).networks
    painters = (networks["correspondence"], networks["translation"])
    count = sum(tensor.numel() for network in painters for tensor in network.state_dict().values())
    assert 2 * count < LARGEST


@every_model
def test_a_bundled_pipeline_paints_in_the_colours_of_the_exemplar(name: str):
    pipe = bundled(name)
    assert pipe.translation.dtype == torch.float32 and pipe.translation.folded
    layout, exemplar = (example(name, stem) for stem in ("layout", "exemplar"))
    photo = whole_picture(exemplar).convert("RGB")
    redder = Image.fromarray((np.asarray(photo) * (1.0, 0.6, 0.5)).astype(np.uint8))
    plain, red = (np.asarray(pipe(layout, look).images[0], float) for look in (photo, redder))
    painted = plain.min(axis=2) < 200  # not the white around a figure, which stays white
    share = [picture[painted, 0].mean() / picture[painted, 2].mean() for picture in (plain, red)]
    assert share[1] > 1.3 * share[0]


@pytest.mark.slow
@every_model
def test_a_bundled_pipeline_paints_every_hue(name: str):
    pipe = bundled(name)
    layout, exemplar = (example(name, stem) for stem in ("layout", "exemplar"))
    photo = np.array(whole_picture(exemplar).convert("HSV"))
    worn = (photo[..., 2] < 230) | (photo[..., 1] > 15)  # the ground stays white
    for hue in range(0, 256, 32):
        photo[worn, 0], photo[worn, 1] = hue, 160
        picture = pipe(layout, Image.fromarray(photo, "HSV").convert("RGB")).images[0]
        painted = np.asarray(picture, float)
        mean = painted[painted.min(axis=2) < 200].mean(axis=0)
        found = Image.fromarray(mean.astype(np.uint8)[None, None]).convert("HSV").getpixel((0, 0))
        assert abs((found[0] - hue + 128) % 256 - 128) < 20, f"{hue} is painted as {found[0]}"
        assert found[1] > 50


@every_model
def test_the_command_paints_the_examples_of_a_bundled_pipeline(name: str, tmp_path: Path):
    target = tmp_path / "strip.png"
    main(
        [example(name, "layout"), example(name, "exemplar"), "--model", name, "--show"]
        + ["-o", str(target)]
    )
    shown = whole_picture(target)
    pipe = bundled(name)
    height, width = pipe.size_for(pipe.condition.natural_size(example(name, "layout")))
    assert shown.height == height
    assert 3 * width < shown.width <= 4 * width  # an exemplar may be narrower
    painted = np.asarray(shown.crop((shown.width - width, 0, *shown.size)))
    assert painted.std() > 20


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="no bundled pipeline is called 'face'"):
        bundled("face")


def test_the_command_paints_what_the_pipeline_paints(
    folder: str, photos: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    target = tmp_path / "new" / "out.png"
    main([*photos, "--model", folder, "-o", str(target), "--height", "32", "--width", "48"])
    assert capsys.readouterr().out == f"{target}\n"
    pipe = CoCosPipeline.from_pretrained(folder).fold()
    expected = pipe(*photos, height=32, width=48).images[0]
    assert_same_but_for_rounding(whole_picture(target), expected)


def test_the_command_opens_the_variant_that_is_asked_for(
    folder: str, photos: list[str], tmp_path: Path
):
    pipe = tiny.pipeline(seed=1)
    pipe.save_pretrained(folder, variant="other")
    target = tmp_path / "out.png"
    main([*photos, "--model", folder, "--variant", "other", "-o", str(target)])
    assert_same_but_for_rounding(whole_picture(target), pipe.fold()(*photos).images[0])


@pytest.mark.parametrize("output", ["out", "out.mp3", "."])
def test_an_output_that_is_no_picture_is_refused_at_once(
    photos: list[str], output: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit):
        main([*photos, "--model", "never opened", "-o", output])
    assert "-o must name a picture such as out.png" in capsys.readouterr().err


def test_the_strip_shows_condition_exemplar_warped_exemplar_and_result(
    folder: str, photos: list[str], tmp_path: Path
):
    target = tmp_path / "strip.png"
    main([*photos, "--model", folder, "-o", str(target), "--show"])
    shown = np.asarray(whole_picture(target))
    assert shown.shape == (32, 32 + 48 + 32 + 32, 3)
    out = CoCosPipeline.from_pretrained(folder).fold()(*photos)
    assert_same_but_for_rounding(Image.fromarray(shown[:, -32:]), out.images[0])
    assert_same_but_for_rounding(Image.fromarray(shown[:, -64:-32]), out.warped_exemplars[0])


def test_the_command_paints_with_the_pipeline_of_another_system(photos: list[str], tmp_path: Path):
    pipe, target = tiny.style_pipeline(), tmp_path / "strip.png"
    pipe.save_pretrained(tmp_path / "style")
    main([*photos, "--model", str(tmp_path / "style"), "-o", str(target), "--show"])
    shown = np.asarray(whole_picture(target))
    assert shown.shape == (32, 32 + 48 + 32, 3)
    painted = Image.fromarray(shown[:, -32:])
    assert_same_but_for_rounding(painted, pipe.fold()(*photos).images[0])


def test_a_drawing_is_taken_as_lines(folder: str, photos: list[str], tmp_path: Path):
    drawing = Image.new("L", (64, 64), 255)
    ImageDraw.Draw(drawing).line((8, 30, 56, 30), fill=0, width=3)
    drawing.save(tmp_path / "drawing.png")
    target = tmp_path / "strip.png"
    source = str(tmp_path / "drawing.png")
    main([source, photos[1], "--model", folder, "-o", str(target), "--show", "--drawing"])
    lines = np.asarray(whole_picture(target).convert("L"))[:, :32] < 128
    # One stroke, where the drawing has it; a photo's edges would run along both of its sides.
    assert lines.any(1).sum() <= 2 and lines[14:17].any()


def test_keypoints_of_openpose_itself_need_the_size_of_their_picture(
    photos: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pipe = tiny.pipeline(PoseCondition(), mix_condition=False)
    pipe.save_pretrained(tmp_path / "poses")
    pose = SyntheticExamples("pose", 64)[0]["condition"]
    numbers = np.nan_to_num(pose.joints).ravel().tolist()
    file = tmp_path / "keypoints.json"
    file.write_text(json.dumps({"version": 1.3, "people": [{"pose_keypoints_2d": numbers}]}))
    words = [str(file), photos[1], "--model", str(tmp_path / "poses"), "--show"]
    words += ["-o", str(tmp_path / "out.png")]
    with pytest.raises(SystemExit):
        main(words)
    assert "does not say how large its picture is" in capsys.readouterr().err
    main([*words, "--condition-size", *map(str, pose.size)])
    expected = pipe.fold()(pose, photos[1]).images[0]
    shown = whole_picture(tmp_path / "out.png")
    own = (shown.width - expected.width, 0, shown.width, shown.height)
    assert_same_but_for_rounding(shown.crop(own), expected)


def test_keypoints_of_the_exemplar_need_the_size_of_their_picture_too(
    photos: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pipe = tiny.pipeline(PoseCondition(), mix_condition=True)
    pipe.save_pretrained(tmp_path / "poses")
    pose = SyntheticExamples("pose", 64)[0]["condition"]
    face().resize(pose.size[::-1]).save(photos[1])
    person = {"pose_keypoints_2d": np.nan_to_num(pose.joints).ravel().tolist()}
    said = {"canvas_height": pose.size[0], "canvas_width": pose.size[1]}
    (tmp_path / "own.json").write_text(json.dumps({"people": [person]}))
    (tmp_path / "pose.json").write_text(json.dumps({"people": [person]} | said))
    words = [str(tmp_path / "pose.json"), photos[1], "--model", str(tmp_path / "poses")]
    words += ["-o", str(tmp_path / "out.png"), "--exemplar-condition", str(tmp_path / "own.json")]
    with pytest.raises(SystemExit):
        main(words)
    assert "does not say how large its picture is" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*words[:-2], "--exemplar-condition-size", "64", "64"])
    assert "--exemplar-condition-size needs a keypoint file" in capsys.readouterr().err
    main([*words, "--exemplar-condition-size", *map(str, pose.size)])
    expected = pipe.fold()(pose, photos[1], pose).images[0]
    assert_same_but_for_rounding(whole_picture(tmp_path / "out.png"), expected)


@pytest.mark.filterwarnings("ignore:.* is taken")
def test_a_person_and_a_frame_can_be_chosen_on_the_command_line(
    photos: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pipe = tiny.pipeline(PoseCondition(), mix_condition=True)
    pipe.save_pretrained(tmp_path / "poses")
    face().resize(SIZE[::-1]).save(photos[1])
    whole = openpose(STANDING, STANDING * (0.5, 0.5, 1), **CANVAS)
    file = tmp_path / "frames.json"
    file.write_text(json.dumps([{"people": []}, whole]))
    words = [str(file), photos[1], "--model", str(tmp_path / "poses"), "--exemplar-condition"]
    words += [str(file), "-o", str(tmp_path / "out.png")]
    first, second = (Pose(STANDING * (scale, scale, 1), SIZE) for scale in (1, 0.5))
    folded = pipe.fold()
    main(words)
    expected = folded(first, photos[1], first).images[0]
    assert_same_but_for_rounding(whole_picture(tmp_path / "out.png"), expected)
    main(
        [*words, "--person", "1", "--frame", "1", "--exemplar-person", "0"]
        + ["--exemplar-frame", "1"]
    )
    expected = folded(second, photos[1], first).images[0]
    assert_same_but_for_rounding(whole_picture(tmp_path / "out.png"), expected)
    for flags, message in (
        (["--person", "2"], "person 2 is not there"),
        (["--frame", "0"], "found 0 people"),
        (["--exemplar-frame", "b.jpg"], "none is 'b.jpg'"),
    ):
        with pytest.raises(SystemExit):
            main([*words, *flags])
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"condition": "missing.png"}, "missing.png"),
        ({"model": "nothing/there"}, "HF_HUB_OFFLINE"),
        ({"height": "33"}, "multiple of 8"),
        ({"device": "gpu"}, "--device gpu cannot be used"),
        ({"device": "meta"}, "--device meta cannot be used"),
        ({"height": "1000000000"}, "height must be at most 16384 pixels"),
        ({"condition-size": "64 64"}, "--condition-size is for keypoint files"),
        ({"exemplar-condition-size": "64 64"}, "--exemplar-condition-size is for keypoint files"),
        ({"person": "1"}, "--person is for keypoint files"),
        ({"exemplar-frame": "a.jpg"}, "--exemplar-frame is for keypoint files"),
    ],
)
def test_what_cannot_be_used_ends_with_a_message(
    folder: str,
    photos: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, str],
    message: str,
):
    words = {"condition": photos[0], "model": folder, "height": "32"} | change
    target = tmp_path / "out.png"
    with pytest.raises(SystemExit) as stopped:
        main(
            [words["condition"], photos[1], "--model", words["model"], "-o", str(target)]
            + ["--height", words["height"]]
            + [
                part
                for name in words.keys() - {"condition", "model", "height"}
                for part in (f"--{name}", *words[name].split())
            ]
        )
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not target.exists()
