"""Makes the section `reading` of `src/coterie/tasks/answer/default.json`: how the reading model's say is weighed.

    COTERIE_DATA=FOLDER python benchmarks/answer/reread.py

The first look is the reader that comes with Coterie; the model reads its best sentences. The lines that weigh both are
fitted on questions of several domains: medicine (MedQuAD), contracts (CUAD's training contracts), papers (COVID-QA),
everyday pages (this project's) and encyclopaedias in nine languages (documents that the model was not trained on).
Passages in other languages than English have lines of their own. A threshold holds its risk as a mean over domains, by
what lines say of each that have not seen it; each other language than English is a domain.
`left_out` in the provenance says what became of each domain when everything was fitted and chosen on the others only.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import pickle
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts" / "reading"))

from _cuad import divide, read_contracts
from _index import QuestionedDocuments, make_network, of_pages, read_index
from _pages import read_pages
from calibrate import INDEX, K_PAGES, cuad, medquad
from corpus import FILES, SETS, held, load

from _data import LENDER, find
from _record import ROOT
from coterie.config.file import load_config
from coterie.engines.onnx import OnnxEncoder
from coterie.engines.reading import bundled_reader
from coterie.knowledge.documents import DocumentIndex
from coterie.knowledge.open import open_index
from coterie.learning.calibration import expit, logit
from coterie.learning.dataset import Row
from coterie.learning.evaluation import auroc
from coterie.tasks.answer.default import DEFAULT_FILE, load_defaults
from coterie.tasks.answer.features import Sentence
from coterie.tasks.answer.fit import met
from coterie.tasks.answer.fit_scoring import fit_line
from coterie.tasks.answer.reader import AnswerReading, SentenceSurvey, survey
from coterie.tasks.answer.rereading import (
    JUDGED,
    LOOKED,
    Looked,
    Rereading,
    features,
    is_foreign,
    judged,
    read_passages,
)
from coterie.tasks.answer.rows import holds_answer
from coterie.tasks.answer.scoring import LinearScore
from coterie.testing import FakeRetriever
from coterie.types import Label, Passage

RISKS = (0.05, 0.1, 0.15, 0.2, 0.25)
PRECISION = 0.9
"""Of sentences that are cited beside the best one."""
FEWEST, FEWEST_FOREIGN, STRENGTH = 12, 5, 0.5
"""Answers from which a domain counts, in English and in other languages, where a set has a few questions; and the
lines' regularisation (scikit-learn's `C`)."""
FEWEST_LANGUAGES = 4
"""From so many other languages than English on they have lines of their own."""
SHOWN = 0.1
"""The risk at which figures are shown, and at which one threshold serves all languages."""
ALSO = Path(__file__).parent / "judged.json"
"""Sentences that answer a question beside those that its set names."""
MOST_OF_PAPER = 700
"""Characters of a part of a paper."""
FAR = 6.0
"""Log-odds by which answers are made less sure that no threshold can be shown to hold."""
Floats = np.ndarray


@dataclass
class Item:
    """A question as both looks see it."""

    domain: str
    group: str
    seen: SentenceSurvey
    first: AnswerReading
    looked: Looked
    answers: np.ndarray
    """Of each sentence whether it answers."""
    stated: bool

    @cached_property
    def foreign(self) -> bool:
        """Whether it is about passages in another language than the first look's."""
        return is_foreign(self.seen, self.first.scores)

    @property
    def kind(self) -> str:
        """The domain, of an encyclopaedia in another language than English with the language."""
        return f"{self.domain} {self.group.split('-')[1]}" if self.foreign else self.domain

    def is_of(self, kind: str) -> bool:
        """Whether it is left out with a kind: with a domain in English its questions in other languages are, too."""
        return kind in (self.kind, self.domain)


class Asked(NamedTuple):
    """A question of a domain."""

    domain: str
    group: str
    question: str
    stated: bool


