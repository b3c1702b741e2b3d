"""How the demo bears many visitors: prints figures, asserts nothing.

    python tests/load_demo.py --clients 32 --seconds 120

Starts `demo/app.py` in a process of its own, measures how long its page takes to answer and how
long one painting takes a single visitor, then lets all clients ask without a pause.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import psutil
from gradio_client import Client, handle_file
from PIL import Image
from skimage import data

from cocosnet_hf import bundled

REPOSITORY = Path(__file__).parent.parent
SINGLE = 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def started(port: int) -> tuple[subprocess.Popen, float]:
    """The running demo, and the seconds until its page answered."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(REPOSITORY)}
    start = time.perf_counter()
    server = subprocess.Popen(
        [sys.executable, "demo/app.py", "--port", str(port)], cwd=REPOSITORY, env=environment
    )
    while True:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/config").status_code == 200:
                return server, time.perf_counter() - start
        except httpx.TransportError:
            time.sleep(0.05)


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
        client = Client(self.address, verbose=False)
        while not self.stop.is_set():
            try:
                self.seconds.append(self.ask(client))
            except Exception as error:  # every kind of failure is counted
                self.refusals[f"{type(error).__name__}: {error}"[:200]] += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=120)
    options = parser.parse_args()
    port = free_port()
    server, ready = started(port)
    try:
        with tempfile.TemporaryDirectory() as folder:
            measure(options, server, ready, f"http://127.0.0.1:{port}", Path(folder) / "face.jpg")
    finally:
        server.terminate()
        server.wait()


def measure(
    options: argparse.Namespace, server: subprocess.Popen, ready: float, address: str, photo: Path
) -> None:
    Image.fromarray(data.astronaut()).crop((130, 0, 330, 200)).save(photo)
    pipe = bundled("edge-to-face")
    pipe.set_progress_bar_config(disable=True)
    prepared = pipe.encode_exemplar(photo)
    pipe(photo, prepared)
    bare = []
    for _ in range(SINGLE):
        start = time.perf_counter()
        pipe(photo, prepared)
        bare.append(time.perf_counter() - start)
    visitors = Visitors(address, photo)
    client = Client(address, verbose=False)
    visitors.ask(client)
    single = [visitors.ask(client) for _ in range(SINGLE)]
    print(f"page answers {ready:.1f} s after its process started")
    print(f"one painting: {statistics.median(bare):.3f} s by the pipeline alone, ", end="")
    print(f"{statistics.median(single):.3f} s through the page")

    process = psutil.Process(server.pid)
    threads = [threading.Thread(target=visitors.visit) for _ in range(options.clients)]
    for thread in threads:
        thread.start()
    memory = []
    end = time.monotonic() + options.seconds
    while time.monotonic() < end and server.poll() is None:
        time.sleep(1)
        memory.append(process.memory_info().rss / 2**20)
    visitors.stop.set()
    for thread in threads:
        thread.join()
    latency = sorted(visitors.seconds)
    print(
        f"{options.clients} clients for {options.seconds:.0f} s: {len(latency)} answered, ", end=""
    )
    print(f"median {statistics.median(latency):.2f} s, longest {latency[-1]:.2f} s")
    print(f"not answered: {sum(visitors.refusals.values())}")
    for message, count in visitors.refusals.most_common():
        print(f"  {count} x {message}")
    quarter = max(1, len(memory) // 4)
    print(
        f"memory of the server: {statistics.mean(memory[quarter : 2 * quarter]):.0f} MiB ", end=""
    )
    print(f"in the second quarter, {statistics.mean(memory[-quarter:]):.0f} MiB in the last")
    print(f"server alive: {server.poll() is None}")


if __name__ == "__main__":
    main()
