"""Personal data that may not leave goes out under pseudonyms, and comes back for who may see it."""

from __future__ import annotations

import re
from dataclasses import fields, replace

import pytest

from coterie.config.file import OpenAIModel
from coterie.errors import EgressRefused, EngineBroken
from coterie.governance import disguise as _disguise
from coterie.governance.disguise import _places, changed, texts_of_prompt
from coterie.governance.egress import PSEUDONYMISED, ClearancePolicy, Gate
from coterie.governance.pseudonyms import OwnTexts, PseudonymBook, SessionPseudonyms
from coterie.privacy.detection import Kind, PersonalData
from coterie.store.erasure import Mention
from coterie.testing import FakeClock, FakeOpenAIServer, ServerReply
from coterie.text.folding import ALIKE
from coterie.types import SYSTEM, CallContext, Delta, Label, Message, Option, Output, Principal, Prompt, Question

EMAIL, OTHER, IBAN = "anna@example.org", "bob@example.org", "DE89370400440532013000"
SECRET = "sk-" + "a1B2c3D4" * 5


class Names:
    """Knows two people, every e-mail address, IBAN and key."""

    PATTERN = re.compile(r"(?P<PERSON>Anna|Bob)|(?P<EMAIL>\w+@\w+\.org)|(?P<IBAN>DE\d{20})|(?P<SECRET>sk-\w{40})")

    def find(self, text):
        return tuple(
            PersonalData(kind=match.lastgroup, start=match.start(), end=match.end(), score=1.0)
            for match in self.PATTERN.finditer(text)
        )


@pytest.fixture
async def server():
    """A server that notes every byte, and says back the last message."""

    def echo(body):
        return ServerReply(text=body["messages"][-1]["content"])

    async with FakeOpenAIServer(default=echo) as server:
        yield server


@pytest.fixture
async def opened(server, asking):
    """An engine of that server that takes pseudonyms; closed at the end."""
    engines = []

    def opened(clearance=Label.INTERNAL, **model):
        section = OpenAIModel(
            engine="openai",
            base_url=server.base_url,
            name="big",
            clearance=clearance,
            retries=0,
            **{"pseudonymise": True, **model},
        )
        engines.append(Gate(ClearancePolicy(), detector=Names()).open("cloud", section))
        return Asked(engines[-1], asking)

    yield opened
    for engine in engines:
        await engine.close()


@pytest.fixture
def asking():
    """Says on whose behalf the engines are asked from now on."""

    def asking(*, clearance=Label.RESTRICTED, own=(), released=False):
        asking.call = CallContext(
            principal=Principal(clearance=clearance),
            sent=OwnTexts(own),
            released=released,
            pseudonyms=SessionPseudonyms(),
            egress=[],
        )
        return asking.call

    asking.call = SYSTEM
    return asking


class Asked:
    """An engine that is asked on behalf of whoever asks now."""

    def __init__(self, engine, asking):
        self.engine, self.asking = engine, asking

    def run(self, batch):
        return self.engine.run(batch, call=self.asking.call)

    def stream(self, prompt):
        return self.engine.stream(prompt, call=self.asking.call)


def prompt(text, label=Label.CONFIDENTIAL, label_without_pii=Label.INTERNAL, **more):
    """A prompt whose label personal data has raised."""
    return Prompt(messages=(Message(role="user", text=text),), label=label, label_without_pii=label_without_pii, **more)


async def test_out_and_back(opened, server, asking):
    """The server sees typed pseudonyms, the caller sees the values, and the verdict counts them and names none."""
    asking()
    (output,) = await opened().run([prompt(f"Anna wrote to {OTHER} and {EMAIL}; Anna pays from {IBAN}.")])

    assert output.text == f"Anna wrote to {OTHER} and {EMAIL}; Anna pays from {IBAN}."
    assert server.requests[0].json["messages"][-1]["content"] == (
        "<PERSON_1> wrote to <EMAIL_1> and <EMAIL_2>; <PERSON_1> pays from <IBAN_1>."
    )
    assert output.verdict.rule == PSEUDONYMISED
    assert str(output.verdict.reason).startswith(
        "pseudonymised: 4 values (2 EMAIL, 1 IBAN, 1 PERSON); internal data is"
    )


async def test_streamed(opened, server, asking):
    """Cut into single characters, the answer is the same, and no piece has a part of a pseudonym."""
    asking()
    server.default = ServerReply(pieces=list("Dear <person_1>, <PERSON_1>'s mail is &lt;EMAIL_1&gt;. <b> PERSONAL"))
    events = [event async for event in opened().stream(prompt(f"Anna {EMAIL}"))]
    *deltas, output = events

    assert isinstance(output, Output)
    assert output.text == f"Dear Anna, Anna's mail is {EMAIL}. <b> PERSONAL"
    assert "".join(delta.text for delta in deltas) == output.text
    assert not any("PERSON_" in delta.text or "<per" in delta.text for delta in deltas)


