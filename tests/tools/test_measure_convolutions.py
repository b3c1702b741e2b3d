"""Convolutions are counted by shape, and told beside the rates of the processor."""

import pytest
import torch
from torch import nn

pytest.importorskip("onnxruntime")

from tools.measure_convolutions import Operations, Shape, quickest, rows_of  # noqa: E402


@torch.no_grad()
def run_of(net: nn.Module) -> Operations:
    with Operations() as found:
        net(torch.zeros(1, 4, 10, 12))
    return found


def test_convolutions_of_one_shape_are_counted_together_with_their_work():
    net = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))
    found = run_of(net)
    (shape,) = found.shapes.values()
    assert list(found.shapes) == [("10 x 12", "3 x 3, 4 to 4")]
    assert shape.calls == 2
    assert shape.flop == 2 * 2 * (4 * 120) * (4 * 9)
    assert shape.moved == 2 * 4 * (480 + 480 + 144)
    assert shape.seconds > 0 and found.others["relu"] > 0


def test_convolutions_are_seen_without_a_history_of_gradients_too():
    with torch.inference_mode():
        found = run_of(nn.Conv2d(4, 4, 3))
    assert list(found.shapes) == [("10 x 12", "3 x 3, 4 to 4")]


def test_strides_and_groups_tell_shapes_apart():
    net = nn.Sequential(nn.Conv2d(4, 8, 3, stride=2), nn.Conv2d(8, 8, 1, groups=8))
    assert [kernel for _, kernel in run_of(net).shapes] == [
        "3 x 3, 4 to 8, every 2",
        "1 x 1, 8 to 8, 8 groups",
    ]


def test_of_several_runs_the_quickest_counts_for_each_shape():
    runs = [run_of(nn.Conv2d(4, 4, 3)) for _ in range(2)]
    key = next(iter(runs[0].shapes))
    runs[1].shapes[key].seconds = 1e-9
    assert quickest(runs)[key].seconds == 1e-9


def test_a_shape_reaches_what_its_memory_allows_at_most():
    shapes = {
        ("8 x 8", "dense"): Shape(calls=1, flop=1e9, moved=1e6, seconds=0.02),
        ("9 x 9", "thin"): Shape(calls=1, flop=1e8, moved=1e8, seconds=0.02),
    }
    whole, dense, thin = rows_of(shapes, rate=1e11, copied=1e10)
    assert dense["of the rate"] == pytest.approx(0.5) and dense["at most"] == pytest.approx(1)
    assert thin["of the rate"] == pytest.approx(0.05) and thin["at most"] == pytest.approx(0.1)
    assert whole["of the rate"] == pytest.approx(1.1e9 / 0.04 / 1e11)
    assert whole["at most"] == pytest.approx(1.1e9 / 0.02 / 1e11)
    assert (dense["of all"], thin["of all"]) == (0.5, 0.5)
