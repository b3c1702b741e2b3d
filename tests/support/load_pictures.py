"""What large pictures cost the demo's server: prints figures, asserts nothing.

    python -m tests.support.load_pictures --requests 36 --rounds 2

Starts `demo/app.py` in a process of its own, on the models that ship. For each kind of file one
picture of as many pixels as the page reads, of a few kB, is uploaded once and then named by so many
requests at once, spread over every handler that reads a picture and does not paint. Memory is that
of the server and its children, as PSS: pages that several processes share count once. Needs Linux.
"""

import argparse
import itertools
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psutil
from PIL import Image, ImageDraw

from tests.support.load_demo import free_port, started

SIDE, SIDE_OF_WEBP = 5000, 3600
"""Squared, the most pixels that the page reads."""

EVERY = 0.05
"""Seconds between two looks at the memory."""

PATIENCE = 600.0

TAKES_PICTURES = ("image", "uploadbutton")


def drawn(mode: str, side: int = SIDE, **options: Any) -> Callable[[Path], None]:
    """What writes a picture of few colours in a mode, to be turned by its orientation tag."""

    def write(path: Path) -> None:
        picture = Image.new("RGBA", (side, side), "white")
        box = (0.3 * side, 0.16 * side, 0.7 * side, 0.84 * side)
        ImageDraw.Draw(picture).ellipse(box, "#e0455a", "#2b2b33", 40)
        exif = Image.Exif()
        exif[0x0112] = 6
        picture.convert(mode).save(path, exif=exif, **options)

    return write


KINDS: dict[str, Callable[[Path], None]] = {
    "rgba.png": drawn("RGBA"),
    "grey.png": drawn("L"),
    "photo.jpg": drawn("RGB", quality=60),
    "progressive.jpg": drawn("RGB", quality=60, progressive=True),
    "picture.webp": drawn("RGBA", SIDE_OF_WEBP, quality=50),
}


def tree_memory(processes: Sequence[psutil.Process]) -> float:
    """MB (10^6 bytes) of processes, each page that they share once."""
    found = 0
    for process in processes:
        try:
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        except OSError:  # has just ended
            continue
        found += next(int(line.split()[1]) for line in rollup.splitlines() if line[:4] == "Pss:")
    return found * 1024 / 1e6


class Watch:
    """The memory of a process and of all below it, looked at all the time."""

    def __init__(self, process: psutil.Process) -> None:
        self.process = process
        self.peak = 0.0
        self._ended = threading.Event()

    def now(self) -> float:
        """MB at this moment."""
        return tree_memory((self.process, *self.process.children(recursive=True)))

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Within, `peak` is kept; it begins with what is there."""
        self.peak = self.now()
        self._ended.clear()
        thread = threading.Thread(target=self._look)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _look(self) -> None:
        tree, listed = [self.process], 0.0
        while not self._ended.wait(EVERY):
            if time.monotonic() > listed + 1:  # which takes longer than all else
                tree = [self.process, *self.process.children(recursive=True)]
                listed = time.monotonic()
            self.peak = max(self.peak, tree_memory(tree))


def handlers(config: dict[str, Any]) -> list[tuple[int, list[dict[str, Any]]]]:
    """The page's handlers that read a picture without painting, and the components of each."""
    components = {part["id"]: part for part in config["components"]}
    found = []
    for job in config["dependencies"]:
        inputs = [components[number] for number in job["inputs"]]
        reads = job["backend_fn"] and any(part["type"] in TAKES_PICTURES for part in inputs)
        if reads and job["api_visibility"] == "private" and job["show_progress"] != "minimal":
            found.append((job["id"], inputs))
    return found


def answer(address: str, number: int, data: list[Any]) -> str:
    """Ask a handler as the page does: "answered", or what it says instead."""
    session = uuid.uuid4().hex
    asked = {"data": data, "fn_index": number, "session_hash": session, "trigger_id": None}
    joined = httpx.post(f"{address}/gradio_api/queue/join", json=asked, timeout=PATIENCE)
    if joined.status_code != 200:
        return f"status {joined.status_code}"
    stream = f"{address}/gradio_api/queue/data?session_hash={session}"
    with httpx.stream("GET", stream, timeout=PATIENCE) as lines:
        for line in lines.iter_lines():
            told = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
            if told.get("msg") == "process_completed":
                error = told["output"].get("error") or "an error without a word"
                return "answered" if told["success"] else str(error)[:70]
    return "no answer"


def ask_all(address: str, path: Path, requests: int) -> Counter[str]:
    """Name one uploaded file in so many requests at once; what came, and how often."""
    with path.open("rb") as file:
        sent = httpx.post(f"{address}/gradio_api/upload", files={"files": file}, timeout=PATIENCE)
    upload = {"path": sent.json()[0], "orig_name": path.name, "meta": {"_type": "gradio.FileData"}}
    jobs = handlers(httpx.get(f"{address}/config").json())
    told: Counter[str] = Counter()

    def ask(number: int, inputs: list[dict[str, Any]]) -> None:
        data = [
            upload if part["type"] in TAKES_PICTURES else part["props"].get("value")
            for part in inputs
        ]
        told[answer(address, number, data)] += 1

    chosen = itertools.islice(itertools.cycle(jobs), requests)
    threads = [threading.Thread(target=ask, args=job) for job in chosen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=36)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), metavar="FILE")
    options = parser.parse_args()
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    server, _ = started(port)
    watch = Watch(psutil.Process(server.pid))
    try:
        print(f"server: {watch.now():.0f} MB before the first request", flush=True)
        with TemporaryDirectory() as folder:
            for kind in options.kinds:
                path = Path(folder) / kind
                KINDS[kind](path)
                print(f"{kind}: {path.stat().st_size / 1e3:.0f} kB")
                for number in range(1, options.rounds + 1):
                    with watch.looking():
                        told = ask_all(address, path, options.requests)
                    time.sleep(1)
                    print(
                        f"  round {number}, {options.requests} requests: at most "
                        f"{watch.peak:.0f} MB, {watch.now():.0f} MB afterwards",
                        flush=True,
                    )
                    for message, count in told.most_common():
                        print(f"    {count} x {message}")
        print(f"server alive: {server.poll() is None}")
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
