"""The option of commands by which a user names modules of their own: systems and conditions."""

from __future__ import annotations

import argparse
import importlib
from types import ModuleType


def add_import(parser: argparse.ArgumentParser) -> None:
    """Add `--import MODULE ...`: each is imported while the command line is read.

    Nothing that a saved pipeline says is imported; so its own classes have to be there before.
    """
    parser.add_argument(
        "--import",
        dest="modules",
        nargs="+",
        default=[],
        type=_imported,
        metavar="MODULE",
        help="with classes of your own that the pipeline has: system, network or condition",
    )


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise argparse.ArgumentTypeError(
            f"{name} cannot be imported: {error}. Install its package, or put its folder into "
            f"PYTHONPATH."
        ) from error
