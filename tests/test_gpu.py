"""What only a GPU can show: every tensor reaches the right device, results are the CPU's."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cocosnet_hf import CoCosPipeline, MaskCondition, Matching
from tests.support import tiny

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
DEVICE = "cuda"


@pytest.fixture(autouse=True)
def exact_convolutions() -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def picture(seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (40, 48, 3))
    return Image.fromarray(noise.astype(np.uint8))


def run(pipe: CoCosPipeline, *arguments: object, **settings: object) -> Tensor:
    return pipe(*arguments, output_type="pt", **settings).images.cpu()


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("folded", [False, True])
def test_the_picture_is_the_cpus(folded: bool):
    pipe = tiny.pipeline()
    expected = run(pipe, picture(1), picture(2))
    if folded:
        pipe.fold()
    assert_close(run(pipe.to(DEVICE), picture(1), picture(2)), expected)


def test_inputs_may_lie_on_any_device():
    pipe = tiny.pipeline()
    conditions = [pipe.condition.encode(picture(i), 32, 40) for i in (1, 2)]
    photos = list(torch.rand(2, 3, 32, 40, generator=torch.Generator().manual_seed(0)))
    regions = list(torch.randint(0, 3, (2, 32, 40), generator=torch.Generator().manual_seed(0)))
    settings = {"regions": regions, "exemplar_regions": regions}
    expected = run(pipe, conditions, photos, conditions, **settings)
    pipe.to(DEVICE)
    for listed in (conditions, photos, regions):
        listed[1] = listed[1].to(DEVICE)
    assert_close(run(pipe, conditions, photos, conditions, **settings), expected)
    prepared = pipe.encode_exemplar(photos, conditions).to("cpu")
    assert_close(run(pipe, conditions, prepared, **settings), expected)


def test_a_generator_of_the_cpu_draws_the_cpus_noise():
    pipe = tiny.pipeline(MaskCondition.from_names("abc"), exemplar_noise=0.5)
    labels = np.arange(32 * 40).reshape(32, 40) % 3
    expected = run(pipe, labels, picture(1), generator=torch.Generator().manual_seed(3))
    pipe.to(DEVICE)
    found = run(pipe, labels, picture(1), generator=torch.Generator().manual_seed(3))
    assert_close(found, expected)
    run(pipe, labels, picture(1), generator=torch.Generator(DEVICE).manual_seed(3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_paints_about_the_same(dtype: torch.dtype, autocast: bool):
    pipe = tiny.pipeline()
    expected = run(pipe, picture(1), picture(2))
    pipe.fold().to(DEVICE)
    if autocast:
        with torch.autocast(DEVICE, dtype):
            found = run(pipe, picture(1), picture(2))
    else:
        found = run(pipe.to(dtype), picture(1), picture(2))
    assert (found - expected).square().mean().sqrt() < 0.1


@pytest.mark.parametrize("offload", ["enable_model_cpu_offload", "enable_sequential_cpu_offload"])
def test_offloading_changes_nothing(offload: str):
    pipe = tiny.pipeline()
    expected = run(pipe, picture(1), picture(2))
    getattr(pipe, offload)(device=DEVICE)
    for _ in range(2):
        assert_close(run(pipe, picture(1), picture(2)), expected)


def test_the_matching_and_its_gradients_are_the_cpus():
    generator = torch.Generator().manual_seed(0)
    shapes = (2, 8, 6, 7), (2, 8, 5, 9), (2, 3, 5, 9)
    inputs = [torch.randn(shape, generator=generator) for shape in shapes]
    results = []
    for device in ("cpu", DEVICE):
        content, style, values = (t.to(device).requires_grad_() for t in inputs)
        matching = Matching(content, style, tile_memory=20_000)
        warped = matching.warp(values)
        loss = matching.warp_back(warped).square().sum()
        gradients = torch.autograd.grad(loss, (content, style, values))
        maps = matching.flow(), matching.confidence(), matching.row((1.0, 1.0))
        results.append([tensor.cpu() for tensor in (warped, *gradients, *maps)])
    for found, expected in zip(*reversed(results), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
