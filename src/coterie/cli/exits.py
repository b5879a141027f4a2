"""Exit codes, and how an error is shown. This module knows no command."""

from __future__ import annotations

import os
import sys
from typing import Any

from coterie.cli.output import remark, show_json
from coterie.errors import CoterieError, EngineError, InputError, Overloaded, PolicyError, SetupError

SETUP = 1
"""The set-up needs a change (and `doctor` found something required missing)."""
USAGE = 2
"""The command line, a request or data cannot be used as it is."""
BAR_MISSED = 3
"""`train`: a specialist was trained and stored, but missed its bar or is worse than the one that serves.

`rightsize`: no rung is shown to meet the bar. `privacy train`: the new model is worse, and was not written.
"""
FORBIDDEN = 4
"""A policy forbids it."""
ENGINE = 5
"""An engine failed or is overloaded; with `"retryable": true` the same command may succeed later."""
UNEXPECTED = 70
"""A mistake of ours."""
INTERRUPTED = 130
"""Ctrl-C."""
PIPE_CLOSED = 141
"""Whoever read standard output stopped reading."""

EXIT_CODES = {
    0: "done; for `ask` also when the network abstained: that is an answer",
    SETUP: "the set-up needs a change (the hint says which), or `doctor` found something required missing",
    USAGE: "the command line, the request or the data cannot be used as it is",
    BAR_MISSED: "`train`: all were trained and stored, but one missed its bar or is worse than its champion; "
    "`rightsize`: no rung is shown to meet the bar; `privacy train`: the new model is worse and was not written",
    FORBIDDEN: "a policy forbids it, `registry promote` refused a version, or `audit verify` found a change",
    ENGINE: 'an engine failed or is overloaded; with `"retryable": true` the same command may succeed later',
    UNEXPECTED: "a mistake of ours; `COTERIE_DEBUG=1` shows the traceback",
    INTERRUPTED: "Ctrl-C",
    PIPE_CLOSED: "whoever read the output stopped reading",
}
"""What each exit code means, for the reference page."""

_CODES: tuple[tuple[type[CoterieError], int], ...] = (
    (SetupError, SETUP),
    (InputError, USAGE),
    (PolicyError, FORBIDDEN),
    (Overloaded, ENGINE),
    (EngineError, ENGINE),
)
_REPORT = "This is a mistake in Coterie. Run it again with COTERIE_DEBUG=1 and report what it prints."


def explain(error: Exception, *, as_json: bool) -> int:
    """Show an error to the user and return the exit code it stands for."""
    if os.environ.get("COTERIE_DEBUG"):
        import traceback

        traceback.print_exception(error)
    code, document = _describe(error)
    if isinstance(error, OSError) and error.filename is None:  # the output itself cannot be written
        abandon_output()
        as_json = False
    if as_json:
        show_json({"error": document})
    elif document["code"] == "usage_error":
        error.show()  # type: ignore[attr-defined] # typer's own wording, with the command's usage line
    else:
        remark(f"Error: {document['message']}")
        if document["hint"]:
            remark(document["hint"])
    return code


def error_document(error: CoterieError) -> dict[str, Any]:
    """An error as JSON shows it: for a result that tells of one beside other things."""
    return _describe(error)[1]


def abandon_output() -> None:
    """Standard output takes no more: let what is still buffered, and Python's flush at exit, go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _describe(error: Exception) -> tuple[int, dict[str, Any]]:
    """An error's exit code and its JSON document."""
    if isinstance(error, CoterieError):
        code = next((code for kind, code in _CODES if isinstance(error, kind)), UNEXPECTED)
        return code, _document(error.code, error.message, error.hint, retryable=error.retryable)
    # typer's base class is click's in older versions and its own in newer ones; the shape is the same.
    if hasattr(error, "format_message") and hasattr(error, "show"):
        return USAGE, _document("usage_error", error.format_message(), "Run it with --help.")
    if isinstance(error, OSError):
        named = error.filename2 or error.filename  # of a copy that finds no room, the target
        what = "the output" if named is None else repr(str(named))
        message = f"Cannot read or write {what}: {error.strerror or type(error).__name__}."
        return SETUP, _document(
            "setup_error", message, "Check that it exists, that you may use it, and the disk's room."
        )
    message = " ".join(f"{type(error).__name__}: {error}".split())
    return UNEXPECTED, _document("unexpected_error", message, _REPORT)


def _document(code: str, message: str, hint: str, *, retryable: bool = False) -> dict[str, Any]:
    return {"code": code, "message": message, "hint": hint, "retryable": retryable}
