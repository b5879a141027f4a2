"""Reading files: every format, and what is broken, hostile or too large."""

import io
import zipfile
from pathlib import Path

import pytest

from coterie.knowledge.parse import PARSERS, FileReader, parse
from coterie.knowledge.parse_text import decode
from coterie.knowledge.parsed import SUFFIXES, Unreadable

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


@pytest.fixture
def written(tmp_path):
    """Writes a file: `written("a.txt", b"...")`."""

    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def docx(body, styles=""):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("word/document.xml", f'<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>')
        if styles:
            file.writestr("word/styles.xml", f'<w:styles xmlns:w="{WORD}">{styles}</w:styles>')
    return packed.getvalue()


def zipped(**parts):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for name, content in parts.items():
            file.writestr(name, content)
    return packed.getvalue()


def pdf(*pages):
    """A PDF with a line a page, by hand: a writer of PDFs is no dependency."""
    kids = " ".join(f"{3 + 2 * n} 0 R" for n in range(len(pages)))
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>"]
    font = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
    for n, text in enumerate(pages):
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 300] /Contents {4 + 2 * n} 0 R "
            f"/Resources << /Font << /F1 {font} >> >> >>"
        )
        stream = f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET"
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    content, places = "%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(content))
        content += f"{number} 0 obj\n{body}\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in places)
    size = len(objects) + 1
    return (
        f"{content}xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n<< /Size {size} /Root 1 0 R >>\n"
        f"startxref\n{len(content)}\n%%EOF\n"
    ).encode()


def headings(parsed):
    """Each heading's level and title; its place must hold its words."""
    for heading in parsed.headings:
        assert "".join(heading.title.split()) in "".join(parsed.text[heading.start : heading.end].split())
    return [(heading.level, heading.title) for heading in parsed.headings]


def test_every_ending_has_a_parser():
    """The endings that are looked for are those that can be read."""
    assert set(PARSERS) == SUFFIXES


def test_text(written):
    """Text is read as it stands, line ends made one."""
    assert parse(written("a.txt", "one\r\ntwo\rthree")).text == "one\ntwo\nthree"


def test_markdown(written):
    """Headings of both kinds, but none inside a code fence."""
    parsed = parse(written("a.md", "# Fees #\ntext\n\nLate\n----\n\n```sh\n# no heading\n```\n### Deep\n"))

    assert headings(parsed) == [(1, "Fees"), (2, "Late"), (3, "Deep")]


def test_html(written):
    """What a reader sees, with headings below the title; scripts and styles are not text."""
    parsed = parse(
        written(
            "a.html",
            "<html><head><title>Bank</title><style>p{}</style></head><body><h1>Fees &amp; more</h1><p>Late: <b>5</b> "
            "euros<script>alert(1)</script><table><tr><td>Wire</td><td>free</td></tr></table></body>",
        )
    )

    assert headings(parsed) == [(1, "Bank"), (2, "Fees & more")]
    assert parsed.text.split("\n\n") == ["Bank", "Fees & more", "Late: 5 euros", "Wire: free", ""]


@pytest.mark.parametrize(
    ("table", "text"),
    [
        (
            "<tr><th>Ticket<th>Adults<th>Children<tr><td>Day<td>9<td><tr><td>Year<td>80<td>50",
            "Ticket: Day\nAdults: 9\n\nTicket: Year\nAdults: 80\nChildren: 50\n\n",
        ),
        ("<tr><td>Lesson<td>From<td>To<tr><td>First<td>8:00<td>8:45", "Lesson: First\nFrom: 8:00\nTo: 8:45\n\n"),
        ("<tr><td>Office<td>at the gate<tr><td>Nurse<td>room 3", "Office: at the gate\n\nNurse: room 3\n\n"),
        ("<tr><td>a b c d e f<td>1<td>2", "a b c d e f | 1 | 2\n\n"),
        (
            "<tr><th>Day<th>Hall<tr><td rowspan=2>Monday<td>open<tr><td>shut",
            "Day: Monday\nHall: open\n\nDay: Monday\nHall: shut\n\n",
        ),
        ("<tr><th>Day<th colspan=2>Hours<tr><td>Monday<td>9<td>17", "Day: Monday\nHours: 9\nHours: 17\n\n"),
        (
            "<tr><th>Day<th>Hours<tr><td>Monday<td>9<tr><th>Week<th>Rooms<tr><td>33<td>4",
            "Day: Monday\nHours: 9\n\nWeek: 33\nRooms: 4\n\n",
        ),
        ("<tr><td><h2>News</h2><p>One.<td>Two.", "News\n\nOne. Two.\n\n"),
        ("<tr><td><table><tr><td>Inner<td>1</table><td>Outer", "Inner: 1\n\nOuter\n\n"),
    ],
)
def test_html_tables(written, table, text):
    """A row is read with the names of its columns, stated or guessed; a table for the layout as it comes."""
    assert parse(written("a.html", f"<body><table>{table}</table></body>")).text == text


