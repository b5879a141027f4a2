"""Names as sentences bend them: the cases of Polish, Czech and Russian, and the German genitive.

Endings by rule, as a school grammar gives them. A form that nobody would write is among them now and then; what is to
be learned is that a name's end changes and its place in the sentence does not.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

_RULES: Mapping[str, Sequence[tuple[str, int, str]]] = {
    "pl": (
        ("ski", 0, "ego emu"),
        ("cki", 0, "ego emu"),
        ("ski", 1, "im"),
        ("ska", 1, "iej ą"),
        ("cka", 1, "iej ą"),
        ("ka", 1, "i ę ą"),
        ("ga", 1, "i ę ą"),
        ("a", 1, "y ę ą ie"),
        ("ek", 2, "ka kiem kowi"),
        ("ec", 2, "ca cem cowi"),
        ("k", 0, "a iem owi"),
        ("g", 0, "a iem owi"),
    ),
    "cs": (
        ("ová", 1, "é ou"),
        ("á", 1, "é ou"),
        ("ý", 1, "ého ému ým"),
        ("ka", 1, "y u ou"),
        ("a", 1, "y u ou ovi ě"),
        ("ek", 2, "ka kem kovi"),
        ("ec", 2, "ce cem covi"),
    ),
    "ru": (
        ("\u0441\u043a\u0438\u0439", 2, "\u043e\u0433\u043e \u043e\u043c\u0443 \u0438\u043c"),
        ("\u0430\u044f", 2, "\u043e\u0439 \u0443\u044e"),
        ("\u043e\u0432\u0430", 1, "\u043e\u0439 \u0443"),
        ("\u0435\u0432\u0430", 1, "\u043e\u0439 \u0443"),
        ("\u0438\u043d\u0430", 1, "\u043e\u0439 \u0443 \u044b"),
        ("\u0438\u044f", 1, "\u0438 \u044e \u0435\u0439"),
        ("\u044f", 1, "\u0438 \u0435 \u044e \u0435\u0439"),
        ("\u0430", 1, "\u044b \u0435 \u0443 \u043e\u0439"),
        ("\u0439", 1, "\u044f \u044e \u0435\u043c \u0435"),
        ("\u044c", 1, "\u044f \u044e \u0435\u043c \u0438"),
        ("\u043e\u0432", 0, "\u0430 \u0443 \u044b\u043c"),
        ("\u0435\u0432", 0, "\u0430 \u0443 \u044b\u043c"),
        ("\u0438\u043d", 0, "\u0430 \u0443 \u044b\u043c"),
    ),
}
"""By language: an ending, how much of it goes, and what may come in its place. The first that fits counts."""
_CONSONANTS = {"pl": "a owi em", "cs": "a ovi em", "ru": "\u0430 \u0443 \u043e\u043c"}
_PLACES = {
    "pl": (("a", 1, "ie y ę"), ("", 0, "u ie")),
    "cs": (("a", 1, "y ě u"), ("e", 0, ""), ("", 0, "u ě")),
    "ru": (("\u0430", 1, "\u0435 \u044b \u0443"), ("\u044c", 1, "\u0438"), ("", 0, "\u0435 \u0430")),
}
_VOWELS = frozenset("aeiouyáéíóúůýěąę\u0430\u0443\u043e\u044b\u0438\u044d\u044f\u044e\u0451\u0435")


def bent(name: str, language: str, chance: random.Random) -> str:
    """A person's name in one of the cases of a language but the first one."""
    if language == "de":
        return name + ("'" if name[-1:] in "sxzß" else "s")
    return " ".join(_bent_word(word, language, chance) for word in name.split())


def _bent_word(word: str, language: str, chance: random.Random) -> str:
    fitting = [(cut, ends) for ending, cut, ends in _RULES.get(language, ()) if word.endswith(ending)]
    if fitting:
        cut, ends = fitting[0] if len(fitting) == 1 or chance.random() < 0.7 else fitting[1]
        return word[: len(word) - cut] + chance.choice(ends.split())
    if language not in _CONSONANTS or len(word) < 3 or word[-1].lower() in _VOWELS or not word[-1].isalpha():
        return word
    return word + chance.choice(_CONSONANTS[language].split())


def bent_place(name: str, language: str, chance: random.Random) -> str:
    """A town as it stands behind *in*, *from* or *to*."""
    for ending, cut, ends in _PLACES.get(language, ()):
        if name.endswith(ending):
            return name[: len(name) - cut] + chance.choice(ends.split() or [""])
    return name
