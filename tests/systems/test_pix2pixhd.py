"""pix2pixHD as a system and a pipeline."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from cocosnet_hf import DistilledVGG19Features, EdgeCondition
from cocosnet_hf.models.instances import Instances, boundaries
from cocosnet_hf.systems import PairedLosses, Pix2PixHD, Pix2PixHDPipeline
from tests.support.paired import CLASSES, NETWORKS, SIDE, Phases, batch, layouts, made
from tests.support.tiny import lively


def system(**options: Any) -> Pix2PixHD:
    return made(Pix2PixHD, "pix2pixhd", PairedLosses(perceptual=0), **options)


def pipeline(condition: Any = CLASSES) -> Pix2PixHDPipeline:
    networks = Pix2PixHD.make_networks(condition, NETWORKS["pix2pixhd"])
    pair = {name: lively(networks[name]) for name in ("encoder", "generator")}
    return Pix2PixHDPipeline(**pair, condition=condition, image_size=SIDE)


def halves(count: int = 1) -> Tensor:
    """Two instances that touch: the left half, 4, and the right, 9."""
    left = torch.full((count, SIDE, SIDE), 4)
    left[..., SIDE // 2 :] = 9
    return left


def test_a_step_is_the_published_losses_computed_plainly():
    """Least squares summed over scales, all features of the photo's own instances."""
    chosen, seen = system(), batch(instances=halves(2))
    critic = chosen.networks["discriminator"]
    edges = boundaries(seen.instances)
    found = Instances.of(seen.instances)
    looks = found.spread(found.means(chosen.networks["encoder"](seen.image)))
    guide = torch.cat([seen.condition, edges], dim=1)
    fake = chosen.networks["generator"](torch.cat([guide, looks], dim=1)).detach()

    def word(image: Tensor) -> list[Tensor]:
        (scale,) = critic(guide, image)
        return scale

    false, true = word(fake), word(seen.image)
    matching = sum((a - b).abs().mean() for a, b in zip(false[:-1], true[:-1], strict=True))
    expected = {
        "generator/adversarial": ((false[-1] - 1) ** 2).mean(),
        "generator/feature_matching": 10 * 4 / 2 * matching,
        "discriminator/fake": 0.5 * (false[-1] ** 2).mean(),
        "discriminator/real": 0.5 * ((true[-1] - 1) ** 2).mean(),
    }
    phases = Phases(chosen, rate=0)
    chosen.step(phases, seen)
    assert phases.order == ["generator", "discriminator"]
    assert phases.seen == pytest.approx({k: v.item() for k, v in expected.items()}, rel=1e-4)


def test_the_terms_of_features_and_pixels_are_plain_differences():
    losses = PairedLosses(adversarial=0, feature_matching=0, perceptual=10, pixel=3)
    chosen, small = made(Pix2PixHD, "pix2pixhd", losses), batch()
    enlarged = (F.interpolate(x, scale_factor=2) for x in (small.image, small.condition))
    seen = replace(small, **dict(zip(("image", "condition"), enlarged, strict=True)))
    chosen.perceptual = lively(DistilledVGG19Features()).requires_grad_(False)
    shares = {"relu1_1": 32, "relu2_1": 16, "relu3_1": 8, "relu4_1": 4, "relu5_1": 1}
    with torch.no_grad():
        fake = chosen.learned(chosen.networks, seen)[0].image
        features = [chosen.perceptual(image, shares) for image in (fake, seen.image)]
    expected = {
        "generator/perceptual": 10
        * sum(
            (features[0][name] - features[1][name]).abs().mean().item() / share
            for name, share in shares.items()
        ),
        "generator/pixel": 3 * (fake - seen.image).abs().mean().item(),
    }
    phases = Phases(chosen, rate=0)
    chosen.step(phases, seen)
    assert phases.seen == pytest.approx(expected, rel=1e-4)


def test_two_steps_lower_the_loss():
    chosen = made(
        Pix2PixHD,
        "pix2pixhd",
        PairedLosses(adversarial=0, feature_matching=0, perceptual=0, pixel=1),
    )
    phases, losses = Phases(chosen), []
    for _ in range(3):
        chosen.step(phases, batch())
        losses.append(phases.seen["generator/pixel"])
    assert losses[2] < losses[0]


def test_the_enhancer_alone_leaves_the_coarse_body_bit_equal():
    chosen = system(enhancer_alone=True)
    before = {k: v.clone() for k, v in chosen.networks["generator"].state_dict().items()}
    chosen.step(Phases(chosen), batch())
    changed = {
        key
        for key, value in chosen.networks["generator"].state_dict().items()
        if not torch.equal(value, before[key])
    }
    assert changed and not any(key.startswith("coarse") for key in changed)


def test_what_instances_look_like_is_remembered_and_part_of_the_state():
    chosen, seen = system(), batch(instances=halves(2))
    chosen.step(Phases(chosen, rate=0), seen)
    found = Instances.of(seen.instances)
    looks = found.means(chosen.networks["encoder"](seen.image))
    kept = torch.cat(list(chosen.kept.values()))
    assert kept.shape == (4, 3)
    torch.testing.assert_close(kept.sort(0).values, looks.detach().sort(0).values)
    other = system()
    other.load_state_dict(chosen.state_dict())
    nets = {name: chosen.networks[name].eval() for name in chosen.averaged}
    pipe = other.pipeline(nets)
    label = next(iter(chosen.kept))
    assert pipe.encoder.sizes[label].sum() == len(chosen.kept[label])


