"""Rightsizing in the browser: measure the rungs on an uploaded file, then make it a specialist."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from starlette.responses import Response

from coterie.console.visits import Visit, chosen
from coterie.errors import InputError
from coterie.reports.pages import Axis, Chart
from coterie.runtime.files import write_new
from coterie.tasks.contract import TASK_TYPES

_UPLOADS = Path("state", "console", "uploads")
_SUFFIXES = (".csv", ".jsonl", ".json")
_FILE = re.compile(r"[0-9a-f]{8}-[^/\\\x00]{1,120}")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_COLUMNS = ("text_column", "label_column", "target_column")
_TASKS = ("classify", "pairs", "score", "extract")


async def show_rightsizing(visit: Visit) -> Response:
    """Show the form, and earlier jobs."""
    jobs = await visit.aside(visit.console.jobs.list)
    tasks = [(name, _about(name)) for name in _TASKS]
    return await visit.page(
        "rightsizing.html.j2", title="Right-sizing", jobs=jobs, tasks=tasks, now=visit.gateway.network.clock()
    )


def _about(task: str) -> str:
    return (TASK_TYPES.load(task).__doc__ or task).splitlines()[0]


async def start(visit: Visit) -> Response:
    """Store the file and measure every rung on it, or make it a specialist at once."""
    task = chosen(visit.value("task", "classify"), _TASKS, "The task")
    file = await visit.aside(_keep, visit)
    if visit.value("then") == "train":
        return await _train(visit, file, task)
    await visit.log("rightsize", file=file.split("-", 1)[1], task=task)
    options = _options(visit, task)
    path = str((visit.folder / _UPLOADS / file).absolute())
    job = await visit.console.jobs.start(
        "rightsize", file, [["rightsize", path, "--task", task, *options, "--json"]], key=visit.caller.key_id
    )
    return visit.go(f"jobs/{job}")


def _options(visit: Visit, task: str) -> list[str]:
    """Return the form's command options: names of columns, and the bar."""
    arguments = []
    for name in _COLUMNS:
        if visit.value(name):
            arguments += [f"--{name.replace('_', '-')}", visit.value(name)]
    if visit.value("bar"):
        measure = {"score": "auc"}.get(task, "accuracy")
        arguments += ["--bar", f"{measure}={_share(visit.value('bar'))}"]
    return arguments


def _given(command: Sequence[str]) -> dict[str, str]:
    """Return the options made by `_options` as fields of a form."""
    pairs = dict(pairwise(command))
    given_values = {
        name: pairs[f"--{name.replace('_', '-')}"] for name in _COLUMNS if f"--{name.replace('_', '-')}" in pairs
    }
    return given_values | ({"bar": pairs["--bar"].partition("=")[2]} if "--bar" in pairs else {})


def _share(text: str) -> float:
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 < value <= 1:
        raise InputError(f"The bar was {text[:40]!r}.", hint="Give a share between 0 and 1, such as 0.9 or 90%.")
    return value


def _keep(visit: Visit) -> str:
    """Write the uploaded file into the network's folder and return its name."""
    file = visit.files.get("file")
    if file is None or not file.content.strip():
        raise InputError("No file was sent, or an empty one.", hint="Choose a CSV or JSONL file.")
    name = re.sub(r"[^\w.-]+", "_", file.name)[-100:]
    if not name.lower().endswith(_SUFFIXES):
        raise InputError(f"The file is {file.name[:100]!r}.", hint=f"Send one that ends in {', '.join(_SUFFIXES)}.")
    folder = visit.folder / _UPLOADS
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    kept = f"{secrets.token_hex(4)}-{name}"
    write_new(folder / kept, file.content, mode=0o600)
    return kept


async def add(visit: Visit) -> Response:
    """Make a measured file a specialist."""
    file = visit.value("file")
    if not _FILE.fullmatch(file) or not (visit.folder / _UPLOADS / file).is_file():
        raise InputError(f"There is no file {file[:80]!r}.", hint="Send it again.")
    return await _train(visit, file, chosen(visit.value("task", "classify"), _TASKS, "The task"))


