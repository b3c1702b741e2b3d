"""What the library says about a visitor's file, in the words of the page."""

from __future__ import annotations

import functools
import html
import traceback
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import gradio as gr
from PIL import Image

from cocosnet_hf import MaskCondition

P = ParamSpec("P")
R = TypeVar("R")

PLAIN = {
    "legwear_long": "trousers",
    "skirt_shorts": "skirt or shorts",
    "outerwear": "jacket",
    "headwear": "hat",
    "eyewear": "glasses",
    "footwear": "shoes",
}
"""Classes that are known by another name."""


def in_words(handler: Callable[P, R]) -> Callable[P, R]:
    """Show a visitor what the library says about bad input, instead of a plain "error"."""

    @functools.wraps(handler)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return handler(*args, **kwargs)
        except (ValueError, OSError, ImportError) as error:
            # Until gradio is done with the error it would keep the picture, of 100 MB or so.
            traceback.clear_frames(error.__traceback__)
            raise gr.Error(html.escape(str(error), quote=False), print_exception=False) from error

    return wrapper


def plain(name: str) -> str:
    """What a class is called on the page."""
    return PLAIN.get(name, name.replace("_", " "))


def no_mask(labels: Image.Image, what: str, condition: MaskCondition, reason: str) -> str:
    """Of a picture that the condition refused as a mask for this reason."""
    if labels.getcolors() is None:  # more than 256
        return (
            f"The {what} looks like a photo, in which no region has one colour. Upload a picture "
            "painted in the colours of the buttons above the canvas, or paint on the canvas."
        )
    if labels.mode in ("L", "P", "I", "I;16"):
        last = len(condition.classes) - 1
        return (
            f"The {what} has numbers that stand for nothing here: known are 0 "
            f"({condition.classes[0]}) to {last} ({condition.classes[last]}), in the order of the "
            "buttons above the canvas."
        )
    found = reason.split(": declare")[0]
    return f"{found}: paint it in the colours of the buttons above the canvas."


def no_pose(reason: str) -> str:
    """Of a file in which the library found no pose for this reason."""
    if "shape" not in reason and "(N," not in reason and "(17," not in reason:
        return reason
    return (
        "The file holds no person in a form that is known here. Files of OpenPose, COCO, AlphaPose "
        "and MMPose are: x, y and a score for each of 17, 18 or 25 joints."
    )
