"""The trainer's objective: the pipeline's picture, and the official terms with its weights."""

import dataclasses
import json
from pathlib import Path

import pytest
import tiny
import torch
from goldens import SHARED, load, network_inputs
from official import OFFICIAL, official_weights, write_checkpoints
from official_objective import OFFICIAL_NAMES, vgg
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from cocosnet_hf import (
    CoCosPipeline,
    CorrespondenceNetwork,
    DistilledVGG19Features,
    MaskCondition,
    MultiscaleDiscriminator,
    TranslationNetwork,
    VGG19Features,
    losses,
)
from cocosnet_hf.convert import convert_checkpoint
from cocosnet_hf.evaluation import swd
from train.config import LossWeights, load_config
from train.networks import DISCRIMINATOR_FOLDER
from train.objective import Batch, discriminator_terms, generator_terms, label_masks, paint
from train.validation import batch_metrics, colour_relevance, validate

CONFIGS = Path(__file__).parent.parent / "train/configs"

ONLY_PIXELS = LossWeights(0, 0, 0, 0, 0, 0, self_pixel=1)


def batch(size: int = 32, classes: int = 3) -> Batch:
    generator = torch.Generator().manual_seed(0)

    def photo() -> torch.Tensor:
        return torch.rand(2, 3, size, size, generator=generator) * 2 - 1

    labels = torch.randint(classes, (2, 2, size, size), generator=generator)
    one_hot = torch.nn.functional.one_hot(labels, classes).movedim(-1, 2).float()
    is_self = torch.tensor([1.0, 0.0])
    return Batch(photo(), one_hot[0], photo(), one_hot[1], is_self, *labels, classes=classes)


@pytest.mark.parametrize("settings", [{}, {"warp": "patch"}, {"warp_upsampling": "bilinear"}])
def test_the_trainer_paints_what_the_pipeline_paints(settings: dict):
    condition = MaskCondition(classes=("a", "b", "c"))
    pipe = tiny.pipeline(condition, **settings)
    example = batch()
    with torch.no_grad():
        painting = paint(pipe.correspondence, pipe.translation, pipe.correspondence, example)
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
            painting = paint(
                correspondence, tiny.translation(3), correspondence, item, exemplar_noise=noise
            )
            styles.append(painting.features.style)
        found[noise] = torch.equal(*styles)
    assert found == {False: False, True: True}


def test_what_is_not_finite_is_refused_except_in_a_training_step_which_looks_at_its_losses():
    correspondence, translation, example = tiny.correspondence(3), tiny.translation(3), batch()
    example = dataclasses.replace(example, exemplar=example.exemplar * float("nan"))
    with torch.no_grad(), pytest.raises(ValueError, match="style contains NaN"):
        paint(correspondence, translation, correspondence, example)
    painting = paint(correspondence, translation, correspondence, example)
    terms = generator_terms(ONLY_PIXELS, painting, example, None, None, 0, False)
    assert terms["self_pixel"].isnan()


def test_terms_of_weight_0_are_neither_computed_nor_returned():
    correspondence, example = tiny.correspondence(3), batch()
    painting = paint(correspondence, tiny.translation(3), correspondence, example)
    # Neither discriminator nor perceptual network could be called.
    terms = generator_terms(ONLY_PIXELS, painting, example, None, None, 0, False)
    assert terms.keys() == {"self_pixel"}
    expected = (painting.image[0] - example.image[0]).abs().mean() / 2
    torch.testing.assert_close(terms["self_pixel"], expected)


def test_classes_that_no_label_has_change_no_loss():
    correspondence, example = tiny.correspondence(3), batch()
    painting = paint(correspondence, tiny.translation(3), correspondence, example)
    largest = max(int(example.condition_labels.max()), int(example.exemplar_labels.max()))
    weights = dataclasses.replace(ONLY_PIXELS, warped_mask=1)
    terms = []
    for classes in (largest + 1, 150):
        declared = dataclasses.replace(example, classes=classes)
        assert label_masks(declared, 4).shape == (2, classes, 8, 8)
        terms.append(generator_terms(weights, painting, declared, None, None, 0, False))
    torch.testing.assert_close(*(each["warped_mask"] for each in terms))


def test_a_training_step_reads_no_value_of_a_tensor_so_that_no_gpu_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
):
    # Fake tensors have no values: whatever asks for one, or for the size of a choice, is an error.
    monkeypatch.setattr(losses, "_require_classes", lambda *_: None)  # looks on a CPU only
    added = {"self_laplacian": 1, "known_flow": 1, "region_flow": 1}
    weights = LossWeights(cycle=1, self_warp=1, warped_mask=1, self_pixel=1, **added)
    with FakeTensorMode():
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
        painting = paint(
            correspondence,
            translation,
            correspondence,
            example,
            target=example.image,
        )
        terms = generator_terms(weights, painting, example, discriminator, perceptual, 3, True)
        sum(terms.values()).backward()
        sum(
            discriminator_terms(weights, painting, example, discriminator, True).values()
        ).backward()
    assert terms.keys() == {field.name for field in dataclasses.fields(LossWeights)}
    for network in (correspondence, translation, discriminator):
        assert all(parameter.grad is not None for parameter in network.parameters())
    with FakeTensorMode(), pytest.raises(DataDependentOutputException):
        torch.ones(2).max().item()