@pytest.mark.parametrize("cut", range(1, 30))
async def test_a_stream_that_breaks_off(opened, server, asking, cut):
    """Whatever was shown before it broke is a beginning of the restored answer."""
    asking()
    reply = "Dear <PERSON_1>, your <EMAIL_1>"
    server.default = ServerReply(pieces=list(reply), cut_after=cut)
    shown: list[str] = []

    async def read():
        async for event in opened().stream(prompt(f"Anna {EMAIL}")):
            assert isinstance(event, Delta)
            shown.append(event.text)

    with pytest.raises(EngineBroken, match="broke off"):
        await read()
    assert f"Dear Anna, your {EMAIL}".startswith("".join(shown))


async def test_across_turns(opened, server, asking):
    """In a session a value keeps its pseudonym, in whatever case, also where the detector misses it later."""
    caller = asking()
    engine = opened()
    await engine.run([prompt("Anna and Bob")])
    await engine.run([prompt("bob, BOB and anna: " + IBAN)])

    assert server.requests[1].json["messages"][-1]["content"] == "<PERSON_2>, <PERSON_2> and <PERSON_1>: <IBAN_1>"
    assert [value.text for value in caller.pseudonyms.values()] == ["Anna", "Bob", IBAN]


NAMED = re.compile(r"(?:(?:Ms|Dr|Frau)\.? )?(?:Anna |Bob )?(?:Maria )?(?:Schmidt(?:'s)?|Smith|Anna)")


async def test_part_of_a_name(opened, server, asking, monkeypatch):
    """A part of one person's name is another form of that person's pseudonym, and comes back as it was written."""
    monkeypatch.setattr(Names, "PATTERN", re.compile(f"(?P<PERSON>{NAMED.pattern})"))
    caller = asking()
    text = "Anna Maria Schmidt and Bob Smith met. Ms Schmidt wrote; Schmidt's letter, Dr. Smith and Anna"
    (output,) = await opened().run([prompt(text)])

    messages = server.requests[0].json["messages"]
    assert messages[-1]["content"] == (
        "<PERSON_1> and <PERSON_2> met. <PERSON_1_2> wrote; <PERSON_1_3> letter, <PERSON_2_2> and <PERSON_1_4>"
    )
    assert "<PERSON_1_2> is <PERSON_1>, named otherwise" in messages[0]["content"]
    assert output.text == text
    assert caller.pseudonyms.find("PERSON", 1, 2).text == "Ms Schmidt"


async def test_only_part_of_a_name(opened, server, asking, monkeypatch):
    """Where a prompt has a person in another form only, the bare pseudonym is put back as that form."""
    monkeypatch.setattr(Names, "PATTERN", re.compile(f"(?P<PERSON>{NAMED.pattern})"))
    asking()
    await opened().run([prompt("Anna Maria Schmidt")])
    server.default = ServerReply(text="Dear <PERSON_1>, dear <PERSON_1_2>")
    (output,) = await opened().run([prompt("Ms Schmidt")])

    assert output.text == "Dear Ms Schmidt, dear Ms Schmidt"
    assert "named otherwise" not in server.requests[1].json["messages"][0]["content"]


def test_part_of_two_names():
    """What may be either of two persons is neither; a longer name is no form of a shorter one, nor is other data."""
    session = SessionPseudonyms()
    for kind, text, pseudonym in [
        ("PERSON", "Schmidt", "<PERSON_1>"),
        ("PERSON", "Anna Schmidt", "<PERSON_2>"),
        ("PERSON", "Bob Schmidt", "<PERSON_3>"),
        ("PERSON", "Herr Schmidt", "<PERSON_4>"),
        ("PERSON", "Mr Bob", "<PERSON_3_2>"),
        ("PERSON", "SCHMIDT, Anna", "<PERSON_2_2>"),
        ("PERSON", "B.", "<PERSON_5>"),
        ("PERSON", "Dr", "<PERSON_6>"),
        ("ORGANIZATION", "Schmidt AG", "<ORGANIZATION_1>"),
        ("PERSON", "anna  schmidt", "<PERSON_2>"),
    ]:
        assert session.of(kind, text, Label.INTERNAL).pseudonym == pseudonym
    assert session.find("PERSON", 3, 2).text == "Mr Bob"


