"""The local index: what it finds, for whom, and what it is when it is interrupted."""

import json
import sqlite3
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coterie.errors import ArtefactRefused, IndexBusy, NotIndexed, StoreError
from coterie.knowledge.generation import index_state, present, sole_writer, write_manifest
from coterie.knowledge.indexes import VectorIndex, fuse
from coterie.knowledge.local import LocalIndex
from coterie.testing import EchoEngine, check_index
from coterie.types import Label

from .conftest import WordEncoder

MODES = ("keyword", "vector", "hybrid", "rerank")


class Encoder(EchoEngine):
    """An encoder without weights: equal texts have equal vectors."""

    sha256 = "a" * 64


@pytest.mark.slow
async def test_contract(tmp_path):
    """It keeps every clause of the contract of indexes."""

    async def open_index():
        return LocalIndex(tmp_path, name="help", encoder=Encoder(), mode="hybrid")

    await check_index(open_index, dimension=8)


@pytest.mark.parametrize("mode", MODES)
async def test_finds_the_passage(index, document, mode):
    """The passage with the words is first in every mode, with its offsets, heading and index."""
    text = "wires cost nothing\n\nthe late fee is five dollars\n\ncards are sent by post"
    await index.update([document("a.txt", text, heading="Prices"), document("b.txt", "opening hours of the bank")])

    best, *_ = await index.search("late fee", k=3, clearance=Label.INTERNAL, mode=mode)

    assert text[best.start : best.end] == best.text == "the late fee is five dollars"
    assert (best.document, best.heading, best.index, best.label) == ("a.txt", "Prices", "docs", Label.INTERNAL)


async def test_a_given_vector_is_not_made_again(index, document, encoder):
    """A query's encoding that the caller has is used as it is."""
    await index.update([document("a.txt", "late fee")])
    (vector,) = encoder.encode(["late fee"])
    before = encoder.encoded

    assert await index.search("late fee", k=1, clearance=Label.INTERNAL, vector=vector)
    assert encoder.encoded == before


WORDS = st.lists(st.sampled_from(["fee", "late", "card", "loan", "wire", "bank", "cost"]), min_size=1, max_size=6).map(
    " ".join
)


@given(seen=st.lists(WORDS, min_size=1, max_size=5), hidden=st.lists(WORDS, min_size=1, max_size=8), query=WORDS)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@pytest.mark.slow
async def test_what_is_hidden_changes_nothing(open_index, document, seen, hidden, query):
    """With or without documents above the clearance or of another tenant, what is found is the same to the last bit."""
    open_to_all = [document(f"{n}.txt", text, label=Label.PUBLIC) for n, text in enumerate(seen)]
    secret = [document(f"s{n}.txt", text, label=Label.RESTRICTED) for n, text in enumerate(hidden)]
    foreign = [document(f"t{n}.txt", text, label=Label.PUBLIC, tenant="other") for n, text in enumerate(hidden)]
    alone, among = open_index(f"alone-{id(seen)}"), open_index(f"among-{id(seen)}")
    await alone.update(open_to_all)
    await among.update([*open_to_all, *secret, *foreign])

    for mode in MODES:
        options = {"k": 20, "clearance": Label.INTERNAL, "mode": mode}
        plain = await alone.search(query, **options)
        beside = await among.search(query, **options)
        assert [(p.document, p.start, p.score) for p in plain] == [(p.document, p.start, p.score) for p in beside]


async def test_what_was_moved_away_leaves_no_trace(open_index, document):
    """A document that became secret is gone from the statistics too, not only from what is shown."""
    public = [document(f"{n}.txt", f"fee number {n}", label=Label.PUBLIC) for n in range(3)]
    moved, never = open_index("moved"), open_index("never")
    await moved.update([*public, document("x.txt", "fee fee wire", label=Label.PUBLIC)])
    await moved.update([document("x.txt", "fee fee wire", label=Label.RESTRICTED)])
    await never.update(public)

    for mode in MODES:
        before, after = [
            [(p.document, p.score) for p in await s.search("fee wire", k=9, clearance=Label.PUBLIC, mode=mode)]
            for s in (never, moved)
        ]
        assert before == after


