"""The rows that the reading model is trained on, from public sets that may be redistributed and from `pages/`.

A part of a document cut into sentences, with questions, for each which sentences answer it, the answer's place, and
whether anything answers. Questions without an answer there were written so by people, have it elsewhere in the
document, had a name or number exchanged for another of the passage or of another question, or belong to another text
and are, of all questions of their language, among the likest to this part: as a search finds it. Kept out, whole: every
paragraph that XQuAD holds and every question of the test half of SQuAD 2.0's development set, in any language. Every
twelfth document is `held`: it measures.

    COTERIE_DATA=... python scripts/reading/corpus.py BASE OUT.jsonl.gz [SEED]
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
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import written
from sklearn.feature_extraction.text import TfidfVectorizer
from tokenizers import Tokenizer

SEED = 20
FOLDER = Path(os.environ["COTERIE_DATA"]) / "reading"
sys.path.insert(0, str(FOLDER))
import load  # noqa: E402

RANDOM = random.Random(SEED)  # noqa: S311 - a sample, no secret
SETS = {
    ("squad2_dev", "en"): (9999, 5), ("squad_train_slice", "en"): (2600, 3), ("tydiqa_goldp", "en"): (3600, 1),
    ("tydiqa_goldp", "ko"): (450, 1), ("tydiqa_goldp", "sw"): (250, 1), ("squad_it_test", "it"): (300, 3),
    ("squad_es_v2_dev", "es"): (9999, 4), ("piaf_fr", "fr"): (350, 3), ("jaquad_slice", "ja"): (350, 3),
    ("cmrc2018", "zh"): (300, 3), ("drcd_dev", "zh-Hant"): (120, 3), ("faquad_pt", "pt"): (150, 3),
    ("arcd_ar", "ar"): (250, 3), ("norquad", "no"): (120, 2), ("mlqa_dev", "de"): (400, 2),
    ("mlqa_dev", "vi"): (250, 2), ("mlqa_dev", "hi"): (300, 2), ("mlqa_dev", "ar"): (150, 2),
    ("mlqa_dev", "zh"): (120, 2), ("mlqa_dev", "es"): (120, 2),
}  # fmt: skip
"""Of each set and language so many paragraphs, and at most so many questions of a part of each."""
ASIDE = 0.35
"""How many parts of documents that answer all their questions are taken anywhere, not where the answer is."""
FILES = {"jaquad_slice": "jaquad", "faquad_pt": "faquad", "arcd_ar": "arcd"}
SHORT, LONG, SHARE = 100, 230, 0.5
"""Tokens of a part, and how many of the parts are short."""
EXCHANGED = 0.3
"""Of the questions with an answer so many are asked again with a name or number exchanged: half of them for one of the
passage."""
LIKEST, MINED = 8, 1.3
"""A question of another text is drawn from so many that are likest to a part; so many of them a part."""
PART = r"(?<=[^\s?.!])\s(?:[^\W\d_a-zà-ÿ]\w{2,}(?:\s[^\W\d_a-zà-ÿ]\w+)*|\d[\d.,]*\d)"
"""A name or a number inside a sentence."""


def held(document: str) -> bool:
    """Whether a document is kept from training."""
    return hashlib.sha256(document.encode()).digest()[0] % 12 == 0


def near_miss(text: str, others: list[str]) -> str | None:
    """The text with one name or number exchanged for another text's, where it has one."""
    spots = list(re.finditer(PART, text))
    if not spots:
        return None
    spot = RANDOM.choice(spots)
    figure = spot.group().strip()[0].isdigit()
    for _ in range(12):
        pool = [
            p
            for p in re.findall(PART, RANDOM.choice(others))
            if p.strip()[0].isdigit() == figure and p.strip() not in text
        ]
        if pool:
            return text[: spot.start()] + RANDOM.choice(pool) + text[spot.end() :]
    return None


class Windows:
    """Cuts a part out of a document."""

    def __init__(self, base: Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))

    def sentences(self, context: str) -> tuple[list[tuple[int, str]], list[int]]:
        """The sentences and the number of tokens of each."""
        cut = load.sentences(context)
        return cut, [len(e.ids) for e in self.tokenizer.encode_batch([s for _, s in cut], add_special_tokens=False)]

    @staticmethod
    def around(lengths: list[int], centre: int, room: int) -> tuple[int, int]:
        """First and last sentence (exclusive) of a part with a sentence in it, anywhere in it."""
        first, last, used = centre, centre + 1, lengths[centre]
        before = RANDOM.random()
        while True:
            left = first > 0 and used + lengths[first - 1] <= room
            right = last < len(lengths) and used + lengths[last] <= room
            if not left and not right:
                return first, last
            if left and (not right or RANDOM.random() < before):
                first -= 1
                used += lengths[first]
            else:
                used += lengths[last]
                last += 1


