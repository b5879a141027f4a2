"""What a session knows over several turns: facts that hold, contradict or are taken back, and who may see them."""

from dataclasses import replace

import pytest

from coterie.types import Citation, Fact, FindingSummary, Label, Message, Passage, Reason, Request, Retraction


class Searched:
    """An index with two passages, the second of them restricted."""

    closed = False

    def __init__(self):
        self.queries = []

    async def search(self, query, *, k, clearance, tenant="default", vector=None, call=None):
        """What the clearance allows."""
        self.queries.append(query)
        passages = [
            Passage(document=name, start=0, end=4, text="text", score=1.0, label=label, index="help")
            for name, label in (("open", Label.PUBLIC), ("secret", Label.RESTRICTED))
        ]
        return [passage for passage in passages if passage.label <= clearance][:k]

    async def close(self):
        """Nothing to free."""


def values(view, name):
    """The values of the facts of this name in a view."""
    return [e.content.value for e in view.entries if isinstance(e.content, Fact) and e.content.name == name]


async def test_a_fact_is_read_in_a_later_turn(bench):
    """A fact of one turn is read in a later one by who joins for another fact; its writer need not run again."""
    account = bench.Says("account", "gold", writes=("tier",))
    triage = bench.Says("triage", "card_lost", writes=("intent",))
    reply = bench.Says("reply", "Gold customers get it at once.", reads=("intent", "tier"))
    network = bench.network(account, triage, reply)
    assert (await network.ask(Request(text="account", session="s"))).text == "gold"
    bench.clock.advance(3600)
    answer = await network.ask(Request(text="triage", session="s"))

    assert answer.text == "Gold customers get it at once."
    assert (values(reply.views[-1], "tier"), values(reply.views[-1], "intent")) == (["gold"], ["card_lost"])
    assert reply.views[-1].entries[0].time == bench.clock.now - 3600
    assert len(account.tasks) == 1


async def test_turns_that_are_named(bench):
    """A request that names turns of its session reads those alone."""
    reply = bench.Says("reply", reads=("messages",))
    network = bench.network(reply)
    first = await network.ask(Request(text="reply one", session="s"))
    await network.ask(Request(text="reply two", session="s"))
    await network.ask(Request(text="reply three", session="s", turns=(first.trace.id,)))

    texts = [entry.content.text for entry in reply.views[-1].entries if entry.producer == "user"]
    assert texts == ["reply one"]


async def test_an_old_fact_does_not_stand_in_for_a_new_doubt(bench):
    """Where the writer abstains on what is asked now, nobody answers from what it wrote about something else."""
    triage, reply = bench.Says("triage", "card_lost", writes=("intent",)), bench.Says("reply", reads=("intent",))
    network = bench.network(triage, reply)
    await network.ask(Request(text="triage", session="s"))
    triage.accepted = False
    answer = await network.ask(Request(text="triage", session="s"))

    assert not answer.accepted
    assert len(reply.tasks) == 1


@pytest.mark.parametrize(("clearance", "known"), [(Label.PUBLIC, False), (Label.RESTRICTED, True), (None, False)])
async def test_an_caller_below_a_fact_is_not_answered_from_it(bench, clearance, known):
    """What was found for somebody cleared for it is neither shown to nor used for a caller who is not."""
    account = bench.Says("account", "SECRET", writes=("tier",))
    triage = bench.Says("triage", "card_lost", writes=("intent",), reads=("messages",))
    reply = bench.Says("reply", "as SECRET says", reads=("intent", "tier"))
    network = bench.network(account, triage, reply)
    await network.ask(Request(text="account SECRET", session="s", label=Label.RESTRICTED))
    answer = await network.ask(Request(text="triage", session="s", clearance=clearance, label=Label.PUBLIC))

    assert (answer.text == "as SECRET says") is known
    assert ("SECRET" in repr((triage.views, reply.views))) is known
    assert ("SECRET" in repr(network.router.contexts[-1])) is known
    assert (max(finding.label for finding in answer.trace.findings) is Label.RESTRICTED) is known
    omitted = [omission.reason for omission in answer.trace.views[0].omitted]
    assert any(reason.code == "omit.above_caller" for reason in omitted) is not known


