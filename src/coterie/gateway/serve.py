"""The server: from an address to an orderly shutdown, on the network that its folder holds.

uvicorn closes a connection that idles after a response. It has no time limit for the head of a request of any length,
for the rest of an unread body, and for a caller who does not read a response; this module adds these limits.

The server follows changes in its network's folder: a promoted version, a price, another policy. Each process checks a
few times a second the file of the network and which versions serve. A changed network is opened beside the serving one,
which takes some hundredths of a second if the encoder stays, and gets all further requests. Running requests end on the
network on which they began. If opening fails, the error is logged, and the serving network stays.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, cast

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from coterie.config.file import Config, GatewaySection, load_config
from coterie.config.section import FILE_NAME
from coterie.errors import CoterieError, SetupError
from coterie.gateway.access import network_of, refuse_public
from coterie.gateway.app import create_app
from coterie.gateway.connection import ARRIVED, ON_LOST
from coterie.gateway.work import Gateway, Shared
from coterie.gateway.workers import WorkerPlace
from coterie.governance.keys import KeyRing

if TYPE_CHECKING:
    from coterie.network.network import Network

_REST_SECONDS = 2.0
"""Seconds for which the rest of a body is read and discarded, so that the sender sees why it was refused."""
_LATE = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_LONGEST_HEAD = 1 << 16
"""Largest incomplete head in bytes; the parser itself has no limit."""
_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class OpenConnections:
    """All open connections of a server. If there are too many, one without a pending answer is closed."""

    def __init__(self, most: int, *, share: float, head_seconds: float) -> None:
        """Store the limits: connections at once, a client's share of them, and the time for the head of a request."""
        self.open, self.head_seconds = Shared(most, share), head_seconds
        self.leaving = False
        """Each connection is closed after its next response: the server is being replaced."""
        self._silent: dict[GatewayProtocol, None] = {}
        """Those whose request is not complete, the longest waiting first."""

    def enter(self, connection: GatewayProtocol) -> bool:
        """Count one more connection; return False where there is no room for it."""
        client = connection.peer
        if not self.open.free(client):
            self.make_room(client if self.open.of(client) >= self.open.most_each else None)
        if not self.open.free(client):
            return False
        self.open.take(client)
        return True

    def leave(self, connection: GatewayProtocol) -> None:
        """Count one connection less."""
        self._silent.pop(connection, None)
        self.open.give(connection.peer)

    def wait_for(self, connection: GatewayProtocol, *, request: bool) -> None:
        """Record that a connection's next request is awaited from now on, or is complete."""
        if request:
            self._silent.setdefault(connection)
        else:
            self._silent.pop(connection, None)

    def make_room(self, client: str | None = None) -> None:
        """Close the connection that has been waiting longest: of a client, or of the client with the most of them."""
        waiting = [connection for connection in self._silent if client in (None, connection.peer)]
        if waiting:
            max(waiting, key=lambda connection: self.open.of(connection.peer)).drop()


