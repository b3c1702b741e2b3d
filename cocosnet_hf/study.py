"""Compare results blindly: which system's pictures people prefer (a user study).

    python -m cocosnet_hf.study out/spade out/munit
    python -m cocosnet_hf.study ours=RUN/pictures/pipeline/png spade=RUN/pictures/spade/png \\
        --beside exemplar=RUN/pictures/exemplar/png --votes out/style.jsonl \\
        --question "Which picture is closer to the exemplar in style?"

Serves a page on this machine alone, which shows one item at a time, by all systems side by side,
without their names, in an order of chance. The keys 1 to 9 prefer a picture, 0 says that there is
no difference, U takes the last vote back. At the end the page shows each system's share of the
votes with its interval; --table prints that of the votes so far instead. All folders hold files of
the same names and sizes. RUN is the output folder of an evaluation.

Votes are appended to a file, with which the same command goes on. Several people vote one after
another, or by pages of their own, into one file by --voter NAME.
"""

from __future__ import annotations

import argparse
import io
import json
import threading
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from .evaluation.preferences import Study, open_items
from .markdown import markdown_table
from .pictures import open_photo

PAGE = Path(__file__).with_name("study.html")
HOST = "127.0.0.1"

MOST_BYTES = 1000
"""Of a request: a vote has some thirty."""


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = make_parser()
    options = parser.parse_args(argv)
    try:
        if options.table and not options.votes.is_file():
            raise FileNotFoundError(f"--table prints votes, and there are none at {options.votes}.")
        items = open_items(named(options.folders), named(options.beside))
        study = Study(
            items, options.votes, options.question, options.seed, options.limit, options.voter
        )
        if not options.table:
            serve(study, options.port)
        if options.table or study.current is None:
            table, text = study.table()
            print(markdown_table(table.header, table.rows), text, sep="\n\n")
    except (ValueError, OSError) as error:
        parser.error(str(error))


