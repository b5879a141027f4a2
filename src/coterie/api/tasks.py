"""The specialists that a notebook can fit, one class per task: `Classifier`, `Scorer`, `Extractor` and others."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self, Unpack, overload

import numpy as np

from coterie.api.inputs import (
    Values,
    check_lengths,
    check_several_labels,
    read_column,
    read_labels,
    read_rows,
    read_stated,
    read_texts,
)
from coterie.api.specialists import DOCUMENTS, FitOptions, FittedSpecialist, Prediction, TextSpecialist
from coterie.errors import DataError, InputError
from coterie.knowledge.documents import DocumentIndex
from coterie.knowledge.open import open_declared
from coterie.learning.dataset import Row
from coterie.learning.evaluation import Evaluation
from coterie.learning.measure import LookUp
from coterie.tasks.answer.rows import ANSWER, DOCUMENT, QUESTION, look_up_with
from coterie.tasks.classify.model import ClassifySpecialist


class Classifier(TextSpecialist):
    """A text classifier that knows how sure it is.

    >>> from coterie import Classifier
    >>> texts = ["my card is lost", "my card was stolen", "where is my parcel", "the parcel is late"] * 10
    >>> labels = ["card", "card", "parcel", "parcel"] * 10
    >>> classifier = Classifier.fit(texts, labels, rungs=["lexical"], target_risk=0.3)
    >>> classifier.predict("someone stole my card").label
    'card'
    >>> classifier.labels
    ('card', 'parcel')
    """

    task = "classify"
    usual_name = "classifier"

    @classmethod
    def fit(
        cls,
        texts: Values,
        labels: Values,
        *,
        test: tuple[Values, Values] | None = None,
        groups: Values | None = None,
        multi_label: bool = False,
        **options: Unpack[FitOptions],
    ) -> Self:
        """Train each rung, keep the cheapest that is good enough, and calibrate it.

        Args:
            texts: One text a row: a list, a generator, a numpy array or a pandas Series.
            labels: One label a row: texts, whole numbers or booleans, which become texts. A list of labels means that
                any of them is right; with `multi_label`, that all of them are.
            test: Held-out texts and labels. Without it a seeded fifth of the rows is held out.
            groups: Rows of one group are never on both sides of a split.
            multi_label: A text may have several labels, or none.
            options: See `FitOptions`: `rungs`, `target_risk`, `bar`, `seed`, `progress`, `name`, `description`.

        Raises:
            DataError: the rows do not fit: lengths, a missing text or label, a single label, too few rows.
        """
        rows = _label_rows(texts, labels, several=multi_label)
        held_out = None if test is None else _label_rows(*test, several=multi_label, optional=True)
        if not multi_label:
            check_several_labels([row["label"] for row in rows])
        settings: dict[str, Any] = {"multi_label": True} if multi_label else {}
        if groups is not None:
            settings["group_column"] = "group"
            rows = _grouped(rows, groups)
            held_out = None if held_out is None else [row | {"group": None} for row in held_out]
        return cls._fit(options, settings, rows, held_out)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that the classifier knows, sorted: the columns of `predict_proba`."""
        return tuple(sorted(self._labels))

    def predict_proba(self, texts: Values) -> np.ndarray:  # (N, L)
        """Return the probability of each label, one column per label in the order of `labels`.

        With `multi_label`, each column is a probability of its own. A text without a word has NaN in its row.

        Raises:
            InputError: the rung gives probabilities of few labels only.
        """
        order = {label: index for index, label in enumerate(self.labels)}
        checked = read_texts(texts)
        full = self._with_all_labels()
        probabilities = np.full((len(checked), len(order)), np.nan)
        for row, prediction in enumerate(full._predict([Row(text=text) for text in checked])):  # noqa: SLF001 - its own
            scores = prediction.scores
            if scores and scores.keys() != order.keys():
                raise InputError(f"The rung {self.rung!r} gives probabilities of {len(scores)} labels only.")
            for label, probability in scores.items():
                probabilities[row, order[label]] = probability
        return probabilities

    def evaluate(self, texts: Values, labels: Values) -> Evaluation:
        """Evaluate the classifier on unseen rows; a label of None marks a text that belongs to no label.

        The evaluation has accuracy, macro F1, coverage, accuracy of the accepted, calibration error (ECE), their 95%
        intervals and the most frequent confusions.
        """
        several = bool(self._stored.section.multi_label)
        return self._evaluate(_label_rows(texts, labels, several=several, optional=True))

    def _encoded(self, rows: Sequence[Row]) -> tuple[np.ndarray | None, np.ndarray | None]:
        if self.rung not in {"embedding", "chain"}:
            return None, None
        texts = [row.text for row in rows]
        encoder = self._stored.encoder
        return encoder.encode(texts), encoder.exceeds(texts)

    @property
    def _labels(self) -> tuple[str, ...]:
        labels: tuple[str, ...] = getattr(self._specialist, "labels", ())
        return labels

    def _with_all_labels(self) -> Self:
        """Return the same specialist, set to give the probability of every label."""
        full = type(self)(self._stored)
        if isinstance(self._specialist, ClassifySpecialist):
            full.__dict__["_specialist"] = replace(self._specialist, alternatives=len(self.labels))
        return full


