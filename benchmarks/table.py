"""The result files as Markdown tables.

    python benchmarks/table.py            # the README's: specialist, GPT-4-turbo's published point, floor
    python benchmarks/table.py --claims   # claim, folder, bar, result
    python benchmarks/table.py --write    # the same, into benchmarks/README.md: a test compares the two

It prints what the result files say and computes nothing; a figure that is not there is a dash.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
PAGE = FOLDER / "README.md"
ORDER = (
    "intents",
    "fewshot",
    "german",
    "headlines",
    "clauses",
    "entailment",
    "extract",
    "answer",
    "everyday",
    "across",
    "tables",
    "wording",
    "drafts",
    "underwriting",
    "abstention",
    "scope",
    "routellm",
    "cascades",
    "live_cascade",
    "rung_chain",
    "headlines_cascade",
    "slm",
    "adapters",
    "prompted",
    "reply",
    "reply_tuned",
    "compound",
    "noise",
    "routers",
    "routing_scale",
    "latency",
    "scifact",
    "index",
    "postgres",
    "followups",
    "prefix",
    "sessions",
    "audit",
    "write_ahead",
    "budget",
    "energy",
    "fuzz",
    "hostile",
    "slow_clients",
    "soak",
    "personal_data",
    "names",
    "forms",
    "egress",
    "injection",
    "overhead",
    "few_rows",
    "rung_choice",
    "decisions",
    "structured",
    "tools",
    "relay",
    "mcp",
    "reading",
    "faithfulness",
    "scale_gateway",
    "plan",
    "workers",
    "web_page",
    "vllm",
    "ray",
    "bundle",
    "postgres_kills",
    "console",
    "flywheel",
    "rebuild",
)
NONE = "-"

Figures = Mapping[str, Any]
Row = Sequence[str]


def read_result(name: str) -> dict[str, Any] | None:
    """A benchmark's result file, None if it was never run."""
    path = FOLDER / name / "result.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


# --- The README's table --------------------------------------------------------------------------


def measured_rows() -> Iterator[Row]:
    """A row a job."""
    for title, name, pick in (
        ("Gold-price headlines, 4 classes", "headlines", lambda figures: figures),
        ("BANKING77, 77 intents", "intents", lambda figures: figures.get("banking77")),
        ("CLINC150, 150 intents", "intents", lambda figures: figures.get("clinc150")),
        ("CUAD clauses, 41 types, unseen contracts", "clauses", lambda figures: figures),
    ):
        result = read_result(name)
        if result and (figures := pick(result["figures"])):
            rungs = [rung for rung in ("embedding", "encoder") if rung in figures]
            for rung in rungs:
                yield _classify_row(f"{title}, {rung}" if len(rungs) > 1 else title, figures, rung)
    if result := read_result("underwriting"):
        yield _score_row(result["figures"])


def _classify_row(title: str, figures: Figures, rung: str) -> Row:
    ours = figures[rung]
    point = figures.get("published", {}).get("gpt-4-turbo")
    dollars = f"${ours['per_1000']['dollars']:.5f}"
    return (
        f"{title} ({ours['labelled']:,} test rows)",
        _with_interval(ours["accuracy"], ours["intervals"]["accuracy"]),
        _with_interval(figures["lexical"]["accuracy"], figures["lexical"]["intervals"]["accuracy"]),
        f"{point['accuracy']:.3f}" if point else NONE,
        f"{ours['coverage']:.0%} at {ours['accepted_accuracy']:.3f}",
        f"{ours['latency_ms']['p50']:.1f} ms",
        f"{dollars} against ${point['dollars_per_1000']:.2f}" if point else dollars,
        f"{ours['per_1000']['joules']:.0f} J",
    )


def _score_row(figures: Figures) -> Row:
    means = figures["summary"]
    seeds = figures["by_seed"]
    risk = max(next(iter(seeds.values()))["by_target_risk"], key=float)
    accepted = [run["by_target_risk"][risk]["accepted_accuracy"] for run in seeds.values()]
    share = means[f"coverage at {risk}"]["mean"]
    return (
        f"German credit, default, 10-fold AUC ({next(iter(seeds.values()))['n']:,} rows, {len(seeds)} fold seeds)",
        _with_interval(means["auc"]["mean"], _widest(run["intervals"]["auc"] for run in seeds.values())),
        _with_interval(means["floor_auc"]["mean"], _widest(run["floor"]["interval"] for run in seeds.values())),
        NONE,
        f"{share:.0%} at {sum(accepted) / len(accepted):.3f} (target risk {float(risk):.0%})"
        if all(accepted)
        else NONE,
        NONE,
        NONE,
        NONE,
    )


def _widest(intervals: Iterator[Sequence[float]]) -> list[float]:
    """From the lowest end to the highest: what no seed contradicts."""
    lows, highs = zip(*intervals, strict=True)
    return [min(lows), max(highs)]


