"""What the demo's server refuses, and that it asks nobody."""

import ctypes
import io
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from cocosnet_hf import bundled_names
from tests.support import tiny
from tests.support.demo_page import CONDITIONS, DEMO, SIZE, UPLOADS, painters, served
from tests.support.pictures import whole_picture
from tests.support.visitor import answered, painted

gradio = pytest.importorskip("gradio", reason="needs the extra demo")
from gradio_client import Client, handle_file  # noqa: E402
from gradio_client.exceptions import AppError  # noqa: E402
from studio.gallery import FOLDER  # noqa: E402
from studio.layer_tab import MODEL, first_address  # noqa: E402
from studio.limits import AT_ONCE, MAX_UPLOAD, MOST_WAITING, limits  # noqa: E402
from studio.memory import ARENAS  # noqa: E402
from studio.painters import DemoResult, Painter  # noqa: E402


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", str(DEMO / "app.py"), "app.py", "../setup.cfg", str(UPLOADS)],
    ids=["system", "absolute", "relative", "parent", "uploads"],
)
def test_no_file_of_the_server_is_served(address: str, path: str):
    assert httpx.get(f"{address}gradio_api/file={path}").status_code in (403, 404)


def test_of_the_gallery_all_is_served_and_nobody_is_told_where_it_lies(address: str):
    painter = Painter(tiny.pipeline(CONDITIONS[MODEL], SIZE), is_bundled=True)
    worn = httpx.get(f"{address}{first_address(painter)}")
    for name in worn.json()["photos"]:
        photo = httpx.get(worn.url.join(name))
        assert photo.status_code == 200 and photo.headers["content-type"] == "image/jpeg"
    assert httpx.get(f"{address}gallery/%2e%2e/app.py").status_code == 404
    with served(dict.fromkeys(CONDITIONS) | {MODEL: painter}) as url:
        told = httpx.get(f"{url}config").text
    assert "worn.json" in told and str(FOLDER) not in told


def test_the_page_is_sent_compressed(address: str):
    page = httpx.get(address)
    assert page.headers["content-encoding"] == "gzip" and "mask-to-image-paint" in page.text


def test_who_watches_the_server_learns_whether_it_can_paint(address: str):
    answer = httpx.get(f"{address}health")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "models": list(CONDITIONS)}
    with served(dict.fromkeys(CONDITIONS)) as empty:
        assert httpx.get(f"{empty}health").status_code == 503


class HeldPainter(Painter):
    """Paints nothing before it may."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.may_paint = threading.Event()

    def paint(self, *arguments: Any, **settings: Any) -> DemoResult:
        """As any painter does."""
        assert self.may_paint.wait(60)
        return super().paint(*arguments, **settings)


def test_so_many_wait_and_who_comes_then_is_told(files: Path):
    tab = "edge-to-face"
    held = HeldPainter(tiny.pipeline(CONDITIONS[tab], SIZE))
    held.may_paint.set()  # the picture that the page opens with
    with served(dict.fromkeys(CONDITIONS) | {tab: held}) as url:
        held.may_paint.clear()
        photo = {"files": ("a.png", (files / "photo.png").read_bytes())}
        (path,) = httpx.post(f"{url}gradio_api/upload", files=photo).json()
        upload = {"path": path, "meta": {"_type": "gradio.FileData"}}
        asked = [
            httpx.post(f"{url}gradio_api/call/edge_to_face", json={"data": [upload, upload, False]})
            for _ in range(MOST_WAITING + 4)
        ]
        served_ones = [answer for answer in asked if answer.status_code == 200]
        assert MOST_WAITING <= len(served_ones) <= MOST_WAITING + 1  # one is being painted
        assert asked[-1].status_code == 503 and "full" in asked[-1].text
        assert httpx.get(f"{url}health").status_code == 200
        held.may_paint.set()
        stream = f"{url}gradio_api/call/edge_to_face/{served_ones[1].json()['event_id']}"
        assert "event: complete" in httpx.get(stream, timeout=60).text  # who waited has an answer


def test_few_handlers_read_pictures_at_once():
    import app

    page = app.build(painters())
    takes = (gradio.Image, gradio.UploadButton)
    reading = [
        handler
        for handler in page.fns.values()
        if handler.fn is not None and any(isinstance(part, takes) for part in handler.inputs)
    ]
    assert len(reading) > 20
    assert {handler.concurrency_id for handler in reading} == {"painting", "reading"}
    assert {handler.concurrency_limit for handler in reading} == {1}
    assert {handler.preprocess for handler in reading} == {
        False
    }  # gradio would read without limits


def test_the_docs_tell_the_servers_limits():
    told = " ".join((DEMO.parent / "docs" / "deployment.md").read_text().split())
    kept = limits("", "")["state_session_capacity"]
    assert f"files up to {MAX_UPLOAD // 2**20} MB" in told and f"{kept} sessions" in told
    assert f"{MOST_WAITING} requests wait" in told
    assert f"of each of the quick ones, which do not, {AT_ONCE} may run at once" in told


ARENAS_OF_THREADS = """
import ctypes, re, sys, tempfile, threading
sys.path.insert(0, sys.argv[1])
from studio.memory import give_memory_back

