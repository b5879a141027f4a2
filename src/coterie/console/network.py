"""The network as a picture with live figures; a specialist with its versions and their reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from markdown_it import MarkdownIt
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from coterie.config.file import Config, RemoteModel
from coterie.config.specialists import SpecialistSection
from coterie.console.flywheel import books_of
from coterie.console.traffic import correctable, learn_corrections, waiting_corrections
from coterie.console.visits import Visit
from coterie.errors import CoterieError, InputError, UnknownSpecialist
from coterie.learning.dataset import Dataset, Row
from coterie.policy.cost_quality import CalibrationOutcomes
from coterie.registry.promotion import compare, headline, mapping, measures, promote_version, rung_row
from coterie.registry.registry import CANDIDATE, CHAMPION, Registry
from coterie.registry.version import Version
from coterie.tasks.contract import task_of
from coterie.types import LedgerRow, Totals, TotalsPart

_DAY, _WEEK = 86_400.0, 7 * 86_400.0
_BINS, _MOST_EXAMPLES, _MOST_LABELS = 10, 3, 200
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")


@dataclass(frozen=True, kw_only=True)
class PictureNode:
    """A node of the picture."""

    id: str
    kind: str
    """Kind of the node: `caller`, `router`, `specialist`, `index`, `model` or `remote`."""
    name: str
    note: str
    link: str = ""
    figure: str = ""
    """Figure of the node's volume in the last day."""
    health: str = ""
    """Health of the node.

    `good`, `warn` where most requests were not answered, or `bad` where it serves nothing; empty where it is unknown.
    """
    share: float = 0.0
    """The node's share of the last day's requests."""
    x: float = 0.0
    y: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Nodes in columns, edges between them, and the border of this machine."""

    nodes: tuple[PictureNode, ...]
    edges: tuple[tuple[str, str], ...]
    width: float
    height: float
    border: float | None
    """Horizontal position of the machine's border; None if all nodes are inside."""

    def at(self, node: str) -> PictureNode:
        """Return the node with this id."""
        return next(drawn for drawn in self.nodes if drawn.id == node)


NODE_WIDTH, NODE_HEIGHT, _GAP_X, _GAP_Y = 200.0, 66.0, 70.0, 16.0
_MOST_ABSTAINED = 0.5
"""Share of unanswered requests from which a specialist's health is `warn`."""


def draw(nodes: Sequence[PictureNode], edges: Sequence[tuple[str, str]]) -> Picture:
    """Arrange nodes in columns by kind, each column vertically centred."""
    order = ("caller", "router", "specialist", "inside", "remote")
    column = {"index": "inside", "model": "inside"}
    columns = [[n for n in nodes if column.get(n.kind, n.kind) == kind] for kind in order]
    columns = [column for column in columns if column]
    height = max(len(column) for column in columns) * (NODE_HEIGHT + _GAP_Y) + _GAP_Y
    placed = []
    border = None
    for at, column_nodes in enumerate(columns):
        if column_nodes[0].kind == "remote":
            border = at * (NODE_WIDTH + _GAP_X) - _GAP_X / 2
        whole = len(column_nodes) * (NODE_HEIGHT + _GAP_Y) - _GAP_Y
        for row, node in enumerate(column_nodes):
            y = (height - whole) / 2 + row * (NODE_HEIGHT + _GAP_Y)
            placed.append(PictureNode(**{**vars(node), "x": at * (NODE_WIDTH + _GAP_X) + 1, "y": y}))
    width = len(columns) * (NODE_WIDTH + _GAP_X) - _GAP_X + 2
    return Picture(nodes=tuple(placed), edges=tuple(edges), width=width, height=height, border=border)


_PARTS: Sequence[TotalsPart] = ("specialists", "models", "latencies")
_REFRESH, _AGAIN = 10.0, 1.0
"""Seconds for which figures fetched by a page, and totals of a loaded page, are reused."""


async def show_network(visit: Visit) -> Response:
    """Show the picture, with the volume and the health of the last day, and a table of the same.

    Open pages fetch new figures: all pages share what was made for one of them within ten seconds.
    """
    if visit.query("part") != "figures":
        return await visit.page("network.html.j2", title="Network", **await _shown(visit))
    caller = visit.caller
    key = ("figures", visit.base, caller.tenant, caller.specialists, caller.role)

    async def figures() -> bytes:
        return bytes((await visit.page("part_network.html.j2", title="Network", **await _shown(visit))).body)

    return HTMLResponse(await visit.console.shared.get(key, figures, seconds=_REFRESH))


