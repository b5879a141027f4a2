"""Progress: bars on a terminal, a line a stage elsewhere, never on standard output."""

import io
import re

import pytest

from coterie.cli.progress import DownloadProgress, TerminalProgress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def train_a_little() -> None:
    """Two stages, one of unknown length."""
    with TerminalProgress() as progress:
        progress.start("triage: encode [bold]", 100)
        for _ in range(100):
            progress.advance(1)
        progress.finish("100 texts")
        progress.start("router", None)
        progress.advance(5)
        progress.finish("")


def test_a_pipe_gets_a_line_a_stage(capsys):
    """Without a terminal each finished stage is one plain line on standard error."""
    train_a_little()
    captured = capsys.readouterr()

    assert captured.out == ""
    assert re.sub(r"\d+\.\d s", "N s", captured.err) == "triage: encode [bold]: 100 texts (N s)\nrouter (N s)\n"


def test_a_terminal_gets_bars(monkeypatch, capsys):
    """On a terminal the bar shows the stage and its speed, and is gone at the end; the lines stay."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    train_a_little()

    assert "triage: encode [bold]: 100 texts" in terminal.getvalue()
    assert terminal.getvalue().endswith("\x1b[?25h\r\x1b[1A\x1b[2K") or "\x1b[?25h" in terminal.getvalue()
    assert capsys.readouterr().out == ""


def test_an_interrupted_stage_leaves_the_terminal_as_it_was(monkeypatch):
    """Ctrl-C in the middle of a stage shows the cursor again."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")

    def interrupted() -> None:
        with TerminalProgress() as progress:
            progress.start("encode", 10)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert "\x1b[?25h" in terminal.getvalue()


def test_no_speed_of_a_moment_and_no_time_left_of_what_cannot_say(monkeypatch):
    """Two advances that come together are no millions a second; a stage of unknown length has no time left."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "150")
    train_a_little()

    assert "/100" in terminal.getvalue()
    assert "/s" not in terminal.getvalue()
    assert not [line for line in terminal.getvalue().splitlines() if "router" in line and "left" in line]


def test_stages_that_are_never_finished(capsys):
    """A new start ends the stage before it; advancing without a stage does nothing."""
    with TerminalProgress() as progress:
        progress.advance(1)
        progress.start("a", 10)
        progress.start("b", 10)
        progress.finish("done")

    assert capsys.readouterr().err.startswith("b: done (")


def test_download_in_a_pipe_is_silent(capsys):
    """A download writes nothing into a pipe."""
    with DownloadProgress("smollm2") as progress:
        progress.update(10, 100)
        progress.update(100, None)

    captured = capsys.readouterr()
    assert captured.out + captured.err == ""
