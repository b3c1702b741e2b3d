"""SIMS: its terms, what each stage teaches, what is remembered, and what a call lays."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from cocosnet_hf import DistilledVGG19Features, EdgeCondition, MaskCondition
from cocosnet_hf.models.drawn import drawn
from cocosnet_hf.models.layered import moved
from cocosnet_hf.models.segments import MOST, segments_of
from cocosnet_hf.systems import SIMS, Batch, SIMSLosses, SIMSPipeline
from cocosnet_hf.systems.sims import ERASED, KEPT, LEAST_AREA
from tests.support import tiny
from tests.support.paired import CLASSES
from tests.support.phases import PlainPhases
from tests.support.tensors import normal
from tests.support.unpaired import quiet

SIDE = 32
PLAIN = SIMSLosses(perceptual=0)
STAGES = ("transformation", "ordering", "synthesis")


def made(losses: SIMSLosses = PLAIN, stage: str = "synthesis", **changes: Any) -> SIMS:
    torch.manual_seed(0)
    networks = SIMS.make_networks(CLASSES, tiny.SIMS_SETTINGS | changes)
    for network in networks.values():
        network.train()
    return SIMS(CLASSES, networks, losses, options=SIMS.Options(stage=stage))


def layouts(count: int = 2, seed: int = 0) -> Tensor:
    """Two grounds, (B, H, W), and before both a square or a disc of a third class."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    labels = (rows >= SIDE // 2).long().expand(count, -1, -1).clone()
    for plane in labels:
        middle = torch.randint(10, 22, (2,), generator=generator)
        away = torch.stack([(rows - middle[0]).abs(), (columns - middle[1]).abs()])
        disc = torch.rand((), generator=generator) < 0.5
        plane[(away.square().sum(0) < 49) if disc else (away.amax(0) < 6)] = 2
    return labels


def batch(seed: int = 0, count: int = 2, variety: float = 1.0) -> Batch:
    """Photos with a colour for each class, and texture. variety: how much each has its own."""
    labels = layouts(count, seed)
    condition = F.one_hot(labels, 3).movedim(-1, 1).float()
    mixed = variety * normal(count, 3, 3, seed=seed) + (1 - variety) * normal(1, 3, 3, seed=3)
    colours = 0.7 * mixed.clamp(-1, 1)
    texture = 0.1 * normal(count, 3, SIDE, SIDE, seed=seed + 1)
    image = torch.einsum("bkhw,bkc->bchw", condition, colours) + texture
    return Batch(image, condition, image.flip(0), condition.flip(0), torch.zeros(count))


def pipeline() -> SIMSPipeline:
    return quiet(made())


def test_the_terms_of_the_synthesis_are_the_papers_computed_plainly():
    system, given = made(SIMSLosses()), batch()
    system.perceptual = tiny.lively(DistilledVGG19Features()).requires_grad_(False)
    torch.manual_seed(4)
    canvas, filled = system.training_canvas(given, *segments_of(given.condition.argmax(1)))
    system.kept.clear()
    with torch.no_grad():
        image, scores = system.networks["synthesis"](given.condition, canvas, filled)
        maps = [system.perceptual.calibrated(one) for one in (image, given.image)]
    usual = (2.6, 4.8, 3.7, 5.6, 0.15)
    expected = {
        "pixel": 127.5 * (image - given.image).abs().mean(),
        "perceptual": sum(
            (maps[0][name] - maps[1][name]).abs().mean() / size
            for name, size in zip(maps[0], usual, strict=True)
        ),
        "labels": -10 * (scores.log_softmax(1) * given.condition).sum(1).mean(),
    }
    phases = PlainPhases(system)
    torch.manual_seed(4)
    system.step(phases, given)
    torch.testing.assert_close(phases.terms["synthesis"], expected, rtol=1e-4, atol=1e-4)
    assert phases.gradients == {"synthesis": {"synthesis"}}