async def test_a_long_session_costs_no_more(opened, server, asking, monkeypatch):
    """Only values whose first word stands in a text are searched for in it, however many the session has."""
    searched = []
    monkeypatch.setattr(_disguise, "_places", lambda values, text: searched.extend(values) or _places(values, text))
    caller = asking()
    for number in range(2000):
        caller.pseudonyms.of("PERSON", f"Person{number} Smith", Label.INTERNAL)
        caller.pseudonyms.of("PHONE", f"+{number} 30 1234", Label.INTERNAL)
    await opened().run([prompt("Write to PERSON7  smith or person8 smithers, at +9 30\n1234 (Anna)")])

    assert server.requests[0].json["messages"][-1]["content"] == (
        "Write to <PERSON_8> or person8 smithers, at <PHONE_10> (<PERSON_2001>)"
    )
    texts = {value.text.lower() for value in searched}
    assert texts <= {"person7 smith", "person8 smith", "+9 30 1234", "+30 30 1234", "+1234 30 1234", "anna"}


async def test_sessions_know_nothing_of_each_other(opened, server, asking):
    """Another session counts from one, and a pseudonym of the first means nothing in it."""
    engine = opened()
    asking()
    await engine.run([prompt("Anna and Bob")])
    asking()
    server.default = ServerReply(text="<PERSON_1> <PERSON_2>")
    (output,) = await engine.run([prompt("Bob")])
    assert output.text == "Bob <PERSON_2>"


async def test_what_a_model_makes_up_is_not_restored(opened, server, asking):
    """A pseudonym of the session that was not in this prompt is not restored: nobody else's value can be fished for."""
    asking()
    engine = opened()
    await engine.run([prompt("Anna")])
    server.default = ServerReply(text="<PERSON_1> and <PERSON_2>")
    (output,) = await engine.run([prompt("Bob")])
    assert output.text == "<PERSON_1> and Bob"


async def test_only_who_may_see_it(opened, server, asking):
    """A value from above the caller's clearance stays a pseudonym, unless they wrote it themselves."""
    about = {"label": Label.CONFIDENTIAL, "label_without_pii": Label.INTERNAL}
    asking(clearance=Label.PUBLIC, own=("I am ANNA",))
    (output,) = await opened().run([prompt("Anna and Bob", **about)])
    assert output.text == "Anna and <PERSON_2>"


@pytest.mark.parametrize(
    ("own", "value", "known"),
    [
        ("it was announced", "Ann", False),
        ("Joann said", "Ann", False),
        ("ANN's letter", "Ann", True),
        ("card 4111 1111 1111 1111 123", "4111111111111111", True),
        ("\u59d3\u540d\u738b\u5c0f\u660e\u8bf4", "\u738b\u5c0f\u660e", True),
        ("announced, Ann", "Ann", True),
    ],
)
def test_what_they_wrote_themselves(own, value, known):
    """A value that only stands within a word of theirs is none that they know."""
    assert OwnTexts((own,)).has(value) is known


@pytest.mark.parametrize("written", ["<PERSON_1>", "<person 1>", "PERSON_1", "&lt;PERSON_1&gt;", "<LITERAL_2>"])
async def test_what_looks_like_a_pseudonym(opened, server, asking, written):
    """A text with `<PERSON_1>` in it gets that back, and never somebody's name."""
    asking()
    text = f"Anna wrote {written} in her form; Anna"
    (output,) = await opened().run([prompt(text)])
    assert output.text == text
    assert server.requests[0].json["messages"][-1]["content"] == "<PERSON_1> wrote <LITERAL_1> in her form; <PERSON_1>"


async def test_every_field(opened, server, asking):
    """Whatever field a value stands in, it does not leave; a JSON answer gets it back."""
    asking()
    schema = {"type": "object", "properties": {EMAIL: {"enum": ["Anna", IBAN, 5, None, True]}}}
    server.default = ServerReply(text='{"<EMAIL_1>": "<PERSON_1>"}')
    whole = replace(
        prompt("Is it her?"),
        messages=(Message(role="system", text="About Anna."), Message(role="user", text="Is it her?")),
        json_schema=schema,
        stop=("Anna",),
        text=EMAIL,
    )
    (output,) = await opened().run([whole])

    assert not any(value.encode() in server.received for value in (EMAIL, IBAN, "Anna"))
    assert output.text == f'{{"{EMAIL}": "Anna"}}'


