"""Stored versions become specialists, or are refused with what is wrong."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from coterie.config.specialists import make_section
from coterie.engines.linear import (
    ARRAYS_FILE,
    MODEL_FILE,
    ColumnBins,
    LinearEngine,
    TableHead,
    TextHead,
    dump_head,
    fit_ngrams,
)
from coterie.engines.linear import NgramBlock as Block
from coterie.errors import ArtefactRefused, ConfigError, TooLong
from coterie.learning.scope import Neighbours, ScopeScore
from coterie.registry.version import Version
from coterie.runtime.codec import to_json
from coterie.specialists.parts import ADAPTER_FILE, Acceptance, Prompting, base_of
from coterie.tasks.classify.model import ClassifySpecialist
from coterie.tasks.score.model import ScoreSpecialist, TextModel, text_files
from coterie.tasks.versions import load_specialist
from coterie.testing import EchoEngine, ScriptedEngine, check_specialist
from coterie.types import ContextView, Output, SpecialistCard, Task

USUAL = Acceptance(temperature=1.3, threshold=0.4, target_risk=0.1, scope_threshold=-9.0)
ENCODER = EchoEngine("onnx", dimension=4)


def text_head(labels: int = 2) -> TextHead:
    features = fit_ngrams(["a card", "a parcel"], unit="word", shortest=1, longest=1, at_least=1, at_most=9)
    weights = np.arange(len(features.terms) * labels, dtype=np.float16).reshape(-1, labels)
    return TextHead(blocks=(Block(features=features, weights=weights),), kernel=None, bias=np.zeros(labels, np.float32))


def card(task: str, rung: str, columns=()) -> SpecialistCard:
    return SpecialistCard(name="it", task=task, description="", rung=rung, version="", columns=columns)


def classify(rung: str = "embedding") -> tuple[ClassifySpecialist, dict[str, bytes]]:
    """A classifier with a scope, and its files."""
    neighbours = Neighbours(axes=np.eye(4, 3, dtype=np.float16), rows=np.eye(5, 3, dtype=np.float16))
    scope = ScopeScore(nearness=(neighbours,), usual=np.ones((2, 2)))
    who = ClassifySpecialist(
        card=card("classify", rung),
        head=LinearEngine(text_head()),
        labels=("card", "parcel"),
        acceptance=USUAL,
        encoder=ENCODER if rung == "embedding" else None,
        scope=scope,
    )
    return who, dump_head(text_head(), who.describe()) | scope.to_files()


def score() -> tuple[ScoreSpecialist, dict[str, bytes]]:
    columns = (
        ColumnBins(name="income", kind="number", edges=(20.0,)),
        ColumnBins(name="text", kind="number", edges=(0.0,), gaps=True),
    )
    head = TableHead(columns=columns, base=0.1, main=(np.array([0.0, 1.0, -1.0]), np.array([0.2, -1.0, 1.0])), pairs={})
    who = ScoreSpecialist(
        card=card("score", "embedding", ("income", "note")),
        head=LinearEngine(head),
        bins=columns,
        importance={"income": 1.0, "text": 0.9},
        left_out={"age": "protected attribute"},
        positive="default",
        acceptance=USUAL,
        text=TextModel(head=LinearEngine(text_head()), encoder=ENCODER, column="text", source="note"),
    )
    return who, dump_head(head, who.describe()) | text_files(dump_head(text_head(), {}))


MADE = {"classify": classify(), "score": score()}


def stored(files) -> Version:
    return Version(name="it", version="0123456789abcdef", folder=Path("nowhere"), files=files)


def load(files, task: str = "classify", *, models=None, **section: object):
    described = make_section(task=task, data="x", **section)
    return load_specialist("it", described, stored(files), encoder=ENCODER, models=models or {})


@pytest.mark.parametrize("task", MADE)
async def test_is_what_was_stored(task):
    """A stored specialist, read back, finds the same."""
    before, files = MADE[task]
    after = load(files, task)
    question = Task(text="the card", columns={"income": 7, "age": 3})

    first, again = [await specialist.consult(question, ContextView()) for specialist in (before, after)]

    assert (again.value, again.confidence, again.reason) == (first.value, first.confidence, first.reason)
    assert again.evidence == first.evidence
    assert again.in_scope == first.in_scope
    assert after.describe() == before.describe()
    assert after.card.version == "0123456789abcdef"


def test_the_network_s_file_decides_what_it_reads_and_writes():
    """Description, reads and writes are the file's of today, not those of the training."""
    loaded = load(MADE["classify"][1], description="now this", reads=("a",), writes=("b",))

    assert (loaded.card.description, loaded.card.reads, loaded.card.writes) == ("now this", ("a",), ("b",))


