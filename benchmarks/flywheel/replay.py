"""Thirty simulated days of calls through the flywheel of the product: capture to champion, and an alarm.

    COTERIE_DATA=... python benchmarks/flywheel/replay.py --state FOLDER --minutes 8     # again, until it says so

The calls are those of `run.py`, mixed and spread over the days, each answered by a teacher: gold, 10% random slips,
`recorded` (what GPT-5.2, GPT-5-mini and Claude 4.5 Sonnet answered to other rows of the same true label) or
systematically wrong (a third of its labels are always another one), with 3% malformed answers in all. They go through
`LiveFlywheel` as a request does, with a clock of the simulation; each evening a reviewer (gold, 3% slips) answers what
the queue asks, one item of each job in turn, and `FlywheelRunner` runs once. Nothing is scripted beyond that. The
vectors of texts are kept, so that each is encoded once; no time is measured but the CPU time of the runs.

Beside the share that is saved stand two that look at the truth: what the same specialists could answer of the last
days' calls without loss, from the best threshold of each (`threshold`) and through a gate that knows each single answer
(`each answer`). `not_local_last_day` says why calls went to the model, `where_last_day` of which job.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import gzip
import json
import os
import pickle
import random
import shutil
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from _vectors import RememberingEncoder
from run import SHARED, read_jobs, wordings

from _record import Bar, Record, arguments
from coterie.assembly import deployment_loader
from coterie.config.file import parse_config
from coterie.flywheel.deployments import LIVE, Deployments
from coterie.flywheel.discovery import fold
from coterie.flywheel.live import EnteredCall, LiveFlywheel
from coterie.flywheel.overview import deployment_views, job_views
from coterie.flywheel.review import ReviewQueue
from coterie.flywheel.runs import FlywheelRunner
from coterie.privacy.patterns import PatternDetector
from coterie.store.sqlite import SQLiteStore
from coterie.testing import FakeClock
from coterie.types import SYSTEM, ContextView, Label, Principal, Task

CLAIM = "Specialists take over captured calls within a month, few labels and minutes of CPU, and cost no accuracy."
DAY = 86_400.0
AT_A_TIME = 5
"""Items of a job that the reviewer takes before those of the next."""
SHOWN = ("rows", "accepts", "rung", "coverage", "disagreement", "judged", "wins", "losses", "not_worse", "frozen_rows")
_KEPT = ("gold", "days", "promoted", "labels", "purposes", "steps", "cpu", "draw", "recent")
LAST = 3
"""Days whose calls the ceilings are of."""
Call = tuple[str, str, str, list[dict[str, str]]]
SIZES = {"triage": 8, "clauses": 4, "headlines": 6, "travel": 4, "chat": 2}
TEACHERS = {"triage": "gold", "clauses": "gold", "headlines": "random", "travel": "systematic", "chat": "gold"}
KINDS = ("gold", "random", "systematic", "recorded")
RECORDED: dict[str, list[str]] = {}
"""What the recorded models answered, by the true label."""
CONFIG = """
[models.large]
engine = "openai"
name = "large"
base_url = "http://127.0.0.1:9/v1"
[capture]
enabled = true
[flywheel]
audits = 20
"""


def teach(answer: str, job: str, labels: list[str], draw: random.Random) -> str:
    """What the teacher of a job says where gold says something."""
    if draw.random() < 0.03:
        return draw.choice(["I am not sure, could you rephrase?", f"The answer could be {answer} or something else."])
    kind = TEACHERS[job]
    if kind == "recorded":
        return draw.choice(RECORDED.get(answer) or [answer])
    if kind == "random" and draw.random() < 0.1:
        return draw.choice(labels)
    if kind == "systematic":
        index = labels.index(answer)
        return labels[(index + 1) % len(labels)] if index % 3 == 0 else answer
    return answer


def spread(rows: dict[str, Any], calls: int, seed: int) -> list[Call]:
    """Job, gold answer, teacher's answer and messages of each call, in order."""
    draw = random.Random(seed)  # noqa: S311 - draws no secret
    prompts = wordings({"triage": [], "travel": [], "clauses": [], **rows}, draw)
    names = {job: sorted({answer for _, answer in some}) for job, some in rows.items()}
    spread_calls = []
    for number in range(calls):
        job = draw.choices(list(rows), weights=[SIZES[name] for name in rows])[0]
        text, gold = draw.choice(rows[job])
        if draw.random() < 0.05:
            text += f" Write to ann.berg{number}@example.com."
        plain = job == "chat" or draw.random() < 0.05
        prompt = text if plain else draw.choice(prompts[job])(text)
        answer = teach(gold, job, names[job], draw) if gold else f"free {number} {text}"
        if draw.random() < 0.1:
            answer = draw.choice([answer.upper(), f'"{answer}"', f"{answer}."])
        messages = [{"role": "system", "content": SHARED}] if job in {"triage", "travel", "chat"} else []
        spread_calls.append((job, gold, answer, [*messages, {"role": "user", "content": prompt}]))
    return spread_calls


