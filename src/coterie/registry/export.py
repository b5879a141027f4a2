"""A version for other readers: its model card, a folder or zip file in the Hugging Face form, a bill of materials."""

from __future__ import annotations

import hashlib
import io
import json
import re
import uuid
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from coterie.errors import InputError
from coterie.registry.promotion import mapping, number, rung_row
from coterie.registry.signature import SIGNATURE
from coterie.registry.version import MANIFEST, Version, explaining, replace_file, write_folder

CARD = "card.md"
_README = "README.md"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest date a zip file can hold


def export_version(version: Version, target: Path) -> Path:
    """Write a version to a folder, or to a zip file if the name has that ending: as a whole or not at all.

    The export holds the version's files with manifest and signature, and the card once more as `README.md`. The
    same version gives the same bytes.

    Raises:
        InputError: the target already exists.
        SetupError: it cannot be written; nothing of it is left.
    """
    if target.exists() or target.is_symlink():
        raise InputError(f"{str(target)!r} exists already.", hint="Name a folder or zip file that does not exist yet.")
    files = dict(sorted({**version.files, MANIFEST: version.manifest}.items()))
    if version.signature.content is not None:
        files[SIGNATURE] = version.signature.content
    if CARD in files:
        files[_README] = files[CARD]
    with explaining(f"export to {str(target)!r}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix == ".zip":
            replace_file(target, _zipped(f"{version.name}-{version.version}", files))
        else:
            write_folder(target.absolute().parent, target.name, files)
    return target


def _zipped(folder: str, files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(f"{folder}/{name}", _EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


# --- Bill of materials: CycloneDX 1.6.

SPECIFICATION = "1.6"
_NAMESPACE = uuid.UUID("6f0d9d0e-7b0c-5a44-9a35-636f74657269")
_SHA256 = re.compile(r"[0-9a-f]{64}")

Component = dict[str, Any]


def bill_of_materials(version: Version) -> dict[str, Any]:
    """Return the CycloneDX document of a version."""
    report = version.report
    subject = _subject(version, report)
    parts = [*_files(version), *_data(report), *_models(report), *_libraries(report)]
    depends = [{"ref": subject["bom-ref"], "dependsOn": [part["bom-ref"] for part in parts]}]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPECIFICATION,
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, f'{version.name}@{version.version}')}",
        "version": 1,
        "metadata": {"component": subject},
        "components": parts,
        "dependencies": [*depends, *({"ref": part["bom-ref"], "dependsOn": []} for part in parts)],
    }


def _subject(version: Version, report: Mapping[str, object]) -> Component:
    """Return the version as a component, with the fields of CycloneDX's model card."""
    figures = [
        {"type": name, "value": f"{value:.6g}"}
        for name, value_ in mapping(report.get("metrics")).items()
        if (value := number(value_)) is not None
    ]
    card: dict[str, Any] = {"modelParameters": {"task": str(report.get("task", ""))}}
    if data := list(_data(report)):
        card["modelParameters"]["datasets"] = [{"ref": dataset["bom-ref"]} for dataset in data]
    if figures:
        card["quantitativeAnalysis"] = {"performanceMetrics": figures}
    return {
        "type": "machine-learning-model",
        "bom-ref": f"coterie:{version.name}@{version.version}",
        "name": version.name,
        "version": version.version,
        "description": str(report.get("description", "")),
        "hashes": _hashes(hashlib.sha256(version.manifest).hexdigest()),
        "modelCard": card,
        "properties": [
            {"name": "coterie:rung", "value": str(report.get("rung", ""))},
            {"name": "coterie:code_version", "value": str(report.get("code_version", ""))},
        ],
    }


def _files(version: Version) -> Iterator[Component]:
    for name in sorted(version.files):
        content = version.files[name]
        yield {
            "type": "file",
            "bom-ref": f"file:{name}",
            "name": name,
            "hashes": _hashes(hashlib.sha256(content).hexdigest()),
        }


def _data(report: Mapping[str, object]) -> Iterator[Component]:
    """Yield the files of training and held-out rows, each once."""
    seen = set[str]()
    for use, described in mapping(report.get("data")).items():
        about = mapping(described)
        digest = str(about.get("sha256", ""))
        if digest in seen:
            continue
        seen.add(digest)
        yield {
            "type": "data",
            "bom-ref": f"data:{use}",
            "name": str(about.get("file", use)),
            "hashes": _hashes(digest),
            **_licensed(about.get("licence")),
            "properties": [{"name": "coterie:rows", "value": str(about.get("rows", ""))}],
        }


