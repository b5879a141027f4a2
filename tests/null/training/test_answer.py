"""Training an `answer` specialist: with questions and without, from passages in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from coterie.config.file import load_config
from coterie.errors import DataError, NotIndexed
from coterie.learning.calibration import accept_threshold, met_from
from coterie.learning.dataset import Row
from coterie.registry.registry import open_registry
from coterie.registry.version import Version
from coterie.routing.profile import PROFILE_FILE, Profile
from coterie.tasks.answer.default import load_defaults
from coterie.tasks.answer.fit import _Fit, _shown, asked_questions
from coterie.tasks.answer.fit_scoring import _beside, _usual, _Work, gather_corpus
from coterie.tasks.answer.model import AnswerSpecialist
from coterie.tasks.answer.reader import AnswerReader
from coterie.tasks.answer.rows import look_up_with
from coterie.tasks.answer.scoring import OUTCOME, ExpertGate
from coterie.tasks.versions import load_specialist
from coterie.testing import FakeRetriever, ScriptedEngine, ServerReply
from coterie.training.train import train
from coterie.types import ContextView, Entry, Label, Passage, Task

ASKED = {
    "law": (
        "Which law governs the contract?",
        "This agreement is governed by the law of {}.",
        ["Kent", "Essex", "York"],
    ),
    "term": ("How long does the contract run?", "It runs for {} months from signing.", ["12", "24", "36"]),
    "notice": ("How much notice is needed?", "Either party may end it with {} days notice.", ["30", "60", "90"]),
}
FILLER = [
    "The parties cooperate in good faith in all matters.",
    "Any message is sent to the address above.",
    "Goods are inspected on delivery by the buyer.",
    "No waiver is effective unless it is signed.",
    "The supplier keeps its books of account in order.",
]


def contracts(count: int, *, seed: int = 0) -> tuple[list[dict], list[Passage]]:
    """Questions with places, and a passage a contract; a clause is missing in some."""
    random = np.random.default_rng(seed)
    rows, passages = [], []
    for number in range(count):
        name, parts, places = f"contract-{seed}-{number}.txt", [], {}
        for kind in random.permutation(list(ASKED)):
            parts.append(str(random.choice(FILLER)))
            if random.random() < 0.6:
                sentence = ASKED[kind][1].format(random.choice(ASKED[kind][2]))
                start = len(" ".join(parts)) + 1
                places[kind] = [start, start + len(sentence)]
                parts.append(sentence)
        text = " ".join(parts)
        passages.append(Passage(document=name, start=0, end=len(text), text=text, score=0.0, label=Label.PUBLIC))
        rows += [
            {"question": question, "document": name, "answer": places.get(kind)}
            for kind, (question, _, _) in ASKED.items()
        ]
    return rows, passages


def folder_of(path: Path, rows: list[dict] | None, **section: object) -> Path:
    """A network with one `answer` specialist."""
    keys = {"task": "answer", "description": "What contracts say.", "knowledge": ["index"], **section}
    if rows is not None:
        keys["data"] = "questions.jsonl"
        (path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in keys.items())
    (path / "coterie.toml").write_text(f"[specialists.ask]\n{lines}\n\n[knowledge.index]\n")
    return path


def stored(folder: Path) -> Version:
    """The version that serves."""
    return open_registry(folder, load_config(folder).registry).champion("ask")


def champion(folder: Path, encoder: object) -> AnswerSpecialist:
    """The specialist that serves."""
    version, section = stored(folder), load_config(folder).specialists["ask"]
    specialist = load_specialist("ask", section, version, encoder=encoder, models={})
    assert isinstance(specialist, AnswerSpecialist)
    return specialist


def test_without_data_it_is_ready(tmp_path, encoder):
    """The reader that comes with Coterie is stored, with a profile of the index for the router."""
    _, passages = contracts(4)
    folder = folder_of(tmp_path, None)

    report = train(folder, encoder=encoder, indexes={"index": FakeRetriever(passages)}).to_json()["specialists"]["ask"]

    assert report["promoted"]
    assert report["rung"] == "embedding"
    assert report["rungs"] == []
    profile = Profile.from_bytes(stored(folder).files[PROFILE_FILE])
    assert profile.cold
    assert "What contracts say." in profile.names
    assert not champion(folder, encoder).reader.experts


@pytest.mark.slow
def test_what_is_asked_often_gets_experts(tmp_path, encoder):
    """The same questions of many contracts: answered on new ones, and silent where a clause is missing."""
    rows, passages = contracts(60)
    new_rows, new = contracts(20, seed=1)
    indexes = {"index": FakeRetriever([*passages, *new])}
    folder = folder_of(tmp_path, rows, target_risk=0.1)

    report = train(folder, encoder=encoder, indexes=indexes).to_json()["specialists"]["ask"]
    specialist = champion(folder, encoder)

    assert specialist.reader.experts is not None
    assert report["metrics"]["citation_precision"] >= 0.9
    look_up = look_up_with(indexes, specialist.card)
    right = 0
    for row in new_rows:
        task = Task(text=row["question"], columns={"document": row["document"]}, clearance=Label.INTERNAL)
        finding = asyncio.run(_ask(specialist, look_up, task))
        cited = [citation.start for citation in finding.citations]
        right += cited[:1] == row["answer"][:1] if row["answer"] else not cited
    assert right >= 0.9 * len(new_rows)


async def _ask(specialist, look_up, task):
    return await specialist.consult(task, await look_up(task))


@pytest.mark.slow
def test_the_same_data_give_the_same_version(tmp_path, encoder):
    """Nothing in a version depends on when or how often it was trained."""
    rows, passages = contracts(30)
    folder = folder_of(tmp_path, rows)
    first, second = (
        train(folder, encoder=encoder, indexes={"index": FakeRetriever(passages)}).specialists["ask"].version
        for _ in range(2)
    )

    assert first == second


def test_few_questions_leave_the_reader_as_it_is(tmp_path, encoder):
    """Below what can be calibrated on, the report says so."""
    rows, passages = contracts(3)
    folder = folder_of(tmp_path, rows)

    report = train(folder, encoder=encoder, indexes={"index": FakeRetriever(passages)}).to_json()["specialists"]["ask"]

    assert any("too few" in warning for warning in report["warnings"])


def test_what_is_above_the_default_label_leaves_no_trace_in_the_profile(tmp_path, encoder):
    """The router knows of no passage that the usual caller may not see."""
    _, passages = contracts(2)
    secret = Passage(document="secret.txt", start=0, end=6, text="contract secret", score=0.0, label=Label.RESTRICTED)
    folder = folder_of(tmp_path, None)
    train(folder, encoder=encoder, indexes={"index": FakeRetriever([*passages, secret])})

    profile = Profile.from_bytes(stored(folder).files[PROFILE_FILE])
    assert not any("secret" in name for name in profile.names)


def test_a_broken_file_is_explained_before_anything_is_trained(tmp_path, encoder):
    """The message names the line; nothing is stored."""
    folder = folder_of(tmp_path, [{"question": "Which law?", "answer": [1, 2]}])

    with pytest.raises(DataError, match="line 1"):
        train(folder, encoder=encoder, indexes={"index": FakeRetriever([])})
    assert not (folder / "registry" / "ask").exists()


def test_an_empty_index_is_pointed_out_before_anything_is_trained(tmp_path, encoder):
    """Without an index the message names the index and the command."""
    folder = folder_of(tmp_path, None)

    with pytest.raises(NotIndexed, match="'index'") as caught:
        train(folder, encoder=encoder)
    assert "coterie index index" in caught.value.hint


def test_a_risk_that_cannot_be_shown_is_still_kept_on_the_questions():
    """The questions show a laxer risk only: the threshold holds it, and not more were wrong than is wanted."""
    confidence, right = np.linspace(1.0, 0.5, 200), np.arange(200) % 2 == 0
    right[:100] = ~np.isin(np.arange(100), [30, 50, 70, 90])

    threshold, risk = _shown(confidence, right, list(range(200)), 0.06, met=0.03)

    assert risk == 0.15
    assert threshold.value == confidence[69]
    assert (~right[confidence >= threshold.value]).mean() <= 0.03
    assert (threshold.reason.code, threshold.reason.values["target"]) == ("threshold.raised", 0.03)


def test_a_smaller_risk_of_a_few_answers_does_not_silence_the_others():
    """A third of them shows an error of 10%; all of them met the target of 5%, and show 15%: all are given."""
    topics = np.concatenate([1 + np.arange(78) % 39, np.tile(np.arange(40), 20)])
    right = np.concatenate([np.ones(78, dtype=bool), np.tile(np.arange(40) > 0, 20)])
    confidence = np.linspace(1.0, 0.8, len(right))
    few = accept_threshold(confidence, right, target_risk=0.1, groups=topics.tolist())

    threshold, risk = _shown(confidence, right, topics.tolist(), 0.05, met=0.05)

    assert few.value is not None
    assert few.value > 0.9
    assert risk == 0.15
    assert threshold.value == confidence[-1]


def test_one_wording_taken_for_another_is_one_mistake_however_many_documents_are_asked():
    """Where a tenth is wrong, it tells whether that is one topic of ten or one document in ten."""
    rows, documents = 40, 30
    topics, names = np.repeat(np.arange(rows), documents), np.tile(np.arange(documents), rows)
    sure = np.tile(np.linspace(0.8, 0.9, documents), rows)
    thresholds = []
    for wrong in (topics < 4, (7 * topics + names) % 10 == 0):
        reader = AnswerReader(plain=load_defaults().readers["embedding"].plain)
        fit = _Fit(reader, sure, np.ones(rows * documents), ~wrong, ~wrong)
        corpus = SimpleNamespace(
            asked=[SimpleNamespace(stated=True)] * len(wrong),
            groups=lambda: [f"document {name}" for name in names],
            topics=[f"topic {topic}" for topic in topics],
        )
        job = SimpleNamespace(section=SimpleNamespace(target_risk=0.15))
        fit.decide(job, corpus, [ExpertGate(np.ones(1), 0.7)] * len(wrong))
        thresholds.append(fit.risks["answering"])

    assert thresholds[0] > 0.15
    assert thresholds[1] == 0.15


def test_beside_the_best_sentence_nothing_is_cited_in_new_words_that_is_not_shown():
    """What stands beside is wrong for whole topics: then too few topics show anything, in whatever many documents."""
    question_count, topics = 1_200, np.arange(1_200) % 12
    before = np.arange(question_count) >= question_count // 2
    limits = {}
    for name, wrong in (("topics", topics == 0), ("documents", np.arange(question_count) % 13 == 0)):
        questions = [SimpleNamespace(answers=np.array([True, not is_wrong])) for is_wrong in wrong]
        corpus = SimpleNamespace(asked=questions, topics=[f"topic {topic}" for topic in topics])
        limits[name] = _beside(corpus, [np.array([5.0, 4.0])] * question_count, 0.85, before, anew=True)  # type: ignore[arg-type]

    assert limits["topics"][True] == limits["documents"][True] == limits["documents"][False] == 4.0
    assert limits["topics"][False] > 12.0  # no log-odds are


@pytest.mark.slow
def test_a_question_left_out_is_told_from_as_many_questions_as_others(encoder):
    """To act as if a question were new, one question is left out of every kind that has several."""
    rows, passages = contracts(12)
    rewordings = {"Which law governs the contract?": "Whose law applies?", "How much notice is needed?": "What notice?"}
    rows = [
        row | {"question": rewordings.get(row["question"], row["question"]) if number % 6 > 2 else row["question"]}
        for number, row in enumerate(rows)
    ]
    topics = rewordings | {other: other for other in rewordings.values()}
    corpus = asyncio.run(_gathered([row | {"topic": topics.get(row["question"], "term")} for row in rows], passages))
    corpus.encode(encoder.encode)
    kept = {topic: index for index, topic in enumerate(dict.fromkeys(corpus.topics))}
    work = _Work(corpus=corpus, topics=corpus.topics, kept=kept, seed=0)

    others = work._others("What notice?")

    left = [text for text, stays in zip(work.asked, others, strict=True) if stays]
    assert "What notice?" not in left
    assert "How much notice is needed?" in left
    assert "How long does the contract run?" in left  # the only one of its kind
    assert len({"Which law governs the contract?", "Whose law applies?"}.intersection(left)) == 1


async def _gathered(rows, passages):
    index = FakeRetriever(passages)

    async def look_up(task):
        passages = await index.search(task.text, k=20, clearance=Label.PUBLIC, document=task.columns["document"])
        return ContextView(
            entries=tuple(
                Entry(content=passage, producer="index", label=passage.label, time=0.0) for passage in passages
            )
        )

    questions = [
        Row(
            text=row["question"],
            columns={"document": row["document"], "topic": row["topic"]},
            evidence=(tuple(row["answer"]),) if row["answer"] else (),
            group=row["document"],
        )
        for row in rows
    ]
    return await gather_corpus(questions, look_up, label=Label.PUBLIC, advance=lambda _: None)


@pytest.mark.parametrize(("right", "met"), [([True] * 30, 0.5), ([False] * 30, None), ([True] * 10, None)])
def test_where_the_target_was_met(right, met):
    """The lowest confidence of enough answers; none where all are wrong, or they are too few."""
    confidence = np.linspace(0.5, 1.0, len(right))

    assert met_from(confidence, np.array(right), 0.1) == met


def test_a_kind_whose_answers_are_wrong_more_often_than_they_look_is_less_sure():
    """What is known of a kind is learnt in known words, each fold by the others, and mixed for one of several kinds."""
    random, count = np.random.default_rng(0), 400
    kinds, folds = np.arange(count) % 2, np.arange(count) // 2 % 4
    right = random.random(count) < np.where(kinds == 0, 0.9, 0.4)
    gates = [ExpertGate(np.eye(2)[kind], 1.0) for kind in kinds] + [ExpertGate(np.array([0.5, 0.5]), 0.7)] * 4
    outcomes = np.zeros((count + 4, len(OUTCOME)))
    before = np.array([True] * count + [False] * 4)

    usual, seen = _usual(outcomes, np.append(right, [False] * 4), np.append(folds, range(4)), gates, before)

    assert usual[0] > 1 > -0.5 > usual[1]
    assert (seen[:count] > 0).tolist() == (kinds == 0).tolist()
    assert np.allclose(seen[count:], usual.mean(), atol=0.2)
    assert len(set(np.round(seen[:count], 9))) == 8


# --- A larger model that chooses

LARGE = """
[models.large]
engine = "openai"
base_url = "{url}"
name = "large-1"
clearance = "{clearance}"
retries = 0
price_in = 10
price_out = 30
"""


def with_large(folder: Path, url: str, *, clearance: str = "internal") -> Path:
    """The folder with a model behind a server."""
    with (folder / "coterie.toml").open("a") as file:
        file.write(LARGE.format(url=url, clearance=clearance))
    return folder


def knowing(body: Mapping[str, Any]) -> ServerReply:
    """What a model says that knows the answer to every public question."""
    text = body["messages"][-1]["content"]
    (question,) = {
        candidate.offered.question: candidate
        for candidate in asked_questions()[1]
        if candidate.offered.question in text
    }.values()
    right = np.flatnonzero(question.answers)
    return ServerReply(text=str(right[0] + 1 if len(right) else 0))


def test_a_larger_model_is_asked_what_its_choice_is_worth(tmp_path, encoder, giant):
    """Public questions only, so many; one that knows more answers more. It is asked nothing twice."""
    _, passages = contracts(4)
    keys = {"rungs": ["embedding", "llm"], "model": "large", "calibration_calls": 120}
    folder = with_large(folder_of(tmp_path, None, **keys), giant.server.base_url, clearance="public")
    giant.server.default = knowing

    report = train(folder, encoder=encoder, indexes={"index": FakeRetriever(passages)}).to_json()["specialists"]["ask"]

    assert len(giant.server.requests) == 120
    described = json.loads(stored(folder).files["model.json"])
    assert described["choosing"]["model"] == "large"
    assert described["choosing"]["lines"]["bonus"] > 0
    assert "chooses where the reader is not sure" in report["reason"]

    version, section = stored(folder), load_config(folder).specialists["ask"]
    specialist = load_specialist("ask", section, version, encoder=encoder, models={"large": ScriptedEngine(["1"])})
    assert specialist.chooser is not None
    assert specialist.chosen.answering.threshold == described["choosing"]["answering"]["threshold"]

    train(folder, encoder=encoder, indexes={"index": FakeRetriever(passages)})
    assert len(giant.server.requests) == 120


@pytest.mark.parametrize(
    ("says", "why"),
    [
        (ServerReply(text="Dear customer,"), "0 of its 60 answers name a sentence"),
        (ServerReply(text="1"), "answers no more of them"),
        (ServerReply.refused(500, "out of order"), "its choices could not be measured"),
    ],
)
def test_a_larger_model_that_is_not_up_to_it_only_words(tmp_path, encoder, giant, says, why):
    """The report says why, and the version is as good as without it."""
    _, passages = contracts(4)
    keys = {"rungs": ["embedding", "llm"], "model": "large", "calibration_calls": 60}
    folder = with_large(folder_of(tmp_path, None, **keys), giant.server.base_url)
    giant.server.default = says

    report = train(folder, encoder=encoder, indexes={"index": FakeRetriever(passages)}).to_json()["specialists"]["ask"]

    assert (report["rung"], report["promoted"]) == ("llm", True)
    assert why in " ".join(report["warnings"])
    assert "choosing" not in json.loads(stored(folder).files["model.json"])


def test_a_larger_model_is_not_asked_where_none_is_wanted(tmp_path, encoder, giant):
    """`calibration_calls = 0`: not a single request."""
    _, passages = contracts(4)
    keys = {"rungs": ["embedding", "llm"], "model": "large", "calibration_calls": 0}
    folder = with_large(folder_of(tmp_path, None, **keys), giant.server.base_url)

    report = train(folder, encoder=encoder, indexes={"index": FakeRetriever(passages)}).to_json()["specialists"]["ask"]

    assert report["rung"] == "llm"
    assert not giant.server.requests
