"""The rung `encoder` of `extract`: an encoder is fine-tuned to tag tokens, and the chain weighs its tags.

An encoder has seen its training documents, so each half of them is read by one that has seen only the other half. The
chains, the weigher and the thresholds learn from these tags. The stored encoder has seen all documents, and is tuned in
the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
from tokenizers import Encoding

from coterie.engines.onnx import OnnxTagger, TokenTags, windows
from coterie.learning.examples import deal_folds
from coterie.learning.job import Job
from coterie.tasks.extract.fit_tagging import Corpus, tag_words
from coterie.tasks.extract.ranking import TextRange, best_rows
from coterie.tasks.extract.section import ExtractSection
from coterie.tasks.extract.tagging import ReadTags, first_tokens, passages, rows_to_read
from coterie.tuning.base import BaseEncoder
from coterie.tuning.export import exact_tags, tagger_files
from coterie.tuning.finetune import TaggedTokens, TokenNetwork, fine_tune_tags, tag_recipe_for

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
