"""The registry: versions are whole, immutable and checked, whatever happens around them."""

import hashlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from coterie.errors import ArtefactRefused, NotTrained, SetupError
from coterie.registry.registry import Registry

FILES = {
    "model.json": b"{}",
    "weights.safetensors": bytes(range(256)) * 40,
    "report.json": b'{"seed": 7}',
    "card.md": b"#",
}


def leftovers(registry: Registry) -> list[str]:
    """Everything in the specialists' folders that is neither a version nor an alias nor the lock."""
    return [p.name for p in registry.root.glob("*/.*") if p.name != ".lock"]


def test_round_trip(registry):
    """A version comes back with every byte, its report parsed."""
    version = registry.add("triage", FILES)

    loaded = registry.load("triage", version)

    assert loaded.files == FILES
    assert loaded.report == {"seed": 7}
    assert (loaded.name, loaded.version, loaded.folder) == ("triage", version, registry.root / "triage" / version)


def test_large_files_are_not_kept(registry):
    """A file beyond a megabyte is read, and checked again, when it is asked for: changed meanwhile, it is refused."""
    weights = bytes(range(256)) * 5000
    registry.promote("triage", registry.add("triage", {"adapter.gguf": weights, "card.md": b"a card"}))
    version = registry.champion("triage")
    assert sum(map(len, version.files._small.values())) < 1000
    assert dict(version.files) == {"adapter.gguf": weights, "card.md": b"a card"}
    assert ("adapter.gguf" in version.files, "other.gguf" in version.files) == (True, False)
    with pytest.raises(KeyError):
        version.files["other.gguf"]

    file = version.folder / "adapter.gguf"
    file.chmod(0o644)
    file.write_bytes(weights[:-1] + b"x")
    with pytest.raises(ArtefactRefused, match=r"adapter.gguf .* is not what was stored"):
        version.files["adapter.gguf"]
    file.unlink()
    with pytest.raises(ArtefactRefused, match="cannot be read any more"):
        version.files["adapter.gguf"]


def test_version_is_the_manifests_hash(registry):
    """The name is the first 16 hex digits of the manifest's SHA-256, and the manifest lists every file's."""
    version = registry.add("triage", FILES)

    manifest = (registry.root / "triage" / version / "manifest.json").read_bytes()
    assert hashlib.sha256(manifest).hexdigest()[:16] == version
    assert json.loads(manifest) == {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}


def test_same_content_is_the_same_version(registry):
    """Adding equal content again, in any order of files, gives the version there is and does not touch it."""
    version = registry.add("triage", FILES)
    before = (registry.root / "triage" / version).stat().st_mtime_ns

    assert registry.add("triage", dict(reversed(FILES.items()))) == version
    assert registry.versions("triage") == (version,)
    assert (registry.root / "triage" / version).stat().st_mtime_ns == before


def test_other_content_is_another_version(registry):
    """One changed byte, or one more file, gives another version; the first stays."""
    first = registry.add("triage", FILES)
    second = registry.add("triage", {**FILES, "card.md": b"!"})
    third = registry.add("triage", {**FILES, "more.md": b""})

    assert len({first, second, third}) == 3
    assert registry.versions("triage") == (first, second, third)


def test_no_version_yet(registry):
    """Without a champion, the error says what to run."""
    with pytest.raises(NotTrained, match="'triage'") as missing:
        registry.champion("triage")

    assert missing.value.hint == "Run: coterie train triage"
    assert registry.versions("triage") == ()


def test_promote(registry):
    """The champion is the version promoted last; another alias stands for itself."""
    first, second = registry.add("triage", FILES), registry.add("triage", {"a.md": b"1"})
    registry.promote("triage", first)
    registry.promote("triage", second, alias="candidate")

    assert registry.champion("triage").version == first
    assert registry.champion("triage", alias="candidate").version == second

    registry.promote("triage", second)

    assert registry.champion("triage").version == second


def test_promote_what_is_not_there(registry):
    """Promoting an unknown version is refused and leaves the champion."""
    version = registry.add("triage", FILES)
    registry.promote("triage", version)

    with pytest.raises(ArtefactRefused, match="has no version"):
        registry.promote("triage", "0" * 16)

    assert registry.champion("triage").version == version


def test_version_without_a_report(registry):
    """A version without `report.json` has an empty report; one whose report is no object is refused."""
    assert registry.load("a", registry.add("a", {"x.md": b""})).report == {}
    with pytest.raises(ArtefactRefused, match=r"report\.json"):
        _ = registry.load("a", registry.add("a", {"report.json": b"[1]"})).report


