"""Personal data in every form that a value may be written in: how much is found, by form and kind.

    python benchmarks/forms/run.py [--values 25]

Values are made up here (with right check digits), written in each form, and put into sentences in English, Chinese and
Arabic. A value counts as found where a find of its kind covers all of it, so that redacting leaves nothing. Then every
code point that is not seen (Default_Ignorable_Code_Point, Cc, Cf, Me, Mn) joins the characters of an IBAN, and
`clean.txt`, ordinary sentences of many languages, is looked through: nothing is to be found there.
"""

from __future__ import annotations

import base64
import random
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


from _record import Bar, Record, arguments, sha256
from coterie.privacy.detection import Detector, Kind, label_of
from coterie.privacy.patterns import PatternDetector, find_between
from coterie.privacy.tagger import NameTagger
from coterie.testing import Canaries
from coterie.text.folding import is_ignorable

CLAIM = "Personal data is found in whatever form of a covered kind it is written, and ordinary text is left alone."
CLEAN = Path(__file__).with_name("clean.txt")
SENTENCES = ("Please note {} for later.", "请记下{}谢谢。", "من فضلك اكتب {} الآن.", "{}")
NAMED = "Dear {}, thank you for your letter."
"""Persons stand in an English sentence: the model of names reads that."""
NAMES = ("Anna Schmidt", "John Miller", "Maria Garcia", "Peter Novak", "Helen Carter")
CYRILLIC = str.maketrans(
    "AaBCcEeHKMOoPpTXxyS",
    "\u0410\u0430\u0412\u0421\u0441\u0415\u0435\u041d\u041a\u041c\u041e\u043e\u0420\u0440\u0422\u0425\u0445\u0443\u0405",
)
GREEK = str.maketrans(
    "ABEHIKMNOoPTXYZv",
    "\u0391\u0392\u0395\u0397\u0399\u039a\u039c\u039d\u039f\u03bf\u03a1\u03a4\u03a7\u03a5\u0396\u03bd",
)

Form = Callable[[str], str]


def joined(sign: str) -> Form:
    """A form with a character between each two of a value."""
    return sign.join


def digits(signs: str) -> Form:
    """A form with other digits."""
    return lambda value: value.translate(str.maketrans("0123456789", signs))


def shifted(value: str) -> str:
    """A value in characters of double width."""
    return "".join(chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in value)


def mathematical(value: str) -> str:
    """A value in bold mathematical letters."""
    capital, small = 0x1D400 - ord("A"), 0x1D41A - ord("a")
    moved = ((sign, capital if sign.isupper() else small) for sign in value)
    return "".join(chr(ord(sign) + by) if sign.isascii() and sign.isalpha() else sign for sign, by in moved)


def encoded(value: str) -> str:
    """A value in base64, alone."""
    return base64.b64encode(value.encode()).decode()


def lines(value: str) -> str:
    """A value with an end of a line in place of each blank, as an answered mail quotes it."""
    return value.replace(" ", "\r\n> ")