@torch.no_grad()
def test_a_changed_look_changes_its_instance_far_more_than_the_rest():
    pipe, condition = pipeline(), layouts(1, side=48)
    instances = torch.full((1, 48, 48), 4)
    instances[:, 20:28, 20:28] = 9

    def painted(style: Any = None) -> Any:
        return pipe(condition, instances=instances, style=style, output_type="pt")

    first = painted()
    assert [set(style) for style in first.styles] == [{4, 9}]
    edited = painted({9: first.styles[0][9] + torch.tensor([1.0, -1.0, 1.0])})
    change = (edited.images - first.images).abs().mean(dim=(0, 1))
    inside = change[20:28, 20:28]
    outside = (change.sum() - inside.sum()) / (change.numel() - inside.numel())
    assert inside.mean() > 3 * outside
    torch.testing.assert_close(painted(edited.styles).images, edited.images)


@torch.no_grad()
def test_touching_instances_of_one_class_show_an_edge_only_by_their_boundary():
    pipe = pipeline()
    one_class = F.one_hot(torch.zeros(1, SIDE, SIDE).long(), 3).movedim(3, 1).float()

    def edge(**how: Any) -> float:
        image = pipe(one_class, output_type="pt", **how).images
        step = (image[..., 1:] - image[..., :-1]).abs().mean(dim=(0, 1, 2))
        return (step[SIDE // 2 - 2 : SIDE // 2 + 1].max() - step[3:5].mean()).item()

    assert edge(instances=halves()) > 0.01 > edge()


@torch.no_grad()
def test_an_exemplar_gives_each_class_its_look_and_clusters_stand_in_for_it():
    pipe = pipeline()
    seen = batch(1)
    photo = (seen.image + 1) / 2

    def painted(**how: Any) -> Tensor:
        return pipe(seen.condition, output_type="pt", **how).images

    guided = painted(exemplar=photo, exemplar_condition=seen.condition)
    other = painted(exemplar=1 - photo, exemplar_condition=seen.condition)
    assert (guided - other).abs().max() > 1e-3
    pipe.encoder.keep(0, torch.cat([torch.full((3, 3), 0.9), torch.full((2, 3), -0.9)]))
    drawn = [painted(generator=torch.Generator().manual_seed(seed)) for seed in range(6)]
    assert torch.equal(painted(), painted())
    assert len({picture.sum().item() for picture in drawn}) == 2
    with pytest.raises(ValueError, match="pass it as exemplar_condition, or leave the exemplar"):
        painted(exemplar=photo)


@torch.no_grad()
def test_without_instances_each_class_is_one_and_of_edges_the_whole_picture():
    pipe = pipeline()
    condition = layouts(1)
    by_class = pipe(condition, instances=condition.argmax(1), output_type="pt")
    assert torch.equal(pipe(condition, output_type="pt").images, by_class.images)
    edges = pipeline(EdgeCondition())
    out = edges(torch.rand(1, 2, SIDE, SIDE), torch.rand(3, SIDE, SIDE), output_type="pt")
    assert [list(style) for style in out.styles] == [[0]]


def test_pictures_of_one_class_alone_are_painted_and_learned_from():
    """A condition of one class is refused by itself; pictures of one are one instance."""
    alone = torch.zeros(2, 3, SIDE, SIDE)
    alone[:, 1] = 1
    out = pipeline()(alone, output_type="pt")
    assert [list(style) for style in out.styles] == [[1], [1]]
    chosen = system()
    phases = Phases(chosen)
    chosen.step(phases, replace(batch(), condition=alone))
    assert all(np.isfinite(value) for value in phases.seen.values())
    assert list(chosen.kept) == [1]


@torch.no_grad()
def test_maps_of_instances_are_pictures_or_numbers_of_any_size():
    pipe = pipeline()
    numbers = halves()[0].numpy()
    large = np.kron(numbers, np.ones((3, 3))).astype(np.uint16)
    colors = np.zeros((SIDE, SIDE, 3), np.uint8)
    colors[..., 1] = numbers
    pictures = [
        pipe(layouts(1), instances=one, output_type="pt")
        for one in (numbers, Image.fromarray(large), Image.fromarray(colors))
    ]
    for out in pictures[1:]:
        assert torch.equal(out.images, pictures[0].images)
    assert set(pictures[2].styles[0]) == {4 * 256, 9 * 256}


def test_instances_and_styles_that_do_not_fit_are_errors():
    pipe = pipeline()
    for how, message in (
        ({"instances": [halves()[0]] * 2}, "one map of instances for each of the 1 conditions"),
        ({"instances": torch.rand(SIDE, SIDE)}, "must be whole numbers"),
        ({"style": {7: [0, 0, 0]}}, r"style names the instance 7, and condition 0 has \[0, 1, 2\]"),
        ({"style": {0: [0, 0]}}, r"must be 3 numbers, got \(2,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            pipe(layouts(1), **how)