def test_html_descriptions(written):
    """What a list says of a term stands with the term."""
    page = "<dl><dt>Head<dd>Mrs Bello<dt>Nurse<dt>Doctor<dd>room 3<dd>room 4</dl><p>End"

    assert parse(written("a.html", page)).text == ("Head: Mrs Bello\n\nNurse\n\nDoctor: room 3\n\nroom 4\n\nEnd\n\n")


def test_html_states_its_encoding(written):
    """The encoding that a page states is the one it is read in."""
    page = '<meta charset="iso-8859-2"><p>Łódź'.encode("iso-8859-2")

    assert "Łódź" in parse(written("a.html", page)).text


def test_csv(written):
    """A row is a paragraph that can be read without the first row."""
    parsed = parse(written("a.csv", 'name;fee\nWire;"15;00"\n\nCard;\n'))

    assert parsed.text == "name: Wire\nfee: 15;00\n\nname: Card\n\n"


def test_docx(written):
    """Paragraphs, headings by their style, tables row by row; deleted text is not there."""
    style = '<w:style w:styleId="H"><w:name w:val="heading 2"/></w:style>'
    body = (
        '<w:p><w:pPr><w:pStyle w:val="H"/></w:pPr><w:r><w:t>Fees</w:t></w:r></w:p>'
        "<w:p><w:r><w:t>Late </w:t></w:r><w:del><w:r><w:delText>old</w:delText></w:r></w:del>"
        "<w:r><w:t>fee</w:t></w:r></w:p>"
        "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>Wire</w:t></w:r></w:p></w:tc>"
        "<w:tc><w:p><w:r><w:t>5</w:t></w:r></w:p></w:tc></w:tr></w:tbl>"
    )

    parsed = parse(written("a.docx", docx(body, style)))

    assert parsed.text == "Fees\n\nLate fee\n\nWire: 5\n\n"
    assert headings(parsed) == [(2, "Fees")]


def test_docx_table(written):
    """A row of a table is read with the names of its columns; without styles headings are known by Word's own ids."""

    def row(*cells):
        inner = "".join(f"<w:tc><w:p><w:r><w:t>{cell}</w:t></w:r></w:p></w:tc>" for cell in cells)
        return f"<w:tr>{inner}</w:tr>"

    heading = '<w:p><w:pPr><w:pStyle w:val="Heading2"/></w:pPr><w:r><w:t>Gloves</w:t></w:r></w:p>'
    table = f"<w:tbl>{row('Chemical', 'Glove', 'Change after')}{row('Acetone', 'butyl', '4 hours')}</w:tbl>"

    parsed = parse(written("a.docx", docx(heading + table)))

    assert parsed.text == "Gloves\n\nChemical: Acetone\nGlove: butyl\nChange after: 4 hours\n\n"
    assert headings(parsed) == [(2, "Gloves")]


def test_pdf(written):
    """Each page's text, and where each page begins."""
    pytest.importorskip("pypdf")
    parsed = parse(written("a.pdf", pdf("The late fee", "Wires are free")))

    assert [parsed.text[a:].split("\n")[0] for a in parsed.pages] == ["The late fee", "Wires are free"]


def test_pdf_outline(written):
    """Entries of the outline whose words stand on their page are headings."""
    pypdf = pytest.importorskip("pypdf")
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf("Fees and more", "Late fee is five")))
    fees = writer.add_outline_item(title="Fees", page_number=0)
    writer.add_outline_item(title="Late  fee", page_number=1, parent=fees)
    writer.add_outline_item(title="Not there", page_number=1)
    content = io.BytesIO()
    writer.write(content)

    parsed = parse(written("a.pdf", content.getvalue()))

    assert headings(parsed) == [(1, "Fees"), (2, "Late fee")]


