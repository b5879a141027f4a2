"""Compare two result files of one benchmark: the figures that do not depend on the machine's load.

    python benchmarks/rebuild/compare.py BEFORE.json AFTER.json

It prints each figure that differs. Times, energy, money and versions are left out, since they differ in every run.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

_OF_THE_RUN = frozenset(
    ["seconds", "ms", "milliseconds", "latency", "joules", "dollars", "1000", "cpu", "version", "again", "bytes"]
)
"""Words in the name of a figure that a second run changes."""


def figures(content: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Every figure of a result with the path to it."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from figures(value, f"{name}/{key}")
    elif isinstance(content, list):
        for place, value in enumerate(content):
            yield from figures(value, f"{name}[{place}]")
    else:
        yield name, content


def comparable(path: Path) -> dict[str, object]:
    """The figures of a result file that a second run on the same code repeats."""
    found = figures(json.loads(path.read_text(encoding="utf-8"))["figures"])
    return {name: value for name, value in found if _OF_THE_RUN.isdisjoint(re.split(r"[^a-z0-9]+", name.lower()))}


def main() -> None:
    """Print what differs."""
    before, after = (comparable(Path(name)) for name in sys.argv[1:3])
    names = list(dict.fromkeys([*before, *after]))
    differing = [name for name in names if before.get(name) != after.get(name)]
    print(f"{len(names)} figures, {len(differing)} differ")
    for name in differing:
        print(f"  {name}: {before.get(name)} -> {after.get(name)}")


if __name__ == "__main__":
    main()
