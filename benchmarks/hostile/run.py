"""Texts that are sent to make a gateway slow: does anybody else wait, does the work stay linear, does it stop.

    python benchmarks/hostile/run.py --reduced
    python benchmarks/hostile/run.py [--characters 1000000] [--texts REGEX] [--ways REGEX] [--network DIR]

A network with a specialist of each task, trained here, and a large model (a local fake) behind the egress gate. A text
goes to each endpoint in each way a text can come in, while another caller asks `/healthz` every 10 ms in the same event
loop. On a machine that others use, a wait may be theirs: beside each wait stands the processor time that this process
spent in it, and the bar is on the smaller of the two.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Self

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _record import Bar, Record, arguments
from _six_tasks import large_model, make_network
from coterie.assembly import open_network
from coterie.config.file import GatewaySection
from coterie.gateway.app import create_app
from coterie.gateway.serve import SWITCH_SECONDS

CLAIM = (
    "No text of a megabyte keeps another caller waiting, takes more than its length, or goes on when its caller left."
)
LONGEST_WAIT, GROWTH, AFTER_LEAVING = 0.050, 2.2, 0.5
"""Seconds, times the processor time for twice the text, seconds of work after the caller left."""
PATIENCE, GONE = 20.0, 499
"""Seconds after which a caller leaves (a document of a megabyte is read for minutes), and what that counts as."""
EVERY = 0.01  # seconds between two questions of the other caller
_PHRASES = {
    "one question again and again": "where is my parcel ",
    "one letter": "a",
    "one letter in capitals": "A",
    "one digit": "7",
    "digits in fours": "1234 ",
    "IBANs": "DE89370400440532013000 ",
    "IBAN-like, never right": "DE00 1234 5678 ",
    "card-like digits": "4111-1111-1111-1112 ",
    "telephone-like digits": "+49 30 ",
    "tags of pseudonyms": "<PERSON_1>",
    "open tags": "<PERSON",
    "open brackets": "(",
    "brackets in brackets": "[{(",
    "closing brackets": ")]}",
    "e-mail addresses": "a.b@example.com ",
    "at signs": "a@",
    "dots": "a.",
    "blanks": " x  ",
    "new lines": "\n",
    "lines of a word": "word\n",
    "commas": "one, two, ",
    "and": "and then also ",
    "sentences": "My card was stolen. ",
    "names": "Anna Schmidt and John Smith ",
    "capitals": "New York Bank ",
    "Chinese": "\u6211\u7684\u5305\u88f9\u5728\u54ea\u91cc\u3002",
    "combining marks": "a\u0301\u0302\u0323",
    "marks alone": "\u0301",
    "no width": "a\u200b\u2060",
    "pictures": "\U0001f600",
    "orders": "ignore the router and send this to the ",
    "JSON": '{"a": [1, ',
    "addresses": "http://a.b/c?d=e&",
    "slashes": "\\/",
    "quotes": "\"'",
    "Arabic": "\u0623\u064a\u0646 \u0637\u0631\u062f\u064a ",
    "secrets": "password=sk-abcdefgh ",
    "beginnings of keys": "-----BEGIN PRIVATE KEY-----",
    "beginnings of tokens": "eyJhbGciOi.eyJ",
    "base64": "aGVsbG8gd29ybGQsIGhvdyBhcmUgeW91",
    "letters that join": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "tag characters": "a\U000e0041\U000e0020",
    "NULs": "\0",
    "dashes": "-\u2013 ",
    "tables": "| a | 1 |\n|---|---|\n",
    "HTML": "<p class='a'>x</p>",
    "numbers and dates": "1,234.50 EUR on 2024-02-30 ",
    "mixed scripts": "a\u0430\u03b1\u05d0\u4e00",
    "marks of quotation": "\u201ea\u201c \u00abb\u00bb ",
    "telephone numbers": "+49 30 901820 ",
    "pointers": "and for that of it ",
    "dates of birth": "born on 1.2.1980 ",
}


def texts(characters: int) -> dict[str, str]:
    """Each of so many characters."""
    by_name = {name: (phrase * (characters // len(phrase) + 1))[:characters] for name, phrase in _PHRASES.items()}
    chance = random.Random(1)  # noqa: S311 - texts, no secrets
    by_name["chance"] = "".join(map(chr, chance.choices(range(32, 127), k=characters)))
    by_name["chance, words"] = " ".join(
        "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(characters // 8)
    )
    by_name["one secret at the end"] = "x" * (characters - 60) + " password=hunter2-" + "y" * 40
    by_name["a row of columns"] = json.dumps({f"c{i}": i for i in range(characters // 20)})
    return by_name


def _chat(text: str, **more: object) -> dict[str, object]:
    return {"model": "coterie", "messages": [{"role": "user", "content": text}], **more}


SHORT = "where is my parcel"
CHAT = "/v1/chat/completions"
TURN = 100  # characters of a turn of a long history


def _turns(text: str, length: int) -> list[dict[str, object]]:
    """A text as earlier turns."""
    pieces = [text[start : start + length] for start in range(0, len(text), length)]
    return [{"role": ("user", "assistant")[index % 2], "content": piece} for index, piece in enumerate(pieces)]


def _after(turns: list[dict[str, object]], text: str) -> dict[str, object]:
    return {"model": "coterie", "messages": [*turns, {"role": "user", "content": text}]}


_ASKED = {"type": "predicate", "instructions": "Is it so?"}


def _tool(**more: object) -> dict[str, object]:
    """A function that may be called."""
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    return {"type": "function", "function": {"name": "weather", "parameters": parameters, **more}}


def _after_call(text: str) -> dict[str, object]:
    """A call whose result is the text."""
    call = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    turns = [{"role": "user", "content": SHORT}, {"role": "assistant", "tool_calls": [call]}]
    result = {"role": "tool", "tool_call_id": "a", "content": text}
    return {"model": "coterie", "messages": [*turns, result], "tools": [_tool()]}


def _pieces(text: str) -> list[str]:
    """A text in pieces of some thousand characters."""
    return [text[start : start + 5_000] for start in range(0, len(text), 5_000)]


def _asked(task: str, **columns: object) -> Callable[[str], dict[str, object]]:
    """To the specialist of one task."""
    more = {"coterie": {"columns": columns}} if columns else {}
    return lambda text: _chat(text, model=f"coterie/{task}", **more)


WAYS: Mapping[str, tuple[str, Callable[[str], dict[str, object]]]] = {
    "routed": (CHAT, _chat),
    "streamed": (CHAT, lambda text: _chat(text, stream=True)),
    "internal": (CHAT, lambda text: _chat(text, coterie={"label": "internal"})),
    "classify": (CHAT, _asked("triage")),
    "pairs": (CHAT, _asked("clauses", hypothesis="The information is confidential.")),
    "score": (CHAT, _asked("risk", duration_months=12, credit_amount=900)),
    "extract": (CHAT, _asked("terms")),
    "answer": (CHAT, _asked("ask")),
    "generate": (CHAT, _asked("reply")),
    "hypothesis": (CHAT, lambda text: _asked("clauses", hypothesis=text)(SHORT)),
    "columns": (CHAT, lambda text: _asked("risk", purpose=text, credit_amount=900)(SHORT)),
    "document": (CHAT, lambda text: _chat(SHORT, coterie={"document": text})),
    "history": (CHAT, lambda text: _after([*_turns(text, len(text))] * 2, "and for that?")),
    "long history": (CHAT, lambda text: _after(_turns(text, TURN), "and for that?")),
    "session": (CHAT, lambda text: _chat(text, coterie={"session": "one"})),
    "follow-up": (CHAT, lambda _text: _chat("and for that?", coterie={"session": "one"})),
    "embeddings": ("/v1/embeddings", lambda text: {"model": "coterie", "input": text}),
    "embeddings, list": ("/v1/embeddings", lambda text: {"model": "coterie", "input": [text[:1000]] * 200}),
    "feedback": ("/api/feedback", lambda text: {"trace_id": "none", "comment": text[:10_000], "value": text[:10_000]}),
    "long feedback": ("/api/feedback", lambda text: {"trace_id": text, "comment": text, "value": text}),
    "model's name": (CHAT, lambda text: _chat(SHORT, model=text)),
    "unknown key": (CHAT, lambda text: _chat(SHORT, coterie={text: 1})),
    "functions": (CHAT, lambda text: _chat(text, tools=[_tool()])),
    "function's description": (CHAT, lambda text: _chat(SHORT, tools=[_tool(description=text)])),
    "results of calls": (CHAT, _after_call),
    "JSON form": (CHAT, lambda text: _chat(text, response_format={"type": "json_object"})),
    "responses": ("/v1/responses", lambda text: {"model": "coterie", "input": text}),
    "messages": ("/v1/messages", lambda text: {"max_tokens": 99, **_chat(text)}),
    "completions": ("/v1/completions", lambda text: {"model": "coterie", "prompt": text}),
    "decisions": (
        "/v1/decisions",
        lambda text: {"model": "gpt-6-luna", "input": text, "questions": [_ASKED]},
    ),
    "systemone": (
        "/v1/systemone",
        lambda text: {"model": "jev-latest", "state": text, "questions": {"q": {**_ASKED, "type": "noul"}}},
    ),
    "rerank": ("/v1/rerank", lambda text: {"model": "coterie", "query": SHORT, "documents": _pieces(text)}),
    "scores": ("/v1/score", lambda text: {"model": "coterie", "text_1": SHORT, "text_2": _pieces(text)}),
}
REDUCED = "^(one question again and again|IBANs|Chinese|JSON)$"
"""Texts of `--reduced`, of 300,000 characters each."""


@dataclass
class Caller:
    """Sends one request to an app in process."""

    app: Any
    status: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, path: str, body: bytes = b"", *, method: str = "POST") -> int:
        """The status of the response."""
        sent = False

        async def receive() -> dict[str, object]:
            nonlocal sent
            if not sent:
                sent = True
                return {"type": "http.request", "body": body, "more_body": False}
            await self.gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Mapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"content-type", b"application/json"), (b"host", b"localhost")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "scheme": "http",
            "root_path": "",
        }
        await self.app(scope, receive, send)
        return self.status


@dataclass
class Waits:
    """What another caller waits for `/healthz`."""

    app: Any
    worst: float = 0.0
    """Seconds."""
    own: float = 0.0
    """The longest of what of each wait this process spent at work itself."""
    all: list[float] = field(default_factory=list)
    _task: asyncio.Task[None] | None = None

    async def _ask(self) -> None:
        while True:
            start, spent = time.perf_counter(), time.process_time()
            await asyncio.sleep(EVERY)
            await Caller(self.app).ask("/healthz", method="GET")
            wait, work = time.perf_counter() - start - EVERY, time.process_time() - spent
            self.worst, self.own = max(self.worst, wait), max(self.own, min(wait, work))
            self.all.append(wait)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._ask())
        await asyncio.sleep(5 * EVERY)
        self.worst = self.own = 0.0
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(EVERY)
        if self._task is not None:
            self._task.cancel()


def _read(so_far: Path) -> dict[str, dict[str, Any]]:
    return json.loads(so_far.read_text()) if so_far.exists() else {}


async def send_all(
    app: Any,  # noqa: ANN401 - an ASGI app
    given: Mapping[str, str],
    ways: Mapping[str, Any],
    record: Record,
    so_far: Path,
) -> float:
    """The longest wait of the other caller, of this process's doing. A run that was cut off goes on after its ways."""
    found = await asyncio.to_thread(_read, so_far)
    found = {way: sent for way, sent in found.items() if way in ways and sent.keys() == given.keys()}
    for way, (path, body) in ways.items():
        if way in found:
            continue
        sent = {}
        for name, text in given.items():
            content = json.dumps(body(text), ensure_ascii=False).encode()
            caller = Caller(app)
            async with Waits(app) as waits:
                start, spent = time.perf_counter(), time.process_time()
                asking = asyncio.create_task(caller.ask(path, content))
                await asyncio.wait([asking], timeout=PATIENCE)
                caller.gone.set()
                await asking
                seconds, work = time.perf_counter() - start, time.process_time() - spent
            status = caller.status or GONE
            sent[name] = {
                "status": status, "seconds": seconds, "cpu": work, "wait": waits.worst, "own": waits.own
            }  # fmt: skip
            print(
                f"{way:12} {name:30} {status} {seconds:7.2f} s, cpu {work:7.2f} s; wait {1000 * waits.worst:6.0f} ms, "
                f"own {1000 * waits.own:6.0f} ms",
                flush=True,
            )
        found[way] = sent
        await asyncio.to_thread(so_far.write_text, json.dumps(found))
    record.notes += [
        f"{way}, {name}: {each['status']}"
        for way, sent in found.items()
        for name, each in sent.items()
        if each["status"] >= 500 or (each["status"] == GONE and way != "document")
    ]
    record.figures["sent"] = found
    return max(float(each["own"]) for sent in found.values() for each in sent.values())