FORMS: Mapping[str, Form] = {
    "as it is": str,
    "joined by a tag": joined("\U000e0020"),
    "joined by a variation selector": joined("\ufe0f"),
    "joined by a Hangul filler": joined("\u3164"),
    "joined by U+2065, unassigned": joined("\u2065"),
    "joined by NUL": joined("\0"),
    "joined by a vertical tab": joined("\x0b"),
    "accents on every character": joined("\u0301"),
    "an Arabic vowel sign on every character": joined("\u064e"),
    "enclosed (keycaps)": joined("\u20e3"),
    "joined by a character for private use": joined("\ue000"),
    "joined by an unassigned character": joined("\u0378"),
    "joined by tags of HTML": joined("<wbr>"),
    "double width": shifted,
    "mathematical letters": mathematical,
    "superscript digits": digits("\u2070\xb9\xb2\xb3\u2074\u2075\u2076\u2077\u2078\u2079"),
    "subscript digits": digits("".join(map(chr, range(0x2080, 0x208A)))),
    "circled digits": digits("\u24ea" + "".join(map(chr, range(0x2460, 0x2469)))),
    "filled circled digits": digits("\U0001f10c" + "".join(map(chr, range(0x278A, 0x2793)))),
    "Arabic digits": digits("".join(map(chr, range(0x660, 0x66A)))),
    "Devanagari digits": digits("".join(map(chr, range(0x966, 0x970)))),
    "Cyrillic look-alikes": lambda value: value.translate(CYRILLIC),
    "Greek look-alikes": lambda value: value.translate(GREEK),
    "percent-encoded": quote,
    "percent-encoded, every byte": lambda value: "".join(f"%{byte:02X}" for byte in value.encode()),
    "percent-encoded twice": lambda value: quote(quote(value)),
    "HTML entities": lambda value: "".join(f"&#x{ord(sign):x};" for sign in value),
    "JSON escapes": lambda value: "".join(f"\\u{ord(sign):04x}" for sign in value),
    "base64": encoded,
    "base64 in a sentence": lambda value: (
        base64.urlsafe_b64encode(f"note {value} please".encode()).decode().rstrip("=")
    ),
    "base64 twice": lambda value: encoded(encoded(value)),
    "hexadecimal": lambda value: value.encode().hex(),
    "hexadecimal, bytes apart": lambda value: value.encode().hex(" "),
    "groups on several lines": lines,
    "groups on several lines of a JSON string": lambda value: value.replace(" ", "\\n"),
}
NOT_COVERED: Mapping[str, frozenset[str]] = {
    "accents on every character": frozenset({"PERSON"}),
    "Cyrillic look-alikes": frozenset({"PERSON"}),
    "Greek look-alikes": frozenset({"PERSON"}),
    "groups on several lines": frozenset({"CARD", "PHONE", "PERSON"}),
    "groups on several lines of a JSON string": frozenset({"CARD", "PHONE", "PERSON"}),
    "joined by tags of HTML": frozenset({"PHONE", "IP", "PERSON"}),
}
"""By form the kinds that are not found in it, or not always."""
CUT = ("IBAN", "CARD", "SECRET")
WAYS: Mapping[str, Callable[[str, str], Sequence[str]]] = {
    "two turns": lambda one, two: (f"It is {one}", "go on", f"and the rest {two}."),
    "two columns": lambda one, two: ("first", one, "second", two),
    "two JSON strings": lambda one, two: (f'{{"a": "{one}", "b": "{two}"}}',),
    "two cells": lambda one, two: (f"7,{one},{two},open",),
    "two lines": lambda one, two: (f"It is {one}\n{two}",),
}


def values_of(count: int, seed: int) -> Mapping[str, Sequence[str]]:
    """Made-up values of each kind, with right check digits."""
    canaries, draw = Canaries(seed=seed), random.Random(seed)  # noqa: S311 - no secret: reproducible
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

    def grouped(kind: str) -> str:
        plain = canaries.personal(kind).text.replace(" ", "")
        return " ".join(plain[at : at + 4] for at in range(0, len(plain), 4))

    return {
        "EMAIL": [canaries.personal("EMAIL").text for _ in range(count)],
        "IBAN": [grouped("IBAN") for _ in range(count)],
        "CARD": [grouped("CARD") for _ in range(count)],
        "PHONE": [f"+49 30 {draw.randrange(10**6, 10**7)}" for _ in range(count)],
        "NATIONAL_ID": [
            f"{draw.randrange(100, 600)}-{draw.randrange(10, 99)}-{draw.randrange(1000, 9999)}" for _ in range(count)
        ],
        "IP": [".".join(str(draw.randrange(11, 120)) for _ in range(4)) for _ in range(count)],
        "SECRET": ["ghp_" + "".join(draw.choices(letters, k=34)) + "7a" for _ in range(count)],
        "PERSON": [NAMES[index % len(NAMES)] for index in range(min(count, len(NAMES)))],
    }


def is_found(detector: Detector, text: str, written: str, kind: str) -> bool:
    """Whether finds of the kind cover all of a value that is written somewhere in a text."""
    start = text.index(written)
    seen = [start + at for at, sign in enumerate(written) if sign.isalnum()]
    spans = [(span.start, span.end) for span in detector.find(text) if span.kind == kind]
    return all(any(first <= at < last for first, last in spans) for at in seen)


def recall_of(detector: Detector, form: Form, values: Sequence[str], kind: str) -> float:
    """The share of values of a kind that are found in a form, in each sentence."""
    sentences = (NAMED,) if kind == Kind.PERSON else SENTENCES
    cases = [
        (sentence.format(written), written) for value in values for written in [form(value)] for sentence in sentences
    ]
    return sum(is_found(detector, text, written, kind) for text, written in cases) / len(cases)


