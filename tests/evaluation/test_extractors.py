"""The networks behind the metrics: their features, their files and their names."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from cocosnet_hf import DistilledVGG19Features, VGG19Features
from cocosnet_hf.evaluation import (
    PictureFiles,
    extract,
    frechet_distance,
    kernel_distance,
    load_extractor,
    load_perceptual,
    semantic_consistency,
    swd,
)
from cocosnet_hf.evaluation.extractors import load_lpips, perceptual_name
from cocosnet_hf.evaluation.mobilenet import MobileNetV2
from tests.support import tiny
from tests.support.paths import SHARED_DATA
from tests.support.pictures import whole_picture

BASELINES = "tests.support.baselines"
WEIGHTS = SHARED_DATA / "weights"
MOBILENET = WEIGHTS / "mobilenet_v2_tf2_ptq_dequant.safetensors"
needs_weights = pytest.mark.skipif(not MOBILENET.is_file(), reason=f"needs {WEIGHTS}")
HAS_FIDELITY, HAS_TORCHVISION = (
    importlib.util.find_spec(name) is not None for name in ("torch_fidelity", "torchvision")
)


def pictures(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


# MobileNetV2 -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MobileNetV2 with random weights, and a classifier that nobody asks for."""
    path = tmp_path_factory.mktemp("weights") / "mobilenet.safetensors"
    state = tiny.lively(MobileNetV2()).state_dict()
    save_file(state | {"classifier.weight": torch.zeros(3, 1280, 1, 1)}, path)
    return path


def test_mobilenet_from_a_file_gives_1280_features_of_pictures_of_any_size(weights: Path):
    extractor = load_extractor(f"MobileNetV2={weights}")
    found = extract(extractor, pictures(3, 3, 40, 60), batch_size=2)
    assert found.shape == (3, 1280) and found.dtype == torch.float32
    assert found.std(0).max() > 0
    same = extract(extractor, (pictures(3, 3, 40, 60) * 255).round().byte())
    torch.testing.assert_close(same, found, atol=0.05 * found.std().item(), rtol=0.05)


def test_a_file_of_another_network_or_none_is_refused(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="expected the weights of MobileNetV2 in nowhere"):
        load_extractor("MobileNetV2=nowhere")
    other = tmp_path / "other.safetensors"
    save_file({"stem.weight": torch.zeros(32, 3, 3, 3)}, other)
    with pytest.raises(ValueError, match="expected a MobileNetV2 in .*, but blocks.0.dw.bias"):
        load_extractor(f"MobileNetV2={other}")


@needs_weights
def test_mobilenet_agrees_with_a_second_implementation():
    reference = second_implementation().MobileNetV2(str(MOBILENET))
    batch = pictures(2, 3, 224, 224)
    expected = reference(batch, feats=True)[1]["pool"]
    found = extract(load_extractor(f"MobileNetV2={MOBILENET}"), batch)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def second_implementation() -> ModuleType:
    """The networks as they are defined beside the weights."""
    spec = importlib.util.spec_from_file_location("nets", WEIGHTS / "nets.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Names -------------------------------------------------------------------------------------------


def test_only_inception_makes_an_fid(weights: Path):
    extractor = load_extractor(f"MobileNetV2={weights}")
    assert (extractor.frechet, extractor.kernel) == ("FD-MobileNetV2", "KID-MobileNetV2")
    own = load_extractor(f"colours={BASELINES}:colours")
    assert (own.frechet, own.kernel) == ("FD-colours", "KID-colours")
    assert not own.network.training


@pytest.mark.parametrize(
    "spec",
    ["inception", "MobileNetV2", f"Inception={BASELINES}:colours", f"={BASELINES}:colours", "a=b"],
)
def test_other_specs_of_extractors_are_refused(spec: str):
    with pytest.raises(ValueError, match="An extractor is 'Inception', 'MobileNetV2=FILE' or"):
        load_extractor(spec)


def test_a_module_that_does_not_hold_the_network_is_an_import_error():
    with pytest.raises(ImportError, match=f"'{BASELINES}' has no 'nothing'"):
        load_extractor(f"mine={BASELINES}:nothing")


@pytest.mark.skipif(HAS_FIDELITY, reason="needs a machine without torch-fidelity")
def test_fid_without_its_library_says_what_to_install():
    with pytest.raises(ImportError, match="FID needs .*pip install torchmetrics"):
        load_extractor("Inception")


@pytest.mark.skipif(HAS_TORCHVISION, reason="needs a machine without torchvision")
def test_lpips_without_its_library_says_what_to_install():
    with pytest.raises(ImportError, match="LPIPS needs .*pip install torchmetrics"):
        load_lpips()


def test_perceptual_networks_are_loaded_and_named_by_their_weights(tmp_path: Path):
    path = tmp_path / "distilled.safetensors"
    save_file(tiny.lively(DistilledVGG19Features()).state_dict(), path)
    network = load_perceptual(f"VGG19-distilled={path}")
    assert perceptual_name(network) == "VGG19-distilled"
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert perceptual_name(VGG19Features()) == "VGG19"
    assert perceptual_name(VGG19Features("caffe")) == "VGG19-caffe"
    for spec in ("VGG19-distilled", "VGG16", "", f"vgg19={path}"):
        with pytest.raises(ValueError, match="A perceptual network is 'VGG19'"):
            load_perceptual(spec)


# Real photographs --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def faces() -> Tensor:
    """40 faces, (N, 3, 256, 256) uint8."""
    files = PictureFiles.of_folder(SHARED_DATA / "celebamask_hq_256" / "test" / "images")
    return torch.stack([files[index] for index in range(40)])


def coarser(photos: Tensor, factor: int) -> Tensor:
    small = F.avg_pool2d(photos.float(), factor)
    big = F.interpolate(small, scale_factor=factor, mode="bilinear")
    return big.round().byte()


@needs_weights
@pytest.mark.slow
def test_distances_grow_as_faces_get_coarser(faces: Tensor):
    extractor = load_extractor(f"MobileNetV2={MOBILENET}")
    ours, theirs = faces[:20], faces[20:]
    sets = [ours, *(coarser(ours, factor) for factor in (2, 4, 8))]
    target_features = extract(extractor, theirs)
    features = [extract(extractor, photos) for photos in sets]
    for distances in (
        [frechet_distance(some, target_features) for some in features],
        [kernel_distance(some, target_features).value for some in features],
        [swd(photos, theirs) for photos in sets],
    ):
        assert sorted(distances) == distances, distances


@needs_weights
@pytest.mark.slow
def test_region_pooling_makes_faces_more_consistent_than_single_positions(faces: Tensor):
    network = load_perceptual(
        f"VGG19-distilled={WEIGHTS / 'vgg19_distilled16x_relu5_1.safetensors'}"
    )
    folder = SHARED_DATA / "celebamask_hq_256" / "test" / "labels"
    paths = sorted(folder.iterdir())[:8]
    labels = torch.stack([torch.from_numpy(np.array(whole_picture(p))).long() for p in paths])
    # Each face moved by a few pixels: the same regions, other positions.
    layers = network.layers[2:]
    some = network(faces[:8].float() / 127.5 - 1, layers)
    moved = network(faces[:8].roll((5, 5), (2, 3)).float() / 127.5 - 1, layers)
    features, others = ([maps[name] for name in layers] for maps in (some, moved))
    pooled = [score.mean() for score in semantic_consistency(features, others, labels)]
    single = torch.stack(
        [F.cosine_similarity(a, b).mean() for a, b in zip(features, others, strict=True)]
    ).mean()
    assert 1 - min(pooled) < 0.3 * (1 - single)
