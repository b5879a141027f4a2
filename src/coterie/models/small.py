"""Small language models by name: what they are, and the file of the hub that holds each (`small.json`).

A revision is pinned where the commit that holds the file is known; the others are pulled at a revision that the user
names, which is recorded with the file's checksum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from coterie.errors import ModelMissing
from coterie.models.files import Origin
from coterie.runtime.codec import loads


@dataclass(frozen=True, kw_only=True)
class SmallModel:
    """A small language model as a GGUF file on the hub."""

    name: str
    parameters: str
    licence: str
    """In SPDX's words, or `LicenseRef-` and the licence's own name."""
    languages: str
    """As its publisher says."""
    repository: str
    file: str
    megabytes: int
    """About; the file's own size is known when it is pulled."""
    revision: str | None = None
    """The pinned commit; None if it is the user's to name."""
    context: int = 32_768
    """Tokens that it was made to read."""
    notes: str = ""

    def origin(self, revision: str | None) -> Origin:
        """Where it is pulled from. Raises `ModelMissing` if no revision is known."""
        chosen = revision or self.revision
        if chosen is None:
            raise ModelMissing(
                f"No revision of {self.name!r} ({self.repository}) is pinned, and none is named.",
                hint=f"Look it up at the hub and name it: coterie models pull {self.name} --revision COMMIT",
            )
        return Origin(name=self.repository, revision=chosen)

    @property
    def path(self) -> str:
        """`name` of a `[models]` entry that runs it."""
        return f"{self.repository}/{self.file}"


_MODELS = loads(tuple[SmallModel, ...], Path(__file__).with_suffix(".json").read_bytes())
SMALL_MODELS: Mapping[str, SmallModel] = MappingProxyType({model.name: model for model in _MODELS})
"""By name, as `coterie models pull` and `coterie models use` take it."""
