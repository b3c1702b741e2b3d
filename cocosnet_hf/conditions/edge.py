"""Edges: lines and the distance to them, from a photo alone or drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from skimage.morphology import skeletonize
from torch import Tensor

from ..face_reader import read_size, seen_edges, seen_photo
from ..pairing import lying_on
from ..pictures import Picture, check_sides, open_photo, open_stored, to_numpy
from ..propagation import Guide
from .base import NEAREST, Condition, ConditionCard, Geometry, Landmarks, Source, value_of
from .descriptors import gradient_descriptor
from .drawings import is_line_array, read_drawing
from .lines import draw_lines, fit_lines, line_distance, photo_edges
from .portraits import landmarks_of_portrait, portrait_guide


@dataclasses.dataclass(frozen=True)
class EdgeCondition(Condition):
    """Lines from a photo alone: channel 0 the lines, channel 1 the distance to the nearest one.

    The distance is city-block, 1 at `reach` pixels and beyond. Two channels: the edges of Zhang et
    al. 2020, section 3, without the face parts of the released weights (official networks, 8.3).

    sigma: smoothing before the Canny edge detector, in pixels.
    low, high: its two thresholds, as fractions of the grey range.
    guided: the parts of a face, which a bundled network reads in both pictures, guide the matching;
        pictures without a face are matched by looks alone.

    Sources that `encode` accepts:
    a photo: picture of any kind;
    {"edges": drawing}: lines on paper of any tone (the rarer is the line), or strokes on a
        transparent ground, see `read_drawing`; strokes are thinned to one pixel, as Canny's edges
        are; as a bool array (H, W) of strokes it may also be empty;
    a bool array or tensor (H, W): the lines themselves, taken as they are.
    """

    type: ClassVar[str] = "edge"
    needs_only_photo: ClassVar[bool] = True
    drawn: ClassVar[str] = "edge"

    sigma: float = 1.0
    low: float = 0.1
    high: float = 0.2
    reach: float = 32.0
    guided: bool = False

    def __post_init__(self) -> None:
        if not self.reach > 0:
            raise ValueError(f"reach must be a positive number of pixels, got {self.reach}.")
        if self.sigma < 0 or not 0 <= self.low <= self.high <= 1:
            raise ValueError(
                "Edges need sigma >= 0 and 0 <= low <= high <= 1, got "
                f"sigma={self.sigma}, low={self.low}, high={self.high}."
            )

    @property
    def channels(self) -> int:
        """Lines and distance."""
        return 2

    def opened(self, source: Any) -> Source:
        """The photo in RGB, {"edges": strokes (H, W) bool} of a drawing, or the lines (H, W) bool.

        Raises ValueError for unreadable pictures and for a drawing without a line.
        """
        if isinstance(source, Mapping):
            strokes, notes = read_drawing(_drawing(source))
            height, width = strokes.shape
            check_sides(height, width, "The line array")
            return Source({"edges": strokes}, (height, width), notes)
        if is_line_array(source):
            height, width = source.shape
            check_sides(height, width, "The line array")
            return Source(to_numpy(source, "edges"), (height, width))
        photo = open_photo(source)
        return Source(photo, (photo.height, photo.width))

    def encode(self, source: Any, height: int, width: int) -> Tensor:
        """(2, height, width) float32 in [0, 1]; see the class for what `source` may be.

        Raises ValueError as `open` does.
        """
        value = self.open(source).value
        if isinstance(value, Mapping):
            lines = skeletonize(fit_lines(value["edges"], height, width))
        elif isinstance(value, np.ndarray):
            lines = fit_lines(value, height, width)
        else:
            photo = value.resize((width, height), Image.Resampling.BILINEAR)
            lines = self.lines(photo)
        distance = np.minimum(line_distance(lines) / self.reach, 1)
        return torch.from_numpy(np.stack([lines, distance]).astype(np.float32))

    def preview(self, encoded: Tensor) -> Image.Image:
        """The lines, dark on white."""
        return draw_lines(self.one_encoded(encoded)[0])

    def from_photo(self, photo: Picture) -> Picture:
        """The photo itself: `encode` finds its edges."""
        return photo

    def as_drawing(self, drawing: Picture) -> dict[str, Any]:
        """Drawn lines, in place of a photo with edges."""
        return {"edges": drawing}

    def from_row(self, value: Any, photo: Image.Image, name: str) -> Source:
        """A drawing; its strokes are found in the whole, as a cut may have no line."""
        what = f"condition of {name}"
        drawing, notes = lying_on(open_stored(value, what), photo, what)
        try:
            opened = self.opened({"edges": drawing})
            return dataclasses.replace(opened, notes=(*notes, *opened.notes))
        except ValueError as error:
            raise ValueError(f"The condition of {name} cannot be used: {error}") from error

    def moved(self, source: Source, geometry: Geometry, photo: Image.Image) -> Source:
        """The strokes, of which thin ones are kept."""
        strokes = fit_lines(source.value["edges"], *geometry.load[::-1])
        moved = geometry.picture(Image.fromarray(strokes.astype(np.uint8)), NEAREST)
        return self.open({"edges": np.array(moved) > 0})

    @property
    def has_landmarks(self) -> bool:
        """Whether it is `guided`."""
        return self.guided

    def unguided(self) -> EdgeCondition:
        """Without landmarks, which take time to read."""
        return dataclasses.replace(self, guided=False)

    def landmarks(self, source: Source | Tensor) -> Landmarks | None:
        """The parts of the face that the edges show; None where it is not `guided`."""
        if not self.guided:
            return None
        if isinstance(source, Tensor):
            return landmarks_of_portrait(seen_edges(self.one_encoded(source)))
        return landmarks_of_portrait(seen_edges(self.encode(source, *read_size(*source.size))))

    def landmarks_of_photo(self, photo: Picture) -> Landmarks | None:
        """The parts of the face in an exemplar, seen in the photo itself."""
        return landmarks_of_portrait(seen_photo(photo))

    def guide(self, own: Landmarks, exemplar: Landmarks, exemplar_grid: tuple[int, int]) -> Guide:
        """See `portrait_guide`."""
        return portrait_guide(own, exemplar, exemplar_grid)

    def jittered(self, rng: np.random.Generator, amount: float) -> EdgeCondition:
        """Blur and both thresholds times up to 1 + amount, or divided by it."""
        blur, threshold = (1 + amount) ** rng.uniform(-1, 1, 2)
        low, high = (min(1.0, value * threshold) for value in (self.low, self.high))
        return dataclasses.replace(self, sigma=self.sigma * blur, low=low, high=high)

    def compared(self, source: Source | None, photo: Image.Image) -> Image.Image:
        """The photo, also where there is a drawing of it."""
        return photo

    def descriptor(self, source: Any) -> np.ndarray:
        """Slopes of a photo, see `gradient_descriptor`."""
        return gradient_descriptor(value_of(source))

    def lines(self, photo: Image.Image) -> np.ndarray:
        """The photo's edges."""
        return photo_edges(photo, self.sigma, self.low, self.high)

    def card(self) -> ConditionCard:
        """The settings that edges are found by."""
        settings = {
            key: value for key, value in self.to_config().items() if key not in ("type", "guided")
        }
        guides = (
            " The parts of both faces, as a bundled network reads them, guide the matching."
            if self.guided
            else ""
        )
        return ConditionCard(
            summary="the edges of a photo or drawn lines",
            source='"layout.jpg"',
            exemplar_source='"exemplar.jpg"',
            text="A photo, whose edges are found (Canny), or drawn lines as `{'edges': drawing}`. "
            f"The exemplar's edges are found in the exemplar.{guides}",
            header=["setting of the edges", "value"],
            rows=[[name, f"{value:g}"] for name, value in settings.items()],
        )


def _drawing(source: Mapping[str, Any]) -> Any:
    if set(source) != {"edges"}:
        raise ValueError(f"An edge dict has the one key 'edges', got {list(source)}.")
    return source["edges"]
