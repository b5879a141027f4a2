"""Whether a text mentions somebody: a name, an e-mail address, an id, as a whole and in any letter case.

Both sides are folded first (Unicode NFKC, case, signs without width, the ways to set an apostrophe and a hyphen), and
any white space between words counts as one space. Only the value that is given is looked for: no nickname, no other
spelling.
"""

from __future__ import annotations

import codecs
import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from mmap import mmap

from coterie._alike import ALIKE, FOLDED
from coterie.errors import InputError

_SHORTEST = 3
"""Characters of a value that can be looked for: a shorter one stands in every second text."""
_HEAD = 4096
"""Bytes at a file's beginning that tell whether it is binary."""
_SPACE = {chr(code) for code in range(0x3001) if chr(code).isspace()}
_SPACES = (
    rb"(?:"
    + b"|".join(sorted({re.escape(form.encode()) for c in _SPACE for form in (c, json.dumps(c)[1:-1])}))
    + rb")+"
)
"""White space of any kind, as UTF-8 or as JSON escapes it."""


_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Mention:
    """Finds any of some values in texts, in the JSON of rows and in the bytes of files."""

    def __init__(self, values: Sequence[str]) -> None:
        """Take the values. Raises `InputError` for one that is too short to mean anybody."""
        folded = [" ".join(_fold(value).split()) for value in values]
        for value, words in zip(values, folded, strict=True):
            if len(words) < _SHORTEST:
                raise InputError(
                    f"Asked to look for {value!r}, which has {len(words)} characters; the fewest are {_SHORTEST}.",
                    hint="Give a whole name, an e-mail address or an id.",
                )
        self.values = tuple(values)
        self._pattern = re.compile("|".join(_pattern(words) for words in folded))
        composed = {unicodedata.normalize("NFC", value) for value in (*values, *folded)}
        anywhere = b"|".join(_byte_pattern(each) for each in sorted({*values, *composed}))
        self._anywhere = re.compile(anywhere, re.IGNORECASE)
        self._alone = re.compile(rb"(?<![A-Za-z0-9_])(?:" + anywhere + rb")(?![A-Za-z0-9_])", re.IGNORECASE)

    def within(self, text: str) -> bool:
        """Whether a text mentions one of them."""
        return self._pattern.search(_fold(text)) is not None

    def within_json(self, text: str) -> bool:
        """Whether a name or a text in a JSON document does; one that is no JSON is taken as a text."""
        try:
            document = json.loads(text)
        except ValueError:
            return self.within(text)
        return any(self.within(each) for each in _strings(document))

    def within_bytes(self, content: bytes | mmap) -> bool:
        """Whether a file's bytes do, as UTF-8, UTF-16 or Windows-1252, or as JSON escapes it.

        What is compressed or encoded otherwise is not seen. In a binary file texts stand side by side without a gap, so
        there a value need not stand alone.
        """
        if content[:2] in _WIDE:
            return self.within(bytes(content).decode("utf-16", "replace"))
        pattern = self._anywhere if b"\0" in content[:_HEAD] else self._alone
        return pattern.search(content) is not None


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", text.translate(FOLDED)).casefold().translate(FOLDED)


def _pattern(words: str) -> str:
    return rf"(?<!\w){_spaced(words)}(?!\w)"


def _spaced(words: str) -> str:
    return r"\s+".join(re.escape(word) for word in words.split())


def _byte_pattern(words: str) -> bytes:
    return _SPACES.join(b"".join(map(_letter_pattern, word)) for word in words.split())


def _letter_pattern(letter: str) -> bytes:
    """A letter in either case, in any Unicode form, as UTF-8, Windows-1252 or as JSON escapes it."""
    cased = {letter, letter.lower(), letter.upper(), letter.title(), *ALIKE.get(letter, "")}
    formed = {unicodedata.normalize(form, each) for each in cased for form in ("NFC", "NFD")} | cased
    written = {*formed, *(json.dumps(each)[1:-1] for each in formed)}
    octets = {each.encode("utf-8", "surrogatepass") for each in written}
    octets |= {octet for each in cased if (octet := each.encode("cp1252", "replace")) != b"?" or each == "?"}
    return b"(?:" + b"|".join(sorted(re.escape(each) for each in octets)) + b")"


def _strings(document: object) -> Iterator[str]:
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict):
        for key, value in document.items():
            yield str(key)
            yield from _strings(value)
    elif isinstance(document, list):
        for value in document:
            yield from _strings(value)
    elif isinstance(document, int | float) and not isinstance(document, bool):
        yield str(document)
