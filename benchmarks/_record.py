"""What every benchmark writes down beside its figures: command, machine, date, versions, data, bars.

A figure without the machine and the data it comes from cannot be checked, so `Record.write` is the only way to a result
file. Paths of this machine stay on it: an argument that is a path is written by its last name.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import coterie

ROOT = Path(__file__).resolve().parents[1]
BUSY = 0.75
"""Load average a core from which timings are noted as upper bounds."""

_PACKAGES = (
    *("numpy", "scipy", "scikit-learn", "onnxruntime", "tokenizers", "starlette", "uvicorn", "xllamacpp"),
    *("torch", "transformers", "peft", "gguf", "psycopg", "tantivy"),
    *("presidio-analyzer", "spacy"),
)
_DIGITS = 6  # significant digits of a figure in a result file


@dataclass(frozen=True, kw_only=True)
class Bar:
    """What a figure must reach."""

    what: str
    measured: float | None
    """None when this run did not measure it."""
    limit: float
    at_most: bool = False
    """The figure must stay at or below the limit instead of at or above it."""

    @property
    def met(self) -> bool | None:
        """None when it was not measured."""
        if self.measured is None:
            return None
        return self.measured <= self.limit if self.at_most else self.measured >= self.limit

    def __str__(self) -> str:
        word = {True: "met", False: "MISSED", None: "not measured"}[self.met]
        sign = "<=" if self.at_most else ">="
        measured = "-" if self.measured is None else f"{self.measured:.4g}"
        return f"{self.what}: {measured} ({sign} {self.limit:g}): {word}"


def load_average() -> float:
    """Processes that wanted a core in the last minute, on average."""
    return round(os.getloadavg()[0], 2)


@dataclass(kw_only=True)
class Record:
    """One run of a benchmark. Fill it, then `write` it."""

    claim: str
    seeds: Sequence[int] = ()
    data: dict[str, str] = field(default_factory=dict)
    """SHA-256 of each data file by its name below the data folder."""
    figures: dict[str, object] = field(default_factory=dict)
    bars: list[Bar] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    load_before: float = field(default_factory=load_average)

    def write(self, path: Path) -> None:
        """Write the result file and say what became of the bars."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_rounded(self.to_json()), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        for bar in self.bars:
            print(bar)
        for note in self.notes:
            print(f"Note: {note}")
        print(f"Written: {_shown(path)}")

    def to_json(self) -> dict[str, object]:
        """The result file's content."""
        return {
            "claim": self.claim,
            "command": command(),
            "date": self.date,
            "seeds": list(self.seeds),
            "machine": machine() | {"load_average": [self.load_before, load_average()]},
            "versions": versions(),
            "data": self.data,
            "bars": [asdict(bar) | {"met": bar.met} for bar in self.bars],
            "notes": self.notes,
            "figures": self.figures,
        }

    def note_load(self) -> None:
        """Say so when others used the machine: then timings are upper bounds."""
        cores = os.cpu_count() or 1
        if self.load_before > BUSY * cores:
            self.notes.append(f"others used the machine (load {self.load_before:.1f}): timings are upper bounds")


def arguments(doc: str, script: str) -> argparse.ArgumentParser:
    """A benchmark's parser, with the option that every one has."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    beside = Path(script).with_name("result.json")
    parser.add_argument("--out", type=Path, default=beside, help="result file (default: result.json beside the script)")
    return parser


def add_look(parser: argparse.ArgumentParser) -> None:
    """The option of a benchmark whose rows are asked once for each design: the result file says which look it was."""
    parser.add_argument("--look", required=True, metavar="TEXT", help="which look at these rows, and of what design")


def command() -> str:
    """The command as it was given, without the folders of this machine."""
    return " ".join(["python", *(_shown(Path(word)) if "/" in word else word for word in sys.argv)])


def _shown(path: Path) -> str:
    """A path from the repository's root, or its last name when it lies elsewhere."""
    absolute = path.resolve()
    return absolute.relative_to(ROOT).as_posix() if absolute.is_relative_to(ROOT) else path.name


def machine() -> dict[str, object]:
    """Processor, cores, memory, system."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")


def versions() -> dict[str, str]:
    """Python, Coterie and the packages that figures depend on."""
    installed = {"python": platform.python_version(), "coterie": coterie.__version__}
    for name in _PACKAGES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def sha256(path: Path) -> str:
    """Checksum of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _rounded(value: object) -> object:
    """The value with floats cut to the digits that mean something; a figure that is no number is null."""
    if isinstance(value, Mapping):
        return {str(key): _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return value


def sync_p50(folder: Path, *, times: int = 50) -> float:
    """Milliseconds that a line appended to a file and its sync take in a folder, at the median."""
    took = []
    with (folder / "synced").open("wb", buffering=0) as file:
        for _ in range(times):
            start = time.perf_counter()
            file.write(b"x" * 400)
            os.fsync(file.fileno())
            took.append((time.perf_counter() - start) * 1000)
    return statistics.median(took)
