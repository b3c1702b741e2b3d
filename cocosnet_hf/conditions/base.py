"""What every condition promises. A new one is one class: see `Condition`."""

from __future__ import annotations

import dataclasses
import typing
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from typing_extensions import Self

from ..notes import Note, warn
from ..pairing import Framed, fits, lying_on, misfit
from ..pictures import Picture, open_image, open_stored
from ..propagation import Guide
from ..settings_file import build, to_dict, without_lists
from .descriptors import gradient_descriptor

if typing.TYPE_CHECKING:
    from .joints import Pose

NEAREST, BICUBIC = Image.Resampling.NEAREST, Image.Resampling.BICUBIC

DESCRIBED_SIZE = 64
"""Height and width at which a condition is drawn to be compared with others."""


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """A condition's source, opened once: `value` as its `encode` reads it, (height, width).

    notes: what was taken where it may mean two things, for those who read many and say it once.
    """

    value: Any
    size: tuple[int, int]
    notes: tuple[Note, ...] = ()


Given = Source | Tensor | None
"""A condition that an exemplar may come with: opened, encoded, or not given."""


def value_of(source: Any) -> Any:
    """What a source holds, opened or not."""
    return source.value if isinstance(source, Source) else source


@dataclasses.dataclass(frozen=True, eq=False)
class Landmarks:
    """What guides the matching of two pictures.

    points (n, 2) float32: named points, (x, y) in shares of width and height, NaN where one is
    missing. labels (h, w) int16: the class of each place, where classes guide too. is_read: the
    labels were seen in a photo by a network, which takes like classes for one another. sure (h, w)
    bool: where it had little doubt; None where that is not known. cores: what guides make of an
    exemplar once, see `reflection.core_of`, by the class that is asked for.
    """

    points: Tensor
    labels: Tensor | None = None
    is_read: bool = False
    sure: Tensor | None = None
    cores: dict[int, tuple[np.ndarray, np.ndarray]] = dataclasses.field(
        default_factory=dict, init=False, repr=False
    )


class Geometry(Protocol):
    """The cut, flip and displacement of a training picture, as `Condition.moved` uses it.

    See `cocosnet_hf.datasets.Geometry`.
    """

    @property
    def load(self) -> tuple[int, int]:
        """(width, height) before the cut."""

    def picture(self, image: Image.Image, resample: Image.Resampling = ...) -> Image.Image:
        """A picture through this geometry."""

    def pose(self, pose: Pose) -> Pose:
        """A pose through this geometry."""

    def joints(self, pose: Pose) -> np.ndarray:
        """Where its joints end up, in pixels, beside their scores: (18, 3)."""


@dataclasses.dataclass(frozen=True)
class ConditionCard:
    """What a model card says of a condition.

    summary: what a picture has its layout from, such as "a semantic mask". source, exemplar_source:
    Python for the usage snippet. text: what it is made from, Markdown. header, rows: of a table.
    """

    summary: str
    source: str
    exemplar_source: str
    text: str
    header: list[str]
    rows: list[list[str]]


