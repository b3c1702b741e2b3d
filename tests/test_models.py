"""The networks: shapes, gradients, strict loading, half precision, folding."""

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import torch.nn.functional as F
from accelerate import cpu_offload
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

from cocosnet_hf import (
    CorrespondenceNetwork,
    MultiscaleDiscriminator,
    TranslationNetwork,
    VGG19Features,
)
from cocosnet_hf.models.blocks import SpectralNorm
from cocosnet_hf.models.network import Network

WEIGHTS = "diffusion_pytorch_model.safetensors"
HEIGHT, WIDTH = 32, 48
NETWORKS: dict[str, Callable[[], Network]] = {
    "correspondence": tiny.correspondence,
    "translation": tiny.translation,
    "discriminator": tiny.discriminator,
}
every_network = pytest.mark.parametrize("name", NETWORKS)
every_loading = pytest.mark.parametrize("low_cpu_mem_usage", [True, False])


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def inputs(name: str, batch: int = 2, height: int = HEIGHT, width: int = WIDTH) -> list[Tensor]:
    """What each network reads, in its order."""
    scale = 2 if name == "discriminator" else 1
    size = (scale * height, scale * width)
    condition = (normal(batch, 2, *size) > 1).float()
    photo = normal(batch, 3, *size, seed=1).clamp(-1, 1)
    if name == "correspondence":
        return [condition, photo, condition.flip(3), photo.flip(2)]
    return [photo, condition] if name == "translation" else [condition, photo]


def outputs(network: Network, *arguments: Tensor) -> list[Tensor]:
    """All tensors that a network returns."""
    out = network(*arguments)
    if isinstance(out, Tensor):
        return [out]
    if isinstance(out, list):
        return [tensor for scale in out for tensor in scale]
    assert len(out.to_tuple()) == 5
    return list(out.to_tuple())


def assert_equal_states(found: nn.Module, expected: nn.Module) -> None:
    found_state, expected_state = found.state_dict(), expected.state_dict()
    assert found_state.keys() == expected_state.keys()
    for key, tensor in expected_state.items():
        assert torch.equal(found_state[key], tensor), key


# All networks -------------------------------------------------------------------------------


@every_network
@torch.no_grad()
def test_an_item_of_a_batch_equals_the_item_alone(name: str):
    network, arguments = NETWORKS[name](), inputs(name)
    alone = outputs(network, *(argument[:1] for argument in arguments))
    for single, batched in zip(alone, outputs(network, *arguments), strict=True):
        torch.testing.assert_close(single, batched[:1], atol=1e-5, rtol=1e-4)


@every_network
@torch.no_grad()
def test_running_twice_gives_the_same_and_changes_no_weight(name: str):
    network, arguments = NETWORKS[name](), inputs(name)
    before = copy.deepcopy(network)
    kept = [argument.clone() for argument in arguments]
    first, second = outputs(network, *arguments), outputs(network, *arguments)
    assert all(map(torch.equal, first, second))
    assert all(map(torch.equal, arguments, kept))
    assert_equal_states(network, before)


@every_network
def test_the_gradient_reaches_every_parameter_and_input(name: str):
    network, arguments = NETWORKS[name]().train(), inputs(name)
    for argument in arguments:
        argument.requires_grad_()
    sum(out.square().mean() for out in outputs(network, *arguments)).backward()
    missing = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []
    assert all(argument.grad.any() for argument in arguments)


@every_network
def test_a_training_pass_iterates_once_for_each_use_of_a_weight(name: str):
    network, arguments = NETWORKS[name]().train(), inputs(name)
    uses: dict[str, int] = {}
    for key, module in network.named_modules():
        if isinstance(module, SpectralNorm):
            uses[key] = 0
            module.register_forward_hook(
                lambda *_, key=key: uses.update({key: uses[key] + 1})  # noqa: B023
            )
    outputs(network, *arguments)
    # The exemplar adaptor sees the exemplar and the target.
    assert uses == {key: 2 if key.startswith("exemplar_adaptor") else 1 for key in uses}
    assert uses


