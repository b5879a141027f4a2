"""Coterie: a network of narrow language models.

    from coterie import Request, open_network

    network = await open_network("my-network")
    answer = await network.ask(Request(text="I lost my card"))

Names are loaded when they are first used, so `import coterie` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from coterie.runtime.offline import report_nothing

if TYPE_CHECKING:
    from coterie.assembly import open_network
    from coterie.errors import CoterieError
    from coterie.network.network import Network
    from coterie.types import Answer, Delta, Finding, Label, Request

__all__ = ["Answer", "CoterieError", "Delta", "Finding", "Label", "Network", "Request", "__version__", "open_network"]

__version__ = "0.1.0"

_HOMES = {
    "Answer": "types",
    "CoterieError": "errors",
    "Delta": "types",
    "Finding": "types",
    "Label": "types",
    "Network": "network.network",
    "Request": "types",
    "open_network": "assembly",
}

report_nothing()


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
