"""Gradient checkpointing that leaves spectral and batch norm exactly as they are without.

Activations inside a wrapped module are dropped and computed again in the backward pass. Run
naively, that would move the power iteration on once more, and use the weights of a later call where
a module is called twice before the backward pass. So each call remembers its singular vectors, and
the running statistics of batch norms stand still.

Wrapped modules contain others: a whole adaptor stores only its input, and when it is computed again
each of its blocks only its own. The backward pass then never holds more than one block's inside.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from cocosnet_hf.models.blocks import SpectralNorm
from cocosnet_hf.models.network import Network


def recompute_activations(network: Network) -> None:
    """Make the parts of a network that it names (`recomputed`) store their inputs only."""
    for module in network.modules():
        if isinstance(module, network.recomputed):
            norms = [part for part in module.modules() if isinstance(part, SpectralNorm)]
            batch_norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
            run = partial(_run, module.forward, norms, batch_norms)
            module.forward = run  # of this one module


def _run(
    forward: Any,
    norms: list[SpectralNorm],
    batch_norms: list[_BatchNorm],
    *inputs: Tensor,
    **options: Any,
) -> Any:
    used: list[tuple[Tensor, Tensor]] = []

    def contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
        return nullcontext(), _as_used(norms, used, batch_norms)

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
def _as_used(
    norms: list[SpectralNorm], used: list[tuple[Tensor, Tensor]], batch_norms: list[_BatchNorm]
) -> Iterator[None]:
    """Within, the norms divide by what they divided by when the call was first made.

    A batch norm does so by itself, as it sees the same batch; it must not count it twice.
    """
    counted = [(norm.momentum, norm.num_batches_tracked) for norm in batch_norms]
    for batch_norm in batch_norms:
        batch_norm.momentum, batch_norm.num_batches_tracked = 0.0, None
    now = [(norm._u, norm._v, norm.training) for norm in norms]
    for norm, (u, v) in zip(norms, used, strict=True):
        norm._u, norm._v, norm.training = u, v, False
    try:
        yield
    finally:
        for norm, (u, v, training) in zip(norms, now, strict=True):
            norm._u, norm._v, norm.training = u, v, training
        for batch_norm, (momentum, count) in zip(batch_norms, counted, strict=True):
            batch_norm.momentum, batch_norm.num_batches_tracked = momentum, count
