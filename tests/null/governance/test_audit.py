"""The audit log: what is appended is there, and every change of the file is found and located."""

from __future__ import annotations

import asyncio
import errno
import json
import multiprocessing
import os
import signal
import threading

import pytest

from coterie.config.file import AuditSection
from coterie.errors import AuditError, ConfigError, Overloaded
from coterie.governance.audit import AuditLog, LogPosition, attests, open_audit, read_entry
from coterie.governance.audit_verification import verify_audit
from coterie.registry.signature import open_signer, write_key
from coterie.types import AuditEvent


def event(n: int, **about: object) -> AuditEvent:
    return AuditEvent(kind="request", time=1000.0 + n, tenant="a", about={"trace": f"t{n}", **about})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "audit.jsonl"


@pytest.fixture
def signer(tmp_path):
    pytest.importorskip("cryptography")
    write_key(tmp_path / "key.pem")
    return open_signer("key.pem", tmp_path)


def fill(path, count: int = 10, **options: object) -> AuditLog:
    """A log of some entries, written in two batches."""
    log = AuditLog(path, **options)
    log.append_all([event(n) for n in range(count // 2)])
    log.append_all([event(n) for n in range(count // 2, count)])
    return log


def head_of(path):
    """The file that says where it ends."""
    return path.with_name("audit.jsonl.head")


def lines_of(path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def test_what_is_appended_is_there(path):
    """Entries stand in order, with who and what; the file is its owner's."""
    fill(path)
    entries = [read_entry(line[:-1]) for line in lines_of(path)]

    assert [entry["n"] for entry in entries] == list(range(1, 11))
    assert entries[3]["about"] == {"trace": "t3"}
    assert entries[3]["tenant"] == "a"
    assert path.stat().st_mode & 0o077 == 0
    verification = verify_audit(path)
    assert verification.whole
    assert verification.entries == 10
    assert verification.end == LogPosition(10, entries[-1]["hash"])


def test_another_process_goes_on_where_this_one_was(path):
    """A second log on the same file, and the first one again, follow each other's entries."""
    first, second = fill(path), AuditLog(path)
    for n in range(6):
        (second if n % 2 else first).append_all([event(n)])

    assert verify_audit(path).entries == 16


@pytest.mark.parametrize("line", range(10))
@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        (
            lambda lines, n: [*lines[:n], lines[n].replace(b'"tenant":"a"', b'"tenant":"b"'), *lines[n + 1 :]],
            {"edited"},
        ),
        (lambda lines, n: [*lines[:n], b"{}\n", *lines[n + 1 :]], {"edited"}),
        (lambda lines, n: [*lines[:n], *lines[n + 1 :]], {"deleted", "truncated"}),
        (lambda lines, n: [*lines[: n + 1], lines[n], *lines[n + 1 :]], {"reordered"}),
        (lambda lines, n: [*lines[:n], *reversed(lines[n : n + 2]), *lines[n + 2 :]], {"deleted"}),
        (lambda lines, n: lines[:n], {"truncated"}),
    ],
    ids=["edited", "replaced", "deleted", "doubled", "swapped", "cut"],
)
def test_every_change_is_found_and_located(path, change, kinds, line):
    """Whatever is done to whatever line, the fault is at it or right behind it, and what stands before it is whole."""
    fill(path)
    before = lines_of(path)
    changed = change(before, line)
    if changed == before:
        pytest.skip("the last two cannot be swapped")
    path.write_bytes(b"".join(changed))

    verification = verify_audit(path)
    assert not verification.whole
    assert verification.fault.kind in kinds
    assert line <= verification.fault.line <= line + 2
    assert verification.entries in {line, line + 1}


def test_any_byte(path):
    """A changed byte anywhere is found."""
    fill(path, 4)
    content = path.read_bytes()
    for offset in range(0, len(content), 7):
        path.write_bytes(content[:offset] + bytes([content[offset] ^ 1]) + content[offset + 1 :])
        assert not verify_audit(path).whole or verify_audit(path).torn, offset


def test_a_missing_head_is_a_fault(path):
    """Without it, nobody knows whether the end was cut off."""
    fill(path)
    head_of(path).unlink()

    assert verify_audit(path).fault.kind == "head_missing"


def test_a_log_put_back_as_it_was(path):
    """An older copy of both files looks whole, but not to who knows where the log stood."""
    fill(path)
    head = head_of(path)
    old = path.read_bytes(), head.read_bytes()
    AuditLog(path).append_all([event(n) for n in range(5)])
    stood = verify_audit(path).end
    path.write_bytes(old[0])
    head.write_bytes(old[1])

    assert verify_audit(path).whole
    verification = verify_audit(path, at=stood)
    assert verification.fault.kind == "truncated"
    assert "15" in verification.fault.reason


def test_signed(path, signer):
    """Checkpoints and head are signed: a log written anew without the key is found, at the first checkpoint."""
    fill(path, 10, signer=signer, checkpoint_every=4)
    verification = verify_audit(path, is_attested=attests, trusted=frozenset([signer.public]))

    assert verification.whole
    assert verification.checkpoints == 3
    assert verification.signers == (signer.public,)
    path.unlink()
    head_of(path).unlink()
    forger = AuditLog(path)
    forger.append_all([AuditEvent(kind="request", time=0.0, about={}) for _ in range(12)])
    assert verify_audit(path, is_attested=attests).whole, "nobody asks for a signature"
    forged = verify_audit(path, is_attested=attests, trusted=frozenset([signer.public]))
    assert forged.fault.kind == "unsigned"


def test_a_forged_checkpoint(path, signer):
    """Lines chained anew around an old checkpoint do not bear its signature."""
    log = fill(path, 6, signer=signer, checkpoint_every=4)
    checkpoint = next(read_entry(line[:-1]) for line in lines_of(path) if b"checkpoint" in line)
    path.unlink()
    head_of(path).unlink()
    forger = AuditLog(path)
    forger.append_all([event(n, changed=True) for n in range(4)])
    forger.append_all([AuditEvent(kind="checkpoint", time=0.0, about=checkpoint["about"])])

    verification = verify_audit(path, is_attested=attests)
    assert verification.fault.kind == "forged"
    assert verification.fault.line == 5
    assert log.digest("x") == forger.digest("x")


def test_an_untrusted_key(path, signer):
    """A signature of another key does not count where keys are named."""
    fill(path, signer=signer, checkpoint_every=100)

    assert verify_audit(path, is_attested=attests, trusted=frozenset(["0" * 64])).fault.kind == "forged"


def test_somebodys_words_are_no_checkpoint(path):
    """An entry that says `"kind":"checkpoint"` in what it is about is an entry."""
    AuditLog(path).append_all([event(0, words='"kind":"checkpoint"', nested={"kind": "checkpoint"})])

    verification = verify_audit(path, is_attested=attests)
    assert verification.whole
    assert verification.checkpoints == 0


def test_half_a_line_of_a_killed_writer(path):
    """It is no entry and no change; the next writer removes it and says so."""
    fill(path)
    with path.open("ab") as file:
        file.write(b'{"prev":"00')
    verification = verify_audit(path)
    assert verification.whole
    assert verification.torn == 11

    AuditLog(path, clock=lambda: 5.0).append_all([event(0)])
    entries = [read_entry(line[:-1]) for line in lines_of(path)]
    assert [entry["kind"] for entry in entries[-2:]] == ["repair", "request"]
    assert entries[-2]["about"]["removed_bytes"] == 11
    assert verify_audit(path).entries == 12


@pytest.mark.parametrize("room", [0, 10, 300])
def test_a_full_disk(path, room):
    """What does not fit is not there, the rest is as it was, and it goes on when there is room again."""
    left = [10_000]

    def write(file, content):
        if left[0] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = os.write(file, content[: left[0]])
        left[0] -= done
        return done

    log = AuditLog(path, write=write)
    log.append_all([event(n) for n in range(3)])
    left[0] = room
    with pytest.raises(AuditError, match="No space left"):
        log.append_all([event(n) for n in range(50)])
    assert verify_audit(path) == verify_audit(path)
    assert verify_audit(path).entries == 3
    assert not verify_audit(path).torn
    left[0] = 10**6
    log.append_all([event(9)])
    assert verify_audit(path).entries == 4


def test_a_disk_that_fails_to_sync(path):
    """The entry is not claimed, and the next one follows the last that was."""
    calls = []

    def sync(file):
        calls.append(file)
        if len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")

    log = AuditLog(path, sync=sync)
    log.append_all([event(0)])
    with pytest.raises(AuditError):
        log.append_all([event(1)])
    log.append_all([event(2)])
    assert [read_entry(line[:-1])["about"]["trace"] for line in lines_of(path)] == ["t0", "t2"]
    assert verify_audit(path).whole


def write_many(path, start, count) -> None:
    """What a second process does."""
    log = AuditLog(path)
    for n in range(count):
        log.append_all([event(start + n)])


def test_two_processes_at_once(path):
    """Two writers at once leave one chain with every entry."""
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_many, args=(path, start, 40)) for start in (0, 100)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)

    assert [writer.exitcode for writer in writers] == [0, 0]
    verification = verify_audit(path)
    assert verification.whole
    assert verification.entries == 80
    traces = {read_entry(line[:-1])["about"]["trace"] for line in lines_of(path)}
    assert len(traces) == 80


def test_killed_writers(path):
    """However often a writer is killed, the chain is whole and a new one goes on."""
    context = multiprocessing.get_context("fork")
    for _ in range(4):
        before = path.stat().st_size if path.exists() else 0
        writer = context.Process(target=write_many, args=(path, 0, 100_000))
        writer.start()
        while not path.exists() or path.stat().st_size < before + 2_000:
            assert writer.is_alive()
        os.kill(writer.pid, signal.SIGKILL)
        writer.join(60)
        verification = verify_audit(path)
        assert verification.whole, verification.fault

    AuditLog(path).append_all([event(0)])
    assert verify_audit(path).whole


async def test_appended_together(path):
    """Entries that wait together share a write, and each is on the disk when its writer hears of it."""
    syncs = []

    def sync(file):
        syncs.append(file)
        os.fsync(file)

    log = AuditLog(path, sync=sync)
    await asyncio.gather(*(log.append(event(n)) for n in range(200)))
    await log.close()

    assert verify_audit(path).entries == 200
    assert len(syncs) < 20
    await log.close()


async def test_who_leaves_early(path):
    """A writer that is gone before its entry is written leaves the entry there, and the others unharmed."""
    log = AuditLog(path)
    leaving = asyncio.create_task(log.append(event(0)))
    await asyncio.sleep(0)
    leaving.cancel()
    await log.append(event(1))
    await log.close()

    assert verify_audit(path).entries == 2


async def test_too_many_wait(path):
    """A bounded queue, as everywhere."""
    log = AuditLog(path, most_waiting=1)
    first = asyncio.create_task(log.append(event(0)))
    second = asyncio.create_task(log.append(event(1)))
    done = await asyncio.gather(first, second, return_exceptions=True)

    assert any(isinstance(outcome, Overloaded) for outcome in done)
    await log.close()


async def test_a_failed_write_is_told_to_all_who_wait(path):
    """None of them may take it for written."""

    def write(file, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    log = AuditLog(path, write=write)
    done = await asyncio.gather(*(log.append(event(n)) for n in range(3)), return_exceptions=True)

    assert [type(outcome) for outcome in done] == [AuditError] * 3


def test_a_cut_end_shows_for_ever(path):
    """Entries that the head knows and the file has not leave a gap, whatever is appended after."""
    log = fill(path)
    path.write_bytes(b"".join(lines_of(path)[:7]))
    log.append_all([event(0)])
    AuditLog(path).append_all([event(1)])

    verification = verify_audit(path)
    assert verification.fault.kind == "deleted"
    assert verification.fault.line == 8
    assert "8 to 10" in verification.fault.reason
    assert [read_entry(line[:-1])["n"] for line in lines_of(path)[7:]] == [11, 12, 13]


async def test_what_was_acknowledged_stays(path):
    """A disk that fails to sync later takes no entry away that somebody was told of."""
    failing = [True]

    def sync(file):
        if failing[0]:
            raise OSError(errno.EIO, "Input/output error")

    log = AuditLog(path, sync_seconds=60.0, sync=sync)
    await log.append(event(0))
    with pytest.raises(AuditError):
        log.append_all([event(1)])
    failing[0] = False
    await log.close()
    assert [read_entry(line[:-1])["about"]["trace"] for line in lines_of(path)] == ["t0"]
    assert verify_audit(path).whole


async def test_brought_to_the_disk_a_moment_later(path):
    """With patience, an entry is in the file at once; the sync comes later, or with the end, and then the head."""
    syncs = []
    log = AuditLog(path, sync_seconds=60.0, sync=syncs.append)
    await log.append(event(0))
    assert len(syncs) == 1, "the first entry makes the file, and a head with it"
    await log.append(event(1))

    assert len(lines_of(path)) == 2
    assert len(syncs) == 1
    assert verify_audit(path).behind_head == 1
    await log.close()
    assert len(syncs) == 2
    assert verify_audit(path).behind_head == 0
    assert verify_audit(path).whole


async def test_nobody_waits_while_the_disk_is_written(path):
    """While what was appended is brought to the disk, which may take long, the next entry is written all the same."""
    slow, go_on = threading.Event(), threading.Event()

    def sync(_: int) -> None:
        if len(lines_of(path)) > 1:
            slow.set()
            assert go_on.wait(120)

    log = AuditLog(path, sync_seconds=0.01, sync=sync)
    await log.append(event(0))
    await log.append(event(1))
    assert await asyncio.to_thread(slow.wait, 120)
    await asyncio.wait_for(log.append(event(2)), 120)
    behind = verify_audit(path).behind_head
    closing = asyncio.create_task(log.close())
    await asyncio.sleep(0.05)
    assert not closing.done(), "what is closed is on the disk"
    go_on.set()
    await closing

    assert behind == 2
    assert verify_audit(path).behind_head == 0


async def test_a_killed_process_loses_nothing(path):
    """What was appended without a sync is there for the next process, whose head vouches for it."""
    log = AuditLog(path, sync_seconds=60.0)
    await asyncio.gather(*(log.append(event(n)) for n in range(5)))
    AuditLog(path).append_all([event(9)])

    assert verify_audit(path).entries == 6
    assert verify_audit(path).whole
    await log.close()
    assert verify_audit(path).whole


def test_a_file_that_is_no_log(path):
    """It is not written to."""
    path.parent.mkdir()
    path.write_text("hello\n")

    with pytest.raises(AuditError, match="no line of an audit log"):
        AuditLog(path).append_all([event(0)])
    assert path.read_text() == "hello\n"


def test_hashes_of_content(path, tmp_path):
    """Equal content has equal hashes in one log, and others in another: guessing it needs this log's key."""
    log, again, other = AuditLog(path), AuditLog(path), AuditLog(tmp_path / "other" / "audit.jsonl")

    assert log.digest("a") == again.digest("a") != log.digest("b")
    assert log.digest("a") != other.digest("a")
    assert log.digest("\ud800")


def test_a_long_line(path):
    """An entry longer than what is read of the end at first is found."""
    log = AuditLog(path)
    log.append_all([event(0, words="x" * 3_000_000)])
    AuditLog(path).append_all([event(1)])

    assert verify_audit(path).entries == 2


def test_odd_characters(path):
    """Line ends and lone surrogates in somebody's words make no line of their own."""
    AuditLog(path).append_all([event(0, words="a\nb\r\u2028c\x85"), event(1)])

    assert verify_audit(path).entries == 2
    assert json.loads(lines_of(path)[0])["about"]["words"] == "a\nb\r\u2028c\x85"


def test_as_configured(tmp_path):
    """`[audit]` says where and whether; a key that is not there is an error before anything is done."""
    assert open_audit(AuditSection(enabled=False), tmp_path) is None
    open_audit(AuditSection(path="logs/a.jsonl"), tmp_path).append_all([event(0)])
    assert (tmp_path / "logs" / "a.jsonl").is_file()
    pytest.importorskip("cryptography")
    with pytest.raises(ConfigError, match=r"audit\.signing_key"):
        open_audit(AuditSection(signing_key="missing.pem"), tmp_path)


def chained_anew(lines: list[bytes], begin: int) -> list[bytes]:
    """Lines whose hashes fit again from one on, as somebody writes them who knows the format and has no key."""
    chained = lines[:begin]
    for line in lines[begin:]:
        before = read_entry(chained[-1][:-1])["hash"] if chained else "0" * 64
        chained.append(b'{"prev":"' + before.encode() + line[9 + 64 :])
    return chained


def test_an_entry_behind_the_head_excuses_no_change_before_it(path, signer):
    """A changed entry, all after it chained anew, and one more written behind the signed head: it is found."""
    log = fill(path, 10, signer=signer)
    lines = lines_of(path)
    log.append_all([event(10)], sync=False)
    more = lines_of(path)[len(lines) :]
    changed = [*lines[:7], lines[7].replace(b'"tenant":"a"', b'"tenant":"b"'), *lines[8:], *more]
    trusted = frozenset([signer.public])
    assert verify_audit(path, is_attested=attests, trusted=trusted).behind_head == 1
    path.write_bytes(b"".join(chained_anew(changed, 8)))

    verification = verify_audit(path, is_attested=attests, trusted=trusted)
    assert verification.fault.kind == "edited"
    assert verification.fault.line == 10
    assert verification.entries == 9


def test_an_unsigned_head_with_entries_behind_it(path, signer):
    """Where keys are trusted, a head that nobody signed is a fault also when the log goes on behind it."""
    fill(path, 5).append_all([event(5)], sync=False)

    assert verify_audit(path).behind_head == 1
    verification = verify_audit(path, is_attested=attests, trusted=frozenset([signer.public]))
    assert verification.fault.kind == "unsigned"


def test_a_log_has_a_head_from_its_birth(path):
    """Who checks a log in its first second is not told that its head is missing."""
    AuditLog(path, sync_seconds=60.0).append_all([event(0)], sync=False)

    assert verify_audit(path).whole


@pytest.mark.parametrize("key", [False, True])
def test_a_process_killed_at_a_logs_first_entry(path, signer, key):
    """The first line stands, and no head counts it: nothing is wrong, and the next entry counts it."""
    killed = RuntimeError("killed")

    def sync(_):
        raise killed

    by = signer if key else None
    trusted = frozenset([signer.public] if key else [])
    with pytest.raises(RuntimeError):
        AuditLog(path, signer=by, sync=sync).append_all([event(0)])

    verification = verify_audit(path, is_attested=attests, trusted=trusted)
    assert (verification.whole, verification.entries, verification.vouched) == (True, 1, 0)
    fill(path, 1, signer=by)
    verification = verify_audit(path, is_attested=attests, trusted=trusted)
    assert (verification.whole, verification.entries, verification.vouched) == (True, 2, 2)


def test_a_head_of_nothing_vouches_for_nothing(path, signer):
    """The head of a log's birth put back beside later entries: none counts, and one that nobody signed is at fault."""
    fill(path, 2, signer=signer)
    born = '{"n": 0, "hash": "' + "0" * 64 + '"}'
    head_of(path).write_text(born)

    assert verify_audit(path).vouched == 0
    verification = verify_audit(path, is_attested=attests, trusted=frozenset([signer.public]))
    assert (verification.fault.kind, verification.fault.line) == ("unsigned", 1)
    head_of(path).write_text(born.replace("00", "01", 1))
    assert verify_audit(path).fault.kind == "head_missing"
    fill(path, 1).append_all([event(1000)])
    head_of(path).write_text(born)
    assert verify_audit(path).fault.kind == "unvouched"


def test_an_older_signed_head_vouches_for_no_later_entries(path, signer):
    """A signed head of before put back, and all that was written since made anew behind it: it is found."""
    log = fill(path, 4, signer=signer)
    older = head_of(path).read_bytes()
    log.append_all([event(n, decided="no") for n in (4, 100, 200, 300)])
    forged = [line.replace(b'"no"', b'"yes"') for line in lines_of(path)]
    path.write_bytes(b"".join(chained_anew(forged, 5)))
    head_of(path).write_bytes(older)

    verification = verify_audit(path, is_attested=attests, trusted=frozenset([signer.public]))
    assert (verification.fault.kind, verification.fault.line, verification.entries) == ("unvouched", 5, 4)


def test_a_new_writer_counts_what_a_killed_one_left(path):
    """Entries of a killed writer's last second are counted by the first entry of the next one, a day later."""
    fill(path, 2).append_all([event(2)], sync=False)
    assert verify_audit(path).behind_head == 1
    AuditLog(path, sync_seconds=60.0).append_all([event(90_000)], sync=False)

    verification = verify_audit(path)
    assert verification.whole
    assert verification.behind_head == 0


async def test_a_head_that_cannot_be_written_ends_the_answers(path):
    """Where entries can be written and the head cannot, the next entry is refused: nothing vouches for it."""
    log = AuditLog(path, sync_seconds=0.01)
    await log.append(event(0))
    head = head_of(path).read_bytes()
    head_of(path).unlink()
    head_of(path).mkdir()
    await log.append(event(1))
    async with asyncio.timeout(120):
        while not log._behind:  # noqa: ASYNC110 - nobody is told when it was tried
            await asyncio.sleep(0.01)
    with pytest.raises(AuditError, match="Cannot write the audit log"):
        await log.append(event(2))
    head_of(path).rmdir()
    head_of(path).write_bytes(head)

    await log.append(event(3))
    await log.close()
    assert len(lines_of(path)) == 3
    assert verify_audit(path).whole


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line.replace(b'"about"', b'"abouu"'),
        lambda line: line.replace(b'"signature"', b'"signature\xff"'),
        lambda line: line.replace(b'"tenant"', b"tenant"),
        lambda line: line.replace(b'"about":{', b'"about":7,"x":{'),
        lambda line: line[:-1] + b" " + line,
        lambda line: line.replace(b'"key":"', b'"key":"\n'),
        lambda line: line.replace(b'"about":', b'"about":' + b"[" * 100_000),
    ],
)
def test_a_damaged_checkpoint(path, signer, damage):
    """A checkpoint that is no JSON any more, or no signature, is an edit at its line."""
    fill(path, 10, signer=signer, checkpoint_every=4)
    lines = lines_of(path)
    at = next(number for number, line in enumerate(lines) if b'"kind":"checkpoint"' in line)
    path.write_bytes(b"".join([*lines[:at], damage(lines[at]), *lines[at + 1 :]]))

    verification = verify_audit(path, is_attested=attests)
    assert verification.fault.kind == "edited"
    assert verification.fault.line in {at + 1, at + 2}


async def test_an_entry_is_told_before_the_head_counts_it(path):
    """Who waits for the disk does not wait for the head; where that cannot be written, the next entry is refused."""
    log = AuditLog(path)
    await log.append(event(0), sync=True)
    head = head_of(path).read_bytes()
    head_of(path).unlink()
    head_of(path).mkdir()
    await log.append(event(1), sync=True)
    assert len(lines_of(path)) == 2
    with pytest.raises(AuditError, match="Cannot write the audit log"):
        await log.append(event(2), sync=True)
    assert len(lines_of(path)) == 2
    head_of(path).rmdir()
    head_of(path).write_bytes(head)
    await log.append(event(3), sync=True)
    await log.close()
    verification = verify_audit(path)
    assert (verification.whole, verification.entries, verification.behind_head) == (True, 3, 0)


def test_an_outcome_that_stands_before_what_it_is_of(path):
    """A caller who leaves while an announcement waits for the disk: the request's entry may be written first."""
    left = {"id": "t1.0", "trace": "t1", "engine": "large"}
    request = event(1, egress={"t1.0": "not_sent"})
    other = AuditEvent(kind="egress", time=1002.0, tenant="a", about={**left, "id": "t2.0", "trace": "t2"})
    AuditLog(path).append_all([request, AuditEvent(kind="egress", time=1001.0, tenant="a", about=left), other])

    assert [prompt.id for prompt in verify_audit(path).open] == ["t2.0"]


@pytest.mark.parametrize("time", [500, 90_000])
def test_an_entry_of_a_long_request_or_of_a_clock_that_was_set(path, time):
    """An entry far older or younger than those that no head counts yet has them counted first: nobody tampered."""
    log = AuditLog(path, sync_seconds=60.0)
    for n in (1_000, 1_001, time, time + 1):
        log.append_all([event(n)], sync=False)

    verification = verify_audit(path)
    assert (verification.whole, verification.entries, verification.behind_head) == (True, 4, 2)
