"""The pipelines behind the tabs, and all that one painting gives the page to show."""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageChops

from cocosnet_hf import (
    CoCosPipeline,
    Condition,
    EdgeCondition,
    ImageTranslationPipeline,
    PreparedExemplar,
    bundled,
    bundled_names,
    open_model,
)
from cocosnet_hf.applications import edit_photo
from cocosnet_hf.coherence import CoherentFlow
from cocosnet_hf.hub.publish import PIPELINE_VARIABLE
from cocosnet_hf.pictures import open_photo

from .correspondence import Correspondence, takes_points
from .gallery import Exhibit, has_gallery
from .memory import others_may_work
from .words import in_words

try:
    import spaces

    def on_gpu(function: Any) -> Any:
        """ZeroGPU lends a GPU to each call; of what goes wrong there it hands on gr.Error alone.

        It forks a process for it, in which a lock of this one would never be free: `in_words`.
        While this one waits for a GPU and for its answer, others may work. On other hardware
        `spaces.GPU` gives back what it got, which runs where it is.
        """
        task = in_words(function)
        lent = spaces.GPU(duration=30)(task)  # so many seconds
        if lent is task:
            return task

        @functools.wraps(function)
        def waited_for(*args: Any, **knobs: Any) -> Any:
            with others_may_work():
                return lent(*args, **knobs)

        return waited_for
except ImportError:

    def on_gpu(function: Any) -> Any:
        """Without ZeroGPU a function runs where it is."""
        return function


TABS = {
    "mask-to-image": "mask",
    "mask-to-landscape": "mask",
    "edge-to-face": "edge",
    "pose-to-body": "pose",
}
"""The tabs by the name of their bundled pipeline, and the type of condition of each."""

ENLARGED = 2
"""How many times larger than it learned a pipeline paints that can: the page shows it large."""

PREPARED = 16
"""Exemplars whose half of the work is kept."""

KNOWN_FLOWS = 128
"""Pairs of portraits whose correspondence is kept, some 20 kB each."""


@dataclass(frozen=True)
class DemoResult:
    """One painting: the condition as a picture, and the results.

    warped, correspondence: None of a model that does not match. edit: where a photo was edited, the
    whole photo before and after.
    """

    condition: Image.Image
    image: Image.Image
    warped: Image.Image | None
    correspondence: Correspondence | None
    edit: tuple[Image.Image, Image.Image] | None = None

    @property
    def result(self) -> Image.Image:
        """What was asked for: the edited photo, else the painted picture."""
        return self.edit[1] if self.edit else self.image

    @property
    def before(self) -> Image.Image:
        """What it was made from: the photo before its edit, else the layout."""
        return self.edit[0] if self.edit else self.condition

    @property
    def changed(self) -> Image.Image | None:
        """Of an edited photo what was painted anew, the rest pale and grey; else None."""
        if self.edit is None:
            return None
        before, after = (picture.convert("RGB") for picture in self.edit)
        is_other = ImageChops.difference(before, after).convert("L").point(lambda d: 255 * (d > 2))
        pale = Image.blend(
            before.convert("L").convert("RGB"), Image.new("RGB", before.size, "white"), 0.6
        )
        return Image.composite(after, pale, is_other)


