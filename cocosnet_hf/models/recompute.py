"""Gradient checkpointing that leaves spectral and batch norm exactly as they are without.

Activations inside a wrapped module are dropped and computed again in the backward pass. Run
naively, that would move the power iteration on once more, and use the weights of a later call where
a module is called twice before the backward pass. So each call remembers its singular vectors, and
the running statistics of batch norms stand still.

Wrapped modules contain others: a whole adaptor stores only its input, and when it is computed again
each of its blocks only its own. The backward pass then never holds more than one block's inside.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


@runtime_checkable
class MovingNorm(Protocol):
    """A norm whose every use in training changes by what it divides."""

    def used(self) -> tuple[Tensor, ...]:
        """A copy of what the last use divided by."""

    def as_used(self, used: tuple[Tensor, ...]) -> AbstractContextManager[None]:
        """Within, it divides by that, and changes nothing."""


def recompute(module: nn.Module) -> None:
    """Make a module store its inputs only, until `keep`; both twice are as once."""
    keep(module)
    norms = [part for part in module.modules() if isinstance(part, MovingNorm)]
    batch_norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    module.forward = partial(_run, module.forward, norms, batch_norms)  # of this one module


def keep(module: nn.Module) -> None:
    """Make a module store all that its backward pass reads, as it does by itself."""
    if is_recomputed(module):
        del module.forward


def is_recomputed(module: nn.Module) -> bool:
    """Whether it stores its inputs only."""
    own = vars(module).get("forward")
    return isinstance(own, partial) and own.func is _run


def _run(
    forward: Any,
    norms: Sequence[MovingNorm],
    batch_norms: Sequence[_BatchNorm],
    *inputs: Tensor,
    **options: Any,
) -> Any:
    used: list[tuple[Tensor, ...]] = []

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
    used.extend(norm.used() for norm in norms)
    return outputs


@contextmanager
def _as_used(
    norms: Sequence[MovingNorm],
    used: Sequence[tuple[Tensor, ...]],
    batch_norms: Sequence[_BatchNorm],
) -> Iterator[None]:
    """Within, the norms divide by what they divided by when the call was first made.

    A batch norm does so by itself, as it sees the same batch; it must not count it twice.
    """
    counted = [(norm.momentum, norm.num_batches_tracked) for norm in batch_norms]
    for batch_norm in batch_norms:
        batch_norm.momentum, batch_norm.num_batches_tracked = 0.0, None
    try:
        with ExitStack() as stack:
            for norm, vectors in zip(norms, used, strict=True):
                stack.enter_context(norm.as_used(vectors))
            yield
    finally:
        for batch_norm, (momentum, count) in zip(batch_norms, counted, strict=True):
            batch_norm.momentum, batch_norm.num_batches_tracked = momentum, count
