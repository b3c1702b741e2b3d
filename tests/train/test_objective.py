"""The trainer's objective: the pipeline's picture, and the official terms with its weights."""

import dataclasses
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from cocosnet_hf import (
    CorrespondenceNetwork,
    DistilledVGG19Features,
    MaskCondition,
    MultiscaleDiscriminator,
    TranslationNetwork,
    VGG19Features,
)
from cocosnet_hf.evaluation import swd
from cocosnet_hf.models import BlendingTranslationNetwork
from cocosnet_hf.sharpness import warp_fidelity_loss
from cocosnet_hf.systems import Batch, CoCosNet, CoCosNetLosses, Generated, SystemSettings
from cocosnet_hf.systems.cocosnet import WRONG_WEIGHT, label_masks
from tests.support import tiny
from train.validation import batch_metrics, color_relevance, validate

NOTHING = dict.fromkeys((item.name for item in dataclasses.fields(CoCosNetLosses)), 0.0)
ONLY_PIXELS = CoCosNetLosses(**NOTHING | {"self_pixel": 1})


def batch(size: int = 32, classes: int = 3) -> Batch:
    generator = torch.Generator().manual_seed(0)

    def photo() -> torch.Tensor:
        return torch.rand(2, 3, size, size, generator=generator) * 2 - 1

    labels = torch.randint(classes, (2, 2, size, size), generator=generator)
    one_hot = torch.nn.functional.one_hot(labels, classes).movedim(-1, 2).float()
    is_self_pair = torch.tensor([1.0, 0.0])
    return Batch(photo(), one_hot[0], photo(), one_hot[1], is_self_pair, *labels, classes=classes)


def cocosnet(
    correspondence: nn.Module | None = None,
    translation: nn.Module | None = None,
    losses: CoCosNetLosses = ONLY_PIXELS,
    discriminator: nn.Module | None = None,
    perceptual: nn.Module | None = None,
    **settings: Any,
) -> CoCosNet:
    networks = {
        "correspondence": correspondence or tiny.correspondence(3),
        "translation": translation or tiny.translation(3),
        "discriminator": discriminator,
    }
    condition = MaskCondition(classes=("a", "b", "c"))
    own = {item.name for item in dataclasses.fields(CoCosNet.Options)}
    options = CoCosNet.Options(**{name: settings.pop(name) for name in own & settings.keys()})
    return CoCosNet(condition, networks, losses, SystemSettings(**settings), perceptual, options)


@pytest.mark.parametrize("settings", [{}, {"warp": "patch"}, {"warp_upsampling": "bilinear"}])
def test_the_trainer_paints_what_the_pipeline_paints(settings: dict):
    condition = MaskCondition(classes=("a", "b", "c"))
    pipe = tiny.pipeline(condition, **settings)
    example = batch()
    with torch.no_grad():
        system = cocosnet(pipe.correspondence, pipe.translation)
        painting = system.generate(system.networks, example)
    photos = (example.exemplar + 1) / 2
    out = pipe(example.condition, photos, example.exemplar_condition, output_type="pt")
    torch.testing.assert_close((painting.image + 1) / 2, out.images, rtol=0, atol=1e-4)
    warped = (painting.warped_exemplar + 1) / 2
    torch.testing.assert_close(warped, out.warped_exemplars, rtol=0, atol=1e-4)


def test_noise_takes_the_place_of_the_exemplars_condition_after_the_warm_up():
    correspondence = tiny.correspondence(3, exemplar_noise=0.01)
    example = batch()
    other = dataclasses.replace(example, exemplar_condition=example.exemplar_condition.flip(1))
    found = {}
    for noise in (False, True):
        styles = []
        for item in (example, other):
            torch.manual_seed(0)
            system = cocosnet(correspondence, mask_warmup=2)
            painting = system.generate_to_learn(system.networks, item, unit=2 if noise else 1)
            styles.append(painting.features.style)
        found[noise] = torch.equal(*styles)
    assert found == {False: False, True: True}


def test_what_is_not_finite_is_refused_except_in_a_training_step_which_looks_at_its_losses():
    system, example = cocosnet(), batch()
    example = dataclasses.replace(example, exemplar=example.exemplar * float("nan"))
    with torch.no_grad(), pytest.raises(ValueError, match="style contains NaN"):
        system.generate(system.networks, example)
    painting = system.generate_to_learn(system.networks, example)
    terms = system.generator_terms(system.networks, example, painting)
    assert terms["self_pixel"].isnan()


def test_terms_of_weight_0_are_neither_computed_nor_returned():
    system, example = cocosnet(), batch()
    painting = system.generate_to_learn(system.networks, example)
    # Neither discriminator nor perceptual network could be called.
    terms = system.generator_terms(system.networks, example, painting)
    assert terms.keys() == {"self_pixel"}
    expected = (painting.image[0] - example.image[0]).abs().mean() / 2
    torch.testing.assert_close(terms["self_pixel"], expected)