async def test_scores_of_two_groups_compare(index, document):
    """A term weighs the same in every group that a reader sees: equal passages have equal scores."""
    await index.update(
        [
            document("a.txt", "fee card loan", label=Label.PUBLIC),
            document("b.txt", "fee card loan", label=Label.INTERNAL),
            *(document(f"c{n}.txt", "wire bank loan", label=Label.INTERNAL) for n in range(5)),
        ]
    )

    first, second, *_ = await index.search("fee", k=9, clearance=Label.INTERNAL, mode="keyword")

    assert {first.document, second.document} == {"a.txt", "b.txt"}
    assert first.score == pytest.approx(second.score)


async def test_the_index_is_its_owners_alone(index, document, tmp_path):
    """It holds the documents' texts: no file of it is anybody else's to read, also in a folder that was opened up."""
    (tmp_path / "docs").mkdir(mode=0o755)
    await index.update([document("a.txt", "late fee")])
    await index.update([document("b.txt", "early fee")])

    paths = list((tmp_path / "docs").rglob("*"))
    assert [path for path in paths if path.stat().st_mode & 0o077] == []
    assert len(paths) > 5


async def test_an_open_index_follows(open_index, document):
    """An index that was open before an update finds what came with it."""
    reader, writer = open_index(), open_index()
    await writer.update([document("a.txt", "one fee")])
    assert len(await reader.search("fee", k=9, clearance=Label.INTERNAL)) == 1
    await writer.update([document("b.txt", "two fee")])
    assert len(await reader.search("fee", k=9, clearance=Label.INTERNAL)) == 2


async def test_taken_away_text_is_in_no_file(index, document, tmp_path):
    """What was taken away is in no file of the index any more."""
    await index.update([document("a.txt", "harmless words"), document("b.txt", "xyzzyplugh is the password")])
    await index.update([], ["b.txt"])

    files = [path for path in (tmp_path / "docs").rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if b"xyzzyplugh" in path.read_bytes()]


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("local.build_keywords", OSError(28, "No space left on device")),
        ("indexes._build", ValueError("Failed to open file for write: No space left on device")),
        ("generation.put", sqlite3.OperationalError("database or disk is full: No space left")),
    ],
)
async def test_a_failed_update_changes_nothing(index, document, monkeypatch, where, error):
    """Whatever cannot be written in the middle, the index is what it was, and says so."""
    await index.update([document("a.txt", "old words")])

    def fail(*_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(f"coterie.knowledge.{where}", fail)
        with pytest.raises(StoreError, match=r"Cannot write the index 'docs' to .*No space.*It is as it was"):
            await index.update([document("a.txt", "new words")])

    (passage,) = await index.search("words", k=9, clearance=Label.INTERNAL)
    assert passage.text == "old words"
    await index.update([document("a.txt", "new words")])
    (passage,) = await index.search("words", k=9, clearance=Label.INTERNAL)
    assert passage.text == "new words"


async def test_nothing_indexed_yet(index):
    """An index without an index says which command makes one; it holds no documents."""
    assert await index.documents() == {}
    with pytest.raises(NotIndexed) as caught:
        await index.search("fee", k=1, clearance=Label.PUBLIC)
    assert "coterie index docs" in caught.value.hint


async def test_another_encoder_is_refused(open_index, document):
    """What another encoder made is refused with the command that builds it again, and that command works."""
    await open_index().update([document("a.txt", "fee")])
    other = WordEncoder(sha256="b" * 64)

    with pytest.raises(ArtefactRefused) as caught:
        await open_index(encoder=other).search("fee", k=1, clearance=Label.INTERNAL)
    assert "coterie index docs --rebuild" in caught.value.hint
    with pytest.raises(ArtefactRefused):
        await open_index(encoder=other).update([document("b.txt", "fee")])
    rebuilt = open_index(encoder=other, rebuild=True)
    await rebuilt.update([document("b.txt", "fee")])
    assert set(await rebuilt.documents()) == {"b.txt"}


@pytest.mark.parametrize("damage", ["manifest.json", "shelf.db", "group-0/vectors.npy", "group-0/keyword/meta.json"])
async def test_a_damaged_index_is_refused(open_index, document, tmp_path, damage):
    """A cut file of an index is named as such, with the command that builds it again."""
    await open_index().update([document("a.txt", "fee")])
    path = present(tmp_path / "docs") / damage
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])

    with pytest.raises(ArtefactRefused) as caught:
        await open_index().search("fee", k=1, clearance=Label.INTERNAL)
    assert "--rebuild" in caught.value.hint


