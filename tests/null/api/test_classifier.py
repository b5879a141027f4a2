"""A classifier from fit to a served network."""

from __future__ import annotations

import asyncio
import json
import warnings

import numpy as np
import pytest

import coterie
from coterie import Classifier, Extractor, PairClassifier
from coterie.config.file import load_config
from coterie.errors import ConfigError, DataError, InputError, SetupError, UnknownSpecialist
from coterie.store.opening import open_store
from coterie.training.train import train


def test_it_predicts_with_confidence(classifier):
    """A list of texts gives a list of predictions, in order."""
    first, second = classifier.predict(["my card was stolen", "charged twice"])

    assert (first.label, second.label) == ("card", "refund")
    assert first.value == "card"
    assert first.labels == ("card",)
    assert 0 <= first.confidence <= 1
    assert first.reason
    assert next(iter(first.scores)) == "card"
    assert classifier.rung == "lexical"


def test_one_text_gives_one_prediction(classifier):
    """A text alone needs no list around it, and one without a word is an abstention."""
    assert classifier.predict("stolen card").label == "card"
    assert classifier.predict(" ").label is None
    assert not classifier.predict(" ").accepted


def test_probabilities_have_a_column_a_label(classifier):
    """Rows sum to 1, the largest is the predicted label, a text without a word has none."""
    probabilities = classifier.predict_proba(["my card was stolen", "charged twice", " "])

    assert classifier.labels == ("card", "parcel", "refund")
    assert probabilities[:2].sum(axis=1) == pytest.approx(1)
    assert probabilities[:2].argmax(axis=1).tolist() == [0, 2]
    assert np.isnan(probabilities[2]).all()


def test_it_is_evaluated_with_intervals(classifier, data):
    """Figures with intervals, coverage and calibration; a text of no label counts as out of scope."""
    evaluation = classifier.evaluate([*data[0][:30], "what about the weather"], [*data[1][:30], None])

    assert (evaluation.n, evaluation.labelled) == (31, 30)
    assert evaluation.accuracy > 0.9
    low, high = evaluation.intervals["accuracy"].low, evaluation.intervals["accuracy"].high
    assert low <= evaluation.accuracy <= high
    assert {"coverage", "ece", "macro_f1"} <= evaluation.figures.keys()
    assert evaluation.oos_recall is not None


def test_the_same_data_give_the_same_version(classifier, data):
    """Rows, options and seed decide the version; another seed gives another one."""
    options = {"rungs": ["lexical"], "name": "triage", "description": "Messages of customers."}

    assert Classifier.fit(*map(tuple, data), **options).version == classifier.version
    assert Classifier.fit(*data, **options, seed=1).version != classifier.version


def test_whole_numbers_are_labels(data):
    """Numbers of a numpy array become texts, in predictions and evaluations alike."""
    numbers = np.array([["card", "parcel", "refund"].index(label) for label in data[1]])
    classifier = Classifier.fit(np.array(data[0]), numbers, rungs=["lexical"])

    assert classifier.labels == ("0", "1", "2")
    assert classifier.predict("stolen card").label == "0"
    assert classifier.evaluate(data[0], numbers).accuracy > 0.9


def test_several_labels_a_text(data):
    """With `multi_label`, each label has a probability of its own."""
    texts = [f"{one} and {other}" for one, other in zip(data[0], data[0][1:], strict=False)]
    labels = [sorted({one, other}) for one, other in zip(data[1], data[1][1:], strict=False)]
    classifier = Classifier.fit(texts, labels, multi_label=True, rungs=["lexical"])

    prediction = classifier.predict("card stolen and courier late")
    assert prediction.labels == ("card", "parcel")
    assert prediction.label == "card|parcel"
    assert classifier.predict_proba(["card stolen and courier late"]).sum() > 1.2
    assert classifier.evaluate(texts, labels).micro_f1 > 0.8


def test_held_out_rows_and_groups_are_given(data):
    """Figures are those of the rows that were held out by name."""
    texts, labels = data
    classifier = Classifier.fit(
        texts[:60], labels[:60], test=(texts[60:], labels[60:]), groups=range(60), rungs=["lexical"]
    )

    assert classifier.report["data"]["held_out"]["rows"] == 30
    assert classifier.metrics["n"] == 30
    assert classifier.evaluate(texts, labels).n == 90


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": ["card"]}, "texts has 90, labels has 1"),
        ({"labels": ["card"] * 90}, "one label only: 'card'"),
        ({"texts": []}, "texts is empty"),
        ({"texts": [None] * 90}, r"texts\[0\] is missing"),
        ({"labels": [float("nan")] * 90}, r"labels\[0\] is missing"),
        ({"groups": [1]}, "groups has 1"),
    ],
)
def test_what_does_not_fit_is_explained(data, change, said):
    """Errors name the argument, and the position of the value."""
    given = {"texts": data[0], "labels": data[1], **change}
    with pytest.raises(DataError, match=said):
        Classifier.fit(**given)


