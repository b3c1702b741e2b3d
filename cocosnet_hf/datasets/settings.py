"""What a data set is, how its pictures are cut and which exemplars its photos get.

The settings of a data set are one flat list for whoever writes a recipe, and groups here: each says
what belongs together and checks itself.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

SPAN = re.compile(r"\s*(\d*)(%?)\s*:\s*(\d*)(%?)\s*\]")
"""What follows the bracket of a part of a split that counts from its start."""


class Settings:
    """A group of settings; each group checks its own and hands on to the next."""

    def __post_init__(self) -> None:
        """Raise ValueError for settings that cannot be."""

    def _require_share(self, *names: str) -> None:
        for name in names:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"'{name}' must be in 0..1, got {getattr(self, name)}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceSettings(Settings):
    """Where a data set lies, and how it is read.

    source: a folder with metadata.jsonl or only pictures, a folder or files of parquet or
        WebDataset tars (`*` allowed), a folder of `save_to_disk`, a Hub id, or "synthetic".
    config_name: which of several data sets under one Hub id.
    split: its part, such as "train" or, unless it is streamed, "train[:95%]".
    streaming: read it in order, without a copy on disk.
    cache_dir: where `datasets` and the exemplar index keep their files; default: the usual places.
    shuffle_buffer: examples that a stream shuffles: 0 none, 1 only whole shards; above 1 a resumed
        stream loses what was in the buffer.
    max_broken_share: the run stops when a larger share of the examples cannot be read.
    condition_source: another source, of pictures of another domain. They are the conditions of the
        photos, any beside any, in the column that condition_column then names.
    condition_domain: the same of one source, whose domain_column says which domain each picture is
        of, such as "label", which of a folder of folders holds their names. Pictures of this domain
        are the conditions, all others the photos. domain_column alone: the domains of a condition
        that asks for one of many, see `cocosnet_hf.conditions.DomainCondition`.
    """

    source: str = "synthetic"
    config_name: str | None = None
    split: str = "train"
    streaming: bool = False
    cache_dir: str | None = None
    shuffle_buffer: int = 0
    max_broken_share: float = 0.01
    condition_source: str | None = None
    condition_domain: str | None = None
    domain_column: str | None = None

    @property
    def is_unpaired(self) -> bool:
        """Whether conditions are other pictures than those of the photos."""
        return self.condition_source is not None or self.condition_domain is not None

    def __post_init__(self) -> None:
        self._require_share("max_broken_share")
        if self.condition_source is not None and self.condition_domain is not None:
            raise ValueError("Conditions come from 'condition_source' or 'condition_domain'.")
        if self.condition_domain is not None and self.domain_column is None:
            raise ValueError(
                "'condition_domain' and 'domain_column', which says where it stands, go together, "
                f"got {self.condition_domain} and {self.domain_column}."
            )
        if self.is_unpaired and self.streaming:
            raise ValueError(
                "A stream cannot put pictures of two domains beside each other; set streaming: "
                "false."
            )
        if self.shuffle_buffer < 0:
            raise ValueError(f"'shuffle_buffer' must be 0 or more, got {self.shuffle_buffer}.")
        super().__post_init__()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColumnSettings(Settings):
    """What the columns of a data set hold.

    image_column, condition_column: the photo, and the mask, drawing, face parts or keypoints. Edges
        come from the photo if condition_column is None.
    labels_column, label_classes: label maps beside a condition that is no mask, and the number of
        their classes: to teach and measure the warp, and to retrieve exemplars of a like layout.
    label_groups: the values of a label map, or of a mask that is one, that make up each class, such
        as [[0], [3, 5], [4]]; without it every value is a class of its own.
    instances_column: maps of whole numbers, for systems that look at instances: pixels of one
        number are one instance of their photo.
    label_sides: pairs of their classes that are each other's mirror image, such as [[4, 5]].
    person_column: which of several people in the keypoints is meant, from 0; null means the one who
        is there most, as without it.
    exemplar_column and its condition, labels and person: the photo's own exemplar; null means none.
    id_column: names the examples in messages and lists, where there is such a column.
    """

    image_column: str = "image"
    condition_column: str | None = None
    labels_column: str | None = None
    label_classes: int | None = None
    instances_column: str | None = None
    label_groups: tuple[tuple[int, ...], ...] = ()
    label_sides: tuple[tuple[int, ...], ...] = ()
    person_column: str | None = None
    exemplar_column: str | None = None
    exemplar_condition_column: str | None = None
    exemplar_labels_column: str | None = None
    exemplar_person_column: str | None = None
    id_column: str = "id"

    def __post_init__(self) -> None:
        if (self.labels_column is None) != (self.label_classes is None):
            raise ValueError(
                "'labels_column' and 'label_classes', the number of its classes, go together, got "
                f"{self.labels_column} and {self.label_classes}."
            )
        classes = range(self.label_classes or 0)
        values = [value for group in self.label_groups for value in group]
        if self.label_groups and classes and len(self.label_groups) != len(classes):
            raise ValueError(
                f"'label_groups' must hold one list of values per class, {len(classes)} lists by "
                f"'label_classes'; got {len(self.label_groups)}."
            )
        if len(set(values)) < len(values):
            raise ValueError(
                f"A value belongs to one of 'label_groups' only, got {sorted(values)}."
            )
        for pair in self.label_sides:
            if len(pair) != 2 or not set(pair) <= set(classes):
                raise ValueError(
                    "'label_sides' must be pairs of classes below 'label_classes', such as "
                    f"[[4, 5]]; got {list(pair)} for {self.label_classes} classes."
                )
        if self.exemplar_column is None and (
            self.exemplar_condition_column
            or self.exemplar_labels_column
            or self.exemplar_person_column
        ):
            raise ValueError(
                "'exemplar_condition_column', 'exemplar_labels_column' and "
                "'exemplar_person_column' belong to an 'exemplar_column', which is not set."
            )
        super().__post_init__()


@dataclasses.dataclass(frozen=True, kw_only=True)
class CropSettings(Settings):
    """Which part of a photo is a training picture, and at what sizes it is looked at.

    image_size: side of the training picture. load_size: the picture is resized to this square, or
        with keep_aspect to this short side, and a square of image_size is cut out of it.
    image_width: for standing figures and the like, the width of the training picture, whose height
        is image_size then: it is cut around the middle, and nothing is spent on empty sides. With
        keep_aspect the photo is made to cover it and as much around it as load_size leaves. For
        landscapes it is above image_size, and the photo is resized to its shape with as much around
        it. A saved pipeline paints any size, by default the smallest that covers this one.
    flow_stride: pixels for each of the positions whose flow to the exemplar an example holds; 0 for
        no flows. What is matched has this many pixels of the picture for each position. With flows
        a self exemplar is flipped as its photo is, so that left stays left.
    matching_scale: how many times smaller a picture is matched than painted; conditions other than
        masks are encoded at that size too.
    """

    image_size: int = 256
    load_size: int = 286
    image_width: int | None = None
    keep_aspect: bool = False
    flow_stride: int = 0
    matching_scale: int = 1

    def __post_init__(self) -> None:
        if not 8 <= self.image_size <= self.load_size:
            raise ValueError(
                "'image_size' must be at least 8 and not above 'load_size', from which the picture "
                f"is cut; got {self.image_size} and {self.load_size}."
            )
        if not self.width >= 8:
            raise ValueError(f"'image_width' must be at least 8, got {self.width}.")
        if self.matching_scale not in (1, 2, 4):
            raise ValueError(f"'matching_scale' must be 1, 2 or 4, got {self.matching_scale}.")
        for name in ("flow_stride", "matching_scale"):
            step = getattr(self, name)
            if step < 0 or any(step and side % step for side in (self.image_size, self.width)):
                raise ValueError(
                    f"'{name}' must divide the picture's {self.image_size} x {self.width} pixels, "
                    f"got {step}."
                )
        super().__post_init__()

    @property
    def width(self) -> int:
        """Of the training picture."""
        return self.image_size if self.image_width is None else self.image_width


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentSettings(Settings):
    """How training pictures vary.

    flip: probability of a horizontal flip. swap_sides: a flip exchanges joints, classes and parts
        whose names differ in left and right only, such as l_eye and r_eye, eye_left and eye_right,
        and the classes of label_sides.
    elastic: smooth random displacement of self exemplars, as a share of the height, such as 0.05.
    zoom: a self exemplar shows a random part of what it would, between 1 - zoom of its sides and
        all of it.
    color_jitter: strength of the random colour change, 0 (off) to 1. A photo and its self exemplar
        change alike, so that what is carried stays the right answer.
    edge_jitter: how far the settings that find a photo's edges vary, 0 to below 1: blur and both
        thresholds are multiplied by up to 1 + edge_jitter or divided by it, so that a model learns
        lines of any amount. Only for edges made from photos; lines of one photo vary together.
    augment: whether there is any of this, and a random crop. Without it the middle is cut.
    """

    flip: float = 0.5
    swap_sides: bool = True
    elastic: float = 0.0
    zoom: float = 0.0
    color_jitter: float = 0.0
    edge_jitter: float = 0.0
    augment: bool = True

    def __post_init__(self) -> None:
        self._require_share("flip", "color_jitter")
        if not 0 <= self.edge_jitter < 1:
            raise ValueError(f"'edge_jitter' must be in 0..1, below 1, got {self.edge_jitter}.")
        if not 0 <= self.zoom < 0.5:
            raise ValueError(f"'zoom' must be in 0..0.5, below 0.5, got {self.zoom}.")
        if not 0 <= self.elastic <= 0.2:
            raise ValueError(f"'elastic' must be in 0..0.2 of the side, got {self.elastic}.")
        super().__post_init__()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExemplarSettings(Settings):
    """Which photos are exemplars, beside those of an exemplar column.

    real_probability, hard_probability: with r uniform in [0, 1), r < hard_probability takes the
        hard exemplar, r < real_probability the easy one, else the photo itself (official networks,
        9).
    exemplar_list: text file, in the source folder or by its path, of lines `image, ref1, ref2 ...`:
        the first reference is easy, the last hard. retrieve: exemplars from an index
        (`cocosnet_hf.retrieval`): easy is one of the easy_candidates nearest, hard the one of rank
        hard_rank. Without column, list or index every exemplar is the photo itself.
    same_look: the exemplar column or list shows the photo's own subject, so that losses against the
        photo hold: is_self_pair is 1 for them too.
    exemplar_buffer: how many past examples of a stream `retrieve` chooses from.
    """

    real_probability: float = 0.7
    hard_probability: float = 0.2
    exemplar_list: str | None = None
    retrieve: bool = False
    easy_candidates: int = 1
    hard_rank: int = 20
    same_look: bool = False
    exemplar_buffer: int = 64

    def __post_init__(self) -> None:
        self._require_share("real_probability", "hard_probability")
        if self.hard_probability > self.real_probability:
            raise ValueError(
                "'hard_probability' is a part of 'real_probability' and must not be above it, got "
                f"{self.hard_probability} and {self.real_probability}."
            )
        if min(self.easy_candidates, self.hard_rank, self.exemplar_buffer) < 1:
            raise ValueError(
                "'easy_candidates', 'hard_rank' and 'exemplar_buffer' must be at least 1, got "
                f"{self.easy_candidates}, {self.hard_rank} and {self.exemplar_buffer}."
            )
        super().__post_init__()


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSettings(SourceSettings, ColumnSettings, CropSettings, AugmentSettings, ExemplarSettings):
    """All settings of a data set; see its groups."""

    def __post_init__(self) -> None:
        super().__post_init__()
        chosen = {
            "exemplar_column": self.exemplar_column is not None,
            "exemplar_list": self.exemplar_list is not None,
            "retrieve": self.retrieve,
        }
        if sum(chosen.values()) > 1:
            given = [name for name, is_set in chosen.items() if is_set]
            raise ValueError(f"Exemplars come from one place; set one of {given}, not all.")
        if self.is_unpaired and self.condition_column is None:
            raise ValueError(
                "Pictures of 'condition_source' or 'condition_domain' need the name of the column "
                "that they are to have: set condition_column: condition."
            )
        if self.same_look and (self.retrieve or not self.has_real_exemplars):
            raise ValueError(
                "'same_look' says something about an 'exemplar_column' or 'exemplar_list'; set one "
                "of them, or same_look: false."
            )
        if self.streaming and self.exemplar_list is not None:
            raise ValueError(
                "A stream cannot look up the names of an 'exemplar_list'; set streaming: false, or "
                "use an 'exemplar_column' or retrieve: true."
            )

    @property
    def has_real_exemplars(self) -> bool:
        """Whether photos other than the target itself can be exemplars."""
        return self.exemplar_column is not None or self.exemplar_list is not None or self.retrieve

    @property
    def exemplar_list_path(self) -> Path:
        """Where the `exemplar_list` lies."""
        if self.exemplar_list is None:
            raise ValueError("There is no 'exemplar_list'.")
        inside = Path(self.source, self.exemplar_list)
        return inside if inside.is_file() else Path(self.exemplar_list)

    def for_validation(self) -> DataSettings:
        """The same without augmentation, always with the easy exemplar (official networks, 9)."""
        return dataclasses.replace(
            self,
            load_size=self.image_size,
            augment=False,
            real_probability=1.0,
            hard_probability=0.0,
            easy_candidates=1,
            shuffle_buffer=0,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig(DataSettings):
    """The data set of a training (see `DataSettings`), and how it is fed.

    batch_size: examples for each process and forward pass. workers: loading processes each.
    validation_split: the held-out part of the source. validation_source: of another source.
    validation_exemplar_list: as `exemplar_list`, for the held-out photos; its references are
        training photos, or with same_look held-out ones.
    """

    batch_size: int = 4
    workers: int = 2
    validation_split: str = "validation"
    validation_source: str | None = None
    validation_exemplar_list: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("batch_size", 1), ("workers", 0)):
            if getattr(self, name) < least:
                raise ValueError(
                    f"data.{name} must be at least {least}, got {getattr(self, name)}."
                )
        if self.validation_exemplar_list is not None and self.exemplar_list is None:
            raise ValueError(
                "data.validation_exemplar_list belongs to a data.exemplar_list, which is not set."
            )


def shares_rows(split: str, other: str) -> bool:
    """Whether two splits certainly have rows in common, such as train and train[:9].

    Parts whose overlap depends on the length of the split, such as train[:90%] and train[500:], or
    on counting from its end or on rounding, are only compared as they are written.
    """
    return any(_share_rows(one, two) for one in _parts(split) for two in _parts(other))


def _parts(split: str) -> list[str]:
    return [part.strip() for part in split.split("+")]


def _share_rows(one: str, two: str) -> bool:
    (name, span), (other_name, other_span) = _span(one), _span(two)
    if name != other_name:
        return False
    if one == two or "" in (span, other_span):
        return True
    if not (match := SPAN.fullmatch(span)) or not (other := SPAN.fullmatch(other_span)):
        return False
    (first, last, unit), (other_first, other_last, other_unit) = map(_ends, (match, other))
    if unit != other_unit and {first, other_first} != {0.0}:
        return False
    return max(first, other_first) < min(last, other_last)


def _span(part: str) -> tuple[str, str]:
    """The name and the cut of a part such as train[10%:20%]; no cut for a whole split."""
    name, _, cut = part.partition("[")
    return name, "" if cut.replace(" ", "") in ("", ":]") else cut


def _ends(match: re.Match[str]) -> tuple[float, float, str]:
    first, first_unit, last, last_unit = match.groups()
    return float(first or 0), float(last or "inf"), first_unit or last_unit
