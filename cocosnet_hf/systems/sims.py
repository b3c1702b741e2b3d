"""SIMS: a picture laid of segments of photographs, and made whole by a network (Qi et al. 2018).

Three runs, in any order: `stage: transformation` teaches how a segment is moved to fit a layout,
`ordering` which of two lies in front, `synthesis` what the canvas becomes. In use each part of the
layout gets the likest segment of a bank, see `cocosnet_hf.models.segments`; the exemplar and its
label map are the bank, or `pipe.bank_of` makes one of many photos. A network that was not taught
moves nothing, and leaves the order to the sizes. Photographs are no part of the pipeline. Written
from the paper; no code or weights of its authors are part of this package.

Decided where the paper leaves it open: likeness is the overlap of masks plus the share of labels
around that agree. The transformation learns to undo a chance move of the photo's own segment. The
ordering sees a pair whose pixels are blank where the two boxes meet, and learns which of the two
the layout has more of there. Larger segments lie behind, where nothing else is known. Foreign
masks and colours of the training canvas are of segments that the latest steps have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from ..call_inputs import as_batch, opened
from ..conditions import Condition
from ..image_translation import ImageTranslationOutput, Pictures, require_output_type
from ..models import CanvasPainter, OrderingNetwork, SegmentTransformer
from ..models.drawn import drawn
from ..models.instances import boundaries
from ..models.layered import moved
from ..models.laying import Laid, laid_out, patch
from ..models.network import Network, size_of
from ..models.norms import moments
from ..models.perceptual import REFERENCE_CHANGES, PerceptualNetwork
from ..models.segments import (
    GRID,
    SegmentBank,
    Segments,
    crossed,
    large_ones,
    meeting,
    overlap,
    segments_of,
)
from .base import LossWeights, Networks, Phase, System, SystemOptions
from .batch import Batch, Generated, needed
from .judged import summed
from .paired import PairedPipeline

LEAST_AREA = 1000 / (256 * 512)
"""Share of the picture above which a segment is moved, ordered and cut in training."""
KEPT = 100
"""Masks and colours of each class that are remembered, the latest."""
TRIES = 100
"""Foreign masks among which the likest cuts a segment of the training canvas."""
ITSELF = 0.999
"""Overlap from which a mask is the segment's own, seen before, and no foreign one."""
RECOLORED = 0.2
"""Share of the segments that take the colours of the foreign one."""
ERASED = 0.05
"""Of the height: how wide a stripe along the borders of segments the canvas lacks."""
MOVES = (0.2, 0.1)
"""Largest chance move of a segment in training: of its scales and turns, and of its place."""
TERMS = {
    "transformation": ("warp",),
    "ordering": ("order",),
    "synthesis": ("pixel", "perceptual", "labels"),
}
"""By stage the terms that its network learns from."""


@dataclass
class SIMSOutput(ImageTranslationOutput):
    """What the pipeline returns: `ImageTranslationOutput`, and what it was painted over.

    canvases: as the images are, grey where nothing was laid. filled (B, 1, H, W). orders, segments:
    for each picture see `Laid`.
    """

    canvases: Pictures | None = None
    filled: Tensor | None = None
    orders: list[list[int]] | None = None
    segments: list[list[tuple[int, int | None, float | None]]] | None = None


