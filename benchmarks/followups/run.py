"""Follow-up questions: right specialist and right intent or passage, with the session and without it.

    COTERIE_DATA=FOLDER python benchmarks/followups/run.py --look TEXT [--half dev]

A network of three specialists: the lender's `triage` and `clauses`, and `health`, which gives the best passage of a
index of MedQuAD answers. A first question comes from public data (BANKING77 messages, MedQuAD questions); the follow-up
is one of those written down in `intents.json` and `passages.json`, whose intent or answer is determined by the first.
Rules were written on the half `dev`; the half `test` has other phrasings, other first questions and other subjects.

Questions that stand alone, asked after unrelated ones, show the harm.
"""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
import random
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _data import find
from _lender import add_network, copy_network, ready
from _record import Bar, Record, add_look, arguments, sha256
from coterie import Network, open_network
from coterie.config.file import load_config
from coterie.engines.onnx import OnnxEncoder
from coterie.knowledge.build import build_index
from coterie.knowledge.local import LocalIndex
from coterie.knowledge.sources import Access, read_corpus
from coterie.learning.evaluation import bootstrap_mean
from coterie.learning.job import Silent
from coterie.registry.registry import open_registry
from coterie.routing.profile import PROFILE_FILE, Profile, hint_texts, make_profile
from coterie.routing.router import LearnedRouter
from coterie.types import (
    SYSTEM,
    Answer,
    Citation,
    ContextView,
    Finding,
    Label,
    Passage,
    Request,
    SpecialistCard,
    Task,
    worded,
)

CLAIM = "A follow-up question is answered as what it means: the session gives back what it leaves out."
HERE = Path(__file__).parent
SEED = 7
SUBJECTS = 50  # of MedQuAD, in each half
LONGEST = 700  # characters of an answer in the index
FIRSTS = 2  # first messages for each follow-up on intents
EXAMPLES = 1500  # questions of other subjects that make `health` known to the router
ALONE = {"intent": 150, "passage": 100, "nobody": 50}
TOP = 3


class Case(NamedTuple):
    """Two questions in a row, and what the second one means."""

    kind: str
    first: str
    second: str
    specialist: str | None
    right: str
    """The intent, or the document of the passage."""


class Seen(NamedTuple):
    """What became of a question."""

    specialist: bool
    """The right one answered."""
    right: bool
    """And said the right thing."""
    among: bool
    """Of a passage: it is among the first three. Of an intent: named, if only in an abstention."""
    rewritten: str


class Health:
    """Gives the best passage, and cites the others."""

    card = SpecialistCard(
        name="health",
        task="answer",
        description="Questions about diseases: symptoms, causes, treatments, genes.",
        rung="embedding",
        version="0",
        knowledge=("health",),
    )

    async def consult(self, task: Task, view: ContextView, *, call: object = None) -> Finding:
        """The passages in the order they were found."""
        passages = [entry.content for entry in view.entries if isinstance(entry.content, Passage)]
        passages.sort(key=lambda passage: -passage.score)
        best = passages[0] if passages else None
        return Finding(
            specialist="health",
            value=best and best.document,
            text=best.document if best else "",
            confidence=1.0,
            accepted=best is not None,
            reason=worded("the best passage"),
            label=max([task.label, *(entry.label for entry in view.entries)]),
            citations=tuple(
                Citation(document=p.document, start=p.start, end=p.end, text=p.text, label=p.label, index=p.index)
                for p in passages
            ),
        )


@dataclass(frozen=True, kw_only=True)
class Medical:
    """MedQuAD as far as it is used."""

    answers: Mapping[str, Mapping[str, Mapping[str, str]]]
    """Rows by subject and type of question."""
    halves: Mapping[str, Sequence[str]]
    """Subjects of each half."""
    others: Sequence[str]
    """Questions about the rest."""


def read_medical(path: Path, types: Mapping[str, Any]) -> Medical:
    """Subjects with four types of questions and more, drawn by the seed."""
    by: dict[str, dict[str, Mapping[str, str]]] = defaultdict(dict)
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for row in map(json.loads, file):
            if row["qtype"] in types and row["answer"].strip():
                by[row["focus"]].setdefault(row["qtype"], row)
    subjects = sorted(subject for subject, rows in by.items() if len(rows) >= 4)
    draw = random.Random(SEED)  # noqa: S311 - which rows are asked
    draw.shuffle(subjects)
    halves = {"dev": subjects[:SUBJECTS], "test": subjects[SUBJECTS : 2 * SUBJECTS]}
    used = {*halves["dev"], *halves["test"]}
    others = sorted(row["question"] for subject in by.keys() - used for row in by[subject].values())
    draw.shuffle(others)
    return Medical(answers=by, halves=halves, others=others[:EXAMPLES])


