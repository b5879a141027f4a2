"""A request's life, stage by stage, when all goes well."""

import asyncio
from decimal import Decimal

import pytest

from coterie.errors import InputError, UnknownSpecialist
from coterie.types import SYSTEM, Evidence, Fact, Label, Message, Part, Request, Route, worded


async def test_stages_and_trace(bench):
    """A request goes through every stage in order, and its trace has route, views, findings, steps and sums."""
    triage = bench.Says("triage", "card_lost", writes=("intent",))
    answer = await bench.network(triage).ask(Request(text="triage", tenant="acme"))
    trace = answer.trace

    names = [stage.name for stage in trace.stages]
    assert names == ["admit", "rewrite", "route", "gather", "consult", "verify", "decide", "compose", "first text"]
    assert (answer.text, trace.status, trace.id, trace.tenant) == ("card_lost", "accepted", "id0", "acme")
    assert trace.time == bench.clock.now
    assert [step.producer for step in trace.steps] == ["router", "triage"]
    assert (trace.usage.tokens_in, trace.usage.tokens_out) == (5, 1)
    assert trace.usage.cost == Decimal("0.02")
    assert trace.usage.milliseconds >= 0
    assert trace.counterfactual_cost == Decimal("0.15")
    assert trace.findings[0].task == "classify"
    assert trace.views[0].specialist == "triage"
    assert bench.store.settled[0].trace is trace
    assert bench.store.settled[0].entries == ()


@pytest.mark.parametrize(("kind", "total"), [("measured", "measured"), ("estimated", "estimated")])
async def test_a_sum_of_measured_steps_is_measured(bench, kind, total):
    """Energy is measured only if every step's was; a sum has no empty start that spoils it."""
    answer = await bench.network(bench.Says("triage", joules_kind=kind)).ask(Request(text="triage"))

    assert answer.trace.usage.joules_kind == total
    assert answer.trace.usage.joules == 1.5


async def test_nobody_is_asked(bench):
    """A request that fits nobody is told so, with the router's reason, and is settled."""
    answer = await bench.network(bench.Says("triage")).ask(Request(text="what is the weather"))

    assert answer.text == "Not answered: no word of it is a name."
    assert not answer.accepted
    assert answer.trace.findings == ()
    assert len(bench.store.settled) == 1


# --- Admission -------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "  ", "\n"])
async def test_empty_requests_are_refused(bench, text):
    """A request with neither text nor columns is an error of the caller, and leaves nothing behind."""
    with pytest.raises(InputError, match="The request is empty"):
        await bench.network(bench.Says("triage")).ask(Request(text=text))
    assert not bench.store.settled


async def test_unknown_specialists_are_refused(bench):
    """Pinning a name that is not there tells the names that are."""
    with pytest.raises(UnknownSpecialist, match=r"'nobody'; this network has \['triage'\]"):
        await bench.network(bench.Says("triage")).ask(Request(text="x", specialist="nobody"))


@pytest.mark.parametrize(
    ("text", "rest", "columns"),
    [
        ('triage {"income": 3, "home": "own", "ok": true, "none": null}', "triage", 4),
        ('{"income": 3}', "", 1),
        ("triage {not json}", "triage {not json}", None),
        ('triage {"a": [1]}', 'triage {"a": [1]}', None),
        ('triage {"a": NaN}', 'triage {"a": NaN}', None),
        ('triage {"a": 1e999}', 'triage {"a": 1e999}', None),
        ('triage {"a": 1' + "0" * 400 + "}", 'triage {"a": 1' + "0" * 400 + "}", None),
        ("triage {}", "triage {}", None),
        ("triage }{", "triage }{", None),
        ('triage {"a": ' + "[" * 5000, 'triage {"a": ' + "[" * 5000, None),
    ],
    ids=range(10),
)
async def test_structured_input_in_a_text(bench, text, rest, columns):
    """A JSON object of plain values in the text becomes columns; any other brace stays text."""
    triage = bench.Says("triage")
    answer = await bench.network(triage).ask(Request(text=text, specialist="triage"))

    assert triage.tasks[0].text == rest
    assert columns == (None if triage.tasks[0].columns is None else len(triage.tasks[0].columns))
    assert answer.accepted