def test_the_discriminators_loss_does_not_reach_the_painting_networks():
    correspondence, example = tiny.correspondence(3), batch(48)
    translation, discriminator = tiny.translation(3), tiny.discriminator(3)
    painting = paint(correspondence, translation, correspondence, example)
    terms = discriminator_terms(LossWeights(), painting, example, discriminator, augment=True)
    sum(terms.values()).backward()
    assert all(parameter.grad is None for parameter in translation.parameters())
    assert any(parameter.grad is not None for parameter in discriminator.parameters())


def test_an_exemplar_that_is_the_target_carries_its_own_labels():
    # Projections that are one and the same match every position with itself.
    correspondence, example = tiny.correspondence(3), batch()
    painting = paint(correspondence, tiny.translation(3), correspondence, example)
    style = painting.features.style
    matching = type(painting.matching)(style, style)
    example = dataclasses.replace(example, condition_labels=example.exemplar_labels)
    metrics = batch_metrics(example, dataclasses.replace(painting, matching=matching))
    assert metrics["warp_accuracy"] == 1
    assert metrics["identity_accuracy"] == 1
    assert metrics["confidence"] > 0.9
    assert metrics["entropy"] < 0.1


def test_metrics_without_labels_leave_the_accuracies_out():
    correspondence = tiny.correspondence(3)
    example = dataclasses.replace(batch(), condition_labels=None, exemplar_labels=None)
    metrics, *_ = validate(correspondence, tiny.translation(3), [example, example])
    assert metrics.keys() == {"target_l1", "copy_score", "confidence", "entropy", "swd"}


def test_validation_measures_all_batches_together():
    correspondence, translation = tiny.correspondence(3), tiny.translation(3)
    example = batch()
    single, *_ = validate(correspondence, translation, [example])
    double, first, painting = validate(correspondence, translation, [example, example])
    assert double == pytest.approx(single, rel=1e-5)
    assert first is example
    assert 0 < single["entropy"] < 1
    pictures = [((x + 1) * 127.5).round().byte() for x in (painting.image, example.image)]
    assert single["swd"] == pytest.approx(swd(*pictures))


def test_a_model_of_noise_is_validated_as_it_is_used():
    correspondence = tiny.correspondence(3, exemplar_noise=5.0)
    translation, example = tiny.translation(3), batch()
    found, _, painting = validate(correspondence, translation, [example])
    again, *_ = validate(correspondence, translation, [example])
    assert again == found
    other = dataclasses.replace(example, exemplar_condition=1 - example.exemplar_condition)
    _, _, unmoved = validate(correspondence, translation, [other])
    torch.testing.assert_close(unmoved.image, painting.image)
    with torch.no_grad():
        seen = paint(correspondence, translation, correspondence, example)
    assert (seen.image - painting.image).abs().max() > 1e-3


def test_a_picture_with_its_exemplars_colours_has_the_highest_colour_relevance():
    correspondence, translation = tiny.correspondence(3), tiny.translation(3)
    example, perceptual = batch(), tiny.lively(DistilledVGG19Features())
    metrics, _, painting = validate(correspondence, translation, [example], perceptual)
    assert metrics["colour_relevance"] < 0.999
    painting = dataclasses.replace(painting, image=example.exemplar)
    example = dataclasses.replace(example, condition_labels=example.exemplar_labels)
    assert colour_relevance(example, painting, perceptual) == pytest.approx(1)
    background = torch.zeros_like(example.exemplar_labels)
    example = dataclasses.replace(example, condition_labels=background)
    assert colour_relevance(example, painting, perceptual) == 0


def test_validation_without_data_is_an_error():
    correspondence = tiny.correspondence(3)
    with pytest.raises(ValueError, match="name a split"):
        validate(correspondence, tiny.translation(3), [])


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason=f"needs {SHARED}")
@pytest.mark.parametrize("task", ["ade20k", "celebahq", "celebahq-edge", "deepfashion"])
@torch.no_grad()
def test_a_recipe_gives_every_term_of_the_official_training(task: str, tmp_path: Path):
    config = load_config(CONFIGS / f"{task}.yaml")
    files = write_checkpoints(tmp_path / "official", official_weights(OFFICIAL[task]))
    folder = convert_checkpoint(files, tmp_path / "pipeline", task=task)
    pipe = CoCosPipeline.from_pretrained(folder)
    discriminator = MultiscaleDiscriminator.from_pretrained(folder / DISCRIMINATOR_FOLDER)
    kind = "inputs" if task == "celebahq" else "golden"
    arrays = load(SHARED / f"{kind}_{task.replace('-', '')}.npz")
    labels = [
        torch.from_numpy(arrays[f"input/{name}"])[:, 0].long() for name in ("label", "label_ref")
    ]
    example = Batch(
        **network_inputs(task, arrays),
        is_self=torch.tensor([1.0, 0.0]),
        condition_labels=labels[0],
        exemplar_labels=labels[1],
        classes=1 + max(int(one.max()) for one in labels),
    )
    painting = paint(
        pipe.correspondence,
        pipe.translation,
        pipe.correspondence,
        example,
        target=example.image,
    )
    weights = config.losses
    terms = generator_terms(
        weights, painting, example, discriminator, vgg(), config.perceptual.layer_index, False
    ) | discriminator_terms(weights, painting, example, discriminator, False)
    golden = json.loads((SHARED / "golden_losses_full.json").read_text())
    recorded = golden["eval_mode"][task.replace("-", "")]
    expected = recorded["G"] | recorded["D"]
    del expected["total"]
    found = {OFFICIAL_NAMES[name]: term.item() for name, term in terms.items()}
    assert found == pytest.approx(expected, rel=1e-4)
