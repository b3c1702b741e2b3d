"""What instance maps say: where boundaries are, and what a map is on average in each instance.

An instance map (B, H, W) holds a whole number per pixel. Equal numbers of one picture are one
instance; those of two pictures have nothing to do with each other.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


def boundaries(instances: Tensor) -> Tensor:
    """1 where a pixel's instance is another than that of one of its four neighbours, else 0.

    Both sides of an edge are marked. (B, H, W) -> (B, 1, H, W) float32. Source: Wang et al. 2018
    (pix2pixHD), section 3.3.
    """
    edges = torch.zeros_like(instances, dtype=torch.bool)
    beside = instances[:, :, 1:] != instances[:, :, :-1]
    below = instances[:, 1:] != instances[:, :-1]
    edges[:, :, 1:] |= beside
    edges[:, :, :-1] |= beside
    edges[:, 1:] |= below
    edges[:, :-1] |= below
    return edges[:, None].float()


class Instances(NamedTuple):
    """The instances of a batch, M in all.

    row (B, H, W): of each pixel's instance among them. picture, number, area (M,): to which item
    it belongs, its number in the map and its pixels.
    """

    row: Tensor
    picture: Tensor
    number: Tensor
    area: Tensor

    @classmethod
    def of(cls, instances: Tensor) -> Instances:
        """Those of a map (B, H, W)."""
        items = torch.arange(len(instances), device=instances.device)[:, None, None]
        pairs = torch.stack([items.expand_as(instances), instances.long()]).flatten(1)
        found, row, area = torch.unique(pairs, dim=1, return_inverse=True, return_counts=True)
        return cls(row.view(instances.shape), found[0], found[1], area)

    def means(self, features: Tensor) -> Tensor:
        """The mean of each instance's features: (B, F, H, W) -> (M, F), in float32."""
        rows = features.float().movedim(1, -1).flatten(0, 2)
        sums = rows.new_zeros(len(self.area), rows.shape[1])
        return sums.index_add(0, self.row.flatten(), rows) / self.area[:, None]

    def spread(self, values: Tensor) -> Tensor:
        """One row for each instance, (M, F), on all of its pixels: (B, F, H, W)."""
        return values[self.row].movedim(-1, 1)

    def classes(self, labels: Tensor) -> Tensor:
        """The class (M,) of each instance: of labels (B, H, W) the largest that it covers."""
        found = torch.zeros_like(self.area)
        return found.scatter_reduce(0, self.row.flatten(), labels.flatten().long(), "amax")


def means_by_class(features: Tensor, classes: Tensor | None, wanted: Tensor) -> Tensor:
    """What an exemplar is on average in each class, where another layout wants that class.

    features (B, F, h, w): of exemplars; classes (B, K, h, w): their own encoded conditions, None if
    unknown; wanted (B, K, H, W): the condition to paint. Returns (B, F, H, W). A class that the
    exemplar has not, and every class if its own are unknown, gets the mean over all of it.
    """
    everywhere = features.float().mean(dim=(2, 3))[:, :, None]
    if classes is None:
        means = everywhere.expand(-1, -1, wanted.shape[1])
    else:
        shares = one_hot(classes).flatten(2)
        areas = shares.sum(dim=2)[:, None]
        sums = features.float().flatten(2) @ shares.mT
        means = torch.where(areas > 0, sums / areas.clamp(min=1), everywhere)
    return torch.einsum("bfk,bkhw->bfhw", means, one_hot(wanted))


def one_hot(condition: Tensor) -> Tensor:
    """The class on top at each position as 1, all others 0: (B, K, H, W) of any scores."""
    return F.one_hot(condition.argmax(1), condition.shape[1]).movedim(-1, 1).float()


def cluster(points: Tensor, clusters: int, rounds: int = 20) -> tuple[Tensor, Tensor]:
    """k-means: centres (k, F) and how many points belong to each (k,), the largest first.

    points (N, F). k is clusters, or as many as there are different points. Nothing is random: it
    starts at the point nearest to the mean and goes on with the farthest from those chosen.
    """
    distances = torch.cdist(points, points.mean(0, keepdim=True))[:, 0]
    centres = points[distances.argmin()][None]
    while len(centres) < clusters:
        nearest = torch.cdist(points, centres).amin(1)
        if not nearest.max() > 0:
            break
        centres = torch.cat([centres, points[nearest.argmax()][None]])
    for _ in range(rounds):
        own = F.one_hot(torch.cdist(points, centres).argmin(1), len(centres)).to(points)
        sizes = own.sum(0)
        moved = own.mT @ points / sizes.clamp(min=1)[:, None]
        centres = torch.where(sizes[:, None] > 0, moved, centres)
    order = sizes.argsort(descending=True, stable=True)
    return centres[order], sizes[order]