@pytest.mark.parametrize("value", [[1], {"a": 1}, object(), (1,), b"x"], ids=range(5))
async def test_columns_that_are_no_plain_values_are_refused(bench, value):
    """Columns given directly are checked like those in a text."""
    with pytest.raises(InputError, match="Column 'a' holds a "):
        await bench.network(bench.Says("triage")).ask(Request(text="triage", columns={"a": value}))


async def test_label(bench):
    """A request without a label gets the network's, and specialists are told."""
    triage = bench.Says("triage")
    network = bench.network(triage, default_label=Label.CONFIDENTIAL)
    await network.ask(Request(text="triage"))
    answer = await network.ask(Request(text="triage", label=Label.PUBLIC))

    assert [task.label for task in triage.tasks] == [Label.CONFIDENTIAL, Label.PUBLIC]
    assert answer.trace.label is Label.PUBLIC


# --- Parts and stages -------------------------------------------------------------------------------


async def test_parts_run_side_by_side_and_are_answered_in_order(bench):
    """The second part does not wait for the first, yet its answer comes after it."""
    second_done = asyncio.Event()
    triage = bench.Says("triage", "lost", before=second_done.wait)
    clauses = bench.Says("clauses", "termination", before=second_done.set)
    async with asyncio.timeout(120):
        deltas, answer = await bench.stream(bench.network(triage, clauses), "triage+clauses")

    assert deltas == [
        "On \u201cabout triage\u201d: lost (triage, 90% sure)",
        "\n\nOn \u201cabout clauses\u201d: termination (clauses, 90% sure)",
    ]
    assert answer.text == "".join(deltas)
    assert [task.text for task in (*triage.tasks, *clauses.tasks)] == ["about triage", "about clauses"]


async def test_a_part_that_fits_and_one_that_abstains(bench):
    """A compound request is accepted if anybody answers; the other part says why it is not answered."""
    network = bench.network(
        bench.Says("triage", "lost"), bench.Says("clauses", accepted=False, reason=worded("not sure"))
    )
    answer = await network.ask(Request(text="triage+clauses"))

    assert answer.text == (
        "On \u201cabout triage\u201d: lost (triage, 90% sure)\n\n"
        "On \u201cabout clauses\u201d: not answered (clauses: not sure)."
    )
    assert answer.trace.status == "accepted"


async def test_a_reader_sees_what_the_writer_wrote(bench):
    """Who reads a fact runs a stage later, sees it, and its answer is the answer."""
    triage = bench.Says("triage", "card_lost", writes=("intent",))
    reply = bench.Says("reply", "We blocked it.", reads=("intent",))
    answer = await bench.network(triage, reply).ask(Request(text="triage"))

    assert answer.text == "We blocked it."
    assert reply.views[0].fact("intent").value == "card_lost"
    assert [finding.specialist for finding in answer.trace.findings] == ["triage", "reply"]
    assert answer.trace.views[1].seen == ("fact intent from triage",)


async def test_readers_that_abstain_leave_the_writer_s_answer(bench):
    """If the reader of a routed request abstains, what it read is still an answer."""
    network = bench.network(
        bench.Says("triage", "card_lost", writes=("intent",)), bench.Says("reply", reads=("intent",), accepted=False)
    )

    assert (await network.ask(Request(text="triage"))).text == "card_lost"


async def test_a_pinned_reader_answers_itself_or_nobody_does(bench):
    """Who pins the reader gets the reader's answer or its reason, never the label it would have read."""
    reply = bench.Says("reply", reads=("intent",), accepted=False, reason=worded("no source text"))
    network = bench.network(bench.Says("triage", "card_lost", writes=("intent",)), reply)
    answer = await network.ask(Request(text="x", specialist="reply"))

    assert answer.text == "Not answered: reply: no source text."
    assert answer.trace.status == "abstained"
    assert len(answer.trace.findings) == 2


async def test_abstention_stops_the_readers(bench):
    """Where the writer abstains, whoever would have read it is not asked."""
    reply = bench.Says("reply", reads=("intent",))
    triage = bench.Says("triage", writes=("intent",), accepted=False, reason=worded("not sure enough"))
    answer = await bench.network(triage, reply).ask(Request(text="triage"))

    assert not reply.tasks
    assert answer.text == "Not answered: triage: not sure enough."


