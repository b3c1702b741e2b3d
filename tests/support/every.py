"""Every system there is at a size of seconds: settings, networks that nothing taught, batches."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cocosnet_hf.conditions import condition_from_config
from cocosnet_hf.conditions.asked import planes
from cocosnet_hf.synthetic import PALETTES
from cocosnet_hf.systems import Batch, System, SystemSettings, find_system
from tests.support import tiny
from tests.support.training import SETTINGS

TOY = "tests.support.toy_system:Toy"
OWN_CONDITION = "tests.support.toy_condition:Brightness"
"""A system and a condition as users write them, a file each, of which nothing here knows more."""
CRITIC = {"base_channels": 4, "halvings": 1, "scales": 1}
SPADE = {"channels": [8, 8, 4], "spade_channels": 4, "start": [4, 4], "norm": "batch"}
GROUPS: dict[str, dict[str, Any]] = {
    "adain": {
        "networks": {"condition": SETTINGS["networks"]["condition"]} | tiny.ADAIN_SETTINGS,
        "losses": {},
        "perceptual": {"network": "vgg19-distilled", "source": "vgg.safetensors"},
    },
    "bicyclegan": {
        "networks": {"condition": SETTINGS["networks"]["condition"]} | tiny.BICYCLEGAN_SETTINGS,
        "losses": {},
    },
    "cocosnet": {"networks": SETTINGS["networks"], "losses": SETTINGS["losses"]},
    "cogan": {
        "networks": {"condition": SETTINGS["networks"]["condition"]} | tiny.COGAN_SETTINGS,
        "losses": {},
    },
    "contextual": {
        "networks": {"condition": SETTINGS["networks"]["condition"]} | tiny.CONTEXTUAL_SETTINGS,
        "losses": {},
        "perceptual": {"network": "vgg19-distilled", "source": "vgg.safetensors"},
    },
    "cyclegan": {
        "networks": {"condition": SETTINGS["networks"]["condition"]} | tiny.CYCLEGAN_SETTINGS,
        "losses": {},
        "system_options": {"pool": 2},
    },
    "discogan": {
        "networks": {"condition": SETTINGS["networks"]["condition"]} | tiny.DISCOGAN_SETTINGS,
        "losses": {},
    },
    "fader": {
        "networks": {"condition": {"type": "attributes", "attributes": ["sun", "night"]}}
        | tiny.FADER_SETTINGS,
        "losses": {"latent": 0.1},
        "system_options": {"rising_steps": 1},
    },
    "gcgan": {
        "networks": {"condition": {"type": "picture"}} | tiny.GCGAN_SETTINGS,
        "losses": {},
        "system_options": {"pool": 2, "transform": "flip"},
    },
    "egsc-it": {
        "networks": {"condition": SETTINGS["networks"]["condition"]} | tiny.EGSCIT_SETTINGS,
        "losses": {"content": 0, "style": 0},
        "system_options": {"generator_updates": 2},
    },
    "munit": {
        "networks": {"condition": SETTINGS["networks"]["condition"]} | tiny.MUNIT_SETTINGS,
        "losses": {"cycle": 1},
    },
    "sims": {
        "networks": {"condition": SETTINGS["networks"]["condition"]} | tiny.SIMS_SETTINGS,
        "losses": {"perceptual": 0},
    },
    "stargan-v2": {
        "data": SETTINGS["data"] | {"domain_column": "palette"},
        "networks": {"condition": {"type": "domain", "domains": list(PALETTES)}}
        | tiny.STARGANV2_SETTINGS,
        "losses": {},
    },
    "style_vector": {
        "networks": {
            "condition": SETTINGS["networks"]["condition"],
            "style_encoder": {"style_channels": 9, "channels": [4, 8]},
            "translation": tiny.NETWORK_SETTINGS["translation"],
            "discriminator": tiny.NETWORK_SETTINGS["discriminator"],
        },
        "losses": {"pseudo_exemplar": 0, "perceptual": 0, "contextual": 0, "self_pixel": 1},
    },
    "pix2pix": {
        "networks": {
            "condition": SETTINGS["networks"]["condition"],
            "generator": {"base_channels": 4, "levels": 4},
            "discriminator": CRITIC,
        },
        "losses": {},
    },
    "pix2pixhd": {
        "networks": {
            "condition": SETTINGS["networks"]["condition"],
            "encoder": {"base_channels": 4, "halvings": 2, "clusters": 3},
            "generator": {"base_channels": 8, "halvings": 2, "blocks": 1, "enhancer_blocks": 1},
            "discriminator": CRITIC,
        },
        "losses": {"perceptual": 0},
    },
    "spade": {
        "networks": {
            "condition": SETTINGS["networks"]["condition"],
            "encoder": {"style_channels": 4, "channels": [4, 8], "image_size": 16},
            "generator": SPADE,
            "discriminator": CRITIC,
        },
        "losses": {"perceptual": 0},
    },
    "spade_plain": {
        "networks": {
            "condition": SETTINGS["networks"]["condition"],
            "generator": SPADE,
            "discriminator": CRITIC,
        },
        "losses": {"perceptual": 0},
    },
    "unit": {
        "networks": {"condition": SETTINGS["networks"]["condition"]} | tiny.UNIT_SETTINGS,
        "losses": {},
    },
    TOY: {
        "networks": {"condition": {"type": OWN_CONDITION, "levels": 6}, "shifter": {"width": 6}},
        "losses": {"novelty": 0.5},
    },
}


def untrained(name: str) -> System:
    """The system of this name with seeded networks in evaluation mode, of `GROUPS`."""
    torch.manual_seed(0)
    own, kind = dict(GROUPS[name]["networks"]), find_system(name)
    condition = condition_from_config(own.pop("condition"), import_code=True)
    networks = kind.make_networks(condition, own)
    for network in networks.values():
        tiny.lively(network)
    options = kind.Options(**GROUPS[name].get("system_options", {}))
    settings = SystemSettings(image_size=32)
    return kind(condition, networks, kind.Losses(), settings, options=options)


def example(name: str, system: System, height: int = 32, width: int = 32) -> Batch:
    """Two rows of chance of such pictures as this system reads."""
    generator = torch.Generator().manual_seed(0)

    def drawn(channels: int) -> Tensor:
        return torch.rand(2, channels, height, width, generator=generator)

    channels, picture = system.condition.channels, drawn(3)
    conditions = [drawn(channels) for _ in range(2)]
    if system.condition.labelled:
        classes = [one.argmax(1) for one in conditions]
        conditions = [F.one_hot(one, channels).movedim(-1, 1).float() for one in classes]
    if channels > 3 and name in ASKED:
        asked = F.one_hot(torch.arange(2), channels - 3).float()
        conditions = [torch.cat([drawn(3), planes(asked, picture)], 1) for _ in range(2)]
    exemplar = drawn(3) * 2 - 1
    source = torch.zeros(2, dtype=torch.long)
    zeros = torch.zeros(2)
    return Batch(
        picture * 2 - 1, conditions[0], exemplar, conditions[1], zeros, source_domain=source
    )


ASKED = ("fader", "stargan-v2")
"""Whose conditions are pictures and what these are to become."""
