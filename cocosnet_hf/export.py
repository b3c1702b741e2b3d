"""Write a pipeline as ONNX files that paint without torch.

    python -m cocosnet_hf.export mask-to-image out/onnx --dtype fp16

OUTPUT gets `whole.onnx` (condition and exemplar in; picture, warped exemplar, flow and confidence
out), its halves `prepare.onnx` and `paint.onnx`, `model.json` with the classes, colours, sizes and
terms of the weights, which each file carries too, and `paint.py`, which paints with numpy, Pillow
and onnxruntime alone. Every file is compared with the pipeline before the command ends.

A graph takes one exemplar for each condition; no regions and no points. Where poses or masks of
people guide the matching, what they say is an input: `graph_inputs` makes all inputs of what a call
is given.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard

from .bundled import bundled_names, locate, open_model
from .cards import CARD_FILE
from .exporting.inputs import graph_inputs as graph_inputs
from .image_translation import ImageTranslationPipeline
from .models import BlendingTranslationNetwork, TranslationNetwork
from .own_modules import add_import
from .pipeline import CoCosPipeline

FORMATS = ("onnx",)
DTYPES = ("fp32", "fp16", "int8")


def export(
    pipe: ImageTranslationPipeline,
    folder: str | Path,
    dtype: str = "fp32",
    terms: dict[str, str] | None = None,
    checks: int = 2,
) -> dict[str, str]:
    """Write a pipeline to ONNX files in a folder, as the command does; what each check found.

    pipe: a `CoCosPipeline`, which is folded. dtype: of the stored weights. terms: of the weights,
    as their card says. checks: of how many random inputs, each of another size and batch size.
    Raises ValueError for a pipeline that cannot be exported, for a graph that does not paint what
    the pipeline paints, in which case nothing is written, and ImportError without the packages of
    the extra `export`.
    """
    exportable = require_exportable(pipe)
    try:
        from .exporting import writing
    except ImportError as error:
        raise ImportError(
            f"{error}: exporting needs more packages; pip install 'cocosnet-hf[export]'."
        ) from error
    folded = exportable.fold()
    halves = writing.traced_halves(folded)
    return writing.write(folded, halves, Path(folder), dtype, terms or {}, checks)


def require_exportable(pipe: ImageTranslationPipeline) -> CoCosPipeline:
    """The same pipeline. Raises ValueError where it is not made of networks of this package."""
    if not isinstance(pipe, CoCosPipeline):
        raise ValueError(
            f"only a CoCosPipeline, which matches, can be exported, got a {type(pipe).__name__}."
        )
    kinds = (BlendingTranslationNetwork, TranslationNetwork)
    if not isinstance(pipe.translation, kinds):
        raise ValueError(
            f"a translation network of the type {type(pipe.translation).__name__} cannot be "
            f"exported; known are {', '.join(kind.__name__ for kind in kinds)}."
        )
    return pipe


def terms_of(source: str | Path) -> dict[str, str]:
    """The terms of a pipeline's weights, as the card in its folder states them, if there is one."""
    card = Path(source, CARD_FILE)
    if not card.is_file():
        return {}
    data = ModelCard.load(card).data.to_dict()
    names = ("license", "license_name", "license_link")
    return {name: str(data[name]) for name in names if data.get(name)}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; `arguments` default to the process's own."""
    parser = argparse.ArgumentParser(
        prog="python -m cocosnet_hf.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "pipeline", help=f"{', '.join(bundled_names())}, or the folder or Hub id of another"
    )
    parser.add_argument("output", type=Path, help="folder for the files")
    parser.add_argument("--format", choices=FORMATS, default="onnx", help="default: onnx")
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        default="fp32",
        help="of the stored weights; everything is computed in float32; default: fp32",
    )
    parser.add_argument("--variant", help="of the model's weights on the Hub, such as fp16")
    parser.add_argument(
        "--checks", type=int, default=2, help="random inputs that are compared; default: 2"
    )
    add_import(parser)
    options = parser.parse_args(arguments)
    try:
        source: Any = locate(options.pipeline, options.variant)[0]
        pipe = open_model(options.pipeline, options.variant)
        terms = terms_of(source) | {"source": options.pipeline}
        found = export(pipe, options.output, options.dtype, terms, options.checks)
    except (ValueError, OSError, ImportError) as error:
        raise SystemExit(f"error: {error}") from None
    for name, agreement in found.items():
        size = (options.output / name).stat().st_size / 2**20
        print(f"{options.output / name} ({size:.1f} MB): {agreement}")


if __name__ == "__main__":
    main()
