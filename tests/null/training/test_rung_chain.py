"""Several rungs of one specialist as a chain: what it answers, what it promises, what is refused."""

import asyncio
import json
from itertools import pairwise

import numpy as np
import pytest

from coterie.config.file import parse_config
from coterie.config.specialists import make_section
from coterie.errors import ArtefactRefused, ConfigError
from coterie.policy.cost_quality import CalibrationOutcomes, RungOutcomes
from coterie.registry.registry import Registry
from coterie.tasks.classify.fit import choose_stop
from coterie.tasks.versions import load_specialist
from coterie.types import AcceptanceOverride, ContextView, Reason, Task, worded

CHAIN = ("lexical", "embedding")
SECTION = {"task": "classify", "chain": CHAIN, "chain_quality": 0.9, "writes": ["intent"]}


def noisy(texts, *, each, seed=0):
    """Texts of which every sixth has no word that tells its label: two rungs differ there."""
    rows = texts(labels=3, each=each, seed=seed)
    for i in range(0, len(rows), 6):
        rows[i] = {**rows[i], "text": " ".join(word for word in rows[i]["text"].split() if len(word) < 5) or "why"}
    return rows


@pytest.fixture
def chained(trained, texts, tmp_path):
    """A chain trained on 900 rows, its report and its registry."""
    report = trained(SECTION, noisy(texts, each=300), test=noisy(texts, each=60, seed=9)).specialists["it"].report
    return report, Registry(tmp_path / "registry")


def loaded(registry, encoder, version=None):
    """The specialist as a network would have it."""
    section = make_section(data="x", **SECTION)
    return load_specialist("it", section, version or registry.champion("it"), encoder=encoder, models={})


def ask(specialist, text, **task):
    return asyncio.run(specialist.consult(Task(text=text, **task), ContextView()))


def rung(report, name):
    return next(row for row in report["rungs"] if row["rung"] == name)


def test_it_answers_as_its_rungs_do(chained, encoder, texts):
    """Each answer is that of the first rung that is sure enough, else of the last; steps are those of all asked."""
    chain = loaded(chained[1], encoder)
    seen = set()
    for row in noisy(texts, each=60, seed=9):
        finding, by_rung = ask(chain, row["text"]), {name: ask(link, row["text"]) for name, link in chain.links}
        first = by_rung["lexical"]
        by = "lexical" if first.confidence >= chain.stop and first.accepted else "embedding"
        asked_rungs = CHAIN[: CHAIN.index(by) + 1]
        assert (finding.value, finding.confidence) == (by_rung[by].value, by_rung[by].confidence)
        assert len(finding.steps) == sum(len(by_rung[name].steps) for name in asked_rungs)
        assert all(step.producer == "it" for step in finding.steps)
        assert finding.reason.notes[-1].values["rung"] == by
        assert finding.accepted == by_rung[by].accepted
        seen.add(by)

    assert seen == set(CHAIN)


def test_the_trace_shows_each_rung(chained, encoder):
    """A step says which rung it was, how sure that was and what it needed."""
    chain = loaded(chained[1], encoder)
    notes = [step.note for step in ask(chain, "why is my the now").steps]

    assert [note.split(":")[0] for note in notes] == ["rung lexical", "rung embedding", "rung embedding"]
    assert "needs" in notes[0] or "unlike" in notes[0]


def test_the_report_has_the_curve(chained):
    """Quality and what is asked at every stop; at the one taken they are what the chain came to on held-out rows."""
    report = chained[0]
    row = rung(report, "chain")
    taken = next(point for point in row["curve"] if point["stop"] == row["stop"]["value"])
    alone = row["curve"][0]

    assert report["rung"] == "chain"
    assert row["chain"] == list(CHAIN)
    assert 0.7 <= row["stop"]["value"] <= 0.99
    assert taken["accuracy"] == row["held_out"]["accuracy"]
    assert alone["accuracy"] == rung(report, "embedding")["held_out"]["accuracy"]
    assert (alone["asked"], taken["asked"][0]) == ([0.0, 1.0], 1.0)
    assert taken["asked"][1] < 1.0
    assert sum(taken["answered"]) == pytest.approx(1.0)


