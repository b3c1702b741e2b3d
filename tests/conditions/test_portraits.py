"""The parts of two faces lie on one another, and what is no face does not guide."""

import dataclasses
import pickle

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from cocosnet_hf import EdgeCondition
from cocosnet_hf.conditions import are_alike
from cocosnet_hf.conditions.base import Landmarks
from cocosnet_hf.conditions.faces import CELEBAMASK_FACE_CLASSES
from cocosnet_hf.conditions.portraits import (
    REGIONS,
    points_of,
    portrait_guide,
)
from tests.support.paths import REPOSITORY
from tests.support.pictures import whole_picture

SIDE = 160
GRID = (40, 40)
GUIDED = EdgeCondition(guided=True)
FACES = sorted((REPOSITORY / "demo" / "gallery" / "edge-to-face").glob("[0-9][0-9].jpg"))
NUMBER = {name: number for number, name in enumerate(CELEBAMASK_FACE_CLASSES)}

SHAPES = (  # part, middle and half axes in shares of the head's height
    ("cloth", (0, 1.0), (0.9, 0.35)),
    ("neck", (0, 0.55), (0.2, 0.3)),
    ("hair", (0, -0.1), (0.5, 0.55)),
    ("skin", (0, 0.05), (0.36, 0.45)),
    ("l_brow", (-0.15, -0.12), (0.1, 0.025)),
    ("r_brow", (0.15, -0.12), (0.1, 0.025)),
    ("l_eye", (-0.15, -0.05), (0.08, 0.035)),
    ("r_eye", (0.15, -0.05), (0.08, 0.035)),
    ("nose", (0, 0.08), (0.07, 0.12)),
    ("u_lip", (0, 0.265), (0.15, 0.04)),
    ("l_lip", (0, 0.3), (0.14, 0.04)),
    ("mouth", (0, 0.28), (0.1, 0.015)),
)


def face(across: float, down: float, height: float, width: float = 1.0) -> np.ndarray:
    """The parts of a face whose middle lies there, all in shares of the picture."""
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE
    parts = np.zeros((SIDE, SIDE), np.uint8)
    for name, (right, below), (wide, high) in SHAPES:
        from_middle = (x - across) / height / width - right, (y - down) / height - below
        inside = (from_middle[0] / wide) ** 2 + (from_middle[1] / high) ** 2 < 1
        parts[inside] = NUMBER[name]
    return parts


def landmarks(parts: np.ndarray) -> Landmarks:
    """As of a picture that is read so."""
    region = {NUMBER[name]: k for k, names in enumerate(REGIONS) for name in names}
    labels = torch.tensor([[region[part] for part in row] for row in parts.tolist()])
    return Landmarks(torch.from_numpy(points_of(parts)), labels.short(), is_read=True)


def test_points_move_with_the_face():
    small, large = points_of(face(0.5, 0.5, 0.4)), points_of(face(0.45, 0.55, 0.6, 0.9))
    moved = (small - 0.5) * (0.6 / 0.4) * (0.9, 1) + (0.45, 0.55)
    assert not np.isnan(small).any() and abs(large - moved).max() < 0.03


def test_every_part_looks_at_its_like():
    own, exemplar = face(0.5, 0.5, 0.55), face(0.45, 0.52, 0.45, 1.1)
    guide = portrait_guide(landmarks(own), landmarks(exemplar), GRID)((SIDE, SIDE)).numpy()
    column, row = ((guide + 0.5) * SIDE / GRID[0]).clip(0, SIDE - 1).astype(int).transpose(2, 0, 1)
    seen = exemplar[row, column]
    assert (seen == own).mean() > 0.95
    for name, *_ in SHAPES:
        assert (seen == own)[own == NUMBER[name]].mean() > 0.6, name


def test_of_the_exemplar_only_what_was_read_without_doubt_is_looked_at():
    own, exemplar = face(0.5, 0.5, 0.55), landmarks(face(0.45, 0.52, 0.45, 1.1))
    right = torch.arange(SIDE) > SIDE // 2
    doubted = dataclasses.replace(exemplar, sure=~right.expand(SIDE, SIDE))
    columns = portrait_guide(landmarks(own), doubted, GRID)((SIDE, SIDE))[..., 0]
    assert columns.max() <= GRID[1] / 2


def test_the_network_doubts_at_the_borders_of_regions():
    found = EdgeCondition(guided=True).landmarks_in(FACES[0])
    regions, sure = found.labels.numpy(), found.sure.numpy()
    inside = np.ones_like(sure)
    for region in np.unique(regions):
        there = (regions == region).astype(np.uint8)
        inside &= (there == 0) | (cv2.erode(there, np.ones((5, 5), np.uint8)) > 0)
    assert sure[inside].mean() > 0.85 and sure[~inside].mean() < sure[inside].mean() - 0.2


