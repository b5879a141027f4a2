"""Sign-in: a cookie that says whose key was shown here, and until when, signed by this network.

The cookie holds the key's id, no secret. Its signature covers the hash of the key, so it is void as soon as the key is
revoked, expired or rotated. The signing secret is a file of the network, which several processes share.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from coterie.errors import SetupError
from coterie.governance.keys import Key, KeyRing

COOKIE = "coterie_session"
IDLE, LONGEST = 3600.0, 12 * 3600.0
"""Seconds without a page after which one signs in again, and seconds after which one does in any case."""
SKEW = 900.0
"""Seconds by which the clocks of hosts may differ that answer one browser in turns."""
_FORM = re.compile(r"([a-z0-9]{8})\.(\d{1,12})\.(\d{1,12})\.([0-9a-f]{64})")


class Sessions:
    """Makes cookies and reads them."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        """Take the file of the secret, made at the first sign-in."""
        self._path, self._clock = path, clock
        self._secret: bytes | None = None

    def begin(self, key: Key) -> str:
        """A cookie for the holder of a key. Raises `SetupError` where the secret cannot be read or written."""
        now = int(self._clock())
        return self._write(key, now, now)

    def read(self, cookie: str, ring: KeyRing) -> tuple[Key, str | None] | None:
        """The key of a cookie, and the cookie that is to take its place now and then; None for a void one."""
        found = _FORM.fullmatch(cookie)
        key = ring.named(found[1]) if found else None
        if found is None or key is None or not self._path.exists():
            return None
        began, used, now = int(found[2]), int(found[3]), self._clock()
        if not hmac.compare_digest(found[4], self._sign(key, began, used)):
            return None
        if not (-SKEW <= now - used <= IDLE and now - began <= LONGEST):
            return None
        return key, self._write(key, began, int(now)) if now - used > IDLE / 10 else None

    def _write(self, key: Key, began: int, used: int) -> str:
        return f"{key.id}.{began}.{used}.{self._sign(key, began, used)}"

    def _sign(self, key: Key, began: int, used: int) -> str:
        if self._secret is None:
            self._secret = _secret_in(self._path)
        return hmac.new(self._secret, f"{key.id}.{key.digest}.{began}.{used}".encode(), hashlib.sha256).hexdigest()


def _secret_in(path: Path) -> bytes:
    """The secret, made if there is none; of two processes that make one at once, the first one's counts."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        if not path.exists():
            file = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            os.write(file, secrets.token_bytes(32))
            os.close(file)
            with suppress(FileExistsError):
                os.link(draft, path)
            draft.unlink()
        secret = path.read_bytes()
    except OSError as error:
        raise SetupError(
            f"Cannot keep the console's secret in {str(path)!r}: {error.strerror or error}.",
            hint="Check that the folder is writable.",
        ) from error
    if len(secret) != 32:
        raise SetupError(f"The console's secret in {str(path)!r} has {len(secret)} bytes.", hint="Delete the file.")
    return secret
