"""A thousand specialists: how long a route takes on one core, how often it is right, and what opening them costs.

    COTERIE_DATA=FOLDER python benchmarks/routing_scale/run.py

The topics of `_topics.py` as specialists, 50, 200 and 1,000 of them. Each is asked about texts it never saw. Beside it:
comparing with every example of every specialist, and a random specialist. Then a network's folder with a thousand
trained versions is opened: no weights may be read before somebody is asked.
"""

from __future__ import annotations

import asyncio
import csv
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # more threads than cores would wait for one another

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _topics import Topic, topics

from _data import find
from _record import Bar, Record, arguments, sha256
from _routing import SEED, banking_rows, data_files, router_of
from _specialists import percentiles
from coterie import open_network
from coterie.engines.onnx import OnnxEncoder
from coterie.learning.evaluation import bootstrap_mean
from coterie.learning.job import Silent
from coterie.routing.profile import Profile, make_profile
from coterie.routing.router import LearnedRouter
from coterie.specialists.parts import OnDemand
from coterie.training.train import train
from coterie.types import Context, Prompt, Request

CLAIM = "A thousand specialists are routed to in milliseconds on one core, and opened without loading one of them."
COUNTS = (50, 200, 1000)
P95_BAR = 10.0  # milliseconds
TIMED = 400  # routes
SHORT = 120  # characters of a timed text
_LEXICAL = """
[network]
name = "many"
"""
_SECTION = """
[specialists.{name}]
task = "classify"
data = "rows.csv"
rungs = ["lexical"]
"""


@contextmanager
def one_core() -> Iterator[None]:
    """This process has one core inside."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def profiles_of(topic_list: Sequence[Topic], vectors: Mapping[str, np.ndarray]) -> dict[str, Profile]:
    """What training would store of each, from encodings made before."""
    profiles = {}
    for topic in topic_list:
        subject = topic.name.replace("_", " ").split(" ", 1)[1]
        profiles[topic.name] = make_profile(
            np.stack([vectors[text] for text in topic.known]),
            [topic.name] * len(topic.known),
            [None] * len(topic.known),
            hints=vectors[subject][None],
            hint_texts=[subject],
            seed=SEED,
        )
    return profiles


def encoded(topic_list: Sequence[Topic], encoder: OnnxEncoder) -> dict[str, np.ndarray]:
    """Every text's vector."""
    texts = list(
        dict.fromkeys(
            text
            for topic in topic_list
            for text in (*topic.known, *topic.asked, topic.name.replace("_", " ").split(" ", 1)[1])
        )
    )
    return dict(zip(texts, encoder.encode(texts), strict=True))


async def accuracy(router: LearnedRouter, topic_list: Sequence[Topic]) -> dict[str, Any]:
    """How often the topic's specialist is asked, and no other; and how often it is the best, asked or not."""
    right: list[bool] = []
    best: list[bool] = []
    by_source: dict[str, list[bool]] = {}
    for topic in topic_list:
        for text in topic.asked:
            made = await router.explain(Request(text=text), Context())
            right.append(made.asked == (topic.name,))
            best.append(made.considered[0].candidates[0].specialist == topic.name)
            by_source.setdefault(topic.source, []).append(right[-1])
    return {
        "texts": len(right),
        "right": float(np.mean(right)),
        "interval": list(bootstrap_mean(right, seed=SEED)),
        "best_is_right": float(np.mean(best)),
        "by_source": {source: float(np.mean(hits)) for source, hits in by_source.items()},
    }


def every_example(
    profiles: Mapping[str, Profile], topic_list: Sequence[Topic], vectors: Mapping[str, np.ndarray]
) -> float:
    """The share of texts whose nearest example of all is their topic's."""
    example_vectors = np.vstack([profile.vectors for profile in profiles.values()])
    owners = np.repeat(np.arange(len(profiles)), [len(profile.vectors) for profile in profiles.values()])
    wanted = [index for index, topic in enumerate(topic_list) for _ in topic.asked]
    question_vectors = np.stack([vectors[text] for topic in topic_list for text in topic.asked])
    return float(np.mean(owners[(question_vectors @ example_vectors.T).argmax(axis=1)] == wanted))


