"""Train a specialist for a job from its captured calls, and load a version of one; or get its rows from a teacher.

Rows are inputs with their answers: a person's label where there is one, else feedback, else the teacher's answer. The
audit slice is left out, whoever labelled it. Which examples a version saw is written down. Closed sets of answers and
typed questions are trained, as `classify`, and JSON objects of closed fields and lists of labels, as one `classify` a
field; numbers and free text are shown, and people train for them.

A teacher is any entry of `[models]`. It writes texts for each label, given the description and the examples of that
label, some at a time; or it labels given texts. Its labels are weighed against the examples, so that a systematic error
of the teacher costs less. Each row names the example that it was written from, so that training never splits rows of
one origin. The teacher's answers are stored as they arrive (`learning.job`): a failed run continues from there and pays
for nothing twice. The labels are the teacher's: a person should check a sample of the rows.
"""

from __future__ import annotations

import asyncio
import csv
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from coterie.config.file import Config
from coterie.config.operation import ROWS_FOLDER
from coterie.config.specialists import TASKS, SpecialistSection
from coterie.errors import ArtefactRefused, CoterieError, DataError, InputError
from coterie.flywheel.deployments import Deployment, KnownJob
from coterie.flywheel.discovery import FEWEST, fold
from coterie.flywheel.fields import (
    CONSTANT,
    ClosedFields,
    FieldsSpecialist,
    ListForm,
    keys_of,
    labels_of,
    object_of,
    values_of,
)
from coterie.flywheel.gates import is_audit
from coterie.learning.calibration import softmax
from coterie.learning.job import AskedModel, TextEncoder, reporting_kept_answers
from coterie.learning.reading import open_lines, read_records
from coterie.policy.cost_quality import CalibrationOutcomes
from coterie.protocols import Engine, Specialist
from coterie.registry.registry import Registry, open_registry
from coterie.runtime.codec import parse_json
from coterie.runtime.files import write_bytes, write_with
from coterie.tasks.versions import load_specialist
from coterie.text.segmentation import plain
from coterie.training.train import TrainedSpecialist, train_candidate
from coterie.types import CapturedExample, GivenLabel, Label, LabelOrigin, Message, Prompt

# --- What the label that a teacher gave to a text is worth beside a few examples.
#
# A teacher is wrong in the same way again and again: it says `card_arrival` to most texts of another intent, or a
# name that is none of the labels. Its answers are read as an observation of the true label, made through an unknown
# table of confusions (Dawid and Skene, *Maximum Likelihood Estimation of Observer Error-Rates*, JRSS C 1979), and the
# text says something about its label too (Raykar et al., *Learning From Crowds*, JMLR 2010). Both are fitted by
# turns: from labels by nearness to the examples comes the table, from the table and the texts come better labels. The
# examples are what tells which label is which, so there must be one of each. An answer that is no label is an
# observation like others.

ROUNDS = 4
_SHARPNESS = 20.0
"""Factor of the softmax of cosines with the examples, in the first round."""
_AS_NAMED, _OTHERWISE = 2.0, 0.1
"""Prior counts per label: texts with that label as the teacher's answer, and with each other answer."""
_EXAMPLE = 5.0
"""Weight of an example, in texts."""
_SPREAD = 3.0
"""Variance of the weights of the linear model."""


