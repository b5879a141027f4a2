"""A bounded cache in memory of results for texts that were seen before, kept separately for each tenant."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class KnownTexts(Generic[T]):
    """The newest results of each tenant by a keyed hash of the text. No text is kept, and nothing is written anywhere.

    A cached result must depend on the text alone and contain none of it. The time that an answer takes would show
    whether a text was seen before: a tenant sees that of its own texts alone. When the cache is full, the tenant with
    the most results gives up the one it used longest ago.
    """

    def __init__(self, most: int) -> None:
        """Keep at most `most` results; 0 keeps none."""
        self._most, self._count = most, 0
        self._tenants: dict[str, OrderedDict[bytes, T]] = {}
        self._key = secrets.token_bytes(32)
        self._lock = Lock()

    def __len__(self) -> int:
        return self._count

    def get(self, tenant: str, text: str, beside: bytes = b"") -> T | None:
        """Return the result for a text of this tenant, or None; `beside` is what else the result depends on."""
        with self._lock:
            own = self._tenants.get(tenant)
            if not own:
                return None
            name = self._name(text, beside)
            value = own.get(name)
            if value is not None:
                own.move_to_end(name)
            return value

    def put(self, tenant: str, text: str, result: T, beside: bytes = b"") -> None:
        """Remember a result."""
        if not self._most:
            return
        with self._lock:
            own, name = self._tenants.setdefault(tenant, OrderedDict()), self._name(text, beside)
            self._count += name not in own
            own[name] = result
            own.move_to_end(name)
            if self._count > self._most:
                largest = max(self._tenants, key=lambda name: len(self._tenants[name]))
                self._tenants[largest].popitem(last=False)
                self._count -= 1
                if not self._tenants[largest]:
                    del self._tenants[largest]

    def _name(self, text: str, beside: bytes) -> bytes:
        written = text.encode("utf-8", "surrogatepass") + b"\xff" + beside  # no text holds that byte
        return hashlib.blake2b(written, digest_size=16, key=self._key).digest()