def read_recorded() -> None:
    """Read what three models answered to BANKING77's messages, as answers of that label's calls."""
    folder = Path(os.environ["COTERIE_DATA"], "reading", "llm_answers", "banking77_llm")
    for path in sorted(folder.glob("Banking77_Eval_*.csv.gz")):
        with gzip.open(path, "rt", encoding="utf-8", errors="replace", newline="") as file:
            for row in csv.DictReader(file):
                gold = next(value for key, value in row.items() if "gold" in key.lower())
                predicted = next(value for key, value in row.items() if "pred" in key.lower())
                RECORDED.setdefault(gold, []).append(predicted or "")


class Replay:
    """One month."""

    def __init__(self, folder: Path, store: SQLiteStore, encoder: RememberingEncoder, seed: int) -> None:
        """Open a network's folder without a server."""
        self.config = parse_config(CONFIG)
        self.clock = FakeClock(1_700_000_000.0)
        self.books = Deployments(store=store.flywheel, clock=self.clock)
        load = deployment_loader(self.config, folder, encoder)
        self.runner = FlywheelRunner(
            books=self.books, config=self.config, folder=folder, load=load, encoder=encoder, owner="replay"
        )
        self.live = LiveFlywheel(
            books=self.books,
            section=self.config.flywheel,
            capture=self.config.capture,
            detector=PatternDetector(),
            load=load,
            secret=b"benchmark",
        )
        self.draw = random.Random(seed + 1)  # noqa: S311 - draws no secret
        self.gold: dict[str, tuple[str, str, str]] = {}
        self.days: list[dict[str, Any]] = []
        self.promoted: dict[str, dict[str, float]] = {}
        self.labels: Counter[str] = Counter()
        self.purposes: Counter[str] = Counter()
        self.steps: list[dict[str, Any]] = []
        self.cpu = 0.0
        self.recent: list[tuple[str, str, str, str, str, str]] = []
        """Of the last days: true job, gold, the model's answer, the job it was counted to, its input, and why it was
        not answered locally (empty if it was)."""

    def keep(self, path: Path) -> None:
        """Write down how far it is."""
        kept = {name: getattr(self, name) for name in _KEPT}
        path.write_bytes(pickle.dumps({**kept, "now": self.clock()}))

    def go_on(self, path: Path) -> None:
        """Go on from there."""
        if path.is_file():
            state = pickle.loads(path.read_bytes())  # noqa: S301 - our own file
            for name in _KEPT:
                setattr(self, name, state[name])
            self.clock.advance(state["now"] - self.clock())

    async def ask(self, number: int, call: Call, day: Counter[str]) -> None:
        """Send one call the way of a request."""
        job, gold, answer, messages = call
        key = f"r{number:06d}"
        self.gold[key] = job, gold, answer
        entered = self.live.enter(
            trace_id=key,
            time=self.clock(),
            path="/chat/completions",
            content={"messages": messages, "user": f"u{number % 300}"},
            model="large",
            principal=Principal(tenant="default", clearance=Label.RESTRICTED),
            label=Label.INTERNAL,
        )
        finding = None if entered is None else await self.live.answer(entered, call=SYSTEM)
        shown = answer if finding is None else str(finding.value)
        if entered is not None:
            cost = 0.0 if finding is not None else 0.001
            self.live.leave(entered, shown, model="" if finding is not None else "large", cost=cost)
        if job != "chat":
            why = self._why(entered) if finding is None else ""
            self.recent.append((job, gold, answer, *self._counted(entered), why))
            day[f"why {why}"] += finding is None
            day["coverable"] += 1
            day["local"] += finding is not None
            day["right"] += fold(shown) == fold(gold)
            day["teacher_right"] += fold(answer) == fold(gold)
            day[f"local {job}"] += finding is not None
            day[f"calls {job}"] += 1

    @staticmethod
    def _counted(entered: EnteredCall | None) -> tuple[str, str]:
        return ("", "") if entered is None else (entered.example.job, entered.raw_input)

    def _why(self, entered: EnteredCall | None) -> str:
        """Why a call was not answered locally, if it was not."""
        if entered is None or not entered.example.job:
            return "no job recognised"
        if entered.arm is None:
            return "control or canary" if any(other.deployment.serves for other in entered.others) else "nobody serves"
        return "failed" if entered.found is None else entered.found.reason.code

    async def ceilings(self) -> dict[str, Any]:
        """What the specialists that serve, or else the newest, could answer of the last days' calls without loss."""
        ours: dict[str, list[tuple[float, int, int]]] = defaultdict(list)
        names: dict[str, str] = {}
        for job in await self.books.jobs():
            lanes = [deployment for deployment in await self.books.deployments(job.id) if deployment.state in LIVE]
            lane = max(
                lanes,
                key=lambda deployment: (deployment.serves, deployment.state == "champion", deployment.created),
                default=None,
            )
            if lane is None:
                continue
            names[job.id] = lane.id
            specialist = await self.runner.load(job, lane)
            for true, gold, shown, counted, text, *_ in self.recent:
                if counted == job.id:
                    task = Task(text=text, acceptance_override=lane.acceptance)
                    finding = await specialist.consult(task, ContextView(), call=SYSTEM)
                    value = finding.value if isinstance(finding.value, str) else finding.text
                    right = int(fold(value) == fold(gold)), int(fold(shown) == fold(gold))
                    ours[true].append((finding.confidence, *right))
        calls = Counter(call[0] for call in self.recent)
        by_job: dict[str, Any] = {"calls": len(self.recent)}
        for job, rows in ours.items():
            table = np.array(sorted(rows, reverse=True))  # (N, 3): the surest first
            lost = np.cumsum(table[:, 2] - table[:, 1])
            free = np.flatnonzero(lost <= 0)
            by_job[job] = {
                "threshold": float((free[-1] + 1 if len(free) else 0) / calls[job]),
                "each answer": float((table[:, 1] >= table[:, 2]).sum() / calls[job]),
                "recognised": len(rows) / calls[job],
                "specialist right": float(table[:, 1].mean()),
                "model right": float(table[:, 2].mean()),
            }
        for kind in ("threshold", "each answer"):
            whole = sum(figures[kind] * calls[job] for job, figures in by_job.items() if job in calls)
            by_job[kind] = whole / max(1, len(self.recent))
        return by_job

    def where(self, calls: int, ceilings: dict[str, Any]) -> dict[str, dict[str, float]]:
        """Return where the last calls went, by job, as shares of all of them: they add up to 1.

        What was below the threshold is `too careful` as far as the serving version would have answered it without loss
        from the best threshold of the last days, and `not as well` beyond: from none that version is as good there.
        """
        by_job: dict[str, Counter[str]] = {}
        for true in dict.fromkeys(call[0] for call in self.recent[-calls:]):
            rows = [call for call in self.recent[-calls:] if call[0] == true]
            home = Counter(row[3] for row in rows if row[3]).most_common(1)[0][0]
            ways = Counter("local" if not why else why if job == home else "no template" for *_, job, _, why in rows)
            below = ways.pop("abstain.below_override", 0)
            able = ceilings.get(true, {}).get("threshold", 0.0) * (1 - self.config.flywheel.control) * len(rows)
            ways["too careful"] = round(min(below, max(0.0, able - ways["local"])))
            ways["not as well"] = below - ways["too careful"]
            by_job[true] = ways
        return {job: {way: n / calls for way, n in ways.items() if n} for job, ways in by_job.items()}

    async def review(self) -> None:
        """Answer what is asked, some items at a time of the job whose labels are worth most; noise comes last."""
        queue = ReviewQueue(self.books, self.config.flywheel)
        jobs = {job.id: job for job in await self.books.jobs() if job.labels and not job.ignored}
        for passed_over in ({"margin", "doubt"}, {"margin"}):
            waiting = dict(jobs)
            while waiting:
                worth = next((entry.job for entry in await queue.worth() if entry.job in waiting), next(iter(waiting)))
                job = waiting[worth]
                items = await queue.upcoming(job.id, AT_A_TIME, reviewer="reviewer")
                end = next((n for n, item in enumerate(items) if item.purpose in passed_over), len(items))
                for item in items[:end]:
                    truth = self.gold[item.example][1]
                    if self.draw.random() < 0.03:
                        truth = self.draw.choice(list(job.labels.values()))
                    await queue.answer(item.example, job.labels.get(fold(truth)), reviewer="reviewer")
                    self.labels[job.name] += 1
                    self.purposes[item.purpose] += 1
                if end < AT_A_TIME:
                    del waiting[worth]

    async def table(self) -> list[dict[str, Any]]:
        """Of each job that people can label: its deployments, how much they answer, and what each waits for."""
        names = {job.id: job.name for job in await self.books.jobs() if job.labels and not job.ignored}
        lanes = await deployment_views(self.books, self.config.flywheel)
        return [
            {
                "job": names[lane.job],
                "state": lane.state,
                "share": lane.share,
                "created": (lane.created - 1_700_000_000.0) / DAY,
                "covers": round(lane.evidence.coverage, 3),
                "judged": lane.evidence.judged,
                "compared": lane.evidence.compared,
                "won": lane.evidence.wins,
                "lost": lane.evidence.losses,
                "shown": round(lane.evidence.not_worse, 2),
                "waits": lane.why,
            }
            for lane in lanes
            if lane.state != "retired" and lane.job in names
        ]

    async def evening(self) -> None:
        """Let the reviewer answer, then run the flywheel."""
        await self.review()
        begun = time.process_time()
        report = await self.runner.run()
        self.cpu += time.process_time() - begun
        for step in report.steps:
            if step.done and step.kind in {"canary", "champion"} and step.job not in self.promoted:
                self.promoted[step.job] = {"labels": self.labels[step.job], "cpu_minutes": self.cpu / 60}
            if step.done and step.kind != "discover":
                self.steps.append({"day": len(self.days) + 1, "kind": step.kind, "job": step.job, "why": step.why})
                self.steps[-1]["figures"] = {k: v for k, v in step.figures.items() if k in SHOWN}
            print(f"  {step.kind} {step.job} {step.deployment} {step.why} {json.dumps(step.figures)}", flush=True)
        await self.live.follow()

    async def month(self, calls: list[Call], days: int, *, until: float, kept: Path, last_day: int) -> bool:
        """Spread the calls over the days, up to the last one; False if there was no time for all of them."""
        per_day = len(calls) // days
        for day in range(len(self.days), last_day):
            if time.monotonic() > until:
                return False
            counts: Counter[str] = Counter()
            self.recent = self.recent[-(LAST - 1) * per_day :]
            for index in range(per_day):
                number = day * per_day + index
                self.clock.advance(DAY / per_day)
                await self.ask(number, calls[number], counts)
                if index % 50 == 49:
                    await self.live.settle()
            await self.live.settle()
            begun = time.process_time()
            await self.evening()
            self.days.append({"day": day + 1, **counts, "waits": await self.table()})
            self.keep(kept)
            self.runner.encoder.save()  # type: ignore[union-attr]
            shares = {job: f"{counts[f'local {job}'] / max(1, counts[f'calls {job}']):.2f}" for job in SIZES}
            lost = (counts["teacher_right"] - counts["right"]) / max(1, counts["coverable"])
            took = time.process_time() - begun
            print(f"day {day + 1}: local {shares} lost {lost:+.4f} evening {took:.1f} s CPU", flush=True)
        return True


