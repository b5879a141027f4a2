"""Training an `extract` specialist: made contracts, read by models that have not seen them."""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from coterie.cli.app import main
from coterie.config.file import load_config
from coterie.config.specialists import make_section
from coterie.errors import ArtefactRefused
from coterie.registry.registry import REGISTRY_FOLDER, Registry
from coterie.tasks.contract import read_dataset
from coterie.tasks.extract.fit import _shown
from coterie.tasks.extract.fit_tagging import field_models
from coterie.tasks.versions import load_specialist
from coterie.training.train import train
from coterie.types import ContextView, Task

FIELDS = {"parties": "text*", "signed": "date", "law": "choice", "notice": "duration"}
NAMES = ["Alder", "Birch", "Cedar", "Dogwood", "Elm", "Fir", "Ginkgo", "Hazel", "Ivy", "Juniper", "Larch", "Maple"]
STATES = ["New York", "Delaware", "Texas", "Ohio"]
MONTHS = ["January", "March", "May", "July", "October"]
FILLER = [
    "The parties shall cooperate in good faith in all matters of this Agreement.",
    "Any notice shall be in writing and sent to the address above.",
    "Fees are payable within sixty (60) days of an invoice.",
    "No waiver is effective unless signed by the waiving party.",
    "The supplier was founded on June 1, 1990 and keeps books of account.",
    "Confidential information stays confidential for five (5) years.",
    "The state of the goods is inspected on delivery in Texas or Ohio.",
]


def make_contracts(n: int, *, seed: int = 0, padding: int = 6) -> list[dict]:
    """Rows of `text`, `fields` and `contract`; law and notice are stated in some only."""
    random = np.random.default_rng(seed)

    def filler() -> list[str]:
        return [str(word) for word in random.choice(FILLER, padding)]

    rows = []
    for number in range(n):
        first, second = random.choice(NAMES, 2, replace=False)
        a, b = f"{first} Holdings Inc.", f"{second} Partners LLC"
        day, month, year = int(random.integers(1, 28)), str(random.choice(MONTHS)), int(random.integers(1995, 2024))
        date = f"{month} {day}, {year}"
        state, days = str(random.choice(STATES)), int(random.choice([30, 45, 90]))
        law = f"This Agreement shall be governed by the laws of the State of {state}." if random.random() < 0.7 else ""
        notice = (
            f"It renews for one (1) year unless a party gives {days} days notice of non-renewal."
            if random.random() < 0.6
            else ""
        )
        parts = [f"This Agreement is made as of {date} between {a} and {b}.", *filler(), law, *filler(), notice]
        rows.append(
            {
                "text": "\n".join(part for part in parts if part),
                "fields": {
                    "parties": [a, b],
                    "signed": {"text": date},
                    "law": {"text": law, "value": state} if law else None,
                    "notice": [{"text": notice, "value": f"{days} days"}] if notice else None,
                    "unused": "Agreement",
                },
                "contract": f"c{number}",
            }
        )
    return rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory, shared_encoder):
    """A network's folder whose specialist is trained on both rungs and measured on held-out contracts."""
    folder = tmp_path_factory.mktemp("extract")
    _write(folder, make_contracts(60), "contracts.jsonl")
    _write(folder, make_contracts(25, seed=1), "held_out.jsonl")
    _configure(folder, bar={"token_f1": 0.8})
    _configure(folder, name="encoded", rungs=["embedding"])
    train(folder, encoder=shared_encoder)
    return folder


def _write(folder, rows, name):
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / name


def _configure(folder, name="terms", **more):
    settings = {"task": "extract", "data": "contracts.jsonl", "test": "held_out.jsonl", "fields": FIELDS, **more}
    settings |= {"group_column": "contract", "target_risk": 0.1, "writes": ["law"], "licence": "Apache-2.0"}
    lines = [f"{key} = {_toml(value)}" for key, value in settings.items()]
    with (folder / "coterie.toml").open("a") as file:
        file.write("\n".join([f"[specialists.{name}]", *lines]) + "\n")


