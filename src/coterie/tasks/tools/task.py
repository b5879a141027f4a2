"""The task `tools`: a function with its arguments."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coterie.tasks.contract import CardText, Parts, Stored, TaskType
from coterie.tasks.tools.section import ToolsSection
from coterie.types import Finding, Option, Rung, SpecialistCard

if TYPE_CHECKING:
    from coterie.learning.dataset import Dataset, Row
    from coterie.learning.evaluation import Evaluation
    from coterie.learning.job import Job
    from coterie.learning.measure import Candidate, Encoded
    from coterie.protocols import Specialist


class ToolsTask(TaskType[ToolsSection]):
    """Chooses a function for a text and fills in its arguments."""

    kind = "tools"
    section = ToolsSection
    about = CardText(job="chooses a function for a text and fills in its arguments, or says that none fits")
    needs_profile = makes_calls = True
    not_rightsized = "A call is a function and its arguments, each of a part of its own. `coterie train` measures both."

    def read_rows(self, section: ToolsSection, path: Path | str, *, for_evaluation: bool = False) -> Dataset:
        """Read rows, each a text and its call."""
        from coterie.tasks.tools.rows import read_rows

        return read_rows(section, path, for_evaluation=for_evaluation)

    def possible_rungs(self, section: ToolsSection, train: Dataset) -> tuple[Rung, ...]:
        """Return the rungs of the part that chooses the function."""
        return ("lexical", "embedding", "encoder") if train.has_texts else ("lexical",)

    def fit(self, job: Job[ToolsSection], encoded: Encoded | None) -> Sequence[Candidate]:
        """Return a candidate per rung."""
        from coterie.tasks.tools.fit import train_tools

        assert encoded is not None, "a row without a text is refused"  # noqa: S101
        return train_tools(job, encoded)

    def subjects(self, job: Job[ToolsSection]) -> Sequence[str]:
        """Return the descriptions of its functions."""
        return tuple(function.description or function.name for function in job.section.functions)

    def written_values(self, section: ToolsSection, data: Dataset) -> Collection[str] | None:
        """Return None: it writes no fact."""
        return None

    def judge(
        self, rows: Sequence[Row], findings: Sequence[Finding], *, section: ToolsSection | None = None, seed: int = 0
    ) -> Evaluation:
        """Return figures of functions and of whole calls."""
        from coterie.tasks.tools.rows import judge

        del section
        return judge(rows, findings, seed=seed)

    def one_of(self, section: ToolsSection, described: Mapping[str, Any]) -> tuple[Option, ...]:
        """Return its functions, and the option that none fits."""
        descriptions = {function.name: function.description for function in section.functions}
        return tuple(Option(name=name, description=descriptions.get(name, "")) for name in described["labels"])

    def accepts(self, section: ToolsSection, described: Mapping[str, Any]) -> str:
        """Return why a version cannot serve: it was trained with other functions."""
        if described["task"] == self.kind:
            now, then = (
                {function.name for function in section.functions},
                {function["name"] for function in described["functions"]},
            )
            if now != then:
                changed = ", ".join(sorted(now ^ then))
                return f"is configured with other functions than its version was trained with ({changed})"
        return super().accepts(section, described)

    def load(self, card: SpecialistCard, section: ToolsSection, stored: Stored, parts: Parts) -> Specialist:
        """Return the parts of the version's rung."""
        from coterie.tasks.tools.model import assemble

        return assemble(card, stored.described, stored.files, encoder=parts.encoder)


TASK = ToolsTask()
