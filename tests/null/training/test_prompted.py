"""The rung `llm`: examples chosen, answers calibrated, kept and paid for once, and nothing asked that was not named."""

import asyncio
import json

import numpy as np
import pytest

from coterie.assembly import open_network
from coterie.cli.app import main
from coterie.errors import (
    ArtefactRefused,
    ConfigError,
    CoterieError,
    EgressRefused,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
)
from coterie.learning.job import KeptAnswers, RememberingEngine, Silent
from coterie.registry.registry import Registry
from coterie.tasks.classify.fit_prompted import balanced, confidences, fit_agreement, sample
from coterie.testing import ScriptedEngine, ServerReply
from coterie.training.train import train
from coterie.types import Message, Output, Prompt, Request, Usage

MODEL = """
[models.giant]
engine = "openai"
base_url = "{url}"
name = "{name}"
clearance = "internal"
retries = 0
timeout = {timeout}
price_in = 10
price_out = 30
"""
SECTION = {"task": "classify", "rungs": ["llm"], "model": "giant", "calibration_calls": 70, "test_calls": 20}


@pytest.fixture
def folder(network, giant):
    """A network's folder with the model: `folder(rows, rungs=["llm"])`."""

    def build(rows, *, name="giant-1", timeout=10.0, **section):
        path = network({"it": {**SECTION, **section}}, it=rows)
        with (path / "coterie.toml").open("a") as file:
            file.write(MODEL.format(url=giant.server.base_url, name=name, timeout=timeout))
        return path

    return build


class Notes(Silent):
    """Remembers what was said."""

    def __init__(self):
        self.said = []

    def finish(self, note):
        self.said.append(note)


def row(report) -> dict:
    return next(rung for rung in report.specialists["it"].report["rungs"] if rung["rung"] == "llm")


def versions(folder) -> list[str]:
    versions_folder = folder / "registry" / "it"
    return sorted(path.name for path in versions_folder.iterdir() if path.is_dir()) if versions_folder.exists() else []


def test_it_is_trained_measured_and_stored(folder, texts, encoder, giant):
    """So many training rows and so many held-out rows are asked about; the report says how many, and the money."""
    report = train(folder(texts(labels=4, each=60)), encoder=encoder)
    rung, whole = row(report), report.specialists["it"].report

    assert len(giant.server.requests) == 90
    assert (whole["rung"], whole["metrics"]["accuracy"], whole["metrics"]["n"]) == ("llm", 1.0, 20)
    assert whole["data"]["held_out"]["rows"] == 20
    assert rung["questions"] == {"training": 70, "held_out": 20, "held_out_rows": 48}
    assert rung["form"] == "schema"
    assert rung["threshold"]["value"] is not None
    assert rung["held_out"]["coverage"] > 0.8
    tokens = rung["usage"]
    assert tokens["money"] == pytest.approx((tokens["tokens_in"] * 10 + tokens["tokens_out"] * 30) / 1e6)
    took = report.specialists["it"].took
    assert took.joules - 10 * took.cpu_seconds == pytest.approx(took.tokens_in + took.tokens_out)  # 1 J a token
    assert (took.tokens_in, took.tokens_out) == (tokens["tokens_in"], tokens["tokens_out"])
    assert any("192 training texts (internal)" in warning for warning in whole["warnings"])
    assert any("measured on 20 of 48 held-out rows" in warning for warning in whole["warnings"])


def test_no_row_sees_itself(folder, texts, encoder, giant):
    """Neither a row that is asked about nor one of the same text is among its own examples."""
    rows = texts(labels=3, each=30)
    train(folder([*rows, *rows[:9]]), encoder=encoder)

    for messages in giant.prompts:
        assert len(messages) == 18  # the instruction, eight examples, the text
        assert messages[-1]["content"] not in [message["content"] for message in messages[:-1]]


