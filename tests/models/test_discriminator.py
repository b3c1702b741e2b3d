"""The discriminator: scales, features, refusals."""

import pytest
import torch
import torch.nn.functional as F

from cocosnet_hf import MultiscaleDiscriminator
from tests.support import tiny
from tests.support.networks import inputs


@torch.no_grad()
def test_the_discriminator_judges_two_scales_with_four_features_and_logits_each():
    out = tiny.discriminator()(*inputs("discriminator"))
    assert [[tuple(tensor.shape) for tensor in scale] for scale in out] == [
        [(2, 4, 32, 48), (2, 8, 16, 24), (2, 16, 8, 12), (2, 32, 7, 11), (2, 1, 6, 10)],
        [(2, 4, 16, 24), (2, 8, 8, 12), (2, 16, 4, 6), (2, 32, 3, 5), (2, 1, 2, 4)],
    ]


@torch.no_grad()
def test_the_second_discriminator_sees_the_picture_at_half_size():
    network, (condition, image) = tiny.discriminator(), inputs("discriminator")
    network.discriminators[0].load_state_dict(network.discriminators[1].state_dict())
    halves = [
        F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False) for x in (condition, image)
    ]
    second = network(condition, image)[1]
    first = MultiscaleDiscriminator(2, base_channels=4, scales=1).eval()
    first.discriminators[0].load_state_dict(network.discriminators[1].state_dict())
    for found, expected in zip(second, first(*halves)[0], strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("condition", "image", "message"),
    [
        ((1, 3, 64, 64), (1, 3, 64, 64), r"condition must have the shape \(B, 2, H, W\)"),
        ((1, 2, 64, 64), (1, 1, 64, 64), r"image must have the shape \(B, 3, H, W\)"),
        ((1, 2, 40, 64), (1, 3, 40, 64), "at least 48 pixels .* 2 scales"),
    ],
)
def test_tensors_that_do_not_fit_the_discriminator_are_refused(
    condition: tuple[int, ...], image: tuple[int, ...], message: str
):
    with pytest.raises(ValueError, match=message):
        tiny.discriminator()(torch.ones(condition), torch.ones(image))
