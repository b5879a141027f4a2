"""Function calls of a `generate` specialist: the request's functions, and those of MCP servers.

The model is used without its adapter, which has learned replies and no calls, and is restricted to JSON: calls or an
answer. Calls of the request's functions are returned to the caller as the finding. Calls of an MCP server's functions
are made here, through the egress gate, and their results are shown to the model, for a few rounds. Where the model
neither calls nor has results to answer from, the specialist answers as usual, with its own calibrated confidence; an
answer from results has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from coterie.errors import AuditError, EngineError, InputError, Overloaded, PolicyError, SetupError
from coterie.protocols import Engine, FunctionServer
from coterie.specialists.acceptance import abstention
from coterie.structured.functions import (
    ROOM,
    ToolReply,
    call_turn,
    correction,
    read_reply,
    reply_schema,
    result_turn,
    told_of,
    within,
    written_calls,
)
from coterie.text.folding import estimate_tokens
from coterie.types import (
    CallContext,
    Finding,
    Function,
    FunctionCall,
    Label,
    Message,
    Prompt,
    Reason,
    Step,
    Task,
    Tools,
    Verdict,
    label_without_pii,
)

_LONGEST = 512  # tokens of a reply
_ROUNDS = 4
_REFUSED = (EngineError, InputError, Overloaded, PolicyError, SetupError)


@dataclass(frozen=True, kw_only=True)
class Calling:
    """Asks the model of a `generate` specialist which functions to call."""

    name: str
    """The specialist's name."""
    engine: Engine
    instruction: str
    window: int | None = None
    """Context window of the model: tokens of prompt and reply; None where it is unknown."""
    servers: Mapping[str, FunctionServer] = field(default_factory=dict)
    """MCP servers by their `[mcp]` key, whose functions the specialist may call itself."""
    rounds: int = _ROUNDS
    """Most rounds of calls before it must answer."""

    async def consult(self, task: Task, *, call: CallContext) -> tuple[Finding | None, tuple[Step, ...]]:
        """Return calls, an answer from results, or an abstention; None where the specialist answers as usual.

        The returned steps belong to the None case, which has no finding to hold them.
        """
        offered = task.tools or Tools()
        if not (offered.functions or offered.since or self.servers):
            return None, ()
        work = _Rounds(calling=self, task=task, offered=offered, call=call)
        finding = await work.run()
        return finding, () if finding is not None else tuple(work.steps)