class Looks:
    """Both looks at questions; sentences are encoded once."""

    def __init__(self) -> None:
        self.encoder = OnnxEncoder.bundled(threads=1)
        self.reader = load_defaults().readers["embedding"]
        self.model = bundled_reader()
        self.known: dict[str, Floats] = {}

    def vectors(self, texts: Sequence[str]) -> Floats:
        """Encodings (N, D)."""
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        if new:
            self.known |= dict(zip(new, self.encoder.encode(new), strict=True))
        return np.stack([self.known[text] for text in texts])

    def item(self, question: Asked, passages: Sequence[Passage], right: Callable[[Sentence], bool]) -> Item | None:
        """One question, or None where nothing was found; `right` tells of a sentence whether it answers."""
        seen = self.reader.narrow(survey(question.question, passages))
        if not seen.sentences:
            return None
        reading = self.reader.read(seen, self.vectors([question.question])[0], self.vectors(seen.texts))
        looked = read_passages(seen, reading.scores, self.model)
        answers = np.array([bool(right(sentence)) for sentence in seen.sentences])
        return Item(question.domain, question.group, seen, reading, looked, answers, question.stated)


def judged_too(items: Sequence[Item]) -> list[Item]:
    """The same questions with what else answers them, by people's judgement."""
    keys_by_domain = {domain: set(keys) for domain, keys in json.loads(ALSO.read_text()).items()}
    for item in items:
        own = keys_by_domain.get(item.domain, set())
        item.answers = item.answers | np.array([key(item, sentence) in own for sentence in item.seen.sentences])
        item.stated = item.stated or bool(item.answers.any())
    return list(items)


def key(item: Item, sentence: Sentence) -> str:
    """By what a sentence and its question are known in `judged.json`."""
    document = sentence.passage.document.rsplit("/", 1)[-1]
    text = "\n".join((item.domain, item.seen.question, document, sentence.text))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def of_rows(looks: Looks, domain: str, rows: Sequence[Row], index: FakeRetriever, k: int) -> Iterator[Item]:
    """Questions with places or quotes as answers."""
    for row in rows:
        named = row.columns.get("document")
        passages = asyncio.run(
            index.search(row.text, k=k, clearance=Label.PUBLIC, document=None if named is None else str(named))
        )
        item = looks.item(
            Asked(domain, str(row.group), row.text, bool(row.labels or row.evidence)), passages,
            lambda s, row=row: holds_answer(row, s.passage.document, s.start, s.end, s.text),
        )  # fmt: skip
        if item is not None:
            yield item


def everyday(looks: Looks) -> Iterator[Item]:
    """Questions about this project's pages and documents, those that are not held out."""
    for name, given in (("pages", of_pages(read_pages(held_out=False))), ("documents", read_index(INDEX))):
        with tempfile.TemporaryDirectory() as folder:
            network = make_network(Path(folder), given.documents, train=False)
            config = load_config(network)
            opened = open_index(
                "pages", config.knowledge["pages"], network, network=config.network.name, encoder=looks.encoder
            )

            async def found(
                opened: DocumentIndex = opened, given: QuestionedDocuments = given
            ) -> list[Sequence[Passage]]:
                out = [await opened.search(q.text, k=K_PAGES, clearance=Label.RESTRICTED) for q in given.asked]
                await opened.close()
                return out

            for question, passages in zip(given.asked, asyncio.run(found()), strict=True):
                item = looks.item(
                    Asked(f"everyday {name}", question.document, question.text, question.answer is not None),
                    list(passages), lambda s, q=question: q.answered_by(s.passage.document, s.text),
                )  # fmt: skip
                if item is not None:
                    yield item


