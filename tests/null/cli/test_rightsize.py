"""`coterie rightsize`: what is shown, what scripts get, and how bad input is explained."""

import json
from dataclasses import replace

import pytest

from coterie.learning.evaluation import Interval
from coterie.learning.measure import Figure
from coterie.rightsizing.result import Recommendation, RightSizing
from coterie.rightsizing.rightsize import rightsize as measure

MODEL = """
[models.giant]
engine = "openai"
base_url = "{url}"
name = "giant-1"
clearance = "{clearance}"
retries = 0
price_in = 10
price_out = 30
"""


@pytest.fixture
def light(monkeypatch):
    """Puts a probe that starts no process behind the command; gives a function that changes what is found."""
    changes = []

    def rightsize(rows, **given):
        from coterie.rightsizing.probe import Probed

        def probe(root, rung, version, section, texts):
            return Probed(milliseconds=[1.0], cpu_seconds=[0.001], resident_bytes=70_000_000, bare_bytes=20_000_000)

        report = measure(rows, **given, probe=probe)
        for change in changes:
            report = change(report)
        return report

    monkeypatch.setattr("coterie.rightsizing.rightsize.rightsize", rightsize)
    return changes.append


@pytest.fixture
def data(tmp_path, write_rows):
    """A data file outside any network."""
    return write_rows(tmp_path / "rows.csv", per_label=30)


def test_a_table_and_a_verdict(run, tmp_path, data, light):
    """A row a rung within 100 columns, the verdict in a sentence, and nothing written beside the data."""
    result = run("-C", tmp_path, "rightsize", data, "--bar", "accuracy=0.5")

    assert result.code == 0, result.err
    assert "lexical" in result.out
    assert "70 MB" in result.out
    assert "Verdict: lexical " in result.out
    assert max(len(line) for line in result.out.splitlines()[:5]) <= 100
    assert list(tmp_path.iterdir()) == [data]


def test_few_rows_answer_at_what_they_show(run, tmp_path, write_rows, light):
    """As in training, rows that cannot show 5% answer at the smallest that they show; a risk that was set is held."""
    few = write_rows(tmp_path / "few.csv", per_label=14)

    own = run("-C", tmp_path, "rightsize", few, "--rungs", "lexical", "--json")
    held = run("-C", tmp_path, "rightsize", few, "--rungs", "lexical", "--target-risk", "0.05", "--json")

    assert own.json["rungs"][0]["held_out"]["coverage"] > 0
    assert " 5%" in own.err
    assert held.json["rungs"][0]["held_out"]["coverage"] == 0
    assert "it answers nothing" in held.err


def test_json(run, tmp_path, data, light):
    """`--json` has the keys that scripts rely on, and unknown money is null."""
    document = run("-C", tmp_path, "rightsize", data, "--json").json
    row = document["rungs"][0]

    assert {"rung", "accuracy", "interval", "held_out", "latency_ms", "resident_bytes", "bytes"} <= row.keys()
    assert row["per_1000"] == {"joules": 10.0, "money": None, "currency": "USD", "kind": "estimated"}
    assert document["verdict"]["outcome"] == "no_bar"
    assert document["large"] is None
    assert document["data"]["held_out"]["sha256"]


def test_another_base_encoder(run, tmp_path, data, light, monkeypatch):
    """`--base` says what is fine-tuned; one that is not here is said with the command before anything is trained."""
    monkeypatch.setattr("coterie.tuning.base.find_spec", lambda name: True)
    monkeypatch.setenv("COTERIE_HOME", str(tmp_path / "home"))
    result = run("-C", tmp_path, "rightsize", data, "--rungs", "lexical,encoder", "--base", "someone/tiny")

    assert result.code == 1
    assert "models pull someone/tiny" in result.err


def test_a_chain(run, tmp_path, data, light):
    """`--chain` shows the chain beside its rungs, and what it comes to at each stop."""
    words = ("-C", tmp_path, "rightsize", data, "--chain", "lexical,embedding")
    shown, document = run(*words), run(*words, "--json").json

    assert shown.code == 0, shown.err
    assert "The chain" in shown.out
    assert "asks embedding" in shown.out
    assert "embedding alone" in shown.out
    assert "0.95" in shown.out
    assert [row["rung"] for row in document["rungs"]] == ["lexical", "embedding", "chain"]
    assert len(document["chain"]) == 11
    assert sum(point["taken"] for point in document["chain"]) == 1


