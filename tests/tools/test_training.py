"""What is written of a reader's training, and what a network would say too often is taken back."""

from pathlib import Path

import pytest
import torch

from cocosnet_hf.models.scene import SceneNetwork
from tools.training import save


def test_of_classes_that_counted_more_the_written_network_says_less(tmp_path: Path):
    torch.manual_seed(0)
    network, excess = SceneNetwork(3, width=16).eval(), torch.tensor([0.2, 1.0, 3.0])
    save(network, network.state_dict(), tmp_path, excess)
    written = SceneNetwork.from_pretrained(tmp_path, variant="fp16", dtype=torch.float32)
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        change = (written.eval()(images) - network(images)).mean((0, 2, 3))
    assert change.tolist() == pytest.approx((-excess.log()).tolist(), abs=0.02)
