"""Make the lender example's pairs of message and reply, which its `reply` specialist can be tuned on.

Messages are BANKING77's training messages (CC BY 4.0), six an intent; a reply is a courtesy and those sentences of the
intent's help text that answer the message, word by word as they are there: the first two, and of the others those that
share a word with the message that few help texts have. So whoever is tuned on them learns to leave out what was not
asked, and nothing to say that the help text does not. It needs only the standard library; the same files give the
same bytes.

    python scripts/lender_replies.py
"""

from __future__ import annotations

import csv
import json
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

DATA = Path(__file__).resolve().parents[1] / "examples" / "lender" / "data"
SEED, AN_INTENT = 77, 6
LONGEST = 160  # characters of a message: longer ones tell two stories
COMMON = 0.3  # share of help texts from which a word says nothing about one of them
ALWAYS = 2  # sentences of the help text that every reply has
COURTESIES = ("Thank you for your message.", "Thank you for your question.", "Thank you for getting in touch.")
POINTS_BACK = re.compile(r"(?:\w+ ){0,2}(?:it|they|them|then|that|this|these|those|there)\b", re.I)
SORRY = "We are sorry for the trouble."
TROUBLE = re.compile(
    r"\b(?:not|n't|never|wrong|fail\w*|declin\w*|stolen|lost|missing|problem|broken|twice|why)\b", re.I
)


def read_help() -> dict[str, list[str]]:
    """The sentences of each intent's help text."""
    with (DATA / "help.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return {row["intent"]: re.split(r"(?<=[.!?]) (?=[A-Z])", row["text"]) for row in rows}


def read_messages() -> dict[str, list[str]]:
    """The training messages of each intent, in one line each."""
    by_label: dict[str, list[str]] = {}
    with (DATA / "triage.train.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            text = " ".join(row["text"].split())
            if len(text) <= LONGEST:
                by_label.setdefault(row["label"], []).append(text)
    return by_label


def stems(text: str) -> set[str]:
    """Its words of four letters and more, without their endings."""
    return {word[:5] for word in re.findall(r"[a-z]{4,}", text.lower())}


def reply(message: str, sentences: Sequence[str], commonness: Mapping[str, float], draw: random.Random) -> str:
    """A courtesy and what answers the message."""
    wanted = {stem for stem in stems(message) if commonness.get(stem, 0.0) <= COMMON}
    chosen = {position for position, sentence in enumerate(sentences) if position < ALWAYS or stems(sentence) & wanted}
    for index in range(len(sentences) - 1, 0, -1):
        if index in chosen and POINTS_BACK.match(sentences[index]):  # it is nothing without the sentence before it
            chosen.add(index - 1)
    courtesy = SORRY if TROUBLE.search(message) else draw.choice(COURTESIES)
    return " ".join([courtesy, *(sentences[number] for number in sorted(chosen))])


def pairs() -> list[dict[str, str]]:
    """Every pair, by intent."""
    draw, texts, messages = random.Random(SEED), read_help(), read_messages()  # noqa: S311 - a sample, not a secret
    counts = Counter(stem for sentences in texts.values() for stem in stems(" ".join(sentences)))
    commonness = {stem: count / len(texts) for stem, count in counts.items()}
    return [
        {"text": message, "intent": intent, "reply": reply(message, texts[intent], commonness, draw)}
        for intent in sorted(texts)
        for message in draw.sample(messages[intent], AN_INTENT)
    ]


def main() -> None:
    """Write the file."""
    rows = pairs()
    with (DATA / "reply.pairs.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} pairs")


if __name__ == "__main__":
    main()
