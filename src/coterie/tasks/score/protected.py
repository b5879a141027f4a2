"""Which columns a score must not rest on.

Attributes on which a decision about a person may not rest in most places (sex, age, origin, religion, ...) are left
out by default, by the words of a column's name. The rule is blunt on purpose: `average_age_of_accounts` is left out
too, because leaving out a harmless column costs little and is said aloud, while using a protected one is not seen. Only
whole words count, so `mortgage` and `page` stay; they are of eight languages. Naming the protected columns
(`protected = [...]`) replaces the rule.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from coterie.errors import ConfigError
from coterie.learning.job import Job
from coterie.tasks.score.section import ScoreSection

PROTECTED_WORDS = frozenset(
    word
    for words in json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8")).values()
    for word in words.split()
)
"""In small letters and without accents, but where a word would be another's without them."""


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """Columns that must not be used, and what to say about it."""

    reasons: Mapping[str, str]
    """Why, by column."""
    warnings: tuple[str, ...] = ()
    """About columns that nobody named: they are left out by their names."""


def exclusion(job: Job[ScoreSection], names: Sequence[str]) -> Exclusion:
    """The columns among these that the job must not use.

    Raises:
        ConfigError: its section names a column that the data does not have.
    """
    section = job.section
    named = (*section.exclude, *(section.protected or ()))
    if absent := [name for name in named if name not in names]:
        raise ConfigError(
            f"specialists.{job.name} excludes {absent}, but {job.train.name} has the columns {list(names)}.",
            hint="Correct `exclude` or `protected` in coterie.toml.",
        )
    excluded = dict.fromkeys(section.exclude, "excluded by coterie.toml")
    if section.protected is not None:
        return Exclusion(reasons=excluded | dict.fromkeys(section.protected, "protected attribute"))
    telling = {name: word for name in names if name not in excluded and (word := protected_word(name))}
    return Exclusion(
        reasons=excluded | {name: f"protected attribute, by the word {word!r}" for name, word in telling.items()},
        warnings=tuple(
            f"column {name!r} is taken for a protected attribute by the word {word!r} in its name, and not used; if "
            "it is none, name those that are: protected = [...]"
            for name, word in telling.items()
        ),
    )


def protected_word(name: str) -> str | None:
    """The word of a column's name that says it is protected; `foreignWorker`, `AGE_2` and `Age (years)` have one."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", unicodedata.normalize("NFC", name))
    words = re.findall(r"[^\W\d_]+", spaced.lower())
    return next((word for word in words if not PROTECTED_WORDS.isdisjoint({word, _plain(word)})), None)


def _plain(word: str) -> str:
    return "".join(sign for sign in unicodedata.normalize("NFKD", word) if not unicodedata.combining(sign))