def test_the_term_of_the_transformation_is_the_difference_inside_the_segment():
    system, given = made(stage="transformation"), batch()
    seen: list[tuple[Tensor, Tensor]] = []
    network = system.networks["transformation"]
    tiny.lively(network)
    network.register_forward_hook(lambda _, given, out: seen.append((given[0], out)))
    phases = PlainPhases(system)
    system.step(phases, given)
    assert phases.gradients == {"transformation": {"transformation"}}
    ((moved_layers, back),) = seen
    segments, numbers = segments_of(given.condition.argmax(1))
    wholes = (numbers[:, None] == torch.arange(len(segments.label))[:, None, None])[:, :, None]
    # Of all segments the one that was moved is the one whose colours the layers have.
    differences = []
    for item in range(2):
        possible = []
        for number in (segments.picture == item).nonzero()[:, 0].tolist():
            mask = wholes[item, number].float()
            change = ((back[item, :3] - given.image[item]).abs() * mask).sum() / (3 * mask.sum())
            possible.append((change.item(), mask.sum().item()))
        differences.append(possible)
    areas = [[area for _, area in possible] for possible in differences]
    sums = [
        (one[0] * one[1] + other[0] * other[1]) / (one[1] + other[1])
        for one in differences[0]
        for other in differences[1]
    ]
    found = phases.terms["transformation"]["warp"].item()
    assert min(abs(one - found) for one in sums) < 1e-5, (found, sums, areas)
    assert moved_layers.shape == back.shape == (2, 4, SIDE, SIDE)


def test_the_term_of_the_ordering_is_the_cross_entropy_of_the_class_in_front():
    """The third class is before the grounds: where boxes meet there is more of it."""
    system, given = made(stage="ordering"), batch()
    system.networks["ordering"].eval()  # nothing dropped
    seen: list[Tensor] = []
    system.networks["ordering"].register_forward_hook(lambda _, __, out: seen.append(out))
    phases = PlainPhases(system)
    system.step(phases, given)
    (scores,) = seen
    expected = (scores.exp().sum(1).log() - scores[:, 2]).mean()
    torch.testing.assert_close(phases.terms["ordering"]["order"], expected.detach())
    assert phases.gradients == {"ordering": {"ordering"}}
    assert system.networks["ordering"].taught


def test_the_ordering_sees_nothing_of_a_pair_where_their_boxes_meet():
    """A square all within a ground is not shown: what lies in front is to be told without it."""
    system, given = made(stage="ordering"), batch()
    labels = torch.zeros(2, SIDE, SIDE, dtype=torch.long)
    labels[:, 8:24, 4:20] = 2
    pairs: list[Tensor] = []
    system.networks["ordering"].register_forward_pre_hook(lambda _, x: pairs.append(x[0]))
    condition = F.one_hot(labels, 3).movedim(-1, 1).float()
    system.step(PlainPhases(system), replace(given, condition=condition))
    shown = drawn(condition)
    shown[:, :, 8:24, 4:20] = -1
    torch.testing.assert_close(pairs[0], shown)


@pytest.mark.parametrize("stage", STAGES)
def test_a_few_steps_on_one_batch_lower_what_a_stage_learns_from(stage: str):
    rate = {"transformation": 5e-4}.get(stage, 5e-3)
    system = made(stage=stage, ordering={**tiny.SIMS_SETTINGS["ordering"], "dropout": 0.0})
    phases, sums = PlainPhases(system, rate), []
    for _ in range(5):
        torch.manual_seed(1)
        system.kept.clear()
        system.step(phases, batch())
        sums.append(sum(phases.terms[stage].values()).item())
    assert sums[2] < sums[0] and sums[4] < sums[0]


def test_a_canvas_is_the_photo_without_stripes_along_its_borders():
    """Nothing was seen before: nothing is cut, and no colours are changed."""
    given = batch()
    labels = given.condition.argmax(1)
    canvas, filled = made().training_canvas(given, *segments_of(labels))
    torch.testing.assert_close(canvas, given.image * filled)
    stripe = round(ERASED * SIDE / 2) + 1
    column = filled[0, 0, :, 0]
    assert labels[0, :, 0].tolist() == [0] * 16 + [1] * 16
    assert column.tolist() == [1] * (16 - stripe) + [0] * (2 * stripe) + [1] * (16 - stripe)


