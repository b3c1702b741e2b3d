"""The protocol: pairs, rivals, scores, a whole run with its report, and resuming it."""

import dataclasses
import html
import json
import os
import re
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import safetensors.torch
import tiny
import torch
from accelerate.state import PartialState
from huggingface_hub import ModelCardData
from PIL import Image
from segmenter import save_segmenter
from torch import Tensor

from cocosnet_hf import (
    BlendingTranslationNetwork,
    CoCosPipeline,
    DistilledVGG19Features,
    EdgeCondition,
    MaskCondition,
    PartEdgeCondition,
    Pose,
    PoseCondition,
)
from cocosnet_hf.datasets import DataSettings
from cocosnet_hf.evaluate import main
from cocosnet_hf.evaluation import (
    Evaluation,
    EvaluationPairs,
    EvaluationSettings,
    Instruments,
    PictureFiles,
    Scorer,
    eval_results,
    evaluate,
    frechet_distance,
    kernel_distance,
    load_extractor,
    load_rival,
    ssim,
    swd,
)
from cocosnet_hf.evaluation.collecting import (
    class_values,
    collect,
    item_results,
    mean_ious,
    of_format,
    set_results,
)
from cocosnet_hf.evaluation.methods import (
    TARGET,
    pipeline_method,
    run_pipeline,
    target_method,
)
from cocosnet_hf.evaluation.protocol import Run, load_instruments
from cocosnet_hf.evaluation.scoring import load_segmenter
from cocosnet_hf.evaluation.storage import FORMATS, RunFolder, save_picture, write_rows, write_whole
from cocosnet_hf.synthetic import SCENE_CLASSES, SyntheticExamples, write_imagefolder

datasets = pytest.importorskip("datasets")
datasets.disable_progress_bars()

REPOSITORY = Path(__file__).parent.parent
SCENE = MaskCondition.from_names(SCENE_CLASSES)
SIDE = 32
DRAWN = DataSettings(
    source="synthetic",
    split="test",
    condition_column="condition",
    exemplar_column="exemplar",
    exemplar_condition_column="exemplar_condition",
    image_size=SIDE,
    load_size=SIDE,
)


