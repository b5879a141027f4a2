"""The index that a section names."""

from importlib import util

import pytest

from coterie.config.file import KnowledgeSection, parse_config
from coterie.errors import ConfigError, ExtraMissing
from coterie.knowledge import kinds
from coterie.knowledge.local import LocalIndex
from coterie.knowledge.open import open_index
from coterie.testing import EchoEngine


class Encoder(EchoEngine):
    """An encoder that says which it is."""

    sha256 = "0" * 64
    dimension = 4


def opened(section, folder):
    return open_index("help", section, folder, network="shop", encoder=Encoder())


async def test_local_is_a_folder(tmp_path):
    """Without a word of where, an index is kept in the network's folder."""
    index = opened(KnowledgeSection(), tmp_path)

    assert isinstance(index, LocalIndex)
    await index.close()


async def test_a_variable_names_a_database(tmp_path, monkeypatch):
    """`env:NAME` is a database at the address that the variable holds; nothing is connected to before it is asked."""
    postgres = pytest.importorskip("coterie.knowledge.postgres")
    monkeypatch.setenv("INDEX_URL", "postgresql://127.0.0.1:1/nowhere")

    index = opened(KnowledgeSection(store="env:INDEX_URL"), tmp_path)

    assert isinstance(index, postgres.PostgresIndex)
    await index.close()


def test_a_variable_that_is_not_set(tmp_path, monkeypatch):
    """Without the variable the error says which one to set."""
    pytest.importorskip("psycopg")
    monkeypatch.delenv("INDEX_URL", raising=False)

    with pytest.raises(ConfigError, match="'INDEX_URL'"):
        opened(KnowledgeSection(store="env:INDEX_URL"), tmp_path)


def test_an_address_that_is_none(tmp_path, monkeypatch):
    """What the variable holds may be a password: it is not repeated."""
    pytest.importorskip("psycopg")
    monkeypatch.setenv("INDEX_URL", "hunter2")

    with pytest.raises(ConfigError, match="'INDEX_URL'") as caught:
        opened(KnowledgeSection(store="env:INDEX_URL"), tmp_path)
    assert "hunter2" not in str(caught.value)


def test_the_package_is_missing(tmp_path, monkeypatch):
    """Without the driver the error is the command that installs it."""
    monkeypatch.setattr(kinds, "find_spec", lambda name: None if name == "psycopg" else util.find_spec(name))

    with pytest.raises(ExtraMissing, match="psycopg") as caught:
        opened(KnowledgeSection(store="env:INDEX_URL"), tmp_path)
    assert "coterie[postgres]" in caught.value.hint


def test_an_address_written_out_is_refused():
    """An address in the file, where a password would be read by everybody, is refused without being repeated."""
    with pytest.raises(ConfigError, match=r"knowledge\.help\.store") as caught:
        parse_config('[knowledge.help]\nstore = "postgresql://coterie:hunter2@db/coterie"')
    assert "hunter2" not in str(caught.value)