async def test_several_of_one_stage_are_named(bench):
    """Two readers of one stage both answer, each with its name."""
    network = bench.network(
        bench.Says("triage", writes=("intent",)),
        bench.Says("reply", "We blocked it.", reads=("intent",)),
        bench.Says("tone", "angry", reads=("intent",)),
    )

    assert (await network.ask(Request(text="triage"))).text == (
        "We blocked it. (reply, 90% sure)\nangry (tone, 90% sure)"
    )


async def test_a_score_that_refers_to_a_person_shows_what_it_knows(bench):
    """A finding with reasons is shown although it abstains; one without is not passed off as an answer."""
    reason = Evidence(kind="reason", name="income", text="income is 10: raises the odds 2.0 times", weight=0.7)
    score = bench.Says(
        "score", "Probability of default: 0.55.", accepted=False, reason=worded("not sure"), evidence=(reason,)
    )
    label = bench.Says("label", "card_lost", accepted=False, reason=worded("not sure"))

    assert (await bench.network(score).ask(Request(text="score"))).text == (
        "Not answered: score: not sure.\nProbability of default: 0.55."
    )
    assert "card_lost" not in (await bench.network(label).ask(Request(text="label"))).text


# --- Speaking --------------------------------------------------------------------------------------


async def test_speaking_specialists_are_heard_piece_by_piece(bench):
    """What a specialist says is passed on as it comes, and together it is the answer."""
    indexes = []

    async def say(index: int) -> None:
        indexes.append(index)
        await asyncio.sleep(0)

    speaker = bench.Speaks("reply", between=say)
    seen = []
    async for event in bench.network(speaker).stream(Request(text="reply")):
        seen.append((event.text, len(indexes)))

    assert [text for text, _ in seen] == ["so ", "it ", "is", "so it is"]
    assert seen[0][1] < 3
    assert speaker.closed == 1


async def test_a_speaking_reader_after_a_writer(bench):
    """The reader in the last stage speaks; the writer before it does not."""
    triage = bench.Speaks("triage", writes=("intent",), pieces=("never ", "heard"))
    deltas, answer = await bench.stream(bench.network(triage, bench.Speaks("reply", reads=("intent",))), "triage")

    assert deltas == ["so ", "it ", "is"]
    assert answer.text == "so it is"


async def test_a_second_part_that_speaks_waits_its_turn(bench):
    """Pieces of the second part are held back until the first is answered, and start on a line of their own."""
    go = asyncio.Event()
    slow, fast = bench.Says("slow", "first", before=go.wait), bench.Speaks("fast", pieces=("se", "cond"))
    fast.between = lambda index: go.set() if index else None
    async with asyncio.timeout(120):
        deltas, _ = await bench.stream(bench.network(slow, fast), "slow+fast")

    assert deltas == [
        "On \u201cabout slow\u201d: first (slow, 90% sure)",
        "\n\nOn \u201cabout fast\u201d: se",
        "cond",
    ]


async def test_a_silent_abstention_of_a_speaker(bench):
    """A speaker that says nothing and abstains is answered by its reason."""
    speaker = bench.Speaks("reply", pieces=(), accepted=False, reason=worded("no source text"))

    assert (await bench.network(speaker).ask(Request(text="reply"))).text == "Not answered: reply: no source text."


# --- Context ---------------------------------------------------------------------------------------


async def test_a_session_remembers(bench):
    """Facts and messages of a turn are there in the next one, for those who read them, in this session only."""
    triage = bench.Says("triage", "card_lost", writes=("intent",))
    judge = bench.Says("judge", reads=("intent", "messages"))
    network = bench.network(triage, judge)
    await network.ask(Request(text="triage please", session="s"))
    for session, tenant in (("s", "default"), ("other", "default"), ("s", "acme")):
        await network.ask(Request(text="judge", session=session, tenant=tenant, specialist="judge"))

    contents = [[entry.content for entry in view.entries if entry.time] for view in judge.views[-3:]]
    assert Fact(name="intent", value="card_lost", confidence=0.9) in contents[0]
    assert Message(role="user", text="triage please") in contents[0]
    assert all(Message(role="user", text="triage please") not in content for content in contents[1:])
    kinds = [type(entry.content).__name__ for entry in bench.store.settled[0].entries]
    assert kinds == ["Message", "FindingSummary", "Fact", "FindingSummary", "Message"]


