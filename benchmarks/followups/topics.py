"""What follow-ups are given back: the words that a person's rewrite adds, of those that were said before.

    COTERIE_DATA=FOLDER python benchmarks/followups/topics.py --look TEXT [--canard]

Turns of TREC CAsT 2021 and 2022 with manual rewrites, each after the questions before it (`same`), and second turns of
a conversation that begins after three turns of another one (`switch`). `--canard` takes conversations of CANARD, which
the models were trained on and the way of finding the topic was chosen on.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _data import find
from _record import Record, add_look, arguments, sha256
from coterie.context.sharing import rewrite_query
from coterie.engines.onnx import OnnxEncoder
from coterie.turns.follow_ups import words_of
from coterie.turns.reader import TurnReader
from coterie.types import Context, Entry, Label, Message, Output, Prompt

CLAIM = "A follow-up is given back what it is about."
_SMALL = frozenset(
    {"a", "an", "the", "of", "to", "in", "on", "for", "is", "are", "was", "were", "do", "does", "did", "what", "when"}
    | {"where", "who", "how", "why", "which", "it", "they", "he", "she", "that", "this", "and", "or", "with"}
)
"""English words that tell nothing here; they are counted nowhere."""
_LOOKED_BACK, _BEFORE, _APART, _MOST = 8, 3, 7, 250


class Asked(NamedTuple):
    """A turn, with what was asked before it."""

    kind: str
    before: list[str]
    text: str
    rewrite: str


def conversations(path: Path, *, canard: bool) -> list[list[tuple[str, str]]]:
    """Questions with their rewrites."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    if not canard:
        return [[(turn["q"], turn["rewrite"]) for turn in row["turns"] if turn.get("rewrite")] for row in rows]
    by_id: dict[str, list[tuple[str, str]]] = {}
    for row in sorted(rows, key=lambda row: row["n"]):
        by_id.setdefault(row["id"], []).append((row["q"], row["rewrite"]))
    return list(by_id.values())[:_MOST]


def turns(topics: Sequence[Sequence[tuple[str, str]]]) -> Iterator[Asked]:
    """Each turn after those before it, and second turns after another conversation."""
    for number, own in enumerate(topics):
        for at in range(1, len(own)):
            yield Asked("same", [text for text, _ in own[:at]][-_LOOKED_BACK:], *own[at])
        other = topics[(number + _APART) % len(topics)]
        if len(other) > 1:
            yield Asked("switch", [*(text for text, _ in own[:_BEFORE]), other[0][0]], *other[1])


async def measure(rows: Sequence[Asked]) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 of the words, and the share of turns that got one of them, by kind."""
    encoder = OnnxEncoder.bundled()
    reader = TurnReader.of(encoder.about)

    async def encode(texts: Sequence[str]) -> Sequence[Output]:
        return await encoder.run([Prompt(text=text, states=True) for text in texts])

    counts: dict[str, list[int]] = {}
    for row in rows:
        own_words = {word.text for word in words_of(row.text)}
        earlier_words = {word.text for text in row.before for word in words_of(text)}
        wanted = ({word.text for word in words_of(row.rewrite)} - own_words) & earlier_words - _SMALL
        if not wanted:
            continue
        entries = tuple(
            Entry(content=Message(role="user", text=text), producer="user", label=Label.INTERNAL, time=0.0)
            for text in row.before
        )
        rewritten = await rewrite_query(row.text, Context(entries=entries), turns=reader, encode=encode)
        added = "" if rewritten is None else rewritten.text
        given = {word.text for word in words_of(added)} - own_words - _SMALL
        both = len(given & wanted)
        of_kind = counts.setdefault(row.kind, [0] * 5)
        for index, count in enumerate((both, len(given), len(wanted), 1, both > 0)):
            of_kind[index] += count
    await encoder.close()
    return {
        kind: {
            "turns": n,
            "precision": both / max(given, 1),
            "recall": both / wanted,
            "f1": 2 * both / (given + wanted),
            "some_word": some / n,
        }
        for kind, (both, given, wanted, n, some) in counts.items()
    }


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    add_look(parser)
    parser.set_defaults(out=Path(__file__).with_name("topics.json"))
    parser.add_argument("--canard", action="store_true", help="what the way was chosen on")
    given = parser.parse_args()
    path = find("reading/chat/canard_dev" if given.canard else "reading/chat/cast_2021_2022")[0]
    record = Record(claim=CLAIM, data={path.name: sha256(path)})
    record.figures = asyncio.run(measure(list(turns(conversations(path, canard=given.canard)))))
    print(json.dumps(record.figures))
    record.notes.append(given.look)
    record.write(given.out)


if __name__ == "__main__":
    main()
