"""Official files to a pipeline folder: what is recognised, and what is refused."""

import os
import pickle
import struct
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from torch import Tensor

from cocosnet_hf import PRESETS, CoCosPipeline, CorrespondenceNetwork, MultiscaleDiscriminator
from cocosnet_hf.convert import OFFICIAL_RELEASE, convert_checkpoint, main
from cocosnet_hf.memory import process_peak
from tests.support.official import OFFICIAL, official_weights, tiny, write_checkpoints
from tests.support.processes import command, ended, fork

Weights = dict[str, dict[str, Tensor]]


@pytest.fixture
def weights() -> Weights:
    """A narrow celebahq checkpoint."""
    return official_weights(tiny(OFFICIAL["celebahq"]))


def convert(folder: Path, weights: Weights, **options: object) -> Path:
    files = write_checkpoints(folder / "official", weights)
    return convert_checkpoint(files, folder / "pipeline", **options)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["ade20k", "celebahq", "celebahq-edge", "deepfashion"])
def test_the_task_is_recognised_from_the_weights(task: str, tmp_path: Path):
    folder = convert(tmp_path, official_weights(tiny(OFFICIAL[task])))
    config = CoCosPipeline.from_pretrained(folder).correspondence.config
    official = OFFICIAL[task]
    assert config.condition_channels == official.condition_channels
    assert config.mix_condition == official.mix_condition
    assert (config.warp, config.warp_upsampling) == (official.warp, official.upsampling)
    assert config.exemplar_noise == 0


@pytest.mark.parametrize("spelling", ["ade20k_noise", "ade20k-noise"])
def test_the_noise_variant_is_taken_when_named(spelling: str, tmp_path: Path):
    folder = convert(tmp_path, official_weights(tiny(OFFICIAL["ade20k"])), task=spelling)
    assert CoCosPipeline.from_pretrained(folder).correspondence.config.exemplar_noise == 0.01


@pytest.mark.slow
@pytest.mark.parametrize("spelling", ["celebahq-edge", "celebahqedge"])
def test_both_spellings_of_the_edge_task_are_accepted(spelling: str, tmp_path: Path):
    folder = convert(tmp_path, official_weights(tiny(OFFICIAL["celebahq-edge"])), task=spelling)
    assert CoCosPipeline.from_pretrained(folder).correspondence.config.condition_channels == 15


@pytest.mark.parametrize("kernel", [3, 4])
def test_the_adaptor_kernel_is_read_from_the_weights(kernel: int, tmp_path: Path):
    official = replace(tiny(OFFICIAL["celebahq"]), kernel=kernel)
    folder = convert(tmp_path, official_weights(official))
    config = CoCosPipeline.from_pretrained(folder).correspondence.config
    assert config.adaptor_kernel_size == kernel


def test_the_pipeline_keeps_the_condition_of_its_task(weights: Weights, tmp_path: Path):
    pipeline = CoCosPipeline.from_pretrained(convert(tmp_path, weights))
    assert pipeline.condition == PRESETS["celebahq"].condition


def test_the_card_of_a_converted_pipeline_states_the_terms_of_its_release(
    weights: Weights, tmp_path: Path
):
    card = ModelCard.load(convert(tmp_path, weights) / "README.md")
    assert (card.data.license, card.data.license_link) == ("other", OFFICIAL_RELEASE)
    assert "non-commercial research purposes only" in card.text


def test_the_discriminator_lies_beside_the_pipeline_and_not_in_its_index(
    weights: Weights, tmp_path: Path
):
    folder = convert(tmp_path, weights)
    discriminator = MultiscaleDiscriminator.from_pretrained(folder / "discriminator")
    found = discriminator.discriminators[1].layers[4].bias
    assert torch.equal(found, weights["netD"]["discriminator_1.model4.0.bias"])
    assert "discriminator" not in (folder / "model_index.json").read_text()


def test_a_checkpoint_without_a_discriminator_is_enough(weights: Weights, tmp_path: Path):
    del weights["netD"]
    folder = convert(tmp_path, weights)
    assert CoCosPipeline.from_pretrained(folder).translation is not None
    assert not (folder / "discriminator").exists()


def test_another_epoch_is_read_from_its_own_files(weights: Weights, tmp_path: Path):
    write_checkpoints(tmp_path / "official", weights, epoch="90")
    folder = convert_checkpoint(tmp_path / "official", tmp_path / "pipeline", epoch=90)
    assert (folder / "model_index.json").exists()
    with pytest.raises(FileNotFoundError, match=r"latest_net_Corr\.pth.*90_net_Corr\.pth"):
        convert_checkpoint(tmp_path / "official", tmp_path / "other")


