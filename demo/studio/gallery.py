"""Pictures to choose from: exemplars, and layouts to start with.

All of them are drawn by code, painted by our own pipelines, or come with scikit-image under a free
licence.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from skimage import data

from cocosnet_hf import Condition, PoseCondition, condition_from_config
from cocosnet_hf.pictures import open_photo
from cocosnet_hf.retrieval import ExemplarIndex, Match
from cocosnet_hf.synthetic import PERSON_CLASSES, SyntheticExamples

FOLDER = Path(__file__).parents[1] / "gallery"
"""One folder for each tab, as `store` writes it."""

ADDRESS = "gallery"
"""Where the page finds the files of `FOLDER`, which are handed out as they are."""

CONDITION_FILE = "condition.json"

ALSO_CALLED = {
    "floor": "background",
    "face": "skin",
    "bottom": "legwear_long",
    "shoes": "footwear",
}
"""What the classes of drawn people are called in the bundled model of masks."""

FIRST = "first"
"""The folder within a tab's that holds its first sight, see `first_sight`."""

FIRST_PAIRS = {
    "mask-to-image": (6, 5),
    "mask-to-landscape": (0, 4),
    "edge-to-face": (7, 11),
    "pose-to-body": (3, 4),
}
"""Whose layout and whose look a tab shows first: chosen by eye. No look of a face is painted."""

TOLD = {
    "mask-to-image": "Painted by the model: few photos may be shown here. Yours are sharper.",
    "mask-to-landscape": "Painted by the model, with the colours of Claude Monet's paintings.",
    "edge-to-face": "Eileen Collins, photographed by NASA. The model painted the others.",
    "pose-to-body": "Painted by the model: few photos may be shown here. Yours are sharper.",
}
"""Where the pictures of a tab come from, in words for visitors."""

TOLD_OF_DRAWN = "Drawn by a program, since there are no pictures for this model's classes."

LOOK = 1
"""The index of a tab's first exemplar: not that of its first layout, so that something happens."""

DRAWN = 8
"""How many pictures are drawn where a tab has none in its folder."""


@dataclass(frozen=True, eq=False)
class Exhibit:
    """A picture with its condition: a source of the pipeline's `condition.encode`."""

    picture: Image.Image
    condition: Any


class Gallery:
    """The pictures of one tab, found by how well they suit a condition.

    told: where they come from, in words for visitors.
    """

    def __init__(self, exhibits: list[Exhibit], condition: Condition, told: str = "") -> None:
        self.exhibits = exhibits
        self.condition = condition
        self.told = told
        sources = [exhibit.condition for exhibit in exhibits]
        self._index = ExemplarIndex.build(sources, condition)

    def __len__(self) -> int:
        return len(self.exhibits)

    @property
    def layout(self) -> Exhibit:
        """Whose condition a tab shows first."""
        return self.exhibits[0]

    @property
    def look(self) -> Exhibit:
        """Whose picture is a tab's first exemplar."""
        return self.exhibits[LOOK]

    def __getitem__(self, index: int) -> Exhibit:
        return self.exhibits[index]

    def find(self, picture: Image.Image) -> Exhibit | None:
        """Whose picture this is, pixel for pixel; None if it is no exhibit's."""
        index = self.index_of(picture)
        return None if index is None else self.exhibits[index]

    def index_of(self, picture: Image.Image) -> int | None:
        """The index of the exhibit whose picture this is; None if it is no exhibit's."""
        wanted = np.asarray(picture.convert("RGB"))
        for index, exhibit in enumerate(self.exhibits):
            if np.array_equal(wanted, np.asarray(exhibit.picture.convert("RGB"))):
                return index
        return None

    @property
    def pictures(self) -> list[Image.Image]:
        """All pictures, in order."""
        return [exhibit.picture for exhibit in self.exhibits]

    def previews(self, side: int = 128) -> list[Image.Image]:
        """All conditions as pictures, in order, whose longer side is `side`."""
        shown = []
        for exhibit in self.exhibits:
            height, width = self.condition.natural_size(exhibit.condition)
            scale = side / max(height, width)
            encoded = self.condition.encode(
                exhibit.condition, round(height * scale), round(width * scale)
            )
            shown.append(self.condition.preview(encoded))
        return shown

    def best(self, query: Any) -> list[Match]:
        """All pictures, the one whose condition is most like `query` first.

        query: for masks and poses a source of `condition.encode`, for edges a picture.
        """
        return self._index.nearest(query, k=len(self))


def gallery_of(tab: str, condition: Condition) -> Gallery:
    """The gallery for a tab's pipeline.

    A mask pipeline of other classes than the gallery's own gets drawn pictures.
    """
    stored = _stored(tab, condition)
    exhibits = stored or _drawn(condition)
    if condition.needs_only_photo:
        face = real_face()
        exhibits = [*exhibits, Exhibit(face, face)]
    if stored:
        exhibits = _first_pair_first(tab, exhibits)
    return Gallery(exhibits, condition, TOLD[tab] if stored else TOLD_OF_DRAWN)