class HeadWithBody:
    """A transport for one response: head and first data are sent by one system call."""

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, close: Callable[[], None]
    ) -> None:
        self._transport, self._loop, self._close = transport, loop, close
        self.is_closing = transport.is_closing
        self._head: bytes | None = None
        self._sending: asyncio.Handle | None = None

    def write(self, data: bytes) -> None:
        """Send data: the first with the next, or at the next turn of the event loop."""
        if self._head is None:
            self._head, self._sending = data, self._loop.call_soon(self._send)
        elif self._sending is not None:
            self._send(data)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Send the remaining data, and close."""
        self._send()
        self._close()

    def _send(self, more: bytes = b"") -> None:
        """Send the head, if it was not sent yet."""
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None
            self._transport.write((self._head or b"") + more)


def _take_body(cycle: RequestResponseCycle) -> bytes | None:
    """Return the whole body of a request, if it has arrived, faster than through `receive`; None otherwise."""
    if cycle.more_body or cycle.disconnected or cycle.response_complete or cycle.waiting_for_100_continue:
        return None
    cycle.flow.resume_reading()
    cycle.message_event.clear()
    body, cycle.body = bytes(cycle.body), bytearray()
    return body


class GatewayProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, connections: OpenConnections, **more: Any) -> None:  # noqa: ANN401 - uvicorn's
        super().__init__(*args, **more)
        self.peer = ""
        self._all = connections
        self._counted = False
        self._phase = ""
        self._timer: asyncio.TimerHandle | None = None
        self._unread = 0
        self._coming: Literal["", "head", "body"] = ""
        """The part of a request that has begun and is not complete."""
        self._head_bytes = 0
        self._finishing = False
        """Whether the connection is closed once the rest of a body was read."""
        self._listeners: dict[Callable[[], None], None] | None = {}
        """Called when the connection is lost; None once it is."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection, and wait for the first head."""
        super().connection_made(transport)
        self.peer = network_of((self.client or ("",))[0])
        self._counted = self._all.enter(self)
        if self._counted:
            self._turn("head")
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection from the count."""
        self._turn("over")
        self._uncount()
        listeners, self._listeners = self._listeners, None
        super().connection_lost(exc)
        for listener in listeners or ():
            listener()

    def on_lost(self, call: Callable[[], None]) -> Callable[[], None]:
        """Register a callback for the loss of the connection, and return the function that removes it.

        The callback is called soon if the connection is lost already.
        """
        if self._listeners is None:
            return self.loop.call_soon(call).cancel
        listeners = self._listeners
        listeners[call] = None
        return lambda: listeners.pop(call, None)

    def data_received(self, data: bytes) -> None:
        """Read some bytes."""
        if not self._counted:
            return
        super().data_received(data)
        self._head_bytes = self._head_bytes + len(data) if self._coming == "head" else 0
        if self._head_bytes > _LONGEST_HEAD and not self.transport.is_closing():
            self.transport.write(_TOO_LONG)
            self.transport.close()
        self._look()

    def on_message_begin(self) -> None:
        """Begin the timing of a head."""
        self._coming = "head"
        super().on_message_begin()
        cast("dict[str, Any]", self.scope)[ON_LOST] = self.on_lost

    def on_header(self, name: bytes, value: bytes) -> None:
        """Read a header without white space around its value (RFC 9110, 5.5), which the parser leaves there."""
        super().on_header(name, value.strip(b" \t"))

    def on_headers_complete(self) -> None:
        """Handle a complete head."""
        self._coming = "body"
        super().on_headers_complete()
        if self.cycle is not None:
            cast("dict[str, Any]", self.scope)[ARRIVED] = partial(_take_body, self.cycle)
            self.cycle.transport = cast("asyncio.Transport", HeadWithBody(self.transport, self.loop, self.finish))
            if self._all.leaving:
                self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """Handle a complete body, which may be empty."""
        self._coming = ""
        super().on_message_complete()
        if self._finishing:
            self.transport.close()

    def finish(self) -> None:
        """Close, but first read the rest of a body: who is still sending when it is closed does not see the answer."""
        self._finishing = self._coming == "body"
        if not self._finishing:
            self.transport.close()

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the rest of this one."""
        super().on_response_complete()
        self._look()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, but only after its caller has read the response."""
        unread = self.transport.get_write_buffer_size()
        if not unread:
            super().timeout_keep_alive_handler()
        elif unread == self._unread:
            self.transport.abort()
        else:
            self._unread = unread
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def drop(self) -> None:
        """Close the connection at once, to free its place."""
        self._uncount()
        self.transport.abort()

    def _uncount(self) -> None:
        if self._counted:
            self._counted = False
            self._all.leave(self)

    def _look(self) -> None:
        """Determine what the connection waits for."""
        cycle = self.cycle
        if self.transport.is_closing():
            self._turn("over")
        elif cycle is not None and not cycle.response_complete:
            self._turn("body" if cycle.more_body else "answer")
        elif cycle is not None and self._coming == "body":
            self._turn("rest")
        elif cycle is None or self._phase == "head" or self._coming == "head":
            self._turn("head")
        else:
            self._turn("idle")

    def _turn(self, phase: str) -> None:
        """Begin to wait for something else, with a time limit. More of the same does not extend the limit."""
        if phase == self._phase:
            return
        self._phase = phase
        if self._timer is not None:
            self._timer.cancel()
        seconds = {"head": self._all.head_seconds, "rest": _REST_SECONDS}.get(phase)
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._late)
        if self._counted:
            self._all.wait_for(self, request=phase in {"head", "body", "rest", "idle"})

    def _late(self) -> None:
        if self._phase == "head" and self._coming == "head":
            self.transport.write(_LATE)
        self.transport.close()


# --- The server: from an address to an orderly end.

# --- A server follows changes in its network's folder: a promoted version, a price, another policy.

_log = logging.getLogger("coterie.gateway")
_BACKLOG = 2048
"""Connections that the operating system queues until they are accepted."""
_AT_ONCE = 32
"""Connections that are accepted before the first of them is read."""
_FILES = 64
"""Descriptors that are reserved for files and for connections to models."""
_LEAVE_SECONDS = 2.0
"""Seconds for which a replaced worker answers on its open connections before it closes the silent ones."""
_AWAY_SECONDS, _LONGEST_AWAY = 0.0005, 0.004
"""Pause of one of several workers after accepting a connection, in seconds per open connection, and at most."""
_NO_DESCRIPTOR_SECONDS = 1.0
"""Pause in seconds where no descriptor is left."""
_NO_DESCRIPTOR = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_YOUNG = 10_000
"""Allocations between two collections of the youngest objects.

