"""OpenMP threads that spin a moment for each other and then sleep."""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType

_SPIN_COUNT, _WAIT_POLICY = "GOMP_SPINCOUNT", "OMP_WAIT_POLICY"
SPINS = "2000"


def import_with_short_spin(name: str) -> ModuleType:
    """Import a package whose OpenMP threads are to spin only a moment for each other.

    They meet after every operation of a model, hundreds of times a token or a training step. OpenMP's default, to spin
    on, keeps the awaited thread from its core when others want it too: llama.cpp made 6 tokens a second in place of
    40 beside one busy process, a training step of torch took 5 s in place of 0.7. To sleep at once costs a wake-up each
    time: 27 tokens in place of 90 on two idle cores. This setting, some 50 microseconds, gives 80 and 30
    (`docs/history/log.md`). It is read once, on import; whoever set one of the two variables is left alone.
    """
    if not {_SPIN_COUNT, _WAIT_POLICY}.isdisjoint(os.environ):
        return import_module(name)
    os.environ[_SPIN_COUNT] = SPINS
    try:
        return import_module(name)
    finally:
        del os.environ[_SPIN_COUNT]
