"""Segments of label maps: what they are, the memory that finds them, and how they are laid."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor

from cocosnet_hf.models import segments as segments_module
from cocosnet_hf.models.laying import arranged, laid, overlaid
from cocosnet_hf.models.segments import (
    MOST,
    SegmentBank,
    components,
    crossed,
    large_ones,
    meeting,
    overlap,
    segments_of,
)
from tests.support.tensors import normal

SIDE = 32


def disc(row: int, column: int, radius: int, label: int = 1) -> Tensor:
    """A label map (H, W) of one disc on 0."""
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    return label * ((rows - row) ** 2 + (columns - column) ** 2 <= radius**2).long()


def maps() -> Tensor:
    """Discs of three places and sizes, and a square."""
    square = torch.zeros(SIDE, SIDE, dtype=torch.long)
    square[4:20, 6:22] = 1
    return torch.stack([disc(10, 12, 6), disc(20, 20, 9), disc(16, 5, 4), square])


def photos(count: int = 4) -> Tensor:
    return normal(count, 3, SIDE, SIDE).clamp(-1, 1)


def test_components_are_the_connected_parts_of_each_class_and_of_each_picture():
    labels = torch.tensor([[[1, 1, 0], [0, 0, 1], [1, 0, 1]], [[2, 2, 2], [2, 2, 2], [2, 2, 2]]])
    found = components(labels)
    parts = {
        (picture, number) for picture in range(2) for number in found[picture].unique().tolist()
    }
    assert len(parts) == 6 and len({number for _, number in parts}) == 6
    assert found[0, 0, 2] != found[0, 1, 0]  # neighbours by a corner alone
    assert found[0, 1, 2] == found[0, 2, 2] != found[0, 2, 0]
    segments, numbers = segments_of(labels)
    assert torch.equal(numbers, found)
    for number in range(6):
        inside = numbers == number
        assert labels[inside].unique().tolist() == [segments.label[number]]
        assert segments.area[number] == pytest.approx(inside.sum().item() / 9)
        picture = int(segments.picture[number])
        assert inside[picture].any()
        rows, columns = segments.pixels(number, (3, 3))
        cropped = torch.zeros_like(inside[picture])
        cropped[rows, columns] = True
        assert not (inside[picture] & ~cropped).any()


def speckled() -> Tensor:
    """A label map of two halves, (H, W), with discs of a third class and specks of a fourth."""
    labels = (torch.arange(SIDE) >= SIDE // 2).long().expand(SIDE, SIDE).clone()
    labels[1::2, ::2] = 3
    labels[disc(8, 8, 5) + disc(24, 24, 6) > 0] = 2
    return labels


def test_of_many_specks_the_largest_parts_are_kept_and_the_rest_are_their_surroundings():
    labels = speckled()
    segments, (numbers, others) = segments_of(torch.stack([labels, maps()[0]]))
    own = (segments.picture == 0).nonzero()[:, 0]
    assert (labels == 3).sum() > 2 * MOST and len(own) == MOST
    assert torch.equal(numbers.unique(), own) and others.unique().tolist() == [MOST, MOST + 1]
    assert segments.label[MOST:].tolist() == [0, 1]
    large = own[segments.area[own] > 0.05]
    assert segments.label[large].tolist() == [0, 1, 2, 2]
    for number in large[2:].tolist():  # whole, and at most the specks at their borders more
        inside = numbers == number
        assert (labels[inside] == 2).sum() in (disc(8, 8, 5).sum(), disc(24, 24, 6).sum())
    kept = segments.label[numbers]
    assert (kept == labels)[labels != 3].all()
    lost = (labels == 3) & (kept != 3)
    assert lost.sum() == (labels == 3).sum() - (MOST - 4)
    assert (kept[lost] != 3).all()
    bank = SegmentBank.held(photos(1), labels[None])
    laid_pixels = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    for number in range(len(bank)):
        laid_pixels[segments.pixels(number, (SIDE, SIDE))] |= bank.cut(number)[1]
    assert torch.equal(laid_pixels, ~lost)  # no pixel is laid as of another class


def test_a_bank_whose_label_map_has_other_segments_by_now_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    now = {"few.png": maps()[0], "many.png": speckled()}

    def read(_: str, own: str) -> tuple[Tensor, Tensor]:
        return photos(1)[0], now[own]

    path, pairs = tmp_path / "bank.safetensors", [("a.png", "few.png"), ("b.png", "many.png")]
    with monkeypatch.context() as earlier:
        earlier.setattr(segments_module, "MOST", 1000)  # a map's segments were once all its parts
        SegmentBank.of(pairs, read).save(path)
    bank = SegmentBank.load(path, read)
    assert bank.cut(0)[1].any()
    with pytest.raises(ValueError, match=f"many.png has {MOST} segments, .* Make the bank anew"):
        bank.cut(len(bank) - 1)
    now["few.png"] = disc(10, 12, 6, label=2)  # as many of other classes
    with pytest.raises(ValueError, match="few.png has 2 segments, and the bank knows other 2"):
        SegmentBank.load(path, read).cut(0)


def test_overlap_is_intersection_over_union():
    one, other = torch.zeros(4, 4), torch.zeros(4, 4)
    one[:2], other[1:3] = 1, 1
    assert overlap(one, torch.stack([one, other, 1 - one])).tolist() == pytest.approx([1, 1 / 3, 0])


def test_a_segment_of_the_bank_finds_itself_and_another_if_its_photo_is_left_out():
    labels = maps()
    bank = SegmentBank.held(photos(), labels)
    for picture in range(len(labels)):
        query, _ = segments_of(labels[picture][None])
        found = bank.nearest(query)
        assert [int(bank.segments.picture[one.number]) for one in found] == [picture] * len(found)
        assert [one.overlap for one in found] == pytest.approx([1] * len(found))
        others = bank.nearest(query, without=picture)
        assert picture not in {int(bank.segments.picture[one.number]) for one in others}
        assert min(one.overlap for one in others) < 0.999


def test_what_is_found_has_the_class_the_shape_and_of_like_shapes_the_surroundings():
    query, _ = segments_of(disc(16, 16, 7)[None])
    bank = SegmentBank.held(photos(), maps())
    found = bank.nearest(query)[int((query.label == 1).nonzero())]
    assert bank.segments.label[found.number] == 1
    assert bank.segments.picture[found.number] != 3  # a disc, not the square
    beside = torch.stack([disc(16, 16, 7), disc(16, 16, 7)])
    beside[0][beside[0] == 0] = 2
    bank = SegmentBank.held(photos(2), beside)
    assert int(bank.segments.picture[bank.nearest(query)[1].number]) == 1
    lacking = disc(16, 16, 5, label=7)
    assert [one is None for one in bank.nearest(segments_of(lacking[None])[0])] == [False, True]


def test_the_pixels_of_a_segment_are_laid_as_they_are_and_enlarged_with_its_box():
    pictures, labels = photos(), maps()
    bank = SegmentBank.held(pictures, labels)
    query, numbers = segments_of(labels[:1])
    layers = laid(bank, bank.nearest(query), query, (SIDE, SIDE))
    for number, layer in enumerate(layers):
        inside = numbers[0] == number
        assert torch.equal(layer[3] > 0, inside)
        torch.testing.assert_close(layer[:3][:, inside], pictures[0][:, inside])
        assert not layer[:3][:, ~inside].any()
    large, _ = segments_of(disc(16, 16, 12)[None])
    layers = laid(bank, bank.nearest(large), large, (SIDE, SIDE))
    disc_layer = layers[int((large.label == 1).nonzero())]
    assert (disc_layer[3] - disc(16, 16, 12)).abs().mean() < 0.05


def two_layers() -> Tensor:
    """A red square and a blue one, which meet."""
    layers = torch.zeros(2, 4, 6, 6)
    layers[0, 0, :4, :4], layers[0, 3, :4, :4] = 1, 1
    layers[1, 2, 2:, 2:], layers[1, 3, 2:, 2:] = 1, 1
    return layers


def test_another_order_changes_what_both_cover_and_nothing_else():
    layers, labels = two_layers(), torch.tensor([1, 1])
    wanted = torch.ones(6, 6, dtype=torch.long)
    (first, filled), (second, _) = (
        overlaid(layers, order, labels, wanted) for order in ([0, 1], [1, 0])
    )
    both = layers[:, 3].prod(0) > 0
    assert torch.equal((first != second).any(0), both)
    assert torch.equal(filled[0] > 0, layers[:, 3].amax(0) > 0)
    for number, canvas in ((1, first), (0, second)):
        inside = layers[number, 3] > 0
        assert torch.equal(canvas[:, inside], layers[number, :3][:, inside])


def test_a_place_of_another_class_than_the_layouts_is_not_filled():
    layers, labels = two_layers(), torch.tensor([1, 2])
    wanted = torch.ones(6, 6, dtype=torch.long)
    canvas, filled = overlaid(layers, [0, 1], labels, wanted)
    expected = (layers[0, 3] > 0) & (layers[1, 3] == 0)
    assert torch.equal(filled[0] > 0, expected) and not canvas[:, ~expected].any()


def test_segments_lie_as_they_are_said_to_and_else_the_largest_behind():
    areas = torch.tensor([0.1, 0.5, 0.3])
    ahead = torch.zeros(3, 3, dtype=torch.bool)
    assert arranged(areas, ahead) == [1, 2, 0]
    ahead[1, 0] = True  # the largest before the smallest
    assert arranged(areas, ahead) == [2, 0, 1]
    ahead[0, 1] = True  # and behind it: a contradiction
    assert arranged(areas, ahead) == [2, 1, 0]


def test_the_class_with_more_where_two_boxes_meet_lies_in_front():
    labels = torch.zeros(8, 8, dtype=torch.long)
    labels[1:5, 1:5] = 1  # the box of 0 is everything, and 1 fills its own
    segments, numbers = segments_of(labels[None])
    one = int((segments.label == 1).nonzero())
    assert meeting(segments, torch.arange(2), numbers[0]) == [(0, 1, one)]
    labels[1:5, 1:5] = torch.eye(4).long()  # now mostly ground: parts of one pixel are alone
    segments, numbers = segments_of(labels[None])
    assert large_ones(segments, 0, 2 / 64).tolist() == [0]
    apart = torch.zeros(8, 8, dtype=torch.long)
    apart[:, 4:] = 1
    segments, numbers = segments_of(apart[None])
    assert meeting(segments, torch.arange(2), numbers[0]) == []
    rows, columns = crossed(segments, 0, 1, (8, 8))
    assert (columns.stop - columns.start) * (rows.stop - rows.start) == 0


def test_a_bank_is_saved_without_photographs_and_reads_its_files_again(tmp_path: Path):
    pictures, labels, pairs = photos(2), maps()[:2], []
    for number in range(2):
        shown = ((pictures[number] + 1) * 127.5).byte().permute(1, 2, 0).numpy()
        pairs.append((str(tmp_path / f"{number}.png"), str(tmp_path / f"{number}-map.png")))
        Image.fromarray(shown).save(pairs[-1][0])
        Image.fromarray(labels[number].byte().numpy()).save(pairs[-1][1])

    def read(photo: str, own: str) -> tuple[Tensor, Tensor]:
        colours = torch.from_numpy(np.array(Image.open(photo))).permute(2, 0, 1) / 127.5 - 1
        return colours, torch.from_numpy(np.array(Image.open(own))).long()

    bank = SegmentBank.of(pairs, read)
    bank.save(tmp_path / "bank.safetensors")
    with safe_open(tmp_path / "bank.safetensors", framework="pt") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
        assert set(file.metadata().values()) == {"\n".join(pair) for pair in pairs}
    assert not any(3 in shape for shape in shapes) and [SIDE] not in shapes
    loaded = SegmentBank.load(tmp_path / "bank.safetensors", read)
    query, _ = segments_of(labels[1:])
    assert loaded.nearest(query) == bank.nearest(query)
    for index in range(len(bank)):
        for one, other in zip(bank.cut(index), loaded.cut(index), strict=True):
            assert torch.equal(one, other)
    with pytest.raises(ValueError, match="photographs are their owners': make it of paths"):
        SegmentBank.held(pictures, labels).save(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="a bank of segments needs at least one photo"):
        SegmentBank.of([], read)
