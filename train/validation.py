"""How good the averaged networks are on held-out pairs, and whether they collapse."""

import math
from collections.abc import Iterable
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import Tensor

from cocosnet_hf import sharpness
from cocosnet_hf.evaluation import carry_labels, style_relevance, swd
from cocosnet_hf.models.perceptual import PerceptualNetwork
from cocosnet_hf.systems import Batch, Generated, Networks, System
from cocosnet_hf.systems.batch import needed


@torch.no_grad()
def validate(
    system: System, nets: Networks, batches: Iterable[Batch]
) -> tuple[dict[str, float], Batch, Generated]:
    """Mean metrics over held-out batches, and the first batch with what was made of it.

    nets: in evaluation mode. Beside `batch_metrics` there is swd, the sliced Wasserstein distance
    of all outputs to all targets, times 1000; exemplar_l1, mean |target - exemplar|, 0 where every
    photo is its own exemplar; variety, how much outputs differ from one another as a share of how
    much targets do, near 0 of a painter that has collapsed; and with a perceptual network and
    labels `color_relevance`. Noise, where a system draws any, is the same at each call. Raises
    ValueError if there is no batch.
    """
    found: dict[str, list[float]] = {}
    outputs, targets = [], []
    first: tuple[Batch, Generated] | None = None
    for number, batch in enumerate(batches):
        devices = [batch.condition.device] if batch.condition.is_cuda else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(number)
            generated = system.generate(nets, batch)
        first = first or (batch, generated)
        metrics = batch_metrics(batch, generated)
        if system.perceptual is not None and batch.exemplar_labels is not None:
            metrics["color_relevance"] = color_relevance(batch, generated, system.perceptual)
        metrics["exemplar_l1"] = F.l1_loss(batch.exemplar, batch.image).item()
        for name, value in metrics.items():
            found.setdefault(name, []).append(value)
        outputs.append(_bytes(generated.image))
        targets.append(_bytes(batch.image))
    if first is None:
        raise ValueError("the validation data are empty; name a split with at least one batch.")
    means = {name: fmean(values) for name, values in found.items()}
    made, true = torch.cat(outputs), torch.cat(targets)
    means["swd"] = swd(made, true, device=made.device)
    if (varied := _variation(true)) > 0:
        means["variety"] = _variation(made) / varied
    return means, *first


def _variation(pictures: Tensor) -> float:
    """Mean difference between pictures (N, 3, H, W) that follow each other; 0 for one."""
    pictures = pictures.float()
    return F.l1_loss(pictures, pictures.roll(1, 0)).item()


def batch_metrics(batch: Batch, generated: Generated) -> dict[str, float]:
    """What generated pictures are worth, each a mean over the batch.

    target_l1: mean |output - target|. copy_score: mean |output - exemplar|; if it approaches 0 the
    exemplar is copied and the condition ignored. confidence: share of its best match in a
    position's softmax row, 1 if every position looks at one place only. entropy: of that row, as a
    share of its largest value, 1 if every position looks at all places alike. warp_accuracy: share
    of positions to which the matching carries a label that is the condition's own;
    identity_accuracy: the same for an exemplar that is not moved at all, which is what it must
    exceed. Only the first two of a system without matching. Of windows, copy_score is the
    difference from the warped exemplar.
    """
    window = generated.batch or batch
    metrics = {
        "target_l1": F.l1_loss(generated.image.float(), window.image).item(),
        "copy_score": F.l1_loss(generated.image.float(), window.exemplar).item(),
    }
    if generated.matching is None or generated.grid_exemplar is None:
        return metrics
    matching, positions = generated.matching, generated.grid_exemplar[0, 0].numel()
    batch = batch.for_matching()
    metrics |= {
        "confidence": matching.confidence().mean().item(),
        "entropy": matching.entropy().mean().item() / math.log(positions),
    }
    if batch.condition_labels is not None and batch.exemplar_labels is not None:
        carried = carry_labels(matching, batch.condition_labels, batch.exemplar_labels)
        metrics["warp_accuracy"] = carried.accuracy().mean().item()
        unmoved = carried.identity_accuracy()
        if unmoved is not None:
            metrics["identity_accuracy"] = unmoved.mean().item()
    if batch.flow is not None:
        names = ("known_flow_error", "region_flow_error")
        found = sharpness.flow_error(matching, batch.flow, batch.is_self_pair)
        metrics |= {name: value for name, value in zip(names, found, strict=True) if value == value}
    return metrics


def color_relevance(batch: Batch, generated: Generated, perceptual: PerceptualNetwork) -> float:
    """The paper's style relevance for colour; -1..1, 1 if every class has its exemplar's colours.

    Pictures that share no class with their exemplar are left out; 0 if all are.
    """
    layer = perceptual.layers[0]
    features = perceptual(generated.image.float().clamp(-1, 1), [layer])[layer]
    exemplar_features = perceptual(batch.exemplar, [layer])[layer]
    labels = needed(batch.condition_labels, "labels"), needed(batch.exemplar_labels, "labels")
    scores = style_relevance(features, exemplar_features, *labels)
    return fmean([score.mean() for score in scores if len(score.classes)] or [0.0])


def _bytes(pictures: Tensor) -> Tensor:
    """Pictures in [-1, 1] as uint8, as they would be saved."""
    return ((pictures.float().clamp(-1, 1) + 1) * 127.5).round().byte()
