"""An index that is more open than coterie.toml is not searched."""

import os

import pytest

from coterie.errors import ArtefactRefused
from coterie.knowledge.documents import DocumentIndex
from coterie.knowledge.open import GuardedIndex, keep_access, known_access, why_refused
from coterie.knowledge.sources import Access
from coterie.types import Label


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