def test_what_it_may_cost_is_said_before(folder, texts, encoder, giant):
    """Questions, tokens and money are named; a second run has the answers and says so."""
    network_folder, notes = folder(texts(each=40)), Notes()
    train(network_folder, encoder=encoder, progress=notes)
    again = Notes()
    train(network_folder, encoder=encoder, progress=again)

    assert any(note.startswith("at most 90 questions, about") and "USD" in note for note in notes.said)
    assert any(note.startswith("at most 20 questions beside 70 answers that are kept") for note in again.said)


def test_nothing_is_paid_for_twice(folder, texts, encoder, giant):
    """The same training again asks nothing and gives the same version; prompts are not written down."""
    network_folder = folder(texts(each=40))
    first = train(network_folder, encoder=encoder).specialists["it"].version
    request_count = len(giant.server.requests)
    second = train(network_folder, encoder=encoder).specialists["it"].version
    kept = (network_folder / "state" / "answers.jsonl").read_text()

    assert (second, len(giant.server.requests)) == (first, request_count)
    assert giant.prompts[0][-1]["content"] not in kept


def test_a_server_that_fails_half_way(folder, texts, encoder, giant):
    """Its error says that the answers are kept; nothing is stored; the next run asks about the rest only."""
    network_folder, giant.fails_after = folder(texts(each=40)), 30
    with pytest.raises(EngineUnavailable, match="out of order") as failure:
        train(network_folder, encoder=encoder)

    assert "30 answers of 'giant'" in failure.value.hint
    assert versions(network_folder) == []

    failed, giant.fails_after = len(giant.server.requests), None
    train(network_folder, encoder=encoder)
    assert len(giant.server.requests) == failed + 60
    assert len(versions(network_folder)) == 1


@pytest.mark.parametrize("n", [1, 2, 70, 71, 90])
def test_whichever_question_fails(folder, texts, encoder, giant, n):
    """From the first to the last: an error, and no version."""
    network_folder, giant.fails_after = folder(texts(each=40)), n - 1
    with pytest.raises(EngineUnavailable):
        train(network_folder, encoder=encoder)

    assert versions(network_folder) == []


def test_a_server_that_never_answers(folder, texts, encoder, giant):
    """The time limit of the model ends it."""
    network_folder, giant.hangs = folder(texts(each=10), timeout=0.2), True
    with pytest.raises(EngineTimeout):
        train(network_folder, encoder=encoder)

    assert versions(network_folder) == []


def test_a_server_without_schemas(folder, texts, encoder, giant):
    """One that refuses a JSON Schema is asked without, and the version remembers it."""
    giant.refuses_schemas = True
    rung = row(train(folder(texts(each=40)), encoder=encoder))

    assert rung["form"] == "free"
    assert rung["held_out"]["accuracy"] == 1.0
    assert len(giant.server.requests) == 91


def test_a_server_that_refuses_everything(folder, texts, encoder, giant):
    """A wrong key, say: the refusal is raised after two tries."""
    giant.server.default = ServerReply.refused(401, "who are you?")
    with pytest.raises(EngineRejected, match="401"):
        train(folder(texts(each=10)), encoder=encoder)

    assert len(giant.server.requests) == 2


def test_a_model_that_names_no_label(folder, texts, encoder, giant):
    """Answers that are no labels are wrong; nothing is ever accepted, and the lexical rung is taken."""
    giant.answer = "As a large language model I cannot say."
    report = train(folder(texts(each=40), rungs=["lexical", "llm"]), encoder=encoder)
    rung = row(report)

    assert (rung["held_out"]["accuracy"], rung["held_out"]["coverage"], rung["threshold"]["value"]) == (0, 0, None)
    assert report.specialists["it"].report["rung"] == "lexical"


