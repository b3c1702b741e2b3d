"""Every section that a source cites is there to be read."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "official_networks.md"
CONTRIBUTING = REPOSITORY / "CONTRIBUTING.md"
"""Shows how a section is cited."""
FOLDERS = ("cocosnet_hf", "train", "demo", "tools", "tests", ".ci")
SUFFIXES = (".py", ".yaml", ".md", ".sh")

NUMBER = r"\d+(?:\.\d+)?"
ITEM = rf"{NUMBER}(?: \([^()]*\))?"
CITATION = re.compile(rf"official networks, ({ITEM}(?:(?:,| and| to) {ITEM})*)")
SECTION = re.compile(r"\bsections? \d", re.IGNORECASE)
AUTHORS = re.compile(r"et al\. \d{4}(?: \([^()]*\))?,(?: supplement,)? $")
"""What stands before the section of a paper."""
UNNAMED = re.compile(r"\bspecifications?\b|\bspec,? (?:sections? )?\d|\bspec sections?\b", re.I)


def prose(text: str) -> str:
    """A source as running text: comments and docstrings without their line breaks."""
    return re.sub(r"\s*\n\s*(?:#\s+)?", " ", text)


def cited(text: str) -> Iterator[str]:
    """Sections of the document that running text cites; "5 to 7" is three of them."""
    for match in CITATION.finditer(text):
        items = re.sub(r" \([^()]*\)", "", match[1])
        yield from re.findall(NUMBER, items)
        for first, last in re.findall(r"(\d+) to (\d+)", items):
            yield from map(str, range(int(first), int(last) + 1))


def unresolved(text: str) -> list[str]:
    """Sections of no named paper, and of documents that are not here."""
    found = [match for match in SECTION.finditer(text) if not AUTHORS.search(text[: match.start()])]
    found += UNNAMED.finditer(text)
    return [text[max(match.start() - 40, 0) : match.end() + 5] for match in found]


def sources() -> dict[str, str]:
    """The running text of every source but this one, whose examples are wrong on purpose."""
    paths = [path for folder in FOLDERS for path in (REPOSITORY / folder).rglob("*")]
    paths += [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md")]
    return {
        str(path.relative_to(REPOSITORY)): prose(path.read_text(encoding="utf-8"))
        for path in paths
        if path.suffix in SUFFIXES and path not in (Path(__file__), DOCUMENT, CONTRIBUTING)
    }


def sections() -> set[str]:
    """The numbers of the document's headings."""
    return set(re.findall(rf"^#+ ({NUMBER})\.? ", DOCUMENT.read_text(encoding="utf-8"), re.M))


def test_every_cited_section_of_the_official_networks_exists():
    there = sections()
    found = {name: set(cited(text)) for name, text in sources().items()}
    assert {name: numbers - there for name, numbers in found.items() if numbers - there} == {}
    assert len(set().union(*found.values())) > 20


def test_every_other_section_is_of_a_named_paper():
    found = {name: unresolved(text) for name, text in sources().items()}
    assert {name: places for name, places in found.items() if places} == {}


def test_the_document_refers_to_sections_that_it_has():
    text = prose(DOCUMENT.read_text(encoding="utf-8"))
    numbers = re.findall(rf"\((\d+\.\d+)\)|(?<!2020, )section ({NUMBER})", text)
    assert {one or other for one, other in numbers} <= sections()


def test_headings_are_numbered_in_order():
    headings = re.findall(rf"^#+ ({NUMBER})\.? ", DOCUMENT.read_text(encoding="utf-8"), re.M)
    assert headings == sorted(
        headings, key=lambda number: [int(part) for part in number.split(".")]
    )


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("(official networks, 5.3)", ["5.3"]),
        ("# Wide (official\n# networks, 5.4 and 5.5): side", ["5.4", "5.5"]),
        ("official networks, 1.1 (a formula), 4.3 (keys) and 10.", ["1.1", "4.3", "10"]),
        ("official networks, 5 to 7 (shapes)", ["5", "7", "5", "6", "7"]),
        ("the official networks have 5 layers, 3 of them", []),
    ],
)
def test_a_citation_is_read_across_lines_lists_and_ranges(text: str, numbers: list[str]):
    assert list(cited(prose(text))) == numbers


@pytest.mark.parametrize(
    "text",
    [
        "Two convolutions (section 5.3).",
        "of the supplement (supplement, section 5)",
        "Layers as in spec section 7.",
        "as read there (spec 8.1)",
        "# the order (specification,\n# 4.3)",
    ],
)
def test_a_section_of_nothing_in_particular_is_reported(text: str):
    assert unresolved(prose(text)) != []


@pytest.mark.parametrize(
    "text",
    [
        "Zhang et al. 2020, section 3.1.",
        "Zhang et al.\n    2020, supplement, section 5",
        "Karras et al. 2018 (progressive growing of GANs), section 5 and appendix.",
        "an extractor by its spec",
    ],
)
def test_a_section_of_a_named_paper_is_accepted(text: str):
    assert unresolved(prose(text)) == []
