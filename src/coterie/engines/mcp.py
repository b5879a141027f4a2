"""An MCP server as an engine: a prompt is one call as JSON, the output is the tool's result.

The connection runs in its own task, since the SDK's task groups must end in the task in which they began. It is opened
before the first call, over the protocol that both sides know, and reopened after a failure. Only the egress gate makes
such an engine.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from importlib.util import find_spec
from typing import Any

from coterie.config.operation import McpSection
from coterie.errors import EngineBroken, EngineRejected, EngineTimeout, EngineUnavailable, ExtraMissing
from coterie.types import SYSTEM, CallContext, Output, Prompt, Usage

_CUT = "\n[The result was longer; it is cut here.]"
_CLOSING = 5.0
_PAGES = 20

Connect = Callable[[], Any]
"""Makes an async context manager of a connected client of the SDK; tests replace it."""


class McpEngine:
    """Calls the tools of one server."""

    def __init__(self, name: str, section: McpSection, *, connect: Connect | None = None) -> None:
        """Describe the server; nothing is started or opened.

        Raises:
            ExtraMissing: the extra `mcp` is not installed.
        """
        if find_spec("mcp") is None:
            raise ExtraMissing(
                f"The server {name!r} of [mcp] needs the package 'mcp', which is not installed.",
                hint="Install it: pip install 'coterie[mcp]'",
            )
        self.name, self.clearance = f"mcp:{name}", section.clearance
        self._section = section
        self._connect = connect or (lambda: _connected(section))
        self._work: asyncio.Queue[tuple[Callable[[Any], Any], asyncio.Future[Any]]] = asyncio.Queue()
        self._server: asyncio.Task[None] | None = None
        self._tools: Sequence[Mapping[str, Any]] | None = None

    async def tools(self) -> Sequence[Mapping[str, Any]]:
        """Return name, description and parameters of each allowed tool; requested once per connection."""
        if self._tools is None:
            functions: list[Mapping[str, Any]] = []
            cursor: str | None = None
            for _ in range(_PAGES):
                page = await self._do(partial(_page, cursor=cursor))
                functions += [
                    {"name": t.name, "description": t.description or "", "parameters": t.input_schema}
                    for t in page.tools
                ]
                cursor = page.next_cursor
                if cursor is None:
                    break
            allowed = self._section.tools
            self._tools = [tool for tool in functions if allowed is None or tool["name"] in allowed]
        return self._tools

    async def run(
        self,
        batch: Sequence[Prompt],
        *,
        call: CallContext = SYSTEM,  # noqa: ARG002 - the gate around it has looked at it
    ) -> Sequence[Output]:
        """Return the result of each call. Raises an `EngineError`, also where the tool reports a failure."""
        return [await self._one(prompt) for prompt in batch]

    async def _one(self, prompt: Prompt) -> Output:
        start = time.perf_counter()
        try:
            call = json.loads(prompt.text)
            name, arguments = str(call["name"]), dict(call["arguments"])
        except (ValueError, LookupError, TypeError):
            raise EngineRejected(f"The call of {self.name!r} is no JSON any more.", engine=self.name) from None
        result = await self._do(lambda client: client.call_tool(name, arguments))
        text = _text_of(result)
        if len(text) > self._section.most_characters:
            text = text[: self._section.most_characters] + _CUT
        if result.is_error:
            raise EngineRejected(
                f"The tool {name!r} of {self.name!r} says that it failed: {text[:500]}", engine=self.name
            )
        # A call is counted as one token: it has a price, and no tokens.
        return Output(text=text, usage=Usage(tokens_out=1, milliseconds=(time.perf_counter() - start) * 1000))

    async def close(self) -> None:
        """Close the connection, and end the program if it was started here."""
        if (server := self._server) is None:
            return
        self._server = None
        server.cancel()
        await asyncio.wait([server], timeout=_CLOSING)

    # --- the connection ------------------------------------------------------------------------

    async def _do(self, what: Callable[[Any], Any]) -> Any:  # noqa: ANN401 - the SDK's results
        """Return what a client of the connection returns. Raises an `EngineError`."""
        if self._server is None or self._server.done():
            self._tools, self._work = None, asyncio.Queue()
            self._server = asyncio.create_task(self._serve(self._work), name=self.name)
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._work.put_nowait((what, done))
        await asyncio.wait([done, self._server], timeout=self._section.timeout, return_when=asyncio.FIRST_COMPLETED)
        if done.done():
            return self._result(done)
        done.cancel()
        if not self._server.done():
            message = f"{self.name!r} gave no result in {self._section.timeout:g} seconds."
            raise EngineTimeout(message, engine=self.name)
        error = None if self._server.cancelled() else self._server.exception()
        raise EngineUnavailable(f"{self.name!r} cannot be reached: {_words(error)}.", engine=self.name) from None

    def _result(self, done: asyncio.Future[Any]) -> Any:  # noqa: ANN401
        error = done.exception()
        if error is None:
            return done.result()
        from mcp.shared.exceptions import MCPError  # noqa: PLC0415 - an extra

        if isinstance(error, MCPError):
            raise EngineRejected(f"{self.name!r} refused: {_words(error)}.", engine=self.name) from None
        raise EngineBroken(f"{self.name!r} failed: {_words(error)}.", engine=self.name) from None

    async def _serve(self, work: asyncio.Queue[tuple[Callable[[Any], Any], asyncio.Future[Any]]]) -> None:
        """Hold the connection and process the requested work concurrently."""
        running = set[asyncio.Task[None]]()
        async with self._connect() as client:
            try:
                while True:
                    what, done = await work.get()
                    task = asyncio.create_task(_finish(client, what, done))
                    running.add(task)
                    task.add_done_callback(running.discard)
            finally:
                for task in running:
                    task.cancel()


async def _page(client: Any, *, cursor: str | None) -> Any:  # noqa: ANN401 - the SDK's
    return await client.list_tools(cursor=cursor)


async def _finish(client: object, what: Callable[[Any], Any], done: asyncio.Future[Any]) -> None:
    """Set a future to the client's result; stop when nothing waits for it any more."""
    task = asyncio.ensure_future(what(client))
    done.add_done_callback(lambda task_done: task.cancel() if task_done.cancelled() else None)
    try:
        result = await task
    except asyncio.CancelledError:
        done.cancel()
    except Exception as error:  # noqa: BLE001 - raised again by whoever waits
        if not done.done():
            done.set_exception(error)
    else:
        if not done.done():
            done.set_result(result)


