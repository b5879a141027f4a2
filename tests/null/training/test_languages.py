"""Training says when the encoder does not know the language of the texts."""

from types import SimpleNamespace

import pytest

from coterie.learning.measure import language_warnings

GERMAN = [f"Wo bleibt mein Paket, das ich vor {i} Tagen bestellt habe?" for i in range(2, 22)]
ENGLISH = [f"Where is the parcel that I ordered {i} days ago?" for i in range(2, 82)]


class Texts(SimpleNamespace):
    def __len__(self):
        return len(self.texts)


def warnings(texts, languages):
    encoder = SimpleNamespace(languages=frozenset(languages), about={"name": "minilm"})
    return list(language_warnings(SimpleNamespace(has_texts=True, encoder=encoder, train=Texts(texts=texts))))


def test_foreign_texts():
    """The language, the share and the command are named."""
    (warning,) = warnings(GERMAN + ENGLISH, ["en"])
    assert "20%" in warning
    assert "--languages de" in warning


@pytest.mark.parametrize("languages", [["en"], ["de", "en"], ["all"], []])
def test_nothing_to_say(languages):
    """Nothing of a language that is known, or where nobody says what is; nothing of a few texts."""
    texts = ENGLISH + GERMAN[:5] if languages == ["en"] else GERMAN + ENGLISH
    assert not warnings(texts, languages)
