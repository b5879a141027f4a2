"""The fine-tuned rungs of `extract`: `encoder` tags tokens, a chain weighs its tags; `slm`, an adapter, quotes values.

An encoder has seen its training documents, so each half of them is read by one that has seen only the other half. The
chains, the weigher and the thresholds learn from these tags. The stored encoder has seen all documents, and is tuned in
the same way.

An adapter has seen its training texts, so a fold of them is held back from a first adapter, and weigher and thresholds
use that adapter's quotes from them. Both numbers of texts are bounded: each text takes seconds in training and in use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
from tokenizers import Encoding

from coterie.engines.onnx import OnnxTagger, TokenTags, windows
from coterie.learning.adapters import FIRST, STORED, opened, tune_parts
from coterie.learning.dataset import FieldSpan
from coterie.learning.fitting import deal_folds
from coterie.learning.job import Job
from coterie.runtime.concurrency import run
from coterie.tasks.extract.extractor import Quoting, QuotingModel, quoted
from coterie.tasks.extract.fit_tagging import Corpus, FieldReader, Ranked, tag_words
from coterie.tasks.extract.section import ExtractSection
from coterie.tasks.extract.tagging import (
    CandidateSpan,
    ReadTags,
    TextRange,
    TokenizedText,
    best_rows,
    first_tokens,
    passages,
    rows_to_read,
)
from coterie.tasks.versions import describe_causal
from coterie.tuning.base import BaseEncoder
from coterie.tuning.causal import CausalTokens, LoraRecipe, TokenPair, load_tokens
from coterie.tuning.export import exact_tags, tagger_files
from coterie.tuning.finetune import TaggedTokens, TokenNetwork, fine_tune_tags, tag_recipe_for
from coterie.types import SYSTEM, Label, Message

_SHOWN = 1
"""Likely sentences per field and document that are trained on, beside all that state a field."""
_COMPARED = 40  # documents on which the cost of rounding is measured
_AT_ONCE = 16  # passages that are read together

Floats = np.ndarray
Costs = Mapping[str, float]
Tag = Callable[[Sequence[str]], Sequence[TokenTags]]


class TunedTags(NamedTuple):
    """A tagger of all documents, and the tags of taggers that did not see a document."""

    tagger: OnnxTagger
    files: Mapping[str, bytes]
    tags: list[ReadTags]
    notes: Mapping[str, object]
    """Notes on it for the report."""


def tune_tags(job: Job[ExtractSection], corpus: Corpus, scores: Floats) -> TunedTags:
    """Fine-tune on each half, then on all documents.

    Args:
        job: What to train.
        corpus: Its documents.
        scores: (S, F) the scores of a ranking for documents it has not seen.

    Raises:
        TrainingDiverged: the loss is not a number.
        ArtefactRefused: the base encoder's files are not as expected.
    """
    assert job.base is not None, "found before anything is trained"  # noqa: S101
    tuner = _Tuner(job=job, base=job.base, corpus=corpus, shown=_windows(job.base, corpus, scores))
    read = [_passages(corpus, scores, number) for number in range(len(corpus.documents))]
    everything = np.ones(len(corpus.documents), dtype=bool)
    halves = deal_folds(job.train, 2, corpus.seed)
    parts = [halves != half for half in np.unique(halves)]
    job.progress.start(f"{job.name}: fine-tune {job.base.name}", sum(map(tuner.work, [*parts, everything])))
    tags: dict[int, ReadTags] = {}
    costs = []
    for part in parts:
        tuned, unseen = tuner.tune(part), np.flatnonzero(~part).tolist()
        new_tags = _read_all(corpus, [read[number] for number in unseen], unseen, tuned.tagger.tag)
        tags |= dict(zip(unseen, new_tags, strict=True))
        costs.append(tuner.cost_of_rounding(tuned, unseen[: _COMPARED // len(parts) + 1], read))
    stored = tuner.tune(everything)
    job.progress.finish("")
    shown = sum(map(len, tuner.shown))
    int8 = {name: float(np.mean([cost[name] for cost in costs])) for name in costs[0]}
    base = {"name": job.base.name, "sha256": job.base.sha256, "licence": job.base.licence}
    notes = {"base": base, "recipe": asdict(tag_recipe_for(shown)), "windows": shown, "int8": int8}
    return TunedTags(stored.tagger, stored.files, [tags[number] for number in range(len(tags))], notes)


class _Tuned(NamedTuple):
    """One fine-tuned tagger, and the network before its weights were rounded."""

    network: TokenNetwork
    files: Mapping[str, bytes]
    tagger: OnnxTagger


@dataclass(frozen=True, kw_only=True)
class _Tuner:
    """Fine-tunes one job's base on some of its documents."""

    job: Job[ExtractSection]
    base: BaseEncoder
    corpus: Corpus
    shown: Sequence[Sequence[TaggedTokens]]
    """For each document, the tokens to train on."""

    def tune(self, part: np.ndarray) -> _Tuned:
        shown = self._shown(part)
        network = fine_tune_tags(
            self.base,
            shown,
            fields=self.corpus.fields,
            recipe=tag_recipe_for(len(shown)),
            seed=self.corpus.seed,
            progress=self.job.progress.advance,
            checkpoints=self.job.checkpoints,
        )
        files = tagger_files(network, self.base)
        return _Tuned(network, files, OnnxTagger(files, name=self.job.name))

    def work(self, part: np.ndarray) -> int:
        """Return the number of windows that a tuning on some documents processes."""
        shown = len(self._shown(part))
        return shown * tag_recipe_for(shown).epochs

    def cost_of_rounding(self, tuned: _Tuned, numbers: Sequence[int], read: Sequence[Sequence[TextRange]]) -> Costs:
        """Compare the tags of some unseen documents before and after rounding."""
        places = [read[number] for number in numbers]
        exact = _read_all(self.corpus, places, numbers, lambda texts: exact_tags(tuned.network, self.base, texts))
        rounded = _read_all(self.corpus, places, numbers, tuned.tagger.tag)
        tags = [self._tags(*arguments) for arguments in zip(numbers, places, exact, rounded, strict=True)]
        before, after, wanted = (np.concatenate(arrays) for arrays in zip(*tags, strict=True))
        return {
            "tags_alike": float((before == after).mean()),
            "tag_f1_fp32": _tag_f1(before, wanted),
            "tag_f1_int8": _tag_f1(after, wanted),
        }

    def _tags(self, number: int, places: Sequence[TextRange], *readings: ReadTags) -> list[np.ndarray]:
        """Return the likeliest tags (W * F,) of a document's words by each reading, and the right ones."""
        words = [word for span in places for word in self.corpus.documents[number].words(span)]
        likeliest = [
            [_likeliest(reading.of_words(words, field)) for field in range(self.corpus.fields)] for reading in readings
        ]
        right = [tag_words(words, spans) for spans in self.corpus.spans[number]]
        return [np.concatenate(arrays) for arrays in (*likeliest, right)]

    def _shown(self, part: np.ndarray) -> list[TaggedTokens]:
        return [window for number in np.flatnonzero(part).tolist() for window in self.shown[number]]


