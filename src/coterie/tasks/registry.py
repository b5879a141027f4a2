"""The tasks that are installed, ours registered in the same way as others'."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from coterie.config.specialists import SpecialistSection
from coterie.runtime.plugins import PluginGroup
from coterie.tasks.contract import TaskType

if TYPE_CHECKING:
    from coterie.learning.dataset import Dataset

TASK_TYPES: PluginGroup[TaskType[Any]] = PluginGroup("coterie.tasks", TaskType, "task")
"""Every task by its name."""


def task_of(section: SpecialistSection) -> TaskType[Any]:
    """The task of a section. Raises `ConfigError` where no installed package has it."""
    return TASK_TYPES.load(section.task)


def read_dataset(path: Path | str, *, task: str, for_evaluation: bool = False, **settings: Any) -> Dataset:  # noqa: ANN401 - the keys of its section
    """Read a file for a task, with those keys of its section that say how; the others are left out.

    Raises:
        DataError: the file cannot be used; the message names lines and values, the hint what to do.
    """
    found = TASK_TYPES.load(task)
    section = found.section.model_construct(task=task, **settings)
    return found.read_rows(section, path, for_evaluation=for_evaluation)
