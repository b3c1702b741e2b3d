"""The pipeline: condition and exemplar in, picture, warped exemplar and correspondence out."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DiffusionPipeline
from diffusers.image_processor import VaeImageProcessor
from diffusers.utils import BaseOutput, logging
from huggingface_hub import CommitInfo
from PIL import Image
from torch import Tensor
from typing_extensions import Self

from .conditions import Condition, condition_from_config, open_photo
from .conditions.mask import is_integer
from .hub import (
    CardDetails,
    card_files,
    commit,
    create_repository,
    fetch_pipeline,
    files_of,
    model_card,
    require_one_place,
)
from .hub.cards import CARD_FILE
from .matching import Matching
from .models import BlendingTranslationNetwork, CorrespondenceNetwork, TranslationNetwork
from .models.blending import blend_share, enlarged, with_strength
from .models.network import Network, nearest_side, require_safe, require_stride, without_place
from .presets import preset
from .propagation import Pin

logger = logging.get_logger(__name__)

SIGNATURE_TOLERANCE = 0.05
"""Share by which weights may differ that are the same in another precision, 8 bits included."""

MAX_ASPECT = 8
"""Longest side over shortest above which a picture is refused unless its size is given."""

ASPECT_TOLERANCE = 0.15
"""Share by which an exemplar, fitted to a stride, and its condition may differ in aspect."""


@dataclass
class CoCosPipelineOutput(BaseOutput):
    """What `CoCosPipeline` returns, each for the whole batch.

    images: the pictures, and warped_exemplars: what the exemplars look like in the condition's
    layout, as lists of PIL images, (B, H, W, 3) arrays or (B, 3, H, W) tensors, both in 0..1.
    matching: the correspondence between condition and exemplar. blend: of a pipeline that blends,
    how much of each place is copied from the warped exemplar, as grey PIL images, (B, H, W, 1)
    arrays or (B, 1, H, W) tensors in 0..1.
    """

    images: list[Image.Image] | np.ndarray | Tensor
    warped_exemplars: list[Image.Image] | np.ndarray | Tensor | None = None
    matching: Matching | None = None
    blend: list[Image.Image] | np.ndarray | Tensor | None = None


@dataclass(frozen=True, eq=False)
class PreparedExemplar:
    """Exemplars as `CoCosPipeline` uses them, to be computed once and painted from many times.

    styles, photos: for each item of the batch, one tensor for each of its exemplars: the projection
    (C, h, w), and the photo (3, H, W) in [-1, 1]. made_by: some weights of the network that made
    them, by which another pipeline refuses them; empty if they could not be read.
    """

    styles: tuple[tuple[Tensor, ...], ...]
    photos: tuple[tuple[Tensor, ...], ...]
    made_by: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.styles)

    def to(self, *args: Any, **kwargs: Any) -> PreparedExemplar:
        """The same on another device or in another precision, as `Tensor.to`."""
        return PreparedExemplar(
            tuple(tuple(style.to(*args, **kwargs) for style in item) for item in self.styles),
            tuple(tuple(photo.to(*args, **kwargs) for photo in item) for item in self.photos),
            self.made_by,
        )


@dataclass(frozen=True)
class _Loaded:
    """What a call was given, as tensors: exemplars are either prepared or photos.

    conditions: (K, H, W) each, and matched: the same as the correspondence network sees them.
    size: (height, width) of the pictures. photos, photo_conditions: for each item of the batch,
    those of its exemplars. maps: the regions of conditions and exemplars.
    """

    conditions: list[Tensor]
    matched: list[Tensor]
    size: tuple[int, int]
    prepared: PreparedExemplar | None
    photos: list[list[Tensor]] | None
    photo_conditions: list[list[Tensor | None]] | None
    maps: tuple[list[Tensor], list[list[Tensor]]] | None
    batch: int

    @property
    def exemplar_counts(self) -> list[int]:
        """How many exemplars each item has."""
        items = self.photos if self.prepared is None else self.prepared.photos
        return [len(item) for item in _broadcast(items, self.batch)]


class CoCosPipeline(DiffusionPipeline):
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

    model_cpu_offload_seq = "correspondence->translation"

    def __init__(
        self,
        correspondence: CorrespondenceNetwork,
        translation: TranslationNetwork | BlendingTranslationNetwork,
        condition: dict | Condition | None = None,
        image_size: int = 256,
        image_width: int | None = None,
        matching_scale: int = 1,
    ):
        super().__init__()
        if condition is None:
            raise ValueError(
                "a pipeline needs to know its condition; pass condition=, e.g. EdgeCondition()."
            )
        if not isinstance(condition, Condition):
            condition = condition_from_config(condition)
        networks = {"correspondence": correspondence, "translation": translation}
        for name, network in networks.items():
            if network is None:
                raise ValueError(f"a pipeline needs its {name} network, got None.")
        for name, side in {"image_size": image_size, "image_width": image_width}.items():
            if name == "image_width" and side is None:
                continue
            if not isinstance(side, Integral) or side < 1:
                raise ValueError(f"{name} must be a number of pixels from 1 on, got {side!r}.")
        if correspondence.warp_channels != translation.warp_channels:
            raise ValueError(
                f"the translation network reads warps of {translation.warp_channels} channels, the "
                f"correspondence network's warp='{correspondence.config.warp}' makes "
                f"{correspondence.warp_channels}; a BlendingTranslationNetwork needs 'coherent'."
            )
        known = (1, 2, 4) if _is_coherent(correspondence) else (1,)
        if matching_scale not in known:
            raise ValueError(
                f"matching_scale must be 1, 2 or 4, and 1 unless the correspondence network warps "
                f"coherently, got {matching_scale!r}."
            )
        self.register_modules(**networks)
        self.register_to_config(
            condition=condition,
            image_size=image_size,
            image_width=image_width,
            matching_scale=matching_scale,
        )
        self.condition = condition
        self.correspondence.eval()
        self.translation.eval()
        self.image_processor = VaeImageProcessor(vae_scale_factor=1)

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

    def register_to_config(self, **kwargs: Any) -> None:
        """As in diffusers, but components are recorded as `["cocosnet_hf", class]`.

        diffusers would record the module, and no published folder could be opened any more once a
        file of this package moved. A condition, also one that is set as `pipe.condition`, is
        recorded by its `to_config`. Raises ValueError for anything else in its place, and if the
        networks read another number of channels than it has.
        """
        package = __name__.partition(".")[0]
        for name, value in kwargs.items():
            if isinstance(value, tuple) and str(value[0]).startswith(f"{package}."):
                kwargs[name] = (package, value[1])
            elif name == "condition":
                self._require_readable(value)
                kwargs[name] = value.to_config()
        super().register_to_config(**kwargs)

    def _require_readable(self, condition: Any) -> None:
        if not isinstance(condition, Condition):
            raise ValueError(
                f"a pipeline's condition must be an object such as EdgeCondition(), got "
                f"{condition!r}; condition_from_config makes one of its configuration."
            )
        for name in ("correspondence", "translation"):
            channels = getattr(self, name).config.condition_channels
            if channels != condition.channels:
                raise ValueError(
                    f"the {name} network reads conditions of {channels} channels, but the "
                    f"{condition.type} condition has {condition.channels}; pass the one it was "
                    f"trained with."
                )

    @classmethod
    def download(cls, pretrained_model_name: str, **kwargs: Any) -> str:
        """Fetch a pipeline's files from the Hub, safetensors and configurations only.

        diffusers' own method refuses every repository with components of another package. Raises
        what `cocosnet_hf.hub.fetch_pipeline` raises.
        """
        components = [name for name in cls._get_signature_keys(cls)[0] if name not in kwargs]
        options = ("cache_dir", "force_download", "local_files_only", "token", "revision")
        hub = {key: kwargs[key] for key in options if kwargs.get(key) is not None}
        return fetch_pipeline(pretrained_model_name, components, kwargs.get("variant"), **hub)

    def to_json_string(self) -> str:
        """The configuration, without the folder of this machine that it was loaded from."""
        return without_place(super().to_json_string())

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> None:
        """As in diffusers, with a card beside the networks unless there is one already.

        Raises ValueError for push_to_hub=True, which would upload another card, and for
        safe_serialization=False, which would pickle.
        """
        require_safe(*args[:1], **kwargs)
        if kwargs.get("push_to_hub"):
            raise ValueError("save_pretrained only saves; share with pipe.push_to_hub(repo_id).")
        super().save_pretrained(save_directory, *args, **kwargs)
        card = Path(save_directory, CARD_FILE)
        if not card.exists():
            model_card(self).save(card)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | bool | None = None,
        create_pr: bool = False,
        revision: str | None = None,
        variant: str | None = None,
        max_shard_size: int | str | None = None,
        details: CardDetails | None = None,
    ) -> CommitInfo:
        """Share this pipeline on the Hub, in one commit, with a card.

        repo_id: "user/repo"; made if it does not exist, for its owner only with private=True.
        create_pr: propose the commit instead of making it. revision: branch to commit to, made if
        it is new, or "refs/pr/1". variant: name of this precision, such as "fp16", which stands
        beside the files of others. details: what the card says beyond what the pipeline itself
        knows; without, a card that is there already stays.
        Raises ValueError for a folded pipeline and for create_pr together with revision,
        ConnectionError if the connection breaks (nothing is changed then), and the Hub's own
        errors, such as for a token that may not write there.
        """
        require_one_place(create_pr, revision)
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, variant=variant, max_shard_size=max_shard_size)
            repo_id = create_repository(repo_id, private=private, token=token)
            return commit(
                files_of(folder) | card_files(self, repo_id, details),
                repo_id,
                commit_message or f"Upload {type(self).__name__}",
                revision=revision,
                create_pr=create_pr,
                token=token,
                keep=() if details else (CARD_FILE,),
            )

    def fold(self) -> Self:
        """Rewrite both networks in place for faster inference (see `Network.fold`)."""
        self.correspondence.fold()
        self.translation.fold()
        return self

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
    ) -> CoCosPipelineOutput | tuple:
        """Paint `condition` with the look of `exemplar`.

        condition: what the pipeline's condition object encodes (`pipe.condition`), or encoded
        tensors (K, H, W) or (B, K, H, W); a list is a batch. exemplar: PIL image, path, array
        (H, W, 3) or tensor (3, H, W), floating ones in 0..1; a list is a batch, a list of lists
        gives each item several exemplars; or results of `encode_exemplar`, one or a list.
        exemplar_condition: the exemplars' own conditions, laid out like exemplar, where the model
        needs them and cannot make them from the photo. One condition serves many exemplars and the
        reverse.
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
        ValueError for input that cannot be used, before any heavy work.
        """
        if output_type not in ("pil", "np", "pt"):
            raise ValueError(f'output_type must be "pil", "np" or "pt", got {output_type!r}.')
        self._require_knobs(strength, points, scale, height, width)
        loaded = self._load(
            condition, exemplar, exemplar_condition, height, width, regions, exemplar_regions, scale
        )
        pairs = _pairs_of_points(points, loaded.exemplar_counts)
        with self.progress_bar(total=2) as bar:
            prepared, matching = self._correspond(loaded, generator)
            bar.update()
            pins = _pins(pairs, matching)
            images, warped, blend = self._painted(loaded, prepared, matching, strength, pins)
            bar.update()
        self.maybe_free_model_hooks()

        pictures = [
            self.image_processor.postprocess(batch_of.float(), output_type)
            for batch_of in (images, warped)
        ]
        if blend is not None:
            blend = self.image_processor.postprocess(
                blend.float(), output_type, do_denormalize=[False] * len(blend)
            )
        output = CoCosPipelineOutput(*pictures, matching, blend)
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
        generator: torch.Generator | list[torch.Generator] | None = None,
    ) -> Matching:
        """The correspondence of `condition` and `exemplar` without the painting.

        Arguments and errors as in a call of the pipeline, whose `matching` it is.
        """
        loaded = self._load(
            condition, exemplar, exemplar_condition, height, width, regions, exemplar_regions
        )
        _, matching = self._correspond(loaded, generator)
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
        image_size = _side("image_size", image_size, self.translation.stride)
        enlarged = (image_size or self.config.image_size) / self.config.image_size
        photos, conditions = self._load_exemplars(exemplar, exemplar_condition, enlarged)
        prepared = self._encode_photos(photos, conditions, generator)
        self.maybe_free_model_hooks()
        return prepared

    def _require_own(self, exemplar: PreparedExemplar) -> None:
        """Raise ValueError if the last layer shows that another pipeline prepared it."""
        own, made_by = np.array(self._signature()), np.array(exemplar.made_by)
        is_own = exemplar.styles[0][0].shape[0] == self.correspondence.config.feature_channels
        if is_own and own.size and made_by.size:
            difference = np.linalg.norm(own - made_by)
            is_own = difference <= SIGNATURE_TOLERANCE * np.linalg.norm(own)
        if not is_own:
            raise ValueError(
                "the exemplar was prepared by another pipeline, whose features mean other things; "
                "prepare it again with this one's encode_exemplar."
            )

    def _signature(self) -> tuple[float, ...]:
        """Some weights behind the styles of exemplars; none where they are offloaded."""
        weight = self.correspondence.style_projection.weight
        if weight.is_meta:
            return ()
        return tuple(weight.detach()[:, 0, 0, 0].float().tolist())

    # Input -----------------------------------------------------------------------------------

    def _load(
        self,
        condition: Any,
        exemplar: Any,
        exemplar_condition: Any,
        height: int | None,
        width: int | None,
        regions: Any,
        exemplar_regions: Any,
        scale: float | None = None,
    ) -> _Loaded:
        """The arguments of a call as tensors. Raises ValueError for what cannot be used."""
        if (regions is None) != (exemplar_regions is None):
            raise ValueError("regions and exemplar_regions restrict only together; pass both.")
        conditions, matched, size = self._encode_conditions(condition, height, width, scale)
        prepared, photos, photo_conditions = None, None, None
        if given := _prepared_ones(exemplar):
            if exemplar_condition is not None:
                raise ValueError(
                    "a prepared exemplar already contains its condition; leave it out."
                )
            for item in given:
                self._require_own(item)
            prepared = _as_one_batch(given)
            count = len(prepared)
        else:
            sides = zip(size, self._learned_size, strict=True)
            enlarged = max(1, min(side / learned for side, learned in sides))
            photos, photo_conditions = self._load_exemplars(exemplar, exemplar_condition, enlarged)
            count = len(photos)
        batch = max(len(conditions), count)
        for name, length in (("conditions", len(conditions)), ("exemplars", count)):
            if length not in (1, batch):
                raise ValueError(
                    f"got {len(conditions)} conditions and {count} exemplars; pass one of either, "
                    f"or as many {name} as the other has."
                )
        maps = self._load_regions(
            regions, exemplar_regions, matched, photos if prepared is None else prepared.photos
        )
        return _Loaded(conditions, matched, size, prepared, photos, photo_conditions, maps, batch)

    def _encode_conditions(
        self, source: Any, height: int | None, width: int | None, scale: float | None
    ) -> tuple[list[Tensor], list[Tensor], tuple[int, int]]:
        """The conditions as painted from and as matched, and the size of the pictures."""
        stride = self.translation.stride
        height, width = _side("height", height, stride), _side("width", width, stride)
        sources = _as_batch(source, "condition")
        if _is_coherent(self.correspondence):
            return self._encode_at_two_sizes(sources, height, width, scale)
        encoded = [self._encode_condition(item, height, width, stride) for item in sources]
        sizes = {tuple(item.shape[-2:]) for item in encoded}
        if len(sizes) > 1:
            raise ValueError(
                f"the conditions of a batch must agree in size, got {sorted(sizes)}; pass height= "
                f"and width=, or call the pipeline once for each."
            )
        return encoded, encoded, sizes.pop()

    def _encode_at_two_sizes(
        self, sources: list, height: int | None, width: int | None, scale: float | None
    ) -> tuple[list[Tensor], list[Tensor], tuple[int, int]]:
        """As `_encode_conditions`, for networks that paint and match at the size they learned."""
        stride = self.translation.stride
        natural = []
        for item in sources:
            if self._is_encoded(item):
                self.condition.validate_encoded(item)
                natural.append(tuple(item.shape[-2:]))
            else:
                natural.append(self.condition.natural_size(item))
        wanted = set()
        for item, own in zip(sources, natural, strict=True):
            keeps = self._is_encoded(item) and not (height or width)
            fitted = own if keeps else self.size_for(own, height=height, width=width)
            if keeps:
                require_stride("an encoded condition", item, stride)
            if scale is not None:
                fitted = tuple(nearest_side(side * scale, stride) for side in fitted)
            wanted.add(fitted)
        if len(wanted) > 1:
            raise ValueError(
                f"the conditions of a batch must agree in size, got {sorted(wanted)}; pass height= "
                f"and width=, or call the pipeline once for each."
            )
        size = wanted.pop()
        base = self._size_for(size, "pass another height and width")
        painted = tuple(min(own, learned) for own, learned in zip(size, base, strict=True))
        matched = self._matching_size(base)
        return (
            [self._encoded_at(item, *painted) for item in sources],
            [self._encoded_at(item, *matched) for item in sources],
            size,
        )

    def _encoded_at(self, source: Any, height: int, width: int) -> Tensor:
        if not self._is_encoded(source):
            return self.condition.encode(source, height, width)
        encoded = _in_range(source)
        if tuple(encoded.shape[-2:]) == (height, width):
            return encoded
        return F.interpolate(encoded[None], (height, width), mode="area")[0]

    def _matching_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """At which a picture of this size, fitted to what the networks learned, is matched."""
        stride, scale = self.correspondence.stride, self.config.matching_scale
        return tuple(nearest_side(side / scale, stride) for side in size)

    def _require_knobs(
        self, strength: float, points: Any, scale: float | None, height: Any, width: Any
    ) -> None:
        if not 0 <= strength <= 1:
            raise ValueError(f"strength must be in 0..1, got {strength!r}.")
        if scale is not None and (height is not None or width is not None):
            raise ValueError("scale stands in place of height and width; pass either.")
        if scale is not None and not 0 < scale <= 16:
            raise ValueError(f"scale must be above 0 and at most 16, got {scale!r}.")
        if _is_coherent(self.correspondence):
            return
        for name, is_set in {
            "strength": strength != 0.5,
            "points": points is not None,
            "scale": scale is not None,
        }.items():
            if is_set:
                raise ValueError(
                    f"{name} belongs to pipelines that warp coherently and blend; this one paints "
                    f"with a {type(self.translation).__name__}: leave it out."
                )

    def _encode_condition(
        self, source: Any, height: int | None, width: int | None, stride: int
    ) -> Tensor:
        if self._is_encoded(source):
            self.condition.validate_encoded(source)
            size = tuple(source.shape[-2:])
            if (height or size[0], width or size[1]) != size:
                raise ValueError(
                    f"height and width must be those of an encoded condition or be left out, got "
                    f"{height} and {width} for {size[0]} x {size[1]}."
                )
            require_stride("an encoded condition", source, stride)
            return _in_range(source)
        if height is None or width is None:
            natural = self.condition.natural_size(source)
            height, width = self.size_for(natural, height=height, width=width)
        return self.condition.encode(source, height, width)

    def _is_encoded(self, source: Any) -> bool:
        return (
            isinstance(source, Tensor)
            and source.ndim == 3
            and source.shape[0] == self.condition.channels
            and source.is_floating_point()
        )

    @property
    def _learned_size(self) -> tuple[int, int]:
        """(height, width) of the pictures in training."""
        return self.config.image_size, self.config.image_width or self.config.image_size

    def size_for(
        self, natural: tuple[int, int], *, height: int | None = None, width: int | None = None
    ) -> tuple[int, int]:
        """(height, width) at which a condition of this natural size is painted.

        height, width: as in a call. Raises ValueError for a condition that is too long, and for
        sides that do not fit the networks.
        """
        stride = self.translation.stride
        height, width = _side("height", height, stride), _side("width", width, stride)
        if height is not None and width is not None:
            return height, width
        remedy = "crop it, or pass height= and width="
        return self._size_for(natural, remedy, height=height, width=width)

    def _size_for(
        self,
        natural: tuple[int, int],
        remedy: str,
        enlarged: float = 1.0,
        height: int | None = None,
        width: int | None = None,
    ) -> tuple[int, int]:
        """What `size_for` says, times `enlarged` if no side is given.

        remedy: for a picture that is too long.
        """
        stride, short = self.translation.stride, min(natural)
        if max(natural) > MAX_ASPECT * short:
            raise ValueError(
                f"a picture of {natural[0]} x {natural[1]} pixels is more than {MAX_ASPECT} times "
                f"as long as wide; {remedy}."
            )
        if height is not None:
            scale = height / natural[0]
        elif width is not None:
            scale = width / natural[1]
        else:
            sides = zip(self._learned_size, natural, strict=True)
            scale = enlarged * max(learned / side for learned, side in sides)
        fitted = [nearest_side(side * scale, stride) for side in natural]
        return height or fitted[0], width or fitted[1]

    def _load_exemplars(
        self, exemplar: Any, exemplar_condition: Any, enlarged: float
    ) -> tuple[list[list[Tensor]], list[list[Tensor | None]]]:
        """Photos (3, H, W) in [-1, 1] and their encoded conditions, several for each item.

        enlarged: see `_size_for`.
        """
        sources = [_as_list(item, "exemplar") for item in _as_batch(exemplar, "exemplar")]
        if exemplar_condition is None:
            given = [[None] * len(item) for item in sources]
        else:
            given = [
                _as_list(item, "exemplar_condition")
                for item in _as_batch(exemplar_condition, "exemplar_condition")
            ]
            if len(given) == 1 and len(given[0]) == 1:
                given = [given[0] * len(item) for item in sources]
            if [len(item) for item in given] != [len(item) for item in sources]:
                raise ValueError(
                    f"exemplar_condition must be laid out like exemplar, got "
                    f"{[len(item) for item in given]} conditions for "
                    f"{[len(item) for item in sources]} exemplars."
                )
        photos = [[self._load_photo(photo, enlarged) for photo in item] for item in sources]
        uses_condition = self.correspondence.config.mix_condition
        if not self.correspondence.needs_exemplar_condition:
            if exemplar_condition is not None:
                reason = "puts noise in its place" if uses_condition else "does not look at it"
                logger.warning(f"exemplar_condition is not used: this model {reason}.")
            return photos, [[None] * len(item) for item in photos]
        conditions = [
            [
                self._load_exemplar_condition(source, photo, photo_source)
                for source, photo, photo_source in zip(*item, strict=True)
            ]
            for item in zip(given, photos, sources, strict=True)
        ]
        return photos, conditions

    def _load_exemplar_condition(self, source: Any, photo: Tensor, photo_source: Any) -> Tensor:
        if source is None:
            if not self.condition.needs_only_photo:
                raise ValueError(
                    f"this model needs the exemplar's own {self.condition.type} condition and "
                    f"cannot tell it from the photo alone; pass exemplar_condition=, prepared like "
                    f"condition, or made by pipe.condition.from_photo(photo)."
                )
            made = self.condition.from_photo(photo_source)
            return self.condition.encode(made, *self._matched_size_of(photo))
        size = self._matched_size_of(photo)
        if not self._is_encoded(source):
            own = self.condition.natural_size(source)
            if abs(math.log(own[0] * size[1] / (own[1] * size[0]))) > ASPECT_TOLERANCE:
                logger.warning(
                    f"the exemplar_condition of {own[0]} x {own[1]} pixels is stretched to its "
                    f"exemplar's {size[0]} x {size[1]}; check that they belong together and that "
                    f"neither is turned."
                )
            return self.condition.encode(source, *size)
        self.condition.validate_encoded(source)
        if tuple(source.shape[-2:]) != tuple(photo.shape[-2:]):
            raise ValueError(
                f"an encoded exemplar_condition must have its exemplar's size "
                f"{tuple(photo.shape[-2:])}, got {tuple(source.shape[-2:])}."
            )
        return self._encoded_at(source, *size)

    def _load_photo(self, source: Any, enlarged: float) -> Tensor:
        """(3, H, W) in [-1, 1]; pictures are resized, tensors must fit."""
        if isinstance(source, Tensor) and source.is_floating_point():
            if source.ndim != 3 or source.shape[0] != 3:
                raise ValueError(
                    f"an exemplar tensor must be (3, H, W), got {tuple(source.shape)}."
                )
            require_stride("an exemplar tensor", source, self.translation.stride)
            if not torch.isfinite(source).all():
                raise ValueError("the exemplar contains NaN or infinite values.")
            low, high = source.min().item(), source.max().item()
            if low < -1e-3 or high > 1 + 1e-3:
                raise ValueError(
                    f"an exemplar tensor must hold values in 0..1, got {low:.3g}..{high:.3g}; map "
                    f"-1..1 by (x + 1) / 2."
                )
            return source.float() * 2 - 1
        photo = open_photo(source, "exemplar")
        height, width = self._size_for((photo.height, photo.width), "crop it", enlarged)
        photo = photo.resize((width, height), Image.Resampling.BICUBIC)
        return torch.from_numpy(np.array(photo)).permute(2, 0, 1).float() / 127.5 - 1

    def _load_regions(
        self,
        regions: Any,
        exemplar_regions: Any,
        conditions: list[Tensor],
        photos: Sequence[Sequence[Tensor]],
    ) -> tuple[list[Tensor], list[list[Tensor]]] | None:
        """Both region maps at the size of the matching's grid, one for each map they restrict."""
        if regions is None:
            return None
        own = _as_list(regions, "regions")
        other = [
            _as_list(item, "exemplar_regions")
            for item in _as_list(exemplar_regions, "exemplar_regions")
        ]
        if len(own) != len(conditions) or [len(i) for i in other] != [len(i) for i in photos]:
            raise ValueError(
                f"regions must hold a map for each of the {len(conditions)} conditions and "
                f"exemplar_regions be laid out like exemplar, {[len(i) for i in photos]}, got "
                f"{len(own)} and {[len(i) for i in other]}."
            )
        return (
            [
                self._load_region(region, tuple(encoded.shape[-2:]))
                for region, encoded in zip(own, conditions, strict=True)
            ],
            [
                [
                    self._load_region(region, self._matched_size_of(photo))
                    for region, photo in zip(*item, strict=True)
                ]
                for item in zip(other, photos, strict=True)
            ],
        )

    def _load_region(self, region: Any, size: tuple[int, int]) -> Tensor:
        """A region map at the grid of the matching for a picture that is matched at this size."""
        region = region if isinstance(region, Tensor) else np.array(region)
        if region.ndim != 2 or not is_integer(region) or min(region.shape) == 0:
            raise ValueError(
                f"a region map must hold integers and be (H, W), got {region.dtype} and "
                f"{tuple(region.shape)}."
            )
        region = torch.as_tensor(region)
        grid = tuple(side // self.correspondence.stride for side in size)
        # float64 holds every integer that a region is likely to be.
        return F.interpolate(region[None, None].double(), size=grid, mode="nearest")[0, 0].long()

    # Stages ----------------------------------------------------------------------------------

    def _correspond(
        self, loaded: _Loaded, generator: torch.Generator | list[torch.Generator] | None
    ) -> tuple[PreparedExemplar, Matching]:
        """The exemplars on the device, and their matching with the conditions."""
        prepared = loaded.prepared
        if prepared is None:
            prepared = self._encode_photos(loaded.photos, loaded.photo_conditions, generator)
        guide = self._guide(loaded.matched, self.correspondence)
        content = self.correspondence(guide, None).content
        prepared = prepared.to(self._execution_device)
        return prepared, self._match(content, prepared, loaded.batch, loaded.maps)

    def _guide(self, conditions: list[Tensor], network: Network) -> Tensor:
        """The conditions (B or 1, K, H, W) on the device, as a network computes."""
        device = self._execution_device
        guide = torch.stack([item.to(device, network.dtype) for item in conditions])
        return _channels_last(guide)

    def _encode_photos(
        self,
        photos: list[list[Tensor]],
        conditions: list[list[Tensor | None]],
        generator: torch.Generator | list[torch.Generator] | None,
    ) -> PreparedExemplar:
        """Run the correspondence network on all exemplars, those of one size in one batch."""
        device, dtype = self._execution_device, self.correspondence.dtype
        places = [(i, j) for i, item in enumerate(photos) for j in range(len(item))]
        by_size: dict[tuple[int, ...], list[tuple[int, int]]] = {}
        for i, j in places:
            by_size.setdefault(tuple(photos[i][j].shape), []).append((i, j))
        if isinstance(generator, list) and len(generator) != len(places):
            raise ValueError(
                f"got {len(generator)} generators for {len(places)} exemplars; pass one for each, "
                f"or a single one."
            )
        if isinstance(generator, list) and len(by_size) > 1:
            raise ValueError("one generator for each exemplar needs exemplars of one size.")
        styles: dict[tuple[int, int], Tensor] = {}
        on_device: dict[tuple[int, int], Tensor] = {}
        for group in by_size.values():
            batch = torch.stack([photos[i][j].to(device) for i, j in group])
            own = None
            if conditions[group[0][0]][group[0][1]] is not None:
                own = torch.stack([conditions[i][j].to(device, dtype) for i, j in group])
            seen = self._as_matched(batch)
            inputs = _channels_last(seen.to(dtype)), own if own is None else _channels_last(own)
            style = self.correspondence(None, *inputs, generator=generator).style
            styles |= dict(zip(group, style, strict=True))
            on_device |= dict(zip(group, batch, strict=True))
        return PreparedExemplar(
            *(
                tuple(tuple(found[i, j] for j in range(len(item))) for i, item in enumerate(photos))
                for found in (styles, on_device)
            ),
            made_by=self._signature(),
        )

    def _match(
        self,
        content: Tensor,
        prepared: PreparedExemplar,
        batch: int,
        maps: tuple[list[Tensor], list[list[Tensor]]] | None,
    ) -> Matching:
        own, other = maps or (None, None)
        if own is not None:
            own = torch.stack([region.to(content.device) for region in own])
            own = own.expand(batch, -1, -1)
            other = [[region.to(content.device) for region in item] for item in other]
            other = _as_one_tensor(_broadcast(other, batch))
        return self.correspondence.match(
            content.expand(batch, -1, -1, -1),
            _as_one_tensor(_broadcast(prepared.styles, batch)),
            pixels=self.config.matching_scale,
            content_regions=own,
            style_regions=other,
        )

    def _matched_size_of(self, photo: Tensor) -> tuple[int, int]:
        """(height, width) at which an exemplar (..., H, W) is matched."""
        size = tuple(photo.shape[-2:])
        if not _is_coherent(self.correspondence):
            return size
        return self._matching_size(self._size_for(size, "crop it"))

    def _as_matched(self, photos: Tensor) -> Tensor:
        """Photos (B, 3, H, W) at the size at which they are matched."""
        size = self._matched_size_of(photos)
        if tuple(photos.shape[-2:]) == size:
            return photos
        return F.interpolate(photos, size, mode="bilinear", antialias=True)

    def _painted(
        self,
        loaded: _Loaded,
        prepared: PreparedExemplar,
        matching: Matching,
        strength: float,
        pins: list[list[Pin]],
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Picture and warped exemplar (B, 3, H, W) in [-1, 1]; the blend (B, 1, H, W), or None."""
        items = _broadcast(prepared.photos, loaded.batch)
        guide = self._guide(loaded.conditions, self.translation)
        guide = guide.expand(loaded.batch, -1, -1, -1)
        size = tuple(guide.shape[-2:])
        if not _is_coherent(self.correspondence):
            warp = self.correspondence.warp(matching, _as_one_tensor(items))
            image = self.translation(_channels_last(warp.features.to(guide)), guide)
            return image, warp.picture, None
        small = _as_one_tensor(_at_most(items, matching, size, size))
        warp = self.correspondence.warp(matching, small, size, pins)
        features = _channels_last(warp.features.to(guide))
        output = self.translation(features, guide)
        share = blend_share(output.blend, strength)
        image = with_strength(features, output, strength)
        if loaded.size == size:
            return image, warp.picture, share
        large = _as_one_tensor(_at_most(items, matching, size, loaded.size))
        warped = warp.flow.warp(large, loaded.size)
        share = share.float()
        image = enlarged(image.float(), share, warped)
        return image, warped, F.interpolate(share, loaded.size, mode="bilinear")


def _is_coherent(correspondence: CorrespondenceNetwork) -> bool:
    return correspondence.config.warp == "coherent"


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


def _pairs_of_points(points: Any, counts: list[int]) -> list[list[tuple]]:
    """For each item its pairs of points in shares, with the number of the exemplar.

    counts: of each item's exemplars. Raises ValueError for other values.
    """
    if points is None:
        return [[] for _ in counts]
    shape = "pairs ((x, y), (x', y')) of shares in 0..1, or a list of such pairs for each item"
    try:
        # An item's list may be empty: the first pair that there is tells lists of pairs from lists.
        is_nested = len(points) > 0 and all(
            len(item) == 0 or np.ndim(item[0][0]) > 0 for item in points
        )
        given = []
        for item in points if is_nested else [points] * len(counts):
            given.append([])
            for (x, y), (other_x, other_y), *number in item:
                if not all(0 <= value <= 1 for value in (x, y, other_x, other_y)):
                    raise ValueError(f"got {points!r}")
                if len(number) > 1:
                    raise ValueError(f"got more than two points and an exemplar in {points!r}")
                given[-1].append(((x, y), (other_x, other_y), number[0] if number else 0))
        if len(given) != len(counts):
            raise ValueError(f"got {points!r} for {len(counts)} items")
    except (TypeError, IndexError, ValueError) as error:
        raise ValueError(f"points must be {shape}; {error}.") from error
    for item, count in zip(given, counts, strict=True):
        for *_, number in item:
            if number not in range(count):
                raise ValueError(f"points name exemplar {number}, but an item has {count} of them.")
    return given


def _pins(given: list[list[tuple]], matching: Matching) -> list[list[Pin]]:
    """Pairs of points, in shares, as the matching's cells."""
    pins = []
    for item, (own, others) in zip(given, matching.grids(), strict=True):
        pins.append([])
        for target, source, number in item:
            places = (
                (x * width - 0.5, y * height - 0.5)
                for (x, y), (height, width) in ((target, own), (source, others[int(number)]))
            )
            pins[-1].append(Pin(*places, int(number)))
    return pins


def _in_range(encoded: Tensor) -> Tensor:
    """An encoded condition as float32. Raises ValueError for values outside 0..1."""
    low, high = encoded.min().item(), encoded.max().item()
    if low < -1e-3 or high > 1 + 1e-3:
        raise ValueError(
            f"an encoded condition must hold values in 0..1, got {low:.3g}..{high:.3g}; make it "
            f"with pipe.condition.encode(...), or scores of classes by softmax."
        )
    return encoded.float()


def _side(name: str, side: Any, stride: int) -> int | None:
    """A wanted side, which must fit the stride."""
    if side is None:
        return None
    if not isinstance(side, Integral):
        raise ValueError(f"{name} must be a whole number of pixels, got {side!r}.")
    side = int(side)
    if side != nearest_side(side, stride):
        raise ValueError(
            f"{name} must be a multiple of {stride} from {2 * stride} on, got {side}; "
            f"{nearest_side(side, stride)} would do."
        )
    return side


def _prepared_ones(exemplar: Any) -> list[PreparedExemplar]:
    """The prepared exemplars among the items of a call. Raises ValueError beside other ones."""
    items = exemplar if isinstance(exemplar, (list, tuple)) else [exemplar]
    for item in items:
        if isinstance(item, (list, tuple)) and _prepared_ones(item):
            raise ValueError(
                "several exemplars of one item are prepared together: encode_exemplar([[a, b]])."
            )
    found = [item for item in items if isinstance(item, PreparedExemplar)]
    if found and len(found) < len(items):
        raise ValueError(
            f"a batch has prepared exemplars or pictures, got {len(found)} prepared ones among "
            f"{len(items)}; prepare the others with encode_exemplar."
        )
    return found


def _as_one_batch(items: list[PreparedExemplar]) -> PreparedExemplar:
    """Prepared exemplars of one pipeline, one after the other."""
    return PreparedExemplar(
        tuple(styles for item in items for styles in item.styles),
        tuple(photos for item in items for photos in item.photos),
        items[0].made_by,
    )


def _as_batch(source: Any, name: str) -> list:
    """The items of a list, or of an array or tensor with four dimensions; otherwise one item."""
    if isinstance(source, (Tensor, np.ndarray)) and source.ndim == 4:
        source = list(source)
    return _as_list(source, name)


def _as_list(source: Any, name: str) -> list:
    if not isinstance(source, (list, tuple)):
        return [source]
    if not source:
        raise ValueError(f"{name} must hold at least one item, got an empty list.")
    return list(source)


def _channels_last(x: Tensor) -> Tensor:
    """The layout that convolutions are fastest in."""
    return x.contiguous(memory_format=torch.channels_last)


def _broadcast(items: Sequence[Sequence[Tensor]], batch: int) -> list[Sequence[Tensor]]:
    return list(items) * (batch if len(items) == 1 else 1)


def _as_one_tensor(items: list[Sequence[Tensor]]) -> Tensor | list[Sequence[Tensor]]:
    """One tensor if each item has one exemplar and all agree in size; (1, ...) if it is shared."""
    singles = [item[0] for item in items]
    if any(len(item) > 1 for item in items) or len({single.shape for single in singles}) > 1:
        return items
    if all(single is singles[0] for single in singles):
        return singles[0][None]
    return torch.stack(singles)