@pytest.fixture(autouse=True)
def fresh_process() -> Iterator[None]:
    """accelerate's shared state is of one run."""
    PartialState._reset_state()
    yield
    PartialState._reset_state()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An imagefolder of 6 training and 4 test scenes."""
    root = tmp_path_factory.mktemp("scenes")
    for split, first, length in (("train", 0, 6), ("test", 50, 4)):
        write_imagefolder(SyntheticExamples("mask", SIDE, length=length, first=first), root, split)
    return root


@pytest.fixture(scope="module")
def saved(folder: Path) -> DataSettings:
    """The settings that read it."""
    return dataclasses.replace(
        DRAWN,
        source=str(folder),
        condition_column="label",
        exemplar_condition_column="exemplar_label",
    )


@pytest.fixture(scope="module")
def perceptual(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A perceptual network with random weights, as a spec."""
    path = tmp_path_factory.mktemp("weights") / "vgg.safetensors"
    safetensors.torch.save_file(tiny.lively(DistilledVGG19Features()).state_dict(), path)
    return f"VGG19-distilled={path}"


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an untrained pipeline for scenes."""
    path = tmp_path_factory.mktemp("pipeline")
    tiny.pipeline(SCENE, image_size=SIDE).save_pretrained(path)
    return path


# Pairs -------------------------------------------------------------------------------------------


def photo(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def test_pairs_hold_photos_conditions_and_labels_of_item_and_exemplar():
    pairs = EvaluationPairs(DRAWN, SCENE, exemplars="column", limit=3)
    assert len(pairs) == 3
    row, pair = pairs.rows[2], pairs[2]
    assert (pair.index, pair.target.name) == (2, row["id"])
    for look, name in ((pair.target, "image"), (pair.exemplar, "exemplar")):
        assert torch.equal(look.photo, photo(row[name]))
        source = row[{"image": "condition", "exemplar": "exemplar_condition"}[name]]
        assert torch.equal(look.condition, SCENE.encode(source, SIDE, SIDE))
        assert torch.equal(look.labels, torch.from_numpy(np.array(source)).long())
    with pytest.raises(IndexError):
        pairs[3]


def test_labels_beside_edges_and_poses_are_read_as_they_are():
    settings = dataclasses.replace(
        DRAWN,
        condition_column=None,
        exemplar_condition_column=None,
        labels_column="labels",
        label_classes=len(SCENE_CLASSES),
        exemplar_labels_column="exemplar_labels",
    )
    pairs = EvaluationPairs(settings, EdgeCondition(), exemplars="column", limit=1)
    labels = torch.from_numpy(np.array(pairs.rows[0]["labels"])).long()
    assert torch.equal(pairs[0].target.labels, labels)
    assert pairs[0].target.condition.shape == (2, SIDE, SIDE)
    pairs = EvaluationPairs(DRAWN, PoseCondition(), exemplars="column", limit=1)
    expected = pairs.rows[0]["condition"]
    np.testing.assert_allclose(pairs[0].target.pose.joints, expected.joints)
    assert pairs[0].target.labels is None


def test_the_first_retrieved_training_photo_is_the_exemplar(saved: DataSettings):
    pairs = EvaluationPairs(saved, SCENE, exemplars="retrieval")
    masks = [SCENE.encode(row["label"]["path"], SIDE, SIDE) for row in pairs.pool]
    for index in range(len(pairs)):
        pair = pairs[index]
        assert pair.exemplar.name == pairs.nearest(index).name
        found = [row["id"] for row in pairs.pool].index(pair.exemplar.name)
        # What it lies on agrees with the mask better than most of the others do.
        overlap = [(mask * pair.target.condition).sum() for mask in masks]
        assert sorted(overlap, reverse=True).index(overlap[found]) < 3


def test_exemplars_of_the_tested_split_are_never_the_item_itself(saved: DataSettings):
    for exemplars in ("retrieval", "random"):
        pairs = EvaluationPairs(saved, SCENE, exemplars=exemplars, train_split="test")
        for pair in pairs:
            assert pair.exemplar.name != pair.target.name


def test_random_exemplars_depend_on_the_seed_and_not_on_the_limit(saved: DataSettings):
    drawn = {
        (seed, limit): [
            pair.exemplar.name
            for pair in EvaluationPairs(saved, SCENE, exemplars="random", seed=seed, limit=limit)
        ]
        for seed in (0, 1)
        for limit in (2, None)
    }
    assert drawn[0, 2] == drawn[0, None][:2]
    assert drawn[0, None] != drawn[1, None]


def test_a_smaller_pool_gives_exemplars_of_its_first_photos_only(saved: DataSettings):
    pairs = EvaluationPairs(saved, SCENE, exemplars="retrieval", pool_limit=1)
    first = pairs.pool[0]["id"]
    assert {pair.exemplar.name for pair in pairs} == {first}


def test_a_list_file_names_the_exemplars(saved: DataSettings, tmp_path: Path):
    reference = EvaluationPairs(saved, SCENE, exemplars="random")
    items = [row["id"] for row in reference.rows]
    photos = [row["id"] for row in reference.pool]
    lines = [f"images/{item}.png, {photos[2]}" for item in items]
    path = tmp_path / "list.txt"
    path.write_text("\n".join(lines))
    pairs = EvaluationPairs(saved, SCENE, exemplars=str(path), limit=2)
    assert [pair.exemplar.name for pair in pairs] == [photos[2]] * 2
    path.write_text("\n".join(lines[1:]))
    with pytest.raises(ValueError, match=f"no exemplar for 1 of 4 items, such as '{items[0]}'"):
        EvaluationPairs(saved, SCENE, exemplars=str(path))
    path.write_text(f"{items[0]}, nobody")
    with pytest.raises(ValueError, match="'nobody' names no example"):
        EvaluationPairs(saved, SCENE, exemplars=str(path))
    with pytest.raises(ValueError, match="There is no exemplar list 'nowhere.txt'"):
        EvaluationPairs(saved, SCENE, exemplars="nowhere.txt")


def test_pairs_that_cannot_be_made_are_refused(saved: DataSettings):
    with pytest.raises(ValueError, match="need 'exemplar_column'"):
        plain = dataclasses.replace(saved, exemplar_column=None, exemplar_condition_column=None)
        EvaluationPairs(plain, SCENE, exemplars="column")
    with pytest.raises(ValueError, match="'limit' must be at least 1, got 0"):
        EvaluationPairs(saved, SCENE, limit=0)
    with pytest.raises(ValueError, match=r"'train\[2:\]' and 'train' share photos.*own exemplars"):
        EvaluationPairs(dataclasses.replace(saved, split="train[2:]"), SCENE)
    with pytest.raises(ValueError, match="holds no other photo"):
        EvaluationPairs(saved, SCENE, exemplars="random", train_split="test", pool_limit=1)


def test_a_label_map_of_colours_is_refused():
    settings = dataclasses.replace(
        DRAWN,
        condition_column=None,
        exemplar_condition_column=None,
        labels_column="image",
        label_classes=2,
        exemplar_labels_column="exemplar",
    )
    pairs = EvaluationPairs(settings, EdgeCondition(), exemplars="column", limit=1)
    with pytest.raises(ValueError, match="one plane of class numbers, got a picture of mode RGB"):
        pairs[0]


def test_a_label_of_no_class_is_refused(tmp_path: Path):
    folder = tmp_path / "train"
    folder.mkdir()
    for index, value in enumerate((1, 255)):
        Image.new("L", (SIDE, SIDE), value).save(folder / f"{index}_label.png")
        Image.new("RGB", (SIDE, SIDE), "red").save(folder / f"{index}.png")
    rows = [
        {"file_name": f"{index}.png", "label_file_name": f"{index}_label.png"} for index in (0, 1)
    ]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    settings = DataSettings(
        source=str(tmp_path),
        labels_column="label",
        label_classes=2,
        image_size=SIDE,
        load_size=SIDE,
        augment=False,
        cache_dir=str(tmp_path / "cache"),
    )
    pairs = EvaluationPairs(settings, EdgeCondition(), exemplars="random", train_split="train")
    with pytest.raises(ValueError, match=r"classes 0..1, got 255"):
        [pairs[index] for index in range(2)]


def test_a_broken_or_missing_exemplar_stops_the_evaluation(folder: Path, tmp_path: Path):
    root = tmp_path / "set"
    shutil.copytree(folder / "test", root / "test")
    metadata = root / "test" / "metadata.jsonl"
    rows = [json.loads(line) for line in metadata.read_text().splitlines()]
    rows[0]["exemplar_file_name"] = rows[0]["exemplar_label_file_name"] = None
    metadata.write_text("\n".join(map(json.dumps, rows)))
    (root / "test" / rows[1]["file_name"]).write_bytes(b"no picture")
    settings = dataclasses.replace(
        DRAWN,
        source=str(root),
        condition_column="label",
        exemplar_condition_column="exemplar_label",
        cache_dir=str(tmp_path / "cache"),
    )
    pairs = EvaluationPairs(settings, SCENE, exemplars="column")
    with pytest.raises(ValueError, match=f"'{rows[0]['id']}' has no exemplar in 'exemplar'"):
        pairs[0]
    with pytest.raises(ValueError, match=f"needs every item: .*{rows[1]['id']}"):
        pairs[1]
    assert pairs[2].target.name == rows[2]["id"]


# Methods -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pairs() -> EvaluationPairs:
    return EvaluationPairs(DRAWN, SCENE, exemplars="column", limit=3, pool_limit=5)


def test_the_pipeline_paints_the_pairs_and_says_how_it_matched(pairs: EvaluationPairs):
    pipe = tiny.pipeline(SCENE, image_size=SIDE)
    some = [pairs[0], pairs[1]]
    painting, warped = pipeline_method(pipe, "tiny", background=0).paint(some)
    rows = [pairs.rows[index] for index in range(2)]
    out = pipe(
        [row["condition"] for row in rows],
        [row["exemplar"] for row in rows],
        [row["exemplar_condition"] for row in rows],
        output_type="pt",
    )
    torch.testing.assert_close(painting.pictures, out.images, atol=1e-4, rtol=0)
    torch.testing.assert_close(warped.pictures, out.warped_exemplars, atol=1e-4, rtol=0)
    for index, score in enumerate(painting.scores):
        assert score.values["confidence"] == pytest.approx(
            out.matching.confidence()[index].mean().item(), abs=1e-4
        )
        assert 0 < score.values["entropy"] < 1
        for metric in ("warp_accuracy", "identity_accuracy"):
            of_classes = [one for one in score.classes if one.metric == metric]
            assert sum(one.weight for one in of_classes) == 64
            mean = sum(one.weight * one.value for one in of_classes) / 64
            assert score.values[metric] == pytest.approx(mean)
            others = [one for one in of_classes if one.label != 0]
            mean = sum(one.weight * one.value for one in others) / sum(one.weight for one in others)
            assert score.values[f"foreground_{metric}"] == pytest.approx(mean)
    assert not warped.scores[0].values


@pytest.mark.parametrize("warp", ["mean", "patch", "coherent"])
def test_the_sharp_exemplar_is_the_photo_moved_by_the_coherent_flow(
    warp: str, pairs: EvaluationPairs
):
    networks = tiny.correspondence(SCENE.channels, warp=warp), tiny.translation(SCENE.channels)
    if warp == "coherent":
        networks = networks[0], tiny.lively(BlendingTranslationNetwork(SCENE.channels))
    pipe = CoCosPipeline(*networks, SCENE, SIDE)
    pipe.set_progress_bar_config(disable=True)
    some = [pairs[0], pairs[1]]
    method = pipeline_method(pipe, "tiny", ("sharp", "warped"))
    assert list(method.made_by) == ["pipeline", "warped exemplar", "sharp exemplar"]
    _, warped, sharp = method.paint(some)
    photos = torch.stack([pair.exemplar.photo for pair in some]) / 255
    flow = run_pipeline(pipe, some).matching.coherent()
    torch.testing.assert_close(sharp.pictures, flow.warp(photos, (SIDE, SIDE)), atol=1e-5, rtol=0)
    same = (sharp.pictures - warped.pictures).abs().max() < 1e-4
    assert bool(same) == (warp == "coherent")


def test_the_rivals_of_the_matching_are_painted_where_they_are_asked_for(pairs: EvaluationPairs):
    pipe = tiny.pipeline(SCENE, image_size=SIDE)
    assert list(pipeline_method(pipe, "tiny", ()).made_by) == ["pipeline"]
    method = pipeline_method(pipe, "tiny", ("exemplar", "sharp"))
    assert list(method.made_by) == ["pipeline", "sharp exemplar"]
    assert [painting.pictures.shape for painting in method.paint([pairs[0]])] == [
        (1, 3, SIDE, SIDE)
    ] * 2


def test_noise_of_a_pipeline_depends_on_the_item_alone(pairs: EvaluationPairs):
    pipe = tiny.pipeline(SCENE, image_size=SIDE, exemplar_noise=0.5)
    method = pipeline_method(pipe, "tiny")
    together = method.paint([pairs[0], pairs[1]])[0].pictures
    alone = method.paint([pairs[1]])[0].pictures
    # Another batch rounds otherwise, which the matching magnifies; other noise changes far more.
    torch.testing.assert_close(together[1:], alone, atol=1e-3, rtol=0)
    other = run_pipeline(pipe, [dataclasses.replace(pairs[1], index=0)]).images
    assert (other - alone).abs().max() > 1e-2


def test_built_in_rivals_show_the_exemplar_and_the_nearest_photo(pairs: EvaluationPairs):
    pair = pairs[1]
    (exemplar,) = load_rival("exemplar", pairs).paint([pair])
    assert torch.equal(exemplar.pictures[0], pair.exemplar.photo / 255)
    (nearest,) = load_rival("nearest", pairs).paint([pair])
    assert torch.equal(nearest.pictures[0], pairs.nearest(1).photo / 255)
    (target,) = target_method().paint([pair])
    assert torch.equal(target.pictures[0], pair.target.photo / 255)


def test_a_function_is_a_rival(pairs: EvaluationPairs):
    (blurred,) = load_rival("blur=rivals:blurred", pairs).paint([pairs[0], pairs[2]])
    assert blurred.pictures.shape == (2, 3, SIDE, SIDE)
    (colours,) = load_rival("colours=rivals:tensors", pairs).paint([pairs[0]])
    assert torch.equal(colours.pictures[0], pairs[0].target.condition[:3])
    with pytest.raises(ValueError, match="'small' made a picture of 16 x 16 pixels.*are 32 x 32"):
        load_rival("small=rivals:too_small", pairs).paint([pairs[0]])


def test_a_folder_is_a_rival_if_it_has_one_picture_for_each_item(
    pairs: EvaluationPairs, tmp_path: Path
):
    for index, suffix in ((0, "png"), (1, "png"), (2, "bmp")):
        pair = pairs[index]
        picture = Image.fromarray(pair.target.photo.permute(1, 2, 0).numpy())
        picture.save(tmp_path / f"{pair.target.name}.{suffix}")
    (tmp_path / "notes.txt").touch()
    rival = load_rival(f"theirs={tmp_path}", pairs)
    assert rival.made_by["theirs"].startswith(f".bmp, .png files of {tmp_path}, content ")
    (painting,) = rival.paint([pairs[2], pairs[0]])
    assert torch.equal(painting.pictures[0], pairs[2].target.photo / 255)
    (tmp_path / f"{pairs[0].target.name}.jpg").touch()
    (tmp_path / f"{pairs[1].target.name}.png").unlink()
    Image.new("RGB", (40, 32)).save(tmp_path / f"{pairs[2].target.name}.bmp")
    rival = load_rival(f"theirs={tmp_path}", pairs)
    for index, message in ((0, "holds 2 called"), (1, "holds 0 called"), (2, "of 40 x 32 pixels")):
        with pytest.raises(ValueError, match=message):
            rival.paint([pairs[index]])


def test_one_picture_of_a_folder_does_not_serve_two_items(pairs: EvaluationPairs, tmp_path: Path):
    for index in (0, 1):
        Image.new("RGB", (SIDE, SIDE)).save(tmp_path / f"{pairs[index].target.name}.png")
    first = pairs[0].target
    named = [
        dataclasses.replace(
            pairs[0], target=dataclasses.replace(first, name=f"{part}/{first.name}")
        )
        for part in "ab"
    ]
    rival = load_rival(f"theirs={tmp_path}", pairs)
    rival.paint([named[0], pairs[1]])
    rival.paint([named[0]])
    with pytest.raises(ValueError, match="for two items, 'a/.*' and 'b/"):
        rival.paint([named[1]])


def test_transparency_of_a_rivals_pictures_is_laid_on_white(pairs: EvaluationPairs, tmp_path: Path):
    Image.new("RGBA", (SIDE, SIDE), (255, 0, 0, 0)).save(tmp_path / f"{pairs[0].target.name}.png")
    for spec in (f"theirs={tmp_path}", "clear=rivals:transparent"):
        (painting,) = load_rival(spec, pairs).paint([pairs[0]])
        assert painting.pictures.shape == (1, 3, SIDE, SIDE) and painting.pictures.min() == 1


def flip_a_bit(path: Path) -> None:
    """In place: neither the file's name nor its size nor its time tells."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_what_makes_a_rivals_pictures_tells_a_change_of_its_files(
    pairs: EvaluationPairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    module, picture = tmp_path / "painter_of_rivals.py", tmp_path / "pictures" / "a.bmp"
    module.write_text("def paint(condition, exemplar):\n    return exemplar.rotate(1)\n")
    picture.parent.mkdir()
    Image.new("L", (SIDE, SIDE), 7).save(picture)
    monkeypatch.syspath_prepend(tmp_path)
    for spec, path in ((f"a={module.stem}:paint", module), (f"a={picture.parent}", picture)):
        before = load_rival(spec, pairs).made_by
        assert load_rival(spec, pairs).made_by == before
        flip_a_bit(path)
        assert load_rival(spec, pairs).made_by != before
    nearest = load_rival("nearest", pairs).made_by
    fewer = EvaluationPairs(DRAWN, SCENE, exemplars="column", limit=3, pool_limit=4)
    assert load_rival("nearest", fewer).made_by != nearest


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("..=rivals:blurred", ValueError, "with a name of its own"),
        ("nobody", ValueError, "A rival is one of warped, sharp, exemplar, nearest"),
        ("pipeline=rivals:blurred", ValueError, "with a name of its own"),
        ("theirs=no/such/folder", ValueError, "There is no folder 'no/such/folder'"),
        ("theirs=rivals:nobody", ImportError, "'rivals' has no 'nobody'"),
        ("theirs=rivals:NOT_A_FUNCTION", ImportError, "is not a function"),
        ("theirs=no_such_module:function", ImportError, "no_such_module"),
    ],
)
def test_rivals_that_cannot_be_used_are_refused(
    spec: str, error: type[Exception], message: str, pairs: EvaluationPairs
):
    with pytest.raises(error, match=message):
        load_rival(spec, pairs)


