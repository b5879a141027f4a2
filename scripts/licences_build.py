"""`docs/reference/licences.md`: the packages that Coterie brings along, with licences from their own metadata.

    python scripts/licences_build.py

Needs an environment with these extras installed. A licence is the SPDX
expression of the metadata where there is one, else the licence field, else the classifier; where none is stated it says
so.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "licences.md"
EXTRAS = ("docs", "llama", "mcp", "oidc", "otel", "postgres", "sign", "train")
_LONGEST = 60
"""Characters of a licence field beyond which it holds the whole text, not a name."""


def closure(requirements: list[Requirement]) -> list[str]:
    """The installed packages that these bring along, themselves included, by name."""
    names: dict[str, str] = {}
    waiting = list(requirements)
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in names or (requirement.marker is not None and not requirement.marker.evaluate({"extra": ""})):
            continue
        try:
            about = metadata.distribution(requirement.name)
        except metadata.PackageNotFoundError:
            continue  # of another platform
        names[name] = about.metadata["Name"]
        needs = [Requirement(line) for line in about.requires or ()]
        waiting += [need for need in needs if _is_needed(need, requirement.extras)]
    return sorted(names, key=str)


def _is_needed(need: Requirement, extras: set[str]) -> bool:
    if need.marker is None:
        return True
    return any(need.marker.evaluate({"extra": extra}) for extra in {"", *extras})


def licence_of(name: str) -> str:
    """What a package says of its licence."""
    about = metadata.metadata(name)
    stated = about.get("License-Expression") or about.get("License") or ""
    if stated.strip() and len(stated) <= _LONGEST and "\n" not in stated.strip():
        return stated.strip()
    classified = [line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or () if "License ::" in line]
    return ", ".join(classified) or (stated.strip().splitlines() or ["not stated"])[0][:_LONGEST]


def rows(requirements: list[Requirement], seen: set[str]) -> Iterator[str]:
    """A row a package that no earlier table has."""
    for name in closure(requirements):
        if name not in seen:
            seen.add(name)
            yield f"| {name} | {licence_of(name).replace('|', '/')} |"


def page() -> str:
    """The whole page."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    seen: set[str] = set()
    lines = [
        "# Licences",
        "",
        "<!-- Made by scripts/licences_build.py. -->",
        "",
        "What Coterie brings along, as its packages state it on Linux x86-64. Coterie itself is Apache-2.0; models and",
        "data that come with it are in [NOTICE](../../NOTICE); `coterie registry sbom NAME` lists what a specialist is",
        "made of.",
    ]
    wanted = {"core": project["dependencies"], **{name: project["optional-dependencies"][name] for name in EXTRAS}}
    for name, requirements in wanted.items():
        title = "## Core" if name == "core" else f"## `coterie[{name}]` besides"
        table = list(rows([Requirement(requirement) for requirement in requirements], seen))
        lines += ["", title, "", "| package | licence |", "|---|---|", *table]
    return "\n".join(lines) + "\n"


def main() -> int:
    """The command."""
    PAGE.write_text(page(), encoding="utf-8")
    print(f"Written: {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
