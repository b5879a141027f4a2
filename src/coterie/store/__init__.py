"""Where ledger, traces and sessions are kept: one SQLite file that a killed process cannot damage."""