@every_network
@every_loading
@torch.no_grad()
def test_a_saved_and_loaded_network_is_the_same_one(
    name: str, low_cpu_mem_usage: bool, tmp_path: Path
):
    network, arguments = NETWORKS[name](), inputs(name)
    network.save_pretrained(tmp_path)
    loaded, info = type(network).from_pretrained(
        tmp_path, low_cpu_mem_usage=low_cpu_mem_usage, output_loading_info=True
    )
    assert not any(info.values())
    assert not any(tensor.is_meta for tensor in loaded.state_dict().values())
    assert not loaded.training
    config = {k: v for k, v in network.config.items() if not k.startswith("_")}
    assert {k: loaded.config[k] for k in config} == json.loads(json.dumps(config))
    assert_equal_states(loaded, network)
    for found, expected in zip(
        outputs(loaded, *arguments), outputs(network, *arguments), strict=True
    ):
        torch.testing.assert_close(found, expected)


@every_network
@every_loading
def test_a_network_saved_in_pieces_is_loaded_whole(
    name: str, low_cpu_mem_usage: bool, tmp_path: Path
):
    network = NETWORKS[name]()
    network.save_pretrained(tmp_path, max_shard_size="8KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    loaded = type(network).from_pretrained(tmp_path, low_cpu_mem_usage=low_cpu_mem_usage)
    assert_equal_states(loaded, network)


@every_network
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_a_network_runs_in_half_precision(name: str, dtype: torch.dtype, tmp_path: Path):
    network, arguments = NETWORKS[name](), inputs(name)
    network.save_pretrained(tmp_path)
    half = type(network).from_pretrained(tmp_path, dtype=dtype)
    assert half.dtype == dtype
    assert {tensor.dtype for tensor in half.state_dict().values()} == {dtype}
    found = outputs(half, *(argument.to(dtype) for argument in arguments))
    for rough, exact in zip(found, outputs(network, *arguments), strict=True):
        assert rough.dtype == dtype
        error = (rough.float() - exact).square().mean() / exact.square().mean()
        assert error.sqrt() < (0.1 if dtype == torch.bfloat16 else 0.02)


@every_network
def test_a_variant_is_saved_beside_and_loaded_by_name(name: str, tmp_path: Path):
    network = NETWORKS[name]()
    network.half().save_pretrained(tmp_path, variant="fp16")
    assert (tmp_path / "diffusion_pytorch_model.fp16.safetensors").exists()
    assert_equal_states(
        type(network).from_pretrained(tmp_path, variant="fp16", dtype=torch.float16), network
    )
    with pytest.raises(OSError, match="no file named"):
        type(network).from_pretrained(tmp_path)


@every_network
@torch.no_grad()
def test_folding_changes_the_output_by_rounding_only(name: str):
    network, arguments = NETWORKS[name](), inputs(name)
    expected = outputs(network, *arguments)
    unfolded = copy.deepcopy(network)
    assert not network.folded
    assert network.fold() is network
    assert network.folded
    for found, wanted in zip(outputs(network, *arguments), expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=2e-5, rtol=1e-4)
    assert not any(parametrize.is_parametrized(module) for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert all(map(torch.equal, outputs(unfolded, *arguments), expected))


def test_a_network_with_offloaded_weights_cannot_be_folded():
    network = cpu_offload(tiny.translation(), torch.device("cpu"))
    with pytest.raises(ValueError, match=r"call fold\(\) before offloading"):
        network.fold()


@every_network
def test_a_folded_network_cannot_be_saved(name: str, tmp_path: Path):
    with pytest.raises(ValueError, match="save it before calling fold"):
        NETWORKS[name]().fold().save_pretrained(tmp_path)
    assert list(tmp_path.iterdir()) == []


# Strict loading -----------------------------------------------------------------------------


def saved(folder: Path, change: Callable[[dict[str, Tensor]], Any], shards: bool) -> Path:
    """A translation network with changed weights on disk, in one file or in several."""
    network = tiny.translation()
    network.save_pretrained(folder, **({"max_shard_size": "4KB"} if shards else {}))
    (file,) = [f for f in folder.glob("*.safetensors") if "output_conv.weight" in load_file(f)]
    state = load_file(file)
    before = state.keys() | ()
    change(state)
    save_file(state, file, metadata={"format": "pt"})
    if shards:
        index_file = folder / f"{WEIGHTS}.index.json"
        index = json.loads(index_file.read_text())
        for key in before - state.keys():
            del index["weight_map"][key]
        for key in state.keys() - before:
            index["weight_map"][key] = file.name
        index_file.write_text(json.dumps(index))
    return folder


@every_loading
@pytest.mark.parametrize("shards", [False, True])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("output_conv.weight"), "1 missing: output_conv.weight"),
        (lambda state: state.update(extra=torch.ones(2)), "1 unexpected: extra"),
        (
            lambda state: state.update({"output_conv.weight": torch.ones(3, 5, 3, 3)}),
            "of another shape: output_conv.weight",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(
    change: Callable, message: str, shards: bool, low_cpu_mem_usage: bool, tmp_path: Path
):
    folder = saved(tmp_path, change, shards)
    with pytest.raises(ValueError, match=message) as caught:
        TranslationNetwork.from_pretrained(folder, low_cpu_mem_usage=low_cpu_mem_usage)
    assert "convert or train the model again" in str(caught.value)


@every_loading
def test_a_weight_that_the_index_promises_but_no_piece_holds_is_refused(
    low_cpu_mem_usage: bool, tmp_path: Path
):
    saved(tmp_path, lambda _: None, shards=True)
    index = json.loads((tmp_path / f"{WEIGHTS}.index.json").read_text())
    piece = tmp_path / index["weight_map"]["output_conv.weight"]
    state = load_file(piece)
    del state["output_conv.weight"]
    save_file(state, piece, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="1 missing: output_conv.weight"):
        TranslationNetwork.from_pretrained(tmp_path, low_cpu_mem_usage=low_cpu_mem_usage)


def test_many_missing_weights_are_named_in_short(tmp_path: Path):
    network = tiny.translation()
    network.save_pretrained(tmp_path)
    save_file({"input_conv.bias": torch.zeros(12)}, tmp_path / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"\d+ missing: (\S+, ){3}\.\.\. \(\d+ more\)"):
        TranslationNetwork.from_pretrained(tmp_path)


def test_a_folder_of_another_network_is_refused(tmp_path: Path):
    tiny.translation().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="expected .* a CorrespondenceNetwork .* TranslationNet"):
        CorrespondenceNetwork.from_pretrained(tmp_path)


class Trap:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self) -> tuple:
        return Path.touch, (self.trace,)


