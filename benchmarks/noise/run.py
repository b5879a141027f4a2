"""How often noise that changes nothing of a text changes whom the router asks.

    COTERIE_DATA=FOLDER python benchmarks/noise/run.py [--half dev] [--texts 20]

Nine specialists of public sets; texts that they never saw; nine kinds of noise, seeded. A flip is any change of the set
of specialists that are asked, to nobody and from nobody included. Beside it, two routers that are not ours to be proud
of: the nearest example's specialist without scope, split or reading, and a random one.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from noising import NOISES, Setting

from _data import find
from _record import Bar, Record, arguments, sha256
from _routing import SEED, Half, data_files, profile_of, router_of, subjects, thinned
from coterie.engines.onnx import OnnxEncoder
from coterie.learning.evaluation import bootstrap_mean
from coterie.routing.profile import Profile
from coterie.routing.router import LearnedRouter
from coterie.types import Context, Request

CLAIM = "Noise that changes nothing of a text changes nothing of whom the router asks."
STORIES = 200
STORY_CHARACTERS = (600, 2500)
FLIP_BAR, FLIP_REACH = 0.05, 0.02

Asked = Sequence[tuple[str, str]]
"""(text, specialist)."""


def stories() -> list[str]:
    """Abstracts of SciFact: nobody's subject here."""
    texts = []
    with gzip.open(find("scifact_beir")[0], "rt", encoding="utf-8") as file:
        for line in file:
            text = str(json.loads(line)["text"])
            if STORY_CHARACTERS[0] <= len(text) <= STORY_CHARACTERS[1]:
                texts.append(text)
            if len(texts) == STORIES:
                break
    return texts


async def asked_of(router: LearnedRouter, texts: Sequence[str]) -> list[frozenset[str]]:
    """Whom each text is asked of."""
    return [frozenset((await router.route(Request(text=text), Context())).specialists) for text in texts]


def nearest_of(profiles: Mapping[str, Profile], encoder: OnnxEncoder, texts: Sequence[str]) -> list[frozenset[str]]:
    """The specialist of the nearest example."""
    vectors, names = encoder.encode(texts), list(profiles)
    closest = np.stack([(vectors @ profiles[name].vectors.T).max(axis=1) for name in names], axis=1)
    return [frozenset([names[best]]) for best in closest.argmax(axis=1)]


def compare(before: Sequence[frozenset[str]], after: Sequence[frozenset[str]], right: Sequence[str]) -> dict[str, Any]:
    """Figures of one kind of noise."""
    flips = [one != other for one, other in zip(before, after, strict=True)]
    kinds = Counter(
        "to nobody" if not other else "from nobody" if not one else "one more" if other > one else "another"
        for one, other in zip(before, after, strict=True)
        if one != other
    )
    return {
        "texts": len(flips),
        "flip_rate": float(np.mean(flips)),
        "interval": list(bootstrap_mean(flips, seed=SEED)),
        "kinds": dict(kinds),
        "right_before": float(np.mean([one == {name} for one, name in zip(before, right, strict=True)])),
        "right_after": float(np.mean([one == {name} for one, name in zip(after, right, strict=True)])),
    }


def measure(half: Half, per_subject: int) -> dict[str, Any]:
    """Figures of every kind of noise."""
    encoder = OnnxEncoder.bundled()
    all_subjects = subjects(half)
    profiles = {name: profile_of(subject.known, subject.description, encoder) for name, subject in all_subjects.items()}
    router = router_of(profiles, encoder)
    questions = [
        (text, name) for name, subject in all_subjects.items() for text, _ in thinned(subject.asked, per_subject)
    ]
    clean = dict(
        zip([text for text, _ in questions], asyncio.run(asked_of(router, [t for t, _ in questions])), strict=True)
    )
    plain = dict(zip(clean, nearest_of(profiles, encoder, list(clean)), strict=True))
    story_texts, figures = stories(), {}
    flips: list[bool] = []
    nearest_flips: list[bool] = []
    for kind, noise in NOISES.items():
        setting = Setting(random=random.Random(SEED), names=list(all_subjects), stories=story_texts, half=half)  # noqa: S311
        noisy = [(text, noise(text, setting), name) for text, name in questions]
        noisy = [row for row in noisy if row[1] != row[0]]
        after = asyncio.run(asked_of(router, [text for _, text, _ in noisy]))
        before = [clean[text] for text, _, _ in noisy]
        figures[kind] = compare(before, after, [name for _, _, name in noisy])
        naive = nearest_of(profiles, encoder, [text for _, text, _ in noisy])
        figures[kind]["nearest_example_flip_rate"] = float(
            np.mean([plain[text] != other for (text, _, _), other in zip(noisy, naive, strict=True)])
        )
        flips += [one != other for one, other in zip(before, after, strict=True)]
        nearest_flips += [plain[text] != other for (text, _, _), other in zip(noisy, naive, strict=True)]
        print(
            f"{kind}: {figures[kind]['flip_rate']:.3f} of {len(noisy)} (nearest example alone "
            f"{figures[kind]['nearest_example_flip_rate']:.3f})",
            flush=True,
        )
    asyncio.run(encoder.close())
    return {
        "half": half,
        "specialists": {name: len(profile.vectors) for name, profile in profiles.items()},
        "noises": figures,
        "all": {
            "texts": len(flips),
            "flip_rate": float(np.mean(flips)),
            "interval": list(bootstrap_mean(flips, seed=SEED)),
        },
        "baselines": {
            "nearest_example_flip_rate": float(np.mean(nearest_flips)),
            "random_flip_rate": 1 - 1 / len(profiles),
        },
    }


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    parser.add_argument("--half", choices=("dev", "test"), default="test")
    parser.add_argument("--texts", type=int, default=20, help="of each specialist")
    given = parser.parse_args()
    files = data_files() | {"scifact_beir/corpus.jsonl.gz": find("scifact_beir")[0]}
    record = Record(claim=CLAIM, seeds=(SEED,), data={name: sha256(path) for name, path in files.items()})
    record.figures = measure(cast("Half", given.half), given.texts)
    every = cast("dict[str, Any]", record.figures["all"])
    record.bars = [
        Bar(what="selection flips, all kinds of noise", measured=every["flip_rate"], limit=FLIP_BAR, at_most=True),
        Bar(what="selection flips, reach", measured=every["flip_rate"], limit=FLIP_REACH, at_most=True),
    ]
    record.notes.append(
        "paraphrases are made by a list of rewordings, not by people: they say less than the other kinds of noise"
    )
    if given.half == "dev":
        record.notes.append("the half `dev`: rules were written on it")
    record.write(given.out)


if __name__ == "__main__":
    main()
