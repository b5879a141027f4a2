"""A bundle of a network: its size, its first answer without any network, and whether changed bytes are refused.

    python benchmarks/bundle/run.py NETWORK --key FILE [--bundle DIR] [--changes 20] [--out FILE]

Needs `unshare`. Times are of whole processes, from the launcher to the answer: the check of every byte is in them.
"""
# ruff: noqa: S311, S603 - chance that changes bytes, and programs of our own

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks._record import machine


def ask(bundle: Path) -> tuple[int, float, float]:
    """Exit code, seconds and CPU-seconds of one question in a namespace without a network."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = ["unshare", "--net", str(bundle / "run"), "ask", "I lost my card", "--json"]
    done = subprocess.run(command, capture_output=True, check=False, env={"PATH": "/usr/bin:/bin"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.returncode, time.perf_counter() - start, spent


def refused(bundle: Path, changes: int, chance: random.Random) -> int:
    """How many of so many changed bytes, each in another file, are refused."""
    slot = (bundle / "current").resolve()
    files = [path for path in slot.rglob("*") if path.is_file() and path.stat().st_size]
    count = 0
    for path in chance.sample(files, changes):
        content = bytearray(path.read_bytes())
        position = chance.randrange(len(content))
        content[position] ^= 1 << chance.randrange(8)
        original = path.read_bytes()
        path.write_bytes(content)
        done = subprocess.run(
            [sys.executable, "-m", "coterie", "bundle", str(bundle), "--check"], check=False, capture_output=True
        )
        count += done.returncode != 0
        path.write_bytes(original)
    return count


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("network", type=Path)
    parser.add_argument("--key", required=True)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--changes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=23)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="bundle-"))
    bundle = given.bundle or home / "box"
    try:
        if not bundle.exists():
            command = [
                sys.executable,
                "-m",
                "coterie",
                "-C",
                str(given.network),
                "bundle",
                str(bundle),
                "--key",
                given.key,
            ]
            subprocess.run(command, check=True)
        size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file() and not path.is_symlink())
        answers = [ask(bundle) for _ in range(4)]
        result = {
            "megabytes": round(size / 1e6),
            "exit_codes": [code for code, *_ in answers],
            "first_answer_seconds": [round(seconds, 2) for _, seconds, _ in answers],
            "cpu_seconds": [round(spent, 2) for *_, spent in answers],
            "changed_bytes": given.changes,
            "refused": refused(bundle, given.changes, random.Random(given.seed)),
        }
    finally:
        shutil.rmtree(home, ignore_errors=True)
    about = {"machine": machine(), "load": round(os.getloadavg()[0], 1), "date": time.strftime("%Y-%m-%d")}
    result |= {"seed": given.seed, **about}
    print(json.dumps(result, indent=1))
    if given.out:
        given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
