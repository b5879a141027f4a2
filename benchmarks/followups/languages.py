"""Follow-ups and small talk in seven languages, by the turn models of an encoder.

    coterie models pull multilingual-e5-small --languages en,de,fr,es,it,nl,pt
    python benchmarks/followups/languages.py

`languages.json` was written for this and chose nothing. Every turn that stands alone is asked after three unrelated
questions. With `--encoder minilm` the bundled encoder is asked, which knows English only.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from detection import read

from _record import Bar, Record, arguments, sha256
from coterie.engines.onnx import OnnxEncoder, open_encoder
from coterie.turns.reader import TurnReader

CLAIM = "With a multilingual encoder follow-ups and small talk are told apart in other languages as in English."
TEXTS = Path(__file__).with_name("languages.json")
UNRELATED = (1, 5, 9)
"""Places of the questions before a turn that stands alone, counted from its own."""


async def measure(encoder: OnnxEncoder, reader: TurnReader, rows: dict[str, list[str]]) -> dict[str, float]:
    """Of one language: turns that lean and that stand alone, small talk and requests."""
    questions, leans, alone, talk = [await read(encoder, rows[kind]) for kind in ("asked", "leans", "alone", "talk")]
    detected = [reader.leans(now, before) > reader.least_leaning for before, now in zip(questions, leans, strict=True)]
    wrong = [
        reader.leans(now, questions[(at + away) % len(questions)]) > reader.least_leaning
        for at, now in enumerate(alone)
        for away in UNRELATED
    ]
    small = reader.talk(np.stack([np.asarray(output.vector) for output in talk])) > 0
    requests = reader.talk(np.stack([np.asarray(output.vector) for output in [*questions, *alone]])) > 0
    share = len(detected) * float(np.mean(wrong))
    return {
        "follow_ups_found": float(np.mean(detected)),
        "alone_taken_for_follow_ups": float(np.mean(wrong)),
        "f1": 2 * sum(detected) / (sum(detected) + len(detected) + share),
        "small_talk_found": float(small.mean()),
        "requests_taken_for_small_talk": float(requests.mean()),
    }


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__ or "", __file__)
    parser.set_defaults(out=Path(__file__).with_name("languages_result.json"))
    parser.add_argument("--encoder", default="multilingual-e5-small")
    given = parser.parse_args()
    encoder = open_encoder(given.encoder, Path())
    reader = TurnReader.of(encoder.about)
    if reader is None:
        sys.exit(f"The package has no turn models for {given.encoder}.")
    texts = json.loads(TEXTS.read_text(encoding="utf-8"))
    by_language = {
        language: asyncio.run(measure(encoder, reader, texts[language]))
        for language in texts
        if language in reader.languages
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
    record.write(given.out)


if __name__ == "__main__":
    main()
