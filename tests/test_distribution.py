"""What is installed: commands, and a source distribution whose tests run."""

import configparser
import importlib
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.support.documents import REPOSITORY

BUILD = "from setuptools.build_meta import build_sdist; build_sdist('dist')"


def test_every_command_that_is_installed_tells_how_it_is_used(capsys: pytest.CaptureFixture[str]):
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    commands = setup["options.entry_points"]["console_scripts"].split("\n")[1:]
    assert len(commands) == 9
    for command in commands:
        module, function = command.partition(" = ")[2].split(":")
        with pytest.raises(SystemExit) as stopped:
            getattr(importlib.import_module(module), function)(["--help"])
        assert stopped.value.code == 0
        assert "usage: " in capsys.readouterr().out


@pytest.mark.slow
def test_a_source_distribution_holds_whatever_the_repository_does(tmp_path: Path):
    pytest.importorskip("setuptools")
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("this is no clone of the repository")
    names = set(listed.stdout.split("\n")) - {""}
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    subprocess.run([sys.executable, "-c", BUILD], cwd=tmp_path, check=True, capture_output=True)
    with tarfile.open(next(tmp_path.glob("dist/*.tar.gz"))) as archive:
        held = {member.partition("/")[2] for member in archive.getnames()}
    assert names - held == set()
