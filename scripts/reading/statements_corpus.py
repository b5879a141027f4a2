"""The rows that the statement model is trained on: a source, a statement, whether the one supports the other.

From public sets that may be redistributed, and from the texts of the question sets in fourteen languages: sentences
with two names exchanged, a number changed, a denial taken away, a clause moved or dropped; questions with their own and
with another question's answer; sentences of `voices.json` in another voice, the other way round, or denied; statements
about the pages of `pages/`, beside the sentences that the product reads with a statement.
Verdicts: supported, refuted, unknown, or `not` (not supported, nobody said which of the two). Kept out are the test
parts of PAWS-X and BEGIN, SummEdits, MED, XNLI, and what `corpus.py` keeps out.

    COTERIE_DATA=... python scripts/reading/statements_corpus.py BASE OUT.jsonl.gz [SEED]
"""

from __future__ import annotations

import collections
import gzip
import hashlib
import json
import random
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import corpus
import written
from corpus import FOLDER, load, paragraphs_of
from tokenizers import Tokenizer

from coterie.engines.reading import bundled_checker
from coterie.text.segmentation import negation_pattern

SEED = 218
RANDOM = random.Random(SEED)  # noqa: S311 - a sample, no secret
TAKEN = {
    "conjnli": 11000, "cad_snli": 8000, "breaking_nli": 2500, "neg_nli": 4500, "infotabs": 1200, "fever": 5000,
    "fever_made": 2000, "fm2": 1800, "fm2_made": 600, "hans_like": 2500, "help_conj": 800, "begin": 1500, "wice": 300,
    "farstail": 3000,
}  # fmt: skip
UNTOLD = ("hans_like", "begin", "wice", "help_conj")
"""Sets whose `unknown` may be a contradiction as well."""
TEXTS = {
    ("squad2_dev", "en"): 900, ("squad_train_slice", "en"): 900, ("tydiqa_goldp", "en"): 900,
    ("tydiqa_goldp", "ko"): 500, ("tydiqa_goldp", "sw"): 120,
    ("squad_it_test", "it"): 600, ("squad_es_v2_dev", "es"): 600, ("piaf_fr", "fr"): 600,
    ("jaquad_slice", "ja"): 600, ("cmrc2018", "zh"): 500, ("faquad_pt", "pt"): 250, ("arcd_ar", "ar"): 250,
    ("norquad", "no"): 200, ("mlqa_dev", "de"): 500, ("mlqa_dev", "vi"): 300, ("mlqa_dev", "hi"): 350,
}  # fmt: skip
"""Of each set and language so many paragraphs."""
DENYING = {
    "no": r"\bikke\b",
    "vi": r"\bkhông\b",
    "hi": r"\bनहीं\b",
    "ar": r"\b(?:لم|لن|ليس|ليست)\b",
    "zh": r"没有|並沒有|不会|不能",
}
"""How languages deny that the product has no table of."""
SPAN = r"(?:[^\W\d_a-zà-ÿ][\w-]+(?:\s[^\W\d_a-zà-ÿ][\w-]+)*|\d[\d.,]*\d|\d)"
"""A name or a number, where there are capitals."""
RUN = r"[\u30a1-\u30ff]{3,}|[\u4e00-\u9fff]{2,4}(?=[はがをにのと、])|\d[\d.,]*"
"""What is like it in Japanese."""
WORD = r"(?<!\w)\w{4,}(?!\w)"
UNSPACED = ("ja", "zh")
SYMMETRIC = ("pawsx",)
MOST, MOST_OF_PAGE = 210, 300
"""Tokens of a source and its statement together; where the source is a written page."""
WHOLE = 0.35
"""How many statements about a written page are asked beside all of it, too."""


def aside(document: str) -> bool:
    """Whether a document is kept from training."""
    return hashlib.sha256(document.encode()).digest()[0] % 16 == 0


def row(name: str, lang: str, key: str, pair: tuple[str, str], y: str) -> dict:
    """One row."""
    return {"set": name, "lang": lang, "held": aside(key), "p": pair[0], "c": pair[1], "y": y}