def _toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {json.dumps(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)


def _champion(folder, name="terms"):
    return Registry(folder / REGISTRY_FOLDER).champion(name)


def _specialist(folder, encoder, name="terms"):
    section = load_config(folder).specialists[name]
    return load_specialist(name, section, _champion(folder, name), encoder=encoder, models={})


def _ask(specialist, text):
    return asyncio.run(specialist.consult(Task(text=text), ContextView()))


@pytest.fixture(scope="module", params=["terms", "encoded"])
def asked(request, folder, shared_encoder):
    """Contracts that nobody has seen, each with what a stored specialist of either rung finds in it."""
    rows = make_contracts(20, seed=2)
    specialist = _specialist(folder, shared_encoder, request.param)
    return [(row, _ask(specialist, row["text"])) for row in rows]


def test_values_are_found_in_unseen_contracts(asked):
    """Dates, durations, choices and lists of names are found, each in the form of its type."""
    right = wanted = 0
    for row, finding in asked:
        fields = {name: [field for field in finding.fields if field.name == name] for name in FIELDS}
        law = row["fields"]["law"]
        right += sorted(field.text for field in fields["parties"]) == sorted(row["fields"]["parties"])
        right += [field.text for field in fields["signed"]] == [row["fields"]["signed"]["text"]]
        right += [field.value for field in fields["law"]] == [law["value"] if law else None]
        wanted += 3

    assert right / wanted > 0.9


def test_every_quote_is_where_it_says(asked):
    """A quote is the text between its offsets, and the evidence repeats it."""
    for row, finding in asked:
        stated = [field for field in finding.fields if field.stated]
        assert stated
        for quote in (*stated, *finding.evidence):
            assert row["text"][quote.start : quote.end] == quote.text


def test_what_is_not_stated_is_said_to_be(asked):
    """A field without a value has no quote; it is found out in most contracts that do not state it."""
    unstated = [
        field for row, finding in asked for field in finding.fields if field.name == "law" and not row["fields"]["law"]
    ]
    stated = [
        field for row, finding in asked for field in finding.fields if field.name == "law" and row["fields"]["law"]
    ]

    assert np.mean([not field.stated for field in unstated]) > 0.8
    assert np.mean([field.stated for field in stated]) > 0.8
    assert all(field.text == "" and field.value is None for field in unstated if not field.stated)


def test_an_accepted_field_becomes_a_fact(asked):
    """The value of a field of a name that it writes, None where it is not stated, nothing where it is not sure."""
    for _, finding in asked:
        (law,) = [field for field in finding.fields if field.name == "law"]
        facts = {fact.name: fact.value for fact in finding.facts}
        assert facts == ({"law": law.value} if law.accepted else {})
    assert any(finding.facts for _, finding in asked)


def test_the_report_has_each_rung_and_field(folder):
    """Both rungs stand in the report, with figures of every field on the held-out contracts."""
    report = _champion(folder).report

    assert [row["rung"] for row in report["rungs"]] == ["lexical", "embedding"]
    assert report["bar_met"] is True
    for row in report["rungs"]:
        assert set(row["held_out"]["fields"]) == set(FIELDS)
        assert row["held_out"]["token_f1"] > 0.8
        assert row["held_out"]["fields"]["law"]["not_stated_recall"] > 0.6


@pytest.mark.slow
def test_the_same_data_gives_the_same_version(tmp_path, shared_encoder):
    """Trained twice, the content hash is one."""
    versions = []
    for name in ("a", "b"):
        (folder := tmp_path / name).mkdir()
        _write(folder, make_contracts(40), "contracts.jsonl")
        _write(folder, make_contracts(10, seed=1), "held_out.jsonl")
        _configure(folder, rungs=["lexical"])
        versions.append(train(folder, encoder=shared_encoder).specialists["terms"].version)

    assert versions[0] == versions[1]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda described: described["fields"].pop(),
        lambda described: described["acceptances"].pop(),
        lambda described: described["tag"]["terms"].pop(),
        lambda described: described.update(rung="lexical" if described["rung"] == "embedding" else "embedding"),
        lambda described: described["fields"][0].update(chooser=3),
    ],
)
def test_a_damaged_description_is_refused(folder, shared_encoder, spoil):
    """What does not fit together is refused when it is loaded, not when it is asked."""
    version = _champion(folder)
    described = json.loads(version.files["model.json"])
    spoil(described)
    files = {**version.files, "model.json": json.dumps(described).encode()}
    section = load_config(folder).specialists["terms"]

    with pytest.raises(ArtefactRefused, match="cannot be read"):
        load_specialist("terms", section, replace(version, files=files), encoder=shared_encoder, models={})


