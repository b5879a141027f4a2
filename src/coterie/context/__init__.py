"""Sharing what is known: which part of a session's context one specialist is shown, and why not the rest."""

from ._view import build_view, describe_view

__all__ = ["build_view", "describe_view"]