# --- Tampering -----------------------------------------------------------------------------------


def change(folder: Path) -> str:
    path = folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    return path.name


def cut(folder: Path) -> str:
    """Lose the last byte."""
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    return path.name


def remove(folder: Path) -> str:
    (folder / "report.json").unlink()
    return "report.json"


def add(folder: Path) -> str:
    """Bring a file along."""
    (folder / "extra.py").write_text("import os")
    return "extra.py"


def add_folder(folder: Path) -> str:
    (folder / "extra").mkdir()
    return "extra"


def link(folder: Path) -> str:
    """Replace a file by a link to an equal one."""
    path = folder / "model.json"
    shutil.copy(path, folder.parent / "elsewhere")
    path.unlink()
    path.symlink_to(folder.parent / "elsewhere")
    return path.name


def rewrite_manifest(folder: Path) -> str:
    """Change a file and its checksum with it."""
    (folder / "card.md").write_bytes(b"evil")
    sums = json.loads((folder / "manifest.json").read_bytes())
    sums["card.md"] = hashlib.sha256(b"evil").hexdigest()
    (folder / "manifest.json").write_text(json.dumps(sums, sort_keys=True, indent=1) + "\n")
    return "manifest.json"


def remove_manifest(folder: Path) -> str:
    (folder / "manifest.json").unlink()
    return "manifest.json"


def cut_manifest(folder: Path) -> str:
    """Lose the manifest's end."""
    path = folder / "manifest.json"
    path.write_bytes(path.read_bytes()[:-40])
    return path.name


@pytest.mark.parametrize(
    "tamper",
    [change, cut, remove, add, add_folder, link, rewrite_manifest, remove_manifest, cut_manifest],
    ids=lambda f: f.__name__,
)
def test_tampered_version(registry, tamper):
    """Whatever is changed in a version's folder, nobody gets it, and the error names the file."""
    version = registry.add("triage", FILES)
    registry.promote("triage", version)
    file = tamper(registry.root / "triage" / version)

    for use in (
        lambda: registry.load("triage", version),
        lambda: registry.champion("triage"),
        lambda: registry.promote("triage", version),
        lambda: registry.add("triage", FILES),
    ):
        with pytest.raises(ArtefactRefused, match=file.replace(".", r"\.")) as refused:
            use()
        assert version in refused.value.hint


def test_kinds_that_run_code(registry):
    """A file of a kind that could run code is refused when it is added, and when it is found in a version."""
    for file in ("model.pkl", "model.pt", "run.py", "lib.so", "model", "model.JSON", "x.sig"):
        with pytest.raises(ArtefactRefused, match="kind"):
            registry.add("triage", {file: b"x"})
    assert not registry.root.exists()

    manifest = json.dumps({"model.pkl": hashlib.sha256(b"x").hexdigest()}).encode()
    version = hashlib.sha256(manifest).hexdigest()[:16]
    folder = registry.root / "triage" / version
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_bytes(manifest)
    (folder / "model.pkl").write_bytes(b"x")
    with pytest.raises(ArtefactRefused, match=r"model\.pkl .* is of a kind that no version holds"):
        registry.load("triage", version)


def test_version_under_another_name(registry):
    """A version's folder that was renamed is refused."""
    version = registry.add("triage", FILES)
    folder = registry.root / "triage" / version
    folder.rename(folder.with_name("f" * 16))

    with pytest.raises(ArtefactRefused, match="does not match the version's name"):
        registry.load("triage", "f" * 16)


@pytest.mark.parametrize(
    "sums", [b"[]", b"nonsense", b'{"../../secret": "' + b"0" * 64 + b'"}', b'{"a.md": 3}', b"\xff"]
)
def test_forged_manifest(registry, sums):
    """A folder that is named after its own forged manifest is refused all the same."""
    version = hashlib.sha256(sums).hexdigest()[:16]
    folder = registry.root / "triage" / version
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_bytes(sums)

    with pytest.raises(ArtefactRefused, match=r"manifest\.json"):
        registry.load("triage", version)


@pytest.mark.parametrize("content", ["", "latest", "../../../etc", "0" * 15, "é" * 16])
def test_damaged_alias(registry, content):
    """An alias file that names no version is refused, and promoting again repairs it."""
    version = registry.add("triage", FILES)
    registry.promote("triage", version)
    (registry.root / "triage" / "champion").write_text(content, encoding="utf-8")

    with pytest.raises(ArtefactRefused, match="alias"):
        registry.champion("triage")

    registry.promote("triage", version)
    assert registry.champion("triage").version == version