def test_words_of_a_schema_are_no_values():
    """A schema keeps its keywords, whatever a detector takes them for; names and texts in it are searched."""

    class Keywords:
        def find(self, text):
            return tuple(
                PersonalData(kind="PERSON", start=match.start(), end=match.end(), score=1.0)
                for match in re.finditer("maxLength|Anna", text)
            )

    schema = {
        "type": "object",
        "properties": {
            "Anna": {"type": "string", "maxLength": 4, "description": "of Anna"},
            "maxLength": {"enum": [1]},
        },
        "anyOf": [{"items": {"maxLength": 2}}],
    }
    prompt = Prompt(text="", label=Label.INTERNAL, json_schema=schema)
    book = SessionPseudonyms()
    sent = _disguise.disguise(prompt, Keywords(), book, label=Label.INTERNAL).prompt.json_schema
    assert sent["properties"]["<PERSON_1>"] == {"type": "string", "maxLength": 4, "description": "of <PERSON_1>"}
    assert sent["properties"].keys() == {"<PERSON_1>", "<PERSON_2>"}
    assert sent["anyOf"] == [{"items": {"maxLength": 2}}]


def test_no_field_is_forgotten():
    """Every field of a prompt that can hold words is looked at: a new one fails this until it is."""
    every = Prompt(
        text="a",
        columns={"b": "c", "d": 7, "e": None, "f": True},
        messages=(Message(role="user", text="gu"),),
        instruction="g",
        json_schema={"h": ["i", {"j": "k"}]},
        grammar="l",
        adapter="m",
        choices=("n", "o"),
        stop=("p",),
        questions=(Question(kind="choice", options=(Option(name="q", description="r"),), instructions="s", name="t"),),
    )
    without_words = {
        "vector",
        "label",
        "label_without_pii",
        "max_tokens",
        "unbounded",
        "temperature",
        "top_p",
        "frequency_penalty",
        "presence_penalty",
        "instruction",  # the beginning of a message
        "verbatim",  # who makes it puts every text of it into the messages
        "seed",
        "patience",
        "logprobs",
        "states",
    }
    with_words = {"text", "columns", "messages", "json_schema", "grammar", "adapter", "choices", "stop", "questions"}
    assert {field.name for field in fields(Prompt)} == without_words | with_words
    assert sorted(texts_of_prompt(every)) == sorted("abcdefghijklmnopqrstu7")
    hidden = changed(every, lambda text: "#")
    assert set("".join(texts_of_prompt(hidden))) == {"#"}


# --- Refused ----------------------------------------------------------------------------------------


async def refusal(engine, what):
    """The verdict that refuses a prompt."""
    with pytest.raises(EgressRefused) as refused:
        await engine.run([what])
    with pytest.raises(EgressRefused):
        await anext(engine.stream(what))
    return refused.value.verdict


async def test_off_by_default(opened, server):
    """Without `pseudonymise` it is refused, whatever the label says, and the reason counts what was found."""
    verdict = await refusal(opened(pseudonymise=False), prompt(f"Anna {EMAIL}", Label.INTERNAL, None))
    assert verdict.reason.codes[:2] == ("egress.above_clearance", "note.personal_data")
    assert verdict.reason.notes[0].values["found"] == "1 EMAIL, 1 PERSON"
    assert server.connections == 0


@pytest.mark.parametrize("label_without_pii", [None, Label.CONFIDENTIAL])
async def test_only_because_of_personal_data(opened, server, label_without_pii):
    """What is too sensitive for another reason is refused, and so is what does not say why it is."""
    await refusal(opened(), prompt("Anna", Label.CONFIDENTIAL, label_without_pii))
    assert server.connections == 0


async def test_secrets(opened, server):
    """A secret has no pseudonym: it stays here, also where its label was not raised."""
    verdict = await refusal(opened(Label.CONFIDENTIAL), prompt(f"key {SECRET} of Anna", Label.INTERNAL, None))
    assert "restricted data is above" in str(verdict.reason)
    assert SECRET not in str(verdict.reason)
    assert server.connections == 0


async def test_a_detector_that_always_finds_more(server, asking):
    """If something is still found between the pseudonyms, nothing is sent."""

    class Greedy:
        def find(self, text):
            return (PersonalData(kind=Kind.PERSON, start=0, end=1, score=1.0),) if text else ()

    section = OpenAIModel(
        engine="openai", base_url=server.base_url, name="big", clearance=Label.INTERNAL, pseudonymise=True
    )
    engine = Gate(ClearancePolicy(), detector=Greedy()).open("cloud", section)
    refused = await refusal(Asked(engine, asking), prompt("abcdefghijklmnop"))
    assert "note.no_pseudonyms" in refused.reason.codes
    assert server.connections == 0
    await engine.close()