@pytest.mark.parametrize(("outcome", "code"), [("met", 0), ("no_bar", 0), ("reached", 3), ("missed", 3)])
def test_the_exit_code_says_whether_a_rung_is_enough(run, tmp_path, data, light, *, outcome, code):
    """3 unless the bar is met with confidence; the result is complete all the same."""
    light(
        lambda report: replace(
            report, verdict=Recommendation(outcome=outcome, rung="lexical", sentences=("So it is.",))
        )
    )
    result = run("-C", tmp_path, "rightsize", data, "--json")

    assert result.code == code
    assert result.json["verdict"]["sentence"] == "So it is."


def test_prices(run, tmp_path, folder, data, light):
    """Watts and price come from the command line, else from the network's file."""
    with (folder / "coterie.toml").open("a") as file:
        file.write('\n[accounting]\nprice_per_cpu_hour = 3.6\ncurrency = "EUR"\n')
    price = run("-C", folder, "rightsize", data, "--json").json["rungs"][0]["per_1000"]
    typed = run(
        *("-C", folder, "rightsize", data, "--price-per-cpu-hour", "7.2", "--watts-per-core", "5", "--json")
    ).json["rungs"][0]["per_1000"]

    assert (price["money"], price["currency"], price["joules"]) == (0.001, "EUR", 10.0)
    assert (typed["money"], typed["joules"]) == (0.002, 5.0)


def test_report_and_keep(run, tmp_path, data, light):
    """What is asked for is written: the report, and a registry with the versions."""
    result = run(*("-C", tmp_path, "rightsize", data, "--report", tmp_path / "size.html", "--keep", tmp_path / "kept"))

    assert "Report:" in result.out
    assert (tmp_path / "size.html").read_text().startswith("<!doctype html>")
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["embedding", "lexical"]


@pytest.mark.parametrize(("option", "more"), [("--report", ()), ("--save-answers", ("--model", "large"))])
def test_what_cannot_be_written_is_said_before_anything_is_trained(run, tmp_path, data, monkeypatch, *, option, more):
    """Minutes of work do not end in a file that has no place."""
    monkeypatch.setattr("coterie.rightsizing.rightsize.rightsize", lambda *_, **__: pytest.fail("it was trained"))
    for path in (tmp_path / "nowhere" / "size.html", tmp_path):
        result = run("-C", tmp_path, "rightsize", data, option, path, *more)
        assert result.code == 2
        assert f"{option} is {str(path)!r}" in result.err


def test_recorded_answers(run, tmp_path, data, light):
    """Recorded answers stand beside the rungs under their name, with tokens at the prices given."""
    recorded = tmp_path / "gpt.jsonl"
    rows = [
        {"row": n, "answer": "delivery" if n < 31 else "refund", "tokens_in": 100, "tokens_out": 10}
        for n in range(1, 61)
    ]
    recorded.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("-C", tmp_path, "rightsize", data, "--recorded", recorded, "--recorded-name", "giant")
    priced = (*words, "--price-in", "10", "--price-out", "30")

    assert run(*priced, "--json").json["large"]["per_1000"]["money"] == pytest.approx(1.3)
    shown = run(*priced).out
    assert "1.30" in shown
    assert "giant reaches 1.000" in shown


def test_a_live_model(run, tmp_path, folder, *, data, light, server):
    """A model of the network is asked through the gate about so many rows, and its answers can be kept and used."""
    with (folder / "coterie.toml").open("a") as file:
        file.write(MODEL.format(url=server.base_url, clearance="internal"))
    kept = tmp_path / "answers.jsonl"
    words = ("-C", folder, "rightsize", data, "--json")
    live = run(*words, "--model", "giant", "--model-rows", "5", "--save-answers", kept).json["large"]
    again = run(*words, "--recorded", kept, "--price-in", "10", "--price-out", "30").json["large"]

    assert len(server.requests) == 5
    assert live["rows_answered"] == 5
    assert live["per_1000"]["money"] > 0
    assert again["accuracy"] == live["accuracy"]
    assert again["per_1000"]["money"] == live["per_1000"]["money"]
    (spent,) = run("-C", folder, "report", "--json").json["trainings"]
    assert (spent["specialist"], spent["trainings"]) == ("rows", 1)
    assert spent["cost"] == pytest.approx(live["per_1000"]["money"] * 5 / 1000)