def _label_rows(texts: Values, labels: Values, *, several: bool, optional: bool = False) -> list[dict[str, object]]:
    columns = read_texts(texts, filled=True), read_labels(labels, several=several, optional=optional)
    check_lengths(texts=columns[0], labels=columns[1])
    return [{"text": text, "label": label} for text, label in zip(*columns, strict=True)]


def _grouped(rows: list[dict[str, object]], groups: Values) -> list[dict[str, object]]:
    named = read_column(groups, "groups")
    check_lengths(texts=rows, groups=named)
    return [row | {"group": None if group is None else str(group)} for row, group in zip(rows, named, strict=True)]


# --- `Scorer`: the probability of an outcome from structured rows, with reasons.


class Scorer(FittedSpecialist):
    """A scorecard: a calibrated probability from columns, and what each column contributes.

    >>> from coterie import Scorer
    >>> rows = [{"days": days, "country": "DE" if days % 2 else "FR"} for days in range(60)]
    >>> scorer = Scorer.fit(rows, [row["days"] > 30 for row in rows], outcome="late")
    >>> scorer.predict({"days": 55, "country": "DE"}).value > 0.8
    True
    """

    task = "score"
    usual_name = "scorer"

    @classmethod
    def fit(
        cls,
        rows: object,
        outcomes: Values,
        *,
        texts: Values | None = None,
        outcome: str = "outcome",
        exclude: Sequence[str] = (),
        protected: Sequence[str] | None = None,
        **options: Unpack[FitOptions],
    ) -> Self:
        """Train a scorecard; its figures are cross-validated on every row.

        Args:
            rows: Dicts or a pandas DataFrame; missing cells are None or NaN.
            outcomes: The outcome of each row: 1 and 0, True and False, or "yes" and "no".
            texts: A text beside the columns, such as a note, one per row.
            outcome: The name of the outcome in answers: "Probability of late: 0.83".
            exclude: Columns that must not be used.
            protected: Columns with protected attributes, which are never used; by default those whose names say so.
            options: See `FitOptions`.

        Raises:
            DataError: the rows do not fit.
        """
        settings: dict[str, Any] = {"label_column": outcome}
        if texts is not None:
            settings["text_column"] = "text"
        if exclude:
            settings["exclude"] = list(exclude)
        if protected is not None:
            settings["protected"] = list(protected)
        data = _joined(rows, outcomes, texts, outcome)
        check_several_labels([row[outcome] for row in data], "outcomes")
        return cls._fit(options, settings, data)

    @overload
    def predict(self, rows: Mapping[str, object], texts: str | None = None) -> Prediction: ...  # type: ignore[overload-overlap]
    @overload
    def predict(self, rows: object, texts: Values | None = None) -> list[Prediction]: ...
    def predict(self, rows: object, texts: object = None) -> Prediction | list[Prediction]:
        """Predict the probability of the outcome of each row as `value`, with `reasons`; one dict gives one prediction.

        A prediction is accepted where the decision above or below one half is certain enough.
        """
        if isinstance(rows, Mapping):
            return self._predict(_input_rows([rows], None if texts is None else [texts]))[0]
        return self._predict(_input_rows(rows, texts))

    def predict_proba(self, rows: object, texts: Values | None = None) -> np.ndarray:  # (N, 2)
        """Return the probability that the outcome does not happen, and the probability that it does."""
        happens = np.array([prediction.value for prediction in self.predict(rows, texts)], dtype=float)
        return np.stack([1.0 - happens, happens], axis=1)

    def evaluate(self, rows: object, outcomes: Values, texts: Values | None = None) -> Evaluation:
        """Evaluate the scorer on unseen rows: AUC, Brier score, accuracy, coverage, calibration error."""
        return self._evaluate(_joined(rows, outcomes, texts, self._stored.section.label_column))