give_memory_back()
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
barrier = threading.Barrier(12)

def work():
    barrier.wait()
    held = [library.malloc(ctypes.c_size_t(50_000)) for _ in range(50)]
    barrier.wait()
    for block in held:
        library.free(ctypes.c_void_p(block))

threads = [threading.Thread(target=work) for _ in range(12)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
with tempfile.NamedTemporaryFile("r") as report:
    library.fopen.restype = ctypes.c_void_p
    stream = ctypes.c_void_p(library.fopen(report.name.encode(), b"w"))
    library.malloc_info(0, stream)
    library.fclose(stream)
    print(len(re.findall("<heap nr=", report.read())))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="not glibc")
def test_what_threads_free_is_kept_for_all_of_them():
    found = subprocess.run(
        [sys.executable, "-c", ARENAS_OF_THREADS, str(DEMO)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert 1 <= int(found.stdout.split()[-1]) <= ARENAS + 1  # those that were there before remain


def test_the_page_has_an_icon_of_its_own(address: str):
    assert httpx.get(f"{address}favicon.ico").text == (DEMO / "studio" / "icon.svg").read_text()


@pytest.mark.parametrize("meta", [{}, {"meta": {"_type": "gradio.FileData"}}])
def test_no_file_of_the_server_is_taken_for_an_upload(address: str, meta: dict[str, Any]):
    local = {"path": str(DEMO / "README.md"), "orig_name": "a.png"} | meta
    answer = httpx.post(
        f"{address}gradio_api/call/edge_to_face", json={"data": [local, local, False]}
    )
    stream = httpx.get(f"{address}gradio_api/call/edge_to_face/{answer.json()['event_id']}").text
    assert "event: error" in stream and "not a picture" not in stream
    assert str(DEMO) not in stream


def test_no_file_is_fetched_from_an_address(
    client: Client, files: Path, monkeypatch: pytest.MonkeyPatch
):
    asked = []
    look_up = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *a, **k: asked.append(a[0]) or look_up(*a, **k)
    )
    with pytest.raises(AppError, match="not its address"):
        client.predict(
            handle_file(files / "photo.png"),
            handle_file("https://pictures.invalid/a.png"),
            api_name="/edge_to_face",
        )
    assert "pictures.invalid" not in asked


def test_a_file_that_is_too_large_is_refused(address: str):
    for size in (MAX_UPLOAD + 1, MAX_UPLOAD + 2**21):
        upload = {"files": ("a.png", b"\0" * size)}
        answer = httpx.post(f"{address}gradio_api/upload", files=upload)
        assert answer.status_code == 413
        assert "maximum" in answer.text or "at most" in answer.text


def test_a_request_that_is_too_large_is_refused_even_if_it_does_not_say_so(address: str):
    body = (b"0" * 2**20 for _ in range(16))
    answer = httpx.post(
        f"{address}gradio_api/queue/join",
        content=body,
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 413


RECORDER = """
import runpy, sys
log, program, *words = sys.argv[1:]
asked = open(log, "a", buffering=1)

def heard(event, details):
    if event in ("socket.connect", "socket.sendto"):
        print(details[1][0], file=asked)
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        print(details[0], file=asked)

sys.addaudithook(heard)
sys.argv = [program, *words]
sys.path.insert(0, program.rpartition("/")[0])
runpy.run_path(program, run_name="__main__")
"""


@pytest.mark.slow
def test_the_program_opens_its_page_and_asks_nobody_for_anything(tmp_path: Path, files: Path):
    pipe = tiny.pipeline(image_size=SIZE)
    pipe.save_pretrained(tmp_path / "faces")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}/"
    words = ["--edge-to-face", str(tmp_path / "faces"), "--port", address[:-1].rpartition(":")[2]]
    unset = {"HF_HUB_OFFLINE", "GRADIO_ANALYTICS_ENABLED", "GRADIO_TEMP_DIR"}
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    log = tmp_path / "asked.txt"
    server = subprocess.Popen(
        [sys.executable, "-c", RECORDER, str(log), str(DEMO / "app.py"), *words],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(DEMO.parent), "HF_HOME": str(tmp_path / "home")},
    )
    try:
        config = json.dumps(wait_for(server, f"{address}config"))
        for tab in CONDITIONS:
            ready = tab == "edge-to-face" or tab in bundled_names()
            assert (f"{tab}-paint" in config) == ready
            assert (f"--{tab} FOLDER_OR_HUB_ID" in config) == (not ready)
        found = Client(address, verbose=False).predict(
            handle_file(files / "photo.png"),
            handle_file(files / "exemplar.png"),
            api_name="/edge_to_face",
        )
    finally:
        server.terminate()
        server.wait()
    expected = painted(Painter(pipe), files, whole_picture(files / "photo.png"))
    for picture, wanted in zip(answered(found), expected, strict=True):
        assert np.abs(picture.astype(int) - wanted).max() <= 2
    asked = set(log.read_text().split())
    assert asked and asked <= {"127.0.0.1", "localhost"}