def test_the_rung_llm(run, tmp_path, folder, *, data, light, server):
    """With rung llm the model is a rung like the others: asked once, measured on a sample, priced, never again paid."""
    with (folder / "coterie.toml").open("a") as file:
        file.write(MODEL.format(url=server.base_url, clearance="internal"))
    words = ("-C", folder, "rightsize", data, "--rungs", "lexical,llm", "--model", "giant", "--model-rows", "6")
    document = run(*words, "--price-per-cpu-hour", "1", "--json").json
    request_count = len(server.requests)
    shown = run(*words, "--price-per-cpu-hour", "1", "--report", tmp_path / "size.html")
    llm = document["rungs"][1]

    assert request_count == len(server.requests) == 12
    (spent,) = run("-C", folder, "report", "--json").json["trainings"]
    assert (spent["trainings"], spent["cost"] > 0) == (1, True)  # the second run asked nothing
    assert document["large"] is None
    assert (llm["rung"], llm["held_out"]["n"], llm["resident_bytes"]) == ("llm", 6, None)
    assert llm["per_1000"]["money"] > 0
    assert llm["per_1000"]["joules"] > 0
    assert (document["comparisons"][0]["second"], document["comparisons"][0]["rows"]) == ("llm", 6)
    assert "times the energy" in shown.out
    assert "times the money" in shown.out
    assert " 6 held-out rows " in " ".join(shown.out.split())
    assert "measured on 6 of" in shown.err
    assert "USD" in shown.err
    assert "llm" in (tmp_path / "size.html").read_text()


def test_the_rung_llm_beside_recorded_answers(run, tmp_path, folder, *, data, light, server):
    """Recorded answers of another model stand beside the rung."""
    with (folder / "coterie.toml").open("a") as file:
        file.write(MODEL.format(url=server.base_url, clearance="internal"))
    recorded = tmp_path / "gpt.jsonl"
    recorded.write_text("".join(json.dumps({"row": n, "answer": "delivery"}) + "\n" for n in range(1, 61)))
    words = ("-C", folder, "rightsize", data, "--rungs", "lexical,llm", "--model", "giant", "--model-rows", "6")
    document = run(*words, "--recorded", recorded, "--json").json

    assert document["large"]["name"] == "gpt"
    assert [comparison["second"] for comparison in document["comparisons"]] == ["llm", "gpt"]


def test_a_model_without_clearance(run, folder, data, light, server):
    """The gate refuses texts above the model's clearance, and nothing is sent; `--label` says what they are."""
    with (folder / "coterie.toml").open("a") as file:
        file.write(MODEL.format(url=server.base_url, clearance="public"))
    words = ("-C", folder, "rightsize", data, "--model", "giant", "--model-rows", "2", "--json")
    refused = run(*words)

    assert (refused.code, refused.json["error"]["code"]) == (4, "egress_refused")
    assert not server.requests
    assert run(*words, "--label", "public").json["large"]["rows_answered"] == 2


