"""The whole network against servers that note every byte: what is above their clearance is not in it.

Requests mix labels, personal data, secrets, sessions, documents, passages, releases and pseudonyms; servers answer,
word what they were told anew, break off, refuse and hang behind each other. The seed of what fails is in its name.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from coterie.config.file import OpenAIModel
from coterie.config.generalist import GeneralistSection
from coterie.errors import ReleaseRefused
from coterie.generalist.generalist import Generalist
from coterie.governance import egress as _egress
from coterie.governance.egress import ClearancePolicy, Gate
from coterie.testing import Canaries, FakeOpenAIServer, FakeRetriever, ServerReply
from coterie.types import Citation, Document, Label, Message, Passage, Prompt, Release, Request

CLEARANCES = {"open": Label.PUBLIC, "inner": Label.INTERNAL, "trusted": Label.CONFIDENTIAL}


@pytest.fixture
async def servers():
    """A server for each model."""
    async with FakeOpenAIServer() as one, FakeOpenAIServer() as two, FakeOpenAIServer() as three:
        yield dict(zip(CLEARANCES, (one, two, three), strict=True))


@pytest.fixture
async def engines(servers):
    """The models behind the gate; two of them take pseudonyms."""
    gate, opened = Gate(ClearancePolicy()), {}
    for name, server in servers.items():
        section = OpenAIModel(
            engine="openai",
            base_url=server.base_url,
            name=name,
            clearance=CLEARANCES[name],
            pseudonymise=name != "open",
            retries=0,
            window=65_536,
        )
        opened[name] = gate.open(name, section), section
    yield opened
    for engine, _ in opened.values():
        await engine.close()


@pytest.fixture
def record(monkeypatch):
    """Every prompt that the gate let out."""
    sent = []
    judge = _egress._Judge.judge

    async def noting(self, prompt):
        decided = await judge(self, prompt)
        sent.append((self.name, decided.prompt))
        return decided

    monkeypatch.setattr(_egress._Judge, "judge", noting)
    return sent


def misbehaving(seed):
    """A model that repeats what it is told, in other words and forms, or fails."""

    def reply(asked):
        draw = random.Random(f"{seed}{json.dumps(asked, sort_keys=True)}")
        said = asked["messages"][-1]["content"]
        said = draw.choice([str, str.lower, str.upper, lambda t: t.replace("<", "&lt;").replace(">", "&gt;")])(said)
        if asked.get("response_format"):
            said = json.dumps({"answer": draw.choice(["", said]), "questions": [said[:80]]})
        odd = draw.random()
        if odd < 0.1:
            return ServerReply.refused(draw.choice([400, 429, 500]), message=said[:100])
        if odd < 0.2:
            return ServerReply(pieces=list(said), cut_after=draw.randrange(4))
        return ServerReply(pieces=list(said[:400])) if odd < 0.6 else ServerReply(text=said)

    return reply


class Corpus:
    """Requests with canaries in them."""

    def __init__(self, seed):
        self.canaries, self.draw = Canaries(seed=seed), random.Random(seed)

    def words(self, label):
        """A sentence of this label, perhaps with something in it that is more sensitive than it says."""
        said = [f"triage says {self.canaries.word(label).text}"]
        if self.draw.random() < 0.5:
            said += [f"write to {self.canaries.personal().text}" for _ in range(self.draw.randrange(1, 3))]
        if self.draw.random() < 0.1:
            said.append(f"key {self.canaries.secret().text}")
        if self.draw.random() < 0.2:
            said.append(self.draw.choice(["<EMAIL_1>", "iban_1", "<LITERAL_1>", "&lt;CARD_2&gt;"]))
        said += ["It is long. " * 200] * (self.draw.random() < 0.05)
        self.draw.shuffle(said)
        return ", ".join(said)

    def request(self):
        """One request."""
        draw = self.draw
        label = draw.choice(list(Label))
        document = None
        if draw.random() < 0.15:
            own = draw.choice([label, *Label])
            document = Document(
                text=" ".join(f"The fee is {n} pounds, {self.words(max(own, label))}." for n in range(12)), label=own
            )
        names = ["triage", "clauses", "triage+clauses", "remote", "ask", "remote+triage"]
        turns = (Message(role="user", text=self.words(label)), Message(role="system", text=self.words(label)))
        return Request(
            text=f"{draw.choice(names)} {self.words(label)}",
            label=label,
            columns={"note": self.words(label), self.canaries.word(label).text: 1} if draw.random() < 0.1 else None,
            history=turns if draw.random() < 0.2 else (),
            clearance=draw.choice([None, *Label]),
            session=draw.choice([None, "a", "b", "c"]),
            document=document,
            release=Release(to=draw.choice(list(Label)), because="a test") if draw.random() < 0.05 else None,
        )

    def shelf(self):
        """Passages of every label, which all match."""
        texts = [(label, f"about ask remote triage {self.words(label)}") for label in Label]
        return [
            Passage(document=label.value, start=0, end=len(text), text=text, score=1.0, label=label, shelf="docs")
            for label, text in texts
        ]


def network_of(bench, engines, chain, corpus, **section):
    """Two that abstain, one that reads a shelf, one that asks a model itself; the chain of models above them."""

    class Remote(bench.Says):
        async def consult(self, task, view):
            """Ask the first model of the chain, as a prompted specialist does."""
            (output,) = await engines[chain[0]][0].run(
                [
                    Prompt(
                        messages=(Message(role="user", text=task.text),),
                        label=task.label,
                        impersonal=task.impersonal,
                    )
                ]
            )
            return replace(await super().consult(task, view), verdicts=(output.verdict,))

    passages = corpus.shelf()
    cited = tuple(
        Citation(document=p.document, start=p.start, end=p.end, text=p.text, label=p.label, shelf="docs")
        for p in passages
    )
    large = Generalist(
        [engines[name] for name in chain],
        GeneralistSection(model=chain[0], fallback=chain[1:], history=True, synthesise=True, **section),
    )
    return bench.network(
        bench.Says("triage", accepted=False, writes=("intent",)),
        bench.Says("clauses"),
        Remote("remote", accepted=False),
        bench.Says("ask", accepted=False, knowledge=("docs",), citations=cited),
        knowledge={"docs": FakeRetriever(passages, shelf="docs")},
        generalist=large,
    )


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_above_clearance_leaves(bench, servers, engines, record, seed):
    """No canary above its clearance reaches a server, and all that reaches one is what the gate let out and noted."""
    corpus = Corpus(seed)
    chain = [("inner", "open"), ("trusted", "inner"), ("open", "trusted")][seed % 3]
    network = network_of(bench, engines, chain, corpus, hedge_after=0.005 if seed % 2 else None)
    for server in servers.values():
        server.default = misbehaving(seed)
    traces = []
    for _ in range(25):
        request = corpus.request()
        try:
            answer = await network.ask(request)
        except ReleaseRefused:
            continue
        traces.append(answer.trace)
        if request.release is not None:  # what the asker released may be seen as what it was released to
            for place, canary in enumerate(corpus.canaries.made):
                if canary.text in str(request) and canary.kind != "SECRET":
                    corpus.canaries.made[place] = replace(canary, label=min(canary.label, request.release.to))
        seen = corpus.canaries.found(answer.text.encode(), clearance=request.clearance or Label.INTERNAL)
        assert [each for each in seen if each.text not in str(request)] == []

    for name, server in servers.items():
        assert corpus.canaries.found(bytes(server.received), clearance=CLEARANCES[name]) == []
        sent = [(each.messages, each.json_schema) for to, each in record if to == name]
        for each in server.requests:
            told = tuple(Message(role=m["role"], text=m["content"]) for m in each.json["messages"])
            form = each.json.get("response_format")
            assert (told, form and form["json_schema"]["schema"]) in sent
        allowed = [
            v
            for t in traces
            for v in t.verdicts
            if v.allowed and v.rule.startswith("egress.") and f"{name!r}" in str(v.reason)
        ]
        assert len(server.requests) <= len(allowed)
    assert sum(len(server.requests) for server in servers.values()) > 10
    if "open" not in chain[:1]:
        assert any(verdict.rule == "egress.pseudonymised" for trace in traces for verdict in trace.verdicts)
