"""The averaged copy of a network that is published."""

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def averaged_copy(network: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of a network's parameters; its buffers are taken over as they are.

    The spectral norm's vectors belong to the buffers. Early steps forget faster, at (1 + n) /
    (10 + n), so that the random start does not linger.
    """

    def average(kept: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        steps = int(count)
        return kept.lerp(current.to(kept), 1 - min(decay, (1 + steps) / (10 + steps)))

    copy = AveragedModel(network, avg_fn=average)
    copy.n_averaged += 1  # the network as it is counts: without, the first step would only copy
    copy.eval().requires_grad_(False)
    return copy
