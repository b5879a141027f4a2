"""Replies by a 135M model on a CPU: how fast they begin, and how often the model's own sentences stand.

    python benchmarks/reply/run.py                 # 77 customers' messages, one an intent
    python benchmarks/reply/run.py --quiet 1200    # on a machine that others use: up to so many seconds more

The `reply` specialist is made by `coterie.training.train` from the lender's help texts and asked about BANKING77 test
messages with their true intents, one after the other, as the lender's network would ask it. The prompt was written
with training messages only. Times are taken from replies during which nothing else used the machine to speak of; with
`--quiet` further messages are asked until there are enough of those. Needs the model: `coterie models pull smollm2`.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _data import LENDER
from _record import Bar, Record, arguments, sha256
from _replies import HELP, MESSAGES, QUIET, figures, make, measure

CLAIM = "A small model on two CPU cores begins its reply within half a second, and no sentence of it is unchecked."
FIRST_TEXT, TOKENS = 0.5, 60.0
"""Bars: seconds to the first text at the median, tokens a second while decoding."""


def main() -> None:
    """Measure and write the result."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--n", type=int, default=77, help="messages (default: 77, one an intent)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample (default: 0)")
    parser.add_argument("--quiet", type=float, default=0.0, metavar="SECONDS", help="wait so long in all for quiet")
    options = parser.parse_args()
    record = Record(claim=CLAIM, seeds=[options.seed])
    record.data = {file: sha256(LENDER / file) for file in (MESSAGES, HELP)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        section, model = make(folder)
        measuring = measure(folder, section, model, seed=options.seed, n=options.n, spare=options.quiet)
        replies, engine = asyncio.run(measuring)
    measured = figures(replies)
    record.figures = {"engine": engine, **measured}
    timed = measured["times"]["in_quiet"]
    record.notes.append(
        f"times are of the {timed['n']} replies out of {len(replies)} during which others used at most {QUIET} cores"
    )
    record.bars = [
        Bar(
            what="seconds to the first text, median",
            measured=timed["seconds_to_first_text"]["p50"] if timed["n"] else None,
            limit=FIRST_TEXT,
            at_most=True,
        ),
        Bar(
            what="tokens a second, median",
            measured=timed["tokens_per_second"]["p50"] if timed["n"] else None,
            limit=TOKENS,
        ),
    ]
    record.write(options.out)


if __name__ == "__main__":
    main()