class SIMSPipeline(PairedPipeline):
    """Lays a label map with segments of photographs, and paints over their seams and holes."""

    method = "[SIMS](https://arxiv.org/abs/1804.10992)"
    transformation: SegmentTransformer
    ordering: OrderingNetwork
    synthesis: CanvasPainter

    def __init__(
        self,
        transformation: SegmentTransformer,
        ordering: OrderingNetwork,
        synthesis: CanvasPainter,
        condition: dict | Condition | None = None,
        image_size: int = 256,
        image_width: int | None = None,
    ):
        networks = {
            "transformation": transformation,
            "ordering": ordering,
            "synthesis": synthesis,
        }
        super().__init__(networks, condition, image_size, image_width)

    @property
    def needs_exemplar_condition(self) -> bool:
        """An exemplar is of no use without its own label map."""
        return True

    @torch.no_grad()
    def __call__(
        self,
        condition: Any,
        exemplar: Any = None,
        exemplar_condition: Any = None,
        *,
        bank: SegmentBank | None = None,
        height: int | None = None,
        width: int | None = None,
        generator: Any = None,
        output_type: str = "pil",
    ) -> SIMSOutput:
        """Paint `condition` of segments of `exemplar`, or of a bank.

        condition, exemplar, exemplar_condition: one of each or lists, as `CoCosPipeline` reads
        them; each exemplar with its own label map is the bank of its condition. bank: of
        `bank_of` or `open_bank`, instead of exemplars. height, width: of the picture. generator:
        of no use here, as nothing is random. output_type: "pil", "np" or "pt".
        Raises ValueError for input that cannot be used.
        """
        del generator
        require_output_type(output_type)
        if (exemplar is None) == (bank is None) or (exemplar is not None) != (
            exemplar_condition is not None
        ):
            raise ValueError(
                "sims lays pictures of segments: pass an exemplar with its own label map as "
                "exemplar_condition, or bank=pipe.bank_of(photos, conditions)."
            )
        given = self._given(condition, exemplar, exemplar_condition, height=height, width=width)
        banks = [bank] * len(given.condition)
        if given.exemplar is not None and given.exemplar_condition is not None:
            photos = zip(given.exemplar, given.exemplar_condition.argmax(1), strict=True)
            banks = [SegmentBank.held(photo[None].float(), own[None]) for photo, own in photos]
        images, layout = composed(self.networks, given.condition, banks)
        canvases = torch.stack([one.canvas for one in layout])
        return SIMSOutput(
            self._finished(images, output_type),
            canvases=self._finished(canvases, output_type),
            filled=torch.stack([one.filled for one in layout]),
            orders=[one.order for one in layout],
            segments=[one.found for one in layout],
        )

    def bank_of(self, photos: Sequence[Any], conditions: Sequence[Any]) -> SegmentBank:
        """The bank of photos and their label maps, read as exemplars are.

        Of paths it can be saved, by its files' names; photographs stay where they are. Raises
        ValueError for other numbers of both, and for input that cannot be read.
        """
        photos, conditions = as_batch(photos, "photos"), as_batch(conditions, "conditions")
        if len(photos) != len(conditions):
            raise ValueError(
                f"there must be one label map for each of the {len(photos)} photos, got "
                f"{len(conditions)}."
            )
        return SegmentBank.of(list(zip(photos, conditions, strict=True)), self._read)

    def open_bank(self, path: str | Path) -> SegmentBank:
        """The bank that `SegmentBank.save` wrote; its files are read where they were."""
        return SegmentBank.load(path, self._read)

    def _read(self, photo: Any, condition: Any) -> tuple[Tensor, Tensor]:
        read = self._reader
        colors = read.photo(opened(photo), 1.0)
        return colors, read.encode(condition, *size_of(colors)).argmax(0)


def composed(
    nets: Networks, conditions: Tensor, banks: Sequence[SegmentBank | None]
) -> tuple[Tensor, list[Laid]]:
    """Pictures (B, 3, H, W), and what was laid of a bank each, for layouts (B, K, H, W)."""
    layouts = [
        laid_out(nets, one[None], needed(bank, "a bank of segments"))
        for one, bank in zip(conditions, banks, strict=True)
    ]
    canvases, filled = (
        torch.stack([getattr(one, part) for one in layouts]) for part in ("canvas", "filled")
    )
    return nets["synthesis"](conditions, canvases, filled)[0], layouts


@dataclass(frozen=True)
class SIMSLosses(LossWeights):
    """Multiplier of each term; see Qi et al. 2018, section 5.

    warp: mean difference of the moved segment and the photo, of the transformation. order: cross
    entropy of which class is in front, of the ordering. pixel, perceptual: mean differences of
    0..255 and of five layers of the perceptual network, each divided by what it changes by per
    pixel. labels: cross entropy of what the picture shows. The last three are of the synthesis.
    """

    warp: float = 1.0
    order: float = 1.0
    pixel: float = 1.0
    perceptual: float = 1.0
    labels: float = 10.0


@dataclass(frozen=True)
class SIMSOptions(SystemOptions):
    """stage: which of the three networks learns, see the module."""

    stage: Literal["transformation", "ordering", "synthesis"] = "synthesis"


