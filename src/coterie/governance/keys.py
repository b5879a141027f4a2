"""API keys: who may use the network, for which tenant and with which role; in a file or in the database.

A key consists of `ctr_`, eight characters that name it, and 256 random bits that are shown once; the file
holds only their SHA-256, which suffices because nobody can guess the bits. A key has a role and belongs to
one tenant. The file is read again as soon as it changes, so a revoked key is refused at its next request. A
file that cannot be read admits nobody, and neither does one that had keys and has none any more.

A change takes effect everywhere within a second. If the database cannot be asked for ten seconds, nobody is
admitted.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from coterie.config.file import Config
from coterie.errors import InputError, SetupError
from coterie.runtime.codec import from_json, parse_json, to_json
from coterie.runtime.files import locked, replacing, write_new
from coterie.store.opening import database_of
from coterie.types import Label

if TYPE_CHECKING:  # at run time it needs an extra
    from coterie.runtime.postgres import PostgresAddress, PostgresConnection

Role = Literal["admin", "operator", "member", "auditor"]
"""`member` asks; `operator` reads counters; `auditor` also reads traces and the audit log; `admin` may do all."""
Permission = Literal["ask", "traces", "metrics", "release", "flywheel", "audit", "manage"]

PERMISSIONS: Mapping[Role, frozenset[Permission]] = {
    "admin": frozenset(get_args(Permission)),
    "operator": frozenset({"metrics"}),
    "member": frozenset({"ask", "traces"}),
    "auditor": frozenset({"metrics", "traces", "audit"}),
}
"""Permissions of each role.

`traces` and `audit` cover the key's own tenant, `release` lowers the label of a request, `flywheel` sees
captured calls and moves deployments, `manage` trains, promotes, makes keys and erases.
"""

OWN_TENANT = "default"
"""The operator's tenant: requests without a key belong to it, and keys that name no other tenant."""

PREFIX = "ctr_"
FORGOTTEN = 900.0
"""Seconds that a used token is remembered after it expires: the clocks of two hosts may differ by as much."""
_DAY = 86_400.0
_MOST_DAYS = 36_500
_LONGEST_TENANT = 200
_ERASED = "(erased)"  # no key can be named so
_TOKEN = re.compile(r"ctr_([a-z0-9]{8})_([A-Za-z0-9_-]{43})")
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")
# No name that somebody's tools could take for a path, an option or two names.
_TENANT = re.compile(r"[^\W_](?: ?[\w.@:&+-])*")


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key without its secret."""

    id: str
    """The eight characters that name the key, at its beginning; they are no secret."""
    name: str
    role: Role
    tenant: str
    digest: str
    """SHA-256 of the secret."""
    created: float
    """Seconds since the epoch, as are `expires` and `revoked`."""
    specialists: tuple[str, ...] = ()
    """The only specialists the key may ask; empty for all."""
    clearance: Label | None = None
    """The most sensitive label that the key's holder may see; None for the network's default."""
    expires: float | None = None
    revoked: float | None = None

    def may(self, permission: Permission) -> bool:
        """Return whether the key's role allows this.

        Counters cover all tenants together: they are open to operators, and to other roles only for keys of the
        tenant `default`, the operator's tenant. The same holds for permissions that change the network.
        """
        whole = permission == "manage" or (permission == "metrics" and self.role != "operator")
        return permission in PERMISSIONS[self.role] and (not whole or self.tenant == OWN_TENANT)

    def state(self, now: float) -> Literal["valid", "revoked", "expired"]:
        """Return whether the key is valid, revoked or expired."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "valid"


class NewKey(NamedTuple):
    """A new key, with the token that is shown only once."""

    key: Key
    token: str


