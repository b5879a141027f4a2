"""The folder of versions: written whole or not at all, read only if every byte is as it was written.

    ROOT/triage/4f0c…/          a version: its files, `manifest.json` and, if it is signed, `manifest.sig`
    ROOT/triage/champion        an alias: the version that serves
    ROOT/triage/candidate       the version that was trained last, if it does not serve
    ROOT/triage/history.jsonl   every change of champion
    ROOT/triage/.partial-…/     a version being written; a leftover is removed when the next one is added
    ROOT/triage/.lock           held while one is added

A version is a pure function of its content, so adding the same content twice gives the same version. The
registry does not know what the files mean. A checksum shows damage and tampering with single files; who can
write a whole folder and the alias can put another version there, unless signatures are required.
"""

from __future__ import annotations

import getpass
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryFile
from typing import Literal

from coterie.config.file import RegistrySection
from coterie.errors import ArtefactRefused, ConfigError, ExtraMissing, InputError, NotTrained, UnknownSpecialist
from coterie.registry.signature import SIGNATURE, Signer, Trust, is_attested, open_signer
from coterie.registry.version import (
    LOCK,
    MANIFEST,
    Version,
    append_line,
    check_files,
    check_name,
    check_version,
    explaining,
    is_version,
    load_version,
    outline_version,
    remove_folder,
    remove_partials,
    replace_file,
    train_again,
    version_of,
    write_folder,
    write_manifest,
    written,
)
from coterie.runtime.codec import dumps, loads
from coterie.runtime.files import locked

# --- History of champions: one line of JSON each, append-only.

HISTORY = "history.jsonl"
HISTORY_HEAD = "history.head"
"""File with the end of the history: its number of lines and the hash of the last, signed if there is a key."""
_HINT = "Restore the file from a copy, or remove it: versions and aliases do not need it."


@dataclass(frozen=True, kw_only=True)
class Succession:
    """One change of champion."""

    time: str
    """Time in ISO 8601, UTC."""
    action: Literal["promote", "rollback"]
    version: str
    replaced: str | None
    """The champion before; None if there was none."""
    by: str
    """Name of the system's user who made the change."""
    reason: str
    forced: bool = False
    """Whether the promotion was forced against the verdict."""
    before: str = ""
    """SHA-256 of the previous line; of all previous lines, if an older Coterie without a chain wrote them."""


@dataclass(frozen=True, kw_only=True)
class HistoryHead:
    """The end of a history."""

    lines: int
    hash: str
    key: str = ""
    signature: str = ""

    def statement(self, name: str) -> bytes:
        """Return the bytes that are signed."""
        return f"{name} {self.lines} {self.hash}".encode()


@dataclass(frozen=True, kw_only=True)
class HistoryCheck:
    """How far a history is protected."""

    vouched: int = 0
    """Number of lines that the chain and its head cover."""
    unvouched: int = 0
    """Number of lines of an older Coterie without a chain, or after the head."""
    signer: str = ""
    """Public key that signed the head."""
    gap: str = ""
    """Part of the history that nothing protects, apart from lines of an older Coterie."""


def append_succession(home: Path, succession: Succession, signer: Signer | None = None) -> None:
    """Add a line that names the previous one, then update the history's end; on disk when this returns.

    Missing or changed lines before it stay visible: the line names what the head recorded.
    """
    whole, head = _lines_of(home), _read_head(home)
    before, lines = _digest_after(whole), len(whole)
    if head is not None and (lines < head.lines or _digest_after(whole[: head.lines]) != head.hash):
        before, lines = head.hash, max(lines, head.lines)
    append_line(home / HISTORY, dumps(replace(succession, before=before)).encode())
    new = HistoryHead(lines=lines + 1, hash=_digest_after(_lines_of(home)))
    if signer is not None:
        signature = signer.attest(_STATEMENT, new.statement(home.name))
        new = replace(new, key=signer.public, signature=signature)
    replace_file(home / HISTORY_HEAD, dumps(new).encode() + b"\n")


