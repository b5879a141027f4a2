"""Freed memory is given back, or left alone where the C library cannot."""

import pytest

from coterie.runtime import process


class Library:
    """A C library with these functions."""

    def __init__(self, **functions):
        self.__dict__ |= functions


@pytest.mark.parametrize(("platform", "asked"), [("linux", [0]), ("darwin", [])])
def test_gives_back(monkeypatch, platform, asked):
    """Where there is `malloc_trim`, it is asked once to keep nothing; elsewhere nothing is."""
    calls = []
    monkeypatch.setattr(process.sys, "platform", platform)
    monkeypatch.setattr(process.ctypes, "CDLL", lambda _: Library(malloc_trim=calls.append))
    process.give_back()
    assert calls == asked


def test_another_library(monkeypatch):
    """A library without it (musl) is no error."""
    monkeypatch.setattr(process.ctypes, "CDLL", lambda _: Library())
    process.give_back()
