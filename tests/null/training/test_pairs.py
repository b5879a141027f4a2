"""`pairs`: documents, hypotheses, and the clauses that decide."""

import asyncio
import json

import pytest

from coterie import open_network
from coterie.config.file import load_config
from coterie.errors import ArtefactRefused, ConfigError
from coterie.learning.dataset import Row
from coterie.learning.measure import consult_rows
from coterie.registry.registry import open_registry
from coterie.routing.profile import PROFILE_FILE, Profile
from coterie.tasks.versions import load_specialist
from coterie.testing import check_specialist
from coterie.training.train import train
from coterie.types import ContextView, Reason, Request, Task

PAIRS = {
    "task": "pairs",
    "pair_column": "hypothesis",
    "group_column": "document",
    "target_risk": 0.1,
    "writes": ["stated"],
}


def served(folder, encoder, **changes):
    """The champion, loaded as serving loads it."""
    config = load_config(folder)
    section = config.specialists["it"].model_copy(update=changes)
    version = open_registry(folder, config.registry).champion("it")
    return load_specialist("it", section, version, encoder=encoder, models={})


def ask(who, text, hypothesis):
    return asyncio.run(who.consult(Task(text=text, columns={"hypothesis": hypothesis}), ContextView()))


def found(who, rows):
    made = [Row(text=row["text"], columns={"hypothesis": row["hypothesis"]}, labels=(row["label"],)) for row in rows]
    return asyncio.run(consult_rows(who, made))


@pytest.mark.parametrize("rung", ["lexical", "embedding"])
def test_learns_from_evidence(trained, leases, encoder, tmp_path, rung):
    """Each rung says what held-out documents state, and the clause that decides is the first quote."""
    report = trained({**PAIRS, "rungs": [rung]}, leases(60), test=leases(20, seed=1)).specialists["it"].report
    who, rows = served(tmp_path, encoder), leases(20, seed=1)
    findings = found(who, rows)

    assert report["rung"] == who.card.rung == rung
    assert report["metrics"]["accuracy"] > 0.9
    assert who.card.columns == ("hypothesis",)
    for row, finding in zip(rows, findings, strict=True):
        quotes = [evidence for evidence in finding.evidence if evidence.kind == "quote"]
        assert all(row["text"][quote.start : quote.end] == quote.text for quote in quotes)
        if row["evidence"] and finding.value == row["label"]:
            assert row["evidence"][0] == quotes[0].text
        if finding.value == "silent":
            assert not quotes


def test_keeps_the_contract(trained, leases, encoder, tmp_path):
    """A specialist of pairs keeps the contract of specialists, with a second text and without one."""
    trained({**PAIRS, "rungs": ["embedding"]}, leases(40))
    who, row = served(tmp_path, encoder), leases(1, seed=3)[0]

    for columns in ({"hypothesis": row["hypothesis"]}, {"hypothesis": "Visitors may stay."}, None):
        asyncio.run(check_specialist(who, Task(text=row["text"], columns=columns)))


def test_a_request_finds_it_by_its_column(network, leases):
    """A document with the pair's column reaches it through the network's router, and the quotes keep their places."""
    folder = network({"it": {**PAIRS, "rungs": ["embedding"]}}, it=leases(40))
    train(folder)
    row = next(row for row in leases(9, seed=3) if row["evidence"])

    async def answer():
        opened = await open_network(folder)
        try:
            return await opened.ask(Request(text=row["text"], columns={"hypothesis": row["hypothesis"]}))
        finally:
            await opened.close()

    trace = asyncio.run(answer()).trace
    quote = trace.findings[0].evidence[0]

    assert "the input has 1 of its 1 columns" in str(trace.route.reason)
    assert row["text"][quote.start : quote.end] == quote.text == row["evidence"][0]


def test_learns_without_evidence(trained, leases, encoder, tmp_path):
    """Where no row has evidence it is inferred, and what documents state is still found mostly."""
    bare = leases(80, evidence=False)
    report = trained({**PAIRS, "rungs": ["lexical"]}, bare, test=leases(20, seed=1, evidence=False))
    rung = report.specialists["it"].report["rungs"][0]

    assert rung["evidence"] == {"rows": 0, "labels": ["no", "silent", "yes"]}
    assert rung["held_out"]["accuracy"] > 0.8


