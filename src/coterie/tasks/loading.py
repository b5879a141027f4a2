"""Loads a stored version as a specialist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from safetensors import SafetensorError

from coterie.config.specialists import SpecialistSection
from coterie.errors import ArtefactRefused
from coterie.learning.job import make_card
from coterie.protocols import Engine, FunctionServer, Specialist
from coterie.registry.version import Version
from coterie.runtime.codec import parse_json
from coterie.tasks.contract import Parts, Stored, task_of
from coterie.types import Label, SpecialistCard


def load_specialist(
    name: str,
    section: SpecialistSection,
    version: Version,
    *,
    encoder: Engine,
    models: Mapping[str, Engine],
    data_label: Label = Label.PUBLIC,
    view_tokens: int | None = None,
    windows: Mapping[str, int] = MappingProxyType({}),
    servers: Mapping[str, FunctionServer] = MappingProxyType({}),
) -> Specialist:
    """Return the specialist of a version, with the current settings of the network's file.

    Args:
        name: Its name in the network.
        section: Its section: description, `reads` and `writes` may have changed since training.
        version: Verified files.
        encoder: The network's encoder.
        models: Generative engines by `[models]` key; those of specialists with an adapter hold it by their name.
        view_tokens: Most tokens of its view of the context; None for no limit.
        data_label: Least sensitivity of training texts in a version, where neither section nor version sets a higher
            one.
        windows: Context window of each model: tokens of prompt and answer.
        servers: MCP servers of its section, by their `[mcp]` key.

    Raises:
        ArtefactRefused: the files do not describe such a specialist.
        ConfigError: its model is not among the open ones.
    """
    task = task_of(section)
    try:
        described = parse_json(version.files["model.json"])
        if why_not := task.accepts(section, described):
            raise ArtefactRefused(f"{name!r} {why_not}.", hint=f"Train it again: coterie train {name}")
        card = _card(name, section, version, described, view_tokens)
        stored = Stored(described=described, files=version.files)
        parts = Parts(encoder=encoder, models=models, windows=windows, data_label=data_label, servers=servers)
        return task.load(card, section, stored, parts)
    except (AttributeError, LookupError, TypeError, ValueError, SafetensorError) as error:
        raise _unreadable(version, error) from error


def card_of(
    name: str, section: SpecialistSection, version: Version, *, view_tokens: int | None = None
) -> SpecialistCard:
    """Return the card of a version's specialist without loading it. Raises `ArtefactRefused`."""
    try:
        return _card(name, section, version, parse_json(version.files["model.json"]), view_tokens)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise _unreadable(version, error) from error


def _card(
    name: str, section: SpecialistSection, version: Version, described: Mapping[str, Any], view_tokens: int | None
) -> SpecialistCard:
    columns = tuple(str(column) for column in (*described.get("columns", ()), *described.get("record", ())))
    rung, task = described["rung"], task_of(section)
    card = make_card(
        name,
        task,
        section,
        rung=rung,
        version=version.version,
        columns=columns,
        view_tokens=view_tokens,
        options=task.one_of(section, described),
    )
    fields = described.get("fields", ()) if card.form == "fields" else ()
    return replace(
        card,
        labels=tuple(map(str, described.get("labels", ()))),
        many_labels=bool(described.get("multi_label")),
        fields=tuple((str(field["name"]), str(field["type"])) for field in fields),
    )


def _unreadable(version: Version, error: Exception) -> ArtefactRefused:
    return ArtefactRefused(
        f"Version {version.version} of {version.name!r} cannot be read: {type(error).__name__} {error}.",
        hint=f"Train it again: coterie train {version.name}",
    )
