"""Bringing an index up to date: what is read again, what disappears, what an interruption leaves."""

import asyncio
import hashlib
import os
import threading
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info

from coterie.errors import DataError, IndexBusy, InputError
from coterie.knowledge.build import build_index
from coterie.knowledge.generation import sole_writer
from coterie.knowledge.sources import Access, find_files, read_corpus
from coterie.types import Label

from .conftest import WordEncoder


class Silent:
    """Progress that nobody sees."""

    def start(self, what, total):
        pass

    def advance(self, n):
        pass

    def finish(self, note):
        pass


@pytest.fixture
def place(tmp_path):
    """A network's folder with documents."""
    folder = tmp_path / "shop"
    (folder / "docs" / "hr").mkdir(parents=True)
    (folder / "docs" / "fees.md").write_text("# Fees\n\nThe late fee is five dollars.")
    (folder / "docs" / "hr" / "pay.txt").write_text("The director earns a lot.")
    (folder / "docs" / ".hidden.txt").write_text("hidden")
    (folder / "docs" / "photo.jpg").write_bytes(b"\xff\xd8")
    return folder


@pytest.fixture
def build(place, open_index, encoder, tmp_path):
    """Indexes what was found; gives index and report."""

    async def build(files, *, encoder=encoder, **options):
        index = open_index(encoder=encoder, **options)
        folder = tmp_path / "docs"
        return index, await build_index(index, files, encoder=encoder, folder=folder, name="docs", progress=Silent())

    return build


def access(**options):
    """Who may see it: everybody inside."""
    return Access(**{"label": Label.INTERNAL, "labels": {}, **options})


def find(folder, *paths, exact=True, index=(), remembered=None, **options):
    whole, known_sources = [folder / path for path in index], remembered or {}
    places = [folder / path for path in paths]
    return find_files(folder, places, access(**options), exact=exact, index=whole, remembered=known_sources)


def labels_of(files):
    return {source.name: source.label.value for source in files.sources}


async def test_only_what_changed_is_read(place, build, encoder):
    """The second time nothing is read or encoded; a changed file is; a deleted one disappears."""
    _, first = await build(find(place, "docs"))
    encoded = encoder.encoded
    _, second = await build(find(place, "docs"))
    again = encoder.encoded
    (place / "docs" / "fees.md").write_text("# Fees\n\nThe late fee is six dollars.")
    (place / "docs" / "hr" / "pay.txt").unlink()
    index, third = await build(find(place, "docs"))

    assert (first.documents, first.added, first.skipped, first.kinds) == (2, 2, 1, {".jpg": 1})
    assert (second.documents, second.unchanged, second.chunks, again) == (2, 2, 0, encoded)
    assert (third.documents, third.changed, third.removed) == (1, 1, 1)
    (passage, *_) = await index.search("late fee", k=5, clearance=Label.INTERNAL)
    assert (passage.document, passage.text, passage.heading) == ("docs/fees.md", "The late fee is six dollars.", "Fees")


async def test_paths_touch_only_what_is_below_them(place, build):
    """With paths of the moment, what the index has from elsewhere stays, and what is gone below them goes."""
    await build(find(place, "docs"))
    (place / "docs" / "hr" / "pay.txt").rename(place / "docs" / "hr" / "wages.txt")
    index, report = await build(find(place, "docs/hr", exact=False))

    assert (report.added, report.removed, report.documents) == (1, 1, 2)
    assert set(await index.documents()) == {"docs/fees.md", "docs/hr/wages.txt"}


async def test_labels_by_pattern(place, build):
    """The most sensitive label that holds for a document counts; another label is a change."""
    await build(find(place, "docs"))
    index, report = await build(find(place, "docs", labels={"docs/hr/**": Label.RESTRICTED, "**": Label.PUBLIC}))

    assert (report.changed, report.unchanged) == (1, 1)
    assert [p.document for p in await index.search("director", k=5, clearance=Label.INTERNAL)] == ["docs/fees.md"]
    best, *_ = await index.search("director", k=5, clearance=Label.RESTRICTED)
    assert (best.document, best.label) == ("docs/hr/pay.txt", Label.RESTRICTED)


