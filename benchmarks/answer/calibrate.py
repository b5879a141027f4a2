"""Makes `src/coterie/tasks/answer/default.json`: what an `answer` specialist knows before it is trained.

    COTERIE_DATA=FOLDER python benchmarks/answer/calibrate.py

Readers are fitted on three kinds of questions. Two are public training data: MedQuAD, where each topic is a document
whose sections answer natural questions (for half of the topics a section is taken out and its question asked: near, and
not stated), and CUAD's training contracts. The third are everyday questions about everyday pages, written for this
project (`pages.json`, and `index/` with documents of other formats, each indexed as a user does; `../everyday` asks
about others, which are held out). The check of wording is
fitted on claims that SciFact's experts wrote about abstracts, and on sentences of the same documents as they are and
with a number, a "not" or their source changed. A fifth of the documents is held back for the figures in the file.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import hashlib
import json
import random
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _cuad import Contract, cut, divide, read_contracts
from _index import gather_index, of_pages, read_index
from _pages import FILE as PAGES
from _pages import read_pages
from _questions import QUESTIONS

from _data import LENDER, find
from _record import ROOT, sha256
from coterie.engines.onnx import OnnxEncoder
from coterie.learning.calibration import accept_threshold
from coterie.learning.dataset import Row
from coterie.learning.evaluation import auroc
from coterie.tasks.answer.default import DEFAULT_FILE
from coterie.tasks.answer.fit_scoring import AnswerCorpus, FittedScorer, deal, features_of, fit_scorer, gather_corpus
from coterie.tasks.answer.scoring import LinearScore
from coterie.tasks.answer.support import SUPPORT, support_features
from coterie.testing import FakeRetriever
from coterie.types import Context, ContextView, Entry, Label, Passage, Task

RISKS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4)
"""Shares of wrong ones: the smallest is taken at which enough is accepted. Questions of one's own hold less."""
ENOUGH = {"answering": 0.5, "silence": 0.4}
"""Share of the answers, and of the silences, that a threshold must accept."""
SILENCES_RIGHT = 0.75
"""Share of right ones among the silences about everyday questions, on those that the calibration learns from."""
PRECISION = 0.8
"""Of sentences that are cited beside the best one."""
SUPPORT_RISK = 0.1
"""Share of unsupported sentences among those that pass."""
TOPICS, CONTRACTS = 260, 20
K_TOPICS, K_CONTRACTS = 8, 12
K_PAGES = 8
INDEX = Path(__file__).with_name("index")
EVERYDAY = 2
"""Times that a question of everyday pages counts: they are few, and nearest to what is asked of a new index."""
_LONGEST = 90_000
_APART = 1_000_000
"""Characters between the offsets of two topics: places are then unique without the document's name."""
_HELD_BACK = 5
_NEGATION = re.compile(r"\b(is|are|was|were|may|must|shall|will|can|should)\b(?! not)")
_NUMBER = re.compile(r"\b\d+\b")


# --- Questions ---------------------------------------------------------------------------------------


def medquad(path: Path, seed: int) -> tuple[list[Row], FakeRetriever]:
    """Questions about topics, and the index with a document a topic."""
    topics: dict[str, dict[str, dict[str, str]]] = defaultdict(dict)
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            if record["answer"] and len(record["answer"]) < 4_000:
                topics[record["focus"]].setdefault(record["qtype"], record)
    drawn = random.Random(seed)  # noqa: S311 - drawn, not guessed
    names = sorted(name for name, sections in topics.items() if len(sections) >= 3)
    rows, passages = [], list[Passage]()
    for number, name in enumerate(drawn.sample(names, TOPICS)):
        kinds = sorted(topics[name])
        asked_kinds = drawn.sample(kinds, 2)
        hidden = asked_kinds[1] if drawn.random() < 0.5 else None
        offset = number * _APART
        for kind in kinds:
            text = topics[name][kind]["answer"]
            question = topics[name][kind]["question"].removesuffix(" ?").rstrip("?").replace("(are)", "").strip() + "?"
            span = (offset, offset + len(text))
            if kind != hidden:
                passages += cut(name, text, heading=f"{name} > {kind}", offset=offset)
                offset += len(text) + 2
            if kind in asked_kinds:
                spans = () if kind == hidden else (span,)
                rows.append(Row(text=question, evidence=spans, group=f"medquad {name}"))
    return rows, FakeRetriever(passages)


