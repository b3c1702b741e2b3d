"""What is a mistake of settings, data or machine, and how it is told in one message."""

import re

import torch

from cocosnet_hf.datasets.reading import TooManyBroken

WORKER = "Caught "
"""How torch begins an error of a loading process, which then holds that process's traceback."""

OUT_OF_MEMORY = (
    "the memory of the GPU is not enough. Lower data.batch_size and raise speed.accumulation as "
    "much, add --config train/configs/layers/8gb.yaml, or lower data.image_size."
)


class RunError(RuntimeError):
    """A run that cannot be started or go on, for a reason that its user can remove."""


class Diverged(RunError):
    """A loss or a gradient that is not finite."""


MISTAKES = (
    ValueError,
    OSError,
    ImportError,
    RunError,
    TooManyBroken,
    torch.OutOfMemoryError,
)
"""Errors that are told by `message_of`, without the way through the code."""


def is_mistake(error: BaseException) -> bool:
    """Whether an error is told without a traceback; those of the datasets library are, too."""
    return isinstance(error, MISTAKES) or _is_of_datasets(error)


def message_of(error: BaseException) -> str:
    """What an error says, without a traceback: also one that came from a loading process."""
    if isinstance(error, torch.OutOfMemoryError):
        return OUT_OF_MEMORY
    text = str(error)
    if text.startswith(WORKER):
        begin = rf"^(?:[\w.]+\.)?{re.escape(type(error).__name__)}: "
        text = re.split(begin, text, flags=re.MULTILINE)[-1]
    if _is_of_datasets(error) and error.__cause__ is not None:
        text = f"{text}: {error.__cause__}"
    return text.strip() or type(error).__name__


def _is_of_datasets(error: BaseException) -> bool:
    """By name: a run on drawn pictures never imports that library."""
    return type(error).__module__.partition(".")[0] == "datasets"