async def test_one_bad_file_stops_nothing(place, build):
    """A file that cannot be read is reported; what the index had of it stays."""
    await build(find(place, "docs"))
    (place / "docs" / "fees.md").write_bytes(b"\x00\x01\x02" * 100)
    (place / "docs" / "broken.docx").write_bytes(b"PK cut")
    (place / "docs" / "more.txt").write_text("Wires are free.")
    index, report = await build(find(place, "docs"))

    assert {(failure.document, failure.kept) for failure in report.failed} == {
        ("docs/broken.docx", False),
        ("docs/fees.md", True),
    }
    assert (report.documents, report.added, report.removed) == (3, 1, 0)
    assert set(await index.documents()) == {"docs/fees.md", "docs/hr/pay.txt", "docs/more.txt"}


async def test_an_interrupted_build_goes_on(place, build, monkeypatch, tmp_path):
    """What was encoded before an interruption is not encoded again, and the index was the old one meanwhile."""
    for n in range(6):
        (place / "docs" / f"{n}.txt").write_text(f"Document number {n}.")
    monkeypatch.setattr("coterie.knowledge.build._BATCH", 2)

    class Dying(WordEncoder):
        def encode(self, texts, *, progress=None):
            if self.encoded >= 4:
                raise OSError(5, "the machine went away")
            return super().encode(texts, progress=progress)

    dying = Dying()
    with pytest.raises(OSError, match="went away"):
        await build(find(place, "docs"), encoder=dying)
    healthy = WordEncoder()
    _, report = await build(find(place, "docs"), encoder=healthy)

    assert (report.documents, report.added, report.resumed) == (8, 8, 4)
    assert healthy.encoded == 4
    assert not (tmp_path / "docs" / "draft.db").exists()


async def test_products_do_not_wait_for_each_other(place, build):
    """While texts are encoded BLAS has one thread: more would take the cores from the encoder."""
    seen = []

    class Looking(WordEncoder):
        def encode(self, texts, *, progress=None):
            seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
            return super().encode(texts, progress=progress)

    await build(find(place, "docs"), encoder=Looking())
    assert seen
    assert set(seen) == {1}


async def test_a_cancelled_build_stops_soon(place, open_index, tmp_path, monkeypatch):
    """Ctrl-C while documents are read ends the work at the next one; what was kept is not done again."""
    for n in range(50):
        (place / "docs" / f"{n}.txt").write_text(f"Document number {n}.")
    monkeypatch.setattr("coterie.knowledge.build._BATCH", 1)
    loop, read = asyncio.get_running_loop(), []
    cancelled, encoder = threading.Event(), WordEncoder()

    def later(turns):
        """Some turns of the loop after the cancellation."""
        cancelled.set() if turns == 0 else loop.call_soon(later, turns - 1)

    class Impatient(Silent):
        def advance(self, n):
            read.append(n)
            if len(read) == 3:
                loop.call_soon_threadsafe(task.cancel)
                loop.call_soon_threadsafe(later, 10)
                cancelled.wait(60)

    folder = tmp_path / "docs"
    index = open_index(encoder=encoder)
    task = asyncio.ensure_future(
        build_index(index, find(place, "docs"), encoder=encoder, folder=folder, name="docs", progress=Impatient())
    )
    with pytest.raises(asyncio.CancelledError):
        await task
    report = await build_index(
        index, find(place, "docs"), encoder=encoder, folder=folder, name="docs", progress=Silent()
    )

    assert len(read) == 3
    assert (report.resumed, report.documents) == (3, 52)


async def test_two_at_once(place, build, tmp_path):
    """A second indexing is told of the first."""
    await build(find(place, "docs"))
    with sole_writer(tmp_path / "docs" / "building.lock", "it"), pytest.raises(IndexBusy):
        await build(find(place, "docs"))


async def test_nothing_to_read(place, build):
    """An empty folder for an index that has nothing from it, or no folder at all, is an error."""
    (place / "empty").mkdir()
    await build(find(place, "docs"))

    with pytest.raises(InputError, match="Found no file to index"):
        await build(find(place, "empty", exact=False))
    with pytest.raises(InputError, match="no file or folder"):
        find(place, "nowhere")


async def test_the_last_document_disappears_too(place, build):
    """Where every file is gone, so is every document, and no error keeps them."""
    await build(find(place, "docs"))
    (place / "docs" / "fees.md").unlink()
    (place / "docs" / "hr" / "pay.txt").unlink()
    index, report = await build(find(place, "docs"))

    assert (report.documents, report.removed) == (0, 2)
    assert not await index.search("late fee", k=5, clearance=Label.RESTRICTED)


