"""Make the bundled encoder with its int8 weights, but activations in float: an encoder alike on every processor.

    python scripts/encoder_float.py FOLDER          # then, in coterie.toml:  [network] encoder = "FOLDER"

The bundled graph rounds activations to 8 bits before each product. Where a value lies near the middle of two steps, the
last bit of a sum decides, and other kernels (another processor, a browser) give a vector that differs by up to .008 of
cosine. Without this rounding all give the same vector to 1e-6. It takes twice the time in Python and five times that of
the int8 graph in a browser; the file has the same size. Needs `onnx` (`coterie[train]`).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from coterie.engines.onnx import BUNDLED_ENCODER, GRAPH_FILE, PROVENANCE_FILE, TOKENIZER_FILE


def without_rounding(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with products of floats in place of products of rounded activations."""
    exact = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    nodes = []
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            continue
        if node.op_type != "MatMulIntegerToFloat":
            nodes.append(node)
            continue
        rounded, weights, _, scale, *_ = (
            node.input
        )  # activations were divided by their peak and are multiplied by it after
        nodes += [
            helper.make_node("Cast", [weights], [f"{weights}_cast"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{weights}_cast", scale], [f"{weights}_float"]),
            helper.make_node("MatMul", [exact[rounded], f"{weights}_float"], list(node.output)),
        ]
    used = {name for node in nodes for name in node.input}
    kept = [initializer for initializer in model.graph.initializer if initializer.name in used]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(kept)
    onnx.checker.check_model(model)
    return model


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True)
    graph = without_rounding(onnx.load(BUNDLED_ENCODER / GRAPH_FILE)).SerializeToString()
    (folder / GRAPH_FILE).write_bytes(graph)
    for name in (TOKENIZER_FILE, "LICENSE"):
        shutil.copy2(BUNDLED_ENCODER / name, folder)
    provenance = json.loads((BUNDLED_ENCODER / PROVENANCE_FILE).read_text())
    provenance |= {"name": f"{provenance['name']}-float", "script": "scripts/encoder_float.py"}
    provenance["quantisation"] = "int8 weights per output channel (7-bit range); activations in float"
    provenance.pop("agreement_with_fp32")
    provenance["sha256"][GRAPH_FILE] = hashlib.sha256(graph).hexdigest()
    (folder / PROVENANCE_FILE).write_text(json.dumps(provenance, indent=2) + "\n")
    print(f'Written: {folder}. In coterie.toml: [network] encoder = "{folder}"; then train again.')


if __name__ == "__main__":
    main()
