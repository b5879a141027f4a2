"""Sources of documents: files and folders, or a corpus in BEIR's format, with the search quality measured on it.

nDCG@10 and recall@100 as `pytrec_eval` computes them for BEIR (Thakur et al. 2021): a document counts as its
best chunk, and only queries with at least one relevant document count.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import fmean
from unicodedata import normalize

from coterie.errors import DataError, InputError
from coterie.knowledge.documents import DocumentIndex, Mode
from coterie.knowledge.parsed import SUFFIXES, Heading, Parsed
from coterie.runtime.codec import parse_json
from coterie.runtime.files import replacing, write_new
from coterie.types import Label

# --- Files below a folder, with every path that leads to one: a file reached through a link keeps its label on all.

_MOST_WAYS = 1000


@dataclass(kw_only=True)
class Walk:
    """The content of a folder tree."""

    files: list[Path] = field(default_factory=list)
    """Files that are not hidden, including links to files of the same folder."""
    links: list[tuple[Path, Path]] = field(default_factory=list)
    """Links to targets below the same folder, with their targets."""
    outside: list[Path] = field(default_factory=list)
    """Links that lead out of the folder; they are not followed."""
    closed: dict[Path, str] = field(default_factory=dict)
    """Folders that cannot be read, with the reason."""


def walk(root: Path) -> Walk:
    """List everything below a real folder, in order."""
    tree = Walk()
    _walk(root, root, tree)
    return tree


def _walk(folder: Path, root: Path, tree: Walk) -> None:
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        tree.closed[folder] = error.strerror or type(error).__name__
        return
    for path in inside:
        if path.name.startswith("."):
            continue
        if path.is_symlink():
            target = Path(os.path.realpath(path))  # a link to itself is no error here
            if not target.is_relative_to(root):
                tree.outside.append(path)
                continue
            tree.links.append((path, target))
        if path.is_file():
            tree.files.append(path)
        elif (
            path.is_dir() and not path.is_symlink()
        ):  # what a link leads to is found where it is; one upwards never ends
            _walk(path, root, tree)


class Names:
    """The paths by which a file is known.

    Args:
        bases: Folders and files that paths may be relative to, as they are named: the network's folder, those
            that are searched, and those of the whole index.
        links: Links with their targets.
    """

    def __init__(self, bases: Sequence[Path], links: Sequence[tuple[Path, Path]]) -> None:
        folders = [base if base.is_dir() else base.parent for base in bases]
        self._bases = list(dict.fromkeys(form for folder in folders for form in _forms(folder.absolute())))
        self._links = defaultdict[Path, list[Path]](list)
        for link, target in links:
            self._links[target].append(link)

    def of(self, named: Path, file: Path) -> list[str]:
        """Return every name of a file: whole paths, and paths relative to each base.

        Args:
            named: The file's path as it was named, with links.
            file: The file's path below a real folder; may be a link itself.
        """
        whole = list(dict.fromkeys([*_forms(named), *_forms(file), *self._linked(file.resolve())]))
        below = (path.relative_to(base) for path in whole for base in self._bases if path.is_relative_to(base))
        return [path.as_posix() for path in (*whole, *below)]

    def _linked(self, file: Path) -> list[Path]:
        """Return the paths to a file through links, each used once. Raises `InputError` if there are too many."""
        ways: list[tuple[Path, frozenset[Path]]] = [(file, frozenset())]
        for path, used in ways:  # grows
            for above in (path, *path.parents):
                new = [link for link in self._links.get(above, ()) if link not in used]
                ways += [(link / path.relative_to(above), used | {link}) for link in new]
            if len(ways) > _MOST_WAYS:
                raise InputError(
                    f"More than {_MOST_WAYS:,} paths lead to {str(file)!r} through links, so its label cannot be told.",
                    hint="Take links away that lead to folders above them.",
                )
        return [path for path, _ in ways[1:]]


def _forms(path: Path) -> tuple[Path, ...]:
    """Return a path as it is, without its dots, and without its links."""
    return path, Path(os.path.normpath(path)), path.resolve()


class Naming:
    """Names of documents: their path from the network's folder, independent of the rest of this machine.

    A file elsewhere is named by the path of the index that leads to it, as far as that lies in the folder (a
    link), else by the end of that path: as much of it as distinguishes it from other such paths and from files in
    the folder. The same holds for paths that are named for one run only; their names are remembered beside the
    index, as digests, so that they are the same the next time.

    Args:
        folder: The network's folder.
        places: Paths of the whole index.
        named: Paths that are named for this run.
        remembered: Digests of paths that were named before, each with that of its name.
    """

    def __init__(
        self, folder: Path, places: Sequence[Path], named: Iterable[Path] = (), remembered: Mapping[str, str] = {}
    ) -> None:
        self.remembered = dict(remembered)
        self._declare(folder, places)
        for path in named:
            if not path.is_relative_to(self._home) and self._root(path) is None:
                self.remembered[_digest(path)] = _digest(self._end(path, (), {*self.remembered.values()}))

    def _declare(self, folder: Path, places: Sequence[Path]) -> None:
        self._home, forms = folder.resolve(), _forms(folder.absolute())
        named = {root: path for path in reversed(places) if not (root := path.resolve()).is_relative_to(self._home)}
        self._roots: dict[Path, str] = {}
        for root, path in named.items():
            if not any(other in root.parents for other in named):
                below = (form.relative_to(home) for form in _forms(path)[:2] for home in forms if home in form.parents)
                self._roots[root] = next(map(Path.as_posix, below), "") or self._end(root, named)

    def _end(self, root: Path, others: Iterable[Path], taken: Collection[str] = ()) -> str:
        for end in _ends(root):
            if (
                not (self._home / end).exists()
                and all(other == root or other.parts[-len(end.parts) :] != end.parts for other in others)
                and end.as_posix() not in self._roots.values()
                and _digest(end) not in taken
            ):
                return end.as_posix()
        return root.as_posix()

    def _root(self, path: Path) -> tuple[Path, str] | None:
        """Return the nearest path above that has a name, and the name; None if there is none."""
        for folder in (path, *path.parents):
            if folder in self._roots:
                return folder, self._roots[folder]
            if (name := self.remembered.get(_digest(folder))) is not None:
                return folder, next(
                    (end.as_posix() for end in _ends(folder) if _digest(end) == name), folder.as_posix()
                )
        return None

    def of(self, path: Path) -> str:
        """Return the name of a file or folder by its real path; bytes that are not UTF-8 are escaped."""
        if path.is_relative_to(self._home):
            name = path.relative_to(self._home).as_posix()
        else:
            root = self._root(path)
            name = path.as_posix() if root is None else (Path(root[1]) / path.relative_to(root[0])).as_posix()
        return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _ends(path: Path) -> Iterator[Path]:
    """Yield the last part of a path, the last two, and so on, but not the whole path."""
    return (Path(*path.parts[-count:]) for count in range(1, len(path.parts)))


def _digest(path: Path | str) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()


# --- The lines of a text file, packed by gzip or not.


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file, split at line feeds only: other separators (U+2028) may stand in a JSON string.

    A byte-order mark before the first line is skipped. Raises `DataError` if the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rt", encoding="utf-8-sig") if packed else path.open(encoding="utf-8-sig") as lines:
            yield from lines
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read {str(path)!r}: {error}.") from error


_MOST_KINDS = 5


@dataclass(frozen=True, kw_only=True)
class Access:
    """The access to the documents of an index."""

    label: Label
    labels: Mapping[str, Label]
    """Patterns of paths with the label of matching documents."""
    tenant: str | None = None

    def of(self, *names: str) -> Label:
        """Return the label of a document known by these names: the most sensitive of all that apply."""
        return max(
            [self.label, *(self.labels[pattern] for pattern in self.matching(*names))], key=lambda label: label.rank
        )

    def matching(self, *names: str) -> list[str]:
        """Return the patterns that match a document known by these names."""
        forms = [normalize("NFC", name) for name in names]  # some systems write an accent as a character of its own
        return [
            pattern for pattern in self.labels if any(fnmatchcase(name, normalize("NFC", pattern)) for name in forms)
        ]

    def idle(self, matched: Collection[str]) -> dict[str, str]:
        """Return patterns without effect, with the reason. A mistyped one would leave documents open to everybody."""
        reasons = {}
        for pattern, label in self.labels.items():
            if pattern not in matched:
                reasons[pattern] = f"labels[{pattern!r}] matches no document, so none is {label.value} by it"
            elif label.rank <= self.label.rank:
                change = f"labels[{pattern!r}] = {label.value!r} changes nothing"
                reasons[pattern] = f"{change}: the index is {self.label.value!r}, and the most sensitive label counts"
        return reasons


@dataclass(frozen=True, kw_only=True)
class Source:
    """One document before it is read."""

    name: str
    label: Label
    tenant: str | None
    path: Path | None = None
    """The file to read; None if `parsed` is already set."""
    parsed: Parsed | None = None
    digest: str = ""
    """SHA-256 of the content, if it is already known."""


@dataclass(frozen=True, kw_only=True)
class FoundFiles:
    """The documents found at the given paths."""

    sources: tuple[Source, ...]
    kinds: Mapping[str, int] = field(default_factory=dict)
    """Number of unsupported files in folders by file extension; the empty one is for files without an extension."""
    outside: tuple[str, ...] = ()
    """Links that were skipped because they lead out of the named folder."""
    idle: Mapping[str, str] = field(default_factory=dict)
    """Label patterns without effect, each with the reason."""
    scope: Callable[[str], bool] = lambda _: True
    """Returns whether a document of this name would have been found if it existed: if it was not, it is gone."""
    closed: Mapping[str, str] = field(default_factory=dict)
    """Folders that cannot be read, each with the reason: indexed documents from there are not gone."""
    access: Access | None = None
    """The access to the documents found."""
    remembered: Mapping[str, str] = field(default_factory=dict)
    """Digests of named paths: see `Naming`."""
    nothing: InputError | None = None
    """The error to raise if there is no file to read, and no document in the index that could be gone."""


def find_files(
    folder: Path,
    paths: Sequence[Path],
    access: Access,
    *,
    exact: bool,
    index: Sequence[Path] = (),
    remembered: Mapping[str, str] = {},
) -> FoundFiles:
    """Return the readable files of these files and folders.

    Hidden files and folders are skipped, and so are links that lead out of the named folder. A file that is named
    itself is always taken. `Naming` describes the names of files; a file's label is the most sensitive of those
    of every path that leads to it (see `Names`).

    Args:
        folder: The network's folder: names are relative to it where a file is inside.
        paths: Files and folders, relative to the working directory, then to the network's folder.
        access: The access to the documents found.
        exact: The index is to hold these documents and nothing else; otherwise its other documents stay.
        index: The paths of the whole index, if `paths` are a part of it: patterns may be relative to them.
        remembered: The result of `remembered_names` for the index.

    Raises:
        InputError: a path does not exist.
    """
    places = [_located(folder, path) for path in paths]
    roots = [path.resolve() for path in places]
    walks = [Walk() if root.is_file() else walk(root) for root in roots]
    whole = [path_ for path in index if (path_ := _existing_path(folder, path)) is not None]
    naming = Naming(folder, whole, roots, remembered)
    called = naming.of
    names = _names(folder, places, walks, whole) if access.labels else None
    sources: dict[str, Source] = {}
    kinds, matched = Counter[str](), set[str]()
    for path_, root, walked in zip(places, roots, walks, strict=True):
        for file in [root] if root.is_file() else walked.files:
            if file != root and file.suffix.lower() not in SUFFIXES:
                kinds[file.suffix.lower()] += 1
                continue
            name = called(file)
            names_of_file = (name, *(() if names is None else names.of(path_ / file.relative_to(root), file)))
            label = access.of(*names_of_file)
            matched.update(access.matching(*names_of_file))
            if name in sources:  # found below two of the paths
                label = max(label, sources[name].label, key=lambda label: label.rank)
            sources[name] = Source(name=name, label=label, tenant=access.tenant, path=file)
    outside = tuple(called(link) for tree in walks for link in tree.outside)
    closed = {called(path): reason for tree in walks for path, reason in tree.closed.items()}
    kept = [form for root in roots for form in (called(root), root.as_posix())]  # their names were whole paths before
    return FoundFiles(
        sources=tuple(sources.values()),
        kinds=kinds,
        outside=outside,
        idle=access.idle(matched) if exact else {},
        scope=lambda name: (exact or below(name, kept)) and not below(name, closed),
        closed=closed,
        access=access,
        remembered=naming.remembered,
        nothing=None if sources else _nothing(paths, kinds, outside, closed),
    )


_REMEMBERED = "names.json"


def remembered_names(folder: Path) -> Mapping[str, str]:
    """Return the remembered names of paths that were named for one run, by the folder of an index; see `Naming`."""
    with suppress(OSError, ValueError, AttributeError):
        return {str(path): str(name) for path, name in parse_json((folder / _REMEMBERED).read_bytes()).items()}
    return {}


def remember_names(folder: Path, names: Mapping[str, str]) -> None:
    """Write names down for the next run."""
    if names and names != remembered_names(folder):
        with replacing(folder / _REMEMBERED) as written:
            write_new(written, f"{json.dumps(names)}\n".encode(), mode=0o600)


def below(name: str, folders: Iterable[str]) -> bool:
    """Return whether a document of this name is one of these paths or lies below one."""
    return any(name == folder or name.startswith(f"{folder}/") for folder in folders)


def _names(folder: Path, places: Sequence[Path], walks: Sequence[Walk], index: Sequence[Path]) -> Names:
    """Return the names of files, with the whole index's links, so that a part of it keeps its labels."""
    whole = [path for path in index if path not in places]
    walks = [*walks, *(walk(path.resolve()) for path in whole if path.is_dir())]
    return Names([folder, *places, *whole], [link for tree in walks for link in tree.links])