def paraphrases() -> Iterator[dict]:
    """PAWS-X: a pair is kept aside in all its languages or in none; some across two languages."""
    by = collections.defaultdict(dict)
    for r in load.read("nli/pawsx/pawsx.jsonl.gz"):
        if r["split"] == "dev":
            by[r["i"]][r["lang"]] = r
    for i, of in sorted(by.items(), key=lambda item: str(item[0])):
        label = {0: "not", 1: "supported"}
        for lang, r in of.items():
            yield row("pawsx", lang, f"pawsx{i}", (r["s1"], r["s2"]), label[int(r["label"])])
        one, two = RANDOM.sample(sorted(of), 2) if len(of) > 1 else sorted(of) * 2
        if one != two and of[one]["label"] == of[two]["label"]:
            pair = (of[one]["s1"], of[two]["s2"])
            yield row("pawsx_across", f"{one}>{two}", f"pawsx{i}", pair, label[int(of[one]["label"])])


def judged() -> Iterator[dict]:
    """Sets with verdicts of people."""
    by = collections.defaultdict(list)
    for r in load.faith():
        if r["set"] in TAKEN and not (r["set"] == "begin" and r["split"] == "test"):
            y = "not" if r["set"] in UNTOLD and r["y"] == "unknown" else r["y"]
            by[r["set"]].append(row(r["set"], r["lang"], r["set"] + r["premise"][:200], (r["premise"], r["claim"]), y))
    for name, rows in sorted(by.items()):
        RANDOM.shuffle(rows)
        yield from rows[: TAKEN[name]]
    for r in RANDOM.sample(load.read("qa/boolq_dev/boolq_dev.jsonl.gz"), 900):
        if len(r["passage"]) < 600:
            yes = RANDOM.random() < 0.5
            y = "supported" if yes == (r["answer"] == "True") else "refuted"
            claim = f"{r['q']}? {'Yes' if yes else 'No'}."
            yield row("boolq", "en", "boolq" + r["title"], (r["passage"], claim), y)
    for r in load.read("qa/condaqa/condaqa.jsonl.gz"):
        if r["label"] in ("YES", "NO") and len(r["passage"]) < 600:
            yes = RANDOM.random() < 0.5
            y = "supported" if yes == (r["label"] == "YES") else "refuted"
            key = f"condaqa{r['passage_id']}"
            yield row("condaqa", "en", key, (r["passage"], f"{r['q']} {'Yes' if yes else 'No'}."), y)


def spots(text: str, lang: str, answers: Sequence[str]) -> list[tuple[int, int]]:
    """Places of names and numbers in a sentence, or of words where nothing marks a name; none overlaps another."""
    kinds = [SPAN] if lang not in ("ja", "zh", "ko", "hi", "ar") else [RUN if lang == "ja" else r"\d[\d.,]*"]
    if lang not in UNSPACED and ((len(kinds) == 1 and lang in ("ko", "hi", "ar")) or RANDOM.random() < 0.35):
        kinds = [WORD if lang != "ko" else r"(?<!\w)\w{2,}(?!\w)"]
    kinds += [re.escape(a) for a in answers if 1 < len(a) < 30]
    spans = sorted({m.span() for kind in kinds for m in re.finditer(kind, text)}, key=lambda at: (at[0] - at[1], at[0]))
    free: list[tuple[int, int]] = []
    for a, b in spans:
        if a > 0 and all(b <= c or a >= d for c, d in free):
            free.append((a, b))
    return sorted(free)


def exchanged(text: str, lang: str, answers: Sequence[str]) -> str | None:
    """Two names, numbers or words of a sentence in each other's place; not neighbours of a list."""
    free = spots(text, lang, answers)
    pairs = [
        (one, two)
        for i, one in enumerate(free)
        for two in free[i + 1 :]
        if text[slice(*one)].casefold() != text[slice(*two)].casefold()
        and len(re.sub(r"\W", "", text[one[1] : two[0]])) > (3 if lang not in UNSPACED else 1)
    ]
    if not pairs:
        return None
    (a, b), (c, d) = RANDOM.choice(pairs)
    return text[:a] + text[c:d] + text[b:c] + text[a:b] + text[d:]


def changed_number(text: str) -> str | None:
    """A number of a sentence made another of the same length."""
    numbers = list(re.finditer(r"\d+", text))
    if not numbers:
        return None
    m = RANDOM.choice(numbers)
    at = RANDOM.randrange(len(m.group()))
    digit = RANDOM.choice([d for d in "123456789" if d != m.group()[at]])
    return text[: m.start() + at] + digit + text[m.start() + at + 1 :]


