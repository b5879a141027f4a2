"""Sentences of drafted replies: is what a source says let through, and what it does not say kept back?

    python benchmarks/drafts/run.py --look TEXT             # both halves; --half dev for the one that was developed on

`sentences.json` has help texts in four languages, each with sentences that say what it says in other words and
sentences that say something near it, and courtesies with and without a claim. Each is judged alone, as a `generate`
specialist judges the sentences of a draft: with the models of the package, and by words alone as without them.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _record import Record, add_look, arguments, sha256
from coterie.tasks.generate.grounding import DraftModels, bundled_models, check_grounding

CLAIM = "What a draft says and its source does not is kept back; what the source says, and courtesies, are said."
SENTENCES = Path(__file__).with_name("sentences.json")


class Case(NamedTuple):
    """A sentence and its source; what it is: `right`, `courtesy`, `claim` (a courtesy that claims), or a fault."""

    language: str
    half: str
    kind: str
    sentence: str
    source: str


def cases() -> Iterator[Case]:
    """All of them. Courtesies stand beside the first source of their language and half."""
    stored = json.loads(SENTENCES.read_text(encoding="utf-8"))
    beside: dict[tuple[str, str], str] = {}
    for source in stored["sources"]:
        group = (source["language"], source["half"])
        beside.setdefault(group, source["text"])
        yield from (Case(*group, "right", sentence, source["text"]) for sentence in source["right"])
        yield from (Case(*group, kind, sentence, source["text"]) for kind, sentence in source["wrong"])
    for courtesies in stored["courtesies"]:
        group = (courtesies["language"], courtesies["half"])
        yield from (Case(*group, "courtesy", sentence, beside[group]) for sentence in courtesies["right"])
        yield from (Case(*group, "claim", sentence, beside[group]) for sentence in courtesies["wrong"])


def shares(models: DraftModels | None, half: str) -> dict[str, dict[str, float]]:
    """By language what is said: of what is right, of courtesies, of what is wrong, and of each kind of it."""
    passes: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for case in cases():
        if case.half == half:
            passed = check_grounding(case.sentence, case.source, models=models).ok
            for language in (case.language, "all" if case.language == "en" else "others", "all"):
                passes[language][case.kind].append(passed)
                if case.kind not in ("right", "courtesy"):
                    passes[language]["wrong"].append(passed)
    return {
        language: {kind: round(sum(passed) / len(passed), 3) for kind, passed in kinds.items()}
        for language, kinds in passes.items()
        if language != "all"
    }


def main() -> None:
    """Judge, write."""
    parser = arguments(__doc__ or "", __file__)
    add_look(parser)
    parser.add_argument("--half", choices=["dev", "test"], help="one half only")
    given = parser.parse_args()
    record = Record(claim=CLAIM, seeds=[])
    record.data[SENTENCES.name] = sha256(SENTENCES)
    for half in [given.half] if given.half else ["dev", "test"]:
        record.figures[half] = {"with_models": shares(bundled_models(), half), "words_alone": shares(None, half)}
        print(half, json.dumps(record.figures[half], indent=1))
    record.notes.append(given.look)
    record.write(given.out)


if __name__ == "__main__":
    main()
