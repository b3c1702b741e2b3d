"""Data sets: from folders, the Hub, parquet, WebDataset or drawn pictures to training tensors."""

from ..conditions import Condition
from ..conditions.sides import mirrored_order
from .checking import DataReport, check_data
from .composing import TrainingExample, unpacked
from .geometry import Geometry
from .reading import BrokenCount, BrokenExample, Example, Reader
from .settings import DataSettings
from .sources import Rows, open_source, read_stream, split_by_node
from .streaming import TrainingStream
from .training import EndlessBatches, TrainingExamples, build_index


def open_training_data(
    settings: DataSettings,
    condition: Condition,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> TrainingExamples | TrainingStream:
    """The training examples of `settings.source`, map-style or, with streaming, as a stream.

    rank, world_size: this process; a map-style set leaves them to `EndlessBatches`. Raises what
    `open_source` and the two classes raise.
    """
    source = open_source(settings, condition, seed)
    if settings.streaming:
        return TrainingStream(source, condition, settings, seed, rank, world_size)
    return TrainingExamples(source, condition, settings, seed)


__all__ = [
    "BrokenCount",
    "BrokenExample",
    "DataReport",
    "DataSettings",
    "EndlessBatches",
    "Example",
    "Geometry",
    "Reader",
    "Rows",
    "TrainingExample",
    "TrainingExamples",
    "TrainingStream",
    "build_index",
    "check_data",
    "mirrored_order",
    "open_source",
    "open_training_data",
    "read_stream",
    "split_by_node",
    "unpacked",
]
