"""Jobs found in the traffic, the progress of their specialists, the evidence of the gates, and rollback."""

from __future__ import annotations

from starlette.responses import Response

from coterie.config.operation import FlywheelSection
from coterie.console.visits import Counted, Visit, chosen
from coterie.errors import InputError, SetupError
from coterie.flywheel.deployments import Deployments
from coterie.flywheel.overview import deployment_views, job_views, promote, roll_back
from coterie.governance.keys import OWN_TENANT
from coterie.protocols import FlywheelStore
from coterie.types import FlywheelChanged

LANES = ("candidate", "shadow", "canary", "champion")
_EXAMPLES = 5
_SECONDS = 60.0
"""Largest age of the counts, in seconds."""


def books_of(visit: Visit) -> Deployments:
    """The flywheel's books, of the visitor's tenant. Raises `SetupError` where its store keeps none."""
    network = visit.gateway.network
    store = getattr(network.store, "flywheel", None)
    if not isinstance(store, FlywheelStore):
        raise SetupError("This network's store keeps no examples.", hint="The flywheel needs a store that does.")
    tenant = None if visit.caller.tenant == OWN_TENANT else visit.caller.tenant
    return Deployments(store=store, audit=network.audit, clock=network.clock, tenant=tenant)


async def show_flywheel(visit: Visit) -> Response:
    """Show jobs, lanes and alarms."""
    books, section = books_of(visit), visit.config.flywheel
    counted = await _counted(visit, books, section)
    deployments = counted.deployments
    alarms = await books.alarms(open_only=True)
    shown = {example for alarm in alarms for example in alarm.examples[:_EXAMPLES]}
    rows = await books.store.examples_of(sorted(shown)) if shown and visit.may("manage") else {}
    seen = {key: row for key, row in rows.items() if visit.clearance is None or row.label <= visit.clearance}
    steps = {deployment.id: (await books.transitions(deployment.id))[-3:] for deployment in deployments}
    return await visit.page(
        "flywheel.html.j2",
        title="Flywheel",
        jobs=counted.jobs,
        counted=counted.time,
        names={job.id: job.name for job in await books.jobs()},
        lanes=[(lane, [deployment for deployment in deployments if deployment.state == lane]) for lane in LANES],
        retired=[deployment for deployment in deployments if deployment.state == "retired"],
        alarms=[(alarm, [seen[example] for example in alarm.examples if example in seen]) for alarm in alarms],
        steps=steps,
        capture=visit.config.capture,
        section_of=section,
        now=visit.gateway.network.clock(),
    )


async def _counted(visit: Visit, books: Deployments, section: FlywheelSection) -> Counted:
    """Return jobs and deployments: current states, and counts that are at most a minute old, as the page says.

    Counting hundreds of thousands of calls takes longer than a page may.
    """
    now = visit.gateway.network.clock()
    state = {deployment.id: deployment.revision for deployment in await books.deployments()}
    state |= {job.id: job.revision for job in await books.jobs()}
    state |= {alarm.id: alarm.revision for alarm in await books.alarms(open_only=True)}
    key = books.tenant, visit.clearance
    held = visit.console.counted.get(key)
    if held is None or held.state != state or not 0 <= now - held.time < _SECONDS:
        held = visit.console.counted[key] = Counted(
            state=state,
            time=now,
            jobs=await job_views(books, section, clearance=visit.clearance),
            deployments=await deployment_views(books, section),
        )
    return held


async def act(visit: Visit) -> Response:
    """Move a deployment forward or back, or resolve an alarm; with the reason and the person."""
    books = books_of(visit)
    what = chosen(visit.value("act"), ("promote", "back", "resolve"), "The action")
    by, reason = visit.caller.key.name if visit.caller.key else "console", visit.value("reason")
    try:
        if what == "resolve":
            alarm = next((alarm for alarm in await books.alarms() if alarm.id == visit.value("alarm")), None)
            if alarm is None:
                raise InputError("There is no such alarm.", hint="It may be dealt with already.")
            await books.resolve(alarm)
            await visit.log("resolve_alarm", alarm=alarm.id, job=alarm.job)
            return visit.go("flywheel", note="The alarm is dealt with.")
        if what == "back":
            moved = await roll_back(books, visit.value("deployment"), by=by, reason=reason)
        else:
            force = bool(visit.value("force"))
            config = visit.config.flywheel
            moved = await promote(books, config, visit.value("deployment"), by=by, reason=reason, force=force)
    except FlywheelChanged:
        raise InputError("Somebody else moved it meanwhile.", hint="Look at the page again.") from None
    await visit.log(f"deployment_{what}", deployment=moved.id, state=moved.state, reason=reason)
    return visit.go("flywheel", note=f"{moved.specialist} {moved.version[:8]} is {moved.state} now.")