def allowed(text: str, lang: str) -> str | None:
    """A sentence without its only denial."""
    if lang in DENYING:
        negations = list(re.finditer(DENYING[lang], text))
    elif lang in ("en", "de", "fr", "es", "pt", "it"):
        negations = list(negation_pattern(lang).finditer(text))
    else:
        return None
    if len(negations) != 1:
        return None
    m = negations[0]
    word = m.group().casefold()
    if lang == "fr":
        if word != "pas":
            return None
        without = re.sub(r"\bn(?:e\s|['\u2019])", "", text[: m.start()]) + text[m.end() :]
    elif lang == "de" and word.startswith("kein"):
        without = text[: m.start()] + m.group()[1:] + text[m.end() :]
    elif word in ("no", "none", "nobody", "nothing", "neither", "nor", "without", "unable", "niemand", "weder", "ohne",
                  "nadie", "nada", "ni", "sin", "tampoco", "ninguém", "nem", "sem", "nulla", "senza") and not (
        lang == "es" and word == "no"
    ):  # fmt: skip
        return None
    elif word == "cannot":
        without = text[: m.start()] + "can" + text[m.end() :]
    elif m.group().endswith("t") and m.group().startswith("n") and word != "not" and lang == "en":
        without = text[: m.start()] + text[m.end() :]
    else:
        without = text[: m.start()] + text[m.end() :]
    without = re.sub(r"\s+", " ", without).strip()
    return without[:1].upper() + without[1:] if without and text[:1].isupper() else without


def moved(text: str, lang: str) -> str:
    """The same in another order, or less of it: the first clause at the end, the last in front, without the last."""
    comma, end = (
        ("、" if lang == "ja" else "\uff0c" if lang == "zh" else ", "),
        text[-1:] if not text[-1:].isalnum() else "",
    )
    parts = text[: len(text) - len(end)].split(comma)
    if not 2 <= len(parts) <= 4 or any(len(p) < 4 for p in parts):
        return text
    kind = RANDOM.random()
    if kind < 0.4 and len(parts[0]) < 0.45 * len(text):
        parts = [*parts[1:], parts[0]]
    elif kind < 0.6 and len(parts[-1]) < 0.45 * len(text):
        parts = [parts[-1], *parts[:-1]]
    elif len(parts) == 2 and len(parts[1]) < 0.5 * len(text) and lang not in UNSPACED and lang != "ko":
        parts = parts[:1]
    else:
        return text
    joined = comma.join(parts)
    return joined[:1].upper() + joined[1:] + end


def passages_across() -> Iterator[dict]:
    """MLQA: a passage, and a question with its own answer or another one, in another language.

    A question is kept aside where its passage in any language is.
    """
    of_id: dict[str, dict[str, tuple[dict, dict]]] = collections.defaultdict(dict)
    for p in load.read("qa/mlqa_dev/mlqa_dev.jsonl.gz"):
        for q in p["qas"]:
            of_id[q["id"]][p["lang"]] = (p, q)
    pool: dict[tuple[str, str], list[str]] = collections.defaultdict(list)
    for of in of_id.values():
        for lang, (p, q) in of.items():
            pool[lang, p["title"]].append(q["a"][0][0])
    for _, of in sorted(of_id.items()):
        if len(of) == 1:
            continue
        of_source, of_claim = RANDOM.sample(sorted(of), 2)
        p, q = of[of_source]
        answer, start = q["a"][0]
        cut = load.sentences(p["context"])
        k = max((i for i, (at, _) in enumerate(cut) if at <= start), default=0)
        source = " ".join(s for _, s in cut[max(0, k - RANDOM.randrange(2)) : k + 1 + RANDOM.randrange(2)])
        claim_page, claim_question = of[of_claim]
        question, own = claim_question["q"].get(of_claim), claim_question["a"][0][0]
        others = [a for a in pool[of_claim, claim_page["title"]] if a not in own and own not in a and len(a) < 60]
        if question is None or len(own) > 80 or answer not in source:
            continue
        wrong = bool(others) and RANDOM.random() < 0.55
        claim = f"{question} {RANDOM.choice(others) if wrong else own}"
        result = row("mlqa_across", f"{of_source}>{of_claim}", "", (source, claim), "not" if wrong else "supported")
        yield result | {"held": any(aside("made" + page["title"]) for page, _ in of.values())}


