"""Bad luck while training: each has a clear error, and the registry is as it was."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from coterie.errors import DataError, SetupError
from coterie.learning.job import Silent
from coterie.registry.registry import Registry
from coterie.training.train import train

CLASSIFY = {"task": "classify", "licence": "CC0-1.0"}


def everything(folder: Path) -> dict[str, bytes]:
    """Every file of the registry but the locks, with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted((folder / "registry").rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def write(path: Path, rows) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


# --- Data that changes ---------------------------------------------------------------------------


class Meanwhile(Silent):
    """Does something when the first rung is measured."""

    def __init__(self, act) -> None:
        self.act = act

    def start(self, what, total):
        if "measure lexical" in what:
            self.act()


@pytest.mark.parametrize(
    ("file", "change", "found"),
    [
        ("it.jsonl", lambda path: path.write_bytes(path.read_bytes() + b"\n"), "its SHA-256 was"),
        ("it_test.jsonl", lambda path: path.write_bytes(path.read_bytes() + b"\n"), "its SHA-256 was"),
        ("it.jsonl", Path.unlink, "it cannot be read any more: No such file"),
    ],
)
def test_data_that_change_while_training(network, texts, encoder, file, change, found):  # noqa: PLR0917 - fixtures
    """What was trained on a file that is another one by now is not stored: its report would not be true."""
    folder = network({"it": CLASSIFY}, it=texts(each=8), it_test=texts(each=4, seed=1))
    before = train(folder, encoder=encoder).specialists["it"].version
    write(folder / "it.jsonl", texts(each=9, seed=2))
    stored = everything(folder)

    with pytest.raises(
        DataError, match=rf"{file} changed while 'it' was trained: {found}.* Nothing was stored"
    ) as caught:
        train(folder, encoder=encoder, progress=Meanwhile(lambda: change(folder / file)))

    assert "Train again" in caught.value.hint
    assert everything(folder) == stored
    assert Registry(folder / "registry").champion("it").version == before


def test_the_same_content_written_again_is_no_change(network, texts, encoder):
    """A file that is written anew with the same rows is the same file."""
    folder = network({"it": CLASSIFY}, it=texts(each=8))
    data = folder / "it.jsonl"

    assert train(folder, encoder=encoder, progress=Meanwhile(lambda: data.write_bytes(data.read_bytes()))).specialists


# --- A full disk ---------------------------------------------------------------------------------


class FullDisk:
    """From the n-th write, sync or new folder on there is no space left; removing and renaming still work."""

    def __init__(self, patch: pytest.MonkeyPatch, n: int) -> None:
        self.left = n
        really_open = Path.open

        def opened(path, mode="r", *args, **kwargs):
            file = really_open(path, mode, *args, **kwargs)
            return file if mode.startswith("r") else Filling(file, self)

        patch.setattr(Path, "open", opened)
        patch.setattr(os, "fsync", self._after(os.fsync))
        patch.setattr(os, "mkdir", self._after(os.mkdir))

    def is_full(self) -> bool:
        self.left -= 1
        return self.left <= 0

    def _after(self, call):
        def checked(*args, **kwargs):
            if self.is_full():
                raise OSError(errno.ENOSPC, "No space left on device")
            return call(*args, **kwargs)

        return checked


class Filling:
    """An open file of which, when the disk is full, half of what is written still fits."""

    def __init__(self, file, disk: FullDisk) -> None:
        self.file, self.disk = file, disk

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, content):
        if not self.disk.is_full():
            return self.file.write(content)
        self.file.write(content[: len(content) // 2])
        self.file.flush()
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_while_saving(network, texts, encoder):
    """Whichever write finds the disk full: a clear error, the versions and champion of before, and nothing half."""
    folder = network({"it": {**CLASSIFY, "rungs": ["lexical"]}}, it=texts(each=8))
    train(folder, encoder=encoder)
    write(folder / "it.jsonl", texts(each=8, seed=5))
    before = everything(folder)
    before_history, left = before.pop("registry/it/history.jsonl"), []
    del before["registry/it/history.head"]  # it goes with its line, before the version serves

    for n in range(1, 100):
        with pytest.MonkeyPatch.context() as patch:
            disk = FullDisk(patch, n)
            with suppress(SetupError):
                train(folder, encoder=encoder)
        if disk.left > 0:
            break
        files = everything(folder)
        del files["registry/it/history.head"]
        # A line that was begun is passed over by who reads it, and goes with the next change.
        assert files.pop("registry/it/history.jsonl").startswith(before_history), n
        if files != before:  # everything was written, and only the last sync failed
            left.append(n)
            assert before.items() - files.items() == {("registry/it/champion", before["registry/it/champion"])}, n
        registry = Registry(folder / "registry")
        assert len(registry.history("it")) == 1 + len(left), n
        assert registry.champion("it").version in registry.versions("it"), n
    assert 15 < n < 99
    assert left in ([], [n - 1])
    assert len(Registry(folder / "registry").history("it")) == 2


def test_a_disk_that_is_full_from_the_start(network, texts, encoder):
    """The first version ever finds no space: there is no version, no alias and no half of one."""
    folder = network({"it": {**CLASSIFY, "rungs": ["lexical"]}}, it=texts(each=8))
    for n in (1, 2, 5, 9):
        with pytest.MonkeyPatch.context() as patch:
            FullDisk(patch, n)
            with pytest.raises(SetupError, match="No space left on device") as full:
                train(folder, encoder=encoder)
        assert "the disk has space" in full.value.hint
        assert everything(folder) == {}, n


# --- Killed, interrupted, two at once ------------------------------------------------------------

_SCRIPT = """
import signal
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from conftest import WordEncoder
from coterie.learning.job import Silent; from coterie.training.train import train


signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have started this one without it


class Telling(Silent):
    def start(self, what, total):
        print(what, flush=True)

    def finish(self, note):
        print("done", flush=True)


train(Path(sys.argv[1]), encoder=WordEncoder(), progress=Telling())
print("stored", flush=True)
"""


def start_training(folder: Path) -> subprocess.Popen[str]:
    """A process that trains and says what it is doing, a line at a time."""
    return subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, str(folder), str(Path(__file__).parent)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.slow  # interpreters that import scikit-learn
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_training_that_is_killed(network, texts, encoder, how):
    """Ctrl-C or kill -9, wherever it is: the registry is as it was, and the next training works."""
    folder = network({"it": CLASSIFY}, it=texts(each=8))
    before = train(folder, encoder=encoder).specialists["it"].version
    stored = everything(folder)
    write(folder / "it.jsonl", texts(each=9, seed=3))

    for lines in (1, 3, 5):
        process = start_training(folder)
        assert process.stdout is not None
        printed = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(how)
        process.communicate()
        assert all(printed), "it ended by itself"
        assert process.returncode != 0
        assert everything(folder) == stored
        assert Registry(folder / "registry").champion("it").version == before

    after = train(folder, encoder=encoder).specialists["it"].version
    assert Registry(folder / "registry").versions("it") == (before, after)


@pytest.mark.slow  # two interpreters import scikit-learn
def test_two_trainings_at_once(network, texts):
    """Both versions are whole, one of them serves, and the history says in which order they did."""
    folder = network({"it": CLASSIFY}, it=texts(each=8))
    first = start_training(folder)
    assert first.stdout is not None
    first.stdout.readline()  # its configuration and data are read
    toml = (folder / "coterie.toml").read_text()
    (folder / "coterie.toml").write_text(f"{toml}seed = 1\n")
    second = start_training(folder)
    outputs = [process.communicate()[0] for process in (first, second)]

    assert [process.returncode for process in (first, second)] == [0, 0]
    assert all(output.endswith("stored\n") for output in outputs)
    registry = Registry(folder / "registry")
    versions = registry.versions("it")
    assert len({registry.load("it", version).report["seed"] for version in versions}) == 2
    champion, candidate = registry.alias("it"), registry.alias("it", "candidate")
    assert {champion, candidate} - {None} <= set(versions)
    assert registry.history("it")[-1].version == champion
    assert not list((folder / "registry" / "it").glob(".partial-*"))


# --- What a base or a text is ---------------------------------------------------------------------


def test_long_texts_are_counted(network, texts, encoder):
    """Training says how many texts the encoder cannot read to their end: of those it learns from, and of the others."""
    rows = texts(each=12)
    rows[3]["text"] += " again" * 70
    test = texts(each=4, seed=1)
    for row in test[:2]:
        row["text"] += " again" * 70
    section = {**CLASSIFY, "rungs": ["embedding"]}
    report = train(network({"it": section}, it=rows, it_test=test), encoder=encoder).specialists["it"].report

    assert report["metrics"]["truncated"] == 2
    cut = [warning for warning in report["warnings"] if "longer than" in warning]
    assert len(cut) == 2
    assert cut[0].startswith(
        "1 of 36 texts of it.jsonl are longer than the 64 tokens that 'embedding' reads, the first"
    )
    assert "the first on line 4: only their beginning counts" in cut[0]
    assert cut[1].startswith("2 of 12 held-out texts are longer than what 'embedding' reads")


def test_n_grams_have_no_window(network, texts, encoder):
    """The lexical rung reads every text to its end, so there is nothing to say."""
    rows = texts(each=12)
    rows[3]["text"] += " again" * 70
    section = {**CLASSIFY, "rungs": ["lexical"]}
    report = train(network({"it": section}, it=rows), encoder=encoder).specialists["it"].report

    assert report["metrics"]["truncated"] == 0
    assert not [warning for warning in report["warnings"] if "longer than" in warning]


def test_long_notes_of_a_score_are_counted(network, applicants, encoder, monkeypatch):
    """The text beside columns has the same window."""
    monkeypatch.setattr("coterie.tasks.score.fit.STAGES", 3)  # trees that are not looked at
    rows = applicants(40)
    rows[0]["note"] += " arrears" * 70
    section = {"task": "score", "label_column": "default", "text_column": "note", "rungs": ["embedding"]}
    report = train(network({"it": section}, it=rows), encoder=encoder).specialists["it"].report

    assert [w for w in report["warnings"] if "1 of 40 texts of it.jsonl are longer than the 64 tokens" in w]
