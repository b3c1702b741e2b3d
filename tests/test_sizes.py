"""No room of the house grows beyond what one reads in a sitting."""

import ast
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

LINES_OF_A_FILE, LINES_OF_A_CLASS, LINES_OF_A_BASELINE = 450, 300, 90
FILES = [
    path
    for folder in ("cocosnet_hf", "train", "demo", "tools", "tests")
    for path in sorted((REPOSITORY / folder).rglob("*.py"))
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_files_and_classes_can_be_read_in_a_sitting(path: Path):
    text = path.read_text()
    assert len(text.splitlines()) <= LINES_OF_A_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef):
            assert node.end_lineno - node.lineno < LINES_OF_A_CLASS, node.name


def test_a_system_without_correspondence_is_one_short_file():
    path = REPOSITORY / "cocosnet_hf" / "systems" / "style_vector.py"
    assert len(path.read_text().splitlines()) <= LINES_OF_A_BASELINE