def requests_across() -> Iterator[dict]:
    """xSID, validation part: a request and its translation, or that of another request of the same intent."""
    requests: dict[str, dict[str, dict]] = collections.defaultdict(dict)
    for r in load.read("intents/xsid/xsid.jsonl.gz"):
        if r["split"] == "valid":
            requests[r["en"] or r["text"]][r["lang"]] = r
    by_intent: dict[str, list[str]] = collections.defaultdict(list)
    for text, of_request in sorted(requests.items()):
        by_intent[next(iter(of_request.values()))["intent"]].append(text)
    for text, of_request in sorted(requests.items()):
        for _ in range(8):
            one, two = RANDOM.choice(sorted(of_request)), RANDOM.choice(sorted(of_request))
            others = [t for t in by_intent[of_request[one]["intent"]] if two in requests[t] and words(t) - words(text)]
            if one == two:
                continue
            wrong = bool(others) and RANDOM.random() < 0.5
            claim = requests[RANDOM.choice(others)][two]["text"] if wrong else of_request[two]["text"]
            pair = (of_request[one]["text"], claim)
            yield row("xsid_across", f"{one}>{two}", "xsid" + text, pair, "not" if wrong else "supported")


def words(text: str) -> set[str]:
    """Its words, in small letters."""
    return set(re.findall(r"\w+", text.casefold()))


def divided() -> Iterator[dict]:
    """WikiSplit: a long sentence and its two short ones, where one has the words of the other; some changed."""
    rows = load.read("compound/wikisplit/wikisplit.jsonl.gz")
    pool = [r["text"] for r in rows[:3000]]
    for r in rows:
        both, one = " ".join(r["parts"]), RANDOM.choice(r["parts"])
        source, claim = RANDOM.choice([(r["text"], one), (r["text"], both), (both, r["text"])])
        claim_words, given = (set(re.findall(r"\w{4,}|\d+", text.casefold())) for text in (claim, source))
        if len(claim_words) < 4 or len(claim_words - given) > len(claim_words) / 10 or claim in source:
            continue
        kind, y = RANDOM.random(), "supported"
        if kind < 0.55:
            wrong = exchanged(claim, "en", ()) if kind < 0.45 else corpus.near_miss(claim, pool)
            if wrong is None:
                continue
            claim, y = wrong, "not"
        yield row("wikisplit", "en", "wikisplit" + r["text"], (source, claim), y)


def made() -> Iterator[dict]:
    """Statements made of texts and of questions with answers."""
    over = set(json.loads((FOLDER / "qa/xquad_overlap_ids.json").read_text())["ids"])
    test_ids = {
        q["id"] for p in load.read("qa/squad2_dev/squad2_dev.jsonl.gz") if p["split"] == "test" for q in p["qas"]
    }
    for (name, lang), most in TEXTS.items():
        rows = paragraphs_of(name, lang, over | test_ids)
        RANDOM.shuffle(rows)
        pool = [p["context"] for p in rows[:300]]
        for p in rows[:most]:
            key = "made" + (p.get("title") or p["context"][:60])
            cut = [s for _, s in load.sentences(p["context"])]
            low, high = (14, 90) if lang in (*UNSPACED, "ko") else (35, 220)
            good = [i for i, s in enumerate(cut) if low <= len(s) <= high and "\n" not in s]
            answers = [q["a"][0][0] for q in p["qas"] if q["a"] and not q.get("impossible")]
            for i in RANDOM.sample(good, min(2, len(good))):
                yield from of_sentence(Page(cut, lang, answers, key), i, pool)
            denied = [i for i in good if allowed(cut[i], lang) is not None]
            for i in denied[:2]:
                plain = allowed(cut[i], lang)
                pair = (cut[i], plain) if RANDOM.random() < 0.5 else (plain, cut[i])
                yield row("denied", lang, key, pair, "refuted")
                base = RANDOM.choice([cut[i], plain])
                yield row("denied", lang, key, (base, moved(base, lang)), "supported")
            yield from of_questions(p, lang, key)


class Page(NamedTuple):
    """A paragraph in sentences."""

    cut: list[str]
    lang: str
    answers: list[str]
    """To the questions about it."""
    key: str


