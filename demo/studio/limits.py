"""How much a visitor may send and the server keeps."""

from __future__ import annotations

import contextlib
import ctypes
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cocosnet_hf.call_inputs import MAX_ASPECT

from .inputs import FORMATS, MAX_SIDE, READABLE
from .preview import LinkPreview

MAX_UPLOAD = 10 * 2**20
"""Bytes of a file; a request may be a little larger."""

M_MMAP_THRESHOLD = -3
"""Of mallopt: the size from which a block is the system's own, which gets it back when it is free;
see malloc.h of glibc."""


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


def give_memory_back() -> None:
    """Let glibc, where it is the allocator, give large blocks back as soon as they are free.

    By itself it keeps ever larger ones, in each thread's own arena, once a picture was decoded.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another system's library
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 2**20)


def in_browser() -> str:
    """The script of the page's head, `visit.js`, which refuses what the server could not read."""
    known = {
        "formats": FORMATS,
        "readable": READABLE,
        "maxBytes": MAX_UPLOAD,
        "maxAspect": MAX_ASPECT,
        "maxSide": 2 * MAX_SIDE,
    }
    script = (Path(__file__).parent / "visit.js").read_text()
    known_there = f"<script>window.studio = {json.dumps(known)};</script>"
    return f'{known_there}<script type="module">{script}</script>'


def limits(title: str, description: str) -> dict[str, Any]:
    """Settings of `Blocks.launch`: what is kept of visitors is bounded, and nobody watches them.

    title, description: what links to the page say of it.
    """
    return {
        "max_file_size": MAX_UPLOAD,
        "app_kwargs": {
            "middleware": [
                Middleware(BodyLimit, limit=MAX_UPLOAD + 2**20),
                Middleware(GZipMiddleware, minimum_size=2**14),  # the page itself above all
                Middleware(LinkPreview, title=title, description=description),
            ]
        },
        "state_session_capacity": 64,
        "run_history": False,
        "enable_monitoring": False,
        "footer_links": ["api", "settings"],
        "ssr_mode": False,
        "pwa": False,
    }
