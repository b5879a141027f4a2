"""Searching one document of an index."""

from coterie.types import Label

TEXT = "wires cost nothing\n\nthe late fee is five dollars\n\ncards are sent by post"


async def test_only_the_named_document_is_searched(index, document):
    """Passages come from it alone, the best first, though another one has the words as well."""
    await index.update([document("a.txt", TEXT), document("b.txt", "the late fee is nine dollars")])

    passages = await index.search("late fee", k=2, clearance=Label.INTERNAL, document="a.txt")

    assert [passage.document for passage in passages] == ["a.txt", "a.txt"]
    assert passages[0].text == "the late fee is five dollars"


async def test_a_document_that_may_not_be_seen_is_not_there(index, document):
    """Above the clearance, of another tenant, or unknown: nothing is found."""
    await index.update([document("a.txt", TEXT, label=Label.RESTRICTED), document("b.txt", TEXT, tenant="other")])

    for name in ("a.txt", "b.txt", "c.txt"):
        assert not await index.search("late fee", k=2, clearance=Label.INTERNAL, document=name)
    assert await index.search("late fee", k=2, clearance=Label.RESTRICTED, document="a.txt")