def test_a_model_that_cannot_be_reached(run, folder, data, light):
    """No answer is made up: the engine's error ends the command before anything is trained."""
    with (folder / "coterie.toml").open("a") as file:
        file.write(MODEL.format(url="http://127.0.0.1:9/v1", clearance="internal"))
    result = run("-C", folder, "rightsize", data, "--model", "giant", "--json")

    assert (result.code, result.json["error"]["code"]) == (5, "engine_unavailable")
    assert "lexical" not in result.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--bar", "auc=0.9"], 2, "measured by accuracy or macro_f1"),
        (["--bar", "beauty=1"], 2, "--bar"),
        (["--bar", "accuracy=2"], 2, "--bar"),
        (["--rungs", "lexical,gpt"], 2, "--rungs has 'gpt'"),
        (["--chain", "lexical,gpt"], 2, "--chain has 'gpt'"),
        (["--chain", "lexical"], 2, "two or more of"),
        (["--chain", "lexical,embedding", "--rungs", "lexical"], 2, "leave `rungs` out"),
        (["--chain", "lexical,embedding", "--task", "score"], 2, "not for task 'score'"),
        (["--rungs", "chain"], 2, "--rungs has 'chain'"),
        (["--rungs", "lexical,slm", "--tune", "large"], 2, "--tune is 'large'"),
        (["--task", "dance"], 2, "--task"),
        (["--task", "generate"], 2, "has one rung"),
        (["--target-risk", "7"], 2, "--target-risk"),
        (["--price-per-cpu-hour", "cheap"], 2, "--price-per-cpu-hour is 'cheap'"),
        (["--watts-per-core", "0"], 2, "--watts-per-core is 0"),
        (["--test", "nope.csv"], 2, "nope.csv"),
        (["--recorded", "nope.csv"], 2, "nope.csv"),
        (["--recorded", "rows.csv", "--model", "giant"], 2, "both --recorded and --model"),
        (["--rungs", "lexical,llm"], 2, "--rungs has 'llm', and no --model"),
        (["--rungs", "llm", "--model", "giant", "--save-answers", "a"], 2, "--save-answers with rung 'llm'"),
        (["--rungs", "llm", "--model", "giant", "--tune", "tiny"], 2, "--tune is 'tiny' and --model is 'giant'"),
        (["--rungs", "llm", "--model", "giant", "--label", "pink"], 2, "--label is 'pink'"),
        (["--rungs", "llm", "--model", "giant"], 1, "No coterie.toml"),
        (["--model", "giant"], 1, "No coterie.toml"),
    ],
)
def test_what_cannot_be_done(run, tmp_path, data, light, *, words, code, said):
    """What was asked, what was found: without a traceback, before anything is trained."""
    result = run("-C", tmp_path, "rightsize", data, *words)

    assert (result.code, result.out) == (code, "")
    assert said in result.err
    assert "lexical (" not in result.err


def test_an_unknown_model(run, folder, data, light):
    """A model that the network does not have is named, with those it has."""
    result = run("-C", folder, "rightsize", data, "--model", "giant")

    assert result.code == 2
    assert "'giant'" in result.err
    assert "models are []" in run("-C", folder, "rightsize", data, "--rungs", "llm", "--model", "giant").err


def test_numbers_of_any_size_fit(run, tmp_path, data, light):
    """Large figures do not break the table."""

    def grown(report: RightSizing) -> RightSizing:
        row = report.rungs[0]
        slow = replace(row, milliseconds=row.milliseconds * 98_765, figure=Figure(0.5, Interval(0.4, 0.6)))
        return replace(report, rungs=(slow, *report.rungs[1:]))

    light(grown)
    assert "98,765/98,765" in run("-C", tmp_path, "rightsize", data).out


def test_an_interruption_says_what_is_left(run, tmp_path, data, monkeypatch):
    """Ctrl-C in a fine-tuning: what `--keep` has is named, without it the option; rungs of seconds say nothing."""

    def interrupted(*_, keep, **__):
        if keep is not None and keep.name == "kept":
            (keep / ".checkpoints").mkdir(parents=True)
            (keep / ".checkpoints" / "it.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("coterie.rightsizing.rightsize.rightsize", interrupted)
    command = ("-C", tmp_path, "rightsize", data)
    quick, lost = run(*command), run(*command, "--rungs", "lexical,encoder")
    kept, early = (run(*command, "--rungs", "lexical,encoder", "--keep", tmp_path / name) for name in ("kept", "early"))

    assert {quick.code, lost.code, kept.code, early.code} == {130}
    assert "Nothing is kept yet" in early.err
    assert quick.err.strip() == "Interrupted."
    assert "--keep DIR" in lost.err
    assert "the same command goes on there" in kept.err
