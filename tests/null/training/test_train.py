"""Training a network's specialists: what comes out, what is stored, what serves."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from coterie import __version__
from coterie.errors import ConfigError, DataError, SetupError, UnknownSpecialist
from coterie.learning.job import Silent
from coterie.registry.registry import Registry
from coterie.registry.signature import write_key
from coterie.training.train import train

CLASSIFY = {"task": "classify"}


def champion(folder: Path, name: str = "it"):
    return Registry(folder / "registry").champion(name)


def test_trains_every_rung_and_stores_one(trained, texts, tmp_path):
    """Both rungs are measured beside each other, and one is stored with report, card and profile, and serves."""
    result = trained(CLASSIFY, texts()).specialists["it"]
    version = champion(tmp_path)

    assert version.version == result.version
    assert result.promoted
    assert {
        "model.json",
        "weights.safetensors",
        "report.json",
        "card.md",
        "profile.safetensors",
    } <= version.files.keys()
    assert [rung["rung"] for rung in version.report["rungs"]] == ["lexical", "embedding"]
    assert version.report["metrics"]["accuracy"] == 1.0
    assert version.report["rung"] == "embedding", "it covers more at the target risk"


def test_held_out_rows_are_not_trained_on(trained, texts):
    """Without a test file a fifth is held out; with one, all rows train and its rows measure."""
    split = trained(CLASSIFY, texts(each=20)).specialists["it"].report["data"]
    given = trained(CLASSIFY, texts(each=20), test=texts(each=5, seed=1)).specialists["it"].report["data"]

    assert (split["train"]["rows"], split["held_out"]["rows"]) == (48, 12)
    assert (given["train"]["rows"], given["held_out"]["rows"]) == (60, 15)
    assert given["held_out"]["file"] == "it_test.jsonl"


def test_same_seed_gives_the_same_version(trained, texts):
    """Training twice gives the same version to the bit, and times are told beside it, not in it."""
    first, second = (trained(CLASSIFY, texts()).specialists["it"] for _ in range(2))

    assert first.version == second.version
    assert first.report == second.report
    assert "seconds" not in json.dumps(first.report)
    assert all(rung["seconds"] > 0 for rung in first.to_json()["rungs"])
    took = first.to_json()["took"]
    assert took["joules"] == pytest.approx(10 * took["cpu_seconds"], abs=0.01)
    assert (took["joules_kind"], took["cost"]) == ("estimated", None)


def test_another_seed_gives_another_version(trained, texts):
    """The seed decides splits and folds, so another one is another version."""
    versions = {trained({**CLASSIFY, "seed": seed}, texts()).specialists["it"].version for seed in (0, 1)}

    assert len(versions) == 2


@pytest.mark.slow  # two interpreters import scikit-learn
def test_another_process_gives_the_same_version(network, texts, tmp_path):
    """Two processes with different hash seeds train the same version of every task."""
    rows = texts(labels=4)
    folder = network(
        {"one": CLASSIFY, "any": CLASSIFY}, one=rows, any=[{**r, "label": [r["label"], "x"]} for r in rows]
    )
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
from conftest import WordEncoder
from coterie.training.train import train
print(*(each.version for each in train({str(folder)!r}, encoder=WordEncoder()).specialists.values()))
"""
    versions = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(versions) == 1


def test_training_works_inside_a_running_loop(trained, texts):
    """A notebook has an event loop already; training there gives the same version."""

    async def inside() -> str:
        return trained(CLASSIFY, texts()).specialists["it"].version

    assert asyncio.run(inside()) == trained(CLASSIFY, texts()).specialists["it"].version