def encyclopaedia(looks: Looks, most: int) -> Iterator[Item]:
    """Questions about paragraphs of held-out documents, in the language of the paragraph."""
    over = set(json.loads((Path(load.HERE) / "qa/xquad_overlap_ids.json").read_text())["ids"])
    test_ids = {
        q["id"] for p in load.read("qa/squad2_dev/squad2_dev.jsonl.gz") if p["split"] == "test" for q in p["qas"]
    }
    drawn = random.Random(0)  # noqa: S311 - a sample
    for name, lang in SETS:
        if lang in ("sw", "ko", "no", "zh-Hant", "it"):
            continue
        paragraphs = [p for p in load.read(f"qa/{name}/{FILES.get(name, name)}.jsonl.gz") if p["lang"] == lang]
        paragraphs = [
            p for p in paragraphs if held(name + (p.get("title") or p["context"][:60])) and not p.get("in_xquad")
        ]
        paragraphs = [p for p in paragraphs if p["qas"] and not {q["id"] for q in p["qas"]} & (over | test_ids)]
        drawn.shuffle(paragraphs)
        passages, rows = [], []
        for number, p in enumerate(paragraphs[:40]):
            document = f"{name}-{lang}-{number}"
            passages.append(passage_at(document, p["context"], 0, len(p["context"])))
            for q in drawn.sample(p["qas"], min(2, len(p["qas"]))):
                text = q["q"] if isinstance(q["q"], str) else q["q"].get(lang, "")
                spans = tuple((start, start + len(answer)) for answer, start in q["a"])
                if text and (spans or q.get("impossible")):
                    rows.append((Row(text=text, evidence=spans, group=document), document))
        index = FakeRetriever(passages)
        for row, document in drawn.sample(rows, min(most, len(rows))):
            retrieved = asyncio.run(index.search(row.text, k=6, clearance=Label.PUBLIC))
            hidden = drawn.random() < 0.2
            retrieved = [passage for passage in retrieved if not (hidden and passage.document == document)]
            item = looks.item(
                Asked("encyclopaedia", document, row.text, bool(row.evidence) and not hidden), retrieved,
                lambda s, row=row, document=document: s.passage.document == document
                and any(s.start < end and start < s.end for start, end in row.evidence),
            )  # fmt: skip
            if item is not None:
                yield item


def papers(looks: Looks, most: int) -> Iterator[Item]:
    """Questions of physicians about papers on COVID-19, in parts of some sentences each."""
    drawn = random.Random(1)  # noqa: S311 - a sample
    documents = [p for p in load.read("qa/covidqa/covidqa.jsonl.gz") if p["qas"]]
    passages, rows = [], []
    for number, p in enumerate(drawn.sample(documents, min(30, len(documents)))):
        name, begin, end = f"paper-{number}", 0, 0
        for start, text in load.sentences(p["context"][:60_000]):
            if start + len(text) - begin > MOST_OF_PAPER and end > begin:
                passages.append(passage_at(name, p["context"], begin, end))
                begin = start
            end = start + len(text)
        passages.append(passage_at(name, p["context"], begin, end))
        for q in drawn.sample(p["qas"], min(8, len(p["qas"]))):
            spans = tuple((start, start + len(answer)) for answer, start in q["a"] if start < end)
            if spans:
                rows.append((q["q"], spans, name))
    index = FakeRetriever(passages)
    for text, spans, name in drawn.sample(rows, min(most, len(rows))):
        retrieved = asyncio.run(index.search(text, k=6, clearance=Label.PUBLIC, document=name))
        hidden = drawn.random() < 0.25
        retrieved = [
            passage
            for passage in retrieved
            if not (hidden and any(a < passage.end and passage.start < b for a, b in spans))
        ]
        stated = any(a < passage.end and passage.start < b for passage in retrieved for a, b in spans)
        item = looks.item(
            Asked("papers", name, text, stated), retrieved,
            lambda s, spans=spans: any(s.start < b and a < s.end for a, b in spans),
        )  # fmt: skip
        if item is not None:
            yield item


def passage_at(document: str, text: str, start: int, end: int) -> Passage:
    """A part of a document as a search finds it."""
    return Passage(
        document=document,
        start=start,
        end=end,
        text=text[start:end],
        label=Label.PUBLIC,
        index="index",
        score=0.0,
    )