def test_the_averaged_weights_are_read_when_asked_for(weights: Weights, tmp_path: Path):
    files = write_checkpoints(tmp_path / "official", weights)
    averaged = {k: v + 1 if k == "theta.bias" else v for k, v in weights["netCorr"].items()}
    torch.save(averaged, files / "latest_net_netCorr_ema.pth")
    torch.save(weights["netG"], files / "latest_net_G_ema.pth")
    for ema in (False, True):
        folder = convert_checkpoint(files, tmp_path / f"pipeline-{ema}", ema=ema)
        correspondence = CoCosPipeline.from_pretrained(folder).correspondence
        expected = weights["netCorr"]["theta.bias"] + ema
        assert torch.equal(correspondence.content_projection.bias, expected)


def test_the_legacy_file_format_gives_the_same_pipeline(weights: Weights, tmp_path: Path):
    new = convert(tmp_path / "new", weights)
    files = write_checkpoints(tmp_path / "old" / "official", weights, legacy=True)
    old = convert_checkpoint(files, tmp_path / "old" / "pipeline")
    for name in ("correspondence", "translation", "discriminator"):
        path = f"{name}/diffusion_pytorch_model.safetensors"
        assert (new / path).read_bytes() == (old / path).read_bytes()


def test_a_missing_v_is_recomputed_as_old_torch_versions_did(weights: Weights, tmp_path: Path):
    layer = "adaptive_model_seg.layer1.0"
    expected = weights["netCorr"].pop(f"{layer}.weight_v")
    weights["netCorr"][f"{layer}.weight"] = weights["netCorr"][f"{layer}.weight_orig"]
    folder = convert(tmp_path, weights)
    network = CorrespondenceNetwork.from_pretrained(folder / "correspondence")
    found = network.state_dict()["condition_adaptor.layers.0.parametrizations.weight.0._v"]
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_a_missing_v_is_recomputed_for_half_precision_weights_too(weights: Weights, tmp_path: Path):
    layer = "adaptive_model_seg.layer1.0"
    expected = weights["netCorr"].pop(f"{layer}.weight_v")
    weights["netCorr"][f"{layer}.weight_orig"] = weights["netCorr"][f"{layer}.weight_orig"].half()
    folder = convert(tmp_path, weights)
    network = CorrespondenceNetwork.from_pretrained(folder / "correspondence")
    found = network.state_dict()["condition_adaptor.layers.0.parametrizations.weight.0._v"]
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


@pytest.mark.slow
def test_gamma_and_beta_become_one_layer_that_holds_one_plus_gamma(
    weights: Weights, tmp_path: Path
):
    translation = CoCosPipeline.from_pretrained(convert(tmp_path, weights)).translation
    modulation, norm = translation.blocks[3].norm_0.modulation, "up_0.norm_0"
    gamma, beta = (weights["netG"][f"{norm}.mlp_{name}.bias"] for name in ("gamma", "beta"))
    assert torch.equal(modulation.bias, torch.cat([1 + gamma, beta]))
    gamma, beta = (weights["netG"][f"{norm}.mlp_{name}.weight"] for name in ("gamma", "beta"))
    assert torch.equal(modulation.weight, torch.cat([gamma, beta]))


@pytest.mark.parametrize(
    ("net", "key"),
    [
        ("netCorr", "theta.weight"),
        ("netCorr", "layer.2.conv1.weight"),
        ("netG", "up_1.norm_s.mlp_beta.weight"),
        ("netG", "attn.gamma"),
        ("netD", "discriminator_1.model2.0.0.weight_u"),
    ],
)
def test_a_missing_key_is_named(net: str, key: str, weights: Weights, tmp_path: Path):
    del weights[net][key]
    with pytest.raises(ValueError, match=f"missing.*{key}|{key}.*missing"):
        convert(tmp_path, weights)
    assert not (tmp_path / "pipeline" / "model_index.json").exists()


@pytest.mark.parametrize("net", ["netCorr", "netG", "netD"])
def test_a_key_left_over_is_named(net: str, weights: Weights, tmp_path: Path):
    weights[net]["classifier.weight"] = torch.zeros(2)
    with pytest.raises(ValueError, match=r"1 left over: classifier\.weight"):
        convert(tmp_path, weights)


@pytest.mark.parametrize(
    ("net", "key"),
    [("netCorr", "phi.weight"), ("netG", "up_2.norm_1.mlp_gamma.bias")],
)
def test_a_misshaped_tensor_is_named_with_both_shapes(
    net: str, key: str, weights: Weights, tmp_path: Path
):
    weights[net][key] = weights[net][key][:-1]
    with pytest.raises(ValueError, match=rf"1 of another shape: {key} \(.*\) instead of \("):
        convert(tmp_path, weights)


