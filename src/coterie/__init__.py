"""Coterie: a network of narrow language models.

Fit a specialist to values in memory, put it into a network, and ask the network:

    from coterie import Classifier, connect

    classifier = Classifier.fit(texts, labels)
    classifier.predict("I lost my card").label
    classifier.save("my-network", name="triage")

    with connect("my-network") as network:
        answer = network.ask("I lost my card")

In asynchronous code:

    network = await open_network("my-network")
    answer = await network.ask(Request(text="I lost my card"))

Names are loaded when they are first used, so `import coterie` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from coterie.runtime.process import report_nothing

if TYPE_CHECKING:
    from coterie.api.network import SyncNetwork, connect
    from coterie.api.specialists import Prediction
    from coterie.api.tasks import Answerer, Classifier, Extractor, Generator, PairClassifier, Scorer, ToolCaller
    from coterie.assembly import open_network
    from coterie.errors import CoterieError
    from coterie.network.network import Network
    from coterie.types import Answer, Delta, Document, Finding, Label, Request

__all__ = [
    "Answer",
    "Answerer",
    "Classifier",
    "CoterieError",
    "Delta",
    "Document",
    "Extractor",
    "Finding",
    "Generator",
    "Label",
    "Network",
    "PairClassifier",
    "Prediction",
    "Request",
    "Scorer",
    "SyncNetwork",
    "ToolCaller",
    "__version__",
    "connect",
    "open_network",
]

__version__ = "0.1.0"

_HOMES = {
    "Answer": "types",
    "Answerer": "api.tasks",
    "Classifier": "api.tasks",
    "CoterieError": "errors",
    "Delta": "types",
    "Document": "types",
    "Extractor": "api.tasks",
    "Finding": "types",
    "Generator": "api.tasks",
    "Label": "types",
    "Network": "network.network",
    "PairClassifier": "api.tasks",
    "Prediction": "api.specialists",
    "Request": "types",
    "Scorer": "api.tasks",
    "SyncNetwork": "api.network",
    "ToolCaller": "api.tasks",
    "connect": "api.network",
    "open_network": "assembly",
}

report_nothing()


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