def _lines_of(home: Path) -> list[bytes]:
    """Return the whole lines of a history; an unfinished last line is left out."""
    path = home / HISTORY
    return path.read_bytes().rpartition(b"\n")[0].split(b"\n") if path.exists() and path.stat().st_size else []


def _digest_after(lines: Sequence[bytes]) -> str:
    """Return the hash that the next line names: of the last line, or of all lines of an older Coterie."""
    if not lines or b'"before":"' in lines[-1]:
        return sha256(lines[-1] if lines else b"").hexdigest()
    return sha256(b"\n".join(lines)).hexdigest()


def _read_head(home: Path) -> HistoryHead | None:
    """Return the end of a history; None if it is not known. Raises `ArtefactRefused` if it is damaged."""
    path = home / HISTORY_HEAD
    if not path.exists():
        return None
    try:
        return loads(HistoryHead, path.read_bytes())
    except (ValueError, TypeError) as error:
        raise ArtefactRefused(f"{str(path)!r} is no head of a history.", hint=_HINT) from error


def check_history(home: Path, champion: str | None, trust: Trust) -> HistoryCheck:
    """Check the history in a folder; return how far it is protected. Raises `ArtefactRefused` if it was changed."""
    path, head, lines = home / HISTORY, _read_head(home), _lines_of(home)
    changes = [_parse(path, number, line) for number, line in enumerate(lines, 1)]
    chained = next((index for index, change in enumerate(changes) if change.before), len(changes))
    for index in range(chained, len(lines)):
        if changes[index].before != _digest_after(lines[:index]):
            problem = (
                f"Line {index + 1} of {str(path)!r} names another line before it: one was changed, removed or added."
            )
            raise ArtefactRefused(problem, hint=_HINT)
    if head is None and chained < len(lines):
        raise ArtefactRefused(f"{str(home / HISTORY_HEAD)!r} is missing: where {HISTORY} ends is unknown.", hint=_HINT)
    if head is not None and (len(lines) < head.lines or _digest_after(lines[: head.lines]) != head.hash):
        problem = f"{str(path)!r} has {len(lines)} lines; its head knows {head.lines}, and they are not the same."
        raise ArtefactRefused(problem, hint=_HINT)
    counted = 0 if head is None else head.lines
    gap = f"{len(lines) - counted} line(s) stand behind its head" if head is not None and len(lines) > counted else ""
    if champion is not None and champion not in {change.version for change in changes}:
        gap = f"no line says how {champion} became champion"
    elif changes and changes[-1].version != champion:  # or whoever wrote the line was killed before it took effect
        gap = f"its last line made {changes[-1].version} champion, and {champion or 'none'} serves"
    signer = "" if head is None or not head.signature else _checked_signer(home, head, trust)
    return HistoryCheck(vouched=counted, unvouched=len(lines) - counted, signer=signer, gap=gap)


def _checked_signer(home: Path, head: HistoryHead, trust: Trust) -> str:
    """Return the signer of a head; empty if it cannot be checked here. Raises `ArtefactRefused` for a forged one."""
    try:
        good = is_attested(_STATEMENT, head.statement(home.name), key=head.key, signature=head.signature)
    except ExtraMissing:
        return ""
    if not good or (trust.keys and head.key not in trust.keys):
        why = "which is not trusted" if good else "and that is not what it signed"
        raise ArtefactRefused(f"{str(home / HISTORY_HEAD)!r} is signed by {head.key}, {why}.", hint=_HINT)
    return head.key


def read_history(home: Path, champion: str | None) -> tuple[Succession, ...]:
    """Return every change of champion that took effect, oldest first.

    Args:
        home: The specialist's folder.
        champion: The version that the alias stands for, read before the history.

    Raises:
        ArtefactRefused: a line is invalid, or the champion's promotion is missing at the end.
    """
    path = home / HISTORY
    if not path.exists():
        return ()
    whole, _, rest = path.read_bytes().rpartition(b"\n")  # what follows was never finished
    lines = [_parse(path, number, line) for number, line in enumerate(whole.splitlines(), 1)]
    if rest and champion is not None and champion not in {line.version for line in lines}:
        # A line is on disk before its version serves, so it was not the power that cut this one.
        raise ArtefactRefused(f"The last line of {str(path)!r}, of {champion}, which serves, was cut.", hint=_HINT)
    if not lines:
        return ()
    came_next = [*(line.replaced for line in lines[1:]), champion]
    return tuple(line for line, follows_on in zip(lines, came_next, strict=True) if line.version == follows_on)


