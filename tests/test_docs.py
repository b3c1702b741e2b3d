"""The pages name files that are there, and their code runs: here, or in `test_readme.py`."""

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cocosnet_hf.systems import saved_class
from tests.support import tiny
from tests.support.arrows import imported_modules, modules, within
from tests.support.documents import FENCE, PAGES, REPOSITORY, blocks, without_blocks
from train.config import load_config
from train.train import train

OFFICIAL = REPOSITORY / "docs" / "official_networks.md"
"""Names files of the official code too."""
EXTENDING = "docs/extending.md"

RUN = {"README.md": 1, "docs/using.md": 3, "docs/deployment.md": 1, EXTENDING: 3}
"""Blocks of Python by page. Those of the first two are run by `test_readme.py`, that of the third
by `exporting/test_export.py`, the rest here."""

LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
SUFFIXES = (".py", ".md", ".yaml", ".json", ".txt", ".png", ".jpg", ".npz", ".js", ".html", ".toml")
MADE = ("out/", "prepared/", "recipe.yaml")
"""Folders and files that a command makes."""

USERS = ("images/", "masks/", "../masks/", "train/image")
"""Folders of a user's data."""


def pages(*left_out: Path) -> list[pytest.param]:
    return [
        pytest.param(page, id=str(page.relative_to(REPOSITORY)))
        for page in PAGES
        if page not in left_out
    ]


def named_paths(text: str) -> Iterator[str]:
    """What looks like a file of this repository: in backticks, and in commands."""
    commands = [code for language, code in FENCE.findall(text) if language == "bash"]
    words = [*CODE.findall(without_blocks(text)), *re.split(r"[\s=\"']+", "\n".join(commands))]
    for word in words:
        if "/" not in word or re.search(r"[\s<>:$]", word) or word.startswith(MADE + USERS):
            continue
        if (REPOSITORY / word.split("/")[0]).is_dir() or word.endswith(SUFFIXES):
            yield word


def spelled_out(path: str) -> Iterator[str]:
    """`a/{b,c}.md` as a/b.md and a/c.md."""
    if braces := re.search(r"\{([^{}]*)\}", path):
        for choice in braces[1].split(","):
            yield from spelled_out(path[: braces.start()] + choice + path[braces.end() :])
    else:
        yield path


def missing(text: str) -> list[str]:
    """Paths that a page names and that are not there; `*` must stand for something.

    A recipe may stand without its folder.
    """
    named = re.findall(r"`([\w-]+\.yaml)`", without_blocks(text))
    recipes = [name for name in named if name not in MADE]
    paths = [path for named in named_paths(text) for path in spelled_out(named)]
    patterns = dict(zip(paths, paths, strict=True))
    patterns |= {name: f"train/configs/**/{name}" for name in recipes}
    return [name for name, pattern in patterns.items() if not any(REPOSITORY.glob(pattern))]


