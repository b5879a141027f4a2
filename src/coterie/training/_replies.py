"""Tuning a `generate` specialist's model on replies as they should be.

The prompt is the one that drafting sends, without the examples it shows an untuned model: what they say is in the
weights now, and a prompt of a third of the tokens is read sooner. A fifth of the pairs is held back from a first
adapter and drafted with it, and with the untuned model and its examples; the adapter that is stored has seen all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from coterie.data import Dataset, Row, read_dataset, split_dataset
from coterie.engines import LlamaEngine
from coterie.errors import DataError, TooLong
from coterie.evaluation import rouge_l, score_interval, token_f1
from coterie.specialists import HEADING, Draft, Drafting, one_line
from coterie.tuning import CausalTokens, TokenPair, describe_precision, load_tokens, lora_recipe_for
from coterie.types import Prompt

from ._adapters import FIRST, STORED, opened, tune_parts
from ._exchanges import EXCHANGES
from ._job import Job
from ._measure import finish

REPLY = "reply"
"""Column of a pair's reply; its message is the text, its key in the column of the fact that is read."""
HELD_OUT, MOST_DRAFTED = 0.2, 60
"""Share of the pairs held back, and how many of them are drafted: a draft takes a second or two."""
_SHOWN = 5  # lines named in a message


@dataclass(frozen=True, kw_only=True)
class TunedReplies:
    """An adapter that drafts, and how one like it did on pairs it had not seen."""

    pairs: Dataset
    files: Mapping[str, bytes]
    metrics: Mapping[str, object]
    notes: Mapping[str, object]


def tune_replies(job: Job, sources: Mapping[str, str], instruction: str, data: Dataset) -> TunedReplies:
    """One adapter without the pairs held back, which is measured on them, and one on all.

    Args:
        job: What is trained.
        sources: Source text by key.
        instruction: What the model is told.
        data: The pairs, from `read_pairs`.

    Raises:
        TrainingDiverged, ArtefactRefused: it cannot be tuned.
    """
    base, model = job.causal, job.model
    assert base is not None and model is not None, "found before anything is trained"  # noqa: S101, PT018
    tuned, untuned = Drafting(instruction=instruction), Drafting(instruction=instruction, examples=EXCHANGES)
    seen, held_out = split_dataset(data, held_out=HELD_OUT, seed=job.section.seed)
    tokens = load_tokens(base)
    parts = {
        name: [_tokens(tokens, tuned, job, sources, row) for row in rows]
        for name, rows in ((FIRST, seen.rows), (STORED, data.rows))
    }
    files = tune_parts(job, base, parts)
    asked = _spread(held_out.rows, MOST_DRAFTED)
    with opened(base, model, {FIRST: files[FIRST]}) as engine:
        drafter = partial(_Drafter, job=job, engine=engine, sources=sources)
        figures = drafter(adapter=FIRST, drafting=tuned).judge(asked)
        before = drafter(adapter=None, drafting=untuned).judge(asked)
    return TunedReplies(
        pairs=data,
        files=files[STORED],
        metrics={**figures, "untuned": before, "drafted": len(asked)},
        notes={
            "recipe": asdict(lora_recipe_for(len(data))),
            "precision": describe_precision(),
            "held_back": len(held_out),
        },
    )


def _tokens(tokens: CausalTokens, drafting: Drafting, job: Job, sources: Mapping[str, str], row: Row) -> TokenPair:
    key = _cell(row, job.section.reads[0])
    return tokens.chat(drafting.messages(asked=row.text, key=key, source=sources[key]), _cell(row, REPLY))


@dataclass(frozen=True, kw_only=True)
class _Drafter:
    """One way to draft, measured."""

    job: Job
    engine: LlamaEngine
    adapter: str | None
    drafting: Drafting
    sources: Mapping[str, str]

    def judge(self, rows: Sequence[Row]) -> dict[str, object]:
        """Likeness to the reply that should be, and the share of drafts of which every sentence may be said."""
        what = "untuned" if self.adapter is None else "tuned"
        self.job.progress.start(f"{self.job.name}: draft with the {what} model", len(rows))
        judged = np.array([self._judge(row) for row in rows])  # (N, 3)
        self.job.progress.finish("")
        named = dict(zip(("token_f1", "rouge_l", "grounded"), judged.T, strict=True))
        intervals = {name: list(score_interval(values, seed=0)) for name, values in named.items()}
        return {name: float(values.mean()) for name, values in named.items()} | {"intervals": intervals}

    def _judge(self, row: Row) -> tuple[float, float, float]:
        key = _cell(row, self.job.section.reads[0])
        text, cut = self._draft(row, key)
        draft = Draft(source=self.sources[key], asked=one_line(row.text))
        for _ in (*draft.read(text), *draft.end(cut=cut)):
            pass
        self.job.progress.advance(1)
        said = "\n".join(line for line in text.splitlines() if not line.startswith(HEADING))
        wanted = _cell(row, REPLY)
        return token_f1(said, wanted), rouge_l(said, wanted), float(not draft.fault)

    def _draft(self, row: Row, key: str) -> tuple[str, bool]:
        """The draft as it is written, and whether it was cut; none where the prompt does not fit."""
        messages = self.drafting.messages(asked=row.text, key=key, source=self.sources[key])
        prompt = Prompt(messages=messages, adapter=self.adapter, max_tokens=self.job.section.max_tokens)
        try:
            (output,) = finish(self.engine.run([prompt]))
        except TooLong:
            return "", False
        return output.text, output.finish != "stop"


def _spread(rows: Sequence[Row], most: int) -> list[Row]:
    """At most so many rows, evenly over all of them."""
    return [rows[place * len(rows) // most] for place in range(most)] if len(rows) > most else list(rows)


def read_pairs(job: Job, sources: Mapping[str, str], folder: Path) -> Dataset:
    """The pairs of a section, every one with a reply and a source text.

    Raises:
        DataError: they are not; the message names the lines.
    """
    fact = job.section.reads[0]
    data = read_dataset(folder / str(job.section.pairs), task="generate", messages=True)
    if missing := [column for column in (fact, REPLY) if column not in data.column_names]:
        raise DataError(
            f"{data.name} has the columns {['text', *data.column_names]}; the pairs of {job.name!r} need "
            f"{missing[0]!r} too.",
            hint=f"A row is a message (text), the value of the fact that selects its source text ({fact}), a {REPLY}.",
        )
    _refuse(
        data, [row for row in data.rows if not _cell(row, REPLY)], f"have no {REPLY}", "Write one, or drop the row."
    )
    strange = [row for row in data.rows if _cell(row, fact) not in sources]
    _refuse(
        data, strange, f"have a {fact} without a source text", f"Add its text to {job.train.name}, or drop the row."
    )
    return data


def _refuse(data: Dataset, rows: Sequence[Row], what: str, hint: str) -> None:
    if rows:
        lines = ", ".join(str(row.line) for row in rows[:_SHOWN]) + (" ..." if len(rows) > _SHOWN else "")
        raise DataError(f"{data.name}: {len(rows)} of {len(data)} rows {what} (lines {lines}).", hint=hint)


def _cell(row: Row, column: str) -> str:
    return str(row.columns.get(column) or "").strip()