class SIMS(System):
    """One of three networks learns in a run."""

    network_classes = {
        "transformation": (SegmentTransformer,),
        "ordering": (OrderingNetwork,),
        "synthesis": (CanvasPainter,),
    }
    averaged = tuple(network_classes)
    Losses = SIMSLosses
    losses: SIMSLosses
    Options = SIMSOptions
    options: SIMSOptions
    pipeline_class = SIMSPipeline

    def __init__(self, *given: Any, **named: Any):
        super().__init__(*given, **named)
        self.kept: dict[int, tuple[Tensor, Tensor]] = {}

    @classmethod
    def make_networks(
        cls, condition: Condition, options: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Network]:
        """New networks. Raises ValueError for a condition that is no label map."""
        if not condition.labelled:
            raise ValueError(
                f"sims lays segments of classes: it needs a label map, networks.condition of type "
                f"mask, got {condition.type}."
            )
        return super().make_networks(condition, options)

    @classmethod
    def require_known(
        cls, options: Any, losses: LossWeights, perceptual: str, own: SystemOptions
    ) -> None:
        """Raise ValueError for a stage whose own terms all have no weight."""
        del options, perceptual
        stage = cast(SIMSOptions, own).stage
        if not any(getattr(losses, name) for name in TERMS[stage]):
            raise ValueError(
                f"sims's stage {stage} learns from {', '.join(TERMS[stage])}, whose weights are "
                f"all 0: set one of losses."
            )

    def prepare(
        self, open_perceptual: Callable[[], PerceptualNetwork], device: torch.device | str
    ) -> None:
        """Only the synthesis looks through a perceptual network."""
        if self.options.stage == "synthesis":
            super().prepare(open_perceptual, device)

    @property
    def frozen(self) -> tuple[str, ...]:
        """The two networks that do not learn in this run."""
        return tuple(name for name in self.averaged if name != self.options.stage)

    def generate(self, nets: Networks, batch: Batch) -> Generated:
        """As the pipeline does, each exemplar with its own label map as the bank."""
        own = needed(batch.exemplar_condition, "the exemplars' own label maps").argmax(1)
        banks = [
            SegmentBank.held(photo[None].float(), labels[None])
            for photo, labels in zip(batch.exemplar, own, strict=True)
        ]
        return Generated(composed(nets, batch.condition, banks)[0])

    def step(self, phase: Phase, batch: Batch) -> Generated:
        """The network of this stage."""
        segments, numbers = segments_of(batch.condition.argmax(1))
        stage = self.options.stage
        if stage == "transformation":
            return self._transformation_step(phase, batch, segments, numbers)
        if stage == "ordering":
            return self._ordering_step(phase, batch, segments, numbers)
        canvas, filled = self.training_canvas(batch, segments, numbers)
        with phase("synthesis") as (nets, terms):
            image, scores = nets["synthesis"](batch.condition, canvas, filled)
            wanted = batch.condition.argmax(1)
            terms |= self.losses.applied(
                {
                    "pixel": lambda: 127.5 * F.l1_loss(image.float(), batch.image.float()),
                    "perceptual": lambda: self._perceptual(image, batch.image),
                    "labels": lambda: F.cross_entropy(scores.float(), wanted),
                }
            )
        return Generated(image.detach())

    def _transformation_step(
        self, phase: Phase, batch: Batch, segments: Segments, numbers: Tensor
    ) -> Generated:
        """A segment of each photo, which a chance move has brought to another place."""
        usable = [large_ones(segments, item, LEAST_AREA) for item in range(len(batch.image))]
        chosen = torch.stack([one[int(torch.randint(len(one), ()))] for one in usable])
        mask = (numbers == chosen[:, None, None])[:, None].to(batch.image)
        layers = torch.cat([batch.image * mask, mask], dim=1)
        with phase("transformation") as (nets, terms):
            back = nets["transformation"](moved(layers, self._moves(batch.image)), batch.condition)
            change = (back[:, :3] - layers[:, :3]).abs().mean(1, keepdim=True)
            terms |= self.losses.applied({"warp": lambda: (change * mask).sum() / mask.sum()})
        shown = torch.where(mask > 0, back[:, :3].detach(), batch.image)
        return Generated(shown)

    def _moves(self, like: Tensor) -> Tensor:
        """Affine maps (B, 2, 3) by chance."""
        most = torch.tensor([[MOVES[0], MOVES[0], 2 * MOVES[1]]] * 2)
        still = torch.eye(2, 3)
        return (still + most * (2 * torch.rand(len(like), 2, 3) - 1)).to(like)

    def _ordering_step(
        self, phase: Phase, batch: Batch, segments: Segments, numbers: Tensor
    ) -> Generated:
        """A pair of segments of each layout whose boxes meet, where there is one."""
        pairs, wholes, fronts = [], [], []
        for item in range(len(batch.image)):
            met = meeting(segments, large_ones(segments, item, LEAST_AREA), numbers[item])
            if not met:
                continue
            one, other, front = met[int(torch.randint(len(met), ()))]
            condition = batch.condition[item : item + 1]
            masks = torch.stack([numbers[item] == number for number in (one, other)])
            blank = torch.zeros_like(masks[0])
            rows, columns = crossed(segments, one, other, size_of(condition))
            blank[rows, columns] = True
            shown = (masks & ~blank).to(condition.device)
            pairs.append(patch(condition, segments, one, other, shown))
            wholes.append(drawn(condition))
            fronts.append(segments.label[front])
        with phase("ordering") as (nets, terms):
            if fronts:
                truth = torch.stack(fronts).to(batch.image.device)
                scores = nets["ordering"](torch.cat(pairs), torch.cat(wholes)).float()
                terms |= self.losses.applied({"order": lambda: F.cross_entropy(scores, truth)})
            else:  # one class alone: nothing to learn, and still a step
                still = nets["ordering"](drawn(batch.condition), drawn(batch.condition))
                terms |= {"order": 0 * still.sum()}
        self.networks["ordering"].taught.fill_(True)
        return Generated(batch.image)

    def training_canvas(
        self, batch: Batch, segments: Segments, numbers: Tensor
    ) -> tuple[Tensor, Tensor]:
        """A canvas of each photo's own segments, with holes: (B, 3, H, W) and filled (B, 1, H, W).

        A large segment is cut by the likest of some masks that its class had in other photos, and
        sometimes takes the colours that were there. Borders are erased, and specks that are part of
        no segment of their class. The segments of this batch are remembered for the next ones.
        """
        size = size_of(batch.image)
        of_its_class = segments.label[numbers] == batch.condition.argmax(1).cpu()
        canvas, filled = batch.image.cpu().clone(), of_its_class[:, None].float()
        seen = []
        for number in (segments.area > LEAST_AREA).nonzero()[:, 0].tolist():
            picture, label = int(segments.picture[number]), int(segments.label[number])
            place = segments.pixels(number, size)
            own = (numbers[picture][place] == number) & of_its_class[picture][place]
            colors = canvas[picture][..., place[0], place[1]]
            stats = _colors(batch.image[picture].cpu()[..., place[0], place[1]][:, own])
            seen.append((label, segments.masks[number], stats))
            if label not in self.kept:
                continue
            masks, known = self.kept[label]
            tried = torch.randint(len(masks), (TRIES,))
            alike = overlap(segments.masks[number], masks[tried])
            foreign = alike < ITSELF
            if not foreign.any():
                continue
            best = tried[(alike * foreign).argmax()]
            cut = F.interpolate(masks[best][None, None], own.shape, mode="nearest")[0, 0] > 0.5
            filled[picture, 0][place] *= (~own | cut).float()
            if torch.rand(()) < RECOLORED:
                (spread, mean), (new_spread, new_mean) = stats, known[best]
                changed = (colors - mean[:, None, None]) / spread[:, None, None]
                changed = (changed * new_spread[:, None, None] + new_mean[:, None, None]).clamp(
                    -1, 1
                )
                colors.copy_(torch.where(own, changed, colors))
        for label, mask, stats in seen:
            self._keep(label, mask, stats)
        reach = 2 * round(ERASED * size[0] / 2) + 1
        borders = F.max_pool2d(boundaries(numbers), reach, stride=1, padding=reach // 2)
        filled = filled * (1 - borders)
        return (canvas * filled).to(batch.image), filled.to(batch.image)

    def _keep(self, label: int, mask: Tensor, stats: Tensor) -> None:
        """Remember a mask (G, G) and the colours' deviations and means (2, 3) of a class."""
        empty = mask.new_zeros(0, GRID, GRID), stats.new_zeros(0, 2, 3)
        pasts = self.kept.get(label, empty)
        masks, colors = (
            torch.cat([past, new[None]])[-KEPT:]
            for past, new in zip(pasts, (mask, stats), strict=True)
        )
        self.kept[label] = masks, colors

    def _perceptual(self, image: Tensor, target: Tensor) -> Tensor:
        """The sum of mean differences at five layers, each divided by its usual size."""
        network = needed(self.perceptual, "a perceptual network")
        found = network.calibrated(image)
        with torch.no_grad():
            wanted = network.calibrated(target)
        return summed(
            F.l1_loss(found[name].float(), wanted[name].float()) / usual
            for name, usual in zip(network.layers, REFERENCE_CHANGES, strict=True)
        )

    def state_dict(self) -> dict[str, Any]:
        """The masks and colours that are remembered, by class."""
        return {"kept": {label: list(one) for label, one in self.kept.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""
        self.kept = {label: (one[0], one[1]) for label, one in state["kept"].items()}


def _colors(pixels: Tensor) -> Tensor:
    """Deviations and means (2, 3) of the colours of pixels (3, n)."""
    return torch.cat(moments(pixels[None, :, :, None].float()))
