"""The child process that measures one rung alone."""

import pytest

from coterie.config.specialists import make_section
from coterie.errors import EngineBroken
from coterie.learning.dataset import Row
from coterie.rightsizing.probe import probe


def test_a_rung_alone(job, size, texts, tmp_path):
    """A real process answers every row, and weighs more than the bare one, but not what training weighs."""
    rows = job(texts())
    report = size(rows, keep=tmp_path / "kept")
    sample = rows.held_out.rows[:5]
    probed = probe(tmp_path / "kept", "lexical", report.rungs[0].version, rows.section, sample)

    assert len(probed.milliseconds) == len(probed.cpu_seconds) == 5
    assert all(taken > 0 for taken in probed.milliseconds)
    assert 5e6 < probed.bare_bytes < probed.resident_bytes < 120e6


def test_a_process_that_fails_says_why(tmp_path):
    """A version that is not there: the error names the rung and has the process's last words."""
    section = make_section(task="classify", data="x.csv")

    with pytest.raises(EngineBroken, match=r"'lexical'.*1"):
        probe(tmp_path, "lexical", "0" * 16, section, [Row(text="hello")])