def predecessor(history: Sequence[Succession], champion: str) -> str | None:
    """Return the champion before this one; rolled-back champions do not count. None if there is none."""
    line: list[str] = []
    for change in history:
        if change.replaced is not None and line[-1:] != [change.replaced]:
            line.append(change.replaced)
        if change.action == "rollback":
            del line[-1:]
        if line[-1:] != [change.version]:
            line.append(change.version)
    before = line[:-1] if line[-1:] == [champion] else line
    return before[-1] if before else None


def login_name() -> str:
    """Return the name of the user who runs this process."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "unknown"


def utc(seconds: float) -> str:
    """Return a time in ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _parse(path: Path, number: int, line: bytes) -> Succession:
    try:
        succession = loads(Succession, line)
        check_version(succession.version)
        return succession
    except (ValueError, TypeError, ArtefactRefused) as error:
        raise ArtefactRefused(f"Line {number} of {str(path)!r} is no change of champion.", hint=_HINT) from error


# --- The registry.

REGISTRY_FOLDER = "registry"
"""The registry's folder inside a network's."""
CHAMPION = "champion"
CANDIDATE = "candidate"

_STATEMENT = "history"
_PREFIX = re.compile(r"[0-9a-f]{4,16}")


class Registry:
    """Versions of specialists below one folder. Several processes may add, promote and read at once.

    Args:
        root: The folder; created when the first version is added.
        trust: The keys whose versions may be loaded.
        signer: Signs added versions.
        clock: Returns seconds since 1970, for the history.
        user: Name of the user who changes the champion, for the history.
        find_signer: Returns the signer of the history, if `signer` is None.
    """

    def __init__(
        self,
        root: Path,
        *,
        trust: Trust | None = None,
        signer: Signer | None = None,
        clock: Callable[[], float] = time.time,
        user: Callable[[], str] = login_name,
        find_signer: Callable[[], Signer | None] = lambda: None,
    ) -> None:
        self.root = root
        self._trust = trust or Trust()
        self._signer = signer
        self._clock = clock
        self._user = user
        self._find_signer = find_signer

    def names(self) -> tuple[str, ...]:
        """Return every specialist that has a folder in the registry."""
        with explaining(f"list {str(self.root)!r}"):
            if not self.root.is_dir():
                return ()
            return tuple(sorted(path.name for path in self.root.iterdir() if _is_home(path)))

    def check_writable(self) -> None:
        """Check that versions can be added, before the work of making one. Raises `SetupError` if they cannot."""
        with explaining(f"add a version to {str(self.root)!r}"):
            there = next(path for path in (self.root, *self.root.absolute().parents) if path.exists())
            TemporaryFile(dir=there).close()  # nothing is left behind where the training fails

    def add(self, name: str, files: Mapping[str, bytes]) -> str:
        """Store a version and return its name. Existing content is checked and left as it is.

        Raises:
            ArtefactRefused: a name could lead out of the folder, a file is of an unknown kind, or the version already
                exists and is damaged.
            SetupError: it cannot be written; nothing of it is left.
        """
        check_name(name)
        check_files(files)
        manifest = write_manifest(files)
        version = version_of(manifest)
        home = self.root / name
        signed = {SIGNATURE: self._signer.sign(name, manifest)} if self._signer else {}
        with explaining(f"add a version of {name!r} to {str(self.root)!r}"):
            home.mkdir(parents=True, exist_ok=True)
            with locked(home / LOCK):
                remove_partials(home)
                if not (home / version).exists():
                    write_folder(home, version, {**files, MANIFEST: manifest, **signed})
                else:
                    load_version(home, version, Trust())
                    for file, content in signed.items():
                        replace_file(home / version / file, content)
        return version

    def withdraw(self, name: str, version: str) -> None:
        """Remove a version without an alias, such as one that could not be promoted. Others are left.

        Raises:
            SetupError: it cannot be removed.
        """
        home = self.root / check_name(name)
        with explaining(f"remove {name!r} version {version}"), locked(home / LOCK):
            if version not in {self.alias(name, alias) for alias in (CHAMPION, CANDIDATE)}:
                remove_folder(home, check_version(version))

    def promote(
        self, name: str, version: str, alias: str = CHAMPION, *, reason: str = "", forced: bool = False
    ) -> None:
        """Point an alias to a version, effective at the next read. A new champion ends any candidacy.

        Raises:
            ArtefactRefused: there is no such version, or it is damaged.
            SetupError: the alias cannot be written; it is unchanged.
        """
        self.load(name, version)
        home = self.root / check_name(name)
        with explaining(f"promote {name!r} version {version}"), locked(home / LOCK):
            if alias == CHAMPION:
                self._succeed(home, version, "promote", reason, forced=forced)
            else:
                replace_file(home / check_name(alias), f"{version}\n".encode())

    def rollback(self, name: str, *, reason: str = "") -> str:
        """Make the previous champion serve again, and return it.

        Raises:
            NotTrained: nothing was promoted yet.
            InputError: there was no other champion before.
            ArtefactRefused: alias, history or the earlier champion is damaged.
        """
        home = self.root / check_name(name)
        self._standing(name, CHAMPION)  # without a champion there may be no folder to lock
        with explaining(f"roll back {name!r}"), locked(home / LOCK):
            champion = self._standing(name, CHAMPION)
            before = predecessor(read_history(home, champion), champion)
            if before is None:
                raise InputError(
                    f"Specialist {name!r} had no champion before {champion}.",
                    hint=f"Promote another version: coterie registry promote {name} VERSION",
                )
            self.load(name, before)
            self._succeed(home, before, "rollback", reason)
        return before

    def history(self, name: str) -> tuple[Succession, ...]:
        """Return every change of champion, oldest first. Raises `ArtefactRefused` if the history is damaged."""
        home = self.root / check_name(name)
        with explaining(f"read {str(home)!r}"):
            return read_history(home, self.alias(name))

    def check_history(self, name: str) -> HistoryCheck:
        """Check the history and return how far it is protected. Raises `ArtefactRefused` if it was changed."""
        home = self.root / check_name(name)
        with explaining(f"read {str(home)!r}"):
            try:
                champion = self.alias(name)
            except ArtefactRefused:  # which is another check's affair
                return replace(check_history(home, None, self._trust), gap="")
            return check_history(home, champion, self._trust)

    def alias(self, name: str, alias: str = CHAMPION) -> str | None:
        """Return the version that an alias stands for, unchecked; None if it stands for none."""
        with suppress(NotTrained):
            return self._standing(name, alias)
        return None

    def champion(self, name: str, alias: str = CHAMPION) -> Version:
        """Return the version that an alias stands for.

        Raises:
            NotTrained: nothing was promoted yet.
            ArtefactRefused: the alias or the version is damaged.
        """
        return self.load(name, self._standing(name, alias))

    def outline(self, name: str) -> Version:
        """Return the champion, with its files read and checked on access: for a network of very many.

        Raises:
            NotTrained: nothing was promoted yet.
            ArtefactRefused: the alias, the manifest or the signature is damaged, or a file is missing or too many.
                Access to a changed file raises it, too.
        """
        home, version = self.root / check_name(name), self._standing(name, CHAMPION)
        with explaining(f"read {str(home / version)!r}"):
            return outline_version(home, version, self._trust)

    def versions(self, name: str) -> tuple[str, ...]:
        """Return every stored version of a specialist, oldest first. They are not checked: `load` does that."""
        home = self.root / check_name(name)
        with explaining(f"list {str(home)!r}"):
            if not home.is_dir():
                return ()
            folders = [path for path in home.iterdir() if is_version(path.name)]
            return tuple(path.name for path in sorted(folders, key=lambda path: (written(path), path.name)))

    def added(self, name: str, version: str) -> str:
        """Return when a version was stored, in ISO 8601: by its file system's clock, so a copy may be younger."""
        folder = self.root / check_name(name) / check_version(version)
        with explaining(f"read {str(folder)!r}"):
            return utc(written(folder) / 1e9)

    def resolve(self, name: str, wanted: str) -> str:
        """Return a stored version by an alias, its name or at least 4 of its first digits.

        Raises:
            UnknownSpecialist: nothing of this name is stored.
            NotTrained: the alias stands for no version.
            InputError: no version, or several, begin like that.
        """
        stored = self.versions(name)
        if not stored:
            raise UnknownSpecialist(
                f"The registry has no version of {name!r}; it has {list(self.names())}.", hint=train_again(name)
            )
        if wanted in {CHAMPION, CANDIDATE}:
            return self._standing(name, wanted)
        matching = [version for version in stored if _PREFIX.fullmatch(wanted) and version.startswith(wanted)]
        if len(matching) != 1:
            what = f"begins the versions {', '.join(matching)}" if matching else "names no stored version"
            raise InputError(
                f"{wanted!r} {what} of {name!r}.",
                hint=f"Give champion, candidate or 4 digits or more: coterie registry list {name}",
            )
        return matching[0]

    def load(self, name: str, version: str) -> Version:
        """Return a version with its files, each checked against the manifest, and that against its name.

        Raises:
            ArtefactRefused: there is no such version; a file is changed, cut short, missing, too many or of no known
                kind; or its signature is wrong, or required and missing.
        """
        home, version = self.root / check_name(name), check_version(version)
        with explaining(f"read {str(home / version)!r}"):
            return load_version(home, version, self._trust)

    def _standing(self, name: str, alias: str) -> str:
        path = self.root / check_name(name) / check_name(alias)
        with explaining(f"read {str(path)!r}"):
            try:
                version = path.read_text(encoding="ascii").strip()
            except FileNotFoundError:
                raise NotTrained(f"Specialist {name!r} has no {alias} version.", hint=train_again(name)) from None
            except UnicodeDecodeError:
                version = ""
        if not is_version(version):
            raise ArtefactRefused(f"The alias file {str(path)!r} holds no version.", hint=train_again(name))
        return version

    def _succeed(
        self, home: Path, version: str, action: Literal["promote", "rollback"], reason: str, *, forced: bool = False
    ) -> None:
        """Record a new champion, then make it the champion. The caller holds the lock."""
        try:
            replaced = self.alias(home.name)
        except ArtefactRefused:  # a damaged alias is repaired by writing it
            replaced = None
        if version != replaced:
            succession = Succession(
                time=utc(self._clock()),
                action=action,
                version=version,
                replaced=replaced,
                by=self._user(),
                reason=reason,
                forced=forced,
            )
            append_succession(home, succession, self._signer or self._find_signer())
            replace_file(home / CHAMPION, f"{version}\n".encode())
        (home / CANDIDATE).unlink(missing_ok=True)


