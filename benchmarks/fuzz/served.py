"""Requests made out of the OpenAPI document of a trained network that is served: no 500, no hang.

    python benchmarks/fuzz/served.py --network DIR [--examples 100] [--seed 1]

`coterie serve` with trained specialists, a large model behind the gate, the relay, captured calls, ledger and audit
log, on a socket; the command line of schemathesis asks every endpoint of `/openapi.json`, with right and wrong
requests, and waits 30 seconds for an answer. `DIR` is a trained network of any tasks, or that of
`benchmarks/scale_gateway`, made where it is not there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scale_gateway"))  # its `run` stands before this one

from run import copy_of, coterie, make_network, probe, running

from _data import LARGE
from _record import Bar, Record, arguments

CLAIM = "Whatever is asked of a trained network that is served: no 500, no hang."
HERE = Path(__file__).resolve().parent
SECONDS = 30


def operations_of(base: str) -> set[str]:
    """Every operation of the document."""
    paths = httpx.get(f"{base}/openapi.json", timeout=SECONDS).json()["paths"]
    return {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}


def ask(base: str, log: Path, examples: int, seed: int, seconds: int) -> int:
    """Have schemathesis ask; its exit code."""
    models = [model["id"] for model in httpx.get(f"{base}/v1/models", timeout=SECONDS).json()["data"]]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE), "COTERIE_FUZZ_LOG": str(log)}
    environment["COTERIE_FUZZ_MODELS"] = json.dumps(
        [model for model in models if model != "small"]
    )  # it writes for long
    program = Path(sys.executable).with_name("schemathesis")
    words = ["run", f"{base}/openapi.json", "--checks", "not_a_server_error", "--phases", "coverage,fuzzing"]
    words += ["--max-examples", str(examples), "--seed", str(seed), "--request-timeout", str(SECONDS), "--no-color"]
    words += ["--max-time", str(seconds), "--continue-on-failure", "--generation-database", "none", "--warnings", "off"]
    words += ["--suppress-health-check", "all"]
    return subprocess.run([program, *words], env=environment, cwd=log.parent, check=False).returncode  # noqa: S603


def main() -> int:
    """Serve, ask, count, write down."""
    parser = arguments(__doc__ or "", __file__)
    parser.set_defaults(out=HERE / "result_served.json")
    parser.add_argument("--network", type=Path, required=True, help="folder of the trained network, made if missing")
    parser.add_argument("--examples", type=int, default=100, help="of each endpoint")
    parser.add_argument("--seconds", type=int, default=1200, help="of the whole run")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    record = Record(claim=CLAIM, seeds=[options.seed])
    make_network(options.network)
    with tempfile.TemporaryDirectory() as name, running(probe("upstream.py"), "upstream") as upstream:
        more = LARGE.format(url=upstream.url) + '[gateway]\nrelay = ["*"]\n[capture]\nenabled = true\n'
        log, home = Path(name) / "log.jsonl", copy_of(options.network, Path(name) / "network", more)
        with running(coterie(home), "coterie") as door:
            base = door.url.removesuffix("/v1/chat/completions")
            operations = operations_of(base)
            code = ask(base, log, options.examples, options.seed, options.seconds)
            alive = httpx.get(f"{base}/healthz", timeout=SECONDS).status_code == httpx.codes.OK
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    statuses: dict[str, Counter[str]] = defaultdict(Counter)
    for operation, status, _ in lines:
        statuses[operation][str(status)] += 1
    broken = sum(status >= httpx.codes.INTERNAL_SERVER_ERROR for _, status, _ in lines)
    record.figures = {
        "requests": len(lines),
        "slowest_seconds": max(seconds for *_, seconds in lines),
        "schemathesis_exit": code,
        "operations": len(operations),
        "not_asked": sorted(operations - statuses.keys()),
        "statuses": {operation: dict(sorted(counts.items())) for operation, counts in sorted(statuses.items())},
    }
    record.bars = [
        Bar(what="answers with a status from 500", measured=float(broken), limit=0, at_most=True),
        Bar(what="failures of schemathesis' check, hangs among them", measured=float(code), limit=0, at_most=True),
        Bar(what="answers afterwards", measured=float(alive), limit=1),
    ]
    record.note_load()
    record.write(options.out)
    return int(code or broken or not alive)


if __name__ == "__main__":
    sys.exit(main())
