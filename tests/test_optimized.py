"""`python -O` leaves asserts out: nothing may depend on one."""

import ast
import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

from cocosnet_hf.__main__ import main
from tests.support import tiny
from tests.support.paths import REPOSITORY

PROGRAM = """
import sys
from cocosnet_hf.__main__ import main
assert False, "asserts run"
try:
    main([*sys.argv[1:], "--height", "3"])
except SystemExit as end:
    print("ended with", end.code)
main()
"""


def test_no_code_but_that_of_tests_asserts():
    asserts = [
        f"{path.relative_to(REPOSITORY)}:{node.lineno}"
        for folder in ("cocosnet_hf", "train", "demo", "tools")
        for path in sorted((REPOSITORY / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert)
    ]
    assert asserts == []


def test_the_command_paints_and_refuses_without_asserts_as_with_them(tmp_path: Path):
    tiny.pipeline().save_pretrained(tmp_path / "pipeline")
    words = [str(tmp_path / f"{name}.png") for name in ("condition", "exemplar")]
    for name, turn in zip(words, (0, 180), strict=True):
        Image.linear_gradient("L").convert("RGB").resize((64, 48)).rotate(turn).save(name)
    words += ["--model", str(tmp_path / "pipeline"), "--device", "cpu", "-o"]
    done = subprocess.run(
        [sys.executable, "-O", "-c", PROGRAM, *words, str(tmp_path / "without.png")],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ended with 2") and "height" in done.stderr
    main([*words, str(tmp_path / "with.png")])
    assert (tmp_path / "without.png").read_bytes() == (tmp_path / "with.png").read_bytes()
