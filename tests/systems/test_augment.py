"""Differentiable augmentation."""

import torch

from cocosnet_hf.systems.augment import diff_augment


def test_equal_pictures_are_augmented_alike_and_the_inputs_stay():
    torch.manual_seed(0)
    condition, image = torch.rand(3, 2, 16, 24), torch.rand(3, 3, 16, 24)
    before = image.clone()
    _, first, second = diff_augment(condition, image, image.clone())
    assert torch.equal(first, second)
    assert torch.equal(image, before)
    assert not torch.equal(first, image)


def test_the_condition_is_moved_with_its_picture():
    torch.manual_seed(0)
    places = torch.rand(4, 1, 16, 16) + 1
    condition, image = diff_augment(places, places.expand(-1, 3, -1, -1))
    assert torch.equal(condition[:, 0] == 0, image.abs().sum(1) == 0)
    kept = condition[condition > 0]
    assert 0.3 < len(kept) / condition.numel() < 1
    assert torch.isin(kept, places).all()


def test_augmentation_passes_gradients_on():
    image = torch.rand(2, 3, 16, 16, requires_grad=True)
    diff_augment(torch.rand(2, 1, 16, 16), image)[1].sum().backward()
    assert image.grad.abs().sum() > 0