async def _shown(visit: Visit) -> dict[str, Any]:
    """Return the values for the network's page."""
    network, config = visit.gateway.network, await visit.aside(lambda: visit.config)
    now = network.clock()
    whose = None if visit.may("metrics") else visit.caller.tenant

    async def totals_of() -> Totals:
        return await visit.reads.totals(since=now - _DAY, tenant=whose, hours=True, parts=_PARTS)

    totals = await visit.console.shared.get(("network", whose), totals_of, seconds=_AGAIN)
    waiting = [name for name in config.specialists if name not in network.specialists and visit.caller.sees(name)]
    deployed = await _deployed(visit)
    return {
        "cards": [s.card for name, s in sorted(network.specialists.items()) if visit.caller.sees(name)],
        "waiting": waiting,
        "deployed": deployed,
        "captures": network.flywheel is not None,
        "empty": is_empty(visit),
        "rows": {row.key: row for row in totals.specialists},
        "totals": totals,
        "picture": draw(*_picture(visit, config, totals, waiting, deployed)),
        "indexes": _indexes(visit, config),
        "models": config.models,
        "remote": {key for key, model in config.models.items() if isinstance(model, RemoteModel)},
        "generalist": config.generalist.model if config.generalist else "",
        "size": (NODE_WIDTH, NODE_HEIGHT),
        "now": now,
        "live": await visit.console.live.now(),
    }


async def _deployed(visit: Visit) -> Mapping[str, str]:
    """Return the specialists that the flywheel has put in the place of a model, with their version."""
    if visit.gateway.network.flywheel is None or not visit.may("metrics"):
        return {}
    serving = (deployment for deployment in await books_of(visit).deployments() if deployment.serves)
    return dict(sorted((deployment.specialist, deployment.version) for deployment in serving))


def is_empty(visit: Visit) -> bool:
    """Return whether nothing can answer yet: no specialist is trained, and there is no model."""
    network = visit.gateway.network
    return not network.specialists and not network.models and network.generalist is None


def _indexes(visit: Visit, config: Config) -> Mapping[str, Any]:
    return {
        name: section for name, section in config.knowledge.items() if section.tenant in {None, visit.caller.tenant}
    }


def _picture(
    visit: Visit, config: Config, totals: Totals, waiting: Sequence[str], deployed: Mapping[str, str]
) -> tuple[list[PictureNode], list[tuple[str, str]]]:
    """Return nodes and edges. Relayed requests, and those of deployments, go past the router."""
    all_requests = totals.total.requests
    nodes = [PictureNode(id="caller", kind="caller", name="Callers", note="HTTP, OpenAI, MCP", link="connect")]
    edges: list[tuple[str, str]] = []
    if visit.gateway.network.specialists or waiting or config.generalist is not None:
        figure = "" if deployed else _today(all_requests)
        nodes.append(PictureNode(id="router", kind="router", name="Router", note=config.router.kind, figure=figure))
        edges.append(("caller", "router"))
    indexes = _indexes(visit, config)
    rows = {row.key: row for row in totals.specialists}
    for name, specialist in sorted(visit.gateway.network.specialists.items()):
        if not visit.caller.sees(name):
            continue
        card = specialist.card
        nodes.append(_specialist_node(name, f"{card.task}, {card.rung}", rows.get(name), all_requests))
        edges.append(("router", f"s:{name}"))
        edges += [(f"s:{name}", f"k:{index}") for index in card.knowledge if index in indexes]
        asks = config.specialists[name].model if name in config.specialists else None
        if asks in config.models:
            edges.append((f"s:{name}", f"m:{asks}"))
    for name in deployed:
        node = _specialist_node(name, "deployed by the flywheel", rows.get(name), all_requests)
        nodes.append(replace(node, id=f"d:{name}", link="flywheel"))
        edges.append(("caller", f"d:{name}"))
    nodes += [
        PictureNode(
            id=f"s:{name}", kind="specialist", name=name, note="not trained", link=f"specialists/{name}", health="bad"
        )
        for name in waiting
    ]
    nodes += [
        PictureNode(
            id=f"k:{name}", kind="index", name=name, note=f"index, {index_card.label or config.network.default_label}"
        )
        for name, index_card in indexes.items()
    ]
    calls = {row.key: row.requests for row in totals.models}
    for name, model in config.models.items():
        sees = f"sees {model.clearance}" if isinstance(model, RemoteModel) else ""
        kind, note = ("remote", sees) if sees else ("model", "in this process")
        count = calls.get(name, 0)
        share = min(count / all_requests, 1.0) if all_requests else 0.0
        nodes.append(PictureNode(id=f"m:{name}", kind=kind, name=name, note=note, figure=_today(count), share=share))
    if config.generalist is not None and config.generalist.model in config.models:
        edges.append(("router", f"m:{config.generalist.model}"))
    edges += [
        ("caller", f"m:{name}")
        for name in config.models
        if calls.get(name) and not any(to == f"m:{name}" for _, to in edges)
    ]
    return nodes, edges


