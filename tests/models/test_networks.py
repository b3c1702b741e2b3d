"""All networks: gradients, strict loading, half precision, folding."""

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import cpu_offload
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.utils import parametrize

from cocosnet_hf import CorrespondenceNetwork, TranslationNetwork
from cocosnet_hf.models.blocks import SpectralNorm
from cocosnet_hf.models.network import Network
from tests.support import tiny
from tests.support.networks import assert_equal_states, inputs
from tests.support.tensors import normal

WEIGHTS = "diffusion_pytorch_model.safetensors"
NETWORKS: dict[str, Callable[[], Network]] = {
    "correspondence": tiny.correspondence,
    "translation": tiny.translation,
    "discriminator": tiny.discriminator,
}
every_network = pytest.mark.parametrize("name", NETWORKS)
every_loading = pytest.mark.parametrize("low_cpu_mem_usage", [True, False])


def outputs(network: Network, *arguments: Tensor) -> list[Tensor]:
    """All tensors that a network returns."""
    out = network(*arguments)
    if isinstance(out, Tensor):
        return [out]
    if isinstance(out, list):
        return [tensor for scale in out for tensor in scale]
    assert len(out.to_tuple()) == 4
    return list(out.to_tuple())


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


# VGG19Features ------------------------------------------------------------------------------


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
