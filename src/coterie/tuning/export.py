"""Exports a fine-tuned network to the files that serving needs: int8 ONNX graph, tokenizer, provenance."""

from __future__ import annotations

import hashlib
import json
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import quant_pre_process

from coterie.engines.onnx import GRAPH_FILE, PROVENANCE_FILE, TAGS_OUTPUT, TOKENIZER_FILE, TokenTags, windows
from coterie.tuning.base import BaseEncoder
from coterie.tuning.finetune import SentenceNetwork, TokenNetwork, encode_ids, token_logits, width_of

# --- An fp32 encoder graph becomes int8, each token with its own scale, computed as the graph runs.
#
# onnxruntime's `quantize_dynamic` gives a batch one scale: less agreement (mean cosine with fp32 0.993 against 0.996,
# same nearest neighbour for 88 against 94 texts in 100), and a vector that depends on its neighbours in the batch.
#
# Weights are signed, per output channel, in 7 bits: on AVX2 without VNNI, u8 x s8 products are summed in pairs in 16
# bits, and 255 x 63 x 2 = 32,130 still fits where full 8 bits can saturate; cosine 0.9958 against 0.9962. Unsigned
# weights are slower (4.1 ms a text against 2.8); 8-bit MatMulNBits agrees best (0.999) at 2 to 3 times the latency.

QUANTISATION = "int8 weights per output channel (7-bit range), activations per token; token embeddings per row"
WEIGHT_LIMIT = 63
ACTIVATION_LIMIT = 127
ACTIVATION_ZERO = 128
_CONTRIBUTED = "com.microsoft"


class _Rewriter:
    """Edits one ONNX graph in place: replaces nodes and their constant weights."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.weights = {constant.name: constant for constant in model.graph.initializer}
        self._made: set[str] = set()
        self._taken: dict[str, np.ndarray] = {}

    def constant(self, name: str, value: np.ndarray) -> str:
        """Add a constant, once however many layers share it, and return its name."""
        if name not in self._made:
            self.graph.initializer.append(numpy_helper.from_array(value, name))
            self._made.add(name)
        return name

    def take(self, name: str) -> np.ndarray:
        """Remove a constant and return its value, also to the next layer that shares it."""
        if name not in self._taken:
            tensor = self.weights.pop(name)
            self.graph.initializer.remove(tensor)
            self._taken[name] = numpy_helper.to_array(tensor)
        return self._taken[name]

    def replace(self, old: Sequence[onnx.NodeProto], new: Sequence[onnx.NodeProto]) -> None:
        """Insert new nodes at the place of the first of the old ones."""
        position = list(self.graph.node).index(old[0])
        for node in old:
            self.graph.node.remove(node)
        for offset, node in enumerate(new):
            self.graph.node.insert(position + offset, node)

    def nodes(self, kind: str, weight: int) -> list[onnx.NodeProto]:
        """Return the nodes of one kind whose input number `weight` is a constant matrix."""
        matching = [node for node in self.graph.node if node.op_type == kind and node.input[weight] in self.weights]
        return [node for node in matching if len(self.weights[node.input[weight]].dims) == 2]


def round_to(values: np.ndarray, limit: int, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Round to int8 within plus or minus `limit`, one float32 scale for each slice along `axis`."""
    scale = np.maximum(np.abs(values).max(axis, keepdims=True), 1e-12).astype(np.float32) / np.float32(limit)
    return np.round(values / scale).astype(np.int8), scale


def _quantise_embeddings(rewriter: _Rewriter) -> None:
    """Store the token embeddings as int8 rows with a scale each; the looked-up rows are multiplied back."""
    for node in rewriter.nodes("Gather", weight=0):
        table, ids, out = node.input[0], node.input[1], node.output[0]
        rows, scales = round_to(rewriter.take(table), ACTIVATION_LIMIT, axis=1)
        lookups = [
            helper.make_node("Gather", [rewriter.constant(f"{table}_int8", rows), ids], [f"{out}_int8"]),
            helper.make_node("Cast", [f"{out}_int8"], [f"{out}_float"], to=TensorProto.FLOAT),
            helper.make_node("Gather", [rewriter.constant(f"{table}_scale", scales), ids], [f"{out}_scale"]),
            helper.make_node("Mul", [f"{out}_float", f"{out}_scale"], [out]),
        ]
        rewriter.replace([node], lookups)


def _quantise_tokens(source: str) -> list[onnx.NodeProto]:
    """Return nodes that turn activations (B, T, D) into uint8 with a scale per token, `<source>_peak` (B, T, 1)."""
    return [
        helper.make_node("Abs", [source], [f"{source}_size"]),
        helper.make_node("ReduceMax", [f"{source}_size"], [f"{source}_largest"], axes=[-1], keepdims=1),
        helper.make_node("Max", [f"{source}_largest", "tiny"], [f"{source}_peak"]),
        helper.make_node("Div", [source, f"{source}_peak"], [f"{source}_unit"]),
        helper.make_node("QuantizeLinear", [f"{source}_unit", "token_scale", "token_zero"], [f"{source}_uint8"]),
    ]


