"""The flywheel in a running server: capture, the sides of a canary, shadows after the answer, a swap, an alarm."""

import asyncio
import json
from dataclasses import dataclass, field, replace

import httpx
import pytest

from coterie.config.file import GatewaySection
from coterie.config.operation import CaptureSection, FlywheelSection
from coterie.errors import ArtefactRefused, EngineError
from coterie.flywheel import live as live_module
from coterie.flywheel.deployments import Deployments, KnownJob
from coterie.flywheel.discovery import Template
from coterie.flywheel.live import LiveFlywheel, scrub
from coterie.flywheel.overview import promote, roll_back
from coterie.gateway.app import create_app
from coterie.governance.keys import KeyRing
from coterie.logs.exchanges import read_answer
from coterie.network.network import Network, RelayModel
from coterie.privacy.detection import Kind, PersonalData
from coterie.privacy.patterns import PatternDetector
from coterie.testing import EchoEngine, FakeClock
from coterie.types import Finding, Label, Output, Principal, Question, RelayHead, Request, Route, Step, Usage, worded
from tests._support.audit import Notes

from .conftest import LABELS, NOW

JOB = KnownJob(
    id="j1",
    name="triage",
    labels=LABELS,
    found=NOW,
    templates=(
        Template(piece="Name the intent", runs=(("<user>", "Name", "the", "intent"), ("Name", "the", "intent", ":"))),
    ),
)


@dataclass
class Model:
    """A model's server: says `lost`, remembers what it was asked."""

    asked: list = field(default_factory=list)
    name: str = "large"

    async def relay(self, prompt, *, path, call):
        """Say `lost`."""
        self.asked.append(json.loads(prompt.verbatim))
        yield RelayHead(status=200, headers={"content-type": "application/json"})
        message = {"role": "assistant", "content": "lost"}
        yield json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()
        yield Output(text="", usage=Usage(tokens_in=9, tokens_out=1, milliseconds=5.0))


@dataclass
class Narrow:
    """A specialist that says what its texts say; unsure of the word `odd`."""

    asked: list = field(default_factory=list)
    confidence: float = 0.95
    broken: bool = False

    async def consult(self, task, view, *, call=None):
        """Say `fee` or `lost`."""
        if self.broken:
            raise EngineError("down", engine="linear")
        self.asked.append(task.text)
        value = "fee" if "fee" in task.text else "lost"
        return Finding(
            specialist="triage",
            value=value,
            text=value,
            confidence=self.confidence,
            accepted="odd" not in task.text,
            reason=worded("sure"),
            in_scope=0.9,
            form="label",
            distribution={value: 0.9, "lost" if value == "fee" else "fee": 0.1},
            steps=(Step(producer="triage", engine="linear", usage=Usage(tokens_in=3, milliseconds=1.0)),),
        )


@dataclass
class Nobody:
    """Routes to nobody."""

    async def route(self, request, context, *, call=None):
        """To nobody."""
        return Route(parts=(), reason=worded("nobody"))


class Prices:
    """A tenth of a cent a step."""

    def price(self, step):
        """As it is."""
        return step

    def counterfactual(self, request, answered, steps=(), *, named=""):
        """Unknown."""
        return


@dataclass
class World:
    """A network with a model, a job, and a specialist that can be deployed."""

    network: Network
    books: Deployments
    live: LiveFlywheel
    model: Model
    narrow: Narrow
    section: FlywheelSection

    def client(self, keys=None, token=""):
        """A client of the gateway, with a key where it has keys."""
        app = create_app(self.network, GatewaySection(relay=("*",)), keys)
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1", headers=headers)

    async def ask(self, text, *, user="u", **more):
        """Ask the model for the intent of a text."""
        body = {"model": "large", "user": user, "messages": [{"role": "user", "content": f"Name the intent: {text}"}]}
        async with self.client() as client:
            response = await client.post("/v1/chat/completions", json=body | more)
        assert response.status_code == 200, response.text
        return response

    async def deploy(self, steps):
        """Deploy the specialist and move it on so many steps."""
        job = await self.books.job("triage")
        made = await self.books.begin(job, "a" * 16, by="x", reason="r", figures={}, changed=job)
        for _ in range(steps):
            made = await promote(self.books, self.section, made.id, by="x", reason="r", force=True)
        await self.live.follow()
        return made


