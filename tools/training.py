"""What the networks that read photos are trained with: the loop, losses and other light."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cocosnet_hf.models.efficientnet import EfficientNetLite0Features
from cocosnet_hf.models.scene import SceneNetwork

BATCH = 8

AVERAGED = 0.99
"""Share of the averaged weights that a step keeps, after the first ones."""

POWER = 0.4
"""Of how rare a class is, with which its pixels count."""

TAKEN_BACK = 0.75
"""Power of the weights of classes that is taken back when a network is written: what learned that
rare classes count more says too often that it sees them. With all of it small ones get lost. It was
chosen by the pixels and the mIoU of the test splits of faces and landscapes."""


def started(
    parser: argparse.ArgumentParser, classes: int, minutes: float
) -> tuple[argparse.Namespace, SceneNetwork, np.random.Generator]:
    """What the command line says, and the network and the chance that a training begins with.

    parser: knows the data; it gets output, --start, --minutes (so many by default), --rate, --seed,
    --power and --average.
    """
    parser.add_argument("output", type=Path)
    parser.add_argument("--start", type=Path, help="a folder of an earlier training to go on from")
    parser.add_argument("--minutes", type=float, default=minutes)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--power", type=float, default=POWER, help="of the weights of classes")
    parser.add_argument(
        "--average", type=float, default=AVERAGED, help="share that a step keeps of the average"
    )
    args = parser.parse_args()
    if not args.minutes and args.start is None:
        parser.error("--minutes 0 measures what --start names, which is not given.")
    torch.manual_seed(args.seed)
    if args.start is None:
        network = SceneNetwork(classes)
        network.trunk = EfficientNetLite0Features.from_package().requires_grad_(True)
    else:
        network = SceneNetwork.from_pretrained(args.start, variant="fp16", dtype=torch.float32)
    return args, network, np.random.default_rng(args.seed)


def train(
    network: SceneNetwork,
    loss: Callable[[float], Tensor],
    minutes: float,
    rate: float,
    output: Path,
    excess: Tensor,
    average: float = AVERAGED,
) -> None:
    """Train so long, the rate falling to nothing, and write the averaged network in float16.

    loss: of a new batch, for the share of the time that is over. excess (K,): how many times too
    often the network learns to say each class, see `TAKEN_BACK`: it begins by saying it as often,
    since of what an earlier training wrote that was taken back. average: as `AVERAGED`.
    """
    with torch.no_grad():
        network.get_parameter("class_head.bias").add_(excess.log())
    network.to(memory_format=torch.channels_last).train()
    averaged = {key: value.detach().clone() for key, value in network.state_dict().items()}
    trunk = list(network.trunk.parameters())
    rest = [each for name, each in network.named_parameters() if not name.startswith("trunk.")]
    optimizer = torch.optim.AdamW(
        [{"params": trunk, "share": 0.4}, {"params": rest, "share": 1.0}], weight_decay=1e-2
    )
    begun, step = time.monotonic(), 0
    while (done := (time.monotonic() - begun) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            warm = min(1.0, (step + 1) / 50)
            group["lr"] = rate * group["share"] * warm * (1 + math.cos(math.pi * done)) / 2
        value = loss(done)
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        step += 1
        kept = min(average, step / (step + 10))
        for key, newest in network.state_dict().items():
            averaged[key].lerp_(newest, 1 - kept)
        if step % 20 == 0:
            print(f"{step} {time.monotonic() - begun:.0f} s: {value:.3f}", flush=True)
        if step % 200 == 0 or step == 20:
            save(network, averaged, output, excess)
    save(network, averaged, output, excess)
    print(f"{step} steps")


def save(network: SceneNetwork, averaged: dict[str, Tensor], output: Path, excess: Tensor) -> None:
    """Write the averaged weights in float16; excess (K,): of `train`, which is taken back."""
    copy = deepcopy(network)
    copy.load_state_dict(averaged)
    with torch.no_grad():
        copy.get_parameter("class_head.bias").sub_(excess.log())
    copy.half().save_pretrained(output, variant="fp16")


def in_other_light(rng: np.random.Generator, photo: np.ndarray) -> np.ndarray:
    """Another brightness, contrast, saturation and white balance."""
    color = 0 if rng.random() < 0.05 else rng.uniform(0.5, 1.4)
    matrix = np.full((3, 3), (1 - color) / 3) + color * np.eye(3)
    contrast = rng.uniform(0.7, 1.25)
    matrix *= contrast * rng.uniform(0.9, 1.1, (3, 1))
    offset = np.full((3, 1), 128 * (1 - contrast) + rng.uniform(-30, 30))
    return cv2.transform(photo, np.hstack([matrix, offset]))


def class_weights(labels: list[np.ndarray], classes: int, power: float = POWER) -> Tensor:
    """The rarer a class, the more its pixels count, (K,); power: as `POWER`."""
    share = np.bincount(np.concatenate([each.ravel() for each in labels]), minlength=classes)
    weights: np.ndarray = (share.sum() / np.maximum(share, 1)) ** power
    return torch.tensor(weights / weights[1:].mean(), dtype=torch.float32).clamp(0.2, 3)


def class_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """`shares_loss` of whole labels (B, H, W)."""
    truth = F.one_hot(labels, logits.shape[1]).permute(0, 3, 1, 2).float()
    return shares_loss(logits, truth, weights)


def shares_loss(logits: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross entropy, and 1 - the soft Dice score of the classes that are there.

    truth (B, K, H, W): the share of each class at each place.
    """
    counted = truth * weights[:, None, None]
    entropy = -(counted * logits.log_softmax(1)).sum() / counted.sum()
    probabilities = logits.softmax(1)
    both, either = (probabilities * truth).sum((0, 2, 3)), (probabilities + truth).sum((0, 2, 3))
    dice = (2 * both / (either + 1))[truth.sum((0, 2, 3)) > 0].mean()
    return entropy + 1 - dice


def shares_of(labels: np.ndarray, classes: int, size: tuple[int, int]) -> Tensor:
    """Labels (H, W) as the share of each class (K, h, w) in each place of a smaller (h, w)."""
    each = F.one_hot(torch.from_numpy(labels).long(), classes).permute(2, 0, 1).float()
    return F.adaptive_avg_pool2d(each, size)


def confusion_matrix(labels: np.ndarray, found: np.ndarray, classes: int) -> np.ndarray:
    """How many pixels of each class (rows) were read as each (columns)."""
    pairs = labels.ravel().astype(int) * classes + found.ravel()
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def agreement(confusion: np.ndarray, classes: Sequence[str]) -> str:
    """Share of the pixels that are read rightly, and the IoU of the classes, in words."""
    both = np.diag(confusion)
    either = confusion.sum(0) + confusion.sum(1) - both
    known = confusion.sum(1) > 0
    scores = zip(classes, both / np.maximum(either, 1), strict=True)
    return (
        f"{both.sum() / confusion.sum():.3f} of the pixels alike, mIoU "
        f"{(both[known] / either[known]).mean():.3f}\n  "
        + ", ".join(f"{name} {score:.2f}" for name, score in scores)
    )
