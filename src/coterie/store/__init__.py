"""Where ledger, traces and sessions are kept: one SQLite file that a killed process cannot damage."""

from ._content import without_content
from ._erasure import Holdings, Scope
from ._feedback import Complaints
from ._mentions import Mention
from ._sqlite import SQLiteStore

__all__ = ["Complaints", "Holdings", "Mention", "SQLiteStore", "Scope", "without_content"]
