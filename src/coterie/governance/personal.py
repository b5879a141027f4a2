"""What personal data and secrets in some texts make of their label, and how much of which kind it is: never a value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from coterie.privacy.detection import Detector, Kind, label_of
from coterie.types import Label

_QUICK = 500
"""Characters that a detector which does not say is taken to look through quickly."""


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """What was found in some texts, by kind."""

    counts: Mapping[str, int] = field(default_factory=dict)
    """Of what asks for a label; a town or a date alone does not."""

    @property
    def label(self) -> Label:
        """The least label that texts with this in them have; `public` if nothing was found."""
        return max((label_of(kind) or Label.PUBLIC for kind in self.counts), default=Label.PUBLIC)

    @property
    def impersonal(self) -> Label:
        """The same without the personal data. A secret is none: it stays."""
        return Label.RESTRICTED if Kind.SECRET in self.counts else Label.PUBLIC

    def __or__(self, other: Sighting) -> Sighting:
        """Of two looks at the same, what either saw."""
        return Sighting(counts=Counter(self.counts) | Counter(other.counts))

    def __str__(self) -> str:
        return in_words(self.counts)


def sight(detector: Detector, texts: Iterable[str], *, ignore: Callable[[str], bool] | None = None) -> Sighting:
    """Look for personal data and secrets.

    Args:
        detector: Finds them.
        texts: Where to look; each is read by itself.
        ignore: Whether a value does not count; None counts all. Secrets always do.
    """
    counts: Counter[str] = Counter()
    for text in filter(None, texts):
        for each in detector.find(text):
            if label_of(each.kind) is not None and (
                each.kind == Kind.SECRET or ignore is None or not ignore(text[each.start : each.end])
            ):
                counts[str(each.kind)] += 1
    return Sighting(counts=counts)


def worth_a_thread(detector: Detector, texts: Iterable[str]) -> bool:
    """Whether looking at some texts takes so long that others are to be served meanwhile.

    That is more than about five milliseconds: a detector says as `quick` how many characters take it so long.
    """
    return sum(map(len, texts)) > getattr(detector, "quick", _QUICK)


def in_words(counts: Mapping[str, int]) -> str:
    """`2 PERSON, 1 IBAN`: the most frequent first."""
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))
