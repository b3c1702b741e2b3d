"""Every norm is a setting of every network of the baselines, and another is another network."""

import inspect
from itertools import combinations

import pytest
import torch
import torch.nn.functional as F

from cocosnet_hf import MaskCondition
from cocosnet_hf.models.norms import NORMS
from cocosnet_hf.synthetic import SCENE_CLASSES
from cocosnet_hf.systems import SYSTEMS, Batch
from tests.support.tensors import normal
from tests.support.tiny import lively
from tests.systems.test_contract import GROUPS

CONDITION = MaskCondition.from_names(list(SCENE_CLASSES))
BASELINES = [
    "pix2pix",
    "pix2pixhd",
    "spade",
    "spade_plain",
    "bicyclegan",
    "munit",
    "egsc-it",
    "sims",
]


@pytest.mark.parametrize("name", BASELINES)
@torch.no_grad()
def test_every_norm_is_a_setting_of_all_its_networks(name: str):
    kind, settings = SYSTEMS[name], GROUPS[name]["networks"]
    for own in kind.network_classes.values():
        assert all("norm" in inspect.signature(network.__init__).parameters for network in own)
    blocks = (normal(2, 4, 4) * 3).long() % len(SCENE_CLASSES)
    labels = blocks.repeat_interleave(8, 1).repeat_interleave(8, 2)
    layouts = F.one_hot(labels, len(SCENE_CLASSES)).movedim(-1, 1).float()
    photos = normal(2, 3, 32, 32).clamp(-1, 1)
    batch = Batch(photos, layouts, photos.flip(0), layouts.flip(0), torch.zeros(2))
    pictures = {}
    for norm in NORMS:
        options = {key: settings.get(key, {}) | {"norm": norm} for key in kind.network_classes}
        torch.manual_seed(0)
        networks = kind.make_networks(CONDITION, options)
        for network in networks.values():
            lively(network)
        system = kind(CONDITION, networks, kind.Losses(**GROUPS[name]["losses"]))
        pictures[norm] = system.generate(networks, batch).image
        assert pictures[norm].isfinite().all(), norm
    same = {
        pair for pair in combinations(NORMS, 2) if torch.equal(*(pictures[norm] for norm in pair))
    }
    assert same <= {("batch", "sync_batch")}
