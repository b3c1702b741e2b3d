"""How good the averaged networks are on held-out pairs, and whether they collapse."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .objective import Batch, Painting, paint


@torch.no_grad()
def validate(
    correspondence: nn.Module, translation: nn.Module, settings: dict, batches: Iterable[Batch]
) -> tuple[dict[str, float], Batch, Painting]:
    """Mean metrics over held-out batches, and the first batch with its painting, to look at.

    The networks are in evaluation mode; settings: the correspondence network's config. Raises
    ValueError if there is no batch.
    """
    sums: dict[str, float] = {}
    count = 0
    first: tuple[Batch, Painting] | None = None
    for batch in batches:
        painting = paint(correspondence, translation, settings, batch)
        first = first or (batch, painting)
        for name, value in batch_metrics(batch, painting).items():
            sums[name] = sums.get(name, 0.0) + value
        count += 1
    if first is None:
        raise ValueError("the validation data are empty; name a split with at least one batch.")
    return {name: value / count for name, value in sums.items()}, *first


def batch_metrics(batch: Batch, painting: Painting) -> dict[str, float]:
    """What a painting is worth, each a mean over the batch.

    target_l1: mean |output - target|. copy_score: mean |output - exemplar|; if it approaches 0 the
    exemplar is copied and the condition ignored. confidence: share of its best match in a
    position's softmax row, 1 if every position looks at one place only. warp_accuracy: share of
    positions to which the matching carries a label that is the condition's own; identity_accuracy:
    the same for an exemplar that is not moved at all, which is what it must exceed.
    """
    metrics = {
        "target_l1": F.l1_loss(painting.image.float(), batch.image).item(),
        "copy_score": F.l1_loss(painting.image.float(), batch.exemplar).item(),
        "confidence": painting.matching.confidence().mean().item(),
    }
    if batch.condition_labels is not None and batch.exemplar_labels is not None:
        stride = painting.matching.stride
        own, other = (
            labels[:, ::stride, ::stride].long()
            for labels in (batch.condition_labels, batch.exemplar_labels)
        )
        classes = 1 + max(int(own.max()), int(other.max()))
        one_hot = F.one_hot(other, classes).movedim(-1, 1).float()
        metrics["warp_accuracy"] = _agreement(painting.matching.warp(one_hot).argmax(1), own)
        metrics["identity_accuracy"] = _agreement(other, own)
    return metrics


def _agreement(labels: Tensor, wanted: Tensor) -> float:
    return (labels == wanted).float().mean().item()