class Interrupting(Silent):
    """Ctrl-C at the n-th thing that training says."""

    def __init__(self, n: int) -> None:
        self.left = n

    def start(self, what: str, total: int | None) -> None:
        self._count()

    def advance(self, n: int) -> None:
        self._count()

    def finish(self, note: str) -> None:
        self._count()

    def _count(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.slow  # trains some thirty times
def test_interruption_changes_nothing(trained, texts, tmp_path, encoder):
    """Ctrl-C wherever training can be interrupted leaves the versions and the champion as they were."""
    before = trained(CLASSIFY, texts(labels=2, each=8)).specialists["it"].version
    (tmp_path / "it.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts(labels=2, each=8, seed=5)))
    registry = Registry(tmp_path / "registry")

    for n in range(1, 200):
        try:
            train(tmp_path, encoder=encoder, progress=Interrupting(n))
            break
        except KeyboardInterrupt:
            assert registry.versions("it") == (before,)
            assert registry.champion("it").version == before
    else:
        pytest.fail("training said something more than 200 times")
    assert n > 20
    assert len(registry.versions("it")) == 2


def test_files_are_read_before_anything_is_trained(network, texts, encoder, tmp_path):
    """A mistake in the last file is found before time is spent on the first."""
    folder = network({"good": CLASSIFY, "bad": CLASSIFY}, good=texts(), bad=[{"words": "x", "label": "y"}] * 20)

    with pytest.raises(DataError, match="'text'"):
        train(folder, encoder=encoder)
    assert not (tmp_path / "registry").exists()


def test_a_registry_that_cannot_be_written_is_found_before_anything_is_trained(network, texts, encoder, tmp_path):
    """Not after the minutes or hours that the training takes."""
    folder, progress = network({"it": CLASSIFY}, it=texts()), Interrupting(1)
    (tmp_path / "registry").write_text("")

    with pytest.raises(SetupError):
        train(folder, encoder=encoder, progress=progress)
    assert progress.left == 1


def test_only_what_is_named_is_trained(network, texts, encoder, tmp_path):
    """Naming a specialist trains that one; an unknown name is refused with the known ones."""
    folder = network({"one": CLASSIFY, "two": CLASSIFY}, one=texts(), two=texts(seed=1))

    assert list(train(folder, ["two"], encoder=encoder).specialists) == ["two"]
    assert not (tmp_path / "registry" / "one").exists()
    with pytest.raises(UnknownSpecialist, match=r"'three'.*'one'.*'two'"):
        train(folder, ["three"], encoder=encoder)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"bar": {"auc": 0.9}}, "bar is about 'auc'; a 'classify' specialist is measured by accuracy or macro_f1"),
        ({"rungs": ["slm"]}, "rung 'slm' needs `model`, the key of a .models. entry"),
    ],
)
def test_sections_that_cannot_be_trained(trained, texts, tmp_path, section, message):
    """A bar nobody measures and a rung that a task does not have are refused before training."""
    with pytest.raises(ConfigError, match=message):
        trained({**CLASSIFY, **section}, texts())
    assert not (tmp_path / "registry").exists()


def test_a_rung_that_is_not_wanted_is_measured_but_not_taken(trained, texts):
    """The lexical floor is always measured; it is taken only if `rungs` allows it."""
    report = trained({**CLASSIFY, "rungs": ["embedding"]}, texts()).specialists["it"].report

    assert [rung["rung"] for rung in report["rungs"]] == ["lexical", "embedding"]
    assert report["rung"] == "embedding"


# --- Who serves ----------------------------------------------------------------------------------

HARD = {**CLASSIFY, "bar": {"accuracy": 0.999}}


def noisy(rows, wrong: int):
    """The rows with some labels exchanged."""
    labels = sorted({row["label"] for row in rows})
    exchanged = dict(zip(labels, labels[1:] + labels[:1], strict=True))
    return [{**row, "label": exchanged[row["label"]]} if i % wrong == 0 else row for i, row in enumerate(rows)]


def test_a_missed_bar_does_not_replace_a_better_champion(trained, texts, tmp_path):
    """A version that misses its bar is stored and told, and the better one goes on serving."""
    test = texts(each=8, seed=9)
    good = trained(HARD, texts(), test=test).specialists["it"]
    bad = trained(HARD, noisy(texts(), 2), test=test).specialists["it"]

    assert (good.report["bar_met"], bad.report["bar_met"]) == (True, False)
    assert not bad.promoted
    assert f"against 1.000 of {good.version}" in bad.promotion
    assert champion(tmp_path).version == good.version
    assert len(Registry(tmp_path / "registry").versions("it")) == 2


def test_a_missed_bar_serves_where_nothing_better_does(trained, texts, tmp_path):
    """The first version serves though it misses its bar, and a less bad one takes its place."""
    test = texts(each=8, seed=9)
    worst = trained(HARD, noisy(texts(), 2), test=test).specialists["it"]
    better = trained(HARD, noisy(texts(), 3), test=test).specialists["it"]

    assert worst.promoted
    assert "no other version" in worst.promotion
    assert better.report["bar_met"] is False
    assert better.promoted
    assert champion(tmp_path).version == better.version


def test_other_held_out_rows_are_no_comparison(trained, texts, tmp_path):
    """A version that misses its bar on other rows than the champion's never replaces it."""
    first = trained(HARD, noisy(texts(), 2), test=noisy(texts(each=8, seed=9), 2)).specialists["it"]
    other = trained(HARD, noisy(texts(), 3), test=noisy(texts(each=9, seed=8), 3)).specialists["it"]

    assert other.report["bar_met"] is False
    assert not other.promoted
    assert "cannot be compared" in other.promotion
    assert champion(tmp_path).version == first.version


def test_a_fall_on_other_held_out_rows_is_no_secret(trained, texts, tmp_path):
    """A version that nothing holds back serves, but if it is far below the one before it the training says so."""
    plain = HARD | {"bar": {}}
    first = trained(plain, texts(each=40)).specialists["it"]
    again = trained(plain, texts(each=40, seed=4)).specialists["it"]
    worse = trained(plain, noisy(texts(each=41), 2)).specialists["it"]

    assert not again.warnings
    assert worse.promoted
    assert f"of {again.version}, which served before, it was 1.000" in worse.warnings[0]
    assert worse.to_json()["warnings"][-1] == worse.warnings[0]
    assert champion(tmp_path).version == worse.version != first.version


