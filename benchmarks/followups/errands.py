"""General questions after another errand, and follow-ups of the same form, in seven languages.

    python benchmarks/followups/errands.py --look TEXT

`errands.json` was written for this: a first turn, a general question to the same organisation that has nothing to do
with it ("When are wages paid?" after one about a machine), and a follow-up that is as short. It chose nothing until its
second look.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _record import Bar, Record, add_look, arguments, sha256
from coterie.learning.evaluation import auroc
from coterie.turns.follow_ups import bundled_follow_ups, follow_up_facts

CLAIM = "A general question after another errand is not taken for a follow-up."
TEXTS = Path(__file__).with_name("errands.json")


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__ or "", __file__)
    add_look(parser)
    parser.set_defaults(out=Path(__file__).with_name("errands_result.json"))
    given = parser.parse_args()
    model, least = bundled_follow_ups(), follow_up_facts().least
    texts = json.loads(TEXTS.read_text(encoding="utf-8"))
    rows = [(language, *row) for language in texts for row in texts[language]]
    alone = np.array([model.read(general, [first]).leans for _, first, general, _ in rows])
    leans = np.array([model.read(then, [first]).leans for _, first, _, then in rows])
    languages = np.array([row[0] for row in rows])
    record = Record(claim=CLAIM, data={TEXTS.name: sha256(TEXTS)})
    for name, of in (("English", languages == "en"), ("six others", languages != "en")):
        found, wrong = leans[of] > least, alone[of] > least
        record.figures[name] = {
            "pairs": int(of.sum()),
            "follow_ups_found": float(found.mean()),
            "general_taken_for_follow_ups": float(wrong.mean()),
            "f1": 2 * int(found.sum()) / int(found.sum() + wrong.sum() + of.sum()),
        }
    both = np.concatenate([leans, alone])
    record.figures["auroc"] = auroc(both, np.arange(len(both)) < len(leans))
    taken = float((alone > least).mean())
    record.bars = [
        Bar(what="general questions taken for follow-ups", measured=taken, limit=0.15, at_most=True),
        Bar(what="follow-ups found", measured=float((leans > least).mean()), limit=0.90),
    ]
    record.notes.append(given.look)
    record.write(given.out)


if __name__ == "__main__":
    main()
