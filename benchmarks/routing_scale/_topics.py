"""A thousand real topics of public sets, each with questions that its specialist knows and some that it does not.

150 intents of CLINC150, 77 of BANKING77, the types of CUAD's clauses with enough of them, and focus areas of MedQuAD
(diseases, drugs), the best covered first.
"""

from __future__ import annotations

import gzip
import json
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from _data import find
from _routing import Rows, banking_rows, clause_rows, clinc_rows

MOST_KNOWN = 40  # examples of a topic
MOST_ASKED = 5  # held-out questions of a topic
FEWEST = 4  # questions of a topic, held-out ones included


@dataclass(frozen=True, kw_only=True)
class Topic:
    """One specialist."""

    name: str
    source: str
    known: Sequence[str]
    asked: Sequence[str]


def topics(count: int, seed: int, *, of: int) -> list[Topic]:
    """So many topics, from intents and clauses as many as their share of the largest number, `of`."""
    intents = [
        *_topics("clinc150", *clinc_rows(), seed),
        *_topics("banking77", *banking_rows(), seed),
        *_topics("cuad", *clause_rows(), seed),
    ]
    random.Random(seed).shuffle(intents)  # noqa: S311 - reproducible, not secret
    share = round(count * len(intents) / of)
    return [*intents[:share], *list(_areas(seed))[: count - share]]


def _topics(source: str, train: Rows, test: Rows, seed: int) -> Iterator[Topic]:
    random_ = random.Random(seed)  # noqa: S311 - reproducible, not secret
    train_texts, test_texts = _by_label(train), _by_label(test)
    for label in sorted(train_texts):
        if len(train_texts[label]) >= FEWEST and test_texts.get(label):
            yield Topic(
                name=f"{source} {label}",
                source=source,
                known=_drawn(train_texts[label], MOST_KNOWN, random_),
                asked=_drawn(test_texts[label], MOST_ASKED, random_),
            )


def _areas(seed: int) -> Iterator[Topic]:
    """Focus areas of MedQuAD, which has no split of its own: every fourth question is held out."""
    by_focus: dict[str, list[str]] = defaultdict(list)
    with gzip.open(find("medquad")[0], "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if row["focus"] and row["question"] not in by_focus[row["focus"]]:
                by_focus[row["focus"]].append(" ".join(row["question"].split()))
    random_ = random.Random(seed)  # noqa: S311 - reproducible, not secret
    for focus in sorted(by_focus, key=lambda name: (-len(by_focus[name]), name)):
        questions = list(dict.fromkeys(by_focus[focus]))
        if len(questions) >= FEWEST:
            random_.shuffle(questions)
            yield Topic(
                name=f"medquad {focus}",
                source="medquad",
                known=[question for i, question in enumerate(questions) if i % 4],
                asked=questions[::4][:MOST_ASKED],
            )


def _by_label(rows: Rows) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = defaultdict(list)
    for text, label in rows:
        texts[label].append(text)
    return texts


def _drawn(texts: Sequence[str], most: int, random_: random.Random) -> list[str]:
    return list(texts) if len(texts) <= most else random_.sample(list(texts), most)