# Scores ------------------------------------------------------------------------------------------


def of_pairs(pairs: EvaluationPairs, scorer: Scorer, indices: list[int]) -> Any:
    some = [pairs[index] for index in indices]
    targets = torch.stack([pair.target.photo / 255 for pair in some])
    exemplars = torch.stack([pair.exemplar.photo / 255 for pair in some])
    return scorer.references(some, targets, exemplars)


def test_the_true_photo_has_the_best_scores(pairs: EvaluationPairs):
    scorer = Scorer(SCENE, Instruments(perceptual=tiny.lively(DistilledVGG19Features())), "cpu")
    references = of_pairs(pairs, scorer, [0, 1])
    for score in scorer.score(references.targets, references):
        assert score.values["SSIM"] == pytest.approx(1)
        assert score.values["PSNR"] == 100
        assert score.values["perceptual_distance-VGG19-distilled"] == pytest.approx(0, abs=1e-6)
        assert score.values["semantic_consistency-VGG19-distilled"] == pytest.approx(1)
        assert 0 < score.values["style_colour-VGG19-distilled"] < 1
        assert score.values["copy_score"] > 0


def test_an_items_score_is_the_weighted_mean_of_its_classes(pairs: EvaluationPairs):
    scorer = Scorer(SCENE, Instruments(perceptual=tiny.lively(DistilledVGG19Features())), "cpu")
    references = of_pairs(pairs, scorer, [0, 1])
    for score in scorer.score(references.exemplars, references):
        for metric in ("semantic_consistency", "style_colour", "style_texture"):
            name = f"{metric}-VGG19-distilled"
            classes = [one for one in score.classes if one.metric == name]
            weight = sum(one.weight for one in classes)
            mean = sum(one.weight * one.value for one in classes) / weight
            assert score.values[name] == pytest.approx(mean, abs=1e-5)
            assert (0 in {one.label for one in classes}) == (metric == "semantic_consistency")


