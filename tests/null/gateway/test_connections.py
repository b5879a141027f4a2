"""Connections that say nothing, or too little: closed in their time, and never in the way of others."""

import asyncio
import errno
import json
import logging
import socket
from contextlib import asynccontextmanager

import pytest

from coterie.config.file import GatewaySection
from coterie.gateway.serve import HeadWithBody, SharedAcceptor, serve

HEALTH = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
LONG = 60
"""Seconds that nothing here takes."""


class Server:
    """A gateway on loopback, and those who connect to it."""

    def __init__(self, address):
        self.port, self.writers = int(address.rsplit(":", 1)[1]), []

    async def connect(self, sent=b"", *, host="127.0.0.1"):
        """A connection on which something was sent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(host, 0))
        self.writers.append(writer)
        writer.write(sent)
        return reader, writer

    async def is_healthy(self, **more):
        """Whether one more caller is answered."""
        reader, _ = await self.connect(HEALTH, **more)
        return await asyncio.wait_for(reader.read(15), LONG) == b"HTTP/1.1 200 OK"


@asynccontextmanager
async def served(network, **section):
    """A gateway before the network."""
    ready = asyncio.get_running_loop().create_future()

    async def open_network():
        return network

    section = GatewaySection(port=0, drain=0, **section)
    serving = asyncio.create_task(serve(open_network, section, on_ready=ready.set_result))
    await asyncio.wait((ready, serving), return_when=asyncio.FIRST_COMPLETED)
    server = Server(ready.result())
    try:
        yield server
    finally:
        for writer in server.writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in server.writers), return_exceptions=True)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def end_of(reader):
    """All that comes until the connection is closed."""
    try:
        return await asyncio.wait_for(reader.read(), LONG)
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize(
    ("sent", "answer"), [(b"", b""), (b"GET /heal", b"HTTP/1.1 408"), (HEALTH[:-2] + b"x: y", b"HTTP/1.1 408")]
)
async def test_a_head_that_does_not_come_is_not_waited_for(network, sent, answer):
    """A silent connection is closed, a half-sent head is told why."""
    async with served(network, head_seconds=0.05) as server:
        reader, _ = await server.connect(sent)
        assert (await end_of(reader)).startswith(answer)


async def test_more_of_a_head_buys_no_time(network):
    """One that trickles is closed like one that stops."""
    async with served(network, head_seconds=0.2) as server:
        reader, writer = await server.connect(b"GET / HTTP/1.1\r\n")

        async def trickle():
            while True:
                writer.write(b"x: y\r\n")
                await asyncio.sleep(0.01)

        trickling = asyncio.create_task(trickle())
        assert (await end_of(reader)).startswith((b"HTTP/1.1 408", b""))
        trickling.cancel()


async def test_who_leaves_is_worked_for_no_longer(network, chat_body):
    """The server tells of the lost connection: the work is cancelled, and the place is free."""
    entered, cut = asyncio.Event(), asyncio.Event()

    async def wait():
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cut.set()

    network.specialists["triage"].trouble = lambda task: wait()
    body = json.dumps(chat_body("Hi")).encode()
    async with served(network, concurrency=1, queue=0) as server:
        _, writer = await server.connect(POST + b"content-length: %d\r\n\r\n" % len(body) + body)
        await asyncio.wait_for(entered.wait(), LONG)
        writer.close()
        await asyncio.wait_for(cut.wait(), LONG)
        network.specialists["triage"].trouble = lambda task: None
        assert await server.is_healthy()


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ([b"head ", b"body"], [b"head body"]),
        ([b"head ", b"first ", b"second"], [b"head first ", b"second"]),
        ([b"head "], [b"head "]),
        ([b"head ", b""], [b"head "]),
    ],
)
async def test_a_head_is_sent_with_what_follows_it(written, sent):
    """One call of the system in place of two; a head that nothing follows is sent all the same, and before the end."""

    class Transport:
        def __init__(self):
            self.sent = []

        def is_closing(self):
            return False

        def write(self, data):
            self.sent.append(data)

        def close(self):
            self.sent.append("closed")

    transport = Transport()
    joined = HeadWithBody(transport, asyncio.get_running_loop(), transport.close)
    for piece in written:
        joined.write(piece)
    await asyncio.sleep(0)
    assert transport.sent == sent
    joined.close()
    assert transport.sent == [*sent, "closed"]


async def test_processes_that_share_a_socket_each_have_their_part():
    """Of connections that came at once none takes all; one that was told to stop takes no more."""
    taken: dict[str, list] = {"a": [], "b": []}
    with socket.create_server(("127.0.0.1", 0)) as listener, listener.dup() as same:
        reading = [
            SharedAcceptor(listening, lambda mine=mine: Taken(mine), open_here=lambda mine=mine: len(mine))
            for listening, mine in zip((listener, same), taken.values(), strict=True)
        ]
        callers = [socket.create_connection(listener.getsockname()) for _ in range(8)]
        for acceptor in reading:
            acceptor.start()
        async with asyncio.timeout(LONG):
            while sum(map(len, taken.values())) < 8:  # noqa: ASYNC110 - the system sets no event here
                await asyncio.sleep(0.001)
        for acceptor in reading:
            acceptor.stop()
        for caller in callers:
            caller.close()
    assert all(len(mine) >= 2 for mine in taken.values()), taken


async def test_a_connection_that_was_just_taken_is_waited_for():
    """Who stops then would close on it: it is not among the open ones yet."""
    taken: list = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        reading = SharedAcceptor(listener, lambda: Taken(taken), open_here=lambda: len(taken))
        with socket.create_connection(listener.getsockname()):
            reading.start()
            async with asyncio.timeout(LONG):
                while not reading._entering:  # noqa: ASYNC110 - the system sets no event here
                    await asyncio.sleep(0)
            reading.stop()
            assert taken == []
            await reading.entered()
    assert len(taken) == 1


class Taken(asyncio.Protocol):
    """A connection that was taken by somebody."""

    def __init__(self, whose):
        self.whose = whose

    def connection_made(self, transport):
        """Count it."""
        self.whose.append(transport)


async def test_a_head_has_a_limit(network):
    """One without an end is refused before it fills the memory."""
    async with served(network) as server:
        reader, _ = await server.connect(b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 20_000)
        assert (await end_of(reader)).startswith((b"HTTP/1.1 431", b""))
        assert await server.is_healthy()


async def test_a_second_head_has_its_time_too(network):
    """After a response the next request may wait, but not stop in the middle."""
    async with served(network, head_seconds=0.05, idle_seconds=3600) as server:
        reader, writer = await server.connect(HEALTH)
        await asyncio.wait_for(reader.readuntil(b'"ok"}'), LONG)
        writer.write(HEALTH)
        await asyncio.wait_for(reader.readuntil(b'"ok"}'), LONG)
        writer.write(HEALTH[:10])
        assert (await end_of(reader)).startswith(b"HTTP/1.1 408")


async def test_an_idle_connection_is_closed(network):
    """After `idle_seconds`."""
    async with served(network, idle_seconds=0.05) as server:
        reader, _ = await server.connect(HEALTH)
        assert (await end_of(reader)).endswith(b'{"status":"ok"}')


@pytest.mark.parametrize(
    "refused", ["content-length: 100000000\r\n\r\n", "authorization: x\r\ncontent-length: 9\r\n\r\n"]
)
async def test_the_rest_of_a_refused_body_is_not_waited_for(network, refused, monkeypatch):
    """Whoever goes on sending it is closed all the same."""
    monkeypatch.setattr("coterie.gateway.serve._REST_SECONDS", 0.05)
    async with served(network, body_seconds=0.05) as server:
        reader, writer = await server.connect(POST + refused.encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), LONG)
        assert head.startswith((b"HTTP/1.1 413", b"HTTP/1.1 408"))
        assert b"connection: close" in head
        await end_of(reader)
        writer.close()


async def test_who_is_still_sending_sees_the_refusal(network):
    """A body that is too large is read to its end, and the connection is closed then."""
    async with served(network, max_body=1024) as server:
        reader, writer = await server.connect(POST + b"content-length: 9000000\r\n\r\n")
        for _ in range(9):
            writer.write(b"x" * 1_000_000)
            await asyncio.wait_for(writer.drain(), LONG)
        assert (await end_of(reader)).startswith(b"HTTP/1.1 413")
        writer.close()


@pytest.mark.parametrize("sent", [b"", HEALTH[:10], POST + b"content-length: 10\r\n\r\n{"])
async def test_silent_connections_make_room(network, sent):
    """However many there are, one more caller is answered, and those that wait longest are closed."""
    async with served(network, connections=8, share=1) as server:
        silent = [await server.connect(sent) for _ in range(12)]
        assert await server.is_healthy()
        for reader, _ in silent[:5]:
            await end_of(reader)
        assert not silent[-1][0].at_eof()


async def test_a_request_at_work_is_not_closed_for_another(network, chat_body):
    """Nor is one more let in when all are at work."""
    release, begun = asyncio.Event(), asyncio.Semaphore(0)

    async def wait(_task):
        begun.release()
        await release.wait()

    network.specialists["triage"].trouble = wait
    body = json.dumps(chat_body("Where is my card?")).encode()
    request = POST + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    async with served(network, connections=8, share=1) as server:
        working = [await server.connect(request) for _ in range(8)]
        for _ in working:
            await asyncio.wait_for(begun.acquire(), LONG)
        reader, _ = await server.connect(HEALTH)
        assert await end_of(reader) == b""
        release.set()
        for reader, _ in working:
            assert (await end_of(reader)).startswith(b"HTTP/1.1 200")


async def test_an_address_has_its_share_of_connections(network):
    """Beyond it, its own are closed, and those of another address stay."""
    async with served(network, connections=8, share=0.5) as server:
        other = await server.connect(host="127.0.0.2")
        mine = [await server.connect() for _ in range(5)]
        await end_of(mine[0][0])
        assert await server.is_healthy(host="127.0.0.3")
        assert not other[0].at_eof()


async def test_where_no_descriptor_is_left_silent_connections_are_closed(network, caplog):
    """What asyncio says then closes some, and is no error of ours."""
    async with served(network) as server:
        reader, _ = await server.connect()
        assert await server.is_healthy()
        error = OSError(errno.EMFILE, "Too many open files")
        context = {"message": "socket.accept() out of system resource", "exception": error, "socket": None}
        with caplog.at_level(logging.WARNING, "coterie.gateway"):
            asyncio.get_running_loop().call_exception_handler(context)
        assert await end_of(reader) == b""
    assert "ulimit" in caplog.text


async def test_white_space_around_a_value(network):
    """It is no part of a header's value: the name of a host with some is the name."""
    async with served(network) as server:
        sent = b"GET /v1/models HTTP/1.1\r\nhost: \t 127.0.0.1 \t \r\nconnection: close \r\n\r\n"
        reader, _ = await server.connect(sent)
        assert (await end_of(reader)).startswith(b"HTTP/1.1 200")
