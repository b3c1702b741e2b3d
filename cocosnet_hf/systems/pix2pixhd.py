"""pix2pixHD: coarse to fine, instance boundaries and features (Wang et al. 2018).

The recipe pix2pixhd.yaml trains it at a small size, the layer of that name at its paper's.

Instances come from `data.instances_column`, in a call from `instances`. Without them every class
counts as one instance, and of a condition that is no label map the whole picture does.

The features of large instances of the latest steps, in the place of one more pass over the data,
become the clusters that a picture without an exemplar is painted from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from ..call_inputs import as_list
from ..conditions import Condition
from ..gan_losses import LEAST_SQUARES
from ..image_translation import require_output_type
from ..models import CoarseToFineGenerator, FeatureEncoder, PatchGAN
from ..models.instances import Instances, boundaries, means_by_class
from ..models.network import Network, size_of
from ..pictures import open_image, to_numbers
from .base import Networks, SystemOptions, SystemSettings
from .batch import Batch, Generated
from .paired import Given, PairedLosses, PairedOutput, PairedPipeline, PairedSystem

KEPT = 100
"""Instances of each class whose features are remembered for its clusters, the latest."""
LEAST_AREA = 1 / 64
"""Share of the picture above which an instance is remembered."""


def class_planes(condition: Tensor, labelled: bool) -> Tensor:
    """A channel for each class that features may differ by: one of ones where there are none."""
    return condition if labelled else torch.ones_like(condition[:, :1])


def instances_in(condition: Tensor, labelled: bool, instances: Tensor | None) -> Tensor:
    """The instances (B, H, W) of conditions (B, K, H, W): those given, else the classes."""
    return class_planes(condition, labelled).argmax(1) if instances is None else instances


class Pix2PixHDPipeline(PairedPipeline):
    """Paints a label map, each instance in a look of its own."""

    method = "[pix2pixHD](https://arxiv.org/abs/1711.11585)"
    encoder: FeatureEncoder
    generator: CoarseToFineGenerator

    def __init__(
        self,
        encoder: FeatureEncoder,
        generator: CoarseToFineGenerator,
        condition: dict | Condition | None = None,
        image_size: int = 256,
        image_width: int | None = None,
    ):
        networks = {"encoder": encoder, "generator": generator}
        super().__init__(networks, condition, image_size, image_width)

    @property
    def needs_exemplar_condition(self) -> bool:
        """Whether an exemplar is of no use without its own condition: that of a label map is."""
        return self.condition.labelled

    @torch.no_grad()
    def __call__(
        self,
        condition: Any,
        exemplar: Any = None,
        exemplar_condition: Any = None,
        *,
        instances: Any = None,
        style: Mapping[int, Any] | Sequence[Mapping[int, Any]] | None = None,
        count: int = 1,
        height: int | None = None,
        width: int | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        output_type: str = "pil",
    ) -> PairedOutput:
        """Paint `condition`, each instance in the look of its class.

        condition, exemplar, exemplar_condition: one of each or lists, as `CoCosPipeline` reads
        them. With an exemplar each class looks on average as it does there, and one that it lacks
        as all of it; without, as one of the clusters of the training pictures: the largest, or by
        `generator` (one, one for each condition or one for each picture) one drawn for each
        instance. instances: a map for each condition: a picture or whole numbers (H, W); without,
        each class is one instance. style: for each condition features by the number of an instance,
        on top of these, as the `styles` of an output. count: pictures of each condition.
        height, width: of the picture. output_type: "pil", "np" or "pt".
        Raises ValueError for input that cannot be used.
        """
        require_output_type(output_type)
        if exemplar is not None and exemplar_condition is None and self.condition.labelled:
            raise ValueError(
                "an exemplar says what each class looks like by its own label map: pass it as "
                "exemplar_condition, or leave the exemplar out."
            )
        given = self._given(
            condition,
            exemplar,
            exemplar_condition,
            count=count,
            height=height,
            width=width,
            generator=generator,
        )
        numbers = instances_in(
            given.condition, self.condition.labelled, self._numbers(instances, given, count)
        )
        found = Instances.of(numbers)
        features = self._edited(self._features(given, found), found, style, count)
        images = paint(self.generator, given.condition, numbers, features)
        return self._output(images, output_type, _by_number(found, features))

    def _numbers(self, instances: Any, given: Given, count: int) -> Tensor | None:
        """Instance maps as (B, H, W), nearest at the size of the picture."""
        if instances is None:
            return None
        if isinstance(instances, Tensor) and instances.ndim == 3:
            instances = list(instances)
        items = as_list(instances, "instances")
        if len(items) * count != len(given.condition):
            raise ValueError(
                f"there must be one map of instances for each of the "
                f"{len(given.condition) // count} conditions, got {len(items)}."
            )
        size = size_of(given.condition)
        maps = [_resized(_plane(item), size) for item in items for _ in range(count)]
        return torch.stack(maps).to(given.condition.device)

    def _features(self, given: Given, found: Instances) -> Tensor:
        """(B, F, H, W): of the exemplar's classes, or of clusters."""
        classes = class_planes(given.condition, self.condition.labelled)
        if given.exemplar is not None:
            own = given.exemplar_condition if self.condition.labelled else None
            return means_by_class(self.encoder(given.exemplar), own, classes)
        labels = found.classes(classes.argmax(1)).tolist()
        looks = [
            self.encoder.look(label, given.generators[picture] if given.generators else None)
            for label, picture in zip(labels, found.picture.tolist(), strict=True)
        ]
        return found.spread(torch.stack(looks))

    def _edited(self, features: Tensor, found: Instances, style: Any, count: int) -> Tensor:
        """Features with those of the call's style on top."""
        if style is None:
            return features
        styles = [one for one in as_list(style, "style") for _ in range(count)]
        values = found.means(features)
        if len(styles) != len(features):
            raise ValueError(
                f"there must be one style for each of the {len(features) // count} conditions, "
                f"got {len(styles) // count}."
            )
        keys = list(zip(found.picture.tolist(), found.number.tolist(), strict=True))
        indices = {key: index for index, key in enumerate(keys)}
        for picture, chosen in enumerate(styles):
            for number, look in chosen.items():
                if (picture, number) not in indices:
                    known = [one for at, one in indices if at == picture]
                    raise ValueError(
                        f"style names the instance {number}, and condition {picture // count} has "
                        f"{known}."
                    )
                vector = torch.as_tensor(look, dtype=values.dtype, device=values.device)
                if vector.shape != values.shape[1:]:
                    raise ValueError(
                        f"the style of an instance must be {values.shape[1]} numbers, got "
                        f"{tuple(vector.shape)} for instance {number}."
                    )
                values[indices[picture, number]] = vector
        return found.spread(values)