@dataclass(kw_only=True)
class _Rounds:
    """The rounds of asking and calling for one request."""

    calling: Calling
    task: Task
    offered: Tools
    call: CallContext
    owners: dict[str, tuple[FunctionServer, str]] = field(default_factory=dict)
    """For each name that the model sees, its server and its name there."""
    turns: list[Message] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    label: Label = Label.PUBLIC
    bare: Label = Label.PUBLIC
    results: bool = False

    async def run(self) -> Finding | None:
        """Ask until there is an answer, or calls for the caller."""
        self.label, self.bare = self.task.label, label_without_pii(self.task)
        self.turns, self.results = list(self.offered.since), bool(self.offered.since)
        try:
            functions = (*self.offered.functions, *await self._theirs())
            for left in range(self.calling.rounds, -1, -1):
                open_functions = functions if left else self.offered.functions
                tools = replace(self.offered, functions=open_functions, since=tuple(self.turns))
                reply = await self._ask(tools)
                if reply.wrong:
                    why = Reason("abstain.not_in_schema", model=self.calling.engine.name, found=reply.wrong)
                    return self._done(abstention(self.calling.name, self.task, why))
                ours = [call for call in reply.calls if call.name in self.owners]
                if not ours:
                    return self._ended(reply)
                await self._make(ours)
        except AuditError:
            raise
        except _REFUSED as error:
            self.verdicts += [error.verdict] if isinstance(error, PolicyError) else []
            return self._done(abstention(self.calling.name, self.task, error.reason))
        why = Reason("abstain.rounds", rounds=self.calling.rounds)
        return self._done(abstention(self.calling.name, self.task, why))

    async def _theirs(self) -> Sequence[Function]:
        """Return the functions of the MCP servers, renamed where names clash."""
        taken, functions = set(self.offered.names), []
        for key, server in self.calling.servers.items():
            for function in await server.functions():
                name = function.name if function.name not in taken else f"{key}.{function.name}"[:64]
                taken.add(name)
                self.owners[name] = (server, function.name)
                functions.append(replace(function, name=name))
        return functions

    async def _ask(self, tools: Tools) -> ToolReply:
        """Return the model's reply, with less room at each attempt until it fits."""
        schema, reply = reply_schema(tools), ToolReply()
        instruction = f"{self.calling.instruction}\n\n{told_of(tools)}".strip()
        messages = (Message(role="system", text=instruction), Message(role="user", text=self.task.text), *self.turns)
        again: tuple[Message, ...] = ()
        for level in ROOM:
            turns = (*messages, *again)
            longest = min(self.task.max_tokens or _LONGEST, _LONGEST)
            if self.calling.window is not None:
                room = self.calling.window - sum(estimate_tokens(message.text) + 4 for message in turns)
                longest = max(1, min(longest, room))
            prompt = Prompt(messages=turns, label=self.label, label_without_pii=self.bare, max_tokens=longest)
            prompt = replace(prompt.sampled(self.task.sampling), json_schema=within(schema, level))
            (output,) = await self.calling.engine.run([prompt], call=self.call)
            self.steps.append(
                Step(producer=self.calling.name, engine=self.calling.engine.name, usage=output.usage, note="functions")
            )
            self.verdicts += [output.verdict] if output.verdict is not None else []
            reply = read_reply(schema, output.text)
            if not reply.wrong:
                break
            again = correction(output.text, reply.wrong)
        return reply

    async def _make(self, calls: Sequence[FunctionCall]) -> None:
        """Call functions of MCP servers, and keep each result for the model, failures too."""
        self.turns.append(call_turn(calls))
        for call in calls:
            server, name = self.owners[call.name]
            about = FunctionCall(name=name, arguments=call.arguments)
            try:
                result = await server.call(about, label=self.label, label_without_pii=self.bare, call=self.call)
            except AuditError:
                raise
            except _REFUSED as error:
                self.verdicts += [error.verdict] if isinstance(error, PolicyError) else []
                self.turns.append(result_turn(f"it failed: {error.reason}", call.name))
                self.steps += [
                    Step(producer=self.calling.name, engine=server.name, usage=failure.usage, note="failed")
                    for failure in getattr(error, "failures", ())
                ]
                continue
            self.results = True
            self.label, self.bare = max(self.label, result.label), max(self.bare, result.label_without_pii)
            self.turns.append(result_turn(result.text, call.name))
            self.steps.append(
                Step(producer=self.calling.name, engine=server.name, usage=result.usage, note=f"function {name}")
            )
            self.verdicts += result.verdicts

    def _ended(self, reply: ToolReply) -> Finding | None:
        """Return calls for the caller, or words; None if there is nothing to call and no result."""
        model = self.calling.engine.name
        if reply.calls:
            names = ", ".join(call.name for call in reply.calls)
            reason = Reason("accept.called", model=model, functions=names)
            return self._done(self._accepted(written_calls(reply.calls), reason, called=True))
        if not self.results:
            return None  # nothing to call: it answers as it was trained to
        if not reply.answer:
            return self._done(abstention(self.calling.name, self.task, Reason("abstain.empty_answer")))
        return self._done(self._accepted(reply.answer, Reason("accept.from_results", model=model), called=False))

    def _accepted(self, text: str, reason: Reason, *, called: bool) -> Finding:
        return Finding(
            specialist=self.calling.name,
            value=text,
            text=text,
            confidence=0.0,  # not known, and the cautious number for that
            accepted=True,
            reason=reason,
            task="generate",
            called=called,
        )

    def _done(self, finding: Finding) -> Finding:
        return replace(
            finding,
            offered=bool(self.offered.functions and self.steps),
            label=self.label,
            label_without_pii=self.bare,
            steps=tuple(self.steps),
            verdicts=(*finding.verdicts, *self.verdicts),
        )
