"""Share a pipeline's folder, a converted official checkpoint or a demo.

    python -m cocosnet_hf.hub folder out/pipeline user/repo
    python -m cocosnet_hf.hub converted checkpoints/celebahq user/repo --private
    python -m cocosnet_hf.hub space user/space
    python -m cocosnet_hf.hub space user/space --pipeline user/repo
    python -m cocosnet_hf.hub space user/space --static
    python -m cocosnet_hf.hub page out/page

A static Space needs no server: its page paints in the browser. `page` writes the same page into a
folder. The token is that of `hf auth login` or of the environment variable HF_TOKEN.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence

from huggingface_hub import CommitInfo

from ..own_modules import add_import
from ..presets import PRESETS
from .live import build_page, publish_page
from .publish import publish_converted, publish_folder, publish_space


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; `arguments` default to the process's own."""
    parser = argparse.ArgumentParser(
        prog="python -m cocosnet_hf.hub",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True)

    folder = commands.add_parser("folder", help="share a saved pipeline with all beside it")
    folder.set_defaults(publish=publish_folder)
    folder.add_argument("folder", help="as save_pretrained or the trainer leaves it")
    folder.add_argument("repo_id", metavar="user/repo")
    folder.add_argument("--create-pr", action="store_true", help="propose it, leave main alone")
    folder.add_argument("--revision", help="branch to commit to")
    add_import(folder)

    converted = commands.add_parser("converted", help="convert official weights and share them")
    converted.set_defaults(publish=publish_converted)
    converted.add_argument("checkpoint", help="folder with the official .pth files")
    converted.add_argument("repo_id", metavar="user/repo")
    converted.add_argument("--task", help=f"one of {', '.join(PRESETS)}; recognised by default")
    converted.add_argument("--epoch", default="latest", help='"latest" (default) or a number')
    converted.add_argument("--ema", action="store_true", help="take the averaged weights")

    space = commands.add_parser("space", help="publish the demo as a Space")
    space.set_defaults(publish=_publish_space)
    space.add_argument("space_id", metavar="user/space")
    space.add_argument("--pipeline", metavar="user/repo", help="shown beside the bundled ones")
    space.add_argument(
        "--static", action="store_true", help="the page that paints in the browser, by no server"
    )

    page = commands.add_parser("page", help="write the page that paints in the browser")
    page.set_defaults(publish=build_page)
    page.add_argument("output", help="folder for the page and all that it reads")

    for command in (space, page):
        command.add_argument("--folder", default="demo", help="of the demo; default: demo")
        command.add_argument(
            "--models",
            nargs="+",
            default=(),
            metavar="NAME",
            help="bundled pipelines of the page that paints in the browser; default: all",
        )

    for command in (folder, converted, space):
        command.add_argument(
            "--private", action="store_true", default=None, help="only for its owner"
        )
    options = vars(parser.parse_args(arguments))
    options.pop("modules", None)
    try:
        print(options.pop("publish")(**options))
    except (ValueError, OSError, ImportError) as error:
        raise SystemExit(f"error: {error}") from None


def _publish_space(
    space_id: str,
    static: bool,
    models: Sequence[str],
    folder: str,
    pipeline: str | None,
    private: bool | None,
) -> CommitInfo:
    if not static:
        if models:
            raise ValueError("--models belongs to --static; a Space with a server shows all.")
        return publish_space(space_id, pipeline, folder=folder, private=private)
    if pipeline is not None:
        raise ValueError(
            f"a static Space shows the bundled pipelines alone, got --pipeline {pipeline}; leave "
            f"out one of both."
        )
    with tempfile.TemporaryDirectory() as made:
        return publish_page(space_id, build_page(made, models, folder), private=private)


if __name__ == "__main__":
    main()
