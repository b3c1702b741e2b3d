"""The tests know this package by what it promises: no private name is read or replaced."""

import ast
from collections.abc import Iterator

import pytest

from tests.support.paths import REPOSITORY

PUBLIC = {"_replace", "_asdict", "_fields", "_make"}
"""Of named tuples: documented, and underscored only to leave the fields their names."""
ALLOWED = {
    "tests/support/processes.py: _reset_state",
    "tests/datasets/test_metadata.py: _fingerprint",
}
"""accelerate has no public way to forget a run, datasets none to tell rows apart."""
OURS = ("cocosnet_hf", "train", "studio", "demo", "tools")
BY_NAME = ("getattr", "setattr", "delattr", "attrgetter", "object", "patch")
"""Functions that take the name of an attribute as text."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC


def private_names(source: str) -> Iterator[str]:
    """Private names that a source takes from objects and modules other than its own."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
                yield node.attr
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OURS:
            parts = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            yield from filter(is_private, parts)
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func).rpartition(".")[2]
            texts = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            if called in BY_NAME:
                words = [word for text in texts for word in str(text).split(".")]
                yield from filter(is_private, words)


def test_no_test_reads_or_replaces_a_private_name():
    found = {
        f"{path.relative_to(REPOSITORY)}: {name}"
        for path in (REPOSITORY / "tests").rglob("*.py")
        for name in private_names(path.read_text(encoding="utf-8"))
    }
    assert found - ALLOWED == set()
    assert found >= ALLOWED


@pytest.mark.parametrize(
    "source",
    [
        "data._easy[0]",
        "painter.pipe._loaded.cache_clear()",
        "from cocosnet_hf.convert import _first",
        "from train._private import public",
        'monkeypatch.setattr(losses, "_require_classes", None)',
        'monkeypatch.setattr("cocosnet_hf.losses._require_classes", None)',
        'getattr(matching, "_rows")',
    ],
)
def test_a_private_name_is_reported(source: str):
    assert list(private_names(source)) != []


@pytest.mark.parametrize(
    "source",
    [
        "self._pool = []",
        "point._replace(x=1)",
        "module.__name__",
        'state["parametrizations.weight.0._u"]',
        "from torch._subclasses.fake_tensor import FakeTensorMode",
        'monkeypatch.setattr(Image, "open", None)',
        "for _ in range(3): lambda _: None",
    ],
)
def test_other_names_are_accepted(source: str):
    assert list(private_names(source)) == []