@pytest.fixture
async def world(store):
    """See `World`."""
    section = FlywheelSection(canary=(0.5,), control=0.0, patience=100)
    books = Deployments(store=store.flywheel, audit=Notes(), clock=FakeClock(NOW))
    await books.put_job(JOB)
    model, narrow = Model(), Narrow()

    async def load(job, deployment):
        if deployment.version == "b" * 16:
            raise ArtefactRefused("gone")
        return narrow

    live = await LiveFlywheel(
        books=books,
        section=section,
        capture=CaptureSection(enabled=True),
        detector=PatternDetector(),
        load=load,
        secret=b"k",
    ).open()
    network = Network(
        specialists={},
        router=Nobody(),
        store=store,
        meter=Prices(),
        encoder=EchoEngine(),
        models={"large": RelayModel(engine=model, name="large", window=64)},
        flywheel=live,
        audit=Notes(),
    )
    yield World(network=network, books=books, live=live, model=model, narrow=narrow, section=section)
    await live.close()


async def captured(world):
    """What is stored, once everything that left is written."""
    await world.live.settle()
    return list(await world.books.store.newest())


async def raised(world):
    """The alarms, once there is one."""
    for _ in range(1000):
        if alarms := await world.books.alarms():
            return alarms
        await asyncio.sleep(0.001)
    raise AssertionError("no alarm")


async def test_a_call_is_kept_scrubbed_with_its_answer_and_policy(world, tmp_path):
    """With the input that the template leaves; what names somebody never reaches the disk."""
    await world.ask("my card is gone, mail ann.berg@example.com")
    (kept,) = await captured(world)
    assert (kept.job, kept.input, kept.answer) == ("j1", "my card is gone, mail <EMAIL_1>", "lost")
    assert (kept.policy, kept.propensity, kept.api, kept.label) == ("model:large", 1.0, "chat", Label.INTERNAL)
    assert kept.prompt == (("user", "Name the intent: my card is gone, mail <EMAIL_1>"),)
    assert kept.request in [event.about["trace"] for event in world.network.audit.events]
    assert kept.caller not in {"", "u"}
    on_disk = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert b"ann.berg" not in on_disk
    assert b"card is gone" in on_disk


async def test_a_shadow_answers_after_the_answer_and_nobody_sees_it(world):
    """Its answer is compared with the model's."""
    made = await world.deploy(1)
    response = await world.ask("what is this fee")
    assert world.narrow.asked == []
    assert response.json()["choices"][0]["message"]["content"] == "lost"
    await world.live.settle()
    (row,) = await world.books.store.comparisons(made.id)
    assert (row.answer, row.same, row.accepted, row.confidence) == ("fee", False, True, 0.95)


async def test_under_load_shadows_are_left_out_and_then_calls(world, monkeypatch, caplog):
    """Both are counted, and the log says it once a minute; the callers notice nothing."""
    monkeypatch.setattr("coterie.flywheel.live._SHADOWS_UP_TO", -1)
    await world.deploy(1)
    world.live._queue._maxsize = 3
    content = {"messages": [{"role": "user", "content": "Name the intent: x y"}]}
    for number in range(5):
        entered = world.live.enter(
            trace_id=f"t{number}",
            time=NOW,
            path="/chat/completions",
            content=content,
            model="large",
            principal=Principal(),
            label=Label.INTERNAL,
        )
        world.live.leave(entered, "lost", model="large")
    assert len(await captured(world)) == 3
    assert (world.live.counts["dropped"], world.live.counts["shadows_left_out"] > 0) == (2, True)
    assert [record.levelname for record in caplog.records if record.name == "coterie.flywheel"] == ["WARNING"]


