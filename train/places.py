"""Where in the files of a run a setting stands, for messages that name it."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

NAMED = re.compile(r"[A-Za-z_]\w*(?:\.\w+)+|(?<=unknown setting )\w+|(?<=')[A-Za-z_]\w*(?=')")
"""A setting in a message: group.name, one that is unknown, or 'name' without its group."""

STAGE = re.compile(r"stage '([\w-]+)': ")
"""How the message of a mistake in one stage begins."""


def place_of(message: str, files: Sequence[str], overrides: Sequence[str] = ()) -> str | None:
    """File and line of the first setting that a message names; of several files, of the last.

    overrides: settings of the command line, which stand above the files. None for a message that
    names no setting of the files, or one of the command line.
    """
    given = [override.removeprefix("--").partition("=")[0] for override in overrides]
    stage = STAGE.match(message)
    places: dict[str, str] = {}
    for file in files:
        places |= settings_in(Path(file), stage[1] if stage else None)
    for word in NAMED.findall(message):
        names = [name for name in {*places, *given} if name == word or name.endswith(f".{word}")]
        if len(names) != 1:
            continue
        name = names[0]
        return None if any(f"{name}.".startswith(f"{one}.") for one in given) else places[name]
    return None


def settings_in(file: Path, stage: str | None = None) -> dict[str, str]:
    """File and line of each setting in a file by its whole name, those of a stage above others.

    None of a file that cannot be read as YAML.
    """
    try:
        root = yaml.compose(file.read_text(), yaml.SafeLoader)
    except (OSError, UnicodeError, yaml.YAMLError):
        return {}
    found = dict(_lines(root, ""))
    for key, value in _items(root):
        for entry in value.value if key.value == "stages" and _is_list(value) else ():
            if any(k.value == "name" and v.value == stage for k, v in _items(entry)):
                found |= dict(_lines(entry, ""))
    return {name: f"{file}, line {line}" for name, line in found.items()}


def _lines(node: yaml.Node | None, prefix: str) -> Iterator[tuple[str, int]]:
    for key, value in _items(node):
        name = f"{prefix}{key.value}"
        yield name, key.start_mark.line + 1
        yield from _lines(value, f"{name}.")


def _items(node: yaml.Node | None) -> list[tuple[yaml.Node, yaml.Node]]:
    return node.value if isinstance(node, yaml.MappingNode) else []


def _is_list(node: yaml.Node) -> bool:
    return isinstance(node, yaml.SequenceNode)
