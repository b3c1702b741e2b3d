"""The drawn pictures as a data set, and as a folder."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..conditions import Condition, EdgeCondition, MaskCondition, Pose, PoseCondition
from .paint import render, shrink
from .person import PERSON_CLASSES, person_layout, person_look, person_pose
from .scene import SCENE_CLASSES, scene_layout, scene_look

KINDS = ("mask", "edge", "pose")


@dataclasses.dataclass(frozen=True)
class SyntheticExamples:
    """Drawn pictures with masks, edges or poses; example `i` of a seed is always the same.

    A scene's layout and its colours and textures are drawn independently, so the condition says
    nothing about the colours and only the exemplar can: the example's `exemplar` has another layout
    in the very same look. The photo is therefore the right answer to (condition, exemplar), and how
    well colours are carried can be measured.

    kind: "mask" and "edge" show landscapes, "pose" a person. image_size: the side in pixels.
    length: what `len` says to samplers; examples beyond it can be drawn as well, without an end.
    first: number of the first example, for pictures that another set does not hold.

    Examples are dicts: `image` (RGB), `condition` (a palette picture of labels, the photo itself,
    or a `Pose`), `labels` (a palette picture), `exemplar`, `exemplar_condition`, `exemplar_labels`
    and `id`. Raises ValueError for another kind, a size below 16 and a length below 1.
    """

    kind: str = "mask"
    image_size: int = 64
    seed: int = 0
    length: int = 10_000
    first: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"'kind' must be one of {KINDS}, got {self.kind!r}.")
        if self.image_size < 16 or self.length < 1 or self.first < 0:
            raise ValueError(
                "Drawn pictures need image_size >= 16, length >= 1 and first >= 0, got "
                f"{self.image_size}, {self.length} and {self.first}."
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels."""
        return PERSON_CLASSES if self.kind == "pose" else SCENE_CLASSES

    @property
    def condition(self) -> Condition:
        """The condition that reads these examples."""
        if self.kind == "mask":
            return MaskCondition(classes=self.classes)
        return EdgeCondition() if self.kind == "edge" else PoseCondition()

    @property
    def column_names(self) -> list[str]:
        """The keys of an example, as `datasets` names them."""
        parts = ["image", "condition", "labels"]
        return [*parts, *("exemplar", "exemplar_condition", "exemplar_labels"), "id"]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Example `index` >= 0. Raises IndexError for a negative index."""
        if index < 0:
            raise IndexError(f"Drawn examples are numbered from 0, got {index}.")
        number = self.first + int(index)
        image, condition, labels = self.draw(layout=2 * number, look=number)
        exemplar, exemplar_condition, exemplar_labels = self.draw(2 * number + 1, number)
        return {
            "image": image,
            "condition": condition,
            "labels": labels,
            "exemplar": exemplar,
            "exemplar_condition": exemplar_condition,
            "exemplar_labels": exemplar_labels,
            "id": f"{self.kind}-{self.seed}-{number:06d}",
        }

    def draw(self, layout: int, look: int) -> tuple[Image.Image, Any, Image.Image]:
        """Photo, condition and labels of any layout number in any look number."""
        layout_rng = np.random.default_rng([self.seed, 0, layout])
        look_rng = np.random.default_rng([self.seed, 1, look])
        if self.kind == "pose":
            joints, floor = person_pose(layout_rng), layout_rng.uniform(0.72, 0.9)
            clothes = person_look(look_rng)
            labels = person_layout(joints, clothes, floor, self.image_size)
            paints = clothes.paints
        else:
            labels = scene_layout(layout_rng, self.image_size)
            paints = scene_look(look_rng)
        pixels, labels = shrink(render(labels, paints), labels)
        photo, mask = Image.fromarray(pixels), self._palette_picture(labels)
        if self.kind == "mask":
            return photo, mask, mask
        if self.kind == "edge":
            return photo, photo, mask
        # A stick figure has a fixed width in pixels: on a canvas below 128 it is too fat to read.
        side = max(self.image_size, 128)
        scored = np.concatenate([joints * side, np.ones((len(joints), 1))], axis=1)
        return photo, Pose(scored, (side, side)), mask

    def _palette_picture(self, labels: np.ndarray) -> Image.Image:
        picture = Image.fromarray(labels)
        picture.putpalette(MaskCondition(classes=self.classes).palette.tobytes())
        return picture


def write_imagefolder(
    examples: SyntheticExamples, folder: str | os.PathLike[str], split: str = "train"
) -> Path:
    """Write all examples as `<folder>/<split>` with pictures and a metadata.jsonl.

    Columns after loading: `image`, `label`, `exemplar`, `exemplar_label`, `id` and, for poses,
    `keypoints` and `exemplar_keypoints` (rows of x, y, score). Returns the split's folder. Raises
    FileExistsError where it exists already.
    """
    target = Path(folder) / split
    target.mkdir(parents=True)
    lines = []
    for index in range(len(examples)):
        example = examples[index]
        name = example["id"]
        row: dict[str, Any] = {"id": name}
        for key, column, directory in (
            ("image", "file_name", "images"),
            ("labels", "label_file_name", "labels"),
            ("exemplar", "exemplar_file_name", "exemplars"),
            ("exemplar_labels", "exemplar_label_file_name", "exemplar_labels"),
        ):
            (target / directory).mkdir(exist_ok=True)
            row[column] = f"{directory}/{name}.png"
            example[key].save(target / row[column])
        if examples.kind == "pose":
            for column, key in (
                ("keypoints", "condition"),
                ("exemplar_keypoints", "exemplar_condition"),
            ):
                pose = example[key]
                scale = (examples.image_size / pose.size[1], examples.image_size / pose.size[0], 1)
                row[column] = (pose.joints * scale).round(2).tolist()
        lines.append(json.dumps(row))
    (target / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return target
