"""Adapters for one job: one for each part of its rows, on a base that is loaded once, and the engine that runs them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from coterie.config.file import LlamaModel
from coterie.config.specialists import SpecialistSection
from coterie.engines.llama import LlamaEngine
from coterie.learning.job import Job
from coterie.runtime.concurrency import run
from coterie.tuning.base import CausalBase
from coterie.tuning.causal import (
    GGUF_ADAPTER,
    LoraRecipe,
    TokenPair,
    adapter_files,
    load_causal,
    lora_recipe_for,
    tune_adapter,
)

FIRST, STORED = "first", "stored"
"""The adapter that has not seen the held-out rows, and the one that has seen all."""


def tune_parts(
    job: Job[SpecialistSection],
    base: CausalBase,
    parts: Mapping[str, Sequence[TokenPair]],
    *,
    recipe_for: Callable[[int], LoraRecipe] | None = None,
) -> dict[str, dict[str, bytes]]:
    """Train an adapter for each part; return their files.

    Args:
        job: The job that the rows belong to.
        base: The model's file.
        parts: Prompts and completions, by the part's name.
        recipe_for: Returns the recipe for a number of rows; the default recipe without it.

    Raises:
        TrainingDiverged: the loss is not a number.
        ArtefactRefused: the base's file cannot be read.
    """
    recipe_for = recipe_for or lora_recipe_for
    work = sum(len(pairs) * recipe_for(len(pairs)).epochs for pairs in parts.values())
    job.progress.start(f"{job.name}: tune {base.name}", work)
    network, files = load_causal(base), {}
    for name, pairs in parts.items():
        adapted = tune_adapter(
            network,
            pairs,
            base_sha256=base.sha256,
            recipe=recipe_for(len(pairs)),
            seed=job.section.seed,
            progress=job.progress.advance,
            checkpoints=job.checkpoints,
        )
        files[name] = adapter_files(adapted, base.repository)
        network = adapted.unload()
    job.progress.finish("")
    return files


@contextmanager
def opened(base: CausalBase, model: LlamaModel, files: Mapping[str, Mapping[str, bytes]]) -> Iterator[LlamaEngine]:
    """Open the base as it is served, with these adapters by name, for the length of the context."""
    with tempfile.TemporaryDirectory(prefix="coterie-") as folder:
        paths = {name: Path(folder) / f"{name}.gguf" for name in files}
        for name, path in paths.items():
            path.write_bytes(files[name][GGUF_ADAPTER])
        engine = LlamaEngine.configured(base.key, model, base.path, adapters=paths)
        try:
            yield engine
        finally:
            run(engine.close())
