"""Quotes: what a model is shown, what it may say, and what becomes of its answer."""

from __future__ import annotations

import itertools
import json
from functools import partial

import numpy as np
import pytest

from coterie.runtime.codec import from_json, to_json
from coterie.tasks.extract.extractor import Quoting, Said, quoted
from coterie.tasks.extract.tagging import FORBIDDEN, TextRange, TokenizedText, stretches, word_features

TEXT = 'Made by "Acme  Inc."\nand Bolt Partners. The law of Ohio\\Utah governs. Goods are checked. Fees are due.'
SCORES = np.array([[4.0, -3.0], [-2.0, 5.0], [-4.0, -4.0], [-5.0, -5.0]])


@pytest.fixture
def document():
    document = TokenizedText(TEXT)
    assert len(document.sentences) == 4
    return document


@pytest.fixture
def quoting():
    """Several parties and one law, from no more than the first two sentences."""
    return Quoting(fields=("parties", "law"), many=(True, False), shown=80)


def test_the_likeliest_sentences_are_shown(document, quoting):
    """Of all fields in turn, in the text's order, neighbours together, until it is enough; the best one always."""
    (both,) = quoting.show(document, SCORES)
    (least,) = quoting.show(document, SCORES, most=1)

    assert both == (0, document.sentences[1].end)
    assert least == document.sentences[0]
    assert quoting.prompt(document, [both]) == 'Made by "Acme Inc." and Bolt Partners. The law of Ohio\\Utah governs.'


def test_an_answer_is_read_as_it_was_written(quoting):
    """Quotation marks and backslashes come through, and each quote has the log-probability of its own pieces."""
    answer = quoting.answer([['"Acme  Inc."', "Bolt"], []])
    pieces = [('{"parties": ', -0.1), ("[", -0.2), ('"\\"Acme', -1.0), (' Inc.\\""', -2.0), (', "', -4.0)]
    pieces += [("Bolt", -8.0), ('"], "law": ', -0.3), ("null", -0.7), ("}", 0.0)]
    assert "".join(text for text, _ in pieces) == answer
    parties, law = quoting.read(answer, pieces)

    assert [quote.text for quote in parties.quotes] == ['"Acme Inc."', "Bolt"]
    assert parties.quotes[0].logprob == pytest.approx(-3.0)
    assert parties.first == -0.2
    assert law == Said((), -0.7, -0.7)


def test_an_answer_that_was_cut(quoting):
    """What it did not come to is not said; the rest is."""
    whole = quoting.answer([["Bolt LLC"], ["Ohio"]])
    assert quoting.read(whole[:-4], [])[1] is None
    assert quoting.read(whole[:-4], [])[0].quotes[0].text == "Bolt LLC"
    assert quoting.read("", []) == [None, None]
    assert quoting.read('{"parties": 3, "law": [1]}', []) == [None, None]


def test_a_quote_has_its_place(document, quoting):
    """White space aside, where the likeliest sentence has it; what stands nowhere is no candidate."""
    places = quoting.show(document, SCORES)
    answers = quoting.read(json.dumps({"parties": ["Acme Inc.", "Nobody"], "law": "Ohio\\Utah"}), [])
    (acme,) = quoted(document, places, answers[0], SCORES[:, 0])
    (law,) = quoted(document, places, answers[1], SCORES[:, 1])

    assert TEXT[acme.start : acme.end] == "Acme  Inc."
    assert TEXT[law.start : law.end] == "Ohio\\Utah"
    assert acme.evidence[2] == 4.0


def test_nothing_quoted_is_evidence_too(document, quoting):
    """The surer a model is that a field is not stated, the less its likeliest sentence may be the value."""
    sure, unsure = (quoted(document, [], Said((), logprob, logprob), SCORES[:, 1]) for logprob in (-0.01, -1.0))
    (unsaid,) = quoted(document, [], None, SCORES[:, 1])

    assert sure[0][:2] == unsaid[:2] == document.sentences[1]
    assert sure[0].evidence[0] < unsure[0].evidence[0] < 12
    assert unsaid.evidence[:2] == (0.0, 0.0)


def test_the_grammar_has_a_rule_a_word(document, quoting):
    """A word may be followed by the next one only, with the white space between them; a passage's last by none."""
    rules = dict(
        line.split(" ::= ", 1) for line in quoting.grammar(document, quoting.show(document, SCORES)).split("\n")
    )

    assert rules["root"] == '"{\\"parties\\": " several ", \\"law\\": " one "}"'
    assert rules["w0"] == '"Made" ( " " w1 )?'
    assert rules["w2"] == '"\\\\\\"" ( w3 )?'
    last = max(int(name[1:]) for name in rules if name[0] == "w")
    assert rules[f"w{last}"] == '"."'
    assert rules["quote"].count("|") == last


def test_what_is_stored_restores():
    """And what does not fit together is refused."""
    quoting = Quoting(fields=("a", "b"), many=(True, False))
    assert from_json(Quoting, to_json(quoting)) == quoting
    with pytest.raises(ValueError, match="does not say"):
        from_json(Quoting, {"fields": ["a"], "many": [], "shown": 5})


# --- Texts cut into sentences and words.


def _sentences(text):
    document = TokenizedText(text)
    return [text[sentence.start : sentence.end] for sentence in document.sentences]


def test_a_line_break_inside_a_sentence_does_not_end_it():
    """Contracts break lines at a fixed width."""
    assert _sentences("This Agreement shall be\ngoverned by the laws of Ohio. It ends\nin May.") == [
        "This Agreement shall be\ngoverned by the laws of Ohio.",
        "It ends\nin May.",
    ]


