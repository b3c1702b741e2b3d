"""What is seen of the page before it is there: of a link to it a title and a strip of pictures, and
while its scripts are on their way that they are."""

from __future__ import annotations

import functools
import html
import re

from PIL import Image
from starlette.datastructures import URL
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .gallery import FIRST, FOLDER
from .result import encoded

SIZE = (1200, 630)
"""Width and height of the picture, as those who show links advise."""

PATH = "/preview.jpg"
TAB = "mask-to-image"
PICTURES = ("before.png", "look.jpg", "picture.jpg")

LOADING = """<style>
gradio-app:not(:has(#title))::before {
  content: "%s\\A The page is loading…"; white-space: pre-line; text-align: center;
  padding: 30vh 16px; font: 1.25rem/1.8 ui-sans-serif, system-ui, sans-serif;
}
</style>"""
"""What stands in the page until its own title does; with that title."""

OWN = re.compile(r'<meta\s+(?:property|name)="(?:og|twitter):[^>]*>')


@functools.cache
def strip() -> bytes:
    """The layout, the look and the picture of the page's first sight, as JPEG."""
    sheet = Image.new("RGB", SIZE, "white")
    width = SIZE[0] // len(PICTURES)
    for index, name in enumerate(PICTURES):
        with Image.open(FOLDER / TAB / FIRST / name) as picture:
            scale = min(width / picture.width, SIZE[1] / picture.height)
            shown = picture.convert("RGB").resize(
                (round(scale * picture.width), round(scale * picture.height))
            )
        left = index * width + (width - shown.width) // 2
        sheet.paste(shown, (left, (SIZE[1] - shown.height) // 2))
    return encoded(sheet, PATH)


class LinkPreview:
    """Answers with that picture, and puts the page's own words in place of gradio's in its head."""

    def __init__(self, app: ASGIApp, title: str, description: str) -> None:
        self.app = app
        self.title = title
        self.description = description

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass a request on."""
        path = scope.get("path", "")
        if scope["type"] != "http" or path not in ("/", PATH):
            await self.app(scope, receive, send)
        elif path == PATH:
            await Response(strip(), media_type="image/jpeg")(scope, receive, send)
        else:
            await self._page(scope, receive, send)

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        start: Message = {}
        body = b""

        async def collect(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
            else:
                body += message.get("body", b"")

        await self.app(scope, receive, collect)
        text = OWN.sub("", body.decode())
        picture = URL(scope=scope).replace(path=PATH, query="", fragment="")
        told = {
            "og:title": self.title,
            "og:description": self.description,
            "og:type": "website",
            "og:image": str(picture),
            "twitter:card": "summary_large_image",
        }
        tags = "".join(
            f'<meta property="{name}" content="{html.escape(content)}" />'
            for name, content in told.items()
        )
        kept = {
            name.decode(): value.decode()
            for name, value in start["headers"]
            if name.lower() not in (b"content-length", b"content-type")
        }
        loading = LOADING % self.title.replace('"', "'")
        page = text.replace("<head>", f"<head>{tags}{loading}", 1)
        await HTMLResponse(page, start["status"], kept)(scope, receive, send)