def test_pdf_form(written):
    """What a field was filled with stands behind the words beside it; no buttons, passwords and broken fields."""
    pypdf = pytest.importorskip("pypdf")
    generic = pypdf.generic
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf("Licence plate:")))

    def field(name, value, low, kind="/Tx", **more):
        entries = {"/Type": "/Annot", "/Subtype": "/Widget", "/FT": kind}
        widget = generic.DictionaryObject({generic.NameObject(k): generic.NameObject(v) for k, v in entries.items()})
        widget[generic.NameObject("/T")] = generic.TextStringObject(name)
        widget[generic.NameObject("/V")] = value
        box = [generic.NumberObject(n) for n in (120, low, 280, low + 20)]
        widget[generic.NameObject("/Rect")] = generic.ArrayObject(box)
        for key, number in more.items():
            widget[generic.NameObject(f"/{key}")] = generic.NumberObject(number)
        return writer._add_object(widget)

    fields = [
        field("plate", generic.TextStringObject("ZH 4711"), 195),
        field("Resident", generic.NameObject("/Yes"), 100, kind="/Btn"),
        field("Dog", generic.NameObject("/Off"), 80, kind="/Btn"),
        field("PIN", generic.TextStringObject("1234"), 60, Ff=1 << 13),
    ]
    broken = writer._add_object(generic.DictionaryObject({generic.NameObject("/Subtype"): generic.NumberObject(3)}))
    lost = writer._add_object(generic.DictionaryObject(fields[0].get_object()))
    del lost.get_object()["/Rect"]
    fields[0].get_object()[generic.NameObject("/V")] = writer._add_object(generic.TextStringObject("ZH 4711"))
    annotations = writer._add_object(generic.ArrayObject([broken, lost, *fields]))
    writer.pages[0][generic.NameObject("/Annots")] = annotations
    content = io.BytesIO()
    writer.write(content)

    assert parse(written("a.pdf", content.getvalue())).text == "Licence plate: ZH 4711\n\nResident: yes\n\n"


def test_encrypted_pdf(written):
    """An encrypted PDF is said to be one."""
    pypdf = pytest.importorskip("pypdf")
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf("secret")))
    writer.encrypt("password", algorithm="RC4-128")
    content = io.BytesIO()
    writer.write(content)

    with pytest.raises(Unreadable, match="encrypted"):
        parse(written("a.pdf", content.getvalue()))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.pdf", b"%PDF-1.4 cut", "no readable PDF"),
        ("a.pdf", b"", "no readable PDF"),
        ("a.docx", b"PK\x03\x04 cut", "no readable DOCX"),
        ("a.docx", zipped(x=b"y"), "no Word document"),
        ("a.docx", bytes.fromhex("d0cf11e0a1b11ae1") + b"\0" * 600, "encrypted"),
        ("a.docx", docx("<w:p>"), "XML is broken"),
        ("a.txt", b"\x00\x01\x02\x03" * 50, "no text"),
        ("a.txt", b"  \n ", "holds no text"),
        ("a.xyz", b"words", "are not read"),
    ],
)
def test_what_cannot_be_read_says_why(written, name, content, reason):
    """Broken, encrypted, empty and unknown files each have their reason."""
    if name.endswith(".pdf"):
        pytest.importorskip("pypdf")
    with pytest.raises(Unreadable, match=reason):
        parse(written(name, content))


@pytest.mark.slow
def test_zip_bomb(written):
    """A part that unpacks to more than its limit is not unpacked to its end."""
    with pytest.raises(Unreadable, match="unpacks to more"):
        parse(written("a.docx", docx(f"<w:p><w:r><w:t>{'x' * 70_000_000}</w:t></w:r></w:p>")))


def test_entity_bomb(written):
    """Entities that multiply are refused."""
    bomb = '<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">' + "".join(
        f'<!ENTITY {x} "{f"&{y};" * 10}">' for x, y in zip("bcdefghij", "abcdefghi", strict=True)
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr(
            "word/document.xml", f'{bomb}]><w:document xmlns:w="{WORD}"><w:p><w:t>&j;</w:t></w:p></w:document>'
        )

    with pytest.raises(Unreadable):
        parse(written("a.docx", packed.getvalue()))


@pytest.mark.parametrize(
    ("content", "text", "said"),
    [
        ("naïve".encode(), "naïve", False),
        ("naïve".encode("utf-8-sig"), "naïve", False),
        ("naïve".encode("utf-16"), "naïve", False),
        ("This is a naïve plan.".encode("cp1252"), "This is a naïve plan.", True),
    ],
)
def test_encodings(content, text, said):
    """A mark, then UTF-8, then Windows-1252, which is said."""
    decoded, note = decode(content)

    assert decoded == text
    assert bool(note) is said


def test_lone_surrogates_do_not_get_far(written):
    """Half a character that a file escapes into its text becomes one that can be stored."""
    assert parse(written("a.html", "<p>a&#xD800;b")).text.encode()


# --- The process -------------------------------------------------------------------------------


def test_reads_in_another_process(written):
    """What the other process read is what this one would have."""
    path = written("a b.md", "# Head\nnaïve “text”\u2028end")
    with FileReader() as reader:
        assert reader.read(path) == parse(path)
        with pytest.raises(Unreadable, match="No such file"):
            reader.read(path.with_name("none.md"))
        assert reader.read(path) == parse(path)


def replace_parser(monkeypatch, reader_program):
    """Lets the reading process run another program, with the same limits."""
    monkeypatch.setattr("coterie.knowledge.parse._PROGRAM", reader_program)


def program(body):
    """The reading process with a parser for `.txt` that does this."""
    return (
        "import sys, time, os\nimport coterie.knowledge.parse as p\nfrom coterie.knowledge.parsed import Parsed\n"
        f"def bad(content):\n    if content == b'bad':\n        {body}\n    return Parsed(text='fine')\n"
        "p.PARSERS['.txt'] = bad\np.main(int(sys.argv[1]), int(sys.argv[2]))"
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("os.abort()", "ended the process"),
        ("os._exit(3)", "exit code 3"),
        ("[].append(bytearray(10**12))", "too much memory"),
        ("(lambda f: f(f))(lambda f: f(f))", "too much memory"),
        ("open('/tmp/coterie-should-not-exist', 'w').write('x' * 10**6)", "failed|ended"),
        ("print('no answer'); sys.stdout.flush()", "gave no text"),
    ],
)
def test_a_hostile_file_harms_nobody(written, monkeypatch, body, reason):
    """A crash, an exit, all the memory, endless recursion, writing: each is one file's failure; the next is read."""
    bad, good = written("bad.txt", "bad"), written("good.txt", "good")
    replace_parser(monkeypatch, program(body))
    with FileReader(memory=1 << 30) as reader:
        with pytest.raises(Unreadable, match=reason):
            reader.read(bad)
        assert reader.read(good).text == "fine"
    assert (
        not Path("/tmp/coterie-should-not-exist").exists() or not Path("/tmp/coterie-should-not-exist").stat().st_size
    )


