"""What a picture of a trained pipeline costs on the CPU, by the pipeline and by its ONNX files."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import torch

from .measuring import seconds, table
from .memory import process_peak
from .pipeline import CoCosPipeline

COLUMNS = {
    "form": "",
    "pixels": "",
    "seconds": ".3f",
    "prepared_seconds": ".3f",
    "graph_seconds": ".3f",
    "peak_memory": ".0f",
}


@dataclass(frozen=True)
class PaintedCall:
    """A call of a saved pipeline.

    folder: or a Hub id. condition, exemplar: files that the pipeline reads. scale: as in a call.
    """

    folder: str
    variant: str | None
    condition: str
    exemplar: str
    scale: int | None = None

    def opened(self) -> CoCosPipeline:
        """The pipeline, quiet, folded and in float32."""
        pipe = CoCosPipeline.from_pretrained(self.folder, variant=self.variant, dtype=torch.float32)
        pipe.set_progress_bar_config(disable=True)
        return pipe.fold()


def painting(
    call: PaintedCall, runs: int, dtypes: Sequence[str], afresh: Callable[..., Any]
) -> dict[str, Any]:
    """Medians of `runs` calls in float32, which take turns with those of exported forms.

    pixels: of the picture, width x height. seconds: from both files to the picture;
    prepared_seconds: with a prepared exemplar; peak_memory: MB, see `painting_peak`. exported: a
    row for each of `dtypes`, the weights of its files: seconds from both files to the picture;
    graph_seconds: from its inputs. afresh: calls `painting_peak`, by its name, in a new process.
    Raises what the pipeline and its export raise, and ImportError without the packages of the extra
    `export`.
    """
    if call.scale is not None and dtypes:
        raise ValueError("exported files paint at the size that the networks learned: no --scale.")
    pipe = call.opened()
    side = None if call.scale is None else call.scale * pipe.config.image_size
    prepared = pipe.encode_exemplar(call.exemplar, image_size=side)
    calls: dict[tuple[str, str], Callable[[], Any]] = {
        ("pipeline", "seconds"): lambda: pipe(call.condition, call.exemplar, scale=call.scale),
        ("pipeline", "prepared_seconds"): lambda: pipe(call.condition, prepared, scale=call.scale),
    }
    with tempfile.TemporaryDirectory() as folder:
        for dtype in dtypes:
            for name, one in exported_calls(pipe, call, dtype, Path(folder, dtype)).items():
                calls[dtype, name] = one
        width, height = calls["pipeline", "seconds"]().images[0].size
        for one in calls.values():  # warms up
            one()
        taken: dict[tuple[str, str], list[float]] = {key: [] for key in calls}
        for _ in range(runs):
            for key, one in calls.items():
                taken[key].append(seconds(one, "cpu"))
        found: dict[str, dict[str, Any]] = {form: {} for form in ("pipeline", *dtypes)}
        for (form, name), times in taken.items():
            found[form][name] = statistics.median(times)
        exported = [{"form": f"ONNX, {dtype}"} | found[dtype] for dtype in dtypes]
    return {
        "pixels": f"{width} x {height}",
        **found["pipeline"],
        "peak_memory": afresh("painting_peak", *astuple(call)),
        "exported": exported,
    }


def exported_calls(
    pipe: CoCosPipeline, call: PaintedCall, dtype: str, folder: Path
) -> dict[str, Callable[[], Any]]:
    """A call through `whole.onnx` in a folder, made with as many threads as torch has.

    seconds: from both files; graph_seconds: from its inputs.
    """
    try:
        import onnxruntime

        from .exporting.inputs import graph_inputs
        from .exporting.writing import outputs_of, traced_halves, write
    except ImportError as error:
        raise ImportError(
            f"{error}: exporting needs more packages; pip install 'cocosnet-hf[export]'."
        ) from error
    write(pipe, traced_halves(pipe), folder, dtype, {}, checks=1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        folder / "whole.onnx", options, providers=["CPUExecutionProvider"]
    )
    inputs = graph_inputs(pipe, call.condition, call.exemplar)
    return {
        "seconds": lambda: outputs_of(session, graph_inputs(pipe, call.condition, call.exemplar)),
        "graph_seconds": lambda: outputs_of(session, inputs),
    }


def painting_peak(*call: Any) -> float:
    """Peak MB of this process once it has opened a `PaintedCall`'s pipeline and painted it."""
    made = PaintedCall(*call)
    made.opened()(made.condition, made.exemplar, scale=made.scale)
    return process_peak()


def painting_table(figures: dict[str, Any]) -> str:
    """What `painting` found, as Markdown."""
    rows = [{"form": "pipeline"} | figures, *figures["exported"]]
    if not figures["exported"]:
        columns = {key: COLUMNS[key] for key in COLUMNS if key not in ("form", "graph_seconds")}
    else:
        columns = COLUMNS
    return table([dict.fromkeys(columns) | row for row in rows], columns)
