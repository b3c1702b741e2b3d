"""Official weights, converted, give the official numbers; the formula weights stand in for them."""

import functools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cocosnet_hf import (
    PRESETS,
    CoCosPipeline,
    CorrespondenceNetwork,
    MultiscaleDiscriminator,
    TranslationNetwork,
)
from cocosnet_hf.convert import convert_checkpoint
from cocosnet_hf.models import inference
from cocosnet_hf.models.blocks import SPADE
from cocosnet_hf.reference import normalized_patches
from tests.support import reference
from tests.support.goldens import (
    SLIM,
    TASKS,
    Recorder,
    deviation,
    differences,
    load,
    network_inputs,
)
from tests.support.make_parity_fixture import recorded as slim_recording
from tests.support.official import (
    OFFICIAL,
    Official,
    manifest,
    official_weights,
    read_checkpoints,
    tiny,
    write_checkpoints,
)
from tests.support.paths import SHARED_PARITY

ADAPTOR_BLOCKS = ("head_0", "G_middle_0", "G_middle_1")
GENERATOR_BLOCKS = (*ADAPTOR_BLOCKS, "up_0", "up_1", "up_2", "up_3")
PARAMETERS = {  # official networks, 4.3: netG, netCorr, netD
    "ade20k": (96_664_260, 59_315_716, 6_862_194),
    "celebahq": (92_710_596, 53_574_564, 6_515_562),
    "celebahq-edge": (92_590_788, 53_380_676, 6_505_058),
    "deepfashion": (92_740_548, 52_846_916, 6_518_188),
}
# Few channels average rounding errors out less: narrow networks come to 1.1 times the tolerances of
# the full-size ones. The second number is for pictures in -1..1.
NARROW_SLACK, NARROW_PICTURE = 4, 1e-4

needs_shared = pytest.mark.skipif(not SHARED_PARITY.is_dir(), reason=f"needs {SHARED_PARITY}")


def official_recording(task: str) -> dict[str, np.ndarray]:
    return load(SHARED_PARITY / f"golden_{task.replace('-', '')}.npz")


def converted(folder: Path, task: str, official: Official) -> Path:
    """A pipeline folder made from official-style files with formula weights."""
    files = write_checkpoints(folder / "official", official_weights(official))
    return convert_checkpoint(files, folder / "pipeline", task=task)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """By task: the pipeline of a few channels, which is converted once; not to be changed."""

    @functools.cache
    def made(task: str) -> Path:
        return converted(tmp_path_factory.mktemp("narrow"), task, tiny(OFFICIAL[task]))

    return made


def watch(module: nn.Module, record: Recorder, name: str) -> None:
    """Record a module's output, and a SPADE's steps."""
    module.register_forward_hook(lambda _module, _inputs, output: record(name, output))
    if isinstance(module, SPADE):
        watch_spade(module, record, name)


