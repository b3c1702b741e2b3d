"""Semantic style transfer: each region takes the look of its like, wherever that lies."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import cocosnet_hf
from cocosnet_hf import DistilledVGG19Features, semantic_style_transfer
from cocosnet_hf.models.content_style import init_he_
from cocosnet_hf.pictures import to_image, to_tensor
from cocosnet_hf.restyling import STYLE_LAYERS, joined, loss_of_maps, sampled, total_variation
from tests.support.tensors import normal

SIDE = 32
STEPS = {"steps": 60, "rate": 8.0, "size": SIDE}


@pytest.fixture(scope="module")
def network() -> DistilledVGG19Features:
    """Of no known weights, but it passes on what it sees."""
    torch.manual_seed(0)
    seeing = DistilledVGG19Features()
    init_he_(seeing)
    return seeing.eval().requires_grad_(False)


def field(plain: tuple, striped: tuple, high: int, plain_first: bool) -> Image.Image:
    """A plain part, so many rows high, above or below a striped one."""
    stripes = (np.arange(SIDE) // 2 % 2)[None, :, None] * np.ones((SIDE - high, 1, 1))
    parts = [np.ones((high, SIDE, 1)) * np.array(plain), stripes * np.array(striped)]
    rows = np.concatenate(parts if plain_first else parts[::-1])
    return Image.fromarray(rows.astype(np.uint8))


CONTENT = field((150, 150, 150), (220, 220, 220), SIDE // 4, plain_first=True)
STYLE = field((60, 110, 230), (90, 200, 60), SIDE * 3 // 4, plain_first=False)
"""Mostly plain and blue, and below; the content mostly striped, and grey."""


def blueness(picture: Image.Image) -> tuple[float, float]:
    """How much bluer than green the content's plain part is, and its striped part."""
    pixels = np.asarray(picture, float)
    difference, edge = pixels[..., 2] - pixels[..., 1], SIDE // 4
    return difference[: edge - 1].mean(), difference[edge + 1 :].mean()


def by_gram(network: DistilledVGG19Features) -> Image.Image:
    """The control: the same, taught by Gram matrices, which count and do not look for a like."""
    content, style = (to_tensor(one)[None] for one in (CONTENT, STYLE))

    def grams(features: Mapping[str, Tensor]) -> list[Tensor]:
        maps = [features[name] for name in STYLE_LAYERS]
        return [torch.einsum("bchw,bdhw->bcd", one, one) / one[0].numel() for one in maps]

    wanted = grams(network(style, STYLE_LAYERS))
    kept = network(content, ["relu4_2"])["relu4_2"]
    picture = content.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([picture], STEPS["rate"] / 127.5)
    for _ in range(STEPS["steps"]):
        found = network(picture, [*STYLE_LAYERS, "relu4_2"])
        loss = F.mse_loss(found["relu4_2"], kept) / kept.var()
        for one, other in zip(grams(found), wanted, strict=True):
            loss = loss + F.mse_loss(one, other) / other.square().mean()
        (picture.grad,) = torch.autograd.grad(loss, picture)
        optimizer.step()
        with torch.no_grad():
            picture.clamp_(-1, 1)
    return to_image(picture[0].detach())


def test_a_region_takes_the_colour_of_its_like_where_a_gram_loss_mixes_them(
    network: DistilledVGG19Features,
):
    plain, striped = blueness(semantic_style_transfer(CONTENT, STYLE, network, **STEPS))
    assert striped < -4 and plain > striped + 4
    assert blueness(by_gram(network))[1] > 0


def test_equal_maps_are_alike_wherever_their_positions_lie():
    x = normal(1, 16, 6, 6)
    moved = x.flatten(2)[..., torch.randperm(36, generator=torch.Generator().manual_seed(0))]
    assert loss_of_maps(x, moved.view_as(x), bandwidth=0.1) < 1e-3
    assert F.l1_loss(x, moved.view_as(x)) > 0.5
    assert loss_of_maps(x, normal(1, 16, 6, 6, seed=1), bandwidth=0.1) > 0.5


def test_maps_are_joined_at_the_size_of_the_first_each_by_its_channels():
    maps = {"fine": normal(1, 2, 8, 8), "coarse": normal(1, 4, 4, 4, seed=1)}
    found = joined(maps)
    assert found.shape == (1, 6, 8, 8)
    torch.testing.assert_close(found[:, :2], maps["fine"] / 2)
    back = F.avg_pool2d(found[:, 2:], 2)
    assert F.l1_loss(back, maps["coarse"] / 4) < F.l1_loss(back, torch.zeros_like(back))


def test_large_maps_are_compared_at_the_same_places_small_ones_everywhere():
    x, small = normal(2, 3, 10, 10), normal(2, 3, 4, 4)
    first, second = sampled(x, 2 * x, torch.Generator().manual_seed(0), 20)
    assert first.shape == (2, 3, 20, 1)
    torch.testing.assert_close(second, 2 * first)
    assert len(first[0, 0].flatten().unique()) == 20
    again, whole = sampled(x, small, torch.Generator().manual_seed(0), 20)
    assert whole is small and torch.equal(again, first)


def test_variation_is_that_of_neighbours():
    picture = torch.zeros(1, 1, 2, 3)
    picture[..., 0, 0] = 2
    assert total_variation(picture) == 2


def test_a_transfer_is_the_same_again_and_keeps_the_contents_shape(
    network: DistilledVGG19Features,
):
    content = Image.new("RGB", (96, 64), "gray")
    settings = {"steps": 2, "size": 32, "positions": 30}
    first, second = (semantic_style_transfer(content, STYLE, network, **settings) for _ in range(2))
    assert first.size == (48, 32) and first.tobytes() == second.tobytes()
    decided, other = (
        semantic_style_transfer(content, STYLE, network, **settings, bandwidth=bandwidth)
        for bandwidth in (0.1, 0.5)
    )
    assert first.tobytes() == decided.tobytes() != other.tobytes()
    assert cocosnet_hf.semantic_style_transfer is semantic_style_transfer


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "steps must be 1 or more"),
        ({"rate": 0.0}, "rate above 0"),
        ({"style_weight": 0.0}, "that of the style above"),
        ({"content_weight": -1.0}, "weights must be 0 or more"),
        ({"bandwidth": 0.0}, "bandwidth and epsilon must be positive"),
    ],
)
def test_settings_that_mean_nothing_are_refused(
    network: DistilledVGG19Features, wrong: dict, message: str
):
    with pytest.raises(ValueError, match=message):
        semantic_style_transfer(CONTENT, STYLE, network, **{"size": SIDE, "steps": 1, **wrong})