@pytest.mark.parametrize(
    "text",
    [
        "asdf qwer zxcv uiop",
        "Le chauffage de mon appartement ne marche plus depuis hier soir.",
        "My parcel has not arrived. Where is it?",
    ],
)
def test_a_text_of_another_kind_is_left_unread(folder, shared_encoder, text):
    """No field of it is accepted, and the reason says that it is unlike what training knew; a new contract is read."""
    specialist = _specialist(folder, shared_encoder)
    familiar = _ask(specialist, make_contracts(1, seed=77)[0]["text"])
    finding = _ask(specialist, text)

    assert familiar.accepted
    assert finding.reason.code == "abstain.out_of_scope"
    assert not any(field.accepted for field in finding.fields)
    assert not finding.evidence
    assert finding.in_scope < specialist.acceptances[0].scope_threshold <= familiar.in_scope


def test_the_routers_encoding_is_used_for_the_scope(folder, shared_encoder):
    """The text is encoded once, on whatever rung it is read."""
    specialist = _specialist(folder, shared_encoder)
    task = Task(text=make_contracts(1, seed=77)[0]["text"])
    encoded = replace(task, vector=shared_encoder.encode([task.text])[0])
    alone, routed = (asyncio.run(specialist.consult(variant, ContextView())) for variant in (task, encoded))

    assert len(alone.steps) == len(routed.steps) + 1
    assert alone.in_scope == pytest.approx(routed.in_scope, abs=1e-3)


def test_an_empty_text_is_an_abstention(folder, shared_encoder):
    """Nothing to read is a finding that says so."""
    finding = _ask(_specialist(folder, shared_encoder), "  ")

    assert not finding.accepted
    assert "abstain.no_text" in finding.reason.codes


def test_a_text_of_nothing_it_knows_states_nothing(folder, shared_encoder):
    """A recipe has no parties and no law: everything that is accepted is that it is not stated."""
    finding = _ask(_specialist(folder, shared_encoder), "Peel the onions. Fry them in butter until golden.")

    assert not [field for field in finding.fields if field.accepted and field.stated]


def test_a_long_text_is_read_in_a_thread_with_the_same_result(folder, shared_encoder):
    """What is found in a contract stays found when pages of other text follow it."""
    row = make_contracts(1, seed=3)[0]
    specialist = _specialist(folder, shared_encoder)
    long = row["text"] + "\n" + "\n".join(FILLER * 40)
    assert len(long) > 10_000

    parties = [field.text for field in _ask(specialist, long).fields if field.name == "parties"]

    assert sorted(parties) == sorted(row["fields"]["parties"])


@pytest.mark.slow
def test_the_command_line_goes_all_the_way(tmp_path, capsys):
    """Add, train, eval and ask through `coterie`, with the bundled encoder and an answer that shows its quotes."""
    home = tmp_path / "home"
    data = _write(tmp_path, make_contracts(40), "given.jsonl")
    test = _write(tmp_path, make_contracts(10, seed=1), "given-test.jsonl")
    fields = [word for name, kind in FIELDS.items() for word in ("--field", f"{name}={kind}")]

    def run(*words):
        capsys.readouterr()
        code = main(["-C", str(home), *map(str, words)])
        return code, capsys.readouterr().out

    home.mkdir()
    (home / "coterie.toml").write_text('[network]\nname = "t"\n')
    added = run("add", "terms", "--task", "extract", "--data", data, "--test", test, *fields, "--target-risk", "0.3")
    assert added[0] == 0
    (home / "coterie.toml").write_text((home / "coterie.toml").read_text() + 'rungs = ["lexical"]\n')
    assert run("train", "terms")[0] == 0

    code, out = run("eval", "terms", "--data", test, "--json")
    measured = json.loads(out)
    assert code == 0
    assert measured["fields"]["parties"]["exact_f1"] > 0.8
    assert measured["intervals"]["token_f1"][0] <= measured["token_f1"] <= measured["intervals"]["token_f1"][1]

    row = make_contracts(1, seed=5)[0]
    code, out = run("ask", row["text"], "--specialist", "terms", "--json")
    (finding,) = json.loads(out)["findings"]
    assert code == 0
    quoted = [field for field in finding["fields"] if field["text"]]
    assert quoted
    assert all(row["text"][field["start"] : field["end"]] == field["text"] for field in quoted)


