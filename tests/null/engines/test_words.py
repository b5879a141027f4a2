import pytest

from coterie.engines.choices import cut_words
from coterie.engines.gguf import GGUFHeader

SPACE = "\u0120"
TOKENS = [*"abcdr", SPACE, f"{SPACE}c", "ar", f"{SPACE}car", f"{SPACE}card", "ab"]
MERGES = [f"{SPACE} c", "a r", f"{SPACE}c ar", f"{SPACE}car d", "a b"]


def header(**changes):
    """The header of a model with a small vocabulary."""
    about = {"tokens": TOKENS, "merges": MERGES, "model": "gpt2", "pre": "smollm"} | changes
    metadata = {f"tokenizer.ggml.{name}": value for name, value in about.items()}
    return GGUFHeader(architecture="llama", context_length=8, control_tokens=(), metadata=metadata, tensors={})


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        (" card", [f"{SPACE}card"]),
        (" card card", [f"{SPACE}card", f"{SPACE}card"]),
        (" abc", [SPACE, "ab", "c"]),
        (" carab", [f"{SPACE}car", "ab"]),
    ],
)
def test_merges(text, pieces):
    """Neighbours are joined in the order of the merges, word by word."""
    assert cut_words([text], header()) == {text: tuple(TOKENS.index(piece) for piece in pieces)}


@pytest.mark.parametrize("text", ["card", " card.", "  card", " card ", " ca1d", " c\u00e4d", "", " xyz"])
def test_left_out(text):
    """What is not plain words behind spaces, or has a letter that the vocabulary has not, is left to the model."""
    assert cut_words([text, " card"], header()).keys() == {" card"}


@pytest.mark.parametrize("change", [{"model": "llama"}, {"pre": "odd"}, {"tokens": None}, {"merges": None}], ids=str)
def test_other_tokenizers(change):
    """A tokenizer of another kind is never imitated."""
    assert cut_words([" card"], header(**change)) == {}
