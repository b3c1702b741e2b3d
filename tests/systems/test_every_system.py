"""What every system keeps to: sizes, batches that mix nothing, one look in training and in use."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from cocosnet_hf.systems import Batch, System
from tests.support.every import GROUPS, example, untrained

every_system = pytest.mark.parametrize("name", GROUPS)
OF_ONE_SIZE = {"cogan": "must be 32 x 32 pixels", "stargan-v2": "which are square with a side of"}
"""Those that paint no other, and what they say: of StarGAN v2 the exemplar."""
BY_CHANCE = ("egsc-it", "unit")
"""Whose latent maps have noise in training."""
OF_BATCHES = ("cogan", "discogan", "fader", "spade", "spade_plain")
"""Whose norms see the batch in training: see `test_learning` for what they gather."""

ITERATED = ("cocosnet", "style_vector")
"""Whose spectral norms go on looking for singular values in training."""


@torch.no_grad()
def painted(system: System, given: Batch) -> Tensor:
    return system.generate(system.networks, given).image


def piped(system: System) -> Any:
    pipe = system.pipeline({name: system.networks[name] for name in system.averaged})
    pipe.set_progress_bar_config(disable=True)
    return pipe


@every_system
def test_pictures_need_not_be_square_where_the_method_allows_it(name: str):
    system = untrained(name)
    given = example(name, system, 32, 48)
    if name in OF_ONE_SIZE:
        with pytest.raises(ValueError, match=OF_ONE_SIZE[name]):
            painted(system, given)
    else:
        assert painted(system, given).shape == given.image.shape


@every_system
def test_sides_that_the_networks_cannot_halve_are_refused_with_the_nearest_that_would_do(name: str):
    system = untrained(name)
    pipe = piped(system)
    if pipe.stride == 1:
        pytest.skip("it halves nothing, or has one size")
    size = 32 + pipe.stride - 1
    photo = torch.rand(3, size, 32)
    with pytest.raises(ValueError, match=f"height must be a multiple of {pipe.stride} .* would do"):
        pipe(photo, photo, photo, height=size)
    if name != "adain":  # whose encoder reads any size
        given = example(name, system, size, 32)
        if name in OF_ONE_SIZE:
            given = replace(given, exemplar=example(name, system).exemplar)
        with pytest.raises(ValueError, match=rf"got {size} x 32; the nearest that fit are"):
            painted(system, given)


@every_system
def test_a_layout_of_one_class_alone_is_painted(name: str):
    system = untrained(name)
    if not system.condition.labelled:
        pytest.skip("it reads no label maps")
    given = example(name, system)
    alone = torch.zeros_like(given.condition)
    alone[:, 1] = 1
    assert painted(system, replace(given, condition=alone)).isfinite().all()
    own = replace(given, exemplar_condition=alone)
    assert painted(system, own).isfinite().all()


@every_system
def test_a_picture_is_painted_alone_as_beside_others(name: str):
    system = untrained(name)
    given = example(name, system)
    fields = {
        key: value[:1] if isinstance(value, Tensor) else value for key, value in vars(given).items()
    }
    found = painted(system, replace(given, **fields))
    torch.testing.assert_close(found, painted(system, given)[:1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in GROUPS if name not in BY_CHANCE + OF_BATCHES])
def test_a_picture_is_painted_in_use_as_in_training(name: str):
    system = untrained(name)
    given = example(name, system)
    in_use = painted(system, given)
    for network in system.networks.values():
        network.train()
    near = 2e-2 if name in ITERATED else 1e-4
    torch.testing.assert_close(painted(system, given), in_use, rtol=0, atol=near)


@pytest.mark.parametrize(
    ("name", "key"),
    [("adain", "decoder"), ("contextual", "generator"), ("stargan-v2", "generator")],
)
def test_what_leaves_the_range_is_cut_at_the_pipelines_edge(name: str, key: str):
    """Of those that paint without tanh."""
    system = untrained(name)
    with torch.no_grad():
        for weights in [*system.networks[key].parameters()][-2:]:
            weights.mul_(50)
    given = example(name, system)
    found = piped(system)(given.condition, (given.exemplar + 1) / 2, output_type="pt").images
    assert painted(system, given).abs().max() > 1
    assert found.min() >= 0 and found.max() <= 1