def test_specks_that_a_call_leaves_out_are_holes_of_the_training_canvas_too():
    labels = layouts(1)[0].repeat_interleave(2, 0).repeat_interleave(2, 1)
    labels[::2, ::2] = torch.where(labels[::2, ::2] == 0, 2, labels[::2, ::2])
    condition = F.one_hot(labels, 3).movedim(-1, 0).float()[None]
    colours = torch.tensor([-0.5, 0.1, 0.9])[labels].expand(1, 3, -1, -1)
    given = Batch(colours, condition, colours, condition, torch.zeros(1))
    segments, numbers = segments_of(labels[None])
    left_out = segments.label[numbers] != labels
    assert left_out.sum() > 3 * MOST
    system = made()
    canvas, filled = system.training_canvas(given, segments, numbers)
    assert not filled[:, 0][left_out].any() and filled.any()
    assert not canvas[left_out[:, None].expand_as(canvas)].any()
    spread, mean = system.kept[0][1][-1]  # of the ground's own colours, none of its specks'
    assert (mean + 0.5).abs().max() < 1e-5 and spread.max() < 0.01


def test_a_large_segment_is_cut_by_a_mask_that_its_class_had_and_may_take_its_colours():
    system, given = made(), batch()
    plain, filled = made().training_canvas(given, *segments_of(given.condition.argmax(1)))
    mask = torch.zeros(16, 16)
    mask[:, :8] = 1
    stats = torch.tensor([[0.01] * 3, [0.9] * 3])
    system.kept = {0: (mask[None], stats[None])}
    recoloured = []
    for seed in range(12):
        torch.manual_seed(seed)
        system.kept = {0: (mask[None], stats[None])}
        canvas, cut = system.training_canvas(given, *segments_of(given.condition.argmax(1)))
        ground = (given.condition[:, :1] > 0) & (filled > 0)
        assert not cut[..., SIDE // 2 :][ground[..., SIDE // 2 :]].any()
        assert torch.equal(cut[~ground], filled[~ground])
        left = ground & (cut > 0)
        assert left.any()
        for item in range(2):
            inside = left[item].expand(3, -1, -1)
            if torch.equal(canvas[item][inside], plain[item][inside]):
                recoloured.append(0)
            else:
                assert (canvas[item][inside] - 0.9).abs().max() < 0.1
                recoloured.append(1)
    assert 0 < sum(recoloured) < 12


def test_masks_and_colours_are_remembered_the_latest_and_are_part_of_the_state():
    system, given = made(), batch()
    for _ in range(KEPT // 2 + 3):
        system.training_canvas(given, *segments_of(given.condition.argmax(1)))
    segments, _ = segments_of(given.condition.argmax(1))
    large = segments.label[segments.area > LEAST_AREA].unique().tolist()
    assert sorted(system.kept) == sorted(large)
    assert {len(masks) for masks, _ in system.kept.values()} == {KEPT}
    assert torch.equal(system.kept[2][0][-1], segments.masks[segments.label == 2][-1])
    other = made()
    other.load_state_dict(system.state_dict())
    drawn, new = [], batch(5)
    for one in (system, other, made()):
        torch.manual_seed(3)
        drawn.append(one.training_canvas(new, *segments_of(new.condition.argmax(1)))[1])
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_the_networks_that_do_not_learn_stay_as_they_are():
    for stage in STAGES:
        system = made(stage=stage)
        assert set(system.frozen) == set(STAGES) - {stage}
        phases = PlainPhases(system)
        system.step(phases, batch())
        assert list(phases.terms) == [stage]


@pytest.mark.slow
def test_what_was_moved_is_brought_back_because_it_was_taught():
    system = made(
        stage="transformation", transformation={"widths": [8, 16, 16], "depths": [1, 1, 1]}
    )
    phases = PlainPhases(system, 1e-3)

    def error(seed: int) -> float:
        """Inside a segment that was moved to one side, after the network."""
        given = batch(seed, 4)
        mask = (given.condition[:, 2:] > 0).float()
        layers = torch.cat([given.image * mask, mask], 1)
        shift = torch.tensor([[1.0, 0, 0.2], [0, 1, 0]]).expand(4, -1, -1)
        with torch.no_grad():
            back = system.networks["transformation"](moved(layers, shift), given.condition)
        return ((back[:, :3] - given.image).abs() * mask).mean().item()

    before = error(90)
    for step in range(120):
        torch.manual_seed(step)
        system.step(phases, batch(step, 4))
    assert error(90) < 0.85 * before


@pytest.mark.slow
def test_holes_are_filled_and_labels_told_better_than_by_what_the_canvas_alone_says():
    system = made(synthesis={"widths": [8, 16], "depths": [1, 1], "decoder_widths": [16, 16, 8]})
    phases = PlainPhases(system, 1e-2)
    for step in range(100):
        torch.manual_seed(step)
        system.step(phases, batch(step, 4, 0.3))
    given = batch(900, 8, 0.3)
    canvas, filled = system.training_canvas(given, *segments_of(given.condition.argmax(1)))
    network = system.networks["synthesis"].eval()
    with torch.no_grad():
        image, scores = network(given.condition, canvas, filled)
    holes = (filled == 0).expand(-1, 3, -1, -1)
    assert holes.any()
    mean = given.image.mean((2, 3), keepdim=True).expand_as(image)
    mean_error = (mean - given.image)[holes].abs().mean()
    assert (image - given.image)[holes].abs().mean() < 0.8 * mean_error
    told = (scores.argmax(1) == given.condition.argmax(1)).float().mean()
    most = given.condition.mean((2, 3)).amax(1).mean()  # in holes a canvas says nothing
    assert told > max(0.9, most.item())


@torch.no_grad()
def test_a_layout_of_its_own_photo_is_laid_whole_and_says_of_what():
    pipe, given = pipeline(), batch()
    pipe.transformation.map.weight.zero_()
    pipe.transformation.map.bias.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0]))
    photos = (given.image + 1) / 2
    out = pipe(given.condition, photos.clamp(0, 1), given.condition, output_type="pt")
    assert out.images.shape == (2, 3, SIDE, SIDE)
    assert out.filled.all()
    torch.testing.assert_close(out.canvases, photos.clamp(0, 1))
    assert [len(order) for order in out.orders] == [3, 3]
    assert all(
        (photo, round(likeness, 5)) == (0, 1)
        for found in out.segments
        for _, photo, likeness in found
    )
    other = pipe(
        given.condition, photos.clamp(0, 1).flip(0), given.condition.flip(0), output_type="pt"
    )
    assert (other.canvases - out.canvases).abs().max() > 0.1
    assert (other.images - out.images).abs().max() > 1e-3