def test_one_record_may_hold_many_pairs(trained, leases):
    """A file that holds each document once gives the version that repeated texts give, but for the file's checksum."""
    rows = leases(30)
    packed: dict[str, dict] = {}
    for row in rows:
        pair = {key: row[key] for key in ("hypothesis", "label", "evidence")}
        record = packed.setdefault(row["text"], {"text": row["text"], "document": row["document"], "pairs": []})
        record["pairs"].append(pair)
    section = {**PAIRS, "rungs": ["lexical"]}
    flat = trained(section, rows).specialists["it"].report
    folded = trained(section, packed.values()).specialists["it"].report

    assert len(packed) == 30
    assert flat["rungs"] == folded["rungs"]


def test_a_new_hypothesis_is_not_accepted(trained, leases, encoder, tmp_path):
    """A hypothesis that training did not have gets an answer with the reason to doubt it, and is not accepted."""
    trained(PAIRS, leases(60))
    who, text = served(tmp_path, encoder), leases(1, seed=9)[0]["text"]
    new, familiar = ask(who, text, "Visitors may stay overnight."), ask(who, text, " the TENANT may keep pets")

    assert not new.accepted
    assert new.in_scope == 0.0
    assert "note.untrained_pair" in new.reason.codes
    assert (familiar.in_scope, "note.untrained_pair" in familiar.reason.codes) == (1.0, False)


@pytest.mark.parametrize("columns", [None, {}, {"hypothesis": "  "}, {"hypothesis": 3}, {"other": "x"}])
def test_a_missing_second_text_is_an_abstention(trained, leases, encoder, tmp_path, columns):
    """Without the second text it abstains and says which column it needs."""
    trained({**PAIRS, "rungs": ["lexical"]}, leases(40))
    finding = asyncio.run(served(tmp_path, encoder).consult(Task(text="A lease.", columns=columns), ContextView()))

    assert (finding.value, finding.accepted) == (None, False)
    assert finding.reason == Reason("abstain.no_second_text", column="hypothesis")
    alone = asyncio.run(served(tmp_path, encoder).consult(Task(text="", columns=columns), ContextView()))
    assert alone.reason == Reason("abstain.no_text_and_columns", columns="hypothesis")


def test_a_document_is_read_once(trained, leases, encoder, tmp_path):
    """Questions about one document encode its clauses once, also when they come side by side; the first one pays."""
    trained({**PAIRS, "rungs": ["embedding"]}, leases(40))
    who, rows = served(tmp_path, encoder), leases(1, seed=5)
    encoder.prompts.clear()
    findings = found(who, rows)
    clauses = len(rows[0]["text"].split("\n"))

    assert len(encoder.prompts) == clauses
    assert sorted(sum(step.engine == "onnx" for step in finding.steps) for finding in findings) == [0, 0, 1]


def test_same_seed_gives_the_same_version(trained, leases):
    """Training twice gives the same version to the bit."""
    first, second = (trained(PAIRS, leases(30)).specialists["it"].version for _ in range(2))

    assert first == second


def test_a_document_of_another_length(trained, leases, encoder, tmp_path):
    """Training documents of one length do not make a shorter or longer one unanswerable."""
    trained({**PAIRS, "rungs": ["lexical"]}, leases(60))
    who, question = served(tmp_path, encoder), "The tenant may keep pets."
    short = "The flat has four rooms. The tenant may keep a dog or a cat. Waste is sorted by kind."
    long = short + " The owner may visit after a call." * 20

    assert [ask(who, text, question).value for text in (short, long)] == ["yes", "yes"]


def test_few_rows_answer_at_what_they_show(trained, leases):
    """Where nobody set a target, pairs that cannot show 5% answer at the smallest risk that they show, as texts do."""
    unset = {key: value for key, value in PAIRS.items() if key != "target_risk"}
    rows = [row for row in leases(36) if row["hypothesis"] == leases(1)[0]["hypothesis"]]

    free = trained({**unset, "rungs": ["lexical"]}, rows, test=rows).specialists["it"].report
    held = trained({**PAIRS, "target_risk": 0.05, "rungs": ["lexical"]}, rows, test=rows).specialists["it"].report

    assert free["rungs"][0]["threshold"]["value"] is not None
    assert any("its rows cannot show an error of 5% or below, only of" in warning for warning in free["warnings"])
    assert held["rungs"][0]["threshold"]["value"] is None


