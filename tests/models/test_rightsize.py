"""Right-sizing with the bundled encoder and real processes: what a rung weighs and takes is its own."""

import json

import pytest

from coterie.config.operation import AccountingSection
from coterie.config.specialists import make_section
from coterie.engines.onnx import OnnxEncoder
from coterie.rightsizing.result import Conditions
from coterie.rightsizing.rightsize import read_rows, rightsize

SAID = {
    "parcel": ["where is my parcel", "the courier is late", "track the delivery", "my package never came"],
    "card": ["I lost my card", "block the card", "the chip is broken", "my pin does not work"],
}
ENDS = ["", " please", " today", " again", " now", ", thanks"]


@pytest.mark.slow  # trains twice and starts two interpreters
def test_each_rung_alone(tmp_path):
    """The embedding rung holds the encoder and takes its time; the lexical one holds and takes far less."""
    lines = [json.dumps({"text": text + end, "label": label}) for label in SAID for text in SAID[label] for end in ENDS]
    (tmp_path / "said.jsonl").write_text("\n".join(lines))
    conditions = Conditions(
        date="", machine={}, versions={}, watts_per_core=10.0, price_per_cpu_hour=None, currency="USD"
    )
    report = rightsize(
        read_rows(make_section(task="classify", data=str(tmp_path / "said.jsonl"))),
        encoder=OnnxEncoder.bundled(),
        accounting=AccountingSection(),
        conditions=conditions,
    )
    lexical, embedding = report.rungs

    assert embedding.resident_bytes > lexical.resident_bytes + 23e6  # the encoder's weights
    assert lexical.resident_bytes < 120e6
    assert embedding.p50 > lexical.p50
    assert embedding.per_1000.joules > lexical.per_1000.joules > 0