async def test_a_raised_label_holds_for_a_file_that_cannot_be_read(place, build):
    """What the index had of it under the lower label is taken away, and that is told; a lowered one keeps it."""
    await build(find(place, "docs"))
    (place / "docs" / "fees.md").write_bytes(b"\x00\x01\x02" * 100)
    index, report = await build(find(place, "docs", labels={"docs/fees.md": Label.RESTRICTED}))

    assert [(failure.kept, failure.withdrawn) for failure in report.failed] == [(False, True)]
    assert (report.documents, report.removed) == (1, 1)
    assert not await index.search("late fee", k=5, clearance=Label.INTERNAL, document="docs/fees.md")

    (place / "docs" / "hr" / "pay.txt").write_bytes(b"\x00\x01\x02" * 100)
    _, report = await build(find(place, "docs", label=Label.PUBLIC))
    assert [(failure.document, failure.kept) for failure in report.failed if failure.kept] == [
        ("docs/hr/pay.txt", True)
    ]


@pytest.mark.parametrize("before", [None, "acme"])
async def test_another_tenant_holds_for_a_file_that_cannot_be_read(place, build, before):
    """What belonged to everybody, or to somebody else, is nobody's any more."""
    await build(find(place, "docs", tenant=before))
    (place / "docs" / "fees.md").write_bytes(b"\x00\x01\x02" * 100)
    index, report = await build(find(place, "docs", tenant="other"))

    assert [failure.withdrawn for failure in report.failed] == [True]
    assert set(await index.documents()) == {"docs/hr/pay.txt"}


async def test_a_folder_that_cannot_be_looked_into(place, build, monkeypatch):
    """It is reported, the rest goes on, and what the index has from there stays, unless its label was raised."""
    await build(find(place, "docs"))
    (place / "docs" / "more.txt").write_text("Wires are free.")
    look = Path.iterdir

    def closed(path):
        if path.name == "hr":
            raise PermissionError(13, "Permission denied")
        return look(path)

    monkeypatch.setattr(Path, "iterdir", closed)
    index, report = await build(find(place, "docs"))
    assert [(failure.document, failure.reason, failure.kept) for failure in report.failed] == [
        ("docs/hr", "Permission denied", True)
    ]
    assert set(await index.documents()) == {"docs/fees.md", "docs/hr/pay.txt", "docs/more.txt"}

    index, report = await build(find(place, "docs", labels={"docs/hr/**": Label.RESTRICTED}))
    assert set(await index.documents()) == {"docs/fees.md", "docs/more.txt"}
    assert (report.removed, report.failed[0].kept) == (1, False)


def test_links_lead_nowhere_else(place, tmp_path):
    """A link out of the folder, or to a folder above, is not followed."""
    (tmp_path / "outside.txt").write_text("not ours")
    (place / "docs" / "link.txt").symlink_to(tmp_path / "outside.txt")
    (place / "docs" / "loop").symlink_to(place / "docs")
    (place / "docs" / "itself").symlink_to(place / "docs" / "itself")

    assert [source.name for source in find(place, "docs").sources] == ["docs/fees.md", "docs/hr/pay.txt"]


def test_a_link_that_leads_out_is_told(place, tmp_path):
    """Nobody goes there, whatever label it would have; it is named, and so it is where nothing else is found."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "pay.txt").write_text("The director earns too much.")
    (place / "docs" / "open").symlink_to(secret)
    (place / "alone").mkdir()
    (place / "alone" / "pay.txt").symlink_to(secret / "pay.txt")

    files = find(place, "docs", labels={"**": Label.PUBLIC})

    assert set(labels_of(files)) == {"docs/fees.md", "docs/hr/pay.txt"}
    assert files.outside == ("docs/open",)
    assert "1 links lead out" in find(place, "alone").nothing.message


def test_a_linked_folder_has_the_labels_of_its_name_and_of_its_real_path(place, tmp_path):
    """Patterns on the path in the file, on the path below it, and on the real one: the most sensitive counts."""
    real = tmp_path / "server" / "share"
    (real / "hr").mkdir(parents=True)
    (real / "hr" / "pay.txt").write_text("The director earns too much.")
    (place / "linked").symlink_to(real)
    name = "linked/hr/pay.txt"

    for pattern in ("linked/hr/**", "hr/*", "pay.txt", f"{real.resolve()}/**", str(place / "linked/hr/*")):
        wanted = "internal" if pattern == "pay.txt" else "restricted"
        files = find(place, "linked", labels={pattern: Label.RESTRICTED}, index=["linked"])
        assert labels_of(files) == {name: wanted}, pattern
    both = {"linked/**": Label.CONFIDENTIAL, f"{real.resolve()}/hr/**": Label.RESTRICTED, "hr/**": Label.PUBLIC}
    assert labels_of(find(place, "linked", labels=both, index=["linked"])) == {name: "restricted"}
    assert labels_of(find(place, "linked", labels=both)) == {"share/hr/pay.txt": "restricted"}


def test_a_linked_file_that_is_named_itself_has_the_label_of_its_name(place, tmp_path):
    """The pattern is of the link, and so is the document's name."""
    (tmp_path / "pay.txt").write_text("The director earns too much.")
    (place / "wages.txt").symlink_to(tmp_path / "pay.txt")

    files = find(place, "wages.txt", labels={"wages.txt": Label.RESTRICTED}, index=["wages.txt"])

    assert labels_of(files) == {"wages.txt": "restricted"}