def paragraphs_of(name: str, lang: str, without: set[str]) -> list[dict]:
    """The paragraphs of a set in a language; none with a question of these ids."""
    rows = [p for p in load.read(f"qa/{name}/{FILES.get(name, name)}.jsonl.gz") if p["lang"] == lang and p["qas"]]
    if name == "squad2_dev":
        rows = [p for p in rows if p["split"] == "dev" and not p["in_xquad"]]
    rows = [p for p in rows if not {q["id"] for q in p["qas"]} & without]
    for p in rows:
        for q in p["qas"]:
            q["text"] = q["q"] if isinstance(q["q"], str) else q["q"].get(lang, "")
        p["qas"] = [q for q in p["qas"] if q["text"] and (q["a"] or q.get("impossible"))]
    return [p for p in rows if p["qas"]]


def asked_of(questions: list[dict], text: str, begin: int, part: tuple[int, int], others: list[str]) -> Iterator[dict]:
    """What the questions of a paragraph have in a part of it, some again with a name or number exchanged."""
    first, last = part
    end = begin + len(text)
    for q in questions:
        inside = [(k, s, a) for k, s, a in q["gold"] if first <= k < last and s + len(a) <= end]
        if q["gold"] and not inside and q["gold"][0][2] in text:
            continue  # the answer's words stand here too: nobody knows
        gold = sorted({k - first for k, _, _ in inside})
        span = [inside[0][1] - begin, inside[0][1] - begin + len(inside[0][2])] if gold else None
        yield {"q": q["text"], "s": gold, "a": span, "y": int(bool(gold)), "t": [a for _, _, a in q["gold"]]}
        if gold and RANDOM.random() < EXCHANGED:
            changed = near_miss(q["text"], [text] if RANDOM.random() < 0.5 else others)
            if changed and not any(a in changed for _, _, a in inside):
                yield {"q": changed, "s": [], "a": None, "y": 0}


def parts_of(windows: Windows, of: tuple[str, str], most: int, per_window: int, without: set[str]) -> Iterator[dict]:
    """Parts of the paragraphs with questions: of the part, of the rest of the document, and with a name exchanged."""
    name, lang = of
    rows = paragraphs_of(name, lang, without)
    RANDOM.shuffle(rows)
    rows = rows[:most]
    texts = [q["text"] for p in rows for q in p["qas"]]
    title = lambda p: p.get("title") or p["context"][:60]  # noqa: E731
    by_title = collections.defaultdict(list)
    for p in rows:
        by_title[title(p)].append(p)
    for p in rows:
        cut, lengths = windows.sentences(p["context"])
        for q in p["qas"]:
            places = [
                (max((i for i, (s, _) in enumerate(cut) if s <= start), default=0), start, a) for a, start in q["a"]
            ]
            q["gold"] = places if not q.get("impossible") else []
        drawn = RANDOM.sample(p["qas"], len(p["qas"]))
        while drawn:
            aside = name not in ("squad2_dev", "squad_es_v2_dev") and RANDOM.random() < ASIDE
            centre = drawn[0]["gold"][0][0] if drawn[0]["gold"] and not aside else RANDOM.randrange(len(cut))
            room = SHORT if aside or RANDOM.random() < SHARE else LONG
            first, last = windows.around(lengths, centre, room)
            begin, end = cut[first][0], cut[last - 1][0] + len(cut[last - 1][1])
            text = p["context"][begin:end]
            questions = list(asked_of(drawn[:per_window], text, begin, (first, last), texts))
            drawn = drawn[per_window:] if per_window < 9 else []
            foreign = [o for o in by_title[title(p)] if o is not p]
            if foreign and RANDOM.random() < 0.4:
                o = RANDOM.choice(RANDOM.choice(foreign)["qas"])
                if not o["a"] or o["a"][0][0] not in text:
                    questions.append({"q": o["text"], "s": [], "a": None, "y": 0})
            if questions:
                yield {"context": p["context"], "set": name, "lang": lang, "held": held(name + title(p)), "p": text,
                       "cut": [at - begin for at, _ in cut[first:last]], "qs": questions}  # fmt: skip
            if name not in ("squad2_dev", "squad_es_v2_dev"):
                break


def joined(sentences: list[str], between: str = "\n") -> tuple[str, list[int]]:
    """Sentences as one text, and where each begins."""
    text, cut = "", []
    for s in sentences:
        cut.append(len(text))
        text += s.strip() + between
    return text.rstrip(), cut


