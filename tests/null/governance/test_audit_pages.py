"""Pages of an audit log, from its end and from any entry."""

import pytest

from coterie.governance.audit import START, write_line
from coterie.governance.audit_verification import read_page


def write(path, entries):
    """A log of entries: kind, tenant, time, about."""
    after, lines = START, []
    for kind, tenant, time, about in entries:
        line, after = write_line(after, time, kind, tenant, about)
        lines.append(line)
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


@pytest.fixture
def log(tmp_path):
    """2,000 entries, of which every seventh is of another kind, and some are longer than a block."""
    return write(
        tmp_path / "audit.jsonl",
        [
            ("promote" if n % 7 == 0 else "request", ("a", "b")[n % 2], float(n), {"text": "x" * (n % 300) ** 2})
            for n in range(2000)
        ],
    )


def numbers(page):
    """Of its entries."""
    return [entry["n"] for entry in page.entries]


def test_the_newest_come_first(log):
    """And each page begins behind the one before it, down to the first entry."""
    listed, before = [], None
    while True:
        page = read_page(log, before=before, limit=333, most=1 << 30)
        listed += numbers(page)
        before = page.before
        if before is None:
            break
    assert listed == list(range(2000, 0, -1))


@pytest.mark.parametrize("before", [1, 2, 3, 999, 1000, 2000, 2001, 9999])
def test_from_any_entry(log, before):
    """The page ends right before it, wherever it lies."""
    newest = min(before - 1, 2000)
    assert numbers(read_page(log, before=before, limit=2)) == [n for n in (newest, newest - 1) if n > 0]


def test_of_one_kind_and_tenant(log):
    """Others are passed over."""
    page = read_page(log, kind="promote", tenant="a", limit=3, most=1 << 30)
    assert [(entry["kind"], entry["tenant"]) for entry in page.entries] == [("promote", "a")] * 3
    assert numbers(page)[0] == 1 + max(n for n in range(2000) if n % 14 == 0)


@pytest.mark.parametrize("tenant", [None, "a", "Größe & Söhne"])
@pytest.mark.parametrize("kind", ["", "promote", "nothing"])
def test_what_is_passed_over_unread_is_not_meant(tmp_path, kind, tenant):
    """Only lines that may be meant are read, and none of those is missed: long ones, other scripts, words in a text."""
    kinds, tenants = ("promote", "request", "egress"), ("a", "Größe & Söhne", "東京")
    entries = [
        (kinds[n % 3], tenants[n % 7 % 3], float(n), {"text": ("x" * (n % 50) ** 3, '"kind":"promote"')[n % 5 == 0]})
        for n in range(300)
    ]
    log = write(tmp_path / "log", entries)
    wanted = [n + 1 for n, entry in enumerate(entries) if kind in {"", entry[0]} and tenant in {None, entry[1]}]
    assert numbers(read_page(log, kind=kind, tenant=tenant, limit=1000, most=1 << 40)) == wanted[::-1]


def test_it_looks_through_so_much_and_says_so(log):
    """What is not found in a part of the log may be further back: the next page goes on from there."""
    page = read_page(log, kind="sign_in", most=1 << 20)
    assert (page.entries, page.complete) == ((), False)
    before = page.before
    assert before is not None
    assert 1 < before < 2000
    assert page.reached == before - 1.0
    assert read_page(log, kind="sign_in", before=before, most=1 << 40).complete


def test_since_a_time(tmp_path):
    """Entries from then on, also one that stands behind a younger one: a request's has the time it was admitted."""
    times = [0.0, 9000.0, 10_000.0, 9_999.0, 10_001.0]
    log = write(tmp_path / "log", [("request", "", time, {}) for time in times])
    assert [entry["time"] for entry in read_page(log, since=9_999.0).entries] == [10_001.0, 9_999.0, 10_000.0]


def test_what_came_of_what_left(tmp_path):
    """The outcome is found behind the page, too."""
    egress = [("egress", "", float(n), {"id": f"e{n}"}) for n in range(3)]
    log = write(
        tmp_path / "log",
        [
            *egress,
            ("request", "", 4.0, {"egress": {"e0": "answered", "e2": "cancelled"}}),
            ("egress_outcome", "", 5.0, {"egress": {"e1": "not_sent"}}),
        ],
    )
    first = read_page(log, kind="egress", limit=1)
    assert first.outcomes["e2"] == "cancelled"
    assert read_page(log, kind="egress", before=first.before, limit=1).outcomes["e1"] == "not_sent"


def test_half_a_line_is_left_out(tmp_path):
    """A writer at work has not ended it; and a kind within a text is none."""
    log = write(tmp_path / "log", [("request", "", 1.0, {"text": '"kind":"promote"'}), ("request", "", 2.0, {})])
    with log.open("ab") as file:
        file.write(b'{"prev":"00')
    assert numbers(read_page(log)) == [2, 1]
    assert numbers(read_page(log, kind="promote")) == []
