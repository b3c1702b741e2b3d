"""The page of systems: its table says what they are, and its calls run as they stand there."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cocosnet_hf import AttributesCondition, DomainCondition
from cocosnet_hf.systems import SYSTEMS, find_system
from tests.support.documents import REPOSITORY
from tests.support.every import untrained
from tests.support.paths import CONFIGS
from train.stages import load_stages

PAGE = (REPOSITORY / "docs/systems.md").read_text(encoding="utf-8")
RECIPES = {"fader": "fader", "stargan-v2": "stargan-v2"}
"""By system whose layer lies on its own recipe; others lie on that of ADE20K."""
CHANGES = {
    "spade_plain": ["--system=spade_plain", "--networks.encoder=null", "--losses.kl=null"],
    "stargan-v2": ["--networks.condition.domains=[cat, dog]"],
}
LAYERS = {"cocosnet": [], "style_vector": ["style-vector"], "spade_plain": ["spade"]}


def rows(*header: str) -> list[tuple[list[str], list[str]]]:
    """Names in the first cell of each row of the table with this header, and its other cells."""
    (start,) = (
        at
        for at, line in enumerate(PAGE.splitlines())
        if line.strip("| ").split(" | ") == list(header)
    )
    found = []
    for line in PAGE.splitlines()[start + 2 :]:
        if not line.startswith("|"):
            break
        first, *cells = line.strip("| ").split(" | ")
        found.append((re.findall(r"`([\w-]+)`", first), cells))
    return found


TABLE = rows("`system:`", "task", "needs", "gives", "reference", "parameters")
CALLS = rows("system", "calls")


@pytest.mark.parametrize("table", [TABLE, CALLS], ids=["what they are", "calls"])
def test_every_system_is_in_the_table(table: list):
    assert sorted(name for names, _ in table for name in names) == sorted(SYSTEMS)


PARAMETERS = {
    name: float(number)
    for names, cells in TABLE
    for name, number in zip(names, re.findall(r"([\d.]+) M", cells[-1]), strict=True)
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_table_says_how_many_parameters_paint_at_the_papers_size(name: str):
    layers = [CONFIGS / f"layers/{layer}.yaml" for layer in LAYERS.get(name, [name])]
    recipe = CONFIGS / f"{RECIPES.get(name, 'ade20k')}.yaml"
    chosen = load_stages([recipe, *layers], CHANGES.get(name, []))[-1].config
    kind = find_system(name)
    with torch.device("meta"):
        networks = kind.make_networks(chosen.networks.make_condition(), chosen.networks.options)
    painting = [key for key in kind.averaged if (name, key) != ("adain", "encoder")]
    count = sum(p.numel() for key in painting for p in networks[key].parameters()) / 1e6
    digits = 1 if "." in f"{PARAMETERS[name]:g}" or count < 40 else 0
    assert round(count, digits) == PARAMETERS[name]


def picture(seed: int) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)
    return Image.fromarray(values)


def label_map(classes: int, seed: int) -> Image.Image:
    blocks = np.random.default_rng(seed).integers(0, classes, (4, 4), np.uint8)
    blocks.flat[:4] = range(4)  # so that there is something to edit
    return Image.fromarray(blocks.repeat(8, 0).repeat(8, 1))


@pytest.mark.parametrize(
    ("name", "calls"), [(name, cells[0]) for names, cells in CALLS for name in names]
)
def test_the_calls_of_the_page_run_as_they_stand(name: str, calls: str):
    system = untrained(name)
    pipe: Any = system.pipeline({key: system.networks[key] for key in system.averaged})
    pipe.set_progress_bar_config(disable=True)
    if name == "fader":
        pipe.condition = AttributesCondition(("smiling", "glasses"))
    if name == "stargan-v2":
        pipe.condition = DomainCondition(("cat", "dog", "wild"))
    maps = system.condition.labelled
    classes = system.condition.channels
    given = {
        "pipe": pipe,
        "g": torch.Generator().manual_seed(0),
        "photo": picture(1),
        "other": picture(2),
        "condition": label_map(classes, 0) if maps else picture(0),
        "its_label_map": label_map(classes, 1),
        "numbers": torch.arange(4).repeat_interleave(8).expand(32, 32),
    }
    written = [code for code in re.findall(r"`([^`]+)`", calls) if re.match(r"pipe[.\w]*\(", code)]
    assert written
    for code in written:
        found = eval(code, given)
        images = getattr(found, "images", found)
        assert len(images) in (1, 3, 5), code
    for attribute in re.findall(r"`(\w+)`", calls):
        assert any(hasattr(eval(code, given), attribute) for code in written), attribute
