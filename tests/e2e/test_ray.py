"""The network behind a real local Ray Serve answers as a worker does. Needs the extra `ray`: `make ray` installs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORDS = {"cards": "I lost my card number", "accounts": "what is the balance of account"}


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra `ray`: run `make ray`")
def test_answers_are_the_same(tmp_path, refused):
    """Every answer of `coterie.scale.ray:app` is that of `coterie serve`, with its findings and confidences.

    Ray asks for clouds' metadata at its start, which the guard refuses.
    """
    folder = tmp_path / "bank"
    rows = "".join(f"{text} {number},{label}\n" for number in range(30) for label, text in WORDS.items())
    (tmp_path / "rows.csv").write_text(f"text,label\n{rows}")
    coterie = [sys.executable, "-m", "coterie", "-C", str(folder)]
    for command in (
        [sys.executable, "-m", "coterie", "init", str(folder)],
        [*coterie, "add", "jobs", "--data", str(tmp_path / "rows.csv"), "--description", "Cards or accounts."],
        [*coterie, "train"],
    ):
        subprocess.run(command, check=True, capture_output=True)
    out = tmp_path / "result.json"
    script = [sys.executable, str(ROOT / "benchmarks" / "ray" / "run.py"), str(folder)]
    for _ in range(2):
        ran = subprocess.run(
            [*script, "--requests", "6", "--out", str(out)], check=False, capture_output=True, timeout=250
        )
        if ran.returncode != os.EX_TEMPFAIL:
            break
    else:
        pytest.skip("Ray does not start on a machine with so much to do: its agent had not answered within 15 s")
    assert ran.returncode == 0, ran.stderr.decode()
    result = json.loads(out.read_text())
    assert (result["identical"], result["requests"]) == (6, 6)
