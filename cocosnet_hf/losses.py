"""The terms of the training objective, each a pure function of tensors, without its weight.

Source of every term: Zhang et al. 2020, section 3.3, in the form of the official training (official
networks, 5.6 and 10). Where the two differ, the official form is taken and the docstring says so.
Gradients reach what the networks made; targets are detached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

DiscriminatorOutputs = Sequence[Sequence[Tensor]]
"""What the discriminator returns: for each scale the feature maps, then the logits."""

PSEUDO_EXEMPLAR_LAYERS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
"""Weights of the five perceptual layers in `pseudo_exemplar_loss`, fine to coarse."""

CONTEXTUAL_LAYERS = (2.0, 4.0, 8.0)
"""Weights of the three coarsest perceptual layers in `layered_contextual_loss`."""

_SELF_REFERENCE_EPSILON = 1e-5
_MASK_EPSILON = 1e-5
_LOG_EPSILON = 1e-10
_LENGTH_EPSILON = torch.finfo(torch.float64).eps
_NEGLIGIBLE_LENGTH = 1e-6  # of the mean length: rounding, which scaled up would be noise


# Shared domain -----------------------------------------------------------------------------------


def domain_alignment_loss(condition_features: Tensor, target_features: Tensor) -> Tensor:
    """mean |F_A(x_A) - F_B(x_B)|: a condition and its own photo must meet in the shared domain.

    Both (B, C, h, w), at unit length per position, as `CorrespondenceNetwork` returns them; the
    gradient reaches both. Returns a scalar. Raises ValueError for shapes that differ.
    Source: Zhang et al. 2020, section 3.3, "domain alignment"; official networks, 5.6.
    """
    _require_alike(condition_features=condition_features, target_features=target_features)
    return F.l1_loss(condition_features.float(), target_features.float())


# Perceptual features -----------------------------------------------------------------------------


def pseudo_exemplar_loss(
    features: Sequence[Tensor],
    target_features: Sequence[Tensor],
    is_self_pair: Tensor,
) -> Tensor:
    """sum_l w_l mean(s_b |F_l(output) - F_l(target)|): a photo of itself must give itself.

    features, target_features: for each layer (B, C, h, w), in the order of their weights w_l,
    `PSEUDO_EXEMPLAR_LAYERS`.
    is_self_pair (B,): 1 where the exemplar is the target itself (distorted), else 0.
    s_b = flag_b / (sum of flags + 1e-5), as in the official code; since the mean divides by B too,
    a self-referenced sample counts 1 / (B n), not 1 / n. Returns a scalar, 0 without such samples.
    Raises ValueError for shapes or numbers of layers that do not agree.
    Source: Zhang et al. 2020, section 3.3, "losses for pseudo exemplar pairs"; official networks,
    10.3.
    """
    if not len(features) == len(target_features) == len(PSEUDO_EXEMPLAR_LAYERS):
        raise ValueError(
            f"features and target_features must be of the {len(PSEUDO_EXEMPLAR_LAYERS)} layers "
            f"that the weights are for, got {len(features)} and {len(target_features)}."
        )
    terms = (
        weight * _self_pair_l1(output, target, is_self_pair)
        for output, target, weight in zip(
            features, target_features, PSEUDO_EXEMPLAR_LAYERS, strict=True
        )
    )
    return torch.stack(list(terms)).sum()


def perceptual_loss(features: Tensor, target_features: Tensor) -> Tensor:
    """mean (F(output) - F(target))^2 on one layer: the output must mean what the target means.

    Both (B, C, h, w). Returns a scalar. Raises ValueError for shapes that differ.
    Source: Zhang et al. 2020, section 3.3, "perceptual loss", there with an L1 norm; official
    networks, 10.3, with the square, on relu5_2 for ade20k and else on relu4_2.
    """
    _require_alike(features=features, target_features=target_features)
    return F.mse_loss(features.float(), target_features.detach().float())


def contextual_loss(
    features: Tensor,
    exemplar_features: Tensor,
    *,
    form: Literal["forward", "original"] = "forward",
    centering: Literal["position", "channel"] | None = "position",
    bandwidth: float = 0.1,
    epsilon: float = 1e-3,
    tile_memory: int | None = None,
) -> Tensor:
    """-log CX, the mean over the batch: features that need not be aligned must be similar.

    With x_i, y_j the features of the two maps at their positions, centred and at unit length:

        d_ij = 1 - <x_i, y_j>               d~_ij = d_ij / (min_k d_ik + epsilon)
        w_ij = exp((1 - d~_ij) / bandwidth)       A_ij = w_ij / sum_k w_ik
        CX = mean_i max_j A_ij   (forward)   or   CX = mean_j max_i A_ij   (original)

    features (B, C, h, w); exemplar_features (B, C, h', w'). The sizes may differ unless centering
    is "position". Returns a scalar in float32. Gradients reach both maps, so detach the one that
    must not learn.

    form: "forward" asks that each feature of the output is one of the exemplar's (Zhang et al.
    2020, section 3.3), "original" that each of the exemplar's is found in the output.
    centering: "position" subtracts from both maps the exemplar's mean over channels at each
    position, from x too (official networks, 10.3); "channel" the exemplar's mean over positions
    (Mechrez et al. 2018); None nothing.
    bandwidth, epsilon: h and epsilon of Mechrez et al. 2018, whose loss for training on data that
    is not aligned is `form="original", centering="channel", epsilon=1e-5`.
    tile_memory: bytes for the chunks of A in work, by default 32 MiB on a CPU, 512 MiB elsewhere.

    A is made some rows at a time and made again for the gradient, never held whole; nothing is
    approximated. Raises ValueError for shapes that do not fit and settings without meaning.
    """
    _require_contextual(features, exemplar_features, centering == "position")
    if form not in ("forward", "original"):
        raise ValueError(f'form must be "forward" or "original", got {form!r}.')
    if centering not in ("position", "channel", None):
        raise ValueError(f'centering must be "position", "channel" or None, got {centering!r}.')
    if not (bandwidth > 0 and epsilon > 0):
        raise ValueError(
            f"bandwidth and epsilon must be positive, got {bandwidth} and {epsilon}; smaller ones "
            f"sharpen the choice of a match."
        )
    memory = tile_memory or (32 if features.device.type == "cpu" else 512) * 2**20
    with torch.autocast(features.device.type, enabled=False):
        x, y = features.float(), exemplar_features.float()
        if centering is not None:
            mean = y.mean(dim=1 if centering == "position" else (2, 3), keepdim=True)
            x, y = x - mean, y - mean
        similarities = [
            _BestShares.apply(item, exemplar, form, bandwidth, epsilon, memory).mean()
            for item, exemplar in zip(_normalized_rows(x), _normalized_rows(y), strict=True)
        ]
        return -torch.stack(similarities).log().mean()


def layered_contextual_loss(
    features: Sequence[Tensor],
    exemplar_features: Sequence[Tensor],
    *,
    loss: Callable[..., Tensor] = contextual_loss,
    **settings: Any,
) -> Tensor:
    """2 L(avgpool2(relu3_2)) + 4 L(relu4_2) + 8 L(relu5_2), L the contextual loss.

    features, exemplar_features: the three coarsest perceptual layers, fine to coarse, each
    (B, C, h, w); the exemplar's are detached. loss: of one layer, with the settings of
    `contextual_loss`. Returns a scalar.
    Raises ValueError for another number of layers. Source: official networks, 10.3.
    """
    if not len(features) == len(exemplar_features) == len(CONTEXTUAL_LAYERS):
        raise ValueError(
            f"expected the {len(CONTEXTUAL_LAYERS)} coarsest layers of both pictures, got "
            f"{len(features)} and {len(exemplar_features)}."
        )
    pairs = [(x, y.detach()) for x, y in zip(features, exemplar_features, strict=True)]
    pairs[0] = (F.avg_pool2d(pairs[0][0], 2), F.avg_pool2d(pairs[0][1], 2))
    terms = (
        weight * loss(x, y, **settings)
        for weight, (x, y) in zip(CONTEXTUAL_LAYERS, pairs, strict=True)
    )
    return torch.as_tensor(sum(terms))


# Adversarial -------------------------------------------------------------------------------------


def discriminator_feature_matching_loss(
    fake: DiscriminatorOutputs, real: DiscriminatorOutputs
) -> Tensor:
    """sum_l mean |D_l(fake) - D_l(real)| over all maps but the logits, averaged over the scales.

    A scale of logits alone, as of a head on frozen features, is left out. Real features are
    detached. Returns a scalar. Raises ValueError if the two do not agree in
    scales, layers and shapes. Source: Wang et al. 2018 (pix2pixHD); official networks, 10.2.
    """
    if [len(outputs) for outputs in fake] != [len(outputs) for outputs in real]:
        raise ValueError(
            f"fake and real must come from one discriminator, got "
            f"{[len(outputs) for outputs in fake]} and {[len(outputs) for outputs in real]} maps."
        )
    scales = []
    for fake_outputs, real_outputs in zip(fake, real, strict=True):
        if len(fake_outputs) == 1:
            continue
        layers = []
        for output, target in zip(fake_outputs[:-1], real_outputs[:-1], strict=True):
            _require_alike(fake=output, real=target)
            layers.append(F.l1_loss(output.float(), target.detach().float()))
        scales.append(torch.stack(layers).sum())
    return _mean_over_scales(scales)


# Warped exemplar ---------------------------------------------------------------------------------


def cyclic_warp_loss(cycle_exemplar: Tensor, exemplar: Tensor) -> Tensor:
    """mean |r_(y -> x -> y) - y|: warped to the condition and back, an exemplar must return.

    cycle_exemplar (B, 3, h, w); exemplar (B, 3, s h, s w), of which the mean of each s x s block is
    compared. Returns a scalar. Raises ValueError if one size is no multiple of the other.
    Source: Zhang et al. 2020, section 3.3, "correspondence regularization"; official networks,
    10.4.
    """
    scale = exemplar.shape[-1] // cycle_exemplar.shape[-1]
    expected = (*cycle_exemplar.shape[:2], *(scale * side for side in cycle_exemplar.shape[-2:]))
    if scale < 1 or exemplar.shape != expected:
        raise ValueError(
            f"exemplar must have the size of cycle_exemplar or a multiple, got "
            f"{tuple(exemplar.shape)} and {tuple(cycle_exemplar.shape)}."
        )
    return F.l1_loss(cycle_exemplar.float(), F.avg_pool2d(exemplar.float(), scale))


def self_warp_loss(warped_exemplar: Tensor, target: Tensor, is_self_pair: Tensor) -> Tensor:
    """mean(s_b |r - x_B|): the warped exemplar of a self pair must be the target.

    warped_exemplar, target (B, 3, H, W); is_self_pair (B,) and s_b as in `pseudo_exemplar_loss`.
    Returns a scalar. Raises ValueError for shapes that do not agree. Source: official networks,
    10.4 (deepfashion; not in the paper).
    """
    return _self_pair_l1(warped_exemplar, target, is_self_pair)


def warped_mask_loss(
    warped_mask: Tensor, classes: Tensor, exemplar_classes: Tensor, ignored: int | None = 0
) -> Tensor:
    """sum(k -log(p + 1e-10)) / (sum k + 1e-5): the warped exemplar mask must be the condition's.

    p is the warped mask at the position's own class; k is 1, but 0 where that class is `ignored` or
    does not occur in the exemplar. Both sums go over the whole batch.

    warped_mask (B, K, h, w): the exemplar's one-hot mask, seen through the matching. classes,
    exemplar_classes (B, s h, s w), (B, s h', s w'): integers in 0..K-1, of which the first of each
    s x s block is used (nearest). Returns a scalar, 0 if no position counts. Raises ValueError for
    sizes that do not fit and, on a CPU, classes outside 0..K-1; on a GPU, which would have to be
    waited for, these are the device's own error. Source: official networks, 10.5.
    """
    batch, count, height, width = warped_mask.shape
    scale = classes.shape[-1] // width
    if scale < 1 or classes.shape != (batch, scale * height, scale * width):
        raise ValueError(
            f"classes must be (B, H, W) integers at the size of warped_mask or a multiple, got "
            f"{tuple(classes.shape)} and {tuple(warped_mask.shape)}."
        )
    if exemplar_classes.ndim != 3 or len(exemplar_classes) != batch:
        raise ValueError(
            f"exemplar_classes must be ({batch}, H, W), got {tuple(exemplar_classes.shape)}."
        )
    own = classes[:, ::scale, ::scale].flatten(1).long()
    offered = exemplar_classes[:, ::scale, ::scale].flatten(1).long()
    _require_classes("classes", own, count)
    _require_classes("exemplar_classes", offered, count)
    present = torch.zeros(batch, count, device=own.device).scatter_(1, offered, 1)
    counted = present.gather(1, own)
    if ignored is not None:
        counted = counted * (own != ignored)
    probability = warped_mask.float().flatten(2).gather(1, own[:, None])[:, 0]
    surprise = -(probability + _LOG_EPSILON).log()
    return (counted * surprise).sum() / (counted.sum() + _MASK_EPSILON)


# The chunks of the contextual loss ---------------------------------------------------------------


class _BestShares(torch.autograd.Function):
    """max_j A_ij for each row, or max_i A_ij for each column, of `contextual_loss`.

    x (N, C), y (N', C): unit vectors. A's logits are (m_i - d_ij) r_i up to a constant per row,
    with m_i = min_j d_ij and the rate r_i = 1 / (bandwidth (m_i + epsilon)).
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        y: Tensor,
        form: str,
        bandwidth: float,
        epsilon: float,
        memory: int,
    ) -> Tensor:
        ctx.settings = bandwidth, epsilon
        # Two float32 buffers of this many rows: d, later m - d; and A.
        ctx.length = max(1, memory // (8 * len(y)))
        by_row = form == "forward"
        best = x.new_zeros(len(x) if by_row else len(y))
        where = torch.zeros_like(best, dtype=torch.long)
        for rows in _chunks(len(x), ctx.length):
            share = _shares(x[rows], y, bandwidth, epsilon)[0]
            if by_row:
                best[rows], where[rows] = share.max(1)
            else:
                value, index = share.max(0)
                where = torch.where(value > best, index + rows.start, where)
                best = torch.maximum(best, value)
        own = torch.arange(len(best), device=best.device)
        ctx.save_for_backward(x, y, *((own, where) if by_row else (where, own)))
        return best

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple:
        """Through the maximum (fixed), the softmax, and m where it sets the rate."""
        with torch.autocast(gradient.device.type, enabled=False):
            x, y, best_rows, best_columns = ctx.saved_tensors
            bandwidth, epsilon = ctx.settings
            wants_x, wants_y = ctx.needs_input_grad[:2]
            d_x, d_y = torch.zeros_like(x), torch.zeros_like(y)
            v = best_columns
            for rows in _chunks(len(x), ctx.length):
                share, gap, nearest, rate = _shares(x[rows], y, bandwidth, epsilon)
                # Those of other chunks add 0 somewhere: picking them out would wait for the device.
                u = (best_rows - rows.start).clamp(0, len(share) - 1)
                inside = u == best_rows - rows.start
                chosen = torch.where(inside, share[u, v] * gradient, 0)
                # d loss / d logit = A (H - sum_k A_ik H_ik), H the gradient of A: sparse.
                total = torch.zeros_like(rate).index_add_(0, u, chosen)
                d_logit = share.mul_(-total[:, None])
                d_logit.index_put_((u, v), chosen, accumulate=True)
                d_rate = gap.mul_(d_logit).sum(1)
                # The logit as a function of <x_i, y_j> = 1 - d_ij; the nearest also sets r_i.
                d_product = d_logit.mul_(rate[:, None])
                own = torch.arange(len(rate), device=rate.device)
                d_product[own, nearest] += bandwidth * rate.square() * d_rate
                if wants_x:
                    d_x[rows] = d_product @ y
                if wants_y:
                    d_y.addmm_(d_product.t(), x[rows])
        return d_x if wants_x else None, d_y if wants_y else None, None, None, None, None


def _chunks(count: int, length: int) -> Iterator[slice]:
    return (slice(start, min(start + length, count)) for start in range(0, count, length))


def _shares(
    x: Tensor, y: Tensor, bandwidth: float, epsilon: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Some rows of A; m - d; where m is found in each row; the rates r."""
    distance = torch.mm(x, y.t()).neg_().add_(1)
    minimum, nearest = distance.min(1)
    rate = 1 / (bandwidth * (minimum + epsilon))
    gap = distance.neg_().add_(minimum[:, None])
    share = torch.mul(gap, rate[:, None]).exp_()
    return share.div_(share.sum(1, keepdim=True)), gap, nearest, rate


def _normalized_rows(x: Tensor) -> Tensor:
    """(B, C, h, w) to (B, h w, C) at unit length; next to nothing stays 0, with no gradient."""
    rows = x.flatten(2).mT
    length = torch.linalg.vector_norm(rows, dim=2, keepdim=True)
    textured = length > _NEGLIGIBLE_LENGTH * length.detach().mean(1, keepdim=True)
    return rows * torch.where(textured, 1 / (length + _LENGTH_EPSILON), 0)


# Parts of several terms --------------------------------------------------------------------------


def _self_pair_l1(output: Tensor, target: Tensor, is_self_pair: Tensor) -> Tensor:
    _require_alike(output=output, target=target)
    if is_self_pair.shape != (len(output),):
        raise ValueError(
            f"is_self_pair must hold one flag for each of the {len(output)} samples, got the "
            f"shape {tuple(is_self_pair.shape)}."
        )
    flags = is_self_pair.float()
    share = flags / (flags.sum() + _SELF_REFERENCE_EPSILON)
    difference = (output.float() - target.detach().float()).abs()
    return (difference.flatten(1).mean(1) * share).mean()


def _mean_over_scales(scales: Sequence[Tensor]) -> Tensor:
    if not scales:
        raise ValueError("expected the outputs of at least one discriminator, got none.")
    return torch.stack(list(scales)).mean()


def _require_alike(**tensors: Tensor) -> None:
    """Raise ValueError unless the two named tensors have one shape."""
    (first, a), (second, b) = tensors.items()
    if a.shape != b.shape:
        raise ValueError(
            f"{first} and {second} must have one shape, got {tuple(a.shape)} and {tuple(b.shape)}; "
            f"broadcasting would compare other samples or positions."
        )


def _require_classes(name: str, values: Tensor, count: int) -> None:
    """Raise ValueError for classes outside 0..count - 1, on a CPU: a GPU would be waited for."""
    if values.device.type == "cpu" and (values.min() < 0 or values.max() >= count):
        raise ValueError(
            f"{name} must lie in 0..{count - 1}, the channels of warped_mask, got "
            f"{int(values.min())}..{int(values.max())}; declare more classes or map the others to "
            f"the one that this loss ignores."
        )


def _require_contextual(features: Tensor, exemplar_features: Tensor, same_size: bool) -> None:
    expected = (len(features), features.shape[1])
    for name, tensor in (("features", features), ("exemplar_features", exemplar_features)):
        if tensor.ndim != 4 or tensor.shape[:2] != expected or not tensor.numel():
            raise ValueError(
                f"{name} must be (B, C, h, w) with batch and channels as the other map, got "
                f"{tuple(features.shape)} and {tuple(exemplar_features.shape)}."
            )
    if same_size and features.shape != exemplar_features.shape:
        raise ValueError(
            f'centering="position" needs maps of one size, got {tuple(features.shape)} and '
            f'{tuple(exemplar_features.shape)}; resize one, or use centering="channel".'
        )
