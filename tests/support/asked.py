"""Pictures of many domains for tests: blocks in tones of red, green or blue, each with a look."""

import torch
import torch.nn.functional as F
from torch import Tensor

from cocosnet_hf import AttributesCondition, DomainCondition
from cocosnet_hf.conditions.asked import planes
from cocosnet_hf.systems import Batch

DOMAINS = DomainCondition(("red", "green", "blue"))


def layouts(count: int, side: int, generator: torch.Generator) -> Tensor:
    """Blocks (count, 1, side, side) of 0 and 1."""
    grid = torch.randint(2, (count, 1, 4, 4), generator=generator).float()
    return F.interpolate(grid, size=side)


def photos(layout: Tensor, domain: Tensor, look: Tensor) -> Tensor:
    """In [-1, 1]: the blocks in tones of the domain's colour, and of the next as much as look."""
    count, _, side, _ = layout.shape
    picture = torch.zeros(count, 3, side, side)
    every = torch.arange(count)
    picture[every, domain] = 0.3 + 0.6 * layout[:, 0]
    picture[every, (domain + 1) % 3] = look[:, None, None].expand(-1, side, side)
    return picture * 2 - 1


ATTRIBUTES = AttributesCondition(("red", "framed"))


def attributed(seed: int = 0, count: int = 2, side: int = 32) -> Batch:
    """Photos of blocks in blue or red, with a white frame or none, each with what it has."""
    generator = torch.Generator().manual_seed(seed)
    tones = 0.3 + 0.6 * layouts(count, side, generator)[:, 0]
    has = torch.randint(2, (count, 2), generator=generator)
    photo = torch.zeros(count, 3, side, side)
    photo[torch.arange(count), 2 - 2 * has[:, 0]] = tones
    inside = torch.zeros(side, side)
    inside[side // 8 : -side // 8, side // 8 : -side // 8] = 1
    photo = torch.where((has[:, 1, None, None, None] == 1) & (inside == 0), 1.0, photo)
    condition = torch.cat([photo, planes(has.float(), photo)], dim=1)
    return Batch(photo * 2 - 1, condition, photo * 2 - 1, None, torch.zeros(count))


def batch(seed: int = 0, count: int = 2, side: int = 32) -> Batch:
    """Pictures that are to become of another domain, or the same, and two photos of that."""
    generator = torch.Generator().manual_seed(seed)
    source, domain = torch.randint(3, (2, count), generator=generator)
    made = [
        photos(
            layouts(count, side, generator), number, torch.rand(count, generator=generator) * 0.4
        )
        for number in (source, domain, domain)
    ]
    picture = made[0] / 2 + 0.5
    asked = planes(F.one_hot(domain, 3).float(), picture)
    condition = torch.cat([picture, asked], dim=1)
    return Batch(made[1], condition, made[2], None, torch.zeros(count), source_domain=source)
