"""Trained specialists as immutable versions named by their content, with aliases for the one that serves."""

from ._card import write_card
from ._registry import REGISTRY_FOLDER, Registry, Version

__all__ = ["REGISTRY_FOLDER", "Registry", "Version", "write_card"]