def test_pickled_weights_are_refused_unopened(tmp_path: Path):
    tiny.translation().save_pretrained(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    trace = tmp_path / "trace"
    (tmp_path / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps(Trap(trace)))
    with pytest.raises(OSError, match="no file named diffusion_pytorch_model.safetensors"):
        TranslationNetwork.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="convert them to safetensors first"):
        TranslationNetwork.from_pretrained(tmp_path, use_safetensors=False)
    assert not trace.exists()


# CorrespondenceNetwork ----------------------------------------------------------------------


@torch.no_grad()
def test_correspondence_returns_projections_and_unit_features_at_a_quarter_of_the_size():
    network = tiny.correspondence()
    condition, exemplar, exemplar_condition, target = inputs("correspondence")
    exemplar, exemplar_condition = exemplar[..., :40], exemplar_condition[..., :40]
    out = network(condition, exemplar, exemplar_condition, target)
    assert out.content.shape == out.content_features.shape == (2, 8, 8, 12)
    assert out.style.shape == out.style_features.shape == (2, 8, 8, 10)
    assert out.target_features.shape == (2, 8, 8, 12)
    for features in (out.content_features, out.style_features, out.target_features):
        torch.testing.assert_close(features.norm(dim=1), torch.ones(features[:, 0].shape))


@torch.no_grad()
def test_either_half_of_the_correspondence_runs_alone():
    network = tiny.correspondence()
    condition, exemplar, exemplar_condition, _ = inputs("correspondence")
    both = network(condition, exemplar, exemplar_condition)
    content = network(condition, None)
    style = network(None, exemplar, exemplar_condition)
    assert torch.equal(content.content, both.content)
    assert torch.equal(style.style, both.style)
    assert content["content"] is content.content is content[0]
    assert content.style is None and content.target_features is None
    assert style.content is None and style.content_features is None


@pytest.mark.parametrize("kernel", [3, 4])
@pytest.mark.parametrize("mix_condition", [True, False])
@torch.no_grad()
def test_every_published_form_of_the_correspondence_runs(kernel: int, mix_condition: bool):
    network = tiny.correspondence(
        adaptor_kernel_size=kernel, mix_condition=mix_condition, num_residual_blocks=2
    )
    condition, exemplar, exemplar_condition, _ = inputs("correspondence", batch=1)
    out = network(condition, exemplar, exemplar_condition)
    assert out.content.shape == out.style.shape == (1, 8, 8, 12)
    without = None if network.needs_exemplar_condition else network(None, exemplar).style
    if without is not None:
        assert torch.equal(without, out.style)


