"""A page made by `coterie bundle --web` beside Python: vectors, labels, verdicts, bytes and milliseconds in Chromium.

    COTERIE_DATA=FOLDER python benchmarks/web_page/run.py NETWORK --runtime onnxruntime-web-1.30.0.tgz

NETWORK has a trained `classify` specialist `intents`. The texts are the first rows of BANKING77's test file, read
without their labels, and strings of random characters of all of Unicode, in other scripts, and too long for the
encoder.
"""
# ruff: noqa: S311, RUF001 - chance that writes texts, in many scripts

from __future__ import annotations

import asyncio
import csv
import random
import shutil
import sys
import tempfile
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import numpy as np
import onnxruntime
from playwright.sync_api import sync_playwright

from _data import find
from _record import Bar, Record, arguments, sha256
from coterie.config.file import load_config
from coterie.edge.page import build_page
from coterie.engines.onnx import GRAPH_FILE, OnnxEncoder, encoder_folder, open_encoder
from coterie.registry.registry import open_registry
from coterie.tasks.versions import load_specialist
from coterie.types import ContextView, Task

NAME = "intents"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
ASK = """async (texts) => {
  const specialist = await window.coterie.specialist("intents"), found = [];
  for (const text of texts) {
    const start = performance.now();
    const { vector, value, accepted, confidence, inScope, truncated } = await specialist.ask(text);
    const ms = performance.now() - start;
    found.push({ vector: vector && [...vector], value, accepted, confidence, inScope, truncated, ms });
  }
  return found;
}"""


class Quiet(SimpleHTTPRequestHandler):
    """A server of files that counts what it sends."""

    sent = 0

    def copyfile(self, source: object, outputfile: object) -> None:
        """Count, then send."""
        type(self).sent += Path(source.name).stat().st_size
        super().copyfile(source, outputfile)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def strange(count: int, chance: random.Random) -> list[str]:
    """Texts that nobody trained on."""
    points = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    scripts = [
        "ÄÖÜß éèê ñ",
        "ΑΣ ΟΔΟΣ ς",
        "Привет мир",
        "İstanbul ıI",
        "你好 世界",
        "こんにちは",
        "안녕하세요",
        "שלום",
        "مرحبا",
        "नमस्ते",
        "ไทย",
    ]
    texts = []
    for number in range(count):
        if number % 3 == 0:
            texts.append("".join(chr(chance.choice(points)) for _ in range(chance.randint(1, 60))))
        elif number % 3 == 1:
            texts.append(
                " ".join(
                    chance.choice(scripts) + chance.choice(["?", " $5", "[SEP]", "_a1", "'s", "…", "\t"])
                    for _ in range(5)
                )
            )
        else:
            texts.append(
                " ".join(
                    chance.choice(["card", "x" * 120, "top-up", "£20", "don't", "a" * 30])
                    for _ in range(chance.randint(1, 400))
                )
            )
    return texts


def otherwise(network: Path, texts: list[str]) -> np.ndarray:  # (N, D)
    """Vectors of the same graph in Python, but with onnxruntime's operations fused in another way: the control."""
    home = encoder_folder(load_config(network).network.encoder, network)
    tokens, options = OnnxEncoder.read(home), onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(home / GRAPH_FILE), options)
    vectors = []
    for text in texts:
        ids = tokens.tokenise(text)
        ids = np.array([ids if len(ids) <= tokens.max_tokens else [*ids[: tokens.max_tokens - 1], ids[-1]]])
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        vectors.append(session.run(["embedding"], feed)[0][0])
    return np.array(vectors)


def python_side(network: Path, texts: list[str], vectors: np.ndarray | None = None) -> list[dict[str, object]]:
    """What the same version says here, of its own vectors or of these."""
    config = load_config(network)
    encoder = open_encoder(config.network.encoder, network)
    version = open_registry(network, config.registry).champion(NAME)
    specialist = load_specialist(NAME, config.specialists[NAME], version, encoder=encoder, models={})
    given = vectors is not None
    vectors = vectors if given else np.array([encoder.encode([text])[0] for text in texts])

    cut = encoder.exceeds(texts)

    async def consult() -> list[dict[str, object]]:
        answers = []
        for text, vector, truncated in zip(texts, vectors, cut, strict=True):
            task = Task(text=text, vector=vector, truncated=bool(truncated))
            finding = await specialist.consult(task, ContextView())
            answers.append(
                {"vector": vector, "value": finding.value, "accepted": finding.accepted, "in_scope": finding.in_scope}
                | {"confidence": finding.confidence, "truncated": finding.truncated}
            )
        await encoder.close()
        return answers

    return asyncio.run(consult())


