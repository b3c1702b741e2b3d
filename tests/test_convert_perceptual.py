"""The published file of the distilled VGG-19, as training reads it."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from cocosnet_hf import DistilledVGG19Features
from cocosnet_hf.convert import convert_perceptual, main
from tests.support import tiny


def published(path: Path, *inside: str) -> dict[str, torch.Tensor]:
    """A file as it was published: other names, maps to VGG-19's channels, some keys around it."""
    ours = tiny.lively(DistilledVGG19Features()).state_dict()
    state: Any = {re.sub(r"conv(\d)_(\d)", r"conv\1\2", key): ours[key] for key in ours}
    state["conv11_aux.weight"] = torch.rand(64, 16, 1, 1)
    for key in reversed(inside):
        state = {key: state}
    torch.save(state, path)
    return ours


@pytest.mark.parametrize("inside", [(), ("model",), ("model", "SE")])
def test_the_published_weights_become_the_file_that_training_reads(
    inside: tuple[str, ...], tmp_path: Path
):
    ours = published(tmp_path / "5SE.pth", *inside)
    target = tmp_path / "vgg.safetensors"
    main(["--perceptual", str(tmp_path / "5SE.pth"), str(target)])
    found = DistilledVGG19Features.from_file(target).state_dict()
    assert found.keys() == ours.keys()
    assert all(torch.equal(found[key], ours[key]) for key in ours)
    with pytest.raises(FileExistsError, match="exists; choose another name"):
        convert_perceptual(tmp_path / "5SE.pth", target)


def test_a_file_of_another_network_is_refused_and_leaves_nothing(tmp_path: Path):
    torch.save({"conv0.weight": torch.rand(3, 3, 1, 1)}, tmp_path / "other.pth")
    target = tmp_path / "vgg.safetensors"
    with pytest.raises(ValueError, match=r"other\.pth is not the network .*are missing"):
        convert_perceptual(tmp_path / "other.pth", target)
    assert not target.exists()
    with pytest.raises(FileNotFoundError, match=r"expected 5SE\.pth"):
        convert_perceptual(tmp_path / "none.pth", target)
