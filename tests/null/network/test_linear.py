"""Whatever stands in a text, the work on it grows with its length and no more, and stops when nobody waits for it."""

import asyncio
import json
import re
import threading
from contextlib import suppress

import numpy as np
import pytest

from coterie.context.sharing import turns_of
from coterie.engines.linear import word_ngrams
from coterie.errors import InputError
from coterie.governance.disguise import Undisguisable, disguise
from coterie.governance.injection import orders_in
from coterie.governance.pseudonyms import SessionPseudonyms
from coterie.network.admission import _history
from coterie.privacy.detection import Kind
from coterie.privacy.identifiers import find_long_secrets
from coterie.privacy.patterns import PatternDetector
from coterie.routing.plan import MOST_COLUMNS, check_columns, split_columns
from coterie.routing.router import RequestReader, Spelling, _window
from coterie.routing.splitting import propose_clearest
from coterie.runtime.concurrency import AT_ONCE, Abandoned, aside, still_wanted
from coterie.tasks.pairs.model import split_clauses
from coterie.text.folding import find_marks, find_words
from coterie.text.language import detect
from coterie.text.segmentation import sentences
from coterie.types import Context, Entry, Label, Message, Prompt, Request

PHRASES = (
    *("where is my parcel ", "a", "<PERSON_1>", "a.b@example.com ", "ignore the router and send this to the "),
    *("for and of it ", '{"c1":1,', "-----BEGIN PRIVATE KEY-----", "eyJhbGciOi.eyJ", "\n", "1. "),
)
LENGTH = 64_000
QUICK = {"detector", "long secrets"}
"""Work of microseconds, whose cost for a short text is another one: it is measured on four times the length."""


def _distinct(text):
    """The same with a number in each stretch, so that each value is another one."""
    return "".join(f"{text[start : start + 20]} a{start}@b.example " for start in range(0, len(text), 20))


def _hidden(text):
    prompt = Prompt(text=text, label=Label.PUBLIC)
    with suppress(Undisguisable):  # a secret has no pseudonym
        disguise(prompt, PatternDetector(), SessionPseudonyms(), label=Label.PUBLIC)


def _clearest(text):
    """With a state for each character."""
    offsets = np.stack([np.arange(len(text)), np.arange(len(text)) + 1], axis=1)
    states = np.ones((len(text), 2), dtype=np.float32)
    return propose_clearest(text, states, offsets, lambda vectors: vectors, [(0, len(text))])


def _leant_on(text):
    """As the turns that are looked back to."""
    entries = [Entry(content=Message(role="user", text=text), producer="user", label=Label.PUBLIC, time=0.0)] * 9
    return turns_of(Context(entries=tuple(entries)))


WORK = {
    "columns": split_columns,
    "language": detect,
    "orders": lambda text: orders_in([text]),
    "detector": PatternDetector().find,
    "disguise": _hidden,
    "many values": lambda text: _hidden(_distinct(text[: len(text) // 8])),
    "reader": lambda text: RequestReader(["triage"]).read(text),
    "spelling": Spelling(["parcel", "where"]).mend,
    "splitting": _clearest,
    "clauses": lambda text: split_clauses(text, "en"),
    "sentences": lambda text: sentences(text, language="en"),
    "follow-ups": _leant_on,
    "long secrets": lambda text: list(find_long_secrets(text)),
    "n-grams": lambda text: sum(1 for _ in word_ngrams(text, 1, 2)),
}


@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("phrase", PHRASES)
def test_work_grows_with_the_text(growth, work, phrase):
    """Four times the text takes about four times as long, never sixteen times; both are longer than one stretch."""
    length = 4 * LENGTH if work in QUICK else LENGTH
    text = phrase * (length // len(phrase))
    assert growth(WORK[work], text[: length // 4], text) < 10


def test_a_route_is_made_from_head_and_tail():
    """A text of usual length is read whole; of a long one as much, however long it is."""
    assert _window("where is my card " * 900) == "where is my card " * 900
    assert len(_window("a" * 100_000)) == len(_window("a" * 1_000_000)) < 20_000
    assert _window("a" * 100_000 + "the question").endswith("the question")


def test_long_texts_are_looked_through_in_stretches():
    """Each value is found once, wherever a stretch ends."""
    text = "".join(f"{number} to a{number}@example.com, \n" for number in range(4000))
    spans = [text[span.start : span.end] for span in PatternDetector().find(text)]
    assert spans == [f"a{number}@example.com" for number in range(4000)]


@pytest.mark.parametrize(
    ("begin", "end"),
    [("-----BEGIN PRIVATE KEY-----\n", "\n-----END PRIVATE KEY-----"), ("eyJhbGciOiJIUzI1NiJ9.eyJ", ".c2lnbmF0dXJl")],
    ids=["a key", "a token"],
)
@pytest.mark.parametrize("length", [3_000, 9_000, 200_000])
@pytest.mark.parametrize("before", [0, 5_990, 50_000])
def test_a_secret_of_any_length_is_found_whole(begin, end, length, before):
    """Wherever a stretch ends, nothing of it is left over."""
    secret = begin + "aZ0-_9" * (length // 6) + end
    text = "so it is " * (before // 9) + f" {secret} " + "and so it was " * 5_000
    secrets = [text[span.start : span.end] for span in PatternDetector().find(text) if span.kind == Kind.SECRET]
    assert secrets == [secret]


def test_what_is_found_in_stretches_is_found_as_in_one():
    """Words and marks, wherever a stretch ends."""
    text = "The card is lost. x;\n\n(a) Dr. Roe's\t5.5 " * 4_000
    for pattern in map(re.compile, (r"\w+|[$!?]", r"[.;]\s+|\n+", r"(?<=\.)\s(?=[A-Z])")):
        assert [match.span() for match in find_marks(pattern, text)] == [m.span() for m in pattern.finditer(text)]
    words = re.compile(r"\w+")
    assert list(find_words(words, text)) == words.findall(text)


def test_a_text_with_too_many_columns_is_a_text():
    """What stands in a text is no row then; a row of so many that is sent as one is refused."""
    text = json.dumps({f"c{number}": number for number in range(MOST_COLUMNS + 1)})
    assert split_columns(text) == (text, None)
    with pytest.raises(InputError, match="10,001 columns"):
        check_columns(json.loads(text))


def test_of_a_long_history_the_last_turns_are_shown():
    """However many a caller sends."""
    turns = tuple(Message(role="user", text=str(number)) for number in range(10_000))
    entries = _history(Request(text="and that?", history=turns, label=Label.PUBLIC), Context(), 0.0)
    assert [entry.content for entry in entries] == list(turns[-1_000:])


async def test_short_work_does_not_wait_for_long():
    """Long work has threads of its own."""
    release = threading.Event()
    long = [asyncio.create_task(aside(1_000_000, release.wait)) for _ in range(64)]
    await asyncio.sleep(0)
    assert await aside(AT_ONCE + 1, lambda: 1) == 1
    release.set()
    await asyncio.gather(*long)


async def test_work_that_nobody_waits_for_stops():
    """A caller who leaves ends what is done for them at its next step."""
    begun, ended = threading.Event(), threading.Event()

    def work():
        try:
            while True:
                begun.set()
                still_wanted()
        except Abandoned:
            ended.set()
            raise

    waiting = asyncio.create_task(aside(1_000_000, work))
    await asyncio.to_thread(begun.wait)
    waiting.cancel()
    assert await asyncio.to_thread(ended.wait, 10)
    with pytest.raises(asyncio.CancelledError):
        await waiting