def _with_interval(value: float, interval: Sequence[float]) -> str:
    return f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"


MEASURED = (
    "job",
    "specialist",
    "lexical floor",
    "GPT-4-turbo, published",
    "answered without escalation, accuracy of those",
    "p50",
    "money per 1,000",
    "energy per 1,000",
)


# --- The claims ----------------------------------------------------------------------------------


def claim_rows() -> Iterator[Row]:
    """A row a bar, and one for a benchmark without any."""
    for name in ORDER:
        folder = f"[`{name}`]({name})"
        result = read_result(name)
        if result is None or "figures" not in result:
            recorded = any((FOLDER / name).rglob("*.json"))
            yield (_heading(name), folder, NONE, "figures on its page" if recorded else "not run yet")
            continue
        bars = result.get("bars") or [None]
        for index, bar in enumerate(bars):
            claim = _claim(result, name) if index == 0 else ""
            yield (claim, folder if index == 0 else "", _bar(bar, name), _result(bar, name, result["figures"]))


def _claim(result: Figures, name: str) -> str:
    claim = str(result.get("claim", name))
    return _heading(name) if claim == name else claim


def _heading(name: str) -> str:
    """The first heading of a benchmark's page."""
    first = (FOLDER / name / "README.md").read_text(encoding="utf-8").splitlines()[0]
    return first.removeprefix("# ").removeprefix("Claim: ")


def _bar(bar: Figures | None, name: str) -> str:
    if bar is None and name in {"across", "drafts", "everyday", "tables", "wording"}:
        return "none"
    if bar is None:
        return "none: the floor is printed beside it"
    return f"{bar['what']} {'≤' if bar.get('at_most') else '≥'} {bar['limit']:g}"


def _shares(name: str, figures: Figures) -> str:
    if name == "tables":
        answered, right = (figures[key]["share"] for key in ("answered_of_stated", "right_of_stated"))
        return f"of what the tables state {answered:.2f} answered, {right:.2f} with the right row"
    if name == "across":
        right, wrong, refused = (figures[each] for each in ("right", "wrong", "refused"))
        return f"of {figures['answerable']} questions {right} right, {wrong} wrong, {refused} refused"
    if name == "drafts":
        others = figures["test"]["with_models"]["others"]
        return (
            f"of held-out sentences in five languages {others['wrong']:.2f} of the wrong ones passed, "
            f"{others['right']:.2f} of the right ones, {others['courtesy']:.2f} of the courtesies"
        )
    right, wrong = (figures["held_out"][f"{key}_ones_said"]["share"] for key in ("right", "wrong"))
    return f"of held-out sentences {wrong:.2f} of the wrong ones passed, {right:.2f} of the right ones"


def _result(bar: Figures | None, name: str, figures: Figures) -> str:
    if bar is None and name == "extract":
        means = figures["summary"]
        best = max((rung for rung in means if rung != "patterns"), key=lambda rung: means[rung]["token_f1"])
        return f"token F1 {means[best]['token_f1']:.3f} ({best}), patterns {means['patterns']['token_f1']:.3f}"
    if bar is None and name == "everyday":
        (answered, right), (also, rightly) = (
            [part[key]["share"] for key in ("answered_of_stated", "answered_rightly")]
            for part in (figures, figures["formats"])
        )
        return (
            f"{answered:.2f} of what is stated answered, {right:.2f} of the answers right; "
            f"of three documents with tables {also:.2f} and {rightly:.2f}"
        )
    if bar is None and name in {"across", "drafts", "tables", "wording"}:
        return _shares(name, figures)
    if bar is None:
        ours = figures.get("embedding") or figures.get("lexical")
        return (
            f"{ours['accuracy']:.3f}, floor {figures['lexical']['accuracy']:.3f}"
            if name == "clauses" and ours
            else NONE
        )
    if bar["measured"] is None:
        return "not measured"
    return f"{bar['measured']:.4g}, {'met' if bar['met'] else '**missed**'}"


CLAIMS = ("claim", "folder", "bar", "result")


def markdown(head: Row, rows: Iterator[Row]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def with_claims(page: str) -> str:
    """A page whose first table is that of the claims."""
    lines = page.splitlines()
    first = next(at for at, line in enumerate(lines) if line.startswith("|"))
    last = next(at for at in range(first, len(lines) + 1) if not "".join(lines[at : at + 1]).startswith("|"))
    return "\n".join([*lines[:first], markdown(CLAIMS, claim_rows()), *lines[last:]]) + "\n"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--claims", action="store_true")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    if given.write:
        PAGE.write_text(with_claims(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        return
    sys.stdout.write(markdown(CLAIMS, claim_rows()) if given.claims else markdown(MEASURED, measured_rows()))
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