def selected(windows: Windows) -> Iterator[dict]:
    """Sentences chosen by people (SelQA)."""
    for r in RANDOM.sample(load.read("qa/selqa/selqa_ass.jsonl.gz"), 1800):
        lengths = [len(e.ids) for e in windows.tokenizer.encode_batch(r["candidates"], add_special_tokens=False)]
        if r["answers"]:
            first, last = windows.around(lengths, r["answers"][0], LONG)
        else:
            first, last = windows.around(lengths, RANDOM.randrange(len(lengths)), LONG)
        text, cut = joined(r["candidates"][first:last])
        gold = [i - first for i in r["answers"] if first <= i < last]
        yield {"set": "selqa", "lang": "en", "held": held("selqa" + r["article"]), "p": text,
               "cut": cut, "qs": [{"q": r["q"], "s": gold, "a": None, "y": int(bool(gold))}]}  # fmt: skip


def tables(windows: Windows) -> Iterator[dict]:
    """Rows of tables (FeTaQA)."""
    for r in RANDOM.sample(load.read("qa/fetaqa/fetaqa.jsonl.gz"), 1800):
        used = {a - 1 for a, _ in r["cells"] if a > 0}
        if not 0 < len(used) < 3 or len(r["table"]) <= 3:
            continue
        lines = [
            "; ".join(f"{n}: {v}" for n, v in zip(r["table"][0], row, strict=False) if v) for row in r["table"][1:]
        ]
        lengths = [len(e.ids) for e in windows.tokenizer.encode_batch(lines, add_special_tokens=False)]
        first, last = windows.around(lengths, min(used), LONG)
        taken = list(range(first, last))
        gold = [i for i in taken if i in used]
        if RANDOM.random() < 0.25 and len(taken) > len(gold):
            taken, gold = [i for i in taken if i not in used], []
        text, cut = joined([r["title"], *(lines[i] for i in taken)])
        rows = [taken.index(i) + 1 for i in gold]
        yield {"set": "fetaqa", "lang": "en", "held": held("feta" + r["title"]), "p": text,
               "cut": cut, "qs": [{"q": r["q"], "s": rows, "a": None, "y": int(bool(gold))}]}  # fmt: skip


def denied() -> Iterator[dict]:
    """Questions about passages that deny something (CondaQA)."""
    by = collections.defaultdict(list)
    for r in load.read("qa/condaqa/condaqa.jsonl.gz"):
        by[r["passage"]].append(r)
    for passage, rows in sorted(by.items()):
        if RANDOM.random() < 0.7:
            cut = [at for at, _ in load.sentences(passage)]
            questions = [{"q": r["q"], "s": [], "a": None, "y": int(r["label"] != "DON'T KNOW")} for r in rows]
            questions.sort(key=lambda q: q["y"])
            yield {"set": "condaqa", "lang": "en", "held": held(f"conda{rows[0]['passage_id']}"),
                   "p": passage, "cut": cut, "qs": questions[:2]}  # fmt: skip


def yes_or_no(windows: Windows) -> Iterator[dict]:
    """Questions for a yes or a no (BoolQ)."""
    rows = RANDOM.sample(load.read("qa/boolq_dev/boolq_dev.jsonl.gz"), 1800)
    for r, other in zip(rows, rows[1:] + rows[:1], strict=True):
        cut, lengths = windows.sentences(r["passage"])
        first, last = windows.around(lengths, 0, LONG)
        text = r["passage"][: cut[last - 1][0] + len(cut[last - 1][1])]
        questions = [{"q": r["q"] + "?", "s": [], "a": None, "y": 1}]
        if RANDOM.random() < 0.15:
            questions = [{"q": other["q"] + "?", "s": [], "a": None, "y": 0}]
        yield {"set": "boolq", "lang": "en", "held": held("boolq" + r["title"]), "p": text,
               "cut": [at for at, _ in cut[first:last]], "qs": questions}  # fmt: skip


def typed(windows: Windows) -> Iterator[dict]:
    """Questions typed into a search engine, with passages in which a name was exchanged."""
    for r in RANDOM.sample(load.read("qa/nq_swap/nq_swap.jsonl.gz"), 3000):
        context = " ".join(re.sub(r"</?\w+>", " ", r["context"]).split())
        at = context.find(r["answer"])
        if at < 0:
            continue
        cut, lengths = windows.sentences(context)
        gold = max(i for i, (s, _) in enumerate(cut) if s <= at)
        first, last = windows.around(lengths, gold, LONG if RANDOM.random() < 0.5 else SHORT)
        question = {"q": r["question"], "s": [gold - first], "a": None, "y": 1}
        kept = list(range(first, last))
        without = [i for i in range(len(cut)) if r["answer"] not in cut[i][1]]
        if RANDOM.random() < 0.4 and without:
            first, last = windows.around([lengths[i] for i in without], RANDOM.randrange(len(without)), LONG)
            kept, question = without[first:last], {"q": r["question"], "s": [], "a": None, "y": 0}
        text, starts = joined([cut[i][1] for i in kept])
        if question["y"]:
            i = text.find(r["answer"], starts[question["s"][0]])
            question["a"] = [i, i + len(r["answer"])] if i >= 0 else None
        yield {"set": "nq_swap", "lang": "en", "held": held("nq" + context[:60]), "p": text,
               "cut": starts, "qs": [question]}  # fmt: skip


