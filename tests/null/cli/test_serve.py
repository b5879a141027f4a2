"""`coterie serve`: the network's gateway, started from the command line."""

import asyncio
import json

import pytest

from coterie.config.file import load_config
from coterie.errors import SetupError


@pytest.fixture
def gateway(monkeypatch):
    """A gateway that notes how it was called, says it is ready and ends."""
    calls = []

    async def serve(open_network, section, *, ring, on_ready, front):
        calls.append((section, open_network))
        on_ready(f"http://{section.host}:{section.port}")

    monkeypatch.setattr("coterie.gateway.serve.serve", serve)
    return calls


def test_the_file_says_where(run, folder, gateway):
    """Host and port come from coterie.toml, and the address is printed once requests are answered."""
    with (folder / "coterie.toml").open("a") as file:
        file.write("\n[gateway]\nport = 9000\nqueue = 7\n")
    result = run("-C", folder, "serve")

    assert result.code == 0
    assert "http://127.0.0.1:9000/v1" in result.out
    assert gateway[0][0].queue == 7


def test_options_win(run, folder, gateway):
    """`--host` and `--port` win over the file; `--json` prints the address as one line."""
    result = run("-C", folder, "serve", "--host", "localhost", "--port", "0", "--json")

    assert json.loads(result.out) == {"address": "http://localhost:0"}
    assert result.out.count("\n") == 1


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_ports_that_are_none(run, folder, gateway, port):
    """A port out of range is a usage error."""
    assert run("-C", folder, "serve", "--port", port).code == 2
    assert gateway == []


def test_opens_this_folder(run, folder, gateway, network):
    """The gateway gets a way to open the chosen folder's network."""
    network()
    run("-C", folder, "serve")

    opened = asyncio.run(gateway[0][1]())
    assert list(opened.specialists) == ["triage"]
    asyncio.run(opened.close())


def test_opens_as_the_file_was_read(run, folder, gateway, network, monkeypatch):
    """Whoever has read it before opens the network: nobody reads it again."""
    network()
    run("-C", folder, "serve")
    config = load_config(folder)

    def read_again(text, *, source):
        raise AssertionError("the file is read again")

    monkeypatch.setattr("coterie.config.file.parse_config", read_again)
    asyncio.run(asyncio.run(gateway[0][1](config)).close())
    assert network.config is config


def test_a_port_in_use(run, folder, monkeypatch):
    """What keeps the gateway from starting is shown with its hint."""

    async def serve(open_network, section, *, ring, on_ready, front):
        raise SetupError("Cannot listen on 127.0.0.1:8321.", hint="Stop it.")

    monkeypatch.setattr("coterie.gateway.serve.serve", serve)
    result = run("-C", folder, "serve")

    assert (result.code, "127.0.0.1:8321" in result.err) == (1, True)