# --- Names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc", "A", "a\x00b", "a b", "a\n", "-a", "é", "a" * 64]
)
def test_names_that_could_lead_elsewhere(registry, name):
    """No specialist, and no alias, is named so that its folder could lie elsewhere."""
    version = registry.add("triage", FILES)
    for use in (
        lambda: registry.add(name, FILES),
        lambda: registry.load(name, version),
        lambda: registry.champion(name),
        lambda: registry.versions(name),
        lambda: registry.promote(name, version),
        lambda: registry.promote("triage", version, alias=name),
    ):
        with pytest.raises(ArtefactRefused, match="cannot name"):
            use()


@pytest.mark.parametrize("version", ["", "..", "../triage", "0" * 15, "0" * 17, "G" * 16, "0" * 16 + "\n"])
def test_versions_that_are_none(registry, version):
    """Only what has the form of a version is looked up."""
    with pytest.raises(ArtefactRefused, match="is no version"):
        registry.load("triage", version)


@pytest.mark.parametrize(
    "files",
    [["../x.md"], ["/etc/x.md"], [""], ["."], [".hidden.md"], ["a/b.md"], ["a\\b.md"], ["a.md\x00"], ["a.md\n"],
     ["manifest.json"], ["manifest.sig"],
     ["Manifest.JSON"], ["card.md", "CARD.md"], ["é.md"]],
)  # fmt: skip
def test_files_that_could_lie_elsewhere(registry, files):
    """No file of a version is named so that it could lie outside its folder or hide another; nothing is written."""
    with pytest.raises(ArtefactRefused):
        registry.add("triage", dict.fromkeys(files, b"x"))

    assert not registry.root.exists()


# --- Interruptions -------------------------------------------------------------------------------

CALLS = [
    "os.fsync",
    "os.open",
    "os.close",
    "os.mkdir",
    "os.rename",
    "os.chmod",
    "io.open",
    "fcntl.flock",
    "tempfile.mkdtemp",
]


CLOSE = os.close


class Fault:
    """Fails the n-th of the calls that touch files."""

    def __init__(self, monkeypatch, n: int, error: type[BaseException]) -> None:
        self.n, self.error, self.count = n, error, 0
        for call in CALLS:
            module, name = call.split(".")
            monkeypatch.setattr(sys.modules[module], name, self.wrapped(getattr(sys.modules[module], name)))

    def wrapped(self, real):
        def call(*args, **kwargs):
            self.count += 1
            if self.count == self.n:
                if real is CLOSE:
                    real(*args)  # a close that fails has closed all the same
                raise self.error(5, "injected")
            return real(*args, **kwargs)

        return call


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_fail_the_nth_call_of_add_and_promote(registry, error):
    """For n = 1, 2, 3 ...: a version is whole or not there, champion and history are old or new, and a retry works."""
    old = registry.add("triage", {"a.md": b"old"})
    registry.promote("triage", old)
    for n in range(1, 100):
        new = {"a.md": b"new", "n.md": str(n).encode()}
        with pytest.MonkeyPatch.context() as patch:
            fault = Fault(patch, n, error)
            with suppress(SetupError, KeyboardInterrupt):
                registry.promote("triage", registry.add("triage", new))
        if fault.count < n:
            break
        champion = registry.champion("triage")
        assert champion.files in ({"a.md": b"old"}, new), f"call {n}"
        assert registry.history("triage")[-1].version == champion.version, f"call {n}"
        for version in registry.versions("triage"):
            registry.load("triage", version)
        registry.promote("triage", registry.add("triage", new))
        assert registry.champion("triage").files == new
        assert leftovers(registry) == [], f"call {n}"
        registry.promote("triage", old)
    assert 20 < n < 99


def test_leftovers_of_a_killed_process(registry):
    """What a killed process left half written is removed by the next add, and is never taken for a version."""
    version = registry.add("triage", FILES)
    half = registry.root / "triage" / ".partial-killed"
    half.mkdir()
    (half / "weights.safetensors").write_bytes(b"half")
    (registry.root / "triage" / ".partial-champion").write_bytes(b"ab")
    assert registry.versions("triage") == (version,)

    registry.add("triage", {"a.md": b"1"})

    assert leftovers(registry) == []


