"""Small data sets with something to learn, and an encoder that needs no weights."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coterie.testing import EchoEngine, FakeOpenAIServer, ServerReply
from coterie.training.train import TrainingReport, train
from coterie.types import Output, Usage

WORDS = {
    "card": ["card", "blocked", "stolen", "pin", "chip", "swipe"],
    "parcel": ["parcel", "delivery", "courier", "tracking", "late", "address"],
    "refund": ["refund", "money", "back", "charged", "twice", "invoice"],
    "login": ["password", "login", "account", "locked", "email", "code"],
}
FILLER = ["please", "today", "again", "my", "the", "why", "is", "where", "tell", "me", "sir", "now"]


class WordEncoder(EchoEngine):
    """A text's vector is the sum of its words' random directions: texts that share words are alike."""

    languages: frozenset[str] = frozenset()

    sha256 = "e" * 64
    about: Mapping[str, str] = {"name": "words", "source": "tests", "sha256": sha256, "licence": "Apache-2.0"}

    def __init__(self, dimension: int = 32) -> None:
        super().__init__("onnx", dimension=dimension)

    max_tokens = 64

    def words(self):
        return ()

    def follow(self, memo):
        """It prepares nothing."""

    def exceeds(self, texts):
        return np.array([len(text.split()) > self.max_tokens for text in texts], dtype=bool)

    def encode(self, texts, *, progress=None):
        if progress:
            progress(len(texts))
        return np.array([self._vector(text) for text in texts], dtype=np.float32).reshape(-1, self.dimension)

    async def run(self, batch, *, call=None):
        self.prompts.extend(batch)
        return [Output(vector=self._vector(p.text), usage=Usage(tokens_in=len(p.text.split()))) for p in batch]

    def _vector(self, text: str) -> np.ndarray:
        total = sum((_direction(word, self.dimension) for word in text.lower().split()), np.zeros(self.dimension))
        length = float(np.linalg.norm(total))
        return (total / length if length else _direction("", self.dimension)).astype(np.float32)


def _direction(word: str, dimension: int) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(word.encode("utf-8", "replace")).digest()[:8], "little")
    vector = np.random.default_rng(seed).normal(size=dimension)
    return np.asarray(vector / np.linalg.norm(vector))


@pytest.fixture
def encoder() -> WordEncoder:
    return WordEncoder()


@pytest.fixture(scope="session")
def shared_encoder() -> WordEncoder:
    """The same for fixtures that outlive a test."""
    return WordEncoder()


@pytest.fixture
def texts() -> Callable[..., list[dict[str, Any]]]:
    """Makes rows of `text` and `label`: `texts(labels=3, each=20)`."""
    return make_texts


def make_texts(*, labels: int = 3, each: int = 20, seed: int = 0) -> list[dict[str, Any]]:
    """Texts of which two or three words tell the label."""
    random = np.random.default_rng(seed)
    rows = []
    for label in list(WORDS)[:labels]:
        for _ in range(each):
            words = [*random.choice(WORDS[label], 3), *random.choice(FILLER, 4)]
            rows.append({"text": " ".join(random.permutation(words)), "label": label})
    return rows


@pytest.fixture
def applicants() -> Callable[..., list[dict[str, Any]]]:
    """Makes rows with columns and a `default` of 0 or 1: `applicants(200)`."""
    return make_applicants


def make_applicants(n: int = 200, *, seed: int = 0) -> list[dict[str, Any]]:
    """Applicants whose default depends on income and home, and, through a note, on what they say."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        income, home, worried = (
            random.normal(30, 10),
            str(random.choice(["own", "rent", "none"])),
            random.random() < 0.5,
        )
        odds = -0.12 * (income - 30) + (1.2 if home == "none" else -0.6) + (1.5 if worried else -1.5)
        words = random.choice(["arrears", "overdue", "reminder"] if worried else ["savings", "salary", "bonus"], 2)
        rows.append(
            {
                "income": round(float(income), 1),
                "home": home,
                "age": int(random.integers(20, 70)),
                "note": " ".join([*words, *random.choice(FILLER, 3)]),
                "default": int(random.random() < 1 / (1 + np.exp(-odds))),
            }
        )
    return rows