def real_face() -> Image.Image:
    """Eileen Collins, as photographed by NASA: in the public domain."""
    return Image.fromarray(data.astronaut()).crop((130, 0, 330, 200))


def _first_pair_first(tab: str, exhibits: list[Exhibit]) -> list[Exhibit]:
    if max(FIRST_PAIRS[tab]) >= len(exhibits):
        return exhibits  # another gallery
    pair = [exhibits[index] for index in FIRST_PAIRS[tab]]
    return pair + [exhibit for exhibit in exhibits if exhibit not in pair]


def address_in(*parts: str) -> str:
    """The address, from the page's, of a file of `FOLDER`."""
    return "/".join((ADDRESS, *parts))


def exhibit_files(folder: Path) -> list[Path]:
    """The files of a tab's pictures, in order."""
    return sorted(folder.glob("[0-9][0-9].*"))


def standing_figure() -> np.ndarray:
    """Where a standing person's 18 joints are, as shares of the picture: (18, 2)."""
    pose = _drawn(PoseCondition())[0].condition
    return pose.joints[:, :2] / pose.size[::-1]


def store(exhibits: list[Exhibit], folder: Path, condition: Condition) -> None:
    """Write pictures for a tab: NAME.jpg with what `Condition.store` writes, such as NAME.png.

    With masks goes condition.json: only pipelines of the same condition can read them. Pictures
    that the folder held before are gone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in exhibit_files(folder):
        old.unlink()
    for index, exhibit in enumerate(exhibits):
        path = folder / f"{index:02d}.jpg"
        exhibit.picture.save(path, quality=95)
        if condition.stored_as is not None:
            own = path.with_suffix(condition.stored_as)
            condition.store(exhibit.condition, own, exhibit.picture.height, exhibit.picture.width)
    if condition.labelled:
        text = json.dumps(condition.to_config(), indent=2)
        (folder / CONDITION_FILE).write_text(text + "\n")


def has_gallery(tab: str, condition: Condition) -> bool:
    """Whether a tab's stored pictures are of this condition."""
    config = FOLDER / tab / CONDITION_FILE
    return config.is_file() and condition_from_config(json.loads(config.read_text())) == condition


def _stored(tab: str, condition: Condition) -> list[Exhibit]:
    if condition.labelled and not has_gallery(tab, condition):
        return []
    exhibits = []
    for path in sorted((FOLDER / tab).glob("*.jpg")):
        picture = open_photo(path)
        own: Any = picture
        if condition.stored_as is not None:
            own = condition.open(path.with_suffix(condition.stored_as)).value
        exhibits.append(Exhibit(picture, own))
    return exhibits


def _drawn(condition: Condition) -> list[Exhibit]:
    """Drawn people on white for poses and for masks of clothing, else drawn landscapes."""
    kind = "mask"
    if condition.has_joints or _known(PERSON_CLASSES, condition):
        kind = "pose"
    examples = SyntheticExamples(kind, image_size=192)
    exhibits = []
    for number in range(DRAWN):
        picture, own, labels = examples.draw(layout=number, look=number)
        if kind == "pose":
            picture = _on_white(picture, np.asarray(labels), examples.classes)
        if condition.labelled:
            own = _renamed(np.asarray(labels), examples.classes, condition)
        elif condition.needs_only_photo:
            own = picture
        exhibits.append(Exhibit(picture, own))
    return exhibits


def _on_white(picture: Image.Image, labels: np.ndarray, names: tuple[str, ...]) -> Image.Image:
    """A drawn person as in the photos that the bundled models learned from."""
    pixels = np.array(picture)
    pixels[np.isin(labels, [names.index("background"), names.index("floor")])] = 255
    return Image.fromarray(pixels)


def _known(names: tuple[str, ...], condition: Condition) -> bool:
    """Whether most of the drawing's classes are among a mask's."""
    known = [ALSO_CALLED.get(name, name) in condition.label_names for name in names]
    return sum(known) > len(names) / 2


def _renamed(labels: np.ndarray, names: tuple[str, ...], condition: Condition) -> np.ndarray:
    """Labels in another condition's classes, by name; what it lacks is its unknown or first one.

    The result is one channel per class, which no table of label values touches.
    """
    first = getattr(condition, "unknown", None) or 0
    known = {name: index for index, name in enumerate(condition.label_names)}
    table = np.array(
        [known.get(name, known.get(ALSO_CALLED.get(name, ""), first)) for name in names]
    )
    return np.eye(condition.channels, dtype=np.float32)[table[labels]].transpose(2, 0, 1)