def _today(count: int) -> str:
    return f"{count:,} in 24 h" if count else ""


def _specialist_node(name: str, note: str, row: LedgerRow | None, all_requests: int) -> PictureNode:
    """Return the node of a serving specialist, with its volume and its share of answered requests."""
    node = PictureNode(id=f"s:{name}", kind="specialist", name=name, note=note, link=f"specialists/{name}")
    if row is None or not row.requests:
        return node
    answered = row.accepted / row.requests
    return replace(
        node,
        figure=f"{_today(row.requests)}, {answered:.0%} answered",
        health="good" if answered > 1 - _MOST_ABSTAINED else "warn",
        share=min(row.requests / all_requests, 1.0) if all_requests else 0.0,
    )


# --- A specialist.


async def show_specialist(visit: Visit) -> Response:
    """Show a specialist's versions, and the report of the serving one."""
    name = _seen(visit)
    return await _show(visit, name, await visit.aside(_standing, visit.registry, name))


async def show_version(visit: Visit) -> Response:
    """Show a specialist's versions, and the report of one of them."""
    name = _seen(visit)
    version = await visit.aside(visit.registry.resolve, name, visit.http.path_params["version"])
    return await _show(visit, name, version)


def _seen(visit: Visit) -> str:
    """Return the specialist in the URL. Raises `UnknownSpecialist`, also where the caller may not see it."""
    name: str = visit.http.path_params["name"]
    if name not in visit.config.specialists or not visit.caller.sees(name):
        visible = [specialist for specialist in visit.config.specialists if visit.caller.sees(specialist)]
        raise UnknownSpecialist(f"There is no specialist {name[:100]!r}; there are {visible}.", hint="See the network.")
    return name


def _standing(registry: Registry, name: str) -> str:
    """Return the serving version; empty where none serves."""
    return registry.alias(name, CHAMPION) or registry.alias(name, CANDIDATE) or ""


async def _show(visit: Visit, name: str, version: str) -> Response:
    now = visit.gateway.network.clock()
    whose = None if visit.may("metrics") else visit.caller.tenant
    totals = await visit.reads.totals(since=now - _WEEK, tenant=whose, parts=["specialists"], name=name)
    about = await visit.aside(_about, visit, name, version)
    return await visit.page(
        "specialist.html.j2",
        title=name,
        name=name,
        section_of=visit.config.specialists[name],
        row=next((row for row in totals.specialists if row.key == name), None),
        recent=totals.recent.get(name, ()),
        jobs=[job for job in await visit.aside(visit.console.jobs.list) if job.name == name][:5],
        serves=card_version(visit, name),
        now=now,
        corrections=await waiting_corrections(visit, name) if visit.may("manage") else [],
        correctable=correctable(visit.config.specialists[name]),
        **about,
    )


def card_version(visit: Visit, name: str) -> str:
    """Return the version that answers in this process; empty where none does."""
    specialist = visit.gateway.network.specialists.get(name)
    return "" if specialist is None else specialist.card.version