async def test_too_many_values(opened, server, asking, monkeypatch):
    """A session with more values than pseudonyms are kept for is refused further ones."""
    monkeypatch.setattr("coterie.governance.pseudonyms._MOST_VALUES", 2)
    asking()
    assert "the session has 2 values" in str((await refusal(opened(), prompt(f"Anna, {EMAIL}, {OTHER}"))).reason)
    assert server.connections == 0


async def test_what_may_be_seen_in_clear(opened, server, asking):
    """A model that may see personal data gets it as it is."""
    asking()
    (output,) = await opened(Label.CONFIDENTIAL).run([prompt("Anna")])
    assert (output.text, output.verdict.rule) == ("Anna", "egress.clearance")
    assert b"Anna" in server.received


async def test_a_release_holds_at_the_gate(opened, server, asking):
    """What a caller released goes out in clear; what others put beside it does not, and a secret never does."""
    asking(own=(f"I am {EMAIL}",), released=True)
    engine = opened(pseudonymise=False)
    await engine.run([prompt(f"I am {EMAIL}", Label.INTERNAL, None)])
    assert EMAIL.encode() in server.received
    await refusal(engine, prompt(f"I am {EMAIL}, not Bob", Label.INTERNAL, None))
    asking(own=(SECRET,), released=True)
    await refusal(engine, prompt(SECRET, Label.INTERNAL, None))


# --- The book ---------------------------------------------------------------------------------------


def test_book():
    """Sessions are a tenant's own; the ones used last are kept; one that remembers nothing starts afresh."""
    book = PseudonymBook(most=2)
    first = book.of("acme", "s")
    assert book.of("acme", "s") is first
    assert book.of("other", "s") is not first
    assert book.of("acme", "s", begun=False) is not first
    assert book.of("acme", None) is not book.of("acme", None)
    kept = book.of("acme", "s")
    book.of("acme", "t")
    book.of("acme", "u")
    assert book.of("acme", "s") is not kept
    book.forget("acme", "nobody")


def test_idle_sessions_are_forgotten():
    """A session that was not used for an hour begins anew; one that is used goes on."""
    clock = FakeClock()
    book = PseudonymBook(clock=clock)
    used, idle = book.of("acme", "used"), book.of("acme", "idle")
    for _ in range(3):
        clock.now += 1800.5
        assert book.of("acme", "used") is used
    assert len(book._sessions) == 1
    assert book.of("acme", "idle") is not idle


def test_one_value_one_pseudonym():
    """Case, spaces and gaps between digits do not make another value; other characters do."""
    pseudonyms = SessionPseudonyms()

    def name(text):
        return pseudonyms.of("CARD", text, Label.INTERNAL).pseudonym

    assert name("4111 1111 1111 1111") == name("4111-1111-1111-1111") == name("4111111111111111")
    assert name("a.b@x.org") != name("ab@x.org")
    assert pseudonyms.of("odd kind 7", "x", Label.PUBLIC).pseudonym == "<ODD_KIND_1>"


def test_one_value_however_it_is_typed():
    """Apostrophes, accents and signs without width make no other value, and so no other pseudonym."""
    book = SessionPseudonyms()
    for typed in (
        "Zo\u00eb O'Brien",
        "ZO\u00cb O\u2019BRIEN",
        "Zoe\u0308 O'Bri\u00aden",
        "Zo\u00eb O\u00b4Brien",
        "Zo\u00eb O`Brien",
    ):
        assert book.of("PERSON", typed, Label.PUBLIC).pseudonym == "<PERSON_1>"
    assert book.of("PERSON", "Zoe O'Brien", Label.PUBLIC).pseudonym != "<PERSON_1>"


def test_a_genitive_is_the_same_person():
    """`Annas` beside one `Anna Schmidt` is her, as it was written; `Hans` and `Jonas` are names of their own."""
    book = SessionPseudonyms()
    texts = ["Anna Schmidt", "Annas", "the Schmidts", "Hans", "Jonas Weber", "Jona", "Jonas"]
    values = [book.of("PERSON", text, Label.PUBLIC) for text in texts]

    assert [value.pseudonym[8:-1] for value in values] == ["1", "1_2", "1_3", "2", "3", "4", "3_2"]
    assert [value.text for value in values] == texts


@pytest.mark.parametrize("sign", ALIKE)
def test_signs_that_are_alike(sign):
    """What erasure takes for one name is one value here, whichever form of its apostrophe or hyphen stands in it."""
    names = [f"O{form}Brien" for form in ALIKE[sign]]
    book = SessionPseudonyms()

    assert all(Mention([names[0]]).within(name) for name in names)
    assert {book.of("PERSON", name, Label.PUBLIC).pseudonym for name in names} == {"<PERSON_1>"}
