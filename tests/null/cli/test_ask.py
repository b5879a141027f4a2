"""`coterie ask`: a request in, an answer out, and what it took."""

import io
import sys
from dataclasses import replace

import pytest

from coterie.errors import EngineUnavailable, StoreError
from coterie.network.stages import consult
from coterie.types import Egress, Label
from tests._support.answers import document_reader


def test_the_answer_and_its_line(run, folder, network):
    """Standard output has the answer, then one line with route, confidence, cost, energy, time and trace."""
    network()
    result = run("-C", folder, "ask", "where is it?")

    assert result.code == 0, result.err
    answer, line = result.out.splitlines()
    assert answer == "Your parcel is on its way."
    for part in ("route triage", "confidence triage 0.91", "cost 0.01", "0.25 J estimated", " ms", "trace "):
        assert part in line


def test_json(run, folder, network):
    """`--json` has the keys that scripts rely on."""
    network()
    document = run("-C", folder, "ask", "where is it?", "--json").json

    assert document["answer"] == "Your parcel is on its way."
    assert {"specialists": ["triage"], "reason": "triage fits", "scores": {}}.items() <= document["route"].items()
    (finding,) = document["findings"]
    assert {"specialist", "value", "confidence", "accepted", "reason"} <= set(finding)
    assert finding["accepted"] is True
    assert {"milliseconds", "joules", "joules_kind", "cost"} <= set(document["usage"])
    assert document["usage"]["cost"] == 0.01
    assert document["trace_id"]
    assert "trace" not in document


def test_json_with_trace(run, folder, network):
    """`--json --trace` adds the whole trace under its own key."""
    network()
    document = run("-C", folder, "ask", "where is it?", "--json", "--trace").json

    assert document["trace"]["id"] == document["trace_id"]
    assert [stage["name"] for stage in document["trace"]["stages"]][:3] == ["admit", "rewrite", "route"]


def test_a_text_that_was_cut_is_no_secret(run, folder, network):
    """Who asked with a text longer than a model's window is told that its end was not read."""
    network()

    assert "read only the beginning" not in run("-C", folder, "ask", "where is it?").err
    assert "triage read only the beginning" in run("-C", folder, "ask", "where is it? " * 100).err


def test_trace_as_a_tree(run, folder, network):
    """`--trace` draws the stages under the answer."""
    network()
    result = run("-C", folder, "ask", "where is it?", "--trace")

    for stage in ("admit", "route", "gather", "consult", "decide", "ledger"):
        assert stage in result.out


def test_an_abstention_is_an_answer(run, folder, network):
    """Nobody answering is no failure: the reason is printed and the exit code is 0."""
    network(None)
    result = run("-C", folder, "ask", "where is it?")

    assert result.code == 0
    assert "Not answered: " in result.out
    assert "threshold 0.8" in result.out


def test_out_of_scope(run, folder, network):
    """A request for nobody says so, in JSON too."""
    network(routed=False)
    document = run("-C", folder, "ask", "weather?", "--json").json

    assert document["route"]["specialists"] == []
    assert document["findings"] == []
    assert "nothing like" in document["route"]["reason"]


def test_standard_input(run, folder, network, monkeypatch):
    """`-` reads the text from standard input."""
    network()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("wo ist es? ü\n".encode())))
    document = run("-C", folder, "ask", "-", "--json", "--trace").json

    assert document["trace"]["route"]["parts"][0]["text"] == "wo ist es? ü"


@pytest.mark.parametrize("content", [b"", b"  \n", b"\xff\xfe"])
def test_unusable_standard_input(run, folder, network, monkeypatch, content):
    """Nothing, blanks or bytes that are no UTF-8 are the caller's mistake."""
    network()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    assert run("-C", folder, "ask", "-").code == 2


@pytest.mark.parametrize(
    "columns",
    [
        "{",
        "[]",
        "1",
        "null",
        '{"a": [1]}',
        '{"a": {"b": 1}}',
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": 1e999}',
        "[" * 100_000,
    ],
)
def test_unusable_columns(run, folder, network, columns):
    """`--columns` takes one JSON object of plain values; anything else is explained."""
    network()
    result = run("-C", folder, "ask", "--columns", columns)

    assert result.code == 2
    assert "--columns" in result.err


def test_columns_without_text(run, folder, network):
    """Structured input needs no text beside it."""
    network()

    assert run("-C", folder, "ask", "--columns", '{"age": 41, "name": null}').code == 0


def test_nothing_asked(run, folder, network):
    """No text and no columns is refused before a network is opened."""
    closed = network()
    result = run("-C", folder, "ask", "   ")

    assert result.code == 2
    assert closed == []


def test_text_that_is_no_unicode(run, folder, network):
    """Bytes of the shell that are no UTF-8 are refused, not passed on."""
    network()

    assert run("-C", folder, "ask", "caf\udce9").code == 2


