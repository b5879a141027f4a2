"""Compare the figures of the rebuilt system with those recorded before it, benchmark by benchmark.

    python benchmarks/rebuild/run.py AFTER --out benchmarks/rebuild/result.json   # AFTER has intents.json and others

Before is what commit a5755b5 has in each `benchmarks/<name>/result.json` (`git show`). After are result files of the
same commands, `<name>.json` in one folder. A figure counts as worse where it lies on the wrong side of the 95% interval
of the figure before: the recorded one, else Wilson's of a share of so many rows; a mean of draws has the spread of its
draws. Zero is zero: a count that must be 0 has no interval.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from math import sqrt
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
BEFORE = "a5755b5"
_OF_THE_RUN = frozenset(
    ["seconds", "ms", "milliseconds", "latency", "joules", "dollars", "1000", "cpu", "version", "again", "bytes"]
)
"""Words in the name of a figure that a second run changes."""


class Named(NamedTuple):
    """A figure that is compared."""

    path: str
    """Keys in `figures`, divided by `/`; `*` stands for each draw."""
    rows: str | int = 0
    """Rows it is a share of, or the path of their number; 0 where the file has an interval."""
    lower: bool = False
    """Less is better."""


def _rungs(base: str, names: Sequence[str], *rungs: str) -> list[Named]:
    return [Named(f"{base}{rung}/{name}", lower=name == "ece") for rung in rungs for name in names]


_TRAINED = ("accuracy", "coverage", "accepted_accuracy", "ece")
COMPARED: dict[str, list[Named]] = {
    "intents": [
        *_rungs("banking77/", _TRAINED, "lexical", "embedding"),
        *_rungs("clinc150/", (*_TRAINED, "oos_auroc"), "embedding"),
    ],
    "fewshot": [Named(f"{n} a label/by_draw/*/{rung}/accuracy") for n in (5, 10) for rung in ("lexical", "embedding")],
    "clauses": _rungs("", _TRAINED, "lexical", "embedding"),
    "entailment": [
        *_rungs("", _TRAINED, "lexical", "embedding"),
        Named("embedding/evidence/hit_rate", rows="embedding/evidence/rows"),
    ],
    "extract": [
        Named(f"{rung}/{name}", rows=rows, lower=name == "ece")
        for rung in ("lexical", "embedding")
        for name, rows in (("token_f1", 0), ("exact_f1", 0), ("coverage", 714), ("accepted_accuracy", 380), ("ece", 0))
    ],
    "answer": [
        Named(f"embedding/{words}/{name}")
        for words in ("seen", "new")
        for name in ("citation_precision", "coverage", "unanswerable_recall")
    ],
    "compound": [
        Named("compound/both_and_no_other", rows="compound/requests"),
        Named("single/right", rows="single/requests"),
        Named("single/false_split", rows="single/requests", lower=True),
        Named("out_of_scope/asked_somebody", rows="out_of_scope/requests", lower=True),
    ],
    "noise": [Named("all/flip_rate", rows="all/texts", lower=True)],
    "personal_data": [
        *(
            Named(f"names, {part}/exact/all/f1", rows=n)
            for part, n in (("generated_large", 966), ("synth_dataset_v2", 685))
        ),
        *(
            Named(f"names, {part}/exact/PERSON/recall", rows=n)
            for part, n in (("generated_large", 377), ("synth_dataset_v2", 266))
        ),
        Named("names, bank messages with a person found", rows=1027, lower=True),
    ],
    "scifact": [Named(f"modes/{mode}/ndcg@10") for mode in ("keyword", "vector", "hybrid", "rerank")],
}


def figure_of(figures: Any, path: str) -> Any:  # noqa: ANN401 - JSON
    """What stands at a path; None where nothing does."""
    for key in path.split("/"):
        figures = figures.get(key) if isinstance(figures, dict) else None
    return figures


def _drawn(before: Any, after: Any, path: str) -> list[tuple[str, float, float]]:  # noqa: ANN401 - JSON
    """Each draw that was measured again: its path, and the figure before and after."""
    head, _, tail = path.partition("/*/")
    drawn = []
    for draw, figures in (figure_of(after, head) or {}).items():
        whole = f"{head}/{draw}/{tail}"
        old, new = figure_of(before, whole), figure_of(figures, tail)
        again = figure_of(figures, f"{tail.rpartition('/')[0]}/again")
        if old is not None and new is not None and again != figure_of(before, f"{whole.rpartition('/')[0]}/again"):
            drawn.append((whole, float(old), float(new)))
    return drawn


def _spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean of draws, and how far two means of so many draws lie apart by chance, about."""
    mean = sum(values) / len(values)
    deviation = sqrt(sum((value - mean) ** 2 for value in values) / max(len(values) - 1, 1))
    return mean, 1.96 * deviation * sqrt(2 / len(values))