def test_the_rungs_are_those_that_are_trained_alone(chained, trained, texts, tmp_path):
    """Byte for byte what the rung's own training gives: nothing of a rung depends on the chain that it is in."""
    version = chained[1].champion("it")
    trained({"task": "classify", "rungs": ["lexical"]}, noisy(texts, each=300), test=noisy(texts, each=60, seed=9))
    single = chained[1].load("it", next(other for other in chained[1].versions("it") if other != version.version))

    for name in ("model.json", "weights.safetensors"):
        assert version.files[f"lexical-{name}"] == single.files[name]


def test_the_outcomes_of_the_whole_are_kept(chained):
    """The policy between a specialist and a generalist finds the chain's own outcomes."""
    files = chained[1].champion("it").files
    judged = CalibrationOutcomes.from_files(files)

    assert "lexical-calibration.safetensors" not in files
    assert judged.right.mean() == pytest.approx(rung(chained[0], "chain")["validation"]["accuracy"])


def test_what_the_policy_says_holds_for_the_whole(chained, encoder):
    """An answer of a cheap rung below the policy's line is not accepted, and writes no fact; one above is."""
    chain, text = loaded(chained[1], encoder), "my card pin was blocked"
    free = ask(chain, text)
    high, low = (
        ask(chain, text, acceptance_override=AcceptanceOverride(confidence=line, reason=worded("which keeps it")))
        for line in (1.1, 0.1)
    )

    assert free.accepted
    assert free.reason.notes == (Reason("note.rung", rung="lexical", after=""),)
    assert (high.accepted, high.facts) == (False, ())
    assert low.accepted
    assert "which keeps it" in str(low.reason)
    assert [fact.name for fact in low.facts] == ["intent"]


def test_few_rows_ask_the_last_rung_only(trained, texts, tmp_path, encoder):
    """Where nothing is shown of a cheap rung it is not asked at all, and that is said."""
    report = trained(SECTION | {"chain_quality": 0.99}, texts(labels=3, each=20)).specialists["it"].report
    chain = loaded(Registry(tmp_path / "registry"), encoder)

    assert chain.stop is None
    assert {step.note.split(":")[0] for step in ask(chain, "my card was stolen").steps} == {"rung embedding"}
    assert any("asks its last rung only" in warning for warning in report["warnings"])


def test_several_labels_at_once(trained, texts, tmp_path, encoder):
    """A chain of a specialist with several labels a text answers with several."""
    rows = texts(labels=3, each=120)
    joined = [
        {"text": f"{a['text']} {b['text']}", "label": sorted({a["label"], b["label"]})} for a, b in pairwise(rows)
    ]
    trained(SECTION | {"multi_label": True}, joined)
    section = make_section(data="x", **SECTION, multi_label=True)
    chain = load_specialist("it", section, Registry(tmp_path / "registry").champion("it"), encoder=encoder, models={})

    assert ask(chain, "card blocked parcel courier card parcel").value == ("card", "parcel")


# --- Damage --------------------------------------------------------------------------------------


def test_a_changed_rung_is_refused(chained):
    """A byte of one rung's file is enough: the version does not load."""
    registry = chained[1]
    version = registry.champion("it").version
    path = registry.root / "it" / version / "lexical-weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")

    with pytest.raises(ArtefactRefused, match="lexical-weights"):
        registry.champion("it")


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        ("lexical-model.json", {"labels": ["a", "b", "c"]}, "other labels"),
        ("lexical-model.json", {"rung": "embedding"}, "its rung 'lexical' is of 'embedding'"),
        ("model.json", {"links": ["embedding", "lexical"]}, "a chain of"),
        ("model.json", {"links": ["lexical"]}, "a chain of"),
        ("model.json", {"labels": ["card", "parcel"]}, "other labels"),
        ("model.json", {"links": ["lexical", "encoder"]}, "model.json"),
        ("model.json", {"stop": 0.1}, "it stops from 0.1"),
        ("model.json", {"stop": "high"}, "could not convert"),
    ],
)
def test_a_chain_that_does_not_fit_together_is_refused(chained, encoder, file, change, says):
    """Whoever makes a version of other parts with right checksums does not get it loaded."""
    registry = chained[1]
    version = registry.champion("it")
    files = {name: version.files[name] for name in version.files}
    files[file] = json.dumps(json.loads(files[file]) | change).encode()
    forged = registry.load("it", registry.add("it", files))

    with pytest.raises(ArtefactRefused, match=says):
        loaded(registry, encoder, forged)


