"""An evaluation goes on where it was, and refuses what belongs to another."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
from PIL import Image

from cocosnet_hf import DistilledVGG19Features
from cocosnet_hf.datasets import DataSettings
from cocosnet_hf.evaluation import Evaluation, EvaluationSettings, evaluate
from cocosnet_hf.evaluation.protocol import Run
from cocosnet_hf.evaluation.storage import save_picture
from tests.support import tiny
from tests.support.evaluating import BASELINES, SCENE, SIDE, settings

pytest.importorskip("datasets")
pytestmark = pytest.mark.usefixtures("fresh_process")


def times(output: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (output / "scores").rglob("*.*")}


@pytest.mark.slow
def test_a_run_goes_on_where_it_was_and_baselines_can_be_added(
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
        baselines=("warped", "sharp", "exemplar", f"blur={BASELINES}:blurred"),
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_scores_of_a_baseline_that_has_changed_are_not_taken_for_its_own(
    run: tuple[Path, Evaluation], pipeline: Path, perceptual: str, tmp_path: Path
):
    output, theirs = tmp_path / "out", tmp_path / "theirs"
    shutil.copytree(run[0], output)
    shutil.copytree(output / "pictures" / "exemplar" / "png", theirs)
    for path in theirs.iterdir():
        path.rename(path.with_name(path.name.partition("_")[2]))
    more = settings(pipeline, perceptual, output, baselines=("exemplar", f"theirs={theirs}"))
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
    module.write_text("from tests.support.baselines import colours\n")
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
    provenance = Run(given).provenance
    assert Run(given).provenance == provenance
    (tmp_path / "out/scores/target/000000.parquet").touch()  # without scores it may be replaced
    assert provenance["train_split"] == "train" and provenance["exemplars"].startswith(
        "the list list, content"
    )

    def is_refused(change: str, changed: EvaluationSettings = given) -> None:
        with pytest.raises(
            ValueError, match=rf"another evaluation: .*{change} was .*, is .*\. Cho"
        ):
            Run(changed)

    is_refused("train_split", dataclasses.replace(given, train_split="train[:5]"))
    other_weights = safetensors.torch.save(tiny.lively(DistilledVGG19Features(), 1).state_dict())
    for path, contents, change in (
        (weights, other_weights, "perceptual.content"),
        (
            module,
            b"from tests.support.baselines import colours  # again\n",
            "extractors.mine.content",
        ),
        (listed, listed.read_bytes() + b"\n", "exemplars"),
    ):
        before = path.read_bytes()
        path.write_bytes(contents)
        is_refused(change)
        path.write_bytes(before)
    assert Run(given).provenance == provenance
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