def wait_for(server: subprocess.Popen, address: str) -> dict[str, Any]:
    """What an address answers as soon as it does."""
    while server.poll() is None:
        try:
            return httpx.get(address).raise_for_status().json()
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError(f"the server ended with {server.returncode}")


def test_while_the_page_is_on_its_way_it_says_so(address: str):
    style = httpx.get(address).text.partition("<style>")[2].partition("</style>")[0]
    assert "look on your own drawing\\A The page is loading…" in style
    assert style.strip().startswith("gradio-app:not(:has(#title))::before")


def test_a_shared_link_shows_the_pages_own_words_and_pictures(address: str):
    page = httpx.get(address).text
    told = dict(re.findall(r'<meta property="(og:\w+)" content="([^"]*)"', page))
    assert (
        "look on your own drawing" in told["og:title"] and "choose a look" in told["og:description"]
    )
    assert told["og:image"] == f"{address}preview.jpg"
    assert "Click to try out the app" not in page
    with Image.open(io.BytesIO(httpx.get(told["og:image"]).content)) as strip:
        assert strip.size == (1200, 630)


def test_programs_are_told_what_each_parameter_is(address: str):
    endpoints = httpx.get(f"{address}gradio_api/info").json()["named_endpoints"]
    for endpoint in endpoints.values():
        for parameter in endpoint["parameters"]:
            assert parameter["label"].startswith(parameter["parameter_name"])
        assert "addresses of others are refused" in endpoint["description"]
