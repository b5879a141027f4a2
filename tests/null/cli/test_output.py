"""Tables on terminals of any width."""

import pytest

from coterie.cli import output


@pytest.mark.parametrize(("width", "stacked"), [(80, False), (46, False), (30, True)])
def test_a_figure_is_never_cut(width, stacked, capsys, monkeypatch):
    """Words wrap first; where the figures of a row do not fit beside each other, each has a line with its name."""
    monkeypatch.setattr(output, "_PIPE_WIDTH", width)

    output.show_table(
        ("day", "requests", "cost", "quote"), [("2026-12-01", 1234, "0.000000927 USD", "The office is open.")]
    )

    words = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert all(any(figure in line for line in words) for figure in ("2026-12-01", "1,234", "0.000000927"))
    assert (["requests", "1,234"] in words) is stacked
