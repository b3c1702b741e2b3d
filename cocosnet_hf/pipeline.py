"""The pipeline: condition and exemplar in, picture, warped exemplar and correspondence out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Self

from .call_inputs import side_of
from .coherence import CoherentFlow
from .conditions import Condition
from .image_translation import (
    ImageTranslationOutput,
    ImageTranslationPipeline,
    Pictures,
    require_finite,
    require_networks,
    require_output_type,
)
from .matched_inputs import CallInputs, MatchedInputReader
from .matching import Matching
from .models import BlendingTranslationNetwork, CorrespondenceNetwork, TranslationNetwork
from .models.blending import blend_share, enlarged, with_strength
from .models.network import Network, channels_last, size_of
from .points import pairs_of_points, pins_of
from .prepared import ExemplarPhotos, PreparedExemplar, as_one_tensor, broadcast
from .presets import preset
from .propagation import Pin


@dataclass
class CoCosPipelineOutput(ImageTranslationOutput):
    """What `CoCosPipeline` returns, each for the whole batch.

    images: the pictures, and warped_exemplars: what the exemplars look like in the condition's
    layout, as lists of PIL images, (B, H, W, 3) arrays or (B, 3, H, W) tensors, both in 0..1.
    matching: the correspondence between condition and exemplar. blend: of a pipeline that blends,
    how much of each place is copied from the warped exemplar, as grey PIL images, (B, H, W, 1)
    arrays or (B, 1, H, W) tensors in 0..1. flow: of one that warps coherently, the flow that it
    painted from.
    """

    warped_exemplars: Pictures
    matching: Matching
    blend: Pictures | None = None
    flow: CoherentFlow | None = None


class CoCosPipeline(ImageTranslationPipeline):
    """Paints a picture with the layout of a condition and the look of an exemplar.

    Zhang et al. 2020: the correspondence network brings both into one domain, `Matching` finds for
    every position of the condition where in the exemplar it belongs, and the translation network
    paints the picture from the exemplar warped that way.

    correspondence, translation: the two networks. condition: the configuration of the condition
    object (its `to_config`), or the object. image_size: the short side of pictures whose size is
    not given, in pixels. image_width: of networks that learned pictures of another width than
    height, image_size by image_width: the smallest size that covers it then takes that place.
    matching_scale: how many times smaller than that pictures are matched.
    A pipeline whose correspondence network warps coherently paints larger pictures than it learned
    at that size, and takes their finest detail from the exemplar.
    Both networks are put in evaluation mode: in training, each use changes their spectral norms.
    """

    has_matching = True
    model_cpu_offload_seq: Any = "correspondence->translation"  # of the type None in diffusers
    correspondence: CorrespondenceNetwork
    translation: TranslationNetwork | BlendingTranslationNetwork

    def __init__(
        self,
        correspondence: CorrespondenceNetwork,
        translation: TranslationNetwork | BlendingTranslationNetwork,
        condition: dict | Condition | None = None,
        image_size: int = 256,
        image_width: int | None = None,
        matching_scale: int = 1,
    ):
        networks = {"correspondence": correspondence, "translation": translation}
        require_networks(networks)
        if correspondence.warp_channels != translation.warp_channels:
            raise ValueError(
                f"the translation network reads warps of {translation.warp_channels} channels, the "
                f"correspondence network's warp='{correspondence.config.warp}' makes "
                f"{correspondence.warp_channels}; a BlendingTranslationNetwork needs 'coherent'."
            )
        known = (1, 2, 4) if correspondence.is_coherent else (1,)
        if matching_scale not in known:
            raise ValueError(
                f"matching_scale must be 1, 2 or 4, and 1 unless the correspondence network warps "
                f"coherently, got {matching_scale!r}."
            )
        super().__init__(networks, condition, image_size, image_width)
        self.register_to_config(matching_scale=matching_scale)

    @classmethod
    def from_preset(cls, name: str) -> Self:
        """An untrained pipeline of a published configuration (`cocosnet_hf.PRESETS`)."""
        chosen = preset(name)
        return cls(
            CorrespondenceNetwork(**chosen.correspondence_arguments()).eval(),
            TranslationNetwork(**chosen.network_arguments()).eval(),
            chosen.condition,
            chosen.image_size,
        )

    @property
    def stride(self) -> int:
        """Of which the sides of pictures are multiples."""
        return self.translation.stride

    @property
    def needs_exemplar_condition(self) -> bool:
        """Whether an exemplar is of no use without its own condition."""
        return self.correspondence.needs_exemplar_condition

    @property
    def takes_exemplar_condition(self) -> bool:
        """Whether an exemplar's own condition is used: also one whose landmarks guide."""
        return self.needs_exemplar_condition or self._reader.is_guided

    def _require_readable(self, condition: Any) -> None:
        super()._require_readable(condition)
        for name in ("correspondence", "translation"):
            channels = getattr(self, name).config.condition_channels
            if channels != condition.channels:
                raise ValueError(
                    f"the {name} network reads conditions of {channels} channels, but the "
                    f"{condition.type} condition has {condition.channels}; pass the one it was "
                    f"trained with."
                )

    @torch.no_grad()
    def __call__(
        self,
        condition: Any,
        exemplar: Any,
        exemplar_condition: Any = None,
        *,
        height: int | None = None,
        width: int | None = None,
        regions: Any = None,
        exemplar_regions: Any = None,
        scale: float | None = None,
        strength: float = 0.5,
        points: Any = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
    ) -> CoCosPipelineOutput | Any:
        """Paint `condition` with the look of `exemplar`.

        condition: what the pipeline's condition object encodes (`pipe.condition`), or encoded
        tensors (K, H, W) or (B, K, H, W); a list is a batch. exemplar: PIL image, path, array
        (H, W, 3) or tensor (3, H, W), floating ones in 0..1; a list is a batch, a list of lists
        gives each item several exemplars; or results of `encode_exemplar`, one or a list.
        exemplar_condition: the exemplars' own conditions, laid out like exemplar, where the model
        needs them and cannot make them from the photo. Of a pipeline that warps coherently a pose
        guides the matching along the limbs, unless either pose comes encoded. One condition serves
        many exemplars and the reverse.
        height, width: size of the picture, multiples of the networks' stride. Otherwise the short
        side is `image_size` and the condition's aspect is kept; encoded tensors keep their size.
        Exemplars, if not tensors, get the size that they would have as conditions, or more where
        the picture is larger.
        regions, exemplar_regions: integer maps (H, W), for each condition and each exemplar: a
        position then only looks at exemplar positions of its own region, and anywhere if no
        exemplar has that region or if it is -1.
        scale: how many times larger than by default the picture is, in place of height and width.
        strength: of a pipeline that blends, how much is copied from the exemplar, 0..1: 0.5 as it
        learned, 0 nothing, 1 everything.
        points: for a pipeline that warps coherently, pairs ((x, y), (x', y')) of a place in the
        condition and the place in its exemplar that must be seen there, both as shares 0..1 of
        width and height; a third entry says which of several exemplars. A list of such lists, one
        for each item, for a batch.
        generator: makes the noise of a model with `exemplar_noise`.
        output_type: "pil", "np" or "pt".

        Returns `CoCosPipelineOutput`, or with return_dict=False its fields as a tuple. Raises
        ValueError for input that cannot be used, before any heavy work, and for weights that paint
        NaN.
        """
        require_output_type(output_type)
        self._require_knobs(strength, points)
        inputs = self._reader.read(
            condition, exemplar, exemplar_condition, height, width, regions, exemplar_regions, scale
        )
        pairs = pairs_of_points(points, inputs.exemplar_counts)
        with self.progress_bar(total=2) as bar:
            prepared, matching = self._correspond(inputs, generator)
            bar.update()
            pins = pins_of(pairs, matching)
            images, warped, blend, flow = self._painted(inputs, prepared, matching, strength, pins)
            bar.update()
        self.maybe_free_model_hooks()
        require_finite(images)

        finished = self.image_processor.postprocess
        output = CoCosPipelineOutput(
            finished(images.float(), output_type),
            finished(warped.float(), output_type),
            matching,
            None
            if blend is None
            else finished(blend.float(), output_type, do_denormalize=[False] * len(blend)),
            flow,
        )
        return output if return_dict else output.to_tuple()

    @torch.no_grad()
    def match(
        self,
        condition: Any,
        exemplar: Any,
        exemplar_condition: Any = None,
        *,
        height: int | None = None,
        width: int | None = None,
        regions: Any = None,
        exemplar_regions: Any = None,
        scale: float | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
    ) -> Matching:
        """The correspondence of `condition` and `exemplar` without the painting.

        Arguments and errors as in a call of the pipeline, whose `matching` it is.
        """
        inputs = self._reader.read(
            condition, exemplar, exemplar_condition, height, width, regions, exemplar_regions, scale
        )
        _, matching = self._correspond(inputs, generator)
        self.maybe_free_model_hooks()
        return matching

    @torch.no_grad()
    def encode_exemplar(
        self,
        exemplar: Any,
        exemplar_condition: Any = None,
        *,
        image_size: int | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
    ) -> PreparedExemplar:
        """Prepare exemplars once, to paint from them with many conditions.

        image_size: in place of the pipeline's own; larger exemplars carry more detail to larger
        pictures. Other arguments and errors as in a call of the pipeline.
        """
        image_size = side_of("image_size", image_size, self.stride)
        enlarged = (image_size or self.config.image_size) / self.config.image_size
        photos = self._reader.exemplars(exemplar, exemplar_condition, enlarged)
        prepared = self._prepared(photos, generator)
        self.maybe_free_model_hooks()
        return prepared

    @property
    def _reader(self) -> MatchedInputReader:
        return MatchedInputReader(
            self.condition,
            self.stride,
            self.learned_size,
            self.correspondence,
            self.config.matching_scale,
        )

    def _require_knobs(self, strength: float, points: Any) -> None:
        """Raise ValueError for a strength that is none, and for either where nothing is blended."""
        if not 0 <= strength <= 1:
            raise ValueError(f"strength must be in 0..1, got {strength!r}.")
        if self.correspondence.is_coherent:
            return
        for name, is_set in {"strength": strength != 0.5, "points": points is not None}.items():
            if is_set:
                raise ValueError(
                    f"{name} belongs to pipelines that warp coherently and blend; this one paints "
                    f"with a {type(self.translation).__name__}: leave it out."
                )

    def _correspond(
        self, inputs: CallInputs, generator: torch.Generator | list[torch.Generator] | None
    ) -> tuple[PreparedExemplar, Matching]:
        """The exemplars on the device, and their matching with the conditions."""
        prepared = inputs.exemplars
        if not isinstance(prepared, PreparedExemplar):
            prepared = self._prepared(prepared, generator)
        prepared = prepared.to(self._execution_device)
        guide = _guide(inputs.matched, self.correspondence, prepared)
        content = self.correspondence(guide, None).content
        return prepared, self._match(content, prepared, inputs)

    def _prepared(
        self,
        exemplars: ExemplarPhotos,
        generator: torch.Generator | list[torch.Generator] | None,
    ) -> PreparedExemplar:
        return exemplars.prepare(
            self.correspondence, self._execution_device, self._reader.matched_size, generator
        )

    def _match(self, content: Tensor, prepared: PreparedExemplar, inputs: CallInputs) -> Matching:
        return self.correspondence.match(
            content.expand(inputs.batch, -1, -1, -1),
            as_one_tensor(broadcast(prepared.styles, inputs.batch)),
            pixels=self.config.matching_scale,
            guides=inputs.guides(self.condition, prepared),
            **inputs.regions(content.device),
        )

    def _painted(
        self,
        inputs: CallInputs,
        prepared: PreparedExemplar,
        matching: Matching,
        strength: float,
        pins: list[list[Pin]],
    ) -> tuple[Tensor, Tensor, Tensor | None, CoherentFlow | None]:
        """Picture and warped exemplar (B, 3, H, W) in [-1, 1]; blend (B, 1, H, W), flow or None."""
        items = broadcast(prepared.photos, inputs.batch)
        guide = _guide(inputs.conditions, self.translation, prepared)
        guide = guide.expand(inputs.batch, -1, -1, -1)
        size = size_of(guide)
        if not self.correspondence.is_coherent:
            warp = self.correspondence.warp(matching, as_one_tensor(items))
            image = self.translation(channels_last(warp.features.to(guide)), guide)
            return image, warp.picture, None, None
        small = as_one_tensor(_at_most(items, matching, size, size))
        warp = self.correspondence.warp(matching, small, size, pins)
        features = channels_last(warp.features.to(guide))
        output = self.translation(features, guide)
        share = blend_share(output.blend, strength)
        image = with_strength(features, output, strength)
        if warp.flow is None or inputs.size == size:
            return image, warp.picture, share, warp.flow
        large = as_one_tensor(_at_most(items, matching, size, inputs.size))
        warped = warp.flow.warp(large, inputs.size)
        share = share.float()
        image = enlarged(image.float(), share, warped)
        return image, warped, F.interpolate(share, inputs.size, mode="bilinear"), warp.flow


