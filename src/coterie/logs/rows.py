"""From log files to training files: the fields of answers, and one file a field, in the format of `coterie add`."""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any, Literal

from coterie.errors import DataError, InputError
from coterie.learning.dataset import fold_label
from coterie.logs.exchanges import CallReader, LoggedCall, read_log
from coterie.types import Scalar

ANSWER = "answer"
"""Name of the field of an answer that is not a JSON object."""
MOST_FIELDS = 500
FEWEST = 10
"""Fewest rows that can be trained on."""
_DEEPEST = 4
_DISTINCT = 2_000
"""Most values of a field that are counted; a field with more is not a set of labels."""
_LONGEST_LABEL = 100
_REPEATED, _QUOTED = 0.8, 0.8
_FENCE = re.compile(r"^\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)

Value = Scalar | list[Scalar]
Form = Literal["label", "quotes", "reply"]
"""The target of a row: one of few labels, words of the text, or free text."""


def fields_of(answer: Any) -> dict[str, Value]:  # noqa: ANN401 - any JSON value
    """Return an answer as named values: a JSON object by its keys, nested ones joined by dots; else as one field."""
    if isinstance(answer, str):
        fenced = _FENCE.match(answer)
        answer = _parsed((fenced[1] if fenced else answer).strip())
    if isinstance(answer, dict):
        fields: dict[str, Value] = {}
        _flatten(answer, "", fields, _DEEPEST)
        return fields
    return {ANSWER: _value(answer)}


def _parsed(text: str) -> Any:  # noqa: ANN401 - any JSON value
    if text[:1] in {"{", "[", '"'} or text in {"true", "false"}:
        try:
            return json.loads(text, parse_constant=lambda _: None)
        except (ValueError, RecursionError):
            return text
    return text


def _flatten(value: Mapping[str, Any], prefix: str, fields: dict[str, Value], depth: int) -> None:
    for key, inner in value.items():
        name = f"{prefix}{key}"
        if isinstance(inner, dict) and inner and depth > 1:
            _flatten(inner, f"{name}.", fields, depth - 1)
        else:
            fields[name] = _value(inner)


def _value(value: Any) -> Value:  # noqa: ANN401 - any JSON value
    if isinstance(value, list) and all(isinstance(item, str | int | float | bool) for item in value):
        return value
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return json.dumps(value, ensure_ascii=False)


def fingerprint(text: str) -> str:
    """Return eight characters that identify the instructions of a call site, spaces aside."""
    return blake2b(" ".join(text.split()).encode("utf-8", "replace"), digest_size=4).hexdigest()


def written(value: Scalar) -> str:
    """Return a value as a label is written."""
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def folded(label: str) -> str:
    """Return a label without differences in case, spaces and closing punctuation."""
    return fold_label(label).strip(" .,;:!\"'`")


@dataclass
class FieldCounts:
    """Statistics of the values of one field, updated value by value."""

    rows: int = 0
    nulls: int = 0
    lists: int = 0
    numbers: int = 0
    long: int = 0
    """Number of values that are too long for a label, or have several lines."""
    quoted: int = 0
    """Number of values that stand in the text word for word."""
    distinct: dict[str, Counter[str]] = field(default_factory=dict)
    """For each folded value, how often each spelling occurs."""
    many: bool = False
    sites: Counter[str] = field(default_factory=Counter)

    def add(self, value: Value, exchange: LoggedCall, site: str) -> None:
        """Count one value."""
        self.rows += 1
        self.sites[site] += 1
        self.lists += isinstance(value, list)
        self.numbers += isinstance(value, int | float) and not isinstance(value, bool)
        values = value if isinstance(value, list) else [] if value is None else [value]
        self.nulls += value is None
        for item in values:
            text = written(item)
            self.long += len(text) > _LONGEST_LABEL or "\n" in text
            self.quoted += bool(text) and not isinstance(item, bool) and text in exchange.text
            if folded(text) in self.distinct or len(self.distinct) < _DISTINCT:
                self.distinct.setdefault(folded(text), Counter())[text] += 1
            else:
                self.many = True

    @property
    def total(self) -> int:
        """Number of values that were counted."""
        return sum(map(Counter.total, self.distinct.values()))

    @property
    def is_label_set(self) -> bool:
        """Whether the values are few and repeat."""
        counts = [spellings.total() for spellings in self.distinct.values()]
        again = sum(count for count in counts if count > 1)
        few = len(counts) <= max(2, self.total / 2)
        return bool(counts) and not self.many and not self.long and few and again >= _REPEATED * self.total

    @property
    def labels(self) -> dict[str, str]:
        """The most frequent spelling of each label, by its folded form."""
        return {
            key: max(spellings, key=lambda spelling: (spellings[spelling], spelling))
            for key, spellings in self.distinct.items()
        }

    def form(self) -> Form | None:
        """Return the form of rows of the field; None if they cannot train anything."""
        if not self.total or self.rows - self.nulls < 1:
            return None
        quotes = self.quoted >= _QUOTED * self.total and not self.many
        if self.is_label_set and not (quotes and len(self.distinct) > self.total / 4):
            return "label" if len(self.distinct) > 1 else None
        if self.quoted >= _QUOTED * self.total and not self.long:
            return "quotes"
        return None if self.numbers == self.rows - self.nulls or self.lists else "reply"


# --- From log files to training files: one a field, each as `coterie add` reads it.

TASKS: Mapping[str, Form] = {"classify": "label", "extract": "quotes", "generate": "reply"}
"""Tasks that can be trained on the rows of a log, with the form of their rows."""
OTHERS = "other"
"""Name for call sites with too few rows for a file of their own."""


@dataclass(frozen=True, kw_only=True)
class ImportedFile:
    """One training file."""

    name: str
    """File name."""
    form: Form
    types: Mapping[str, str]
    """By field, its type for `extract`."""
    multi_label: bool = False
    site: str = ""
    """Fingerprint of the instructions of its calls, if there are several call sites; `other` for the rest."""
    rows: int = 0
    labels: Mapping[str, int] = field(default_factory=dict)

    @property
    def task(self) -> str:
        """The task that can be trained on the file."""
        return next(task for task, form in TASKS.items() if form == self.form)

    @property
    def family(self) -> object:
        """The key that the file shares with those of other call sites."""
        return self.form if self.form == "quotes" else tuple(self.types)

    @property
    def specialist(self) -> str:
        """A specialist name for `coterie add`."""
        return _named(self.name.removesuffix(".jsonl"), "-")

    @cached_property
    def keys(self) -> dict[str, str]:
        """By field, its name in a network's file, where names are lower-case."""
        keys: dict[str, str] = {}
        for name in self.types:
            key, number = _named(name, "_"), 2
            while key in keys.values():
                key, number = f"{_named(name, '_')}_{number}", number + 1
            keys[name] = key
        return keys

    def arguments(self, folder: Path) -> list[str]:
        """Return the arguments of `coterie add`; if a model is needed, `MODEL` stands for its key in coterie.toml."""
        words = [self.specialist, "--task", self.task, "--data", str(folder / self.name)]
        if self.form == "quotes":
            typed = [f"{key}={self.types[name]}" for name, key in self.keys.items()]
            return [*words, *(word for pair in typed for word in ("--field", pair))]
        return [*words, "--model", "MODEL"] if self.form == "reply" else words + ["--multi-label"] * self.multi_label


def _named(text: str, joint: str) -> str:
    name = re.sub(r"[^a-z0-9]+", joint, text.lower()).strip(joint)[:60]
    return name if name[:1].isalpha() else f"field{joint}{name}".strip(joint)


@dataclass(kw_only=True)
class Imported:
    """The findings and files of an import."""

    records: int = 0
    exchanges: int = 0
    formats: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    """Records and lines without a result, and rows that were left out, by reason."""
    fields: dict[str, FieldCounts] = field(default_factory=dict)
    sites: dict[str, str] = field(default_factory=dict)
    """The instructions of each call site, by their fingerprint."""
    conflicting: int = 0
    """Number of rows whose text has another value in another row of the file. They are kept."""
    files: list[ImportedFile] = field(default_factory=list)


def import_logs(
    paths: Sequence[Path],
    out: Path | None,
    *,
    task: str | None = None,
    only: Sequence[str] = (),
    progress: Callable[[Path, int], None] = lambda _path, _done: None,
) -> Imported:
    """Read logs and write a training file for each field.

    The log is read once and never held as a whole: exchanges are kept in a temporary file until all values of a
    field are known, and hashes of rows in memory.

    Args:
        paths: Log files; the halves of a batch may be in two files.
        out: Folder of the files; None writes none.
        task: The task to train, in place of the one that the values suggest.
        only: Names of the wanted fields; empty for all.
        progress: Called with the number of bytes of a file that are read.

    Raises:
        DataError: a file cannot be read, or the files hold nothing usable.
        InputError: a wanted field does not exist, or a file would be overwritten.
    """
    imported = Imported()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as spool:
        for exchange, source in _exchanges(paths, imported, progress):
            _count(exchange, source, imported, spool)
        if not imported.exchanges:
            raise nothing_in(paths, imported.skipped)
        if missing := [name for name in only if name not in imported.fields]:
            raise InputError(
                f"No field {missing[0]!r} in the answers.", hint=f"There is: {', '.join(imported.fields)}."
            )
        plans = _plans(imported, task, only)
        spool.seek(0)
        with ExitStack() as files:
            targets = {plan.name: None if out is None else _open(out / plan.name, files) for plan in plans}
            _write(map(json.loads, spool), plans, targets, imported)
    return imported


def nothing_in(paths: Sequence[Path], skipped: Counter[str]) -> DataError:
    """Return an error that says that files hold no call, and what they hold instead."""
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in skipped.most_common() if count)
    return DataError(
        f"No question with an answer in {', '.join(path.name for path in paths)} ({reasons or 'no records'}).",
        hint="`coterie import --help` names the formats.",
    )


