"""Model files: which are known, where they lie, and how they get onto this machine.

Only `pull` uses the network; it is imported, with the HTTP client it needs, when it is first asked for.
"""