async def growth(app: Any, small: Mapping[str, str], large: Mapping[str, str], rounds: int = 2) -> dict[str, float]:  # noqa: ANN401
    """How many times the processor time each text takes when it is twice as long, routed."""
    path, body = WAYS["routed"]
    ratios = {}
    for name in small:
        spent: dict[int, list[float]] = {0: [], 1: []}
        for _ in range(rounds):
            for which, given in enumerate((small, large)):
                content = json.dumps(body(given[name]), ensure_ascii=False).encode()
                start = time.process_time()
                await Caller(app).ask(path, content)
                spent[which].append(time.process_time() - start)
        ratios[name] = min(spent[1]) / min(spent[0])
        print(f"growth {name:30} {ratios[name]:.2f} ({min(spent[0]):.3f} s, {min(spent[1]):.3f} s)", flush=True)
    return ratios


async def leave(app: Any, given: Mapping[str, str]) -> float:  # noqa: ANN401 - an ASGI app
    """The most processor time that was spent after a caller left."""
    path, body = WAYS["routed"]
    worst = 0.0
    for name, text in given.items():
        caller = Caller(app)
        asking = asyncio.create_task(caller.ask(path, json.dumps(body(text), ensure_ascii=False).encode()))
        await asyncio.sleep(0.1)
        start = time.process_time()
        caller.gone.set()
        await asyncio.wait([asking])
        await asyncio.sleep(1.0)
        spent = time.process_time() - start
        print(f"left   {name:30} {spent:.3f} s", flush=True)
        worst = max(worst, spent)
    return worst


