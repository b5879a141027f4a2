"""Build `src/coterie/text/unicode.json`: default-ignorable code points, and letters that look like ASCII ones.

Two properties of the Unicode standard that Python's `unicodedata` lacks. Default_Ignorable_Code_Point is of
DerivedCoreProperties.txt, read through the package `regex`; the look-alikes are of confusables.txt (UTS #39), as the
package `confusable-homoglyphs` (MIT) carries it. Characters whose compatibility form (NFKC) is another one are left
out: that form is looked up.

    pip install regex confusable-homoglyphs && python scripts/unicode_build.py
"""

from __future__ import annotations

import json
import string
import sys
import unicodedata
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import regex

TARGET = Path(__file__).parent.parent / "src" / "coterie" / "text" / "unicode.json"
PLAIN = string.ascii_letters + string.digits + ".-_@:=+/"
"""What a value that has a form is written with."""


def ignorable() -> list[list[int]]:
    """First and last code point of each range with the property."""
    ranges: list[list[int]] = []
    for code in range(sys.maxunicode + 1):
        if regex.fullmatch(r"\p{Default_Ignorable_Code_Point}", chr(code)):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return ranges


def lookalikes() -> dict[str, str]:
    """By plain sign all that look like it."""
    table = json.loads(files("confusable_homoglyphs").joinpath("confusables.json").read_text(encoding="utf-8"))
    letters_of = {}
    for plain in PLAIN:
        alike = (entry["c"] for entry in table.get(plain, ()) if len(entry["c"]) == 1 and not entry["c"].isascii())
        own = sorted(sign for sign in alike if unicodedata.normalize("NFKC", sign) == sign and not sign.isdecimal())
        # The standard's form of a capital I is a small l: what is a capital stands for the capital.
        for target, letters in ((plain, own),) if plain != "l" else _apart(own):
            letters_of[target] = letters_of.get(target, "") + "".join(letters)
    return {plain: letters for plain, letters in letters_of.items() if letters}


def _apart(letters: list[str]) -> tuple[tuple[str, list[str]], ...]:
    return ("l", [letter for letter in letters if not letter.isupper()]), (
        "I",
        [letter for letter in letters if letter.isupper()],
    )


def main() -> None:
    """Write the file."""
    source = {
        "ignorable": f"DerivedCoreProperties.txt, Default_Ignorable_Code_Point, by regex {version('regex')}",
        "lookalikes": f"confusables.txt (UTS #39), by confusable-homoglyphs {version('confusable-homoglyphs')}",
    }
    made = {"source": source, "ignorable": ignorable(), "lookalikes": lookalikes()}
    TARGET.write_text(json.dumps(made, indent=0, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
