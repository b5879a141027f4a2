"""`coterie feedback`: say whether an answer was right."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coterie.cli.ask import no_trace
from coterie.cli.bridge import configured, log_event, with_store
from coterie.cli.options import Tenant, TraceId
from coterie.cli.output import Json, give, remark
from coterie.errors import InputError
from coterie.runtime.codec import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from coterie.config.file import Config
    from coterie.types import Scalar


def feedback(
    context: typer.Context,
    *,
    trace_id: TraceId,
    up: Annotated[bool, typer.Option("--up", help="The answer was right.")] = False,
    down: Annotated[bool, typer.Option("--down", help="It was wrong.")] = False,
    value: Annotated[
        str | None,
        typer.Option(metavar="VALUE", help="What would have been right; a JSON list for several labels."),
    ] = None,
    comment: Annotated[str, typer.Option(metavar="TEXT", help="Whatever else is to be said.")] = "",
    specialist: Annotated[
        str, typer.Option(metavar="NAME", help="Whose finding is meant; left out, the whole answer.")
    ] = "",
    tenant: Tenant = "default",
    as_json: Json = False,
) -> None:
    """Say whether an answer was right.

    It is kept beside the trace, in place of what was said before, goes when its session is erased, and counts in the
    quality that `coterie report` shows.
    """
    from coterie.governance.audit_events import audit_feedback
    from coterie.network.feedback import check_value
    from coterie.types import Feedback

    if up and down:
        raise InputError("Both --up and --down were given.", hint="Give one of them.")
    if not (up or down or value is not None or comment.strip()):
        raise InputError("Nothing was said of the answer.", hint="Give --up, --down, --value or --comment.")
    folder: Path = context.obj
    said = Feedback(
        trace_id=trace_id,
        time=time.time(),
        tenant=tenant,
        specialist=specialist,
        thumb="up" if up else "down" if down else None,
        value=_read_value(value),
        comment=comment,
    )
    refused, code = None, ""
    try:
        config = configured(folder)
        trace = with_store(folder, config, lambda store: store.trace(trace_id, tenant))
        if trace is not None:
            check_value(said, trace, _labels(folder, config))
        if trace is None or not with_store(folder, config, lambda store: store.feedback(said)):
            refused, code = no_trace(folder, trace_id, tenant), "trace_not_found"
    except InputError as error:
        refused, code = error, error.code
    log_event(folder, lambda digest: audit_feedback(said, digest=digest, refused=code))
    if refused is not None:
        raise refused
    if comment and not config.store.keep_content:
        remark("The comment was not kept: [store] keep_content is false.")
    give({"trace_id": trace_id, "status": "kept"}, f"Kept beside trace {trace_id}.", as_json=as_json)


def _labels(folder: Path, config: Config) -> Callable[[str], tuple[str, ...]]:
    """The labels that the serving version of a specialist knows; none where there is no such version."""
    from coterie.errors import CoterieError
    from coterie.registry.registry import open_registry
    from coterie.tasks.loading import card_of

    def labels(name: str) -> tuple[str, ...]:
        if name not in config.specialists:
            return ()
        try:
            version = open_registry(folder, config.registry).outline(name)
            return card_of(name, config.specialists[name], version).labels
        except CoterieError:
            return ()

    return labels


def _read_value(text: str | None) -> Scalar | tuple[str, ...]:
    """A label or a text as it stands; a JSON list of texts as several labels."""
    if text is None or not text.lstrip().startswith("["):
        return text
    try:
        found = parse_json(text)
    except ValueError:
        return text
    return tuple(found) if isinstance(found, list) and all(isinstance(each, str) for each in found) else text
