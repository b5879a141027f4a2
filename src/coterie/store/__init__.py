"""The storage of ledger, traces and sessions: one SQLite file that a killed process cannot damage."""
