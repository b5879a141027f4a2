"""An index brought up to date as `coterie.toml` declares it."""

from __future__ import annotations

from pathlib import Path

from coterie.config.file import Config
from coterie.engines.onnx import OnnxEncoder
from coterie.knowledge.build import BuildProgress, Indexed, build_index
from coterie.knowledge.guard import declared_access
from coterie.knowledge.kinds import open_reranker
from coterie.knowledge.open import index_folder, open_index
from coterie.knowledge.sources import find_files


async def index_declared(
    name: str, config: Config, folder: Path, *, encoder: OnnxEncoder, progress: BuildProgress
) -> Indexed:
    """Read the files of a `[knowledge]` section and index what is new or changed.

    Args:
        name: The section's key.
        config: The network's.
        folder: The network's.
        encoder: Makes the vectors.
        progress: Told how far it is.

    Raises:
        InputError: there is no readable file at its paths.
        SetupError: the index cannot be opened, or another process is writing it.
    """
    section, access = config.knowledge[name], declared_access(config, name)
    paths = [folder / path for path in section.paths]
    index = open_index(name, section, folder, network=config.network.name, encoder=encoder)
    try:
        return await build_index(
            index,
            find_files(folder, paths, access, exact=True, index=paths),
            encoder=encoder,
            folder=index_folder(folder, name),
            name=name,
            progress=progress,
            reranker=open_reranker(section, encoder),
            declared=access,
        )
    finally:
        await index.close()