def evenly(domains: Sequence[str]) -> Floats:
    """Weights by which each domain counts as much as the square root of its questions."""
    names, counts = np.unique(domains, return_counts=True)
    share = dict(zip(names, counts**-0.5, strict=True))
    shares = np.array([share[domain] for domain in domains])
    return shares / shares.mean()


def fit_sentence(items: Sequence[Item], weights: Floats) -> LinearScore:
    """The line over sentences that were read."""
    seen = np.vstack([features(item.first.scores, item.looked) for item in items])
    right = np.concatenate([item.answers[item.looked.rows] for item in items])
    weights = np.repeat(weights, [len(item.looked.rows) for item in items])
    return fit_line(LOOKED, seen, right, strength=STRENGTH, weights=weights)


def outcomes(items: Sequence[Item], rereading: Rereading) -> tuple[Floats, np.ndarray, list[AnswerReading]]:
    """What is seen of each answer, whether its best sentence answers, and the reading."""
    seen, right, readings = [], [], []
    for item in items:
        reading = rereading.judge(item.seen, item.first, item.looked)
        places = [item.seen.sentences.index(sentence) for sentence in reading.cited]
        seen.append(judged(reading.scores, places, item.looked, item.first))
        right.append(bool(item.answers[places[0]]))
        readings.append(reading)
    return np.array(seen), np.array(right), readings


def fit(items: Sequence[Item], model: str) -> Rereading:
    """All lines: those of passages in English on all questions, those of others on their own."""
    foreign = [item for item in items if item.foreign]
    lines = fit_lines(items, [item.domain for item in items], model)
    if len({item.kind for item in foreign}) < FEWEST_LANGUAGES:
        return lines
    return replace(lines, foreign=fit_lines(foreign, [item.kind for item in foreign], model))


def fit_lines(items: Sequence[Item], domains: Sequence[str], model: str) -> Rereading:
    """The lines of one kind of passages."""
    weights = evenly(domains)
    flat = LinearScore(names=JUDGED, weights=np.zeros(len(JUDGED)), bias=0.0)

    def bare(sentence: LinearScore, also: float = 1e9) -> Rereading:
        return Rereading(sentence=sentence, right=flat, stated=flat, also=also, model=model)

    sentence = fit_sentence(items, weights)
    seen, right, _ = outcomes(items, bare(sentence))
    stated = np.array([item.stated for item in items])
    values, good = [], []
    for item in items:
        scores = sentence.of(features(item.first.scores, item.looked))
        order = np.argsort(-scores)[1:4]
        values += scores[order].tolist()
        good += item.answers[item.looked.rows][order].tolist()
    order = np.argsort(-np.array(values))
    shares = np.cumsum(np.array(good)[order]) / np.arange(1, len(order) + 1)
    fine = np.flatnonzero((shares >= PRECISION) & (np.arange(len(order)) >= 20))
    also = float(np.array(values)[order[fine[-1]]]) if len(fine) else 1e9
    return Rereading(
        sentence=sentence, right=fit_line(JUDGED, seen, right, strength=STRENGTH, weights=weights),
        stated=fit_line(JUDGED, seen, stated, strength=STRENGTH, weights=weights),
        also=also, model=model,
    )  # fmt: skip


class Said(NamedTuple):
    """What lines say of a question, and what is true."""

    item: Item
    reading: AnswerReading
    right: bool


def say(items: Sequence[Item], lines: Rereading) -> list[Said]:
    """What lines say of questions."""
    _, right, readings = outcomes(items, lines)
    return [Said(*row) for row in zip(items, readings, right.tolist(), strict=True)]


