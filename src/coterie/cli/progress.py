"""Progress on standard error: bars on a terminal, one line per finished stage elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from coterie.cli.output import clean, console, optional, remark


def say_fine_tuning_is_kept(folder: Path) -> bool:
    """Print that an interrupted fine-tuning continues from the checkpoints of a folder; False where there are none."""
    if not any(folder.rglob("*.safetensors")):
        return False
    remark("Fine-tuning is kept as it was at most a minute of work ago: the same command goes on there.")
    return True


class _Bars:
    """Bars on standard error, which are removed when the block ends, also on Ctrl-C."""

    def __init__(self, *columns: ProgressColumn) -> None:
        described = TextColumn("{task.description}", markup=False)
        self._bars = Progress(
            *(described, BarColumn(bar_width=30), *columns),
            console=console(sys.stderr),
            transient=True,
            disable=not sys.stderr.isatty(),
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()


class TerminalProgress(_Bars):
    """Shows one stage after another; implements `training.Progress`."""

    def __init__(self) -> None:
        super().__init__(_Count(), _Speed(), TimeElapsedColumn(), _Left())
        self._task: TaskID | None = None
        self._what = ""
        self._since = 0.0

    def start(self, what: str, total: int | None) -> None:
        """Begin a stage; `total` is its number of examples, None when the number is unknown."""
        self._close()
        self._what, self._since = what, time.monotonic()
        self._task = self._bars.add_task(clean(what), total=total)

    def advance(self, n: int) -> None:
        """Add a number of finished examples."""
        if self._task is not None:
            self._bars.advance(self._task, n)

    def finish(self, note: str) -> None:
        """End the stage; the note describes its result."""
        self._close()
        line = f"{self._what}: {note}" if note else self._what
        line += f" ({time.monotonic() - self._since:.1f} s)"
        with optional():
            self._bars.console.print(clean(line), markup=False, highlight=False, soft_wrap=True)

    def _close(self) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None


@contextmanager
def stage(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show the progress of one stage, such as the rows of a file; yield the function that adds finished rows."""
    with TerminalProgress() as progress:
        progress.start(what, total)
        yield progress.advance


class _Count(MofNCompleteColumn):
    """Finished examples of the total; empty for a stage of unknown size."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.total is not None else Text("")


class _Speed(ProgressColumn):
    """Examples per second, shown after one second: two advances in quick succession would show millions."""

    def render(self, task: Task) -> Text:
        elapsed = task.elapsed or 0.0
        speed = task.completed / elapsed if elapsed >= 1 else 0.0
        return Text(f"{speed:,.0f}/s" if speed >= 1 and task.total is not None else "", style="dim")


class _Left(TimeRemainingColumn):
    """Remaining time; empty for a stage of unknown size."""

    def render(self, task: Task) -> Text:
        return Text("left ", style="dim") + super().render(task) if task.total is not None else Text("")


class DownloadProgress(_Bars):
    """A progress bar for the bytes of one download."""

    def __init__(self, what: str) -> None:
        super().__init__(
            DownloadColumn(), TransferSpeedColumn(), TextColumn("left", style="dim"), TimeRemainingColumn()
        )
        self._task = self._bars.add_task(clean(what), total=None)

    def update(self, done: int, total: int | None) -> None:
        """Show the received bytes, of `total` if that is known."""
        self._bars.update(self._task, completed=done, total=total)