CLAUSES = {
    "The tenant may keep pets.": (
        ["The tenant may keep a dog or a cat.", "Pets are welcome with the consent of the owner."],
        ["No pets of any kind may be kept.", "The tenant shall not keep animals in the flat."],
    ),
    "The tenant pays a deposit.": (
        ["A deposit of two rents is paid by the tenant.", "The tenant pays the deposit on the first day."],
        ["No deposit is due from the tenant.", "The owner waives every deposit."],
    ),
    "The lease renews by itself.": (
        ["The lease renews by itself every year.", "Without notice the lease goes on for another year."],
        ["The lease ends without renewal.", "There is no renewal of this lease."],
    ),
}
PLAIN = [
    "The flat has four rooms.",
    "The keys are handed over at noon.",
    "Rent is due on the first of the month.",
    "Smoke detectors are checked each year.",
    "The garden is shared by all.",
    "Waste is sorted by kind.",
]


@pytest.fixture
def leases() -> Callable[..., list[dict[str, Any]]]:
    """Makes rows of `text`, `hypothesis`, `label`, `evidence` and `document`: `leases(40)` has three a document."""
    return make_leases


def make_leases(documents: int = 40, *, seed: int = 0, evidence: bool = True) -> list[dict[str, Any]]:
    """Leases of which one clause, if any, decides a hypothesis."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(documents):
        stated = {hypothesis: int(random.integers(3)) for hypothesis in CLAUSES}
        quotes = {h: str(random.choice(CLAUSES[h][state])) for h, state in stated.items() if state < 2}
        heads = [f"Lease number {seed}-{number} of a flat.", *random.choice(PLAIN, 4, replace=False)]
        text = "\n".join(random.permutation([*heads, *quotes.values()]))
        for hypothesis, state in stated.items():
            row = {"text": text, "hypothesis": hypothesis, "label": ["yes", "no", "silent"][state]}
            quoted = [quotes[hypothesis]] if hypothesis in quotes else []
            rows.append({**row, "document": f"{seed}-{number}", **({"evidence": quoted} if evidence else {})})
    return rows


class Giant:
    """A large model behind a server: it knows which words belong to which label, and can be told to fail."""

    def __init__(self) -> None:
        self.server = FakeOpenAIServer(default=self.reply)
        self.fails_after: int | None = None
        """Requests after which it answers 500."""
        self.refuses_schemas = False
        self.answer: str | None = None
        """What it says of everything; None lets it think."""
        self.hangs = False

    @property
    def prompts(self) -> list[list[Mapping[str, str]]]:
        return [request.json["messages"] for request in self.server.requests]

    def reply(self, body: Mapping[str, Any]) -> ServerReply:
        if self.hangs:
            return ServerReply(hang=True)
        if self.fails_after is not None and len(self.server.requests) > self.fails_after:
            return ServerReply.refused(500, "out of order")
        if self.refuses_schemas and "response_format" in body:
            return ServerReply.refused(400, "response_format is not known")
        words = body["messages"][-1]["content"].split()
        label = max(WORDS, key=lambda name: sum(word in WORDS[name] for word in words))
        return ServerReply(text=self.answer or (json.dumps({"label": label}) if "response_format" in body else label))


@pytest.fixture
def giant() -> Iterator[Giant]:
    """A large model behind a server that runs in a thread of its own."""
    giant, loop, ready, done = Giant(), asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with giant.server:
            ready.set()
            await done.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    yield giant
    loop.call_soon_threadsafe(done.set)
    thread.join(10)
    loop.close()


@pytest.fixture
def network(tmp_path) -> Callable[..., Path]:
    """Writes a network's folder: `network({"triage": {"task": "classify"}}, triage=rows, triage_test=more_rows)`."""

    def build(specialists: Mapping[str, Mapping[str, object]], **data: Iterable[Mapping[str, object]]) -> Path:
        lines = []
        for name, section in specialists.items():
            files = {"data": f"{name}.jsonl"} | ({"test": f"{name}_test.jsonl"} if f"{name}_test" in data else {})
            lines.append(f"[specialists.{name}]")
            lines += [f"{key} = {_toml(value)}" for key, value in {**files, **section}.items()]
        (tmp_path / "coterie.toml").write_text("\n".join(lines) + "\n")
        for name, rows in data.items():
            (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return tmp_path

    return build


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)


@pytest.fixture
def trained(network, encoder) -> Callable[..., TrainingReport]:
    """Trains one specialist with the word encoder: `trained({"task": "classify"}, rows)`."""

    def run(section: Mapping[str, object], rows: Iterable[Mapping[str, object]], **more: Any) -> TrainingReport:
        data = {"it": rows} | ({"it_test": more.pop("test")} if "test" in more else {})
        return train(network({"it": section}, **data), encoder=encoder, **more)

    return run