def true_labels(
    examples: np.ndarray, labels: Sequence[int], texts: np.ndarray, answered: Sequence[int], count: int
) -> np.ndarray:  # (S, D), (S,), (T, D), (T,) -> (T, L)
    """Return the probability of each label for each text, from the text and the teacher's answer.

    Args:
        examples: Unit vectors of the examples. Shape (S, D).
        labels: Their labels, each of `range(count)` at least once.
        texts: Unit vectors of the texts that the teacher labelled. Shape (T, D).
        answered: The teacher's answer to each: a label, or a number from `count` on for each answer that is no label.
        count: Number of labels, L.
    """
    given, heard = np.asarray(labels), np.asarray(answered)
    centres = np.stack([examples[given == label].mean(axis=0) for label in range(count)])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    by_text = softmax(_SHARPNESS * texts @ centres.T)
    usual = np.full((count, max(count, int(heard.max()) + 1)), _OTHERWISE)  # (L, answers)
    usual[np.arange(count), np.arange(count)] += _AS_NAMED
    rows, weights = np.vstack([examples, texts]), np.ones(len(examples) + len(texts))
    weights[: len(examples)] = _EXAMPLE
    likely, fitted = by_text, np.zeros((rows.shape[1] + 1, count))
    for _ in range(ROUNDS):
        table = usual.copy()
        np.add.at(table.T, heard, likely)
        table /= table.sum(axis=1, keepdims=True)
        likely = by_text * table[:, heard].T
        likely /= likely.sum(axis=1, keepdims=True)
        fitted = _fit(rows, np.vstack([np.eye(count)[given], likely]), weights, fitted)
        by_text = softmax(texts @ fitted[:-1] + fitted[-1])
    return likely