async def timed(router: LearnedRouter, encoder: OnnxEncoder, topic_list: Sequence[Topic]) -> dict[str, Any]:
    """Milliseconds of routes on one core, and of the encoder alone in the same minutes."""
    texts = [text for topic in topic_list for text in topic.asked if len(text) <= SHORT]
    texts = [texts[i * len(texts) // TIMED] for i in range(TIMED)]
    routes, encodings = [], []
    for index, text in enumerate(texts):
        start = time.perf_counter()
        await router.route(Request(text=text), Context())
        routed = time.perf_counter()
        await encoder.run([Prompt(text=text)])
        if index >= TIMED // 10:  # the first ones warm up
            routes.append((routed - start) * 1000)
            encodings.append((time.perf_counter() - routed) * 1000)
    spent = []
    for text in texts:
        start = time.process_time()
        await router.route(Request(text=text), Context())
        spent.append((time.process_time() - start) * 1000)
    return {
        "route_ms": percentiles(np.array(routes)),
        "encoder_ms": percentiles(np.array(encodings)),
        "route_cpu_ms": percentiles(np.array(spent)),
    }


def measure(count: int, encoder: OnnxEncoder) -> dict[str, Any]:
    """Figures of so many specialists."""
    topic_list = topics(count, SEED, of=max(COUNTS))
    vectors = encoded(topic_list, encoder)
    start = time.perf_counter()
    profiles = profiles_of(topic_list, vectors)
    made = time.perf_counter()
    router = router_of(profiles, encoder)
    built = time.perf_counter()
    figures = {
        "specialists": len(topic_list),
        "examples": sum(len(topic.known) for topic in topic_list),
        "sources": {
            source: sum(topic.source == source for topic in topic_list) for source in {t.source for t in topic_list}
        },
        "profiles_seconds": made - start,
        "router_seconds": built - made,
        "accuracy": asyncio.run(accuracy(router, topic_list)),
        "baselines": {
            "nearest_of_all_examples": every_example(profiles, topic_list, vectors),
            "random": 1 / len(topic_list),
        },
    }
    with one_core():
        figures |= asyncio.run(timed(router, encoder, topic_list))
    print(
        f"{count}: right {figures['accuracy']['right']:.3f}, best {figures['accuracy']['best_is_right']:.3f}, "
        f"route p95 {figures['route_ms']['p95']:.1f} ms",
        flush=True,
    )
    return figures


def opening(count: int) -> dict[str, Any]:
    """A folder with so many trained specialists, opened and asked once."""
    rows = [row for row in banking_rows()[0] if row[1] in {"card_arrival", "exchange_rate", "lost_or_stolen_card"}]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *rows])
        (folder / "coterie.toml").write_text(_LEXICAL + _SECTION.format(name="s0"), encoding="utf-8")
        train(folder, progress=Silent())
        for number in range(1, count):
            shutil.copytree(folder / "registry" / "s0", folder / "registry" / f"s{number}")
        sections = "".join(_SECTION.format(name=f"s{number}") for number in range(count))
        (folder / "coterie.toml").write_text(_LEXICAL + sections, encoding="utf-8")
        return asyncio.run(_opened(folder))


async def _opened(folder: Path) -> dict[str, Any]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    network = await open_network(folder)
    opened = time.perf_counter() - start
    try:
        waiting = sum(isinstance(specialist, OnDemand) for specialist in network.specialists.values())
        start = time.perf_counter()
        answer = await network.ask(Request(text="I lost my card", specialist=f"s{len(network.specialists) // 2}"))
        return {
            "specialists": len(network.specialists),
            "not_loaded": waiting,
            "open_seconds": opened,
            "peak_mb_more": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
            "first_answer_ms": (time.perf_counter() - start) * 1000,
            "answered": answer.accepted,
        }
    finally:
        await network.close()


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    given = parser.parse_args()
    files = data_files() | {"medquad/medquad.jsonl.gz": find("medquad")[0]}
    record = Record(claim=CLAIM, seeds=(SEED,), data={name: sha256(path) for name, path in files.items()})
    encoder = OnnxEncoder.bundled()
    record.figures = {str(count): measure(count, encoder) for count in COUNTS} | {"opening": opening(max(COUNTS))}
    asyncio.run(encoder.close())
    many = cast("dict[str, Any]", record.figures[str(max(COUNTS))])
    opened = cast("dict[str, Any]", record.figures["opening"])
    record.bars = [
        Bar(
            what="1,000 specialists, route p95 ms on one core",
            measured=many["route_ms"]["p95"],
            limit=P95_BAR,
            at_most=True,
        ),
        Bar(
            what="1,000 specialists, loaded at opening",
            measured=opened["specialists"] - opened["not_loaded"],
            limit=0,
            at_most=True,
        ),
    ]
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()