def _nothing(
    paths: Sequence[Path], kinds: Mapping[str, int], outside: Sequence[str], closed: Mapping[str, str]
) -> InputError:
    where = ", ".join(repr(str(path)) for path in paths) or "no path"
    links = f" {len(outside)} links lead out of it and were passed over." if outside else ""
    links += "".join(f" {name!r} cannot be looked into: {reason}." for name, reason in closed.items())
    return InputError(
        f"Found no file to index in {where}; {name_kinds(kinds)}.{links}",
        hint=f"Files that are read end in {', '.join(sorted(SUFFIXES))}.",
    )


def name_kinds(kinds: Mapping[str, int]) -> str:
    """Return the number of unsupported files by kind as text, the commonest first."""
    listed = [f"{count:,} {end or 'without an ending'}" for end, count in Counter(kinds).most_common(_MOST_KINDS)]
    more = [f"{len(kinds) - _MOST_KINDS:,} other endings"] if len(kinds) > _MOST_KINDS else []
    total = sum(kinds.values())
    others = "1 file is of another kind" if total == 1 else f"{total:,} files are of other kinds"
    return f"{others} ({', '.join([*listed, *more])})" if total else others


def read_corpus(path: Path, access: Access) -> FoundFiles:
    """Read the documents of a BEIR corpus: JSON lines with `_id`, `title` and `text`, optionally packed by gzip.

    Raises:
        DataError: a line is invalid; the message has its number.
    """
    sources = {}
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            record = parse_json(line)
            name, title, text = str(record["_id"]), str(record.get("title") or ""), str(record.get("text") or "")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"Line {number} of {str(path)!r} is no document of a BEIR corpus ({type(error).__name__}: {error}).",
                hint='A line is {"_id": "...", "title": "...", "text": "..."}.',
            ) from error
        title = " ".join(title.split())
        whole = f"{title}\n\n{text}" if title else text
        headings = (Heading(0, len(title), 1, title),) if title else ()
        sources[name] = Source(
            name=name,
            label=access.of(name),
            tenant=access.tenant,
            parsed=Parsed(text=whole.encode("utf-8", "replace").decode(), headings=headings),
            digest=hashlib.sha256(whole.encode("utf-8", "replace")).hexdigest(),
        )
    if not sources:
        raise DataError(f"{str(path)!r} holds no document.", hint="Give the corpus.jsonl of a BEIR data set.")
    matched = {pattern for name in sources for pattern in access.matching(name)}
    return FoundFiles(sources=tuple(sources.values()), idle=access.idle(matched))


