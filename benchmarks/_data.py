"""Where the benchmarks find data: `$COTERIE_DATA`, a folder with the public originals, and the lender example's own."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from _record import ROOT

VARIABLE = "COTERIE_DATA"
LENDER = ROOT / "examples" / "lender"
TRIAGE = """
[specialists.triage]
task = "classify"
data = "triage.csv"
description = "What customers ask a bank."
rungs = ["embedding"]
licence = "CC-BY-4.0"
"""
"""The section of `coterie.toml` for a specialist of the lender's intents alone, in `triage.csv`."""
LARGE = """
[models.large]
engine = "openai"
base_url = "{url}"
name = "large"
price_in = "10.00"
price_out = "30.00"
clearance = "internal"
[generalist]
model = "large"
escalate_out_of_scope = true
[budgets.everybody]
tokens = 1_000_000_000
"""
"""A large model at `{url}` that is asked what is out of scope, within a budget that nobody uses up."""


class Source(NamedTuple):
    """A public data set."""

    home: str
    licence: str
    files: Sequence[str]
    """What is read, below the data set's folder."""


SOURCES = {
    "banking77": Source(
        "https://github.com/PolyAI-LDN/task-specific-datasets (banking_data)", "CC BY 4.0", ("train.csv", "test.csv")
    ),
    "clinc150": Source("https://github.com/clinc/oos-eval (data)", "CC BY 3.0", ("data_full.json",)),
    "contractnli": Source("https://stanfordnlp.github.io/contract-nli", "CC BY 4.0", ("dev.json", "test.json")),
    "cuad": Source(
        "https://www.atticusprojectai.org/cuad (CUAD_v1: master_clauses.csv, full_contract_txt as a tar.gz)",
        "CC BY 4.0",
        ("master_clauses.csv", "full_contract_txt.tar.gz"),
    ),
    "medquad": Source("https://github.com/abachaa/MedQuAD (as JSON lines)", "CC BY 4.0", ("medquad.jsonl.gz",)),
    "pii_presidio": Source(
        "https://github.com/microsoft/presidio-research (data)",
        "MIT",
        ("generated_large.json", "synth_dataset_v2.json"),
    ),
    "scifact_beir": Source(
        "https://github.com/beir-cellar/beir (scifact), claims from https://github.com/allenai/scifact",
        "CC BY 4.0 / ODC-By",
        ("corpus.jsonl.gz", "queries.test.jsonl", "qrels.test.tsv", "queries.train.jsonl", "claims_train.jsonl"),
    ),
    "cascades_zellinger": Source(
        "the repository of arXiv 2501.09345 (recorded outcomes, as JSON lines)",
        "none stated: measured here, not copied",
        tuple(
            f"{task}_{chain}_{part}.jsonl"
            for task in ("mmlu", "medmcqa", "triviaqa", "truthfulqa", "gsm8k")
            for chain in ("llama", "qwen_oai")
            for part in ("train", "test")
            if (task, part) != ("gsm8k", "test")
        ),
    ),
    "reading/qa/xquad": Source(
        "https://github.com/google-deepmind/xquad (as JSON lines)", "CC BY-SA 4.0", ("xquad.jsonl.gz",)
    ),
    "reading/qa/squad2_dev": Source(
        "https://github.com/chrischute/squad (both halves of SQuAD 2.0's development set, as JSON lines)",
        "CC BY-SA 4.0",
        ("squad2_dev.jsonl.gz",),
    ),
    "reading/nli/begin": Source(
        "https://github.com/google/BEGIN-dataset (as JSON lines)", "CC BY 4.0 / CDLA-Sharing 1.0", ("begin.jsonl.gz",)
    ),
    "reading/nli/pawsx": Source(
        "https://github.com/google-research-datasets/paws (PAWS-X, as JSON lines)",
        "free for any purpose",
        ("pawsx.jsonl.gz",),
    ),
    "reading/nli/summedits": Source(
        "https://github.com/salesforce/factualNLG (data/summedits, as JSON lines)",
        "Apache-2.0",
        ("summedits.jsonl.gz", "docs.jsonl.gz"),
    ),
    "reading/compound/mixsnips_clean": Source(
        "https://github.com/yizhen20133868/GL-GIN (data/MixSNIPS_clean, as JSON lines)", "MIT", ("mixsnips.jsonl.gz",)
    ),
    "reading/intents/xsid": Source(
        "https://github.com/mainlp/xsid (data/xSID-0.7, as JSON lines)", "CC BY-SA 4.0", ("xsid.jsonl.gz",)
    ),
    "reading/chat/disfl_qa": Source(
        "https://github.com/google-research-datasets/Disfl-QA (as JSON lines)", "CC BY 4.0", ("disfl_qa.jsonl.gz",)
    ),
    "reading/chat/cast_2021_2022": Source(
        "https://github.com/daltonj/treccastweb (topics of 2021 and 2022, as JSON lines)", "MIT", ("cast.jsonl.gz",)
    ),
    "reading/chat/canard_dev": Source(
        "https://sites.google.com/view/qanta/projects/canard (dev.json, as JSON lines)",
        "CC BY-SA 4.0",
        ("canard_dev.jsonl.gz",),
    ),
    "routellm": Source(
        "https://github.com/lm-sys/RouteLLM (routellm/evals: mmlu/responses/*.csv, gsm8k/gsm8k_responses.csv)",
        "Apache-2.0",
        ("mmlu/mmlu_abstract_algebra.csv", "gsm8k_responses.csv"),
    ),
    "frugalgpt": Source(
        "https://github.com/stanford-futuredata/FrugalGPT (HEADLINES.zip of its notebook, and `summary`)",
        "Apache-2.0",
        (
            "data/HEADLINES/train.csv",
            "data/HEADLINES/test.csv",
            "summary/summary_HEADLINES_e8_full_2024.csv",
        ),
    ),
}


def find(name: str) -> list[Path]:
    """The files of a data set, in the order of its `Source`. Ends the program with the way to get them if absent."""
    source = SOURCES[name]
    folder = Path(os.environ.get(VARIABLE, "")) / name
    paths = [folder / file for file in source.files]
    missing = [file for file, path in zip(source.files, paths, strict=True) if not path.is_file()]
    if missing or VARIABLE not in os.environ:
        sys.exit(
            f"This benchmark reads {', '.join(f'{name}/{file}' for file in missing or source.files)} below the folder "
            f"that ${VARIABLE} names (now: {os.environ.get(VARIABLE)!r}).\n"
            f"Get the public original ({source.licence}): {source.home}"
        )
    return paths


def headline_rows(path: Path) -> list[tuple[str, str]]:
    """(headline, label) rows of a file of FrugalGPT, which has no header."""
    with path.open(encoding="utf-8", newline="") as file:
        return [(text.removeprefix("Q: ").removesuffix("\nA:"), label) for text, label, _ in csv.reader(file)]


def write_rows(path: Path, rows: Iterable[tuple[str, str]]) -> Path:
    """Write (text, label) rows as the CSV that Coterie trains from; an empty label belongs to no label."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        writer.writerows(rows)
    return path


def thin(rows: Sequence[tuple[str, str]], most: int | None) -> Sequence[tuple[str, str]]:
    """At most so many rows, evenly spread over the file; all of them for None."""
    if most is None or len(rows) <= most:
        return rows
    return [rows[index * len(rows) // most] for index in range(most)]
