"""What the card of a trained pipeline says of its run."""

from pathlib import Path
from typing import Any

import yaml
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from PIL import Image

from cocosnet_hf.cards import CardDetails
from cocosnet_hf.systems import find_system

from .config import TrainConfig, to_dict
from .report import COLUMNS, WARPED


def run_details(config: TrainConfig, folder: Path) -> CardDetails:
    """The run's settings, its data with their terms and, if it may show them, its newest pictures.

    folder: of the run. A card is for others: of paths on this machine only the last part is told.
    """
    source = config.data.source
    terms = config.output.data_terms or "their terms were not stated"
    settings = {key: value for key, value in to_dict(config).items() if key != "output_dir"}
    pictures = sorted(folder.glob("pictures/validation-*.png"))
    sample = None
    if pictures and config.output.card_pictures:
        with Image.open(pictures[-1]) as opened:
            sample = opened.copy()
    return CardDetails(
        license=config.output.license,
        data=f"`{_shown(source)}`, split `{config.data.split}`: {terms}.",
        datasets=(source,) if _is_on_hub(source) else (),
        recipe=yaml.safe_dump(_shown(settings), sort_keys=False),
        sample=sample,
        sample_caption=", ".join(columns_of(config)),
    )


def columns_of(config: TrainConfig) -> list[str]:
    """What a run's pictures show, from left to right."""
    matches = "correspondence" in find_system(config.system).network_classes
    return [name for name in COLUMNS if matches or name != WARPED]


def _shown(value: Any) -> Any:
    """Settings without the places of this machine."""
    if isinstance(value, dict):
        return {key: _shown(item) for key, item in value.items()}
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name
    return value


def _is_on_hub(source: str) -> bool:
    if source == "synthetic" or Path(source).exists():
        return False
    try:
        validate_repo_id(source)
    except HFValidationError:  # a pattern of files
        return False
    return True
