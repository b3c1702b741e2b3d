"""axe-core, which finds what keeps people from using a page; it comes from the npm registry."""

import functools
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

VERSION = "4.14.1"

SERIOUS = ("serious", "critical")

GRADIO = [["#layers-photos button[aria-label='Click to Upload']"]]
"""What is left out: gradio's gallery puts the input of its upload button into the button itself
(nested-interactive), where no setting moves it; keys reach both, and either opens the files."""


@functools.cache
def axe() -> str:
    """The script, which npm's cache keeps. Skips the test where there is no npm."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm, which fetches axe-core; install Debian's npm")
    with tempfile.TemporaryDirectory() as folder:
        pack = [npm, "pack", f"axe-core@{VERSION}", "--prefer-offline", "--silent"]
        subprocess.run([*pack, "--pack-destination", folder], check=True, cwd=folder)
        with tarfile.open(Path(folder, f"axe-core-{VERSION}.tgz")) as archive:
            return archive.extractfile("package/axe.min.js").read().decode()


def findings(page: Page) -> list[str]:
    """What axe calls serious or critical on what the page shows now, a line for each element."""
    page.evaluate(axe())
    found: dict[str, Any] = page.evaluate(
        "exclude => axe.run({ exclude }, { resultTypes: ['violations'] })", GRADIO
    )
    return [
        f"{violation['id']}: {node['html'][:160]} {node['failureSummary']}"
        for violation in found["violations"]
        if violation["impact"] in SERIOUS
        for node in violation["nodes"]
    ]
