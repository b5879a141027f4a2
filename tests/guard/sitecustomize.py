"""The socket guard: nothing of the test-suite may reach, or ask the way to, a machine that is not this one.

An audit hook (PEP 578) sees every connect, every datagram and every name that is looked up, whatever library asks; it
cannot be taken off again. Python imports a `sitecustomize` at its start, so with this folder on `PYTHONPATH` the
processes that tests start are guarded too. What is refused is noted in the file that `COTERIE_GUARD` names, and the
test that was running fails, also if the code under test went on.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from pathlib import Path

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
        found = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return found.is_loopback or found.is_unspecified


def watch(event: str, arguments: tuple[object, ...]) -> None:
    """The hook."""
    place = _WATCHED.get(event)
    if place is None:
        return
    address = arguments[place]
    if place and getattr(arguments[0], "family", None) in {socket.AF_UNIX, getattr(socket, "AF_NETLINK", None)}:
        return
    if not is_here(address):
        note = os.environ.get(NOTES)
        if note:
            with Path(note).open("a", encoding="utf-8") as file:
                file.write(f"{event} {address!r}\n")
        raise Refused(f"The socket guard refused {event} to {address!r}: tests reach this machine only.")


if os.environ.get(NOTES):
    sys.addaudithook(watch)
