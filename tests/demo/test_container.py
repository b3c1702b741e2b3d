"""The container file: none runs here, so what it names is compared with what there is."""

import json
import re

import pytest

from tests.support.paths import REPOSITORY

pytest.importorskip("gradio", reason="needs the extra demo")
from studio.limits import HEALTH  # noqa: E402

STEPS = re.sub(r"\\\n\s*", "", (REPOSITORY / "Containerfile").read_text()).splitlines()


def steps(kind: str) -> list[str]:
    return [step.removeprefix(kind).strip() for step in STEPS if step.startswith(kind)]


def test_what_is_copied_is_there_and_what_is_installed_is_what_is_tested():
    for copied in steps("COPY"):
        *sources, _ = copied.split()
        assert sources
        for source in sources:
            assert (REPOSITORY / source).exists(), source
    copied = " ".join(steps("COPY"))
    assert all(part in copied for part in ("setup.cfg", "pyproject.toml", "cocosnet_hf", "demo"))
    pinned = dict(
        line.split(" ;")[0].strip().split("==")
        for line in (REPOSITORY / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    assert f"torch=={pinned['torch']} " in " ".join(steps("RUN"))


def test_the_page_is_started_watched_and_not_by_root():
    import app

    python, program, *words = json.loads(steps("CMD")[0])
    assert python == "python" and (REPOSITORY / program).is_file()
    options = app.read_options(words)
    assert options.host == "0.0.0.0" and steps("EXPOSE") == [str(options.port)]
    assert steps("USER")[0] != "root"
    (watch,) = steps("HEALTHCHECK")
    assert f"http://127.0.0.1:{options.port}{HEALTH}'" in watch
    compile(json.loads(watch.split("CMD ")[1])[2], "watch", "exec")
