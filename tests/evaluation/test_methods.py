"""What paints the pairs: the pipeline and its baselines."""

import dataclasses
import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from cocosnet_hf import BlendingTranslationNetwork, CoCosPipeline
from cocosnet_hf.evaluation import EvaluationPairs, carry_labels, load_baseline
from cocosnet_hf.evaluation.methods import pipeline_method, run_pipeline, target_method
from tests.support import tiny
from tests.support.evaluating import BASELINES, DRAWN, SCENE, SIDE

pytest.importorskip("datasets")
pytestmark = pytest.mark.usefixtures("fresh_process")


def test_the_pipeline_paints_the_pairs_and_says_how_it_matched(pairs: EvaluationPairs):
    pipe = tiny.pipeline(SCENE, image_size=SIDE)
    some = [pairs[0], pairs[1]]
    batch, warped = pipeline_method(pipe, "tiny", background=0).generate(some)
    rows = [pairs.rows[index] for index in range(2)]
    out = pipe(
        [row["condition"] for row in rows],
        [row["exemplar"] for row in rows],
        [row["exemplar_condition"] for row in rows],
        output_type="pt",
    )
    torch.testing.assert_close(batch.pictures, out.images, atol=1e-4, rtol=0)
    torch.testing.assert_close(warped.pictures, out.warped_exemplars, atol=1e-4, rtol=0)
    for index, score in enumerate(batch.scores):
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
    painted, warped, sharp = method.generate(some)
    photos = torch.stack([pair.exemplar.photo for pair in some]) / 255
    sides = [(pair.target, pair.exemplar) for pair in some]
    out = run_pipeline(pipe, some)
    flow = out.matching.coherent()
    torch.testing.assert_close(sharp.pictures, flow.warp(photos, (SIDE, SIDE)), atol=1e-5, rtol=0)
    same = (sharp.pictures - warped.pictures).abs().max() < 1e-4
    assert bool(same) == (warp == "coherent")
    labels, own = (torch.stack([one.labels for one in each]) for each in zip(*sides, strict=True))
    carried = carry_labels(flow if warp == "coherent" else out.matching, labels, own)
    found = [score.values["warp_accuracy"] for score in painted.scores]
    assert found == pytest.approx(carried.accuracy().tolist())


def test_the_baselines_of_the_matching_are_painted_where_they_are_asked_for(pairs: EvaluationPairs):
    pipe = tiny.pipeline(SCENE, image_size=SIDE)
    assert list(pipeline_method(pipe, "tiny", ()).made_by) == ["pipeline"]
    method = pipeline_method(pipe, "tiny", ("exemplar", "sharp"))
    assert list(method.made_by) == ["pipeline", "sharp exemplar"]
    assert [batch.pictures.shape for batch in method.generate([pairs[0]])] == [
        (1, 3, SIDE, SIDE)
    ] * 2


def test_noise_of_a_pipeline_depends_on_the_item_alone(pairs: EvaluationPairs):
    pipe = tiny.pipeline(SCENE, image_size=SIDE, exemplar_noise=0.5)
    method = pipeline_method(pipe, "tiny")
    together = method.generate([pairs[0], pairs[1]])[0].pictures
    alone = method.generate([pairs[1]])[0].pictures
    # Another batch rounds otherwise, which the matching magnifies; other noise changes far more.
    torch.testing.assert_close(together[1:], alone, atol=1e-3, rtol=0)
    other = run_pipeline(pipe, [dataclasses.replace(pairs[1], index=0)]).images
    assert (other - alone).abs().max() > 1e-2


def test_built_in_baselines_show_the_exemplar_and_the_nearest_photo(pairs: EvaluationPairs):
    pair = pairs[1]
    (exemplar,) = load_baseline("exemplar", pairs).generate([pair])
    assert torch.equal(exemplar.pictures[0], pair.exemplar.photo / 255)
    (nearest,) = load_baseline("nearest", pairs).generate([pair])
    assert torch.equal(nearest.pictures[0], pairs.nearest(1).photo / 255)
    (target,) = target_method().generate([pair])
    assert torch.equal(target.pictures[0], pair.target.photo / 255)


def test_a_function_is_a_baseline(pairs: EvaluationPairs):
    (blurred,) = load_baseline(f"blur={BASELINES}:blurred", pairs).generate([pairs[0], pairs[2]])
    assert blurred.pictures.shape == (2, 3, SIDE, SIDE)
    (colours,) = load_baseline(f"colours={BASELINES}:tensors", pairs).generate([pairs[0]])
    assert torch.equal(colours.pictures[0], pairs[0].target.condition[:3])
    with pytest.raises(ValueError, match="'small' made a picture of 16 x 16 px.*are 32 x 32"):
        load_baseline(f"small={BASELINES}:too_small", pairs).generate([pairs[0]])


