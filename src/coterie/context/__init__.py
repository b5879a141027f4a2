"""Sharing what is known: which part of a session's context one specialist is shown, and why not the rest."""

from ._view import CONVERSATION, build_view, describe_view

__all__ = ["CONVERSATION", "build_view", "describe_view"]