def cut_recall(kind: str, values: Sequence[str], way: Callable[[str, str], Sequence[str]]) -> float:
    """The share of values that are found when they are cut in two, at each third of them."""
    detector, hits, tried = PatternDetector(), 0, 0
    for value in values:
        for at in (len(value) // 3, len(value) // 2, 2 * len(value) // 3):
            one, two = value[:at].strip(), value[at:].strip()
            texts = [f"My card: {text}" if kind == "CARD" and not n else text for n, text in enumerate(way(one, two))]
            finds = [detector.find(text) for text in texts]
            between = [piece for entity in find_between(texts, finds) if entity.kind == kind for piece in entity.pieces]
            spans = {(n, f.start, f.end) for n, own in enumerate(finds) for f in own if f.kind == kind}
            spans |= {(piece.text, piece.start, piece.end) for piece in between}
            hidden = all(any(texts[n][s:e] == part for n, s, e in spans) for part in (one, two))
            whole = any(texts[n][s:e] == f"{one}\n{two}" for n, s, e in spans)
            hits, tried = hits + (hidden or whole), tried + 1
    return hits / tried


def unseen() -> Iterator[str]:
    """Every character that is not seen, or is seen only as part of another."""
    for sign in map(chr, range(sys.maxunicode + 1)):
        is_control = unicodedata.category(sign) == "Cc" and sign not in "\t\n\r"
        if is_control or is_ignorable(sign) or unicodedata.category(sign) in {"Cf", "Me", "Mn"}:
            yield sign


def swept(value: str) -> tuple[int, list[str]]:
    """How many characters were tried between those of a value, and behind which it was not found whole."""
    detector, signs = PatternDetector(), list(unseen())
    texts = [(sign, f"It is {sign.join(value)}.") for sign in signs]
    missed = [sign for sign, text in texts if not is_found(detector, text, sign.join(value), Kind.IBAN)]
    return len(signs), [f"U+{ord(sign):04X}" for sign in missed]


def clean_finds(detector: Detector) -> list[str]:
    """What is found of kinds that raise a label in ordinary sentences: alone, and side by side."""
    sentences = CLEAN.read_text(encoding="utf-8").splitlines()
    texts = [*sentences, *(f"{one} {two}" for one, two in pairwise(sentences)), "\n".join(sentences)]
    finds = [(text, span) for text in texts for span in detector.find(text) if label_of(span.kind)]
    return [f"{span.kind}: {text[span.start : span.end]}" for text, span in finds]


def main() -> None:
    """Measure, print the table and write the result file."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--values", type=int, default=25, help="values of each kind")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    values = values_of(given.values, given.seed)
    detectors = {kind: NameTagger.bundled() if kind == Kind.PERSON else PatternDetector() for kind in values}
    record = Record(claim=CLAIM, seeds=[given.seed], data={CLEAN.name: sha256(CLEAN)})
    table = {
        name: {kind: recall_of(detectors[kind], form, own, kind) for kind, own in values.items()}
        for name, form in FORMS.items()
    }
    print(f"{'':42}" + "".join(f"{kind:>12}" for kind in values))
    for name, row in table.items():
        outside = NOT_COVERED.get(name, frozenset())
        print(
            f"{name:42}"
            + "".join(
                f"{f'({recall:.2f})' if kind in outside else f'{recall:.2f}':>12}" for kind, recall in row.items()
            )
        )
    cut = {name: {kind: cut_recall(kind, values[kind], way) for kind in CUT} for name, way in WAYS.items()}
    for name, row in cut.items():
        print(f"cut over {name:33}", "  ".join(f"{kind} {recall:.2f}" for kind, recall in row.items()))
    tried, missed = swept(values["IBAN"][0])
    finds = clean_finds(PatternDetector())
    print(
        f"{tried:,} characters that are not seen: missed {missed or 'none'}; found in clean text: {finds or 'nothing'}"
    )
    covered = [
        recall for name, row in table.items() for kind, recall in row.items() if kind not in NOT_COVERED.get(name, ())
    ]
    covered += [recall for row in cut.values() for recall in row.values()]
    record.figures = {"recall": table, "recall, cut": cut, "characters tried": tried, "missed": missed, "clean": finds}
    record.figures["not covered"] = {name: sorted(kinds) for name, kinds in NOT_COVERED.items() if kinds}
    record.bars = [
        Bar(what="least recall of a covered form and kind", measured=min(covered), limit=1.0),
        Bar(what="characters that hide an IBAN", measured=len(missed), limit=0, at_most=True),
        Bar(what="finds in ordinary text of many languages", measured=len(finds), limit=0, at_most=True),
    ]
    record.write(given.out)


if __name__ == "__main__":
    main()