async def test_a_champion_answers_in_the_models_place(world):
    """Without asking the model, in the shape of its server, with trace and ledger; what it is unsure of goes on."""
    made = await world.deploy(3)
    response = await world.ask("what is this fee")
    assert world.model.asked == []
    body = response.json()
    assert (body["object"], body["model"], body["choices"][0]["message"]["content"]) == (
        "chat.completion",
        "large",
        "fee",
    )
    assert response.headers["x-coterie-egress"] == "none"
    trace = await world.network.store.trace(response.headers["x-coterie-trace"], "default")
    assert (trace.status, trace.route.reason.code) == ("accepted", "route.deployed")
    streamed = await world.ask("what is this fee", stream=True)
    assert streamed.text.endswith("data: [DONE]\n\n")
    assert '"content":"fee"' in streamed.text
    unsure = await world.ask("something odd")
    assert unsure.json()["choices"][0]["message"]["content"] == "lost"
    first, _, last = await captured(world)
    assert (first.policy, first.by_specialist, first.confidence) == (made.id, True, 0.95)
    assert (last.policy, last.confidence) == ("model:large", 0.95)


@pytest.mark.parametrize(
    "wish",
    [
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"n": 2},
        {"response_format": {"type": "json_object"}},
        {"logprobs": True},
    ],
)
async def test_what_an_answer_of_a_label_does_not_fulfil_goes_to_the_model(world, wish):
    """Tools, several answers, JSON, probabilities."""
    await world.deploy(3)
    await world.ask("what is this fee", **wish)
    assert len(world.model.asked) == 1


async def test_responses_and_completions_have_their_own_shape(world):
    """Each as the official client reads it."""
    await world.deploy(3)
    async with world.client() as client:
        response = await client.post("/v1/responses", json={"model": "large", "input": "Name the intent: the fee"})
        old = await client.post("/v1/completions", json={"model": "large", "prompt": "Name the intent: the fee"})
    assert response.json()["output"][0]["content"][0]["text"] == "fee"
    assert old.json()["choices"][0]["text"] == "fee"
    assert world.model.asked == []


async def test_messages_are_relayed_captured_and_answered(world):
    """Anthropic's API: the model's answer verbatim, then the champion's in its shape, whole and streamed."""
    body = {
        "model": "large",
        "max_tokens": 50,
        "metadata": {"user_id": "u1"},
        "system": "Be brief.",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Name the intent: the fee"}]}],
    }
    async with world.client() as client:
        assert (await client.post("/v1/messages", json=body)).status_code == 200
        (kept,) = await captured(world)
        await world.deploy(3)
        response = await client.post("/v1/messages", json=body)
        streamed = await client.post("/v1/messages", json=body | {"stream": True})
        await client.post("/v1/messages", json=body | {"thinking": {"type": "enabled", "budget_tokens": 9}})
    assert (kept.api, kept.answer, kept.prompt[0]) == ("messages", "lost", ("system", "Be brief."))
    assert kept.caller != ""
    assert response.json()["content"] == [{"type": "text", "text": "fee"}]
    events = [json.loads(line[5:]) for line in streamed.text.splitlines() if line.startswith("data:")]
    assert [event["type"] for event in events][::5] == ["message_start", "message_stop"]
    assert read_answer(streamed.text) == "fee"
    assert len(world.model.asked) == 2


async def test_a_canary_is_sticky_by_session(world):
    """Half of the callers, each always or never; the propensity is kept."""
    made = await world.deploy(2)
    for i in range(40):
        for _ in range(2):
            await world.ask("what is this fee", user=f"u{i}")
    rows = await captured(world)
    by_caller = {}
    for row in rows:
        by_caller.setdefault(row.caller, set()).add(row.policy)
    assert all(len(policies) == 1 for policies in by_caller.values())
    local = sum(policies == {made.id} for policies in by_caller.values())
    assert 8 < local < 32
    assert {row.propensity for row in rows} == {0.5}


async def test_another_process_moves_it_and_the_server_follows(world, monkeypatch):
    """Without a restart, within two looks at the store; no request fails meanwhile."""
    monkeypatch.setattr("coterie.flywheel.live.POLL_SECONDS", 0.01)
    other = Deployments(store=world.books.store, clock=world.books.clock)
    made = await world.deploy(3)
    await roll_back(other, made.id, by="ann", reason="complaints")
    for _ in range(200):
        await world.ask("what is this fee")
        if world.model.asked:
            break
        await asyncio.sleep(0.01)
    assert world.model.asked