def _input_rows(rows: object, texts: object) -> list[Row]:
    columns = read_rows(rows)
    beside = [""] * len(columns) if texts is None else read_texts(texts)  # type: ignore[arg-type]
    check_lengths(rows=columns, texts=beside)
    return [Row(text=text, columns=cells) for text, cells in zip(beside, columns, strict=True)]


def _joined(rows: object, outcomes: Values, texts: Values | None, outcome: str) -> list[dict[str, object]]:
    checked, checked_labels = _input_rows(rows, texts), read_labels(outcomes, "outcomes")
    check_lengths(rows=checked, outcomes=checked_labels)
    taken = {outcome} | ({"text"} if texts is not None else set())
    if clash := taken & {name for row in checked for name in row.columns}:
        raise DataError(
            f"rows has a column {sorted(clash)[0]!r}, which is the name of the "
            f"{'outcome' if outcome in clash else 'text'} too.",
            hint='Drop that column, or name the outcome otherwise: outcome="late".',
        )
    beside = {} if texts is None else {"text": [row.text for row in checked]}
    return [
        {**row.columns, **{name: column[index] for name, column in beside.items()}, outcome: label}
        for index, (row, label) in enumerate(zip(checked, checked_labels, strict=True))
    ]


# --- `PairClassifier`: judge a text against a second one, such as a contract against a statement.

_PAIR = "hypothesis"


class PairClassifier(FittedSpecialist):
    """A classifier of pairs: what a text says of a statement or question.

    >>> from coterie import PairClassifier
    >>> forms = {"entailed": "{} may copy the data.", "contradicted": "{} must not copy anything."}
    >>> pairs = [(form.format(f"Company {i}"), label) for i in range(20) for label, form in forms.items()]
    >>> texts, labels = zip(*pairs)
    >>> judge = PairClassifier.fit(texts, ["Copies are allowed."] * 40, labels, rungs=["lexical"])
    >>> judge.predict(["Company 99 may copy the data."], ["Copies are allowed."])[0].label
    'entailed'
    """

    task = usual_name = "pairs"

    @classmethod
    def fit(
        cls,
        texts: Values,
        hypotheses: Values,
        labels: Values,
        *,
        test: tuple[Values, Values, Values] | None = None,
        **options: Unpack[FitOptions],
    ) -> Self:
        """Train each rung, keep the cheapest that is good enough, and calibrate it.

        Args:
            texts: The text of each row, such as a document; pairs of the same text stay together in every split.
            hypotheses: What each text is judged against.
            labels: One label a row.
            test: Held-out texts, hypotheses and labels. Without it a seeded fifth of the rows is held out.
            options: See `FitOptions`.

        Raises:
            DataError: the rows do not fit.
        """
        rows = _pair_rows(texts, hypotheses, labels)
        check_several_labels([row["label"] for row in rows])
        return cls._fit(options, {"pair_column": _PAIR}, rows, None if test is None else _pair_rows(*test))

    @overload
    def predict(self, texts: str, hypotheses: str) -> Prediction: ...  # type: ignore[overload-overlap]
    @overload
    def predict(self, texts: Values, hypotheses: Values) -> list[Prediction]: ...
    def predict(self, texts: str | Values, hypotheses: str | Values) -> Prediction | list[Prediction]:
        """Predict the label of each pair, with the deciding words as `quotes`; one pair gives one prediction."""
        if isinstance(texts, str) and isinstance(hypotheses, str):
            return self._predict([Row(text=texts, columns={self._stored.section.pair_column: hypotheses})])[0]
        columns = read_texts(texts), read_texts(hypotheses, "hypotheses")
        check_lengths(texts=columns[0], hypotheses=columns[1])
        second = self._stored.section.pair_column
        return self._predict([Row(text=text, columns={second: other}) for text, other in zip(*columns, strict=True)])

    def evaluate(self, texts: Values, hypotheses: Values, labels: Values) -> Evaluation:
        """Evaluate the classifier on unseen pairs."""
        second = self._stored.section.pair_column
        rows = _pair_rows(texts, hypotheses, labels)
        return self._evaluate([{second: row[_PAIR], **{k: v for k, v in row.items() if k != _PAIR}} for row in rows])