def _located(folder: Path, path: Path) -> Path:
    located = _existing_path(folder, path)
    if located is None:
        raise InputError(
            f"There is no file or folder {str(path)!r}, neither in {str(Path.cwd())!r} nor in the network's folder.",
            hint="Give the path of a file or a folder with documents.",
        )
    return located


def _existing_path(folder: Path, path: Path) -> Path | None:
    return next((candidate.absolute() for candidate in (path, folder / path) if candidate.exists()), None)


# --- The search quality of an index, measured on queries with known answers in BEIR's format.

_PASSAGES = 400
"""Passages that are requested, so that they cover a hundred documents even if a document has several."""
_DOCUMENTS = 100


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Means over the queries that have a relevant document."""

    queries: int
    ndcg_at_10: float
    recall_at_100: float
    by_query: Mapping[str, float]
    """nDCG@10 of each query."""

    def to_json(self) -> dict[str, object]:
        """Return a dict with `queries`, `ndcg@10`, `recall@100`."""
        return {"queries": self.queries, "ndcg@10": self.ndcg_at_10, "recall@100": self.recall_at_100}


def read_queries(path: Path) -> dict[str, str]:
    """Read the queries of a BEIR data set, by id. Raises `DataError` naming an invalid line."""
    queries = {}
    for number, line in enumerate(read_lines(path), start=1):
        if line.strip():
            try:
                record = parse_json(line)
                queries[str(record["_id"])] = str(record["text"])
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"Line {number} of {str(path)!r} is no query ({type(error).__name__}: {error}).",
                    hint='A line is {"_id": "...", "text": "..."}.',
                ) from error
    return queries


def read_judgements(path: Path) -> dict[str, dict[str, int]]:
    """Read relevance judgements: `{query: {document: grade}}` from a file in BEIR's or TREC's format.

    BEIR's header is skipped. The columns are separated by tabs, or by blanks in a line without tabs; a quotation
    mark is an ordinary character.

    Raises:
        DataError: a line does not have three columns, or its grade is not a whole number.
    """
    judged: dict[str, dict[str, int]] = {}
    for number, line in enumerate(read_lines(path), start=1):
        row = line.rstrip("\r\n").split("\t") if "\t" in line else line.split()
        if not row or (number == 1 and not row[-1].strip().lstrip("-").isdigit()):
            continue
        try:
            query, document, grade = row[0], row[-2], int(row[-1])
        except (ValueError, IndexError) as error:
            raise DataError(
                f"Line {number} of {str(path)!r} is no judgement: {row!r}.",
                hint="A line is QUERY, DOCUMENT and GRADE, a whole number, with tabs between; the first is a header.",
            ) from error
        judged.setdefault(query, {})[document] = grade
    return judged


async def evaluate(
    index: DocumentIndex,
    queries: Mapping[str, str],
    judged: Mapping[str, Mapping[str, int]],
    *,
    mode: Mode | None,
    clearance: Label,
    tenant: str = "default",
    progress: Callable[[int], None] = lambda _: None,
) -> Scores:
    """Run every query that has a relevant document; return the scores.

    Raises:
        DataError: no query has one.
    """
    judged_queries = [query for query in queries if any(grade > 0 for grade in judged.get(query, {}).values())]
    if not judged_queries:
        raise DataError(
            "No query has a relevant document in the judgements.",
            hint="Give queries and qrels of the same data set: their ids must agree.",
        )
    gains, recalls = {}, []
    for query in judged_queries:
        passages = await index.search(queries[query], k=_PASSAGES, clearance=clearance, tenant=tenant, mode=mode)
        documents = list(dict.fromkeys(passage.document for passage in passages))[:_DOCUMENTS]
        gains[query] = ndcg(documents[:10], judged[query])
        relevant = {document for document, grade in judged[query].items() if grade > 0}
        recalls.append(len(relevant & set(documents)) / len(relevant))
        progress(1)
    return Scores(
        queries=len(judged_queries), ndcg_at_10=fmean(gains.values()), recall_at_100=fmean(recalls), by_query=gains
    )


def ndcg(documents: Sequence[str], grades: Mapping[str, int]) -> float:
    """Return the normalised discounted cumulative gain at ten (Järvelin, Kekäläinen 2002), with the grades as gains."""
    ideal = sorted((grade for grade in grades.values() if grade > 0), reverse=True)[:10]
    gains = [max(grades.get(document, 0), 0) for document in documents]
    best = _discounted(ideal)
    return _discounted(gains) / best if best else 0.0


def _discounted(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))