@pytest.mark.parametrize(
    ("text", "part", "whole"),
    [
        ("run at 7.5?", "7", "7.5"),
        ("zu 1.200,50 Euro", "200", "1.200,50"),
        ("at 1,250,000 pounds", "1", "1,250,000"),
        ("at 7.5 ml", "5 ml", "7.5 ml"),
        ("on 3.05.2026", "3", "3"),  # a date has parts
        ("pages 4,5,6", "5", "5"),
        ("room 12.", "12", "12"),
        ("run at 7.5?", "at", "at"),
    ],
)
def test_a_number_is_not_cut(text, part, whole):
    """A stretch that has a part of a number has all of it."""
    start = text.index(part)
    widened = TokenizedText(text).whole(TextRange(start, start + len(part)))

    assert text[widened.start : widened.end] == whole


def test_a_blank_line_ends_a_sentence():
    """Headings have no full stop."""
    assert _sentences("ARTICLE 1\n\nDefinitions apply.\n  \n2. Term") == ["ARTICLE 1", "Definitions apply.", "2. Term"]


@pytest.mark.parametrize(
    "text", ["Acme Inc. And Bolt Corp. Agree", "See No. 7 of U.S. Code", "Mr. Smith and Dr. Jones"]
)
def test_an_abbreviation_does_not_end_a_sentence(text):
    """`Inc.` before a capital is part of a name."""
    assert _sentences(text) == [text]


@pytest.mark.parametrize("text", ["", " \n\n ", "x" * 5_000, ("word " * 1_000).strip(), "a.\n\n\n\nb", "é€😀. Ünd"])
def test_sentences_cover_every_word_once(text):
    """Nothing is lost, doubled or blank, however odd the text, and no sentence is longer than a page."""
    document = TokenizedText(text)
    places = document.sentences

    assert all(span.end - span.start <= 600 for span in places)
    assert all(text[span.start : span.end].strip() == text[span.start : span.end] != "" for span in places)
    assert all(a.end <= b.start for a, b in itertools.pairwise(places))
    assert sum(len("".join(text[p.start : p.end].split())) for p in places) == len("".join(text.split()))


def test_words_know_the_typed_value_they_stand_in():
    """A date of several words is one value: its first word begins it, the others go on."""
    document = TokenizedText("Signed on May 8, 2014 by Acme Inc.")
    words, features = word_features(document, document.sentences)
    typed = {
        document.text[word.start : word.end]: [name for name in names if name.startswith("t=")]
        for word, names in zip(words, features, strict=True)
    }

    assert typed["May"] == ["t=date.B"]
    assert typed["8"] == typed["2014"] == ["t=date.I"]
    assert typed["Signed"] == []


# --- The chain against an enumeration of all taggings of a short sequence.


WORDS = 5


def _taggings(n):
    """Every tagging that is allowed: an I goes on a B or an I."""
    for tags in itertools.product(range(3), repeat=n):
        if all(tag != 2 or (index and tags[index - 1] != 0) for index, tag in enumerate(tags)):
            yield tags


def _score(tags, emissions, transitions):
    return sum(emissions[t, tag] for t, tag in enumerate(tags)) + sum(
        transitions[a, b] for a, b in itertools.pairwise(tags)
    )


def _holds(tags, first, last):
    """Whether a value stands exactly from one word to another."""
    inside = tags[first] == 1 and all(tag == 2 for tag in tags[first + 1 : last + 1])
    return inside and (last + 1 == len(tags) or tags[last + 1] != 2)


def _begins(tags, first):
    return tags[first] == 1


@pytest.mark.parametrize("seed", range(8))
def test_probabilities_are_those_of_all_taggings(seed):
    """The probability of each stretch is the share of the taggings that hold it, and the best end is the best one."""
    random = np.random.default_rng(seed)
    emissions, transitions = random.normal(size=(WORDS, 3)) * 2, random.normal(size=(3, 3))
    transitions[0, 2] = FORBIDDEN
    weights = {tags: np.exp(_score(tags, emissions, transitions)) for tags in _taggings(WORDS)}
    total = sum(weights.values())

    def share(holds):
        return sum(weight for tags, weight in weights.items() if holds(tags)) / total

    spans = stretches(emissions, transitions, least=0.0)

    assert spans
    for first, last, probability, begins in spans:
        ends = [share(partial(_holds, first=first, last=end)) for end in range(first, WORDS)]
        assert probability == pytest.approx(max(ends), rel=1e-6)
        assert last == first + int(np.argmax(ends))
        assert begins == pytest.approx(share(partial(_begins, first=first)), rel=1e-6)


def test_stretches_do_not_overlap():
    """No word is part of two values, and the likeliest come first."""
    random = np.random.default_rng(3)
    emissions = random.normal(size=(40, 3)) + np.array([0.0, 0.5, 1.0])
    transitions = np.array([[0.0, 0.0, FORBIDDEN], [0.0, -2.0, 1.0], [0.0, -1.0, 1.0]])

    spans = stretches(emissions, transitions)
    words = [word for span in spans for word in range(span.first, span.last + 1)]

    assert len(spans) > 1
    assert len(words) == len(set(words))
    assert [span.probability for span in spans] == sorted((span.probability for span in spans), reverse=True)


def test_a_sequence_without_a_value_still_gives_its_best_guess():
    """Where everything says O, the likeliest stretch is given with its small probability."""
    emissions = np.tile([8.0, 0.0, 0.0], (6, 1))
    emissions[2, 1] = 3.0

    (best,) = stretches(emissions, np.array([[0.0, 0.0, FORBIDDEN], [0.0] * 3, [0.0] * 3]))

    assert (best.first, best.last) == (2, 2)
    assert best.probability < 0.05