class KeyRing:
    """The keys of a network, in one file that only its owner can read."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time, fresh: float = 0.0) -> None:
        """Take the path, and the seconds between two checks of the file: each check releases the interpreter's lock."""
        self._path, self._clock, self._fresh = path, clock, fresh
        self._looked = float("-inf")
        self._seen: tuple[int, int, int] | None = None
        self._keys: Mapping[str, Key] = {}

    @property
    def has_keys(self) -> bool:
        """Whether keys were found at the latest look; nothing is asked."""
        return bool(self._keys)

    async def refresh(self) -> None:
        """Wait until the keys are at most a second old. A file is looked at whenever a key is.

        Raises:
            SetupError: a database could not be asked for too long.
        """

    def keys(self) -> Sequence[Key]:
        """Return all keys, the oldest first, including revoked and expired ones. Raises `SetupError`."""
        return sorted(self._read().values(), key=lambda key: key.created)

    def is_empty(self) -> bool:
        """Return whether there never was a key, so that none is needed. Raises `SetupError`, also if keys vanished."""
        return not self._read()

    def find(self, token: str) -> Key | None:
        """Return the valid key of a token; None for a wrong, revoked or expired one. The time taken is the same.

        Raises:
            SetupError: the file cannot be read.
        """
        keys = self._read()
        given = _TOKEN.fullmatch(token)
        name, secret = (given[1], given[2]) if given else ("", "")
        key = keys.get(name)
        right = hmac.compare_digest(key.digest if key else _digest("-"), _digest(secret))
        return key if key is not None and right and key.state(self._clock()) == "valid" else None

    def named(self, key_id: str) -> Key | None:
        """Return the valid key with this id. Raises `SetupError`."""
        key = self._read().get(key_id)
        return key if key is not None and key.state(self._clock()) == "valid" else None

    def create(
        self,
        name: str,
        *,
        role: Role = "member",
        tenant: str = "default",
        specialists: Sequence[str] = (),
        clearance: Label | None = None,
        days: float | None = None,
    ) -> NewKey:
        """Create a key.

        Args:
            name: A readable name; only one valid key may have it at a time.
            role: The key's role.
            tenant: The tenant whose requests, sessions and traces the key may use.
            specialists: The only specialists the key may ask; empty for all.
            clearance: The most sensitive label that the key's holder may see; None for the network's default.
            days: Days until the key expires; None for never.

        Raises:
            InputError: the name is taken, or the name, the tenant or the days are invalid.
            SetupError: the file cannot be read or written.
        """
        if not _NAME.fullmatch(name):
            raise InputError(
                f"A key was to be named {name[:100]!r}.", hint="Use letters, digits and . _ @ -, at most 63."
            )
        if not _TENANT.fullmatch(tenant) or tenant != tenant.strip() or len(tenant) > _LONGEST_TENANT:
            raise InputError(
                f"A key was to be of the tenant {tenant[:100]!r}.",
                hint=f"Use up to {_LONGEST_TENANT} letters, digits, single blanks and . _ @ : & + -, no sign first.",
            )
        if days is not None and not 0 < days <= _MOST_DAYS:
            raise InputError(f"A key was to last {days:g} days.", hint=f"Use up to {_MOST_DAYS:,}, or none for never.")
        with self._changing() as keys:
            now = self._clock()
            if any(key.name == name and key.state(now) == "valid" for key in keys.values()):
                raise InputError(
                    f"There is a key {name!r} already.", hint=f"Take another name, or: coterie keys rotate {name}"
                )
            key_id, secret = _secret()
            keys[key_id] = Key(
                id=key_id,
                name=name,
                role=role,
                tenant=tenant,
                digest=_digest(secret),
                specialists=tuple(specialists),
                clearance=clearance,
                created=now,
                expires=None if days is None else now + days * _DAY,
            )
        return NewKey(keys[key_id], f"{PREFIX}{key_id}_{secret}")

    def enrol(self, name: str, *, role: Role, tenant: str) -> Key:
        """Return the key of a person whom an identity provider vouches for; its secret is discarded.

        The key is created at the first call, and takes the role and tenant given at each call.

        Raises:
            InputError: the key of this name was revoked, or has expired.
            SetupError: the keys cannot be read or written.
        """
        with self._changing() as keys:
            now = self._clock()
            same_name = [key for key in keys.values() if key.name == name]
            if same_name and all(key.state(now) != "valid" for key in same_name):
                raise InputError(
                    f"The key {name!r} is {same_name[-1].state(now)}.", hint="Whoever runs the network did so."
                )
            current = next((key for key in same_name if key.state(now) == "valid"), None)
            if current is None:
                key_id, secret = _secret()
                current = Key(id=key_id, name=name, role=role, tenant=tenant, digest=_digest(secret), created=now)
            keys[current.id] = replace(current, role=role, tenant=tenant)
            return keys[current.id]

    def use_once(self, token: str, *, until: float) -> bool:
        """Return whether a token is used for the first time, in whichever process.

        Args:
            token: The token that may be used once; its SHA-256 is kept.
            until: When the token expires, in seconds since the epoch; some time later it is forgotten.

        Raises:
            SetupError: the used tokens cannot be read or written.
        """
        path = self._path.with_name(f"{self._path.stem}.used.json")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with locked(self._path.with_name(f".{self._path.name}.lock"), mode=0o600):
                used: dict[str, float] = parse_json(path.read_bytes()) if path.exists() else {}
                if _digest(token) in used:
                    return False
                since = self._clock() - FORGOTTEN
                kept = {digest: end for digest, end in used.items() if end > since} | {_digest(token): until}
                with replacing(path) as draft:
                    write_new(draft, json.dumps(kept).encode(), mode=0o600)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise SetupError(
                f"Cannot keep in {str(path)!r} which sign-ins were used ({type(error).__name__}): nobody signs in.",
                hint="Check that the folder is writable and the disk has space; delete the file if it is damaged.",
            ) from error
        return True

    def revoke(self, name: str) -> Key:
        """Revoke a key, by its name or id, from its next request on. Raises `InputError`, `SetupError`."""
        with self._changing() as keys:
            key = replace(self._valid(keys, name), revoked=self._clock())
            keys[key.id] = key
        return key

    def rotate(self, name: str) -> NewKey:
        """Give a key a new secret; the old one is refused from its next request on. Raises `InputError`, `SetupError`.

        The id stays: a rotation neither resets nor evades a budget of the key.
        """
        with self._changing() as keys:
            old, now = self._valid(keys, name), self._clock()
            ends = None if old.expires is None else now + old.expires - old.created
            _, secret = _secret()
            keys[old.id] = replace(old, digest=_digest(secret), created=now, expires=ends)
        return NewKey(keys[old.id], f"{PREFIX}{old.id}_{secret}")

    def of(self, tenant: str) -> Sequence[Key]:
        """Return a tenant's keys, the oldest first, without erased ones. Raises `SetupError`."""
        return [key for key in self.keys() if key.tenant == tenant and key.name != _ERASED]

    def erase(self, tenant: str) -> Sequence[Key]:
        """Revoke a tenant's keys for good and remove their names. Raises `SetupError`.

        Ids and hashes stay: a key ring that lost its last key would admit every user of this machine.
        """
        if not self.of(tenant):
            return []
        with self._changing() as keys:
            tenant_keys = [key for key in keys.values() if key.tenant == tenant and key.name != _ERASED]
            for key in tenant_keys:
                keys[key.id] = replace(key, name=_ERASED, revoked=key.revoked or self._clock())
        return tenant_keys

    def _valid(self, keys: Mapping[str, Key], name: str) -> Key:
        now = self._clock()
        matching = [key for key in keys.values() if name in {key.name, key.id} and key.state(now) == "valid"]
        if not matching:
            raise InputError(f"There is no valid key {name[:100]!r}.", hint="`coterie keys list` shows them.")
        return matching[0]

    # --- the file --------------------------------------------------------------------------------

    def _read(self) -> Mapping[str, Key]:
        now = time.monotonic()
        if now - self._looked < self._fresh:
            return self._keys
        try:
            about = self._path.stat()
        except FileNotFoundError as error:
            if self._keys:  # who had keys is not open to all because a file is gone: the address may be anybody's
                raise self._unreadable(error) from error
            self._looked = now
            return self._keys
        except OSError as error:
            raise self._unreadable(error) from error
        seen = about.st_mtime_ns, about.st_size, about.st_ino
        if seen != self._seen:
            keys = self._parse()
            if self._keys and not keys:
                raise self._unreadable(LookupError("no key is left"))
            self._keys, self._seen = keys, seen
        self._looked = now
        return self._keys

    def _parse(self) -> dict[str, Key]:
        try:
            document = parse_json(self._path.read_bytes())
            return {key.id: key for key in map(read_key, document["keys"])}
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> SetupError:
        return SetupError(
            f"The keys in {str(self._path)!r} cannot be read ({type(error).__name__}): nobody is let in.",
            hint="Put the file back from a copy. A gateway started without it lets in everybody of this machine, and "
            "nobody else.",
        )

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Key]]:
        """Yield the keys for a change; they are written as a whole or not at all, one change at a time."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with locked(self._path.with_name(f".{self._path.name}.lock"), mode=0o600):
                keys = self._parse() if self._path.exists() else {}
                yield keys
                content = json.dumps({"keys": to_json(tuple(keys.values()))}, indent=1).encode() + b"\n"
                with replacing(self._path) as draft:
                    write_new(draft, content, mode=0o600)
                self._looked = float("-inf")
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> SetupError:
        return SetupError(
            f"Cannot write the keys to {str(self._path)!r}: {error.strerror or error}.",
            hint="Check that the folder is writable and the disk has space.",
        )


def _secret() -> tuple[str, str]:
    return "".join(secrets.choice(_LETTERS) for _ in range(8)), secrets.token_urlsafe(32)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def read_key(document: object) -> Key:
    """Return a key from its form in the file. Raises `ValueError`."""
    key = from_json(Key, document)
    if not re.fullmatch(r"[0-9a-f]{64}", key.digest):
        raise ValueError("it is no key")
    return key


# --- Keys in the PostgreSQL database of `[store] url`, so that all hosts of a network have the same ones.

_TABLES = (
    "CREATE TABLE IF NOT EXISTS keys (id TEXT PRIMARY KEY, body TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS used_tokens (digest TEXT PRIMARY KEY, until DOUBLE PRECISION NOT NULL)",
)
FRESH, STALE = 1.0, 10.0
"""Seconds after which a request waits until keys are read again, where the database answers; and where it does not."""


class TableKeyRing(KeyRing):
    """The keys of a network, in a table that several hosts read."""

    def __init__(
        self,
        address: PostgresAddress,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the database; it is asked at the first look-up."""
        self._address, self._clock, self._monotonic = address, clock, monotonic
        self._keys: Mapping[str, Key] = {}
        self._read_at = self._failed_at = float("-inf")
        self._reading = threading.Lock()
        self._renewing: Future[None] | None = None
        self._made = False

    async def refresh(self) -> None:
        """Wait until the keys are at most a second old, or ten where the database does not answer.

        Keys in use are read in the background before that, so that no request waits. The event loop goes on.

        Raises:
            SetupError: they are older.
        """
        now = self._monotonic()
        if now - self._read_at > FRESH / 2 and now - self._failed_at >= FRESH:
            if self._renewing is None or self._renewing.done():
                self._renewing = Future()
                work = (self._renewing,)
                threading.Thread(target=self._renew, args=work, name="coterie-keys", daemon=True).start()
            if now - self._read_at > FRESH:
                await asyncio.wait([asyncio.wrap_future(self._renewing)])
        if self._monotonic() - self._read_at > STALE:
            raise self._unreadable(TimeoutError())

    def _read(self) -> Mapping[str, Key]:
        """Return the keys, as `refresh` left them; keys that are too old are read."""
        if self._monotonic() - self._read_at > STALE:
            if self._monotonic() - self._failed_at < FRESH:
                raise self._unreadable(TimeoutError())
            with self._reading:
                self._load()
        return self._keys

    def _renew(self, done: Future[None]) -> None:
        done.set_running_or_notify_cancel()  # a request that is given up cancels nothing for others
        try:
            with suppress(SetupError), self._reading:  # told when they are too old
                self._load()
        finally:
            done.set_result(None)

    def _load(self) -> None:
        began = self._monotonic()
        try:
            with self._address.explained(), self._connected() as connection:
                keys = _select(connection)
        except (SetupError, ValueError, TypeError, KeyError) as error:
            self._failed_at = self._monotonic()
            raise self._unreadable(error) from error
        if self._keys and not keys:
            raise self._unreadable(LookupError("no key is left"))
        self._keys, self._read_at = keys, began

    def _unreadable(self, error: Exception) -> SetupError:
        return SetupError(
            f"The keys in {self._address.place} cannot be read ({type(error).__name__}): nobody is let in.",
            hint="See that the database is up and can be reached.",
        )

    @contextmanager
    def _connected(self) -> Iterator[PostgresConnection]:
        connection = self._address.connect()
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.lock("keys")
            if not self._made:
                connection.make_schema()
                for table in _TABLES:
                    connection.execute(table)
            yield connection
            connection.execute("COMMIT")
            self._made = True
        finally:
            connection.close()  # what was not committed is undone

    def use_once(self, token: str, *, until: float) -> bool:
        """Return whether a token is used for the first time, on whichever host."""
        digest = hashlib.sha256(token.encode()).hexdigest()
        with self._address.explained(), self._connected() as connection:
            connection.execute("DELETE FROM used_tokens WHERE until < ?", (self._clock() - FORGOTTEN,))
            first = connection.execute(
                "INSERT INTO used_tokens VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING digest", (digest, until)
            ).fetchall()
        return bool(first)

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Key]]:
        """Yield the keys for a change; it is made as a whole or not at all, one change at a time."""
        with self._address.explained(), self._connected() as connection:
            keys = _select(connection)
            yield keys
            connection.executemany(
                "INSERT INTO keys (id, body) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body",
                [(key.id, json.dumps(to_json(key))) for key in keys.values()],
            )
        self._keys, self._read_at = keys, self._monotonic()


def _select(connection: PostgresConnection) -> dict[str, Key]:
    rows = connection.execute("SELECT body FROM keys").fetchall()
    return {key.id: key for key in (read_key(parse_json(body)) for (body,) in rows)}


# --- Where a network's keys are: a file of its folder, or its database.

_FRESH = 0.05
"""Seconds after which the file is checked again: a key that another process revoked stops working within that time."""


def open_keys(config: Config, folder: Path) -> KeyRing:
    """Return the keys of a network: in its folder, or in the database of `[store] url`. Raises `SetupError`."""
    if (address := database_of(config)) is None:
        return KeyRing(folder / config.gateway.keys, fresh=_FRESH)

    return TableKeyRing(address)