@pytest.mark.parametrize("warp", ["mean", "coherent"])
def test_where_a_self_pair_is_seen_teaches_the_matching_whatever_the_warp(warp: str):
    matcher = tiny.correspondence(3, warp=warp)
    weights = CoCosNetLosses(**NOTHING | {"self_warp": 1})
    system, example = cocosnet(matcher, losses=weights), batch(64)
    torch.manual_seed(0)
    generated = system.generate_to_learn(system.networks, example)
    (term,) = system.generator_terms(system.networks, example, generated).values()
    term.backward()
    assert all(
        parameter.grad.abs().sum() > 0 for parameter in matcher.style_projection.parameters()
    )


@pytest.mark.parametrize("crop", [0, 32])
def test_fidelity_to_the_warp_teaches_the_painter_and_needs_pixels_that_move(crop: int):
    weights = CoCosNetLosses(**NOTHING | {"warp_fidelity": 1})
    assert weights.need_picture and weights.need_labels
    painter = BlendingTranslationNetwork(3, channels=(8, 24, 40, 32), condition_width=8)
    matcher = tiny.correspondence(3, warp="coherent")
    system, example = cocosnet(matcher, painter, weights, crop=crop), batch(64)
    generated = system.generate_to_learn(system.networks, example)
    assert generated.agreement.shape == (2, 1, *generated.image.shape[2:])
    (term,) = system.generator_terms(system.networks, example, generated).values()
    term.backward()
    assert painter.output_conv.weight.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="correspondence.warp=coherent"):
        soft = cocosnet(tiny.correspondence(3), painter, weights)
        soft.generate_to_learn(soft.networks, example)


def test_a_picture_is_held_to_the_whole_warp_without_any_labels():
    weights = CoCosNetLosses(**NOTHING | {"warp_identity": 2})
    assert weights.need_picture and not weights.need_labels
    painter = BlendingTranslationNetwork(3, channels=(8, 24, 40, 32), condition_width=8)
    system = cocosnet(tiny.correspondence(3, warp="coherent"), painter, weights)
    example = dataclasses.replace(batch(64), condition_labels=None, exemplar_labels=None)
    generated = system.generate_to_learn(system.networks, example)
    (term,) = system.generator_terms(system.networks, example, generated).values()
    everywhere = torch.ones(2, 1, 64, 64)
    expected = warp_fidelity_loss(generated.image, generated.warped_exemplar, everywhere)
    torch.testing.assert_close(term, 2 * expected)
    assert term > 0


@pytest.mark.parametrize("crop", [0, 32])
def test_a_bent_flow_is_taught_by_the_photo_where_it_shows_another_class(crop: int):
    weights = CoCosNetLosses(**NOTHING | {"warp_fidelity": 1, "self_pixel": 1})
    painter = BlendingTranslationNetwork(3, channels=(8, 24, 40, 32), condition_width=8)
    matcher = tiny.correspondence(3, warp="coherent")
    system = cocosnet(matcher, painter, weights, crop=crop, flow_jitter=2.0)
    example = dataclasses.replace(batch(64), is_self_pair=torch.tensor([1.0, 0.0]))
    kinds = set()
    for seed in range(6):
        torch.manual_seed(seed)
        found = system.generate_to_learn(system.networks, example)
        photo = (found.batch or example).image
        wanted = torch.lerp(photo, found.warped_exemplar, found.agreement)
        torch.testing.assert_close(found.self_target[1], photo[1])
        is_bent = torch.equal(found.self_target[0], wanted[0])
        assert is_bent or torch.equal(found.self_target[0], photo[0])
        kinds.add(is_bent)
        more = WRONG_WEIGHT * (1 - found.agreement[0]) if is_bent else torch.zeros(1)
        torch.testing.assert_close(found.self_weight[0], (1 + more).expand_as(found.agreement[0]))
    assert kinds == {False, True}
    terms = system.generator_terms(system.networks, example, found)
    off = (found.image[:1] - found.self_target[:1]).abs() * found.self_weight[:1]
    off = off.mean()
    torch.testing.assert_close(terms["self_pixel"], off / 2)  # a mean over the batch, as official


def test_classes_that_no_label_has_change_no_loss():
    system, example = cocosnet(), batch()
    painting = system.generate_to_learn(system.networks, example)
    largest = max(int(example.condition_labels.max()), int(example.exemplar_labels.max()))
    system.losses = dataclasses.replace(ONLY_PIXELS, warped_mask=1)
    terms = []
    for classes in (largest + 1, 150):
        declared = dataclasses.replace(example, classes=classes)
        assert label_masks(declared, 4).shape == (2, classes, 8, 8)
        terms.append(system.generator_terms(system.networks, declared, painting))
    torch.testing.assert_close(*(each["warped_mask"] for each in terms))


