"""Sharing what is known: what still stands, who may see it, and which part of it one specialist is shown, and why."""

from ._entries import entries_of
from ._standalone import Restated, restate
from ._standing import known_facts, versions, visible, why_gone
from ._view import CONVERSATION, FINDINGS, build_view, describe_view
from ._wording import describe, text_of

__all__ = [
    "CONVERSATION",
    "FINDINGS",
    "Restated",
    "build_view",
    "describe",
    "describe_view",
    "entries_of",
    "known_facts",
    "restate",
    "text_of",
    "versions",
    "visible",
    "why_gone",
]
