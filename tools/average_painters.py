"""Mix the weights of two painters of one origin, and set the curve of their detail.

    python -m tools.average_painters edge-to-face out/faces/painter/pipeline \
        out/mixed/pipeline --share 0.7 --detail 0.85,1.2,0.094 0.9,1.1,0.063

A painter that was trained on from another is often better half way between both than at either end
(Wortsman et al. 2022, robust fine-tuning). All else is the second pipeline's. The result is where
`tools.bundle` looks for a run's pipeline. --detail: see `DetailCurve`, a group for each band.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from cocosnet_hf import BlendingTranslationNetwork, CoCosPipeline
from cocosnet_hf.bundled import locate
from cocosnet_hf.cards import write_card


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first", help="a pipeline's folder, or a bundled name")
    parser.add_argument("second", help="the same, trained on from the first")
    parser.add_argument("output", type=Path)
    parser.add_argument("--share", type=float, default=0.5, help="of the second one's weights")
    parser.add_argument("--detail", nargs="*", default=[], metavar="FAINT,CLEAR,KNEE")
    options = parser.parse_args()
    detail = [[float(value) for value in band.split(",")] for band in options.detail]
    pipe = opened(options.second)
    first, second = opened(options.first).translation, pipe.translation
    if not isinstance(first, BlendingTranslationNetwork) or not isinstance(second, type(first)):
        parser.error("both must be pipelines of a BlendingTranslationNetwork.")
    pipe.register_modules(translation=mixed(first, second, options.share, detail))
    pipe.save_pretrained(options.output)
    write_card(options.output, pipe)
    pipe.to(torch.float16).save_pretrained(options.output, variant="fp16")


def opened(name: str) -> CoCosPipeline:
    """A pipeline in float32."""
    folder, variant = locate(name)
    return CoCosPipeline.from_pretrained(folder, variant=variant, dtype=torch.float32)


def mixed(
    first: BlendingTranslationNetwork,
    second: BlendingTranslationNetwork,
    share: float,
    detail: list[list[float]],
) -> BlendingTranslationNetwork:
    """(1 - share) of the first one's weights and share of the second one's."""
    made = BlendingTranslationNetwork.from_config(second.config, detail=detail)
    theirs = second.state_dict()
    made.load_state_dict(
        {name: torch.lerp(own, theirs[name], share) for name, own in first.state_dict().items()}
    )
    return made.eval()


if __name__ == "__main__":
    main()
