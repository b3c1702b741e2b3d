"""How good the averaged networks are on held-out pairs, and whether they collapse."""

import math
from collections.abc import Iterable
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cocosnet_hf import CorrespondenceNetwork, sharpness
from cocosnet_hf.evaluation import carry_labels, style_relevance, swd
from cocosnet_hf.models.perceptual import PerceptualNetwork

from .objective import Batch, Painting, paint


@torch.no_grad()
def validate(
    correspondence: CorrespondenceNetwork,
    translation: nn.Module,
    batches: Iterable[Batch],
    perceptual: PerceptualNetwork | None = None,
) -> tuple[dict[str, float], Batch, Painting]:
    """Mean metrics over held-out batches, and the first batch with its painting, to look at.

    The networks are in evaluation mode. Beside
    `batch_metrics` there is swd, the sliced Wasserstein distance of all outputs to all targets,
    times 1000, and with a perceptual network and labels `colour_relevance`. A model with
    exemplar_noise paints with noise, as it is used, the same at each call. Raises ValueError if
    there is no batch.
    """
    found: dict[str, list[float]] = {}
    outputs, targets = [], []
    first: tuple[Batch, Painting] | None = None
    noisy = correspondence.config.exemplar_noise > 0
    for number, batch in enumerate(batches):
        devices = [batch.condition.device] if batch.condition.is_cuda else []
        with torch.random.fork_rng(devices, enabled=noisy):
            if noisy:
                torch.manual_seed(number)
            painting = paint(
                correspondence, translation, correspondence, batch, exemplar_noise=noisy
            )
        first = first or (batch, painting)
        metrics = batch_metrics(batch, painting)
        if perceptual is not None and batch.exemplar_labels is not None:
            metrics["colour_relevance"] = colour_relevance(batch, painting, perceptual)
        for name, value in metrics.items():
            found.setdefault(name, []).append(value)
        outputs.append(_bytes(painting.image))
        targets.append(_bytes(batch.image))
    if first is None:
        raise ValueError("the validation data are empty; name a split with at least one batch.")
    means = {name: fmean(values) for name, values in found.items()}
    means["swd"] = swd(torch.cat(outputs), torch.cat(targets), device=outputs[0].device)
    return means, *first


def batch_metrics(batch: Batch, painting: Painting) -> dict[str, float]:
    """What a painting is worth, each a mean over the batch.

    target_l1: mean |output - target|. copy_score: mean |output - exemplar|; if it approaches 0 the
    exemplar is copied and the condition ignored. confidence: share of its best match in a
    position's softmax row, 1 if every position looks at one place only. entropy: of that row, as a
    share of its largest value, 1 if every position looks at all places alike. warp_accuracy: share
    of positions to which the matching carries a label that is the condition's own;
    identity_accuracy: the same for an exemplar that is not moved at all, which is what it must
    exceed. Only the first two of a painting without matching. Of windows, copy_score is the
    difference from the warped exemplar.
    """
    window = painting.batch or batch
    metrics = {
        "target_l1": F.l1_loss(painting.image.float(), window.image).item(),
        "copy_score": F.l1_loss(painting.image.float(), window.exemplar).item(),
    }
    if painting.matching is None:
        return metrics
    matching, positions = painting.matching, painting.grid_exemplar[0, 0].numel()
    batch = batch.for_matching()
    metrics |= {
        "confidence": matching.confidence().mean().item(),
        "entropy": matching.entropy().mean().item() / math.log(positions),
    }
    if batch.condition_labels is not None and batch.exemplar_labels is not None:
        carried = carry_labels(matching, batch.condition_labels, batch.exemplar_labels)
        metrics["warp_accuracy"] = carried.accuracy().mean().item()
        metrics["identity_accuracy"] = carried.identity_accuracy().mean().item()
    if batch.flow is not None:
        names = ("known_flow_error", "region_flow_error")
        found = sharpness.flow_error(matching, batch.flow, batch.is_self)
        metrics |= {name: value for name, value in zip(names, found, strict=True) if value == value}
    return metrics


def colour_relevance(batch: Batch, painting: Painting, perceptual: PerceptualNetwork) -> float:
    """The paper's style relevance for colour; -1..1, 1 if every class has its exemplar's colours.

    Pictures that share no class with their exemplar are left out; 0 if all are.
    """
    layer = perceptual.layers[0]
    features = perceptual(painting.image.float().clamp(-1, 1), [layer])[layer]
    exemplar_features = perceptual(batch.exemplar, [layer])[layer]
    scores = style_relevance(
        features, exemplar_features, batch.condition_labels, batch.exemplar_labels
    )
    return fmean([score.mean() for score in scores if len(score.classes)] or [0.0])


def _bytes(pictures: Tensor) -> Tensor:
    """Pictures in [-1, 1] as uint8, as they would be saved."""
    return ((pictures.float().clamp(-1, 1) + 1) * 127.5).round().byte()