def planted(folder: Path) -> int:
    """How often a planted address stands in a file."""
    return sum(path.read_bytes().count(b"ann.berg") for path in folder.rglob("*") if path.is_file())


async def replay(rows: dict[str, Any], given: argparse.Namespace) -> dict[str, Any] | None:
    """Run a month and say what came of it; None if it is to be gone on with."""
    folder, kept = given.state / "network", given.state / "replay.pickle"
    until = time.monotonic() + 60 * given.minutes
    store = await SQLiteStore.open(folder / "db", session_days=30.0, keep_content=False)
    encoder = RememberingEncoder(given.vectors)
    month = Replay(folder, store, encoder, given.seed)
    month.go_on(kept)
    await month.live.open()
    try:
        calls = spread(rows, given.calls, given.seed)
        last_day = given.stop_after or given.days
        ended = await month.month(calls, given.days, until=until, kept=kept, last_day=last_day)
        await month.live.settle()
        views = await job_views(month.books, month.config.flywheel)
        lanes = await deployment_views(month.books, month.config.flywheel)
        states = {view.name: view.state for view in views}
        alarms = Counter(alarm.kind for alarm in await month.books.alarms())
        ceilings = await month.ceilings() if ended else {}
        where = month.where(month.days[-1]["coverable"], ceilings) if ended else {}
    finally:
        await month.live.close()
        await store.close()
        await encoder.close()
        encoder.save()
    if not ended:
        return None
    leaked = planted(folder)
    last = month.days[-1]
    whole: dict[str, float] = defaultdict(float)
    for day in month.days:
        for key in ("coverable", "right", "teacher_right", "local"):
            whole[key] += day.get(key, 0)
    return {
        "seed": given.seed,
        "calls": given.calls,
        "first_promotion": month.promoted,
        "labels": dict(month.labels),
        "cpu_minutes_of_runs": month.cpu / 60,
        "days_run": len(month.days),
        "saved_last_day": last.get("local", 0) / last["coverable"],
        "saved_last_week": sum(day.get("local", 0) for day in month.days[-7:])
        / sum(day["coverable"] for day in month.days[-7:]),
        "ceilings_last_days": ceilings,
        "where_last_day": where,
        "not_local_last_day": {
            key.removeprefix("why "): n / last["coverable"] for key, n in last.items() if key.startswith("why ") and n
        },
        "saved_whole": whole["local"] / whole["coverable"],
        "accuracy": whole["right"] / whole["coverable"],
        "accuracy_of_the_model": whole["teacher_right"] / whole["coverable"],
        "accuracy_last_day": last["right"] / last["coverable"],
        "accuracy_of_the_model_last_day": last["teacher_right"] / last["coverable"],
        "local_last_day": {job: last.get(f"local {job}", 0) / max(1, last.get(f"calls {job}", 0)) for job in rows},
        "jobs": states,
        "lanes": [
            {
                "job": lane.job_name,
                "state": lane.state,
                "created_day": (lane.created - 1_700_000_000.0) / DAY,
                "since_day": (lane.since - 1_700_000_000.0) / DAY,
                "compared": lane.evidence.compared,
                "coverage": lane.evidence.coverage,
                "judged": lane.evidence.judged,
                "not_worse": lane.evidence.not_worse,
            }
            for lane in lanes
        ],
        "steps": month.steps,
        "alarms": dict(alarms),
        "planted_personal_data_on_disk": leaked,
        "labels_by_purpose": dict(month.purposes),
        "days": [
            {
                "day": d["day"],
                "local": d.get("local", 0) / d["coverable"],
                "jobs": {job: [d.get(f"calls {job}", 0), d.get(f"local {job}", 0)] for job in rows if job != "chat"},
                "waits": d["waits"],
            }
            for d in month.days
        ],
    }


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--state", type=Path, required=True, help="folder that it goes on from")
    parser.add_argument("--vectors", type=Path, help="file that keeps the vectors of texts")
    parser.add_argument("--minutes", type=float, default=8.0, help="after so many no further day begins")
    parser.add_argument("--anew", action="store_true", help="begin with the first day")
    parser.add_argument("--jobs", nargs="+", default=list(SIZES), help="of these jobs alone")
    parser.add_argument(
        "--teacher", nargs="+", default=[], metavar="KIND|JOB=KIND", help=f"of all jobs, or of one: {', '.join(KINDS)}"
    )
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--stop-after", type=int, metavar="DAY", help="write down what was reached by this day")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    record = Record(claim=CLAIM, seeds=[given.seed])
    rows = {job: some for job, some in read_jobs(record).items() if job in given.jobs}
    for named in given.teacher:
        job, _, kind = named.rpartition("=")
        TEACHERS.update({job: kind} if job else dict.fromkeys(TEACHERS, kind))
    if "recorded" in TEACHERS.values():
        read_recorded()
    if given.anew:
        shutil.rmtree(given.state, ignore_errors=True)
    (given.state / "network").mkdir(parents=True, exist_ok=True)
    result = asyncio.run(replay(rows, given))
    if result is None:
        print("Not all days yet: run it again with the same arguments, without --anew.")
        return
    result["teachers"] = {job: TEACHERS[job] for job in rows}
    first = list(result["first_promotion"].values())
    record.figures = result
    lost = result["accuracy_of_the_model"] - result["accuracy"]
    bars: list[tuple[str, float | None, float, bool]] = [
        ("share of coverable calls saved on the last day", result["saved_last_day"], 0.8, False),
        ("accuracy on truth lost against the model alone", lost, 0.005, True),
        ("labels before the first canary", min((entry["labels"] for entry in first), default=None), 150, True),
        ("CPU minutes before it", min((entry["cpu_minutes"] for entry in first), default=None), 10, True),
        ("planted addresses on the disk", result["planted_personal_data_on_disk"], 0, True),
    ]
    record.bars = [Bar(what=what, measured=value, limit=limit, at_most=most) for what, value, limit, most in bars]
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()
