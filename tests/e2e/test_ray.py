"""The network behind a real local Ray Serve answers as a worker does. Needs the extra `ray`: `make ray` installs it."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORDS = {"cards": "I lost my card number", "accounts": "what is the balance of account"}


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra `ray`: run `make ray`")
def test_answers_are_the_same(tmp_path):
    """Every answer of `coterie.scale.ray:app` is that of `coterie serve`, with its findings and confidences."""
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
    subprocess.run([*script, "--requests", "6", "--out", str(out)], check=True, capture_output=True, timeout=500)
    result = json.loads(out.read_text())
    assert (result["identical"], result["requests"]) == (6, 6)
