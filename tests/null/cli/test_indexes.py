"""`coterie index` and `coterie search`: an index filled, searched and measured from the command line."""

import json
import zlib

import numpy as np
import pytest

from coterie.cli.output import PARTIAL
from coterie.config.file import load_config
from coterie.engines.onnx import TokenStates
from coterie.types import Label, Output


class Words:
    """The bundled encoder's stand-in: a text is the sum of its words."""

    name, sha256, dimension = "words", "a" * 64, 16

    @classmethod
    def bundled(cls, *, threads=1, max_batch=32):
        return cls()

    @classmethod
    def read(cls, folder, *, threads=1, max_batch=32, states=False):
        return cls()

    def encode(self, texts, *, progress=None):
        rows = [
            sum(
                (np.random.default_rng(zlib.crc32(w.encode())).normal(size=16) for w in t.lower().split()), np.zeros(16)
            )
            for t in texts
        ]
        vectors = np.array(rows, dtype=np.float32).reshape(-1, 16)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)

    def encode_tokens(self, texts, reduce):
        return self.encode(texts), [reduce(TokenStates([], np.zeros((0, 16), dtype=np.float32))) for _ in texts]

    def count_tokens(self, text):
        return len(text.split()) + 2

    async def run(self, batch, *, call=None):
        return [Output(vector=vector) for vector in self.encode([prompt.text for prompt in batch])]

    async def close(self):
        pass


@pytest.fixture(autouse=True)
def words(monkeypatch):
    monkeypatch.setattr("coterie.engines.onnx.OnnxEncoder", Words)
    monkeypatch.setattr("coterie.cli.checks.OnnxEncoder", Words)


@pytest.fixture
def shop(folder):
    """A network with documents and a section for them."""
    (folder / "papers" / "hr").mkdir(parents=True)
    (folder / "papers" / "fees.md").write_text("# Fees\n\nThe late fee is five dollars.")
    (folder / "papers" / "hr" / "pay.txt").write_text("The late director earns a lot.")
    with (folder / "coterie.toml").open("a") as file:
        file.write('\n[knowledge.docs]\npaths = ["papers"]\nlabels = { "papers/hr/**" = "restricted" }\n')
    return folder


def test_index_and_search(run, shop):
    """An index of the file is indexed and searched; JSON has exactly what it should."""
    indexed = run("-C", shop, "index", "docs", "--json")
    result = run("-C", shop, "search", "docs", "late fee", "--json")

    assert (indexed.code, indexed.json["documents"], indexed.json["added"]) == (0, 2, 2)
    assert list(result.json) == ["passages"]
    (passage,) = result.json["passages"]
    assert passage["text"] == "The late fee is five dollars."
    assert (passage["document"], passage["start"], passage["end"]) == ("papers/fees.md", 8, 37)
    assert (passage["label"], passage["heading"], passage["page"]) == ("internal", "Fees", None)
    assert set(passage) == {"document", "start", "end", "score", "label", "text", "heading", "page"}


def test_documents_that_changed_since_they_were_indexed(run, shop, tmp_path):
    """Doctor names them, says how to index them again, and says nothing once that is done."""

    def said():
        checks = {check["name"]: check for check in run("-C", shop, "doctor", "--json").json["checks"]}
        return checks["index docs"]["ok"], checks["index docs"]["found"], checks["index docs"]["fix"]

    run("-C", shop, "index", "docs")
    assert said()[0]
    (shop / "papers" / "fees.md").write_text("# Fees\n\nThe late fee is six dollars.")
    (shop / "papers" / "more.md").write_text("More.")
    (shop / "papers" / "hr" / "pay.txt").unlink()
    ok, finding, fix = said()
    assert not ok
    assert all(name in finding for name in ("papers/fees.md", "papers/more.md", "papers/hr/pay.txt"))
    assert fix.endswith("index docs")
    run("-C", shop, "index", "docs")
    assert said()[0]
    with (shop / "coterie.toml").open("a") as file:
        file.write("rerank = false\n")
    run("-C", shop, "index", "docs")
    assert said()[0]


