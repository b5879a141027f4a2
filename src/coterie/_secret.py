"""A secret by its name in the configuration; `coterie.config` is where it is imported from."""

from __future__ import annotations

import os
import re

from coterie.errors import ConfigError

FILE_NAME = "coterie.toml"


class EnvSecret(str):
    """A secret by the name of the environment variable that holds it: `env:NAME`.

    The value is read only when an engine needs it, so nothing that works without the secret asks for
    it, and it is never part of the configuration: no repr, dump or error of a config can show it.
    """

    __slots__ = ()

    def reveal(self) -> str:
        """The secret itself. Raises `ConfigError` when the variable is not set."""
        name = self.removeprefix("env:")
        value = os.environ.get(name)
        if not value:
            raise ConfigError(
                f"The environment variable {name!r}, named in {FILE_NAME}, is not set.",
                hint=f"Set it: export {name}=...",
            )
        return value


def name_secret(value: object) -> EnvSecret:
    """Refuse what is no name of a variable."""
    if not isinstance(value, str) or not re.fullmatch(r"env:[A-Za-z_][A-Za-z0-9_]*", value):
        raise ValueError('a secret is named, not written out: use "env:NAME" and set that variable')
    return EnvSecret(value)
