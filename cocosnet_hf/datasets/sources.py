"""Opening a data set: folder, Hub id, parquet, WebDataset tars or the drawn pictures."""

from __future__ import annotations

import glob
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from huggingface_hub.errors import HfHubHTTPError
from PIL import Image

from ..conditions import AskedPicture, Condition, PictureCondition
from ..synthetic import KINDS, NamedScenes, SyntheticExamples
from .asked import AttributeRows, DomainRows, asked_rows
from .domains import UnpairedRows, of_domain
from .folders import check_folder_names, metadata_remedy, without_label_maps
from .metadata import metadata_files, open_metadata
from .settings import DataSettings

TRANSPORT_ERROR: type[Exception] = HfHubHTTPError.__bases__[0]
"""Of the HTTP library that the Hub's client has, whose breaks say nothing against the data."""

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

SYNTHETIC_VALIDATION = 1_000_000
"""Number of the first drawn example of every split but "train"."""


class Rows(Protocol):
    """What `TrainingExamples` reads: a `datasets.Dataset`, drawn pictures, a list with names."""

    @property
    def column_names(self) -> list[str]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Mapping[str, Any]: ...


Source: TypeAlias = (
    "Dataset | IterableDataset | SyntheticExamples | NamedScenes | UnpairedRows | DomainRows"
    " | AttributeRows"
)


def open_source(settings: DataSettings, condition: Condition, seed: int = 0) -> Source:
    """Open `settings.source` and check that its columns and its split can be used.

    Pictures stay undecoded, so that a broken file cannot stop the reading. `seed` draws the
    synthetic pictures. Raises ValueError for a missing column, an unknown or empty split and a
    source that is not there; ImportError without the extra `train`, except for drawn pictures.
    """
    if not settings.source.strip():
        raise ValueError(
            "data.source is empty, which would mean the current folder; name a folder, files, a "
            "Hub id or synthetic, or check the variable that should hold it."
        )
    if settings.source == "synthetic":
        rows: Source = _open_synthetic(settings, condition, seed)
    else:
        rows = without_label_maps(_open_files(settings), settings)
    if settings.is_unpaired:
        rows = _unpaired(rows, settings, seed)
    elif isinstance(condition, AskedPicture):
        rows = asked_rows(rows, settings, condition)
    elif settings.domain_column is not None:
        raise ValueError(
            f"A '{condition.type}' condition asks for no domain: set condition_domain to the one "
            f"whose pictures are the conditions, or leave 'domain_column' out."
        )
    check_columns(rows.column_names, settings, condition)
    check_folder_names(rows, settings)
    if not settings.streaming and len(rows) == 0:
        raise ValueError(
            f"The split '{settings.split}' of '{settings.source}' is empty; check the folder, or "
            "name another split."
        )
    return rows


def read_stream(source: IterableDataset, count: int) -> Dataset:
    """The first rows of a stream, in memory. Raises ValueError if there are none."""
    rows = list(source.take(count))
    if not rows:
        raise ValueError("The split is empty; check the source, or name another split.")
    return import_datasets().Dataset.from_list(rows, features=source.features)


def split_by_node(source: IterableDataset, rank: int, world_size: int) -> IterableDataset:
    """The share of a stream that process `rank` of `world_size` reads.

    By whole shards where their number divides by world_size, else every world_size-th example.
    Raises ValueError for a rank outside the world.
    """
    if not 0 <= rank < world_size:
        raise ValueError(f"'rank' must be in 0..{world_size - 1}, got {rank}.")
    return import_datasets().distributed.split_dataset_by_node(source, rank, world_size)


def check_columns(found: list[str], settings: DataSettings, condition: Condition) -> None:
    """Raise ValueError unless the columns that the settings and the condition need are there."""
    remedy = metadata_remedy(settings.source)
    nor_metadata = " and no metadata.jsonl" if remedy else ""
    if settings.condition_column is None and not condition.needs_only_photo:
        raise ValueError(
            f"A '{condition.type}' condition needs 'condition_column', the column with the "
            f"{condition.column}; the columns are {found}.{remedy}"
        )
    if settings.exemplar_column is not None and not condition.needs_only_photo:
        if settings.exemplar_condition_column is None:
            raise ValueError(
                f"A '{condition.type}' condition needs 'exemplar_condition_column' beside "
                f"'exemplar_column'; the columns are {found}."
            )
    for name in (
        "image_column",
        "condition_column",
        "labels_column",
        "instances_column",
        "person_column",
        "exemplar_column",
        "exemplar_condition_column",
        "exemplar_labels_column",
        "exemplar_person_column",
    ):
        column = getattr(settings, name)
        if column is not None and column not in found:
            raise ValueError(
                f"'{settings.source}' has no column '{column}'{nor_metadata}; its columns are "
                f"{found}. Set {name} to one of them.{remedy}"
            )
    if settings.labels_column and settings.exemplar_column and not settings.exemplar_labels_column:
        raise ValueError(
            "'labels_column' beside 'exemplar_column' needs 'exemplar_labels_column' too."
        )


def import_datasets() -> types.ModuleType:
    """The `datasets` library, which only training needs."""
    try:
        import datasets
        import datasets.distributed
    except ImportError as error:
        raise ImportError(
            "Reading data sets needs the datasets library: pip install -U datasets"
        ) from error
    return datasets


