"""Training a `generate` specialist that reads no fact: an adapter learns replies from pairs, with a confidence.

A fifth of the pairs is held back from a first adapter. Its replies to them fit the confidence and its threshold: a
reply is right if its token F1 with the one in the data reaches `alike`. The stored adapter has seen all pairs and is
measured on the held-out ones, beside the untuned model with a few of the pairs as examples.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from coterie.engines.llama import LlamaEngine
from coterie.errors import DataError, TooLong
from coterie.learning.adapters import FIRST, STORED, opened, tune_parts
from coterie.learning.calibration import Threshold, accept_threshold, warn_silent
from coterie.learning.dataset import Dataset, Row
from coterie.learning.evaluation import best_f1, rouge_l, score_interval, token_f1
from coterie.learning.job import Job
from coterie.learning.measure import Candidate, Encoded, Figure, encode, evaluate
from coterie.learning.splits import split_dataset
from coterie.runtime.concurrency import run
from coterie.specialists.parts import Acceptance
from coterie.tasks.classify.fit_prompted import confidences, fit_agreement
from coterie.tasks.classify.prompted import Agreement
from coterie.tasks.generate.grounding import EXCHANGES, HEADING, Drafting, SupportedDraft, bundled_models, one_line
from coterie.tasks.generate.model import WriteSpecialist, Writing, fault_of, likeness, signs_of, thin_out
from coterie.tasks.generate.rows import judge, read_messages
from coterie.tasks.generate.section import GenerateSection
from coterie.tasks.versions import describe_causal
from coterie.text.segmentation import plain
from coterie.tuning.causal import CausalTokens, TokenPair, describe_precision, load_tokens, lora_recipe_for
from coterie.types import SYSTEM, Output, Prompt

HELD_BACK, MOST_WRITTEN, MOST_UNTUNED = 0.2, 200, 60
"""Limits of calibration and measurement.

