"""Training a `tools` specialist: a classifier of functions per rung, and parts for arguments that all rungs share."""

from __future__ import annotations

import json
import math
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from coterie.config.specialists import SpecialistSection
from coterie.learning.job import Job
from coterie.learning.measure import Candidate, Encoded, choose, measure
from coterie.runtime.codec import parse_json
from coterie.tasks.classify.fit import train_classify
from coterie.tasks.classify.section import ClassifySection
from coterie.tasks.classify.task import TASK as CLASSIFY
from coterie.tasks.contract import TaskType
from coterie.tasks.extract.fit import train_extract
from coterie.tasks.extract.section import ExtractSection
from coterie.tasks.extract.task import TASK as EXTRACT
from coterie.tasks.tools.model import (
    CHOOSER,
    NOTHING,
    READER,
    SAID,
    Argument,
    arguments_of,
    as_label,
    assemble,
    choice_prefix,
    describe_functions,
    field_types,
    in_words,
    left_over,
    prefixed,
    said_choices,
    says,
    silence_prefix,
    values_said,
)
from coterie.tasks.tools.rows import ARGUMENTS, functions_of
from coterie.tasks.tools.section import ToolsSection
from coterie.types import Function

if TYPE_CHECKING:
    from coterie.learning.dataset import Dataset, Row
    from coterie.types import Rung

T = TypeVar("T", bound=SpecialistSection)

_QUICK: tuple[Rung, ...] = ("lexical", "embedding")


class Fillers(NamedTuple):
    """The parts that fill in arguments."""

    files: dict[str, bytes]
    notes: dict[str, object]
    warnings: list[str]
    """Warnings for the person who trains."""


def train_tools(job: Job[ToolsSection], encoded: Encoded) -> list[Candidate]:
    """Return a candidate per rung, cheapest first."""
    functions = functions_of(job.section)
    arguments = arguments_of(functions.values())
    start = time.perf_counter()
    fillers = _fillers(job, arguments, encoded)
    fillers.notes["arguments_seconds"] = round(time.perf_counter() - start, 1)
    choosing = _derived(job, ClassifySection, CLASSIFY, lambda row: row, rungs=job.section.rungs, base=job.section.base)
    return [_candidate(job, candidate, functions, fillers) for candidate in train_classify(choosing, encoded)]


def _candidate(
    job: Job[ToolsSection],
    chooser: Candidate,
    functions: Mapping[str, Function],
    fillers: Fillers,
) -> Candidate:
    """Return a classifier of functions with the parts that fill in arguments, measured as a whole."""
    labels = parse_json(chooser.files["model.json"])["labels"]
    arguments = arguments_of(functions.values())
    literal = list(_literal(job.train, arguments))
    described = {
        "task": "tools",
        "rung": chooser.rung,
        "labels": labels,
        "functions": describe_functions(functions),
        "literal": [list(pair) for pair in literal],
        "whole": _whole(job.train, functions, literal),
        "distinct": _distinct(job.train, functions),
        "columns": [],
    }
    text = json.dumps(described, ensure_ascii=False, indent=1)
    files = {**prefixed(CHOOSER, chooser.files), **fillers.files, "model.json": text.encode()}
    specialist = assemble(job.card(chooser.rung), described, files, encoder=job.encoder)
    return replace(
        chooser,
        files=files,
        evaluation=measure(job, chooser.rung, specialist),
        measured=None,
        notes={**chooser.notes, **fillers.notes},
        warnings=(*chooser.warnings, *fillers.warnings),
    )