A request makes some thousand objects, and nearly all of them are freed without a collection. Python's default of 700
collects several times per request.
"""
SWITCH_SECONDS = 0.001
"""Switch interval in seconds: how long a thread may run on while the event loop waits.

Python's default is five times that, and the loop waits for it at each wake-up while a thread works on a long text.
"""


@contextmanager
def serving() -> Iterator[None]:
    """Configure the interpreter for a process that answers requests.

    Existing objects are excluded from garbage collection: scanning all of them would stop all requests for a third of a
    second whenever a request made many objects.
    """
    interval, before, frozen = sys.getswitchinterval(), gc.get_threshold(), gc.get_freeze_count()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, *before[1:])
    sys.setswitchinterval(min(interval, SWITCH_SECONDS))
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*before)
        if not frozen:  # by the program that serves: what it froze stays so
            gc.unfreeze()


async def serve(
    open_network: Callable[[], Awaitable[Network]],
    section: GatewaySection,
    *,
    ring: KeyRing | None = None,
    on_ready: Callable[[str], None] | None = None,
    front: Callable[[Starlette], ASGIApp] | None = None,
    worker: WorkerPlace | None = None,
) -> None:
    """Open the network and serve it until SIGTERM or SIGINT, then drain and close it.

    Draining accepts no further connections and gives running requests `section.drain` seconds; a second signal
    ends it at once. Cancelling drains too. Signals are handled only in the main thread: `asyncio.run(serve(...))`.

    Args:
        open_network: Called once, after the address is known to be free.
        section: Address and limits. Port 0 takes a free one.
        ring: The keys of the gateway. Without keys, the address must be one that only this machine reaches.
        on_ready: Called with the address, such as `http://127.0.0.1:8321`, once requests are answered.
        front: Makes an app that serves pages and passes all other requests to the gateway's.
        worker: Set if this process is one of several workers: the shared socket, and the link to the supervisor.

    Raises:
        SetupError: the address is in use, not of this machine, or open to others; or what `open_network` raises.
    """
    refuse_public(section.host, ring)
    with bind(section) if worker is None else worker.listener as listener:
        network, gateway = await open_network(), None
        try:
            with serving():
                app = create_app(network, section, ring)
                gateway = cast("Gateway", app.state.gateway)
                served = app if front is None else front(app)
                await _Server(served, gateway, section, on_ready=on_ready, worker=worker).run_to_end(listener)
        finally:
            await (network if gateway is None else gateway.network).close()


class _Server(uvicorn.Server):
    """uvicorn's server, which also starts and stops the gateway, and treats a signal as a normal end."""

    def __init__(
        self,
        app: ASGIApp,
        gateway: Gateway,
        section: GatewaySection,
        *,
        on_ready: Callable[[str], None] | None,
        worker: WorkerPlace | None,
    ) -> None:
        most = min(section.connections, _descriptors(section.connections) - _FILES - _AT_ONCE)
        self._connections = OpenConnections(max(1, most), share=section.share, head_seconds=section.head_seconds)
        super().__init__(_configure(app, section, self._connections))
        self._place = worker
        self._acceptor: SharedAcceptor | None = None
        self._gateway = gateway
        self._section = section
        self._on_ready = on_ready
        self._cancelled = False

    async def run_to_end(self, listener: socket.socket) -> None:
        """Serve until a signal or a cancellation, and drain."""
        try:
            await self.serve(sockets=[listener])
        except OSError as error:  # between binding and listening another program was faster
            raise _refused(self._section, error) from error
        finally:
            await self._gateway.drain()
        if self._cancelled:
            raise asyncio.CancelledError

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then report the address."""
        asyncio.get_running_loop().set_exception_handler(self._on_loop_error)
        await super().startup(sockets if self._place is None else [])
        for bound in sockets or ():
            bound.listen(_BACKLOG)  # uvicorn's is also how many are taken at once
        if self._place is not None:
            asyncio.get_running_loop().add_reader(self._place.life, self._bereaved)
            self._acceptor = SharedAcceptor(
                self._place.listener, self._make_protocol, open_here=lambda: self._connections.open.total
            )
            self._acceptor.start()
        if self.started and self._on_ready and sockets:
            self._on_ready(address_of(sockets[0]))

    def _make_protocol(self) -> asyncio.Protocol:
        """Return a protocol for a new connection, as uvicorn makes them."""
        make = cast("Callable[..., asyncio.Protocol]", self.config.http_protocol_class)
        return make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    def _bereaved(self) -> None:
        """End this worker when the supervisor is gone, since nothing would restart or stop it any more."""
        if self._place is not None:
            asyncio.get_running_loop().remove_reader(self._place.life)
        self.should_exit = True

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Close silent connections where no descriptor is left for a new one; asyncio retries after a second."""
        if getattr(context.get("exception"), "errno", None) not in _NO_DESCRIPTOR or "socket" not in context:
            loop.default_exception_handler(context)
            return
        _log.warning(
            "No descriptor is left for one more connection; raise `ulimit -n`, or lower [gateway] connections."
        )
        for _ in range(_AT_ONCE):
            self._connections.make_room()

    async def main_loop(self) -> None:
        """Wait for the end. uvicorn's own loop would not clean up when cancelled."""
        try:
            await super().main_loop()
        except asyncio.CancelledError:
            self._cancelled = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse further work on open connections, then drain. A worker first answers requests that still arrive."""
        if self._place is not None:
            await self._let_go()
        self._gateway.draining = True
        await super().shutdown(sockets)

    async def _let_go(self) -> None:
        """Stop accepting connections, and answer once more on those that may be sending a request."""
        if self._acceptor is not None:
            self._acceptor.stop()
            await self._acceptor.entered()
        self._connections.leaving = True
        loop = asyncio.get_running_loop()
        end = loop.time() + _LEAVE_SECONDS
        while self.server_state.connections and loop.time() < end and not self.force_exit:  # noqa: ASYNC110 - uvicorn's
            await asyncio.sleep(_LEAVE_SECONDS / 40)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first signal; cut off running requests at the second.

        uvicorn's method would raise the signal again after draining, for an exit code of -15.
        """
        del sig, frame
        self.force_exit = self.should_exit
        self.should_exit = True
        if self.force_exit:
            for task in self.server_state.tasks:
                task.cancel()


