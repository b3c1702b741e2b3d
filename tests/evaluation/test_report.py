"""A whole run: its figures, tables and sheets."""

import html
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch
from huggingface_hub import ModelCardData
from PIL import Image

from cocosnet_hf.evaluation import (
    Evaluation,
    MetricNetworks,
    PictureFiles,
    eval_results,
    frechet_distance,
    kernel_distance,
    load_extractor,
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
from cocosnet_hf.evaluation.methods import TARGET
from cocosnet_hf.evaluation.storage import FORMATS, RunFolder, write_rows
from cocosnet_hf.whole_files import write_whole
from tests.support.evaluating import BASELINES, SCENE, SIDE

pytest.importorskip("datasets")
pytestmark = pytest.mark.usefixtures("fresh_process")


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
    assert evaluation.provenance["formats"]["jpg"] == "JPEG, quality 75, 4:2:0"


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
    assert evaluation.provenance["items"] == 5
    assert evaluation.provenance["extractors"]["colours"]["resize"] == "by the network itself"
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
    folder, extractors = RunFolder(run[0]), (load_extractor(f"colours={BASELINES}:colours"),)
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


@pytest.mark.slow
def test_collecting_holds_no_more_than_the_scores_and_features_of_an_item(tmp_path: Path):
    provenance = {"seed": 0}

    def peak(items: int) -> int:
        folder = RunFolder(tmp_path / str(items))
        for name in (TARGET, "pipeline"):
            for start in range(0, items, 32):
                write_rows(folder.scores_file(name, range(start, start + 32)), rows(start, name))
            for kind in FORMATS:
                levels = {"levels": {"32": 1.0}, "seconds": 1.0}
                write_whole(folder.levels_file(name, kind), json.dumps(levels))
        methods = dict.fromkeys((TARGET, "pipeline"), "")
        tracemalloc.start()
        evaluation = collect(
            folder, provenance | {"items": items}, methods, MetricNetworks(), SCENE
        )
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
    for name in (*evaluation.methods, "sky", "JPEG, quality 75", evaluation.provenance["weights"]):
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