def test_a_made_contract_is_what_it_says():
    """The fixture itself: every quote stands in its text, so that a test that fails does not blame the reader."""
    for row in itertools.islice(make_contracts(5), 5):
        assert all(name in row["text"] for name in row["fields"]["parties"])


def test_the_data_is_read_as_its_types_say(folder):
    """Dates and durations of the data come in the forms of their types."""
    data = read_dataset(folder / "contracts.jsonl", task="extract", fields=FIELDS, group_column="contract")
    signed = data.rows[0].fields["signed"].spans[0]

    assert len(str(signed.value)) == len("2020-01-31")
    assert "fields in the file that are not looked for: 'unused'" in data.warnings


class _Narrow:
    """An encoder whose queue is short: it counts how many sentences wait at once."""

    name = "onnx"

    def __init__(self, encoder):
        self.encoder, self.waiting, self.most = encoder, 0, 0

    async def run(self, batch, *, call=None):
        self.waiting += len(batch)
        self.most = max(self.most, self.waiting)
        await asyncio.sleep(0)
        self.waiting -= len(batch)
        return await self.encoder.run(batch)


def test_many_texts_at_once_do_not_crowd_the_encoder(folder, shared_encoder):
    """Sixty texts asked side by side, on two event loops one after the other, keep a few sentences in its queue."""
    narrow = _Narrow(shared_encoder)
    specialist = replace(_specialist(folder, shared_encoder, "encoded"), encoder=narrow)
    texts = [row["text"] for row in make_contracts(60, seed=7)]

    async def ask_all():
        return await asyncio.gather(*(specialist.consult(Task(text=text), ContextView()) for text in texts))

    first, second = asyncio.run(ask_all()), asyncio.run(ask_all())

    assert 0 < narrow.most <= 16
    assert [finding.fields for finding in first] == [finding.fields for finding in second]


@pytest.mark.parametrize(("more", "risk"), [({}, 0.1), ({"target_risk": 0.05}, None)])
def test_few_texts_answer_at_what_they_can_show(more, risk):
    """Fifty texts cannot show an error of 5%: by default a field is accepted at what they show; a set one is held."""
    section = make_section(task="extract", data="x", fields={"law": "text"}, **more)
    cases = [
        SimpleNamespace(field=SimpleNamespace(name="law", confidence=0.9 + n / 1000), correct=True, document=n)
        for n in range(50)
    ]
    shown = _shown(SimpleNamespace(section=section), "law", [SimpleNamespace(group=None)] * 50, cases)

    assert (shown.threshold.value is not None) == (risk is not None)
    assert shown.risk == (risk or 0.05)


@pytest.mark.parametrize(
    ("quote", "value"),
    [
        ("foi aprovada", "aprovado"),  # as training writes it
        ("está reprovada", "reprovado"),
        ("wurde nicht abgenommen", None),
        ("aprovada e reprovada", None),  # says both
        ("aprovado", "aprovado"),
    ],
)
def test_a_choice_that_its_quotes_do_not_name(tmp_path, quote, value):
    """Words that training has in quotes of one value tell it; its rows said the value beside each quote."""
    said = {"foi aprovada": "aprovado", "foi reprovada": "reprovado", "terá de ser repetida": "a repetir"}
    rows = [
        {"text": f"Auto {i}. A instalação {words}.", "fields": {"resultado": {"text": words, "value": meant}}}
        for i in range(4)
        for words, meant in said.items()
    ]
    path = tmp_path / "autos.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    data = read_dataset(path, task="extract", fields={"resultado": "choice"})
    (model,) = field_models(data.rows, {"resultado": "choice"})

    assert model.value(quote, "pt") == value