def test_the_lexical_rung_gets_no_encoder():
    """A lexical specialist is not given the encoder: it would cost time and change nothing."""
    assert load(classify("lexical")[1]).encoder is None
    assert load(MADE["classify"][1]).encoder is ENCODER


def test_another_task_is_refused():
    """A version of another task than the file says is refused with both."""
    with pytest.raises(ArtefactRefused, match=r"'score'.*'classify'"):
        load(MADE["classify"][1], "score")


def changed(files, **changes: object):
    return files | {MODEL_FILE: json.dumps(json.loads(files[MODEL_FILE]) | changes).encode()}


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": ["card"]},
        {"labels": None},
        {"rung": None, "acceptance": {}},
        {"acceptance": asdict(USUAL) | {"temperature": 0}},
        {"acceptance": asdict(USUAL) | {"more": 1}},
        {"acceptance": []},
        {"columns": 3},
        {"head": "table"},
    ],
    ids=str,
)
def test_odd_classifiers_are_refused(changes):
    """A description that does not fit the head, or is not whole, is refused with the command that repairs it."""
    with pytest.raises(ArtefactRefused, match="cannot be read") as caught:
        load(changed(MADE["classify"][1], **changes))
    assert "coterie train" in caught.value.hint


@pytest.mark.parametrize(
    "changes",
    [
        {"importance": {"income": 1.0}},
        {"importance": {"income": 1.0, "text": "much"}},
        {"importance": []},
        {"left_out": None},
        {"bins": []},
        {"text": {"column": "text"}},
        {"text": 3},
    ],
    ids=str,
)
def test_odd_scores_are_refused(changes):
    """A score whose parts do not fit each other is refused."""
    with pytest.raises(ArtefactRefused, match="cannot be read"):
        load(changed(MADE["score"][1], **changes), "score")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x" * 20,
        save({"centroids": np.eye(2, 4, dtype=np.float16)}),
        save({"centroids": np.eye(3, 4, dtype=np.float16), "usual": np.ones((2, 2))}),
        save({"centroids": np.eye(2, 4, dtype=np.float16), "usual": np.zeros((2, 2))}),
        save({"axes": np.eye(4, 3, dtype=np.float16), "usual": np.ones((2, 2))}),
        save({"axes": np.eye(4, 3), "rows": np.eye(5, 2), "usual": np.ones((2, 2))}),
        save({"axes": np.eye(4, 3), "rows": np.empty((0, 3)), "usual": np.ones((2, 2))}),
    ],
    ids=range(8),
)
def test_odd_scopes_are_refused(content):
    """A scope of other labels, cut short or without spread is refused."""
    with pytest.raises(ArtefactRefused):
        load(MADE["classify"][1] | {"scope.safetensors": content})


def test_the_scope_of_an_older_version():
    """A version whose scope compares with centroids still loads, and gives the score that it always gave."""
    older = save({"centroids": np.eye(2, 4, dtype=np.float16), "usual": np.array([[1.0, 2.0], [0.5, 0.25]])})
    scope = load(MADE["classify"][1] | {"scope.safetensors": older}).scope

    (nearness,) = scope.nearness
    assert nearness.of(np.array([[0.6, 0.8, 0.0, 0.0]])) == pytest.approx([0.8])
    assert scope.score(np.array([3.0, 0.0]), np.array([0.6, 0.8, 0.0, 0.0])) == pytest.approx((1.0 + 1.2) / 2)
    assert scope.to_files()["scope.safetensors"] == older


@pytest.mark.parametrize("missing", [MODEL_FILE, ARRAYS_FILE, "text.model.json", "text.weights.safetensors"])
def test_missing_files_are_refused(missing):
    """A score without one of its files is refused."""
    with pytest.raises(ArtefactRefused):
        load({name: content for name, content in MADE["score"][1].items() if name != missing}, "score")


def test_a_text_model_of_three_labels_is_refused():
    """A text model that is no yes or no is refused."""
    files = MADE["score"][1] | text_files(dump_head(text_head(3), {}))

    with pytest.raises(ArtefactRefused, match="3 labels, not 2"):
        load(files, "score")