@pytest.mark.parametrize("label", ["confidential", "restricted"])
def test_texts_above_the_clearance(folder, texts, encoder, giant, label):
    """Training texts that the model may not see: refused before anything is sent or trained."""
    network_folder = folder(texts(each=10), data_label=label)
    with pytest.raises(EgressRefused, match=f"{label} data is above the clearance of 'giant', which is internal"):
        train(network_folder, encoder=encoder)

    assert not giant.server.connections
    assert versions(network_folder) == []


def test_nothing_is_asked_that_was_not_named(folder, texts, encoder, giant):
    """A specialist with a model, and without the rung, asks nobody."""
    network_folder = folder(texts(each=20), rungs=["lexical", "embedding"])
    train(network_folder, encoder=encoder)

    assert not giant.server.connections
    assert not (network_folder / "state" / "answers.jsonl").exists()


def test_the_rung_needs_a_model(network, texts, encoder):
    """Without one the file is refused with the place."""
    with pytest.raises(ConfigError, match=r"'llm'.*`model`"):
        train(network({"it": {"task": "classify", "rungs": ["llm"]}}, it=texts()), encoder=encoder)


def test_several_labels_a_text(folder, texts, encoder):
    """The rung names one label: a specialist of several has the others."""
    with pytest.raises(ConfigError, match=r"'llm'.*'classify'"):
        train(folder(texts(), multi_label=True), encoder=encoder)


def test_it_serves(folder, texts, giant):
    """The network asks it like any other specialist; with another model behind the key the version is refused."""
    network_folder = folder(texts(labels=2, each=40))
    train(network_folder)
    before = len(giant.server.requests)

    async def ask(text):
        network = await open_network(network_folder)
        try:
            return await network.ask(Request(text=text))
        finally:
            await network.close()

    answer = asyncio.run(ask("please my card was stolen today"))
    (finding,) = answer.trace.findings
    assert (finding.value, finding.accepted) == ("card", True)
    assert len(giant.server.requests) == before + 1
    step = next(step for step in finding.steps if step.engine == "giant")
    assert step.usage.cost > 0
    assert finding.verdicts[0].allowed

    text = (network_folder / "coterie.toml").read_text()
    (network_folder / "coterie.toml").write_text(text.replace('clearance = "internal"', 'clearance = "public"'))
    refused = asyncio.run(ask("please my card was stolen today"))
    assert not refused.accepted
    assert "internal data is above the clearance of 'giant'" in refused.text

    (network_folder / "coterie.toml").write_text(text.replace("giant-1", "giant-2"))
    with pytest.raises(ArtefactRefused, match=r"'giant-1'.*'giant'.*'giant-2'"):
        asyncio.run(ask("hello"))


def test_it_is_measured_on_another_file(folder, texts, giant, tmp_path, capsys):
    """`coterie eval` asks its model, and names the labels of the file that the version cannot give."""
    network_folder = folder(texts(labels=2, each=40))
    train(network_folder)
    (tmp_path / "other.csv").write_text("text,label\nplease my card was stolen,card\nwho won?,sport\n")
    before = len(giant.server.requests)
    code = main(["-C", str(network_folder), "eval", "it", "--data", str(tmp_path / "other.csv"), "--json"])
    document = json.loads(capsys.readouterr().out)

    assert code == 0
    assert (document["n"], document["accuracy"], document["unknown_labels"]) == (2, 0.5, {"sport": 1})
    assert len(giant.server.requests) == before + 2


def test_long_texts_are_counted(folder, texts, encoder, giant):
    """Held-out texts longer than the encoder's window are counted and named in the report."""
    encoder.max_tokens = 2
    report = train(folder(texts(each=40)), encoder=encoder)

    assert row(report)["held_out"]["truncated"] == 20
    assert any(
        "20 of 20 held-out texts are longer" in warning for warning in report.specialists["it"].report["warnings"]
    )


# --- Its parts -----------------------------------------------------------------------------------

PROMPT = Prompt(messages=(Message(role="user", text="which?"),))