def _exchanges(
    paths: Sequence[Path], imported: Imported, progress: Callable[[Path, int], None]
) -> Iterator[tuple[LoggedCall, str]]:
    reader = CallReader(skipped=imported.skipped)
    for path in paths:

        def advance(done: int, path: Path = path) -> None:
            progress(path, done)

        for record in read_log(path, imported.skipped, advance):
            imported.records += 1
            for exchange in reader.read(record.value):
                yield exchange, f"{path.name}:{record.line}"
    reader.finish()


def _count(exchange: LoggedCall, source: str, imported: Imported, spool: IO[str]) -> None:
    """Count an exchange's fields and keep it for the second pass."""
    imported.exchanges += 1
    imported.formats[exchange.format] += 1
    site = fingerprint(exchange.system)
    imported.sites.setdefault(site, exchange.system)
    fields: dict[str, Value] = {}
    for name, value in fields_of(exchange.answer).items():
        if name in imported.fields or len(imported.fields) < MOST_FIELDS:
            fields[name] = value
            imported.fields.setdefault(name, FieldCounts()).add(value, exchange, site)
        else:
            imported.skipped["too_many_fields"] += 1
    about = {"source": source, **exchange.about}
    kept = {"text": exchange.text, "site": site, "fields": fields, "about": about}
    spool.write(json.dumps(kept, ensure_ascii=True) + "\n")


