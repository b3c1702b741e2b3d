"""Sharing on the Hub: cards, pipelines, Spaces."""

from .cards import CardDetails, add_results, card_files, model_card, write_card
from .transfer import (
    commit,
    create_repository,
    fetch_pipeline,
    files_of,
    require_one_place,
    require_openable,
)

__all__ = [
    "CardDetails",
    "add_results",
    "card_files",
    "commit",
    "create_repository",
    "fetch_pipeline",
    "files_of",
    "model_card",
    "require_one_place",
    "require_openable",
    "write_card",
]
