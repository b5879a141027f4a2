"""Passages from the tables, inside a transaction that sees one state of them.

Keywords are ranked like BM25: a word counts by how rare it is among the chunks that the asker may see (PostgreSQL's own
`ts_rank` knows no rarity, and one over all chunks would tell of those that are hidden), and saturates with how often
a chunk has it. The saturation is that of `ts_rank` for one word, sum of 1/i^2 over its occurrences, which is close to
BM25's with k1 = 0.6. Meaning is ranked by the inner product of unit vectors, the cosine. Both lists are
fused by reciprocal rank (Cormack, Clarke and Buettcher, SIGIR 2009).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from psycopg import sql

from coterie.knowledge.keyword import analyse, rarest, rarity
from coterie.knowledge.local import rank_within
from coterie.knowledge.postgres_connections import Connection, Cursor
from coterie.knowledge.postgres_schema import quoted, tables
from coterie.knowledge.postgres_write import storable
from coterie.knowledge.vectors import fuse
from coterie.types import Label, Passage

_LONGEST_QUERY = 20_000  # characters; what comes after them names nothing that the beginning does not
_WORDS = 32
"""The rarest words of a query that count."""
_CANDIDATES = 5_000
"""Chunks that are ranked by words: those with the rarest ones, together about so many; common words add to them."""
_DEPTH = 100
"""Chunks of each ranking that are fused, at least; twice as many as are asked for, if that is more."""

_VISIBLE = sql.SQL(
    "shelves s JOIN compartments c ON c.shelf = s.id"
    " WHERE s.network = %(network)s AND s.name = %(shelf)s"
    " AND c.label <= %(clearance)s AND (c.tenant IS NULL OR c.tenant = %(tenant)s)"
)


class SearchScope(NamedTuple):
    """Which shelf is asked, by whom."""

    network: str
    shelf: str
    clearance: Label
    tenant: str

    @property
    def parameters(self) -> dict[str, object]:
        """For `_VISIBLE`."""
        return {**self._asdict(), "clearance": self.clearance.rank, "tenant": storable(self.tenant)}


class QueryTerm(NamedTuple):
    """A word of the query, as the index has it."""

    quoted: str
    """As a query of PostgreSQL's full-text search."""
    chunks: int
    """How many visible chunks have it."""
    weight: float


class PostgresHit(NamedTuple):
    """A chunk, by its place."""

    compartment: int
    document: int
    position: int


class Ranking(NamedTuple):
    """What a search begins with."""

    compartments: list[int]
    """Those that the asker may see and that have chunks."""
    words: list[QueryTerm]
    """Those of the query that are in them, rarest first."""


async def look_up(connection: Connection, asker: SearchScope, query: str) -> Ranking:
    """What the asker may see, and how rare the words of the query are in that."""
    visible = await connection.execute(
        sql.SQL("SELECT c.id, c.chunks FROM ") + _VISIBLE + sql.SQL(" AND c.chunks > 0 ORDER BY c.id"), asker.parameters
    )
    counted = await connection.execute(
        sql.SQL(
            "SELECT w.word, sum(w.chunks) FROM words w WHERE w.word = ANY(%(terms)s)"
            " AND w.compartment IN (SELECT c.id FROM {visible}) GROUP BY w.word ORDER BY w.word"
        ).format(visible=_VISIBLE),
        {**asker.parameters, "terms": list(set(analyse(query[:_LONGEST_QUERY])))},
    )
    compartments = await visible.fetchall()
    total = sum(int(chunks) for _, chunks in compartments)
    counts = {str(word): int(chunks) for word, chunks in await counted.fetchall()}
    words = [
        QueryTerm(quoted(word), counts[word], rarity(counts[word], total)) for word in rarest(counts, total)[:_WORDS]
    ]
    return Ranking([int(compartment) for compartment, _ in compartments], words)


async def select_passages(
    connection: Connection, shelf: str, found: Ranking, vector: np.ndarray | None, k: int
) -> list[Passage]:
    """The best `k` chunks of what was looked up, best first.

    Without a `vector` (D,), of length 1, by words alone; without words by the vector alone.
    """
    if not found.compartments:
        return []
    depth = max(2 * k, _DEPTH)
    asked = []
    if vector is not None:
        asked.append((await by_vector(connection, found.compartments, vector, depth), -1.0))
    if found.words:
        asked.append((await by_words(connection, found.compartments, found.words, depth), 1.0))
    rankings = [
        [(PostgresHit(*row[:3]), sign * float(row[3])) for row in await cursor.fetchall()] for cursor, sign in asked
    ]
    if len(rankings) == 1:
        ranked = rankings[0]
    else:
        fused = fuse([[hit for hit, _ in ranking] for ranking in rankings])
        ranked = [(PostgresHit(*key), score) for key, score in fused.items()]
    return await _passages(connection, shelf, ranked[:k])


