"""What is written of a reader's training, and what a network would say too often is taken back."""

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from cocosnet_hf.bundled import ASSETS
from cocosnet_hf.models.scene import SceneNetwork
from tools import train_face, train_person, train_scene
from tools.training import class_weights, save, train


def test_of_classes_that_counted_more_the_written_network_says_less(tmp_path: Path):
    torch.manual_seed(0)
    network, excess = SceneNetwork(3, width=16).eval(), torch.tensor([0.2, 1.0, 3.0])
    save(network, network.state_dict(), tmp_path, excess)
    written = SceneNetwork.from_pretrained(tmp_path, variant="fp16", dtype=torch.float32)
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        change = (written.eval()(images) - network(images)).mean((0, 2, 3))
    assert change.tolist() == pytest.approx((-excess.log()).tolist(), abs=0.02)


def test_a_training_that_goes_on_takes_back_once(tmp_path: Path):
    torch.manual_seed(0)
    network, excess = SceneNetwork(3, width=16), torch.tensor([0.2, 1.0, 3.0])

    def read() -> SceneNetwork:
        return SceneNetwork.from_pretrained(tmp_path, variant="fp16", dtype=torch.float32)

    def never(_: float) -> Tensor:
        raise AssertionError("there was no time for a step")

    save(network, network.state_dict(), tmp_path, excess)
    first = read().get_parameter("class_head.bias")
    train(read(), never, 1e-9, 1e-3, tmp_path, excess)
    assert (read().get_parameter("class_head.bias") - first).abs().max() < 1e-3


def test_a_smaller_power_brings_the_weights_of_classes_nearer_to_one():
    labels = [np.repeat([0, 1, 2], [900, 90, 10])]
    strong, weak = class_weights(labels, 3), class_weights(labels, 3, 0.2)
    assert ((weak[2] / weak[1]) ** 2).item() == pytest.approx((strong[2] / strong[1]).item())
    assert class_weights(labels, 3, 0).tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("card", "tool"),
    [
        ("face-reader", train_face),
        ("landscape-reader", train_scene),
        ("mask-reader", train_person),
        ("person-reader", train_person),
    ],
)
def test_the_trainings_that_cards_tell_of_can_be_asked_for(
    card: str, tool: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    text = (ASSETS / card / "README.md").read_text()
    monkeypatch.setattr(sys, "argv", ["tool", "--help"])
    with pytest.raises(SystemExit):
        tool.main()
    assert set(re.findall(r"--[a-z]+", text)) <= set(
        re.findall(r"--[a-z]+", capsys.readouterr().out)
    )
    assert "the classes' weights to half" not in text  # in words alone
