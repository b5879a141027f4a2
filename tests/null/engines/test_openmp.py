"""How the threads of native packages wait for each other."""

from __future__ import annotations

import os

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