def test_a_folder_is_a_baseline_if_it_has_one_picture_for_each_item(
    pairs: EvaluationPairs, tmp_path: Path
):
    for index, suffix in ((0, "png"), (1, "png"), (2, "bmp")):
        pair = pairs[index]
        picture = Image.fromarray(pair.target.photo.permute(1, 2, 0).numpy())
        picture.save(tmp_path / f"{pair.target.name}.{suffix}")
    (tmp_path / "notes.txt").touch()
    baseline = load_baseline(f"theirs={tmp_path}", pairs)
    assert baseline.made_by["theirs"].startswith(f".bmp, .png files of {tmp_path}, content ")
    (batch,) = baseline.generate([pairs[2], pairs[0]])
    assert torch.equal(batch.pictures[0], pairs[2].target.photo / 255)
    (tmp_path / f"{pairs[0].target.name}.jpg").touch()
    (tmp_path / f"{pairs[1].target.name}.png").unlink()
    Image.new("RGB", (40, 32)).save(tmp_path / f"{pairs[2].target.name}.bmp")
    baseline = load_baseline(f"theirs={tmp_path}", pairs)
    for index, message in ((0, "has 2 called"), (1, "has 0 called"), (2, "of 40 x 32 px")):
        with pytest.raises(ValueError, match=message):
            baseline.generate([pairs[index]])


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
    baseline = load_baseline(f"theirs={tmp_path}", pairs)
    baseline.generate([named[0], pairs[1]])
    baseline.generate([named[0]])
    with pytest.raises(ValueError, match="for two items, 'a/.*' and 'b/"):
        baseline.generate([named[1]])


def test_transparency_of_a_baselines_pictures_is_laid_on_white(
    pairs: EvaluationPairs, tmp_path: Path
):
    Image.new("RGBA", (SIDE, SIDE), (255, 0, 0, 0)).save(tmp_path / f"{pairs[0].target.name}.png")
    for spec in (f"theirs={tmp_path}", f"clear={BASELINES}:transparent"):
        (batch,) = load_baseline(spec, pairs).generate([pairs[0]])
        assert batch.pictures.shape == (1, 3, SIDE, SIDE) and batch.pictures.min() == 1


def flip_a_bit(path: Path) -> None:
    """In place: neither the file's name nor its size nor its time tells."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_what_makes_a_baselines_pictures_tells_a_change_of_its_files(
    pairs: EvaluationPairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    module, picture = tmp_path / "painter_of_baselines.py", tmp_path / "pictures" / "a.bmp"
    module.write_text("def paint(condition, exemplar):\n    return exemplar.rotate(1)\n")
    picture.parent.mkdir()
    Image.new("L", (SIDE, SIDE), 7).save(picture)
    monkeypatch.syspath_prepend(tmp_path)
    for spec, path in ((f"a={module.stem}:paint", module), (f"a={picture.parent}", picture)):
        before = load_baseline(spec, pairs).made_by
        assert load_baseline(spec, pairs).made_by == before
        flip_a_bit(path)
        assert load_baseline(spec, pairs).made_by != before
    nearest = load_baseline("nearest", pairs).made_by
    fewer = EvaluationPairs(DRAWN, SCENE, exemplars="column", limit=3, pool_limit=4)
    assert load_baseline("nearest", fewer).made_by != nearest


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        (f"..={BASELINES}:blurred", ValueError, "with a name of its own"),
        ("nobody", ValueError, "A baseline is one of warped, sharp, exemplar, nearest"),
        (f"pipeline={BASELINES}:blurred", ValueError, "with a name of its own"),
        ("theirs=no/such/folder", ValueError, "There is no folder 'no/such/folder'"),
        (f"theirs={BASELINES}:nobody", ImportError, f"'{BASELINES}' has no 'nobody'"),
        (f"theirs={BASELINES}:NOT_A_FUNCTION", ImportError, "is not a function"),
        ("theirs=no_such_module:function", ImportError, "no_such_module"),
    ],
)
def test_baselines_that_cannot_be_used_are_refused(
    spec: str, error: type[Exception], message: str, pairs: EvaluationPairs
):
    with pytest.raises(error, match=message):
        load_baseline(spec, pairs)
