"""The card of the painting: the picture, how fresh it is, and where each part of it came from."""

from __future__ import annotations

import base64
import hashlib
import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
from gradio.processing_utils import save_file_to_cache
from gradio.utils import get_upload_folder
from PIL import Image

from .correspondence import names_sent, takes_points
from .gallery import Exhibit
from .moments import moments_board
from .painters import DemoResult, Painter

Address = Callable[[Image.Image, str], str]
"""Where the page finds a picture of a name with an ending."""


SMALL_SIDE = 384
"""Longer side of the exemplar beside the picture on a phone."""


@dataclass(frozen=True)
class Result:
    """The column of the painting.

    board: see `result.js`; strength: how much is copied; moments: see `moments.js`.
    """

    tab: str
    paint: gr.Button
    live: gr.Checkbox
    board: gr.HTML
    strength: gr.Slider
    moments: gr.HTML

    def tells(self, event: str) -> dict[str, Any]:
        """Settings of a listener that tells the board of an event, in the browser alone."""
        script = f"document.querySelector('#{self.tab}-result .result')"
        return {"fn": None, "js": f"() => {{ {script}.dispatchEvent(new Event('{event}')); }}"}


def result_parts(tab: str, editor: gr.HTML, numbers: Mapping[str, gr.Slider]) -> Result:
    """What is in the card. editor, numbers: of the layout, which links tell of."""
    here = Path(__file__).parent
    board = gr.HTML(
        html_template=(here / "result.html").read_text(),
        js_on_load=(here / "result.js").read_text(),
        apply_default_css=False,
        elem_id=f"{tab}-result",
        elem_classes="result-board",
        name=tab,
    )
    with gr.Row(elem_classes="go"):
        paint = gr.Button("Paint", variant="primary", scale=3, elem_id=f"{tab}-paint")
        live = gr.Checkbox(True, label="Live", scale=1, min_width=90, elem_id=f"{tab}-live")
    strength = gr.Slider(
        0,
        1,
        0.5,
        step=0.05,
        label="How much of the look is copied",
        buttons=[],
        elem_id=f"{tab}-strength",
    )
    moments = moments_board(tab, editor, {"strength": strength, **numbers})
    return Result(tab, paint, live, board, strength, moments)


def board_value(
    painting: DemoResult,
    painter: Painter,
    layout: Any,
    looks: Sequence[Exhibit],
    address: Address,
) -> dict[str, Any]:
    """A painting as `result.js` takes it.

    layout: the source of its condition; looks: one or two, their conditions None where they are
    not known.
    """
    found: dict[str, Any] = {}
    if (matched := painting.correspondence) is not None:
        own = [look.condition for look in looks]
        found = matched.sent() | names_sent(matched, painter.condition, layout, own)
        found["movable"] = takes_points(painter.pipe)
    for name, look in zip(("exemplar", "secondLook"), looks, strict=False):
        small = look.picture.convert("RGB")
        small.thumbnail((SMALL_SIDE, SMALL_SIDE))
        found[name] = address(small, "look.jpg")
    picture = painting.result
    return found | {
        "look": look_of(*(look.picture for look in looks)),
        "image": address(picture, "picture.jpg"),
        "download": address(picture, "painting.png"),
        "before": address(painting.before, "before.png"),
        "warped": painting.warped and address(painting.warped, "warped.jpg"),
        "changed": painting.changed and address(painting.changed, "changed.jpg"),
        "size": list(picture.size),
    }


def asked_of(sent: Any) -> Any:
    """The number of the change that a board asks about, which it wants back."""
    return sent.get("asked") if isinstance(sent, Mapping) else None


def wants_draft(sent: Any) -> bool:
    """Whether a board asks for a draft first, while the hand is at work."""
    return isinstance(sent, Mapping) and sent.get("draft") is True


def look_of(*exemplars: Image.Image) -> str:
    """By which the page knows that it still has the same exemplars."""
    pixels = b"".join(exemplar.convert("RGB").tobytes() for exemplar in exemplars)
    return hashlib.sha256(pixels).hexdigest()[:16]


def as_file(picture: Image.Image, name: str = "picture.png") -> str:
    """A picture among gradio's files, which it clears away after a while.

    gradio's own way writes equal pictures of two visitors over each other while they are read.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(encoded(picture, name))
        return save_file_to_cache(path, get_upload_folder())


def as_address(picture: Image.Image, name: str) -> str:
    """The address of such a file, from the page's."""
    return f"gradio_api/file={quote(as_file(picture, name))}"


def as_data(picture: Image.Image, name: str) -> str:
    """A picture within its address, for what is part of the page itself."""
    kind = {".jpg": "jpeg", ".png": "png"}[Path(name).suffix]
    return f"data:image/{kind};base64,{base64.b64encode(encoded(picture, name)).decode()}"


def encoded(picture: Image.Image, name: str) -> bytes:
    """A picture as the file of this name: JPEG without visible loss, or PNG."""
    data = io.BytesIO()
    if name.endswith(".jpg"):
        picture.convert("RGB").save(data, "JPEG", quality=93, subsampling=0)
    else:
        picture.save(data, "PNG", compress_level=4)
    return data.getvalue()