def test_without_networks_only_pixels_are_compared(pairs: EvaluationPairs):
    scorer = Scorer(SCENE, Instruments(), "cpu")
    references = of_pairs(pairs, scorer, [0])
    (score,) = scorer.score(references.exemplars, references)
    assert score.values.keys() == {"SSIM", "PSNR", "copy_score"}
    assert score.values["copy_score"] == 0


def test_edges_of_the_true_photo_are_those_of_its_condition():
    condition = EdgeCondition(sigma=1.5)
    settings = dataclasses.replace(DRAWN, condition_column=None, exemplar_condition_column=None)
    pairs = EvaluationPairs(settings, condition, exemplars="column", limit=1)
    scorer = Scorer(condition, Instruments(), "cpu")
    references = of_pairs(pairs, scorer, [0])
    assert scorer.score(references.targets, references)[0].values["edge_F1"] == 1
    assert scorer.score(references.exemplars, references)[0].values["edge_F1"] < 0.9


def test_edges_that_no_photo_shows_alone_are_not_compared_and_the_reason_is_noted(
    saved: DataSettings, pipeline: Path
):
    condition = PartEdgeCondition()
    pairs = EvaluationPairs(saved, condition, exemplars="random", limit=1)
    instruments = load_instruments(settings(pipeline, None, Path()), condition)
    scorer = Scorer(condition, instruments, "cpu")
    references = of_pairs(pairs, scorer, [0])
    assert "edge_F1" not in scorer.score(references.targets, references)[0].values
    assert "outlines of face parts" in instruments.absent["edge_F1"]


def test_a_segmenter_measures_the_mask(pairs: EvaluationPairs):
    spec = load_segmenter("rivals:dark_is_zero", SCENE)
    scorer = Scorer(SCENE, Instruments(segmenter=spec), "cpu")
    references = of_pairs(pairs, scorer, [0])
    light = torch.ones(1, 3, SIDE, SIDE)
    (score,) = scorer.score(light, references)
    share = (references.pairs[0].target.labels == 1).float().mean().item()
    assert score.values["mask_accuracy-dark_is_zero"] == pytest.approx(share)
    iou = {one.label: one.value for one in score.classes if one.metric == "IoU-dark_is_zero"}
    assert iou[1] == pytest.approx(share)
    assert iou[0] == 0