# --- The promise ---------------------------------------------------------------------------------


def drawn(random, n):
    """What three rungs, each better than the one before, say of rows; true of themselves."""
    hard = random.normal(size=n)
    confidence = 1 / (1 + np.exp(-np.array([s - 1.3 * hard + 0.8 * random.normal(size=n) for s in (1.6, 2.6, 3.2)])))
    right, scope = random.random(confidence.shape) < confidence, random.random(confidence.shape) > 0.02
    return RungOutcomes(confidence=confidence, right=right, in_scope=scope, group=np.arange(n))


@pytest.mark.slow
@pytest.mark.parametrize("rows", [300, 1200])
def test_the_risk_is_held_over_random_draws(rows):
    """Of 200 chains at most about 5% accept answers of which more are wrong than said, or keep less than promised."""
    section = make_section(task="classify", data="x", chain=("lexical", "embedding", "encoder"), target_risk=0.05)
    random, risky, worse, answering = np.random.default_rng(rows), 0, 0, 0
    for _ in range(200):
        chosen, truth = choose_stop(section, drawn(random, rows)), drawn(random, 20_000)
        judged, line = truth.at(chosen.stop), chosen.shown.threshold.value
        answering += line is not None and chosen.stop is not None
        if line is not None:
            risky += (~judged.right[judged.confidence >= line]).mean() > chosen.shown.risk
        worse += judged.right.mean() < 0.99 * truth.right[-1].mean()

    assert risky <= 20  # the 99.9th percentile of 5% of 200
    assert worse <= 20
    assert answering > 150 or rows < 1000


def test_the_threshold_is_never_above_the_stop():
    """What a cheap rung answers is accepted, or it is not asked: nobody abstains where a better rung was left out."""
    section = make_section(task="classify", data="x", chain=("lexical", "embedding", "encoder"))
    random = np.random.default_rng(3)
    for rows in (60, 200, 700, 2000):
        chosen = choose_stop(section, drawn(random, rows))
        assert chosen.stop is None or chosen.shown.threshold.value <= chosen.stop


# --- Bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ('task = "classify"\nchain = ["lexical"]', "two or more of"),
        ('task = "classify"\nchain = ["embedding", "lexical"]', "in this order"),
        ('task = "classify"\nchain = ["lexical", "lexical"]', "each once"),
        ('task = "classify"\nchain = ["lexical", "slm"]', "Input should be 'lexical', 'embedding' or 'encoder'"),
        ('task = "classify"\nchain = ["lexical", "embedding"]\nrungs = ["lexical"]', "leave `rungs` out"),
        ('task = "score"\nchain = ["lexical", "embedding"]', "a key of task 'classify'; task 'score' has "),
        (
            'task = "pairs"\nchain = ["lexical", "embedding"]\npair_column = "b"',
            "a key of task 'classify'; task 'pairs' has ",
        ),
        ('task = "classify"\nchain = ["lexical", "embedding"]\nchain_quality = 1.5', "less than or equal to 1"),
        ('task = "classify"\nrungs = ["chain"]', "specialists.it.rungs"),
    ],
)
def test_a_chain_that_cannot_be_is_refused_before_training(settings, says):
    """The message says what was asked and what a chain takes."""
    with pytest.raises(ConfigError, match=says):
        parse_config(f'[specialists.it]\ndata = "x.csv"\n{settings}\n')


def test_a_chain_takes_the_place_of_the_rung_that_was_there(chained, trained, texts):
    """Trained again without `chain`, the specialist is a single rung again."""
    report = trained({"task": "classify", "rungs": ["lexical"]}, noisy(texts, each=100)).specialists["it"]

    assert report.report["rung"] == "lexical"
