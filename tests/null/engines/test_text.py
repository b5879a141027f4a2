from hypothesis import given
from hypothesis import strategies as st

from coterie.text.folding import estimate_tokens, valid_text


@given(st.text(st.characters(exclude_categories=[])))
def test_valid_text(text):
    """Whatever comes in, surrogates included, what goes out can be encoded; valid text stays as it is."""
    valid = valid_text(text)
    valid.encode()
    try:
        text.encode()
    except UnicodeEncodeError:
        assert "\ufffd" in valid or len(valid) < len(text)  # a pair of surrogates is one character
    else:
        assert valid == text


def test_estimate_tokens():
    """Four bytes a token, rounded up."""
    assert [estimate_tokens(text) for text in ("", "a", "abcd", "abcde", "é" * 4)] == [0, 1, 1, 2, 2]