def test_a_transformers_segmenter_answers_in_the_conditions_classes(tmp_path: Path):
    save_segmenter(tmp_path, ["hill", "sky"])
    name, segment = load_segmenter(str(tmp_path), SCENE)
    assert name == tmp_path.name
    picture = SyntheticExamples("mask", 48)[0]["image"]
    found = segment(picture)
    assert found.shape == (48, 48)
    assert set(np.unique(found)) <= {SCENE_CLASSES.index("hill"), SCENE_CLASSES.index("sky")}


def test_a_segmenter_of_another_size_is_refused(pairs: EvaluationPairs):
    segmenter = ("half", lambda photo: np.zeros((photo.height // 2, photo.width), int))
    scorer = Scorer(SCENE, Instruments(segmenter=segmenter), "cpu")
    references = of_pairs(pairs, scorer, [0])
    with pytest.raises(ValueError, match=r"must return classes \(32, 32\), got \(16, 32\)"):
        scorer.score(references.targets, references)


def test_a_pose_finder_measures_the_joints():
    condition = PoseCondition()
    pairs = EvaluationPairs(DRAWN, condition, exemplars="column", limit=1)
    wanted = pairs[0].target.pose

    def find(photo: Image.Image) -> Pose:
        scale = (photo.width / wanted.size[1], photo.height / wanted.size[0], 1)
        return Pose(wanted.joints * scale, (photo.height, photo.width))

    for finder, expected in ((find, 1.0), (lambda p: Pose(find(p).joints + 9, find(p).size), 0.0)):
        scorer = Scorer(condition, Instruments(pose_finder=("finder", finder)), "cpu")
        references = of_pairs(pairs, scorer, [0])
        (score,) = scorer.score(references.targets, references)
        assert score.values["PCK-finder"] == expected


# A whole run -------------------------------------------------------------------------------------


def settings(
    pipeline: Path, perceptual: str | None, output: Path, **changes: Any
) -> EvaluationSettings:
    given: dict[str, Any] = {
        "exemplars": "column",
        "limit": 5,
        "rivals": ("warped", "exemplar"),
        "extractors": ("colours=rivals:colours",),
        "perceptual": perceptual,
        "lpips": False,
        "diversity": 3,
        "diversity_items": 2,
        "batch_size": 2,
    }
    return EvaluationSettings(str(pipeline), DRAWN, str(output), **given | changes)


@pytest.fixture(scope="module")
def run(
    pipeline: Path, perceptual: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Evaluation]:
    """A finished evaluation, not to be changed."""
    PartialState._reset_state()
    output = tmp_path_factory.mktemp("evaluation")
    return output, evaluate(settings(pipeline, perceptual, output), with_classes=True)


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_the_figures_are_those_of_the_saved_files(kind: str, run: tuple[Path, Evaluation]):
    output, evaluation = run
    ours, theirs = (
        torch.stack(list(PictureFiles.of_folder(output / "pictures" / name / kind)))
        for name in ("pipeline", "target")
    )
    assert len(ours) == 5
    found = {
        metric: evaluation.find("pipeline", metric, kind).estimate
        for metric in ("SWD", "SSIM", "FD-colours", "KID-colours")
    }
    assert found["SWD"].value == pytest.approx(swd(ours, theirs), rel=1e-5)
    assert found["SSIM"].value == pytest.approx(ssim(ours / 255, theirs / 255).mean().item())
    cells = [torch.nn.functional.adaptive_avg_pool2d(x / 255, 4).flatten(1) for x in (ours, theirs)]
    assert found["FD-colours"].value == pytest.approx(frechet_distance(*cells), rel=1e-4)
    assert found["KID-colours"].value == pytest.approx(kernel_distance(*cells).value, rel=1e-4)


def test_both_file_formats_are_scored_and_differ(run: tuple[Path, Evaluation]):
    _, evaluation = run
    for metric in ("SWD", "SSIM", "FD-colours", "semantic_consistency-VGG19-distilled"):
        png, jpg = (evaluation.find("pipeline", metric, kind).estimate for kind in ("png", "jpg"))
        assert png.value != jpg.value
    assert evaluation.made["formats"]["jpg"] == "JPEG, quality 75, 4:2:0"


def test_every_figure_of_the_items_has_an_interval_and_what_they_are_is_written_down(
    run: tuple[Path, Evaluation],
):
    output, evaluation = run
    for result in evaluation.results:
        if result.metric.startswith(("SWD", "FD-")):
            assert result.estimate.low is None
        else:
            assert result.estimate.low <= result.estimate.value <= result.estimate.high
    assert evaluation.find("pipeline", "warp_accuracy").estimate.count == 5
    assert evaluation.find("pipeline", "diversity-VGG19-distilled").estimate.count == 2
    assert evaluation.find("exemplar", "copy_score").estimate.value == 0
    assert evaluation.find("target", "SSIM") is None
    assert evaluation.made["items"] == 5
    assert evaluation.made["extractors"]["colours"]["resize"] == "by the network itself"
    assert Evaluation.load(output) == evaluation


def test_a_frechet_distance_of_few_pictures_is_marked_and_the_kernel_distance_leads(
    run: tuple[Path, Evaluation],
):
    output, evaluation = run
    note = evaluation.find("pipeline", "FD-colours").note
    assert note == "rank-deficient: 5 pictures, 48 features"
    lead = (output / "report.md").read_text().split("\n\n")[1]
    assert "KID-colours" in lead and "FD-colours" not in lead


def test_no_figure_depends_on_the_order_of_the_items(run: tuple[Path, Evaluation]):
    folder, extractors = RunFolder(run[0]), (load_extractor("colours=rivals:colours"),)
    ours, theirs = (of_format(folder.scores(name, 5), "png") for name in ("pipeline", TARGET))
    orders = [0, 1, 2, 3, 4], [3, 0, 4, 2, 1]
    plain, shuffled = (
        [
            *item_results(ours.iloc[order], 0),
            *set_results(ours.iloc[order], theirs.iloc[order], extractors, {32: 1.0}, 0),
        ]
        for order in orders
    )
    assert [after[0] for after in shuffled] == [before[0] for before in plain]
    assert {before[0] for before in plain} > {"SSIM", "FD-colours", "KID-colours"}
    for (metric, before, _), (_, after, _) in zip(plain, shuffled, strict=True):
        assert after.value == pytest.approx(before.value, rel=1e-6), metric
        assert (after.low, after.high) == pytest.approx((before.low, before.high)), metric


def test_figures_of_a_class_are_means_by_weight_over_the_items_that_have_it():
    def scores(*of_classes: tuple[int, float, float]) -> list[dict[str, Any]]:
        keys = ("metric", "label", "weight", "value")
        return [dict(zip(keys, ("IoU-x", *one), strict=True)) for one in of_classes]

    chunks = [
        pandas.DataFrame({"format": ["png"], "classes": [scores((0, 1.0, 0.25), (3, 2.0, 0.5))]}),
        pandas.DataFrame({"format": ["png"], "classes": [scores((0, 3.0, 0.75))]}),
        pandas.DataFrame({"format": ["jpg"], "classes": [[]]}),  # an item without labels
    ]
    of_classes = class_values(chunks)
    assert of_classes == {"png": {"IoU-x": {0: (0.625, 2), 3: (0.5, 1)}}}  # 1 and 2 are nowhere
    ((metric, estimate, note),) = mean_ious(of_classes["png"], 2)
    assert (metric, estimate.value, note) == ("mIoU-x", 0.5625, "2 classes")


def test_collecting_holds_no_more_than_the_scores_and_features_of_an_item(tmp_path: Path):
    made = {"seed": 0}

    def peak(items: int) -> int:
        folder = RunFolder(tmp_path / str(items))
        for name in (TARGET, "pipeline"):
            for start in range(0, items, 32):
                write_rows(folder.scores_file(name, range(start, start + 32)), rows(start, name))
            for kind in FORMATS:
                levels = {"levels": {"32": 1.0}, "seconds": 1.0}
                write_whole(folder.levels_file(name, kind), json.dumps(levels).encode())
        methods = dict.fromkeys((TARGET, "pipeline"), "")
        tracemalloc.start()
        evaluation = collect(folder, made | {"items": items}, methods, Instruments(), SCENE)
        _, found = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert evaluation.find("pipeline", "SSIM").estimate.count == items
        assert {one.items for one in evaluation.classes} == {items}
        return found

    def rows(start: int, name: str) -> list[dict[str, Any]]:
        of_classes = [
            {"metric": "semantic_consistency", "label": label, "weight": 1.0, "value": 0.5}
            for label in range(100)
        ]
        names = {"item": "a", "exemplar": "b", "method": name}
        values = {"seconds_painting": 1.0, "seconds_scoring": 1.0, "SSIM": 0.5}
        return [
            {"index": index, "format": kind, "classes": of_classes, **names, **values}
            for index in range(start, start + 32)
            for kind in FORMATS
        ]

    peak(32)  # what is imported and kept
    # The 400 scores of each item's classes would be 97 KB.
    assert peak(160) - peak(64) < 96 * 16_000


def test_per_item_scores_are_one_table(run: tuple[Path, Evaluation]):
    output, evaluation = run
    table = pandas.read_parquet(output / "scores.parquet")
    assert len(table) == 4 * 2 * 5  # methods, formats, items
    assert not table.duplicated(["method", "format", "index"]).any()
    mine = table[(table["method"] == "pipeline") & (table["format"] == "jpg")]
    mean = evaluation.find("pipeline", "PSNR", "jpg").estimate.value
    assert mine["PSNR"].mean() == pytest.approx(mean)
    assert list(mine["exemplar"]) == [f"exemplar of {name}" for name in mine["item"]]


def test_the_report_has_tables_sheets_and_correspondences(run: tuple[Path, Evaluation]):
    output, evaluation = run
    markdown, page = ((output / f"report.{end}").read_text() for end in ("md", "html"))
    for result in evaluation.results:
        assert result.metric in markdown and html.escape(result.metric) in page
    for name in (*evaluation.methods, "sky", "JPEG, quality 75", evaluation.made["weights"]):
        assert name in markdown and name in page
    for name in ("best", "median", "worst"):
        for path in (f"sheets/{name}.jpg", f"sheets/{name}-matches.jpg"):
            assert f"]({path})" in markdown and f'src="{path}"' in page
            with Image.open(output / path) as picture:
                assert min(picture.size) > SIDE


def test_the_figures_go_into_a_model_card(run: tuple[Path, Evaluation]):
    _, evaluation = run
    entries = eval_results(evaluation, dataset_name="Drawn Scenes")
    data = ModelCardData(model_name="tiny", eval_results=entries)
    (model,) = data.to_dict()["model-index"]
    (result,) = model["results"]
    assert result["dataset"] == {
        "name": "Drawn Scenes",
        "type": "drawn-scenes",
        "split": "test",
    }
    metrics = {metric["name"]: metric for metric in result["metrics"]}
    found = evaluation.find("pipeline", "KID-colours").estimate
    entry = metrics["KID-colours (PNG, given exemplars)"]
    assert entry["value"] == round(found.value, 4)
    assert entry["args"]["interval_95"][0] == round(found.low, 4)
    assert "rank-deficient" in metrics["FD-colours (PNG, given exemplars)"]["args"]["note"]


def times(output: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (output / "scores").rglob("*.*")}


def test_a_run_goes_on_where_it_was_and_rivals_can_be_added(
    run: tuple[Path, Evaluation], pipeline: Path, perceptual: str, tmp_path: Path
):
    finished, evaluation = run
    output = tmp_path / "again"
    shutil.copytree(finished, output)
    lost = output / "scores" / "pipeline" / "000000.parquet"
    lost.unlink()
    (lost.parent / f".{lost.name}.123").write_bytes(b"half")  # of a killed process
    before = times(output)
    more = settings(
        pipeline,
        perceptual,
        output,
        rivals=("warped", "sharp", "exemplar", "blur=rivals:blurred"),
        batch_size=3,
    )
    again = evaluate(more)
    for result in evaluation.results:
        found = again.find(result.method, result.metric, result.format)
        assert found.estimate.value == pytest.approx(result.estimate.value, rel=1e-4, abs=1e-6)
    assert again.find("blur", "SSIM") is not None
    assert again.find("sharp exemplar", "SSIM") is not None
    after = times(output)
    untouched = [path for path in before if "exemplar" in path.parts or "target" in path.parts]
    assert untouched and all(after[path] == before[path] for path in untouched)


def test_a_folder_of_another_evaluation_is_refused(
    run: tuple[Path, Evaluation], pipeline: Path, perceptual: str, tmp_path: Path
):
    with pytest.raises(ValueError, match="another evaluation: items was 5, is 4. Choose another"):
        evaluate(settings(pipeline, perceptual, run[0], limit=4))
    other = tmp_path / "other"
    tiny.pipeline(SCENE, image_size=SIDE, seed=5).save_pretrained(other)
    with pytest.raises(ValueError, match="weights was"):
        evaluate(settings(other, perceptual, run[0]))


def test_an_evaluation_that_ended_before_its_first_scores_is_replaced(
    run: tuple[Path, Evaluation], pipeline: Path, perceptual: str, tmp_path: Path
):
    wrong = settings(pipeline, perceptual, tmp_path / "out", size=SIDE + 1)
    with pytest.raises(ValueError, match="multiple"):
        evaluate(wrong)
    again = evaluate(dataclasses.replace(wrong, size=SIDE))
    assert again.find("exemplar", "copy_score") == run[1].find("exemplar", "copy_score")


def test_pictures_that_are_not_of_the_evaluation_stay(
    pipeline: Path, perceptual: str, tmp_path: Path
):
    (tmp_path / "out/pictures").mkdir(parents=True)
    (tmp_path / "out/pictures/mine.png").touch()
    for limit in (1, 2):
        Run(settings(pipeline, perceptual, tmp_path / "out", limit=limit))
    assert (tmp_path / "out/pictures/mine.png").exists()


def test_scores_of_a_rival_that_has_changed_are_not_taken_for_its_own(
    run: tuple[Path, Evaluation], pipeline: Path, perceptual: str, tmp_path: Path
):
    output, theirs = tmp_path / "out", tmp_path / "theirs"
    shutil.copytree(run[0], output)
    shutil.copytree(output / "pictures" / "exemplar" / "png", theirs)
    for path in theirs.iterdir():
        path.rename(path.with_name(path.name.partition("_")[2]))
    more = settings(pipeline, perceptual, output, rivals=("exemplar", f"theirs={theirs}"))
    assert evaluate(more).find("theirs", "copy_score").estimate.value == 0
    for path in theirs.iterdir():
        Image.new("RGB", (SIDE, SIDE)).save(path)
    scores = output / "scores" / "theirs"
    message = f"scores of another 'theirs': made_by was .*Give it another name, or remove {scores}"
    with pytest.raises(ValueError, match=message):
        evaluate(more)
    shutil.rmtree(scores)
    again = evaluate(more)
    assert again.find("theirs", "copy_score").estimate.value > 0.1
    assert again.find("theirs", "SWD").estimate.value > 0


@pytest.mark.slow
def test_scores_that_other_networks_or_exemplars_made_are_refused(
    folder: Path, saved: DataSettings, pipeline: Path, tmp_path: Path, monkeypatch: Any
):
    root, cache = tmp_path / "set", str(tmp_path / "cache")
    shutil.copytree(folder, root)
    data = dataclasses.replace(saved, source=str(root), cache_dir=cache)
    weights, module, listed = (tmp_path / name for name in ("vgg.safetensors", "net.py", "list"))
    safetensors.torch.save_file(tiny.lively(DistilledVGG19Features()).state_dict(), weights)
    module.write_text("from rivals import colours\n")
    monkeypatch.syspath_prepend(tmp_path)
    ids = {
        split: [
            json.loads(line)["id"]
            for line in (root / split / "metadata.jsonl").read_text().splitlines()
        ]
        for split in ("train", "test")
    }
    listed.write_text("\n".join(f"{item}, {ids['train'][0]}" for item in ids["test"]))
    given = dataclasses.replace(
        settings(pipeline, f"VGG19-distilled={weights}", tmp_path / "out", limit=None),
        data=data,
        exemplars=str(listed),
        extractors=("mine=net:colours",),
    )
    made = Run(given).made
    assert Run(given).made == made
    (tmp_path / "out/scores/target/000000.parquet").touch()  # without scores it may be replaced
    assert made["train_split"] == "train" and made["exemplars"].startswith("the list list, content")

    def is_refused(change: str, changed: EvaluationSettings = given) -> None:
        with pytest.raises(
            ValueError, match=rf"another evaluation: .*{change} was .*, is .*\. Cho"
        ):
            Run(changed)

    is_refused("train_split", dataclasses.replace(given, train_split="train[:5]"))
    other_weights = safetensors.torch.save(tiny.lively(DistilledVGG19Features(), 1).state_dict())
    for path, contents, change in (
        (weights, other_weights, "perceptual.content"),
        (module, b"from rivals import colours as colours\n", "extractors.mine.content"),
        (listed, listed.read_bytes() + b"\n", "exemplars"),
    ):
        before = path.read_bytes()
        path.write_bytes(contents)
        is_refused(change)
        path.write_bytes(before)
    assert Run(given).made == made
    photo_file = next(path for path in (root / "test").rglob("*.png"))
    photo_file.write_bytes(photo_file.read_bytes())
    is_refused("data.content")


def test_files_that_do_not_belong_to_a_run_are_noticed(
    run: tuple[Path, Evaluation], pipeline: Path, perceptual: str, tmp_path: Path
):
    output = tmp_path / "strange"
    shutil.copytree(run[0], output)
    scores = output / "scores" / "exemplar"
    shutil.copy(scores / "000000.parquet", scores / "000032.parquet")
    with pytest.raises(ValueError, match="one score for each of 5 items and each format, got 20"):
        evaluate(settings(pipeline, perceptual, output))
    (scores / "000032.parquet").unlink()
    (scores / "swd-png.json").unlink()
    save_picture(Image.new("RGB", (SIDE, SIDE)), output / "pictures/exemplar/png/stranger.png")
    with pytest.raises(ValueError, match="must hold 5 pictures, one for each item, got 6"):
        evaluate(settings(pipeline, perceptual, output))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"segmenter": "a:b", "data": "pose"}, ValueError, "A segmenter needs a mask condition"),
        ({"pose_finder": "a:b"}, ValueError, "A pose finder needs a pose condition"),
        ({"extractors": ("a=rivals:colours",) * 2}, ValueError, "extractor needs a name of its"),
        ({"rivals": ("exemplar", "exemplar")}, ValueError, "rival needs a name of its own"),
        ({"rivals": ("a b=rivals:blurred", "A-b=rivals:tensors")}, ValueError, "a name of its own"),
        ({"rivals": ("warped", "warped-exemplar=rivals:blurred")}, ValueError, "since it names a"),
        ({"rivals": ("sharp", "sharp-exemplar=rivals:blurred")}, ValueError, "since it names a"),
        ({"diversity": 1}, ValueError, "'diversity' must be 0 or at least 2"),
        ({"batch_size": 0}, ValueError, "'batch_size' must be at least 1"),
        ({"background": 99}, ValueError, "'background' must be one of the"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_any_work(
    changes: dict[str, Any],
    error: type[Exception],
    message: str,
    pipeline: Path,
    perceptual: str,
    tmp_path: Path,
):
    if changes.pop("data", None):
        pipeline = tmp_path / "pose"
        tiny.pipeline(PoseCondition(), image_size=SIDE).save_pretrained(pipeline)
    with pytest.raises(error, match=message):
        evaluate(settings(pipeline, perceptual, tmp_path / "out", **changes))
    assert not (tmp_path / "out").exists()


def test_the_command_line_evaluates_and_prints_the_tables(
    pipeline: Path, perceptual: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = [str(pipeline), "--data=synthetic", "--exemplars=random", "--pool-limit=4"]
    arguments += ["--condition-column=condition", "--limit=2", "--diversity=0", "--classes"]
    arguments += ["--extractors", f"--perceptual={perceptual}", f"--output={tmp_path / 'out'}"]
    main(arguments)
    printed = capsys.readouterr().out
    assert "| nearest photo |" in printed and "## warp_accuracy by class, PNG" in printed
    assert "| method | painting | scoring | swd | pairs scored per second |" in printed
    evaluation = Evaluation.load(tmp_path / "out")
    taken = evaluation.throughput["pipeline"]
    rate = f"{1 / (taken['scoring'] + taken['swd']):.4g}"
    assert re.search(rf"^\| pipeline \|.*\| {re.escape(rate)} \|$", printed, re.MULTILINE)
    assert evaluation.peak_memory["process"] > 100
    peak = f"process {evaluation.peak_memory['process']:,.0f} MB"
    assert f"Peak memory since the last start: {peak}." in printed
    assert evaluation.made["size"] == SIDE  # the pipeline's
    assert evaluation.made["exemplars"] == "random from 'train', seed 0"


def test_a_mistake_on_the_command_line_ends_with_the_remedy(
    pipeline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit):
        main([str(pipeline), "--data=synthetic", "--perceptual=none", f"-o={tmp_path / 'out'}"])
    assert "needs 'condition_column'" in capsys.readouterr().err


def test_the_tables_are_printed_even_if_the_figures_cannot_be_put_into_the_card(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    tiny.pipeline(image_size=SIDE).save_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / "README.md").write_bytes(b"\xff is no text")
    arguments = [str(tmp_path / "saved"), "--card", "--data=synthetic", "--exemplars=random"]
    arguments += ["--condition-column=condition", "--limit=2", "--pool-limit=4", "--diversity=0"]
    arguments += ["--rivals", "--extractors", "--perceptual=none", f"-o={tmp_path / 'out'}"]
    with pytest.raises(SystemExit):
        main(arguments)
    printed = capsys.readouterr()
    assert "| method | painting | scoring |" in printed.out
    assert "can't decode byte 0xff" in printed.err


def test_what_cannot_be_loaded_is_left_out_with_a_note_unless_it_was_asked_for(
    pipeline: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    try:
        import torch_fidelity  # noqa: F401
    except ImportError:
        pass
    else:
        pytest.skip("everything can be loaded here")
    automatic = {"extractors": "auto", "lpips": "auto", "limit": 1, "rivals": ()}
    evaluation = evaluate(settings(pipeline, "auto", tmp_path / "out", **automatic))
    assert evaluation.find("pipeline", "FID") is None
    assert "Not measured: FID and KID" in caplog.text
    assert "Not measured: semantic consistency" in caplog.text
    report = (tmp_path / "out" / "report.md").read_text()
    assert "| not measured | why |" in report and "| FID and KID | FID needs torch" in report
    with pytest.raises(ImportError, match="FID needs torchmetrics, torch-fidelity"):
        evaluate(settings(pipeline, "auto", tmp_path / "other", extractors=("Inception",)))


@pytest.mark.slow
def test_two_processes_give_the_figures_of_one(
    run: tuple[Path, Evaluation], pipeline: Path, perceptual: str, tmp_path: Path
):
    arguments = [str(pipeline), "--data=synthetic", "--condition-column=condition", "--limit=5"]
    arguments += ["--exemplar-column=exemplar", "--exemplar-condition-column=exemplar_condition"]
    arguments += ["--exemplars=column", "--rivals", "warped", "exemplar", f"-o={tmp_path / 'out'}"]
    arguments += ["--diversity=3", "--diversity-items=2", "--batch-size=2"]
    arguments += ["--extractors", "colours=rivals:colours", f"--perceptual={perceptual}"]
    launched = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
        + ["-m", "cocosnet_hf.evaluate", *arguments],
        cwd=REPOSITORY,
        env=os.environ
        | {
            "OMP_NUM_THREADS": "1",
            "ACCELERATE_USE_CPU": "true",
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")]),
        },
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert launched.returncode == 0, launched.stderr
    assert launched.stdout.count("# Evaluation of") == 1
    for result in run[1].results:
        found = Evaluation.load(tmp_path / "out").find(result.method, result.metric, result.format)
        # Rounding that moves one pixel by one moves the places where its picture's patches lie.
        close = 0.1 if result.metric == "SWD" else 1e-4
        assert found.estimate.value == pytest.approx(result.estimate.value, rel=close, abs=1e-6)


def test_processes_that_do_not_know_of_each_other_are_an_error(
    pipeline: Path, perceptual: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RuntimeError, match="2 processes were launched but accelerate sees 1"):
        evaluate(settings(pipeline, perceptual, tmp_path / "out"))