async def test_within_a_turn_callers_are_answered_from_what_they_sent(bench):
    """Somebody may send what is above their own clearance: facts of it flow within the turn, and stay hidden after."""
    triage = bench.Says("triage", "card_lost", writes=("intent",))
    reply = bench.Says("reply", reads=("intent",))
    network = bench.network(triage, reply)
    request = Request(text="triage", session="s", label=Label.RESTRICTED, clearance=Label.PUBLIC)
    await network.ask(request)

    assert values(reply.views[-1], "intent") == ["card_lost"]
    await network.ask(replace(request, text="reply", specialist="reply"))
    assert len(reply.views[-1].entries) == 1  # the one of this turn


async def test_contradictions_are_kept_and_told(bench):
    """Of facts that contradict the newest is read, the others stay in the session, and the trace says that they do."""
    triage, reader = bench.Says("triage", "lost", writes=("intent",)), bench.Says("reader", reads=("intent",))
    network = bench.network(triage, reader)
    await network.ask(Request(text="triage", session="s"))
    triage.value = "stolen"
    answer = await network.ask(Request(text="triage", session="s"))

    facts = [e.content.value for s in bench.store.settled for e in s.entries if isinstance(e.content, Fact)]
    assert facts == ["lost", "stolen"]
    assert values(reader.views[-1], "intent") == ["stolen"]
    assert answer.trace.views[-1].seen == ("fact intent from triage (1 older say otherwise)",)
    assert ("fact intent from triage", Reason("omit.superseded", by="triage")) in [
        (o.what, o.reason) for o in answer.trace.views[-1].omitted
    ]


async def test_a_specialist_retracts_its_own(bench):
    """What a specialist takes back is read by nobody any more; what another wrote stands again."""
    first, second = bench.Says("first", "silver", writes=("tier",)), bench.Says("second", "gold", writes=("tier",))
    triage, reply = bench.Says("triage", writes=("intent",)), bench.Says("reply", reads=("intent", "tier"))
    network = bench.network(first, second, triage, reply)
    for text in ("first", "second", "triage"):
        await network.ask(Request(text=text, session="s"))
    second.facts, second.retracts, second.accepted = (), ("tier", "intent"), False
    for text in ("second", "triage"):
        answer = await network.ask(Request(text=text, session="s"))

    kept = [e.content for e in bench.store.settled[3].entries if isinstance(e.content, Retraction)]
    assert kept == [Retraction(name="tier")]  # `intent` is not its to write
    assert [values(view, "tier") for view in reply.views] == [["gold"], ["silver"]]
    assert Reason("omit.retracted", by="second") in [o.reason for o in answer.trace.views[-1].omitted]


async def test_of_two_found_side_by_side_the_surest_is_read(bench):
    """Writers of one stage that disagree: whoever reads them sees the one that is surer."""
    sure, unsure = (bench.Says(n, n, writes=("intent",), confidence=c) for n, c in (("a", 0.95), ("b", 0.6)))
    reader = bench.Says("reader", reads=("intent",))
    await bench.network(sure, unsure, reader).ask(Request(text="x", specialist="reader"))

    assert values(reader.views[-1], "intent") == ["a"]


async def test_findings_and_cited_passages_are_remembered(bench):
    """A finding stays in the session in short, with the passages it cites and no others."""
    cited = Citation(document="open", start=0, end=4, text="text", label=Label.PUBLIC, index="help")
    answerer = bench.Says("answers", "42 days", knowledge=("help",), citations=(cited,), reads=("findings",))
    network = bench.network(answerer, knowledge={"help": Searched()})
    await network.ask(Request(text="answers", session="s", clearance=Label.RESTRICTED))
    answer = await network.ask(Request(text="answers", session="s", clearance=Label.RESTRICTED))

    kept = [entry.content for entry in bench.store.settled[0].entries]
    assert [type(content).__name__ for content in kept] == ["Message", "FindingSummary", "Passage", "Message"]
    assert kept[1] == FindingSummary(
        specialist="answers", task="classify", form="label", text="42 days", confidence=0.9, accepted=True
    )
    assert kept[2].document == "open"
    seen = [type(entry.content).__name__ for entry in answerer.views[-1].entries]
    assert seen == ["FindingSummary", "Passage", "Passage"]  # what was found again is there once
    assert Reason("omit.found_again") in [o.reason for o in answer.trace.views[-1].omitted]


