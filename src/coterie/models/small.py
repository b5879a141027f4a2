"""Small language models that run in this process, by name: what they are, and the file of the hub that holds each.

A revision is pinned where the commit that holds the file is known; the others are pulled at a revision that the user
names, which is recorded with the file's checksum.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from coterie.errors import ModelMissing
from coterie.models.files import Origin


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


_QWEN3_LANGUAGES = "100 and more, English and Chinese best"
_GRANITE_LANGUAGES = (
    "English, German, Spanish, French, Japanese, Portuguese, Arabic, Czech, Italian, Korean, Dutch, Chinese"
)
_GEMMA = "LicenseRef-Gemma"
_LLAMA = "LicenseRef-Llama-3.2"
_TERMS = "its terms restrict use and must be passed on"

_MODELS = (
    SmallModel(
        name="qwen3-0.6b",
        parameters="0.6B",
        licence="Apache-2.0",
        languages=_QWEN3_LANGUAGES,
        repository="Qwen/Qwen3-0.6B-GGUF",
        file="Qwen3-0.6B-Q8_0.gguf",
        megabytes=639,
        revision="1eaf4d9657fe65ad10a51eab76a8db5b363bddaa",
        notes="thinks unless told not to",
    ),
    SmallModel(
        name="qwen3-1.7b",
        parameters="1.7B",
        licence="Apache-2.0",
        languages=_QWEN3_LANGUAGES,
        repository="Qwen/Qwen3-1.7B-GGUF",
        file="Qwen3-1.7B-Q8_0.gguf",
        megabytes=1834,
        revision="90862c4b9d2787eaed51d12237eafdfe7c5f6077",
        notes="thinks unless told not to",
    ),
    SmallModel(
        name="qwen3-4b",
        parameters="4B",
        licence="Apache-2.0",
        languages=_QWEN3_LANGUAGES,
        repository="Qwen/Qwen3-4B-GGUF",
        file="Qwen3-4B-Q4_K_M.gguf",
        megabytes=2497,
        revision="a9a60d009fa7ff9606305047c2bf77ac25dbec49",
        notes="thinks unless told not to",
    ),
    *(
        SmallModel(
            name=f"qwen3.5-{size.lower()}",
            parameters=size,
            licence="Apache-2.0",
            languages="200 and more",
            repository=f"unsloth/Qwen3.5-{size}-GGUF",
            file=f"Qwen3.5-{size}-Q4_K_M.gguf",
            megabytes=megabytes,
            context=262_144,
        )
        for size, megabytes in (("0.8B", 533), ("2B", 1280), ("4B", 2740))
    ),
    SmallModel(
        name="granite-4-350m",
        parameters="350M",
        licence="Apache-2.0",
        languages=_GRANITE_LANGUAGES,
        repository="ibm-granite/granite-4.0-350m-GGUF",
        file="granite-4.0-350m-Q4_K_M.gguf",
        megabytes=237,
        revision="b8208a86a58427e1739265318028eb5895b74bf2",
    ),
    SmallModel(
        name="granite-4-1b",
        parameters="1B",
        licence="Apache-2.0",
        languages=_GRANITE_LANGUAGES,
        repository="ibm-granite/granite-4.0-1b-GGUF",
        file="granite-4.0-1b-Q4_K_M.gguf",
        megabytes=1020,
        context=131_072,
    ),
    SmallModel(
        name="granite-4-3b",
        parameters="3B",
        licence="Apache-2.0",
        languages=_GRANITE_LANGUAGES,
        repository="ibm-granite/granite-4.0-micro-GGUF",
        file="granite-4.0-micro-Q4_K_M.gguf",
        megabytes=2100,
        context=131_072,
    ),
    SmallModel(
        name="smollm3-3b",
        parameters="3B",
        licence="Apache-2.0",
        languages="English, French, Spanish, German, Italian, Portuguese",
        repository="ggml-org/SmolLM3-3B-GGUF",
        file="SmolLM3-Q4_K_M.gguf",
        megabytes=1915,
        context=65_536,
        notes="thinks unless told not to",
    ),
    SmallModel(
        name="gemma-3-270m",
        parameters="270M",
        licence=_GEMMA,
        languages="140 and more",
        repository="ggml-org/gemma-3-270m-it-GGUF",
        file="gemma-3-270m-it-Q8_0.gguf",
        megabytes=292,
        notes=_TERMS,
    ),
    SmallModel(
        name="gemma-3-1b",
        parameters="1B",
        licence=_GEMMA,
        languages="140 and more",
        repository="ggml-org/gemma-3-1b-it-GGUF",
        file="gemma-3-1b-it-Q4_K_M.gguf",
        megabytes=806,
        notes=_TERMS,
    ),
    SmallModel(
        name="lfm2.5-1.2b",
        parameters="1.2B",
        licence="LicenseRef-LFM-Open-1.0",
        languages="English, Arabic, Chinese, French, German, Japanese, Korean, Spanish",
        repository="LiquidAI/LFM2.5-1.2B-Instruct-GGUF",
        file="LFM2.5-1.2B-Instruct-Q4_K_M.gguf",
        megabytes=731,
        notes="free below a revenue that its licence names",
    ),
    SmallModel(
        name="llama-3.2-1b",
        parameters="1B",
        licence=_LLAMA,
        languages="English, German, French, Italian, Portuguese, Hindi, Spanish, Thai",
        repository="bartowski/Llama-3.2-1B-Instruct-GGUF",
        file="Llama-3.2-1B-Instruct-Q4_K_M.gguf",
        megabytes=808,
        context=131_072,
        notes=_TERMS,
    ),
)
SMALL_MODELS: Mapping[str, SmallModel] = MappingProxyType({model.name: model for model in _MODELS})
"""By name, as `coterie models pull` and `coterie models use` take it."""


def find_small(name: str) -> SmallModel:
    """The model of this name. Raises `ModelMissing`, with the nearest names."""
    if (found := SMALL_MODELS.get(name)) is not None:
        return found
    near = difflib.get_close_matches(name, SMALL_MODELS, n=3) or sorted(SMALL_MODELS)
    raise ModelMissing(
        f"No small model is named {name!r}.", hint=f"Did you mean {', '.join(near)}? `coterie models list --available`"
    )
