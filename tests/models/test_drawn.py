"""Conditions drawn as pictures."""

import pytest
import torch

from cocosnet_hf.models.drawn import channel_colors, drawn


@pytest.mark.parametrize("count", [1, 2, 12, 151])
def test_every_channel_has_a_colour_of_its_own(count: int):
    colours = channel_colors(count)
    assert colours.shape == (count, 3) and colours.min() >= 0 and colours.max() <= 1
    distances = torch.cdist(colours, colours) + torch.eye(count)
    assert distances.min() > 1 / 255
    assert colours.amax(1).min() > 0.3  # none is the black of nothing


def test_a_condition_of_one_class_per_place_is_drawn_in_their_colours():
    labels = torch.tensor([[[0, 1], [4, 2]]])
    condition = torch.nn.functional.one_hot(labels, 5).movedim(-1, 1).float()
    expected = channel_colors(5)[labels].movedim(-1, 1) * 2 - 1
    torch.testing.assert_close(drawn(condition), expected)
    assert drawn(torch.zeros(1, 5, 2, 2)).eq(-1).all()
    assert drawn(torch.ones(1, 5, 2, 2)).max() <= 1


def test_a_condition_of_three_channels_is_the_picture_itself():
    picture = torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(drawn(picture), picture * 2 - 1)
