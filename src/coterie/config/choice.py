"""Tables that name what reads them: a specialist its task, a model its engine, the router its kind.

What is named is found through an entry point (`coterie.runtime.plugins`) and brings the class that checks the table, so
that the section of what somebody adds is checked as ours are: a union, discriminated by one key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pydantic import BaseModel

from coterie.errors import ConfigError
from coterie.runtime.plugins import PluginGroup


@runtime_checkable
class HasSection(Protocol):
    """What this package needs of a task, an engine, a router, an index or a detector."""

    section: type[BaseModel]
    """The class that checks the tables which name it."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A kind of table, and by which of its keys its class is chosen."""

    plugins: PluginGroup[HasSection]
    key: str
    """Such as `task`."""
    usual: str | None = None
    """What it is where the key is left out; None if it has to be there."""

    def section_class(self, name: object) -> type[BaseModel]:
        """The class that checks tables with this value of the key. Raises `ValueError` where nothing has that name."""
        if not isinstance(name, str):
            raise ValueError(f"{self.key} is {name!r}; it is one of {', '.join(self.plugins.names)}")  # noqa: TRY004 - a value of the file
        try:
            return self.plugins.load(name).section
        except ConfigError as error:
            raise ValueError(f"{error.message} {error.hint}".strip()) from error

    def of_table(self, table: object) -> type[BaseModel]:
        """The class that checks this table. Raises `ValueError`."""
        if not isinstance(table, Mapping) or (self.usual is None and self.key not in table):
            raise ValueError(f"it needs `{self.key}`, one of {', '.join(self.plugins.names)}")
        return self.section_class(table.get(self.key, self.usual))

    def check(self, table: object) -> BaseModel:
        """The table as a value of its class. Raises `ValueError`."""
        return table if isinstance(table, BaseModel) else self.of_table(table).model_validate(table)

    def others_with(self, key: str) -> str:
        """What has this key in its tables, in words; empty if nothing has."""
        have = [name for name in self.plugins.names if key in self.section_class(name).model_fields]
        return " or ".join(map(repr, have))


def choice(group: str, *, key: str, usual: str | None = None) -> Choice:
    """The choice among what registers under a group of entry points, such as `coterie.tasks`."""
    return Choice(plugins=PluginGroup(group, HasSection, key), key=key, usual=usual)