def make_parser() -> argparse.ArgumentParser:
    """All options."""
    parser = argparse.ArgumentParser(
        prog="python -m cocosnet_hf.study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("folders", nargs="+", metavar="[NAME=]FOLDER", help="of results, one for each system")
    add(
        "--beside",
        nargs="+",
        default=[],
        metavar="[NAME=]FOLDER",
        help="pictures called alike that are shown with each item: its condition, its exemplar",
    )
    add("--question", default="Which picture is better?", help="default: %(default)s")
    add("--votes", type=Path, default=Path("out/votes.jsonl"), help="file; default: %(default)s")
    add("--voter", default="", metavar="NAME", help="who votes, where several people do")
    add("--seed", type=int, default=0, help="of the order of items and sides")
    add("--limit", type=int, metavar="N", help="only so many items, chosen by the seed")
    add("--table", action="store_true", help="print the table of the votes so far")
    add("--port", type=int, default=7861, help="of the page; default: %(default)s")
    return parser


def named(folders: Sequence[str]) -> dict[str, Path]:
    """Folders, [NAME=]FOLDER, by their names; without one by the last part that tells them apart.

    Raises ValueError for folders that nothing tells apart and for a name that is given twice.
    """
    found: list[tuple[str, Path]] = []
    unnamed = []
    for text in folders:
        name, equals, folder = text.partition("=")
        if equals and not Path(text).is_dir():
            found.append((name, Path(folder)))
        else:
            unnamed.append(Path(text).resolve())
    ends = [list(column) for column in zip(*(path.parts[::-1] for path in unnamed), strict=False)]
    apart = [names for names in ends if len(set(names)) == len(names)]
    if unnamed and not apart:
        raise ValueError(f"Each folder needs a name of its own, as NAME=FOLDER, got {folders}.")
    if unnamed:
        found += zip(apart[0], unnamed, strict=True)
    if len({name for name, _ in found}) < len(found):
        raise ValueError(f"No two folders may have one name, got {[name for name, _ in found]}.")
    return dict(found)


def serve(study: Study, port: int) -> None:
    """Serve the page until the command is interrupted. Raises OSError for a port that is taken."""
    with page_server(study, port) as server:
        address = f"http://{HOST}:{server.server_port}"
        print(f"{address} (Ctrl+C ends; votes are kept in {study.path})", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass


def page_server(study: Study, port: int = 0) -> ThreadingHTTPServer:
    """The server of a study's page, on this machine alone; 0: any free port."""
    return ThreadingHTTPServer((HOST, port), partial(StudyPage, study, threading.Lock()))


class StudyPage(BaseHTTPRequestHandler):
    """The page, its pictures by trial and side, and votes; no address names a system."""

    def __init__(self, study: Study, lock: threading.Lock, *arguments: Any) -> None:
        self.study, self.lock = study, lock
        super().__init__(*arguments)

    def do_GET(self) -> None:
        """/, /state, /picture/TRIAL/SIDE and /beside/TRIAL/NAME's index."""
        if not self._is_own():
            return
        kind, *numbers = self.path.strip("/").split("/")
        if not kind:
            self._send(PAGE.read_bytes(), "text/html; charset=utf-8")
        elif kind == "state":
            self._send_state()
        else:
            try:
                trial, index = map(int, numbers)
                self._send(self._picture(kind, trial, index), "image/png")
            except (ValueError, IndexError, OSError) as error:
                self.send_error(HTTPStatus.NOT_FOUND, explain=str(error))

    def do_POST(self) -> None:
        """/vote with {"trial": T, "side": S or null} and /undo with {"trial": T}.

        Answers the state. What speaks of another trial than the current one does nothing: the page
        was open twice, or a key was pressed twice.
        """
        if not self._is_own():
            return
        if self.path not in ("/vote", "/undo"):
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            length = int(self.headers["Content-Length"] or 0)
            body = json.loads(self.rfile.read(min(length, MOST_BYTES)))
            with self.lock:
                if body["trial"] == len(self.study.votes):
                    if self.path == "/undo":
                        self.study.undo()
                    else:
                        self.study.vote(body["side"])
        except (ValueError, KeyError, TypeError) as error:
            self.send_error(HTTPStatus.BAD_REQUEST, explain=str(error))
        else:
            self._send_state()

    def _picture(self, kind: str, trial: int, index: int) -> bytes:
        """As PNG without metadata: nothing but the pixels tells systems apart."""
        shown = self.study.trials[trial]
        path = (
            shown.item.pictures[shown.sides[index]]
            if kind == "picture"
            else list(shown.item.beside.values())[index]
        )
        buffer = io.BytesIO()
        photo = open_photo(path, "picture")
        photo.info.clear()
        photo.save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()

    def _send_state(self) -> None:
        with self.lock:
            study = self.study
            state = {
                "question": study.question,
                "done": len(study.votes),
                "total": len(study.trials),
                "sides": len(study.systems),
                "beside": list(study.trials[0].item.beside),
            }
            if study.current is None:
                table, text = study.table()
                state |= {"table": [table.header, *table.rows], "text": text}
        self._send(json.dumps(state).encode(), "application/json")

    def _send(self, content: bytes, kind: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")  # another study has the same addresses
        self.end_headers()
        self.wfile.write(content)

    def _is_own(self) -> bool:
        """Whether the page itself asks; another site in the same browser is refused."""
        hosts = [f"{name}:{self.server.server_port}" for name in (HOST, "localhost")]  # type: ignore[attr-defined]
        origin = self.headers["Origin"]
        if self.headers["Host"] in hosts and origin in (None, f"http://{self.headers['Host']}"):
            return True
        self.send_error(HTTPStatus.FORBIDDEN)
        return False

    def log_message(self, *_: Any) -> None:
        """Nothing: requests are not news."""


if __name__ == "__main__":
    main()
