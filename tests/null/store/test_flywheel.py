"""The flywheel's tables: their contract, what capture costs nothing of, and erasure that names versions."""

from dataclasses import replace

from coterie.store.erasure import ErasureScope, Mention
from coterie.testing import check_flywheel_store
from coterie.testing.contracts import example
from coterie.types import ComparedAnswer, GivenLabel


async def test_the_contract(open_store):
    """Two connections to one file see one order, and of two writers of a record one is refused."""
    first, second = await open_store(), await open_store()
    await check_flywheel_store(first.flywheel, second.flywheel)


async def test_erasure_takes_examples_and_names_the_versions_that_saw_them(open_store):
    """By tenant and by mention; comparisons and labels go with them, and other people's examples stay."""
    store = await open_store()
    tables = store.flywheel
    await tables.add_examples(
        [
            example(1),
            example(2, prompt=(("user", "I am Ann  Berg."),), tenant="other"),
            example(3, answer="for ann berg", tenant="third"),
        ],
        [ComparedAnswer(deployment="d", example="e0002", time=1.0, answer="ann berg")],
    )
    await tables.put_label(GivenLabel(example="e0002", origin="person", by="x", value="y", time=1.0))
    await tables.note_training("job-1", "a" * 16, ["e0001", "e0002"])
    await tables.note_training("job-2", "b" * 16, ["e0003"])

    erased = await store.erase_all(ErasureScope(mention=Mention(["Ann Berg"])))
    assert (erased.examples, erased.saw) == (("e0002", "e0003"), (("job-1", "a" * 16), ("job-2", "b" * 16)))
    assert set(await tables.examples_of(["e0001", "e0002", "e0003"])) == {"e0001"}
    assert await tables.comparisons("d") == []
    assert await tables.labels() == []

    assert (await store.holdings(ErasureScope(tenant="acme"))).examples == ("e0001",)
    (exported,) = await store.requests(ErasureScope(tenant="acme"))
    assert exported["examples"][0]["answer"] == "card_lost"


async def test_examples_are_deleted_with_their_requests_time(open_store):
    """What retention says of requests holds for captured calls, those of logs included."""
    store = await open_store()
    await store.flywheel.add_examples([example(1), example(2, request=""), replace(example(3), request="", time=9e9)])
    assert await store.flywheel.drop_examples(before=2e9) == 2
    assert [captured.id for captured in await store.flywheel.examples()] == ["e0003"]