def _pair_rows(texts: Values, hypotheses: Values, labels: Values) -> list[dict[str, object]]:
    columns = read_texts(texts, filled=True), read_texts(hypotheses, "hypotheses", filled=True), read_labels(labels)
    check_lengths(texts=columns[0], hypotheses=columns[1], labels=columns[2])
    return [{"text": text, _PAIR: other, "label": label} for text, other, label in zip(*columns, strict=True)]


# --- `Extractor`: find typed fields in texts, each with its quote.


class Extractor(TextSpecialist):
    """Finds fields in texts: dates, amounts, names, choices, each quoted word for word.

    >>> from coterie import Extractor
    >>> days = [f"{day} May 2024" for day in range(1, 31)]
    >>> texts = [f"This agreement begins on {day}. It is between Ada and Bob." for day in days]
    >>> values = [{"start": day} for day in days]
    >>> extractor = Extractor.fit(texts, values, fields={"start": "date"}, rungs=["lexical"], target_risk=0.3)
    >>> extractor.predict("This agreement begins on 9 June 2025. It is between Eve and Bob.").fields[0].value
    '2025-06-09'
    """

    task = "extract"
    usual_name = "extractor"

    @classmethod
    def fit(
        cls,
        texts: Values,
        values: object,
        *,
        fields: Mapping[str, str],
        test: tuple[Values, object] | None = None,
        **options: Unpack[FitOptions],
    ) -> Self:
        """Train each rung, keep the cheapest that is good enough, and calibrate each field.

        Args:
            texts: One text a row.
            values: What each text states: a dict of fields a row, or a DataFrame with a column a field. A field is a
                quote of the text, `{"start": 3, "end": 9}` in characters, a list of these, or None: not stated.
            fields: The type of each field: `text`, `date`, `number`, `money`, `duration` or `choice`, with `*` where
                it may have several values.
            test: Held-out texts and values. Without it a seeded fifth of the rows is held out.
            options: See `FitOptions`.

        Raises:
            DataError: the rows do not fit, or a quote is not in its text.
        """
        held_out = None if test is None else _field_rows(*test)
        return cls._fit(options, {"fields": dict(fields)}, _field_rows(texts, values), held_out)

    @property
    def fields(self) -> Mapping[str, str]:
        """The type of each field that the extractor looks for."""
        fields_: Mapping[str, str] = self._stored.section.fields
        return fields_

    def evaluate(self, texts: Values, values: object) -> Evaluation:
        """Evaluate the extractor on unseen texts: F1 of the quoted words, and the figures of each field."""
        return self._evaluate(_field_rows(texts, values))


def _field_rows(texts: Values, values: object) -> list[dict[str, object]]:
    columns = read_texts(texts, filled=True), read_stated(values)
    check_lengths(texts=columns[0], values=columns[1])
    return [{"text": text, "fields": stated} for text, stated in zip(*columns, strict=True)]


