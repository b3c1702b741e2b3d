"""The import arrows: blocks <- networks <- pipeline <- demo; a library imports no application."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
LIBRARY = "cocosnet_hf"
MODELS = f"{LIBRARY}.models"
NETWORKS = [
    f"{MODELS}.{name}" for name in ("correspondence", "translation", "discriminator", "vgg")
]
TORCH_ONLY = [
    f"{LIBRARY}.{name}" for name in ("matching", "correlation", "coherence", "losses", "sharpness")
]

FORBIDDEN = [
    (LIBRARY, ["train", "demo", "tests"]),
    (MODELS, [f"{LIBRARY}.pipeline", f"{LIBRARY}.convert", f"{LIBRARY}.benchmark"]),
    (f"{MODELS}.blocks", NETWORKS),
    (f"{MODELS}.correspondence", [f"{MODELS}.translation", f"{MODELS}.discriminator"]),
    (f"{MODELS}.translation", [f"{MODELS}.correspondence", f"{MODELS}.discriminator"]),
    (f"{LIBRARY}.conditions", [MODELS, f"{LIBRARY}.matching", f"{LIBRARY}.pipeline"]),
    (f"{LIBRARY}.pipeline", [f"{LIBRARY}.convert", f"{LIBRARY}.benchmark"]),
    (f"{LIBRARY}.pipeline", [f"{LIBRARY}.hub.publish", f"{LIBRARY}.evaluation"]),
    (f"{LIBRARY}.hub.transfer", [f"{LIBRARY}.pipeline"]),
    ("train", ["demo", "tests"]),
    ("demo", ["train", "tests"]),
]


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def imported_modules(source: str, module: str, is_package: bool) -> Iterator[str]:
    """Absolute names of everything a module imports, at its top or inside a function."""
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(parts if node.level else []), *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def violations(source: str, module: str, is_package: bool = False) -> list[str]:
    """Every import of a module that points the wrong way."""
    imported = list(imported_modules(source, module, is_package))
    wrong = [
        name
        for importer, targets in FORBIDDEN
        if within(module, importer)
        for name in imported
        if any(within(name, target) for target in targets)
    ]
    if any(within(module, name) for name in TORCH_ONLY):
        allowed = {"torch", *sys.stdlib_module_names}
        wrong += [
            name
            for name in imported
            if name.split(".")[0] not in allowed
            and not any(within(name, package) for package in TORCH_ONLY)
        ]
    return [f"{module} imports {name}" for name in wrong]


def modules() -> dict[str, Path]:
    found = {}
    for root in (LIBRARY, "train", "demo"):
        for path in sorted((REPOSITORY / root).rglob("*.py")):
            parts = path.relative_to(REPOSITORY).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def test_every_import_of_the_repository_points_the_right_way():
    wrong = []
    for module, path in modules().items():
        wrong += violations(path.read_text(), module, is_package=path.name == "__init__.py")
    assert wrong == []


@pytest.mark.parametrize("module", [f"{MODELS}.blocks", *NETWORKS, f"{LIBRARY}.matching"])
def test_the_modules_that_the_arrows_name_exist(module: str):
    assert module in modules()


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("cocosnet_hf.models.blocks", "from .translation import TranslationNetwork"),
        ("cocosnet_hf.models.correspondence", "from . import translation"),
        ("cocosnet_hf.models.translation", "import cocosnet_hf.models.correspondence"),
        ("cocosnet_hf.models.vgg", "def load():\n    from ..pipeline import CoCosPipeline"),
        ("cocosnet_hf.matching", "import numpy as np"),
        ("cocosnet_hf.matching", "from .pipeline import CoCosPipeline"),
        ("cocosnet_hf.convert", "from train.objective import objective"),
        ("cocosnet_hf.pipeline", "from tests import reference"),
    ],
)
def test_an_import_against_an_arrow_is_reported(module: str, source: str):
    assert violations(source, module) != []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("cocosnet_hf.pipeline", "from .models.correspondence import CorrespondenceNetwork"),
        ("cocosnet_hf.models.translation", "from .blocks import SPADE"),
        ("cocosnet_hf.matching", "import math\nfrom torch.nn import functional as F"),
        ("train.train", "from cocosnet_hf import CoCosPipeline"),
    ],
)
def test_an_import_along_an_arrow_is_accepted(module: str, source: str):
    assert violations(source, module) == []
