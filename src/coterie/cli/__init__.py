"""The `coterie` command: a module for each group of commands; `app.py` combines them.

Commands import what they need when they run, so `coterie --help` answers in under 0.3 s. Standard output carries
the result and nothing else; progress, warnings and errors go to standard error. `docs/reference/cli.md` is generated
from the commands' help by `scripts/docs_build.py`.
"""

from coterie.cli.app import main

__all__ = ["main"]
