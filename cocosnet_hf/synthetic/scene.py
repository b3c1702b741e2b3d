"""A drawn landscape: sky, hills, a house, trees; layout and colours are drawn independently."""

from __future__ import annotations

import numpy as np

from .paint import SUPERSAMPLING, Finish, Paint, draw_paint, fill, fill_ellipse

SCENE_CLASSES = (
    "sky",
    "sun",
    "cloud",
    "hill",
    "field",
    "path",
    "wall",
    "roof",
    "door",
    "window",
    "crown",
    "trunk",
)
"""Class names of a scene's label map; the index is the label."""

SKY, SUN, CLOUD, HILL, FIELD, PATH, WALL, ROOF, DOOR, WINDOW, CROWN, TRUNK = range(12)

FINISHES = (
    Finish((0.15, 0.65), (0.65, 1.0), ("plain",), gradient=0.5),
    Finish((0.45, 0.9), (0.9, 1.0), ("plain",), hue=(-0.05, 0.17), gradient=0.05),
    Finish((0.0, 0.25), (0.85, 1.0), ("plain", "grain")),
    Finish((0.25, 0.75), (0.35, 0.75), ("plain", "grain", "stripes"), gradient=0.4),
    Finish((0.3, 0.8), (0.45, 0.85), ("plain", "grain", "stripes", "dots"), gradient=0.4),
    Finish((0.1, 0.45), (0.55, 0.95), ("plain", "grain", "dots")),
    Finish((0.05, 0.6), (0.6, 1.0), ("plain", "stripes", "bricks")),
    Finish((0.4, 0.9), (0.3, 0.8), ("plain", "bricks", "stripes")),
    Finish((0.4, 0.9), (0.2, 0.7), ("plain", "stripes")),
    Finish((0.1, 0.7), (0.75, 1.0), ("plain",)),
    Finish((0.35, 0.9), (0.3, 0.75), ("grain", "dots", "plain"), gradient=0.35),
    Finish((0.3, 0.6), (0.2, 0.5), ("plain", "grain"), hue=(0.0, 0.15)),
)


def scene_look(rng: np.random.Generator) -> list[Paint]:
    """A paint for every class, neighbours in the picture far enough apart to be told apart."""
    paints = [draw_paint(finish, rng) for finish in FINISHES]
    for first, second in ((SKY, HILL), (HILL, FIELD), (FIELD, PATH), (WALL, DOOR), (SKY, WALL)):
        for _ in range(8):
            if np.abs(paints[first].first - paints[second].first).sum() > 0.5:
                break
            paints[second] = draw_paint(FINISHES[second], rng)
    return paints


def scene_layout(rng: np.random.Generator, size: int) -> np.ndarray:
    """A label map of `SCENE_CLASSES`, (size, size) times `SUPERSAMPLING`, uint8."""
    labels = np.zeros((size * SUPERSAMPLING, size * SUPERSAMPLING), np.uint8)
    horizon = rng.uniform(0.45, 0.68)
    if rng.random() < 0.8:
        radius = rng.uniform(0.05, 0.1)
        fill_ellipse(labels, rng.uniform((0.1, 0.08), (0.9, 0.28)), (radius, radius), SUN)
    for _ in range(rng.integers(4)):
        _cloud(labels, rng)
    for _ in range(rng.integers(1, 3)):
        _ridge(labels, horizon - rng.uniform(0.02, 0.16), rng.uniform(0.03, 0.13), HILL, rng)
    _ridge(labels, horizon, rng.uniform(0.0, 0.03), FIELD, rng)

    house_x = rng.uniform(0.2, 0.8)
    things = [(base, "tree") for base in rng.uniform(horizon + 0.03, 0.95, rng.integers(1, 5))]
    if rng.random() < 0.92:
        base = rng.uniform(horizon + 0.08, min(horizon + 0.26, 0.9))
        things.append((base, "house"))
        if rng.random() < 0.7:
            _path(labels, house_x, base, rng)
    for base, thing in sorted(things):
        if thing == "tree":
            _tree(labels, rng.uniform(0.04, 0.96), base, rng)
        else:
            _house(labels, house_x, base, rng)
    return labels