def watch_spade(module: SPADE, record: Recorder, name: str) -> None:
    def keep_hidden(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        record(f"{name}.mlp_shared", output.relu())

    def keep_modulation(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        scale, shift = output.chunk(2, dim=1)
        record(f"{name}.mlp_gamma", scale - 1)
        record(f"{name}.mlp_beta", shift)

    module.style_encoder.register_forward_hook(keep_hidden)
    module.modulation.register_forward_hook(keep_modulation)


def watch_pipeline(pipeline: CoCosPipeline, record: Recorder) -> None:
    """Record every step of both networks under its official name."""
    correspondence, translation = pipeline.correspondence, pipeline.translation
    for label, adaptor in (
        ("seg", correspondence.condition_adaptor),
        ("img", correspondence.exemplar_adaptor),
    ):
        for index, layer in enumerate(adaptor.layers, start=1):
            layer.register_forward_hook(
                lambda _module, _inputs, output, name=f"corr/{label}_layer{index}": record(
                    name, F.instance_norm(output)
                )
            )
        for name, block in zip(ADAPTOR_BLOCKS, adaptor.blocks, strict=True):
            watch(block, record, f"corr/{label}_{name}")
        watch(adaptor, record, f"corr/adaptive_feature_{label}")
    last = correspondence.condition_adaptor.blocks[2]
    for step in ("norm_0", "norm_s", "conv_0"):
        watch(getattr(last, step), record, f"corr/seg_G_middle_1.{step}")
    for name, projection in (
        ("cont_features", correspondence.content_projection),
        ("ref_features", correspondence.style_projection),
    ):
        projection.register_forward_hook(
            lambda _module, inputs, _output, name=name: record(f"corr/{name}", inputs[0])
        )
    watch(translation.input_conv, record, "G/fc")
    for name, block in zip(GENERATOR_BLOCKS, translation.blocks, strict=True):
        watch(block, record, f"G/{name}")
    for step in ("norm_0", "norm_1", "norm_s", "conv_0", "conv_1", "conv_s"):
        watch(getattr(translation.blocks[3], step), record, f"G/up_0.{step}")
    watch(translation.attention, record, "G/attn")
    watch(translation.output_conv, record, "G/conv_img")
    watch(translation, record, "G/fake_image_every3")
    translation.register_forward_hook(
        lambda _module, _inputs, output: record("G/fake_image_sample0", output[0])
    )


@torch.no_grad()
def run_pipeline(
    folder: Path,
    condition: Tensor,
    exemplar: Tensor,
    exemplar_condition: Tensor,
    image: Tensor,
    record: Recorder,
) -> Tensor:
    """Load a converted folder and use it as a user would; returns the images in 0..1."""
    pipeline = CoCosPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    watch_pipeline(pipeline, record)
    projections = {}
    for name in ("content", "style"):
        getattr(pipeline.correspondence, f"{name}_projection").register_forward_hook(
            lambda _module, _inputs, output, name=name: projections.update({name: output})
        )
    out = pipeline(
        condition,
        (exemplar + 1) / 2,
        exemplar_condition=exemplar_condition,
        output_type="pt",
    )
    record_matching(projections, record)
    warped = 2 * out.warped_exemplars - 1
    record("corr/warp_out_every3", warped)
    matching = out.matching
    record("corr/softmax_max", matching.confidence().flatten(1))
    columns, rows = ((matching.flow() - 1.5) / 4).long().unbind(-1)
    record("corr/softmax_argmax", (rows * (exemplar.shape[3] // 4) + columns).flatten(1))
    record("corr/warp_mask", matching.warp(exemplar_condition[:, :, ::4, ::4]))
    if pipeline.correspondence.config.warp == "patch":
        record("corr/warp_patch_every3", matching.warp(exemplar, patches=True))
    else:
        record("corr/warp_lowres", lowres := matching.warp(exemplar))
        record("corr/warp_cycle", matching.warp_back(lowres))

    discriminator = MultiscaleDiscriminator.from_pretrained(folder / "discriminator")
    judged = torch.cat([2 * out.images - 1, image])
    for scale, outputs in enumerate(discriminator(torch.cat([condition, condition]), judged)):
        for index, output in enumerate(outputs):
            record(f"D/scale{scale}_model{index}", output)
    return out.images


def record_matching(projections: dict[str, Tensor], record: Recorder) -> None:
    """The unfolded patches and their products, which the package never holds."""
    theta = normalized_patches(projections["content"], 3).mT
    phi = normalized_patches(projections["style"], 3).mT
    record("corr/theta", theta)
    record("corr/phi", phi)
    record("corr/f_rows", theta.mT @ phi)


@needs_shared
@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_a_converted_full_size_pipeline_reproduces_every_recorded_official_array(
    task: str, full_size: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
):
    arrays, found = official_recording(task), Recorder()
    inputs = network_inputs(task, arrays)
    with monkeypatch.context() as patch:
        patch.setattr(inference, "CHUNK_ENTRIES", 2**62)  # so that inner maps are seen whole
        images = run_pipeline(full_size(task) / "pipeline", **inputs, record=found)
    assert differences(arrays, found) == []
    assert is_recorded(arrays, 2 * images[0].numpy() - 1)


@needs_shared
@pytest.mark.slow
def test_a_full_size_pipeline_paints_the_recorded_picture_in_chunks_and_folded(
    full_size: Callable[[str], Path],
):
    """Of one task: narrow networks show it of all."""
    task = TASKS[0]
    arrays = official_recording(task)
    inputs = network_inputs(task, arrays)
    pipeline = CoCosPipeline.from_pretrained(full_size(task) / "pipeline")
    assert is_recorded(arrays, first_picture(pipeline, inputs))
    assert is_recorded(arrays, first_picture(pipeline.fold(), inputs))


def is_recorded(arrays: dict[str, np.ndarray], picture: np.ndarray) -> bool:
    """Whether this is the first official picture, in [-1, 1]."""
    return deviation("picture", arrays["G/fake_image_sample0"], picture) < 5e-5


def first_picture(pipeline: CoCosPipeline, inputs: dict[str, Tensor]) -> np.ndarray:
    """What a pipeline paints of the first of several inputs, in [-1, 1]."""
    pipeline.set_progress_bar_config(disable=True)
    out = pipeline(
        inputs["condition"][:1],
        (inputs["exemplar"][:1] + 1) / 2,
        exemplar_condition=inputs["exemplar_condition"][:1],
        output_type="pt",
    )
    return 2 * out.images[0].numpy() - 1


@needs_shared
@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
@torch.no_grad()
def test_the_plain_reference_reproduces_every_recorded_official_array(
    task: str, full_size: Callable[[str], Path]
):
    arrays, found = official_recording(task), Recorder()
    inputs = network_inputs(task, arrays)
    weights = read_checkpoints(full_size(task) / "official")
    reference.run(weights, OFFICIAL[task], **inputs, record=found)
    assert differences(arrays, found) == []


@pytest.mark.parametrize("task", TASKS)
def test_a_converted_narrow_pipeline_reproduces_every_array_of_the_slim_fixture(
    task: str, narrow: Callable[[str], Path]
):
    arrays, found = load(SLIM, f"{task}/"), Recorder(rows=4)
    run_pipeline(narrow(task), **network_inputs(task, arrays), record=found)
    assert differences(arrays, found, NARROW_SLACK) == []


@pytest.mark.parametrize("task", TASKS)
def test_a_folded_pipeline_paints_the_recorded_picture_in_chunks(
    task: str, narrow: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(inference, "CHUNK_ENTRIES", 1 << 14)
    arrays = load(SLIM, f"{task}/")
    inputs = network_inputs(task, arrays)
    picture = first_picture(CoCosPipeline.from_pretrained(narrow(task)).fold(), inputs)
    assert deviation("picture", arrays["G/fake_image_sample0"], picture) < NARROW_PICTURE


@pytest.mark.parametrize("task", TASKS)
def test_the_slim_fixture_is_what_the_reference_computes(task: str):
    assert differences(load(SLIM, f"{task}/"), slim_recording(task)) == []


@pytest.mark.parametrize("task", OFFICIAL)
@torch.no_grad()
def test_the_pipeline_equals_the_reference_on_a_wide_picture(
    task: str, narrow: Callable[[str], Path]
):
    official = tiny(OFFICIAL[task])
    generator = torch.Generator().manual_seed(7)
    size = (2, official.condition_channels, 64, 96)
    condition, exemplar_condition = (
        torch.rand(size, generator=generator).round() for _ in range(2)
    )
    exemplar = torch.rand((2, 3, 64, 96), generator=generator)
    noise = None
    if official.noise:
        noise = torch.randn(
            (2, official.condition_channels, 16, 24), generator=torch.Generator().manual_seed(3)
        )
    weights = official_weights(official)
    warped = reference.correspondence(
        weights["netCorr"], official, condition, 2 * exemplar - 1, exemplar_condition, noise
    )
    image = reference.translation(weights["netG"], warped, condition)

    pipeline = CoCosPipeline.from_pretrained(narrow(task))
    pipeline.set_progress_bar_config(disable=True)
    out = pipeline(
        condition,
        exemplar,
        exemplar_condition=None if official.noise else exemplar_condition,
        generator=torch.Generator().manual_seed(3),
        output_type="pt",
    )
    torch.testing.assert_close(2 * out.warped_exemplars - 1, warped, atol=NARROW_PICTURE, rtol=0)
    torch.testing.assert_close(2 * out.images - 1, image, atol=NARROW_PICTURE, rtol=0)


@pytest.mark.parametrize("task", PARAMETERS)
def test_a_preset_has_the_official_parameters_less_those_without_effect(task: str):
    def count(shapes: dict[str, tuple[int, ...]], *parts: str) -> int:
        return sum(
            math.prod(shape)
            for key, shape in shapes.items()
            if any(part in key for part in parts) and not key.endswith(("weight_u", "weight_v"))
        )

    shapes = manifest(OFFICIAL[task])
    without_effect = (
        0,
        count(shapes["netCorr"], ".conv1.bias", ".conv2.bias"),
        count(shapes["netD"], ".dec."),
    )
    arguments = PRESETS[task].network_arguments()
    with torch.device("meta"):
        networks = (
            TranslationNetwork(**arguments),
            CorrespondenceNetwork(**PRESETS[task].correspondence_arguments()),
            MultiscaleDiscriminator(**arguments),
        )
    for network, total, less in zip(networks, PARAMETERS[task], without_effect, strict=True):
        assert network.num_parameters() == total - less