def _fillers(job: Job[ToolsSection], arguments: Mapping[str, tuple[Argument, ...]], encoded: Encoded) -> Fillers:
    """Train the parts that fill in arguments."""
    files: dict[str, bytes] = {}
    notes: dict[str, object] = {}
    warnings: list[str] = []
    stated = {name for row in job.train.rows for name in row.fields}
    fields = {name: kind for name, kind in field_types(arguments).items() if name in stated}
    if fields:
        reading = _derived(job, ExtractSection, EXTRACT, _read_row, fields=fields, rungs=("lexical",))
        reader = choose(train_extract(reading), {}).candidate
        files |= prefixed(READER, reader.files)
        notes["reader"] = {"rung": reader.rung, "held_out": reader.evaluation.to_json()["token_f1"]}
        warnings += [in_words(warning, arguments) for warning in reader.warnings]
    several = [(f, a) for f, arguments_ in arguments.items() for a in arguments_ if a.kind == "choice"]
    for index, (function, argument) in enumerate(several):
        chosen = _choice(job, function, argument, encoded)
        if isinstance(chosen, str):
            warnings.append(f"{function}.{argument.name}: {chosen}")
        else:
            files |= prefixed(choice_prefix(index), chosen.files)
            warnings += [f"{function}.{argument.name}: {warning}" for warning in chosen.warnings]
            notes[f"{function}.{argument.name}"] = {"rung": chosen.rung, chosen.quality: chosen.figure.value}
            if (silence := _silence(job, function, argument, encoded)) is not None:
                files |= prefixed(silence_prefix(index), silence.files)
    return Fillers(files, notes, warnings)


_FEWEST_SAID, _UNSAID = 10, 0.05
"""Fewest rows of a choice to decide whether texts contain its values, and the share of rows that may lack one."""


def _literal(data: Dataset, arguments: Mapping[str, tuple[Argument, ...]]) -> Iterator[tuple[str, str]]:
    """Yield the choices whose value occurs in the rows' texts: their value must not be guessed."""
    for function, own in arguments.items():
        rows = [row for row in data.rows if row.labels == (function,)]
        made = [(row.text, parse_json(str(row.columns[ARGUMENTS]))) for row in rows]
        for name in (argument.name for argument in own if argument.kind == "choice"):
            is_stated = [says(text, given[name]) for text, given in made if given.get(name) is not None]
            if len(is_stated) >= _FEWEST_SAID and is_stated.count(False) <= _UNSAID * len(is_stated):
                yield function, name


def _whole(data: Dataset, functions: Mapping[str, Function], literal: Sequence[tuple[str, str]]) -> list[str]:
    """Return the functions whose rows hardly ever mention a value outside their arguments.

    A text that mentions such a value asks for more than one call.
    """
    choices, whole = said_choices(functions, literal), []
    for function in functions:
        rows = [row for row in data.rows if row.labels == (function,)]
        over = [left_over(values_said(row.text, choices), list(_said_in(row))) for row in rows]
        if len(rows) >= _FEWEST_SAID and sum(map(bool, over)) <= _UNSAID * len(rows):
            whole.append(function)
    return whole


def _distinct(data: Dataset, functions: Mapping[str, Function]) -> list[str]:
    """Return the functions whose rows hardly ever take the same words for two arguments."""
    distinct = []
    for function in functions:
        rows = [row for row in data.rows if row.labels == (function,)]
        shared = [_shares_words(row) for row in rows]
        if len(rows) >= _FEWEST_SAID and sum(shared) <= _UNSAID * len(rows):
            distinct.append(function)
    return distinct


def _shares_words(row: Row) -> bool:
    """Return whether every place that says an argument of a row also says another one."""
    pairs = combinations([stated.spans for stated in row.fields.values() if stated.spans], 2)
    return any(all(a.start < b.end and b.start < a.end for a in one for b in two) for one, two in pairs)


def _said_in(row: Row) -> Iterator[object]:
    """Yield the arguments of a row, and the words that express them."""
    yield from parse_json(str(row.columns[ARGUMENTS])).values()
    for stated in row.fields.values():
        yield from (row.text[span.start : span.end] for span in stated.spans)


def _choice(job: Job[ToolsSection], function: str, argument: Argument, encoded: Encoded) -> Candidate | str:
    """Return the classifier of an argument's values, or in words why there is none."""
    own = [index for index, row in enumerate(job.train.rows) if row.labels == (function,)]

    def labelled(row: Row) -> Row:
        value = parse_json(str(row.columns[ARGUMENTS])).get(argument.name)
        return replace(row, labels=(NOTHING if value is None else as_label(value),))

    rows = job.train.take(own)
    counts = _labelled(rows, labelled).label_counts
    if len(counts) < 2 or min(counts.values()) < 2:
        return f"its rows have {dict(counts)}: two values with two rows each are needed, so it is never filled in"
    derived = _derived(replace(job, train=rows, held_out=rows), ClassifySection, CLASSIFY, labelled, rungs=_QUICK)
    vectors = Encoded(vectors=encoded.vectors[own], seconds=0.0)
    return choose(train_classify(derived, vectors), {}).candidate


