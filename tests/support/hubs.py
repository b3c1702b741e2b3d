"""Pipelines on a Hub, compared."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from cocosnet_hf import CoCosPipeline
from tests.support.loopback_hub import LoopbackHub

REPO = "alice/edges"
WEIGHTS = "diffusion_pytorch_model.safetensors"


def photo(seed: int) -> Image.Image:
    noise = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(seed))
    array = (noise * 255).byte().permute(1, 2, 0).numpy()
    return Image.fromarray(array).resize((40, 40), Image.Resampling.BICUBIC)


def painted(pipe: CoCosPipeline) -> Tensor:
    pipe.set_progress_bar_config(disable=True)
    return pipe(photo(1), photo(2), output_type="pt").images


def same(first: CoCosPipeline, second: CoCosPipeline) -> bool:
    """Whether two pipelines have the very same weights."""
    return all(
        torch.equal(own, other)
        for name in ("correspondence", "translation")
        for own, other in zip(
            getattr(first, name).state_dict().values(),
            getattr(second, name).state_dict().values(),
            strict=True,
        )
    )


def loaded(repo_id: str = REPO, **options: object) -> CoCosPipeline:
    return CoCosPipeline.from_pretrained(repo_id, **options)


def downloads(hub: LoopbackHub) -> list[str]:
    """The files whose content was asked for."""
    gets = [line for line in hub.requests if line.startswith("GET") and "/resolve/" in line]
    return sorted(line.split("/resolve/")[1].split("/", 1)[1] for line in gets)


def write_files(folder: Path, *names: str) -> None:
    """Files with something in them."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("something")
