"""What evaluations are made of; not to be changed."""

import dataclasses
from pathlib import Path

import pytest
import safetensors.torch
from torch import Tensor

from cocosnet_hf import DistilledVGG19Features
from cocosnet_hf.datasets import DataSettings
from cocosnet_hf.evaluation import Evaluation, EvaluationPairs, evaluate
from cocosnet_hf.synthetic import SyntheticExamples, write_imagefolder
from tests.support import tiny
from tests.support.evaluating import DRAWN, SCENE, SIDE, settings
from tests.support.metrics import drawn
from tests.support.processes import forget_processes


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An imagefolder of 6 training and 4 test scenes."""
    root = tmp_path_factory.mktemp("scenes")
    for split, first, length in (("train", 0, 6), ("test", 50, 4)):
        write_imagefolder(SyntheticExamples("mask", SIDE, length=length, first=first), root, split)
    return root


@pytest.fixture(scope="session")
def saved(folder: Path) -> DataSettings:
    """The settings that read it."""
    return dataclasses.replace(
        DRAWN,
        source=str(folder),
        condition_column="label",
        exemplar_condition_column="exemplar_label",
    )


@pytest.fixture(scope="session")
def perceptual(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A perceptual network with random weights, as a spec."""
    path = tmp_path_factory.mktemp("weights") / "vgg.safetensors"
    safetensors.torch.save_file(tiny.lively(DistilledVGG19Features()).state_dict(), path)
    return f"VGG19-distilled={path}"


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an untrained pipeline for scenes."""
    path = tmp_path_factory.mktemp("pipeline")
    tiny.pipeline(SCENE, image_size=SIDE).save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def pairs() -> EvaluationPairs:
    return EvaluationPairs(DRAWN, SCENE, exemplars="column", limit=3, pool_limit=5)


@pytest.fixture(scope="session")
def run(
    pipeline: Path, perceptual: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Evaluation]:
    """A finished evaluation, not to be changed."""
    forget_processes()
    output = tmp_path_factory.mktemp("evaluation")
    return output, evaluate(settings(pipeline, perceptual, output), with_classes=True)


@pytest.fixture(scope="session")
def scenes() -> Tensor:
    return drawn(12)
