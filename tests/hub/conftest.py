"""A Hub on 127.0.0.1 and what is shared there."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from cocosnet_hf import CoCosPipeline
from cocosnet_hf.cards import CardDetails, write_card
from tests.support import tiny
from tests.support.loopback_hub import LoopbackHub, connected_hub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    with connected_hub(monkeypatch, tmp_path / "home") as running:
        yield running


@pytest.fixture
def edges() -> CoCosPipeline:
    return tiny.pipeline()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client waits seconds between its attempts."""
    monkeypatch.setattr(time, "sleep", lambda _: None)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A folder as the trainer leaves it: two precisions, discriminator, card and sample."""
    pipe, folder = tiny.pipeline(), tmp_path / "pipeline"
    details = CardDetails(data="Drawn scenes.", sample=Image.new("RGB", (8, 8)))
    pipe.save_pretrained(folder)
    write_card(folder, pipe, details=details)
    tiny.discriminator().save_pretrained(folder / "discriminator")
    pipe.to(torch.float16).save_pretrained(folder, variant="fp16")
    return folder


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    folder = tmp_path / "demo"
    (folder / "examples").mkdir(parents=True)
    (folder / "__pycache__").mkdir()
    (folder / "README.md").write_text("---\ntitle: Paint\nsdk: gradio\n---\nA demo.\n")
    (folder / "app.py").write_text("print('hello')\n")
    (folder / "requirements.txt").write_text("torch\n")
    (folder / "examples" / "mask.png").write_bytes(b"a picture")
    (folder / "__pycache__" / "app.pyc").write_bytes(b"bytes")
    return folder