def of_sentence(page: Page, i: int, pool: Sequence[str]) -> Iterator[dict]:
    """A sentence as it is or in another order, and with an exchange or another number; beside its neighbours or not."""
    cut, lang, answers, key = page
    source = cut[i]
    if RANDOM.random() < 0.4:
        source = " ".join(cut[max(0, i - RANDOM.randrange(2)) : i + 1 + RANDOM.randrange(2)])
    kind = RANDOM.random()
    if kind < 0.62:
        wrong = exchanged(cut[i], lang, answers)
    elif kind < 0.8:
        wrong = corpus.near_miss(cut[i], list(pool))
    else:
        wrong = changed_number(cut[i])
    if wrong and wrong != cut[i]:
        yield row("made", lang, key, (source, moved(wrong, lang) if RANDOM.random() < 0.5 else wrong), "not")
        same = moved(cut[i], lang)
        if RANDOM.random() < (0.95 if same != source else 0.5):
            yield row("made", lang, key, (source, same), "supported")
    elif len(cut) > 2 and RANDOM.random() < 0.5:
        other = RANDOM.choice([s for k, s in enumerate(cut) if abs(k - i) > 1] or [""])
        if len(other) > 14:
            yield row("made", lang, key, (source, other), "unknown")


def of_questions(p: dict, lang: str, key: str) -> Iterator[dict]:
    """A question with its answer, and with another's of the paragraph."""
    cut = load.sentences(p["context"])
    questions = [q for q in p["qas"] if q["a"] and not q.get("impossible")]
    for q in RANDOM.sample(questions, min(1, len(questions))):
        answer, start = q["a"][0]
        k = max((i for i, (at, _) in enumerate(cut) if at <= start), default=0)
        source = " ".join(s for _, s in cut[max(0, k - RANDOM.randrange(2)) : k + 1 + RANDOM.randrange(2)])
        if len(answer) > 80 or answer not in source:
            continue
        others = [
            o["a"][0][0]
            for o in p["qas"]
            if o["a"] and o["a"][0][0] not in answer and answer not in o["a"][0][0] and len(o["a"][0][0]) < 60
        ]
        near = [o for o in others if o in source] or others
        if not near and RANDOM.random() < 0.5:
            continue
        if near and RANDOM.random() < 0.75:
            yield row("answered", lang, key, (source, f"{q['text']} {RANDOM.choice(near)}"), "not")
        else:
            yield row("answered", lang, key, (source, f"{q['text']} {answer}"), "supported")


VOICES = json.loads((Path(__file__).parent / "voices.json").read_text(encoding="utf-8"))
VOICED = 120
"""Draws of each kind of sentence and language."""


def someone(words_of: dict, sex: str) -> dict[str, str]:
    """A person: as who does it, who undergoes it, behind the preposition of a passive, and without any case."""
    name = RANDOM.choice(words_of[sex])
    if RANDOM.random() < 0.5:
        return named(words_of, name)
    forms = RANDOM.choice(words_of["nouns_" + sex])
    return {"subject": forms[0], "object": forms[1], "by": forms[-1], "plain": name}


def named(words_of: dict, name: str) -> dict[str, str]:
    """A person by name."""
    behind = words_of.get("names_by", "{}").format(name)
    return {"subject": name, "object": words_of.get("names_object", "{}").format(name), "by": behind, "plain": name}


def said(pattern: str, a: dict[str, str], b: dict[str, str], more: dict[str, str]) -> str:
    """A sentence of two people: `{b0}` as the subject, `{b2}` as the agent of a passive, `{a!}` as a bare name."""
    for mark, who in (("a", a), ("b", b)):
        pattern = pattern.replace(f"{{{mark}0}}", who["subject"]).replace(f"{{{mark}2}}", who["by"])
        pattern = pattern.replace(f"{{{mark}!}}", who["plain"])
    text = pattern.replace("{a}", a["subject"]).replace("{b}", b["object"])
    for name, value in more.items():
        text = text.replace("{" + name + "}", value)
    return text[:1].upper() + text[1:]


