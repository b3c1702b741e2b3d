"""How quick the demo is and how it bears many visitors: prints figures, asserts nothing.

    python -m tests.support.load_demo --clients 32 --seconds 120

Starts `demo/app.py` in a process of its own and measures how soon it answers; in Chromium, where
there is one, how soon after that a first visitor can use the page, how soon a point under the
pointer is shown, and how long a stroke takes from the brush to the picture; what a painting takes a
single program; then lets all clients ask without a pause.
"""

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
from gradio_client import Client, handle_file
from PIL import Image
from skimage import data

from cocosnet_hf import bundled
from cocosnet_hf.pictures import open_photo
from demo.studio.painters import Painter
from tests.support.paths import REPOSITORY

SINGLE = 20
"""Of how many paintings a median is taken."""

PAINTED_TAB = "mask-to-image"
PATIENCE = 600_000
USABLE = f"""
() => document.querySelector("#{PAINTED_TAB}-canvas canvas")?.width > 0
    && document.querySelector("#{PAINTED_TAB}-paint")?.disabled === false
"""
STROKE = f"""
() => {{
    window.stroke = null;
    const canvas = document.querySelector("#{PAINTED_TAB}-canvas canvas");
    const result = document.querySelector("#{PAINTED_TAB}-result");
    canvas.addEventListener("pointerup", () => {{
        const start = (window.begun = performance.now());
        const painted = () => {{ window.stroke = (performance.now() - start) / 1000; }};
        result.addEventListener("load", painted, {{ capture: true, once: true }});
    }}, {{ once: true }});
}}
"""


FRESH = f"document.querySelector('#{PAINTED_TAB}-result .result').dataset.state === 'fresh'"
FINISHED = f"() => window.stroke !== null && {FRESH}"

HOVER = f"""
async () => {{
    const picture = document.querySelector("#{PAINTED_TAB}-result .painted img");
    const box = picture.getBoundingClientRect();
    const seconds = [];
    for (let place = 1; place <= {SINGLE}; place++) {{
        const clientX = box.left + (place * box.width) / {SINGLE + 1};
        const clientY = box.top + box.height / 2;
        const start = performance.now();
        const moved = {{ bubbles: true, clientX, clientY }};
        picture.dispatchEvent(new PointerEvent("pointermove", moved));
        await new Promise(requestAnimationFrame);
        if (!document.querySelector("#{PAINTED_TAB}-result .links .dot")) throw new Error("no dot");
        seconds.push((performance.now() - start) / 1000);
    }}
    return seconds;
}}
"""
"""From a move of the pointer to the end of the frame in which its point and line are drawn."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def started(port: int) -> tuple[subprocess.Popen, float]:
    """The running demo, and the seconds until it answered."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(REPOSITORY)}
    start = time.perf_counter()
    server = subprocess.Popen(
        [sys.executable, "demo/app.py", "--port", str(port)], cwd=REPOSITORY, env=environment
    )
    while server.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/config").status_code == 200:
                return server, time.perf_counter() - start
        except httpx.TransportError:
            time.sleep(0.05)
    raise SystemExit("demo/app.py ended instead of answering.")


class Visitors:
    """Clients that ask for faces without a pause until they are told to stop."""

    def __init__(self, address: str, photo: Path) -> None:
        self.address = address
        self.photo = photo
        self.stop = threading.Event()
        self.seconds: list[float] = []
        self.refusals: Counter[str] = Counter()

    def ask(self, client: Client) -> float:
        """The seconds one painting took."""
        start = time.perf_counter()
        photo = handle_file(self.photo)
        picture, _ = client.predict(photo, photo, api_name="/edge_to_face")
        Image.open(picture).verify()
        return time.perf_counter() - start

    def visit(self) -> None:
        """Ask until told to stop; whatever is no picture is counted by its message."""
        client = None
        while not self.stop.is_set():
            try:
                client = client or Client(self.address, verbose=False)
                self.seconds.append(self.ask(client))
            except Exception as error:  # every kind of failure is counted
                self.refusals[f"{type(error).__name__}: {error}"[:200]] += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=120)
    options = parser.parse_args()
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    server, ready = started(port)
    try:
        print(f"server: answers {ready:.1f} s after its process started, models opened", flush=True)
        measure_page(address)
        with tempfile.TemporaryDirectory() as folder:
            visitors = Visitors(address, Path(folder) / "face.jpg")
            face = Image.fromarray(data.astronaut()).crop((130, 0, 330, 200))
            face.save(visitors.photo)
            measure_program(visitors)
            measure_load(options, server, visitors)
        print(f"server alive: {server.poll() is None}")
    finally:
        server.terminate()
        server.wait()