def cuad(contracts: Sequence[Contract]) -> tuple[list[Row], FakeRetriever]:
    """A question a contract and clause type, in one of the two wordings that are for learning."""
    rows, passages = [], list[Passage]()
    for number, contract in enumerate(contracts):
        passages += cut(contract.name, contract.text)
        for index, (kind, wordings) in enumerate(QUESTIONS.items()):
            rows.append(
                Row(
                    text=wordings[(number + index) % 2],
                    columns={"document": contract.name},
                    evidence=contract.clauses[kind],
                    group=f"cuad {contract.name}",
                )
            )
    return rows, FakeRetriever(passages)


def everyday() -> list[AnswerCorpus]:
    """The questions to all pages in one index, and those to documents of other formats on another, each so often."""
    corpora = [
        gather_index(of_pages(read_pages(held_out=False)), K_PAGES, "everyday"),
        gather_index(read_index(INDEX), K_PAGES, "everyday"),
    ]
    return [replace(corpus, asked=corpus.asked * EVERYDAY) for corpus in corpora]


def gather(rows: Sequence[Row], index: FakeRetriever, k: int) -> AnswerCorpus:
    """What is found for each question, in the document that it names if it names one."""

    async def look_up(task: Task) -> ContextView:
        named = (task.columns or {}).get("document")
        passages = await index.search(
            task.text, k=k, clearance=Label.PUBLIC, document=None if named is None else str(named)
        )
        entries = (Entry(content=passage, producer="index", label=passage.label, time=0.0) for passage in passages)
        return ContextView(entries=Context().append(*entries).entries)

    return asyncio.run(gather_corpus(rows, look_up, label=Label.PUBLIC, advance=lambda _: None))


def join(corpora: Sequence[AnswerCorpus]) -> AnswerCorpus:
    """All questions as one; positions of texts are moved."""
    whole = AnswerCorpus()
    for corpus in corpora:
        names = list(corpus.texts)
        moved = np.array([whole.texts.setdefault(text, len(whole.texts)) for text in names])
        whole.asked += [replace(question, texts=moved[question.texts]) for question in corpus.asked]
    return whole


def fit_readers(corpus: AnswerCorpus) -> dict[str, Any]:
    """Both rungs, with thresholds and what they reach on documents held back.

    Words alone answer too few everyday questions: the rung `lexical` learns from the others only.
    """
    corpus = corpus.narrowed()
    others = replace(corpus, asked=[question for question in corpus.asked if _source(question.row) != "everyday"])
    document: dict[str, Any] = {"readers": {}, "thresholds": {}, "reached": {}}
    for rung, own in (("lexical", others), ("embedding", corpus)):
        _fit_rung(document, rung, own)
    return document


def _source(row: Row) -> str:
    return str(row.group).split(" ", 1)[0]


def _fit_rung(document: dict[str, Any], rung: str, corpus: AnswerCorpus) -> None:
    groups = corpus.groups()
    sources = np.array([_source(question.row) for question in corpus.asked])
    fitted = fit_scorer(corpus, features_of(corpus, encoded=rung == "embedding"), deal(corpus, 0), precision=PRECISION)
    stated = np.array([question.stated for question in corpus.asked])
    answers = fitted.right >= 1 - fitted.stated
    right = np.where(answers, fitted.best, ~stated)
    thresholds = {}
    for name, rows, confidence in (
        ("answering", np.flatnonzero(answers), fitted.right),
        ("silence", np.flatnonzero(~answers), 1 - fitted.stated),
    ):
        thresholds[name] = _threshold(confidence[rows], right[rows], [groups[row] for row in rows], ENOUGH[name])
        own = rows[sources[rows] == "everyday"]
        if name == "silence" and len(own):
            thresholds[name]["value"] = max(thresholds[name]["value"], _met(confidence[own], right[own]))
        print(rung, name, thresholds[name], flush=True)
    document["readers"][rung] = fitted.scorer.describe()
    document["thresholds"][rung] = thresholds
    document["reached"][rung] = {
        source: _reached(sources == source, fitted, stated, answers, right, thresholds)
        for source in dict.fromkeys(sources.tolist())
    }


