"""What was painted before, the link to what is shown, and what of it can be taken away."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from .inputs import start_of

MOST = 100_000
"""Links hold no larger numbers."""


def moments_board(tab: str, editor: gr.HTML, numbers: Mapping[str, gr.Slider]) -> gr.HTML:
    """The strip of the last pictures and what is beside it, see `moments.js`.

    numbers: the sliders that links tell of, by their names there.
    """
    here = Path(__file__).parent
    return gr.HTML(
        html_template=(here / "moments.html").read_text(),
        js_on_load=(here / "moments.js").read_text(),
        apply_default_css=False,
        elem_id=f"{tab}-moments",
        elem_classes="moments-board",
        name=tab,
        editor=editor.elem_id,
        numbers={name: slider.elem_id for name, slider in numbers.items()},
    )


def example_of(value: Mapping[str, Any] | None) -> int | None:
    """The index of the example that an editor's drawing began with; None for another layout."""
    began = start_of(value) or {}
    return index_in(began.get("example"), MOST)


def index_in(given: Any, count: int) -> int | None:
    """An index below `count`, of a link or an entry of the strip; None for anything else."""
    try:
        index = int(given)
    except (TypeError, ValueError):
        return None
    return index if 0 <= index < count else None


def number_for(given: Any, slider: gr.Slider) -> float | None:
    """A slider's value, of a link; None for anything else than a number within its range."""
    try:
        number = float(given)
    except (TypeError, ValueError):
        return None
    return number if slider.minimum <= number <= slider.maximum else None
