"""How much a visitor may send and the server keeps."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cocosnet_hf.call_inputs import MAX_ASPECT

from .gallery import ADDRESS, FOLDER
from .inputs import FORMATS, MAX_SIDE, READABLE
from .preview import LinkPreview

MAX_UPLOAD = 10 * 2**20
"""Bytes of a file; a request may be a little larger."""

MOST_WAITING = 64
"""Requests that wait; who asks then is told to come again."""

AT_ONCE = 4
"""Requests of each quick handler that are worked on at the same time. Those that read pictures or
paint work one at a time, see `inputs.explained`."""

HEALTH = "/health"


class BodyLimit:
    """Answers 413 to requests with more than `limit` bytes, whether they say so or not."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app = app
        self.limit = limit
        self.message = f"A request may have at most {limit} bytes."

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, counting what it sends."""
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.limit:
                raise HTTPException(413, self.message)
            return message

        announced = dict(scope.get("headers", [])).get(b"content-length", b"0")
        if int(announced) > self.limit:
            await PlainTextResponse(self.message, 413)(scope, receive, send)
        else:
            await self.app(scope, counted, send)


def refuse_addresses(data: Any) -> None:
    """Raise gr.Error if a file in what a client sends is named by its address on the network."""
    if isinstance(data, Mapping):
        if str(data.get("path", "")).lower().startswith(("http:", "https:")):
            raise gr.Error("Upload the file itself, not its address.", print_exception=False)
        data = list(data.values())
    if isinstance(data, list):
        for item in data:
            refuse_addresses(item)


def health(models: Sequence[str]) -> Callable[[Request], Awaitable[JSONResponse]]:
    """What answers those who watch the server: 200 as long as it can paint, with the models that
    are open; 503 where there is none."""
    told = {"status": "ok" if models else "no model", "models": list(models)}

    async def answer(_: Request) -> JSONResponse:
        return JSONResponse(told, 200 if models else 503)

    return answer


def in_browser() -> str:
    """The page's head: the script `visit.js`, which refuses what the server could not read, and
    the look of what is outside the page proper."""
    known = {
        "formats": FORMATS,
        "readable": READABLE,
        "maxBytes": MAX_UPLOAD,
        "maxAspect": MAX_ASPECT,
        "maxSide": 2 * MAX_SIDE,
    }
    here = Path(__file__).parent
    script = (here / "visit.js").read_text()
    style = f"<style>{(here / 'outside.css').read_text()}</style>"
    known_there = f"<script>window.studio = {json.dumps(known)};</script>"
    return f'{style}{known_there}<script type="module">{script}</script>'


def limits(title: str, description: str, models: Sequence[str] = ()) -> dict[str, Any]:
    """Settings of `Blocks.launch`: what is kept of visitors is bounded, and nobody watches them.

    title, description: what links to the page say of it. models: those that are open, which those
    who watch the server are told, see `health`.
    """
    return {
        "max_file_size": MAX_UPLOAD,
        "app_kwargs": {
            "routes": [
                Route(HEALTH, health(models)),
                Mount(f"/{ADDRESS}", StaticFiles(directory=FOLDER)),
            ],
            "middleware": [
                Middleware(BodyLimit, limit=MAX_UPLOAD + 2**20),
                Middleware(GZipMiddleware, minimum_size=2**14),  # the page itself above all
                Middleware(LinkPreview, title=title, description=description),
            ],
        },
        "state_session_capacity": 64,
        "run_history": False,
        "enable_monitoring": False,
        "footer_links": ["api", "settings"],
        "ssr_mode": False,
        "pwa": False,
        # gradio asks its own page once it runs, and gives up where a busy machine takes 3 seconds.
        "_frontend": False,
    }