def _cloud(labels: np.ndarray, rng: np.random.Generator) -> None:
    x, y = rng.uniform((0.05, 0.06), (0.95, 0.34))
    for _ in range(rng.integers(3, 6)):
        center = (x + rng.uniform(-0.1, 0.1), y + rng.uniform(-0.02, 0.02))
        fill_ellipse(labels, center, rng.uniform((0.05, 0.025), (0.1, 0.05)), CLOUD)


def _ridge(
    labels: np.ndarray, level: float, height: float, label: int, rng: np.random.Generator
) -> None:
    """Everything below a wavy line across the picture."""
    x = np.linspace(0, 1, 40)
    waves = sum(
        np.sin(2 * np.pi * (frequency * x + rng.random())) / frequency
        for frequency in (rng.uniform(0.5, 1.2), rng.uniform(1.5, 3))
    )
    line = np.stack([x, level - height * waves], axis=1)
    fill(labels, np.concatenate([line, [[1, 1], [0, 1]]]), label)


def _path(labels: np.ndarray, x: float, base: float, rng: np.random.Generator) -> None:
    """A winding way from the house's foot to the lower border."""
    down = np.linspace(0, 1, 12)
    center = x + (rng.uniform(0.1, 0.9) - x) * down**1.5
    half = 0.02 + rng.uniform(0.05, 0.13) * down
    y = base + (1 - base) * down
    left, right = np.stack([center - half, y], 1), np.stack([center + half, y], 1)
    fill(labels, np.concatenate([left, right[::-1]]), PATH)


def _box(labels: np.ndarray, left: float, top: float, right: float, low: float, label: int) -> None:
    fill(labels, np.array([[left, top], [right, top], [right, low], [left, low]]), label)


def _house(labels: np.ndarray, x: float, base: float, rng: np.random.Generator) -> None:
    half, height = rng.uniform(0.11, 0.2), rng.uniform(0.14, 0.26)
    eaves, ridge = base - height, base - height - rng.uniform(0.09, 0.18)
    if rng.random() < 0.5:
        chimney = x + rng.choice([-0.6, 0.5]) * half
        _box(labels, chimney, ridge - 0.01, chimney + 0.04, eaves, WALL)
    _box(labels, x - half, eaves, x + half, base, WALL)
    top = half * rng.choice([0.0, 0.45, 0.75])
    over = half + rng.uniform(0.015, 0.04)
    roof = [[x - over, eaves], [x - top, ridge], [x + top, ridge], [x + over, eaves]]
    fill(labels, np.array(roof), ROOF)
    door = x + rng.choice([-0.5, 0.0, 0.5]) * half
    _box(labels, door - 0.028, base - min(0.13, 0.7 * height), door + 0.028, base, DOOR)
    columns = int(rng.integers(2, 4))
    side = rng.uniform(0.022, 0.03)
    rows = [eaves + 0.06] + ([eaves + 0.14] if height > 0.21 else [])
    for y in rows:
        for column in np.linspace(-0.62, 0.62, columns) * half + x:
            if abs(column - door) > 0.06 or y + side < base - 0.14:
                _box(labels, column - side, y - side, column + side, y + side, WINDOW)


def _tree(labels: np.ndarray, x: float, base: float, rng: np.random.Generator) -> None:
    """Nearer trees, with a lower base, are larger."""
    scale = rng.uniform(0.75, 1.15) * (0.5 + base)
    width, height = 0.016 * scale, rng.uniform(0.1, 0.16) * scale
    _box(labels, x - width, base - height, x + width, base, TRUNK)
    top, shape = base - height, rng.integers(3)
    if shape == 0:
        for level in range(3):
            y, half = top + 0.03 - 0.065 * level * scale, (0.1 - 0.02 * level) * scale
            fill(labels, np.array([[x - half, y], [x, y - 0.12 * scale], [x + half, y]]), CROWN)
    elif shape == 1:
        radii = rng.uniform((0.055, 0.1), (0.085, 0.15)) * scale
        fill_ellipse(labels, (x, top - radii[1] * 0.6), radii, CROWN)
    else:
        for _ in range(6):
            center = (x, top - 0.05 * scale) + rng.uniform(-0.055, 0.055, 2) * scale
            radius = rng.uniform(0.045, 0.07) * scale
            fill_ellipse(labels, center, (radius, radius), CROWN)