def _silence(job: Job[ToolsSection], function: str, argument: Argument, encoded: Encoded) -> Candidate | None:
    """Return the classifier of whether a text mentions the argument; None where it cannot be trained.

    It cannot be trained where rows leave the argument out, or where no word indicates its values.
    """
    own = [index for index, row in enumerate(job.train.rows) if row.labels == (function,)]
    given = [parse_json(str(job.train.rows[row].columns[ARGUMENTS])).get(argument.name) for row in own]
    if any(value is None for value in given):
        return None
    rows = [replace(job.train.rows[row], labels=(SAID,)) for row in own]
    silent = without_value(rows, [as_label(value) for value in given])
    if not silent:
        return None
    texts = [replace(row, labels=(NOTHING,)) for row in silent]
    data = replace(job.train.take(own), rows=(*rows, *texts), warnings=())
    vectors = np.concatenate([encoded.vectors[own], job.encoder.encode([row.text for row in texts])])
    derived = _derived(replace(job, train=data, held_out=data), ClassifySection, CLASSIFY, _unchanged, rungs=_QUICK)
    return choose(train_classify(derived, Encoded(vectors=vectors, seconds=0.0)), {}).candidate


def _unchanged(row: Row) -> Row:
    return row


_SURE, _FEWEST_SILENT = 10.8, 4
"""Thresholds for learning from texts that do not mention an argument.

The log-likelihood ratio from which a word indicates a value (chance reaches it once in a thousand), and the
fewest texts without such words for training.
"""
_WORDS = re.compile(r"\w+")


def without_value(rows: Sequence[Row], values: Sequence[str]) -> list[Row]:
    """Return texts that do not mention the value: the rows without the words that indicate it, each once.

    Where no row leaves an argument out, a text without it would otherwise get the likeliest value: a command to switch
    something, without whether on or off.
    """
    of_word: dict[str, Counter[str]] = defaultdict(Counter)
    for row, value in zip(rows, values, strict=True):
        for word in set(_WORDS.findall(row.text.casefold())):
            of_word[word][value] += 1
    every = Counter(values)
    telling = {word for word, seen in of_word.items() if _tells(seen, every)}
    silent: dict[str, Row] = {}
    for row in rows:
        kept = _WORDS.sub(lambda match: "" if match[0].casefold() in telling else match[0], row.text)
        text = " ".join(kept.split())
        if text != " ".join(row.text.split()) and _WORDS.search(text):
            silent.setdefault(text.casefold(), replace(row, text=text))
    return list(silent.values()) if len(silent) >= _FEWEST_SILENT else []


def _tells(seen: Counter[str], every: Counter[str]) -> bool:
    """Return whether a word occurs in rows of one value only, and in more of them than by chance."""
    ((value, count), *others) = seen.most_common(2)
    return not others and -2 * count * math.log(every[value] / every.total()) >= _SURE


def _labelled(data: Dataset, change: Callable[[Row], Row]) -> Dataset:
    return replace(data, rows=tuple(map(change, data.rows)), warnings=())


def _read_row(row: Row) -> Row:
    return replace(row, labels=tuple(sorted(row.fields)))


def _derived(
    job: Job[ToolsSection],
    section: type[T],
    task: TaskType[T],
    change: Callable[[Row], Row],
    **settings: object,
) -> Job[T]:
    """Return the job of a part: the same rows, changed, with a section of the part's task."""
    kept: dict[str, object] = {"seed": job.section.seed, "data": job.section.data}
    if "target_risk" in job.section.model_fields_set:  # one that somebody wrote down is held
        kept["target_risk"] = job.section.target_risk
    kept |= {name: value for name, value in settings.items() if value is not None}
    made = section.model_validate({"task": task.kind, **kept})
    train = _labelled(job.train, change)
    held_out = train if job.cross_validated else _labelled(job.held_out, change)
    fields = {dataclass_field.name: getattr(job, dataclass_field.name) for dataclass_field in dataclass_fields(job)}
    return Job(**{**fields, "task": task, "section": made, "train": train, "held_out": held_out})
