"""A fine-tuned network becomes the files that serving needs: an int8 ONNX graph, its tokenizer, its provenance."""

from __future__ import annotations

import hashlib
import json
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnxruntime.quantization import quant_pre_process

from coterie.engines import GRAPH_FILE, PROVENANCE_FILE, TAGS_OUTPUT, TOKENIZER_FILE, TokenTags, windows

from ._base import BaseEncoder
from ._finetune import encode_ids
from ._int8 import QUANTISATION, quantise
from ._network import SentenceNetwork, width_of
from ._tagging import TokenNetwork, token_logits

_OPSET = 17
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_VECTOR = "embedding"


def export_graph(network: torch.nn.Module, path: Path, *, output: str = _VECTOR, by_token: bool = False) -> None:
    """Write the fp32 graph: three int64 inputs (B, T), one output (B, D), or (B, T, D) if it is one by token."""
    axes = {0: "batch", 1: "tokens"} if by_token else {0: "batch"}
    example = (torch.ones(2, 8, dtype=torch.int64),) * 2 + (torch.zeros(2, 8, dtype=torch.int64),)
    with torch.no_grad(), warnings.catch_warnings():
        # The tracing exporter is deprecated, and the new one needs a package more and makes graphs that are not folded.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            example,
            str(path),
            input_names=list(_INPUTS),
            output_names=[output],
            dynamic_axes={name: {0: "batch", 1: "tokens"} for name in _INPUTS} | {output: axes},
            opset_version=_OPSET,
            dynamo=False,
        )


def export_int8(network: torch.nn.Module, *, output: str = _VECTOR, by_token: bool = False) -> bytes:
    """The int8 graph, as a file's content."""
    with tempfile.TemporaryDirectory(prefix="coterie-") as name:
        graph, prepared = Path(name) / "fp32.onnx", Path(name) / "prepared.onnx"
        export_graph(network, graph, output=output, by_token=by_token)
        quant_pre_process(graph, prepared, skip_symbolic_shape=True)
        model = onnx.load(prepared)
    quantise(model)
    return bytes(model.SerializeToString(deterministic=True))


def encoder_files(network: SentenceNetwork, base: BaseEncoder) -> dict[str, bytes]:
    """What `OnnxEncoder` loads, by file name."""
    return _files(export_int8(network), base, width_of(network.transformer))


def tagger_files(network: TokenNetwork, base: BaseEncoder) -> dict[str, bytes]:
    """What `OnnxTagger` loads, by file name."""
    return _files(export_int8(network, output=TAGS_OUTPUT, by_token=True), base, network.head.out_features)


def _files(graph: bytes, base: BaseEncoder, dimension: int) -> dict[str, bytes]:
    files = {GRAPH_FILE: graph, TOKENIZER_FILE: base.tokenizer.encode()}
    provenance: Mapping[str, object] = {
        "name": f"{base.name}, fine-tuned",
        "base_sha256": base.sha256,
        "licence": base.licence,
        "quantisation": QUANTISATION,
        "dimension": dimension,
        "max_tokens": base.max_tokens,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    return files | {PROVENANCE_FILE: json.dumps(provenance, indent=1).encode()}


def exact_vectors(network: SentenceNetwork, base: BaseEncoder, texts: Sequence[str]) -> np.ndarray:  # (N, D)
    """The network's own fp32 vectors: what the int8 graph's are compared with."""
    return encode_ids(network, base.token_ids(texts, longest=base.max_tokens))


def exact_tags(network: TokenNetwork, base: BaseEncoder, texts: Sequence[str]) -> list[TokenTags]:
    """The network's own fp32 logits of every token, read as `OnnxTagger` reads: what those are compared with."""
    found = []
    for encoding in base.load_tokenizer().encode_batch(list(texts)):
        logits = token_logits(network, windows(encoding.ids, base.max_tokens))
        offsets = np.array(encoding.offsets[1:-1], dtype=np.int64).reshape(-1, 2)
        found.append(TokenTags(offsets, np.concatenate([each[1:-1] for each in logits])))
    return found
