"""Exported files paint through onnxruntime what the pipeline paints, and say what they are."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cocosnet_hf import CoCosPipeline, MaskCondition
from cocosnet_hf.bundled import ASSETS
from cocosnet_hf.convert import convert_checkpoint
from cocosnet_hf.export import export, graph_inputs, main, require_exportable, terms_of
from cocosnet_hf.exporting.checking import LEAST_DECIBELS, random_trial
from tests.exporting.test_dense import PIPELINES
from tests.support import tiny
from tests.support.documents import blocks
from tests.support.official import OFFICIAL, official_weights, write_checkpoints
from tests.support.official import tiny as tiny_official
from tests.support.painting import CLASSES, labels, photo, quiet

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from cocosnet_hf.exporting import onnx_files, runner  # noqa: E402
from cocosnet_hf.exporting.writing import outputs_of, settings_of  # noqa: E402


def session(model: bytes | str) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


# Quick: what needs no tracing


def test_what_has_no_matching_is_refused():
    with pytest.raises(ValueError, match="only a CoCosPipeline, which matches"):
        require_exportable(tiny.style_pipeline())


def test_a_pipeline_that_is_not_there_ends_the_command_with_a_message(tmp_path: Path):
    with pytest.raises(SystemExit, match="error: .*HF_HUB_OFFLINE"):
        main(["nothing/there", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_the_terms_of_weights_are_those_of_their_card(tmp_path: Path):
    assert terms_of(ASSETS / "edge-to-face")["license_name"].startswith("celebamask-hq")
    assert terms_of(tmp_path) == {}


def test_settings_name_classes_and_colours_in_the_order_of_channels():
    settings = settings_of(tiny.pipeline(CLASSES), "fp16", {"license": "mit"})
    assert settings["classes"] == ["sky", "tree", "water"]
    assert len(settings["colors"]) == settings["channels"] == 3
    assert settings["terms"] == {"license": "mit"} and settings["size"] == [32, 32]


@pytest.mark.parametrize("name", ["regions", "points", "scale"])
def test_what_a_graph_does_not_know_is_refused(name: str):
    with pytest.raises(ValueError, match=f"an exported graph takes no {name}; leave that out"):
        graph_inputs(tiny.blending_pipeline(), photo(1), photo(2), **{name: None})


def test_one_exemplar_of_one_size_is_asked_for():
    pipe = tiny.pipeline()
    with pytest.raises(ValueError, match="one exemplar for each condition, got 2; choose one"):
        graph_inputs(pipe, photo(1), [[photo(2), photo(3)]])
    with pytest.raises(ValueError, match="must have one size for an exported graph"):
        graph_inputs(pipe, photo(1), [photo(2), photo(3, 32, 64)])
    with pytest.raises(ValueError, match="prepares exemplars itself, got prepared ones"):
        graph_inputs(pipe, photo(1), pipe.encode_exemplar(photo(2)))


def test_an_unknown_format_ends_the_command_with_the_known_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit):
        main(["edge-to-face", str(tmp_path), "--format", "tflite"])
    assert "'tflite' (choose from " in capsys.readouterr().err


def test_without_its_packages_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delattr("cocosnet_hf.exporting.writing")
    monkeypatch.delitem(sys.modules, "cocosnet_hf.exporting.writing")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'cocosnet-hf\[export\]'"):
        export(tiny.pipeline(), tmp_path)


def test_inputs_are_made_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    examples = ASSETS / "pose-to-body" / "examples"
    named = {"layout.json": "pose.json", "exemplar_condition.json": "exemplar_pose.json"}
    for path in examples.iterdir():
        shutil.copy(path, tmp_path / named.get(path.name, path.name))
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("docs/deployment.md", "python")
    exec(code, {})
    inputs = dict(np.load("inputs.npz"))
    assert inputs["exemplar"].shape == (1, 3, 384, 192)
    assert inputs["guide_cells"].shape == (1, 2, 48, 48)
    known = ~np.isnan(inputs["guide"]).any(1)
    assert known.mean() > 0.5


class Entropy(torch.nn.Module):
    """A half of a pipeline with an operation that ONNX has under no name."""

    inputs, outputs = ("exemplar",), ("style",)

    def forward(self, exemplar: torch.Tensor) -> torch.Tensor:
        return torch.special.entr(exemplar)


def test_what_onnx_lacks_is_refused():
    with pytest.raises(ValueError, match=r"cannot be written as ONNX: .*aten::special_entr"):
        onnx_files.traced(Entropy(), tiny.pipeline())


@pytest.mark.parametrize(("dtype", "most"), [("fp16", 1e-3), ("int8", 2e-2)])
def test_weights_of_convolutions_are_stored_in_fewer_bytes(dtype: str, most: float):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(32, 16, 3, 3)).astype(np.float32)
    weights = {"translation.w": values, "correspondence.w": values}
    weights["fixed"] = rng.normal(size=(112, 1, 3, 3)).astype(np.float32)
    helper = onnx.helper
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", name], [f"of {name}"], group=16 // value.shape[1])
            for name, value in weights.items()
        ],
        "graph",
        [helper.make_tensor_value_info("x", 1, ["b", 16, "h", "w"])],
        [helper.make_tensor_value_info(f"of {name}", 1, None) for name in weights],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opset = [helper.make_opsetid("", onnx_files.OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=10)
    small = onnx_files.with_weights(model, dtype)
    x = rng.normal(size=(1, 16, 8, 8)).astype(np.float32)
    exact, near = (session(each.SerializeToString()).run(None, {"x": x}) for each in (model, small))
    errors = [np.abs(a - b).max() / np.abs(a).max() for a, b in zip(exact, near, strict=True)]
    assert 0 < errors[0] < most and 0 < errors[1] < 1e-3 and errors[2] == 0
    assert small.ByteSize() < model.ByteSize() - values.nbytes * (0.95 if dtype == "fp16" else 1.2)


# Slow: tracing and what onnxruntime prepares take ten seconds


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[CoCosPipeline, Path]:
    """A folded pipeline and the folder of its files."""
    made = tiny.blending_pipeline(MaskCondition(CLASSES.classes, guided=True))
    folder = tmp_path_factory.mktemp("exported")
    found = export(made, folder, terms={"license": "mit"}, checks=1)
    assert set(found) == {"whole.onnx", "paint.onnx"}
    return made, folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["residual", "patch"])
def test_networks_of_the_paper_are_exported_and_checked(kind: str, tmp_path: Path):
    found = export(PIPELINES[kind](), tmp_path)
    assert "0.00% of positions" in found["whole.onnx"]


@pytest.mark.slow
@pytest.mark.parametrize("task", ["celebahq", "deepfashion"])
def test_converted_official_networks_paint_32_random_inputs_alike(task: str, tmp_path: Path):
    official = tiny_official(OFFICIAL[task])
    files = write_checkpoints(tmp_path / "official", official_weights(official))
    pipe = CoCosPipeline.from_pretrained(convert_checkpoint(files, tmp_path / "pipeline"))
    narrow = CoCosPipeline(pipe.correspondence, pipe.translation, pipe.condition, image_size=64)
    found = export(quiet(narrow), tmp_path / "onnx", checks=32)
    assert "0.00% of positions" in found["whole.onnx"]


@pytest.mark.slow
def test_exported_files_paint_what_the_pipeline_paints(exported: tuple[CoCosPipeline, Path]):
    pipe, folder = exported
    whole, prepare, paint = (
        session(str(folder / f"{name}.onnx")) for name in ("whole", "prepare", "paint")
    )
    stride, moved, decibels = pipe.stride, [], []
    for seed in range(32):
        size = (stride * (2 + seed % 3), stride * (2 + seed % 5))
        own_size = (size[0], size[1] + stride * (seed % 4))
        trial = random_trial(pipe, size, own_size, 1 + seed % 3, seed)
        inputs = trial.inputs()
        painted = outputs_of(whole, inputs)
        found = trial.agreement(painted)
        moved.append(found.moved)
        decibels.append(found.decibels)
        style = outputs_of(prepare, inputs)
        for name, half in outputs_of(paint, inputs | style).items():
            np.testing.assert_allclose(half, painted[name], atol=1e-4)
    assert np.mean(moved) < 1e-3
    assert np.quantile(decibels, 0.1) > LEAST_DECIBELS["fp32"]


@pytest.mark.slow
def test_exported_files_say_what_they_are(exported: tuple[CoCosPipeline, Path]):
    pipe, folder = exported
    settings = json.loads((folder / "model.json").read_text())
    for name in ("whole", "prepare", "paint"):
        model = onnx.load(folder / f"{name}.onnx")
        onnx.checker.check_model(model, full_check=True)
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        assert json.loads(metadata["terms"]) == settings["terms"] == {"license": "mit"}
        assert json.loads(metadata["size"]) == list(pipe.learned_size)
        assert {entry.domain for entry in model.opset_import} <= {"", "ai.onnx"}
        assert str(Path.cwd()) not in model.SerializeToString().decode("latin1")


@pytest.mark.slow
def test_the_runner_paints_as_the_pipeline_does(
    exported: tuple[CoCosPipeline, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pipe, folder = exported
    layout = Image.fromarray(labels(1, 64, 64).astype(np.uint8))
    own = Image.fromarray(labels(2, 64, 96).astype(np.uint8))
    exemplar = photo(2, 64, 96)
    files = {name: tmp_path / f"{name}.png" for name in ("layout", "exemplar", "own", "out")}
    for name, picture in {"layout": layout, "exemplar": exemplar, "own": own}.items():
        picture.save(files[name])
    np.savez(tmp_path / "inputs.npz", **graph_inputs(pipe, layout, exemplar, own))
    common = ["--model", str(folder), "-o", str(files["out"])]
    runner.main([str(tmp_path / "inputs.npz"), *common])
    expected = np.asarray(pipe(layout, exemplar, own).images[0], int)
    assert np.abs(np.asarray(Image.open(files["out"]), int) - expected).max() <= 1
    assert "guide" not in capsys.readouterr().err
    own_condition = ["--exemplar-condition", str(files["own"])]
    with pytest.raises(SystemExit):
        runner.main([str(tmp_path / "none.png"), str(files["exemplar"]), *common])
    assert "error: [Errno 2] No such file" in capsys.readouterr().err
    (tmp_path / "cut.npz").write_bytes((tmp_path / "inputs.npz").read_bytes()[:999])
    with pytest.raises(SystemExit):
        runner.main([str(tmp_path / "cut.npz"), *common])
    assert "error: File is not a zip file" in capsys.readouterr().err
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Image, "MAX_IMAGE_PIXELS", 64)
        runner.main([str(files["layout"]), str(files["exemplar"]), *common])
    assert "exceeds limit" in capsys.readouterr().err
    runner.main([str(files["layout"]), str(files["exemplar"]), *own_condition, *common])
    assert "paints without guides" in capsys.readouterr().err
    assert np.abs(np.asarray(Image.open(files["out"]), int) - expected).mean() > 1
