"""Inputs of each network, and its weights compared."""

import torch
from torch import Tensor, nn

from tests.support.tensors import normal

HEIGHT, WIDTH = 32, 48


def inputs(name: str, batch: int = 2, height: int = HEIGHT, width: int = WIDTH) -> list[Tensor]:
    """What each network reads, in its order."""
    scale = 2 if name == "discriminator" else 1
    size = (scale * height, scale * width)
    condition = (normal(batch, 2, *size) > 1).float()
    photo = normal(batch, 3, *size, seed=1).clamp(-1, 1)
    if name == "correspondence":
        return [condition, photo, condition.flip(3), photo.flip(2)]
    return [photo, condition] if name == "translation" else [condition, photo]


def assert_equal_states(found: nn.Module, expected: nn.Module) -> None:
    found_state, expected_state = found.state_dict(), expected.state_dict()
    assert found_state.keys() == expected_state.keys()
    for key, tensor in expected_state.items():
        assert torch.equal(found_state[key], tensor), key