def test_killed_while_adding(registry):
    """A process killed at any moment of adding leaves whole versions only."""
    code = f"""
import sys, itertools
sys.path[:0] = {sys.path!r}
from pathlib import Path
from coterie.registry.registry import Registry
registry = Registry(Path({str(registry.root)!r}))
for i in itertools.count():
    registry.promote("triage", registry.add("triage", {{"a.onnx": b"x" * 50_000, "b.md": str(i).encode()}}))
    print(i, flush=True)
"""
    for lines in (1, 5, 12):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        for _ in range(lines):
            assert process.stdout.readline()
        process.kill()
        process.communicate()

        loaded = [registry.load("triage", version) for version in registry.versions("triage")]
        assert len(loaded) >= lines
        assert registry.champion("triage").version in registry.versions("triage")
        assert registry.history("triage")[-1].version == registry.alias("triage")
        shutil.rmtree(registry.root)


def _add_many(root: Path, start: int) -> None:
    registry = Registry(root)
    for i in range(start, start + 20):
        registry.promote("triage", registry.add("triage", {"n.md": str(i).encode()}))


def test_two_processes_at_once(registry):
    """Processes that add overlapping versions at once end with each of them once, whole, and one champion."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_add_many, args=(registry.root, start)) for start in (0, 10, 0)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0, 0, 0]
    notes = [registry.load("triage", version).files["n.md"] for version in registry.versions("triage")]
    assert sorted(notes, key=int) == [str(i).encode() for i in range(30)]
    history = registry.history("triage")
    assert [entry.replaced for entry in history] == [None, *(entry.version for entry in history[:-1])]
    assert history[-1].version == registry.alias("triage")
    assert leftovers(registry) == []


def test_folder_that_cannot_be_written(tmp_path):
    """A registry below a plain file is our error with a hint, not the file system's."""
    (tmp_path / "file").write_text("")

    with pytest.raises(SetupError, match="Cannot add") as refused:
        Registry(tmp_path / "file" / "registry").add("triage", FILES)

    assert "writable" in refused.value.hint


def test_an_outline_reads_files_when_they_are_asked_for(registry):
    """Name, size and manifest are known at once; a file is read and checked when it is needed."""
    registry.promote("triage", registry.add("triage", FILES))
    outline = registry.outline("triage")
    file = outline.folder / "weights.safetensors"

    assert set(outline.files) == set(FILES)
    assert outline.size == sum(map(len, FILES.values()))
    assert outline.size_of("weights.safetensors") == len(FILES["weights.safetensors"])
    assert outline.size_of("nothing.json") == 0
    assert outline.report == {"seed": 7}
    file.chmod(0o644)
    file.write_bytes(b"x")
    with pytest.raises(ArtefactRefused, match=r"weights.safetensors .* is not what was stored"):
        outline.files["weights.safetensors"]


@pytest.mark.parametrize("damage", ["missing", "more", "manifest", "kind"])
def test_an_outline_is_of_a_whole_version(registry, damage):
    """A file too few or too many and a changed manifest are refused at once."""
    registry.promote("triage", registry.add("triage", FILES))
    folder = registry.champion("triage").folder
    folder.chmod(0o755)
    match damage:
        case "missing":
            (folder / "model.json").unlink()
        case "more":
            (folder / "more.json").write_bytes(b"{}")
        case "manifest":
            (folder / "manifest.json").chmod(0o644)
            (folder / "manifest.json").write_bytes(b"{}")
        case "kind":
            (folder / "run.py").write_bytes(b"")

    with pytest.raises(ArtefactRefused):
        registry.outline("triage")


# --- A file system that really refuses to write more.


_SCRIPT = """
import resource, signal, sys
sys.path[:0] = {path!r}
from pathlib import Path
from coterie.errors import SetupError
from coterie.registry.registry import Registry
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most}))
try:
    Registry(Path({root!r})).add("triage", {{"a.md": b"small", "model.onnx": b"x" * 100_000}})
except SetupError as error:
    print(error)
"""


@pytest.mark.parametrize("most", [0, 3, 5_000, 99_999])
def test_the_system_refuses_to_write(registry, most):
    """Where the system cuts a file short, there is an error that says why, and the registry is as it was."""
    old = registry.add("triage", {"a.md": b"old"})
    registry.promote("triage", old)
    script = _SCRIPT.format(path=sys.path, most=most, root=str(registry.root))
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert "Cannot add a version of 'triage'" in output
    assert "File too large" in output
    assert "the disk has space" in output
    assert registry.versions("triage") == (old,)
    assert Registry(registry.root).champion("triage").version == old
    assert sorted(path.name for path in (registry.root / "triage").iterdir()) == sorted(
        [".lock", "champion", "history.head", "history.jsonl", old]
    )
