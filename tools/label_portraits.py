"""Give official portraits label maps of CelebAMask-HQ's parts, for `tools.train_face`.

    python -m tools.label_portraits FOLDER OUTPUT

FOLDER: portraits whose person, face skin, nose, eyes, brows and lips are labelled, split train with
images/, labels/ (index maps, see `PARTS`) and metadata.jsonl. What those labels leave open, such as
hair, neck and clothes of the person, is what our own reader of faces sees there.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from cocosnet_hf.conditions.faces import CELEBAMASK_FACE_CLASSES
from cocosnet_hf.conditions.sides import mirrored_order
from cocosnet_hf.face_reader import WEIGHTS, seen_photo
from cocosnet_hf.models.scene import SceneNetwork

PARTS = (
    ("background",),
    ("hair", "hat", "l_ear", "r_ear", "ear_r", "neck", "neck_l", "cloth"),
    ("skin", "glasses"),
    ("nose",),
    ("r_eye", "glasses"),
    ("l_eye", "glasses"),
    ("r_brow", "glasses"),
    ("l_brow", "glasses"),
    ("mouth",),
    ("u_lip",),
    ("l_lip",),
)
"""For each label of the portraits, what it may be in CelebAMask-HQ's words, whose left is that of
the person, and the portraits' first that of the picture."""

HAIR_OVER = {0: 0.8, 2: 0.6}
"""How sure of hair the reader must be where the labels say ground, or skin: they miss its wisps,
and hair on a forehead."""


def main() -> None:
    """Write images, labels and metadata.jsonl of the split train."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    args = parser.parse_args()
    network = SceneNetwork.from_pretrained(WEIGHTS, variant="fp16", dtype=torch.float32).eval()
    source, target = args.folder / "train", args.output / "train"
    for name in ("images", "labels"):
        (target / name).mkdir(parents=True, exist_ok=True)
    with (target / "metadata.jsonl").open("w") as lines:
        for text in (source / "metadata.jsonl").open():
            row = json.loads(text)
            photo = Image.open(source / row["file_name"]).convert("RGB")
            given = np.asarray(Image.open(source / row["label_file_name"]))
            names = {
                "file_name": f"images/{row['id']}.png",
                "label_file_name": f"labels/{row['id']}.png",
            }
            photo.save(target / names["file_name"])
            labels = combined(given, shares(network, photo))
            Image.fromarray(labels).save(target / names["label_file_name"])
            lines.write(json.dumps(names) + "\n")


@torch.inference_mode()
def shares(network: SceneNetwork, photo: Image.Image) -> np.ndarray:
    """How sure the reader is of each part at each pixel, (K, H, W): of the photo and its mirror."""
    seen = seen_photo(photo)
    exchanged = list(mirrored_order(CELEBAMASK_FACE_CLASSES))
    both: Tensor = network(torch.stack([seen, seen.flip(-1)])).softmax(1)
    mean = (both[:1] + both[1:].flip(-1)[:, exchanged]) / 2
    return F.interpolate(mean, (photo.height, photo.width), mode="bilinear")[0].numpy()


def combined(given: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The likeliest part among those that the portrait's own labels (H, W) allow, uint8."""
    allowed = np.array([[name in names for name in CELEBAMASK_FACE_CLASSES] for names in PARTS])
    labels = np.where(allowed.T[:, given], shares, -1).argmax(0)
    hair = CELEBAMASK_FACE_CLASSES.index("hair")
    for label, least in HAIR_OVER.items():
        labels[(given == label) & (shares[hair] > least)] = hair
    return labels.astype(np.uint8)


if __name__ == "__main__":
    main()