@dataclasses.dataclass(frozen=True)
class Condition(ABC):
    """A recipe that turns user input (mask, edges, pose) into the tensor the networks read.

    A condition is a value: equal settings are equal conditions, and `to_config` / `from_config`
    carry it through a pipeline's JSON configuration unchanged.

    A new condition is a frozen dataclass with a `type`, `channels`, `encode`, `preview` and
    `from_photo`; everything else has a default that suits a condition made from one picture. It is
    trained by a recipe with `condition: {type: "module:Class", ...}`.
    """

    type: ClassVar[str]
    needs_only_photo: ClassVar[bool] = False
    """Whether `from_photo` works on any photo, without further models or input."""
    labelled: ClassVar[bool] = False
    """Whether it is a label map: `pack` makes (H, W) int64 labels of `channels` classes."""
    has_joints: ClassVar[bool] = False
    """Whether the value of a source is a `Pose`."""
    drawn: ClassVar[str | None] = None
    """The kind of drawn pictures that holds it, see `cocosnet_hf.synthetic`; none by default."""
    column: ClassVar[str] = "pictures"
    """What the column of a data set holds that it is read from, in words."""
    stored_as: ClassVar[str | None] = None
    """Suffix of the files that `store` writes; None where the photo alone is enough."""
    unmeasured: ClassVar[Mapping[str, str]] = {}
    """Metrics that do not fit it, and why."""

    @property
    def least_score(self) -> float:
        """The score in 0..1 above which a joint counts; of conditions with joints."""
        return 0.0

    @property
    @abstractmethod
    def channels(self) -> int:
        """Number of channels K of the encoded condition."""

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the classes, where it has any."""
        return ()

    # From a source to a tensor ------------------------------------------------------------------

    def open(self, source: Any) -> Source:
        """Open what a user passes; an opened source is returned as is.

        Warns of what may mean two things. Raises ValueError on unusable input.
        """
        if isinstance(source, Source):
            return source
        opened = self.opened(source)
        warn(opened.notes)
        return opened

    def opened(self, source: Any) -> Source:
        """What `open` makes of a source, here of a picture of any kind, its notes not yet said."""
        image = open_image(source, f"{self.type} condition")
        return Source(image, (image.height, image.width))

    def natural_size(self, source: Any) -> tuple[int, int]:
        """(height, width) of `source` in pixels, after EXIF rotation."""
        return self.open(source).size

    @abstractmethod
    def encode(self, source: Any, height: int, width: int) -> Tensor:
        """Rasterise `source` to (K, height, width), float32 in [0, 1].

        source: what `open` takes or returns. Raises ValueError on unusable input.
        """

    @abstractmethod
    def preview(self, encoded: Tensor) -> Image.Image:
        """Draw an encoded condition (K, H, W) as an RGB picture that a person can read."""

    @abstractmethod
    def from_photo(self, photo: Picture) -> Any:
        """Make from a photo a source that `encode` accepts."""

    def as_drawing(self, drawing: Picture) -> Any | None:
        """The source that says of a picture that it is drawn lines; None if there is no such."""
        return None

    def with_size(self, source: Any, size: tuple[int, int]) -> Any | None:
        """A source with the (height, width) its file does not tell; None if all of them do."""
        return None

    def of_several(
        self, source: Any, person: int | None = None, frame: int | str | None = None
    ) -> Any | None:
        """A source with the person (from 0) and the frame that are meant, of several in it.

        None for a condition whose sources hold no people.
        """
        return None

    def lying_on(self, source: Source, photo: Framed, what: str) -> Source:
        """An opened source as it lies on its photo, see `cocosnet_hf.pairing`.

        The notes are those of this step. Raises ValueError, naming the source by `what`, for one of
        another shape than the photo.
        """
        if isinstance(source.value, Image.Image):
            picture, notes = lying_on(source.value, photo, what)
            return Source(picture, (picture.height, picture.width), notes)
        if not fits(source.size[::-1], photo.size):
            raise misfit(source.size[::-1], photo.size, what)
        return dataclasses.replace(source, notes=())

    # In training --------------------------------------------------------------------------------

    def from_row(self, value: Any, photo: Image.Image, name: str) -> Source:
        """The source in the condition column of a data set.

        value: as `datasets` stores it, or what `open` takes. photo: of the same row. name: of the
        row. Raises ValueError, naming it, for what cannot be read.
        """
        what = f"condition of {name}"
        picture, notes = lying_on(open_stored(value, what), photo, what)
        return dataclasses.replace(self.open(picture), notes=notes)

    def accept_label_groups(self, groups: tuple[tuple[int, ...], ...]) -> None:
        """Raise ValueError unless the labels of rows may be brought to classes by these groups."""
        if len(groups) != self.channels:
            raise ValueError(
                f"'label_groups' must hold one list of values for each of the {self.channels} "
                f"classes of the condition, got {len(groups)}."
            )

    def moved(self, source: Source, geometry: Geometry, photo: Image.Image) -> Source:
        """A source of `from_row` through the geometry of its photo, to the nearest pixel.

        photo: the row's photo, moved already.
        """
        return self.open(geometry.picture(source.value, NEAREST))

    def jittered(self, rng: np.random.Generator, amount: float) -> Condition:
        """It with its settings varied at random, by `amount` in 0..1; itself where none can be."""
        return self

    def pack(self, source: Any, height: int, width: int) -> Tensor:
        """What travels from the loader to the device, of which `unpack` makes what `encode` does.

        The encoded condition itself, unless there is something smaller.
        """
        return self.encode(source, height, width)

    def unpack(self, packed: Tensor) -> Tensor:
        """Packed conditions, one or a batch, as encoded ones (..., K, H, W)."""
        return packed

    def mirrored(self, packed: Tensor) -> Tensor:
        """Exchange what is left and right in name, of a packed condition that was flipped."""
        return packed

    def joints(self, source: Source, geometry: Geometry) -> np.ndarray | None:
        """Where joints of a source of `from_row` end up: (18, 3) pixels, score or NaN; or None."""
        return None

    # Between two conditions of a kind -----------------------------------------------------------

    @property
    def has_landmarks(self) -> bool:
        """Whether `landmarks` finds any, so that an exemplar's own condition guides."""
        return False

    def landmarks(self, source: Source | Tensor) -> Landmarks | None:
        """What guides of an opened source, or of an encoded condition (K, H, W).

        None for a condition, or a form of it, that does not tell.
        """
        return None

    def unguided(self) -> Self:
        """The same for rows of which nothing needs to guide, which are then read faster."""
        return self

    def landmarks_in(self, photo: Picture, source: Given = None) -> Landmarks | None:
        """What guides of an exemplar, by its photo and its own condition where it comes with one.

        source: as `landmarks` takes it. None if neither tells.
        """
        if source is not None:
            return self.landmarks(source)
        return self.landmarks_of_photo(photo) if self.has_landmarks else None

    def landmarks_of_photo(self, photo: Picture) -> Landmarks | None:
        """What guides of a photo alone; None if that is not read."""
        return None

    def guide(self, own: Landmarks, exemplar: Landmarks, exemplar_grid: tuple[int, int]) -> Guide:
        """What the landmarks of a condition and of an exemplar say of where it lies there.

        exemplar_grid: (h, w), in whose cells it speaks. Only of a condition with `landmarks`.
        """
        raise NotImplementedError(f"a {self.type} condition has no landmarks.")

    # Compared, measured, kept and described -----------------------------------------------------

    def compared(self, source: Source | None, photo: Image.Image) -> Any:
        """What `descriptor` is given of an example; source: None where it comes from the photo."""
        return self.from_photo(photo) if source is None else source

    def descriptor(self, source: Any) -> np.ndarray:
        """What like layouts are found by, (D,) float32 of norm 1: slopes of the drawn condition."""
        encoded = self.encode(source, DESCRIBED_SIZE, DESCRIBED_SIZE)
        return gradient_descriptor(self.preview(encoded))

    def lines(self, photo: Image.Image) -> np.ndarray | None:
        """The lines (H, W) bool in a photo, as channel 0 should ask for them; None without such."""
        return None

    def segment(self, photo: Image.Image, model: str) -> np.ndarray:
        """The classes (H, W) that a named model sees in a photo.

        Raises ValueError for a condition that is no label map.
        """
        raise ValueError(f"A segmenter needs a mask condition, this is '{self.type}'.")

    def find_pose(self, photo: Image.Image, model: str) -> Pose:
        """The pose that a named model sees in a photo.

        Raises ValueError for a condition without joints.
        """
        raise ValueError(f"A pose finder needs a pose condition, this is '{self.type}'.")

    def store(self, source: Any, path: Path, height: int, width: int) -> None:
        """Write a source to a file with the suffix `stored_as`, which `open` reads.

        height, width: of its photo.
        """
        raise NotImplementedError(f"a {self.type} condition is not stored.")

    def card(self) -> ConditionCard:
        """What a model card says of it: by default its settings."""
        settings = {key: value for key, value in self.to_config().items() if key != "type"}
        return ConditionCard(
            summary=f"a condition of the type {self.type}",
            source='"condition.png"',
            exemplar_source='"exemplar_condition.png"',
            text=f"What a `{type(self).__name__}` encodes, which is no condition of this package.",
            header=["setting", "value"],
            rows=[[name, f"{value}"] for name, value in settings.items()],
        )

    # Checks and configuration -------------------------------------------------------------------

    def validate_encoded(self, tensor: Tensor) -> None:
        """Raise ValueError unless `tensor` is (K, H, W) or (B, K, H, W) with finite values."""
        if tensor.ndim not in (3, 4) or tensor.shape[-3] != self.channels:
            raise ValueError(
                f"An encoded '{self.type}' condition must have shape ({self.channels}, H, W) or "
                f"(B, {self.channels}, H, W), got {tuple(tensor.shape)}; make it with "
                "condition.encode(...)."
            )
        if not torch.isfinite(tensor).all():
            raise ValueError(
                f"The encoded '{self.type}' condition contains NaN or infinite values."
            )

    def one_encoded(self, encoded: Tensor) -> Tensor:
        """An encoded condition (K, H, W), checked, as float32 in [0, 1] on the CPU."""
        self.validate_encoded(encoded)
        if encoded.ndim != 3:
            raise ValueError(f"One condition (K, H, W) is read at a time, got {encoded.ndim}-D.")
        return encoded.detach().float().cpu().clamp(0, 1)

    @classmethod
    def is_foreign(cls) -> bool:
        """Whether this class is defined outside this package."""
        return cls.__module__.partition(".")[0] != __name__.partition(".")[0]

    @classmethod
    def config_type(cls) -> str:
        """The `type` in configurations: "module:Class" of a class of another package."""
        return f"{cls.__module__}:{cls.__qualname__}" if cls.is_foreign() else cls.type

    def to_config(self) -> dict[str, Any]:
        """This condition as a dict of plain values with string keys: nested dicts, never lists.

        (diffusers takes a list in a pipeline's configuration for a component.)
        """
        return {"type": self.config_type()} | without_lists(to_dict(self))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Rebuild a condition from `to_config`'s dict, in which lists may be written as lists.

        Raises ValueError on an unknown key, a missing one or a wrong type.
        """
        if config.get("type", cls.type) not in (cls.type, cls.config_type()):
            raise ValueError(f"{cls.__name__} reads the type '{cls.type}', got '{config['type']}'.")
        return build(cls, {key: config[key] for key in config if key != "type"}, "condition.")


def are_alike(one: Condition, other: Condition) -> bool:
    """Whether both make the same of a source: only what guides the matching may differ."""
    return one.unguided().to_config() == other.unguided().to_config()