Share of the pairs for calibration, most replies that are written to calibrate, and likewise to measure; and most that
the untuned model writes. A reply takes a second.
"""
LONGEST = 384
"""Tokens of a text that are read in training."""
_SHOWN = 4  # pairs that the untuned model is shown
_AT_ONCE = 16  # prompts handed to the engine together, well below its queue


@dataclass(frozen=True, kw_only=True)
class _Believed:
    """The calibration from replies to pairs that their adapter had not seen."""

    agreement: Agreement
    threshold: Threshold
    likeness: np.ndarray  # (C,) token F1
    right: np.ndarray  # (C,)
    exact: np.ndarray  # (C,)


def train_write(job: Job[GenerateSection], encoded: Encoded) -> Candidate:
    """Return the candidate of the rung `slm`.

    Args:
        job: What to train; a row's labels are the replies to it, any of which is right.
        encoded: The training texts' encodings.

    Raises:
        TrainingDiverged: the loss is not a number.
        ArtefactRefused: the base's file cannot be read.
    """
    base, model = job.causal, job.model
    assert base is not None and model is not None, "found before anything is trained"  # noqa: S101, PT018
    start, tokens, writing = time.perf_counter(), load_tokens(base), _writing(job)
    seen, back = split_dataset(job.train, held_out=HELD_BACK, seed=job.section.seed, by_label=False)
    places = {id(row): index for index, row in enumerate(job.train.rows)}
    vectors = encoded.vectors[[places[id(row)] for row in seen.rows]]
    parts = {name: _token_pairs(tokens, writing, rows) for name, rows in ((FIRST, seen.rows), (STORED, job.train.rows))}
    files = tune_parts(job, base, parts)
    with opened(base, model, files) as engine:
        sample = back.take(_spread(len(back), MOST_WRITTEN))
        near = [
            likeness(thin_out(vectors), vector) for vector in encoded.vectors[[places[id(row)] for row in sample.rows]]
        ]
        believed = _believe(job, sample.rows, _write(job, engine, writing, sample.rows, adapter=FIRST), near)
        seconds = time.perf_counter() - start + encoded.seconds
        specialist = _specialist(job, engine, writing, believed, encoded.vectors)
        measured = job.held_out.take(_spread(len(job.held_out), MOST_WRITTEN))
        candidate = _measured(job, specialist, measured, seconds)
        untuned = _untuned(job, engine, measured)
    described = specialist.describe() | {
        "alike": job.section.alike,
        "base": {"name": base.name, "sha256": base.sha256},
    }
    model_file = json.dumps(described, indent=1, ensure_ascii=False).encode()
    return replace(
        candidate,
        files={"model.json": model_file, **specialist.to_files(), **files[STORED]},
        validation=_validation(believed),
        notes={
            "base": describe_causal(base),
            "recipe": asdict(lora_recipe_for(len(parts[STORED]))),
            "precision": describe_precision(),
            "held_back": len(sample),
            "alike": job.section.alike,
            "agreement": dict(believed.agreement.weights),
            "threshold": {
                "value": believed.threshold.value,
                "coverage": believed.threshold.coverage,
                **believed.threshold.reason.described(),
            },
            "untuned": untuned,
        },
        warnings=tuple(_warnings(job, measured, believed)),
    )


def _writing(job: Job[GenerateSection]) -> Writing:
    return Writing(instruction=job.section.instruction) if job.section.instruction else Writing()


def _token_pairs(tokens: CausalTokens, writing: Writing, rows: Sequence[Row]) -> list[TokenPair]:
    return [
        tokens.chat(writing.messages(tokens.shortened(row.text, LONGEST)), reply)
        for row in rows
        for reply in row.labels
    ]


def _spread(n: int, most: int) -> list[int]:
    """Return at most `most` places, evenly spread over all `n`."""
    return [index * n // most for index in range(most)] if n > most else list(range(n))


def _write(
    job: Job[GenerateSection], engine: LlamaEngine, writing: Writing, rows: Sequence[Row], *, adapter: str | None
) -> list[Output]:
    """Return the replies written to each row; nothing where the text does not fit the model's window."""
    what = "the untuned model" if adapter is None else "the tuned model"
    job.progress.start(f"{job.name}: write with {what}", len(rows))
    outputs: list[Output] = []
    for start in range(0, len(rows), _AT_ONCE):
        prompts = [
            Prompt(
                messages=writing.messages(row.text), adapter=adapter, max_tokens=job.section.max_tokens, logprobs=True
            )
            for row in rows[start : start + _AT_ONCE]
        ]
        outputs += run(_outputs(engine, prompts))
        job.progress.advance(len(prompts))
    job.progress.finish("")
    return outputs


async def _outputs(engine: LlamaEngine, prompts: Sequence[Prompt]) -> list[Output]:
    try:
        return list(await engine.run(prompts, call=SYSTEM))
    except TooLong:
        if len(prompts) == 1:
            return [Output(finish="aborted")]
        return [output for prompt in prompts for output in await _outputs(engine, [prompt])]


def _believe(
    job: Job[GenerateSection], rows: Sequence[Row], outputs: Sequence[Output], near: Sequence[float]
) -> _Believed:
    """Fit confidence and threshold. An incomplete reply is wrong, and never accepted."""
    section = job.section
    f1, exact = _held_against(rows, outputs)
    right, whole = f1 >= section.alike, np.array([not fault_of(output) for output in outputs], dtype=bool)
    signs = [signs_of(output, nearness) for output, nearness, fits in zip(outputs, near, whole, strict=True) if fits]
    confidence = np.zeros(len(rows))
    confidence[whole] = confidences(signs, right[whole], section.seed)
    threshold = accept_threshold(
        confidence, right & whole, target_risk=section.target_risk, groups=[row.group for row in rows]
    )
    return _Believed(
        agreement=fit_agreement(signs, right[whole]), threshold=threshold, likeness=f1, right=right & whole, exact=exact
    )


