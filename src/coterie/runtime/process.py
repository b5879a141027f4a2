"""Settings for the libraries of this process: send no reports to their makers, and return freed memory.

onnxruntime's builds send reports since 1.29: on import they write an identifier of the machine below the user's
cache, and send which models are opened and how often they are run, with the path of the Python that runs them. One
variable turns all of it off, but only if it is set before the library is loaded (its `Privacy.md`, "Disabling
Telemetry").

`huggingface_hub` asks the hub for a list of programs to see which one runs it, and names that and torch's version in
each request. It sends no request unless Coterie pulls a model, and `HF_HUB_OFFLINE` forbids that too.
"""

from __future__ import annotations

import ctypes
import os
import sys

_ONNXRUNTIME, _HUB = "ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY"


def report_nothing() -> None:
    """Turn reports off for this process and its children. To keep reports, set the variable to 0 beforehand."""
    for variable in (_ONNXRUNTIME, _HUB):
        os.environ.setdefault(variable, "1")
    # A library that was loaded before us has read its variable: what it has not yet said, it does not say.
    onnxruntime, constants = sys.modules.get("onnxruntime"), sys.modules.get("huggingface_hub.constants")
    if onnxruntime is not None and os.environ[_ONNXRUNTIME] != "0":
        onnxruntime.disable_telemetry_events()
    if constants is not None and os.environ[_HUB] != "0":
        constants.HF_HUB_DISABLE_TELEMETRY = True  # type: ignore[attr-defined]


_ARENA_MAX = -8
"""`M_ARENA_MAX` of glibc's `malloc.h`."""


def give_back() -> None:
    """Return freed memory of the C library to the system, where possible (glibc). Other threads run meanwhile."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def use_few_arenas(most: int = 2) -> None:
    """Make all threads of this process and its forks allocate from at most `most` arenas, where possible (glibc).

    By default each thread may get an arena of its own, and no other thread uses the memory that is freed there.
    """
    if sys.platform == "linux":
        option = getattr(ctypes.CDLL(None), "mallopt", None)
        if option is not None:
            option(_ARENA_MAX, most)
