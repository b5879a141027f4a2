"""The rung `slm` of `extract`: a LoRA adapter on a small causal model, which quotes the values of all fields.

An adapter has seen its training texts, so a fold of them is held back from a first adapter, and weigher and thresholds
use that adapter's quotes from them. Both numbers of texts are bounded: each text takes seconds in training and in use.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict

import numpy as np

from coterie.learning.adapters import FIRST, STORED, opened, tune_parts
from coterie.learning.dataset import FieldSpan
from coterie.learning.job import Job
from coterie.runtime.concurrency import run
from coterie.tasks.extract.fit_tagging import Corpus, FieldReader, Ranked
from coterie.tasks.extract.quotes import Quoting, QuotingModel, quoted
from coterie.tasks.extract.ranking import TextRange, TokenizedText
from coterie.tasks.extract.section import ExtractSection
from coterie.tasks.extract.tagging import CandidateSpan
from coterie.tasks.report import describe_causal
from coterie.tuning.causal import CausalTokens, LoraRecipe, TokenPair, load_tokens
from coterie.types import SYSTEM, Label, Message

MOST_TUNED = 240
"""Most texts that an adapter learns from."""
MOST_ASKED = 80
"""Most held-back texts that the adapter is asked about."""

Floats = np.ndarray


def quote_recipe_for(rows: int) -> LoraRecipe:
    """Return the recipe for so many rows: few texts are seen more often.

    Each text has an answer of a hundred tokens, so that no text needs many rounds.
    """
    return LoraRecipe(epochs=4 if rows < MOST_TUNED // 2 else 2, batch=4)


@contextmanager
def tune_quotes(job: Job[ExtractSection], corpus: Corpus, ranked: Ranked) -> Iterator[FieldReader]:
    """Tune without the texts that are held back, then on all; the model is open as long as the context.

    Args:
        job: What to train.
        corpus: Its documents.
        ranked: A ranker, and its scores for documents it has not seen.

    Raises:
        TrainingDiverged: the loss is not a number.
        ArtefactRefused: the base's file cannot be read.
    """
    base, model = job.causal, job.model
    assert base is not None and model is not None, "found before anything is trained"  # noqa: S101, PT018
    fields = job.section.fields
    quoting = Quoting(fields=tuple(fields), many=tuple(kind.endswith("*") for kind in fields.values()))
    held = _spread(np.flatnonzero(corpus.folds == corpus.folds.min()), MOST_ASKED)
    numbers = np.array([n for n, document in enumerate(corpus.documents) if document.sentences])
    tokens = load_tokens(base)
    parts = {
        name: [_pair(tokens, quoting, corpus, ranked.scores, number) for number in _spread(rows, MOST_TUNED)]
        for name, rows in ((FIRST, np.setdiff1d(numbers, held)), (STORED, numbers))
    }
    files = tune_parts(job, base, parts, recipe_for=quote_recipe_for)
    with opened(base, model, files) as engine:
        first = QuotingModel(engine=engine, adapter=FIRST, quoting=quoting)
        yield FieldReader(
            rung="slm",
            ranker=ranked.ranker,
            candidates=_ask(job, corpus, ranked.scores, first, held),
            quoting=quoting,
            model=QuotingModel(engine=engine, adapter=STORED, quoting=quoting),
            files=files[STORED],
            about={"base": {"name": base.name, "sha256": base.sha256}},
            notes={
                "base": describe_causal(base),
                "recipe": asdict(quote_recipe_for(len(parts[STORED]))),
                "tuned_on": len(parts[STORED]),
                "held_back": len(held),
            },
        )


def _spread(numbers: np.ndarray, most: int) -> list[int]:
    if len(numbers) > most:
        numbers = numbers[np.arange(most) * len(numbers) // most]
    return [int(number) for number in numbers]


def _pair(tokens: CausalTokens, quoting: Quoting, corpus: Corpus, scores: Floats, number: int) -> TokenPair:
    document, own = corpus.documents[number], corpus.of_document(scores, number)
    places = quoting.show(document, own)
    quotes = [
        _quotes(document, places, spans, own[:, field], many=many)
        for field, (spans, many) in enumerate(zip(corpus.spans[number], quoting.many, strict=True))
    ]
    message = Message(role="user", text=quoting.prompt(document, places))
    return tokens.chat([message], quoting.answer(quotes))


def _quotes(
    document: TokenizedText, places: Sequence[TextRange], spans: Sequence[FieldSpan], scores: Floats, *, many: bool
) -> list[str]:
    """Return a field's quotes in the passages shown; of a repeated single value, the one in the likeliest sentence."""
    starts = [sentence.start for sentence in document.sentences]
    shown = [
        TextRange(max(span.start, sentence.start), min(span.end, sentence.end))
        for span in spans
        for sentence in places
        if span.start < sentence.end and span.end > sentence.start
    ]
    if not many:
        shown.sort(key=lambda span: -scores[int(np.searchsorted(starts, span.start, side="right")) - 1])
    texts = [document.text[span.start : span.end].strip() for span in shown]
    return list(dict.fromkeys(text for text in texts if text))[: None if many else 1]


def _ask(
    job: Job[ExtractSection], corpus: Corpus, scores: Floats, model: QuotingModel, numbers: Sequence[int]
) -> dict[int, list[list[CandidateSpan]]]:
    job.progress.start(f"{job.name}: ask about texts held back", len(numbers))
    spans_by_document: dict[int, list[list[CandidateSpan]]] = {}
    for number in numbers:
        document, own = corpus.documents[number], corpus.of_document(scores, number)
        if len(own):
            asking = run(model.ask(document, own, Label.INTERNAL, SYSTEM))
            spans_by_document[number] = [
                quoted(document, asking.places, quotes, own[:, field]) for field, quotes in enumerate(asking.said)
            ]
        job.progress.advance(1)
    job.progress.finish("")
    return spans_by_document
