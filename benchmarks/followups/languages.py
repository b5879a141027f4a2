"""Follow-ups and small talk in seven languages, by the turn models of an encoder.

    coterie models pull multilingual-e5-small --languages en,de,fr,es,it,nl,pt
    python benchmarks/followups/languages.py --look TEXT

`languages.json` was written for this and chose nothing. Every turn that stands alone is asked after three unrelated
questions. With `--encoder minilm` the bundled encoder is asked, which knows English only.

`--substitutions test` asks the follow-ups of `substitutions.json` instead, with both encoders: whether one that names
something else ("And for acetone?" after "Which gloves for caustic soda?") still has what it was named in place of, and
whether the rest of the question is kept.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _record import Bar, Record, add_look, arguments, sha256
from coterie.context.sharing import rewrite_query
from coterie.engines.onnx import OnnxEncoder, open_encoder
from coterie.turns.follow_ups import words_of
from coterie.turns.reader import TurnReader
from coterie.types import Context, Entry, Label, Message, Output, Prompt

CLAIM = "With a multilingual encoder follow-ups and small talk are told apart in other languages as in English."
SUBSTITUTED = "A follow-up that names something else asks for that in place of what was named before."
TEXTS = Path(__file__).with_name("languages.json")
SUBSTITUTIONS = Path(__file__).with_name("substitutions.json")
UNRELATED = (1, 5, 9)
"""Places of the questions before a turn that stands alone, counted from its own."""


def measure(encoder: OnnxEncoder, reader: TurnReader, rows: dict[str, list[str]]) -> dict[str, float]:
    """Of one language: turns that lean and that stand alone, small talk and requests."""
    questions, leans, alone = rows["asked"], rows["leans"], rows["alone"]
    detected = [reader.leans(now, [last]) > reader.least_leaning for last, now in zip(questions, leans, strict=True)]
    wrong = [
        reader.leans(now, [questions[(at + away) % len(questions)]]) > reader.least_leaning
        for at, now in enumerate(alone)
        for away in UNRELATED
    ]
    small = reader.talk(encoder.encode(rows["talk"])) > 0
    requests = reader.talk(encoder.encode([*questions, *alone])) > 0
    share = len(detected) * float(np.mean(wrong))
    return {
        "follow_ups_found": float(np.mean(detected)),
        "alone_taken_for_follow_ups": float(np.mean(wrong)),
        "f1": 2 * sum(detected) / (sum(detected) + len(detected) + share),
        "small_talk_found": float(small.mean()),
        "requests_taken_for_small_talk": float(requests.mean()),
    }


async def measure_substitutions(
    encoder: OnnxEncoder, reader: TurnReader, rows: Sequence[Mapping[str, Any]], language: str
) -> dict[str, float]:
    """Of one language: follow-ups found, with none of the words they replace, and with all that they have to keep."""

    async def encode(texts: Sequence[str]) -> Sequence[Output]:
        return await encoder.run([Prompt(text=text, states=True) for text in texts])

    found = replaced = kept = 0
    for row in rows:
        first = Message(role="user", text=row["first"])
        context = Context(entries=(Entry(content=first, producer="user", label=Label.INTERNAL, time=0.0),))
        query = await rewrite_query(row["then"], context, turns=reader, encode=encode, language=language)
        words = set() if query is None else {word.text for word in words_of(query.text)}
        found += query is not None
        replaced += bool(row["drop"]) and query is not None and words.isdisjoint(row["drop"])
        kept += words.issuperset(row["keep"])
    replacing = sum(bool(row["drop"]) for row in rows)
    return {
        "follow_ups": len(rows),
        "found": found,
        "replacing": replacing,
        "replaced": replaced,
        "kept": kept,
    }


async def ask_substitutions(half: str) -> dict[str, object]:
    """Measure with both encoders, whose small-talk heads differ, in the languages of the follow-up model."""
    texts = json.loads(SUBSTITUTIONS.read_text(encoding="utf-8"))
    figures: dict[str, object] = {}
    for name in ("minilm", "multilingual-e5-small"):
        encoder = open_encoder(name, Path())
        reader = TurnReader.of(encoder.about)
        figures[name] = {
            language: await measure_substitutions(encoder, reader, texts[language][half], language)
            for language in texts
            if language in reader.languages
        }
        await encoder.close()
    return figures


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__ or "", __file__)
    add_look(parser)
    parser.set_defaults(out=None)
    parser.add_argument("--encoder", default="multilingual-e5-small")
    parser.add_argument("--substitutions", choices=("dev", "test"), help="which half of the substitutions is asked")
    given = parser.parse_args()
    if given.substitutions:
        record = Record(claim=SUBSTITUTED, data={SUBSTITUTIONS.name: sha256(SUBSTITUTIONS)})
        record.figures = asyncio.run(ask_substitutions(given.substitutions))
        print(json.dumps(record.figures, indent=1))
        record.notes.append(given.look)
        record.write(given.out or Path(__file__).with_name("substitutions_result.json"))
        return
    encoder = open_encoder(given.encoder, Path())
    reader = TurnReader.of(encoder.about)
    if not reader.languages or not reader.talk_languages:
        sys.exit(f"The package has no turn models for {given.encoder}, or this checkout lacks their files.")
    texts = json.loads(TEXTS.read_text(encoding="utf-8"))
    by_language = {
        language: measure(encoder, reader, texts[language]) for language in texts if language in reader.talk_languages
    }
    record = Record(claim=CLAIM, data={TEXTS.name: sha256(TEXTS)})
    others = [figures for language, figures in by_language.items() if language != "en"] or list(by_language.values())
    record.figures = {"encoder": given.encoder, "languages": by_language}
    record.bars = [
        Bar(
            what=f"mean of the languages but English, {name}",
            measured=float(np.mean([other[key] for other in others])),
            limit=limit,
            at_most=low,
        )
        for name, key, limit, low in (
            ("F1 of follow-ups", "f1", 0.85, False),
            ("small talk found", "small_talk_found", 0.75, False),
            ("requests taken for small talk", "requests_taken_for_small_talk", 0.01, True),
        )
    ]
    record.notes.append(given.look)
    record.write(given.out or Path(__file__).with_name("languages_result.json"))


if __name__ == "__main__":
    main()
