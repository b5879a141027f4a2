"""Open the store that `[store]` names: a SQLite file in the network's folder, or a PostgreSQL database."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from coterie.config.file import Config
from coterie.errors import ExtraMissing
from coterie.store.sqlite import SQLiteStore

if TYPE_CHECKING:
    from coterie.runtime.postgres import PostgresAddress


def is_stored(config: Config, folder: Path) -> bool:
    """Return whether the store may hold anything: a missing file holds nothing."""
    return config.store.url is not None or (folder / config.store.path).exists()


def database_of(config: Config) -> PostgresAddress | None:
    """Return the database of `[store] url`; None where rows are kept in the folder.

    Raises:
        ConfigError: the variable is not set, or holds no address.
        ExtraMissing: psycopg is not installed.
    """
    url = config.store.url
    if url is None:
        return None
    if find_spec("psycopg") is None:
        raise ExtraMissing(
            f"[store] url is {str(url)!r}, but the package 'psycopg' is not installed.",
            hint="Install it: pip install 'coterie[postgres]'",
        )
    from coterie.runtime.postgres import PostgresAddress, schema_of  # noqa: PLC0415 - it needs an extra

    source = f"The environment variable {url.removeprefix('env:')!r}"
    return PostgresAddress(url.reveal(), source=source, schema=schema_of(config.network.name))


async def open_store(config: Config, folder: Path, *, reading: bool = False) -> SQLiteStore:
    """Open the network's store.

    Args:
        config: The network's configuration.
        folder: The network's folder.
        reading: Whether the store is only read; a missing file is not created then.

    Raises:
        ConfigError, ExtraMissing: see `database_of`.
        StoreError: the store cannot be opened.
    """
    section, days = config.store, config.retention.days
    if (address := database_of(config)) is not None:
        from coterie.store.postgres import PostgresStore  # noqa: PLC0415 - it needs an extra

        return await PostgresStore.connect(
            address,
            session_days=section.session_days,
            keep_content=section.keep_content,
            content_days=days,
        )
    return await SQLiteStore.open(
        folder / section.path,
        session_days=section.session_days,
        keep_content=section.keep_content,
        content_days=days,
        sync_seconds=section.sync_seconds,
        reading=reading,
    )