class Painter:
    """A pipeline that remembers the exemplars it has prepared.

    is_bundled: whether it is the one that comes with its tab.
    """

    def __init__(self, pipe: ImageTranslationPipeline, is_bundled: bool = False) -> None:
        self.is_bundled = is_bundled
        pipe.set_progress_bar_config(disable=True)
        self.pipe = pipe.to("cuda" if torch.cuda.is_available() else "cpu")
        self._prepared: OrderedDict[str, PreparedExemplar] = OrderedDict()
        self._paint = on_gpu(self._paint_here)
        self._draft = on_gpu(self._draft_here)
        self._flows = on_gpu(self._flows_here)
        self._known_flows: OrderedDict[str, CoherentFlow] = OrderedDict()

    @property
    def condition(self) -> Any:
        """What the pipeline paints from."""
        return self.pipe.condition

    @property
    def takes_exemplar_condition(self) -> bool:
        """Whether an exemplar's own mask or pose is used."""
        return self.pipe.takes_exemplar_condition and not self.condition.needs_only_photo

    def fitted(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) at which the pipeline paints a condition of this size.

        Raises ValueError for a longer picture than the pipeline takes.
        """
        height, width = self.pipe.size_for((height, width))
        return width, height

    def paint(
        self,
        condition: Any,
        exemplar: Image.Image,
        exemplar_condition: Any = None,
        before: Any = None,
        **knobs: Any,
    ) -> DemoResult:
        """Paint a source of the pipeline's condition with the look of an exemplar.

        before: the exemplar's own layout, to edit it: where the condition does not differ from it
        the exemplar stays. knobs: of a pipeline that takes them, see `takes_points`, `strength`
        and `points`; `second`, another look and what is known of it, and `regions` (H, W), 1 where
        the condition looks at that one alone and 0 where it does at the first, or None for the
        better match of both. Raises ValueError for what the pipeline refuses.
        """
        if not self.takes_exemplar_condition:
            exemplar_condition = None
        painting = self._paint(condition, exemplar, exemplar_condition, **knobs)
        if before is None:
            return painting
        photo = open_photo(exemplar)
        edited = edit_photo(self.pipe, photo, condition, before, painted=painting.image)
        return replace(painting, edit=(photo, edited))

    def draft(
        self,
        condition: Any,
        exemplar: Image.Image,
        exemplar_condition: Any = None,
        **knobs: Any,
    ) -> Image.Image:
        """The picture alone, at the size that the pipeline learned, for a hand that moves on.

        Arguments as of `paint`. Raises ValueError for what the pipeline refuses.
        """
        if not self.takes_exemplar_condition:
            exemplar_condition = None
        return self._draft(condition, exemplar, exemplar_condition, **knobs)

    def _draft_here(self, *arguments: Any, **knobs: Any) -> Image.Image:
        return self._called(*arguments, **knobs, scale=1).images[0]

    def _paint_here(self, condition: Any, *exemplar: Any, **knobs: Any) -> DemoResult:
        out = self._called(condition, *exemplar, **knobs, scale=ENLARGED)
        image = out.images[0]
        return DemoResult(
            self.condition.preview(self.condition.encode(condition, image.height, image.width)),
            image,
            None if out.warped_exemplars is None else out.warped_exemplars[0],
            None if out.matching is None else Correspondence.of(out),
        )

    def _called(
        self,
        condition: Any,
        exemplar: Image.Image,
        exemplar_condition: Any,
        *,
        scale: int,
        second: Exhibit | None = None,
        regions: np.ndarray | None = None,
        **knobs: Any,
    ) -> Any:
        if isinstance(self.pipe, CoCosPipeline):
            looks, conditions = [exemplar], [exemplar_condition]
            if second is not None:
                looks.append(second.picture)
                conditions.append(second.condition if self.takes_exemplar_condition else None)
            prepared = self._prepare(self.pipe, looks, conditions)
            if regions is not None:
                whole = [np.full((1, 1), number) for number in range(len(looks))]
                knobs |= {"regions": regions, "exemplar_regions": [whole]}
            if takes_points(self.pipe):
                knobs["scale"] = scale
            return self.pipe(condition, prepared, **knobs)
        return self.pipe(condition, exemplar, exemplar_condition)

    def flows(self, exemplar: Image.Image, photos: list[Image.Image]) -> list[CoherentFlow]:
        """Where the places of each photo lie in an exemplar; see `transfer_layer`.

        Remembered, so that of a changed choice only what is new takes time. Raises ValueError for a
        pipeline that paints without a matching.
        """
        keys = [hashlib.sha256(pickle.dumps((exemplar, photo))).hexdigest() for photo in photos]
        known = {key: self._known_flows[key] for key in keys if key in self._known_flows}
        new = {key: photo for key, photo in zip(keys, photos, strict=True) if key not in known}
        if new:  # while others work, who may fill all that is remembered
            known |= zip(new, self._flows(exemplar, list(new.values())), strict=True)
        found = [known[key] for key in keys]
        for key in keys:
            self._known_flows[key] = known[key]
            self._known_flows.move_to_end(key)
        while len(self._known_flows) > KNOWN_FLOWS:
            self._known_flows.popitem(last=False)
        return found

    def _flows_here(self, exemplar: Image.Image, photos: list[Image.Image]) -> list[CoherentFlow]:
        if not isinstance(self.pipe, CoCosPipeline):
            raise ValueError("makeup follows a matching, and this model paints without one.")
        prepared = self._prepare(self.pipe, [exemplar], [None])
        flows = []
        for photo in photos:
            flow = self.pipe.match(self.condition.from_photo(photo), prepared).coherent()
            flows.append(replace(flow, position=flow.position.cpu()))
        return flows

    def _prepare(
        self, pipe: CoCosPipeline, looks: list[Image.Image], conditions: list[Any]
    ) -> PreparedExemplar:
        """Found by its content, so that whoever sends the same picture need not wait for it.

        looks: the exemplars of one picture; conditions: their own, None for one that is not known.
        """
        key = hashlib.sha256(pickle.dumps((looks, conditions))).hexdigest()
        if key not in self._prepared:
            larger = ENLARGED * pipe.config.image_size if takes_points(pipe) else None
            self._prepared[key] = pipe.encode_exemplar(
                [looks],
                None if all(one is None for one in conditions) else [conditions],
                image_size=larger,
            )
            while len(self._prepared) > PREPARED:
                self._prepared.popitem(last=False)
        self._prepared.move_to_end(key)
        return self._prepared[key]


def variable_of(tab: str) -> str:
    """The environment variable that names a tab's pipeline, such as COCOSNET_EDGE_TO_FACE."""
    return f"COCOSNET_{tab.upper().replace('-', '_')}"