@torch.no_grad()
def test_context_levels_let_a_position_see_further(monkeypatch: pytest.MonkeyPatch):
    # Instance norm lets every position see the whole map a little.
    monkeypatch.setattr("cocosnet_hf.models.correspondence.instance_norm", lambda x: x)
    condition, _, _, _ = inputs("correspondence", batch=1, height=128, width=160)
    moved = condition.clone()
    moved[:, :, :16, :16] += 1
    for levels, sees in ((0, False), (3, True)):
        network = tiny.correspondence(context_levels=levels, num_adaptor_blocks=1)
        before, after = (network(x, None).content_features for x in (condition, moved))
        assert before.shape == (1, 8, 32, 40)
        assert torch.equal(before[..., 14, 14], after[..., 14, 14]) != sees


@torch.no_grad()
def test_noise_stands_in_for_the_exemplars_condition_and_a_generator_repeats_it():
    network = tiny.correspondence(exemplar_noise=0.5)
    assert not network.needs_exemplar_condition
    _, exemplar, exemplar_condition, _ = inputs("correspondence")

    def style(seed: int) -> Tensor:
        return network(None, exemplar, generator=torch.Generator().manual_seed(seed)).style

    assert torch.equal(style(0), style(0))
    assert not torch.equal(style(0), style(1))
    one_each = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    found = network(None, exemplar, generator=one_each).style
    alone = network(None, exemplar[1:], generator=torch.Generator().manual_seed(1)).style
    torch.testing.assert_close(found[1:], alone, atol=1e-5, rtol=1e-4)
    given = network(None, exemplar, exemplar_condition).style
    assert torch.equal(given, network(None, exemplar, exemplar_condition).style)


@pytest.mark.parametrize("make", [CorrespondenceNetwork, TranslationNetwork])
def test_a_configuration_says_what_was_given_by_position(make: type):
    with torch.device("meta"):
        network = make(3)
        again = make.from_config(network.config)
    assert again.config.condition_channels == 3
    assert {name: tuple(value.shape) for name, value in again.state_dict().items()} == {
        name: tuple(value.shape) for name, value in network.state_dict().items()
    }


@torch.no_grad()
def test_the_noise_has_the_strength_of_the_configuration():
    # The first shared block reads features, then noise.
    network = tiny.correspondence(exemplar_noise=0.25, num_residual_blocks=1)
    seen = []
    network.residual_blocks.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    network(None, normal(4, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    assert seen[0][:, 8:].std().item() == pytest.approx(0.25, rel=0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patch_size": 2}, "patch_size must be odd"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"exemplar_noise": -1.0}, "exemplar_noise must not be negative"),
        ({"warp": "median"}, '"mean", "patch" or "coherent", got \'median\''),
        ({"warp_upsampling": "cubic"}, '"nearest" or "bilinear", got \'cubic\''),
        ({"adaptor_kernel_size": 5}, "must be 3 or 4, got 5"),
    ],
)
def test_impossible_settings_of_the_correspondence_are_refused(settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        CorrespondenceNetwork(2, base_channels=2, **settings)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.ones(1, 3, 32, 32), None), r"condition must have the shape \(B, 2, H, W\)"),
        ((torch.ones(2, 32, 32), None), r"condition must have the shape .* got \(2, 32, 32\)"),
        ((torch.ones(1, 2, 32, 30), None), "multiples of 4 .* got 32 x 30; .* 32 x 32"),
        ((None, torch.ones(1, 4, 32, 32)), r"exemplar must have the shape \(B, 3, H, W\)"),
        ((None, torch.ones(1, 3, 32, 32)), "got none; pass exemplar_condition"),
        (
            (None, torch.ones(1, 3, 32, 32), torch.ones(1, 3, 32, 32)),
            r"exemplar_condition must have the shape \(B, 2, H, W\)",
        ),
    ],
)
def test_tensors_that_do_not_fit_the_correspondence_are_refused(arguments: tuple, message: str):
    with pytest.raises(ValueError, match=message):
        tiny.correspondence()(*arguments)


# TranslationNetwork -------------------------------------------------------------------------


@torch.no_grad()
def test_translation_paints_at_the_size_of_its_condition():
    warped, condition = inputs("translation")
    image = tiny.translation()(warped, condition)
    assert image.shape == (2, 3, HEIGHT, WIDTH)
    assert -1 <= image.min() < image.max() <= 1


