"""How the threads of native packages wait for each other."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from coterie.engines import llama_native as _openmp


@pytest.mark.parametrize("preset", [None, "GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_waiting_policy(monkeypatch, preset):
    """The native threads spin only a moment, unless the user said otherwise; no setting stays behind."""
    variables = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    for variable in variables:
        monkeypatch.delenv(variable, raising=False)
    if preset:
        monkeypatch.setenv(preset, "user's")
    before = dict(os.environ)
    seen = {}
    monkeypatch.setattr(_openmp, "import_module", lambda name: seen.update(os.environ) or name)

    assert _openmp.import_with_short_spin("xllamacpp") == "xllamacpp"
    assert {name: seen[name] for name in variables if name in seen} == (
        {preset: "user's"} if preset else {"GOMP_SPINCOUNT": _openmp.SPINS}
    )
    assert dict(os.environ) == before


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no priorities of their own")
def test_threads_that_write_give_way():
    """A thread that gives way, and what it starts, come behind others; whoever started it does not."""
    before, found = os.getpriority(os.PRIO_PROCESS, threading.get_native_id()), []

    def note():
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    def work():
        _openmp.give_way()
        note()
        inner = threading.Thread(target=note)
        inner.start()
        inner.join()

    outer = threading.Thread(target=work)
    outer.start()
    outer.join()
    assert found[0] == found[1] >= 10
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before
