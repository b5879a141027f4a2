"""Erasing a tenant takes its own documents out of an index in PostgreSQL, and leaves everybody else's."""

import numpy as np
import pytest

from coterie.config.file import load_config
from coterie.engines.onnx import OnnxEncoder
from coterie.governance.erasure import erase
from coterie.knowledge.documents import Chunk, IndexedDocument
from coterie.knowledge.open import open_index
from coterie.store.erasure import ErasureScope, Mention
from coterie.types import Label

pytest.importorskip("psycopg", reason="needs coterie[postgres]")

import psycopg
from psycopg import sql

pytestmark = pytest.mark.slow

FILE = '[network]\nname = "shop"\n\n[knowledge.help]\nstore = "env:INDEX"\n'


@pytest.fixture
async def folder(tmp_path, database, monkeypatch):
    """A network whose index holds a document of one tenant and one for all."""
    monkeypatch.setenv("INDEX", database)
    (tmp_path / "coterie.toml").write_text(FILE)
    config = load_config(tmp_path)
    encoder = OnnxEncoder.bundled()
    index = open_index("help", config.knowledge["help"], tmp_path, network="shop", encoder=encoder)
    await index.update(
        [
            document("theirs", "The zanzibar contract of Ms Quillfeather.", encoder.dimension, tenant="acme"),
            document("all", "Everybody may read of the late fee, Ms Quillfeather too.", encoder.dimension, tenant=None),
        ]
    )
    await index.close()
    await encoder.close()
    return tmp_path


def document(name, text, dimension, *, tenant):
    """A document of one chunk."""
    vector = np.zeros((1, dimension), dtype=np.float32)
    vector[0, 0] = 1.0
    chunk = Chunk(start=0, end=len(text))
    return IndexedDocument(
        name=name,
        sha256=name,
        text=text,
        label=Label.INTERNAL,
        tenant=tenant,
        chunks=(chunk,),
        vectors=vector,
    )


def rows_with(database, word):
    """The tables of the schema with a row that has the word in any column."""
    with psycopg.connect(database) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'coterie'").fetchall()
        query = sql.SQL("SELECT count(*) FROM coterie.{} AS t WHERE t::text ILIKE {}")
        pattern = sql.Literal(f"%{word}%")
        return {
            name
            for (name,) in tables
            if connection.execute(query.format(sql.Identifier(name), pattern)).fetchall() != [(0,)]
        }


async def test_a_tenants_documents_are_taken_out(folder, database):
    """No table holds their words afterwards; the documents of all stay."""
    config = load_config(folder)
    assert rows_with(database, "zanzibar")

    planned = await erase(folder, config, ErasureScope(tenant="acme"), dry_run=True)
    assert planned.documents == {"help": ("theirs",)}
    assert rows_with(database, "zanzibar")

    erased = await erase(folder, config, ErasureScope(tenant="acme"))
    assert erased.documents == {"help": ("theirs",)}
    assert not rows_with(database, "zanzibar")
    assert rows_with(database, "late fee")


async def test_documents_that_mention_somebody_are_named(folder, database):
    """They are the user's: the answer names them, whoever may read them, and changes nothing."""
    erased = await erase(folder, load_config(folder), ErasureScope(mention=Mention(["Quillfeather"])))
    assert erased.mentioning == {"help": ("all", "theirs")}
    assert rows_with(database, "quillfeather")
