import math

import pytest

from coterie.engines.choices import Scoring, arrange


@pytest.mark.parametrize(
    ("text", "tokens", "order"),
    [
        (b"", {}, ()),
        (b" card arrival", {1: b" arrival", 2: b" card"}, (2, 1)),
        (b" pay or pay", {1: b" or", 2: b" pay"}, (2, 1, 2)),
        (b" carded", {1: b" car", 2: b"ded", 3: b" card", 4: b"ed"}, None),
        (b" abab", {1: b" ab", 2: b"ab", 3: b" abab"}, None),
        (b" \xc3\xa7a", {5: b" \xc3", 6: b"\xa7", 7: b"a"}, (5, 6, 7)),
        (b" aaaa", {1: b" a", 2: b"a", 3: b"aa"}, (1, 2, 3)),
    ],
)
def test_arrange(text, tokens, order):
    """Tokens are put in the order that makes up the text, all of them used; else there is none."""
    if order is None:
        with pytest.raises(ValueError, match="do not make up"):
            arrange(text, tokens)
    else:
        assert sorted(arrange(text, tokens)) == sorted(order)
        assert b"".join(tokens[token] for token in arrange(text, tokens)) == text


def chunk(token, top, key="logprob"):
    """A chunk of llama.cpp's answer: one token with the likeliest others."""
    listed = [{"id": number, "bytes": list(piece), key: value} for number, piece, value in top]
    step = {"id": token, "logprob": -0.5, f"top_{key}s": listed}
    return {"choices": [{"text": "x", "logprobs": {"content": [step]}}], "prompt_progress": {"total": 7}}


def test_guessed_tokens_end_a_read():
    """A token that prompt lookup guessed comes without probabilities: it and what follows is not read."""
    answers = [chunk(3, [(3, b"a", -0.5)]), {"choices": [{"text": "y", "logprobs": None}]}, chunk(4, [])]
    stopped = []

    def ask(_, has_enough):
        for index, answer in enumerate(answers):
            if has_enough(answer):
                stopped.append(index)
                return

    scoring = Scoring(ask, "prompt")
    (read,) = scoring.down((), [3], 4)
    assert (read.token, read.log_probability, read.listed) == (3, -0.5, {3: -0.5})
    assert stopped == [1]
    assert (scoring.tokens_in, scoring.tokens_out) == (7, 1)


def test_tokens_of_a_choice_with_one_twice():
    """The token that a choice has twice hides the others; it is banned in the next try."""
    bodies = []

    def ask(body, has_enough):
        bodies.append(body)
        first = len(bodies) == 1
        has_enough(chunk(0, [(1, b" pay", 1.0)] if first else [(2, b" or", 0.7), (9, b" x", 1e-30)], key="prob"))

    assert Scoring(ask, "prompt").tokens_of(" pay or pay") == (1, 2, 1)
    assert bodies[1]["logit_bias"] == [[" pay or pay", 100.0], [1, False]]


def test_among():
    """Weighed among themselves; one too unlikely to be listed has the smallest."""

    def ask(_, has_enough):
        has_enough(chunk(0, [(1, b"a", 0.75), (2, b"b", 0.25)], key="prob"))

    among = Scoring(ask, "prompt").among((5,), [1, 2, 3])
    assert among == pytest.approx({1: math.log(0.75), 2: math.log(0.25), 3: math.log(1e-20)})