async def test_kept_answers_outlive_a_killed_run(tmp_path):
    """A line that was cut off is passed over, and what comes after it is read."""
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b'{"asked": "x", "text": "cut')
    for _ in range(2):
        engine = ScriptedEngine([Output(text="card", logprob=-0.5, usage=Usage(tokens_in=7, tokens_out=1))])
        remembering = RememberingEngine(engine, KeptAnswers(path), identity="m", at_once=1)
        (output,) = await remembering.run([PROMPT])

    assert (output.text, output.logprob, output.usage.tokens_in) == ("card", -0.5, 7)
    assert (len(remembering.given), engine.left) == (1, 1)


@pytest.mark.parametrize("change", [{"identity": "other"}, {"seed": 1}, {"json_schema": {"type": "string"}}])
async def test_another_question_is_another_answer(tmp_path, change):
    """Answers belong to one model and one prompt, with all that decides them."""
    identity = change.pop("identity", "m")
    engine = ScriptedEngine(["one", "two"])
    await RememberingEngine(engine, KeptAnswers(tmp_path / "a"), identity="m", at_once=1).run([PROMPT])
    changed = Prompt(messages=PROMPT.messages, **change)
    other = RememberingEngine(engine, KeptAnswers(tmp_path / "a"), identity=identity, at_once=1)

    assert [output.text for output in await other.run([changed])] == ["two"]


async def test_a_full_disk(tmp_path, monkeypatch):
    """An answer that cannot be kept ends the asking: it would be paid for again."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    remembering = RememberingEngine(ScriptedEngine(["one"]), KeptAnswers(tmp_path / "a"), identity="m", at_once=1)
    with pytest.raises(CoterieError, match="No space left") as failure:
        await remembering.run([PROMPT])

    assert failure.value.code == "store_error"


def test_a_balanced_sample():
    """Of too many rows, a rare label keeps all of its own; the seed decides the rest."""
    labels = np.array([0] * 90 + [1] * 7 + [2] * 40)
    kept = balanced(labels, 40, seed=3)

    assert np.bincount(labels[kept]).tolist() == [17, 7, 16] or np.bincount(labels[kept]).tolist() == [16, 7, 17]
    assert kept.tolist() == sorted(set(kept.tolist())) == balanced(labels, 40, seed=3).tolist()
    assert balanced(labels, 1000, seed=3).tolist() == list(range(137))
    assert sample(5, 9, 0).tolist() == [0, 1, 2, 3, 4]
    assert len(set(sample(50, 9, 0).tolist())) == 9


def test_confidence_follows_what_tells():
    """A sign that tells right from wrong gets a weight, and out-of-part confidences are about right."""
    random = np.random.default_rng(0)
    votes = random.random(400)
    right = random.random(400) < votes
    signs = [{"vote": float(vote), "cosine": 0.5, "lead": 0.0} for vote in votes]
    fitted, computed = fit_agreement(signs, right), confidences(signs, right, seed=0)

    assert fitted.weights["vote"] > 3
    assert fitted.confidence({"vote": 0.9}) > 0.75
    assert fitted.confidence({"vote": 0.1}) < 0.25
    assert abs(computed[votes > 0.8].mean() - right[votes > 0.8].mean()) < 0.1


@pytest.mark.parametrize(("right", "confidence"), [([True] * 8, 0.9), ([False] * 8, 0.1), ([], 0.5)])
def test_confidence_without_a_difference(right, confidence):
    """Where all are right, or none, or there are none, a row more of each kind keeps it from certainty."""
    fitted = fit_agreement([{"vote": 0.5}] * len(right), np.array(right, dtype=bool))

    assert fitted.confidence({}) == pytest.approx(confidence)


def test_the_report_is_json(folder, texts, encoder):
    """The report of the rung is strict JSON."""
    network_folder = folder(texts(each=40))
    json.dumps(train(network_folder, encoder=encoder).to_json(), allow_nan=False)

    assert Registry(network_folder / "registry").champion("it").report["rung"] == "llm"
