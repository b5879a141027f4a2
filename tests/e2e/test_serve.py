"""The server's beginning and end, as a process and in process."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import socket
import sys
from pathlib import Path

import httpx
import pytest

from coterie.config.file import GatewaySection
from coterie.errors import SetupError
from coterie.gateway.serve import serve

BODY = {"model": "coterie/reply", "messages": [{"role": "user", "content": "Hi"}], "stream": True}

PROGRAM = """
import asyncio, runpy, sys
from coterie.config.file import GatewaySection
from coterie.gateway.serve import serve
network = runpy.run_path(sys.argv[1])["network"]._get_wrapped_function()()
pause = float(sys.argv[3])
network.specialists["reply"].pause = lambda place: asyncio.sleep(pause) if place else None

async def open_network():
    return network

section = GatewaySection(port=0, drain=float(sys.argv[2]))
asyncio.run(serve(open_network, section, on_ready=lambda address: print(address, flush=True)))
print("closed", network.store.closed, "settled", len(network.store.settled), flush=True)
"""


async def _start(drain: float, pause: float):
    """A server process that makes a word every `pause` seconds; the process and its address."""
    fakes = Path(__file__).parents[1] / "null" / "gateway" / "conftest.py"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        str(fakes),
        str(drain),
        str(pause),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    address = (await asyncio.wait_for(process.stdout.readline(), 120)).decode().strip()
    return process, address


async def _end(process):
    """Its exit code, what it printed last, and its complaints."""
    out, err = await asyncio.wait_for(process.communicate(), 120)
    return process.returncode, out.decode().strip(), err.decode()


async def _read_rest(lines):
    """The data of all events still to come."""
    return [line.removeprefix("data: ") async for line in lines if line]


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains(sign):
    """A running stream gets to its end, new connections are refused, the network is closed, the exit code is 0."""
    process, address = await _start(drain=20, pause=0.2)
    async with httpx.AsyncClient() as http, http.stream("POST", f"{address}/v1/chat/completions", json=BODY) as stream:
        lines = stream.aiter_lines()
        await anext(lines)
        process.send_signal(sign)
        rest = await _read_rest(lines)
    assert rest[-1] == "[DONE]"
    assert await _end(process) == (0, "closed True settled 1", "")
    async with httpx.AsyncClient() as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(f"{address}/healthz")


@pytest.mark.slow
async def test_draining_has_an_end():
    """A stream that takes longer is told so and settled."""
    process, address = await _start(drain=0.3, pause=60)
    async with httpx.AsyncClient() as http, http.stream("POST", f"{address}/v1/chat/completions", json=BODY) as stream:
        lines = stream.aiter_lines()
        await anext(lines)
        process.send_signal(signal.SIGTERM)
        rest = await _read_rest(lines)
    assert json.loads(rest[-1])["error"]["code"] == "shutting_down"
    code, out, _ = await _end(process)
    assert (code, out) == (0, "closed True settled 1")


@pytest.mark.slow
async def test_a_second_signal_does_not_wait():
    """Whoever presses Ctrl-C twice means it."""
    process, address = await _start(drain=600, pause=60)
    async with httpx.AsyncClient() as http, http.stream("POST", f"{address}/v1/chat/completions", json=BODY) as stream:
        lines = stream.aiter_lines()  # held on to: one that is collected closes the connection, and the request ends
        await anext(lines)
        process.send_signal(signal.SIGINT)
        while await _listens(address):
            pass
        process.send_signal(signal.SIGINT)
        assert (await _end(process))[:2] == (0, "closed True settled 1")


async def _listens(address):
    """Whether a connection can be made."""
    host, port = address.removeprefix("http://").split(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()
        await writer.wait_closed()
    except ConnectionError:  # refused, or reset when the listener closes with the connection in its queue
        return False
    return True


async def _never():
    raise AssertionError("the network is not opened for an address that cannot be had")


async def test_a_port_in_use_is_explained():
    """Before anything is loaded, with what to do."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(SetupError, match=f"127.0.0.1:{port}: another program already does") as caught:
            await serve(_never, GatewaySection(port=port))
    assert "--port" in caught.value.hint


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
async def test_an_address_others_reach_is_refused(host):
    """There are no keys yet."""
    with pytest.raises(SetupError, match="there are no keys"):
        await serve(_never, GatewaySection(host=host, port=0))


async def test_port_0_takes_a_free_one_and_says_which(address):
    """The address is real."""
    assert not address.endswith(":0")
    async with httpx.AsyncClient() as http:
        response = await http.get(f"{address}/readyz")
    assert response.json() == {"status": "ok"}
    assert {"server", "date"}.isdisjoint(response.headers)


async def test_the_network_is_closed_when_serving_ends(network, serving):
    """Also when serving is cancelled, after running requests had their time."""
    release, entered = asyncio.Event(), asyncio.Event()

    async def wait():
        entered.set()
        await release.wait()

    network.specialists["triage"].trouble = lambda task: wait()
    body = {**BODY, "model": "coterie/triage", "stream": False}
    async with httpx.AsyncClient() as http:
        async with serving(network, GatewaySection(port=0)) as address:
            asking = asyncio.create_task(http.post(f"{address}/v1/chat/completions", json=body))
            await entered.wait()
            asyncio.get_running_loop().call_later(0.05, release.set)
        assert (await asking).status_code == 200
    assert network.store.closed


async def test_what_fails_while_opening_is_raised(unused_tcp_port):
    """As it is, and the port is free again."""

    async def fail():
        raise SetupError("not trained")

    for _ in range(2):
        with pytest.raises(SetupError, match="not trained"):
            await serve(fail, GatewaySection(port=unused_tcp_port))


async def test_pipelined_and_broken_http(address):
    """Bytes that are no HTTP get 400, and the server goes on."""
    port = int(address.rsplit(":", 1)[1])
    for junk in (b"\x00\xff" * 100 + b"\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"POST /v1/models HTTP/1.1\r\n\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(junk)
        assert (await asyncio.wait_for(reader.readline(), 120)).startswith(b"HTTP/1.1 4")
        writer.close()
        await writer.wait_closed()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n" * 20)
    received = b""
    while received.count(b"200 OK") < 20:
        received += await asyncio.wait_for(reader.read(65536), 120)
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("frozen", [True, False])
async def test_the_garbage_collector_is_left_as_it_was(serving, network, frozen):
    """While it serves, what was made before is not looked through; afterwards that is so if it was so before."""
    before = gc.get_threshold()
    if not frozen:
        gc.unfreeze()
    try:
        async with serving(network, GatewaySection(port=0)):
            assert gc.get_freeze_count() > 1000
        assert gc.get_threshold() == before
        assert (gc.get_freeze_count() > 0) is frozen
    finally:
        gc.freeze()
