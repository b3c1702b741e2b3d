"""The scores of an item."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cocosnet_hf import (
    DistilledVGG19Features,
    EdgeCondition,
    PartEdgeCondition,
    Pose,
    PoseCondition,
)
from cocosnet_hf.datasets import DataSettings
from cocosnet_hf.evaluation import EvaluationPairs, MetricNetworks, Scorer
from cocosnet_hf.evaluation.metric_networks import load_metric_networks, load_segmenter
from cocosnet_hf.synthetic import SCENE_CLASSES, SyntheticExamples
from tests.support import tiny
from tests.support.evaluating import BASELINES, DRAWN, SCENE, SIDE, settings
from tests.support.segmenter import save_segmenter

pytest.importorskip("datasets")
pytestmark = pytest.mark.usefixtures("fresh_process")


def of_pairs(pairs: EvaluationPairs, scorer: Scorer, indices: list[int]) -> Any:
    some = [pairs[index] for index in indices]
    targets = torch.stack([pair.target.photo / 255 for pair in some])
    exemplars = torch.stack([pair.exemplar.photo / 255 for pair in some])
    return scorer.references(some, targets, exemplars)


def test_the_true_photo_has_the_best_scores(pairs: EvaluationPairs):
    scorer = Scorer(SCENE, MetricNetworks(perceptual=tiny.lively(DistilledVGG19Features())), "cpu")
    references = of_pairs(pairs, scorer, [0, 1])
    for score in scorer.score(references.targets, references):
        assert score.values["SSIM"] == pytest.approx(1)
        assert score.values["PSNR"] == 100
        assert score.values["perceptual_distance-VGG19-distilled"] == pytest.approx(0, abs=1e-6)
        assert score.values["semantic_consistency-VGG19-distilled"] == pytest.approx(1)
        assert 0 < score.values["style_color-VGG19-distilled"] < 1
        assert score.values["copy_score"] > 0


def test_an_items_score_is_the_weighted_mean_of_its_classes(pairs: EvaluationPairs):
    scorer = Scorer(SCENE, MetricNetworks(perceptual=tiny.lively(DistilledVGG19Features())), "cpu")
    references = of_pairs(pairs, scorer, [0, 1])
    for score in scorer.score(references.exemplars, references):
        for metric in ("semantic_consistency", "style_color", "style_texture"):
            name = f"{metric}-VGG19-distilled"
            classes = [one for one in score.classes if one.metric == name]
            weight = sum(one.weight for one in classes)
            mean = sum(one.weight * one.value for one in classes) / weight
            assert score.values[name] == pytest.approx(mean, abs=1e-5)
            assert (0 in {one.label for one in classes}) == (metric == "semantic_consistency")


def test_without_networks_only_pixels_are_compared(pairs: EvaluationPairs):
    scorer = Scorer(SCENE, MetricNetworks(), "cpu")
    references = of_pairs(pairs, scorer, [0])
    (score,) = scorer.score(references.exemplars, references)
    assert score.values.keys() == {"SSIM", "PSNR", "copy_score"}
    assert score.values["copy_score"] == 0


def test_edges_of_the_true_photo_are_those_of_its_condition():
    condition = EdgeCondition(sigma=1.5)
    settings = dataclasses.replace(DRAWN, condition_column=None, exemplar_condition_column=None)
    pairs = EvaluationPairs(settings, condition, exemplars="column", limit=1)
    scorer = Scorer(condition, MetricNetworks(), "cpu")
    references = of_pairs(pairs, scorer, [0])
    assert scorer.score(references.targets, references)[0].values["edge_F1"] == 1
    assert scorer.score(references.exemplars, references)[0].values["edge_F1"] < 0.9


def test_edges_that_no_photo_shows_alone_are_not_compared_and_the_reason_is_noted(
    saved: DataSettings, pipeline: Path
):
    condition = PartEdgeCondition()
    pairs = EvaluationPairs(saved, condition, exemplars="random", limit=1)
    networks = load_metric_networks(settings(pipeline, None, Path()), condition)
    scorer = Scorer(condition, networks, "cpu")
    references = of_pairs(pairs, scorer, [0])
    assert "edge_F1" not in scorer.score(references.targets, references)[0].values
    assert "outlines of face parts" in networks.skipped["edge_F1"]


def test_a_segmenter_measures_the_mask(pairs: EvaluationPairs):
    spec = load_segmenter(f"{BASELINES}:dark_is_zero", SCENE)
    scorer = Scorer(SCENE, MetricNetworks(segmenter=spec), "cpu")
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
    scorer = Scorer(SCENE, MetricNetworks(segmenter=segmenter), "cpu")
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
        scorer = Scorer(condition, MetricNetworks(pose_finder=("finder", finder)), "cpu")
        references = of_pairs(pairs, scorer, [0])
        (score,) = scorer.score(references.targets, references)
        assert score.values["PCK-finder"] == expected