@pytest.mark.slow
def test_a_training_step_reads_no_value_of_a_tensor_so_that_no_gpu_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
):
    # Fake tensors have no values: whatever asks for one, or for the size of a choice, is an error.
    # These lie on another device than the CPU, on which classes are looked at before their use; it
    # is one that autocast does not know.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    added = {"self_laplacian": 1, "known_flow": 1, "region_flow": 1, "warp_identity": 1}
    weights = CoCosNetLosses(cycle=1, self_warp=1, warped_mask=1, self_pixel=1, **added)
    with FakeTensorMode(), torch.device("meta"):
        painters = tiny.NETWORK_SETTINGS
        correspondence = CorrespondenceNetwork(3, **painters["correspondence"])
        translation = TranslationNetwork(3, **painters["translation"])
        discriminator = MultiscaleDiscriminator(3, **painters["discriminator"])
        perceptual = VGG19Features("caffe").requires_grad_(False)
        labels = torch.zeros(2, 2, 64, 64, dtype=torch.long)
        photos, masks = torch.ones(2, 2, 2, 3, 64, 64)
        example = Batch(
            photos[0],
            masks[0],
            photos[1],
            masks[1],
            torch.ones(2),
            *labels,
            classes=3,
            flow=torch.ones(2, 2, 16, 16),
        )
        system = cocosnet(
            correspondence, translation, weights, discriminator, perceptual, diff_augment=True
        )
        nets = system.networks
        painting = system.generate_to_learn(nets, example)
        terms = system.generator_terms(nets, example, painting)
        sum(terms.values()).backward()
        sum(system.discriminator_terms(nets, example, painting).values()).backward()
    everything = {field.name for field in dataclasses.fields(CoCosNetLosses)}
    assert terms.keys() == everything - {"warp_fidelity", "line_consistency"}  # they search
    for network in (correspondence, translation, discriminator):
        assert all(parameter.grad is not None for parameter in network.parameters())
    with FakeTensorMode(), torch.device("meta"), pytest.raises(DataDependentOutputException):
        torch.ones(2).max().item()


def test_the_discriminators_loss_does_not_reach_the_painting_networks():
    translation, discriminator, example = tiny.translation(3), tiny.discriminator(3), batch(48)
    system = cocosnet(None, translation, CoCosNetLosses(), discriminator, diff_augment=True)
    painting = system.generate(system.networks, example)
    terms = system.discriminator_terms(system.networks, example, painting)
    sum(terms.values()).backward()
    assert all(parameter.grad is None for parameter in translation.parameters())
    assert any(parameter.grad is not None for parameter in discriminator.parameters())


def validated(system: CoCosNet, *batches: Batch) -> tuple[dict[str, float], Batch, Generated]:
    return validate(system, system.networks, batches)


def test_an_exemplar_that_is_the_target_carries_its_own_labels():
    # Projections that are one and the same match every position with itself.
    system, example = cocosnet(), batch()
    painting = system.generate(system.networks, example)
    style = painting.features.style
    matching = type(painting.matching)(style, style)
    example = dataclasses.replace(example, condition_labels=example.exemplar_labels)
    metrics = batch_metrics(example, dataclasses.replace(painting, matching=matching))
    assert metrics["warp_accuracy"] == 1
    assert metrics["identity_accuracy"] == 1
    assert metrics["confidence"] > 0.9
    assert metrics["entropy"] < 0.1


def test_metrics_without_labels_leave_the_accuracies_out():
    example = dataclasses.replace(batch(), condition_labels=None, exemplar_labels=None)
    metrics, *_ = validated(cocosnet(), example, example)
    assert metrics.keys() == {
        "target_l1",
        "copy_score",
        "exemplar_l1",
        "variety",
        "confidence",
        "entropy",
        "swd",
    }


def test_validation_measures_all_batches_together():
    system, example = cocosnet(), batch()
    single, *_ = validated(system, example)
    double, first, painting = validated(system, example, example)
    assert double == pytest.approx(single, rel=1e-5)
    assert first is example
    assert 0 < single["entropy"] < 1
    pictures = [((x + 1) * 127.5).round().byte() for x in (painting.image, example.image)]
    assert single["swd"] == pytest.approx(swd(*pictures))


def test_a_model_of_noise_is_validated_as_it_is_used():
    system, example = cocosnet(tiny.correspondence(3, exemplar_noise=5.0)), batch()
    found, _, painting = validated(system, example)
    again, *_ = validated(system, example)
    assert again == found
    other = dataclasses.replace(example, exemplar_condition=1 - example.exemplar_condition)
    _, _, unmoved = validated(system, other)
    torch.testing.assert_close(unmoved.image, painting.image)
    with torch.no_grad():
        seen = system.generate_to_learn(system.networks, example, unit=-1)
    assert (seen.image - painting.image).abs().max() > 1e-3


def test_a_picture_with_its_exemplars_colours_has_the_highest_colour_relevance():
    example, perceptual = batch(), tiny.lively(DistilledVGG19Features())
    metrics, _, painting = validated(cocosnet(perceptual=perceptual), example)
    assert metrics["color_relevance"] < 0.999
    painting = dataclasses.replace(painting, image=example.exemplar)
    example = dataclasses.replace(example, condition_labels=example.exemplar_labels)
    assert color_relevance(example, painting, perceptual) == pytest.approx(1)
    background = torch.zeros_like(example.exemplar_labels)
    example = dataclasses.replace(example, condition_labels=background)
    assert color_relevance(example, painting, perceptual) == 0


def test_validation_without_data_is_an_error():
    with pytest.raises(ValueError, match="name a split"):
        validated(cocosnet())
