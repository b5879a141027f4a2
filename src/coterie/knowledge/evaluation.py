"""The search quality of an index, measured on queries with known answers in BEIR's format.

nDCG@10 and recall@100 as `pytrec_eval` computes them for BEIR (Thakur et al. 2021): a document counts as its
best chunk, and only queries with at least one relevant document count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from coterie.errors import DataError
from coterie.knowledge.documents import DocumentIndex, Mode
from coterie.knowledge.sources import read_lines
from coterie.runtime.codec import parse_json
from coterie.types import Label

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
