"""What the tests of real models learn from."""

from __future__ import annotations

import copy
import csv
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import pytest

FIRST = ("test_slm.py", "test_tutorials.py")
"""Files that take longest: begun last, one of them would run alone at the end."""
MESSAGES = Path(__file__).parents[2] / "examples" / "lender" / "data" / "triage.train.csv"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest."""
    items.sort(key=lambda item: item.path.name not in FIRST)


@pytest.fixture(scope="session")
def messages() -> Callable[[Collection[str]], list[dict[str, str]]]:
    """The messages of some intents of BANKING77."""

    def of(intents: Collection[str]) -> list[dict[str, str]]:
        with MESSAGES.open(encoding="utf-8", newline="") as lines:
            return [row for row in csv.DictReader(lines) if row["label"] in intents]

    return of


@pytest.fixture(scope="session", autouse=True)
def _bases_are_read_once() -> Iterator[None]:
    """Trainings get copies of a base's network: reading one from its file takes longer than to tune it here.

    `test_lora` reads it from the file, through the function itself.
    """
    if find_spec("peft") is None:
        yield
        return
    from coterie.learning import adapters

    read = lru_cache(maxsize=1)(adapters.load_causal)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapters, "load_causal", lambda base: copy.deepcopy(read(base)))
        yield


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The file of the small generative model."""
    from coterie.config.file import LlamaModel
    from coterie.errors import ModelMissing
    from coterie.models.catalogue import locate

    try:
        return locate(LlamaModel(engine="llama", name="smollm2"), Path())
    except ModelMissing as missing:
        pytest.skip(str(missing))
