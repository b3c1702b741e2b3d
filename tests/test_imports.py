"""The arrows: blocks <- networks <- pipeline <- train, demo <- tools.

A library imports no application, and reads none of its files either: a path that a source names is
an arrow too.
"""

import ast
import re
import sys
from collections.abc import Iterator

import pytest

from tests.support.arrows import circles, import_graph, imported_modules, modules, within

LIBRARY = "cocosnet_hf"
MODELS = f"{LIBRARY}.models"
NETWORKS = [
    f"{MODELS}.{name}" for name in ("correspondence", "translation", "discriminator", "vgg")
]
TORCH_ONLY = [
    f"{LIBRARY}.{name}"
    for name in (
        "matching",
        "correlation",
        "row_statistics",
        "nearest",
        "propagation",
        "stiffness",
        "coherence",
        "losses",
        "sharpness",
    )
]


FORBIDDEN = [
    (LIBRARY, ["train", "demo", "studio", "tools", "tests"]),
    (MODELS, [f"{LIBRARY}.pipeline", f"{LIBRARY}.convert", f"{LIBRARY}.benchmark"]),
    (f"{MODELS}.blocks", NETWORKS),
    (f"{MODELS}.correspondence", [f"{MODELS}.translation", f"{MODELS}.discriminator"]),
    (f"{MODELS}.translation", [f"{MODELS}.correspondence", f"{MODELS}.discriminator"]),
    (f"{LIBRARY}.conditions", [MODELS, f"{LIBRARY}.matching", f"{LIBRARY}.pipeline"]),
    (f"{LIBRARY}.pipeline", [f"{LIBRARY}.convert", f"{LIBRARY}.benchmark"]),
    (f"{LIBRARY}.pipeline", [f"{LIBRARY}.hub.publish", f"{LIBRARY}.evaluation"]),
    (f"{LIBRARY}.pipeline", [f"{LIBRARY}.systems", f"{LIBRARY}.reference"]),
    (f"{LIBRARY}.image_translation", [f"{LIBRARY}.pipeline", f"{LIBRARY}.systems"]),
    (f"{LIBRARY}.call_inputs", [f"{LIBRARY}.image_translation", f"{LIBRARY}.prepared"]),
    (f"{LIBRARY}.matched_inputs", [f"{LIBRARY}.image_translation", f"{LIBRARY}.pipeline"]),
    (f"{LIBRARY}.systems", [f"{LIBRARY}.evaluation", f"{LIBRARY}.datasets"]),
    (f"{LIBRARY}.transfer", [f"{LIBRARY}.pipeline", f"{LIBRARY}.cards"]),
    (f"{LIBRARY}.cards", [f"{LIBRARY}.pipeline", f"{LIBRARY}.models"]),
    (f"{LIBRARY}.image_translation", [f"{LIBRARY}.hub"]),
    (f"{LIBRARY}.systems", [f"{LIBRARY}.hub"]),
    (f"{LIBRARY}.evaluation", [f"{LIBRARY}.hub"]),
    ("train", ["demo", "studio", "tools", "tests"]),
    ("demo", ["train", "tools", "tests"]),
    ("tools", ["tests"]),
]
"""Who must not know whom. The demo's modules call their package `studio`, as a Space does."""
NAMED_FOLDER = re.compile(r"(?<![\w./-])(train|demo|tools|tests)/")
FOLDERS = ("train", "demo", "tools", "tests")


def named_folders(source: str) -> Iterator[str]:
    """Folders of this repository that a source names: "demo/x", root / "demo", Path("demo").

    Comments are not seen, docstrings are.
    """
    for node in ast.walk(ast.parse(source)):
        parts: list[ast.expr] = []
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from NAMED_FOLDER.findall(node.value)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            parts = [node.left, node.right]
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func).rpartition(".")[2]
            parts = node.args if called in ("Path", "PurePath", "join", "joinpath") else []
        for part in parts:
            if isinstance(part, ast.Constant) and part.value in FOLDERS:
                yield part.value


def violations(source: str, module: str, is_package: bool = False) -> list[str]:
    """Every import and every path of a module that points the wrong way."""
    imported = list(imported_modules(source, module, is_package))
    named = [*imported, *named_folders(source)]
    wrong = [
        name
        for importer, targets in FORBIDDEN
        if within(module, importer)
        for name in named
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
    return [f"{module} imports or names {name}" for name in wrong]


def test_every_import_and_path_of_the_repository_points_the_right_way():
    wrong = []
    for module, path in modules().items():
        wrong += violations(path.read_text(), module, is_package=path.name == "__init__.py")
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle_not_even_for_types():
    assert circles(import_graph()) == []


def test_a_circle_is_found_wherever_it_is_entered():
    assert circles({"a": {"b"}, "b": {"c", "d"}, "c": {"b"}, "d": {"a"}, "e": {"a"}}) == [
        ["a", "b", "c", "d"]
    ]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


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
        ("cocosnet_hf.convert", "from train.trainer import Trainer"),
        ("cocosnet_hf.pipeline", "from tests import reference"),
        ("cocosnet_hf.pipeline", "from tools.recipes import RECIPES"),
        ("cocosnet_hf.applications", "from studio.gallery import FOLDER"),
        ("train.train", "from tools import bundle"),
        ("demo.studio.gallery", "from tools.people import FIGURES"),
        ("tools.bundle", "from tests import tiny"),
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
        ("tools.paint_gallery", "from demo.studio.gallery import FOLDER"),
        ("tools.recipes", "import train"),
    ],
)
def test_an_import_along_an_arrow_is_accepted(module: str, source: str):
    assert violations(source, module) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("demo.studio.gallery", 'RECIPES = Path(__file__).parents[2] / "train" / "configs"'),
        ("demo.studio.gallery", 'recipe = open("train/configs/quickstart.yaml")'),
        ("cocosnet_hf.benchmark", 'recipe = os.path.join(root, "train", "configs")'),
        ("cocosnet_hf.benchmark", 'recipe = f"train/configs/{name}.yaml"'),
        ("cocosnet_hf.hub.publish", 'def publish():\n    """What tools/bundle.py made."""'),
        ("train.config", 'fixture = Path("tests", "fixtures")'),
    ],
)
def test_a_path_against_an_arrow_is_reported(module: str, source: str):
    assert violations(source, module) != []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("train.train", 'usage = "accelerate launch train/train.py"'),
        ("tools.bundle", 'recipe = "train/configs/edge-to-face.yaml"'),
        ("cocosnet_hf.datasets.settings", 'split: str = "train"'),
        ("cocosnet_hf.evaluation.pairs", 'folder = "out/train/pictures"'),
        ("cocosnet_hf.pipeline", "# as train/train.py does"),
    ],
)
def test_a_path_along_an_arrow_and_other_words_are_accepted(module: str, source: str):
    assert violations(source, module) == []


def test_the_demo_holds_only_modules_that_its_app_imports():
    # Everything in its folder goes into a Space.
    found = {
        name.removeprefix("demo."): path for name, path in modules().items() if "demo." in name
    }
    reached, waiting = set(), ["app"]
    while waiting:
        name = waiting.pop()
        if name in found and name not in reached:
            reached.add(name)
            waiting.append(name.rpartition(".")[0])
            path = found[name]
            is_package = path.name == "__init__.py"
            for target in imported_modules(path.read_text(), name, is_package):
                waiting += [target, target.rpartition(".")[0]]
    assert reached == set(found)


def test_a_command_is_not_a_library():
    for module, path in modules().items():
        imported = imported_modules(path.read_text(), module, path.name == "__init__.py")
        assert not [name for name in imported if ".__main__" in name], module
