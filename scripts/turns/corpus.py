"""What the turn models are trained on: single requests, courtesies, and conversations.

Every set is public with a licence that permits it (`SETS`, NOTICE); no test row of a benchmark of this repository is
read. The courtesies are in `templates.json`, in seven languages; `conversations` were written for this.
"""

from __future__ import annotations

import csv
import gzip
import json
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conversations import Conversation, conversations

SETS = (
    "banking77/train.csv",
    "clinc150/data_full.json",
    "clinc150/domains.json",
    "reading/compound/mixsnips_clean/mixsnips.jsonl.gz",
    "reading/compound/wikisplit/wikisplit.jsonl.gz",
    "reading/intents/xsid/xsid.jsonl.gz",
    "reading/chat/sgd_slice/sgd.jsonl.gz",
    "reading/chat/bcontrast_de_en/bcontrast.jsonl.gz",
    "reading/chat/xpersona/xpersona.jsonl.gz",
    "reading/chat/gecor_camrest/gecor.jsonl.gz",
    "reading/chat/canard_dev/canard_dev.jsonl.gz",
    "reading/chat/followup/followup.jsonl.gz",
    "reading/smalltalk/smalltalk_intents/smalltalk_intents.jsonl.gz",
    "reading/smalltalk/chatterbot_multi/chatterbot.jsonl.gz",
    "reading/qa/clapnq_train_questions/q.jsonl.gz",
    "reading/qa/squad_train_slice/squad_train_slice.jsonl.gz",
    "reading/qa/boolq_dev/boolq_dev.jsonl.gz",
    "reading/qa/mlqa_dev/mlqa_dev.jsonl.gz",
)
_SNIPS, _WIKISPLIT, _XSID, _SGD, _BCONTRAST, _XPERSONA, _GECOR, _CANARD, _FOLLOWUP, _INTENTS, _CHATTERBOT = SETS[3:14]
_CLAPNQ, _SQUAD, _BOOLQ, _MLQA = SETS[14:]

_TEMPLATES = json.loads(Path(__file__).with_name("templates.json").read_text(encoding="utf-8"))
BEFORE: Mapping[str, Sequence[str]] = _TEMPLATES["before"]
BEHIND: Mapping[str, Sequence[str]] = _TEMPLATES["behind"]
LANGUAGES = tuple(BEFORE)
TALK_DOMAIN = "small_talk"
_META_TALK = frozenset({"cancel", "maybe", "no", "yes", "repeat", "whisper_mode"})
_NOT_NEW = frozenset({"AFFIRM", "NEGATE", "SELECT"})
_COURTEOUS = frozenset({"THANK_YOU", "GOODBYE", "NEGATE", "AFFIRM"})
_ENDING = frozenset({"THANK_YOU", "GOODBYE"})
_GOING_ON = frozenset({"REQUEST", "INFORM", "REQUEST_ALTS"})
_FOLLOW_UPS = 500
"""Of each source, among the requests that are no small talk."""
_OTHERS = 3
"""Other conversations that a conversation's first turn is put behind."""
_DRAWN_AGAIN = (77, 78)
"""Seeds of further draws of requests that stand alone: most turns of a help desk do."""


@dataclass(kw_only=True)
class Single:
    """One request as somebody wrote it."""

    text: str
    language: str
    source: str
    kind: str
    """Two with the same kind are about the same thing."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A turn of a conversation, and what was asked before it."""

    before: tuple[str, ...]
    """Questions of the same person, oldest first."""
    text: str
    leans: bool
    language: str
    source: str
    rewrite: str = field(default="")
    group: str = field(default="")
    """Turns of one group are held out together; none is a group of its own."""


