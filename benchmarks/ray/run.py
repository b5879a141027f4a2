"""One network behind Ray Serve and behind `coterie serve`: are the answers the same, and how much slower.

    python benchmarks/ray/run.py NETWORK [--requests 60] [--out FILE]

Requests alternate between the two. Needs the extra `ray`. Ends with 75 where Ray itself does not start: its raylet
gives its agent 15 s, and no setting changes that (2.60), so it does not on a machine with much else to do.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks._record import machine

SETTINGS = {
    "RAY_worker_niceness": "0",  # 15 by default: then the worker beside it has the cores
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",  # 5 by default: a busy machine takes longer, and the proxy is killed
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "60",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # no node beside this one: it is on 127.0.0.1
}
"""Of Ray, for both sides alike."""


def post(address: str, text: str) -> tuple[dict, float]:
    """An answer, and its milliseconds."""
    body = json.dumps({"model": "coterie", "messages": [{"role": "user", "content": text}]}).encode()
    request = urllib.request.Request(  # noqa: S310 - our own servers
        f"{address}/v1/chat/completions", body, {"content-type": "application/json"}
    )
    start = time.perf_counter()
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        return json.loads(response.read()), (time.perf_counter() - start) * 1000


def same(answer: dict) -> object:
    """What must be equal: the words and what the network says of them, not ids and times."""
    message = answer["choices"][0]["message"]
    about = answer.get("coterie", {})
    return (
        message,
        about.get("status"),
        [(f["specialist"], f["value"], f["confidence"]) for f in about.get("findings", [])],
    )


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("network", type=Path)
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import ray  # noqa: PLC0415 - an extra
    from coterie.scale.ray import RayArguments, app  # noqa: PLC0415 - as above
    from ray import serve  # noqa: PLC0415 - as above

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = time.perf_counter()
    try:
        ray.init(num_cpus=2, include_dashboard=False, object_store_memory=200_000_000, log_to_driver=False)
    except Exception as error:  # Ray has no other for it
        ray.shutdown()
        print(f"Ray does not start: {error}", file=sys.stderr)
        raise SystemExit(os.EX_TEMPFAIL) from error
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(app(RayArguments(network=str(given.network), cpus=1)), name="coterie")
    ready = time.perf_counter() - start
    direct = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "coterie", "-C", str(given.network), "serve", "--port", "0", "--json"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        own = json.loads(direct.stdout.readline())["address"]
        questions = ("I lost my card number", "what is the balance of account")
        texts = [f"{questions[n % 2]} {n}" for n in range(given.requests)]
        equal, times = 0, {"ray": [], "direct": []}
        for text in ["warm up"] * 3 + texts:
            (one, by_ray), (other, by_own) = post(f"http://127.0.0.1:{port}", text), post(own, text)
            if text != "warm up":
                equal += same(one) == same(other)
                times["ray"].append(by_ray)
                times["direct"].append(by_own)
    finally:
        direct.terminate()
        with suppress(Exception):
            serve.shutdown()
        ray.shutdown()
    p50 = {name: round(statistics.median(values), 2) for name, values in times.items()}
    result = {
        "requests": given.requests,
        "identical": equal,
        "p50_ms": p50,
        "ratio": round(p50["ray"] / p50["direct"], 2),
        "seconds_until_ready": round(ready, 1),
        "machine": machine(),
        "load": os.getloadavg()[0],
        "date": time.strftime("%Y-%m-%d"),
    }
    print(json.dumps(result, indent=1))
    if given.out:
        given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
