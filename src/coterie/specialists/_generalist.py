"""The generalist: the large model, asked when a specialist abstains."""

from __future__ import annotations

from coterie.config import LlamaModel, OpenAIModel
from coterie.protocols import StreamingEngine
from coterie.types import ContextView, Finding, Message, Prompt, SpecialistCard, Step, Task


class GeneralistSpecialist:
    """A large model behind an engine."""

    def __init__(self, engine: StreamingEngine, model: OpenAIModel | LlamaModel) -> None:
        self.engine = engine
        self.card = SpecialistCard(
            name="generalist", task="generate", description="", rung="slm", version=model.name, reads=("messages",),
            clearance=engine.clearance,
        )

    async def consult(self, task: Task, view: ContextView) -> Finding:
        """Its answer."""
        (output,) = await self.engine.run([Prompt(messages=(Message(role="user", text=task.text),), label=task.label)])
        return Finding(
            specialist="generalist", value=output.text, text=output.text, confidence=0.0, accepted=bool(output.text.strip()),
            reason="answered by the generalist", label=task.label, steps=(Step(producer="generalist", engine=self.engine.name, usage=output.usage),),
            verdicts=(output.verdict,) if output.verdict else (),
        )