def thresholds(answers: Sequence[Said], *, fewest: int, again: bool = False) -> dict[str, list[dict[str, float]]]:
    """By risk the lowest confidence that holds it, domains counting alike, or the worst twice (`again`)."""
    right, stated = (
        np.array([answer.right for answer in answers]),
        np.array([answer.item.stated for answer in answers]),
    )
    sure, silent = (
        np.array(column) for column in zip(*((s.reading.right, 1 - s.reading.stated) for s in answers), strict=True)
    )
    domains = np.array([answer.item.kind for answer in answers])
    by_name = {}
    for name, own, confidence, good in (
        ("answering", sure >= silent, sure, right),
        ("silence", sure < silent, silent, ~stated),
    ):
        steps = []
        for risk in RISKS:
            value = met(confidence[own], good[own], domains[own], risk, fewest=fewest, again=again)
            if value is not None:  # else it cannot be held
                steps.append({"risk": risk, "value": round(value, 4)})
        by_name[name] = steps
    return by_name


def value_at(steps: Sequence[dict[str, float]], risk: float) -> float | None:
    """The confidence that holds a risk, if one does."""
    return next((step["value"] for step in steps if step["risk"] == risk), None)


def one_scale(lines: Rereading, answers: Sequence[Said]) -> tuple[Rereading, dict[str, list[dict[str, float]]]]:
    """Lines whose answers in all languages hold `SHOWN` from one confidence on, and the thresholds.

    Args:
        lines: As they were fitted.
        answers: Of each question what lines say that have not seen its domain.
    """
    own_language, foreign = ([answer for answer in answers if answer.item.foreign is which] for which in (False, True))
    steps = thresholds(own_language, fewest=FEWEST, again=True)
    if lines.foreign is None or not foreign:
        return lines, steps
    own = thresholds(foreign, fewest=FEWEST_FOREIGN, again=True)
    right, stated = (
        replace(line, bias=line.bias + sign * moved(steps[name], own[name]))
        for name, line, sign in (("answering", lines.foreign.right, 1), ("silence", lines.foreign.stated, -1))
    )
    for step in steps["answering"]:  # at other risks the more careful of the two
        value = value_at(own["answering"], step["risk"])
        if value is not None:
            value = float(expit(logit(value) + moved(steps["answering"], own["answering"])))
            step["value"] = max(step["value"], round(value, 4))
    return replace(lines, foreign=replace(lines.foreign, right=right, stated=stated)), steps


def moved(steps: Sequence[dict[str, float]], own: Sequence[dict[str, float]]) -> float:
    """By how much less sure other languages are to be for one confidence to hold `SHOWN` in all; much if none can."""
    here, there = value_at(steps, SHOWN), value_at(own, SHOWN)
    return -FAR if here is None or there is None else float(logit(here) - logit(there))


def figures(
    items: Sequence[Item], readings: Sequence[AnswerReading], right: np.ndarray, steps: dict[str, Any], risk: float
) -> dict[str, Any]:
    """What became of questions at a risk."""
    at = {name: next((s["value"] for s in levels if s["risk"] >= risk), 1.01) for name, levels in steps.items()}
    stated = np.array([item.stated for item in items])
    answer = np.array([reading.right >= 1 - reading.stated for reading in readings])
    given = answer & (np.array([reading.right for reading in readings]) >= at["answering"])
    silent = ~answer & (1 - np.array([reading.stated for reading in readings]) >= at["silence"])
    return {
        "questions": len(items), "answered_of_stated": _share(given[stated]),
        "wrong_of_answered": _share(~right[given]), "best_right_of_stated": _share(right[stated]),
        "said_not_stated_of_not_stated": _share(silent[~stated]),
        "said_not_stated_wrongly": _share(stated[silent]),
        "auroc_right": auroc(np.array([reading.right for reading in readings]), right),
        "auroc_stated": auroc(np.array([reading.stated for reading in readings]), stated),
    }  # fmt: skip


def _share(values: np.ndarray) -> float | None:
    return round(float(values.mean()), 4) if len(values) else None