@pytest.mark.slow
def test_a_file_that_never_ends_is_ended(written, monkeypatch):
    """A parser that hangs is ended after its time; the next file is read."""
    bad, good = written("bad.txt", "bad"), written("good.txt", "good")
    replace_parser(monkeypatch, program("time.sleep(1e6)"))
    with FileReader(seconds=5) as reader:
        with pytest.raises(Unreadable, match="limit of 5 s"):
            reader.read(bad)
        assert reader.read(good).text == "fine"


def test_a_file_too_large_is_not_opened(tmp_path):
    """A file above the limit is refused by its size alone."""
    path = tmp_path / "a.txt"
    with path.open("wb") as file:
        file.truncate(300 * 1024 * 1024)
    with FileReader() as reader, pytest.raises(Unreadable, match="268,435,456"):
        reader.read(path)


def test_a_text_too_long_is_refused(written, monkeypatch):
    """A text above the limit is refused with both figures."""
    monkeypatch.setattr("coterie.knowledge.parse.MAX_CHARACTERS", 10)
    with pytest.raises(Unreadable, match=r"limit of 10 characters \(12\)"):
        parse(written("a.txt", "twelve chars"))


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Opłata za żłobek wynosi 12 złotych.", "cp1250"),
        ("Opłata za żłobek wynosi 12 złotych.", "iso8859_2"),
        ("Oběd stojí 45 korun a vydává se od jedenácti hodin.", "cp1250"),
        ("Kérjük, hogy a gyűjtőket őrizze meg.", "iso8859_2"),
        ("Öğle yemeği 85 lira ve saat on ikide başl\u0131yor.", "cp1254"),
        ("Öffnungszeiten: täglich außer Montag.", "cp1252"),
        ("El jarrón ibérico cuesta 64,00 €.", "cp1252"),
        ("Kosten: € 35", "cp1252"),
        ("The caf\u00e9 costs \u00a33 \u2013 it\u2019s \u201copen\u201d daily.", "cp1252"),
        ("Hádegismatur kostar þúsund krónur og byrjar klukkan tólf.", "cp1252"),
    ],
)
def test_an_encoding_is_guessed_by_the_language_of_the_words(text, encoding):
    """Western files stay Western; a file in another encoding has words of a language only when it is read in it."""
    assert decode(text.encode(encoding))[0] == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("\u041e\u0431\u0435\u0434 \u0441\u0442\u043e\u0438\u0442 300 \u0440\u0443\u0431\u043b\u0435\u0439", "cp1251"),
        ("\u03a4\u03bf \u03b3\u03b5\u03cd\u03bc\u03b1 \u03ba\u03bf\u03c3\u03c4\u03af\u03b6\u03b5\u03b9", "iso8859_7"),
        ("\u663c\u98df\u306f\u4e5d\u767e\u5186\u3067", "shift_jis"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(text, encoding):
    """Bytes of Greek look like words in a Cyrillic encoding, so neither is guessed."""
    with pytest.raises(Unreadable):
        decode(text.encode(encoding))