# --- `Generator`: write replies as the examples do. It tunes a small language model.


class Generator(TextSpecialist):
    """Writes a reply to a text with a small language model that was tuned on examples (rung `slm`).

    It needs the extras `train` and `llama` and a model on this machine: `pip install 'coterie[train,llama]'`, then
    `coterie models pull smollm2`. Tuning takes minutes on a CPU.
    """

    task = "generate"
    usual_name = "generator"

    @classmethod
    def fit(
        cls,
        texts: Values,
        replies: Values,
        *,
        model: str = "smollm2",
        test: tuple[Values, Values] | None = None,
        **options: Unpack[FitOptions],
    ) -> Self:
        """Tune a model on texts and the replies to them, and calibrate which replies are accepted.

        Args:
            texts: One text per row.
            replies: The reply to each text.
            model: A name that `coterie models list` knows.
            test: Held-out texts and replies. Without it a seeded fifth of the rows is held out.
            options: See `FitOptions`.

        Raises:
            ModelMissing, ExtraMissing: the model or an extra is not installed.
            DataError: the rows do not fit.
        """
        key = re.sub(r"[^a-z0-9_-]+", "-", model.lower()).strip("-_0123456789") or "writer"
        tables = {("models", key): {"engine": "llama", "name": model}}
        held_out = None if test is None else _reply_rows(*test)
        return cls._fit(options, {"model": key}, _reply_rows(texts, replies), held_out, tables=tables)

    def evaluate(self, texts: Values, replies: Values) -> Evaluation:
        """Evaluate the generator on unseen texts: F1 of the words, and the share of accepted replies."""
        return self._evaluate(_reply_rows(texts, replies))


def _reply_rows(texts: Values, replies: Values) -> list[dict[str, object]]:
    columns = read_texts(texts, filled=True), read_texts(replies, "replies", filled=True)
    check_lengths(texts=columns[0], replies=columns[1])
    return [{"text": text, "reply": reply} for text, reply in zip(*columns, strict=True)]


# --- `ToolCaller`: choose a function for a text and fill in its arguments.


class ToolCaller(TextSpecialist):
    """Chooses a function for each text and fills in its arguments, or says that no function fits.

    >>> from coterie import ToolCaller
    >>> room = {"type": "object", "properties": {"room": {"type": "string"}}, "required": ["room"]}
    >>> rooms = ["hall", "kitchen", "attic", "office", "cellar"] * 6
    >>> texts = [*(f"switch on the lamp in the {each}" for each in rooms), *(f"lock door {n}" for n in range(30))]
    >>> calls = [*({"name": "light", "arguments": {"room": each}} for each in rooms), *([{"name": "lock"}] * 30)]
    >>> functions = [{"name": "light", "parameters": room}, {"name": "lock"}]
    >>> caller = ToolCaller.fit(texts, calls, functions=functions, rungs=["lexical"])
    >>> caller.predict("lock door 77").calls[0].name
    'lock'
    """

    task = "tools"
    usual_name = "caller"

    @classmethod
    def fit(
        cls,
        texts: Values,
        calls: Sequence[Mapping[str, Any] | None],
        *,
        functions: Sequence[Mapping[str, Any]],
        test: tuple[Values, Sequence[Mapping[str, Any] | None]] | None = None,
        **options: Unpack[FitOptions],
    ) -> Self:
        """Train each rung, keep the cheapest that is good enough, and calibrate function and arguments.

        Args:
            texts: One text per row.
            calls: The call of each text, `{"name": ..., "arguments": {...}}`, with `quotes` where the text expresses
                a value in other words; None where no function fits.
            functions: The functions that may be called: `name`, `description` and `parameters` (a JSON schema), bare
                or as `{"type": "function", "function": {...}}`.
            test: Held-out texts and calls. Without it a seeded fifth of the rows is held out.
            options: See `FitOptions`.

        Raises:
            DataError: the rows do not fit each other or the functions.
            InputError: a function's parameters are no schema that can be filled in.
        """
        descriptions = [dict(function.get("function", function)) for function in functions]
        held_out = None if test is None else _call_rows(*test)
        return cls._fit(options, {"functions": descriptions}, _call_rows(texts, calls), held_out)

    @property
    def functions(self) -> tuple[str, ...]:
        """The names of the functions that may be called."""
        return tuple(function.name for function in self._stored.section.functions)

    def evaluate(self, texts: Values, calls: Sequence[Mapping[str, Any] | None]) -> Evaluation:
        """Evaluate the tool caller on unseen texts: right functions, and exact calls."""
        return self._evaluate(_call_rows(texts, calls))


