"""The resources of one rung: its latency, memory and CPU time, in a process that has loaded nothing else.

The parent sends a `Request` as JSON on standard input; the child (`python -m coterie.rightsizing.probe`)
loads the stored version, answers one row after the other and prints a `Probed`. The child imports what
serving imports, and never what training needs.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coterie.types import SYSTEM

if TYPE_CHECKING:
    from coterie.config.file import LlamaModel
    from coterie.config.specialists import SpecialistSection
    from coterie.engines.llama import LlamaEngine
    from coterie.engines.onnx import OnnxEncoder
    from coterie.learning.dataset import Row
    from coterie.protocols import Specialist
    from coterie.registry.version import Version
    from coterie.types import CallContext, Output, Prompt, Task

WARM_UP = 20
"""Rows asked before the clock runs."""
_PATIENCE = 600.0  # seconds until a child that does not end is given up


@dataclass(frozen=True, kw_only=True)
class Probed:
    """The resources of single requests, one after the other, in one thread."""

    milliseconds: Sequence[float]
    """Latency of each row."""
    cpu_seconds: Sequence[float]
    """CPU time of each row, as its engines count it."""
    resident_bytes: int
    bare_bytes: int
    """Memory before anything but `coterie` was imported."""


def probe(
    root: Path,
    rung: str,
    version: str,
    section: SpecialistSection,
    rows: Sequence[Row],
    /,
    *,
    model: LlamaModel | None = None,
    encoder: Path | None = None,
) -> Probed:
    """Measure a stored version in a separate process.

    Args:
        root: The registry of the version.
        rung: The version's name there.
        version: The version's id.
        section: The section that it was trained with.
        rows: The rows to ask about.
        model: The model that the section's `model` names.
        encoder: The folder of the network's encoder; the bundled one by default.

    Raises:
        EngineBroken: the process failed; the message has the end of its output.
    """
    from coterie.errors import EngineBroken  # noqa: PLC0415 - the child imports this module and must stay bare

    request = {
        "root": str(root),
        "rung": rung,
        "version": version,
        "section": section.model_dump(mode="json"),
        "model": model and model.model_dump(mode="json"),
        "encoder": encoder and str(encoder),
        "rows": [{"text": row.text, "columns": dict(row.columns)} for row in rows],
    }
    command = [sys.executable, "-P", "-m", "coterie.rightsizing.probe"]  # -P: no module from where the user is
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            command, input=json.dumps(request), capture_output=True, encoding="utf-8", timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise EngineBroken(f"Measuring rung {rung!r} took over {_PATIENCE:g} s.", engine=rung) from None
    if done.returncode:
        problem = done.stderr.strip().rpartition("\n")[2] or "nothing"
        raise EngineBroken(
            f"The process that measures rung {rung!r} ended with {done.returncode}: {problem}", engine=rung
        )
    return Probed(**json.loads(done.stdout))


# --- In the child --------------------------------------------------------------------------------


def _main() -> None:
    bare = resident_bytes()
    request = json.load(sys.stdin)
    print(json.dumps(asdict(asyncio.run(_measure(request, bare)))))  # noqa: T201 - its standard output is the channel


async def _measure(request: dict[str, Any], bare: int) -> Probed:
    from threadpoolctl import threadpool_limits  # noqa: PLC0415 - nothing before the bare process is weighed

    from coterie.types import ContextView, Task  # noqa: PLC0415 - likewise

    encoder = _LazyEncoder(request["encoder"])
    specialist, models = _load(request, encoder)
    threadpool_limits(1, user_api="blas")
    tasks = [Task(text=row["text"], columns=row["columns"] or None) for row in request["rows"]]
    for task in tasks[:WARM_UP]:
        await specialist.consult(task, ContextView(), call=SYSTEM)
    timings = [await _ask(specialist, task, _stranger(i)) for i, task in enumerate(tasks)]
    resident = resident_bytes()
    await encoder.close()
    for model in models:
        await model.close()
    return Probed(
        milliseconds=tuple(milliseconds for milliseconds, _ in timings),
        cpu_seconds=tuple(cpu for _, cpu in timings),
        resident_bytes=resident,
        bare_bytes=bare,
    )


def _stranger(number: int) -> CallContext:
    """Return a call context of a new tenant, so that each timed text is new and no cache applies."""
    from coterie.types import CallContext, Principal  # noqa: PLC0415 - loaded by now

    return CallContext(principal=Principal(tenant=f"row {number}"))


async def _ask(specialist: Specialist, task: Task, call: CallContext) -> tuple[float, float]:
    """Return the milliseconds and CPU-seconds of one request."""
    from coterie.types import ContextView  # noqa: PLC0415 - loaded by now

    start = time.perf_counter()
    finding = await specialist.consult(task, ContextView(), call=call)
    taken = (time.perf_counter() - start) * 1000
    return taken, sum(step.usage.cpu_seconds for step in finding.steps)


def _load(request: dict[str, Any], encoder: _LazyEncoder) -> tuple[Specialist, Sequence[LlamaEngine]]:
    from coterie.config.file import LlamaModel  # noqa: PLC0415 - nothing before the bare process is weighed
    from coterie.config.specialists import make_section  # noqa: PLC0415 - nothing before the bare process is weighed
    from coterie.registry.registry import Registry  # noqa: PLC0415 - likewise
    from coterie.tasks.versions import load_specialist  # noqa: PLC0415 - likewise

    section = make_section(**request["section"])
    version = Registry(Path(request["root"])).load(request["rung"], request["version"])
    models: dict[str, LlamaEngine] = {}
    if request["rung"] == "slm" and request["model"]:
        models = open_small(section, LlamaModel.model_validate(request["model"]), version)
    specialist = load_specialist(request["rung"], section, version, encoder=encoder, models=models)
    return specialist, tuple(models.values())


def open_small(section: SpecialistSection, model: LlamaModel | None, version: Version) -> dict[str, LlamaEngine]:
    """Open the section's model with the version's adapter, by the key that the section names; empty without an adapter.

    Args:
        section: The section of the version.
        model: The model of that key; a path is relative to the working directory.
        version: The version, with the specialist's name.
    """
    from coterie.engines.llama import LlamaEngine  # noqa: PLC0415 - what other rungs do not need
    from coterie.models.catalogue import locate  # noqa: PLC0415 - likewise
    from coterie.specialists.parts import ADAPTER_FILE  # noqa: PLC0415 - likewise

    if model is None or ADAPTER_FILE not in version.files:
        return {}
    adapters = {version.name: version.folder / ADAPTER_FILE}
    engine = LlamaEngine.configured(str(section.model), model, locate(model, Path()), adapters=adapters)
    return {str(section.model): engine}


class _LazyEncoder:
    """The network's encoder, loaded at the first text that needs it: a rung without it does not pay for it."""

    name = "onnx"

    def __init__(self, folder: str | None) -> None:
        from coterie.types import Label  # noqa: PLC0415 - nothing before the bare process is weighed

        self._folder = folder
        self.clearance = Label.RESTRICTED
        self._encoder: OnnxEncoder | None = None

    async def run(self, batch: Sequence[Prompt], *, call: CallContext = SYSTEM) -> Sequence[Output]:
        if self._encoder is None:
            from coterie.engines.onnx import BUNDLED_ENCODER, OnnxEncoder  # noqa: PLC0415 - here and not before

            self._encoder = OnnxEncoder.read(Path(self._folder) if self._folder else BUNDLED_ENCODER)
        return await self._encoder.run(batch, call=call)

    async def close(self) -> None:
        """Close the encoder, if it was opened."""
        if self._encoder is not None:
            await self._encoder.close()


def resident_bytes() -> int:
    """Return the resident memory of this process: now if the system reports it (Linux), else its peak."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    _main()
