"""Few rows a label: all of them train, calibrate and measure; a prior on confidence helps; patterns stay together."""

import numpy as np
import pytest

from coterie.config.specialists import make_section
from coterie.learning.calibration import RISKS, prior_threshold, provable, showable, warn_silent
from coterie.learning.dataset import Dataset, Row
from coterie.learning.evaluation import Evaluation, Interval
from coterie.learning.fitting import FOLDS, cut_folds, deal_folds
from coterie.learning.measure import Answered, Candidate, Figure, choose
from coterie.learning.splits import pattern_groups
from coterie.tasks.contract import task_of


def drawn(rows: int, seed: int, *, slope: float = 0.75, intercept: float = 0.2, floor: float = 0.0, mean: float = 3.0):
    """Probabilities that a softmax said, and whether each was right, by a line like those of public sets."""
    random = np.random.default_rng(seed)
    odds = random.normal(mean, 2.0, rows)
    chance = (1 - floor) / (1 + np.exp(-(slope * odds + intercept)))
    return 1 / (1 + np.exp(-odds)), random.random(rows) < chance


@pytest.mark.parametrize(("slope", "intercept"), [(0.75, 0.2), (0.55, 0.1), (1.1, 0.6)])
def test_the_risk_is_held_with_the_prior(slope, intercept):
    """Of 200 sets of 120 rows, the true risk is above the target in no more than one in twenty."""
    above, many = 0, drawn(200_000, 1, slope=slope, intercept=intercept)
    for seed in range(200):
        confidences, right = drawn(120, seed + 2, slope=slope, intercept=intercept)
        least = prior_threshold(confidences, right, target_risk=0.05, level=0.02)
        kept = many[0] >= (np.inf if least is None else least)
        above += bool(kept.any() and (~many[1][kept]).mean() > 0.05)
    assert above <= 10


def test_the_prior_answers_more_than_the_rows_alone():
    """A hundred rows by themselves accept nothing, or little; with the prior they accept most of what can be."""
    section, shares = make_section(task="classify", data="x", target_risk=0.05), []
    for seed in range(20):
        confidences, right = drawn(100, seed, mean=5.0)
        alone, helped = (
            provable(section, confidences, right, [None] * 100, probabilities=prior).threshold
            for prior in (None, confidences)
        )
        shares.append((alone.coverage, helped.coverage))
    assert np.mean(shares, axis=0)[1] > np.mean(shares, axis=0)[0] + 0.2


def test_rows_that_contradict_the_prior_win():
    """Where a tenth is wrong however sure, nothing is accepted at 5%."""
    confidences, right = drawn(300, 0, floor=0.15)
    assert prior_threshold(confidences, right, target_risk=0.05, level=0.02) is None


