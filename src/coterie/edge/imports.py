"""Print what serving a network imports; run in its own process while a bundle is built."""

from __future__ import annotations

import asyncio
import json
import sys
from importlib import import_module
from pathlib import Path

from coterie.errors import CoterieError

_DOORS = ("coterie.gateway.serve", "coterie.gateway.app", "coterie.cli.serve", "coterie.cli.ask", "coterie.edge.device")
_CHECKED = ("coterie.registry.ed25519",)


async def _use(folder: Path, texts: list[str]) -> None:
    from coterie.assembly import open_network  # noqa: PLC0415 - what it imports is what is asked
    from coterie.types import Request  # noqa: PLC0415 - as above

    network = await open_network(folder, warm=True)
    try:
        for text in texts:
            await network.ask(Request(text=text))
    finally:
        await network.close()


def main(folder: str, *texts: str) -> None:
    """Serve a few requests and print the file of every loaded module."""
    for name in (*_DOORS, *_CHECKED):
        import_module(name)
    try:
        asyncio.run(_use(Path(folder), list(texts)))
    except CoterieError as error:
        sys.exit(" ".join(f"{error.message} {error.hint}".split()))
    files = {file for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}
    sys.stdout.write(json.dumps(sorted(files)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
