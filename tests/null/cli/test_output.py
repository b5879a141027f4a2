"""Tables on terminals of any width."""

import errno
import io
import sys

import pytest

from coterie.cli import output
from coterie.cli.progress import TerminalProgress


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


class Refusing(io.StringIO):
    """A stream that takes nothing."""

    def __init__(self, code):
        super().__init__()
        self.code = code

    def write(self, _text):
        """Fail as the system does."""
        raise OSError(self.code, "no")


def test_a_remark_without_space_ends_nothing(monkeypatch):
    """Nor does a line of progress: standard error may be a log on a full disk. A closed pipe ends the command."""
    monkeypatch.setattr(sys, "stderr", Refusing(errno.ENOSPC))
    output.remark("beside the result")
    with TerminalProgress() as progress:
        progress.start("encode", 3)
        progress.finish("done")
    monkeypatch.setattr(sys, "stderr", Refusing(errno.EPIPE))
    with pytest.raises(BrokenPipeError):
        output.remark("beside the result")