async def test_a_version_that_is_gone_while_it_serves_goes_back(world):
    """An erased or damaged version is retired, the model answers, and people hear of it."""
    job = await world.books.job("triage")
    made = await world.books.begin(job, "b" * 16, by="x", reason="r", figures={}, changed=job)
    for _ in range(2):
        made = await promote(world.books, world.section, made.id, by="x", reason="r", force=True)
    await world.live.follow()
    assert (await world.books.deployment(made.id)).state == "retired"
    (alarm,) = await world.books.alarms()
    assert (alarm.kind, alarm.deployment, alarm.action) == ("damaged", made.id, "back to the model")
    assert (await world.ask("what is this fee")).json()["choices"][0]["message"]["content"] == "lost"


async def test_failures_go_to_the_model_and_raise_an_alarm(world):
    """Not one request fails; after five failures the job is the model's, in this process at once."""
    made = await world.deploy(3)
    world.narrow.broken = True
    for i in range(8):
        await world.ask("what is this fee", user=f"u{i}")
    assert len(world.model.asked) == 8
    await world.live.settle()
    alarms = await raised(world)
    assert (alarms[0].kind, alarms[0].deployment, alarms[0].action) == ("errors", made.id, "back to the model")
    assert alarms[0].command == "coterie retrain triage"
    assert (await world.books.deployment(made.id)).state == "retired"


async def test_a_fall_of_confidence_is_an_alarm(world):
    """Twenty answers calibrate it where no shadow did; then fifty unsure ones."""
    made = await world.deploy(3)
    for i in range(30):
        world.narrow.confidence = 0.9 + i % 10 / 200
        await world.ask(f"what is this fee {i}", user=f"u{i}")
    world.narrow.confidence = 0.3
    for i in range(60):
        await world.ask("what is this fee", user=f"v{i}")  # one text, and no change
    assert (await world.books.deployment(made.id)).state == "champion"
    for i in range(60):
        await world.ask(f"what is this fee of {i}", user=f"v{i}")
    await world.live.settle()
    alarms = await raised(world)
    assert (alarms[0].kind, bool(alarms[0].examples)) == ("confidence", True)
    assert (await world.books.deployment(made.id)).state == "retired"


async def test_an_edited_prompt_goes_to_the_model_until_both_agree(world):
    """Who edits a prompt wants other answers; thirty that are the same show that this edit wants the same ones."""
    job = await world.books.job("triage")
    made = await world.books.begin(job, "a" * 16, by="x", reason="r", figures={}, changed=job, wordings=1)
    for _ in range(3):
        made = await promote(world.books, world.section, made.id, by="x", reason="r", force=True)
    await world.live.follow()

    async def ask(words, texts):
        """Ask in these words; who answers the last text."""
        for text in texts:
            said = await world.ask(text, messages=[{"role": "user", "content": f"{words}: {text}"}])
            await world.live.settle()
        return "model" if "finding" not in said.text else "deployment"

    assert await ask("Name the intent", ["my card"]) == "deployment"
    differing, same = [f"fee {i}" for i in range(40)], [f"card {i}" for i in range(40)]
    assert await ask("Be brief. Name the intent", differing) == "model"
    assert await ask("Name the intent", ["fee"]) == "deployment"
    assert await ask("Name the intent, kindly", same[:30]) == "model"
    assert await ask("Name the intent, kindly", same[30:]) == "deployment"