async def test_history_enters_the_context(bench):
    """Turns the caller sends along are read like remembered ones, router included, and are not stored."""
    talk = (Message(role="user", text="hi"), Message(role="assistant", text="hello"))
    judge = bench.Says("judge", reads=("messages",))
    network = bench.network(judge)
    await network.ask(Request(text="judge", history=talk))

    assert tuple(entry.content for entry in judge.views[0].entries) == talk
    assert network.router.contexts[0].entries == judge.views[0].entries
    assert bench.store.settled[0].entries == ()


async def test_history_is_not_remembered_twice(bench):
    """A client that sends the whole conversation to a session that remembers it does not double it."""
    judge = bench.Says("judge", "yes", reads=("messages",))
    network = bench.network(judge)
    await network.ask(Request(text="judge", session="s"))
    talk = (
        Message(role="user", text="judge"),
        Message(role="assistant", text="yes"),
        Message(role="user", text="more"),
    )
    await network.ask(Request(text="judge", session="s", history=talk))

    assert [entry.content.text for entry in judge.views[1].entries] == ["judge", "yes", "more"]


async def test_only_declared_facts_are_written(bench):
    """A fact that a specialist's card does not name is dropped: others rely on who writes what."""
    facts = (Fact(name="intent", value="x", confidence=1.0), Fact(name="other", value="y", confidence=1.0))
    triage = bench.Says("triage", writes=("intent",), facts=facts)
    answer = await bench.network(triage).ask(Request(text="triage", session="s"))

    assert [fact.name for fact in answer.trace.findings[0].facts] == ["intent"]
    assert [e.content.name for e in bench.store.settled[0].entries if isinstance(e.content, Fact)] == ["intent"]


async def test_findings_are_as_sensitive_as_what_they_were_made_of(bench):
    """A finding labelled below its request is raised before its facts go on, and a verdict says so."""
    triage = bench.Says("triage", writes=("intent",), label=Label.PUBLIC)
    reply = bench.Says("reply", reads=("intent",), clearance=Label.INTERNAL)
    answer = await bench.network(triage, reply).ask(Request(text="triage", label=Label.CONFIDENTIAL, session="s"))

    assert answer.trace.findings[0].label is Label.CONFIDENTIAL
    assert [(verdict.rule, verdict.allowed) for verdict in answer.trace.verdicts] == [("label.flow", False)]
    assert reply.views[0].entries == ()
    assert all(entry.label is Label.CONFIDENTIAL for entry in bench.store.settled[0].entries)


async def test_findings_inherit_from_the_facts_they_saw(bench):
    """Who read a restricted fact gives a restricted finding, and the session's answer is restricted too."""
    secret = bench.Says("secret", writes=("key",), label=Label.RESTRICTED)
    reader = bench.Says("reader", reads=("key",), label=Label.PUBLIC)
    answer = await bench.network(secret, reader).ask(Request(text="secret", label=Label.PUBLIC, session="s"))

    assert answer.trace.findings[1].label is Label.RESTRICTED
    assert bench.store.settled[0].entries[-1].label is Label.RESTRICTED
    assert bench.store.settled[0].entries[0].label is Label.PUBLIC


# --- The generalist --------------------------------------------------------------------------------


async def test_an_abstention_escalates(bench):
    """Where the specialists abstain the generalist is asked, and its answer is the answer."""
    large = bench.Speaks("generalist", pieces=("Large ", "answer"), reads=("messages",))
    network = bench.network(bench.Says("triage", accepted=False), generalist=large)
    deltas, answer = await bench.stream(network, "triage")

    assert deltas == ["Large ", "answer"]
    assert answer.trace.status == "escalated"
    assert [finding.specialist for finding in answer.trace.findings] == ["triage", "generalist"]


@pytest.mark.parametrize("allowed", [False, True])
async def test_out_of_scope_escalates_only_if_it_may(bench, allowed):
    """A request that fits nobody reaches the generalist only where the network's file says so."""
    large = bench.Says("generalist", "Rain.")
    network = bench.network(bench.Says("triage"), generalist=large, escalate_out_of_scope=allowed)
    answer = await network.ask(Request(text="the weather"))

    assert bool(large.tasks) is allowed
    assert answer.trace.status == ("escalated" if allowed else "abstained")