def voices() -> Iterator[dict]:
    """Sentences of `voices.json` in another voice, the other way round, by their opposite, denied."""
    for lang, of in VOICES.items():
        if lang == "about":
            continue
        for at in range(6 * VOICED):
            sex = RANDOM.choice("mf")
            a, b = someone(of, RANDOM.choice("mf")), someone(of, sex)
            if a["plain"] == b["plain"] or a["subject"] == b["subject"]:
                continue
            verb = RANDOM.choice(of["verbs"])
            part = verb[3] if sex == "f" and len(verb) > 3 else verb[2]
            more = {"t": RANDOM.choice(of["times"]), "verb": verb[0], "base": verb[1], "part": part, "part_m": verb[2]}
            if at % 6 < 3:
                own = [said(of[kind], a, b, more) for kind in ("active", "fronted", "passive")]
                denied = [said(of[kind], a, b, more) for kind in ("denied", "passive_denied")]
                source, other = RANDOM.sample(own, 2)
                wrong = said(of[RANDOM.choice(["active", "fronted"])], b, a, more)
                yield voiced(lang, (source, other), "supported")
                yield voiced(lang, (source, wrong), "not")
                pair = (source, RANDOM.choice(denied))
                yield voiced(lang, pair if RANDOM.random() < 0.6 else pair[::-1], "refuted")
                if RANDOM.random() < 0.4:
                    yield voiced(lang, tuple(RANDOM.sample(denied, 2)), "supported")
            elif at % 6 == 3:
                one, same = RANDOM.sample(RANDOM.choice(of["converse"]), 2)
                if "!}" in one + same:  # a pattern that takes a name alone has both by name throughout
                    a, b = named(of, a["plain"]), named(of, b["plain"])
                pair = said(one, a, b, more), said(same, a, b, more)
                yield voiced(lang, pair, "supported")
                yield voiced(lang, (pair[0], said(RANDOM.choice([one, same]), b, a, more)), "not")
            else:
                three = RANDOM.choice(of["both" if at % 6 == 5 else "opposites"])
                one, same, wrong = (said(pattern, a, b, more) for pattern in three)
                yield voiced(lang, (one, same), "supported")
                yield voiced(lang, (one, wrong) if RANDOM.random() < 0.7 or at % 6 == 5 else (wrong, one), "refuted")


def voiced(lang: str, pair: tuple[str, ...], y: str) -> dict:
    """A row; a part of what is drawn is held."""
    return row("voices", lang, "voices" + pair[0], (pair[0], pair[1]), y)


def of_pages() -> Iterator[dict]:
    """Statements about written pages: beside the sentences nearest to them, as the product reads them, and the whole.

    Which sentence contradicts a statement was not written down, so beside some of the page a contradicted one is `not`
    supported. Of several supported sentences each is.
    """
    checker = bundled_checker()
    for page in written.pages():
        held = {"held": corpus.held(page.title)}  # as of the reading model
        whole = " ".join(page.sentences)
        for statement, y in page.statements:
            parts = [s for _, s in load.sentences(statement)]
            if len(parts) > 1 or RANDOM.random() < WHOLE:
                yield row("pages", page.lang, "", (whole, statement), y) | held
            for part in parts if y == "supported" or len(parts) == 1 else ():
                read = checker.judge(part, page.sentences).read
                beside = " ".join(page.sentences[at] for at in read)
                pair, told = (beside, part), y if y == "supported" or beside == whole else "not"
                yield row("pages", page.lang, "", pair, told) | held


def main() -> None:
    """Write the rows that are short enough, shuffled, and say how many of what."""
    for drawn in (RANDOM, corpus.RANDOM):
        drawn.seed(int(sys.argv[3]) if len(sys.argv) > 3 else SEED)
    tokenizer = Tokenizer.from_file(str(Path(sys.argv[1]) / "tokenizer.json"))
    rows = [*paraphrases(), *judged(), *passages_across(), *requests_across(), *divided(), *made(), *voices()]
    rows += of_pages()
    rows = [r for r in rows if r["p"].strip() and r["c"].strip()]
    sizes = [len(e.ids) for e in tokenizer.encode_batch([r["p"] + " " + r["c"] for r in rows])]
    tokens: collections.Counter[str] = collections.Counter()
    kept = []
    for r, size in zip(rows, sizes, strict=True):
        if size <= (MOST_OF_PAGE if r["set"] == "pages" else MOST):
            tokens[r["set"]] += size + 5
            kept.append(r)
    RANDOM.shuffle(kept)
    with gzip.open(sys.argv[2], "wt", encoding="utf-8") as out:
        for r in kept:
            out.write(json.dumps(r, ensure_ascii=False) + "\n")
    count = collections.Counter((r["set"], r["y"]) for r in kept)
    for name, total in sorted(tokens.items()):
        print(name, total, {y: n for (s, y), n in sorted(count.items()) if s == name})
    print("rows", len(kept), "tokens", sum(tokens.values()), "held", sum(r["held"] for r in kept))
    print(collections.Counter(r["lang"] for r in kept if r["set"] in ("made", "denied", "answered")))


if __name__ == "__main__":
    main()