async def test_a_view_keeps_to_its_budget(bench):
    """What does not fit the specialist's budget is left out, and the trace says so with the figures."""
    judge = bench.Says("judge", reads=("messages",), view_tokens=20)
    talk = tuple(Message(role="user", text=letter * 40) for letter in "abc")
    answer = await bench.network(judge).ask(Request(text="judge", history=talk))
    (record,) = answer.trace.views

    assert [entry.content for entry in judge.views[0].entries] == [talk[-1]]
    assert (record.tokens, record.budget) == (14, 20)
    assert record.omitted[0].what == "user message from user (x2)"
    assert record.omitted[0].reason.code == "omit.budget"


async def test_a_long_conversation(bench):
    """Forty turns by a clock that moves: each is told apart by its time, and no view outgrows its budget."""
    triage = bench.Says("triage", writes=("intent",))
    judge = bench.Says("judge", reads=("intent", "messages", "findings"), view_tokens=200)
    network = bench.network(triage, judge)
    for number in range(40):
        triage.value = f"v{number % 3}"
        await network.ask(Request(text=f"triage number {number}", session="s"))
        bench.clock.advance(60)
    entries = (await bench.store.context("s", "default")).entries
    last = judge.views[-1]

    assert len({entry.time for entry in entries}) == 40
    assert all(view.tokens <= 200 for view in judge.views)
    assert values(last, "intent") == ["v0"]
    assert last.disputed == {"intent": 26}
    assert max(e.time for e in last.entries if isinstance(e.content, Message)) == bench.clock.now - 120


# --- Follow-up questions ---------------------------------------------------------------------------


class Worded:
    """An index that finds passages about what the query says last."""

    def __init__(self):
        self.queries = []

    async def search(self, query, *, k, **_):
        """Passages of one subject."""
        self.queries.append((query, k))
        subject = "card" if "card" in query else "free"
        return [
            Passage(index="help", document=f"{subject}-{i}", text="text", start=0, end=4, score=1.0, label=Label.PUBLIC)
            for i in range(k)
        ]

    async def close(self):
        """Nothing to free."""


async def test_a_follow_up_stands_alone_before_it_is_routed(bench):
    """Router, index and specialist get the rewritten question, the session the caller's words, the trace has both."""
    index = Searched()
    triage = bench.Says("triage", "card_arrival", knowledge=("help",))
    network = bench.network(triage, knowledge={"help": index})
    await network.ask(Request(text="where is my triage card", session="s"))
    answer = await network.ask(Request(text="how long does it take? triage", session="s"))

    rewritten = "how long does it take? triage (card arrival)"
    assert answer.trace.rewritten == rewritten
    assert index.queries[-1] == "about triage"  # the router's part of it
    assert triage.tasks[-1].asked == "how long does it take? triage"
    question = bench.store.settled[1].entries[0].content
    assert question.text == "how long does it take? triage"
    stage = next(stage for stage in answer.trace.stages if stage.name == "rewrite")
    assert stage.note == "it leans on an earlier question (0.90)"


async def test_a_follow_up_to_turns_that_were_sent_along(bench):
    """A client that sends the conversation instead of naming a session is understood as well, by what was asked."""
    triage = bench.Says("triage")
    talk = (Message(role="user", text="How do I order a virtual card?"), Message(role="assistant", text="In the app."))
    answer = await bench.network(triage).ask(Request(text="is it free?", history=talk, specialist="triage"))

    assert answer.trace.rewritten == triage.tasks[0].text == "is it free? (order virtual card)"