def test_documents_elsewhere_are_called_without_the_machine_s_path(place, tmp_path):
    """By the end of the path that was named, as much of it as tells them apart, also where a part is indexed again."""
    for folder in ("a/docs", "b/docs", "c/notes"):
        (tmp_path / folder / "x").mkdir(parents=True)
        (tmp_path / folder / "x" / "fees.md").write_text(folder)
    paths = [tmp_path / path for path in ("a/docs", "b/docs", "c/notes", "c/notes/x")]

    files = find(place, *paths, index=paths)
    assert [source.name for source in files.sources] == ["a/docs/x/fees.md", "b/docs/x/fees.md", "notes/x/fees.md"]
    part = find(place, tmp_path / "a" / "docs" / "x", exact=False, index=paths)
    assert [source.name for source in part.sources] == ["a/docs/x/fees.md"]
    assert part.scope("a/docs/x/gone.md")
    assert part.scope(f"{(tmp_path / 'a/docs/x').resolve()}/gone.md")  # what an index of before called it
    assert not part.scope("b/docs/x/gone.md")
    alone = find(place, paths[0], index=paths[:1])  # the network has a folder of that name
    assert [source.name for source in alone.sources] == ["a/docs/x/fees.md"]
    # So is what is named for one moment, and what was named before keeps its name.
    first = find(place, paths[0], exact=False)
    assert [source.name for source in first.sources] == ["a/docs/x/fees.md"]
    file = paths[1] / "x" / "fees.md"
    second = find(place, file, exact=False, remembered=first.remembered)
    third = find(place, paths[1], paths[0], exact=False, remembered=second.remembered)
    assert [source.name for source in second.sources] == ["fees.md"]
    assert [source.name for source in third.sources] == ["fees.md", "a/docs/x/fees.md"]
    assert second.scope(file.resolve().as_posix())  # what an index of before called it
    (other,) = find(place, paths[2] / "x" / "fees.md", exact=False, remembered=third.remembered).sources
    assert other.name == "x/fees.md"
    assert str(tmp_path) not in str(third.remembered)


def test_links_below_a_folder_give_their_label(place):
    """A file that a link with a sensitive name leads to is as sensitive, and so is a link to a sensitive file."""
    docs = place / "docs"
    (docs / "common").mkdir()
    (docs / "common" / "plan.txt").write_text("We will merge.")
    (docs / "board").symlink_to(docs / "common")
    (docs / "copy.txt").symlink_to(docs / "hr" / "pay.txt")

    files = find(place, "docs", labels={"docs/board/**": Label.RESTRICTED, "docs/hr/**": Label.CONFIDENTIAL})

    assert labels_of(files) == {
        "docs/common/plan.txt": "restricted",
        "docs/copy.txt": "confidential",
        "docs/fees.md": "internal",
        "docs/hr/pay.txt": "confidential",
    }


def test_links_through_links_give_their_label(place):
    """Also where one link leads to a folder in which another stands."""
    docs = place / "docs"
    (docs / "board").symlink_to(docs / "work")
    (docs / "work").mkdir()
    (docs / "work" / "notes").symlink_to(docs / "hr")

    files = find(place, "docs", labels={"docs/board/notes/**": Label.RESTRICTED})

    assert labels_of(files) == {"docs/fees.md": "internal", "docs/hr/pay.txt": "restricted"}


