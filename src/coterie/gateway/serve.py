"""The server: from an address to an orderly end."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp

from coterie.config.file import GatewaySection
from coterie.errors import SetupError
from coterie.gateway.access import refuse_public
from coterie.gateway.app import create_app
from coterie.gateway.protocol import GatewayProtocol, OpenConnections
from coterie.gateway.work import Gateway
from coterie.gateway.workers import WorkerPlace
from coterie.governance.keys import KeyRing

if TYPE_CHECKING:
    from coterie.network.network import Network

_log = logging.getLogger("coterie.gateway")
_BACKLOG = 2048
"""OpenConnections that the system holds until they are taken."""
_AT_ONCE = 32
"""OpenConnections that are taken before the first of them is looked at."""
_FILES = 64
"""Descriptors that are left for files and for connections to models."""
_LEAVE_SECONDS = 2.0
"""How long a worker that is replaced answers on its open connections before it closes those that are silent."""
_AWAY_SECONDS, _LONGEST_AWAY = 0.0005, 0.004
"""How long one of several workers takes no further connection after one, for each that it has, and at most."""
_NO_DESCRIPTOR_SECONDS = 1.0
"""The same where no descriptor is left."""
_NO_DESCRIPTOR = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_YOUNG = 10_000
"""Objects that are made until the collector looks through the latest ones: a request makes some thousand, and nearly
all of them go without it. Python's own 700 has it look several times a request."""
SWITCH_SECONDS = 0.001
"""How long a thread that works on a long text may go on when the event loop wants to. Python's own is five times that,
and the loop waits for it each time that it wakes up."""


async def serve(
    open_network: Callable[[], Awaitable[Network]],
    section: GatewaySection,
    *,
    ring: KeyRing | None = None,
    on_ready: Callable[[str], None] | None = None,
    front: Callable[[Starlette], ASGIApp] | None = None,
    place: WorkerPlace | None = None,
) -> None:
    """Open the network and serve it until SIGTERM or SIGINT, then drain and close it.

    Draining takes no further connections and gives running requests `section.drain` seconds; a second signal
    ends it at once. Cancelling drains too. Signals are heard only in the main thread: `asyncio.run(serve(...))`.

    Args:
        open_network: Called once, after the address is known to be free.
        section: Address and limits. Port 0 takes a free one.
        ring: Who may come in. Without keys, the address must be one that only this machine reaches.
        on_ready: Called with the address, such as `http://127.0.0.1:8321`, once requests are answered.
        front: Makes an app that serves pages and passes all else to the gateway's.
        place: Where this process is one of several workers: the socket that they share, and whose end is theirs.

    Raises:
        SetupError: the address is in use, not of this machine, or open to others; or what `open_network` raises.
    """
    refuse_public(section.host, ring)
    interval, before, frozen = sys.getswitchinterval(), gc.get_threshold(), gc.get_freeze_count()
    with bind(section) if place is None else place.listener as listener:
        network, gateway = await open_network(), None
        try:
            # What was made so far stays: looking through all of it for garbage would stop everybody for a third of a
            # second whenever a request made many things.
            gc.collect()
            gc.freeze()
            gc.set_threshold(_YOUNG, *before[1:])
            sys.setswitchinterval(min(interval, SWITCH_SECONDS))
            app = create_app(network, section, ring)
            gateway = cast("Gateway", app.state.gateway)
            served = app if front is None else front(app)
            await _Server(served, gateway, section, on_ready=on_ready, place=place).run_to_end(listener)
        finally:
            sys.setswitchinterval(interval)
            gc.set_threshold(*before)
            if not frozen:  # by the program that serves: what it froze stays so
                gc.unfreeze()
            await (network if gateway is None else gateway.network).close()


