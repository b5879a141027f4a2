"""Whether passages bear out what a model wrote."""

import pytest

from coterie.engines.reading import StatementVerdict
from coterie.tasks.answer.default import load_defaults
from coterie.tasks.answer.support import StatementLine, Support, SupportVerdict, value_astray

SOURCES = [
    "If an instalment has not been paid 7 days after it was due, we charge a late fee of 12 pounds.",
    "We do not charge interest on late fees.",
    "A loan runs for 12 to 84 months.",
]


def support(sentence: str) -> float:
    """By the check that comes with the package."""
    return load_defaults().support.judge(sentence, SOURCES).support


@pytest.mark.parametrize(
    "sentence",
    [
        "We charge a late fee of 12 pounds.",
        "A loan runs for 12 to 84 months.",
        "We do not charge interest on late fees.",
    ],
)
def test_what_a_source_says_passes(sentence):
    """A sentence in the words of a source, whole or shortened, is supported."""
    assert support(sentence) >= load_defaults().supported


@pytest.mark.parametrize(
    "sentence",
    [
        "We charge a late fee of 25 pounds.",
        "We charge interest on late fees.",
        "A loan does not run for 12 to 84 months.",
        "You get a free umbrella with every account.",
        "",
    ],
)
def test_what_no_source_says_does_not(sentence):
    """Another number, a "not" added or lost, or words of nowhere are not supported."""
    assert support(sentence) < load_defaults().supported


POOL = [
    "The pool is open from Monday to Friday from 6:30 to 21:00, and at weekends from 8:00 to 18:00.",
    "A single ticket costs 5.50 euros for adults and 3 euros for children.",
    "Children under 4 swim for free.",
    "A card of ten visits costs 45 euros and is valid for a year.",
    "Diving is allowed only at the deep end.",
    "Members pay 4 pounds and guests 9 pounds.",
    "A locker may be used for at most 6 hours.",
]


@pytest.mark.parametrize(
    ("sentence", "verdict"),
    [
        ("A single ticket costs 5.50 euros for adults.", True),
        ("A child's ticket for the pool is 5.50 euros.", False),
        pytest.param(
            "At weekends the pool is open from 8:00 to 18:00.",
            True,
            marks=pytest.mark.xfail(reason="the statement model refuses it (decision 542)", strict=True),
        ),
        ("The pool is open from 6:30 to 21:00 at weekends.", False),
        ("Members pay 4 pounds.", True),
        ("Members pay 9 pounds.", False),
        ("Guests pay 4 pounds.", False),
        ("A card of ten visits costs 45 euros.", True),
        ("A card of ten visits costs 4 euros.", False),
        ("Diving is allowed.", False),
        ("Diving is allowed, but only for adults.", False),
        ("Children swim for free.", False),
        ("A locker may be used for 6 hours.", False),
        ("I am a locker.", False),
        ("A locker may be used for at most 6 hours.", True),
    ],
)
def test_a_number_belongs_to_what_it_is_said_of(sentence, verdict):
    """A number of another part of the sentence, or of another one, bears nothing out; nor does what holds for some."""
    defaults = load_defaults()
    assert (defaults.support.judge(sentence, POOL).support >= defaults.supported) is verdict


def test_it_names_what_bears_a_sentence_out():
    """The sources are named by number, the nearest first."""
    assert load_defaults().support.judge("A loan runs for 12 to 84 months.", SOURCES).sources == (2,)


def test_without_sources_nothing_is_supported():
    """No source, no support."""
    judged = load_defaults().support.judge("We charge a late fee.", [])

    assert judged.support < 0.5
    assert judged.sources == ()


def test_a_source_word_for_word_is_supported():
    """A whole sentence of a source is what it says; with another number or a word less it is judged like any other."""
    source = "Opening is at nine, and it never was at ten."
    support = load_defaults().support

    assert support.judge(f"  {source.upper()} ", ["We close at six.", source]) == SupportVerdict(
        support=1.0, sources=(1,)
    )
    assert support.judge(source.replace("nine", "eight"), [source]).support < load_defaults().supported


ELSEWHERE = [
    "The board decided on a vegetarian day on Wednesdays.",
    "Weight, Pump 300 3.9 kg, Pump 500 4.7 kg",
    "Parts carry a guarantee of 24 months; labour is guaranteed for 6 months.",
    "Hand luggage of up to 8 kg and one suitcase of up to 23 kg per person are included.",
    "The wage is 16.80 euros an hour, plus 25% for night shifts.",
    "The recommended dose for adults is 1 tablet up to three times a day.",
    "It decides by simple majority; changes of the statutes need three quarters of the votes cast.",
    "The cake keeps in a box for 3 to 4 days, or freeze it for up to one month.",
]


