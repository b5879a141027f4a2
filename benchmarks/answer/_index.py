"""An index of documents with questions about them, made by the commands that a user types.

A folder has `documents/` and `questions.json`: a list of `{"document", "question", "answer"}`, where `answer` is words
that the quote must have, all of them, or null where no document says it.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _pages import Page

from coterie.config.file import load_config
from coterie.engines.onnx import OnnxEncoder
from coterie.knowledge.open import open_index
from coterie.learning.dataset import Row
from coterie.tasks.answer.features import Sentence
from coterie.tasks.answer.fit_scoring import AnswerCorpus, AnsweredQuestion
from coterie.tasks.answer.reader import survey
from coterie.types import Label

INDEX, SPECIALIST = "pages", "ask"
_ABOUT = "Questions about opening hours, prices, rules and terms."
_FEWEST = 20
"""Characters of a part of an answer that counts as the answer."""


class Question(NamedTuple):
    """What is asked, and the words that answer it."""

    document: str
    text: str
    answer: tuple[str, ...] | None
    """None where no document says it."""

    def answered_by(self, document: str, quote: str) -> bool:
        """Whether a quote answers it."""
        if self.answer is None or not document.endswith(self.document):
            return False
        flat_quote = _flat(quote)
        whole = _flat(" ".join(self.answer))
        return all(_flat(part) in flat_quote for part in self.answer) or (
            len(flat_quote) >= _FEWEST and flat_quote in whole
        )


class QuestionedDocuments(NamedTuple):
    """Documents by name, and what is asked about them."""

    documents: Mapping[str, bytes]
    asked: Sequence[Question]


def read_index(folder: Path) -> QuestionedDocuments:
    """The documents of a folder with their questions."""
    stored = json.loads((folder / "questions.json").read_text(encoding="utf-8"))
    return QuestionedDocuments(
        documents={path.name: path.read_bytes() for path in sorted((folder / "documents").iterdir())},
        asked=[
            Question(row["document"], row["question"], None if row["answer"] is None else tuple(row["answer"]))
            for row in stored
        ],
    )


def of_pages(pages: Sequence[Page]) -> QuestionedDocuments:
    """Pages with their questions as an index."""
    return QuestionedDocuments(
        documents={page.name: page.text.encode() for page in pages},
        asked=[
            Question(page.name, question, None if answer is None else (answer,))
            for page in pages
            for question, answer in page.asked
        ],
    )


def make_network(folder: Path, documents: Mapping[str, bytes], *, train: bool = True) -> Path:
    """The folder of a network with one index, by the commands of the README."""
    network, document_folder = folder / "network", folder / "documents"
    document_folder.mkdir(parents=True)
    for name, content in documents.items():
        (document_folder / name).write_bytes(content)
    adding = ["add", SPECIALIST, "--task", "answer", "--knowledge", INDEX, "--description", _ABOUT]
    at = ["-C", str(network)]
    for words in (
        ["init", str(network)],
        [*at, "index", INDEX, str(document_folder)],
        [*at, *adding],
        [*at, "train"][: 3 * train],
    ):
        if words:
            subprocess.run([sys.executable, "-m", "coterie", *words], check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    return network


def gather_index(index: QuestionedDocuments, k: int, group: str) -> AnswerCorpus:
    """What the indexed index has for each question, at most `k` passages."""
    corpus = AnswerCorpus()
    encoder = OnnxEncoder.bundled(threads=2)
    with tempfile.TemporaryDirectory() as name:
        network = make_network(Path(name), index.documents, train=False)
        config = load_config(network)
        opened = open_index(INDEX, config.knowledge[INDEX], network, network=config.network.name, encoder=encoder)

        async def every() -> None:
            for question in index.asked:
                passages = await opened.search(question.text, k=k, clearance=Label.RESTRICTED)
                seen = survey(question.text, list(passages))
                if seen.sentences:
                    corpus.asked.append(_asked(corpus, question, seen.words, seen.sentences, group))
            await opened.close()
            await encoder.close()

        asyncio.run(every())
    return corpus


def _asked(
    corpus: AnswerCorpus, question: Question, words: np.ndarray, sentences: Sequence[Sentence], group: str
) -> AnsweredQuestion:
    row = Row(
        text=question.text, evidence=() if question.answer is None else ((0, 1),), group=f"{group} {question.document}"
    )
    return AnsweredQuestion(
        row=row,
        words=words.astype(np.float32),
        ranks=tuple(sentence.rank for sentence in sentences),
        texts=np.array([corpus.texts.setdefault(sentence.said, len(corpus.texts)) for sentence in sentences]),
        starts=np.array([sentence.start for sentence in sentences]),
        answers=np.array(
            [question.answered_by(sentence.passage.document, sentence.text) for sentence in sentences], dtype=bool
        ),
    )


def _flat(text: str) -> str:
    return " ".join(text.split()).casefold()