def _models(report: Mapping[str, object]) -> Iterator[Component]:
    if base := mapping(report.get("base")):
        source = str(base.get("source", ""))
        yield {
            "type": "machine-learning-model",
            "bom-ref": "model:base",
            "name": str(base.get("name", "base model")),
            "hashes": _hashes(str(base.get("sha256", ""))),
            **_licensed(base.get("licence")),
            **({"properties": [{"name": "coterie:source", "value": source}]} if source else {}),
        }
    if encoder := str(report.get("encoder_sha256") or ""):
        yield {
            "type": "machine-learning-model",
            "bom-ref": "model:encoder",
            "name": "all-MiniLM-L6-v2 (int8 ONNX)",
            "hashes": _hashes(encoder),
            **_licensed("Apache-2.0"),
        }


def _libraries(report: Mapping[str, object]) -> Iterator[Component]:
    for name, version in mapping(report.get("libraries")).items():
        purl = f"pkg:pypi/{name.lower()}@{str(version).partition('+')[0]}"
        yield {"type": "library", "bom-ref": purl, "name": name, "version": str(version), "purl": purl}


def _hashes(digest: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": digest}] if _SHA256.fullmatch(digest) else []


def _licensed(licence: object) -> dict[str, Sequence[Mapping[str, Any]]]:
    """Return a licence as it was stated; nothing if none is stated."""
    if not isinstance(licence, str) or not licence.strip():
        return {}
    return {"licenses": [{"license": {"name": licence.strip()}}]}


# --- The Markdown of a model card.

Table = Sequence[Sequence[str]]


def table(rows: Table) -> str:
    """Write rows, the header first, as a Markdown table; nothing for a header alone."""
    if len(rows) < 2:
        return ""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def listing(items: Sequence[str]) -> str:
    """Write items as a Markdown list."""
    return "\n".join(f"- {item}" for item in items)


def words(value: object) -> str:
    """Return a value as one line of plain Markdown, which cannot become a heading, a cell or a tag."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(text.split()))


def figure_of(value: object) -> str:
    """Write a number with four digits, anything else as words."""
    return f"{value:.4g}" if isinstance(value, float) else words(value) or "-"


# --- What a model card says of the groups of protected attributes, and of what gives these away.

_MOST_PROXIES = 5  # columns shown of each attribute
_NOTE = (
    "Approved is a probability below one half. Of training rows, each scored by a model that had not seen it; brackets "
    "hold 95% intervals. A ratio is to the group approved most; below 0.8, the four-fifths rule, is what to look at. "
    "The figures say that groups differ, not why."
)
_HEADER = ("rows", "bad outcome", "approved", "ratio", "refused wrongly", "approved wrongly", "decided alone")


def fairness_sections(report: Mapping[str, object]) -> list[str]:
    """Return the figures of protected attributes' groups, and the columns that reveal them; empty without any."""
    chosen = rung_row(report, report.get("rung"))
    tables = [_groups(column, mapping(groups)) for column, groups in mapping(chosen.get("fairness")).items()]
    if not tables:
        return []
    proxies = [_proxies(name, mapping(columns)) for name, columns in mapping(chosen.get("proxies")).items()]
    return ["## Fairness by group", _NOTE, *tables, *filter(None, proxies)]


def _groups(column: str, about: Mapping[str, object]) -> str:
    listed = about.get("groups")
    rows = [_group(mapping(group)) for group in (listed if isinstance(listed, Sequence) else ())]
    return table([(words(column), *_HEADER), *rows])


def _group(group: Mapping[str, object]) -> list[str]:
    ratio = _share({"value": group.get("ratio"), "interval": group.get("ratio_interval")})
    shares = [_share(group.get(name)) for name in ("refused_wrongly", "approved_wrongly", "alone")]
    return [
        words(group.get("group")),
        words(group.get("n")),
        _share(group.get("base")),
        _share(group.get("approved")),
        f"{ratio}, {words(group.get('verdict'))}",
        *shares,
    ]


def _share(value: object) -> str:
    about = mapping(value)
    share, interval = number(about.get("value")), about.get("interval")
    if share is None:
        return "-"
    bounds = [number(bound) for bound in interval] if isinstance(interval, Sequence) else []
    bounds_ = [f"{bound:.2f}" for bound in bounds if bound is not None]
    return f"{share:.2f} [{', '.join(bounds_)}]" if bounds_ else f"{share:.2f}"


def _proxies(attribute: str, about: Mapping[str, object]) -> str:
    """Return the columns that reveal an unused attribute, the most predictive first."""
    columns = about.get("columns")
    columns_ = [mapping(column) for column in columns][:_MOST_PROXIES] if isinstance(columns, Sequence) else []
    columns_ += [mapping(about[name]) for name in ("together", "score") if mapping(about.get(name))]
    proxies = [
        f"{words(column.get('column'))} {_share({'value': column.get('auc'), 'interval': column.get('interval')})} "
        f"({words(column.get('group'))})"
        for column in columns_
    ]
    if not proxies:
        return ""
    return f"What tells {words(attribute)} although it is not used, by AUC (0.5 is not at all): {'; '.join(proxies)}."


_HUB = re.compile(r"[A-Za-z0-9._-]+/[A-Za-z0-9._-]+")
_SLICE = ("n", "recall", "precision", "f1")
_FIELD = (
    "stated",
    "exact_f1",
    "token_f1",
    "not_stated_precision",
    "not_stated_recall",
    "accepted_accuracy",
    "coverage",
)
_WEAKEST = 10  # labels shown

_LIMITS = (
    "It knows its own domain only. Asked about anything else it should abstain, which is likely, not certain.",
    "The figures hold for data like the held-out rows; on other data it can be worse, and its confidence not show it.",
    "An abstention is an answer: send it to a person or to a larger model, not to a guess.",
)


class CardWords(Protocol):
    """The text that a card has for every specialist of a task; `coterie.tasks.contract.CardText` is one."""

    @property
    def pipeline_tag(self) -> str:
        """Hugging Face's pipeline tag of such a model, if there is one."""
        ...

    @property
    def not_for(self) -> Sequence[str]:
        """Uses that the model is not suitable for."""
        ...

    @property
    def job(self) -> str:
        """The model's task, as a phrase after "it"."""
        ...


def write_card(report: Mapping[str, object], about: CardWords) -> str:
    """Return the model card of a report.

    Args:
        report: The trainer's report. These parts are used if they exist: `name`, `task`, `description`, `rung`,
            `reason`, `bar`, `bar_met`, `labels` (a number), `seed`, `data` (for `train` and `held_out` each
            `file`, `sha256`, `rows`, `licence`), `base` (`name`, `source`, `sha256`, `licence`), `code_version`,
            `metrics` (held-out figures; an interval of one stands in `intervals`), `rungs` (a row each, with
            `rung` and `held_out`; of a score `fairness` and `proxies` by protected attribute), `slices` (by label
            `n`, `recall`, `precision`, `f1`), `warnings`.
        about: The text for every specialist of the task.
    """
    name = words(report.get("name"))
    parts = [
        _front_matter(report, about.pipeline_tag),
        f"# {name}",
        words(report.get("description")),
        f"A Coterie specialist: it {about.job}, or it abstains and says why.",
        table([("", ""), *_facts(report)]),
        "## Data",
        table([("", "file", "rows", "SHA-256", "licence"), *_data_rows(report)]),
        "## Held-out results",
        _results(report),
        _by_field(report),
        _weakest(report),
        *fairness_sections(report),
        "## Intended use and limits",
        listing([_use(report), *_LIMITS]),
        *(["## Not to be used for", listing(about.not_for)] if about.not_for else ()),
        *_warnings(report),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(report: Mapping[str, object], pipeline: str) -> str:
    """Return the metadata for the Hugging Face hub. Data and base have licences, so none is claimed for the model."""
    task, rung = words(report.get("task")), words(report.get("rung"))
    base = str(mapping(report.get("base")).get("source"))
    lines = ["library_name: coterie", f"pipeline_tag: {pipeline}" if pipeline else ""]
    if rung != "lexical" and _HUB.fullmatch(base):
        lines.append(f"base_model: {base}")
    tags = [tag for tag in ("coterie", task, rung) if re.fullmatch(r"[a-z0-9-]+", tag)]
    return "\n".join(["---", *filter(None, lines), "tags:", *(f"- {tag}" for tag in tags), "---"])


def _facts(report: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for key, shown in (("task", "task"), ("rung", "rung"), ("labels", "labels"), ("seed", "seed")):
        if report.get(key) is not None:
            yield shown, words(report[key])
    if reason := words(report.get("reason")):
        yield "chosen because", reason
    for measure, least in mapping(report.get("bar")).items():
        met = {True: "met", False: "MISSED"}.get(report.get("bar_met") is True, "")
        yield "bar", f"{measure} >= {figure_of(least)}: {met}"
    if base := mapping(report.get("base")):
        yield "base model", f"{words(base.get('name'))}, licence {words(base.get('licence')) or 'not stated'}"
        yield "base model SHA-256", words(base.get("sha256")) or "not known"
    if code := words(report.get("code_version")):
        yield "made with", f"coterie {code}"


def _data_rows(report: Mapping[str, object]) -> Iterator[tuple[str, ...]]:
    for use, described in mapping(report.get("data")).items():
        about = mapping(described)
        licence = words(about.get("licence")) or "not stated"
        yield words(use), words(about.get("file")), words(about.get("rows")), words(about.get("sha256")), licence


def _results(report: Mapping[str, object]) -> str:
    """Return every figure with its interval, beside the lexical floor."""
    chosen = mapping(report.get("metrics"))
    floor = {} if report.get("rung") == "lexical" else mapping(rung_row(report, "lexical").get("held_out"))
    if not chosen:
        return "Not measured."
    rung = words(report.get("rung"))
    header = ["measure", rung or "value", *(["lexical (floor)"] if floor else [])]
    names = [name for name in chosen if number(chosen[name]) is not None]
    rows = [[name, _figure(chosen, name), *([_figure(floor, name)] if floor else [])] for name in names]
    note = "Brackets hold 95% bootstrap intervals." if "intervals" in chosen else ""
    if not floor and rung == "lexical":
        note = f"This is the lexical floor itself. {note}"
    return "\n\n".join(filter(None, [table([header, *rows]), note.strip()]))


def _by_field(report: Mapping[str, object]) -> str:
    """Return how well each field of an `extract` specialist is found, and how well missing ones are recognised."""
    fields = mapping(mapping(report.get("metrics")).get("fields"))
    rows = [
        (words(name), *(figure_of(mapping(figures).get(key)) for key in _FIELD)) for name, figures in fields.items()
    ]
    return "By field:\n\n" + table([("field", *_FIELD), *rows]) if rows else ""


def _weakest(report: Mapping[str, object]) -> str:
    """Return the labels with the lowest recall."""
    slices = {label: mapping(slice_) for label, slice_ in mapping(report.get("slices")).items()}
    ranked = sorted(slices.items(), key=lambda item: (number(item[1].get("recall")) or 0.0, item[0]))[:_WEAKEST]
    if not ranked:
        return ""
    rows = [(words(label), *(figure_of(slice_.get(key)) for key in _SLICE)) for label, slice_ in ranked]
    shown = f"the {len(rows)} found least often of {len(slices)}" if len(slices) > len(rows) else "all"
    return f"By label, {shown}:\n\n" + table([("label", *_SLICE), *rows])


def _figure(metrics: Mapping[str, object], name: str) -> str:
    """Return a figure and, if there is one, its interval."""
    value = metrics.get(name)
    if number(value) is None:
        return "-"
    interval = mapping(metrics.get("intervals")).get(name)
    if not isinstance(interval, Sequence) or isinstance(interval, str):
        return figure_of(value)
    return f"{figure_of(value)} [{', '.join(figure_of(bound) for bound in interval)}]"


def _use(report: Mapping[str, object]) -> str:
    bar = "" if report.get("bar_met") is not False else " It missed its bar: look at the figures before relying on it."
    return f"Made for one job inside a Coterie network, behind its router and its threshold.{bar}"


def _warnings(report: Mapping[str, object]) -> list[str]:
    warnings = report.get("warnings")
    if not isinstance(warnings, Sequence) or isinstance(warnings, str) or not warnings:
        return []
    return ["## Found in the data", listing([words(warning) for warning in warnings])]