def browser_side(page: Path, texts: list[str]) -> tuple[list[dict[str, object]], dict[str, float], str]:
    """What the page says in Chromium, what loading took, and the browser's version."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(page)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        tab = browser.new_page()
        start = time.perf_counter()
        tab.goto(f"http://127.0.0.1:{server.server_port}/")
        tab.evaluate(ASK, ["warm"])
        loading = time.perf_counter() - start
        answers = [answer for at in range(0, len(texts), 100) for answer in tab.evaluate(ASK, texts[at : at + 100])]
        about = browser.version
        browser.close()
    server.shutdown()
    return (
        [answer | {"in_scope": answer["inScope"]} for answer in answers],
        {"first answer, s": loading, "bytes down": Quiet.sent},
        about,
    )


def compared(answers: list[dict[str, object]], expected: list[dict[str, object]]) -> dict[str, object]:
    """How alike two sides are."""
    pairs = list(zip(answers, expected, strict=True))
    cosines = np.array([np.dot(ours["vector"], theirs["vector"]) for ours, theirs in pairs])
    return {
        "texts": len(pairs),
        "cosine": {
            "least": float(cosines.min()),
            "median": float(np.median(cosines)),
            "below .9999": int((cosines < 0.9999).sum()),
        },
        "equal labels": sum(ours["value"] == theirs["value"] for ours, theirs in pairs),
        "equal verdicts": sum(ours["accepted"] == theirs["accepted"] for ours, theirs in pairs),
        "cut alike": sum(ours["truncated"] == theirs["truncated"] for ours, theirs in pairs),
        "largest difference of a confidence": max(abs(a["confidence"] - b["confidence"]) for a, b in pairs),
    }


def main() -> None:
    """Run it."""
    parser = arguments(__doc__, __file__)
    parser.add_argument("network", type=Path)
    parser.add_argument("--runtime")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--strange", type=int, default=300)
    options = parser.parse_args()
    test = find("banking77")[1]
    with test.open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)][: options.rows]
    count = len(texts)
    texts += strange(options.strange, random.Random(0))
    texts = [text if text.strip() else "." for text in texts]
    record = Record(claim="web_page", seeds=[0], data={"banking77/test.csv": sha256(test)})
    with tempfile.TemporaryDirectory() as folder:
        made = build_page(options.network, Path(folder) / "page", runtime=options.runtime)
        answers, loading, version = browser_side(Path(folder) / "page", texts)
    expected = python_side(options.network, texts)
    record.figures["rows"] = compared(answers[:count], expected[:count])
    record.figures["strange"] = compared(answers[count:], expected[count:])
    control = python_side(options.network, texts[:count], otherwise(options.network, texts[:count]))
    record.figures["rows, Python with other kernels"] = compared(control, expected[:count])
    took = sorted(answer["ms"] for answer in answers[:count])
    record.figures["milliseconds of a text"] = {"p50": took[count // 2], "p95": took[int(count * 0.95)]}
    record.figures |= {"loading": loading, "page": {"files": made.files, "bytes": made.bytes}, "chromium": version}
    rows = record.figures["rows"]
    record.bars = [
        Bar(what="least cosine with Python", measured=float(rows["cosine"]["least"]), limit=0.9999),
        Bar(what="share of equal labels", measured=rows["equal labels"] / count, limit=1.0),
        Bar(what="MB down until the first answer", measured=loading["bytes down"] / 1e6, limit=30, at_most=True),
    ]
    record.note_load()
    for bar in record.bars:
        print(bar)
    print(record.figures)
    record.write(options.out)


if __name__ == "__main__":
    main()
