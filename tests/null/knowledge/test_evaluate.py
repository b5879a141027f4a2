"""Measuring an index with BEIR's files."""

import gzip

import pytest

from coterie.errors import DataError
from coterie.knowledge.sources import evaluate, ndcg, read_judgements, read_queries
from coterie.types import Label


def test_ndcg_is_the_published_formula():
    """By hand: gains 3, 2, 3, 0, 1, 2 in this order, as in the textbook example."""
    grades = {"a": 3, "b": 2, "c": 3, "d": 0, "e": 1, "f": 2}

    assert ndcg(list("abcdef"), grades) == pytest.approx(0.9608, abs=1e-4)
    assert ndcg(["x"], {"a": 1}) == 0.0
    assert ndcg(["a"], {"a": 1, "b": 1}) == pytest.approx(1 / (1 + 0.63093), abs=1e-4)


async def test_measured_by_document(index, document, tmp_path):
    """A document counts once, by its best chunk; queries without a relevant document do not count."""
    await index.update([document("a", "late fee\n\nfee fee"), document("b", "card"), document("c", "fee")])
    queries, judgements = tmp_path / "queries.jsonl", tmp_path / "qrels.tsv"
    queries.write_text('{"_id": "1", "text": "late fee"}\n{"_id": "2", "text": "card"}\n{"_id": "3", "text": "x"}\n')
    judgements.write_text("query-id\tcorpus-id\tscore\n1\ta\t1\n2\tc\t1\n3\tb\t0\n")

    scores = await evaluate(
        index, read_queries(queries), read_judgements(judgements), mode="keyword", clearance=Label.INTERNAL
    )

    assert scores.to_json() == {"queries": 2, "ndcg@10": 0.5, "recall@100": 0.5}
    assert scores.by_query == {"1": 1.0, "2": 0.0}


async def test_files_that_do_not_belong_together(index):
    """Judgements of other queries measure nothing, and that is said."""
    with pytest.raises(DataError, match="No query has a relevant document"):
        await evaluate(index, {"1": "fee"}, {"2": {"a": 1}}, mode="keyword", clearance=Label.INTERNAL)


def test_broken_files(tmp_path):
    """A line that is no query, or no judgement, is named by its number."""
    path = tmp_path / "file"
    path.write_text('{"_id": "1", "text": "a"}\n{"_id": 2}\n')
    with pytest.raises(DataError, match="Line 2"):
        read_queries(path)
    path.write_text("query-id\tcorpus-id\tscore\n1\ta\t1\n1\ta\n")
    with pytest.raises(DataError, match="Line 3"):
        read_judgements(path)
    with pytest.raises(DataError, match="Cannot read"):
        read_queries(tmp_path / "none")


def test_files_as_others_write_them(tmp_path):
    """A mark of the byte order, gzip, signs within a text that end lines elsewhere, quotation marks, TREC's blanks."""
    queries, judgements = tmp_path / "queries.jsonl", tmp_path / "qrels"
    queries.write_text('\ufeff{"_id": "1", "text": "late\u2028fee\x85"}\r\n', encoding="utf-8", newline="")
    assert read_queries(queries) == {"1": "late\u2028fee\x85"}
    packed = tmp_path / "queries.jsonl.gz"
    packed.write_bytes(gzip.compress(queries.read_bytes()))
    assert read_queries(packed) == read_queries(queries)

    judgements.write_text('\ufeff1\ta "b\t1\r\n1\t"c\t2\r\n', encoding="utf-8", newline="")
    assert read_judgements(judgements) == {"1": {'a "b': 1, '"c': 2}}
    judgements.write_text("1 0 a 1\n1 0 b 0\n")
    assert read_judgements(judgements) == {"1": {"a": 1, "b": 0}}
