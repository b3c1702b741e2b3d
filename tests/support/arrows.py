"""What the modules of this repository import."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

from tests.support.paths import REPOSITORY

LIBRARY = "cocosnet_hf"

ROOTS = (LIBRARY, "train", "demo", "tools")


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


@functools.cache  # several tests ask for all of the repository
def imported_modules(
    source: str, module: str, is_package: bool, types: bool = True
) -> tuple[str, ...]:
    """Absolute names of everything a module imports, at its top or inside a function.

    types: also what is for type checkers only.
    """
    package = module if is_package else module.rpartition(".")[0]
    names = []
    for node in walked(ast.parse(source), types):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(parts if node.level else []), *filter(None, [node.module])])
            names += [f"{base}.{alias.name}" for alias in node.names]
    return tuple(names)


def walked(tree: ast.AST, types: bool) -> Iterator[ast.AST]:
    """All nodes; without `types` none of what is under `if TYPE_CHECKING:`."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        for_types = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        if types or not for_types:
            yield node
            waiting += ast.iter_child_nodes(node)


def import_graph() -> dict[str, set[str]]:
    """Each module of this repository and those of it that it imports, also for types alone."""
    found = modules()
    graph: dict[str, set[str]] = {}
    for module, path in found.items():
        graph[module] = set()
        for name in imported_modules(path.read_text(), module, path.name == "__init__.py"):
            while name and name not in found:  # a name in a module, or another library
                name = name.rpartition(".")[0]
            if name and name != module:
                graph[module].add(name)
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of nodes each of which leads to all others of its group (Tarjan 1972)."""
    numbers: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    found = []

    def visit(node: str) -> None:
        numbers[node] = lowest[node] = len(numbers)
        path.append(node)
        for target in graph[node]:
            if target not in numbers:
                visit(target)
            if target in path:
                lowest[node] = min(lowest[node], lowest[target])
        if lowest[node] == numbers[node]:
            group = path[path.index(node) :]
            del path[-len(group) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in graph:
        if node not in numbers:
            visit(node)
    return found


def modules() -> dict[str, Path]:
    found = {}
    for root in ROOTS:
        for path in sorted((REPOSITORY / root).rglob("*.py")):
            parts = path.relative_to(REPOSITORY).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found