def _held_against(rows: Sequence[Row], outputs: Sequence[Output]) -> tuple[np.ndarray, np.ndarray]:
    """Return the token F1 (N,) with the nearest reply of the data, and whether a reply matches it word for word."""
    pairs = [(output.text, row.labels) for row, output in zip(rows, outputs, strict=True)]
    f1 = np.array([best_f1(text, replies) for text, replies in pairs])
    exact = np.array([plain(text) in map(plain, replies) for text, replies in pairs], dtype=bool)
    return f1, exact


def _specialist(
    job: Job[GenerateSection], engine: LlamaEngine, writing: Writing, believed: _Believed, vectors: np.ndarray
) -> WriteSpecialist:
    return WriteSpecialist(
        card=job.card("slm"),
        engine=engine,
        encoder=job.encoder,
        writing=writing,
        seen=thin_out(vectors),
        agreement=believed.agreement,
        acceptance=Acceptance(
            temperature=1.0,
            threshold=believed.threshold.value,
            target_risk=job.section.target_risk,
            scope_threshold=None,
        ),
        max_tokens=job.section.max_tokens,
        adapter=STORED,
    )


def _measured(job: Job[GenerateSection], specialist: WriteSpecialist, rows: Dataset, seconds: float) -> Candidate:
    """Return the figures on held-out rows, requested as in use."""
    vectors = encode(job, rows.texts, "measure slm").vectors
    job.progress.start(f"{job.name}: measure slm", len(rows))
    evaluation = run(
        evaluate(
            specialist,
            rows.rows,
            vectors=vectors,
            truncated=job.encoder.exceeds(rows.texts),
            progress=job.progress.advance,
            judge=partial(judge, alike=job.section.alike),
        )
    )
    job.progress.finish("")
    return Candidate(rung="slm", files={}, validation={}, evaluation=evaluation, seconds=seconds, measured=rows)


def _untuned(job: Job[GenerateSection], engine: LlamaEngine, measured: Dataset) -> dict[str, object]:
    """Return the figures of the model without an adapter, with a few pairs as examples, on some of the same rows."""
    shown = [job.train.rows[index] for index in _spread(len(job.train), _SHOWN)]
    writing = replace(_writing(job), examples=tuple((row.text, row.labels[0]) for row in shown))
    rows = measured.take(_spread(len(measured), MOST_UNTUNED)).rows
    f1, exact = _held_against(rows, _write(job, engine, writing, rows, adapter=None))
    return {
        "n": len(rows),
        "token_f1": float(f1.mean()),
        "exact_match": float(exact.mean()),
        "intervals": {
            name: list(score_interval(values, seed=0)) for name, values in (("token_f1", f1), ("exact_match", exact))
        },
    }


def _validation(believed: _Believed) -> Mapping[str, Figure]:
    figures = {"token_f1": believed.likeness, "accuracy": believed.right, "exact_match": believed.exact}
    return {name: Figure(float(values.mean()), score_interval(values, seed=0)) for name, values in figures.items()}


def _warnings(job: Job[GenerateSection], measured: Dataset, believed: _Believed) -> Iterator[str]:
    if silent := warn_silent(believed.threshold, job.section.target_risk):
        yield silent
    if len(measured) < len(job.held_out):
        yield f"rung slm was measured on {len(measured):,} of {len(job.held_out):,} held-out rows, evenly over them"


# --- Tuning a `generate` specialist's model on replies as they should be.
#
# The prompt is the one that drafting sends, without the examples it shows an untuned model: what they say is in the
# weights now, and a prompt of a third of the tokens is read sooner. A fifth of the pairs is held back from a first
# adapter and drafted with it, and with the untuned model and its examples; the adapter that is stored has seen all.

REPLY = "reply"
"""Column of a pair's reply; its message is the text, its key in the column of the fact that is read."""
HELD_OUT, MOST_DRAFTED = 0.2, 60
"""Share of the pairs held back, and how many of them are drafted: a draft takes a second or two."""
_SHOWN_REPLIES = 5  # lines named in a message


