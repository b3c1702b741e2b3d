"""How long a stroke takes on the page that paints in the browser, and how near its pictures are.

    python -m cocosnet_hf.hub page out/page
    python -m tools.measure_live out/page --runs 5

Each job is opened in a headless Chromium with the layout and the look that it shows first. The
first picture is compared with that of the pipeline for the same layout and look; then it is painted
again and again, each time as after a stroke: the layout is encoded, guided and painted. Beside the
time that passes, the time of all processors is told, which other work on the machine changes less.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import SpaceCard
from PIL import Image

from cocosnet_hf import bundled
from cocosnet_hf.measuring import machine, table

FORMATS = {
    "files, MB": ".1f",
    "first, s": ".1f",
    "stroke, s": ".2f",
    "layout, s": ".2f",
    "network, s": ".2f",
    "processors, s": ".2f",
    "picture, dB": ".1f",
}

PATIENCE = 600_000
"""Milliseconds for a picture."""

SETTINGS = ("--no-sandbox", "--no-first-run", "--disable-background-networking")


@contextmanager
def hosted(folder: Path) -> Iterator[str]:
    """The address of the page in a folder, with the headers that its card asks for."""
    headers: dict[str, str] = SpaceCard.load(folder / "README.md").data["custom_headers"]

    class Files(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None: ...

        def end_headers(self) -> None:
            for name, value in headers.items():
                self.send_header(name, value)
            super().end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def decibels(found: np.ndarray, expected: Any) -> float:
    """Peak signal-to-noise ratio of two pictures (H, W, 3) of 0..255."""
    error = np.square(found.astype(float) - np.asarray(expected, float)).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def picture(page: Any, job: str) -> np.ndarray:
    """(H, W, 3) uint8: what the page shows as its result."""
    address = page.locator(f"#panel-{job} .result").evaluate("canvas => canvas.toDataURL()")
    file = base64.b64decode(address.partition(",")[2])
    return np.asarray(Image.open(BytesIO(file)).convert("RGB"))


def wait_for_picture(page: Any, job: str, number: int) -> None:
    """Until so many pictures have been painted and no more is asked for."""
    page.wait_for_function(
        """([job, number]) => {
          const panel = document.querySelector(`#panel-${job}`);
          const isBusy = panel?.querySelector(".result").classList.contains("waits");
          return panel && !isBusy && Number(panel.dataset.painted || 0) >= number;
        }""",
        arg=[job, number],
        timeout=PATIENCE,
    )


def of_the_pipeline(name: str, folder: Path) -> Image.Image:
    """What the pipeline paints of the layout and the look that a job shows first."""
    jobs = json.loads((folder / "jobs.json").read_text())
    layout, look = next(job["first"] for job in jobs if job["name"] == name)
    pictures = json.loads((folder / "pictures.json").read_text())[name]
    pipe = bundled(name)
    pipe.set_progress_bar_config(disable=True)

    def source(entry: dict[str, str]) -> str | None:
        return str(folder / entry["layout"]) if "layout" in entry else None

    condition: Any = source(pictures[layout])
    if condition is None:  # the page shows a photo's lines, as a drawing
        photo = Image.open(folder / pictures[layout]["picture"])
        size = pipe.learned_size
        condition = {"edges": pipe.condition.encode(photo, *size)[0].numpy() > 0}
    exemplar = str(folder / pictures[look]["picture"])
    out: Image.Image = pipe(condition, exemplar, source(pictures[look])).images[0]
    return out


def measured(name: str, folder: Path, browser: Any, address: str, runs: int) -> dict[str, Any]:
    """The row of a job."""
    page = browser.new_page()
    start = time.perf_counter()
    page.goto(f"{address}#{name}")
    wait_for_picture(page, name, 1)
    first = time.perf_counter() - start
    near = decibels(picture(page, name), of_the_pipeline(name, folder))
    processes = browser.new_browser_cdp_session()
    panel = page.locator(f"#panel-{name}")
    rows = []
    for run in range(runs):
        begun, used = time.perf_counter(), _processors(processes)
        panel.locator(".strength").dispatch_event("input")
        wait_for_picture(page, name, run + 2)
        passed = time.perf_counter() - begun
        parts = [
            float(panel.get_attribute(f"data-{part}")) / 1000 for part in ("layout", "network")
        ]
        rows.append((passed, *parts, _processors(processes) - used))
    loaded = sum(file.stat().st_size for file in _files(name, folder)) / 2**20
    page.close()
    medians = [statistics.median(each) for each in zip(*rows, strict=True)]
    columns = list(FORMATS)
    return {"job": name} | dict(zip(columns, [loaded, first, *medians, near], strict=True))


def _processors(session: Any) -> float:
    """Seconds that the browser's processes have computed."""
    found = session.send("SystemInfo.getProcessInfo")["processInfo"]
    return float(sum(process["cpuTime"] for process in found))


def _files(name: str, folder: Path) -> Iterator[Path]:
    """What a job loads that is large: the runtime on the CPU, and its networks."""
    yield from (folder / "ort").glob("ort-wasm-simd-threaded.wasm")
    yield from (folder / "models" / name).glob("*.onnx")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; `arguments` default to the process's own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="of the page, as the hub's command wrote it")
    parser.add_argument("--runs", type=int, default=5, help="strokes of each job; default: 5")
    parser.add_argument("--chromium", default="chromium", help="the browser; default: chromium")
    options = parser.parse_args(arguments)
    from playwright.sync_api import sync_playwright  # of the extra `test`

    names = list(json.loads((options.folder / "pictures.json").read_text()))
    with hosted(options.folder) as address, sync_playwright() as driver:
        path = shutil.which(options.chromium)
        browser = driver.chromium.launch(executable_path=path, args=list(SETTINGS))
        print(f"{machine('cpu')}, Chromium {browser.version}, load {os.getloadavg()[0]:.1f}")
        for name in names:
            row = measured(name, options.folder, browser, address, options.runs)
            print(table([row], {"job": ""} | FORMATS), flush=True)
        browser.close()


if __name__ == "__main__":
    main()
