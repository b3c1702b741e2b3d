"""What every pipeline of this package is: condition and exemplar in, picture out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import torch
from diffusers.image_processor import VaeImageProcessor
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.utils import BaseOutput
from huggingface_hub import CommitInfo
from PIL import Image
from torch import Tensor
from typing_extensions import Self

from .call_inputs import InputReader, as_batch, opened, require_side, side_of
from .cards import CARD_FILE, CardDetails, card_files, model_card
from .conditions import Condition, condition_from_config
from .matching import Matching
from .models.network import Network, require_safe, without_place
from .saved_files import only_variant
from .transfer import (
    commit,
    create_repository,
    fetch_pipeline,
    files_of,
    require_local,
    require_one_place,
)

Pictures: TypeAlias = "list[Image.Image] | Any"
"""PIL images, or by output_type an array or a tensor, which a checker cannot tell apart."""


@dataclass
class ImageTranslationOutput(BaseOutput):
    """What a pipeline returns.

    images: a list of PIL images, a (B, H, W, 3) array or a (B, 3, H, W) tensor, in 0..1.
    warped_exemplars, matching: of a pipeline that matches (see `has_matching`), otherwise None: the
    exemplars in the condition's layout, as the images are, and the correspondence.
    """

    images: Pictures
    warped_exemplars: Pictures | None = None
    matching: Matching | None = None


class ImageTranslationPipeline(DiffusionPipeline):
    """Paints a picture with the layout of a condition and the look of an exemplar.

    A subclass has a constructor with its networks by name, `condition`, `image_size` and
    `image_width`, and says in `generate` what they make of tensors; this class reads what a call
    is given, saves, loads and shares.

    networks: by name, put in evaluation mode. condition: the configuration of the condition object
    (its `to_config`), or the object. image_size: the short side of pictures whose size is not
    given, in pixels. image_width: of networks that learned pictures of another width than height.
    """

    config: Any
    """The settings, as attributes: diffusers' own annotation only knows them as keys."""
    method: ClassVar[str] = "[CoCosNet](https://arxiv.org/abs/2004.05571)"
    """What its networks are, for its card."""
    uses_exemplar: ClassVar[bool] = True
    """Whether another exemplar would give another picture."""
    has_matching: ClassVar[bool] = False
    """Whether pictures are painted by a matching, which a call then returns."""

    def __init__(
        self,
        networks: Mapping[str, Network | None],
        condition: dict | Condition | None = None,
        image_size: int = 256,
        image_width: int | None = None,
    ):
        super().__init__()
        if condition is None:
            raise ValueError(
                "a pipeline needs to know its condition; pass condition=, e.g. EdgeCondition()."
            )
        if not isinstance(condition, Condition):
            condition = condition_from_config(condition)
        require_networks(networks)
        for name, side in {"image_size": image_size, "image_width": image_width}.items():
            if name == "image_width" and side is None:
                continue
            if not isinstance(side, Integral) or isinstance(side, bool) or side < 1:
                raise ValueError(f"{name} must be a number of pixels from 1 on, got {side!r}.")
            require_side(name, int(side))
        self.register_modules(**networks)
        self.register_to_config(condition=condition, image_size=image_size, image_width=image_width)
        self.condition = condition
        for network in self.networks.values():
            network.eval()
        self.image_processor = VaeImageProcessor(vae_scale_factor=1)

    @property
    def networks(self) -> dict[str, Network]:
        """The pipeline's networks by name."""
        return {
            name: network
            for name, network in self.components.items()
            if isinstance(network, Network)
        }

    @property
    def stride(self) -> int:
        """Of which the sides of pictures are multiples."""
        return max(getattr(network, "stride", 1) for network in self.networks.values())

    @property
    def needs_exemplar_condition(self) -> bool:
        """Whether an exemplar is of no use without its own condition."""
        return False

    @property
    def takes_exemplar_condition(self) -> bool:
        """Whether an exemplar's own condition is used where it is given."""
        return self.needs_exemplar_condition

    def generate(self, condition: Tensor, exemplar: Tensor) -> Tensor:
        """condition (B, K, H, W), exemplar (B, 3, H', W') in [-1, 1] -> (B, 3, H, W), as it."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it makes of tensors.")

    @torch.no_grad()
    def __call__(
        self,
        condition: Any,
        exemplar: Any,
        exemplar_condition: Any = None,
        *,
        height: int | None = None,
        width: int | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        output_type: str = "pil",
    ) -> ImageTranslationOutput:
        """Paint `condition` with the look of `exemplar`.

        condition, exemplar: one of each or lists, read as by `CoCosPipeline`; one serves many of
        the other, and the exemplars of a batch have one size. height, width: of the picture.
        exemplar_condition, generator: of no use here. output_type: "pil", "np" or "pt".
        Raises ValueError for input that cannot be used, and for weights that paint NaN.
        """
        del exemplar_condition, generator
        require_output_type(output_type)
        height, width = side_of("height", height, self.stride), side_of("width", width, self.stride)
        read = self._reader
        conditions = [read.encode(item, height, width) for item in as_batch(condition, "condition")]
        photos = [read.photo(opened(item), 1.0) for item in as_batch(exemplar, "exemplar")]
        guides = self._stacked({"conditions": conditions, "exemplars": photos})
        return ImageTranslationOutput(self._finished(self.generate(*guides), output_type))

    def _stacked(self, given: Mapping[str, Sequence[Tensor]]) -> list[Tensor]:
        """What a call was given, by what it is, each as one batch for the networks.

        One of a kind serves many of the others. Raises ValueError for several sizes of a kind, and
        for numbers that do not go together.
        """
        batch = max(len(items) for items in given.values())
        guides = []
        for name, items in given.items():
            sizes = {tuple(item.shape[-2:]) for item in items}
            if len(items) not in (1, batch) or len(sizes) > 1:
                raise ValueError(
                    f"the {name} of a batch of {batch} must be as many, or one, and of one size, "
                    f"got {len(items)} of {sorted(sizes)}."
                )
            guide = torch.stack(list(items)).to(self._execution_device, self.dtype)
            guides.append(guide.expand(batch, -1, -1, -1))
        return guides

    def _finished(self, images: Tensor, output_type: str) -> Pictures:
        """What is returned of painted pictures (B, 3, H, W). Raises ValueError if they are NaN."""
        self.maybe_free_model_hooks()
        require_finite(images)
        return self.image_processor.postprocess(images.float(), output_type)

    def register_to_config(self, **kwargs: Any) -> None:
        """As in diffusers, but components are recorded as `["cocosnet_hf", class]`.

        diffusers would record the module, and no published folder could be opened any more once a
        file of this package moved. A condition, also one that is set as `pipe.condition`, is
        recorded by its `to_config`. Raises ValueError for anything else in its place, for one whose
        settings have types that no file keeps, and if the networks read another number of channels
        than it has.
        """
        package = __name__.partition(".")[0]
        for name, value in kwargs.items():
            if isinstance(value, tuple) and str(value[0]).startswith(f"{package}."):
                kwargs[name] = (package, value[1])
            elif name == "condition":
                self._require_readable(value)
                kwargs[name] = saved = value.to_config()
                try:
                    type(value).from_config(saved)
                except ValueError as error:  # before hours of training, not when it is opened
                    raise ValueError(f"the condition could not be opened again: {error}") from error
        super().register_to_config(**kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> Self:
        """As in diffusers, from a folder or the Hub, but nothing that either holds is run.

        variant: of the weights, such as "fp16"; by default that without a name, or else the only
        one that there is. Raises ValueError for a folder that is no saved pipeline, that lacks the
        weights, whose index names modules which are not imported or whose settings have the wrong
        types, and for trust_remote_code and custom_pipeline; of the Hub what `download` raises.
        """
        if not isinstance(pretrained_model_name_or_path, (str, os.PathLike)):
            raise ValueError(
                f"a pipeline is opened by its folder or its Hub id, got "
                f"{pretrained_model_name_or_path!r}."
            )
        source = os.fspath(pretrained_model_name_or_path)
        is_here = os.path.isdir(source)
        folder = source if is_here else cls.download(source, **kwargs)
        for name in ("trust_remote_code", "custom_pipeline"):
            if kwargs.get(name):
                raise ValueError(
                    f"{name} would run code of a repository; leave it out, and import the module "
                    f"of a pipeline of your own before you open it."
                )
        components = [name for name in cls.network_names() if name not in kwargs]
        names = files_of(folder)
        kwargs["variant"] = kwargs.get("variant") or only_variant(names, components)
        if is_here:
            require_local(folder, names, components, kwargs["variant"])
        try:
            pipe: Any = super().from_pretrained(folder, **kwargs)
        except (TypeError, AttributeError, LookupError) as error:
            raise ValueError(
                f"{source} cannot be opened ({type(error).__name__}: {error}): a setting in its "
                f"model_index.json, or an argument of from_pretrained, is of the wrong type."
            ) from error
        pipe.register_to_config(_name_or_path=source)
        return pipe

    @classmethod
    def network_names(cls) -> list[str]:
        """Of the networks that such a pipeline needs."""
        return sorted(cls._get_signature_keys(cls)[0])

    @classmethod
    def download(cls, pretrained_model_name: str, **kwargs: Any) -> str:
        """Fetch a pipeline's files from the Hub, safetensors and configurations only.

        diffusers' own method refuses every repository with components of another package. Raises
        what `cocosnet_hf.transfer.fetch_pipeline` raises.
        """
        components = [name for name in cls.network_names() if name not in kwargs]
        options = ("cache_dir", "force_download", "local_files_only", "token", "revision")
        hub = {key: kwargs[key] for key in options if kwargs.get(key) is not None}
        variant = kwargs.get("variant")
        return fetch_pipeline(pretrained_model_name, components, variant, Network, **hub)

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

    def push_to_hub(  # type: ignore[override]  # settings by name only, and other ones
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

    def _require_readable(self, condition: Any) -> None:
        if not isinstance(condition, Condition):
            raise ValueError(
                f"a pipeline's condition must be an object such as EdgeCondition(), got "
                f"{condition!r}; condition_from_config makes one of its configuration."
            )

    def fold(self) -> Self:
        """Rewrite the networks in place for faster inference (see `Network.fold`)."""
        for network in self.networks.values():
            network.fold()
        return self

    @property
    def learned_size(self) -> tuple[int, int]:
        """(height, width) of the pictures in training."""
        return self.config.image_size, self.config.image_width or self.config.image_size

    @property
    def _reader(self) -> InputReader:
        return InputReader(self.condition, self.stride, self.learned_size)

    def size_for(
        self, natural: tuple[int, int], *, height: int | None = None, width: int | None = None
    ) -> tuple[int, int]:
        """(height, width) at which a condition of this natural size is painted.

        height, width: as in a call. Raises ValueError for a condition that is too long, and for
        sides that do not fit the networks.
        """
        return self._reader.size_for(natural, height=height, width=width)


def require_networks(networks: Mapping[str, Network | None]) -> None:
    """Raise ValueError if one of a pipeline's networks is missing."""
    for name, network in networks.items():
        if network is None:
            raise ValueError(f"a pipeline needs its {name} network, got None.")


def require_finite(images: Tensor) -> None:
    """Raise ValueError for painted pictures that hold NaN or infinite values."""
    if not torch.isfinite(images).all():
        raise ValueError(
            "the networks painted NaN or infinite values: their weights are damaged, or too large "
            "for half precision. Load the pipeline with dtype=torch.float32; if that does not "
            "help, fetch or train it again."
        )


def require_output_type(output_type: str) -> None:
    """Raise ValueError for a form of pictures that there is not."""
    if output_type not in ("pil", "np", "pt"):
        raise ValueError(f'output_type must be "pil", "np" or "pt", got {output_type!r}.')