@dataclass(frozen=True, kw_only=True)
class TunedReplies:
    """An adapter that drafts, and the figures of a similar one on unseen pairs."""

    pairs: Dataset
    files: Mapping[str, bytes]
    metrics: Mapping[str, object]
    notes: Mapping[str, object]


def tune_replies(
    job: Job[GenerateSection], sources: Mapping[str, str], instruction: str, data: Dataset
) -> TunedReplies:
    """Tune one adapter without the pairs held back, which is measured on them, and one on all pairs.

    Args:
        job: What is trained.
        sources: Source text by key.
        instruction: The instruction to the model.
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
    sample = _spread_replies(held_out.rows, MOST_DRAFTED)
    with opened(base, model, {FIRST: files[FIRST]}) as engine:
        drafter = partial(_Drafter, job=job, engine=engine, sources=sources)
        figures = drafter(adapter=FIRST, drafting=tuned).judge(sample)
        before = drafter(adapter=None, drafting=untuned).judge(sample)
    return TunedReplies(
        pairs=data,
        files=files[STORED],
        metrics={**figures, "untuned": before, "drafted": len(sample)},
        notes={
            "recipe": asdict(lora_recipe_for(len(data))),
            "precision": describe_precision(),
            "held_back": len(held_out),
        },
    )


def _tokens(
    tokens: CausalTokens, drafting: Drafting, job: Job[GenerateSection], sources: Mapping[str, str], row: Row
) -> TokenPair:
    key = _cell(row, job.section.reads[0])
    return tokens.chat(drafting.messages(message=row.text, key=key, source=sources[key]), _cell(row, REPLY))


@dataclass(frozen=True, kw_only=True)
class _Drafter:
    job: Job[GenerateSection]
    engine: LlamaEngine
    adapter: str | None
    drafting: Drafting
    sources: Mapping[str, str]

    def judge(self, rows: Sequence[Row]) -> dict[str, object]:
        """Return the similarity to the replies of the data, and the share of drafts with every sentence supported."""
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
        draft = SupportedDraft(source=self.sources[key], message=one_line(row.text), models=bundled_models())
        for _ in (*draft.read(text), *draft.end(cut=cut)):
            pass
        self.job.progress.advance(1)
        draft_text = "\n".join(line for line in text.splitlines() if not line.startswith(HEADING))
        wanted = _cell(row, REPLY)
        return token_f1(draft_text, wanted), rouge_l(draft_text, wanted), float(not draft.fault)

    def _draft(self, row: Row, key: str) -> tuple[str, bool]:
        """Return the draft as written, and whether it was cut; none where the prompt does not fit."""
        messages = self.drafting.messages(message=row.text, key=key, source=self.sources[key])
        prompt = Prompt(messages=messages, adapter=self.adapter, max_tokens=self.job.section.max_tokens)
        try:
            (output,) = run(self.engine.run([prompt], call=SYSTEM))
        except TooLong:
            return "", False
        return output.text, output.finish != "stop"


def _spread_replies(rows: Sequence[Row], most: int) -> list[Row]:
    return [rows[index * len(rows) // most] for index in range(most)] if len(rows) > most else list(rows)


def read_pairs(job: Job[GenerateSection], sources: Mapping[str, str], folder: Path) -> Dataset:
    """Return the pairs of a section, every one with a reply and a source text.

    Raises:
        DataError: a pair lacks one; the message names the lines.
    """
    fact = job.section.reads[0]
    data = read_messages(folder / str(job.section.pairs))
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
        lines = ", ".join(str(row.line) for row in rows[:_SHOWN_REPLIES]) + (
            " ..." if len(rows) > _SHOWN_REPLIES else ""
        )
        raise DataError(f"{data.name}: {len(rows)} of {len(data)} rows {what} (lines {lines}).", hint=hint)


def _cell(row: Row, column: str) -> str:
    return str(row.columns.get(column) or "").strip()
