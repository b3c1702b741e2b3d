"""The projected discriminator, its blur and the shift of images."""

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cocosnet_hf import losses
from cocosnet_hf.gan_losses import HINGE
from cocosnet_hf.models import (
    DistilledVGG19Features,
    EfficientNetLite0Features,
    ProjectedDiscriminator,
)
from cocosnet_hf.models.projected import BlurPool, BlurPoolPatchDiscriminator, FeatureHead
from cocosnet_hf.systems.augment import random_shift
from tests.support import tiny
from tests.support.tensors import normal


def inputs(batch: int = 2, height: int = 32, width: int = 48, seed: int = 0) -> tuple[Tensor, ...]:
    condition = (normal(batch, 2, height, width, seed=seed) > 1).float()
    return condition, normal(batch, 3, height, width, seed=seed + 1).clamp(-1, 1)


@pytest.fixture(scope="module")
def backbones() -> dict[str, nn.Module]:
    """The two networks that there are, with random weights."""
    return {
        "efficientnet-lite0": tiny.lively(EfficientNetLite0Features(), seed=1),
        "vgg19-distilled": tiny.lively(DistilledVGG19Features(), seed=2),
    }


@pytest.fixture
def discriminator(backbones: dict[str, nn.Module]) -> ProjectedDiscriminator:
    network = tiny.lively(ProjectedDiscriminator(2, base_channels=4, head_channels=8), seed=3)
    network.attach(backbones)
    return network


# ProjectedDiscriminator ---------------------------------------------------------------------


@torch.no_grad()
def test_the_patch_comes_first_with_its_features_then_each_head_with_logits_alone(
    discriminator: ProjectedDiscriminator,
):
    patch, *heads = discriminator(*inputs())
    shapes = [(2, 4, 16, 24), (2, 8, 8, 12), (2, 16, 4, 6), (2, 32, 4, 6), (2, 1, 4, 6)]
    assert [tuple(maps.shape) for maps in patch] == shapes
    assert [len(head) for head in heads] == [1] * 6
    assert [tuple(head[0].shape) for head in heads] == 2 * [
        (2, 1, 8, 12),
        (2, 1, 4, 6),
        (2, 1, 2, 3),
    ]


@torch.no_grad()
def test_without_backbones_the_patch_judges_alone():
    network = ProjectedDiscriminator(2, base_channels=4, backbones=())
    network.attach({})
    assert [len(scale) for scale in network(*inputs())] == [5]


