"""Train the detector of names that ships inside the wheel.

A chain over words (`coterie.privacy`), fitted on the training and validation templates of Presidio's two synthetic
sets (MIT), on templates of our own (`scripts/names`), and on texts without names. Test templates are not read. Groups
of like words come from the bundled encoder's input vectors. Needs Faker (MIT) and `coterie[train]`; takes minutes.

    COTERIE_DATA=... python scripts/names_build.py             # writes src/coterie/privacy/names
    COTERIE_DATA=... python scripts/names_build.py --measure   # fits on two thirds, measures on the other, thrice
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from sklearn.cluster import MiniBatchKMeans
from tokenizers import Tokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).resolve().parent / "names"))

from chain import fit_names
from corpus import Labelled, corpus, without_names

from _personal import SETS, Count, Span, Text, annotated, as_scored, count, read_texts
from coterie.engines.onnx import BUNDLED_ENCODER, GRAPH_FILE, TOKENIZER_FILE
from coterie.privacy.detection import PersonalData
from coterie.privacy.evaluation import AnnotatedText
from coterie.privacy.names import ChainModel, Lexicon, NameDetector, store_model

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "src" / "coterie" / "privacy" / "names"
BANK = ROOT / "examples" / "lender" / "data" / "triage.train.csv"
CONTRACTS = ROOT / "examples" / "lender" / "data" / "clauses.train.jsonl"
GROUPS = (40, 200, 800)
FOLDS = 3
"""Parts of the training and validation templates that are measured in turn, after fitting on the others."""
_TYPES = ("PERSON", "PLACE", "ORGANIZATION", "DATE", "NATIONALITY", "AGE")


def lexicon() -> Lexicon:
    """The encoder's whole words in groups by their input vectors, coarse, middle and fine, with their ranks."""
    graph = onnx.load(str(BUNDLED_ENCODER / GRAPH_FILE)).graph
    stored = {initializer.name: initializer for initializer in graph.initializer}
    name = next(key for key in stored if key.endswith("word_embeddings.weight_int8"))
    scale = numpy_helper.to_array(stored[name.replace("_int8", "_scale")]).astype(np.float32)
    vectors = numpy_helper.to_array(stored[name]).astype(np.float32) * scale
    ids = Tokenizer.from_file(str(BUNDLED_ENCODER / TOKENIZER_FILE)).get_vocab()
    words = [word for word in sorted(ids, key=ids.__getitem__) if word.isalpha() and len(word) > 1]
    rows = vectors[[ids[word] for word in words]]
    rows -= rows.mean(axis=0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    groups = [
        MiniBatchKMeans(k, random_state=0, n_init=3, batch_size=4096, max_iter=60).fit(rows).labels_ for k in GROUPS
    ]
    ranks = [int(np.log2(index + 2)) for index in range(len(words))]
    return Lexicon(dict(zip(words, zip(ranks, *(group.tolist() for group in groups), strict=True), strict=True)))


def fit(rows: Sequence[Labelled], known_words: Lexicon, *, rounds: int, penalty: float, hide: float) -> ChainModel:
    """A chain of these texts."""
    begun = time.perf_counter()
    texts = [
        AnnotatedText(
            text=text,
            spans=tuple(PersonalData(kind=span.type, start=span.start, end=span.end, score=1.0) for span in names),
        )
        for text, names in rows
    ]
    model = fit_names(texts, known_words, penalty=penalty, rounds=rounds, hide=hide)
    print(f"{len(rows):,} texts, {len(model.terms):,} features, {time.perf_counter() - begun:.0f} s", flush=True)
    return model


def folds_of(templates: Sequence[str]) -> dict[str, int]:
    """The part of each template; those that share more than half of their words, of either, are in one part."""
    kinds = list[tuple[set[str], int]]()
    folds = dict[str, int]()
    for template in templates:
        words = set(template.split())
        like = (part for other, part in kinds if len(words & other) > 0.5 * min(len(words), len(other)) + 0.5)
        digest = int(hashlib.sha256(template.encode()).hexdigest()[:8], 16)
        folds[template] = part = next(like, digest % FOLDS)
        kinds.append((words, part))
    return folds


Counted = dict[tuple[str, str, bool], Count]
"""Values found, wrong and missed: by set, type, and whether any common character is enough."""


def measure(model: ChainModel, texts: Sequence[tuple[str, Text]], misses: list[str]) -> Counted:
    """Count what is right on texts that the model was not fitted on, and note down what is not."""
    detector, counted = NameDetector(model), Counted()
    for name, text in texts:
        wanted, predicted = annotated(text), as_scored(text.text, detector.find(text.text))
        for kind in _TYPES[: len(_TYPES) - 2 * (name == "generated_large")]:
            for overlap in (False, True):
                key = (name, kind, overlap)
                counted[key] = counted.get(key, Count()) + count(wanted, predicted, kind, overlap=overlap)
        misses += [_miss(text.text, span, "missed") for span in sorted(wanted - predicted) if span.type in _TYPES]
        misses += [_miss(text.text, span, "wrong") for span in sorted(predicted - wanted) if span.type in _TYPES]
    return counted


def _miss(text: str, span: Span, what: str) -> str:
    value, after = text[span.start : span.end], text[span.end : span.end + 40]
    return f"{span.type} {what}: {text[max(0, span.start - 40) : span.start]!r} {value!r} {after!r}"


def show(counted: Counted) -> None:
    """Print F1 by set and type."""
    for name in SETS:
        for overlap in (False, True):
            own = {kind: tally for (of, kind, how), tally in counted.items() if of == name and how is overlap}
            figures = {kind: tally.figures() for kind, tally in {**own, "all": sum(own.values(), Count())}.items()}
            shown = [f"{k} {f['f1']:.3f} ({f['precision']:.2f} {f['recall']:.2f})" for k, f in figures.items()]
            print(f"{name:17}", "overlap" if overlap else "exact  ", ", ".join(shown), flush=True)


def main() -> None:
    """Build, or measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="fit on some templates, measure on the others")
    parser.add_argument("--folds", type=int, nargs="*", default=range(FOLDS), help="which of the parts to measure on")
    parser.add_argument("--misses", type=Path, help="write what was missed and what was wrong into this file")
    parser.add_argument("--ours", type=int, default=9, help="how often each of our templates is filled")
    parser.add_argument("--nothing", type=int, default=3, help="how often each of our texts without names comes")
    parser.add_argument("--messages", type=int, default=800, help="bank messages without names")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--penalty", type=float, default=0.3)
    parser.add_argument("--hide", type=float, default=0.15, help="share of the words that are hidden in each text")
    parser.add_argument("--lexicon", type=Path, help="keep the groups of words in this file between runs")
    given = parser.parse_args()
    data = Path(os.environ["COTERIE_DATA"])
    folder = data / "pii_presidio"
    plain = without_names(
        data / "scifact_beir" / "corpus.jsonl.gz", data / "clinc150" / "data_full.json", sentences=3600, asked=900
    )
    texts = [(name, text) for name in SETS for text in read_texts(folder / f"{name}.json") if text.part != "test"]
    kept_lexicon = _kept_lexicon(given.lexicon)

    def fitted(own: Sequence[Text]) -> tuple[ChainModel, Sequence[Labelled]]:
        rows = corpus(own, BANK, CONTRACTS, plain, ours=given.ours, nothing=given.nothing, messages=given.messages)
        return fit(rows, kept_lexicon, rounds=given.rounds, penalty=given.penalty, hide=given.hide), rows

    if given.measure:
        counted, misses = Counted(), list[str]()
        parts = folds_of(sorted({text.template for _, text in texts}))
        for fold in given.folds:
            model, _ = fitted([text for _, text in texts if parts[text.template] != fold])
            for key, tally in measure(model, [t for t in texts if parts[t[1].template] == fold], misses).items():
                counted[key] = counted.get(key, Count()) + tally
        show(counted)
        if given.misses:
            given.misses.write_text("\n".join(misses), encoding="utf-8")
        return
    model, rows = fitted([text for _, text in texts])
    size = store_model(model, TARGET, _about(folder, rows))
    print(f"{len(model.terms):,} features, {size / 1e6:.1f} MB in {TARGET}")


def _kept_lexicon(path: Path | None) -> Lexicon:
    if path and path.is_file():
        return Lexicon({word: tuple(groups) for word, groups in json.loads(path.read_text()).items()})
    words = lexicon()
    if path:
        path.write_text(json.dumps(words.groups))
    return words


def _about(folder: Path, rows: Sequence[Labelled]) -> dict[str, object]:
    """Where it comes from."""
    sums = {f"{name}.json": hashlib.sha256((folder / f"{name}.json").read_bytes()).hexdigest() for name in SETS}
    return {
        "licence": "Apache-2.0",
        "made_by": "scripts/names_build.py",
        "texts": len(rows),
        "data": sums,
        "encoder_sha256": hashlib.sha256((BUNDLED_ENCODER / GRAPH_FILE).read_bytes()).hexdigest(),
    }


if __name__ == "__main__":
    main()