@pytest.mark.parametrize("channels", [(10, 8, 6), (10, 9, 8, 6), (10, 9, 8, 7, 6)])
@torch.no_grad()
def test_translation_takes_any_number_of_strides_from_three(channels: tuple[int, ...]):
    network = tiny.translation(channels=channels)
    assert network.stride == 2 ** (len(channels) - 1)
    seen = []
    network.attention.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    assert network(normal(1, 3, 32, 64), normal(1, 2, 32, 64)).shape == (1, 3, 32, 64)
    assert seen[0][-2:] == (16, 32)


@torch.no_grad()
def test_a_residual_translation_paints_the_warped_exemplar_where_it_corrects_nothing():
    network = TranslationNetwork(2, (12, 10, 8, 6), spade_channels=6, residual=True)
    for parameter in network.output_conv.parameters():
        parameter.zero_()
    warped, condition = torch.rand(1, 3, 32, 32) * 1.9 - 0.95, normal(1, 2, 32, 32)
    torch.testing.assert_close(network(warped, condition), warped)
    assert torch.isfinite(network(torch.sign(warped), condition)).all()
    network.output_conv.bias.copy_(torch.tensor([3.0, 0.0, 0.0]))
    red, *others = network(warped, condition).unbind(1)
    assert (red > warped[:, 0]).all()
    torch.testing.assert_close(torch.stack(others, 1), warped[:, 1:])


@torch.no_grad()
def test_a_residual_translation_is_saved_as_one_and_paints_in_half_precision(tmp_path: Path):
    torch.manual_seed(0)
    network = TranslationNetwork(2, (12, 10, 8, 6), spade_channels=6, residual=True).eval()
    network.save_pretrained(tmp_path)
    inputs = torch.rand(1, 3, 32, 32) * 2 - 1, normal(1, 2, 32, 32)
    expected = network(*inputs)
    loaded = TranslationNetwork.from_pretrained(tmp_path).eval()
    # Memory laid out otherwise is summed in another order.
    torch.testing.assert_close(loaded(*inputs), expected, rtol=0, atol=1e-4)
    half = loaded.to(torch.bfloat16)(*(one.bfloat16() for one in inputs))
    assert half.dtype == torch.bfloat16
    assert (half.float() - expected).abs().mean() < 0.02


def test_translation_needs_three_strides():
    with pytest.raises(ValueError, match=r"at least 3 strides, got \(8, 8\)"):
        TranslationNetwork(2, (8, 8))


@pytest.mark.parametrize("channels", [(16, 7, 4), (16, 16, 7, 8, 8)])
def test_translation_needs_channels_for_its_attention(channels: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"eighth of 7 channels; it needs 8 or more"):
        TranslationNetwork(2, channels)


@pytest.mark.parametrize(
    ("warped", "condition", "message"),
    [
        ((1, 4, 32, 32), (1, 2, 32, 32), r"warped_exemplar must have the shape \(B, 3, H, W\)"),
        ((1, 3, 32, 32), (1, 3, 32, 32), r"condition must have the shape \(B, 2, H, W\)"),
        ((1, 3, 32, 36), (1, 2, 32, 36), "multiples of 8 .* got 32 x 36"),
        ((1, 3, 32, 32), (1, 2, 32, 40), r"must agree in batch, height and width"),
        ((2, 3, 32, 32), (1, 2, 32, 32), r"must agree in batch, height and width"),
        ((1, 3, 8, 32), (1, 2, 8, 32), "8 x 32; .* 16 x 32"),
    ],
)
def test_tensors_that_do_not_fit_the_translation_are_refused(
    warped: tuple[int, ...], condition: tuple[int, ...], message: str
):
    with pytest.raises(ValueError, match=message):
        tiny.translation()(torch.ones(warped), torch.ones(condition))


# MultiscaleDiscriminator --------------------------------------------------------------------


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


# VGG19Features ------------------------------------------------------------------------------

VGG19 = [64, 64, "M", 128, 128, "M", *[256] * 4, "M", *[512] * 4, "M", *[512] * 4, "M"]


@pytest.fixture(scope="module")
def plain_vgg() -> nn.Sequential:
    """Configuration E of Simonyan and Zisserman, numbered as in torchvision and timm."""
    torch.manual_seed(0)
    layers, channels = [], 3
    for width in VGG19:
        if width == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
    return nn.Sequential(*layers)