def read(folder: Path, name: str) -> list[Any]:
    """The rows of a JSON lines file."""
    with gzip.open(folder / name, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


# --- Single requests. Each reader yields (text, language, source, what it is about).

Written = Iterator[tuple[str, str, str, str]]


def _banking(folder: Path) -> Written:
    with (folder / "banking77/train.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield row["text"], "en", "banking77", row["category"]


def _clinc(folder: Path) -> Written:
    domains, rows = clinc(folder)
    apart = set(domains[TALK_DOMAIN]) | set(domains["meta"])
    yield from ((text, "en", "clinc150", label) for text, label in rows if label not in apart)


def clinc(folder: Path) -> tuple[dict[str, list[str]], list[tuple[str, str]]]:
    """Intents by domain, and the training rows."""
    domains = json.loads((folder / "clinc150/domains.json").read_text(encoding="utf-8"))
    return domains, json.loads((folder / "clinc150/data_full.json").read_text(encoding="utf-8"))["train"]


def _snips(folder: Path) -> Written:
    for row in read(folder, _SNIPS):
        if row["split"] == "train" and len(row["intents"]) == 1:
            yield row["text"], "en", "snips", row["intents"][0]


def _xsid(folder: Path) -> Written:
    for row in read(folder, _XSID):
        if row["lang"] in LANGUAGES and row["split"] == "valid":
            yield row["text"], row["lang"], "xsid", row["intent"]


def _sgd(folder: Path) -> Written:
    for number, row in enumerate(read(folder, _SGD)):
        for who, text, acts, *_ in row["turns"]:
            if who == "U" and "INFORM_INTENT" in acts:
                yield text, "en", "sgd", str(number)


def _questions(folder: Path) -> Written:
    yield from ((row["q"], "en", "clapnq", row["id"]) for row in read(folder, _CLAPNQ))
    yield from ((row["q"], "en", "boolq", row["title"]) for row in read(folder, _BOOLQ))
    yield from (
        (question["q"], "en", "squad", row["title"]) for row in read(folder, _SQUAD) for question in row["qas"][:3]
    )


def _mlqa(folder: Path) -> Written:
    for row in read(folder, _MLQA):
        for entry in row["qas"]:
            for language, question in entry["q"].items():
                if language in {"de", "es"}:
                    yield question, language, "mlqa", row["title"]


def _bcontrast(folder: Path) -> Written:
    for row in read(folder, _BCONTRAST):
        first = next((turn for turn in row["turns"] if turn[0] == "c" and len(turn[1].split()) > 5), None)
        if first is not None:
            yield first[1], "de", "bcontrast", row["id"]
            yield first[2], "en", "bcontrast", row["id"]


def _wikisplit(folder: Path) -> Written:
    for row in read(folder, _WIKISPLIT)[:3000]:
        yield " ".join(row["parts"]), "en", "wikisplit", row["text"][:20]
        yield row["text"], "en", "wikisplit", row["text"][:20]


def singles(folder: Path) -> list[Single]:
    """Requests for one thing, and statements."""
    made: list[Single] = []
    for reader in (_banking, _clinc, _snips, _xsid, _sgd, _questions, _mlqa, _bcontrast, _wikisplit):
        for written, language, source, kind in reader(folder):
            text = re.sub(r"\s+([?.!,])", r"\1", " ".join(written.split()))
            if 3 <= len(text.split()) <= 60 and len(text) <= 400:
                made.append(Single(text=text, language=language, source=source, kind=f"{source}/{kind}"))
    return made


def _drawn(sources: Mapping[str, Sequence[Single]], rng: random.Random) -> Single:
    return rng.choice(sources[rng.choice(list(sources))])


def _cased(text: str, rng: random.Random) -> str:
    return text.lower() if rng.random() < 0.3 else text


# --- Small talk.


def talk(folder: Path, languages: Sequence[str], seed: int) -> list[tuple[str, bool, str]]:
    """(text, whether it is small talk, source): greetings, thanks and chat, and requests."""
    rng = random.Random(seed)  # noqa: S311 - reproducible, not secret
    rows = [(text, True, source) for text, source in _chat(folder, languages, rng)]
    for language in languages:
        rows += [(text, True, "templates") for text in _courtesies(language, rng)]
    requests = [single for single in singles(folder) if single.language in languages and single.source != "wikisplit"]
    rng.shuffle(requests)
    rows += [(request.text, False, request.source) for request in requests[:6000]]
    return [*rows, *_follow_ups(folder, languages, seed, {bare(text) for text, small, _ in rows if small})]


def _follow_ups(
    folder: Path, languages: Sequence[str], seed: int, courtesies: set[str]
) -> Iterator[tuple[str, bool, str]]:
    """Turns that lean on an earlier one, which are short as small talk is, and none: so many of each source.

    Short answers of the German set's customers are courtesies too often.
    """
    rng = random.Random(seed + 1)  # noqa: S311 - reproducible, not secret
    by_source: dict[str, list[str]] = {}
    for turn in turns(folder, languages, seed):
        if turn.leans and turn.source != "bcontrast" and bare(turn.text) not in courtesies:
            by_source.setdefault(turn.source, []).append(turn.text)
    for texts in by_source.values():
        rng.shuffle(texts)
    for source, texts in by_source.items():
        yield from ((text, False, f"{source}-leans") for text in texts[:_FOLLOW_UPS])


def _chat(folder: Path, languages: Sequence[str], rng: random.Random) -> Iterator[tuple[str, str]]:
    yield from ((row["text"], "smalltalk_intents") for row in read(folder, _INTENTS))
    for row in read(folder, _CHATTERBOT):
        if row["lang"] in languages:
            yield from ((text, "chatterbot") for text in row["turns"][:1] if len(text) < 120)
    for row in read(folder, _XPERSONA):
        if row["lang"] in languages and row["split"] != "test":
            yield row["turns"][0][0], "xpersona"
            yield rng.choice(row["turns"])[0], "xpersona"
    domains, rows = clinc(folder)
    chat = set(domains[TALK_DOMAIN]) | (_META_TALK & set(domains["meta"]))
    yield from ((text, "clinc150") for text, label in rows if label in chat)
    for row in read(folder, _SGD):
        for who, text, acts, *_ in row["turns"]:
            if who == "U" and acts and set(acts) <= _COURTEOUS:
                yield text, "sgd"


def _courtesies(language: str, rng: random.Random) -> Iterator[str]:
    for phrase in (*BEFORE[language], *BEHIND[language]):
        yield from dict.fromkeys((phrase, phrase.lower(), phrase + "!", phrase + "."))
    for _ in range(150):
        pair = [rng.choice(BEFORE[language]), rng.choice(BEHIND[language]), rng.choice(BEHIND[language])]
        rng.shuffle(pair)
        yield _cased(rng.choice((", ", ". ", " ", "! ")).join(pair[:2]), rng)


# --- Conversations.


def bare(text: str) -> str:
    """A text without case and marks."""
    return re.sub(r"\W+", " ", text.lower()).strip()


def turns(folder: Path, languages: Sequence[str], seed: int) -> list[Turn]:
    """Turns that lean on earlier questions and turns that stand alone beside them, of the same subject or another."""
    rng = random.Random(seed)  # noqa: S311 - reproducible, not secret
    rows = [*_of_canard(folder, rng), *_of_gecor(folder), *_of_followup(folder), *_of_sgd(folder)]
    rows += [turn for turn in _of_conversations(rng) if turn.language in languages]
    if "de" in languages:
        rows += _of_bcontrast(folder)
    alone = singles(folder)
    for draws in (rng, *map(random.Random, _DRAWN_AGAIN)):
        rows += _beside(alone, languages, draws)
    return [turn for turn in rows if turn.before and turn.text.strip()]


def _turn(
    before: Iterable[str],
    text: str,
    source: str,
    *,
    leans: bool,
    rewrite: str = "",
    language: str = "en",
    group: str = "",
) -> Turn:
    return Turn(
        before=tuple(before), text=text, leans=leans, language=language, source=source, rewrite=rewrite, group=group
    )


def _of_canard(folder: Path, rng: random.Random) -> Iterator[Turn]:
    for row in read(folder, _CANARD):
        before, rewrite = row["history"][2::2], row["rewrite"]
        if before:
            yield _turn(before, row["q"], "canard", leans=bare(row["q"]) != bare(rewrite), rewrite=rewrite)
            if rng.random() < 0.5:
                yield _turn(before, rewrite, "canard-rewritten", leans=False)


def _of_gecor(folder: Path) -> Iterator[Turn]:
    for row in read(folder, _GECOR):
        earlier: list[str] = []
        for turn in row["turns"]:
            whole = turn["complete"]
            for form in (turn["ellipsis"], turn["coref"]):
                if form and whole and bare(form) != bare(whole):
                    yield _turn(earlier, form, "gecor", leans=True, rewrite=whole)
            if whole:
                yield _turn(earlier, whole, "gecor-complete", leans=False)
                earlier = [*earlier, whole]


def _of_followup(folder: Path) -> Iterator[Turn]:
    for row in read(folder, _FOLLOWUP):
        yield _turn([row["before"]], row["followup"], "followup", leans=True, rewrite=row["rewrite"])
        yield _turn([row["before"]], row["rewrite"], "followup-rewritten", leans=False)


def _of_sgd(folder: Path) -> Iterator[Turn]:
    for row in read(folder, _SGD):
        earlier: list[str] = []
        for who, text, acts, *_ in row["turns"]:
            if who != "U":
                continue
            if "INFORM_INTENT" in acts:
                if earlier and not _NOT_NEW & set(acts):
                    yield _turn(earlier, text, "sgd-new", leans=False)
                earlier = [*earlier, text]
            elif _GOING_ON & set(acts) and not _ENDING & set(acts):
                yield _turn(earlier, text, "sgd", leans=True)


def _of_conversations(rng: random.Random) -> Iterator[Turn]:
    """Turns as they were written, and first turns after turns of other conversations.

    Without the latter any general question would lean: in the conversations one that does not name its subject does.
    """
    written = list(conversations())
    by_language: dict[str, list[Conversation]] = {}
    for conversation in written:
        by_language.setdefault(conversation.language, []).append(conversation)
    for language, topic, said in written:
        for other in rng.sample(by_language[language], _OTHERS):
            if other.topic != topic:
                before = [turn.text for turn in other.turns[: rng.randrange(len(other.turns)) + 1]]
                yield _turn(before, said[0].text, "written-other", leans=False, language=language, group=topic)
    for language, topic, said in written:
        earlier: list[str] = []
        for text, rewrite in said:
            own = {"language": language, "group": topic}
            if rewrite:
                yield _turn(earlier, text, "written", leans=True, rewrite=rewrite, **own)
                if rng.random() < 0.5:
                    yield _turn(earlier, rewrite, "written-rewritten", leans=False, **own)
            else:
                yield _turn(earlier, text, "written-alone", leans=False, **own)
            earlier.append(text)


def _of_bcontrast(folder: Path) -> Iterator[Turn]:
    for row in read(folder, _BCONTRAST):
        texts = [turn[1] for turn in row["turns"] if turn[0] == "c"]
        long = next((at for at, text in enumerate(texts) if len(text.split()) > 6), None)
        if long is not None:
            short = (text for text in texts[long + 1 :] if 1 < len(text.split()) <= 6)
            yield from (_turn([texts[long]], text, "bcontrast", leans=True, language="de") for text in short)


def _beside(alone: Sequence[Single], languages: Sequence[str], rng: random.Random) -> Iterator[Turn]:
    """Requests that stand alone, each after another one."""
    by_language: dict[str, list[Single]] = {}
    for single in alone:
        if single.language in languages and single.source != "wikisplit":
            by_language.setdefault(single.language, []).append(single)
    for language, some in by_language.items():
        by_source: dict[str, list[Single]] = {}
        for single in some:
            by_source.setdefault(single.source, []).append(single)
        for _ in range(5000 if language == "en" else 700):
            text = _drawn(by_source, rng)
            other = rng.choice(by_source[text.source]) if rng.random() < 0.6 else rng.choice(some)
            if other.text != text.text:
                yield _turn([other.text], text.text, f"{text.source}-alone", leans=False, language=language)