def _threshold(confidence: np.ndarray, right: np.ndarray, groups: Sequence[object], enough: float) -> dict[str, float]:
    """The threshold of the smallest risk at which enough is accepted, else of the laxest, and the risk."""
    shown = {}
    for risk in RISKS:
        threshold = accept_threshold(confidence, right, target_risk=risk, groups=groups)
        if threshold.value is not None:
            shown = {"value": threshold.value, "risk": risk}
            if threshold.coverage >= enough:
                break
    if not shown:
        raise SystemExit("No risk can be shown.")
    return shown


def _met(confidence: np.ndarray, right: np.ndarray) -> float:
    """The lowest confidence from which so many were right as `SILENCES_RIGHT` says.

    Most clause types are stated in no contract, so silence about contracts is nearly always right, and vouches for a
    silence about pages that is not. Everyday questions alone show nothing about theirs: they are too few.
    """
    order = np.argsort(-confidence, kind="stable")
    shares = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    return float(confidence[order[np.flatnonzero(shares >= SILENCES_RIGHT)[-1]]])


def _reached(  # noqa: PLR0917 - arrays of the same questions
    own: np.ndarray,
    fitted: FittedScorer,
    stated: np.ndarray,
    answers: np.ndarray,
    right: np.ndarray,
    thresholds: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    given = own & answers & (fitted.right >= (thresholds["answering"]["value"]))
    silent = own & ~answers & (1 - fitted.stated >= (thresholds["silence"]["value"]))
    return {
        "questions": int(own.sum()),
        "right_decision": float(right[own].mean()),
        "auroc_stated": auroc(fitted.stated[own], stated[own]),
        "coverage": float(given[own & stated].mean()),
        "answers_right": float(fitted.best[given].mean()) if given.any() else None,
        "unanswerable_without_answer": float((~given)[own & ~stated].mean()),
        "said_not_stated": float(silent[own & ~stated].mean()),
        "said_rightly": float((~stated)[silent].mean()) if silent.any() else None,
    }


# --- The check of what a model wrote ------------------------------------------------------------------


def scifact(folder: Path) -> Iterator[tuple[str, list[str], bool, str, str]]:
    """Claims with an abstract's sentences: supported by them, contradicted, or of another claim's abstract."""
    abstracts = {}
    with gzip.open(folder / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            abstracts[record["_id"]] = [s for s in re.split(r"(?<=[.?!])\s*(?=[A-Z])", record["text"]) if s]
    claims = [json.loads(line) for line in (folder / "claims_train.jsonl").read_text(encoding="utf-8").splitlines()]
    judged = [claim for claim in claims if claim["evidence_label"] in {"SUPPORT", "CONTRADICT"}]
    for claim, other in zip(judged, [*judged[7:], *judged[:7]], strict=True):
        source = abstracts.get(claim["evidence_doc_id"])
        if source:
            yield claim["claim"], source, claim["evidence_label"] == "SUPPORT", "scifact", claim["evidence_doc_id"]
            if other["evidence_doc_id"] in abstracts and other["evidence_doc_id"] != claim["evidence_doc_id"]:
                wrong = abstracts[other["evidence_doc_id"]]
                yield claim["claim"], wrong, False, "other source", claim["evidence_doc_id"]


def changed(sentences: Sequence[Sequence[str]], seed: int) -> Iterator[tuple[str, list[str], bool, str, str]]:
    """Sentences of passages: shortened or reordered (supported), or with a number, a negation or the source changed."""
    drawn = random.Random(seed)  # noqa: S311 - drawn, not guessed
    for number, source in enumerate(sentences):
        name, others = f"text {number}", sentences[(number + 11) % len(sentences)]
        sentence = drawn.choice([candidate for candidate in source if len(candidate.split()) >= 6] or [source[0]])
        words = sentence.split()
        yield sentence, list(source), True, "as it is", name
        if len(words) >= 10:
            at = drawn.randrange(3, len(words) - 5)
            yield " ".join(words[:at] + words[at + drawn.randint(1, 3) :]), list(source), True, "shortened", name
            half = len(words) // 2
            yield " ".join(words[half:] + words[:half]), list(source), True, "reordered", name
        if match := _NUMBER.search(sentence):
            new = str(int(match.group()) + drawn.choice([1, 2, 5, 10]))
            yield sentence[: match.start()] + new + sentence[match.end() :], list(source), False, "number changed", name
        if match := _NEGATION.search(sentence):
            yield f"{sentence[: match.end()]} not{sentence[match.end() :]}", list(source), False, "negated", name
        elif " not " in sentence:
            yield sentence.replace(" not ", " ", 1), list(source), False, "negation lost", name
        yield sentence, list(others), False, "other source", name


def fit_support(cases: Sequence[tuple[str, list[str], bool, str, str]]) -> dict[str, Any]:
    """The line, the support from which a sentence passes, and figures on sources held back."""
    features = np.vstack([support_features(sentence, source)[0] for sentence, source, *_ in cases])
    right = np.array([case[2] for case in cases])
    held = np.array([int(hashlib.sha256(case[4].encode()).hexdigest(), 16) % _HELD_BACK == 0 for case in cases])
    kinds = np.array(
        [f"{case[3]}{'' if case[3] != 'scifact' else (' support' if case[2] else ' contradict')}" for case in cases]
    )
    mean, spread = features[~held].mean(axis=0), features[~held].std(axis=0) + 1e-9
    model = LogisticRegression(C=1.0).fit((features[~held] - mean) / spread, right[~held])
    weights = model.coef_[0] / spread
    line = LinearScore(names=SUPPORT, weights=weights, bias=float(model.intercept_[0] - weights @ mean))
    support = expit(line.of(features))
    threshold = accept_threshold(support[~held], right[~held], target_risk=SUPPORT_RISK)
    passes = support >= (threshold.value or 1.0)
    reached = {
        "auroc": auroc(support[held], right[held]),
        "passed": {kind: float(passes[held & (kinds == kind)].mean()) for kind in sorted(set(kinds[held]))},
        "passed_are_right": float(right[held & passes].mean()),
    }
    print("support", threshold, json.dumps(reached, indent=1))
    return {"support": line.describe(), "supported": threshold.value, "reached": reached}


def main() -> None:
    """Fit everything, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "src/coterie/tasks/answer" / DEFAULT_FILE)
    given = parser.parse_args()
    table, archive = find("cuad")
    (questions,) = find("medquad")
    abstracts, *_, claims = find("scifact_beir")
    learn, _, _ = divide(read_contracts(table, archive), LENDER / "data/clauses.split.json")
    learn = list(islice((contract for contract in learn if len(contract.text) < _LONGEST), CONTRACTS))
    corpora = [
        gather(*medquad(questions, 0), K_TOPICS),
        gather(*cuad(learn), K_CONTRACTS),
        *everyday(),
    ]
    corpus = join(corpora)
    print(f"{len(corpus.asked)} questions, {len(corpus.texts)} sentences", flush=True)
    encoder = OnnxEncoder.bundled(threads=2)
    corpus.encode(encoder.encode)
    readers = fit_readers(corpus)
    texts = list(corpus.texts)
    prose = [
        question for question in corpus.asked if _source(question.row) != "everyday"
    ]  # whose questions are there twice
    sources = [[texts[i] for i in question.texts[:12]] for question in prose[:: max(1, len(prose) // 900)]]
    support = fit_support([*scifact(abstracts.parent), *changed(sources, 0)])
    stored = {
        "readers": readers["readers"],
        "thresholds": readers["thresholds"],
        "support": support["support"],
        "supported": support["supported"],
        "provenance": {
            "made_by": "benchmarks/answer/calibrate.py",
            "encoder_sha256": encoder.sha256,
            "data": {
                "medquad.jsonl.gz": {"licence": "CC-BY-4.0", "sha256": sha256(questions), "topics": TOPICS},
                "cuad master_clauses.csv": {"licence": "CC-BY-4.0", "sha256": sha256(table), "contracts": len(learn)},
                "pages.json": {"licence": "Apache-2.0", "sha256": sha256(PAGES), "counted": EVERYDAY},
                "index/questions.json": {
                    "licence": "Apache-2.0",
                    "sha256": sha256(INDEX / "questions.json"),
                    "counted": EVERYDAY,
                },
                "scifact claims_train.jsonl": {"licence": "CC-BY-4.0", "sha256": sha256(claims)},
            },
            "reached": {"readers": readers["reached"], "support": support["reached"]},
        },
    }
    kept = json.loads(given.out.read_text(encoding="utf-8"))  # what is fitted on top of it, by `reread.py` and others
    given.out.write_text(json.dumps(_rounded(kept | stored), indent=1) + "\n", encoding="utf-8")
    print(f"Written: {given.out.name}")


def _rounded(value: object) -> object:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return float(f"{value:.6g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