@torch.no_grad()
def test_heads_follow_the_order_of_the_configuration(backbones: dict[str, nn.Module]):
    names = ("vgg19-distilled", "efficientnet-lite0")
    network = ProjectedDiscriminator(2, base_channels=4, backbones=names, head_channels=8)
    network.attach(backbones)
    condition, image = inputs()
    maps = backbones["vgg19-distilled"](image, ("relu3_4",))["relu3_4"]
    expected = network.heads["vgg19-distilled"][0].eval()(maps)
    actual = network.eval()(condition, image)[1][0]
    # two runs may add in another order: the values lie near 70
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_an_item_of_a_batch_is_judged_as_it_is_alone(discriminator: ProjectedDiscriminator):
    condition, image = inputs()
    alone = discriminator(condition[:1], image[:1])
    for scale, scale_alone in zip(discriminator(condition, image), alone, strict=True):
        for maps, maps_alone in zip(scale, scale_alone, strict=True):
            torch.testing.assert_close(maps[:1], maps_alone, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_only_the_patch_sees_the_condition(discriminator: ProjectedDiscriminator):
    condition, image = inputs()
    patch, *heads = discriminator(condition, image)
    other_patch, *other_heads = discriminator(1 - condition, image)
    assert not torch.allclose(patch[-1], other_patch[-1], atol=1e-3)
    for head, other in zip(heads, other_heads, strict=True):
        assert torch.equal(head[0], other[0])


def test_gradients_reach_the_image_and_every_weight_but_not_the_backbones(
    discriminator: ProjectedDiscriminator, backbones: dict[str, nn.Module]
):
    condition, image = inputs()
    for number in range(7):
        image = image.detach().requires_grad_()
        discriminator.train()(condition, image)[number][-1].square().mean().backward()
        assert image.grad.any(), number
    missing = [
        name
        for name, parameter in discriminator.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert missing == []
    for network in backbones.values():
        assert not any(parameter.requires_grad for parameter in network.parameters())
        assert all(parameter.grad is None for parameter in network.parameters())


def test_a_detached_image_leaves_no_graph_of_the_backbones(backbones: dict[str, nn.Module]):
    # So that the discriminator's own step does not pay for it.
    assert not any(maps.requires_grad for maps in backbones["efficientnet-lite0"](inputs()[1]))


def test_backbones_are_no_part_of_the_discriminator(discriminator: ProjectedDiscriminator):
    bare = ProjectedDiscriminator(2, base_channels=4, head_channels=8)
    assert discriminator.state_dict().keys() == bare.state_dict().keys()
    assert len(list(discriminator.modules())) == len(list(bare.modules()))
    numbers = sum(tensor.numel() for tensor in discriminator.state_dict().values())
    mixtures = sum(channels**2 for channels in (24, 40, 112, 64, 128, 128))
    assert mixtures < numbers < mixtures + 30_000  # a backbone has 500,000 and more


def test_attached_networks_stay_frozen_and_in_evaluation_mode():
    network = ProjectedDiscriminator(1, backbones=("efficientnet-lite0",))
    given = EfficientNetLite0Features().train()
    network.attach({"efficientnet-lite0": given})
    network.train().requires_grad_(True)
    assert not given.training
    assert not any(parameter.requires_grad for parameter in given.parameters())


def test_a_saved_and_loaded_discriminator_judges_the_same(
    discriminator: ProjectedDiscriminator, backbones: dict[str, nn.Module], tmp_path: Path
):
    discriminator.save_pretrained(tmp_path)
    loaded = ProjectedDiscriminator.from_pretrained(tmp_path).eval()
    for key, tensor in discriminator.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], tensor), key
    loaded.attach(backbones)
    for scale, expected in zip(loaded(*inputs()), discriminator(*inputs()), strict=True):
        for found, maps in zip(scale, expected, strict=True):
            # Memory laid out otherwise is summed in another order.
            torch.testing.assert_close(found, maps, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_copy_judges_the_same_and_a_folded_one_up_to_rounding(
    discriminator: ProjectedDiscriminator,
):
    copied = copy.deepcopy(discriminator)
    folded = copy.deepcopy(discriminator).fold()
    expected = discriminator(*inputs())
    for scale, same, near in zip(expected, copied(*inputs()), folded(*inputs()), strict=True):
        torch.testing.assert_close(same[-1], scale[-1], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(near[-1], scale[-1], atol=1e-4, rtol=1e-4)


def test_a_discriminator_without_its_backbones_says_so(backbones: dict[str, nn.Module]):
    network = ProjectedDiscriminator(2, base_channels=4)
    with pytest.raises(RuntimeError, match=r"efficientnet-lite0, vgg19-distilled, .* attach\(\)"):
        network(*inputs())
    with pytest.raises(ValueError, match="got vgg19-distilled; attach just those"):
        network.attach({"vgg19-distilled": backbones["vgg19-distilled"]})
    with pytest.raises(ValueError, match="got efficientnet-lite0, mobilenet, vgg19-distilled;"):
        network.attach({**backbones, "mobilenet": nn.Identity()})


@pytest.mark.parametrize("names", [("mobilenet-v2",), ("vgg19-distilled", "vgg19-distilled")])
def test_unknown_and_doubled_backbones_are_refused(names: tuple[str, ...]):
    with pytest.raises(ValueError, match="different names among efficientnet-lite0, vgg19-dist"):
        ProjectedDiscriminator(2, backbones=names)


@pytest.mark.parametrize(
    ("condition", "image", "message"),
    [
        ((1, 3, 32, 32), (1, 3, 32, 32), r"condition must have the shape \(B, 2, H, W\)"),
        ((1, 2, 32, 32), (1, 1, 32, 32), r"image must have the shape \(B, 3, H, W\)"),
        ((1, 2, 24, 32), (1, 3, 24, 32), r"at least 32 pixels high and wide, got \(24, 32\)"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    discriminator: ProjectedDiscriminator,
    condition: tuple[int, ...],
    image: tuple[int, ...],
    message: str,
):
    with pytest.raises(ValueError, match=message):
        discriminator(torch.ones(condition), torch.ones(image))


def test_the_losses_take_the_judgements_and_count_every_head_like_the_patch(
    discriminator: ProjectedDiscriminator,
):
    fake, real = discriminator(*inputs()), discriminator(*inputs(seed=5))
    logits = [scale[-1] for scale in fake]
    expected = -sum(maps.mean() for maps in logits) / 7
    torch.testing.assert_close(HINGE.for_painter(fake), expected)
    expected = sum(F.relu(1 + maps).mean() for maps in logits) / 7
    of_fake, of_real = HINGE.for_critic(fake, real)
    torch.testing.assert_close(of_fake, expected)
    assert of_real > 0
    matching = losses.discriminator_feature_matching_loss(fake, real)
    assert matching > 0  # of the patch alone: heads have no feature maps
    assert matching == losses.discriminator_feature_matching_loss(fake[:1], real[:1])


@pytest.mark.slow
def test_a_few_steps_tell_noise_from_smooth_pictures_at_every_judge(
    backbones: dict[str, nn.Module],
):
    torch.manual_seed(0)
    network = ProjectedDiscriminator(2, base_channels=4, head_channels=8)
    network.attach(backbones)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3, betas=(0.0, 0.99))

    def pictures() -> tuple[Tensor, Tensor, Tensor]:
        smooth = F.interpolate(torch.randn(4, 3, 4, 4), size=32, mode="bicubic")
        return (
            torch.zeros(4, 2, 32, 32),
            torch.randn(4, 3, 32, 32).clamp(-1, 1),
            smooth.clamp(-1, 1),
        )

    def judged() -> tuple[losses.DiscriminatorOutputs, losses.DiscriminatorOutputs]:
        condition, noise, smooth = pictures()
        return network(condition, noise), network(condition, smooth)

    for _ in range(30):
        fake, real = judged()
        loss = sum(HINGE.for_critic(fake, real))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        fake, real = judged()
    margins = [float(r[-1].mean() - f[-1].mean()) for f, r in zip(fake, real, strict=True)]
    # Random weights make features of many sizes, so that only the sign says something; the coarsest
    # ones of such an EfficientNet are all but constant.
    del margins[3]
    assert margins[0] > 0.5 and min(margins) > 0, margins


# BlurPool -----------------------------------------------------------------------------------


class PlainStride(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, ::2, ::2]


def test_blur_pool_weighs_the_pixels_around_each_corner_by_1_3_3_1():
    x = torch.zeros(1, 2, 12, 12)
    x[0, 1, 5, 6] = 64.0
    pooled = BlurPool()(x)[0]
    assert not pooled[0].any()
    assert sorted(pooled[1][pooled[1] != 0].tolist()) == [1.0, 3.0, 3.0, 9.0]
    assert pooled[1, 2, 3] == 9.0  # rows 4 and 5, columns 6 and 7, weigh most there
    flat = BlurPool()(torch.full((1, 2, 7, 6), 3.0))
    torch.testing.assert_close(flat, torch.full((1, 2, 3, 3), 3.0))


def test_behind_blur_pool_every_pixel_counts_alike_and_behind_a_plain_stride_one_in_four():
    for pool, expected in ((BlurPool(), [0.25] * 4), (PlainStride(), [1.0, 0.0, 0.0, 0.0])):
        x = torch.zeros(1, 1, 16, 16, requires_grad=True)
        pool(x).sum().backward()
        assert x.grad[0, 0, 6:8, 6:8].flatten().tolist() == expected


@torch.no_grad()
def test_the_patch_judges_a_shifted_picture_almost_alike_thanks_to_the_blur():
    patch = tiny.lively(BlurPoolPatchDiscriminator(3, base_channels=8))
    picture = normal(1, 3, 136, 136).clamp(-1, 1)

    def change() -> float:
        """Of the mean judgement of a picture moved by 0 to 7 pixels, next to that of its places."""
        means = torch.stack(
            [
                patch(picture[..., row : row + 128, column : column + 128])[-1][..., 4:-4, 4:-4]
                for row in range(0, 8, 2)
                for column in range(8)
            ]
        )
        return float(means.mean(dim=(-2, -1)).std() / means.std())

    with_blur = change()
    patch.pool = PlainStride()
    assert with_blur < min(0.09, 0.7 * change())


# Size of the features -----------------------------------------------------------------------


@torch.no_grad()
def test_a_head_brings_features_of_its_size_to_about_1():
    torch.manual_seed(0)
    head = FeatureHead(64, 8, feature_size=5.0)
    mixed = F.conv2d(5 * normal(4, 64, 8, 8), head.mixture)
    assert float(mixed.square().mean().sqrt()) == pytest.approx(1, abs=0.1)


# random_shift -------------------------------------------------------------------------------


def test_random_shift_cuts_the_same_window_from_all_images():
    torch.manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(20), torch.arange(30), indexing="ij")
    image = torch.stack([rows, columns]).expand(2, 2, 20, 30)
    seen = set()
    for _ in range(200):
        first, second = random_shift(image, 10 * image[:1], most=3)
        assert first.shape == (2, 2, 17, 27)
        assert torch.equal(10 * first[:1], second)
        top, left = first[0, :, 0, 0].tolist()
        assert torch.equal(first, image[..., top : top + 17, left : left + 27])
        seen.add((top, left))
    assert seen == {(top, left) for top in range(4) for left in range(4)}


def test_random_shift_returns_views_and_follows_the_seed():
    image = normal(1, 3, 16, 16)
    torch.manual_seed(1)
    (first,) = random_shift(image)
    torch.manual_seed(1)
    (second,) = random_shift(image)
    assert first.shape == (1, 3, 9, 9)
    assert torch.equal(first, second)
    assert first.untyped_storage().data_ptr() == image.untyped_storage().data_ptr()
    (same_image,) = random_shift(image, most=0)
    assert torch.equal(same_image, image)


@pytest.mark.parametrize(
    ("shapes", "most"), [([(16, 16), (16, 17)], 7), ([(16, 7)], 7), ([(16, 16)], -1), ([], 7)]
)
def test_images_that_cannot_be_shifted_together_are_refused(
    shapes: list[tuple[int, int]], most: int
):
    with pytest.raises(ValueError, match="images must have one height and width of more than"):
        random_shift(*(torch.ones(1, 3, *shape) for shape in shapes), most=most)