async def _train(visit: Visit, file: str, task: str) -> Response:
    """Add a specialist with the file as its data, and train it."""
    name, description = visit.value("name"), visit.value("description")
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name[:80]!r} is no name for a specialist.",
            hint="It takes a small letter, then letters, digits, - or _, at most 63.",
        )
    if name in visit.config.specialists:
        raise InputError(f"There is a specialist {name!r} already.", hint="Choose another name.")
    path = str(await visit.aside(_as_data, visit.folder, file, name))
    about = ["--description", description] if description else []
    await visit.log("add", name=name, task=task, file=file.split("-", 1)[1])
    commands = [
        ["add", name, "--task", task, "--data", path, *about, *_options(visit, task), "--json"],
        ["train", name, "--json"],
    ]
    job = await visit.console.jobs.start("train", name, commands, key=visit.caller.key_id, reopens=True)
    return visit.go(f"jobs/{job}")


def _as_data(folder: Path, file: str, name: str) -> Path:
    """Copy the file to the network's data, under the specialist's name. Raises `InputError` if the name is in use."""
    content = (folder / _UPLOADS / file).read_bytes()
    target = (folder / "data" / f"{name}{Path(file).suffix.lower()}").absolute()
    if target.exists():
        if target.read_bytes() != content:
            raise InputError(f"There is another file {target.name!r} already.", hint="Choose another name.")
    else:
        target.parent.mkdir(exist_ok=True)
        write_new(target, content, mode=0o600)
    return target


# --- Watching.


async def show_job(visit: Visit) -> Response:
    """Show the progress of a job, or its result when it is done."""
    jobs = visit.console.jobs
    job = await visit.aside(jobs.show, visit.http.path_params["id"])
    result = await visit.aside(jobs.result, job.id) if job.state == "done" else None
    template = "part_job.html.j2" if visit.wants_part else "job.html.j2"
    shown: dict[str, Any] = {"verdict": None, "trained": None, "given": _given(job.command)}
    if isinstance(result, dict) and job.kind == "rightsize":
        shown["verdict"] = result
        shown["graph"] = await visit.aside(_graph, result)
    elif isinstance(result, dict):
        shown["trained"] = (result.get("specialists") or {}).get(job.name)
    return await visit.page(
        template, title=f"{job.kind} {job.name}", job=job, now=visit.gateway.network.clock(), **{"graph": None, **shown}
    )


async def stop_job(visit: Visit) -> Response:
    """Stop a job."""
    job = visit.http.path_params["id"]
    await visit.aside(visit.console.jobs.show, job)
    await visit.console.jobs.stop(job)
    await visit.log("stop_job", job=job)
    return visit.go(f"jobs/{job}")


def _graph(result: Mapping[str, Any]) -> object:
    """Draw quality against money, each rung a dot with its interval; None where no cost is known."""
    measure = str(result["measure"])
    points = []
    rows: Sequence[Mapping[str, Any]] = [*result.get("rungs", ()), *([result["large"]] if result.get("large") else [])]
    for row in rows:
        per = row.get("per_1000") or {}
        money = per.get("money") if per.get("money") else per.get("joules")
        if money and row.get(measure) is not None:
            points.append((float(money), float(row[measure]), row.get("interval"), row.get("rung") or row.get("name")))
    if len(points) < 2:
        return None
    priced = bool((rows[0].get("per_1000") or {}).get("money"))
    low = min([p[1] for p in points] + [p[2][0] for p in points if p[2]])
    chart = Chart(
        x=Axis(
            title="money per 1,000 requests" if priced else "joules per 1,000 requests",
            low=min(p[0] for p in points) / 2,
            high=max(p[0] for p in points) * 2,
            log=True,
            show="{:.2g}".format,
        ),
        y=Axis(title=measure, low=max(0.0, low - 0.05), high=1.0, show="{:.0%}".format),
        description=f"{measure} of each rung against what 1,000 requests cost",
    )
    for at, (money, value, interval, name) in enumerate(points):
        if interval:
            chart.bar(money, interval[0], interval[1], f"c{at % 5}")
        chart.dot(money, value, f"c{at % 5}", title=f"{name}: {value:.3f}")
        chart.label(money, value, str(name), f"c{at % 5}")
    return chart.render()