def _multiply(rewriter: _Rewriter, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Return the integer form of one matrix product whose activations are already uint8."""
    source, name, out = node.input[0], node.input[1], node.output[0]
    weights, scales = round_to(rewriter.take(name), WEIGHT_LIMIT, axis=0)
    inputs = [
        f"{source}_uint8",
        rewriter.constant(f"{name}_int8", weights),
        "token_scale",
        rewriter.constant(f"{name}_scale", scales[0]),
        "token_zero",
        rewriter.constant(f"{name}_zero", np.zeros(weights.shape[1], np.int8)),
    ]
    product = helper.make_node("MatMulIntegerToFloat", inputs, [f"{out}_unit"], domain=_CONTRIBUTED)
    return [product, helper.make_node("Mul", [f"{out}_unit", f"{source}_peak"], [out])]


def _quantise_products(rewriter: _Rewriter) -> None:
    """Turn every product with constant weights into int8; products of the same activations share their rounding."""
    rewriter.constant("token_scale", np.array(1 / ACTIVATION_LIMIT, np.float32))
    rewriter.constant("token_zero", np.array(ACTIVATION_ZERO, np.uint8))
    rewriter.constant("tiny", np.array(1e-9, np.float32))
    sharing: dict[str, list[onnx.NodeProto]] = {}
    for node in rewriter.nodes("MatMul", weight=1):
        sharing.setdefault(node.input[0], []).append(node)
    for source, nodes in sharing.items():
        products = [new_node for node in nodes for new_node in _multiply(rewriter, node)]
        rewriter.replace(nodes, _quantise_tokens(source) + products)


def quantise(model: onnx.ModelProto) -> None:
    """Turn an fp32 graph, its constants folded, into its int8 form, in place."""
    _quantise_embeddings(_Rewriter(model))
    quantise_products(model)


def replace_gather(
    model: onnx.ModelProto,
    rows: int,
    look_up: Callable[[str, str], Sequence[onnx.NodeProto]],
    constants: Sequence[onnx.TensorProto],
) -> None:
    """Replace the lookup of rows in a constant table of this many rows by another one.

    Args:
        model: Changed in place.
        rows: Rows of the table.
        look_up: Makes the nodes from the ids' name to the output's.
        constants: Constants that these nodes read.
    """
    rewriter = _Rewriter(model)
    for node in rewriter.nodes("Gather", weight=0):
        if rewriter.weights[node.input[0]].dims[0] == rows:
            rewriter.take(node.input[0])
            rewriter.replace([node], look_up(node.input[1], node.output[0]))
    model.graph.initializer.extend(constants)


def quantise_products(model: onnx.ModelProto) -> None:
    """Turn every product with constant weights into int8, in place."""
    _quantise_products(_Rewriter(model))
    if all(opset.domain != _CONTRIBUTED for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(_CONTRIBUTED, 1))


_OPSET = 17
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_VECTOR = "embedding"


def export_graph(network: torch.nn.Module, path: Path, *, output: str = _VECTOR, by_token: bool = False) -> None:
    """Write the fp32 graph: three int64 inputs (B, T), one output (B, D), or (B, T, D) with `by_token`."""
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
    """Return the int8 graph, as a file's content."""
    with tempfile.TemporaryDirectory(prefix="coterie-") as name:
        graph, prepared = Path(name) / "fp32.onnx", Path(name) / "prepared.onnx"
        export_graph(network, graph, output=output, by_token=by_token)
        quant_pre_process(graph, prepared, skip_symbolic_shape=True)
        model = onnx.load(prepared)
    quantise(model)
    return bytes(model.SerializeToString(deterministic=True))


def encoder_files(network: SentenceNetwork, base: BaseEncoder) -> dict[str, bytes]:
    """Return the files that `OnnxEncoder` loads, by name."""
    return _files(export_int8(network), base, width_of(network.transformer))


def tagger_files(network: TokenNetwork, base: BaseEncoder) -> dict[str, bytes]:
    """Return the files that `OnnxTagger` loads, by name."""
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
    """Return the network's own fp32 vectors, for a comparison with the int8 graph's."""
    return encode_ids(network, base.token_ids(texts, longest=base.max_tokens))


def exact_tags(network: TokenNetwork, base: BaseEncoder, texts: Sequence[str]) -> list[TokenTags]:
    """Return the network's own fp32 logits of every token, read as by `OnnxTagger`, for a comparison with those."""
    all_tags = []
    for encoding in base.load_tokenizer().encode_batch(list(texts)):
        logits = token_logits(network, windows(encoding.ids, base.max_tokens))
        offsets = np.array(encoding.offsets[1:-1], dtype=np.int64).reshape(-1, 2)
        all_tags.append(TokenTags(offsets, np.concatenate([logit[1:-1] for logit in logits])))
    return all_tags
