"""Gradient checkpointing that leaves spectral norm exactly as it is without.

Activations inside a wrapped module are dropped and computed again in the backward pass. Run
naively, that would move the power iteration on once more, and use the weights of a later call where
a module is called twice before the backward pass. So each call remembers its singular vectors.

Wrapped modules contain others: a whole adaptor stores only its input, and when it is computed again
each of its blocks only its own. The backward pass then never holds more than one block's inside.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from cocosnet_hf.models.blocks import SpectralNorm
from cocosnet_hf.models.network import Network


def recompute_activations(network: Network) -> None:
    """Make the parts of a network that it names (`recomputed`) store their inputs only."""
    for module in network.modules():
        if isinstance(module, network.recomputed):
            norms = [part for part in module.modules() if isinstance(part, SpectralNorm)]
            run = partial(_run, module.forward, norms)
            module.forward = run  # of this one module


def _run(forward: Any, norms: list[SpectralNorm], *inputs: Tensor, **options: Any) -> Any:
    used: list[tuple[Tensor, Tensor]] = []

    def contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
        return nullcontext(), _as_used(norms, used)

    # No wrapped module draws random numbers.
    outputs = checkpoint(
        forward,
        *inputs,
        **options,
        use_reentrant=False,
        context_fn=contexts,
        preserve_rng_state=False,
    )
    used.extend((norm._u.clone(), norm._v.clone()) for norm in norms)
    return outputs


@contextmanager
def _as_used(norms: list[SpectralNorm], used: list[tuple[Tensor, Tensor]]) -> Iterator[None]:
    """Within, the norms divide by what they divided by when the call was first made."""
    now = [(norm._u, norm._v, norm.training) for norm in norms]
    for norm, (u, v) in zip(norms, used, strict=True):
        norm._u, norm._v, norm.training = u, v, False
    try:
        yield
    finally:
        for norm, (u, v, training) in zip(norms, now, strict=True):
            norm._u, norm._v, norm.training = u, v, training
