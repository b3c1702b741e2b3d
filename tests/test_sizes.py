"""No room of the house grows beyond what one reads in a sitting."""

import ast

from tests.support.paths import REPOSITORY

LINES_OF_A_FILE, LINES_OF_A_CLASS, LINES_OF_A_BASELINE = 450, 300, 90
FILES = {
    path.relative_to(REPOSITORY): path.read_text()
    for folder in ("cocosnet_hf", "train", "demo", "tools", "tests")
    for path in sorted((REPOSITORY / folder).rglob("*.py"))
}


def test_files_can_be_read_in_a_sitting():
    lines = {path: len(text.splitlines()) for path, text in FILES.items()}
    assert {path: count for path, count in lines.items() if count > LINES_OF_A_FILE} == {}


def test_classes_can_be_read_in_a_sitting():
    lines = {
        f"{path}: {node.name}": node.end_lineno - node.lineno + 1
        for path, text in FILES.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef)
    }
    assert {name: count for name, count in lines.items() if count > LINES_OF_A_CLASS} == {}


def test_a_system_without_correspondence_is_one_short_file():
    path = REPOSITORY / "cocosnet_hf" / "systems" / "style_vector.py"
    assert len(path.read_text().splitlines()) <= LINES_OF_A_BASELINE
