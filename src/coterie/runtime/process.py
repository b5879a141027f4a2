"""What the libraries of this process are told: to report nothing to their makers, and to give freed memory back.

onnxruntime's builds do so since 1.29: on being imported they write an identifier of the machine below the user's cache,
and send which models are opened and how often they are run, with the path of the Python that runs them. One variable
turns all of it off, and only if it is there before the library is (its `Privacy.md`, "Disabling Telemetry").

`huggingface_hub` asks the hub for a list of programs to see which one runs it, and names that and torch's version in
each request. It asks nothing unless Coterie pulls a model, and `HF_HUB_OFFLINE` forbids that too.
"""

from __future__ import annotations

import ctypes
import os
import sys

_ONNXRUNTIME, _HUB = "ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY"


def report_nothing() -> None:
    """Turn reports off, for this process and those it starts. Who wants them sets a variable to 0 beforehand."""
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
    """Give back what the C library keeps of freed memory, where it can (glibc). Other threads run meanwhile."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def use_few_arenas(most: int = 2) -> None:
    """Have all threads of this process and those it forks allocate from so few pools, where that can be set (glibc).

    By default each thread may get a pool of its own, and what it frees there no other thread uses.
    """
    if sys.platform == "linux":
        option = getattr(ctypes.CDLL(None), "mallopt", None)
        if option is not None:
            option(_ARENA_MAX, most)