def test_options_are_checked(data):
    """An option that does not exist is a TypeError with the nearest name, a wrong value a ConfigError."""
    with pytest.raises(TypeError, match="'rungs'"):
        Classifier.fit(*data, rung=["lexical"])
    with pytest.raises(ConfigError, match="rungs"):
        Classifier.fit(*data, rungs=["forest"])
    with pytest.raises(TypeError):
        Classifier()


def test_further_settings_and_progress(data, capsys):
    """Every key of the section can be set; progress goes to standard error."""
    classifier = Classifier.fit(
        *data, rungs=["lexical"], settings={"writes": ["intent"]}, bar={"accuracy": 0.5}, progress=True
    )

    assert classifier.report["bar_met"] is True
    assert "lexical" in capsys.readouterr().err


async def test_it_works_where_an_event_loop_runs(data, classifier):
    """As in a notebook: training, predicting and evaluating are synchronous calls there too."""
    assert Classifier.fit(*data, rungs=["lexical"]).predict("stolen card").label == "card"
    assert classifier.evaluate(*data).accuracy > 0.9


def test_nothing_is_left_behind(data, tmp_path, monkeypatch):
    """The folder that a fit works in goes with its classifier, and at once where the fit fails."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    classifier = Classifier.fit(*data, rungs=["lexical"])
    assert list(tmp_path.iterdir())
    del classifier
    with pytest.raises(ConfigError):
        Classifier.fit(*data, rungs=["forest"])

    assert not list(tmp_path.iterdir())


# --- save and load -------------------------------------------------------------------------------


def test_a_saved_classifier_is_loaded_again(folder, classifier):
    """The only one of its task needs no name; predictions are the same."""
    loaded = Classifier.load(folder)

    assert (loaded.name, loaded.version) == ("triage", classifier.version)
    assert loaded.predict("stolen card").scores == classifier.predict("stolen card").scores
    assert loaded.labels == classifier.labels


def test_a_saved_classifier_can_be_trained_again(folder, classifier):
    """The folder is complete: `coterie train` repeats the training and comes to the same version."""
    report = train(folder, ["triage"])

    assert report.specialists["triage"].version == classifier.version


def test_a_network_answers_with_what_was_saved(folder):
    """The router finds it by its profile."""
    with coterie.connect(folder) as network:
        answer = network.ask("my card was stolen")

    assert answer.route.specialists == ("triage",)
    assert answer.findings[0].value == "card"


def test_saving_twice_changes_nothing(folder, classifier):
    """The same version under the same name serves already."""
    before = (folder / "coterie.toml").read_bytes()
    saved = classifier.save(folder)

    assert (saved.promoted, saved.version) == (True, classifier.version)
    assert (folder / "coterie.toml").read_bytes() == before


def test_what_a_fit_took_is_in_the_ledger_once(tmp_path, data):
    """Saved, it is a training of the network's ledger, at the network's prices; saved again, it is none."""
    (tmp_path / "coterie.toml").write_text('[network]\nname = "bank"\n[accounting]\nprice_per_cpu_hour = "36"\n')
    classifier = Classifier.fit(*data, name="triage", rungs=["lexical"], description="Intents.")
    saved = classifier.save(tmp_path)
    classifier.save(tmp_path)

    async def trainings():
        store = await open_store(load_config(tmp_path), tmp_path, reading=True)
        try:
            return (await store.ledger()).trainings
        finally:
            await store.close()

    (training,) = asyncio.run(trainings())
    assert (training.specialist, training.version) == ("triage", saved.version)
    assert training.joules > 0
    assert float(training.cost) == pytest.approx(training.cpu_seconds / 100)


def test_another_name_gets_a_section_of_its_own(tmp_path, classifier):
    """What the file says already stays to the byte, comments included."""
    (tmp_path / "coterie.toml").write_text("# ours\n[network]\nname = 'bank'   # its name\n")
    saved = classifier.save(tmp_path, name="intents")

    text = (tmp_path / "coterie.toml").read_text()
    assert text.startswith("# ours\n[network]\nname = 'bank'   # its name\n")
    assert "[specialists.intents]" in text
    report = tmp_path / "registry" / "intents" / saved.version / "report.json"
    assert json.loads(report.read_text())["name"] == "intents"


def test_other_settings_are_not_overwritten(tmp_path, data, classifier):
    """A specialist of the same name with other settings stays, unless it is to be replaced."""
    classifier.save(tmp_path)
    other = Classifier.fit(*data, rungs=["lexical"], name="triage", seed=3)
    with pytest.raises(InputError, match="other settings"):
        other.save(tmp_path)

    assert other.save(tmp_path, replace=True).version == other.version
    assert "seed = 3" in (tmp_path / "coterie.toml").read_text()


def test_a_worse_version_is_only_the_candidate(tmp_path, data):
    """Promotion has the rules of `coterie train`: on the same held-out rows the better one goes on serving."""
    texts, labels = data
    test = (texts[45:], labels[45:])
    good = Classifier.fit(texts[:45], labels[:45], test=test, rungs=["lexical"], name="triage")
    turned = {"card": "parcel", "parcel": "refund", "refund": "card"}
    bad = Classifier.fit(
        texts[:45], [turned[label] for label in labels[:45]], test=test, rungs=["lexical"], name="triage"
    )

    assert good.save(tmp_path).promoted
    assert not bad.save(tmp_path).promoted
    assert Classifier.load(tmp_path).version == good.version
    assert Classifier.load(tmp_path, version=bad.version).version == bad.version


def test_what_cannot_be_loaded_is_explained(folder):
    """Another task, another name, or no name where there is none of the task."""
    with pytest.raises(InputError, match="task 'classify'") as caught:
        Extractor.load(folder, "triage")
    assert "Classifier.load" in caught.value.hint
    with pytest.raises(InputError):
        PairClassifier.load(folder, "triage")
    with pytest.raises(UnknownSpecialist):
        Classifier.load(folder, "nobody")
    with pytest.raises(InputError, match="needs a name"):
        Extractor.load(folder)


def test_what_cannot_be_saved_is_explained(tmp_path, classifier):
    """A place that is no folder is an error of the setup, like on the command line."""
    (tmp_path / "file").write_text("")

    with pytest.raises(SetupError, match="file"):
        classifier.save(tmp_path / "file" / "network")


def test_wrong_options_are_those_of_fit(data):
    """An error names the option that was given, and no file that nobody has."""
    for wrong in ({"target_risk": 2.0}, {"rungs": ["magic"]}, {"settings": {"foo": 1}}):
        with pytest.raises(ConfigError) as caught:
            Classifier.fit(*data, **wrong)
        assert "coterie.toml" not in caught.value.message
        assert next(iter(wrong.get("settings", wrong))) in caught.value.message


def test_rows_of_training_flatter(classifier, data):
    """Figures on rows that it learned from come with a warning, those on others without."""
    with pytest.warns(UserWarning, match=r"\d+ of 6 rows .* also in"):
        classifier.evaluate(data[0][:6], data[1][:6])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        classifier.evaluate(["where did you leave the box"], ["parcel"])
    assert not caught


# --- what a notebook shows -----------------------------------------------------------------------


def test_a_notebook_shows_what_matters(classifier, data):
    """Short texts for the console, tables for a notebook."""
    evaluation = classifier.evaluate(*data)

    assert repr(classifier).startswith("Classifier(name='triage', rung='lexical'")
    assert repr(classifier.predict("stolen card")).startswith("Prediction('card', confidence=")
    assert repr(evaluation).startswith("Evaluation(n=90, accuracy=")
    for shown in (classifier, classifier.predict("stolen card"), evaluation):
        assert "<table>" in shown._repr_html_()


def test_what_a_notebook_shows_is_escaped(data):
    """A label is text, never markup."""
    labels = [label.replace("card", "<script>") for label in data[1]]
    prediction = Classifier.fit(data[0], labels, rungs=["lexical"]).predict("stolen card")

    assert prediction.label == "<script>"
    assert "<script>" not in prediction._repr_html_()


def test_the_file_in_place_of_its_folder_is_told(classifier, tmp_path):
    """Who passes `coterie.toml` is told to pass the folder that holds it."""
    folder = classifier.save(tmp_path / "shop").folder

    with pytest.raises(ConfigError, match="is a file, and a network is a folder") as caught:
        coterie.connect(folder / "coterie.toml")
    assert repr(str(folder)) in caught.value.hint