def test_many_hypotheses_of_few_rows(trained, leases, encoder, tmp_path):
    """Rows whose hypotheses are all different still train: each is answered by likeness, none from rows of its own."""
    rows = [{**row, "hypothesis": f"{row['hypothesis']} Clause {i}."} for i, row in enumerate(leases(20))]
    report = trained(PAIRS, rows).specialists["it"].report

    assert report["rungs"][1]["hypotheses"]["known"] == 0
    assert any(
        "no hypothesis is known: that takes 20 documents, and the most frequent one has 1." in w
        for w in report["warnings"]
    )
    assert report["rungs"][1]["hypotheses"]["other"] > 40
    assert ask(served(tmp_path, encoder), rows[0]["text"], rows[0]["hypothesis"]).value in {"yes", "no", "silent"}


def test_the_router_learns_the_hypotheses(trained, leases, tmp_path):
    """A pair's profile holds a vector a hypothesis, named by the column."""
    trained({**PAIRS, "description": "What a lease says."}, leases(40))
    config = load_config(tmp_path)
    files = open_registry(tmp_path, config.registry).champion("it").files

    assert Profile.from_bytes(files[PROFILE_FILE]).names == ("hypothesis",) * 3 + ("What a lease says.",)


def test_a_version_of_another_column_is_refused(trained, leases, encoder, tmp_path):
    """A version is not served with another second text than it was trained with."""
    trained({**PAIRS, "rungs": ["lexical"]}, leases(40))

    for column in ("question", None):
        with pytest.raises(ArtefactRefused, match=r"pair_column.*'hypothesis'"):
            served(tmp_path, encoder, pair_column=column)


def test_a_damaged_head_is_refused(trained, leases, encoder, tmp_path):
    """Arrays that do not fit the description are refused with the reason."""
    trained({**PAIRS, "rungs": ["lexical"]}, leases(40))
    config = load_config(tmp_path)
    version = open_registry(tmp_path, config.registry).champion("it")
    described = json.loads(version.files["model.json"])
    described["hypotheses"].append("one more")
    files = {**version.files, "model.json": json.dumps(described).encode()}

    with pytest.raises(ArtefactRefused, match="'decision'"):
        load_specialist(
            "it",
            config.specialists["it"],
            type(version)(**{**vars(version), "files": files}),
            encoder=encoder,
            models={},
        )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"task": "score"}, "a key of task 'pairs'; task 'score' has "),
        ({"multi_label": True}, "a key of task 'classify'; task 'pairs' has "),
        ({"pair_column": "text"}, "another column's name already"),
        ({"rungs": ["encoder"]}, "has 'lexical' and 'embedding'"),
    ],
)
def test_settings_that_do_not_fit(trained, leases, changes, says):
    """A setting that pairs cannot have is refused."""
    with pytest.raises(ConfigError, match=says):
        trained({**PAIRS, **changes}, leases(20))


def test_rows_to_learn_from_only(trained, leases):
    """Rows marked as learnt from only are in no calibration, and what they say is learnt."""
    rows = [*leases(12), *({**row, "made_up": True} for row in leases(60, seed=2))]
    section, test = {**PAIRS, "rungs": ["lexical"], "learn_only_column": "made_up"}, leases(20, seed=1)
    report = trained(section, rows, test=[{**row, "made_up": ""} for row in test]).specialists["it"].report

    assert report["rungs"][0]["learnt_only"] == 180
    assert report["rungs"][0]["hypotheses"]["known"] == 3  # which twelve documents alone would not make them
    assert "36 calibration" in report["rungs"][0]["threshold"]["reason"]
    assert report["metrics"]["accuracy"] > 0.9


def test_rows_to_learn_from_only_are_not_held_out(trained, leases):
    """Where training holds rows out itself, none of the marked ones is among them."""
    rows = [{**row, "made_up": n % 2} for n, row in enumerate(leases(60))]
    data = (
        trained({**PAIRS, "rungs": ["lexical"], "learn_only_column": "made_up"}, rows).specialists["it"].report["data"]
    )

    assert 0 < data["held_out"]["rows"] < 36
    assert data["train"]["rows"] == 144
