"""`python -m labs.replay`: what is shown, what scripts get, and how bad input is explained."""

import json
from dataclasses import dataclass

import pytest

from labs.replay import main


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys):
    """Runs one command line: `run(file, "--json")`."""

    def run(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Result(code=code, out=captured.out, err=captured.err)

    return run


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "coterie.toml").write_text('[network]\nname = "shop"\n')
    return folder


@pytest.fixture
def file(tmp_path):
    """Forty prompts of two kinds; the small model knows one of them."""
    path = tmp_path / "outcomes.jsonl"
    lines = []
    for i in range(40):
        text, good = (f"capital of country {i}", 1) if i % 2 else (f"integral of x^{i} dx", 0)
        models = {"small": {"score": good, "cost": 0.001}, "large": {"score": 1, "cost": 0.1}}
        lines.append(json.dumps({"prompt": text, "models": models}))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_tables_show_curve_baselines_and_policy(run, file):
    """A person sees the curve, what doing without routing comes to, and the routing policy."""
    shown = run(file, "--budget", "60")

    assert shown.code == 0
    for words in ("Without routing", "cheapest: small", "largest: large", "oracle", "budget 60 per 1,000"):
        assert words in shown.out


def test_scripts_get_all_of_it(run, file):
    """JSON has every point, with the models' shares by name."""
    document = json.loads(run(file, "--quality", "0.5", "--json").out)

    assert document["models"] == ["small", "large"]
    assert set(document["curve"][0]["shares"]) == {"small", "large"}
    assert document["chosen"]["quality"] >= 0.5
    assert document["recovery"]["apgr"] > 0.5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--quality", "0.9", "--budget", "1"], "both given"),
        (["--quality", "2"], "0 to 1"),
        (["--budget", "cheap"], "--budget is 'cheap'"),
        (["--generalist", "giant"], "Asked for model 'giant'"),
        (["--window", "small"], "--window is 'small'"),
        (["--budget", "0.1"], "even 'small', the cheapest model"),
        (["--frontier"], "'small' has no confidence on 40"),
    ],
)
def test_bad_options_are_explained(run, file, options, said):
    """What was asked, and what can be."""
    refused = run(file, *options)

    assert refused.code != 0
    assert said in refused.err


def test_the_page_is_written_beside_the_tables(run, file, tmp_path):
    """`--html` writes the same as a page; domains of the file are in it and in the JSON."""
    lines = [json.loads(line) | {"domain": f"kind {i % 2}"} for i, line in enumerate(file.read_text().splitlines())]
    file.write_text("\n".join(map(json.dumps, lines)))
    shown = run(file, "--html", tmp_path / "page.html", "--json")

    assert [domain["name"] for domain in json.loads(shown.out)["domains"]] == ["kind 0", "kind 1"]
    page = (tmp_path / "page.html").read_text()
    assert "By domain" in page
    assert "SHA-256" in page


ABOVE = """
[models.large]
engine = "openai"
base_url = "http://127.0.0.1:9/v1"
name = "large-1"

[generalist]
model = "large"

[policy]
outcomes = "outcomes.jsonl"
"""


def test_new_outcomes_join_the_network_s(run, folder, file):
    """`--update` adds what is not there yet, once, and says what that makes of the generalist."""
    with (folder / "coterie.toml").open("a") as config:
        config.write(ABOVE)
    first = json.loads(run(file, "--update", "-C", folder, "--json").out)["update"]
    again = json.loads(run(file, "--update", "-C", folder, "--json").out)["update"]

    assert (first["added"], again["added"], again["rows"]) == (40, 0, 40)
    assert first["generalist_before"] is None
    assert first["generalist_after"] == "1.000 of 40 recorded outcomes, 1.000 at most"
    assert (folder / "outcomes.jsonl").read_text() == file.read_text()


def test_without_a_file_of_its_own_nothing_joins(run, folder, file):
    """A network that names no outcomes is told which setting to make, and so is who gives it its own file."""
    refused = run(file, "--update", "-C", folder)
    assert refused.code != 0
    assert 'outcomes = "outcomes.jsonl"' in refused.err

    with (folder / "coterie.toml").open("a") as config:
        config.write(ABOVE)
    (folder / "outcomes.jsonl").write_text(file.read_text())
    assert "own file" in run(folder / "outcomes.jsonl", "--update", "-C", folder).err


@pytest.mark.slow
def test_the_frontier(run, tmp_path):
    """`--frontier` shows the best policy for the money, in words, JSON and on the page."""
    lines = []
    for i in range(150):
        good = i % 3 != 0
        small = {"score": int(good), "cost": 0.001, "confidence": 0.9 if good else 0.2}
        large = {"score": int(i % 10 != 0), "cost": 0.1, "confidence": 0.8}
        lines.append(json.dumps({"prompt": f"question {i}", "models": {"small": small, "large": large}}))
    (tmp_path / "sure.jsonl").write_text("\n".join(lines))
    options = (tmp_path / "sure.jsonl", "--frontier", "--budget", "60")
    shown = run(*options, "--html", tmp_path / "page.html")
    document = json.loads(run(*options, "--json").out)

    assert shown.code == 0, shown.err
    for words in (
        "Frontier: the best policy for the money",
        "At equal cost it is nowhere",
        "budget 60 per 1,000, frontier",
    ):
        assert words in shown.out
    assert set(document["frontier"][0]["shares"]) == {"small", "large"}
    assert document["chosen_frontier"]["per_1000"] <= 66
    assert document["frontier_excess"] <= 0.02
    assert "Frontier: the best policy for the money" in (tmp_path / "page.html").read_text()


def test_without_being_asked_there_is_no_frontier(run, file):
    """It takes its time, so it is played where it is wanted."""
    assert json.loads(run(file, "--json").out)["frontier"] == []
