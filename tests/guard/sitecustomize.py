"""The socket guard: nothing of the test-suite may reach, or ask the way to, a machine that is not this one.

An audit hook (PEP 578) sees every connect, every datagram and every name that is looked up, whatever library asks; it
cannot be taken off again. PostgreSQL's library has sockets of its own, of which no event tells: psycopg's door to it is
watched instead, which all connections of the synchronous and the asynchronous kind go through. Python imports a
`sitecustomize` at its start, so with this folder on `PYTHONPATH` the processes that tests start are guarded too. What
is refused is noted in the file that `COTERIE_GUARD` names, and the test that was running fails, also if the code under
test went on.
"""

from __future__ import annotations

import importlib.machinery
import ipaddress
import os
import socket
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

NOTES = "COTERIE_GUARD"
"""Environment variable with the path of the file of what was refused."""
_WATCHED = {"socket.connect": 1, "socket.sendto": 1, "socket.sendmsg": 1, "socket.getaddrinfo": 0}
"""Audit events, each with the place of the address in its arguments."""


class Refused(ConnectionError):
    """Something was to leave this machine."""


def is_here(address: object) -> bool:
    """Whether an address is of this machine: loopback, a socket in the file system, or none."""
    host = address[0] if isinstance(address, tuple) and address else address
    if host is None or (isinstance(host, str | bytes) and not isinstance(address, tuple) and "/" in str(host)):
        return True
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    if name in {"", "localhost", "localhost.localdomain", "ip6-localhost"}:
        return True
    try:
        ip_address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return ip_address.is_loopback or ip_address.is_unspecified


def watch(event: str, arguments: tuple[object, ...]) -> None:
    """The hook."""
    index = _WATCHED.get(event)
    if index is None:
        return
    address = arguments[index]
    if index and getattr(arguments[0], "family", None) in {socket.AF_UNIX, getattr(socket, "AF_NETLINK", None)}:
        return
    if not is_here(address):
        _refuse(event, address)


def _refuse(event: str, address: object) -> None:
    note = os.environ.get(NOTES)
    if note:
        with Path(note).open("a", encoding="utf-8") as file:
            file.write(f"{event} {address!r}\n")
    raise Refused(f"The socket guard refused {event} to {address!r}: tests reach this machine only.")


# --- PostgreSQL ----------------------------------------------------------------------------------

_DOOR = "psycopg.generators"


class DoorFinder:
    """Finds psycopg's door when it is imported, and puts the watch before it."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's, with the watch in it; None for every other."""
        spec = importlib.machinery.PathFinder.find_spec(name, path, target) if name == _DOOR else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def and_watch(module: ModuleType) -> None:
            execute(module)
            watch_door(module)

        spec.loader.exec_module = and_watch  # type: ignore[method-assign]
        return spec


def watch_door(module: ModuleType) -> None:
    """Every connection that the module begins is asked about first."""
    connect: Callable[..., object] = module.connect

    def watched(conninfo: str = "", *more: object, **named: object) -> object:
        for address in hosts_of(conninfo):
            if not (address.startswith(("/", "@")) or is_here((address,))):
                _refuse("psycopg.connect", address)
        return connect(conninfo, *more, **named)

    module.connect = watched  # type: ignore[attr-defined]


def hosts_of(conninfo: str) -> list[str]:
    """Every host that a connection string names, or the environment in its place; a service may be anywhere."""
    from psycopg.conninfo import conninfo_to_dict

    settings = conninfo_to_dict(conninfo)
    service = settings.get("service") or os.environ.get("PGSERVICE")
    named = [str(settings.get(name) or os.environ.get(f"PG{name.upper()}") or "") for name in ("host", "hostaddr")]
    hosts = [host.strip() for entry in named for host in entry.split(",") if host.strip()]
    return [*hosts, *([f"service {service}"] if service else [])]


if os.environ.get(NOTES):
    sys.addaudithook(watch)
    if _DOOR in sys.modules:
        watch_door(sys.modules[_DOOR])
    else:
        sys.meta_path.insert(0, DoorFinder())
