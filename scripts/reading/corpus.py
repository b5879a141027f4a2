"""The rows that the reading model's head is trained on, from public sets that may be redistributed (marked OK).

A row is a question with sentences in a row of one paragraph: which of them answer, and the answer's words. Kept out,
whole: every paragraph that XQuAD holds and every question of the test half of SQuAD 2.0's development set, in any
language. Every tenth document is `held`: it measures while training, and calibrates.

    COTERIE_DATA=... python scripts/reading/corpus.py OUT.jsonl.gz
"""

from __future__ import annotations

import collections
import gzip
import hashlib
import json
import os
import random
import re
import sys
from pathlib import Path

SEED = 20
FOLDER = Path(os.environ["COTERIE_DATA"]) / "reading"
sys.path.insert(0, str(FOLDER))
import load  # noqa: E402

RANDOM = random.Random(SEED)  # noqa: S311 - a sample, no secret
SETS = {
    ("squad2_dev", "en"): (170, 7), ("squad_train_slice", "en"): (130, 2), ("tydiqa_goldp", "en"): (130, 1),
    ("tydiqa_goldp", "ko"): (50, 1), ("tydiqa_goldp", "sw"): (30, 1), ("squad_it_test", "it"): (40, 4),
    ("squad_es_v2_dev", "es"): (60, 6), ("piaf_fr", "fr"): (60, 3), ("jaquad_slice", "ja"): (50, 3),
    ("cmrc2018", "zh"): (50, 3), ("drcd_dev", "zh-Hant"): (20, 3), ("faquad_pt", "pt"): (30, 3),
    ("arcd_ar", "ar"): (55, 3), ("norquad", "no"): (20, 2), ("mlqa_dev", "de"): (70, 2), ("mlqa_dev", "vi"): (70, 2),
    ("mlqa_dev", "hi"): (80, 2), ("mlqa_dev", "ar"): (40, 2), ("mlqa_dev", "zh"): (40, 2), ("mlqa_dev", "es"): (20, 2),
}  # fmt: skip
"""Of each set and language so many paragraphs, and at most so many questions of each."""
FILES = {"jaquad_slice": "jaquad", "faquad_pt": "faquad", "arcd_ar": "arcd"}
MOST = 7
"""Sentences of a row."""


def held(document: str) -> bool:
    """Whether a document is kept from training."""
    return hashlib.sha256(document.encode()).digest()[0] % 10 == 0


def near_miss(question: str, others: list[str]) -> str | None:
    """The question with one name or number exchanged for another question's, where it has one."""
    part = r"(?<=[^\s?.!])\s(?:[^\W\d_a-zà-ÿ]\w{2,}(?:\s[^\W\d_a-zà-ÿ]\w+)*|\d[\d.,]*\d)"
    spots = list(re.finditer(part, question))
    if not spots:
        return None
    spot = RANDOM.choice(spots)
    figure = spot.group().strip()[0].isdigit()
    for _ in range(12):
        pool = [
            p
            for p in re.findall(part, RANDOM.choice(others))
            if p.strip()[0].isdigit() == figure and p.strip() not in question
        ]
        if pool:
            return question[: spot.start()] + RANDOM.choice(pool) + question[spot.end() :]
    return None