def open_registry(folder: Path, section: RegistrySection, *, signing: bool = False) -> Registry:
    """Return the registry of a network's folder, with the settings of `[registry]`.

    Args:
        folder: The network's folder.
        section: The trusted keys and the signing key.
        signing: Versions will be added; only then is the private key read.

    Raises:
        ConfigError, ExtraMissing: the named private key cannot be used.
    """
    trust = Trust(keys=frozenset(section.trusted_keys), required=section.require_signature)
    signer = open_signer(section.signing_key, folder) if signing else None
    if signing and trust.required and (signer is None or signer.public not in trust.keys):
        raise ConfigError(
            "registry.require_signature is set, but what is trained here would not be signed with a trusted key.",
            hint="Name the signing_key of one of the trusted_keys in coterie.toml.",
        )

    def find_signer() -> Signer | None:
        with suppress(ConfigError, ExtraMissing):  # the key need not be where somebody promotes
            return open_signer(section.signing_key, folder)
        return None

    return Registry(folder / REGISTRY_FOLDER, trust=trust, signer=signer, find_signer=find_signer)


def _is_home(path: Path) -> bool:
    """Return whether this is a specialist's folder."""
    with suppress(ArtefactRefused):
        return path.is_dir() and bool(check_name(path.name))
    return False