def _guide(conditions: list[Tensor], network: Network, prepared: PreparedExemplar) -> Tensor:
    """The conditions (B or 1, K, H, W) on the exemplars' device, as a network computes."""
    device, dtype = prepared.photos[0][0].device, network.dtype
    return channels_last(torch.stack([item.to(device, dtype) for item in conditions]))


def _at_most(
    items: Sequence[Sequence[Tensor]],
    matching: Matching,
    painted: tuple[int, int],
    wanted: tuple[int, int],
) -> list[list[Tensor]]:
    """Photos, those made smaller that are finer than a picture of the wanted size shows."""
    scale = max(a / b for a, b in zip(wanted, painted, strict=True))
    resized: dict[int, Tensor] = {}

    def fitted(photo: Tensor, matched: tuple[int, int]) -> Tensor:
        size = tuple(round(side * scale) for side in matched)
        if min(b / a for a, b in zip(size, photo.shape[-2:], strict=True)) <= 1.01:
            return photo
        if id(photo) not in resized:
            small = F.interpolate(photo[None].float(), size, mode="bilinear", antialias=True)
            resized[id(photo)] = small[0]
        return resized[id(photo)]

    return [
        [fitted(photo, matched) for photo, matched in zip(*item, strict=True)]
        for item in zip(items, matching.exemplar_sizes(), strict=True)
    ]
