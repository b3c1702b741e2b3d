"""Colours and textures of drawn regions, and their rendering from a label map."""

from __future__ import annotations

import colorsys
import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

SUPERSAMPLING = 2
"""Pictures are drawn this much larger and averaged down, so that borders are smooth."""

TEXTURES = ("plain", "grain", "stripes", "dots", "bricks")


@dataclasses.dataclass(frozen=True)
class Finish:
    """From what a region's paint is drawn at random.

    saturation, value: ranges in [0, 1]; the hue is free unless `hue` gives a range, in turns.
    textures: names of `TEXTURES`. gradient: largest change of value from top to bottom.
    """

    saturation: tuple[float, float]
    value: tuple[float, float]
    textures: tuple[str, ...] = ("plain", "grain")
    hue: tuple[float, float] = (0.0, 1.0)
    gradient: float = 0.15


@dataclasses.dataclass(frozen=True)
class Paint:
    """How one region looks: two RGB colours in [0, 1], a texture between them, a gradient.

    frequency: repetitions over the picture's side. angle: radians. contrast: share of `second`.
    """

    first: np.ndarray
    second: np.ndarray
    texture: str
    frequency: float
    angle: float
    contrast: float
    gradient: float
    seed: int


def draw_paint(finish: Finish, rng: np.random.Generator) -> Paint:
    """One random paint of this finish."""
    hue = rng.uniform(*finish.hue)
    saturation = rng.uniform(*finish.saturation)
    value = rng.uniform(*finish.value)
    shifted = hue + rng.uniform(-0.08, 0.08)
    darker = value * rng.uniform(0.55, 0.85) if value > 0.5 else min(1.0, value + 0.3)
    return Paint(
        first=np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value)),
        second=np.array(colorsys.hsv_to_rgb(shifted % 1, saturation, darker)),
        texture=str(rng.choice(finish.textures)),
        frequency=rng.uniform(7, 14),
        angle=rng.uniform(0, np.pi),
        contrast=rng.uniform(0.35, 0.75),
        gradient=rng.uniform(-1, 1) * finish.gradient,
        seed=int(rng.integers(2**31)),
    )


def render(labels: np.ndarray, paints: Sequence[Paint]) -> np.ndarray:
    """Paint a label map (H, W) with one paint per class: (H, W, 3) uint8."""
    height, width = labels.shape
    flat = labels.reshape(-1)
    picture = np.empty((flat.size, 3), np.float32)
    places = np.split(np.argsort(flat, kind="stable"), np.cumsum(np.bincount(flat))[:-1])
    for paint, place in zip(paints, places, strict=False):
        if len(place) == 0:
            continue
        y, x = (place // width).astype(np.float32), (place % width).astype(np.float32)
        y, x = y / height, x / width
        amount = _texture(paint, x, y) * paint.contrast
        change = (paint.second - paint.first).astype(np.float32)
        color = paint.first.astype(np.float32) + amount[:, None] * change
        top, bottom = y[0], max(y[-1], y[0] + 1e-3)
        shade = 1 + paint.gradient * ((y - top) / (bottom - top) - 0.5)
        picture[place] = color * shade[:, None]
    return (picture.reshape(height, width, 3).clip(0, 1) * 255).round().astype(np.uint8)


def shrink(picture: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Undo `SUPERSAMPLING`: the picture averaged, the labels at the nearest position."""
    size = labels.shape[0] // SUPERSAMPLING
    smaller = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    return smaller, np.ascontiguousarray(labels[::SUPERSAMPLING, ::SUPERSAMPLING])


def fill(labels: np.ndarray, corners: np.ndarray, label: int) -> None:
    """Give the polygon with corners (N, 2) of x, y in [0, 1] this label, in place."""
    pixels = np.round(np.asarray(corners) * labels.shape[0] * 16).astype(np.int32)
    cv2.fillPoly(labels, [pixels], label, shift=4)


def fill_ellipse(
    labels: np.ndarray,
    center: Sequence[float] | np.ndarray,
    radii: Sequence[float] | np.ndarray,
    label: int,
    angle: float = 0.0,
) -> None:
    """Give an ellipse this label, in place; center, radii in [0, 1], angle in radians."""
    turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    points = np.stack([radii[0] * np.cos(turn), radii[1] * np.sin(turn)], axis=1)
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    fill(labels, points @ rotation + np.asarray(center), label)


def fill_limb(
    labels: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    widths: tuple[float, float],
    label: int,
) -> None:
    """Give a rounded bar from `start` to `end` this label, in place; widths at both ends."""
    along = (end - start) / max(float(np.hypot(*(end - start))), 1e-6)
    across = np.array([-along[1], along[0]])
    first, last = widths[0] / 2, widths[1] / 2
    corners = [start + across * first, end + across * last, end - across * last]
    fill(labels, np.array([*corners, start - across * first]), label)
    fill_ellipse(labels, start, (first, first), label)
    fill_ellipse(labels, end, (last, last), label)


def _texture(paint: Paint, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Share of the second colour at positions x, y in [0, 1]."""
    turn = 2 * np.pi * paint.frequency
    if paint.texture == "stripes":
        wave = np.sin(turn * (x * np.cos(paint.angle) + y * np.sin(paint.angle)))
        return (4 * wave).clip(0, 1)
    if paint.texture == "dots":
        return (4 * np.sin(turn * x) * np.sin(turn * y) - 1.2).clip(0, 1)
    if paint.texture == "bricks":
        row = np.floor(y * 2 * paint.frequency)
        joint = np.abs(y * 2 * paint.frequency - row - 0.5) > 0.38
        along = x * paint.frequency + 0.5 * (row % 2)
        return (joint | (np.abs(along % 1 - 0.5) > 0.42)).astype(np.float32)
    if paint.texture == "grain":
        rng = np.random.default_rng(paint.seed)
        noise = rng.random((24, 24), np.float32)
        smooth = cv2.resize(noise, (96, 96), interpolation=cv2.INTER_CUBIC).clip(0, 1)
        return smooth[(y * 95).astype(np.intp), (x * 95).astype(np.intp)]
    return np.zeros_like(x)