class SharedAcceptor:
    """Accepts connections from a socket that several processes share, evenly among them.

    Otherwise the fastest process gets the connections: of 32 that came at once one worker took all, and the other was
    idle as long as they stayed. After each connection the process therefore pauses, the longer, the more it has.
    """

    def __init__(
        self,
        listener: socket.socket,
        make_protocol: Callable[[], asyncio.Protocol],
        *,
        open_here: Callable[[], int],
    ) -> None:
        """Store the listening socket, the protocol factory, and the function that counts this process' connections."""
        self._listener, self._make, self._open = listener, make_protocol, open_here
        self._loop = asyncio.get_running_loop()
        self._again: asyncio.TimerHandle | None = None
        self._entering: set[asyncio.Task[object]] = set()
        listener.setblocking(False)

    def start(self) -> None:
        """Begin to accept connections."""
        self._again = None
        self._loop.add_reader(self._listener, self._accept)

    def stop(self) -> None:
        """Stop accepting connections."""
        self._loop.remove_reader(self._listener)
        if self._again is not None:
            self._again.cancel()

    async def entered(self) -> None:
        """Wait until every accepted connection is open, since only open connections are counted."""
        while self._entering:
            await asyncio.wait(self._entering)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another process was quicker, or the caller has left
        except OSError as error:
            if error.errno not in _NO_DESCRIPTOR:
                raise
            self._loop.call_exception_handler({"message": str(error), "exception": error, "socket": self._listener})
            self._pause(_NO_DESCRIPTOR_SECONDS)
            return
        connection.setblocking(False)
        task = self._loop.create_task(self._loop.connect_accepted_socket(self._make, connection))
        self._entering.add(task)
        task.add_done_callback(self._entering.discard)
        self._pause(min(_AWAY_SECONDS * self._open(), _LONGEST_AWAY))

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener)
        self._again = self._loop.call_later(seconds, self.start)