async def test_what_a_follow_up_itself_asks_is_found_beside_the_question_before(bench):
    """What is given back to a turn has more words than the turn: the best passages for these alone are read as well."""
    index = Worded()
    triage = bench.Says("triage", knowledge=("help",))
    talk = (Message(role="user", text="How do I order a virtual card?"), Message(role="assistant", text="In the app."))
    request = Request(text="is it free?", history=talk, specialist="triage")
    await bench.network(triage, knowledge={"help": index}).ask(request)
    await bench.network(triage, knowledge={"help": index}).ask(Request(text="is it free?", specialist="triage"))

    follow_up, alone = [[entry.content.document for entry in view.entries] for view in triage.views]
    assert index.queries == [("is it free? (order virtual card)", 8), ("is it free?", 2), ("is it free?", 8)]
    assert sorted(follow_up) == [*(f"card-{i}" for i in range(6)), "free-0", "free-1"]
    assert sorted(alone) == [f"free-{i}" for i in range(8)]


async def test_a_pinned_follow_up_is_restated_too(bench):
    """Who pins a specialist or a document may ask follow-up questions as well; structured input is none."""
    triage = bench.Says("triage", "card_arrival")
    network = bench.network(triage)
    pinned = Request(text="where is my card", session="s", specialist="triage")
    await network.ask(pinned)
    await network.ask(replace(pinned, text="why so late, is it lost?"))
    await network.ask(replace(pinned, text="is it lost?", columns={"document": "terms.pdf"}))
    await network.ask(replace(pinned, text="is it lost?", columns={"amount": 5}))

    assert [task.text for task in triage.tasks[1:]] == [
        "why so late, is it lost? (card arrival)",
        "is it lost? (card arrival)",
        "is it lost?",
    ]


async def test_a_follow_up_carries_the_label_of_what_it_leans_on(bench):
    """A public question that depends on a confidential one is confidential, for specialists and in the trace."""
    triage = bench.Says("triage", "card_arrival")
    network = bench.network(triage, default_label=Label.CONFIDENTIAL)
    await network.ask(Request(text="where is my card", session="s", specialist="triage"))
    answer = await network.ask(Request(text="is it lost?", session="s", specialist="triage", label=Label.PUBLIC))

    assert triage.tasks[-1].label is answer.trace.label is Label.CONFIDENTIAL
    assert bench.store.settled[1].entries[0].label is Label.PUBLIC
    assert bench.store.settled[1].entries[-1].label is Label.CONFIDENTIAL


async def test_a_follow_up_gives_nothing_away(bench):
    """A caller below what the session holds gets nothing of it back with a question that leans."""
    triage = bench.Says("triage", "SECRET")
    network = bench.network(triage)
    await network.ask(Request(text="where is my SECRET card", session="s", specialist="triage", label=Label.RESTRICTED))
    answer = await network.ask(Request(text="is it lost?", session="s", specialist="triage", clearance=Label.PUBLIC))

    assert answer.trace.rewritten == ""
    assert triage.tasks[-1].text == "is it lost?"


async def test_a_session_is_not_pinned_to_its_first_route(bench):
    """Each turn of a session is routed by what it asks, whoever answered before."""
    triage, clauses = bench.Says("triage", "card_lost"), bench.Says("clauses", "termination")
    network = bench.network(triage, clauses)
    texts = ("triage", "clauses", "triage+clauses", "triage")
    routes = [(await network.ask(Request(text=text, session="s"))).trace.route.specialists for text in texts]

    assert routes == [("triage",), ("clauses",), ("triage", "clauses"), ("triage",)]


async def test_a_long_session_is_not_looked_through_again(bench):
    """What is remembered was looked at when it came: after 300 turns as much is looked through as after 3."""
    looked = []

    class Counting:
        def find(self, text):
            looked.append(len(text))
            return ()

    network, took = replace(bench.network(bench.Says("triage", "lost")), detector=Counting()), {}
    for turn in range(301):
        looked.clear()
        await network.ask(Request(text=f"triage {turn:03}", session="s"))
        took[turn] = sum(looked)

    assert took[3] == took[300] == len("triage 300")