@torch.no_grad()
def test_a_taught_order_decides_what_lies_in_front():
    """Two segments that cover each other: the class with the higher score is seen."""
    pipe = pipeline()
    front = pipe.ordering.classes[-1]
    labels = torch.zeros(SIDE, SIDE, dtype=torch.long)
    labels[:, 16:] = 1
    labels[8:24, 8:24] = 2
    bank_labels = torch.zeros(SIDE, SIDE, dtype=torch.long)
    bank_labels[:, 8:] = 1  # of the query's box its half is covered by 2
    bank_labels[8:24, 10:30] = 2
    condition, own = (F.one_hot(x, 3).permute(2, 0, 1).float() for x in (labels, bank_labels))
    photo = torch.rand(3, SIDE, SIDE)
    covered = []
    for winner in (1, 2):
        pipe.ordering.taught.fill_(True)
        front.weight.zero_()
        front.bias.copy_(F.one_hot(torch.tensor(winner), 3).float())
        out = pipe(condition, photo, own, output_type="pt")
        names = [out.segments[0][n][0] for n in out.orders[0]]
        covered.append(names.index(1) < names.index(2))
    assert covered == [False, True]


@torch.no_grad()
def test_a_layout_of_hundreds_of_specks_is_laid_of_the_largest_and_its_specks_are_holes():
    pipe, given = pipeline(), batch(count=1)
    moves: list[int] = []
    pipe.transformation.register_forward_hook(lambda *_: moves.append(1))
    photo = (given.image.clamp(-1, 1) + 1) / 2
    labels = layouts(1)[0].repeat_interleave(2, 0).repeat_interleave(2, 1)
    specks = torch.zeros_like(labels, dtype=torch.bool)
    specks[::2, ::2] = labels[::2, ::2] == 0
    labels[specks] = 2
    layout = F.one_hot(labels, 3).permute(2, 0, 1).float()
    out = pipe(layout, photo, given.condition, output_type="pt")
    assert specks.sum() > 4 * MOST
    assert len(out.orders[0]) == len(out.segments[0]) == len(moves) == MOST
    assert out.images.isfinite().all()
    assert (out.filled[0, 0] == 0)[specks].sum() >= specks.sum() - MOST