ASKED = 4
"""Questions of a part of a written page."""


def of_pages(windows: Windows) -> Iterator[dict]:
    """Parts of the pages written for training, often below their title, with some of their questions each."""
    for page in written.pages():
        lengths = [len(e.ids) for e in windows.tokenizer.encode_batch(page.sentences, add_special_tokens=False)]
        asked = RANDOM.sample(page.questions, len(page.questions))
        for start in range(0, len(asked), ASKED):
            some = asked[start : start + ASKED]
            answers = [n for _, numbers in some for n in numbers]
            centre = RANDOM.choice(answers or range(len(lengths)))
            first, last = windows.around(lengths, centre, SHORT if RANDOM.random() < SHARE / 2 else LONG)
            head = [page.title] if RANDOM.random() < SHARE else []
            text, cut = joined([*head, *page.sentences[first:last]], RANDOM.choice("\n "))
            questions = []
            for question, numbers in some:
                inside = [n - first + len(head) for n in numbers if first <= n < last]
                if len(inside) == len(numbers) or not inside:  # of several that answer together all or none are seen
                    questions.append({"q": question, "s": inside, "a": None, "y": int(bool(inside))})
            yield {"set": "pages", "lang": page.lang, "held": held(page.title), "p": text, "cut": cut, "qs": questions}


def add_mined(parts: list[dict]) -> int:
    """Give parts questions of other texts that are like them, and say how many.

    Alike by the n-grams of their letters, within a language and either held or not. A question whose answer's words
    stand in the part, or whose own paragraph it is of, is not taken.
    """
    groups = collections.defaultdict(list)
    for part in parts:
        if "context" in part:
            groups[part["lang"], part["held"]].append(part)
    count = 0
    for (lang, _), own in sorted(groups.items()):
        candidates = [(q["q"], q["t"], part["context"]) for part in own for q in part["qs"] if q.get("t")]
        grams = TfidfVectorizer(analyzer="char" if lang.startswith(("zh", "ja")) else "char_wb", ngram_range=(2, 4),
                                sublinear_tf=True, max_features=200_000)  # fmt: skip
        texts = grams.fit_transform([part["p"] for part in own])
        questions = grams.transform([q for q, _, _ in candidates])
        for start in range(0, len(own), 256):
            alike = (texts[start : start + 256] @ questions.T).toarray()
            for part, near in zip(own[start : start + 256], alike, strict=True):
                wanted = int(MINED) + (RANDOM.random() < MINED % 1)
                mined = []
                for at in np.argsort(-near)[:60]:
                    text, answers, context = candidates[at]
                    if context != part["context"] and not any(a in part["p"] for a in answers) and text not in mined:
                        mined.append(text)
                chosen = RANDOM.sample(mined[:LIKEST], min(wanted, len(mined[:LIKEST])))
                part["qs"] += [{"q": text, "s": [], "a": None, "y": 0} for text in chosen]
                count += len(chosen)
    return count


def main() -> None:
    """Write the rows, shuffled, and say how many of what."""
    RANDOM.seed(int(sys.argv[3]) if len(sys.argv) > 3 else SEED)
    windows = Windows(Path(sys.argv[1]))
    over = set(json.loads((FOLDER / "qa/xquad_overlap_ids.json").read_text())["ids"])
    test_ids = {
        q["id"] for p in load.read("qa/squad2_dev/squad2_dev.jsonl.gz") if p["split"] == "test" for q in p["qas"]
    }
    parts = []
    for (name, lang), (most, per_window) in SETS.items():
        parts += parts_of(windows, (name, lang), most, per_window, over | test_ids)
    for more in (selected(windows), tables(windows), denied(), yes_or_no(windows), typed(windows), of_pages(windows)):
        parts += more
    mined = add_mined(parts)
    rows = [{name: value for name, value in row.items() if name != "context"} for row in parts]
    for row in rows:
        row["qs"] = [{name: value for name, value in q.items() if name != "t"} for q in row["qs"]]
    RANDOM.shuffle(rows)
    with gzip.open(sys.argv[2], "wt", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    questions = collections.Counter((r["set"], r["lang"], q["y"]) for r in parts for q in r["qs"])
    print(
        "parts",
        len(parts),
        "questions",
        sum(questions.values()),
        "answered",
        sum(v for k, v in questions.items() if k[2]),
    )
    print(questions)
    print("mined", mined)


if __name__ == "__main__":
    main()
