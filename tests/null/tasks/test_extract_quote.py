"""Quotes: what a model is shown, what it may say, and what becomes of its answer."""

from __future__ import annotations

import json

import numpy as np
import pytest

from coterie.runtime.codec import from_json, to_json
from coterie.tasks.extract.quotes import Quoting, Said, quoted
from coterie.tasks.extract.ranking import TokenizedText

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