def read_messages(path: Path) -> dict[str, list[str]]:
    """BANKING77 messages by intent."""
    by_category = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            by_category[row["category"]].append(" ".join(row["text"].split()))
    return by_category


# --- Cases -----------------------------------------------------------------------------------------


def follow_ups(half: str, messages: Mapping[str, Sequence[str]], medical: Medical) -> list[Case]:
    """Follow-ups on intents, each after several first messages, and three on passages about each subject."""
    draw = random.Random(SEED)  # noqa: S311 - which rows are asked
    cases = [
        Case("intent", first, text, "triage", intent["target"])
        for intent in json.loads((HERE / "intents.json").read_text(encoding="utf-8"))
        for text in intent[half]
        for first in draw.sample(messages[intent["first"]], FIRSTS)
    ]
    phrases = json.loads((HERE / "passages.json").read_text(encoding="utf-8"))
    for subject in medical.halves[half]:
        rows = medical.answers[subject]
        asked_kind, *rest = draw.sample(sorted(rows), len(rows))
        for kind in rest[:3]:
            text = draw.choice(phrases[kind][half])
            cases.append(Case("passage", _question(rows[asked_kind]), text, "health", rows[kind]["id"]))
    return cases


def standing_alone(
    half: str, messages: Mapping[str, Sequence[str]], medical: Medical, nobody: Sequence[str]
) -> list[Case]:
    """Questions as they are in the data, each after one on something else."""
    draw = random.Random(SEED + 1)  # noqa: S311 - which rows are asked
    intents = [(text, intent) for intent in sorted(messages) for text in messages[intent]]
    passages = [(_question(row), row["id"]) for s in medical.halves[half] for row in medical.answers[s].values()]
    firsts = [text for text, _ in draw.sample(intents, 300)] + [text for text, _ in draw.sample(passages, 100)]
    draw.shuffle(firsts)
    seconds = [
        *((("alone intent"), text, "triage", right) for text, right in draw.sample(intents, ALONE["intent"])),
        *((("alone passage"), text, "health", right) for text, right in draw.sample(passages, ALONE["passage"])),
        *((("alone nobody"), text, None, "") for text in draw.sample(list(nobody), ALONE["nobody"])),
    ]
    return [
        Case(kind, first, text, who, right) for first, (kind, text, who, right) in zip(firsts, seconds, strict=False)
    ]


def _question(row: Mapping[str, str]) -> str:
    return " ".join(row["question"].replace("(are)", "").replace("?", "").split()) + "?"


# --- Asking ----------------------------------------------------------------------------------------


async def ask(network: Network, case: Case, *, session: str | None) -> Seen:
    """The second question of a case, after the first one if there is a session."""
    if session is not None:
        await network.ask(Request(text=case.first, session=session, clearance=Label.RESTRICTED))
    answer = await network.ask(Request(text=case.second, session=session, clearance=Label.RESTRICTED))
    return judge(case, answer)


def judge(case: Case, answer: Answer) -> Seen:
    """Whether the right specialist was asked and said the right thing; nobody is right where nobody fits."""
    findings = {finding.specialist: finding for finding in answer.trace.findings}
    if case.specialist is None:
        right = not any(finding.accepted for finding in findings.values())
        return Seen(right, right, right, answer.trace.rewritten)
    own_finding = findings.get(case.specialist)
    was_asked = own_finding is not None and case.specialist in answer.trace.route.specialists
    right = was_asked and own_finding.accepted and own_finding.value == case.right
    among = was_asked and (
        own_finding.value == case.right or case.right in [c.document for c in own_finding.citations[:TOP]]
    )
    return Seen(was_asked, right, among, answer.trace.rewritten)


async def network_of(folder: Path, index: LocalIndex, medical: Medical) -> Network:
    """The lender's network with `health` beside its specialists."""
    network = await open_network(folder)
    registry = open_registry(folder, load_config(folder).registry)
    names = [name for name in network.specialists if name != "health"]
    profiles = {name: Profile.from_bytes(registry.champion(name).files[PROFILE_FILE]) for name in names}
    hints = hint_texts(Health.card.description, ())
    vectors = np.stack([np.asarray(o.vector) for o in await network.embed([*medical.others, *hints], call=SYSTEM)])
    profiles["health"] = make_profile(
        vectors[: len(medical.others)],
        ["question"] * len(medical.others),
        [None] * len(medical.others),
        hints=vectors[len(medical.others) :],
        hint_texts=hints,
        seed=SEED,
    )
    specialists = {**network.specialists, "health": Health()}
    cards = {name: specialist.card for name, specialist in specialists.items()}
    router = LearnedRouter(cards=cards, profiles=profiles, encoder=network.encoder, false_rejection=0.03)
    return replace(network, specialists=specialists, router=router, knowledge={"health": index})


