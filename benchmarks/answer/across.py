"""Makes `across` in `src/coterie/tasks/answer/default.json`: answers in another language than the question's.

    COTERIE_DATA=FOLDER python benchmarks/answer/across.py

Questions of MLQA's development part in one of seven languages, each with the paragraph that answers it in another, if
the reading model was not trained on that paragraph. Beside it lie the likeliest paragraphs of both languages, by words
of the question in that language; for a quarter the paragraph itself is left out, and nothing answers. The lines do not
know the first look. A threshold holds its risk over all questions together, with one more wrong answer added, by what
lines say of each that have not seen the language of its paragraph: a language has too few answers to count by itself.
The lines are moved so that the threshold is that of the other questions at every risk.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import pickle
import random
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts" / "reading"))

from corpus import held, load
from reread import RISKS, Asked, Item, Looks, Said, figures, fit_lines, outcomes, passage_at, rounded, say, value_at

from _record import ROOT
from coterie.engines.reading import bundled_reader
from coterie.learning.calibration import expit, logit
from coterie.tasks.answer.default import DEFAULT_FILE
from coterie.tasks.answer.rereading import Rereading, read_across
from coterie.testing import FakeRetriever
from coterie.types import Label, Passage

RISK = 0.1
HIDDEN = 0.25
BESIDE = {True: 4, False: 3}
"""Paragraphs beside the right one: in its language, and in the question's."""
SET = "qa/mlqa_dev/mlqa_dev.jsonl.gz"


class Across(Item):
    """A question about a paragraph in another language; its domain is that language."""

    @property
    def kind(self) -> str:
        """The domain."""
        return self.domain


def blank(item: Item, looks: Looks) -> Across | None:
    """The question as the lines see it, without the first look; None where no other language is liked best."""
    looked = read_across(item.seen, item.looked, looks.model)
    if looked is None:
        return None
    first = replace(item.first, scores=np.zeros(len(item.seen.sentences)), right=0.5, stated=0.5)
    return Across(item.domain, item.group, item.seen, first, looked, item.answers, item.stated)


class WordsFirst(Looks):
    """Looks whose first one goes by words alone: the lines do not know it, and it only says what is read early."""

    def vectors(self, texts: Sequence[str]) -> np.ndarray:  # (N, D)
        """Nothing of the texts."""
        return np.zeros((len(texts), self.encoder.dimension), dtype=np.float32)


def gather(each: int) -> list[Across]:
    """So many questions of each language of the paragraphs."""
    looks, drawn = WordsFirst(), random.Random(0)  # noqa: S311 - a sample
    paragraphs = list(load.read(SET))
    by_language: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    told_in: dict[str, set[str]] = defaultdict(set)
    for number, paragraph in enumerate(paragraphs):
        name = f"{paragraph['lang']}-{number}"
        by_language[paragraph["lang"]].append((name, paragraph))
        for question in paragraph["qas"]:
            told_in[question["id"]].add(name)
    indexes = {
        language: FakeRetriever([passage_at(name, p["context"], 0, len(p["context"])) for name, p in own])
        for language, own in by_language.items()
    }
    items, lost = list[Across](), 0
    for language, own in by_language.items():
        candidates = [
            (name, paragraph, question, asked)
            for name, paragraph in own
            if language == "en" or held("mlqa_dev" + (paragraph.get("title") or paragraph["context"][:60]))
            for question in paragraph["qas"]
            for asked in question["q"]
            if asked != language
        ]
        for name, paragraph, question, asked in drawn.sample(candidates, min(each, len(candidates))):
            same = set().union(*(told_in[other["id"]] for other in paragraph["qas"]))
            hidden = drawn.random() < HIDDEN
            passages = [] if hidden else [passage_at(name, paragraph["context"], 0, len(paragraph["context"]))]
            for here in (True, False):
                words = question["q"][language if here and language in question["q"] else asked]
                found = beside(indexes[language if here else asked], words)
                passages += [passage for passage in found if passage.document not in same][: BESIDE[here]]
            drawn.shuffle(passages)
            spans = [(start, start + len(answer)) for answer, start in question["a"]]
            text = question["q"][asked]
            item = looks.item(
                Asked(f"across {language}", name, text, not hidden), passages,
                lambda s, name=name, spans=spans: s.passage.document == name
                and any(s.start < end and start < s.end for start, end in spans),
            )  # fmt: skip
            read = None if item is None else blank(item, looks)
            lost += read is None
            items += [] if read is None else [read]
        print(language, len(candidates), len(items), "elsewhere", lost, flush=True)
    return items