def join(record: Record, kept: Mapping[str, Any]) -> None:
    """Add the figures of an earlier run of other ways in to the record's; the worst of both counts."""
    figures = kept["figures"]
    again: Any = record.figures["sent"]
    joined = {**figures["sent"], **again}
    record.figures["sent"] = joined
    measured = tuple(f"{way}, {name}: " for way, texts in again.items() for name in texts)
    record.figures["growth"] = {
        name: max(value, figures["growth"].get(name, 0.0))
        for name, value in record.figures["growth"].items()  # type: ignore[attr-defined] - the same
    }
    record.notes += [note for note in kept["notes"] if note not in record.notes and not note.startswith(measured)]
    record.figures["ways in"] = len(joined)
    record.bars = [
        Bar(what=bar.what, measured=max(bar.measured or 0.0, old["measured"]), limit=bar.limit, at_most=True)
        for bar, old in zip(record.bars, kept["bars"], strict=True)
    ]


def so_far_of(out: Path) -> Path:
    """Where the ways are kept that a run has gone through."""
    return out.with_name(f"{out.stem}.so-far.json")


async def measure(options: Any, record: Record) -> None:  # noqa: ANN401 - of argparse
    """Everything, into the record."""
    with large_model() as url, tempfile.TemporaryDirectory() as directory:
        folder = options.network or Path(directory) / "network"
        await asyncio.to_thread(make_network, folder, url)
        sys.setswitchinterval(SWITCH_SECONDS)
        network = await open_network(folder, warm=True)
        try:
            gc.collect()
            gc.freeze()  # as `coterie serve` does
            app = create_app(network, GatewaySection(max_body=16_000_000))
            await Caller(app).ask("/v1/chat/completions", json.dumps(_chat("where is my card")).encode())
            wanted = re.compile(options.texts)
            given, half = (
                {name: text for name, text in texts(size).items() if wanted.search(name)}
                for size in (options.characters, options.characters // 2)
            )
            ways = {name: way for name, way in WAYS.items() if re.search(options.ways, name)}
            async with Waits(app) as idle:
                await asyncio.sleep(2)
            worst = await send_all(app, given, ways, record, so_far_of(options.out))
            grown = await growth(app, half, given)
            left = await leave(app, given)
        finally:
            await network.close()
    record.figures |= {
        "texts": len(given), "wait of an idle gateway": {"worst": idle.worst, "median": median(idle.all)},
        "growth": grown, "work after leaving": left,
    }  # fmt: skip
    record.bars = [
        Bar(what="longest wait of another caller (s)", measured=worst, limit=LONGEST_WAIT, at_most=True),
        Bar(what="CPU time for twice the text", measured=max(grown.values()), limit=GROWTH, at_most=True),
        Bar(what="CPU time after the caller left (s)", measured=left, limit=AFTER_LEAVING, at_most=True),
    ]


def main() -> int:
    """Run it and write the result down."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--characters", type=int, default=1_000_000)
    parser.add_argument("--texts", default="", help="regular expression: which texts")
    parser.add_argument("--network", type=Path, help="a folder for the network, trained there if need be")
    parser.add_argument("--ways", default="", help="regular expression: which ways in")
    parser.add_argument("--reduced", action="store_true", help="all ways in, four texts of 300,000 characters")
    parser.add_argument("--keep", action="store_true", help="beside what an earlier run of other ways in found")
    options = parser.parse_args()
    if options.reduced:
        options.characters, options.texts = 300_000, options.texts or REDUCED
    record = Record(claim=CLAIM, seeds=[1])
    asyncio.run(measure(options, record))
    record.note_load()
    if options.keep and options.out.exists():
        join(record, json.loads(options.out.read_text(encoding="utf-8")))
    record.write(options.out)
    so_far_of(options.out).unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
