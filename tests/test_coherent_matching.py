"""The coherent matching of several exemplars equals plain loops over the whole correlation."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cocosnet_hf import Matching
from cocosnet_hf.coherence import CoherentFlow
from cocosnet_hf.propagation import FARTHEST, SMOOTHNESS, SUBCELL_TEMPERATURE
from tests.support.flows import grid, normalized_patches, plain_crowding, same
from tests.support.tensors import maps

pytestmark = pytest.mark.usefixtures("correlations_kept")


def flows_agree(found: CoherentFlow, expected: CoherentFlow) -> None:
    assert torch.equal(found.exemplar, expected.exemplar)
    for name in ("position", "score", "consistency"):
        same(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("patch_size", [1, 3])
def test_a_known_translation_is_found_exactly(patch_size: int):
    style, photo = maps(1, (2, 32, 9, 11), (2, 3, 36, 44))
    content = style[:, :, 2:8, 3:10]
    flow = Matching(content, style, patch_size=patch_size).coherent()
    same(flow.position, grid(6, 7).expand(2, -1, -1, -1) + torch.tensor([3.0, 2.0]), 1e-3)
    same(flow.warp(photo, (24, 28)), photo[:, :, 8:32, 12:40], 5e-3)


def test_pieces_of_several_exemplars_are_found_in_the_right_one():
    first, second = maps(3, (32, 6, 7), (32, 9, 5))
    content = torch.cat([first[:, 1:6, :3], second[:, 2:7, 1:5]], dim=2)[None]
    pictures = maps(4, (3, 24, 28), (3, 36, 20))
    flow = Matching(content, [[first, second]], patch_size=1).coherent()
    assert torch.equal(flow.exemplar[0], (torch.arange(7) >= 3).long().expand(5, 7))
    same(flow.position[0, :, :3], grid(5, 3) + torch.tensor([0.0, 1.0]), 1e-3)
    same(flow.position[0, :, 3:], grid(5, 4) + torch.tensor([1.0, 2.0]), 1e-3)
    warped = flow.warp([pictures], (20, 28))[0]
    same(warped[:, :, :10], pictures[0][:, 4:24, :10], 5e-3)  # one half cell off the seam
    same(warped[:, :, 14:], pictures[1][:, 8:28, 6:20], 5e-3)


def test_an_item_of_a_batch_equals_the_item_alone():
    content, first, second, third = maps(5, (2, 6, 5, 6), (6, 4, 7), (6, 6, 3), (6, 5, 5))
    nested = [[first, second], [second, third, first]]
    together = Matching(content, nested).coherent()
    for item, styles in enumerate(nested):
        alone = Matching(content[item : item + 1], [styles]).coherent()
        assert torch.equal(together.exemplar[item], alone.exemplar[0])
        for name in ("position", "score", "consistency"):
            same(getattr(together, name)[item], getattr(alone, name)[0])
        assert together.grids[item] == alone.grids[0]
        photos = maps(6, *((3, 4 * style.shape[1], 4 * style.shape[2]) for style in styles))
        other = maps(7, *((3, 8, 8) for _ in nested[1 - item]))
        both = [photos, other] if item == 0 else [other, photos]
        same(together.warp(both, (20, 24))[item], alone.warp([photos], (20, 24))[0])


def test_items_whose_exemplars_differ_in_size_are_warped_from_one_tensor():
    content, first, second = maps(8, (2, 6, 5, 6), (6, 4, 7), (6, 6, 3))
    (photos,) = maps(9, (2, 3, 16, 16))
    flow = Matching(content, [[first], [second]]).coherent()
    warped = flow.warp(photos, (10, 12))
    same(warped, flow.warp([[photo] for photo in photos], (10, 12)))
    alone = Matching(content[1:], second[None]).coherent()
    same(warped[1:], alone.warp(photos[1:], (10, 12)))


@pytest.mark.parametrize("tile_memory", [1, 20_000, None])
def test_the_size_of_the_tiles_changes_nothing(tile_memory: int | None):
    content, style = maps(10, (1, 6, 7, 6), (1, 6, 5, 8))
    found = Matching(content, style, tile_memory=tile_memory).coherent()
    flows_agree(found, Matching(content, style).coherent())


@pytest.mark.parametrize("region", [-1, 7])
def test_a_region_that_no_exemplar_has_and_one_of_minus_one_look_anywhere(region: int):
    content, style = maps(12, (1, 8, 6, 7), (1, 8, 5, 9))
    own = torch.full((1, 6, 7), region)
    other = torch.zeros(1, 5, 9, dtype=torch.long)
    matching = Matching(content, style, content_regions=own, style_regions=other)
    flows_agree(matching.coherent(), Matching(content, style).coherent())


def test_a_region_of_the_second_exemplar_leads_to_it():
    content, first, second = maps(13, (1, 8, 4, 5), (8, 4, 5), (8, 3, 6))
    content[0] = first  # without regions all would look at the first
    regions = [torch.zeros(4, 5, dtype=torch.long), torch.ones(3, 6, dtype=torch.long)]
    own = torch.ones(1, 4, 5, dtype=torch.long)
    matching = Matching(content, [[first, second]], content_regions=own, style_regions=[regions])
    assert (matching.coherent().exemplar == 1).all()
    assert not Matching(content, [[first, second]]).coherent().exemplar.any()


# Agreement of neighbours


def test_coherence_removes_the_isolated_outliers_of_the_best_match():
    (style,) = maps(14, (1, 64, 9, 10))
    content = style.clone()
    unit = F.normalize(style - style.mean(1, keepdim=True), dim=1)
    for (x, y), (far_x, far_y) in {(2, 2): (8, 7), (6, 3): (1, 8), (4, 6): (9, 0)}.items():
        content[0, :, y, x] = 0.68 * unit[0, :, y, x] + 0.73 * unit[0, :, far_y, far_x]
    matching = Matching(content, style, patch_size=1, stride=1)
    off = (matching.flow()[0] - grid(9, 10)).abs().sum(-1) > 0
    assert off.sum() == 3
    same(matching.coherent().position[0], grid(9, 10), 0.02)
    alone = matching.coherent(smoothness=0, stiffness=0).position[0].round()
    same(alone, matching.flow()[0])


def reference(
    content: Tensor, styles: list[Tensor], patch_size: int, rounds: int, smoothness: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Exemplar (h, w), position (h, w, 2), score and consistency (h, w), by N x N and loops."""
    height, width = content.shape[-2:]
    left = normalized_patches(content, patch_size)
    correlation = [
        (left @ normalized_patches(style, patch_size).t()).view(height, width, *style.shape[-2:])
        for style in styles
    ]

    crowding = plain_crowding(correlation)
    less_crowded = [part - lost for part, lost in zip(correlation, crowding, strict=True)]

    def onto(side: int, x: int, y: int) -> tuple[int, int]:
        rows, columns = styles[side].shape[-2:]
        return min(max(x, 0), columns - 1), min(max(y, 0), rows - 1)

    def around(x: int, y: int) -> list[tuple[int, int]]:
        """The cell and its neighbours, those beyond the border moved onto it."""
        near = [(x + a, y + d) for d, a in itertools.product((-1, 0, 1), repeat=2) if a or d]
        near = [(min(max(i, 0), width - 1), min(max(j, 0), height - 1)) for i, j in near]
        return [(x, y), *near]

    grid = list(itertools.product(range(height), range(width)))
    state = {}
    for y, x in grid:
        best = [part[y, x].max() for part in less_crowded]
        side = int(torch.stack(best).argmax())
        row, column = divmod(int(less_crowded[side][y, x].argmax()), styles[side].shape[-1])
        state[x, y] = side, column - x, row - y
    for _ in range(rounds):
        renewed = {}
        for y, x in grid:
            near = [state[place] for place in around(x, y)]
            energies = []
            for side, across, down in near:
                column, row = onto(side, x + across, y + down)
                apart = [
                    min(FARTHEST, abs(column - x - other[1]) + abs(row - y - other[2]))
                    if other[0] == side
                    else FARTHEST
                    for other in near
                ]
                score = less_crowded[side][y, x, row, column].item()
                energy = score - smoothness * sum(apart) / 9
                energies.append((energy, (side, column - x, row - y)))
            renewed[x, y] = max(energies, key=lambda pair: pair[0])[1]
        if renewed == state:
            break
        state = renewed
    exemplar = torch.zeros(height, width, dtype=torch.long)
    position, score, consistency = (torch.zeros(height, width, n).squeeze(-1) for n in (2, 1, 1))
    for y, x in grid:
        side, across, down = state[x, y]
        column, row = x + across, y + down
        here = correlation[side][y, x]
        exemplar[y, x], score[y, x] = side, here[row, column]
        places, shares = [], []
        for d, a in itertools.product((-1, 0, 1), repeat=2):
            i, j = onto(side, column + a, row + d)
            places.append(torch.tensor([i, j]).float())
            over = (here[j, i] - here[row, column]).clamp_max(0) / SUBCELL_TEMPERATURE
            shares.append(over.exp())
        shares = torch.stack(shares)
        position[y, x] = (shares[:, None] * torch.stack(places)).sum(0) / shares.sum()
        back = correlation[side][:, :, row, column].flatten().argmax()
        away = (back % width - x) ** 2 + (back // width - y) ** 2
        consistency[y, x] = (-away / 8).exp()
    return exemplar, position, score, consistency


@pytest.mark.parametrize(
    ("patch_size", "rounds", "smoothness", "seed"),
    [
        (3, 8, SMOOTHNESS, 0),
        (3, 1, SMOOTHNESS, 1),
        (1, 8, SMOOTHNESS, 2),
        (1, 2, SMOOTHNESS, 3),
        (1, 8, 0.3, 23),  # cells that change twice
        (1, 8, 0.3, 86),
    ],
)
def test_it_equals_plain_loops_over_the_whole_correlation(
    patch_size: int, rounds: int, smoothness: float, seed: int
):
    content, first, second = maps(20 + seed, (1, 4, 6, 7), (4, 5, 8), (4, 7, 4))
    # Parts that agree a little, so that there is something to propagate: of displacements that
    # differ by much, or that are the same in both exemplars.
    if seed % 2:
        content[0, :, 1:5, 1:5] += first[:, 0:4, 2:6]
        content[0, :, :, 4:] += second[:, :6, :3]
    else:
        content[0, :, :5, :] += first[:, :, :7]
        content[0, :, :, :4] += second[:, :6, :]
    matching = Matching(content, [[first, second]], patch_size=patch_size)
    flow = matching.coherent(rounds=rounds, smoothness=smoothness, stiffness=0)
    found = (flow.exemplar[0], flow.position[0], flow.score[0], flow.consistency[0])
    expected = reference(content[0], [first, second], patch_size, rounds, smoothness)
    assert torch.equal(found[0], expected[0])
    assert set(found[0].unique().tolist()) == {0, 1}
    for ours, plain in zip(found[1:], expected[1:], strict=True):
        same(ours, plain, 1e-4)


def test_a_match_between_the_cells_is_found_between_them():
    frequencies, phases = maps(15, (256, 2), (256,))

    def waves(shift: tuple[float, float]) -> Tensor:
        places = grid(8, 9) + torch.tensor(shift)
        return (0.7 * places @ frequencies.t() + 3 * phases).cos().movedim(-1, 0)[None]

    for shift in ((0.5, 0.0), (0.0, 0.5), (0.0, 0.0)):
        flow = Matching(waves(shift), waves((0.0, 0.0)), patch_size=1).coherent()
        inner = flow.position[0, 1:-1, 1:-1] - grid(8, 9)[1:-1, 1:-1]
        assert (inner - torch.tensor(shift)).abs().max() < 0.3
        assert (inner - torch.tensor(shift)).abs().mean() < 0.05
