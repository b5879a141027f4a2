"""The index that a section names."""

import os
from importlib import util

import pytest

from coterie.config.file import KnowledgeSection, parse_config
from coterie.errors import ArtefactRefused, ConfigError, ExtraMissing
from coterie.knowledge import kinds
from coterie.knowledge.documents import DocumentIndex
from coterie.knowledge.local import LocalIndex
from coterie.knowledge.open import GuardedIndex, keep_access, known_access, open_index, why_refused
from coterie.knowledge.sources import Access
from coterie.testing import EchoEngine
from coterie.types import Label


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


# --- An index that is more open than coterie.toml is not searched.


def access(label=Label.INTERNAL, tenant=None, **labels):
    return Access(label=label, labels=labels, tenant=tenant)


@pytest.mark.parametrize(
    ("then", "now", "refused"),
    [
        (access(), access(), ""),
        (access(Label.PUBLIC), access(Label.RESTRICTED), "label = 'restricted'"),
        (access(Label.RESTRICTED), access(Label.PUBLIC), ""),
        (access(), access(hr=Label.RESTRICTED), "labels['hr'] = 'restricted'"),
        (access(hr=Label.CONFIDENTIAL), access(hr=Label.RESTRICTED), "labels['hr'] = 'restricted'"),
        (access(hr=Label.RESTRICTED), access(hr=Label.CONFIDENTIAL), ""),
        (access(hr=Label.RESTRICTED), access(), ""),
        (access(), access(hr=Label.PUBLIC), ""),
        (access(), access(tenant="acme"), "tenant = 'acme'"),
        (access(tenant="bolt"), access(tenant="acme"), "tenant = 'acme'"),
        (access(tenant="acme"), access(), ""),
    ],
)
def test_what_is_stricter(tmp_path, then, now, refused):
    """A higher label, a pattern's too, and a tenant are; the other way round the index hides more than it must."""
    assert why_refused(tmp_path, now) == ""

    keep_access(tmp_path, then, whole=True)

    assert why_refused(tmp_path, now) == refused


def test_a_part_indexed_again_makes_nothing_stricter(tmp_path):
    """Of a part the less strict of both is kept, as the rest stands as it stood."""
    keep_access(tmp_path, access(), whole=False)
    assert known_access(tmp_path) is None

    keep_access(tmp_path, access(Label.CONFIDENTIAL, "acme", a=Label.RESTRICTED, b=Label.RESTRICTED), whole=True)
    keep_access(tmp_path, access(Label.PUBLIC, "bolt", b=Label.CONFIDENTIAL, c=Label.RESTRICTED), whole=False)

    assert known_access(tmp_path) == access(Label.PUBLIC, b=Label.CONFIDENTIAL)


@pytest.mark.parametrize("broken", ["", "[]", "{}", '{"label": "top", "labels": {}, "tenant": null}'])
def test_a_broken_record_is_none(tmp_path, broken):
    """Who wrote nothing down is asked nothing."""
    (tmp_path / "access.json").write_text(broken)

    assert known_access(tmp_path) is None


async def test_it_is_refused_until_it_is_indexed_again(tmp_path, index, document):
    """Neither passages nor text are given, and as soon as it was indexed again both are."""
    await index.update([document("a", "late fee")])
    keep_access(tmp_path, access(), whole=True)
    guarded = GuardedIndex(index, tmp_path, access(Label.CONFIDENTIAL), name="docs")
    assert isinstance(guarded, DocumentIndex)

    for attempt in (
        guarded.search("late", k=1, clearance=Label.RESTRICTED),
        guarded.text("a", 0, 4, clearance=Label.RESTRICTED),
    ):
        with pytest.raises(ArtefactRefused, match=r"coterie\.toml.*'confidential'") as caught:
            await attempt
        assert "coterie index docs" in caught.value.hint

    keep_access(tmp_path, access(Label.CONFIDENTIAL), whole=True)
    os.utime(tmp_path / "access.json", ns=(1, 1))
    assert await guarded.text("a", 0, 4, clearance=Label.RESTRICTED) == "late"