def named_in_environment() -> dict[str, str]:
    """The pipelines that environment variables name, by tab."""
    return {tab: os.environ[variable_of(tab)] for tab in TABS if os.environ.get(variable_of(tab))}


def open_painters(names: Mapping[str, str]) -> dict[str, Painter | None]:
    """A painter for every tab: the named pipeline, else the bundled one, else None.

    names: bundled names, folders or Hub ids by tab. The pipeline that COCOSNET_PIPELINE names takes
    the tab of its condition. Raises ValueError for a pipeline that paints from something else than
    its tab.
    """
    painters: dict[str, Painter | None] = {}
    if shared := os.environ.get(PIPELINE_VARIABLE):
        pipe = open_model(shared).fold()
        painters[_tab_of(pipe.condition, shared)] = Painter(pipe)
    for tab, kind in TABS.items():
        if tab in names:
            pipe = open_model(names[tab]).fold()
            if pipe.condition.type != kind:
                raise ValueError(
                    f"the tab {tab} needs a pipeline with a {kind} condition, but "
                    f"{names[tab]} has {pipe.condition.type}; name it for another tab."
                )
            painters[tab] = Painter(pipe)
        elif tab not in painters:
            known = tab in bundled_names()
            painters[tab] = Painter(bundled(tab), is_bundled=True) if known else None
    return painters


def _tab_of(condition: Condition, name: str) -> str:
    """The tab whose gallery has this condition, else the first one for its type."""
    tabs = [tab for tab, kind in TABS.items() if kind == condition.type]
    if not tabs:
        raise ValueError(
            f"{name} has a {condition.type} condition, for which there is no tab; there are tabs "
            f"for {', '.join(sorted(set(TABS.values())))}."
        )
    return next((tab for tab in tabs if has_gallery(tab, condition)), tabs[0])


def missing_model(tab: str) -> str:
    """What a visitor of a tab without a pipeline is told."""
    return (
        f"The model {tab} does not come with this version of cocosnet_hf. Start the demo with "
        f"--{tab} FOLDER_OR_HUB_ID, or set {variable_of(tab)}, to paint with one of your own."
    )


def with_thresholds(condition: EdgeCondition, high: float) -> EdgeCondition:
    """An edge recipe that finds more lines (lower `high`) or fewer, its `low` in proportion."""
    share = condition.low / condition.high if condition.high else 0.5
    return replace(condition, low=share * high, high=high)
