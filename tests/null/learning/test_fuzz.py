"""Readers of what people bring: whatever is in a file, an error of ours or a value, in time; never another exception.

A short run with a fixed seed; `benchmarks/fuzz` runs the same longer (`COTERIE_FUZZ`).
"""

import io
import json
import os
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coterie.config.file import parse_config
from coterie.errors import ConfigError, DataError
from coterie.knowledge.parse import FileReader
from coterie.knowledge.parsed import Unreadable
from coterie.tasks.contract import read_dataset

EXAMPLES = os.environ.get("COTERIE_FUZZ")
ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.slow


def many(examples: int):
    """Settings of a run: short and always the same, or as long as it is asked to be."""
    return settings(
        max_examples=int(EXAMPLES or examples),
        derandomize=EXAMPLES is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def note(what: str, outcomes: list[str]) -> None:
    """For `benchmarks/fuzz`: how many there were, and what became of them."""
    if path := os.environ.get("COTERIE_FUZZ_LOG"):
        with Path(path).open("a") as file:
            file.write(json.dumps([what, "", len(outcomes), sorted(set(outcomes))]) + "\n")


@st.composite
def damaged(draw, whole: bytes) -> bytes:
    """A file with some of its bytes changed, repeated, cut out or cut off."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 8))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        kind = draw(st.sampled_from(["change", "insert", "remove", "repeat", "cut", "swap"]))
        length = draw(st.integers(1, 64))
        if kind == "change" and content:
            content[at] = draw(st.integers(0, 255))
        elif kind == "insert":
            content[at:at] = draw(st.sampled_from(ODD) | st.binary(max_size=16))
        elif kind == "remove":
            del content[at : at + length]
        elif kind == "repeat":
            content[at:at] = content[at : at + length] * draw(st.integers(1, 20))
        elif kind == "cut":
            del content[at:]
        else:
            content[at : at + length] = bytes(reversed(content[at : at + length]))
    return bytes(content)


ODD = [
    *(b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\x1a", b'"', b"\n\n", b",,,,", b"\xed\xa0\x80", b"{", b"[" * 50),
    *(b"NaN", b"1e999", b"\\ud800", b"-9" * 30, b"\xc2\x85", b"<!--", b"%PDF-1.7", b"endobj", b"PK\x03\x04"),
]


# --- Configuration -------------------------------------------------------------------------------

EXAMPLE = (ROOT / "examples/lender/coterie.toml").read_bytes()


def test_config():
    """A configuration that is none is a `ConfigError`, whatever is wrong with it."""
    outcomes = []

    @many(200)
    @given(st.one_of(damaged(EXAMPLE), damaged(b"[network]\nname = 'x'\n[budgets.a]\njoules = 1e9\nper = 'day'\n")))
    def run(content):
        try:
            parse_config(content.decode("utf-8", "surrogateescape"))
            outcomes.append("taken")
        except ConfigError as error:
            outcomes.append("refused" if str(error) else "no word")

    run()
    note("config", outcomes)
    assert {"taken", "refused"} == set(outcomes)


# --- Data ----------------------------------------------------------------------------------------

CSV = b'text,label,amount\nwhere is my card,card,5\n"a, quoted ""one""",other,\nlost it,card,7.5\n' * 5
JSONL = b"".join(
    json.dumps(row).encode() + b"\n"
    for row in (
        {"text": "where is my card", "label": "card", "amount": 5},
        {"text": "caf\u00e9", "label": ["other", "card"]},
        {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "card"}]},
    )
)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.tsv"])
@pytest.mark.parametrize("task", ["classify", "score"])
def test_data(tmp_path, name, task):
    """Rows, or a `DataError` that names the file."""
    whole = JSONL if name == "a.jsonl" else CSV.replace(b",", b"\t") if name == "a.tsv" else CSV
    label = "amount" if task == "score" else "label"
    outcomes = []

    @many(150)
    @given(st.one_of(damaged(whole), st.binary(max_size=300)))
    def run(content):
        path = tmp_path / name
        path.write_bytes(content)
        try:
            read_dataset(path, task=task, label_column=label)
            outcomes.append("taken")
        except DataError as error:
            outcomes.append("refused" if name in str(error) else f"not named: {error}")

    run()
    note(f"{name} for {task}", outcomes)
    assert set(outcomes) <= {"taken", "refused"}
    assert "refused" in outcomes


# --- Documents -----------------------------------------------------------------------------------


def docx() -> bytes:
    packed = io.BytesIO()
    body = "".join(f"<w:p><w:r><w:t>Paragraph {n} of the terms.</w:t></w:r></w:p>" for n in range(5))
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr(
            "word/document.xml",
            '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>'
            f"{body}</w:body></w:document>",
        )
    return packed.getvalue()


def pdf() -> bytes:
    words = b"BT /F1 12 Tf 72 720 Td (The late fee is five dollars.) Tj ET"
    parts = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources 6 0 R >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(words), words),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Font << /F1 5 0 R >> >>",
    ]
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, part in enumerate(parts, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, part)
    start = len(out)
    out += b"xref\n0 7\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % offset for offset in places)
    return bytes(out + b"trailer\n<< /Size 7 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % start)


HTML = b"<html><head><title>T</title></head><body><h1>Fees</h1><p>The late fee is <b>five</b> dollars.</p>" * 3
WHOLE = {
    "a.docx": docx(),
    "a.pdf": pdf(),
    "a.html": HTML,
    "a.md": b"# Fees\n\nThe late fee is five.\n\n```\ncode\n```\n" * 3,
    "a.csv": CSV,
    "a.txt": "The late fee is five dollars. Caf\u00e9.\n".encode() * 3,
}


@pytest.mark.parametrize("name", WHOLE)
def test_documents(tmp_path, name):
    """A text, or `Unreadable` with the reason; the process that reads outlives it or is started anew."""
    if name == "a.pdf":
        pytest.importorskip("pypdf")
    outcomes = []
    with FileReader(seconds=20) as reader:
        path = tmp_path / name
        path.write_bytes(WHOLE[name])
        assert reader.read(path).text

        @many(60)
        @given(damaged(WHOLE[name]))
        def run(content):
            path.write_bytes(content)
            try:
                assert reader.read(path).text.strip()
                outcomes.append("read")
            except Unreadable as error:
                outcomes.append("too long" if "exceeds the limit" in str(error) else "refused")

        run()
        path.write_bytes(WHOLE[name])
        assert reader.read(path).text
    note(f"document {name}", outcomes)
    assert set(outcomes) <= {"read", "refused"}