def _about(visit: Visit, name: str, version: str) -> dict[str, Any]:
    """Return the facts about a specialist from files; called in a thread."""
    registry = visit.registry
    champion, candidate = registry.alias(name, CHAMPION), registry.alias(name, CANDIDATE)
    versions = [_line(registry, name, version_id) for version_id in reversed(registry.versions(name))]
    loaded = registry.load(name, version) if version else None
    report: Mapping[str, Any] = loaded.report if loaded else {}
    other = None
    if loaded and champion and champion != version:
        with suppress(CoterieError):
            other = compare(registry.load(name, champion).report, report)
    may_see = visit.clearance is None or visit.clearance >= (
        visit.config.specialists[name].data_label or visit.config.network.default_label
    )
    rows = _measured_rows(visit, name, report) if may_see and report else ()
    return {
        "version": version,
        "champion": champion,
        "candidate": candidate,
        "versions": versions,
        "report": report,
        "measure": next(iter(measures(report)), None) if report else None,
        "figures": list(_figures(report)),
        "rungs": [rung for rung in report.get("rungs") or () if "held_out" in rung],
        "comparison": other,
        "calibration": _calibration(loaded),
        "wrong": _wrong_rows(rows, report),
        "confused": _confused(rows, report),
        "fairness": mapping(rung_row(report, report.get("rung")).get("fairness")),
        "proxies": mapping(rung_row(report, report.get("rung")).get("proxies")),
        "card": _card(loaded.files["card.md"].decode()) if loaded else "",
        "history": registry.history(name)[::-1][:50] if versions else (),
        "size": sum(map(len, loaded.files.values())) if loaded else 0,
        "signature": loaded.signature if loaded else None,
    }


@lru_cache(maxsize=64)
def _card(text: str) -> Markup:
    """Render a model card as HTML; HTML in the card is escaped."""
    return Markup(_MARKDOWN.render(_without_head(text)))  # noqa: S704 - see above


def _without_head(card: str) -> str:
    """Return a card without its metadata block."""
    return card.split("\n---\n", 1)[-1] if card.startswith("---\n") else card


def _line(registry: Registry, name: str, version: str) -> dict[str, Any]:
    """Return a version in one line, with its error if there is one."""
    line: dict[str, Any] = {"version": version, "stored": registry.added(name, version), "error": ""}
    try:
        report = registry.load(name, version).report
    except CoterieError as error:
        return line | {"error": error.message}
    return line | headline(report)


def _figures(report: Mapping[str, Any]) -> Iterator[tuple[str, float, tuple[float, float] | None]]:
    """Yield shares of the report with their intervals."""
    metrics = report.get("metrics") or {}
    intervals = metrics.get("intervals") or {}
    for key, value in metrics.items():
        if isinstance(value, float):
            yield key.replace("_", " "), value, tuple(intervals[key]) if intervals.get(key) else None


def _calibration(version: Version | None) -> dict[str, Any] | None:
    """Return reliability by tenths of the confidence, and the risk of accepted answers by coverage."""
    outcomes = None
    if version is not None:
        with suppress(LookupError, ValueError):
            outcomes = CalibrationOutcomes.from_files(version.files)
    if outcomes is None or not len(outcomes.right):
        return None
    order = np.argsort(-outcomes.confidence, kind="stable")
    wrong = np.cumsum(~outcomes.right[order])
    count = np.arange(1, len(order) + 1)
    steps = np.unique(np.linspace(1, len(order), min(len(order), 60)).astype(int)) - 1
    bins = np.minimum((outcomes.confidence * _BINS).astype(int), _BINS - 1)
    reliability = [
        (
            float(outcomes.confidence[bins == at].mean()),
            float(outcomes.right[bins == at].mean()),
            int((bins == at).sum()),
        )
        for at in range(_BINS)
        if (bins == at).any()
    ]
    return {
        "reliability": reliability,
        "risk": [(float(count[i] / len(order)), float(wrong[i] / count[i])) for i in steps],
        "rows": len(order),
        "points": [(confidence, right) for confidence, right, _ in reliability],
    }


def _measured_rows(visit: Visit, name: str, report: Mapping[str, Any]) -> Sequence[Row]:
    """Return the held-out rows that a version was measured on; empty if the file has changed since."""
    section = visit.config.specialists[name]
    about = (report.get("data") or {}).get("held_out") or {}
    if section.data is None:
        return ()
    try:
        file = visit.folder / (section.test or section.data)
        key = (str(file), file.stat().st_mtime_ns, section.model_dump_json())
        held_out = _held_out(_Source(key=key, section=section, folder=visit.folder, rows=about.get("rows")))
    except (CoterieError, OSError):
        return ()
    return held_out.rows if len(held_out) == about.get("rows") else ()