@pytest.mark.parametrize("label", list(Label))
def test_labels(run, folder, network, label):
    """`--label` sets the request's sensitivity."""
    network()

    assert run("-C", folder, "ask", "x", "--label", label.value, "--json", "--trace").json["trace"]["label"] == label


def test_unknown_label(run, folder, network):
    """A label that is none is answered with those there are."""
    network()
    result = run("-C", folder, "ask", "x", "--label", "secret")

    assert result.code == 2
    assert "restricted" in result.err


def test_unknown_specialist(run, folder, network):
    """A specialist that is not there is an input error, and the network is closed all the same."""
    closed = network()
    result = run("-C", folder, "ask", "x", "--specialist", "nobody", "--json")

    assert result.code == 2
    assert result.json["error"]["code"] == "unknown_specialist"
    assert closed == [True]


def test_sessions(run, folder, network):
    """`--session` remembers the exchange: the trace names it."""
    network()
    document = run("-C", folder, "ask", "x", "--session", "s1", "--json", "--trace").json

    assert document["trace"]["session"] == "s1"


def test_a_follow_up_says_how_it_was_understood(run, folder, network):
    """The JSON and the drawn trace have the rewritten question; the session keeps the caller's words."""
    network()
    run("-C", folder, "ask", "where is my parcel?", "--session", "s1")
    document = run("-C", folder, "ask", "when does it come?", "--session", "s1", "--json").json
    drawn = run("-C", folder, "ask", "and the price?", "--session", "s1", "--trace").out

    about = "Your parcel is on its way"
    assert document["rewritten"] == f"when does it come? ({about})"
    assert f"rewritten  and the price? ({about})" in drawn
    questions = [
        e["text"] for e in run("-C", folder, "session", "export", "s1").json["entries"] if e["producer"] == "user"
    ]
    assert questions == ["where is my parcel?", "when does it come?", "and the price?"]


def test_as_whom(run, folder, network):
    """`--as` says what the caller may see; a label that is none is refused by its option's name."""
    network()
    run("-C", folder, "ask", "where is my parcel?", "--session", "s1", "--label", "restricted")
    hidden = run("-C", folder, "ask", "when does it come?", "--session", "s1", "--as", "public", "--json").json
    shown = run("-C", folder, "ask", "when does it come?", "--session", "s1", "--as", "restricted", "--json").json
    wrong = run("-C", folder, "ask", "x", "--as", "secret")

    assert "rewritten" not in hidden
    assert shown["rewritten"].endswith("(Your parcel is on its way)")
    assert wrong.code == 2
    assert "--as is 'secret'" in wrong.err


def test_an_engine_that_fails_is_an_abstention(run, folder, network):
    """What an engine cannot do is a reason in the answer."""
    network(error=EngineUnavailable("server is gone", engine="large"))
    result = run("-C", folder, "ask", "x")

    assert result.code == 0
    assert "server is gone" in result.out


def test_an_answer_that_cannot_be_settled(run, folder, network, monkeypatch):
    """If the ledger cannot be written the command fails, with the store's code."""
    network()

    async def fail(self, settlement, entry, append):
        raise StoreError("disk full", hint="make room")

    monkeypatch.setattr("coterie.store.sqlite.SQLiteStore.record", fail)
    result = run("-C", folder, "ask", "x", "--json")

    assert result.code == 1
    assert result.json["error"]["code"] == "store_error"


def test_answers_cannot_steer_the_terminal(run, folder, network):
    """Control characters in an answer are dropped; rich markup in it is shown as it is."""
    network("a\x1b[2Jb\x07 [red]c[/red] \u202e")
    result = run("-C", folder, "ask", "x", "--trace")

    assert not {"\x1b", "\x07"} & set(result.out)
    assert "[red]c[/red]" in result.out.splitlines()[0]


def test_no_color_and_no_control_characters_in_a_pipe(run, folder, network, monkeypatch):
    """What goes to a pipe is plain text."""
    monkeypatch.setenv("NO_COLOR", "1")
    network()

    assert "\x1b" not in run("-C", folder, "ask", "x", "--trace").out


def test_the_policy_is_turned_by_an_option(run, folder, network):
    """`--quality` and `--budget` go with the request; both at once, or what is none, is refused."""
    network()

    assert run("-C", folder, "ask", "x", "--quality", "0.9").code == 0
    assert run("-C", folder, "ask", "x", "--budget", "2.50").code == 0
    for wrong in (["--quality", "0.9", "--budget", "1"], ["--quality", "7"], ["--budget", "cheap"]):
        refused = run("-C", folder, "ask", "x", *wrong)
        assert refused.code != 0
        assert "quality" in refused.err or "--budget" in refused.err


# --- Documents -------------------------------------------------------------------------------------


@pytest.fixture
def reader():
    """See `document_reader`."""
    return document_reader()