def _descriptors(wanted: int) -> int:
    """Raise the limit of descriptors as far as wanted and allowed; return how many are free."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return sys.maxsize
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 2 * wanted + 1024
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(OSError, ValueError):
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    folder = next((path for path in ("/proc/self/fd", "/dev/fd") if os.path.isdir(path)), "")  # noqa: PTH112
    used = len(os.listdir(folder)) if folder else 0  # noqa: PTH208
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft - used


def _configure(app: ASGIApp, section: GatewaySection, connections: OpenConnections) -> uvicorn.Config:
    """Return uvicorn's settings: no access log, no server headers, no trust in proxy headers."""
    return uvicorn.Config(
        app,
        http=cast("type[asyncio.Protocol]", partial(GatewayProtocol, connections=connections)),
        backlog=_AT_ONCE,
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=cast("int", section.idle_seconds),  # declared an int, used as asyncio's delay
        timeout_graceful_shutdown=cast("int", section.drain),  # declared an int, used as asyncio's timeout
    )


def bind(section: GatewaySection) -> socket.socket:
    """Return a socket bound to the section's address. Raises `SetupError`."""
    family = socket.AF_INET6 if ":" in section.host else socket.AF_INET
    # With the protocol named, asyncio sets TCP_NODELAY; without, each response waits 40 ms for a delayed ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # So that a restart need not wait for the last run's connections to be forgotten.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((section.host.strip("[]"), section.port))
    except OSError as error:
        listener.close()
        raise _refused(section, error) from error
    return listener