@pytest.mark.parametrize(
    ("sentence", "verdict"),
    [
        ("The weight of the pump 300 is 3.9 kg.", True),
        ("The weight of the pump 300 is 4.7 kg.", False),
        ("Pump 300: 4.7 kg", False),
        ("Pump 300: 3.9 kg", True),
        ("The board decided on a vegetarian day on Wednesdays.", True),
        ("The board decided on a vegetarian day on Fridays.", False),
        ("Labour is guaranteed for 6 months.", True),
        ("Parts are guaranteed for 6 months and labour for 24 months.", False),
        ("Hand luggage of up to 23 kg and one suitcase of up to 8 kg are included.", False),
        ("The wage is € 16.80 an hour, plus 25% for night shifts.", True),
        ("The wage is 25 euros an hour, plus 16.80% for night shifts.", False),
        ("The dose for adults is 3 tablets up to three times a day.", False),
        ("Changes of the statutes need three quarters of the votes.", True),
        ("Changes of the statutes need a simple majority.", False),
        ("The cake keeps in a box for 3 to 4 days.", True),
        ("The cake keeps in a box for up to one month.", False),
    ],
)
def test_a_number_stays_with_its_unit_and_with_what_stands_beside_it(sentence, verdict):
    """Two numbers exchanged, one of another unit, or another clause in the place of one, are not supported."""
    defaults = load_defaults()

    assert (defaults.support.judge(sentence, ELSEWHERE).support >= defaults.supported) is verdict


@pytest.mark.parametrize(
    ("value", "astray"), [("24 months.", False), ("6 months.", True), ("Labour: 6 months.", False), ("At once.", False)]
)
def test_a_value_alone_is_of_what_was_asked(value, astray):
    """A number without words of its own is read with the question's."""
    question = "How long is the guarantee on parts?"

    assert value_astray(question, value, [ELSEWHERE[2]]) is astray


class Says:
    """A statement model that says one thing and has read all."""

    def __init__(self, *, supported: float) -> None:
        self.supported = supported

    def judge(self, statement, sentences):
        """Always the same."""
        rows = tuple(range(len(sentences)))
        return StatementVerdict(self.supported, 1 - self.supported, 0.0, rows, rows[:1])


GERMAN = ["Der Garten ist bis 22 Uhr offen.", "Eine Kopie kostet 0,10 Euro."]


def told_by(model: Says | None) -> Support:
    """The check with such a model."""
    read = None if model is None else StatementLine(weight=1.0, bias=0.0, refuses=-1.0, load=lambda: model)
    return Support(line=load_defaults().support.line, read=read)


def test_in_other_languages_the_statement_model_decides():
    """Its odds, calibrated, and the sentences that it names."""
    statement = "Bis 22 Uhr ist der Garten offen."
    for supported in (0.1, 0.9):
        verdict = told_by(Says(supported=supported)).judge(statement, GERMAN, "de")
        assert verdict == SupportVerdict(support=pytest.approx(supported, abs=1e-6), sources=(0,))


def test_a_number_must_stand_in_what_was_read():
    """However sure the model is; 1.000 is 1,000."""
    check = told_by(Says(supported=0.99))

    assert check.judge("Der Garten ist bis 23 Uhr offen.", GERMAN, "de").support <= 0.5
    assert check.judge("Bis 22 Uhr ist offen.", GERMAN, "de").support > 0.9
    assert check.judge("Es sind 1,000 Plätze.", ["Es gibt 1.000 Plätze."], "de").support > 0.9


@pytest.mark.parametrize(("supported", "passes"), [(0.9, True), (0.4, True), (0.1, False)])
def test_in_english_the_model_may_refuse_what_has_the_words(supported, passes):
    """It lets nothing pass that the words do not."""
    check, least = told_by(Says(supported=supported)), load_defaults().supported

    assert (check.judge("We charge a late fee of 12 pounds.", SOURCES).support >= least) is passes
    assert check.judge("We charge a late fee of 25 pounds.", SOURCES).support < least


def test_without_the_model_other_languages_are_supported_word_for_word_alone():
    """Whatever else it says is not known."""
    check = told_by(None)

    assert check.judge("der Garten ist bis 22 Uhr offen", GERMAN, "de").support == 1.0
    assert check.judge("Bis 22 Uhr ist der Garten offen.", GERMAN, "de").support == 0.0


@pytest.mark.parametrize(
    ("language", "source", "wrong"),
    [
        ("de", "Hunde sind in der Wohnung nicht erlaubt.", "Hunde sind in der Wohnung erlaubt."),
        ("de", "Die Karte gilt nur am Montag und Dienstag.", "Die Karte gilt am Montag und Dienstag."),
        ("fr", "Les chiens ne sont pas admis dans le jardin.", "Les chiens sont admis dans le jardin."),
        ("es", "Los perros no se admiten en el jardín.", "Los perros se admiten en el jardín."),
        ("it", "I cani non sono ammessi nel giardino.", "I cani sono ammessi nel giardino."),
        ("nl", "Honden zijn niet toegestaan in de tuin.", "Honden zijn toegestaan in de tuin."),
        ("pt", "Os cães não são permitidos no jardim.", "Os cães são permitidos no jardim."),
        ("sv", "Hundar är inte tillåtna i trädgården.", "Hundar är tillåtna i trädgården."),
    ],
)
def test_a_lost_not_is_seen_in_every_language(language, source, wrong):
    """By the statement model; where it is not installed, only what stands there word for word is supported."""
    check = load_defaults()

    assert check.support.judge(source, [source], language).support == 1.0
    assert check.support.judge(wrong, [source], language).support < check.supported
