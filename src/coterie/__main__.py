"""`python -m coterie`: the `coterie` command."""

import sys

from coterie.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