def _wilson(share: float, n: int) -> tuple[float, float]:
    z = 1.96
    centre, half = share + z * z / (2 * n), z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)


def interval_of(figures: Any, named: Named) -> tuple[float, float] | None:  # noqa: ANN401 - JSON
    """The 95% interval of a figure of before; None where it has none."""
    head, _, last = named.path.rpartition("/")
    for path in (f"{head}/intervals/{last}", f"{head}/interval"):
        interval = figure_of(figures, path)
        if isinstance(interval, list) and len(interval) == 2:
            return float(interval[0]), float(interval[1])
    rows = figure_of(figures, named.rows) if isinstance(named.rows, str) else named.rows
    return _wilson(float(figure_of(figures, named.path)), int(rows)) if rows else None


def compare(benchmark: str, before: Any, after: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - JSON
    """A row a figure that both files have."""
    for named in COMPARED.get(benchmark, []):
        name, interval = named.path.replace("/", " "), None
        if "*" in named.path:
            drawn = _drawn(before, after, named.path)
            if not drawn:
                continue
            name = named.path.replace("/by_draw/*/", f", {len(drawn)} draws, ").replace("/", " ")
            (old, half), (new, _) = _spread([figure[1] for figure in drawn]), _spread([figure[2] for figure in drawn])
            one = interval_of(before, Named(drawn[0][0])) if len(drawn) == 1 else None
            interval = one or (old - half, old + half)
        else:
            old, new = figure_of(before, named.path), figure_of(after, named.path)
            if not isinstance(old, int | float) or not isinstance(new, int | float):
                continue
            interval = interval_of(before, named)
        yield {
            "benchmark": benchmark,
            "figure": name.replace(", 1 draws,", ", 1 draw,"),
            "before": old,
            "interval": interval and [round(bound, 6) for bound in interval],
            "after": new,
            "verdict": _verdict(old, new, interval, lower=named.lower),
        }


def _verdict(old: float, new: float, interval: tuple[float, float] | None, *, lower: bool) -> str:
    if old == new:
        return "equal"
    if interval is None:
        return "better" if (new < old) is lower else "worse"
    low, high = interval
    if low <= new <= high:
        return "within noise"
    return "better" if (new < low) is lower else "worse"


def recorded(benchmark: str) -> dict[str, Any]:
    """The result file of before."""
    shown = subprocess.run(  # noqa: S603 - our own words
        ["git", "show", f"{BEFORE}:benchmarks/{benchmark}/result.json"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    document: dict[str, Any] = json.loads(shown.stdout)
    return document


def figures_in(content: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Every figure of a result with the path to it, but for those that each run changes."""
    if isinstance(content, dict | list):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield from figures_in(value, f"{name}/{key}")
    elif _OF_THE_RUN.isdisjoint(re.split(r"[^a-z0-9]+", name.lower())):
        yield name, content


def show_all(before: Path, after: Path) -> None:
    """Print each figure that differs."""
    was, now = (dict(figures_in(json.loads(path.read_text(encoding="utf-8"))["figures"])) for path in (before, after))
    names = list(dict.fromkeys([*was, *now]))
    differing = [name for name in names if was.get(name) != now.get(name)]
    print(f"{len(names)} figures, {len(differing)} differ")
    for name in differing:
        print(f"  {name}: {was.get(name)} -> {now.get(name)}")


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}".rstrip("0").rstrip(".")


def main() -> None:
    """Print the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("after", nargs="+", type=Path, help="the folder of result files; with --all two files")
    parser.add_argument("--all", action="store_true", help="every figure of two result files that differs")
    parser.add_argument("--out", type=Path, help="where the result is written")
    chosen = parser.parse_args()
    if chosen.all:
        show_all(*chosen.after)
        return
    rows, runs = [], {}
    for benchmark in COMPARED:
        path = chosen.after[0] / f"{benchmark}.json"
        if not path.is_file():
            continue
        before, after = recorded(benchmark), json.loads(path.read_text(encoding="utf-8"))
        rows += list(compare(benchmark, before["figures"], after["figures"]))
        runs[benchmark] = {key: after[key] for key in ("command", "date", "seeds", "machine", "data") if key in after}
    print("| benchmark | figure | before | 95% | now | verdict |\n| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        span = " to ".join(_shown(bound) for bound in row["interval"] or ())
        cells = (row["benchmark"], row["figure"], _shown(row["before"]), span, _shown(row["after"]), row["verdict"])
        print(f"| {' | '.join(cells)} |")
    if chosen.out:
        result = {
            "claim": "The rebuilt system answers no worse than the one before it.",
            "before": BEFORE,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "runs": runs,
            "rows": rows,
        }
        chosen.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