def measure_page(address: str) -> None:
    """The first sight of the page, and strokes of the brush in live mode."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        print("page: no Chromium here, so neither its first sight nor strokes are measured")
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(PATIENCE)
        start = time.perf_counter()
        page.goto(address)
        page.wait_for_function(USABLE)
        print(f"page: usable {time.perf_counter() - start:.1f} s after that, by its first visitor")
        hover = page.evaluate(HOVER)
        print(
            f"hover: drawn {1000 * statistics.median(hover):.1f} ms after the pointer moved "
            f"(median of {SINGLE}; slowest {1000 * max(hover):.1f} ms; a frame is 16.7 ms)",
            flush=True,
        )
        page.locator(f"#{PAINTED_TAB}-live input").check()
        page.locator(f"#{PAINTED_TAB}-canvas .board[data-live=true]").wait_for()
        page.locator(f"#{PAINTED_TAB}-canvas .chip").last.click()
        canvas = page.locator(f"#{PAINTED_TAB}-canvas canvas")
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        strokes, wholes = [], []
        for number in range(SINGLE):
            page.evaluate(STROKE)
            share = (number + 1) / (SINGLE + 1)
            page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
            page.mouse.down()
            page.mouse.up()
            page.wait_for_function(FINISHED)
            strokes.append(page.evaluate("() => window.stroke"))
            wholes.append(page.evaluate("() => (performance.now() - window.begun) / 1000"))
        browser.close()
    examples = REPOSITORY / "cocosnet_hf" / "assets" / PAINTED_TAB / "examples"
    painter = Painter(bundled(PAINTED_TAB), is_bundled=True)
    layout, photo = examples / "layout.png", open_photo(examples / "exemplar.png")
    compare(f"one stroke, {PAINTED_TAB}, its draft", timed(painter.draft, layout, photo), strokes)
    compare("the whole picture after it", timed(painter.paint, layout, photo), wholes)


def timed(task: Callable[..., object], *given: object) -> list[float]:
    """What paintings take the pipeline alone at the page's size, the exemplar prepared."""
    return [seconds(lambda: task(*given)) for _ in range(SINGLE + 1)][1:]


def seconds(task: Callable[[], object]) -> float:
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def compare(what: str, bare: list[float], whole: list[float]) -> None:
    alone, together = statistics.median(bare), statistics.median(whole)
    print(
        f"{what}: {together:.3f} s, of which {alone:.3f} s the pipeline and "
        f"{together - alone:.3f} s all else (medians of {SINGLE}; slowest {max(whole):.3f} s)",
        flush=True,
    )


def measure_program(visitors: Visitors) -> None:
    """What a painting takes a single program."""
    painter = Painter(bundled("edge-to-face"), is_bundled=True)
    bare = timed(painter.paint, visitors.photo, open_photo(visitors.photo))
    client = Client(visitors.address, verbose=False)
    visitors.ask(client)
    single = [visitors.ask(client) for _ in range(SINGLE)]
    compare("one request, edge-to-face", bare, single)


def measure_load(options: argparse.Namespace, server: subprocess.Popen, visitors: Visitors) -> None:
    """All clients at once; memory in MiB."""
    process = psutil.Process(server.pid)

    def memory() -> float:
        return process.memory_info().rss / 2**20

    before = memory()
    threads = [threading.Thread(target=visitors.visit) for _ in range(options.clients)]
    for thread in threads:
        thread.start()
    during = []
    end = time.monotonic() + options.seconds
    while time.monotonic() < end and server.poll() is None:
        time.sleep(1)
        during.append(memory())
    visitors.stop.set()
    for thread in threads:
        thread.join()
    latency, refused = sorted(visitors.seconds), sum(visitors.refusals.values())
    print(
        f"{options.clients} clients for {options.seconds:.0f} s: {len(latency)} answered, ", end=""
    )
    print(f"{refused} not answered")
    for message, count in visitors.refusals.most_common():
        print(f"  {count} x {message}")
    if latency:
        late = latency[int(0.95 * len(latency))]
        print(f"latency: median {statistics.median(latency):.2f} s, ", end="")
        print(f"95 % within {late:.2f} s, longest {latency[-1]:.2f} s")
    quarter = max(1, len(during) // 4)
    second, last = during[quarter : 2 * quarter], during[-quarter:]
    print(f"memory of the server: {before:.0f} MiB before, ", end="")
    print(f"{statistics.mean(second or last):.0f} in the second quarter, ", end="")
    print(f"{statistics.mean(last):.0f} in the last, {memory():.0f} at the end")


if __name__ == "__main__":
    main()
