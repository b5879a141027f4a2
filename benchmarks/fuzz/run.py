"""Requests and files that nobody would send: the fuzz tests, with as many examples as you have time for.

    python benchmarks/fuzz/run.py [--requests 2000] [--files 2000] [--seed 1]

Runs `tests/null/gateway/test_fuzz.py` (schemathesis over every endpoint of the OpenAPI document, right and wrong
requests) and `tests/null/learning/test_fuzz.py` (hypothesis over configuration, CSV, JSONL and the document readers:
whole files with some bytes changed) with so many examples each, and chance in place of the fixed seed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _record import ROOT, Bar, Record, arguments

CLAIM = "Whatever is sent or read: no 500, no crash, no hang."
TESTS = {"requests": "tests/null/gateway/test_fuzz.py", "files": "tests/null/learning/test_fuzz.py"}


def run(test: str, examples: int, seed: int, log: Path) -> tuple[int, str]:
    """One file of tests; its exit code and how it ended."""
    environment = {**os.environ, "COTERIE_FUZZ": str(examples), "COTERIE_FUZZ_LOG": str(log)}
    plugins = ["-p", "no:cacheprovider", "-p", "no:randomly"]
    command = [sys.executable, "-m", "pytest", "-q", *plugins, f"--hypothesis-seed={seed}", test]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    return done.returncode, done.stdout[-4000:]


def main() -> int:
    """Run it and write the result down."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--requests", type=int, default=2000, help="of each endpoint, right and wrong")
    parser.add_argument("--files", type=int, default=2000, help="of each reader")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    record = Record(claim=CLAIM, seeds=[options.seed])
    counts, failed = [], 0
    for what, test in TESTS.items():
        with tempfile.TemporaryDirectory() as folder:
            log, begun = Path(folder) / "log.jsonl", time.perf_counter()
            code, output = run(test, getattr(options, what), options.seed, log)
            lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        counts += [json.loads(line) for line in lines]
        failed += code != 0
        record.figures[f"{what}, seconds"] = time.perf_counter() - begun
        if code:
            print(output)
            record.notes.append(f"{test} failed")
    total = sum(count for _, _, count, _ in counts)
    record.figures["examples"] = {f"{name} {mode}".strip(): {"n": n, "outcomes": o} for name, mode, n, o in counts}
    record.figures["total"] = total
    record.bars = [Bar(what="failures (500, crash, hang)", measured=float(failed), limit=0.0, at_most=True)]
    record.note_load()
    record.write(options.out)
    return failed


if __name__ == "__main__":
    sys.exit(main())