def left_out(items: Sequence[Item], kind: str, fitted: Rereading, answers: Sequence[Said]) -> dict[str, Any]:
    """What becomes of a kind of questions when everything is fitted and chosen without it.

    Args:
        items: All questions.
        kind: Those that are left out.
        fitted: Lines that have not seen them.
        answers: Of every question what lines say that have not seen its kind; they have seen the one that is left out.
    """
    lines, steps = one_scale(fitted, [answer for answer in answers if not answer.item.is_of(kind)])
    return shown([item for item in items if item.kind == kind], lines, steps)


def shown(items: Sequence[Item], lines: Rereading, steps: dict[str, Any]) -> dict[str, Any]:
    """What becomes of questions by lines and thresholds."""
    _, right, readings = outcomes(items, lines)
    return figures(items, readings, right, steps, SHOWN)


def gather(given: argparse.Namespace) -> list[Item]:
    """Both looks at all questions; the first is remembered in a file, where one is named."""
    if given.looks and given.looks.is_file():
        items: list[Item] = pickle.loads(given.looks.read_bytes())  # noqa: S301 - written here
        for item in items:  # the reading model may be another one since
            item.looked = read_passages(item.seen, item.first.scores, bundled_reader())
        return judged_too(items)
    looks = Looks()
    (questions,) = find("medquad")
    rows, index = medquad(questions, 0)
    items = list(of_rows(looks, "medicine", rows[: given.medicine], index, 8))
    print("medicine", len(items), flush=True)
    items += encyclopaedia(looks, given.each)
    print("encyclopaedia", len(items), flush=True)
    items += papers(looks, given.papers)
    print("papers", len(items), flush=True)
    items += everyday(looks)
    print("everyday", len(items), flush=True)
    if given.contracts:
        table, archive = find("cuad")
        learn, _, _ = divide(read_contracts(table, archive), LENDER / "data/clauses.split.json")
        rows, index = cuad(
            list(islice((contract for contract in learn if len(contract.text) < 20_000), given.contracts))
        )
        items += of_rows(looks, "contracts", rows, index, 12)
        print("contracts", len(items), flush=True)
    if given.looks:
        given.looks.write_bytes(pickle.dumps(items))
    return judged_too(items)


def main() -> None:
    """Look, fit, choose, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "src/coterie/tasks/answer" / DEFAULT_FILE)
    parser.add_argument("--each", type=int, default=45, help="questions of each encyclopaedia")
    parser.add_argument("--medicine", type=int, default=340, help="questions about medicine")
    parser.add_argument("--papers", type=int, default=150, help="questions about papers")
    parser.add_argument("--contracts", type=int, default=6)
    parser.add_argument("--looks", type=Path, help="file that remembers the first look at all questions")
    given = parser.parse_args()
    items = gather(given)
    model = bundled_reader().sha256
    kinds = list(dict.fromkeys(item.kind for item in items))
    fitted = {kind: fit([item for item in items if not item.is_of(kind)], model) for kind in kinds}
    answers = [one for kind in kinds for one in say([item for item in items if item.kind == kind], fitted[kind])]
    lines, steps = one_scale(fit(items, model), answers)
    reached, left = {}, {}
    for kind in kinds:
        reached[kind] = shown([item for item in items if item.kind == kind], lines, steps)
        left[kind] = left_out(items, kind, fitted[kind], answers)
        print(kind, json.dumps(reached[kind]), "LEFT OUT", json.dumps(left[kind]), flush=True)
    print(json.dumps(steps), flush=True)
    stored = json.loads(given.out.read_text(encoding="utf-8"))
    stored["reading"] = {
        "lines": lines.describe(), "thresholds": steps,
        "provenance": {"made_by": "benchmarks/answer/reread.py", "risk": SHOWN, "reached": reached, "left_out": left},
    }  # fmt: skip
    given.out.write_text(json.dumps(rounded(stored), indent=1) + "\n", encoding="utf-8")


def rounded(value: object) -> object:
    """Numbers with six digits."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
