"""Canaries: values that must not leave, planted in texts and searched for in every byte that a server received."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field

from coterie.types import Label

_KEY = 10
"""Letters and digits of a canary that are searched for first; fewer could occur by chance."""
_PLAIN = re.compile(rb"[^a-z0-9]+")
_LETTERS = "bcdfghjkmnpqrtvwxz"


@dataclass(frozen=True, kw_only=True)
class Canary:
    """One planted value."""

    text: str
    label: Label
    """Least clearance of a receiver that may get the value."""
    kind: str = ""
    """Kind of personal data, or `SECRET`; empty for a word that is sensitive only by the label of its text."""

    @property
    def plain(self) -> bytes:
        """Letters and digits of the value in lower case, so that spaces, hyphens, quotes and escapes hide nothing."""
        return _plain(self.text.encode())


@dataclass(kw_only=True)
class Canaries:
    """Makes distinct canaries and finds them."""

    seed: int
    made: list[Canary] = field(default_factory=list)
    """All canaries, in order. A test may replace one by a canary with another label."""

    def __post_init__(self) -> None:
        self._draw = random.Random(self.seed)  # noqa: S311 - no secret: reproducible
        self._places: dict[bytes, list[int]] = {}  # in `made`, by the key

    def word(self, label: Label) -> Canary:
        """Make a random word for a text of this label."""
        return self._keep(Canary(text=self._letters(12), label=label))

    def personal(self, kind: str | None = None) -> Canary:
        """Make personal data of a kind: `EMAIL`, `IBAN` or `CARD`; a random one by default."""
        kind = kind or self._draw.choice(["EMAIL", "IBAN", "CARD"])
        make = {"EMAIL": self._email, "IBAN": self._iban, "CARD": self._card}[kind]
        return self._keep(Canary(text=make(), label=Label.CONFIDENTIAL, kind=kind))

    def secret(self) -> Canary:
        """Make an access key of a form that every detector knows."""
        digits = "".join(self._draw.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(16))
        return self._keep(Canary(text=f"AKIA{digits}", label=Label.RESTRICTED, kind="SECRET"))

    def found(self, received: bytes, *, clearance: Label) -> list[Canary]:
        """Return the canaries above a clearance in received bytes, in any case and with any signs in between."""
        plain = _plain(received)
        places = (at for at in range(len(plain) - _KEY + 1) if plain[at : at + _KEY] in self._places)
        near = ((at, self.made[number]) for at in places for number in self._places[plain[at : at + _KEY]])
        return [canary for at, canary in near if canary.label > clearance and plain.startswith(canary.plain, at)]

    def _keep(self, canary: Canary) -> Canary:
        self._places.setdefault(canary.plain[:_KEY], []).append(len(self.made))
        self.made.append(canary)
        return canary

    def _letters(self, count: int) -> str:
        return "".join(self._draw.choice(_LETTERS) for _ in range(count))

    def _email(self) -> str:
        return f"{self._letters(6)}.{self._letters(8)}@{self._letters(5)}.{self._draw.choice(['com', 'org', 'de'])}"

    def _iban(self) -> str:
        """Return a German IBAN with its check digits (ISO 13616); half of them in groups of four."""
        account = f"{self._draw.randrange(10**18):018d}"
        check = 98 - int(account + "131400") % 97
        whole = f"DE{check:02d}{account}"
        return " ".join(re.findall(".{1,4}", whole)) if self._draw.random() < 0.5 else whole

    def _card(self) -> str:
        """Return a card number with its check digit (ISO/IEC 7812, Luhn); half of them in groups of four."""
        digits = f"4{self._draw.randrange(10**14):014d}"
        doubled = [int(d) * (2 - place % 2) for place, d in enumerate(digits)]
        total = sum(d - 9 if d > 9 else d for d in doubled)
        whole = f"{digits}{-total % 10}"
        return " ".join(re.findall(".{1,4}", whole)) if self._draw.random() < 0.5 else whole


def _plain(text: bytes) -> bytes:
    return _PLAIN.sub(b"", text.lower())
