"""Plug-ins by name: tasks, engines, routers, indexes and detectors. The built-in ones are registered like all others.

A package names its object in its metadata, as an entry point of a group:

    [project.entry-points."coterie.tasks"]
    tag = "my_package.tag:TASK"

A plug-in is imported when it is requested by its name, not before.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import metadata
from typing import Any, Generic, TypeVar, cast

from coterie.errors import ConfigError

T = TypeVar("T")


@cache
def _installed(group: str) -> metadata.EntryPoints:
    """Return the entry points of a group, read once: reading the metadata of every package takes milliseconds."""
    return metadata.entry_points(group=group)


@dataclass(frozen=True)
class PluginGroup(Generic[T]):
    """The objects of one kind that installed packages offer, by name."""

    group: str
    """The group of entry points, such as `coterie.tasks`."""
    kind: type[Any]
    """The class of which each object must be an instance."""
    what: str
    """The word for one object of the group, such as `task`."""
    _loaded: dict[str, T] = field(default_factory=dict, compare=False, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, sorted; reading it imports nothing."""
        return tuple(sorted(self._entries))

    def load(self, name: str) -> T:
        """Return the object of this name, imported on first use.

        Raises:
            ConfigError: no package offers the name, or its object cannot be imported or has the wrong type.
        """
        if name not in self._loaded:
            self._loaded[name] = self._import(name)
        return self._loaded[name]

    @cached_property
    def _entries(self) -> dict[str, metadata.EntryPoint]:
        return {entry.name: entry for entry in _installed(self.group)}

    def _import(self, name: str) -> T:
        if name not in self._entries:
            near = difflib.get_close_matches(name, self.names, n=1, cutoff=0.5)
            raise ConfigError(
                f"There is no {self.what} {name!r}; installed packages have {', '.join(self.names) or 'none'}.",
                hint=f"Did you mean {near[0]!r}?" if near else f"Install the package that offers it as {self.group!r}.",
            )
        entry = self._entries[name]
        try:
            loaded = entry.load()
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"The {self.what} {name!r} cannot be imported from {entry.value!r}: {error}.",
                hint="Reinstall the package that offers it.",
            ) from error
        if not isinstance(loaded, self.kind):
            raise ConfigError(f"{entry.value!r} is no {self.what}: {self.kind.__name__} is wanted.")
        return cast("T", loaded)
