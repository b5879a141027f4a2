"""The questions of an `answer` job with the sentences that were found for them: what its scorers are fitted on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from coterie.answering import LEXICAL, likely_rows, survey
from coterie.data import TOPIC, Row
from coterie.evaluation import LookUp, holds_answer
from coterie.specialists import passages_of
from coterie.types import Label, Task

Floats = np.ndarray

_AT_LEAST = 20
"""Rows between two reports of progress."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """One question and what was found for it."""

    row: Row
    words: Floats  # (S, len(LEXICAL))
    ranks: tuple[int, ...]
    texts: np.ndarray  # (S,) int, positions in `Corpus.texts`
    starts: np.ndarray  # (S,) int, where each begins in its document
    answers: np.ndarray  # (S,) bool

    @property
    def stated(self) -> bool:
        """Whether the documents answer it, found or not."""
        return bool(self.row.labels or self.row.evidence)

    def take(self, rows: Floats) -> Asked:
        """The same with some of the sentences, by their places (K,)."""
        ranks = tuple(self.ranks[row] for row in rows)
        return replace(
            self,
            words=self.words[rows],
            ranks=ranks,
            texts=self.texts[rows],
            starts=self.starts[rows],
            answers=self.answers[rows],
        )

    @property
    def columns(self) -> dict[str, Floats]:
        """The features from words by name, (S,) each."""
        return dict(zip(LEXICAL, self.words.T, strict=True))


@dataclass(kw_only=True, eq=False)
class AnswerCorpus:
    """Questions; each text of a sentence is held once."""

    asked: list[Asked] = field(default_factory=list)
    texts: dict[str, int] = field(default_factory=dict)
    vectors: Floats | None = None  # (U, D)
    questions: Mapping[str, Floats] = field(default_factory=dict)
    """Encodings (D,) of the questions, by their text."""

    @property
    def topics(self) -> list[str]:
        """What each question asks: its topic, where the data say, else its own words."""
        return [str(each.row.columns.get(TOPIC) or " ".join(each.row.text.casefold().split())) for each in self.asked]

    def groups(self) -> list[object]:
        """Questions of one group are not independent."""
        return [each.row.group or each.row.text for each in self.asked]

    def narrowed(self) -> AnswerCorpus:
        """The same with the sentences that a reader without experts looks at."""
        return replace(self, asked=[each.take(likely_rows(each.words)) for each in self.asked])

    def encode(self, encode: Callable[[Sequence[str]], Floats]) -> None:
        """Encode every sentence and question once."""
        texts = list(self.texts)
        self.vectors = encode(texts)
        asked = list(dict.fromkeys(each.row.text for each in self.asked))
        self.questions = dict(zip(asked, encode(asked), strict=True))


async def gather_corpus(
    rows: Sequence[Row], look_up: LookUp, *, label: Label, advance: Callable[[int], None]
) -> AnswerCorpus:
    """Look every question up and cut what was found. Questions for which nothing was found are left out."""
    corpus = AnswerCorpus()
    for number, row in enumerate(rows, start=1):
        task = Task(text=row.text, columns=row.columns or None, label=label, clearance=label)
        passages = passages_of(await look_up(task), task)
        seen = survey(row.text, passages)
        if number % _AT_LEAST == 0:
            advance(_AT_LEAST)
        if not seen.sentences:
            continue
        corpus.asked.append(
            Asked(
                row=row,
                words=seen.words.astype(np.float32),
                ranks=tuple(seen.ranks),
                texts=np.array([corpus.texts.setdefault(text, len(corpus.texts)) for text in seen.texts]),
                starts=seen.starts,
                answers=np.array(
                    [
                        holds_answer(row, each.passage.document, each.start, each.end, each.text)
                        for each in seen.sentences
                    ],
                    dtype=bool,
                ),
            )
        )
    return corpus
