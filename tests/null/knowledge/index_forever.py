"""A process that updates an index until it is killed, printing a line when an update begins to count.

Usage: index_forever.py FOLDER
"""

import asyncio
import itertools
import sys
from pathlib import Path

import numpy as np

from coterie.knowledge.documents import Chunk, IndexedDocument
from coterie.knowledge.local import LocalIndex
from coterie.types import Label


class Encoder:
    """Never asked: documents come with their vectors."""

    name, clearance, sha256, dimension = "none", Label.RESTRICTED, "a" * 64, 8

    async def run(self, batch, *, call=None):
        raise NotImplementedError

    async def close(self):
        pass


async def main(folder: Path) -> None:
    """Each update puts ten documents that all say its number."""
    index = LocalIndex(folder, name="docs", encoder=Encoder())
    first = max([0, *map(int, (await index.documents()).values())]) + 1
    for number in itertools.count(first):
        text = f"update {number}"
        await index.update(
            [
                IndexedDocument(
                    name=f"{n}.txt",
                    sha256=str(number),
                    text=text,
                    label=Label.PUBLIC,
                    tenant=None,
                    chunks=(Chunk(start=0, end=len(text)),),
                    vectors=np.ones((1, 8), dtype=np.float32) / np.sqrt(8),
                )
                for n in range(10)
            ]
        )
        print(number, flush=True)


asyncio.run(main(Path(sys.argv[1])))
