"""The benchmark: its plain form is the same computation, and its figures are complete."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from cocosnet_hf import benchmark, memory, reference
from cocosnet_hf.models import inference
from cocosnet_hf.models.blocks import SPADE, SPADEResidualBlock, attend
from cocosnet_hf.models.inference import attend_in_chunks
from tests.support import tiny


def normal(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-5)])
@pytest.mark.parametrize("positions", [12, 40])  # one row of tiles, three with a short last one
def test_three_ways_of_attending_agree(positions: int, dtype: torch.dtype, tolerance: float):
    query, key, value = (
        normal(2, positions, 4, dtype=dtype),
        normal(2, 30, 4, dtype=dtype),
        normal(2, 30, 16, dtype=dtype),
    )
    expected = reference.attend(query, key, value)
    for found in (attend(query, key, value), attend_in_chunks(query, key, value, chunk=16)):
        torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


def test_tiles_of_large_half_precision_values_do_not_overflow():
    query, key = torch.zeros(1, 3, 2).half(), torch.zeros(1, 300, 2).half()
    found = attend_in_chunks(query, key, torch.full((1, 300, 4), 1000.0).half())
    assert torch.equal(found, torch.full((1, 3, 4), 1000.0).half())


def test_tiles_of_very_different_scores_do_not_overflow():
    query = torch.full((1, 3, 1), 100.0)
    key = torch.tensor([-5.0, -5.0, 0.0, 5.0, 5.0])[None, :, None]
    value = torch.arange(5.0)[None, :, None]
    found = attend_in_chunks(query, key, value, chunk=2)
    torch.testing.assert_close(found, torch.full((1, 3, 1), 3.5))


def lively_block(in_channels: int, folded: bool) -> SPADEResidualBlock:
    torch.manual_seed(0)
    block = SPADEResidualBlock(in_channels, 6, condition_channels=3, hidden_channels=5).eval()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    if folded:
        block.fold()
    return block


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("in_channels", [6, 8])
@pytest.mark.parametrize(
    "entries", [1, 2 * 9 * 16 * 2, 2 * 9 * 16 * 4]
)  # 1, 2 or 3, 4 or more rows
@torch.no_grad()
def test_chunks_of_any_height_give_the_same_as_one_piece(
    entries: int, in_channels: int, folded: bool, monkeypatch: pytest.MonkeyPatch
):
    block, x, condition = (
        lively_block(in_channels, folded),
        normal(2, in_channels, 7, 9),
        normal(2, 3, 14, 18),
    )
    whole = block(x, condition)
    monkeypatch.setattr(inference, "CHUNK_ENTRIES", entries)
    torch.testing.assert_close(block(x, condition), whole, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_small_chunks_are_really_made_and_large_ones_not(monkeypatch: pytest.MonkeyPatch):
    spade, heights = SPADE(4, 3, 5), []
    spade.modulation.register_forward_hook(lambda *call: heights.append(call[2].shape[2]))
    monkeypatch.setattr(inference, "CHUNK_ENTRIES", 9 * 8 * 3)
    spade(normal(1, 4, 7, 9), normal(1, 3, 7, 9))
    assert heights == [3, 3, 1]
    reference.use_reference(spade)
    spade(normal(1, 4, 7, 9), normal(1, 3, 7, 9))
    assert heights[3:] == [7]


def test_a_table_is_markdown_with_each_column_in_its_format():
    rows = [{"stage": "whole", "median": 1.23456, "peak": None, "unseen": 1}]
    assert benchmark.table(rows, {"stage": "", "median": ".2f", "peak": ".0f"}) == (
        "| stage | median | peak |\n| --- | --- | --- |\n| whole | 1.23 |  |"
    )


def test_work_is_counted_in_multiplications_and_additions():
    a, b = normal(100, 200), normal(200, 300)
    assert benchmark.gflop(lambda: a @ b) == pytest.approx(2 * 100 * 200 * 300 / 1e9)


@pytest.mark.parametrize("status", ["VmRSS:\t5 kB\n", None], ids=["without a peak", "nothing"])
def test_the_peak_is_found_where_the_system_has_no_line_for_it(
    status: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(memory, "STATUS", tmp_path / "status")
    if status is not None:
        (tmp_path / "status").write_text(status)
    assert memory.process_peak() > 100
    (tmp_path / "status").write_text("VmHWM:\t  3072 kB\n")
    assert memory.process_peak() == 3


@pytest.mark.slow
def test_a_saved_pipeline_is_measured_from_its_files_to_the_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    tiny.pipeline().save_pretrained(tmp_path / "pipeline")
    for name in ("condition", "exemplar"):
        Image.effect_noise((48, 32), 60).convert("RGB").save(tmp_path / f"{name}.png")
    file = tmp_path / "figures.json"
    words = [str(tmp_path / name) for name in ("pipeline", "condition.png", "exemplar.png")]
    benchmark.main(["--paint", *words, "--runs", "2", "--json", str(file)])
    found = json.loads(file.read_text())["painting"]
    assert found["pixels"] == "48 x 32"
    assert found["seconds"] > 0 and found["prepared_seconds"] > 0
    assert found["peak_memory"] > 100
    assert benchmark.painting_table(found) in capsys.readouterr().out
    assert found["exported"] == []


@pytest.mark.slow
def test_calls_through_exported_files_take_turns_with_those_of_the_pipeline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    tiny.blending_pipeline().save_pretrained(tmp_path / "pipeline")
    for name in ("condition", "exemplar"):
        Image.effect_noise((64, 64), 60).convert("RGB").save(tmp_path / f"{name}.png")
    words = [str(tmp_path / name) for name in ("pipeline", "condition.png", "exemplar.png")]
    file = tmp_path / "figures.json"
    options = ["--exported", "fp32", "--runs", "1", "--json", str(file)]
    benchmark.main(["--paint", *words, *options])
    (row,) = json.loads(file.read_text())["painting"]["exported"]
    assert row["form"] == "ONNX, fp32"
    assert row["seconds"] > row["graph_seconds"] > 0
    printed = capsys.readouterr().out
    assert "| pipeline | 64 x 64 |" in printed and "| ONNX, fp32 |  |" in printed


@pytest.mark.slow
def test_a_larger_picture_is_measured_of_a_pipeline_that_paints_it(tmp_path: Path):
    tiny.blending_pipeline().save_pretrained(tmp_path / "pipeline")
    for name in ("condition", "exemplar"):
        Image.effect_noise((32, 32), 60).convert("RGB").save(tmp_path / f"{name}.png")
    words = [str(tmp_path / name) for name in ("pipeline", "condition.png", "exemplar.png")]
    file = tmp_path / "figures.json"
    benchmark.main(["--paint", *words, "--runs", "1", "--scale", "2", "--json", str(file)])
    assert json.loads(file.read_text())["painting"]["pixels"] == "128 x 128"


def test_settings_that_a_saved_pipeline_is_not_measured_with_are_refused(
    capsys: pytest.CaptureFixture[str],
):
    with pytest.raises(SystemExit):
        benchmark.main(["--paint", "a", "b", "c", "--sizes", "512", "--compile"])
    assert "leave out --sizes, --compile." in capsys.readouterr().err
    with pytest.raises(SystemExit):
        benchmark.main(["--sizes", "256", "--scale", "4"])
    assert "--scale is said of a trained pipeline; give --paint as well" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        benchmark.main(["--sizes", "256", "--exported", "fp32"])
    assert "--exported is said of a trained pipeline" in capsys.readouterr().err


@pytest.mark.slow
def test_a_form_that_this_machine_cannot_run_is_named_and_left_out(
    capsys: pytest.CaptureFixture[str],
):
    forms = [benchmark.OURS, benchmark.FUSED]  # a kernel for GPUs
    rows, _ = benchmark.measure("celebahq", 64, "float32", forms, "cpu", runs=1)
    assert {row.form for row in rows} == {benchmark.OURS}
    assert "fused cannot be run here: " in capsys.readouterr().out


def test_every_cuda_device_is_measured_as_one():
    assert benchmark.is_cuda("cuda") and benchmark.is_cuda("cuda:1")
    assert not benchmark.is_cuda("cpu")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--device", "mps"], "must be cpu or cuda, got mps"),
        (["--sizes", "250"], "multiples of 32"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit):
        benchmark.main(words)
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_the_matching_is_measured_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "figures.json"
    benchmark.main(["--sizes", "--positions", "16", "--json", str(file)])
    lines, figures = capsys.readouterr().out.splitlines(), json.loads(file.read_text())
    assert [line.split(" | ")[:3] for line in lines[2:]] == [
        ["| 16", form, passes] for form in ("plain", "ours") for passes in ("forward", "both")
    ]
    assert [(row["side"], row["form"], row["passes"]) for row in figures["matching"]] == [
        (16, form, passes) for form in ("plain", "ours") for passes in ("forward", "both")
    ]
    with pytest.raises(SystemExit):
        benchmark.main(["--sizes"])
    assert "nothing to measure" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_writes_every_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "figures.json"
    sizes = ["--sizes", "64", "--dtypes", "bfloat16"]
    benchmark.main([*sizes, "--device", "cpu", "--runs", "1", "--json", str(file)])
    figures = json.loads(file.read_text())
    assert figures.keys() == {"machine", "rows", "psnr", "matching"}
    stages = ["condition", "exemplar", "matching", "translation", "prepared", "whole"]
    assert [(row["form"], row["stage"]) for row in figures["rows"]] == [
        (form, stage) for form in ("plain", "ours") for stage in stages
    ]
    for row in figures["rows"]:
        assert 0 < row["fastest"] <= row["median"] <= row["slowest"]
        assert row["gflop"] > 0 and row["rate_share"] > 0
        assert (row["peak_memory"] is None) == (row["stage"] != "whole")
    assert figures["psnr"].keys() == {"64 bfloat16 plain", "64 bfloat16 ours"}
    assert min(figures["psnr"].values()) > 35
    printed = capsys.readouterr().out
    assert "| 64 | bfloat16 | ours | whole |" in printed
    assert "image PSNR against float32, 64 bfloat16 ours" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dtypes", "float64"], "argument --dtypes: invalid choice: 'float64'"),
        (["--runs", "0"], "--runs must be 1 or more, got 0"),
        (["--positions", "0"], "--positions must be 1 or more, got [0]"),
        (["--sizes", "-64"], "--sizes must be multiples of 32"),
        (["--device", "cuda:99"], "--device cuda:99 cannot be used"),
        (["--paint", "nothing/there", "a.png", "b.png"], "HF_HUB_OFFLINE"),
    ],
)
def test_what_cannot_be_measured_ends_with_a_message(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as stopped:
        benchmark.main(words)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