async def select_within(
    connection: Connection, asker: SearchScope, document: str, query: str, vector: np.ndarray | None
) -> list[Passage]:
    """The chunks of one document, best first; none where it is not there or may not be seen."""
    found = await connection.execute(
        sql.SQL(
            "SELECT c.id, d.id FROM documents d JOIN ({}) c ON c.id = d.compartment WHERE d.name = %(name)s"
        ).format(sql.SQL("SELECT c.id FROM ") + _VISIBLE),
        {**asker.parameters, "name": storable(document)},
    )
    place = await found.fetchone()
    if place is None:
        return []
    compartment, number = int(place[0]), int(place[1])
    asked = await connection.execute(
        sql.SQL(
            "SELECT position, vector::text FROM {chunks} JOIN {vectors} USING (document, position)"
            " WHERE document = %s ORDER BY position"
        ).format(**tables(compartment)),
        [number],
    )
    rows = await asked.fetchall()
    if not rows:
        return []
    hits = [(PostgresHit(compartment, number, int(position)), 0.0) for position, _ in rows]
    passages = await _passages(connection, asker.shelf, hits)
    vectors = np.array([json.loads(text) for _, text in rows], dtype=np.float32)  # (N, D)
    return [replace(passage, score=score) for passage, score in rank_within(passages, query, vectors, vector)]


async def by_words(
    connection: Connection, compartments: Sequence[int], words: Sequence[QueryTerm], depth: int
) -> Cursor:
    """Asks for the chunks that have the query's rarest words, best first: a `Hit` and its score each."""
    score = sql.SQL(" + ").join(
        sql.SQL("{} * ts_rank('{{1,1,1,1}}', words, {}::tsquery)").format(
            sql.Literal(word.weight), sql.Literal(word.quoted)
        )
        for word in words
    )
    wanted = sql.Literal(" | ".join(word.quoted for word in _rarest(words)))
    each = sql.SQL(
        "(SELECT {compartment}, document, position, {score} FROM {chunks} WHERE words @@ {wanted}::tsquery"
        " ORDER BY 4 DESC, 2, 3 LIMIT {depth})"
    )
    return await _best(
        connection, each, compartments, sql.SQL("DESC"), score=score, wanted=wanted, depth=sql.Literal(depth)
    )


def _rarest(words: Sequence[QueryTerm]) -> Sequence[QueryTerm]:
    """So many of the rarest words that about `_CANDIDATES` chunks have one of them; at least one word."""
    total = 0
    for i, word in enumerate(words):
        total += word.chunks
        if i and total > _CANDIDATES:
            return words[:i]
    return words


async def by_vector(connection: Connection, compartments: Sequence[int], vector: np.ndarray, depth: int) -> Cursor:
    """Asks for the chunks nearest to the vector, nearest first: a `Hit` and its distance each."""
    text = "[" + ",".join(map(repr, vector.tolist())) + "]"
    each = sql.SQL(
        "(SELECT {compartment}, document, position, vector <#> {vector}::halfvec FROM {vectors}"
        " ORDER BY vector <#> {vector}::halfvec LIMIT {depth})"
    )
    return await _best(
        connection, each, compartments, sql.SQL("ASC"), vector=sql.Literal(text), depth=sql.Literal(depth)
    )


async def _best(
    connection: Connection, each: sql.SQL, compartments: Sequence[int], order: sql.SQL, **parts: sql.Composable
) -> Cursor:
    """Asks for the best of several compartments: a statement each, joined, as one question."""
    asked = sql.SQL(" UNION ALL ").join(
        each.format(compartment=sql.Literal(number), **tables(number), **parts) for number in compartments
    )
    statement = sql.SQL("SELECT * FROM ({}) AS hits ORDER BY 4 {}, 2, 3 LIMIT {}").format(asked, order, parts["depth"])
    return await connection.execute(statement)


async def _passages(connection: Connection, shelf: str, ranked: Sequence[tuple[PostgresHit, float]]) -> list[Passage]:
    """The chunks as passages, in the same order."""
    if not ranked:
        return []
    by_compartment: dict[int, list[PostgresHit]] = defaultdict(list)
    for hit, _ in ranked:
        by_compartment[hit.compartment].append(hit)
    each = sql.SQL(
        "SELECT {compartment}, t.document, t.position, d.name, t.start, t.stop, t.body, c.label, t.heading, t.page"
        " FROM {chunks} t JOIN documents d ON d.id = t.document JOIN compartments c ON c.id = d.compartment"
        " JOIN unnest({documents}::bigint[], {positions}::int[]) AS hit (document, position) USING (document, position)"
    )
    asked = [
        each.format(
            compartment=sql.Literal(compartment),
            documents=sql.Literal([hit.document for hit in hits]),
            positions=sql.Literal([hit.position for hit in hits]),
            **tables(compartment),
        )
        for compartment, hits in by_compartment.items()
    ]
    found = await connection.execute(sql.SQL(" UNION ALL ").join(asked))
    rows = {PostgresHit(*row[:3]): row[3:] for row in await found.fetchall()}
    passages = []
    for hit, score in ranked:
        document, start, end, text, label, heading, page = rows[hit]
        passages.append(
            Passage(
                document=document,
                start=start,
                end=end,
                text=text,
                score=score,
                label=_LABELS[label],
                shelf=shelf,
                heading=heading,
                page=page,
            )
        )
    return passages


_LABELS = {label.rank: label for label in Label}
