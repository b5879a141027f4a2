"""Kept connections of plain HTTP, against a server that says given bytes."""

import asyncio

import pytest

from coterie.engines.http import HttpTransport, TransportError

_HEAD = b"HTTP/1.1 200 OK\r\n"
_WHOLE = _HEAD + b"Content-Length: 3\r\nX-Odd: a\r\nx-odd: b\r\n\r\nabc"


class _Server:
    """Answers each request with the next of its scripts: bytes, a pause (None), and `b""` for the connection's end."""

    def __init__(self):
        self.scripts, self.bodies, self.heads, self.connections = [], [], [], 0
        self.on = asyncio.Event()

    async def serve(self, reader, writer):
        """One connection."""
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                size = next(
                    int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
                )
                self.bodies.append(await reader.readexactly(size))
                for piece in self.scripts.pop(0):
                    if piece is None:
                        await self.on.wait()
                    elif not piece:
                        return
                    else:
                        writer.write(piece)
                        await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def server():
    """A server, and its address under `url`."""
    made = _Server()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = "http://{}:{}/v1/x".format(*listening.sockets[0].getsockname())
    yield made
    listening.close()


@pytest.fixture
async def transport():
    """A transport that is closed at the end."""
    made = HttpTransport()
    yield made
    await made.close()


async def _ask(transport, server, body=b"{}"):
    """Status, headers and body of an answer."""
    until = asyncio.get_running_loop().time() + 20
    answer = await transport.post(server.url, {"Content-Type": "application/json"}, body, until=until)
    try:
        return answer.status, answer.headers, b"".join([piece async for piece in answer.chunks()])
    finally:
        answer.close()


async def test_requests_and_answers(transport, server):
    """Bytes go out and come back as they are, whole, in chunks and behind an interim answer, on one connection."""
    chunked = [_HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", b"1\r\nc\r\n0\r\n\r\n"]
    interim = [b"HTTP/1.1 100 Continue\r\nX-Odd: no\r\n\r\n", _WHOLE]
    empty = [b"HTTP/1.1 204 No Content\r\n\r\n"]
    server.scripts = [[_WHOLE], chunked, interim, empty, [_WHOLE]]
    large = bytes(range(256)) * 4096
    responses = [await _ask(transport, server, body) for body in (b"{}", large, b"", b"x", b"y")]
    assert [(status, body) for status, _, body in responses] == [(200, b"abc")] * 3 + [(204, b""), (200, b"abc")]
    assert responses[0][1]["x-odd"] == responses[2][1]["x-odd"] == "a, b"
    assert server.bodies == [b"{}", large, b"", b"x", b"y"]
    assert server.connections == 1
    assert server.heads[0].startswith(b"POST /v1/x HTTP/1.1\r\nHost: 127.0.0.1:")


async def test_what_came_with_the_head(transport, server):
    """A whole answer is given at once; one that may go on is not."""
    server.scripts = [[_WHOLE], [_HEAD + b"Content-Length: 3\r\n\r\na", None, b"bc"]]
    until = asyncio.get_running_loop().time() + 20
    answer = await transport.post(server.url, {}, b"", until=until)
    assert answer.whole() == b"abc"
    answer.close()
    answer = await transport.post(server.url, {}, b"", until=until)
    assert answer.whole() is None
    server.on.set()
    assert b"".join([piece async for piece in answer.chunks()]) == b"abc"
    answer.close()
    assert server.connections == 1


async def test_an_answer_that_ends_with_its_connection(transport, server):
    """It is whole if nothing said how long it is, and cut off else; another request takes another connection."""
    server.scripts = [[_HEAD + b"\r\nab", b"c", b""], [_HEAD + b"Content-Length: 4\r\n\r\nabc", b""], [b""]]
    assert (await _ask(transport, server))[2] == b"abc"
    for _ in range(2):
        with pytest.raises(TransportError) as cut:
            await _ask(transport, server)
        assert (cut.value.kind, cut.value.sent) == ("dropped", True)
    assert server.connections == 3


@pytest.mark.parametrize("odd", [b"no HTTP at all\r\n\r\n", _HEAD + b"Content-Length: -1\r\n\r\n", b"HTTP/1.1 200\0"])
async def test_what_is_no_answer(transport, server, odd):
    """Bytes that are no answer are an error, and close the connection."""
    server.scripts = [[odd, b""], [_WHOLE]]
    with pytest.raises(TransportError) as error:
        await _ask(transport, server)
    assert error.value.kind == "dropped"
    assert (await _ask(transport, server))[2] == b"abc"


async def test_what_nobody_asked_for(transport, server):
    """A second answer behind the first is nobody's: its connection serves no other request."""
    server.scripts = [
        [_WHOLE + _WHOLE],
        [_WHOLE],
        [_HEAD + b"Connection: close\r\nContent-Length: 3\r\n\r\nabc"],
        [_WHOLE],
    ]
    assert [(await _ask(transport, server))[2] for _ in range(4)] == [b"abc"] * 4
    assert server.connections == 3


async def test_a_slow_reader_makes_the_server_wait(transport, server, monkeypatch):
    """An answer of any length is held in part only, and comes whole."""
    size = 16 << 20
    server.scripts = [[_HEAD + b"Content-Length: %d\r\n\r\n" % size, *[bytes(1 << 20)] * 16]]
    until = asyncio.get_running_loop().time() + 20
    answer = await transport.post(server.url, {}, b"", until=until)
    paused, pause = asyncio.Event(), answer.connection._transport.pause_reading
    monkeypatch.setattr(answer.connection._transport, "pause_reading", lambda: (pause(), paused.set()))
    await paused.wait()
    assert sum(map(len, answer.connection._pieces)) < size / 2
    assert sum([len(piece) async for piece in answer.chunks()]) == size
    answer.close()


async def test_the_time_is_up(transport, server):
    """Who waited for the head hears that a request may have left; the connection serves nobody else."""
    server.scripts = [[None], [_WHOLE]]
    with pytest.raises(TransportError) as late:
        await transport.post(server.url, {}, b"", until=asyncio.get_running_loop().time())
    assert late.value.kind == "late"
    server.scripts = [[_WHOLE]]
    assert (await _ask(transport, server))[2] == b"abc"


async def test_nobody_listens(transport, server):
    """An address where nobody is: nothing was sent."""
    server.url = "http://127.0.0.1:9/v1"
    with pytest.raises(TransportError) as nobody:
        await _ask(transport, server)
    assert (nobody.value.kind, nobody.value.sent) == ("unreachable", False)