def _windows(base: BaseEncoder, corpus: Corpus, scores: Floats) -> list[list[TaggedTokens]]:
    """Return by document the tokens to train on: sentences that state a field, and likely ones that may not."""
    tokenizer = base.load_tokenizer()
    tagged_windows: list[list[TaggedTokens]] = []
    for number, document in enumerate(corpus.documents):
        own = corpus.of_document(scores, number)
        stated = np.flatnonzero(corpus.of_document(corpus.states, number).any(axis=1)).tolist()
        likely = {row for column in own.T for row in best_rows(column, _SHOWN)}
        places = passages(document, sorted({*stated, *likely}))
        texts = [document.text[span.start : span.end] for span in places]
        encodings = tokenizer.encode_batch(texts)
        tagged_windows.append(
            [
                tagged
                for span, encoding in zip(places, encodings, strict=True)
                for tagged in _tagged(corpus, number, span, encoding, base.max_tokens)
            ]
        )
    return tagged_windows


def _tagged(corpus: Corpus, number: int, span: TextRange, encoding: Encoding, most: int) -> Iterator[TaggedTokens]:
    """Yield a passage in windows, with the tags of the words that begin in each."""
    words = corpus.documents[number].words(span)
    starts = np.array([span.start + start for start, _ in encoding.offsets[1:-1]], dtype=np.int64)
    if not words or not len(starts):
        return
    tags = np.stack([tag_words(words, spans) for spans in corpus.spans[number]], axis=1)  # (W, F)
    tokens, first = first_tokens(starts, words), 0
    for ids in windows(encoding.ids, most):
        last = first + len(ids) - 2
        inside = (tokens >= first) & (tokens < last)
        if inside.any():
            yield TaggedTokens(ids, (tokens[inside] - first + 1).tolist(), tags[inside])
        first = last


def _passages(corpus: Corpus, scores: Floats, number: int) -> list[TextRange]:
    """Return the passages to read of a document: those that would be read in use, and those that state a field."""
    stated = np.flatnonzero(corpus.of_document(corpus.states, number).any(axis=1)).tolist()
    rows = {*rows_to_read(corpus.of_document(scores, number)), *stated}
    return passages(corpus.documents[number], sorted(rows))


def _read_all(
    corpus: Corpus, places: Sequence[Sequence[TextRange]], numbers: Sequence[int], tag: Tag
) -> list[ReadTags]:
    """Return a tagger's results for the passages of some documents."""
    read_tags = []
    for number, own in zip(numbers, places, strict=True):
        texts = [corpus.documents[number].text[span.start : span.end] for span in own]
        tagged = [tags for start in range(0, len(texts), _AT_ONCE) for tags in tag(texts[start : start + _AT_ONCE])]
        read_tags.append(
            ReadTags.of(own, [tags.offsets for tags in tagged], [tags.logits for tags in tagged], corpus.fields)
        )
    return read_tags


def _likeliest(odds: Floats) -> np.ndarray:  # (W, 2) -> (W,)
    return np.asarray(np.column_stack([np.zeros(len(odds)), odds]).argmax(axis=1))


def _tag_f1(tagged: np.ndarray, wanted: np.ndarray) -> float:
    """Return the F1 of tags other than `outside`."""
    right = ((tagged == wanted) & (wanted > 0)).sum()
    return float(2 * right / max((tagged > 0).sum() + (wanted > 0).sum(), 1))


# --- The rung `slm` of `extract`: a LoRA adapter on a small causal model, which quotes the values of all fields.

MOST_TUNED = 240
"""Most texts that an adapter learns from."""
MOST_ASKED = 80
"""Most held-back texts that the adapter is asked about."""


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