@pytest.fixture(scope="module")
def timm_file(plain_vgg: nn.Sequential, tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = {f"features.{key}": tensor for key, tensor in plain_vgg.state_dict().items()}
    file = tmp_path_factory.mktemp("timm") / "model.safetensors"
    save_file(state | {"head.fc.weight": torch.zeros(10, 4)}, file)
    return file


@pytest.fixture(scope="module")
def vgg(timm_file: Path) -> VGG19Features:
    return VGG19Features.from_timm(timm_file)


RELUS = {"relu1_1": 2, "relu1_2": 4, "relu2_2": 9, "relu3_2": 14, "relu4_2": 23, "relu5_4": 36}


@torch.no_grad()
def test_vgg_features_are_those_after_the_named_relus(vgg: VGG19Features, plain_vgg: nn.Sequential):
    images = normal(2, 3, 32, 48).clamp(-1, 1)
    features = vgg(images, RELUS)
    assert list(features) == list(RELUS)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    x = ((images + 1) / 2 - mean) / std
    for name, depth in RELUS.items():
        torch.testing.assert_close(features[name], plain_vgg[:depth](x), atol=1e-5, rtol=1e-4)
    assert features["relu3_2"].shape == (2, 256, 8, 12)


def test_vgg_weights_from_timm_are_frozen_while_the_gradient_reaches_the_image(vgg: VGG19Features):
    assert not any(parameter.requires_grad for parameter in vgg.parameters())
    image = normal(1, 3, 16, 16).requires_grad_()
    vgg(image, ["relu2_2"])["relu2_2"].sum().backward()
    assert image.grad.any()


def test_vgg_stops_after_the_last_wanted_layer(vgg: VGG19Features):
    def fail(*_: Any) -> None:
        raise AssertionError("this layer is not wanted")

    handle = vgg.conv3_1.register_forward_pre_hook(fail)
    vgg(normal(1, 3, 16, 16), ["relu2_2", "relu1_1"])
    handle.remove()


def test_caffe_weights_get_bgr_less_the_mean_colour_in_0_to_255():
    with torch.device("meta"):
        network = VGG19Features("caffe")
    white = network.preprocess(torch.ones(1, 3, 1, 1)).flatten()
    red = network.preprocess(torch.tensor([1.0, -1, -1]).view(1, 3, 1, 1)).flatten()
    mean = torch.tensor([103.939, 116.779, 123.68])  # blue, green, red
    torch.testing.assert_close(white, 255 - mean, atol=1e-3, rtol=0)
    torch.testing.assert_close(red, torch.tensor([0.0, 0, 255]) - mean, atol=1e-3, rtol=0)


def test_unknown_vgg_layers_and_preprocessing_are_refused(vgg: VGG19Features):
    with pytest.raises(ValueError, match=r"unknown layers \['relu3_5'\]; .* relu1_1 to relu5_4"):
        vgg(normal(1, 3, 16, 16), ["relu1_1", "relu3_5"])
    with pytest.raises(ValueError, match=r"images must have the shape \(B, 3, H, W\)"):
        vgg(normal(1, 1, 16, 16))
    with pytest.raises(ValueError, match='"caffe" or "torchvision", got \'keras\''):
        VGG19Features("keras")


def test_a_file_that_is_no_vgg19_is_refused(tmp_path: Path):
    save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="lacks features.0.bias, "):
        VGG19Features.from_timm(tmp_path / "model.safetensors")


def test_vgg_is_saved_and_loaded_with_its_preprocessing(vgg: VGG19Features, tmp_path: Path):
    vgg.save_pretrained(tmp_path)
    loaded = VGG19Features.from_pretrained(tmp_path)
    assert loaded.config.preprocessing == "torchvision"
    assert_equal_states(loaded, vgg)


@pytest.mark.slow
@pytest.mark.parametrize("folded", [False, True])
@torch.no_grad()
def test_networks_compile_into_one_graph(folded: bool):
    condition, photo = normal(1, 2, 32, 32), normal(1, 3, 32, 32)
    translation, correspondence = tiny.translation(), tiny.correspondence()
    if folded:
        translation.fold(), correspondence.fold()
    compiled = torch.compile(translation, backend="eager", fullgraph=True)
    assert torch.allclose(compiled(photo, condition), translation(photo, condition), atol=1e-5)
    compiled = torch.compile(correspondence, backend="eager", fullgraph=True)
    for found, expected in zip(
        compiled(condition, photo, condition).to_tuple(),
        correspondence(condition, photo, condition).to_tuple(),
        strict=True,
    ):
        assert torch.allclose(found, expected, atol=1e-4)
