"""The socket guard refuses what it should: whatever library asks, in this process and in those that tests start."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys

import httpx
import pytest

AWAY = "192.0.2.1"  # TEST-NET-1: nobody's


def by_socket():
    with socket.socket() as plain:
        plain.connect((AWAY, 80))


def by_datagram():
    with socket.socket(type=socket.SOCK_DGRAM) as plain:
        plain.sendto(b"x", (AWAY, 53))


def by_version_six():
    with socket.socket(socket.AF_INET6) as plain:
        plain.connect(("2001:db8::1", 80))


def by_name():
    """Asking for an address tells the name."""
    socket.getaddrinfo("example.invalid", 443)


def by_asyncio():
    """The event loop's own way."""

    async def connect():
        await asyncio.open_connection(AWAY, 80)

    asyncio.run(connect())


def by_client():
    """An HTTP client, which hides the error in one of its own."""
    httpx.get(f"http://{AWAY}/")


WAYS = [by_socket, by_datagram, by_version_six, by_name, by_asyncio, by_client]


@pytest.mark.parametrize("way", WAYS)
def test_refused_and_noted(way, refused):
    """It fails where it is tried, and is noted for the end of the test."""
    with pytest.raises((OSError, httpx.ConnectError)):
        way()
    assert "socket." in refused.read_text()


@pytest.mark.parametrize(
    ("conninfo", "environment"),
    [
        (f"host={AWAY} connect_timeout=1", {}),
        (f"postgresql://user@127.0.0.1:1,{AWAY}:5432/base?connect_timeout=1", {}),
        (f"host=localhost hostaddr={AWAY} connect_timeout=1", {}),
        ("connect_timeout=1", {"PGHOST": AWAY}),
        ("host=127.0.0.1 connect_timeout=1", {"PGHOSTADDR": AWAY}),
        ("service=elsewhere", {}),
    ],
)
def test_databases_are_guarded(refused, monkeypatch, conninfo, environment):
    """PostgreSQL's library, whose sockets no event tells of, is given no address but of this machine."""
    psycopg = pytest.importorskip("psycopg")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConnectionError, match="socket guard"):
        psycopg.connect(conninfo)
    with pytest.raises(ConnectionError, match="socket guard"):
        asyncio.run(psycopg.AsyncConnection.connect(conninfo))
    assert refused.read_text().count("psycopg.connect") == 2


def test_databases_here_are_reached(refused):
    """One of this machine is asked, by number or by the file system, also from a process that a test starts."""
    psycopg = pytest.importorskip("psycopg")
    for conninfo in ("host=127.0.0.1 port=1", "host=/nowhere", "host=/nowhere,::1 port=1"):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(f"{conninfo} connect_timeout=1")
    assert refused.read_text() == ""
    code = f"import psycopg; psycopg.connect('host={AWAY} connect_timeout=1')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "socket guard" in done.stderr


def test_processes_are_guarded(refused):
    """A Python process that a test starts is refused too."""
    code = f"import socket; socket.socket().connect(('{AWAY}', 80))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "socket guard" in done.stderr
    assert AWAY in refused.read_text()


@pytest.mark.parametrize(
    ("address", "here"),
    [
        (("127.0.0.1", 1), True),
        (("::1", 1, 0, 0), True),
        (("localhost", 1), True),
        ("/tmp/s.sock", True),
        (None, True),
        (("10.0.0.1", 1), False),
        (("169.254.169.254", 80), False),
        (("localhost.example.com", 1), False),
        (("::ffff:8.8.8.8", 1), False),
        ("example.com", False),
    ],
)
def test_what_is_here(guard, address, here):
    """Loopback, the file system and nothing at all are of this machine; private networks are not."""
    assert guard.is_here(address) is here


def test_loopback_works(refused):
    """A server of a test can be reached, by name and number."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(("localhost", server.getsockname()[1])),
    ):
        assert refused.read_text() == ""