async def make_index(folder: Path, medical: Medical, encoder: OnnxEncoder) -> LocalIndex:
    """The answers about the subjects of both halves."""
    corpus = folder / "corpus.jsonl"
    subjects = [*medical.halves["dev"], *medical.halves["test"]]
    rows = [row for subject in subjects for row in medical.answers[subject].values()]
    lines = [{"_id": row["id"], "title": row["focus"], "text": row["answer"][:LONGEST]} for row in rows]
    corpus.write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    index = LocalIndex(folder / "index", name="health", encoder=encoder, mode="hybrid")
    files = read_corpus(corpus, Access(label=Label.PUBLIC, labels={}))
    await build_index(index, files, encoder=encoder, folder=folder / "index", name="health", progress=Silent())
    return index


# --- Figures ---------------------------------------------------------------------------------------


def figures(cases: Sequence[Case], alone: Sequence[Seen], within: Sequence[Seen]) -> dict[str, Any]:
    """Shares with and without, the gain in points with its interval, how many were rewritten."""
    result: dict[str, Any] = {"n": len(cases)}
    for name in ("specialist", "right", "among"):
        before, after = ([getattr(seen, name) for seen in answers] for answers in (alone, within))
        result[name] = {"without": float(np.mean(before)), "with": float(np.mean(after))}
        gain = [float(b) - float(a) for a, b in zip(before, after, strict=True)]
        interval = [100 * end for end in bootstrap_mean(gain, seed=SEED)]
        result[name] |= {"points": 100 * float(np.mean(gain)), "interval": interval}
    result["rewritten"] = float(np.mean([bool(seen.rewritten) for seen in within]))
    return result


async def main() -> None:
    """Ask every case twice and write what came of it."""
    parser = arguments(__doc__ or "", __file__)
    add_look(parser)
    add_network(parser)
    parser.add_argument("--half", choices=("dev", "test"), default="test", help="which half is asked (default: test)")
    parser.add_argument("--index", type=Path, help="where the index is kept for the next run (default: nowhere)")
    parser.add_argument("--show", action="store_true", help="print what was not right")
    options = parser.parse_args()
    if options.index is not None:
        options.index.mkdir(parents=True, exist_ok=True)
    train, test = find("banking77")
    (medquad,) = find("medquad")
    clinc = find("clinc150")[0]
    medical = read_medical(medquad, json.loads((HERE / "passages.json").read_text(encoding="utf-8")))
    messages = read_messages(train if options.half == "dev" else test)
    nobody = [text for text, _ in json.loads(clinc.read_text())["oos_val" if options.half == "dev" else "oos_test"]]
    cases = follow_ups(options.half, messages, medical)
    cases += standing_alone(options.half, messages, medical, nobody)
    record = Record(claim=CLAIM, seeds=[SEED])
    record.data = {f"{path.parent.name}/{path.name}": sha256(path) for path in (train, test, medquad, clinc)}
    with tempfile.TemporaryDirectory() as temporary:
        copied = copy_network(ready(options.network), Path(temporary) / "network", ("triage", "clauses"))
        await measure(record, cases, medical, copied, options.index or Path(temporary), show=options.show)
    record.notes.append(options.look)
    record.write(options.out)


async def measure(
    record: Record, cases: Sequence[Case], medical: Medical, folder: Path, kept: Path, *, show: bool
) -> None:
    """Fill the record."""
    network = await network_of(folder, await make_index(kept, medical, OnnxEncoder.bundled()), medical)
    alone = [await ask(network, case, session=None) for case in cases]
    within = [await ask(network, case, session=f"s{number}") for number, case in enumerate(cases)]
    await network.close()
    groups = {"follow-ups": ("intent", "passage"), "standing alone": ("alone intent", "alone passage", "alone nobody")}
    for name, kinds in {**groups, **{kind: (kind,) for group in groups.values() for kind in group}}.items():
        places = [index for index, case in enumerate(cases) if case.kind in kinds]
        record.figures[name] = figures(*([rows[index] for index in places] for rows in (cases, alone, within)))
        print(name, json.dumps(record.figures[name]), flush=True)
    helped, harmed = record.figures["follow-ups"], record.figures["standing alone"]
    record.bars = [
        Bar(
            what="follow-ups: right specialist and right intent or passage, points gained",
            measured=helped["right"]["points"],
            limit=15,
        ),
        Bar(what="questions that stand alone: points lost", measured=-harmed["right"]["points"], limit=2, at_most=True),
    ]
    if show:
        for case, before, after in zip(cases, alone, within, strict=True):
            if not after.right or (case.kind.startswith("alone") and after.rewritten):
                print(*case, after.rewritten, before.right, after.right, sep=" | ")


if __name__ == "__main__":
    asyncio.run(main())