async def test_every_changed_byte_is_noticed(open_index, document, tmp_path):
    """One bit changed in any file of an index: neither a search nor a writer takes it, and the command is named."""
    await open_index().update([document("a.txt", "fee"), document("b.txt", "loan", label=Label.RESTRICTED)])
    folder = present(tmp_path / "docs")
    files = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]
    assert {"shelf.db", "manifest.json", "vectors.npy", "keys.npy", "meta.json"} <= {path.name for path in files}

    for path in files:
        content = path.read_bytes()
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        with pytest.raises(ArtefactRefused) as caught:
            await open_index().search("fee", k=1, clearance=Label.INTERNAL)
        assert "coterie index docs --rebuild" in caught.value.hint
        with pytest.raises(ArtefactRefused):
            await open_index().update([document("c.txt", "fee")])
        path.write_bytes(content)
    assert len(await open_index().search("fee", k=5, clearance=Label.INTERNAL)) == 1


async def test_a_folder_that_cannot_be_written_to_is_searched(open_index, document, tmp_path, monkeypatch):
    """Where no lock can be taken, as on a read-only disk, passages are found and nothing is left behind."""
    await open_index().update([document("a.txt", "fee")])
    for lock in present(tmp_path / "docs").rglob("*.lock"):
        lock.unlink()
        lock.mkdir()  # root may write to any file: what stands there can be opened by nobody
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    index = open_index()

    assert len(await index.search("fee", k=1, clearance=Label.INTERNAL, mode="keyword")) == 1
    await index.close()
    assert not list(tmp_path.glob("coterie-keywords-*"))


async def test_a_lock_taken_meanwhile_is_removed_too(open_index, document, tmp_path, monkeypatch):
    """What the index's own thread puts into the folder while it is being removed does not keep it."""
    await open_index().update([document("a.txt", "fee")])
    for lock in present(tmp_path / "docs").rglob("*.lock"):
        lock.unlink()
        lock.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    removed, cleanup = [], tempfile.TemporaryDirectory.cleanup

    def meanwhile(folder):
        if Path(folder.name).name.startswith("coterie-keywords-"):  # another test's may be collected just now
            removed.append(folder)
            if len(removed) == 1:
                raise OSError("Directory not empty")
        cleanup(folder)

    monkeypatch.setattr(tempfile.TemporaryDirectory, "cleanup", meanwhile)
    index = open_index()
    await index.search("fee", k=1, clearance=Label.INTERNAL, mode="keyword")
    await index.close()

    assert len(removed) == 2
    assert not list(tmp_path.glob("coterie-keywords-*"))


async def test_an_index_without_checksums_is_read(open_index, document, tmp_path):
    """What an earlier version wrote has sizes only: it is searched, and the next update gives it checksums."""
    await open_index().update([document("a.txt", "fee")])
    path = present(tmp_path / "docs") / "manifest.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({name: content[name] for name in content if "checksum" not in name}))

    assert len(await open_index().search("fee", k=1, clearance=Label.INTERNAL)) == 1
    await open_index().update([document("b.txt", "fee")])
    assert "checksum" in (present(tmp_path / "docs") / "manifest.json").read_text()


async def test_one_writer_at_a_time(index, document, tmp_path):
    """A second writer is told that there is a first one, and changes nothing."""
    await index.update([document("a.txt", "fee")])
    with sole_writer(tmp_path / "docs" / "writing.lock", "it"), pytest.raises(IndexBusy, match="Another process"):
        await index.update([document("b.txt", "fee")])
    assert set(await index.documents()) == {"a.txt"}


