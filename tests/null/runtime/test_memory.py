"""Freed memory is given back, or left alone where the C library cannot."""

import pytest

from coterie.runtime import memory


class Library:
    """A C library with these functions."""

    def __init__(self, **functions):
        self.__dict__ |= functions


@pytest.mark.parametrize(("platform", "asked"), [("linux", [0]), ("darwin", [])])
def test_gives_back(monkeypatch, platform, asked):
    """Where there is `malloc_trim`, it is asked once to keep nothing; elsewhere nothing is."""
    calls = []
    monkeypatch.setattr(memory.sys, "platform", platform)
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: Library(malloc_trim=calls.append))
    memory.give_back()
    assert calls == asked


def test_another_library(monkeypatch):
    """A library without it (musl) is no error."""
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: Library())
    memory.give_back()