def test_groups_leave_the_prior_out():
    """Rows that come in groups are not what the prior is of."""
    section = make_section(task="classify", data="x", target_risk=0.05)
    confidences, right = drawn(100, 0)
    shown = provable(section, confidences, right, [str(i // 2) for i in range(100)], probabilities=confidences)
    assert "prior" not in shown.threshold.reason.code


def test_a_raised_threshold_says_what_it_is():
    """The reason names the threshold that is stored, not the lower one that the laxer risk was shown from."""
    section = make_section(task="classify", data="x")
    random = np.random.default_rng(0)
    confidence = random.uniform(0.4, 1.0, 120)
    right = random.random(120) < confidence**0.5
    threshold = provable(section, confidence, right, [None] * 120).threshold
    assert threshold.reason.code == "threshold.raised"
    assert threshold.reason.values["value"] == threshold.value > threshold.reason.values["shown_from"]


def test_all_rows_train_where_a_label_has_few(trained, texts):
    """Eight rows a label: none is held out, and the figures are cross-validated."""
    report = trained({"task": "classify"}, texts(labels=4, each=8)).specialists["it"].report
    assert report["data"]["train"]["rows"] == report["data"]["held_out"]["rows"] == 32
    assert all("validation" in row["measured"] for row in report["rungs"])


def test_a_part_is_held_out_where_a_label_has_many(trained, texts):
    """Forty rows a label: a fifth is held out, as before."""
    report = trained({"task": "classify"}, texts(labels=2, each=40)).specialists["it"].report
    assert report["data"]["train"]["rows"] == 64
    assert "measured" not in report["rungs"][0]


PATTERNS = {
    "back": ["I want to return the {}", "can the {} be sent back to you", "please take back the {} from me"],
    "late": ["where is the {} that I ordered", "the {} has not come yet", "when will you bring the {} to us"],
}
THINGS = ("lamp", "chair", "phone", "kettle", "desk", "toaster")


def test_texts_of_one_pattern_are_one_group():
    """Rows that differ in what fills a slot are found, in any script, and those of people are not."""
    made = [
        (pattern.format(thing), label) for label, all_of in PATTERNS.items() for pattern in all_of for thing in THINGS
    ]
    texts, labels = zip(*made, strict=True)
    groups = pattern_groups(texts, labels)
    assert groups is not None
    assert len(set(groups.tolist())) == 6
    written = [
        "my parcel never came",
        "still nothing at the door",
        "is it lost?",
        "a week late by now",
        "tracking stuck",
    ]
    assert pattern_groups(written, ["late"] * 5) is None
    assert pattern_groups(["我要退货这个" + thing for thing in "灯椅桌杯碗盘"], ["退"] * 6) is not None


BEFORE = ("", "Hello, ", "Good morning team, ", "Quick question: ", "Guten Tag, ")
AFTER = ("", " Thanks in advance!", " My number is 48213.", " Kind regards, Petrov", " Please answer soon.")


def test_greetings_and_endings_hide_no_pattern():
    """What is said around patterns of every label, and numbers in them, part no two texts of one pattern."""
    made = []
    for label, patterns in PATTERNS.items():
        for pattern in patterns:
            for place, thing in enumerate(THINGS):
                before, after = BEFORE[len(made) % len(BEFORE)], AFTER[len(made) * 3 // 2 % len(AFTER)]
                made.append((f"{before}{pattern.format(f'{thing} {3000 + place}')}{after}", label))
    texts, labels = zip(*made, strict=True)
    groups = pattern_groups(texts, labels)
    assert groups is not None
    assert len(set(groups.tolist())) == 6


def test_patterns_are_held_out_whole(tmp_path):
    """Each pattern is on one side of the split, and a warning says what the figures are about."""
    path = tmp_path / "rows.csv"
    made = [
        (pattern.format(thing), label) for label, all_of in PATTERNS.items() for pattern in all_of for thing in THINGS
    ]
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in made), encoding="utf-8")
    section = make_section(task="classify", data=str(path))
    data = task_of(section).read_rows(section, path)
    train, held_out = super(type(task_of(section)), task_of(section)).divide(section, data)
    assert {row.group for row in train.rows}.isdisjoint({row.group for row in held_out.rows})
    assert any("patterns" in warning for warning in data.warnings)


def candidate(rung, accuracy, accepted, risk=0.05):
    empty = Evaluation(
        n=1, labelled=1, accuracy=1, macro_f1=1, coverage=1, accepted_accuracy=1, ece=0, joint_accuracy=1
    )
    figure = Figure(accuracy, Interval(accuracy - 0.05, accuracy + 0.05))
    answered = Answered(accepted, 100, risk)
    return Candidate(
        rung=rung, files={}, validation={"accuracy": figure}, evaluation=empty, seconds=1, answered=answered
    )


@pytest.mark.parametrize(
    ("lexical", "embedding", "taken"),
    [
        ((48, 0.05), (72, 0.05), "embedding"),  # as accurate, and answers far less
        ((68, 0.05), (72, 0.05), "lexical"),  # no difference that could be told
        ((72, 0.3), (60, 0.05), "embedding"),  # what it answers is at a laxer risk
        ((72, 0.05), (90, 0.3), "lexical"),
    ],
)
def test_the_rung_that_answers_is_taken(lexical, embedding, taken):
    """Of rungs that are alike in accuracy, the cheapest that covers as much at the target risk."""
    choice = choose([candidate("lexical", 0.88, *lexical), candidate("embedding", 0.9, *embedding)], {})
    assert choice.candidate.rung == taken


# --- The folds that calibration looks at, where rows are few.


def dataset(labels: int, per_label: int, *, groups: int = 0) -> Dataset:
    """Rows that have nothing in common, `groups` of them in all if any."""
    rows = [
        Row(
            text=f"{label} {i} {label * 1_000 + i:b}",
            labels=(f"l{label:03}",),
            group=f"g{i % groups}" if groups else None,
        )
        for label in range(labels)
        for i in range(per_label)
    ]
    return Dataset(name="rows", rows=tuple(rows), sha256="")


@pytest.mark.parametrize(("labels", "each", "pieces"), [(20, 5, 20), (20, 10, 20), (150, 8, 15), (150, 10, 10)])
def test_few_rows_a_label_are_cut_into_more_folds(labels, each, pieces):
    """Every fold becomes up to four, of one size, and no piece has rows of two folds."""
    data = dataset(labels, each)
    folds = deal_folds(data, FOLDS, 0)
    cut = cut_folds(data, folds, 0)

    sizes = np.unique(cut, return_counts=True)[1]
    assert len(sizes) == pieces
    assert sizes.max() - sizes.min() <= labels // FOLDS
    assert all(len(set(folds[cut == piece])) == 1 for piece in np.unique(cut))


@pytest.mark.parametrize(("labels", "each"), [(20, 11), (400, 6)])
def test_many_rows_are_left_as_they_were(labels, each):
    """Many rows a label, or many in all: there is nothing to gain, or it would take long."""
    data = dataset(labels, each)

    assert cut_folds(data, deal_folds(data, FOLDS, 0), 0) is None


def test_groups_are_not_cut():
    """Rows of one group are in one piece; a fold of one group stays whole."""
    data = dataset(20, 8, groups=6)
    cut = cut_folds(data, deal_folds(data, FOLDS, 0), 0)

    assert len(np.unique(cut)) == 6
    assert all(len({row.group for row, piece in zip(data.rows, cut, strict=True) if piece == one}) == 1 for one in cut)


# --- The accept threshold where rows are too few to show the target.


UNSET = make_section(task="classify", data="x")
SET = make_section(task="classify", data="x", target_risk=0.05)


def sure(rows: int) -> np.ndarray:
    """Confidences from high to low."""
    return np.linspace(1.0, 0.5, rows)


@pytest.mark.parametrize(("rows", "risk"), [(8, None), (10, 0.3), (30, 0.15), (50, 0.1), (60, 0.05)])
def test_the_smallest_risk_that_rows_without_a_mistake_show(rows, risk):
    """The fewer rows, the laxer the risk; too few show none, and then nothing is accepted."""
    result = provable(UNSET, sure(rows), np.ones(rows, dtype=bool), [None] * rows)

    assert (result.threshold.value is not None) == (risk is not None)
    assert result.risk == (risk or 0.05)
    assert bool(result.warning) == (risk != 0.05)
    assert ("it answers nothing" in result.warning) == (risk is None)


def test_a_target_that_was_set_is_held():
    """Whoever writes a target down gets it, or no answer and is told so."""
    result = provable(SET, sure(50), np.ones(50, dtype=bool), [None] * 50)

    assert result.threshold.value is None
    assert "its 50 rows show an error of 5% or below" in result.warning


def test_what_a_score_could_show():
    """The smallest share of wrong answers above the target that the rows show, for somebody to want or not."""
    right = np.ones(30, dtype=bool)
    risk, threshold = showable(sure(30), right, [None] * 30, above=0.05)

    assert risk == 0.15
    assert threshold.value is not None
    assert showable(sure(30), right, [None] * 30, above=0.3) is None
    silent = provable(SET, sure(30), right, [None] * 30).threshold
    assert "or set target_risk = 0.15, which they show, if that is right" in warn_silent(silent, 0.05, risk)


def test_guessing_is_never_accepted():
    """Rows that are right by chance show no risk up to the laxest."""
    right = np.random.default_rng(0).random(500) < 0.5

    assert provable(UNSET, sure(500), right, [None] * 500).threshold.value is None


def test_few_rows_may_have_a_mistake():
    """One of 17 rows may be wrong: risks that so few cannot show take nothing from the laxest."""
    right = np.arange(17) != 16

    result = provable(UNSET, sure(17), right, [None] * 17)

    assert result.threshold.value is not None
    assert result.risk == 0.3


@pytest.mark.parametrize("rows", [15, 24, 40])
def test_what_it_says_it_holds_is_held(rows):
    """Over 400 draws the true risk exceeds the one that is said in no more than the level, of 5%."""
    rng = np.random.default_rng(5)
    exceeded = 0
    for _ in range(400):
        confidence = rng.uniform(0.3, 1.0, rows)  # true: so often it is right
        result = provable(UNSET, confidence, rng.random(rows) < confidence, [None] * rows)
        line = result.threshold.value
        exceeded += line is not None and 1 - (1 + line) / 2 > result.risk

    assert exceeded <= 0.05 * 400
    assert max(RISKS) == 0.3