def paint(generator: Any, condition: Tensor, instances: Tensor, features: Tensor) -> Tensor:
    """The picture (B, 3, H, W) of classes, boundaries and features, which are joined."""
    edges = boundaries(instances).to(condition.dtype)
    return generator(torch.cat([condition, edges, features.to(condition.dtype)], dim=1))


def _by_number(found: Instances, features: Tensor) -> list[dict[int, Tensor]]:
    """For each item the features of its instances."""
    styles: list[dict[int, Tensor]] = [{} for _ in features]
    rows = zip(found.picture.tolist(), found.number.tolist(), found.means(features), strict=True)
    for picture, number, look in rows:
        styles[picture][number] = look.cpu()
    return styles


def _plane(instances: Any) -> Tensor:
    """One map (H, W) of whole numbers. Raises ValueError for anything else."""
    if not isinstance(instances, Tensor) and hasattr(instances, "dtype"):
        instances = torch.from_numpy(instances)
    if not isinstance(instances, Tensor):
        return torch.from_numpy(to_numbers(open_image(instances, "map of instances"))).long()
    if instances.ndim != 2 or instances.is_floating_point():
        raise ValueError(
            f"a map of instances must be whole numbers (H, W) or a picture, got "
            f"{instances.dtype} {tuple(instances.shape)}."
        )
    return instances.long()


def _resized(plane: Tensor, size: tuple[int, int]) -> Tensor:
    """The nearest numbers at another size; in whole numbers, which floats would round."""
    rows, columns = (
        ((torch.arange(new) + 0.5) * old / new).long()
        for new, old in zip(size, plane.shape, strict=True)
    )
    return plane[rows[:, None], columns]