def beside(index: FakeRetriever, text: str) -> Sequence[Passage]:
    """The likeliest paragraphs of a language."""
    return asyncio.run(index.search(text, k=12, clearance=Label.PUBLIC))


def held_from(answers: Sequence[Said]) -> dict[str, list[dict[str, float]]]:
    """By risk the lowest confidence from which it holds, for answers and for silence."""
    right = np.array([answer.right for answer in answers])
    none = np.array([not answer.item.stated for answer in answers])
    sure, silent = (
        np.array(column) for column in zip(*((s.reading.right, 1 - s.reading.stated) for s in answers), strict=True)
    )
    by_name = {}
    for name, own, confidence, good in (
        ("answering", sure >= silent, sure, right),
        ("silence", sure < silent, silent, none),
    ):
        order = np.argsort(-confidence[own])
        wrong = (np.cumsum(~good[own][order]) + 1) / np.arange(1, len(order) + 1)
        held = {risk: np.flatnonzero(wrong <= risk) for risk in RISKS}
        by_name[name] = [
            {"risk": risk, "value": float(confidence[own][order[rows[-1]]])} for risk, rows in held.items() if len(rows)
        ]
    return by_name


def shift(steps: Sequence[dict[str, float]], own: Sequence[dict[str, float]]) -> float:
    """By how much surer the lines may be for the thresholds of the other questions to hold their risks."""
    moves = [
        -99.0 if there is None else float(logit(step["value"]) - logit(there))
        for step in steps
        if step["risk"] >= RISK - 1e-9
        for there in [value_at(own, step["risk"])]
    ]
    return max(min(moves, default=-99.0), -6.0)


def main() -> None:
    """Look, fit, choose, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "src/coterie/tasks/answer" / DEFAULT_FILE)
    parser.add_argument("--each", type=int, default=120, help="questions of each language of the paragraphs")
    parser.add_argument("--looks", type=Path, help="file that remembers what was read")
    given = parser.parse_args()
    if given.looks and given.looks.is_file():
        items: list[Across] = pickle.loads(given.looks.read_bytes())  # noqa: S301 - written here
    else:
        items = gather(given.each)
        if given.looks:
            given.looks.write_bytes(pickle.dumps(items))
    model, kinds = bundled_reader().sha256, sorted({item.kind for item in items})
    answers = []
    for kind in kinds:
        others = [item for item in items if item.kind != kind]
        lines = fit_lines(others, [item.kind for item in others], model)
        answers += say([item for item in items if item.kind == kind], lines)
    own = held_from(answers)
    stored = json.loads(given.out.read_text(encoding="utf-8"))
    steps = stored["reading"]["thresholds"]
    across = fit_lines(items, [item.kind for item in items], model)
    moves = {name: shift(steps[name], own[name]) for name in ("answering", "silence")}
    across = surer(across, moves)
    left = {}
    for kind in kinds:
        part = [answer for answer in answers if answer.item.kind == kind]
        readings = [
            replace(a.reading, right=plus(a.reading.right, moves["answering"]),
                    stated=1 - plus(1 - a.reading.stated, moves["silence"]))
            for a in part
        ]  # fmt: skip
        left[kind] = figures([a.item for a in part], readings, np.array([a.right for a in part]), steps, RISK)
        print(kind, json.dumps(left[kind]), flush=True)
    _, right, readings = outcomes(items, across)
    print("own", json.dumps(own), "moves", moves, json.dumps(figures(items, readings, right, steps, RISK)), flush=True)
    stored["reading"]["lines"]["across"] = rounded(across.describe())
    stored["reading"]["provenance"]["across"] = rounded(
        {"made_by": "benchmarks/answer/across.py", "risk": RISK, "moves": moves, "left_out": left}
    )
    given.out.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


def plus(probability: float, move: float) -> float:
    """A probability with its log-odds moved."""
    return float(expit(logit(np.clip(probability, 1e-6, 1 - 1e-6)) + move))


def surer(lines: Rereading, moves: dict[str, float]) -> Rereading:
    """Lines that are so much surer of an answer, and of silence."""
    right = replace(lines.right, bias=lines.right.bias + moves["answering"])
    stated = replace(lines.stated, bias=lines.stated.bias - moves["silence"])
    return replace(lines, right=right, stated=stated)


if __name__ == "__main__":
    main()