def test_only_the_first_few_of_many_keys_are_named(weights: Weights, tmp_path: Path):
    weights["netG"] |= {f"extra.{index}": torch.zeros(1) for index in range(9)}
    expected = r"9 left over: extra\.0, extra\.1, extra\.2, \.\.\."
    with pytest.raises(ValueError, match=expected):
        convert(tmp_path, weights)


def test_files_of_two_trainings_are_refused(weights: Weights, tmp_path: Path):
    weights["netG"] = official_weights(tiny(OFFICIAL["ade20k"]))["netG"]
    with pytest.raises(ValueError, match="different models.*19.*151"):
        convert(tmp_path, weights)


class Payload:
    """Unpickling this would create a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def changed(path: Path, name: str) -> None:
    """Zeros in the middle of one entry of a zip file."""
    with zipfile.ZipFile(path) as archive:
        entry = next(entry for entry in archive.infolist() if entry.filename.endswith(name))
    content = bytearray(path.read_bytes())
    name_length, extra_length = struct.unpack_from("<HH", content, entry.header_offset + 26)
    start = entry.header_offset + 30 + name_length + extra_length + entry.file_size // 2
    content[start : start + 8] = bytes(byte ^ 0x11 for byte in content[start : start + 8])
    path.write_bytes(content)


def test_a_file_with_a_damaged_tensor_is_refused(weights: Weights, tmp_path: Path):
    folder = write_checkpoints(tmp_path / "official", weights)
    path = next(folder.glob("latest_net_*Corr.pth"))
    changed(path, "/data/3")
    with pytest.raises(ValueError, match=rf"{path.name} could not be read .*/data/3 in it is dam"):
        convert_checkpoint(folder, tmp_path / "pipeline")


def test_a_file_without_checksums_is_converted_with_a_word(
    weights: Weights, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    torch.serialization.set_crc32_options(False)
    try:
        folder = write_checkpoints(tmp_path / "official", weights)
    finally:
        torch.serialization.set_crc32_options(True)
    convert_checkpoint(folder, tmp_path / "pipeline")
    assert ("has no checksums" in caplog.text) == (not has_checksums(folder))


def has_checksums(folder: Path) -> bool:
    with zipfile.ZipFile(next(folder.glob("*.pth"))) as archive:
        return archive.testzip() is None


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_with_code_in_it_is_refused_and_nothing_runs(
    legacy: bool, weights: Weights, tmp_path: Path
):
    trace = tmp_path / "trace"
    weights["netG"]["fc.weight"] = Payload(trace)
    files = write_checkpoints(tmp_path / "official", weights, legacy=legacy)
    with pytest.raises(ValueError, match="could run code and is refused") as refused:
        convert_checkpoint(files, tmp_path / "pipeline")
    assert "weights_only" not in str(refused.value)
    assert not trace.exists()


def test_a_bare_pickle_is_refused_and_nothing_runs(weights: Weights, tmp_path: Path):
    trace = tmp_path / "trace"
    files = write_checkpoints(tmp_path / "official", weights)
    (files / "latest_net_Corr.pth").write_bytes(pickle.dumps(Payload(trace), protocol=2))
    with pytest.raises(ValueError, match="could run code and is refused") as refused:
        convert_checkpoint(files, tmp_path / "pipeline")
    assert "weights_only" not in str(refused.value)
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut short"])
def test_a_file_that_is_no_checkpoint_is_refused(content: bytes, weights: Weights, tmp_path: Path):
    files = write_checkpoints(tmp_path / "official", weights)
    (files / "latest_net_Corr.pth").write_bytes(content)
    with pytest.raises(ValueError, match=r"latest_net_Corr\.pth could not be read"):
        convert_checkpoint(files, tmp_path / "pipeline")


@pytest.mark.parametrize("legacy", [False, True])
def test_a_truncated_file_is_refused(legacy: bool, weights: Weights, tmp_path: Path):
    files = write_checkpoints(tmp_path / "official", weights, legacy=legacy)
    path = files / "latest_net_Corr.pth"
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ValueError, match=r"latest_net_Corr\.pth could not be read"):
        convert_checkpoint(files, tmp_path / "pipeline")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.zeros(1)], "dict of key to tensor, got list"),
        ({}, "got an empty one"),
        ({"state_dict": {"fc.weight": torch.zeros(1)}}, "'state_dict' is a dict"),
        ({"epoch": 3}, "'epoch' is a int"),
        ({0: torch.zeros(1)}, "0 is a Tensor"),
        ({"theta.weight": torch.zeros(1, dtype=torch.int64)}, "finite floating-point"),
        ({"theta.weight": torch.tensor([float("nan")])}, "finite floating-point"),
        ({"theta.weight": torch.zeros(1).expand(10**7, 10**7)}, "numbers are all in the file"),
        ({"theta.weight": torch.zeros(1, device="meta")}, "must be a plain tensor"),
        ({"theta.weight": torch.eye(3).to_sparse()}, "must be a plain tensor"),
    ],
)
def test_anything_but_a_flat_dict_of_finite_tensors_is_refused(
    content: object, message: str, weights: Weights, tmp_path: Path
):
    files = write_checkpoints(tmp_path / "official", weights)
    torch.save(content, files / "latest_net_Corr.pth")
    with pytest.raises(ValueError, match=message):
        convert_checkpoint(files, tmp_path / "pipeline")


def test_the_two_files_exchanged_are_refused(weights: Weights, tmp_path: Path):
    weights["netCorr"], weights["netG"] = weights["netG"], weights["netCorr"]
    with pytest.raises(ValueError, match="does not hold the official network"):
        convert(tmp_path, weights)


def test_an_empty_folder_is_named_with_the_files_it_should_have(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"latest_net_Corr\.pth.*no \.pth file"):
        convert_checkpoint(tmp_path, tmp_path / "pipeline")


def test_an_unknown_task_is_answered_with_the_known_ones(weights: Weights, tmp_path: Path):
    with pytest.raises(ValueError, match="unknown task 'cats'.*celebahq-edge"):
        convert(tmp_path, weights, task="cats")


def test_a_task_of_another_condition_is_refused(weights: Weights, tmp_path: Path):
    with pytest.raises(ValueError, match="do not fit the task asked for.*19 condition"):
        convert(tmp_path, weights, task="deepfashion")


def test_a_folder_with_files_in_it_is_not_written_to(weights: Weights, tmp_path: Path):
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "notes.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="not an empty folder"):
        convert(tmp_path, weights)


def measure(step: str, files: Path, pipeline: Path, found: Path) -> None:
    """Seconds and MB that a step takes."""
    before, start = process_peak(), time.perf_counter()
    if step == "convert":
        convert_checkpoint(files, pipeline)
    else:
        CoCosPipeline.from_pretrained(pipeline)
    found.write_text(f"{time.perf_counter() - start} {process_peak() - before}")


@pytest.mark.slow
def test_full_size_weights_are_converted_and_loaded_in_seconds_and_little_more_than_their_memory(
    tmp_path: Path,
):
    weights = official_weights(OFFICIAL["deepfashion"])
    size = sum(tensor.nbytes for state in weights.values() for tensor in state.values()) / 2**20
    files = write_checkpoints(tmp_path / "official", weights, legacy=True)
    for step in ("convert", "load"):
        running = fork(measure, step, files, tmp_path / "pipeline", tmp_path / step)
        assert ended(running, 300) == 0, step
        seconds, memory = map(float, (tmp_path / step).read_text().split())
        assert memory < size + 150, step
        assert seconds < 60, step


@pytest.mark.slow
def test_the_command_line_says_what_it_recognised(weights: Weights, tmp_path: Path):
    files = write_checkpoints(tmp_path / "official", weights)
    words = (str(files), str(tmp_path / "pipeline"))
    running = command("cocosnet_hf.convert", tmp_path / "log", *words)
    code, printed = ended(running, 300), (tmp_path / "log").read_text()
    assert code == 0, printed
    assert "task celebahq: 19 condition channels, adaptor kernel 4" in printed
    assert "latest_net_D.pth: MultiscaleDiscriminator with 74 keys" in printed


def test_the_command_line_takes_its_options(weights: Weights, tmp_path: Path):
    del weights["netD"]
    weights["G_ema"], weights["netCorr_ema"] = weights.pop("netG"), weights.pop("netCorr")
    files = tmp_path / "official"
    files.mkdir()
    for name, state in weights.items():
        torch.save(state, files / f"90_net_{name}.pth")
    options = ["--task", "celebahq", "--epoch", "90", "--ema"]
    main([str(files), str(tmp_path / "pipeline"), *options])
    assert (tmp_path / "pipeline" / "model_index.json").exists()


def test_the_command_line_reports_an_error_without_a_traceback(tmp_path: Path):
    with pytest.raises(SystemExit, match=r"^error: expected latest_net_Corr\.pth"):
        main([str(tmp_path), str(tmp_path / "pipeline")])