# --- Which files -----------------------------------------------------------------------------------

_STRAY_LISTS = 0.1  # share of lists among a field's answers up to which the others are no lists of one label


def _plans(imported: Imported, task: str | None, only: Sequence[str]) -> list[ImportedFile]:
    """Return a file for each field and call site; the quoted fields of one call site share a file."""
    plans: list[ImportedFile] = []
    quoted: dict[str, dict[str, str]] = {}
    for name, counts in imported.fields.items():
        form = TASKS[task] if task else counts.form()
        if form is None or (only and name not in only):
            continue
        for site in _sites(counts):
            if form == "quotes":
                quoted.setdefault(site, {})[name] = "text*" if counts.lists else "text"
            else:
                file = ImportedFile(
                    name=_file_name(name, site, plans),
                    form=form,
                    types={name: "text"},
                    multi_label=form == "label" and counts.lists > _STRAY_LISTS * counts.rows,
                    site=site,
                )
                plans.append(file)
    for site, types in quoted.items():
        plans.append(ImportedFile(name=_file_name("fields", site, plans), form="quotes", types=types, site=site))
    return plans


def _sites(counts: FieldCounts) -> list[str]:
    """Return the call sites with a file of their own, and one for the rest; the empty name if there is one file."""
    large = [site for site, count in counts.sites.items() if count >= FEWEST]
    if len(large) < 2:
        return [""]
    return [*large, *([OTHERS] if len(large) < len(counts.sites) else [])]


