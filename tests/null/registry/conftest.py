"""An empty registry, and versions to put into it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from coterie.registry.registry import Registry


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """An empty registry whose folder does not exist yet; it is always 1970, and ada is at work."""
    return Registry(tmp_path / "network" / "registry", clock=lambda: 0.0, user=lambda: "ada")


@pytest.fixture
def add(registry) -> Callable[[str], str]:
    """Adds a version of `triage` that is told apart by a word: `add("first")`."""
    return lambda word: registry.add("triage", {"card.md": word.encode()})