@pytest.mark.slow
def test_a_file_is_read(run, folder, network, reader):
    """`--document` reads a file and answers from it, each quote with its place; its label is the answer's."""
    network(reader=reader)
    fee = "The late fee for a personal loan is 12 pounds."
    file = folder / "terms.md"
    file.write_text(f"# Terms\n\nWe are open on Sundays.\n\n{fee}\n\nThe bank keeps paper in Leeds.\n")
    arguments = ("-C", folder, "ask", "What is the late fee for a personal loan?", "--document", file)

    result = run(*arguments)
    assert result.code == 0, result.err
    assert result.out.startswith(f"{fee} [1]\n")
    assert "terms.md" in result.out
    document = run(*arguments, "--document-label", "confidential", "--json", "--trace").json
    assert document["trace"]["findings"][-1]["label"] == "confidential"
    (citation,) = document["findings"][-1]["citations"]
    assert (citation["text"], citation["document"]) == (fee, "terms.md")


@pytest.mark.slow
@pytest.mark.parametrize("said", ["answering", "silence"])
def test_an_answer_that_is_not_sure_enough(run, folder, network, reader, said):
    """Says where to look oneself, as no answer: the nearest quote with its place below the line."""
    never = replace(reader.answering, threshold=None)
    network(reader=replace(reader, answering=never, silence=never))
    file = folder / "terms.md"
    file.write_text("# Terms\n\nWe are open on Sundays.\n\nThe late fee for a personal loan is 12 pounds.\n")
    question = "What is the late fee for a personal loan?" if said == "answering" else "Who is open on the late loan?"
    result = run("-C", folder, "ask", question, "--document", file)

    assert result.out.startswith("Not answered: ")
    table = result.out.split("the nearest, which need not answer it")[1]
    assert "terms.md" in table
    assert "12 pounds" in table or said == "silence"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "content"), [("gone.txt", None), ("picture.png", b"x"), ("empty.txt", b" ")])
def test_files_that_cannot_be_read(run, folder, network, name, content):
    """A file that is not there, of an unknown kind or without text is the caller's mistake, with the reason."""
    network()
    if content is not None:
        (folder / name).write_bytes(content)
    result = run("-C", folder, "ask", "What?", "--document", folder / name)

    assert result.code == 2
    assert "cannot be read" in result.err


def test_release(run, folder, network):
    """`--release-to` with `--because` lowers the label, and the trace has the reason; half of it is refused."""
    arguments = ("-C", folder, "ask", "where is my parcel? anna@example.org", "--json", "--trace")
    network()
    assert run(*arguments).json["trace"]["label"] == "confidential"
    network()
    released = run(*arguments, "--release-to", "internal", "--because", "ticket 12").json["trace"]
    assert released["label"] == "internal"
    assert (released["verdicts"][-1]["rule"], released["verdicts"][-1]["reason_code"]) == ("label.released",) * 2
    for half in (("--release-to", "internal"), ("--because", "x")):
        refused = run(*arguments, *half)
        assert (refused.code, refused.json["error"]["hint"]) == (2, "A release has a label and a reason.")


@pytest.fixture
def escaping(monkeypatch):
    """Every request sends a prompt to a large model elsewhere."""

    async def asked(specialist, task, view, *, call, say):
        about = {"engine": "large", "label": Label.INTERNAL, "rule": "r", "pseudonymised": True, "characters": 9}
        call.left(Egress(id="x.0", outcome="answered", text=f"user: {task.text}", **about))
        return await consult(specialist, task, view, call=call, say=say)

    monkeypatch.setattr("coterie.network.pipeline.consult", asked)


def test_what_left(run, folder, network, escaping):
    """The line under the answer says what left, as JSON and trace do; its text is shown to who asks for it."""
    network()
    left = "large;label=internal;pseudonymised=yes;outcome=answered;prompts=1"
    plain = run("-C", folder, "ask", "where is my parcel?", "--trace")
    shown = run("-C", folder, "ask", "where is my parcel?", "--trace", "--show-egress")
    document = run("-C", folder, "ask", "where is my parcel?", "--json", "--show-egress").json

    assert f"egress {left}" in plain.out
    assert "user: where" not in plain.out
    assert "user: where is my parcel?" in shown.out
    assert document["egress"]["summary"] == left
    assert document["trace"]["egress"][0]["text"] == "user: where is my parcel?"
    assert "text" not in document["egress"]["prompts"][0]
    trace = document["trace_id"]
    assert run("-C", folder, "trace", trace, "--json").json["egress"][0]["text"] == ""
    assert "user: where is my parcel?" in run("-C", folder, "trace", trace, "--show-egress").out


def test_nothing_left(run, folder, network):
    """Where nothing left, that is said."""
    network()

    assert "egress none" in run("-C", folder, "ask", "where is it?").out
