"""Common parts of all sections of `coterie.toml`, and the types of their values.

A named implementation is found through an entry point (`coterie.runtime.plugins`) and brings the class that checks its
table, so the section of a plugin is checked like a built-in one: a union, discriminated by one key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Protocol, runtime_checkable
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from coterie.errors import ConfigError
from coterie.runtime.plugins import PluginGroup
from coterie.types.usage import check_money

STRICT = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)
"""Settings of every section: unknown keys are refused, and a refused value is not repeated: it may be a secret."""


def _in_order(span: float | tuple[float, float]) -> float | tuple[float, float]:
    if isinstance(span, tuple) and span[0] > span[1]:
        raise ValueError("it is [low, high], the lower one first")
    return span


def span_ends(span: float | tuple[float, float]) -> tuple[float, float]:
    """Return the lower and the upper bound; both equal a known figure."""
    return span if isinstance(span, tuple) else (span, span)


def no_credentials(address: str, *, instead: str = "name the key: api_key = 'env:NAME'") -> str:
    """Check that an address has no user, password or query, which may be a secret that does not belong in the file.

    Raises:
        ValueError: the address has one; the message says what to do instead.
    """
    try:
        parts = urlsplit(address)
        secret = parts.username is not None or parts.password is not None
        port = parts.port  # refuses those beyond 65535
    except ValueError as error:
        raise ValueError("it is no address") from error
    if port == 0:
        raise ValueError("it is no address: nothing is at port 0")
    if secret:
        raise ValueError(f"it has a user or a password in it; leave them out, and {instead}")
    if "?" in address or "#" in address:
        raise ValueError(f"it has a query; leave it out, and if that is a key, {instead}")
    return address


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
FieldType = Annotated[str, Field(pattern=r"^(text|date|number|money|duration|choice)\*?$")]
Span = Annotated[
    Annotated[float, Field(gt=0, le=100_000)]
    | tuple[Annotated[float, Field(gt=0, le=100_000)], Annotated[float, Field(gt=0, le=100_000)]],
    AfterValidator(_in_order),
]
"""A figure, or its lower and upper bound."""
Money = Annotated[Decimal, Field(ge=0, allow_inf_nan=False), AfterValidator(check_money)]

# --- A secret by its name in the configuration; `coterie.config` is where it is imported from.

FILE_NAME = "coterie.toml"


class EnvSecret(str):
    """A secret, given by the name of the environment variable that holds it: `env:NAME`.

    The value is read only when an engine needs it, so an operation that works without the secret does not ask for it.
    The value is never part of the configuration: no repr, dump or error of a config can show it.
    """

    __slots__ = ()

    def reveal(self) -> str:
        """Return the secret itself. Raises `ConfigError` when the variable is not set."""
        name = self.removeprefix("env:")
        value = os.environ.get(name)
        if not value:
            raise ConfigError(
                f"The environment variable {name!r}, named in {FILE_NAME}, is not set.",
                hint=f"Set it: export {name}=...",
            )
        return value


def name_secret(value: object) -> EnvSecret:
    """Check that a value names a variable. Raises `ValueError`."""
    if not isinstance(value, str) or not re.fullmatch(r"env:[A-Za-z_][A-Za-z0-9_]*", value):
        raise ValueError('a secret is named, not written out: use "env:NAME" and set that variable')
    return EnvSecret(value)


@runtime_checkable
class HasSection(Protocol):
    """The part of a task, an engine, a router, an index or a detector that this package needs."""

    section: type[BaseModel]
    """The class that checks the tables that name this implementation."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A kind of table, and the key that chooses its class."""

    plugins: PluginGroup[HasSection]
    key: str
    """The key, such as `task`."""
    usual: str | None = None
    """Value of a missing key; None if the key is required."""

    def section_class(self, name: object) -> type[BaseModel]:
        """Return the class that checks tables with this value of the key. Raises `ValueError` for an unknown name."""
        if not isinstance(name, str):
            raise ValueError(f"{self.key} is {name!r}; it is one of {', '.join(self.plugins.names)}")  # noqa: TRY004 - a value of the file
        try:
            return self.plugins.load(name).section
        except ConfigError as error:
            raise ValueError(f"{error.message} {error.hint}".strip()) from error

    def of_table(self, table: object) -> type[BaseModel]:
        """Return the class that checks this table. Raises `ValueError`."""
        if not isinstance(table, Mapping) or (self.usual is None and self.key not in table):
            raise ValueError(f"it needs `{self.key}`, one of {', '.join(self.plugins.names)}")
        return self.section_class(table.get(self.key, self.usual))

    def check(self, table: object) -> BaseModel:
        """Return the table as an instance of its class. Raises `ValueError`."""
        return table if isinstance(table, BaseModel) else self.of_table(table).model_validate(table)

    def others_with(self, key: str) -> str:
        """Describe the values of the key whose tables have this key; empty if there are none."""
        have = [name for name in self.plugins.names if key in self.section_class(name).model_fields]
        return " or ".join(map(repr, have))


def choice(group: str, *, key: str, usual: str | None = None) -> Choice:
    """Return the choice among the entry points of a group, such as `coterie.tasks`."""
    return Choice(plugins=PluginGroup(group, HasSection, key), key=key, usual=usual)
