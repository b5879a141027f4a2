"""What was made of texts that were asked before, in memory, apart for each tenant, bounded."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class KnownTexts(Generic[T]):
    """The newest results of each tenant by a keyed hash of the text. No text is kept, and nothing is written anywhere.

    What is put here must depend on nothing but the text, and hold none of it. Whether a text was asked before would
    show in the time an answer takes: a tenant sees that of its own texts alone. When there is no room, the tenant that
    has most gives up what it used longest ago.
    """

    def __init__(self, most: int) -> None:
        """Take how many results are kept; 0 keeps none."""
        self._most, self._count = most, 0
        self._tenants: dict[str, OrderedDict[bytes, T]] = {}
        self._key = secrets.token_bytes(32)
        self._lock = Lock()

    def __len__(self) -> int:
        return self._count

    def get(self, tenant: str, text: str, beside: bytes = b"") -> T | None:
        """What was made of a text that this tenant asked before; `beside` is what else it depends on."""
        with self._lock:
            own = self._tenants.get(tenant)
            if not own:
                return None
            name = self._name(text, beside)
            found = own.get(name)
            if found is not None:
                own.move_to_end(name)
            return found

    def put(self, tenant: str, text: str, known: T, beside: bytes = b"") -> None:
        """Remember it."""
        if not self._most:
            return
        with self._lock:
            own, name = self._tenants.setdefault(tenant, OrderedDict()), self._name(text, beside)
            self._count += name not in own
            own[name] = known
            own.move_to_end(name)
            if self._count > self._most:
                largest = max(self._tenants, key=lambda each: len(self._tenants[each]))
                self._tenants[largest].popitem(last=False)
                self._count -= 1
                if not self._tenants[largest]:
                    del self._tenants[largest]

    def _name(self, text: str, beside: bytes) -> bytes:
        written = text.encode("utf-8", "surrogatepass") + b"\xff" + beside  # no text holds that byte
        return hashlib.blake2b(written, digest_size=16, key=self._key).digest()
