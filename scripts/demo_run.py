"""The main job, end to end: make the lender network, train it, serve it, ask it six questions.

`python scripts/demo_run.py` stays up until Ctrl-C; `--once` stops after the answers. Everything is done with
the `coterie` command and plain HTTP, as a user would. A folder that is already trained is used as it is.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import subprocess
import sys
import textwrap
import time
import tomllib
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

QUESTIONS = (
    "I ordered my card two weeks ago and it still has not arrived. What should I do?",
    "This Agreement shall be governed by and construed in accordance with the laws of the State of New York.",
    json.dumps(
        {
            "checking_status": "0 to 199 DM",
            "duration_months": 48,
            "credit_history": "existing credits paid back duly till now",
            "purpose": "radio or television",
            "amount_dm": 5951,
            "savings": "below 100 DM",
            "employment_since": "1 to below 4 years",
            "installment_rate": 2,
            "other_debtors": "none",
            "residence_since": 2,
            "property": "real estate",
            "other_installment_plans": "none",
            "housing": "own",
            "existing_credits": 1,
            "job": "skilled employee or official",
            "people_liable": 1,
            "telephone": "none",
        }
    ),
    "How long can I withdraw from a loan agreement after signing it?",
    "My card was stolen, and does clause 7 let me end the loan agreement?",
    "What will the weather be like in Paris tomorrow?",
)


def main() -> int:
    """Run the stages in order; the exit code is the first failing command's."""
    arguments = _arguments()
    folder, start = arguments.folder, time.monotonic()
    if not (folder / "coterie.toml").exists():
        _coterie("init", str(folder), "--example", "lender")
    _coterie("models", "pull", "smollm2")
    for index in _indexes(folder):
        _coterie("-C", str(folder), "index", index)
    if not _is_trained(folder):
        _coterie("-C", str(folder), "train")
    server = _serve(folder, arguments.port)
    try:
        address = f"http://127.0.0.1:{arguments.port}"
        _wait_until_ready(address, server)
        for question in QUESTIONS:
            _show(question, _ask(address, question))
        print(f"\nReady after {time.monotonic() - start:.0f} s.")
        if not arguments.once:
            _say_how_to_try(address, folder)
            server.wait()
    except KeyboardInterrupt:
        print("\nStopping.")
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=30)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("demo"))
    parser.add_argument("--port", type=int, default=8321)
    parser.add_argument("--once", action="store_true", help="stop after the answers")
    return parser.parse_args()


def _coterie(*arguments: str) -> None:
    print(f"\n$ coterie {' '.join(arguments)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "coterie", *arguments], check=False)  # noqa: S603
    if done.returncode:
        sys.exit(done.returncode)


def _indexes(folder: Path) -> list[str]:
    """Indexes of documents; what is indexed already and has not changed is passed over."""
    return list(tomllib.loads((folder / "coterie.toml").read_text()).get("knowledge", {}))


def _is_trained(folder: Path) -> bool:
    """Whether every specialist has a champion."""
    sections = tomllib.loads((folder / "coterie.toml").read_text())["specialists"]
    return all((folder / "registry" / name / "champion").exists() for name in sections)


def _serve(folder: Path, port: int) -> subprocess.Popen[bytes]:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            sys.exit(f"Port {port} is taken. Stop what uses it, or pass --port N.")
    command = [sys.executable, "-m", "coterie", "-C", str(folder), "serve", "--port", str(port)]
    print(f"\n$ coterie {' '.join(command[3:])}", flush=True)
    return subprocess.Popen(command)  # noqa: S603


def _wait_until_ready(address: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if server.poll() is not None:
            sys.exit(f"The gateway stopped with exit code {server.returncode}.")
        try:
            with urlopen(f"{address}/readyz", timeout=1):  # noqa: S310 - our own address
                return
        except (URLError, TimeoutError, ConnectionError):  # not there yet, or 503 until it is ready
            pass
        time.sleep(0.1)
    sys.exit("The gateway did not become ready within a minute.")


def _ask(address: str, question: str) -> dict[str, object]:
    body = {"model": "coterie", "messages": [{"role": "user", "content": question}]}
    headers = {"content-type": "application/json"}
    request = Request(f"{address}/v1/chat/completions", json.dumps(body).encode(), headers)  # noqa: S310 - as above
    with urlopen(request, timeout=60) as response:  # noqa: S310
        return dict(json.load(response))


def _show(question: str, reply: dict[str, object]) -> None:
    message = reply["choices"][0]["message"]  # type: ignore[index]
    answer = message["content"] or message["refusal"]  # an abstention is a refusal that says why
    coterie = reply["coterie"]
    shown_question = textwrap.shorten(question, 110)
    route = " -> ".join(coterie["route"]["specialists"]) or "nobody"  # type: ignore[index]
    confidence = ", ".join(f"{f['specialist']} {f['confidence']:.2f}" for f in coterie["findings"])  # type: ignore[index]
    usage = coterie["usage"]  # type: ignore[index]
    cost = "unknown" if usage["cost"] is None else f"${float(usage['cost']):.7f}"
    print(f"\n\033[1mQ {shown_question}\033[0m" if sys.stdout.isatty() else f"\nQ {shown_question}")
    for line in answer.splitlines():
        print(textwrap.fill(line, 110, initial_indent="  ", subsequent_indent="  "))
    for finding in coterie["findings"]:  # type: ignore[index]
        for cited in finding.get("citations", ()):
            where = cited["heading"] or f"page {cited['page']}" if cited["page"] else cited["heading"]
            print(f"  [{cited['number']}] {cited['document']}, {where}, characters {cited['start']}-{cited['end']}")
    print(
        f"  [{coterie['status']}; route {route}; confidence {confidence or '-'}; "  # type: ignore[index]
        f"{usage['milliseconds']:.0f} ms; {usage['joules']:.2f} J {usage['joules_kind']}; cost {cost}]",
        flush=True,
    )


def _say_how_to_try(address: str, folder: Path) -> None:
    body = '{"model": "coterie", "messages": [{"role": "user", "content": "How do I top up by card?"}]}'
    print(
        f"""
The gateway is at {address}, and its console at {address}/ in a browser. Try it:

  curl {address}/v1/chat/completions -H 'content-type: application/json' -d '{body}'

  from openai import OpenAI
  client = OpenAI(base_url="{address}/v1", api_key="unused")
  client.chat.completions.create(model="coterie", messages=[{{"role": "user", "content": "How do I top up?"}}])

  .venv/bin/coterie -C {folder} ask "How do I top up by card?"
  .venv/bin/coterie -C {folder} report

Ctrl-C stops it.""",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
