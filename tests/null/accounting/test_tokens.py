"""The fewest tokens of a text, beside the tokenizers of large models."""

import warnings

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coterie.accounting.meter import fewest_tokens

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it opens its vocabularies in the old way
    import bpe_openai

ENGLISH = (
    "Your card was declined because the daily limit of 1,500 pounds was reached. Here's what you can do: wait until "
    "tomorrow, or raise the limit in the app under Settings > Cards.\n\nThe lender shall not be liable for any loss."
)
ENCODINGS = [bpe_openai.get_encoding(name) for name in ("cl100k_base", "o200k_base")]


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda encoding: encoding.name)
def test_close_for_english(encoding):
    """Of English prose it is at most a tenth too few."""
    assert 0.9 * len(encoding.encode_ordinary(ENGLISH)) <= fewest_tokens(ENGLISH)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
@example(ENGLISH)
@example("PLAN_B _x__y don't don\u2019t I'm we'll 31(vc\r\n\n  \t a/b//\n 1234567")
@example("हिन्दी में लिखा हुआ वाक्य, 中文字符和日本語のテキスト, ไทย")
def test_never_more(text):
    """No text has fewer tokens."""
    for encoding in ENCODINGS:
        assert fewest_tokens(text) <= len(encoding.encode_ordinary(text))


def test_nothing():
    """No text has no tokens."""
    assert fewest_tokens("") == 0