@pytest.mark.parametrize("page", pages(OFFICIAL))
def test_the_files_that_a_page_names_are_there(page: Path):
    assert missing(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", pages())
def test_the_links_of_a_page_lead_somewhere(page: Path):
    text = page.read_text(encoding="utf-8")
    for link in LINK.findall(text):
        if re.match(r"https?://", link):
            continue
        file, _, place = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        if place:
            assert place in anchors(target.read_text(encoding="utf-8")), link


def anchors(text: str) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", without_blocks(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("page", pages())
def test_names_of_this_code_in_a_page_are_those_of_the_code(page: Path):
    text = without_blocks(page.read_text(encoding="utf-8"))
    for name in re.findall(r"`((?:cocosnet_hf|train)(?:\.\w+)+)`", text):
        module, *rest = name.split(".")
        found = importlib.import_module(module)
        for part in rest:
            if not hasattr(found, part):
                importlib.import_module(f"{found.__name__}.{part}")
            found = getattr(found, part)


def test_functions_stand_in_the_files_that_the_architecture_names_beside_them():
    text = without_blocks((REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8"))
    items = re.split(r"\n(?=\d+\. |- |\||\n)", text)
    checked = 0
    for item in items:
        files = [path for path in CODE.findall(item) if path.endswith(".py")]
        source = "\n".join((REPOSITORY / path).read_text(encoding="utf-8") for path in files)
        for name in re.findall(r"`(?:\w+\.)?(\w+)\(\)`", item):
            assert re.search(rf"\b(?:def|class) {name}\b", source), f"{name} in {files}: {item}"
            checked += 1
    assert checked > 30


def rows_of_the_picture() -> dict[str, int]:
    """The row of each module and package that the architecture draws, from the top."""
    found = {}
    text = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    for row, line in enumerate(FENCE.search(text)[2].splitlines()):
        for path in re.findall(r"[\w/]+(?:\.py|/)(?=\s|$)", line):
            top = "" if path in ("tools/", "demo/", "train/") else "cocosnet_hf/"
            name = f"{top}{path}".removesuffix(".py").strip("/").replace("/", ".")
            found[name] = row
    return found


def test_the_picture_of_the_architecture_shows_all_imports_pointing_down():
    rows, places = rows_of_the_picture(), {}
    for module in modules():
        names = [name for name in rows if within(module, name)]
        places[module] = max(names, key=len, default=None)
    private = {"cocosnet_hf", "cocosnet_hf.hub"}  # which hand on names of the modules in them
    assert {module for module, place in places.items() if place is None} == private
    wrong = []
    for module, path in modules().items():
        source, is_package = path.read_text(encoding="utf-8"), path.name == "__init__.py"
        for name in imported_modules(source, module, is_package, types=False):
            while name and name not in places:
                name = name.rpartition(".")[0]
            here, there = places.get(module), places.get(name)
            if here and there and here != there and rows[here] >= rows[there]:
                wrong.append(f"{module} imports {name}")
    assert wrong == []


@pytest.mark.parametrize("page", pages())
def test_lines_of_a_page_fit(page: Path):
    text = page.read_text(encoding="utf-8")
    prose = [line for line in text.splitlines() if not line.startswith("|")]
    assert [line for line in prose if len(line) > 110] == [] or page == OFFICIAL


def test_all_python_of_the_pages_compiles_and_is_known_to_the_tests_that_run_it():
    found = {}
    for page in PAGES:
        name = str(page.relative_to(REPOSITORY))
        for code in blocks(name, "python"):
            ast.parse(code)
            found[name] = found.get(name, 0) + 1
    assert found == RUN


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_process")
@pytest.mark.parametrize("name", ["brightness", "tint", "shift"])
def test_what_is_added_from_outside_trains_and_paints(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("datasets")
    files = {code.partition("\n")[0][2:]: code for code in blocks(EXTENDING, "python")}
    files |= {code.partition("\n")[0][2:]: code for code in blocks(EXTENDING, "yaml")}
    for file in (f"{name}.py", f"{name}.yaml"):
        (tmp_path / file).write_text(files[file])
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, name, importlib.import_module(name))
    quick = {
        "output_dir": str(tmp_path / "run"),
        "data": {"source": "synthetic", "exemplar_column": "exemplar", "image_size": 32}
        | {"load_size": 36, "batch_size": 2, "workers": 0},
        "schedule": {"constant": 2, "decay": 0},
        "output": {"validate_every": 0, "grid_every": 0},
    }
    groups = yaml.safe_load(files[f"{name}.yaml"]).get("networks", {})
    if name != "shift":
        own = {key: value for key, value in tiny.NETWORK_SETTINGS.items() if key not in groups}
        quick |= {"networks": own}
        quick |= {"losses": dict.fromkeys(("perceptual", "contextual", "pseudo_exemplar"), 0)}
    (tmp_path / "quick.yaml").write_text(yaml.safe_dump(quick))
    folder = train(load_config([tmp_path / f"{name}.yaml", tmp_path / "quick.yaml"]))
    pipe = saved_class(folder).from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    photo = REPOSITORY / "cocosnet_hf/assets/edge-to-face/examples/exemplar.jpg"
    assert pipe(photo, photo, *([photo] * pipe.needs_exemplar_condition)).images[0].size[1] == 32


@pytest.mark.parametrize(
    "text",
    [
        "see `cocosnet_hf/nowhere.py`",
        "`conditions/base.py`, without its package",
        "`train/configs/{quickstart,nowhere}.yaml`",
        "```bash\npython train/nowhere.py --config=x\n```\n",
        "`cocosnet_hf/nowhere/*.py`",
        "`nowhere.yaml`",
    ],
)
def test_a_file_that_is_not_there_is_reported(text: str):
    assert missing(text) != []


@pytest.mark.parametrize(
    "text",
    [
        "`cocosnet_hf/pipeline.py`, `8gb.yaml` and `train/configs/{quickstart,ade20k}.yaml`",
        "`cocosnet_hf/assets/*/README.md`, `out/example.png`, `<name>/README.md`, `user/repo`",
        "```bash\npython train/train.py --config train/configs/quickstart.yaml\n```\n",
    ],
)
def test_a_file_that_is_there_and_other_words_are_accepted(text: str):
    assert missing(text) == []