def _call_rows(texts: Values, calls: Sequence[Mapping[str, Any] | None]) -> list[dict[str, object]]:
    columns = read_texts(texts, filled=True), list(calls)
    check_lengths(texts=columns[0], calls=columns[1])
    rows: list[dict[str, object]] = []
    for index, (text, call) in enumerate(zip(*columns, strict=True)):
        if call is not None and not (isinstance(call, Mapping) and isinstance(call.get("name"), str)):
            raise DataError(
                f"calls[{index}] is {call!r}.", hint='A call is {"name": "...", "arguments": {...}}; None is none.'
            )
        call_record = call or {}
        given = {key: call_record[key] for key in ("arguments", "quotes") if call_record.get(key) is not None}
        rows.append({"text": text, "function": call_record.get("name"), **given})
    return rows


# --- `Answerer`: answer questions from documents, with citations.


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
            questions: Example questions about the documents. Without any, the calibration that ships with Coterie is
                used.
            answers: The words of a document that answer each question, several as a list; None where the documents
                have no answer.
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
            folder = DOCUMENTS.format(name=name)
            table = {"paths": [folder]}
            texts = {f"{folder}/{_safe(file)}": text for file, text in _named(documents).items()}
        rows = [] if questions is None else _question_rows(questions, answers or ())
        tables = {("knowledge", name): table}
        return cls._fit(options, {"knowledge": [name]}, rows, tables=tables, documents=texts)

    def ask(self, question: str, *, document: str | None = None) -> Prediction:
        """Answer a question; with `document`, from that document only."""
        columns = {} if document is None else {DOCUMENT: document}
        return self._predict([Row(text=question, columns=columns)])[0]

    @overload
    def predict(self, questions: str) -> Prediction: ...  # type: ignore[overload-overlap]
    @overload
    def predict(self, questions: Values) -> list[Prediction]: ...
    def predict(self, questions: str | Values) -> Prediction | list[Prediction]:
        """Answer each question; a single question gives one prediction."""
        if isinstance(questions, str):
            return self.ask(questions)
        return self._predict([Row(text=text) for text in read_texts(questions, "questions")])

    def evaluate(self, questions: Values, answers: Values) -> Evaluation:
        """Evaluate the answerer on unseen questions: right citations, and abstention where there is no answer."""
        return self._evaluate(_question_rows(questions, answers))

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
    """Return the texts by file name; the texts of a list are numbered."""
    if isinstance(documents, Mapping):
        names = [str(name) for name in documents]
        return dict(zip(names, read_texts(list(documents.values()), "documents", filled=True), strict=True))
    texts = read_texts(documents, "documents", filled=True)
    return {f"{number:0{len(str(len(texts)))}d}.txt": text for number, text in enumerate(texts, start=1)}


def _safe(name: str) -> str:
    """Return a file name that stays inside the folder of documents. Raises `InputError`."""
    path = Path(name)
    if path.is_absolute() or ".." in path.parts or not path.name or path.name.startswith("."):
        raise InputError(f"documents has the name {name!r}.", hint='Use names such as "leave.md".')
    return name if path.suffix in {".txt", ".md", ".html", ".csv"} else f"{name}.txt"


def _question_rows(questions: Values, answers: Values) -> list[dict[str, object]]:
    checked, right = read_texts(questions, "questions", filled=True), read_column(answers, "answers")
    check_lengths(questions=checked, answers=right)
    return [{QUESTION: question, ANSWER: answer} for question, answer in zip(checked, right, strict=True)]