def _file_name(field_name: str, site: str, plans: Iterable[ImportedFile]) -> str:
    stem = re.sub(r"[^\w.-]+", "_", field_name).strip("._")[:80] or "field"
    stem = f"{stem}.{site}" if site else stem
    taken = {plan.name.casefold() for plan in plans}
    name, number = f"{stem}.jsonl", 2
    while name.casefold() in taken:
        name, number = f"{stem}-{number}.jsonl", number + 1
    return name


def _open(path: Path, files: ExitStack) -> IO[str]:
    """Open a file for people's texts, readable by this user only. Raises `InputError` if it already exists."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600, exist_ok=False)
        return files.enter_context(path.open("w", encoding="utf-8", errors="replace"))
    except FileExistsError:
        raise InputError(f"{str(path)!r} is there already.", hint="Name another folder: --out FOLDER") from None
    except OSError as error:
        raise InputError(f"Cannot write {str(path)!r}: {error.strerror or error}.") from error


# --- The rows ----------------------------------------------------------------------------------------


def _write(
    exchanges: Iterable[Mapping[str, Any]],
    plans: Sequence[ImportedFile],
    targets: Mapping[str, IO[str] | None],
    imported: Imported,
) -> None:
    """Write every distinct row, and put the files with their counts into `imported`."""
    labels: dict[str, Counter[str]] = {plan.name: Counter() for plan in plans}
    written_rows: dict[str, set[tuple[bytes, bytes]]] = {plan.name: set() for plan in plans}
    firsts: dict[str, dict[bytes, bytes]] = {plan.name: {} for plan in plans}
    sites = {plan.name: {other.site for other in plans if other.family == plan.family} for plan in plans}
    spellings = {name: counts.labels for name, counts in imported.fields.items()}
    for exchange in exchanges:
        for plan in plans:
            site = exchange["site"] if exchange["site"] in sites[plan.name] else OTHERS
            if plan.site not in {"", site} or exchange["fields"].keys().isdisjoint(plan.types):
                continue
            row = _row(plan, exchange, spellings)
            if isinstance(row, str):
                imported.skipped[row] += 1
                continue
            text, value = _hash(exchange["text"]), _hash(json.dumps(row))
            if (text, value) in written_rows[plan.name]:
                imported.skipped["duplicate"] += 1
                continue
            written_rows[plan.name].add((text, value))
            imported.conflicting += firsts[plan.name].setdefault(text, value) != value
            label = row.get("label", [])
            labels[plan.name].update([label] if isinstance(label, str) else label)
            if (target := targets[plan.name]) is not None:
                whole = {"text": exchange["text"], **row, **exchange["about"]}
                target.write(json.dumps(whole, ensure_ascii=False) + "\n")
    for plan in plans:
        counts = dict(labels[plan.name].most_common())
        imported.files.append(replace(plan, rows=len(written_rows[plan.name]), labels=counts))


def _hash(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).digest()


def _row(
    plan: ImportedFile, exchange: Mapping[str, Any], spellings: Mapping[str, Mapping[str, str]]
) -> dict[str, Any] | str:
    """Return an exchange's values for the fields of a file, or the reason why it yields no row."""
    fields, text = exchange["fields"], exchange["text"]
    if plan.form == "quotes":
        quotes = {key: _quotes(fields.get(name)) for name, key in plan.keys.items()}
        stated = [quote for quote in quotes.values() if quote]
        if not all(part in text for quote in stated for part in ([quote] if isinstance(quote, str) else quote)):
            return "not_quoted"
        return {"fields": quotes}
    (name,) = plan.types
    value = fields[name]
    if value is None or value == "":
        return "empty"
    if plan.form == "reply":
        return {"reply": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}
    if isinstance(value, list) and not plan.multi_label and len(value) != 1:
        return "stray_list"
    values = [written(item) for item in (value if isinstance(value, list) else [value])]
    labels = list(dict.fromkeys(spellings[name].get(folded(value), value) for value in values))
    return {"label": labels if plan.multi_label else labels[0]}


def _quotes(value: Value) -> str | list[str] | None:
    """Return the words of a field's value; None if it has none."""
    if isinstance(value, list):
        return [written(item) for item in value] or None
    return None if value is None or value == "" else written(value)