def test_what_the_exemplar_lacks_looks_where_the_spline_leads():
    own, bald = face(0.5, 0.5, 0.5), face(0.5, 0.5, 0.5)
    bald[bald == NUMBER["hair"]] = 0
    guide = portrait_guide(landmarks(own), landmarks(bald), GRID)((SIDE, SIDE))
    hair = torch.from_numpy(own == NUMBER["hair"])
    middles = (torch.stack(torch.meshgrid(*2 * (torch.arange(SIDE),), indexing="xy"), -1)) / 4
    away = (guide[hair] - (middles - 0.375)[hair]).abs()
    assert not away.isnan().any() and away.median() < 1.5


def test_without_a_face_in_both_nothing_guides():
    nobody, somebody = (landmarks(parts) for parts in (face(0.5, 0.5, 0.01), face(0.5, 0.5, 0.5)))
    assert nobody.points.isnan().all() and not somebody.points.isnan().any()
    for pair in ((nobody, somebody), (somebody, nobody)):
        assert portrait_guide(*pair, GRID)((40, 40)).isnan().all()


def test_a_face_that_is_a_line_does_not_guide():
    thin = np.zeros((SIDE, SIDE), np.uint8)
    for rows, name in (((40, 60), "l_eye"), ((70, 90), "nose"), ((100, 120), "mouth")):
        thin[slice(*rows), 80] = NUMBER[name]
    line, somebody = landmarks(thin), landmarks(face(0.5, 0.5, 0.5))
    assert not line.points.isnan().all()
    for pair in ((line, somebody), (somebody, line), (line, line)):
        assert portrait_guide(*pair, GRID)((40, 40)).isnan().all()


@pytest.mark.parametrize("size", [(256, 192), (1024, 768)])
def test_the_same_face_stays_where_it_is_up_to_the_border(size: tuple[int, int]):
    same = landmarks(face(0.5, 0.45, 0.6))
    guide = portrait_guide(same, same, GRID)(size)
    y, x = torch.meshgrid(*(torch.arange(length) for length in size), indexing="ij")
    middles = torch.stack([(x + 0.5) / size[1], (y + 0.5) / size[0]], dim=-1) * 40 - 0.5
    away = (guide - middles).norm(dim=-1)
    assert away.quantile(0.9) < 0.01  # cells; what is at a region's border is mirrored
    assert away[0].median() < 0.01 and away[:, -1].median() < 0.01


def test_landmarks_without_labels_are_refused():
    somebody = landmarks(face(0.5, 0.5, 0.5))
    with pytest.raises(ValueError, match="these have none"):
        portrait_guide(Landmarks(somebody.points), somebody, GRID)


def test_a_mirrored_photo_has_its_eyes_exchanged():
    photo = whole_picture(FACES[0])
    seen, mirrored = (
        GUIDED.landmarks_in(one).points
        for one in (photo, photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    )
    eyes = seen[[2, 5]], mirrored[[5, 2]] * torch.tensor([-1.0, 1.0]) + torch.tensor([1.0, 0.0])
    assert (eyes[0] - eyes[1]).abs().max() < 0.03


@pytest.mark.parametrize("path", FACES[:4], ids=lambda path: path.stem)
def test_a_photo_and_its_edges_show_the_same_points(path):
    seen, read = GUIDED.landmarks_in(path), GUIDED.landmarks(GUIDED.open(path))
    away = (seen.points - read.points).norm(dim=1)
    assert away.isnan().float().mean() < 0.3 and away.nanmedian() < 0.03


def test_only_guided_edges_have_landmarks():
    plain, encoded = EdgeCondition(), EdgeCondition().encode(whole_picture(FACES[0]), 256, 256)
    assert plain.landmarks(encoded) is None and plain.landmarks_in(FACES[0]) is None
    assert not plain.has_landmarks and GUIDED.has_landmarks and not GUIDED.unguided().has_landmarks
    assert EdgeCondition.from_config(GUIDED.to_config()) == GUIDED
    opened = GUIDED.landmarks(GUIDED.open(whole_picture(FACES[0])))
    assert (GUIDED.landmarks(encoded).labels == opened.labels).float().mean() > 0.95
    with pytest.raises(ValueError, match="must have shape"):
        GUIDED.landmarks(encoded[:1])
    older = {key: value for key, value in plain.to_config().items() if key != "guided"}
    assert EdgeCondition.from_config(older) == plain


def test_drawn_lines_guide_as_edges_do():
    # Strokes of an untrained hand: two pixels wide.
    lines = EdgeCondition(sigma=1.5).lines(whole_picture(FACES[0])).astype(np.uint8)
    strokes = cv2.dilate(lines, np.ones((2, 2), np.uint8)) > 0
    drawn = GUIDED.landmarks(GUIDED.open({"edges": strokes}))
    away = (drawn.points - GUIDED.landmarks_in(FACES[0]).points).norm(dim=1)
    assert away.isnan().float().mean() < 0.3 and away.nanmedian() < 0.04


def test_what_guides_goes_to_workers_and_comes_back():
    again = pickle.loads(pickle.dumps((GUIDED, GUIDED.landmarks_in(FACES[0]))))
    assert again[0] == GUIDED and not again[1].points.isnan().all()


def test_conditions_are_alike_whatever_guides():
    assert are_alike(GUIDED, EdgeCondition())
    assert not are_alike(GUIDED, EdgeCondition(sigma=2.0))