@asynccontextmanager
async def _connected(section: McpSection) -> AsyncIterator[Any]:
    """Yield a client of the SDK, over the section's transport. A command gets nothing of this process's environment."""
    from mcp.client import Client  # noqa: PLC0415 - an extra
    from mcp.client.stdio import StdioServerParameters  # noqa: PLC0415
    from mcp.client.streamable_http import streamable_http_client  # noqa: PLC0415
    from mcp.shared._httpx_utils import create_mcp_http_client  # noqa: PLC0415

    if section.url is None:
        program, *arguments = section.command
        env = {name: secret.reveal() for name, secret in section.env.items()}
        async with Client(StdioServerParameters(command=program, args=arguments, env=env)) as client:
            yield client
        return
    headers = {"authorization": f"Bearer {section.api_key.reveal()}"} if section.api_key else None
    async with (
        create_mcp_http_client(headers=headers) as http,
        Client(streamable_http_client(section.url, http_client=http)) as client,
    ):
        yield client


def _text_of(result: Any) -> str:  # noqa: ANN401 - the SDK's
    """Return a result as text: its texts, else its structured content, else the types of its parts."""
    texts = [block.text for block in result.content if getattr(block, "type", "") == "text"]
    others = [f"[{block.type}]" for block in result.content if getattr(block, "type", "") != "text"]
    if not texts and result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
    return "\n".join([*texts, *others])


def _words(error: BaseException | None) -> str:
    """Describe an error in a few words; for a group, its first error."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error is None:
        return "the connection ended"
    with suppress(Exception):
        return f"{type(error).__name__}: {error}"[:200]
    return type(error).__name__