def _wrong_rows(rows: Sequence[Row], report: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return texts of wrongly answered rows, by label."""
    slices = report.get("slices") or {}
    texts_by_label: dict[str, list[str]] = {}
    by_label: dict[str, list[Row]] = {}
    for row in rows:
        for label in row.labels:
            by_label.setdefault(label, []).append(row)
    for label, slice_ in slices.items() if len(slices) <= _MOST_LABELS else ():
        if "right" not in slice_:
            continue
        of_label = by_label.get(label, [])
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(slice_["right"]), dtype=np.uint8))[: slice_["n"]]
        if len(of_label) == slice_["n"]:
            texts = [_text(row) for row, right in zip(of_label, bits, strict=True) if not right]
            texts_by_label[label] = texts[:_MOST_EXAMPLES]
    return {label: texts for label, texts in texts_by_label.items() if texts}


def _confused(rows: Sequence[Row], report: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], list[str]]]:
    """Return pairs of confused labels, with example texts."""
    pairs: Sequence[Mapping[str, Any]] = (report.get("metrics") or {}).get("confusions") or ()
    return [
        (
            pair,
            [_text(rows[n]) for n in pair.get("rows") or () if n < len(rows) and pair["label"] in rows[n].labels],
        )
        for pair in pairs
    ]


def _text(row: Row) -> str:
    """Return a row's text, else its columns."""
    text = row.text or ", ".join(f"{name} {value}" for name, value in row.columns.items())
    return text[:240]


@dataclass(frozen=True, kw_only=True)
class _Source:
    """The source of held-out rows; equal as long as the file and the section are."""

    key: tuple[str, int, str]
    section: SpecialistSection = field(compare=False)
    folder: Path = field(compare=False)
    rows: object = field(compare=False)


@lru_cache(maxsize=16)
def _held_out(source: _Source) -> Dataset:
    """Return the held-out rows that a version was measured on, if the file is unchanged. Raises `DataError`."""
    section, task = source.section, task_of(source.section)
    if section.test is not None:
        return task.read_rows(section, source.folder / section.test, for_evaluation=True)
    data = task.read_rows(section, source.folder / str(section.data))
    return data if len(data) == source.rows else task.divide(section, data)[1]


def _labels(row: Row) -> Sequence[str]:
    return row.labels


# --- What is done with it.


async def train(visit: Visit) -> Response:
    """Train a specialist, in a process beside the gateway."""
    name = _seen(visit)
    added = await learn_corrections(visit, name) if visit.value("corrections") else 0
    await visit.log("train", name=name, corrections=added)
    job = await visit.console.jobs.start(
        "train", name, [["train", name, "--json"]], key=visit.caller.key_id, reopens=True
    )
    return visit.go(f"jobs/{job}")


async def promote(visit: Visit) -> Response:
    """Promote a version, if it may serve; it serves from the next request on."""
    name, reason = _seen(visit), _reason(visit)
    version = await visit.aside(visit.registry.resolve, name, visit.value("version"))
    verdict = await visit.aside(
        promote_version, visit.registry, name, version, reason=reason, force=bool(visit.value("force"))
    )
    await visit.log("promote", name=name, version=version, reason=reason, forced=not verdict.allowed)
    await visit.console.follower.reopen()
    return visit.go(f"specialists/{name}", note=f"{version} serves now: {reason}.")


async def roll_back(visit: Visit) -> Response:
    """Make the previous champion serve again."""
    name, reason = _seen(visit), _reason(visit)
    version = await visit.aside(visit.registry.rollback, name, reason=reason)
    await visit.log("rollback", name=name, version=version, reason=reason)
    await visit.console.follower.reopen()
    return visit.go(f"specialists/{name}", note=f"{version} serves again: {reason}.")


def _reason(visit: Visit) -> str:
    reason = visit.value("reason")
    if not reason:
        raise InputError("No reason was given.", hint="Say why: it is kept in the history and in the audit log.")
    return reason[:500]
