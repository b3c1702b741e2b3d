"""Sharing on the Hub: folders, converted official weights, Spaces."""

from .publish import publish_converted, publish_figures, publish_folder, publish_space

__all__ = ["publish_converted", "publish_figures", "publish_folder", "publish_space"]