def rows_of(name: str, lang: str, most: int, each: int, without: set[str]) -> list[dict]:
    """Rows of one set in one language; no paragraph with a question of these ids."""
    found = []
    paragraphs = [p for p in load.read(f"qa/{name}/{FILES.get(name, name)}.jsonl.gz") if p["lang"] == lang]
    if name == "squad2_dev":
        paragraphs = [p for p in paragraphs if p["split"] == "dev" and not p["in_xquad"]]
    paragraphs = [p for p in paragraphs if p["qas"] and not {q["id"] for q in p["qas"]} & without]
    RANDOM.shuffle(paragraphs)
    questions = [q["q"] if isinstance(q["q"], str) else q["q"].get(lang, "") for p in paragraphs for q in p["qas"]]
    for p in paragraphs[:most]:
        cut = load.sentences(p["context"])
        if len(cut) < 2:
            continue
        for q in RANDOM.sample(p["qas"], min(each, len(p["qas"]))):
            text = q["q"] if isinstance(q["q"], str) else q["q"].get(lang, "")
            impossible = bool(q.get("impossible"))
            gold, span = set(), None
            for answer, start in q["a"]:
                k = max((i for i, (s, _) in enumerate(cut) if s <= start), default=None)
                if k is not None:
                    gold.add(k)
                    span = span or (answer if answer in cut[k][1] else None)
            if not text or (not gold and not impossible):
                continue
            near = near_miss(text, questions) if gold and RANDOM.random() < 0.12 else None
            first = max(0, (min(gold) if gold else RANDOM.randrange(len(cut))) - RANDOM.randrange(MOST))
            first = min(first, max(0, len(cut) - MOST))
            taken = [i for i in range(first, min(len(cut), first + MOST)) if len(cut[i][1]) > 3]
            if RANDOM.random() < 0.1 and len(taken) > 3 and not near:
                taken, span = [i for i in taken if i not in gold], None
            y = [int(i in gold and not near and not impossible) for i in taken]
            found.append(
                {"set": name, "lang": lang, "held": held(name + (p.get("title") or p["context"][:60])),
                 "q": near or text, "s": [cut[i][1] for i in taken], "y": y, "span": span if any(y) else None}
            )  # fmt: skip
    return found


def selected() -> list[dict]:
    """Sentences chosen by people (SelQA), and rows of tables (FeTaQA)."""
    rows = []
    for r in RANDOM.sample(load.read("qa/selqa/selqa_ass.jsonl.gz"), 130):
        if r["answers"]:
            first = max(0, r["answers"][0] - RANDOM.randrange(MOST))
            taken = range(first, min(len(r["candidates"]), first + MOST))
            rows.append(
                {"set": "selqa", "lang": "en", "held": held("selqa" + r["article"]), "q": r["q"], "span": None,
                 "s": [r["candidates"][i] for i in taken], "y": [int(i in r["answers"]) for i in taken]}
            )  # fmt: skip
    for r in RANDOM.sample(load.read("qa/fetaqa/fetaqa.jsonl.gz"), 160):
        used = {a - 1 for a, _ in r["cells"] if a > 0}
        if 0 < len(used) < 3 and len(r["table"]) > 3:
            lines = [
                "; ".join(f"{n}: {v}" for n, v in zip(r["table"][0], row, strict=False) if v) for row in r["table"][1:]
            ]
            first = max(0, min(used) - RANDOM.randrange(MOST - 1))
            taken = [i for i in range(first, min(len(lines), first + MOST - 1)) if len(lines[i]) < 300]
            if taken:
                rows.append(
                    {"set": "fetaqa", "lang": "en", "held": held("feta" + r["title"]), "q": r["q"], "span": None,
                     "s": [r["title"], *(lines[i] for i in taken)], "y": [0, *(int(i in used) for i in taken)]}
                )  # fmt: skip
    return rows


def main() -> None:
    """Write the rows, shuffled, and say how many of what."""
    over = set(json.loads((FOLDER / "qa/xquad_overlap_ids.json").read_text())["ids"])
    asked = {q["id"] for p in load.read("qa/squad2_dev/squad2_dev.jsonl.gz") if p["split"] == "test" for q in p["qas"]}
    rows = [row for (name, lang), (most, each) in SETS.items() for row in rows_of(name, lang, most, each, over | asked)]
    rows += selected()
    RANDOM.shuffle(rows)
    with gzip.open(sys.argv[1], "wt", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    sentences = {s for r in rows for s in r["s"]}
    print(len(rows), "rows,", len(sentences), "sentences,", sum(map(len, sentences)), "characters")
    print(collections.Counter(r["set"] + " " + r["lang"] for r in rows))
    print("answered", sum(any(r["y"]) for r in rows))


if __name__ == "__main__":
    main()