def _open_synthetic(
    settings: DataSettings, condition: Condition, seed: int
) -> SyntheticExamples | NamedScenes:
    if settings.streaming:
        raise ValueError("The drawn pictures need no streaming; set streaming: false.")
    if "[" in settings.split:
        raise ValueError(
            f"The drawn pictures have no parts, got the split '{settings.split}'; take train, and "
            "any other name for held-out ones."
        )
    if condition.drawn is None:
        raise ValueError(
            f"There are no drawn pictures for a '{condition.type}' condition; use one of "
            f"{list(KINDS)}, or another source."
        )
    first = 0 if settings.split == "train" else SYNTHETIC_VALIDATION
    rows = SyntheticExamples(condition.drawn, settings.load_size, seed, first=first)
    if condition.labelled and condition.channels < len(rows.classes):
        raise ValueError(
            f"The drawn pictures have the classes {rows.classes}, the condition declares "
            f"{condition.channels}; declare these {len(rows.classes)}."
        )
    return NamedScenes(rows) if isinstance(condition, AskedPicture) else rows


def _unpaired(photos: Any, settings: DataSettings, seed: int) -> UnpairedRows:
    """Photos, each with a picture of the other domain as its condition."""
    if settings.condition_domain is not None:
        other = of_domain(photos, settings, settings.condition_domain)
        photos = of_domain(photos, settings, settings.condition_domain, others=True)
        return UnpairedRows.of(photos, other, settings)
    size = {"image_size": settings.image_size, "load_size": settings.load_size}
    shared = {"split": settings.split, "cache_dir": settings.cache_dir}
    column, source = settings.image_column, settings.condition_source or ""
    alone = DataSettings(source=source, image_column=column, **shared, **size)  # type: ignore[arg-type]
    return UnpairedRows.of(photos, open_source(alone, PictureCondition(), seed), settings)


def _open_files(settings: DataSettings) -> Dataset | IterableDataset:
    datasets = import_datasets()
    try:
        if _is_saved(settings.source):
            rows = _open_saved(settings)
        elif files := metadata_files(Path(settings.source)):
            rows = _split(open_metadata(settings, files), settings)
        else:
            rows = datasets.load_dataset(
                **_loader(settings.source),
                name=settings.config_name,
                split=settings.split,
                streaming=settings.streaming,
                cache_dir=settings.cache_dir,
            )
    except (ImportError, MemoryError, ConnectionError, TRANSPORT_ERROR):
        raise
    except Exception as error:  # datasets raises whatever the lines of a file lead it to
        reason = error if isinstance(error, ValueError) else error.__cause__ or error
        raise ValueError(
            f"The split '{settings.split}' of '{settings.source}' cannot be opened: {reason} "
            "Expected a folder with pictures and metadata.jsonl, parquet files, WebDataset "
            "tars or the id of a Hub data set (with config_name, if it has several)."
            f"{metadata_remedy(settings.source)}"
        ) from error
    if rows.features is None:
        rows = rows._resolve_features()
    for name, feature in (rows.features or {}).items():
        if isinstance(feature, datasets.Image):
            rows = rows.cast_column(name, datasets.Image(decode=False))
    return rows


def _is_saved(source: str) -> bool:
    """Whether this is a folder that `save_to_disk` of a `Dataset` or `DatasetDict` wrote."""
    path = Path(source)
    saved_one = (path / "state.json").is_file() and (path / "dataset_info.json").is_file()
    return saved_one or (path / "dataset_dict.json").is_file()


def _open_saved(settings: DataSettings) -> Dataset | IterableDataset:
    """The split of a saved folder; a single data set has the name it was loaded by, or train.

    Raises ValueError for a split that is not in it.
    """
    datasets = import_datasets()
    saved = datasets.load_from_disk(settings.source)
    if isinstance(saved, datasets.Dataset):
        name = str(saved.split or "train").partition("[")[0]
        saved = {"train" if "+" in name else name: saved}
    return _split(saved, settings)


def _split(splits: Mapping[str, Dataset], settings: DataSettings) -> Dataset | IterableDataset:
    """The one of these that the settings name, or its part. Raises ValueError for another."""
    datasets = import_datasets()
    instruction = datasets.ReadInstruction.from_spec(settings.split)
    parts = instruction.to_absolute({name: len(rows) for name, rows in splits.items()})
    if not any(part.to > part.from_ for part in parts):
        raise ValueError(f'Instruction "{settings.split}" corresponds to no data!')
    rows = datasets.concatenate_datasets(
        [splits[part.splitname].select(range(part.from_, part.to)) for part in parts],
        split=datasets.NamedSplit(settings.split),
    )
    return rows.to_iterable_dataset() if settings.streaming else rows


def _loader(source: str) -> dict[str, Any]:
    """The arguments of `load_dataset` that fit a folder, file pattern or Hub id."""
    path = Path(source)
    builders = {".parquet": "parquet", ".tar": "webdataset"}
    if path.is_dir():
        for suffix, builder in builders.items():
            found = [file for file in path.rglob(f"*{suffix}") if file.stem != "metadata"]
            if found and (picture := _any_picture(path)):
                raise ValueError(
                    f"The folder holds pictures, such as '{picture}', and {found[0].name}, which "
                    f"may hold the data as well: move one of them to a folder of its own."
                )
            if found:
                return {"path": builder, "data_dir": source}
        return {"path": "imagefolder", "data_dir": source}
    if path.suffix in builders:
        files = sorted(glob.glob(source))
        if not files:
            raise ValueError(f"There is no file '{source}'.")
        return {"path": builders[path.suffix], "data_files": files}
    return {"path": source}


def _any_picture(folder: Path) -> Path | None:
    """A picture file in a folder, by its suffix; the first that is met."""
    known = Image.registered_extensions()
    return next((path for path in folder.rglob("*") if path.suffix.lower() in known), None)


def iterate(rows: Rows) -> Iterator[Mapping[str, Any]]:
    """All rows in order; drawn pictures have no end of their own."""
    return (rows[index] for index in range(len(rows)))
