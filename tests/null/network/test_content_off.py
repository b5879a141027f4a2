"""With content off and no session, nothing that came in is in any file: no four words, no name of a document."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from coterie.config.file import OpenAIModel
from coterie.config.operation import BudgetSection, GeneralistSection
from coterie.errors import CoterieError, EngineBroken, InputError
from coterie.generalist.generalist import PromptedGeneralist
from coterie.governance.audit import AuditLog, audit_feedback
from coterie.governance.egress import ClearancePolicy, Gate
from coterie.limits.limits import StoredLimits
from coterie.store.sqlite import SQLiteStore
from coterie.testing import FakeOpenAIServer, ServerReply
from coterie.types import (
    Citation,
    Delta,
    Document,
    Evidence,
    Feedback,
    Label,
    Message,
    Reason,
    Request,
    Step,
    Usage,
    worded,
)
from tests._support.answers import document_reader

WORD = st.text("abcdefghijklmnopqrstuvwxyzäöéß", min_size=5, max_size=9)
MARKS = st.sampled_from(["", "", "", ",", "'", '"', ".", ":", ";", ")", "\n", "!r", "s'"])
TEXT = st.lists(st.tuples(WORD, MARKS), min_size=4, max_size=14).map(lambda words: " ".join(w + m for w, m in words))
NAME = st.lists(WORD, min_size=1, max_size=5).map(lambda words: "-".join(words) + ".md")
COLUMNS = st.dictionaries(WORD, TEXT | st.integers(10**7, 10**9), max_size=3)
SHAPES = ["accepted", "escalated", "document", "columns", "error", "stream", "rude"]


@st.composite
def asked(draw):
    """A request, what a provider says to it, and what is said of the answer afterwards."""
    texts = [draw(TEXT) for _ in range(5)]
    whole = " ".join(texts)
    start = draw(st.integers(0, 40))
    return {
        "shape": draw(st.sampled_from(SHAPES)),
        "texts": texts,
        "name": draw(NAME),
        "columns": draw(COLUMNS),
        # what it was sent, in whole or in a short piece, beside words of its own
        "echo": draw(st.sampled_from(["", whole[start : start + draw(st.integers(3, 23))], texts[0]])),
        "status": draw(st.sampled_from([200, 400, 404, 429, 500, 503])),
    }


def fourgrams(text):
    """Every four words in a row of a text, as plain words."""
    words = re.findall(r"\w+", text.casefold())
    return {" ".join(words[start : start + 4]) for start in range(len(words) - 3)}


def left_behind(folder, came_in, names):
    """What of it stands in any file of the folder, and where."""
    grams, left = {gram for text in came_in for gram in fourgrams(text)}, []
    for path in folder.rglob("*"):
        if path.is_file():
            raw = path.read_bytes().decode("utf-8", "replace")
            readings = [raw, re.sub(r"\\u([0-9a-f]{4})", lambda m: chr(int(m[1], 16)), raw)]
            for reading in readings:
                there = fourgrams(reading.replace("\\n", " ").replace("\\", ""))
                left += [(path.name, gram) for gram in grams & there]
                left += [(path.name, name) for name in names if name.casefold() in reading.casefold()]
    return left


def leaky(bench, case):
    """A specialist that puts what it was asked into every place that it has."""
    text = case["texts"][0]
    quote = Citation(document=case["name"], start=0, end=9, text=text, label=Label.INTERNAL, heading=case["texts"][1])

    class Leaky(bench.Says):
        @property
        def card(self):
            """Of one that writes: a label is the network's own word."""
            return replace(super().card, task="generate", form="text")

        async def consult(self, task, view, *, call=None):
            """Everything everywhere."""
            if case["shape"] == "error":
                raise EngineBroken(f"Engine 'small' failed on {text!r}.", engine="small")
            if case["shape"] == "rude":
                raise InputError(f"It cannot read {text!r} and {case['columns']!r}.")
            finding = await super().consult(task, view, call=call)
            note = f"failed: {task.text!r} of {case['name']!r}"
            return replace(
                finding,
                text=text,
                value=text,
                form="text",
                reason=Reason(
                    "answer.quoted", Reason("note.nearest", quote=text), worded(f"as in {text}"), places=case["name"]
                ).noting(Reason("acme.own", said=text, text=f"it was {text!r}")),
                evidence=(Evidence(kind="quote", name=case["name"], text=text),),
                citations=(quote,),
                steps=(Step(producer="triage", engine="linear", usage=Usage(), note=note),),
            )

    accepted = case["shape"] in {"accepted", "stream"}
    return Leaky("triage", text, accepted=accepted)


async def serve(bench, folder, case):
    """One request with all that is written for it, and a word about its answer."""
    error = {"error": {"message": f"I cannot do {case['echo']} {case['texts'][3]}", "type": "x"}}
    reply = ServerReply(text=case["texts"][2]) if case["status"] == 200 else None
    reply = reply or ServerReply(status=case["status"], body=json.dumps(error).encode())
    async with FakeOpenAIServer(default=reply) as server:
        model = OpenAIModel(engine="openai", base_url=server.base_url, name="m", clearance=Label.INTERNAL, retries=0)
        log = AuditLog(folder / "state" / "audit.jsonl", sync_seconds=1.0)
        limits = StoredLimits({"all": BudgetSection(tokens=10**9, per="day")}, folder / "state" / "budgets.db")
        engine = Gate(ClearancePolicy(), limits, audit=log).open("large", model)
        store = await SQLiteStore.open(folder / "state" / "coterie.db", session_days=1.0, keep_content=False)
        network = bench.network(
            leaky(bench, case),
            store=store,
            audit=log,
            limits=limits,
            engines=(engine,),
            reader=document_reader(),
            clock=time.time,
            generalist=PromptedGeneralist([(engine, model)], GeneralistSection(model="large", history=True)),
        )
        texts, document = case["texts"], None
        if case["shape"] == "document":
            document = Document(text=f"{texts[3]}. {texts[0]}. " * 30, name=case["name"])
        request = Request(
            text=texts[0],
            columns=case["columns"] or None if case["shape"] == "columns" else None,
            document=document,
            history=(Message(role="user", text=texts[1]), Message(role="assistant", text=texts[4])),
            specialist=None if document else "triage",
            label=Label.INTERNAL,
        )
        trace = ""
        with contextlib.suppress(CoterieError):
            async for event in network.stream(request):
                trace = "" if isinstance(event, Delta) else event.trace.id
        if trace:
            feedback = Feedback(trace_id=trace, time=1.0, thumb="down", value=texts[2], comment=texts[3])
            await store.feedback(feedback)
            await log.append(audit_feedback(feedback, digest=log.digest))
        await network.close()


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)
@given(case=asked())
def test_nothing_that_came_in_stays(bench, case):
    """Whatever was asked, by whatever door, whatever failed: no file holds four words of it, or its document's name."""
    folder = Path(tempfile.mkdtemp())
    try:
        asyncio.run(serve(bench, folder, case))
        came_in = [*case["texts"], *(str(value) for value in case["columns"].values())]
        assert left_behind(folder, came_in, [case["name"]]) == []
        assert (folder / "state" / "coterie.db").stat().st_size
    finally:
        shutil.rmtree(folder)


def test_the_search_finds_what_is_there(tmp_path):
    """What it looks for is found where it stands, as JSON writes it too."""
    (tmp_path / "a").write_text(json.dumps({"x": "über die Straße zum Haus"}))
    assert left_behind(tmp_path, ["Über die Straße, zum Haus"], ["Straße"]) != []
    assert left_behind(tmp_path, ["über den Platz zum Haus"], ["plaza"]) == []
