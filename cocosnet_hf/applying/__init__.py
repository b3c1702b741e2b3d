"""A pipeline onto a whole collection: in shards, by many processes, on after any interruption."""

from .running import Summary, apply
from .settings import ApplySettings

__all__ = ["ApplySettings", "Summary", "apply"]