def test_the_same_version_goes_on_serving(trained, texts):
    """Training again what serves already, though it misses its bar, says that it serves."""
    test = texts(each=8, seed=9)
    first, again = (trained(HARD, noisy(texts(), 2), test=test).specialists["it"] for _ in range(2))

    assert first.version == again.version
    assert again.promoted
    assert "already serves" in again.promotion


def test_a_damaged_champion_is_replaced(trained, texts, tmp_path):
    """Training repairs a network whose version was tampered with, even if the bar is missed."""
    test = texts(each=8, seed=9)
    first = trained(HARD, noisy(texts(), 2), test=test).specialists["it"]
    model = tmp_path / "registry" / "it" / first.version / "model.json"
    model.chmod(0o644)
    model.write_text("{}")

    second = trained(HARD, noisy(texts(), 3), test=test).specialists["it"]

    assert second.promoted
    assert champion(tmp_path).version == second.version


# --- Candidates and lineage ----------------------------------------------------------------------


def test_what_does_not_serve_is_the_candidate(trained, texts, tmp_path):
    """A version that is not promoted is the candidate; the next champion ends that. The history has the reason."""
    test, registry = texts(each=8, seed=9), Registry(tmp_path / "registry")
    good = trained(HARD, texts(), test=test).specialists["it"]
    assert registry.alias("it", "candidate") is None

    bad = trained(HARD, noisy(texts(), 2), test=test).specialists["it"]
    assert registry.alias("it", "candidate") == bad.version

    trained({**HARD, "seed": 3}, texts(), test=test)
    assert registry.alias("it", "candidate") is None
    assert str(registry.history("it")[0].reason) == "trained; it meets its bar; no champion to compare it with"
    assert registry.history("it")[1].replaced == good.version


def test_a_regression_does_not_serve(trained, texts, tmp_path):
    """Without any bar, a version that is measurably worse than the champion does not replace it."""
    test = texts(each=20, seed=9)
    good = trained(CLASSIFY, texts(), test=test).specialists["it"]
    worse = trained(CLASSIFY, noisy(texts(), 2), test=test).specialists["it"]

    assert not worse.promoted
    assert "accuracy fell from 1.000 to " in worse.promotion
    assert champion(tmp_path).version == good.version


def test_lineage(trained, texts):
    """The report says with what and from what a version was made, under which licences."""
    report = trained({**CLASSIFY, "licence": "CC-BY-4.0", "seed": 4}, texts()).specialists["it"].report

    assert report["config"] == {"task": "classify", "data": "it.jsonl", "licence": "CC-BY-4.0", "seed": 4}
    assert (report["seed"], report["code_version"]) == (4, __version__)
    assert report["base"] == {"name": "words", "source": "tests", "sha256": "e" * 64, "licence": "Apache-2.0"}
    assert report["data"]["train"]["licence"] == report["data"]["held_out"]["licence"] == "CC-BY-4.0"
    assert set(report["libraries"]) >= {"numpy", "scikit-learn"}
    assert not any("licence" in warning for warning in report["warnings"])


def test_no_licence_is_a_warning(trained, texts):
    """Data whose licence nobody states is said to be so."""
    report = trained(CLASSIFY, texts()).specialists["it"].report

    assert any("no licence is stated for it.jsonl: set `licence`" in warning for warning in report["warnings"])


def test_same_rows_are_known_by_their_content(trained, texts):
    """Figures are about the same rows if these are equal, whatever else is in the files."""
    test = texts(each=8, seed=9)
    one = trained(CLASSIFY, texts(), test=test).specialists["it"].report
    two = trained(CLASSIFY, texts(seed=1), test=test).specialists["it"].report
    other = trained(CLASSIFY, texts(), test=test[1:]).specialists["it"].report

    rows = [report["data"]["held_out"]["rows_sha256"] for report in (one, two, other)]
    assert rows[0] == rows[1] != rows[2]


def test_slices_of_a_classifier(trained, texts):
    """Each label's rows are measured by themselves; a row is in one slice, and the slices make up the whole."""
    report = trained(CLASSIFY, noisy(texts(), 3), test=texts(each=8, seed=9)).specialists["it"].report

    assert list(report["slices"]) == ["card", "parcel", "refund"]
    assert [part["n"] for part in report["slices"].values()] == [8, 8, 8]
    recall = sum(part["recall"] for part in report["slices"].values()) / 3
    assert recall == pytest.approx(report["metrics"]["accuracy"])


def test_signed_as_it_is_trained(network, texts, encoder, tmp_path):
    """With a signing key, what is trained is signed; a key that is missing is told before anything is trained."""
    folder = network({"it": CLASSIFY}, it=texts())
    toml = (folder / "coterie.toml").read_text()
    (folder / "coterie.toml").write_text(f'{toml}\n[registry]\nsigning_key = "key.pem"\n')
    with pytest.raises(ConfigError, match="signing_key"):
        train(folder, encoder=encoder)
    assert not (folder / "registry").exists()

    _, public = write_key(folder / "key.pem")
    train(folder, encoder=encoder)

    assert champion(folder).signature.key == public