def _refused(section: GatewaySection, error: OSError) -> SetupError:
    address = f"{section.host}:{section.port}"
    if error.errno == errno.EADDRINUSE:
        return SetupError(
            f"Cannot listen on {address}: another program already does.",
            hint=f"Stop it, or take another port: `coterie serve --port {section.port + 1}` (0 takes any free one).",
        )
    if error.errno == errno.EACCES:
        hint = "Take a port of 1024 or more: `coterie serve --port 8321`."
        return SetupError(f"Cannot listen on {address}: not allowed to this user.", hint=hint)
    return SetupError(f"Cannot listen on {address}: {error.strerror or error}.", hint="Use `--host 127.0.0.1`.")


def address_of(listener: socket.socket) -> str:
    """Return the address of a bound socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


_LOOK_SECONDS = 0.2
"""Seconds between two checks; a change counts once it is seen twice in the same form."""


class Follower:
    """Keeps a gateway up to date with the folder of its network."""

    def __init__(self, gateway: Gateway, folder: Path, open_network: Callable[[Config], Awaitable[Network]]) -> None:
        """Store a newly opened gateway, and the function that reopens its network with a configuration."""
        self._gateway, self._folder, self._open = gateway, folder, open_network
        self._process = of_a_process(load_config(folder))
        self._seen = self._last = files_of(folder)
        self._reopening = asyncio.Lock()

    async def reopen(self) -> Config:
        """Serve the folder's current network and return its configuration. Raises `SetupError`; the old one stays."""
        async with self._reopening:
            self._seen = self._last = files_of(self._folder)  # before: what changes meanwhile is looked at again
            config = await asyncio.to_thread(load_config, self._folder)
            try:
                async with asyncio.timeout(seconds := self._gateway.section.start_seconds):
                    network = await self._open(config)
            except TimeoutError:
                problem = f"The network was not open within {seconds:g} seconds ([gateway] start_seconds)."
                raise SetupError(
                    problem, hint="What served before goes on; the next change is looked at again."
                ) from None
            await self._gateway.replace_network(network)
        return config

    async def run(self) -> None:
        """Check until the gateway shuts down."""
        while not self._gateway.draining:
            await asyncio.sleep(_LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Check once, and reopen at a change that was seen twice in the same form."""
        files, before = files_of(self._folder), self._last
        self._last = files
        if files != before or files == self._seen or self._reopening.locked():
            return
        self._seen = files
        try:
            config = await self.reopen()
        except CoterieError as error:
            _log.warning("What has changed is not served: %s %s", error.message, error.hint)
        except Exception:  # noqa: BLE001 - the next change must still be seen
            _log.exception("What has changed is not served")
        else:
            if of_a_process(config) != self._process and self._gateway.section.workers == 1:  # several are replaced
                _log.warning("[gateway], [oidc] or the currency has changed: it counts from the next start on.")


def watch_process(folder: Path) -> Callable[[], Hashable]:
    """Return a function that tells a supervisor when to replace its workers: the current `of_a_process`.

    A file that cannot be read changes nothing.
    """
    before: Hashable = None
    process_settings: Hashable = None

    def look() -> Hashable:
        nonlocal before, process_settings
        mark = _mark(f"{folder}/{FILE_NAME}")
        if mark != before:
            before = mark
            with suppress(CoterieError):
                process_settings = of_a_process(load_config(folder))
        return process_settings

    return look


def of_a_process(config: Config) -> Hashable:
    """Return the settings that are read only at the start of a process: workers are replaced when they change."""
    oidc = None if config.oidc is None else config.oidc.model_dump_json()
    return config.gateway.model_dump_json(), oidc, config.accounting.currency


def files_of(folder: Path) -> Hashable:
    """Return the state of the folder that a network is opened from: its file, and the serving versions."""
    try:
        names = sorted(os.listdir(f"{folder}/registry"))  # noqa: PTH208 - of a thousand 4 ms, and 13 as paths
    except OSError:
        names = []
    champions = [_mark(f"{folder}/registry/{name}/champion") for name in names]
    return _mark(f"{folder}/{FILE_NAME}"), *(champion for champion in champions if not isinstance(champion, str))


def _mark(path: str) -> Hashable:
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return path
    return path, status.st_mtime_ns, status.st_size, status.st_ino
