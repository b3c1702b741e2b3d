"""Pictures of a correspondence: where a point came from, how sure each match is, the whole flow."""

from __future__ import annotations

import math
from typing import cast

import cv2
import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from cocosnet_hf import Matching
from cocosnet_hf.pictures import grid

from .painters import DemoResult

HEIGHT = 384
"""Views are drawn this high, whatever the size of the painting."""

GAP = 8

Point = tuple[float, float]


def shown(painting: DemoResult) -> Image.Image:
    """The result in whole multiples of the painting, at least as large as its place on the page.

    gradio misreads clicks on pictures that are enlarged by the browser.
    """
    factor = _factor(painting)
    size = (painting.image.width * factor, painting.image.height * factor)
    return painting.result.resize(size, Image.Resampling.BICUBIC)


def point_of(painting: DemoResult, click: tuple[int, int]) -> Point:
    """The pixel of the painting under a click on what `shown` makes of it."""
    factor = _factor(painting)
    return click[0] / factor, click[1] / factor


def _factor(painting: DemoResult) -> int:
    return math.ceil(HEIGHT / min(painting.image.size))


def centre(painting: DemoResult) -> Point:
    """The middle of the painting, in its pixels."""
    return painting.image.width / 2, painting.image.height / 2


def match_view(painting: DemoResult, point: Point) -> Image.Image:
    """Picture and exemplar side by side: a point, and where in the exemplar it looks.

    point: (x, y) in pixels of the painting. The warmer the exemplar, the larger the place's share.
    """
    matching = _matching(painting)
    row = cast(Tensor, matching.row(point))  # of one exemplar, not in a list
    target = _at(matching, matching.flow()[0], point).tolist()
    left, right = _enlarged(painting.image), _enlarged(painting.exemplar)
    right = _blend(right, _heat(_stretched(row / row.max(), right.size)), 0.55)
    _ring(left, point, painting.image)
    _ring(right, (target[0], target[1]), painting.exemplar)
    return _side_by_side(left, right)


def match_text(painting: DemoResult, point: Point) -> str:
    """The same in words."""
    matching = _matching(painting)
    x, y = _at(matching, matching.flow()[0], point).tolist()
    share = _at(matching, matching.confidence()[0], point).item()
    return (
        f"Point **({point[0]:.0f}, {point[1]:.0f})** came from **({x:.0f}, {y:.0f})** in the "
        f"exemplar, with a confidence of **{share:.0%}**."
    )


def confidence_view(painting: DemoResult) -> Image.Image:
    """The painting under a map of how sure its matches are: bright is sure."""
    picture = _enlarged(painting.image)
    confidence = _matching(painting).confidence()[0]
    return _blend(picture, _heat(_stretched(confidence, picture.size)), 0.65)


def flow_view(painting: DemoResult) -> Image.Image:
    """Exemplar and painting in the colours of places: equal colours belong together."""
    exemplar, image = painting.exemplar, painting.image
    places = _place_colors(exemplar.width, exemplar.height)
    flow = _matching(painting).flow()[0].round().long().cpu().numpy()
    colors = places[flow[..., 1], flow[..., 0]]
    left, right = _enlarged(exemplar), _enlarged(image)
    carried = Image.fromarray(colors).resize(right.size, Image.Resampling.NEAREST)
    legend = Image.fromarray(places).resize(left.size, Image.Resampling.BILINEAR)
    return _side_by_side(Image.blend(left, legend, 0.55), Image.blend(right, carried, 0.55))


def _place_colors(width: int, height: int) -> np.ndarray:
    """A colour for each place of a picture: red grows to the right, blue downwards."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    colors = np.stack([x, 0.25 + 0.5 * (1 - x) * (1 - y), y], axis=-1)
    return (colors * 255).astype(np.uint8)


def _matching(painting: DemoResult) -> Matching:
    """What all views are of. Raises ValueError for the painting of a model that does not match."""
    if painting.matching is None:
        raise ValueError("this model paints without a matching, so that there is none to be seen.")
    return painting.matching


def _at(matching: Matching, plane: Tensor, point: Point) -> Tensor:
    """The entry of a plane of the matching's grid under a pixel of the painting."""
    return plane[int(point[1] // matching.stride), int(point[0] // matching.stride)]


def _enlarged(picture: Image.Image) -> Image.Image:
    width = round(picture.width * HEIGHT / picture.height)
    return picture.resize((width, HEIGHT), Image.Resampling.BICUBIC)


def _stretched(plane: Tensor, size: tuple[int, int]) -> np.ndarray:
    """A plane of the grid at a picture's size, (H, W) float32."""
    return cv2.resize(plane.float().cpu().numpy(), size, interpolation=cv2.INTER_LINEAR)


def _heat(strength: np.ndarray) -> Image.Image:
    """0..1 as colours from dark to bright; the root shows weak shares, too."""
    levels = (np.sqrt(strength.clip(0, 1)) * 255).astype(np.uint8)
    return Image.fromarray(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[:, :, ::-1])


def _blend(picture: Image.Image, heat: Image.Image, share: float) -> Image.Image:
    return Image.blend(picture.convert("L").convert("RGB"), heat, share)


def _ring(picture: Image.Image, point: Point, original: Image.Image) -> None:
    """Mark a pixel of the original on the enlarged picture, visible on any ground."""
    scale = picture.height / original.height
    x, y = (point[0] + 0.5) * scale, (point[1] + 0.5) * scale
    draw = ImageDraw.Draw(picture)
    for radius, color, width in ((11, "#000000", 5), (10, "#ffffff", 3)):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=color, width=width)


def _side_by_side(left: Image.Image, right: Image.Image) -> Image.Image:
    return grid([[left, right]], gap=GAP, ground="#00000000", mode="RGBA")
