"""The plain N x N softmax over centred unit patches."""

from collections.abc import Callable

import torch
from torch import Tensor

from cocosnet_hf.reference import normalized_patches
from tests.support.tensors import maps

FORWARD_TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-4
TINY_TILES, SMALL_TILES = 1, 20_000  # bytes: one row against one row; a few rows


def oracle(
    content: Tensor,
    styles: list[Tensor],
    patch_size: int = 3,
    temperature: float = 0.01,
    regions: tuple[Tensor, list[Tensor]] | None = None,
) -> Tensor:
    """Logits (h w, all positions of all exemplars), from (C, h, w) and a list of (C, h', w')."""
    rows = normalized_patches(content[None], patch_size)[0]
    columns = torch.cat([normalized_patches(style[None], patch_size)[0] for style in styles])
    logits = rows @ columns.t() / temperature
    if regions is not None:
        wanted = regions[0].flatten()[:, None]
        offered = torch.cat([region.flatten() for region in regions[1]])[None]
        allowed = wanted == offered
        free = ~allowed.any(1, keepdim=True) | (wanted == -1)
        logits = logits.masked_fill(~(allowed | free), float("-inf"))
    return logits


def rows_of(values: list[Tensor]) -> Tensor:
    """Values of several exemplars, (V, h', w') each, as one longer list of positions (N', V)."""
    return torch.cat([value.flatten(1).t() for value in values])


def oracle_warp(logits: Tensor, values: list[Tensor], size: torch.Size) -> Tensor:
    return (logits.softmax(1) @ rows_of(values)).t().unflatten(1, size)


def gradients_of(loss: Tensor, *inputs: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, inputs))


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Of gradients; those of a softmax that has all but settled are compared in absolute terms."""
    return ((found.double() - expected).abs().max() / expected.abs().max().clamp_min(0.1)).item()


def assert_gradients_agree(
    inputs: list[Tensor],
    compute: Callable[..., Tensor],
    compute_oracle: Callable[..., Tensor],
) -> None:
    """Both sides get the same inputs, in float32 and float64, and the same loss."""
    ours = [tensor.clone().requires_grad_() for tensor in inputs]
    doubles = [tensor.double().requires_grad_() for tensor in inputs]
    out, expected = compute(*ours), compute_oracle(*doubles)
    assert (out - expected).abs().max() < FORWARD_TOLERANCE
    (weights,) = maps(99, tuple(out.shape))
    found = gradients_of((out * weights).sum(), *ours)
    wanted = gradients_of((expected * weights).sum(), *doubles)
    for ours_gradient, oracle_gradient in zip(found, wanted, strict=True):
        assert relative_error(ours_gradient, oracle_gradient) < GRADIENT_TOLERANCE
