"""The pages that people read, and the code in them."""

import re
from textwrap import dedent

from tests.support.paths import REPOSITORY

PAGES = [
    REPOSITORY / "README.md",
    *sorted((REPOSITORY / "docs").glob("*.md")),
    REPOSITORY / "model_card.md",
    REPOSITORY / "CONTRIBUTING.md",
]

FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


def blocks(page: str, language: str) -> list[str]:
    """The fenced code of one language in a page, named from the repository's root."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    return [dedent(code) for found, code in FENCE.findall(text) if found == language]


def without_blocks(text: str) -> str:
    """A page's text without its fenced code."""
    return FENCE.sub("", text)
