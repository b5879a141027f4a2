"""The application opens its network with the server's lifespan and closes it with it."""

from starlette.testclient import TestClient

from coterie.scale.application import NetworkApplication
from tests.null.gateway.conftest import network  # noqa: F401 - a fixture


async def test_lifespan(tmp_path, network):  # noqa: F811
    """Requests are answered between the beginning and the end; the network is closed once."""
    (tmp_path / "coterie.toml").write_text('[network]\nname = "shop"\n')
    closed = []
    close = network.close

    async def closing() -> None:
        closed.append(True)
        await close()

    network.close = closing

    async def opening(folder):
        assert folder == tmp_path
        return network

    with TestClient(NetworkApplication(tmp_path, open_network=opening), base_url="http://localhost") as client:
        assert client.get("/healthz").status_code == 200
        assert closed == []
    assert closed == [True]


async def test_a_network_that_does_not_open(tmp_path):
    """The server is told, and ends."""
    (tmp_path / "coterie.toml").write_text('[network]\nname = "shop"\n')

    async def opening(folder):
        raise OSError("no disk")

    sent = []

    async def receive():
        return {"type": "lifespan.startup"}

    async def send(message):
        sent.append(message["type"])

    await NetworkApplication(tmp_path, open_network=opening)({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.failed"]
