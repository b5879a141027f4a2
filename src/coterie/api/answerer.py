"""`Answerer`: answer questions from documents, with citations."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self, Unpack, overload

from coterie.api.inputs import Values, check_lengths, read_column, read_texts
from coterie.api.options import FitOptions
from coterie.api.predictions import Prediction
from coterie.api.specialists import FittedSpecialist
from coterie.api.workspace import DOCUMENTS
from coterie.errors import InputError
from coterie.knowledge.documents import DocumentIndex
from coterie.knowledge.open import open_declared
from coterie.learning.dataset import Row
from coterie.learning.evaluate import LookUp
from coterie.learning.evaluation import Evaluation
from coterie.tasks.answer.metrics import look_up_with
from coterie.tasks.answer.rows import ANSWER, DOCUMENT, QUESTION


class Answerer(FittedSpecialist):
    """Answers from documents in their own words, or says that they do not answer the question.

    >>> from coterie import Answerer
    >>> answerer = Answerer.fit({"leave.md": "Every employee has 28 days of paid leave a year."})
    >>> answer = answerer.ask("How many days of paid leave do I have?")
    >>> answer.citations[0].document
    'documents/answerer/leave.md'
    """

    task = "answer"
    usual_name = "answerer"

    @classmethod
    def fit(
        cls,
        documents: Path | str | Mapping[str, str] | Values,
        questions: Values | None = None,
        answers: Values | None = None,
        **options: Unpack[FitOptions],
    ) -> Self:
        """Index documents and calibrate answers on questions, where there are any.

        Args:
            documents: A file or folder (PDF, DOCX, XLSX, PPTX, HTML, Markdown, text, CSV), which must stay where it is;
                or texts, by file name or as a list.
            questions: Questions that are asked of the documents. It works without any, by what comes with Coterie.
            answers: The words of a document that answer each question, several as a list; None where the documents do
                not say.
            options: See `FitOptions`.

        Raises:
            InputError: there are no documents that can be read.
            DataError: the questions do not fit.
        """
        name = options.get("name", cls.usual_name)
        table: dict[str, Any]
        texts: Mapping[str, str] = {}
        if isinstance(documents, str | Path):
            path = Path(documents).resolve()
            if not path.exists():
                raise InputError(f"There are no documents at {str(path)!r}.", hint="Give a folder, a file or texts.")
            table = {"paths": [str(path)]}
        else:
            place = DOCUMENTS.format(name=name)
            table = {"paths": [place]}
            texts = {f"{place}/{_safe(file)}": text for file, text in _named(documents).items()}
        rows = [] if questions is None else _rows(questions, answers or ())
        tables = {("knowledge", name): table}
        return cls._fit(options, {"knowledge": [name]}, rows, tables=tables, documents=texts)

    def ask(self, question: str, *, document: str | None = None) -> Prediction:
        """Answer a question, from one of the documents if it is named."""
        columns = {} if document is None else {DOCUMENT: document}
        return self._predict([Row(text=question, columns=columns)])[0]

    @overload
    def predict(self, questions: str) -> Prediction: ...  # type: ignore[overload-overlap]
    @overload
    def predict(self, questions: Values) -> list[Prediction]: ...
    def predict(self, questions: str | Values) -> Prediction | list[Prediction]:
        """Answer each question; of a single one one prediction."""
        if isinstance(questions, str):
            return self.ask(questions)
        return self._predict([Row(text=text) for text in read_texts(questions, "questions")])

    def evaluate(self, questions: Values, answers: Values) -> Evaluation:
        """Measure it on questions it has not seen: right citations, and silence where the documents do not say."""
        return self._evaluate(_rows(questions, answers))

    @property
    def _look_up(self) -> LookUp | None:
        return look_up_with(self._indexes, self._specialist.card)

    @cached_property
    def _indexes(self) -> dict[str, DocumentIndex]:
        stored = self._stored
        return {
            name: open_declared(name, stored.config, stored.folder, encoder=stored.encoder)
            for name in stored.section.knowledge
        }


def _named(documents: Mapping[str, str] | Values) -> dict[str, str]:
    """Texts by file name; those of a list are numbered."""
    if isinstance(documents, Mapping):
        names = [str(name) for name in documents]
        return dict(zip(names, read_texts(list(documents.values()), "documents", filled=True), strict=True))
    texts = read_texts(documents, "documents", filled=True)
    return {f"{number:0{len(str(len(texts)))}d}.txt": text for number, text in enumerate(texts, start=1)}


def _safe(name: str) -> str:
    """A file name inside the folder of documents. Raises `InputError`."""
    path = Path(name)
    if path.is_absolute() or ".." in path.parts or not path.name or path.name.startswith("."):
        raise InputError(f"documents has the name {name!r}.", hint='Use names such as "leave.md".')
    return name if path.suffix in {".txt", ".md", ".html", ".csv"} else f"{name}.txt"


def _rows(questions: Values, answers: Values) -> list[dict[str, object]]:
    asked, right = read_texts(questions, "questions", filled=True), read_column(answers, "answers")
    check_lengths(questions=asked, answers=right)
    return [{QUESTION: question, ANSWER: answer} for question, answer in zip(asked, right, strict=True)]
