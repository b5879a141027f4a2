"""Options that every `fit` takes, and the progress it shows."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from coterie.learning.progress import Progress, Silent


class FitOptions(TypedDict, total=False):
    """Keywords of every `fit`."""

    name: str
    """The specialist's name: small letters, digits, `-` and `_`. It is also the default name of `save`."""
    description: str
    """What it is for, in a sentence: the router of a network learns from it."""
    licence: str
    """Licence of the rows, in SPDX's words: `CC-BY-4.0`, or `LicenseRef-internal` for what is yours."""
    rungs: Sequence[str]
    """Rungs to try, cheapest first: `lexical`, `embedding` and, where named, `encoder`, `slm`, `llm`."""
    target_risk: float
    """Highest share of wrong answers among accepted ones, held with 95% confidence.

    Left out, 0.05 or the smallest share that the examples can show; see `warnings` of the fitted specialist."""
    bar: Mapping[str, float]
    """What it must reach on held-out rows, such as `{"accuracy": 0.9}`."""
    seed: int
    """Seed of everything random; the same data, options and seed give the same version."""
    progress: bool | Progress
    """True prints each stage to standard error."""
    settings: Mapping[str, Any]
    """Further keys of the specialist's section of `coterie.toml`, such as `{"chain": ["lexical", "encoder"]}`."""


_LISTS = {"rungs"}
_PLAIN = ("description", "licence", "rungs", "target_risk", "bar", "seed")


def settings_of(options: FitOptions) -> dict[str, object]:
    """The options as keys of a section of `coterie.toml`. Raises `TypeError` for an option that does not exist."""
    for option in options:
        if option not in FitOptions.__annotations__:
            near = difflib.get_close_matches(option, FitOptions.__annotations__, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise TypeError(f"fit() got an unexpected keyword argument {option!r}.{hint}")
    named = {key: value for key, value in options.items() if key in _PLAIN and value is not None}
    return {
        **{key: list(value) if key in _LISTS else value for key, value in named.items()},  # type: ignore[call-overload]
        **(options.get("settings") or {}),
    }


def progress_of(options: FitOptions) -> Progress:
    """Who is told how far the training is."""
    wanted = options.get("progress", False)
    if isinstance(wanted, bool):
        return Printed() if wanted else Silent()
    return wanted


class Printed(Silent):
    """Prints a line to standard error for each stage that is done."""

    def __init__(self) -> None:
        self._what = ""

    def start(self, what: str, total: int | None) -> None:  # noqa: ARG002 - a line tells no share
        """A stage begins."""
        self._what = what

    def finish(self, note: str) -> None:
        """The stage is done."""
        sys.stderr.write(f"{self._what}: {note}\n" if note else f"{self._what}\n")