def test_many_vectors_are_found_as_few_are():
    """With many vectors the nearest by sign hold almost all of the nearest by cosine, in the right order."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(50, 64))
    vectors = centres[rng.integers(0, 50, 9000)] + 0.7 * rng.normal(size=(9000, 64))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    index = VectorIndex(vectors)

    shares = []
    for query in vectors[:20].astype(np.float32):
        hits = index.search(query, 10)
        exact = np.argsort(-(vectors.astype(np.float32) @ query), kind="stable")[:10]
        shares.append(len(set(hits.rows.tolist()) & set(exact.tolist())) / 10)
        assert hits.cosines.tolist() == sorted(hits.cosines.tolist(), reverse=True)
    assert np.mean(shares) > 0.95


def test_fusion_by_rank_alone():
    """What is high in both rankings is first; of equals the lowest key."""
    assert list(fuse([[1, 2, 3], [3, 1, 4]], k=10)) == [1, 3, 2, 4]
    assert list(fuse([[5], [4]])) == [4, 5]


@pytest.mark.parametrize("mode", MODES)
async def test_asking_for_more_changes_nothing_at_the_top(index, document, mode):
    """The first passages are the same, with the same scores, however many are asked for."""
    await index.update([document(f"{n}.txt", f"fee {'late ' * (n % 7)}word{n % 40} number{n}") for n in range(450)])

    few, many = [await index.search("late fee word3", k=k, clearance=Label.INTERNAL, mode=mode) for k in (10, 400)]

    assert list(few) == list(many[:10])
    assert len(many) == 400
    assert len({passage.document for passage in many}) == 400
    assert [p.score for p in many] == sorted((p.score for p in many), reverse=True)


async def test_the_manifest_says_what_made_it(index, document, tmp_path, encoder):
    """The generation states format, encoder and groups."""
    await index.update([document("a.txt", "fee", label=Label.PUBLIC, tenant="t")])

    manifest = json.loads((present(tmp_path / "docs") / "manifest.json").read_text())
    assert manifest["encoder_sha256"] == encoder.sha256
    assert manifest["groups"] == [{"label": "public", "tenant": "t", "folder": "group-0"}]


async def test_an_index_of_an_older_reader_is_searched_and_says_so(open_index, document, tmp_path):
    """It has no dates and cuts tables; documents that are put anew are dated, and all of them make it new."""
    index = open_index()
    await index.update([document("a.txt", "late fee"), document("b.txt", "wires")])
    folder = next(path.parent for path in tmp_path.rglob("current"))
    generation = present(folder)
    with sqlite3.connect(generation / "shelf.db") as connection:
        connection.execute("alter table document drop column dated")
    manifest = json.loads((generation / "manifest.json").read_text())
    kept = {name: manifest[name] for name in ("format", "encoder_sha256", "documents", "chunks", "groups")}
    (generation / "manifest.json").unlink()
    write_manifest(generation, kept)

    index = open_index()
    assert [passage.dated for passage in await index.search("late fee", k=1, clearance=Label.INTERNAL)] == [None]
    assert index_state(folder).is_outdated
    await index.update([replace(document("a.txt", "late fee"), dated="2024-05")])
    assert [passage.dated for passage in await index.search("late fee", k=1, clearance=Label.INTERNAL)] == ["2024-05"]
    assert index_state(folder).is_outdated
    await index.update([document("a.txt", "late fee"), document("b.txt", "wires")])
    assert not index_state(folder).is_outdated


# --- Searching one document of an index.


TEXT = "wires cost nothing\n\nthe late fee is five dollars\n\ncards are sent by post"


async def test_only_the_named_document_is_searched(index, document):
    """Passages come from it alone, the best first, though another one has the words as well."""
    await index.update([document("a.txt", TEXT), document("b.txt", "the late fee is nine dollars")])

    passages = await index.search("late fee", k=2, clearance=Label.INTERNAL, document="a.txt")

    assert [passage.document for passage in passages] == ["a.txt", "a.txt"]
    assert passages[0].text == "the late fee is five dollars"


async def test_a_document_that_may_not_be_seen_is_not_there(index, document):
    """Above the clearance, of another tenant, or unknown: nothing is found."""
    await index.update([document("a.txt", TEXT, label=Label.RESTRICTED), document("b.txt", TEXT, tenant="other")])

    for name in ("a.txt", "b.txt", "c.txt"):
        assert not await index.search("late fee", k=2, clearance=Label.INTERNAL, document=name)
    assert await index.search("late fee", k=2, clearance=Label.RESTRICTED, document="a.txt")