def _fit(rows: np.ndarray, targets: np.ndarray, weights: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Fit a logistic regression on shares of labels and return its weights, the biases last.

    (N, D), (N, L), (N,), (D + 1, L) -> (D + 1, L).
    """
    from scipy.optimize import minimize  # noqa: PLC0415 - serving needs none of it

    with_one = np.hstack([rows, np.ones((len(rows), 1))])

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat.reshape(start.shape)
        shares = softmax(with_one @ w)
        value = -float(weights @ (targets * np.log(shares + 1e-12)).sum(axis=1)) + float((w[:-1] ** 2).sum()) / (
            2 * _SPREAD
        )
        slope = with_one.T @ ((shares - targets) * weights[:, None])
        slope[:-1] += w[:-1] / _SPREAD
        return value, slope.ravel()

    return np.asarray(minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 60}).x).reshape(
        start.shape
    )


MOST_EXAMPLES = 20
_COLUMNS = ("text", "label")
_AT_A_TIME = 10
"""Texts that are requested from the teacher at once."""
_LONGEST, _LONGEST_ANSWER = 2_000, 200
_TOKENS = 1_200
_BATCH = 8
_SURE = 0.7
"""Least probability of a label for its text to become a row."""
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"texts": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": _AT_A_TIME}},
    "required": ["texts"],
    "additionalProperties": False,
}


@dataclass(frozen=True, kw_only=True)
class BootstrapRow:
    """One row with its origin."""

    text: str
    label: str
    origin: str
    """Origin of the row: `example` or `teacher`."""
    seed: str
    """Number of the example that it was written from; for a labelled text, its own number."""
    said: str = ""
    """The teacher's label of a given text; the row has another label where that is more probable."""
    likely: float | None = None
    """Probability of the label; None where nothing was weighed."""


@dataclass(kw_only=True)
class Bootstrapped:
    """The result of a run."""

    rows: list[BootstrapRow] = field(default_factory=list)
    asked: int = 0
    """Number of prompts."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Texts that became no rows, by reason: `empty`, `repeated`, `too_long`, `no_label`, `doubtful`, `malformed`."""
    stopped: str = ""
    """Why the run stopped early; empty if it did not."""
    cost: Decimal | None = None
    """Cost of the prompts that were not answered before; None for unknown."""
    known: set[str] = field(default_factory=set, repr=False)
    """Texts of the rows, in the form in which repeats are compared."""
    heard: list[tuple[str, str]] = field(default_factory=list, repr=False)
    """Texts that the teacher labelled, with its answers."""

    def without_rows(self) -> list[str]:
        """Return labels of examples to which the teacher added nothing: a specialist will hardly ever give them."""
        given = {row.label for row in self.rows if row.origin == "teacher"}
        return list(dict.fromkeys(row.label for row in self.rows if row.label not in given))


def read_examples(path: Path) -> list[tuple[str, str]]:
    """Read at most 20 examples: a file of rows as `coterie add` reads it, with text and label. Raises `DataError`."""
    with open_lines(path) as lines:
        records = read_records(lines, wanted=_COLUMNS, check_names=partial(_check_columns, path.name))
        cells = [tuple(str(record.cells.get(name) or "").strip() for name in _COLUMNS) for record in records]
    examples = [(text, label) for text, label in cells]
    if not examples or len(examples) > MOST_EXAMPLES or any(not text or not label for text, label in examples):
        raise DataError(
            f"{path.name} has {len(examples)} examples; it takes 1 to {MOST_EXAMPLES}, each with a text and a label.",
            hint="With more rows, train on them: coterie add NAME --data FILE",
        )
    return examples


def _check_columns(name: str, columns: Sequence[str]) -> None:
    missing = [column for column in _COLUMNS if column not in columns]
    if missing:
        raise DataError(
            f"{name} has no column {' or '.join(map(repr, missing))}; its columns are {', '.join(map(repr, columns))}.",
            hint=f"The first line names the columns: {','.join(_COLUMNS)}",
        )


async def bootstrap(
    teacher: AskedModel,
    describe: str,
    examples: Sequence[tuple[str, str]],
    *,
    rows: int = 200,
    texts: Sequence[str] = (),
    money: Decimal | None = None,
    seed: int = 0,
    encode: Callable[[Sequence[str]], np.ndarray] | None = None,
) -> Bootstrapped:
    """Make rows from examples by a teacher.

    Args:
        teacher: The model that is asked, through the gate if it is remote.
        describe: What the specialist is for.
        examples: Text and label.
        rows: Number of texts that the teacher writes, over all labels.
        texts: Texts to label; then none are written.
        money: Money at which no further batch is asked. None for no limit of this run.
        seed: Seed of the order in which examples are shown.
        encode: Makes vectors of texts, by which the teacher's labels are weighed; None takes the labels unchanged.

    Raises:
        InputError: there are fewer than two labels.
        EgressRefused, EngineError: the teacher cannot be asked.
    """
    labels = list(dict.fromkeys(label for _, label in examples))
    if len(labels) < 2:
        raise InputError(f"The examples have {len(labels)} label; there must be two or more.")
    teacher.check()
    brief, made = _Brief(teacher.label, describe, examples, labels), Bootstrapped()
    made.rows += [BootstrapRow(text=t, label=n, origin="example", seed=str(i)) for i, (t, n) in enumerate(examples)]
    made.known.update(plain(text) for text, _ in examples)
    plan = [(brief.to_label(text), {"text": text}) for text in texts] if texts else brief.to_write(rows, seed)
    engine = teacher.open()
    try:
        async with reporting_kept_answers(engine):
            for begin in range(0, len(plan), _BATCH):
                some = plan[begin : begin + _BATCH]
                least = _least(teacher, [prompt for prompt, _ in some if not engine.knows(prompt)])
                if money is not None and least is not None and (made.cost or 0) + least > money:
                    made.stopped = f"the next prompts cost {least} or more after {made.cost or 0}, the most is {money}"
                    break
                outputs = await engine.run([prompt for prompt, _ in some])
                made.asked += len(some)
                for output, (_, about) in zip(outputs, some, strict=True):
                    _take(made, output.text, about)
                made.cost = _cost(teacher)
                if money is not None and (made.cost is None or made.cost > money):
                    made.stopped = f"the teacher cost {made.cost}, and the most is {money}"
                    break
    finally:
        await engine.close()
    await asyncio.to_thread(_take_labels, made, examples, labels, encode)
    return made


def _least(teacher: AskedModel, prompts: Sequence[Prompt]) -> Decimal | None:
    """What prompts cost at least, by four characters a token and no answer; None where no price is set."""
    return teacher.money(sum(len(message.text) // 4 for prompt in prompts for message in prompt.messages), 0)


def _cost(teacher: AskedModel) -> Decimal | None:
    taken = [usage for _, usage in teacher.bill]
    return teacher.money(sum(output.tokens_in for output in taken), sum(output.tokens_out for output in taken))


@dataclass(frozen=True)
class _Brief:
    """The instructions for the teacher."""

    label: Label
    describe: str
    examples: Sequence[tuple[str, str]]
    labels: Sequence[str]

    def to_write(self, rows: int, seed: int) -> list[tuple[Prompt, dict[str, str]]]:
        """Return prompts for new texts, one example at a time, so that each text has one origin."""
        draw = random.Random(seed)  # noqa: S311 - it orders examples
        by_label: dict[str, list[int]] = defaultdict(list)
        for index, (_, label) in enumerate(self.examples):
            by_label[label].append(index)
        plan = []
        for batch in range(-(-rows // (_AT_A_TIME * len(self.labels)))):
            for label in self.labels:
                index = by_label[label][batch % len(by_label[label])]
                other = draw.choice([example for example in self.examples if example[1] != label])
                plan.append((self._writing(self.examples[index], other, batch), {"label": label, "seed": str(index)}))
        return plan

    def _writing(self, example: tuple[str, str], other: tuple[str, str], batch: int) -> Prompt:
        instruction = (
            f"{self.describe}\nLabels: {', '.join(self.labels)}.\n"
            f"A text of the label {example[1]!r}: {example[0]}\nA text of another, {other[1]!r}: {other[0]}\n"
            f"Write {_AT_A_TIME} new texts of the label {example[1]!r}, as different people would: other words, other "
            f"details, short and long. Batch {batch + 1}: repeat nothing of the text above. "
            'Answer with JSON: {"texts": ["...", ...]}'
        )
        messages = (Message(role="user", text=instruction),)
        return Prompt(messages=messages, label=self.label, max_tokens=_TOKENS, json_schema=_SCHEMA)

    def to_label(self, text: str) -> Prompt:
        """Return the prompt for the label of a text."""
        shown = "\n".join(f"{example}\n=> {label}" for example, label in self.examples)
        instruction = (
            f"{self.describe}\nAnswer with one of these labels alone: {', '.join(self.labels)}.\n\n"
            f"{shown}\n{text[:_LONGEST]}\n=>"
        )
        return Prompt(messages=(Message(role="user", text=instruction),), label=self.label, max_tokens=40)


def _take(made: Bootstrapped, answer_text: str, about: Mapping[str, str]) -> None:
    """Read the teacher's answer: texts as rows, or a label to be weighed with the others."""
    if "text" in about:
        made.heard.append((about["text"], " ".join(answer_text.split())[:_LONGEST_ANSWER]))
        return
    try:
        texts = json.loads(answer_text[answer_text.index("{") : answer_text.rindex("}") + 1])["texts"]
    except (ValueError, KeyError, TypeError, RecursionError):
        made.dropped["malformed"] += 1
        return
    for text in texts if isinstance(texts, list) else ():
        _add(made, str(text).strip(), about["label"], about["seed"])


def _take_labels(
    made: Bootstrapped,
    examples: Sequence[tuple[str, str]],
    labels: Sequence[str],
    encode: Callable[[Sequence[str]], np.ndarray] | None,
) -> None:
    """Make rows of the texts that the teacher labelled."""
    spelled = {fold(label): label for label in labels}
    labels, named = list(spelled.values()), {folded: number for number, folded in enumerate(spelled)}
    if encode is None or not made.heard:
        for text, answer in made.heard:
            if (number := named.get(fold(answer))) is None:
                made.dropped["no_label"] += 1
            else:
                _add(made, text, labels[number], str(len(made.rows)), own=answer)
        return
    numbers = dict(named)
    heard = [numbers.setdefault(fold(answer), len(numbers)) for _, answer in made.heard]
    vectors = encode([text for text, _ in examples] + [text for text, _ in made.heard])
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    own = [named[fold(label)] for _, label in examples]
    likely = true_labels(vectors[: len(own)], own, vectors[len(own) :], heard, len(labels))
    for (text, answer), shares in zip(made.heard, likely, strict=True):
        best = int(shares.argmax())
        if shares[best] < _SURE:
            made.dropped["doubtful"] += 1
        else:
            _add(made, text, labels[best], str(len(made.rows)), own=answer, likely=round(float(shares[best]), 3))


def _add(made: Bootstrapped, text: str, label: str, seed: str, *, own: str = "", likely: float | None = None) -> None:
    """Add a row unless its text is invalid or already there, also under another label: then one of them is wrong."""
    folded = plain(text)
    if not folded:
        made.dropped["empty"] += 1
    elif len(text) > _LONGEST:
        made.dropped["too_long"] += 1
    elif folded in made.known:
        made.dropped["repeated"] += 1
    else:
        made.known.add(folded)
        made.rows.append(BootstrapRow(text=text, label=label, origin="teacher", seed=seed, said=own, likely=likely))


_WRITTEN = ("text", "label", "origin", "seed", "teacher", "said", "likely")


def check_target(path: Path) -> None:
    """Check that no other file is overwritten. Raises `InputError`."""
    if path.exists() and path.read_bytes()[:200].splitlines()[:1] != [",".join(_WRITTEN).encode()]:
        raise InputError(
            f"{str(path)!r} is there already, and was not written by `bootstrap`.",
            hint="Choose another name, or move the file.",
        )


def write_bootstrapped(path: Path, made: Bootstrapped, teacher: str) -> None:
    """Write the rows as a CSV with the columns text, label, origin, seed, teacher, said and likely."""

    def write(target: Path) -> None:
        with target.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(_WRITTEN)
            for row in made.rows:
                who = teacher if row.origin == "teacher" else ""
                likely = "" if row.likely is None else row.likely
                writer.writerow((row.text, row.label, row.origin, row.seed, who, row.said, likely))

    path.parent.mkdir(parents=True, exist_ok=True)
    write_with(path, write)


# --- Train a specialist for a job from its captured calls, and load a version of one.

TRAINABLE = frozenset({"labels", "lists", "json"})
"""Shapes of answers that a specialist is trained for."""
_ORDER: Mapping[LabelOrigin, int] = {"teacher": 0, "feedback": 1, "person": 2}


@dataclass(frozen=True, kw_only=True)
class JobRows:
    """The training rows of a job's specialist."""

    rows: tuple[tuple[str, str], ...]
    """Input and label of each row."""
    examples: tuple[str, ...]
    """Ids of the rows' examples."""
    origins: Mapping[str, int]
    """Number of rows by source of the label."""
    left_out: int
    """Number of examples in the audit slice."""
    open_fields: tuple[str, ...] = ()
    """For JSON objects: fields whose values are no closed set, so that nothing can be trained."""
    formed: frozenset[str] = frozenset()
    """Answers of the job, folded: those of any call that are made of labels or values that rows have."""
    lists: Mapping[str, ListForm] = field(default_factory=dict)
    """Fields whose values are lists of labels."""

    def of_field(self, key: str, keys: Sequence[str]) -> list[tuple[str, str | tuple[str, ...]]]:
        """Input and JSON text of one field's value, or of the labels in it, of rows whose labels have these fields."""
        values = [(text, (values_of(label, keys) or {})[key]) for text, label in self.rows]
        if key not in self.lists:
            return [*values]
        return [(text, labels_of(value) or ()) for text, value in values]


def rows_of(
    job: KnownJob, examples: Iterable[CapturedExample], labels: Iterable[GivenLabel], *, audit_share: float
) -> JobRows:
    """Return the training rows of a job.

    Args:
        job: The job.
        examples: Its captured calls; answers of a deployment are no rows, since it would learn from itself.
        labels: Labels of people and feedback.
        audit_share: Share of examples that are left out.
    """
    labels_by_example: dict[str, tuple[int, str]] = {}
    for label in labels:
        rank = _ORDER[label.origin]
        if label.value is not None and rank >= labels_by_example.get(label.example, (0, ""))[0]:
            labels_by_example[label.example] = rank, label.value
    labelled: dict[str, tuple[str, str, LabelOrigin]] = {}
    left_out = 0
    for example in examples:
        if is_audit(example.id, audit_share):
            left_out += 1
            continue
        rank, value = labels_by_example.get(example.id, (0, ""))
        if not rank and (example.failed or example.by_specialist):
            continue
        spelled = _spelled(job, value or example.answer)
        if spelled is not None and example.input.strip():
            origin = next(name for name, order in _ORDER.items() if order == rank)
            labelled[example.id] = example.input, spelled, origin
    closed = None
    if keys := keys_of(job.shape, job.labels):
        objects = {key: values_of(label, keys) or {} for key, (_, label, _) in labelled.items()}
        closed = ClosedFields.of(list(objects.values()), keys)
        whole = {key: closed.row(values) for key, values in objects.items()}
        kept = {
            key: (labelled[key][0], object_of(row), labelled[key][2]) for key, row in whole.items() if row is not None
        }
        answers = {example.answer for example in examples if not example.failed}
        formed = {fold(answer) for answer in answers if closed.row(values_of(answer, keys)) is not None}
    else:
        counts = Counter(label for _, label, _ in labelled.values())
        kept = {key: row for key, row in labelled.items() if counts[row[1]] >= FEWEST}
        formed = set(job.labels)
    return JobRows(
        rows=tuple((text, label) for text, label, _ in kept.values()),
        examples=tuple(kept),
        origins=dict(Counter(origin for _, _, origin in kept.values())),
        left_out=left_out,
        open_fields=closed.open_fields if closed else (),
        formed=frozenset(formed),
        lists=closed.lists if closed else {},
    )


def _spelled(job: KnownJob, answer: str) -> str | None:
    """Return an answer as a training row's label; None if it is none of the job's."""
    if keys := keys_of(job.shape, job.labels):
        return answer if values_of(answer, keys) is not None else None
    return job.labels.get(fold(answer))


def field_name(job: KnownJob, key: str) -> str:
    """Return the name, in the registry, of the specialist of a field."""
    short = re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")[:20]
    return f"{job.name[:40].strip('-')}-{short or 'field'}-{blake2b(key.encode(), digest_size=2).hexdigest()}"


def section_of_job(job: KnownJob, name: str = "", *, several: bool = False) -> SpecialistSection:
    """Return the section of a job's specialist, or of the specialist of one field; it is in no file."""
    data = (ROWS_FOLDER / f"{name or job.name}.jsonl").as_posix()
    first = next((template.piece for template in job.templates if template.piece), job.name)
    described = " ".join(first.split())[:200]
    # What decides is how much it answers. Of few rows the cheaper rung may seem as good, and saves next to nothing
    # beside a call to a large model.
    form = {"rungs": ["embedding"], "cross_validate": True, "multi_label": several}
    section = TASKS.check({"task": "classify", "description": described, "data": data, **form})
    if not isinstance(section, SpecialistSection):
        raise TypeError(type(section).__name__)
    return section


def train_job(
    folder: Path, config: Config, job: KnownJob, rows: JobRows, *, encoder: TextEncoder | None = None
) -> TrainedSpecialist:
    """Train a version of a job's specialist; the version is a candidate in the registry and does not serve.

    Raises:
        DataError: the rows cannot be trained on.
        SetupError: it cannot be stored.
    """
    if not (keys := keys_of(job.shape, job.labels)):
        return _train_rows(folder, config, section_of_job(job), rows.rows, name=job.name, encoder=encoder)
    versions, rungs = {}, []
    for key in keys:
        name, some = field_name(job, key), rows.of_field(key, keys)
        if len({value for _, value in some}) == 1:
            versions[key] = CONSTANT + (values_of(rows.rows[0][1], keys) or {})[key]
            continue
        section = section_of_job(job, name, several=key in rows.lists)
        made = _train_rows(folder, config, section, some, name=name, encoder=encoder)
        versions[key] = made.version
        rungs.append(str(made.report.get("rung")))
    made_of = repr((sorted(versions.items()), sorted(rows.lists.items())) if rows.lists else sorted(versions.items()))
    digest = blake2b(made_of.encode(), digest_size=8).hexdigest()
    return TrainedSpecialist(
        name=job.name, version=digest, promoted=False, report={"rung": ", ".join(rungs), "fields": versions}
    )


def _train_rows(
    folder: Path,
    config: Config,
    section: SpecialistSection,
    rows: Sequence[tuple[str, str | tuple[str, ...]]],
    *,
    name: str,
    encoder: TextEncoder | None,
) -> TrainedSpecialist:
    path = folder / ROWS_FOLDER / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps({"text": text, "label": label}, ensure_ascii=True) for text, label in rows)
    try:
        write_bytes(path, "".join(f"{line}\n" for line in lines).encode())
        return train_candidate(folder, config, name, section, encoder=encoder)
    finally:  # captured texts are kept in the store alone, which erases and forgets them
        path.unlink(missing_ok=True)


def parts_of(job: KnownJob, version: str, fields: Mapping[str, str]) -> dict[str, str]:
    """Return the versions of a deployment, by the name of their specialist in the registry."""
    if not fields:
        return {job.name: version}
    return {
        field_name(job, key): version_id for key, version_id in fields.items() if not version_id.startswith(CONSTANT)
    }


def outcomes_of(
    folder: Path, config: Config, job: KnownJob, version: str, fields: Mapping[str, str]
) -> CalibrationOutcomes | None:
    """Return a version's out-of-fold answers to its training rows, in their order; None if none were stored.

    For JSON objects, all fields together: right if each is, with the product of their confidences.
    """
    registry = open_registry(folder, config.registry)
    parts = parts_of(job, version, fields)
    try:
        outcomes = [
            CalibrationOutcomes.from_files(registry.load(name, version_id).files) for name, version_id in parts.items()
        ]
    except (CoterieError, ValueError, LookupError):
        return None
    whole = [outcome for outcome in outcomes if outcome is not None]
    if len(whole) < len(parts) or len({len(outcome.right) for outcome in whole}) != 1:
        return None
    return CalibrationOutcomes(
        confidence=np.prod([outcome.confidence for outcome in whole], axis=0),
        right=np.all([outcome.right for outcome in whole], axis=0),
        group=whole[0].group,
    )


async def load_version(
    registry: Registry, config: Config, job: KnownJob, deployment: Deployment, *, encoder: Engine, encoder_sha256: str
) -> Specialist:
    """Load the specialist of a deployment.

    Raises:
        ArtefactRefused: it is damaged, gone, or of another encoder.
    """

    def load(name: str, version: str) -> Specialist:
        stored = registry.load(name, version)
        made_with = stored.report.get("encoder_sha256", encoder_sha256)
        if made_with != encoder_sha256:
            raise ArtefactRefused(
                f"Version {version} of {name!r} was trained with another encoder.",
                hint=f"Train it again: coterie retrain {job.name}",
            )
        described = parse_json(stored.files["model.json"])
        section = section_of_job(job, name, several=bool(described.get("multi_label")))
        if described.get("task") != section.task:
            raise ArtefactRefused(f"Version {version} of {name!r} is of the task {described.get('task')!r}.")
        return load_specialist(
            name, section, stored, encoder=encoder, models={}, data_label=config.network.default_label
        )

    if not deployment.fields:
        return await asyncio.to_thread(load, job.name, deployment.version)
    constants = {
        key: version_id[1:] for key, version_id in deployment.fields.items() if version_id.startswith(CONSTANT)
    }
    parts = {
        key: await asyncio.to_thread(load, field_name(job, key), version)
        for key, version in deployment.fields.items()
        if key not in constants
    }
    card = replace(next(iter(parts.values())).card, name=job.name, version=deployment.version, options=(), form="text")
    return FieldsSpecialist(
        card=card, parts=parts, keys=tuple(deployment.fields), constants=constants, lists=deployment.lists
    )