def test_a_document_named_by_a_full_path_does_not_keep_it(run, shop, tmp_path):
    """It is called by its own name, the same each time, and another file of that name by more of its path."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "lease.md").write_text(f"The rent of {folder} is due.")
        run("-C", shop, "index", "loose", tmp_path / folder / "lease.md")
    again = run("-C", shop, "index", "loose", tmp_path / "one" / "lease.md", "--json").json
    passages = run("-C", shop, "search", "loose", "rent", "--json").json["passages"]

    assert (again["documents"], again["unchanged"]) == (2, 1)
    assert {passage["document"]: passage["text"] for passage in passages} == {
        "lease.md": "The rent of one is due.",
        "two/lease.md": "The rent of two is due.",
    }


def test_search_as_somebody(run, shop):
    """With a higher clearance more is found; an unknown label or mode is an error."""
    run("-C", shop, "index", "docs")

    names = {
        p["document"]
        for p in run("-C", shop, "search", "docs", "late", "--as", "restricted", "--json").json["passages"]
    }
    assert names == {"papers/fees.md", "papers/hr/pay.txt"}
    assert run("-C", shop, "search", "docs", "late", "--as", "boss").code == 2
    assert run("-C", shop, "search", "docs", "late", "--mode", "magic").code == 2
    assert run("-C", shop, "search", "docs").code == 2


def test_a_label_raised_in_the_file_holds_at_once(run, shop):
    """The index is refused by search and told by doctor until it is indexed again; a lowered label changes nothing."""
    run("-C", shop, "index", "docs")
    file = shop / "coterie.toml"
    before = file.read_text()
    file.write_text(before.replace('"papers/hr/**" = "restricted"', '"papers/**" = "restricted"'))

    refused = run("-C", shop, "search", "docs", "late")
    assert refused.code != 0
    assert f"coterie -C {shop} index docs" in refused.err
    assert "labels['papers/**'] = 'restricted'" in run("-C", shop, "doctor").out
    run("-C", shop, "index", "docs", shop / "papers" / "hr")
    assert run("-C", shop, "search", "docs", "late").code != 0

    run("-C", shop, "index", "docs")
    assert run("-C", shop, "search", "docs", "late", "--json").json == {"passages": []}
    file.write_text(before.replace('"papers/hr/**" = "restricted"', ""))
    assert run("-C", shop, "search", "docs", "late", "--json").json == {"passages": []}


def test_words_for_people(run, shop):
    """Without --json: what became of it, what could not be read, with an exit code of its own, what comes next."""
    (shop / "papers" / "bad.docx").write_bytes(b"no zip")
    indexed = run("-C", shop, "index", "docs")
    scripts = run("-C", shop, "index", "docs", "--json")
    result = run("-C", shop, "search", "docs", "late fee", "--mode", "keyword")

    assert "2 documents: 2 added" in indexed.out
    assert "Not read: papers/bad.docx" in indexed.err
    assert (indexed.code, scripts.code) == (PARTIAL, PARTIAL)
    assert [failure["document"] for failure in scripts.json["failed"]] == ["papers/bad.docx"]
    assert "1. papers/fees.md [8:37] internal" in result.out


def test_nothing_could_be_read(run, folder, tmp_path):
    """JSON is one document, with the reasons and the error; people are told the same, and of no next step."""
    (tmp_path / "bad.docx").write_bytes(b"no zip")
    scripts = run("-C", folder, "index", "docs", tmp_path / "bad.docx", "--json")
    people = run("-C", folder, "index", "docs", tmp_path / "bad.docx")

    assert (scripts.code, people.code) == (2, 2)
    assert scripts.json["error"]["code"] == "input_error"
    assert scripts.json["failed"][0]["reason"].startswith("it is no readable DOCX")
    assert "Not read:" in people.err
    assert " 1 document " in people.err
    assert "Next:" not in people.out


def test_links_that_lead_out_are_named(run, shop, tmp_path):
    """For people and in JSON."""
    (tmp_path / "elsewhere.txt").write_text("not ours")
    (shop / "papers" / "link.txt").symlink_to(tmp_path / "elsewhere.txt")

    assert run("-C", shop, "index", "docs", "--json").json["outside"] == ["papers/link.txt"]
    assert "Passed over: papers/link.txt" in run("-C", shop, "index", "docs").err


def test_a_index_that_is_not_in_the_file(run, folder, tmp_path):
    """A new name is indexed and searched too, and it is said how to keep it."""
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text(
        "\n".join(
            json.dumps({"_id": str(n), "title": "Fees", "text": f"fee {w}"}) for n, w in enumerate(["late", "wire"])
        )
    )
    queries, qrels = tmp_path / "queries.jsonl", tmp_path / "qrels.tsv"
    queries.write_text('{"_id": "q", "text": "wire"}\n')
    qrels.write_text("query-id\tcorpus-id\tscore\nq\t1\t1\n")

    indexed = run("-C", folder, "index", "beir", "--beir", corpus)
    measured = run("-C", folder, "search", "beir", "--eval", queries, "--qrels", qrels, "--mode", "hybrid", "--json")

    assert indexed.code == 0
    assert "[knowledge.beir]" in indexed.err
    assert measured.json == {"queries": 1, "ndcg@10": 1.0, "recall@100": 1.0, "mode": "hybrid"}


def test_a_index_that_is_indexed_can_be_read(run, shop, tmp_path):
    """A specialist is added for an index that only the command line knew; one that nobody knows is refused."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.md").write_text("Parking costs two dollars.")

    early = run("-C", shop, "add", "help", "--task", "answer", "--knowledge", "extra")
    indexed = run("-C", shop, "index", "extra", tmp_path / "more", "--label", "public")
    added = run("-C", shop, "add", "help", "--task", "answer", "--knowledge", "extra")

    assert early.code == 2
    assert "nor indexed" in early.err
    assert f'[knowledge.extra]\npaths = ["{(tmp_path / "more").resolve()}"]\nlabel = "public"' in indexed.err
    assert added.code == 0, added.err
    config = load_config(shop)
    assert config.specialists["help"].knowledge == ("extra",)
    assert (config.knowledge["extra"].paths, config.knowledge["extra"].label) == ((), Label.PUBLIC)
    assert run("-C", shop, "search", "extra", "parking", "--as", "public", "--json").json["passages"]