@dataclass(frozen=True)
class Pix2PixHDOptions(SystemOptions):
    """enhancer_alone: teach the last enhancer, and leave what it surrounds as it is."""

    enhancer_alone: bool = False


class Pix2PixHD(PairedSystem):
    """Painter and feature encoder in one phase, the critics in the next on the same picture."""

    network_classes = {
        "encoder": (FeatureEncoder,),
        "generator": (CoarseToFineGenerator,),
        "discriminator": (PatchGAN,),
    }
    averaged = ("encoder", "generator")
    defaults = {"discriminator": {"padding": 2, "scales": 3}}
    Options = Pix2PixHDOptions
    options: Pix2PixHDOptions
    pipeline_class = Pix2PixHDPipeline
    gan = LEAST_SQUARES
    critic_weight = 0.5

    def __init__(
        self,
        condition: Condition,
        networks: dict[str, Network],
        losses: PairedLosses,
        settings: SystemSettings | None = None,
        perceptual: Any = None,
        options: Pix2PixHDOptions | None = None,
    ):
        super().__init__(condition, networks, losses, settings, perceptual, options)
        self.kept: dict[int, Tensor] = {}
        painter = cast(CoarseToFineGenerator, networks["generator"])
        painter.learn(self.options.enhancer_alone)

    @classmethod
    def make_networks(
        cls, condition: Condition, options: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Network]:
        """New networks, of condition, boundaries and features; the critics see no features."""
        classes = condition.channels if condition.labelled else 1
        encoder, seen = cls.make("encoder", options, classes), condition.channels + 1
        return {
            "encoder": encoder,
            "generator": cls.make("generator", options, seen + encoder.config.feature_channels),
            "discriminator": cls.make("discriminator", options, seen),
        }

    def generate(self, nets: Networks, batch: Batch) -> Generated:
        """As the pipeline does with an exemplar and its condition."""
        labelled = self.condition.labelled
        own = batch.exemplar_condition if labelled else None
        classes = class_planes(batch.condition, labelled)
        features = means_by_class(nets["encoder"](batch.exemplar), own, classes)
        instances = self._instances(batch)
        return Generated(paint(nets["generator"], batch.condition, instances, features))

    def seen(self, batch: Batch) -> Tensor:
        """The classes and the boundaries of instances, (B, K + 1, H, W)."""
        edges = boundaries(self._instances(batch))
        return torch.cat([batch.condition, edges.to(batch.condition)], dim=1)

    def _instances(self, batch: Batch) -> Tensor:
        return instances_in(batch.condition, self.condition.labelled, batch.instances)

    def learned(
        self, nets: Networks, batch: Batch
    ) -> tuple[Generated, dict[str, Callable[[], Tensor]]]:
        """Of the true photo's own features, which are remembered."""
        instances = self._instances(batch)
        found = Instances.of(instances)
        looks = found.means(nets["encoder"](batch.image))
        image = paint(nets["generator"], batch.condition, instances, found.spread(looks))
        labels = found.classes(class_planes(batch.condition, self.condition.labelled).argmax(1))
        large = found.area > LEAST_AREA * instances[0].numel()
        self._keep(labels[large], looks.detach()[large])
        return Generated(image), {}

    def _keep(self, labels: Tensor, looks: Tensor) -> None:
        """Remember looks (M, F) of instances of these classes (M,)."""
        for label, look in zip(labels.tolist(), looks.cpu(), strict=True):
            past = self.kept.get(label, look.new_zeros(0, len(look)))
            self.kept[label] = torch.cat([past, look[None]])[-KEPT:]

    def pipeline(self, nets: Mapping[str, Network]) -> Pix2PixHDPipeline:
        """The pipeline of the averaged networks, which remember clusters of what was seen."""
        encoder = cast(FeatureEncoder, nets["encoder"])
        for label, looks in self.kept.items():
            encoder.keep(label, looks)
        return cast(Pix2PixHDPipeline, super().pipeline(nets))

    def state_dict(self) -> dict[str, Any]:
        """The looks that are remembered, by class."""
        return {"kept": dict(self.kept)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""
        self.kept = dict(state["kept"])
