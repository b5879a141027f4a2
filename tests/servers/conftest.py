"""A real PostgreSQL server: `scripts/postgres_run` starts one and names it; without one these tests are skipped."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack

import pytest

from coterie.testing import EchoEngine

VARIABLE = "COTERIE_TEST_POSTGRES"


@pytest.fixture(scope="session")
def server() -> str:
    """The address of the server, as a user who may make databases."""
    address = os.environ.get(VARIABLE)
    if not address:
        pytest.skip(f"needs PostgreSQL with pgvector: scripts/postgres_run starts one and sets {VARIABLE}")
    return address


@pytest.fixture
def database(server: str) -> Iterator[str]:
    """The address of a new database, dropped after the test."""
    yield from _new_database(server)


@pytest.fixture(scope="session")
def shared_database(server: str) -> Iterator[str]:
    """The address of a database for tests that keep to a schema of their own."""
    yield from _new_database(server)


def _new_database(server: str) -> Iterator[str]:
    psycopg = pytest.importorskip("psycopg")
    from psycopg.conninfo import make_conninfo

    name = f"coterie_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0")
        yield make_conninfo(server, dbname=name)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


class Encoder(EchoEngine):
    """An encoder without weights: equal texts have equal vectors."""

    def __init__(self, sha256: str = "a" * 64, dimension: int = 8) -> None:
        super().__init__("encoder", dimension=dimension)
        self.sha256 = sha256


@pytest.fixture
def make_encoder() -> Callable[..., Encoder]:
    """Makes encoders: sha256 and dimension."""
    return Encoder


@pytest.fixture
async def open_index(database: str) -> AsyncIterator[Callable[..., Awaitable[object]]]:
    """Opens indexes of the database and closes them after the test."""
    from coterie.knowledge.postgres import PostgresIndex

    async with AsyncExitStack() as stack:

        async def open_one(**options: object) -> PostgresIndex:
            options = {"network": "shop", "name": "help", "encoder": Encoder(), "address": database} | options
            index = PostgresIndex(options.pop("address"), **options)
            stack.push_async_callback(index.close)
            await index.documents()  # connects
            return index

        yield open_one
