"""Where ledger, traces and sessions are kept: one SQLite file that a killed process cannot damage."""

from ._content import without_content
from ._sqlite import SQLiteStore

__all__ = ["SQLiteStore", "without_content"]
