"""What `pip` would install today, with versions and hashes: `requirements/PLATFORM.txt`.

    python scripts/lock_build.py            # resolve anew and write the file of this platform
    python scripts/lock_build.py --machine aarch64    # and for another processor, with this system and Python
    python scripts/lock_build.py --python 3.12        # and for another Python
    python scripts/lock_build.py --check    # every dependency of pyproject.toml is in it, within its range, with a hash

pip itself resolves (`pip install --dry-run --report`), so the user's index, proxy, certificates and constraints hold. A
file holds for one platform and Python, since wheels differ. For another processor or Python pip takes that one's
wheels, but answers what depends on them as for this one: where that one needs a package more, nothing is written. The
extra `train` is not in it: torch comes in builds for each accelerator, from indexes of their own, and is a range on
purpose.

    pip install --require-hashes --no-deps -r requirements/linux-x86_64-cp311.txt && pip install --no-deps coterie
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "requirements"
LOCKED = ("docs", "llama", "mcp", "oidc", "otel", "postgres", "sign")
"""Extras that are locked beside the core."""
_LINE = re.compile(r"([a-z0-9-]+)==(\S+) --hash=sha256:[0-9a-f]{64}")


_MANYLINUX = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_26", "manylinux_2_24", "manylinux2014", "manylinux_2_17")
"""Wheels that a Linux of 2018 and later takes, the newest first."""


PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
"""The version of this Python."""


def lock_file(machine: str = platform.machine(), python: str = PYTHON) -> Path:
    """The file of this system on a processor, for a Python."""
    return FOLDER / f"{sys.platform}-{machine}-cp{python.replace('.', '')}.txt"


def wanted() -> list[Requirement]:
    """What pyproject.toml asks for, of the core and the locked extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = (line for name in LOCKED for line in project["optional-dependencies"][name])
    return [Requirement(line) for line in (*project["dependencies"], *extras)]


def resolve(machine: str, python: str = PYTHON) -> list[Mapping[str, Any]]:
    """The report of pip on what it would install into an empty environment."""
    elsewhere = machine != platform.machine() or python != PYTHON
    foreign = [f"--platform={platform_tag}_{machine}" for platform_tag in _MANYLINUX] if elsewhere else []
    foreign += [f"--python-version={python}"] if python != PYTHON else []
    words = ["--dry-run", "--ignore-installed", "--quiet", "--only-binary", ":all:", "--report", "-", *foreign]
    command = [sys.executable, "-m", "pip", "install", *words, *map(str, wanted())]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - pip, with our words
    report: Mapping[str, Any] = json.loads(done.stdout)
    installed = list[Mapping[str, Any]](report["install"])
    if uncertain := sorted(depending(installed, machine, python)):
        raise SystemExit(f"Not the same on {machine}, {python} as here: {', '.join(uncertain)}. Run this there.")
    return installed


def depending(installed: Sequence[Mapping[str, Any]], machine: str, python: str = PYTHON) -> set[str]:
    """What packages need here alone, or on another processor or Python alone and pip did not take."""
    needs, taken = set(), {canonicalize_name(installed_package["metadata"]["name"]) for installed_package in installed}
    there = {"platform_machine": machine, "python_version": python, "python_full_version": f"{python}.0"}
    for package in installed:
        for line in package["metadata"].get("requires_dist", []):
            needed, extras = Requirement(line), ("", *package.get("requested_extras", ()))
            marker, present = needed.marker, canonicalize_name(needed.name) in taken
            if marker is not None and any(
                marker.evaluate({"extra": extra, **there}) != marker.evaluate({"extra": extra})
                and not (present and marker.evaluate({"extra": extra, **there}))
                for extra in extras
            ):
                needs.add(f"{package['metadata']['name']} needs {line}")
    return needs


def lines(installed: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line a package, by name."""
    for package in sorted(installed, key=lambda entry: canonicalize_name(entry["metadata"]["name"])):
        name, version = canonicalize_name(package["metadata"]["name"]), package["metadata"]["version"]
        digest = package["download_info"]["archive_info"]["hashes"]["sha256"]
        yield f"{name}=={version} --hash=sha256:{digest}"


def write(machine: str, python: str = PYTHON) -> None:
    """Resolve and write."""
    FOLDER.mkdir(exist_ok=True)
    head = "# Made by scripts/lock_build.py: the core and the extras " + ", ".join(LOCKED) + ". Install with --no-deps."
    path = lock_file(machine, python)
    path.write_text("\n".join([head, *lines(resolve(machine, python))]) + "\n", encoding="utf-8")
    print(f"Written: {path.relative_to(ROOT)}")


def locked(path: Path) -> dict[str, str]:
    """Versions by name. Raises `ValueError` for a line without a hash."""
    versions = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"{path.name}: {line!r} is no `name==version --hash=sha256:...`")
        versions[match[1]] = match[2]
    return versions


def problems(path: Path) -> list[str]:
    """What pyproject.toml asks for and a lock file does not have."""
    versions = locked(path)
    missing = [str(requirement) for requirement in wanted() if canonicalize_name(requirement.name) not in versions]
    outside = [
        f"{requirement} is locked at {versions[canonicalize_name(requirement.name)]}"
        for requirement in wanted()
        if canonicalize_name(requirement.name) in versions
        and not requirement.specifier.contains(versions[canonicalize_name(requirement.name)], prereleases=True)
    ]
    pinned = [name for name in versions if name in {"torch", "triton"} or name.startswith("nvidia-")]
    return [
        *(f"{name} is not locked" for name in missing),
        *outside,
        *(f"{name} must not be pinned" for name in pinned),
    ]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="look at the files that are there, resolve nothing")
    parser.add_argument("--machine", default=platform.machine(), help="the processor, such as aarch64")
    parser.add_argument("--python", default=PYTHON, help="the version of Python, such as 3.12")
    given = parser.parse_args()
    if not given.check:
        write(given.machine, given.python)
    messages = [f"{path.name}: {problem}" for path in sorted(FOLDER.glob("*.txt")) for problem in problems(path)]
    print("\n".join(messages))
    return bool(messages)


if __name__ == "__main__":
    sys.exit(main())
