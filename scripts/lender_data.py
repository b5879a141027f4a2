"""Make the lender example's data from the public originals.

Reads BANKING77, CUAD and Statlog German Credit under `$COTERIE_DATA` and writes the six files of
`examples/lender/data`. The same input gives the same bytes. It needs only the standard library and knows nothing
about models: which texts a trainer holds out for itself is the trainer's business.

    COTERIE_DATA=/path/to/data python scripts/lender_data.py
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

OUT = Path(__file__).resolve().parents[1] / "examples" / "lender" / "data"
SEED = 77
TEST_SHARE = 0.2

Row = dict[str, object]


class Column(NamedTuple):
    """A column of the Statlog file: its readable name, and the meaning of its codes (empty: a number)."""

    name: str
    codes: Mapping[str, str] = {}


# The wording of the code table that UCI publishes with the data (german.doc), unpunctuated.
STATLOG_COLUMNS: Sequence[Column] = (
    Column(
        "checking_status",
        {
            "A11": "below 0 DM",
            "A12": "0 to 199 DM",
            "A13": "200 DM or more or salary paid in for a year",
            "A14": "no checking account",
        },
    ),
    Column("duration_months"),
    Column(
        "credit_history",
        {
            "A30": "no credits taken or all paid back duly",
            "A31": "all credits at this bank paid back duly",
            "A32": "existing credits paid back duly till now",
            "A33": "delay in paying off in the past",
            "A34": "critical account or credits at other banks",
        },
    ),
    Column(
        "purpose",
        {
            "A40": "new car",
            "A41": "used car",
            "A42": "furniture or equipment",
            "A43": "radio or television",
            "A44": "domestic appliances",
            "A45": "repairs",
            "A46": "education",
            "A47": "vacation",
            "A48": "retraining",
            "A49": "business",
            "A410": "other",
        },
    ),
    Column("amount_dm"),
    Column(
        "savings",
        {
            "A61": "below 100 DM",
            "A62": "100 to 499 DM",
            "A63": "500 to 999 DM",
            "A64": "1000 DM or more",
            "A65": "unknown or none",
        },
    ),
    Column(
        "employment_since",
        {
            "A71": "unemployed",
            "A72": "below 1 year",
            "A73": "1 to below 4 years",
            "A74": "4 to below 7 years",
            "A75": "7 years or more",
        },
    ),
    Column("installment_rate"),
    Column(
        "personal_status_sex",
        {
            "A91": "male divorced or separated",
            "A92": "female divorced or separated or married",
            "A93": "male single",
            "A94": "male married or widowed",
            "A95": "female single",
        },
    ),
    Column("other_debtors", {"A101": "none", "A102": "co-applicant", "A103": "guarantor"}),
    Column("residence_since"),
    Column(
        "property",
        {
            "A121": "real estate",
            "A122": "building society savings or life insurance",
            "A123": "car or other",
            "A124": "unknown or none",
        },
    ),
    Column("age_years"),
    Column("other_installment_plans", {"A141": "bank", "A142": "stores", "A143": "none"}),
    Column("housing", {"A151": "rent", "A152": "own", "A153": "for free"}),
    Column("existing_credits"),
    Column(
        "job",
        {
            "A171": "unemployed or unskilled non-resident",
            "A172": "unskilled resident",
            "A173": "skilled employee or official",
            "A174": "management or self-employed or highly qualified",
        },
    ),
    Column("people_liable"),
    Column("telephone", {"A191": "none", "A192": "registered"}),
    Column("foreign_worker", {"A201": "yes", "A202": "no"}),
    Column("default", {"1": "0", "2": "1"}),
)


# --- Triage, from BANKING77 ----


def triage_rows(source: Path) -> list[Row]:
    """The messages of one official BANKING77 file, with each run of white space made one space."""
    with source.open(encoding="utf-8", newline="") as file:
        return [{"text": " ".join(row["text"].split()), "label": row["category"]} for row in csv.DictReader(file)]


# --- Clauses, from CUAD ----


def test_contracts(contracts: Iterable[str]) -> list[str]:
    """The fifth of the contracts whose seeded hash is lowest: one more contract moves no other but the marginal one."""

    def draw(contract: str) -> str:
        return hashlib.sha256(f"{SEED}:{contract}".encode()).hexdigest()

    ranked = sorted(set(contracts), key=draw)
    return sorted(ranked[: round(TEST_SHARE * len(ranked))])


def folded(text: str) -> str:
    """The text in lower case, with everything that is neither letter nor digit made one space."""
    return " ".join(re.findall(r"[^\W_]+", text.lower()))


def one_row_per_text(clauses: Iterable[Row]) -> list[Row]:
    """Each text once, with every type that the lawyers gave it; `contract` is the first to contain it."""
    merged: dict[object, Row] = {}
    for clause in clauses:
        row = merged.setdefault(
            clause["text"], {"text": clause["text"], "label": "", "labels": [], "contract": clause["contract"]}
        )
        labels = row["labels"]
        if isinstance(labels, list) and clause["category"] not in labels:
            labels.append(clause["category"])
    return list(merged.values())


def with_main_label(rows: Iterable[Row], commonness: Mapping[object, int]) -> list[Row]:
    """Each row with its `labels` sorted from the rarest type, which says most and becomes `label`, to the commonest."""
    done: list[Row] = []
    for row in rows:
        labels = row["labels"]
        ranked = sorted(labels, key=lambda label: (commonness[label], label)) if isinstance(labels, list) else []
        done.append(row | {"label": ranked[0], "labels": ranked})
    return done


def unseen(rows: Iterable[Row], seen: Iterable[Row]) -> list[Row]:
    """The rows whose folded text does not occur among the folded texts of `seen`."""
    seen_texts = {folded(str(row["text"])) for row in seen}
    return [row for row in rows if folded(str(row["text"])) not in seen_texts]


def clause_rows(source: Path) -> tuple[list[Row], list[Row], Row]:
    """CUAD as (train, test, description of the split): split by contract, and no test text occurs in train."""
    with source.open(encoding="utf-8") as file:
        clauses: list[Row] = [json.loads(line) for line in file]
    contracts = sorted({str(clause["contract"]) for clause in clauses})
    held_out = test_contracts(contracts)
    train = [clause for clause in clauses if clause["contract"] not in set(held_out)]
    commonness = Counter(clause["category"] for clause in train)
    train_rows = with_main_label(one_row_per_text(train), commonness)
    all_test_rows = one_row_per_text(clause for clause in clauses if clause["contract"] in set(held_out))
    test_rows = with_main_label(unseen(all_test_rows, train_rows), commonness)
    split: Row = {
        "method": f"a contract is test when sha256('{SEED}:' + name) is among the lowest {TEST_SHARE:.0%}",
        "seed": SEED,
        "dropped_test_texts": len(all_test_rows) - len(test_rows),
        "dropped_because": "the text, case and punctuation aside, also occurs in a train contract",
        "train": [contract for contract in contracts if contract not in set(held_out)],
        "test": held_out,
    }
    return train_rows, test_rows, split


# --- Underwriting, from Statlog German Credit ----


def applicant_rows(source: Path) -> list[Row]:
    """The applicants under readable names and values; `default` is 1 for a bad credit. Numbers stay as they are."""
    with source.open(encoding="ascii", newline="") as file:
        applicants = [line.split() for line in file if line.strip()]
    return [
        {
            column.name: column.codes[value] if column.codes else value
            for column, value in zip(STATLOG_COLUMNS, values, strict=True)
        }
        for values in applicants
    ]


# --- Files ----


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as CSV: UTF-8, a header, quotes only where needed, one line feed a line."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_jsonl(path: Path, rows: Iterable[Row]) -> None:
    """Write one JSON object a line, in readable UTF-8."""
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


def make(data: Path, out: Path) -> None:
    """Write the example's six files to `out` from the originals under `data`."""
    out.mkdir(parents=True, exist_ok=True)
    for part in ("train", "test"):
        write_csv(out / f"triage.{part}.csv", triage_rows(data / "banking77" / f"{part}.csv"))
    train, test, split = clause_rows(data / "cuad" / "clauses.jsonl")
    write_jsonl(out / "clauses.train.jsonl", train)
    write_jsonl(out / "clauses.test.jsonl", test)
    split_text = json.dumps(split, ensure_ascii=False, indent=1) + "\n"
    (out / "clauses.split.json").write_text(split_text, encoding="utf-8", newline="\n")
    write_csv(out / "underwriting.csv", applicant_rows(data / "german_credit" / "german.data"))


def main() -> int:
    """Read the command line, make the files and say what was written."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("COTERIE_DATA"), help="default: $COTERIE_DATA")
    parser.add_argument("--out", type=Path, default=OUT, help="default: examples/lender/data")
    options = parser.parse_args()
    if options.data is None or not options.data.is_dir():
        print(
            f"no data folder at {str(options.data)!r}: set COTERIE_DATA; NOTICE says where the originals are",
            file=sys.stderr,
        )
        return 2
    make(options.data, options.out)
    for path in sorted(options.out.glob("[tcu]*.*")):
        print(f"{path.stat().st_size:>9,} {path.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