def test_a_index_that_is_not_in_the_file_keeps_its_label_and_tenant(run, folder, tmp_path):
    """Indexed again without them it is as it was, and that is said; a label that is given holds."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.md").write_text("Parking costs two dollars.")

    def seen(*words):
        return run("-C", folder, "search", "extra", "parking", "--json", *words).json["passages"]

    run("-C", folder, "index", "extra", tmp_path / "more", "--label", "restricted", "--tenant", "acme")
    (tmp_path / "more" / "b.md").write_text("Parking is free at night.")
    again = run("-C", folder, "index", "extra", tmp_path / "more")
    assert "--label restricted, --tenant acme" in again.err
    assert not seen("--as", "confidential", "--tenant", "acme")
    assert not seen("--as", "restricted")
    assert len(seen("--as", "restricted", "--tenant", "acme")) == 2

    run("-C", folder, "index", "extra", tmp_path / "more" / "b.md", "--label", "public")
    assert len(seen("--as", "public", "--tenant", "acme")) == 1
    assert "--label restricted" in run("-C", folder, "index", "extra", tmp_path / "more").err
    run("-C", folder, "index", "extra", tmp_path / "more", "--label", "public")
    assert len(seen("--as", "public", "--tenant", "acme")) == 2
    assert "--label public" in run("-C", folder, "index", "extra", tmp_path / "more").err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("index", "docs"), "has no paths"),
        (("index", "docs", "nowhere"), "no file or folder"),
        (("index", "Bad Name", "data"), "Bad Name"),
        (("index", "docs", "data", "--label", "top"), "--label is 'top'"),
        (("search", "docs", "fee"), "Unknown index"),
        (("search", "../../etc", "fee"), "no name of an index"),
        (("search", "docs", "--eval", "a"), "belong together"),
    ],
)
def test_what_cannot_be_done_is_said(run, folder, words, said):
    """Wrong names, paths and labels are errors with a hint, not tracebacks."""
    result = run("-C", folder, *words)

    assert result.code in {1, 2}
    assert said in result.err


def test_doctor(run, shop):
    """The doctor says which index is not indexed and the command for it, then what it holds."""
    before = run("-C", shop, "doctor")
    run("-C", shop, "index", "docs")
    after = run("-C", shop, "doctor", "--json")

    assert "index docs" in before.out
    (check,) = [check for check in after.json["checks"] if check["name"] == "index docs"]
    assert (check["ok"], check["found"]) == (True, "2 documents, 2 chunks")