async def test_a_generalist_that_abstains_too(bench):
    """Where nobody can answer, both reasons are told, with the best guess, which is said to be one."""
    network = bench.network(
        bench.Says("triage", accepted=False, reason=worded("not sure")),
        generalist=bench.Says("generalist", accepted=False, reason=worded("empty")),
    )

    answer = await network.ask(Request(text="triage"))

    assert answer.text == (
        "Not answered: triage: not sure; generalist: empty.\nBest guess, not sure: yes (triage, 90% sure)"
    )
    assert (answer.accepted, answer.trace.degraded) == (False, worded("empty"))


async def test_embed_and_close(bench):
    """Texts are embedded by the shared encoder; closing closes engines and store."""
    network = bench.network(bench.Says("triage"))
    network.engines = (network.encoder,)

    assert len(await network.embed(["a", "b"], call=SYSTEM)) == 2
    await network.close()
    assert network.encoder.closed
    assert bench.store.closed


class Parts:
    """A router that gives the parts it was given."""

    def __init__(self, *parts):
        self.parts = parts

    async def route(self, request, context, *, call=None):
        """These."""
        return Route(parts=self.parts, reason=worded("told so"))


async def test_a_part_reads_what_another_part_found(bench):
    """A part that reads another's fact is worked on after it, sees the fact, and is answered in the text's order."""
    triage = bench.Says(
        "triage",
        "card_lost",
        writes=("intent",),
    )
    reply = bench.Says("reply", "dear customer", reads=("intent",))
    parts = (
        Part(text="write to me", stages=(("reply",),), score=0.9, after=(1,)),
        Part(text="I lost my card", stages=(("triage",),), score=0.9),
    )
    answer = await bench.network(triage, reply, router=Parts(*parts)).ask(Request(text="both"))

    assert [entry.content.value for entry in reply.views[0].entries if isinstance(entry.content, Fact)] == ["card_lost"]
    assert [task.text for task in (*triage.tasks, *reply.tasks)] == ["I lost my card", "write to me"]
    assert answer.text.index("dear customer") < answer.text.index("card lost")


async def test_a_part_whose_writer_fails_is_worked_on(bench):
    """Where the part it waits for finds nothing, a part goes on without the fact."""
    triage = bench.Says("triage", accepted=False, writes=("intent",))
    reply = bench.Says("reply", "dear customer", reads=("intent",))
    parts = (
        Part(text="I lost my card", stages=(("triage",),), score=0.9),
        Part(text="write to me", stages=(("reply",),), score=0.9, after=(0,)),
    )
    answer = await bench.network(triage, reply, router=Parts(*parts)).ask(Request(text="both"))

    assert "dear customer" in answer.text


async def test_a_request_may_be_prepared_without_being_asked(bench):
    """What the router would get: structured input found, labelled; nobody is asked and nothing settled."""
    triage = bench.Says("triage")
    question, context = await bench.network(triage).prepare(Request(text='hello {"age": 3}'))

    assert (question.text, question.columns, question.label) == ("hello", {"age": 3}, Label.INTERNAL)
    assert context.entries == ()
    assert (triage.tasks, bench.store.settled) == ([], [])


# --- Language --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "network", "language"),
    [
        (Request(text="triage Meine Karte wurde gestohlen"), "en", "de"),
        (Request(text="triage where is my card"), "en-GB", "en-GB"),
        (Request(text="triage"), "fr", "fr"),
        (Request(text="triage where is my card", language="de-CH"), "en", "de-CH"),
    ],
)
async def test_a_request_carries_its_language(bench, request_, network, language):
    """Detected once when it is let in, said by whoever asks, or the network's; every specialist is told."""
    triage = bench.Says("triage")
    await bench.network(triage, language=network).ask(request_)

    assert triage.tasks[0].language == language


async def test_follow_ups_are_restated_in_english_only(bench):
    """What depends on an earlier question in another language is asked as it stands."""
    history = (Message(role="user", text="triage where is my card"),)
    network = bench.network(bench.Says("triage"))

    english = await network.ask(Request(text="and does it on Monday, triage?", history=history, language="en"))
    german = await network.ask(Request(text="and does it on Monday, triage?", history=history, language="de"))

    assert english.trace.rewritten
    assert not german.trace.rewritten
