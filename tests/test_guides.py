"""Guides lead a coherent flow where they say something, and leave the rest to the matching."""

import dataclasses
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cocosnet_hf import CoCosPipeline, MaskCondition, Matching, Pose, PoseCondition
from cocosnet_hf.coherence import CoherentFlow
from cocosnet_hf.person_reader import PERSON_CLASSES
from cocosnet_hf.propagation import Pin
from tests.support import painting, tiny
from tests.support.flows import grid
from tests.support.keypoints import SIZE, STANDING
from tests.support.paths import REPOSITORY
from tests.support.pictures import whole_picture
from tests.support.tensors import maps


def pair() -> tuple[Tensor, Tensor]:
    return tuple(maps(41, (2, 8, 12, 14), (2, 8, 11, 13)))


def cells(size: tuple[int, int], height: int, width: int) -> Tensor:
    """The middles of boxes of a grid of (height, width) cells, in cells, (*size, 2)."""
    scale = torch.tensor([width / size[1], height / size[0]])
    return (grid(*size) + 0.5) * scale - 0.5


def upper_half(size: tuple[int, int] = (12, 14)) -> Tensor:
    """A guide to the same place, a little beside it, for the upper half."""
    guide = cells(size, 12, 14) * 0.9 + 0.3
    guide[size[0] // 2 :] = torch.nan
    return guide


# In the matching


def test_where_a_guide_leads_the_flow_goes_to_its_very_place():
    content, style = pair()
    guide = upper_half()
    flow = Matching(content, style, guides=[[upper_half], [None]]).coherent()
    followed = (flow.position[0, :6] - guide[:6]).abs().amax(-1) < 1e-5
    assert followed.float().mean() > 0.9
    assert (flow.consistency[0, :6][followed] == 1).all()
    free = Matching(content, style).coherent()
    assert ((free.position[0, :6] - guide[:6]).abs().amax(-1) < 0.5).float().mean() < 0.2
    assert torch.equal(flow.position[1], free.position[1])
    assert torch.equal(flow.consistency[1], free.consistency[1])


def test_a_pinned_point_is_stronger_than_a_guide():
    content, style = pair()
    matching = Matching(content, style, guides=[[upper_half], [None]])
    flow = matching.coherent(pins=[[Pin((6, 2), (2.3, 7.6))], []])
    assert flow.position[0, 2, 6].tolist() == pytest.approx([2.3, 7.6], abs=1e-5)


def test_a_guide_leads_into_its_own_exemplar():
    content, first, second = maps(42, (1, 8, 9, 9), (8, 9, 9), (8, 7, 11))
    content[0] = content[0] + first  # most would look at the first

    def guide(size: tuple[int, int]) -> Tensor:
        return cells(size, 9, 9) * 0.7

    found = [
        Matching(content, [[first, second]], guides=[[None, one]]).coherent().exemplar
        for one in (None, guide)
    ]
    assert found[0].float().mean() < 0.1 and found[1].float().mean() > 0.9


def test_a_guide_beyond_the_exemplar_looks_at_its_border():
    content, style = maps(43, (1, 8, 8, 8), (1, 8, 8, 8))

    def guide(size: tuple[int, int]) -> Tensor:
        return cells(size, 8, 8) + torch.tensor([0.0, 3.0])

    flow = Matching(content, style, guides=[[guide]]).coherent()
    photo = torch.arange(32.0).view(1, 1, 32, 1).expand(1, 1, 32, 32)  # tells its rows
    lowest = flow.warp(photo, (32, 32))[0, 0, 28:]
    assert (lowest > 30).float().mean() > 0.9


def test_every_pixel_looks_where_its_own_guide_says():
    """Which may change within a cell."""
    content, style = maps(44, (1, 8, 8, 8), (1, 8, 8, 8))
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    photo = torch.stack([(x / 4).sin(), (y / 3).cos()])[None]

    def guide(size: tuple[int, int]) -> Tensor:
        place = cells(size, 8, 8)
        place[..., 0] += 0.4 * (place[..., 1] * 2).sin()
        place[: size[0] // 4] = torch.nan
        return place

    flow = Matching(content, style, guides=[[guide]]).coherent()
    assert flow.follows.float().mean() > 0.6
    seen = flow.warp(photo, (64, 64))
    exact = (2 * guide((64, 64)).nan_to_num() + 1) / 8 - 1
    expected = F.grid_sample(photo, exact[None], align_corners=False, padding_mode="border")
    inner = F.interpolate(flow.follows[None].float(), (64, 64), mode="bilinear")[0, 0] == 1
    assert inner.sum() > 1500
    torch.testing.assert_close(seen[..., inner], expected[..., inner])
    coarse = dataclasses.replace(flow, follows=None).warp(photo, (64, 64))
    assert (coarse - expected)[..., inner].abs().mean() > 0.02


def test_guides_go_to_other_devices_and_are_checked():
    content, style = pair()
    matching = Matching(content, style, guides=[[upper_half], [None]])
    moved = matching.to("cpu").coherent()
    assert torch.equal(moved.position, matching.coherent().position)
    with pytest.raises(
        ValueError, match=r"guides must be laid out like style, \[1, 1\], got \[1\]"
    ):
        Matching(content, style, guides=[[upper_half]])


# Pieces that turn and grow


@pytest.mark.parametrize(
    "slope", [(0.85, 0.35, -0.35, 0.85), (1.4, 0, 0, 1.4), (-0.8, 0.6, -0.6, -0.8)]
)
def test_a_piece_that_turns_or_grows_is_seen_as_one(slope: tuple[float, ...]):
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    photo = torch.stack([(x / 5).sin(), (y / 4).cos()])[None]
    a, b, c, d = slope

    def place(x: Tensor, y: Tensor, centre: float) -> Tensor:
        x, y = x - centre, y - centre
        return torch.stack([a * x + b * y, c * x + d * y], dim=-1) + centre

    cells = place(*grid(8, 8).unbind(-1), 3.5)[None]
    none = torch.ones(1, 8, 8)
    flow = CoherentFlow(cells, torch.zeros(1, 8, 8, dtype=torch.long), none, none, (((8, 8),),))
    exact = (2 * place(x, y, 31.5)[None] + 1) / 64 - 1
    expected = F.grid_sample(photo, exact, align_corners=False, padding_mode="border")
    # A cell of the border has one neighbour, which does not tell a far turn from a jump.
    inner = (flow.warp(photo, (64, 64)) - expected)[:, :, 12:52, 12:52]
    assert inner.abs().mean() < 0.005


def test_pieces_that_part_keep_their_pixels():
    """The border of a jump is a cross-fade of both sides, and no stretched pixel between them."""
    cells = grid(4, 8)[None].clone()
    cells[:, :, 4:, 0] += 8
    zeros, ones = torch.zeros(1, 4, 8, dtype=torch.long), torch.ones(1, 4, 8)
    flow = CoherentFlow(cells, zeros, ones, ones, (((4, 16),),))
    photo = torch.zeros(1, 1, 16, 64)
    photo[..., 18:46] = 1  # between the two pieces, and what the cells of a border overlap
    assert flow.warp(photo, (16, 32)).amax() == 0


# In the pipeline


@pytest.fixture(scope="module")
def pipe() -> CoCosPipeline:
    """Matches a pose with a photo alone, as the bundled one."""
    condition = PoseCondition(draw_height=64)
    matcher = tiny.correspondence(condition.channels, warp="coherent", mix_condition=False)
    painter = tiny.blending_translation(condition.channels)
    made = CoCosPipeline(matcher, painter, condition, 64, matching_scale=2)
    made.set_progress_bar_config(disable=True)
    return made


def standing(shift: float = 0.0) -> Pose:
    joints = STANDING.copy()
    joints[:, 0] = 32 + 12 * np.sin(np.arange(18)) + shift
    return Pose(joints, SIZE)


def flow_of(pipe: CoCosPipeline, *arguments: object) -> CoherentFlow:
    return pipe.match(*arguments).coherent()


def test_an_exemplars_own_pose_guides_the_matching(pipe: CoCosPipeline):
    photo = painting.photo(5, 96, 64)
    assert pipe.takes_exemplar_condition
    free, guided = (flow_of(pipe, standing(), photo, own) for own in (None, standing(8)))
    matching = pipe.match(standing(), photo, standing(8))
    (size, (other,)) = matching.grids()[0]
    landmarks = [pipe.condition.landmarks(pipe.condition.open(standing(x))) for x in (0, 8)]
    guide = pipe.condition.guide(*landmarks, other)(size)
    known = ~guide.isnan().any(-1)
    assert known.sum() > 10
    near = [(flow.position[0] - guide)[known].abs().amax(-1) < 0.01 for flow in (free, guided)]
    assert near[1].float().mean() > 0.9 > 0.2 > near[0].float().mean()
    shift = (guide - grid(*size))[known].mean(0)
    assert shift.tolist() == pytest.approx([8 / 64 * size[1], 0], abs=0.2)


def test_a_prepared_exemplar_keeps_what_guides(pipe: CoCosPipeline):
    photo = painting.photo(5, 96, 64)
    own = [standing(8), standing(-4)]
    prepared = [pipe.encode_exemplar(photo, one) for one in own]
    together = flow_of(pipe, standing(), prepared)
    for item, one in enumerate(own):
        alone = flow_of(pipe, standing(), photo, one)
        torch.testing.assert_close(together.position[item], alone.position[0], atol=1e-4, rtol=0)
    alone, moved = (flow_of(pipe, standing(), one) for one in (prepared[0], prepared[0].to("cpu")))
    assert torch.equal(moved.position, alone.position)


def test_an_encoded_pose_has_no_joints_to_guide_by(pipe: CoCosPipeline):
    photo = painting.photo(5, 96, 64)
    encoded = pipe.condition.encode(standing(), 96, 64)
    free = flow_of(pipe, encoded, photo)
    assert torch.equal(flow_of(pipe, encoded, photo, standing(8)).position, free.position)


@pytest.fixture(scope="module")
def dressing() -> CoCosPipeline:
    """Matches a mask of a dressed person with a photo alone, as the bundled one."""
    condition = MaskCondition.from_names(PERSON_CLASSES)
    matcher = tiny.correspondence(condition.channels, warp="coherent", mix_condition=False)
    painter = tiny.blending_translation(condition.channels)
    made = CoCosPipeline(matcher, painter, condition, 64, matching_scale=2)
    made.set_progress_bar_config(disable=True)
    return made


def test_a_look_without_a_mask_is_read_in_its_photo(dressing: CoCosPipeline):
    gallery = REPOSITORY / "demo" / "gallery" / "mask-to-image"
    shown = MaskCondition.from_config(json.loads((gallery / "condition.json").read_text()))
    mask, own = (shown.labels(gallery / f"{name}.png", 192, 96).numpy() for name in ("00", "03"))
    photo = whole_picture(gallery / "03.jpg")
    given, read = (flow_of(dressing, mask, photo, one) for one in (own, None))
    empty = flow_of(dressing, np.zeros((192, 96), np.uint8), photo)
    assert given.follows.float().mean() > 0.9 and read.follows.float().mean() > 0.9
    near = (given.position - read.position).abs().amax(-1) < 2
    assert near.float().mean() > 0.7
    assert not empty.follows.any()


def test_a_look_that_shows_nobody_guides_nothing(dressing: CoCosPipeline):
    mask = np.zeros((192, 96), np.uint8)
    flow = flow_of(dressing, mask, painting.photo(5, 96, 64))
    assert flow.follows is None