async def test_the_api_shows_and_moves(world):
    """What the console does, over HTTP; a step that cannot be taken says why."""
    made = await world.deploy(1)
    await world.ask("what is this fee")
    (example,) = await captured(world)
    async with world.client() as client:
        jobs = (await client.get("/api/flywheel/jobs")).json()
        assert "jobs" in jobs, jobs
        assert (jobs["jobs"][0]["name"], jobs["jobs"][0]["calls"], jobs["captured"]["kept"]) == ("triage", 1, 1)
        item = (await client.get("/api/flywheel/review", params={"job": "triage"})).json()["item"]
        assert (item["example"], sorted(item["answers"])) == (example.id, ["fee", "lost"])
        assert (await client.get("/api/flywheel/review")).json()["item"] == item
        label_body = {"job": "triage", "action": "answer", "example": example.id, "value": "fee"}
        for wrong in (
            {**label_body, "exampel": "x"},
            {**label_body, "example": ""},
            {**label_body, "value": {"fee": 1}},
        ):
            assert (await client.post("/api/flywheel/review", json=wrong)).status_code == 400
        assert (await client.post("/api/flywheel/run", json={"dryrun": False})).status_code == 400
        done = (await client.post("/api/flywheel/review", json=label_body)).json()
        assert (done["item"], done["progress"]["labelled"]) == (None, 1)
        teacher = done["progress"]["teacher"]  # its one call is in the audit sample, or not: that is drawn by its id
        assert teacher in (
            {"share": None, "low": 0.0, "high": 1.0, "method": "exact", "worth": 0.0},
            {"share": 0.0, "low": 0.0, "high": 0.975, "method": "exact", "worth": 1.0},
        )
        path = f"/api/flywheel/deployments/{made.id}"
        refused = await client.post(path, json={"action": "promote", "reason": "now"})
        assert refused.status_code == 400
        moved = await client.post(path, json={"action": "promote", "reason": "now", "force": True})
        assert moved.json()["deployment"]["state"] == "canary"
        assert len((await client.get(path)).json()["steps"]) == 3
        (shown,) = (await client.get("/api/flywheel/deployments")).json()["deployments"]
        assert (shown["evidence"]["wins"], shown["share"]) == (1, 0.5)
        assert (await client.get("/api/flywheel/alarms")).json() == {"alarms": []}
        world.network.flywheel = None
        assert (await client.get("/api/flywheel/jobs")).status_code == 404


async def test_tenants_with_one_template_share_nothing(world, tmp_path):
    """The deployment of one answers no call of the other, whose admin sees and moves nothing of it."""
    made = await world.deploy(3)
    await world.ask("what is this fee")
    (example,) = await captured(world)
    await world.books.raise_alarm(world.books.alarm_of(made, "scope", figures={}, back=False))
    ring = KeyRing(tmp_path / "keys.json")
    ours, theirs = (ring.create(name, role="admin", tenant=name).token for name in ("default", "acme"))
    body = {"model": "large", "messages": [{"role": "user", "content": "Name the intent: what is this fee"}]}
    path, said = f"/api/flywheel/deployments/{made.id}", {"job": "triage", "example": example.id}
    async with world.client(ring, ours) as owner, world.client(ring, theirs) as other:
        answers = [await each.post("/v1/chat/completions", json=body) for each in (owner, other)]
        assert [each.json()["choices"][0]["message"]["content"] for each in answers] == ["fee", "lost"]
        assert {each.tenant: each.job for each in await captured(world)} == {"default": "j1", "acme": ""}
        assert len((await owner.get("/api/flywheel/jobs")).json()["jobs"]) == 1
        assert (await other.get("/api/flywheel/jobs")).json() == {"jobs": [], "captured": {}}
        assert (await other.get("/api/flywheel/deployments")).json() == {"deployments": []}
        assert (await other.get("/api/flywheel/alarms")).json() == {"alarms": []}
        for refused in (
            await other.get(path),
            await other.post(path, json={"action": "rollback", "reason": "mine"}),
            await other.get("/api/flywheel/review", params={"job": "triage"}),
            await other.post("/api/flywheel/review", json={**said, "action": "answer", "value": "fee"}),
            await other.post("/api/flywheel/review", json={**said, "action": "skip"}),
            await other.post("/api/flywheel/alarms/x", json={"action": "resolve"}),
        ):
            assert (refused.status_code, "triage" in refused.text.replace("'triage'", "", 1)) == (400, False)
        assert (await other.post("/api/flywheel/run", json={})).status_code == 403
        async with world.client(ring, ring.create("new", role="admin", clearance="public").token) as cleared:
            (job,) = (await cleared.get("/api/flywheel/jobs")).json()["jobs"]
            assert (job["calls"], job["examples"]) == (2, [])
            item = await cleared.get("/api/flywheel/review", params={"job": "triage"})
            assert (item.status_code, item.json()["item"]) == (200, None)
        assert (await owner.get(path)).json()["deployment"]["state"] == "champion"
        assert await world.books.store.labels(feedback=False) == []


async def test_without_capture_nothing_is_written(world, store):
    """Deployments answer all the same."""
    world.live._capture = CaptureSection()
    await world.deploy(3)
    await world.ask("what is this fee")
    assert await captured(world) == []
    assert world.model.asked == []