def test_a_bank_of_many_photos_and_its_files(tmp_path: Path):
    pipe, given = pipeline(), batch(count=4)
    pairs = []
    for number in range(4):
        shown = ((given.image[number].clamp(-1, 1) + 1) * 127.5).byte().permute(1, 2, 0).numpy()
        labels = given.condition[number].argmax(0).byte().numpy()
        pair = tmp_path / f"{number}.png", tmp_path / f"{number}-map.png"
        Image.fromarray(shown).save(pair[0])
        Image.fromarray(labels).save(pair[1])
        pairs.append([str(one) for one in pair])
    photos, conditions = zip(*pairs, strict=True)
    bank = pipe.bank_of(list(photos), list(conditions))
    out = pipe(conditions[2], bank=bank)
    assert {photo for _, photo, _ in out.segments[0]} == {2}
    bank.save(tmp_path / "bank.safetensors")
    again = pipe(conditions[2], bank=pipe.open_bank(tmp_path / "bank.safetensors"))
    assert np.array_equal(np.asarray(again.images[0]), np.asarray(out.images[0]))
    with pytest.raises(ValueError, match="one label map for each of the 4 photos, got 3"):
        pipe.bank_of(list(photos), list(conditions)[:3])
    pipe.save_pretrained(tmp_path / "saved")
    assert not [path for path in (tmp_path / "saved").rglob("*") if "bank" in path.name]


@torch.no_grad()
def test_a_class_that_the_bank_lacks_is_a_hole_and_one_class_alone_is_painted_and_learned_from():
    pipe, given = pipeline(), batch(count=1)
    alone = torch.zeros(1, 3, SIDE, SIDE)
    alone[:, 0] = 1
    photo = (given.image.clamp(-1, 1) + 1) / 2
    out = pipe(given.condition, photo, alone, output_type="pt")
    assert not out.filled[given.condition[:, 1:].sum(1, keepdim=True) > 0].any()
    assert [photo for _, photo, _ in out.segments[0]].count(None) == 2
    assert pipe(alone, photo, given.condition, output_type="pt").images.isfinite().all()
    with torch.enable_grad():
        for stage in STAGES:
            system = made(stage=stage)
            phases = PlainPhases(system, 1e-3)
            two = batch()
            system.step(phases, replace(two, condition=alone.expand(2, -1, -1, -1)))
            assert all(value.isfinite() for value in phases.terms[stage].values())


def test_input_that_cannot_be_laid_is_refused():
    pipe, given = pipeline(), batch(count=1)
    photo = (given.image.clamp(-1, 1) + 1) / 2
    for how in ({}, {"exemplar": photo}, {"exemplar_condition": given.condition}):
        with pytest.raises(ValueError, match="pass an exemplar with its own label map as exemplar"):
            pipe(given.condition, **how)
    with pytest.raises(ValueError, match="it needs a label map, .* got edge"):
        SIMS.make_networks(EdgeCondition(), tiny.SIMS_SETTINGS)
    with pytest.raises(ValueError, match="the exemplars' own label maps"):
        made().generate(made().networks, replace(batch(), exemplar_condition=None))
    for stage, weights in {
        "transformation": {"warp": 0},
        "synthesis": {"pixel": 0, "perceptual": 0, "labels": 0},
    }.items():
        with pytest.raises(ValueError, match=f"sims's stage {stage} learns from"):
            SIMS.require_known({}, SIMSLosses(**weights), "", SIMS.Options(stage=stage))
    with pytest.raises(ValueError, match="decoder_widths must be 3, one more than widths, got 2"):
        made(synthesis={"widths": [4, 8], "depths": [1, 1], "decoder_widths": [8, 4]})
    with pytest.raises(ValueError, match="widths and depths say the same groups"):
        made(ordering={"widths": [4, 8], "depths": [1]})
    assert isinstance(CLASSES, MaskCondition)
