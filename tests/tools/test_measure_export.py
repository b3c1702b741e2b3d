"""Forms are timed in turn, on the files that each bundled model has for it."""

import pytest

from cocosnet_hf import bundled_names
from tests.support import tiny

pytest.importorskip("onnxruntime")

from tools.measure_export import example, medians  # noqa: E402


@pytest.mark.parametrize("name", bundled_names())
def test_a_bundled_model_is_measured_on_its_own_example(name: str):
    arguments = example(name, tiny.pipeline()).arguments
    wanted = {"condition": "layout", "exemplar": "exemplar"}
    if name in ("mask-to-landscape", "pose-to-body"):
        wanted["exemplar_condition"] = "exemplar_condition"
    assert {key: path.stem for key, path in arguments.items()} == wanted


def test_calls_take_turns_and_the_first_does_not_count():
    called: list[str] = []
    names = ("pipeline", "exported")
    found = medians({name: lambda name=name: called.append(name) for name in names}, runs=2)
    assert called == ["pipeline", "exported"] * 3
    assert set(found) == set(names) and min(found.values()) > 0