@pytest.mark.parametrize("odd", [b"", b"[]", b"null", b"{}", b"\xff\xfe", b"[" * 50_000], ids=range(6))
def test_odd_json_is_refused(odd):
    """A description that is no JSON object, or none at all, is refused."""
    with pytest.raises(ArtefactRefused):
        load(MADE["classify"][1] | {MODEL_FILE: odd})


# --- The rung slm --------------------------------------------------------------------------------

SMALL = EchoEngine("small")
DESCRIBED = {
    "task": "classify",
    "rung": "slm",
    "labels": ["card_arrival", "lost_parcel"],
    "prompt": to_json(Prompting(answer="Says:")),
    "base": {"name": "smollm2", "sha256": "b1"},
    "acceptance": asdict(USUAL),
}
ADAPTED = {MODEL_FILE: json.dumps(DESCRIBED).encode(), ADAPTER_FILE: b"GGUF"}


async def test_a_tuned_small_model_is_asked_with_its_adapter():
    """Its model is asked for the labels' words behind the prompt, with the adapter of the specialist's name."""
    who = load(ADAPTED, models={"small": SMALL}, model="small")
    await check_specialist(who, Task(text="the  card"))
    prompt = SMALL.prompts[0]

    assert (prompt.text, prompt.adapter) == ("Text: the card\nSays:", "it")
    assert prompt.choices == (" card arrival", " lost parcel")


async def test_a_tuned_small_model_decides_as_others():
    """Log-likelihoods are its logits: the likelier label is its value, with its probability."""
    engine = ScriptedEngine([Output(scores=np.log([0.2, 0.6]))], name="small")
    acceptance = asdict(USUAL) | {"temperature": 1.0}
    finding = await load(changed(ADAPTED, acceptance=acceptance), models={"small": engine}, model="small").consult(
        Task(text="a parcel"), ContextView()
    )

    assert (finding.value, finding.accepted) == ("lost_parcel", True)
    assert finding.confidence == pytest.approx(0.75)
    assert finding.in_scope == pytest.approx(np.log(0.6))
    assert [step.engine for step in finding.steps] == ["small"]


async def test_a_text_longer_than_the_window_is_cut_and_said_so():
    """A tuned model reads as much of a text as fits, and the finding says that it is the beginning only."""
    long = TooLong("too long")
    engine = ScriptedEngine([long, long, long, Output(scores=np.log([0.9, 0.1]))], name="small")
    who = load(ADAPTED, models={"small": engine}, model="small")
    finding = await who.consult(Task(text="card " * 100), ContextView())

    assert "note.text_truncated" in finding.reason.codes
    read = [len(prompt.text) for prompt in engine.prompts]
    assert read[0] == read[1] > read[2] > read[3] > 100


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({MODEL_FILE: ADAPTED[MODEL_FILE]}, "has no adapter.gguf"),
        (changed(ADAPTED, prompt=None), "cannot be read"),
        (changed(ADAPTED, prompt={"answer": ""}), "its prompt ends with nothing"),
        (changed(ADAPTED, prompt={"ask": "x"}), "cannot be read"),
        (changed(ADAPTED, labels=3), "cannot be read"),
    ],
    ids=range(5),
)
def test_odd_tuned_models_are_refused(files, found):
    """A version of the rung slm that is not whole is refused with what is missing."""
    with pytest.raises(ArtefactRefused, match=found):
        load(files, models={"small": SMALL}, model="small")


@pytest.mark.parametrize("model", [None, "big"])
def test_a_model_that_is_not_open_is_named(model):
    """A specialist whose model is missing from the network says which there are."""
    with pytest.raises(ConfigError, match=f"specialists.it.model is {model!r}; the open models are \\['small'\\]"):
        load(ADAPTED, models={"small": SMALL}, model=model)


def test_the_base_of_an_adapter():
    """A version with an adapter names its base; one without has none; one that does not say is refused."""
    assert base_of(stored(ADAPTED)) == "b1"
    assert base_of(stored({MODEL_FILE: b"{}"})) is None
    with pytest.raises(ArtefactRefused, match="does not say for which model"):
        base_of(stored({MODEL_FILE: b"{}", ADAPTER_FILE: b"GGUF"}))
