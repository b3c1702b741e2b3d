"""Watches every operation that torch runs: which it was and how large its results are."""

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Operations(TorchDispatchMode):
    """Within `with Operations() as seen:`, names of the operations and the largest result's bytes.

    Memory measured this way is the same on every run and machine. Views count with their whole
    storage; what one operation holds inside is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.largest_bytes = 0

    def __torch_dispatch__(
        self, operation: Any, _types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        results = operation(*args, **(kwargs or {}))
        self.names.add(operation.name())
        for result in tree_leaves(results):
            if isinstance(result, Tensor):
                self.largest_bytes = max(self.largest_bytes, result.untyped_storage().nbytes())
        return results
