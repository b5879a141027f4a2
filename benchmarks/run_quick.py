"""The benchmarks that need only this repository, in a few minutes: what `make bench` runs.

The lender network in `demo/` is trained if it is not there yet, then measured: latency, the reports of its clauses and
underwriting specialists, and its replies if SmolLM2 is on this machine. Results go to `work/bench/`, which is
not committed; the result files beside the scripts come from the full runs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _lender import DEMO, has_smollm2, ready
from _record import ROOT, Bar

FOLDER = Path(__file__).parent
OUT = ROOT / "work" / "bench"
BARE = ("clauses", "underwriting")
LATENCY = ("--requests", "2000", "--starts", "3")
REPLY = ("--n", "30")
SESSIONS = ("--sessions", "500")


def run(name: str, arguments: Sequence[str]) -> int:
    """One benchmark in a process of its own; its exit code."""
    command = [sys.executable, str(FOLDER / name / "run.py"), *arguments, "--out", str(OUT / f"{name}.json")]
    print(f"\n== {name} ==", flush=True)
    return subprocess.run(command, check=False).returncode  # noqa: S603


def bars_of(name: str) -> list[Bar]:
    """The bars of a result that was just written."""
    path = OUT / f"{name}.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return [
        Bar(**{key: bar[key] for key in ("what", "measured", "limit", "at_most")}) for bar in content.get("bars", ())
    ]


def plan(network: Path) -> dict[str, list[str]]:
    """Which benchmarks, with their arguments."""
    network_option = ["--network", str(network)]
    runs = {"latency": [*network_option, *LATENCY], **dict.fromkeys(BARE, network_option), "sessions": [*SESSIONS]}
    if not (FOLDER / "reply" / "run.py").exists():
        return runs
    if has_smollm2():
        return {**runs, "reply": [*REPLY]}
    print("Left out: reply, since SmolLM2 is not on this machine (coterie models pull smollm2).")
    return runs


def main() -> int:
    """Run them all; the exit code is 1 if one of them failed. A missed bar is told, not an error: machines differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--network", type=Path, default=DEMO, metavar="DIR", help="trained lender network (default: demo)"
    )
    given = parser.parse_args()
    runs = plan(ready(given.network))
    failed = [name for name, arguments in runs.items() if run(name, arguments)]
    print("\n== bars ==")
    for name in runs:
        for bar in bars_of(name):
            print(f"{name}: {bar}")
    if failed:
        print(f"Failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