def test_the_same_value_has_the_same_placeholder():
    """Over all texts of a call; a town alone is left."""
    texts = ["mail ann@example.com or bob@example.com", "ann@example.com wrote", ""]
    assert scrub(texts, PatternDetector()) == ["mail <EMAIL_1> or <EMAIL_2>", "<EMAIL_1> wrote", ""]


class Single:
    """Takes a word by itself for a name, as a reader of sentences may, and `Ann` anywhere."""

    def find(self, text):
        """One name, or none."""
        at = 0 if " " not in text else text.find("Ann")
        if at >= 0 and text:
            yield PersonalData(kind=Kind.PERSON, start=at, end=at + 3 if " " in text else len(text), score=0.9)


def test_a_word_that_is_no_name_among_others_is_none_by_itself():
    """It stands in the prompt in clear; one that does not, or that was read as a name there, is replaced."""
    prompt = "Answer with billing or return. Note: it rains"
    assert scrub([prompt, "Billing"], Single()) == [prompt, "Billing"]
    assert scrub([prompt, "bill"], Single()) == [prompt, "<PERSON_1>"]
    named = scrub(["Is it for Ann", "Ann"], Single())
    assert "Ann" not in " ".join(named)


async def test_an_answer_that_is_a_label_of_its_job_is_kept_as_it_is(world, monkeypatch):
    """Whatever the detector takes it for: the label stands in the store already."""
    monkeypatch.setattr(world.live, "_detector", Single())
    await world.ask("my card is gone, but where to")
    (kept,) = await captured(world)
    assert kept.answer == "lost"


async def test_calls_without_a_job_are_kept_too(world):
    """They are what the next discovery looks at."""
    async with world.client() as client:
        body = {"model": "large", "messages": [{"role": "user", "content": "tell me a story"}]}
        await client.post("/v1/chat/completions", json=body)
    (kept,) = await captured(world)
    assert (kept.job, kept.input, kept.prompt) == ("", "", (("user", "tell me a story"),))
    assert replace(kept, id="x").by_specialist is False


async def test_a_typed_question_is_a_job_and_its_deployment_answers(world):
    """What the encoder guesses is captured as its answer; a champion answers in its place, with probabilities."""
    question = Question.choice(["lost", "fee"], "What is it about?", name="topic")
    first = await world.network.decide(Request(text="what is this fee"), [question])
    (kept,) = await captured(world)
    site = first.decisions[0].site
    assert kept.label == world.network.default_label
    assert (kept.job, kept.api, kept.answer, kept.policy) == (
        f"site-{site}",
        "decisions",
        first.decisions[0].choice,
        "model:encoder",
    )
    await world.books.put_job(KnownJob(id=f"site-{site}", name="topic", kind="site", labels=LABELS))
    job = await world.books.job("topic")
    made = await world.books.begin(job, "a" * 16, by="x", reason="r", figures={}, changed=job)
    for _ in range(3):
        made = await promote(world.books, world.section, made.id, by="x", reason="r", force=True)
    await world.live.follow()
    (decision,) = (await world.network.decide(Request(text="what is this fee"), [question])).decisions
    assert (decision.choice, decision.method, decision.accepted) == ("fee", "specialist", True)
    (unsure,) = (await world.network.decide(Request(text="odd"), [question])).decisions
    assert unsure.method == "similarity"
    assert {call.policy for call in await captured(world)} == {"model:encoder", made.id}


async def test_a_call_that_is_too_long_is_relayed_and_not_kept(world, monkeypatch):
    """Taking personal data out of megabytes takes minutes; such calls are counted."""
    monkeypatch.setattr(live_module, "LONGEST_CALL", 100)
    await world.ask("short")
    await world.ask("long " * 40)

    assert len(await captured(world)) == 1
    assert (world.live.counts["too_long"], len(world.model.asked)) == (1, 2)


async def test_what_is_not_scrubbed_when_a_server_stops_is_counted(world, monkeypatch):
    """It is lost, and says so; nothing of it is written unscrubbed."""
    monkeypatch.setattr(live_module, "_CLOSING_SECONDS", 0.0)
    for _ in range(3):
        await world.ask("text")
    await world.live.close()

    assert world.live.counts["unwritten"] + world.live.counts["kept"] == 3
    assert world.live.counts["unwritten"]