def test_a_part_of_the_index_has_the_labels_of_the_whole(place):
    """A pattern relative to the index's folder, and one on a link beside the part, hold when it is indexed again."""
    (place / "docs" / "board").symlink_to(place / "docs" / "hr")

    for pattern in ("hr/**", "docs/hr/**", "board/*", "docs/board/pay.txt"):
        part = find(place, "docs/hr", exact=False, index=["docs"], labels={pattern: Label.RESTRICTED})
        assert labels_of(part) == {"docs/hr/pay.txt": "restricted"}, pattern


def test_an_accent_is_one_however_it_is_written(place):
    """A pattern with a composed letter holds for a file name with a combining accent."""
    (place / "docs" / "re\u0301sume\u0301.txt").write_text("She was born here.")

    files = find(place, "docs", labels={"docs/r\u00e9sum\u00e9.txt": Label.RESTRICTED})

    assert labels_of(files)["docs/re\u0301sume\u0301.txt"] == "restricted"


async def test_a_name_that_is_no_utf_8_is_written_out(place, build):
    """A file whose name the file system takes and nothing else does is indexed and found like any other."""
    (place / "docs" / os.fsdecode(b"bad\xff.txt")).write_text("Osmium is dense.")

    index, report = await build(find(place, "docs"))
    _, again = await build(find(place, "docs"))

    assert (report.added, again.unchanged) == (3, 3)
    assert "docs/bad\\xff.txt" in await index.documents()


def test_a_pattern_of_labels_that_changes_nothing_is_told(place):
    """One that matches nothing, or asks for no more than the index's own label; none of a part of the index."""
    labels = {"hr/**": Label.RESTRICTED, "personnel/**": Label.RESTRICTED, "docs/*.md": Label.PUBLIC}

    idle = find(place, "docs", labels=labels).idle

    assert list(idle) == ["personnel/**", "docs/*.md"]
    assert "matches no document" in idle["personnel/**"]
    assert "'internal'" in idle["docs/*.md"]
    assert find(place, "docs/hr", exact=False, index=["docs"], labels=labels).idle == {}


def test_endless_paths_are_refused(place, monkeypatch):
    """Links to folders above them make more paths than can be looked at: nothing is labelled by guess."""
    for n in range(12):
        (place / "docs" / "hr" / f"up{n}").symlink_to(place / "docs")

    with pytest.raises(InputError, match="paths lead to"):
        find(place, "docs", labels={"**/hr/**": Label.RESTRICTED})
    assert set(labels_of(find(place, "docs"))) == {"docs/fees.md", "docs/hr/pay.txt"}


async def test_a_corpus(tmp_path, build):
    """A BEIR corpus becomes an index of exactly its documents, their titles headings; packed or not."""
    import gzip

    path = tmp_path / "corpus.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.write('{"_id": "7", "title": "Late  fees", "text": "Five dollars."}\n\n{"_id": "8", "text": "Wires"}\n')
    index, report = await build(read_corpus(path, access()))

    assert (report.documents, report.chunks) == (2, 2)
    best, *_ = await index.search("late fees", k=2, clearance=Label.INTERNAL)
    assert (best.document, best.heading, best.text) == ("7", "Late fees", "Five dollars.")
    assert await index.text("7", 0, 9, clearance=Label.INTERNAL) == "Late fees"


@pytest.mark.parametrize("line", ["not json", "[1]", '{"text": "no id"}', ""])
def test_no_corpus(tmp_path, line):
    """A line that is no document is named by its number; an empty file is no corpus."""
    path = tmp_path / "corpus.jsonl"
    path.write_text(f"{line}\n")

    with pytest.raises(DataError, match=r"Line 1|holds no document"):
        read_corpus(path, access())


async def test_offsets_are_exact(place, build):
    """A passage is what stands at its offsets in the document's text, also in a long one with odd characters."""
    text = "\n\n".join(
        f"## Part {n}\n\nNaïve 日本 clause {n}. It ends — here! " + "word " * (n % 90) for n in range(300)
    )
    (place / "docs" / "long.md").write_text(text)
    index, _ = await build(find(place, "docs"))

    for query in ("clause 7", "part 299", "word word", "日本"):
        for passage in await index.search(query, k=20, clearance=Label.INTERNAL):
            if passage.document == "docs/long.md":
                assert text[passage.start : passage.end] == passage.text
            whole = await index.text(passage.document, 0, 10**9, clearance=Label.INTERNAL)
            assert whole[passage.start : passage.end] == passage.text
    digest = hashlib.sha256(text.encode()).hexdigest()
    whole = await index.text("docs/long.md", 0, 10**9, clearance=Label.INTERNAL)
    assert hashlib.sha256(whole.encode()).hexdigest() == digest
