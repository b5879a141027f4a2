"""The `coterie` command: a module for each group of commands; `app.py` combines them.

Commands import what they need when they run, so `coterie --help` answers in under 0.3 s. Standard output carries
the result and nothing else; progress, warnings and errors go to standard error. `docs/reference/cli.md` is generated
from the commands' help by `scripts/docs_build.py`.
"""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line, as `app.main` does; Ctrl-C while the program still loads leaves no traceback either."""
    try:
        from coterie.cli import app  # loading it takes the longest
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        return 130
    return app.main(arguments)