class _Server(uvicorn.Server):
    """uvicorn's server, with our gateway told of its beginning and end, and a signal as an ordinary end."""

    def __init__(
        self,
        app: ASGIApp,
        gateway: Gateway,
        section: GatewaySection,
        *,
        on_ready: Callable[[str], None] | None,
        place: WorkerPlace | None,
    ) -> None:
        most = min(section.connections, _descriptors(section.connections) - _FILES - _AT_ONCE)
        self._connections = OpenConnections(max(1, most), share=section.share, head_seconds=section.head_seconds)
        super().__init__(_configure(app, section, self._connections))
        self._place = place
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
        """Listen, then say where."""
        asyncio.get_running_loop().set_exception_handler(self._on_loop_error)
        await super().startup(sockets if self._place is None else [])
        for each in sockets or ():
            each.listen(_BACKLOG)  # uvicorn's is also how many are taken at once
        if self._place is not None:
            asyncio.get_running_loop().add_reader(self._place.life, self._bereaved)
            self._acceptor = SharedAcceptor(
                self._place.listener, self._make_protocol, open_here=lambda: self._connections.open.total
            )
            self._acceptor.start()
        if self.started and self._on_ready and sockets:
            self._on_ready(address_of(sockets[0]))

    def _make_protocol(self) -> asyncio.Protocol:
        """A protocol for one more connection, as uvicorn makes them."""
        make = cast("Callable[..., asyncio.Protocol]", self.config.http_protocol_class)
        return make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    def _bereaved(self) -> None:
        """The supervisor is gone: nobody would restart or stop this worker any more."""
        if self._place is not None:
            asyncio.get_running_loop().remove_reader(self._place.life)
        self.should_exit = True

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Close silent connections where no descriptor is left for one more; asyncio tries again in a second."""
        if getattr(context.get("exception"), "errno", None) not in _NO_DESCRIPTOR or "socket" not in context:
            loop.default_exception_handler(context)
            return
        _log.warning(
            "No descriptor is left for one more connection; raise `ulimit -n`, or lower [gateway] connections."
        )
        for _ in range(_AT_ONCE):
            self._connections.make_room()

    async def main_loop(self) -> None:
        """Wait for the end. uvicorn's would leave everything as it is when cancelled."""
        try:
            await super().main_loop()
        except asyncio.CancelledError:
            self._cancelled = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse further work on open connections, then drain. A worker first answers what still comes there."""
        if self._place is not None:
            await self._let_go()
        self._gateway.draining = True
        await super().shutdown(sockets)

    async def _let_go(self) -> None:
        """Leave the address to other workers, and answer once more on connections that may be bringing a request."""
        if self._acceptor is not None:
            self._acceptor.stop()
            await self._acceptor.entered()
        self._connections.leaving = True
        loop = asyncio.get_running_loop()
        end = loop.time() + _LEAVE_SECONDS
        while self.server_state.connections and loop.time() < end and not self.force_exit:  # noqa: ASYNC110 - uvicorn's
            await asyncio.sleep(_LEAVE_SECONDS / 40)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first signal, cut off who is still at work at the second.

        uvicorn's would raise the signal again after draining, for an exit code of -15.
        """
        del sig, frame
        self.force_exit = self.should_exit
        self.should_exit = True
        if self.force_exit:
            for task in self.server_state.tasks:
                task.cancel()


class SharedAcceptor:
    """Takes connections from a socket that several processes share, so that each has its part of them.

    Whoever is quickest gets a connection: of 32 that came at once one worker took all, and the other had nothing to do
    as long as they stayed. So after each the process looks away for a moment, the longer, the more it has.
    """

    def __init__(
        self,
        listener: socket.socket,
        make_protocol: Callable[[], asyncio.Protocol],
        *,
        open_here: Callable[[], int],
    ) -> None:
        """Take the socket, which listens, what makes a protocol, and what says how many connections there are here."""
        self._listener, self._make, self._open = listener, make_protocol, open_here
        self._loop = asyncio.get_running_loop()
        self._again: asyncio.TimerHandle | None = None
        self._entering: set[asyncio.Task[object]] = set()
        listener.setblocking(False)

    def start(self) -> None:
        """Take connections from now on."""
        self._again = None
        self._loop.add_reader(self._listener, self._accept)

    def stop(self) -> None:
        """Take no more."""
        self._loop.remove_reader(self._listener)
        if self._again is not None:
            self._again.cancel()

    async def entered(self) -> None:
        """Wait until every connection that was taken is open: before that nobody counts it among those there are."""
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
    """How many descriptors are still free, once the process may have as many as it wants and the system allows."""
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
    place = next((place for place in ("/proc/self/fd", "/dev/fd") if os.path.isdir(place)), "")  # noqa: PTH112
    used = len(os.listdir(place)) if place else 0  # noqa: PTH208
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft - used


def _configure(app: ASGIApp, section: GatewaySection, connections: OpenConnections) -> uvicorn.Config:
    """Uvicorn's settings: no log of what is asked, nothing said about ourselves, nothing believed of a proxy."""
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
    """A socket bound to the section's address. Raises `SetupError`."""
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
    place = f"{section.host}:{section.port}"
    if error.errno == errno.EADDRINUSE:
        return SetupError(
            f"Cannot listen on {place}: another program already does.",
            hint=f"Stop it, or take another port: `coterie serve --port {section.port + 1}` (0 takes any free one).",
        )
    if error.errno == errno.EACCES:
        hint = "Take a port of 1024 or more: `coterie serve --port 8321`."
        return SetupError(f"Cannot listen on {place}: not allowed to this user.", hint=hint)
    return SetupError(f"Cannot listen on {place}: {error.strerror or error}.", hint="Use `--host 127.0.0.1`.")


def address_of(listener: socket.socket) -> str:
    """The address of a bound socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
