"""Open loops against a server whose limit is known: the knee is found, and nothing beyond it is kept."""

from __future__ import annotations

import asyncio
import json
from typing import Self

import pytest
from starlette.testclient import TestClient

from coterie.config.file import parse_config
from coterie.errors import InputError
from coterie.scale.application import NetworkApplication
from coterie.scale.planning import (
    Curve,
    LoadStep,
    Measurement,
    Replica,
    draw_texts,
    kept_up,
    load_curves,
    not_asked,
    read_texts,
    run_open_loop,
    save,
)
from coterie.types import Ledger, LedgerRow
from tests.null.gateway.conftest import network  # noqa: F401 - a fixture

from .test_curves import CURVE


class Answers:
    """A server that answers at once, or with a status; it keeps what it was asked."""

    def __init__(self, status: int = 200) -> None:
        self.status, self.asked, self.heads = status, [], []

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.address = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_) -> None:
        self.server.close()
        await self.server.wait_closed()

    async def serve(self, reader, writer) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                self.heads.append(head)
                self.asked.append(json.loads(await reader.readexactly(size))["messages"][0]["content"])
                body = json.dumps({"coterie": {"usage": {"joules": 2.0, "cost": None, "joules_kind": "estimated"}}})
                answer = f"HTTP/1.1 {self.status} X\r\ncontent-length: {len(body)}\r\n\r\n{body}"
                writer.write(answer.encode())
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


async def test_every_planned_request_is_asked():
    """Requests start at Poisson times of a rate, with the given head lines; answers are counted by status."""
    async with Answers() as server:
        step = await run_open_loop(server.address, ["a", "b"], rate=400, seconds=0.2, seed=1, headers=["X-Key: k"])
        assert step.planned == len(server.asked) == len(step.latencies) == step.statuses["200"]
        assert {"a", "b"} == set(server.asked)
        assert b"X-Key: k" in server.heads[0]
        assert step.answered == 1
        assert list(step.latencies) == sorted(step.latencies)
    async with Answers(429) as server:
        step = await run_open_loop(server.address, ["a"], rate=400, seconds=0.1, seed=1)
        assert (step.answered, step.statuses) == (0, {"429": step.planned})


class Simulated(Measurement):
    """A replica that bears 100 requests a second, without a clock."""

    limit = 100.0

    async def load(self, rate: float, *, seconds: float | None = None) -> LoadStep:
        over = rate > self.limit
        base = 50.0 if over else 5.0
        latencies = tuple(base * (1 + number / 100) for number in range(100))
        return LoadStep(
            rate=rate,
            seconds=1.0,
            planned=100,
            latencies=latencies,
            growth=9.0 if over else 1.0,
            statuses={"200": 100},
            late_ms=0.0,
        )


async def test_the_knee_is_found():
    """The highest rate that is kept up, to a twentieth; points go up to it and no further."""
    simulated = Simulated(Replica(address="http://x"), ["a"], rounds=2)
    checked = []

    async def check(knee: float) -> None:
        checked.append(knee)

    knee, points, cost, warnings = await simulated.run(check)
    assert 93 < knee <= 100
    assert checked == [knee, knee]
    assert points[-1].rate == knee
    assert all(len(point.rounds) == 2 for point in points)
    assert [point.rate for point in points] == sorted(point.rate for point in points)
    assert (cost.cpu_seconds, cost.money, warnings) == (None, None, ())


async def test_a_gateway_that_refuses():
    """Nothing is measured of one that does not answer."""
    async with Answers(401) as server:
        with pytest.raises(InputError):
            await Measurement(Replica(address=server.address), ["a"], seconds=0.1).run()


async def test_texts_are_new_unless_they_are_given():
    """A number behind each text keeps it from being answered from memory; texts of a file are asked as they are."""
    async with Answers() as server:
        work = Measurement(Replica(address=server.address), ["a"], seconds=0.1)
        await work.load(300, seconds=0.1)
        await work.load(300, seconds=0.1)
        assert len(set(server.asked)) == len(server.asked)
        server.asked.clear()
        await Measurement(Replica(address=server.address), ["a"], repeated=True).load(300, seconds=0.1)
        assert set(server.asked) == {"a"}


def test_what_is_kept_up():
    """All answered, and no queue that grows."""
    step = LoadStep(rate=1, seconds=1, planned=2, latencies=(10.0, 20.0), growth=1.0, statuses={"200": 2}, late_ms=0.0)
    assert kept_up(step, 10.0)
    for changed in ({"latencies": (10.0,)}, {"latencies": (40.0, 60.0), "growth": 3.0}, {"latencies": (51.0,) * 2}):
        from dataclasses import replace

        assert not kept_up(replace(step, **changed), 10.0)


def test_texts_follow_the_ledger(tmp_path):
    """Specialists' examples by their shares of the requests; even shares where the ledger is empty."""
    for name in ("one", "two"):
        lines = "".join(f"{name} {number},{number % 2}\n" for number in range(30))
        (tmp_path / f"{name}.csv").write_text(f"text,label\n{lines}")
    sections = "".join(f'[specialists.{name}]\ntask = "classify"\ndata = "{name}.csv"\n' for name in ("one", "two"))
    config = parse_config(f'[network]\nname = "shop"\n{sections}')
    ledger = Ledger(
        total=LedgerRow(key="", requests=100),
        rows=(LedgerRow(key="one", requests=90), LedgerRow(key="two", requests=10)),
    )
    texts, mix = draw_texts(config, tmp_path, ledger, seed=0)
    assert 0.85 < sum(text.startswith("one") for text in texts) / len(texts) < 0.95
    assert "90%" in mix
    texts, mix = draw_texts(config, tmp_path, None, seed=0)
    assert 0.4 < sum(text.startswith("one") for text in texts) / len(texts) < 0.6
    with pytest.raises(InputError):
        draw_texts(parse_config('[network]\nname = "shop"\n'), tmp_path, None, seed=0)


def test_who_is_not_asked_is_named(tmp_path):
    """A specialist without texts that answers a third of the requests costs what nothing measured."""
    lines = "".join(f"text {number},{number % 2}\n" for number in range(30))
    (tmp_path / "one.csv").write_text(f"text,label\n{lines}")
    config = parse_config(
        '[network]\nname = "shop"\n[specialists.one]\ntask = "classify"\ndata = "one.csv"\n'
        '[specialists.house]\ntask = "answer"\nknowledge = ["docs"]\n[knowledge.docs]\npaths = ["docs"]\n'
    )
    rows = (LedgerRow(key="network", requests=3), LedgerRow(key="one", requests=2), LedgerRow(key="house", requests=1))
    (warning,) = not_asked(config, tmp_path, Ledger(total=LedgerRow(key="", requests=3), rows=rows))
    assert ("'house'" in warning, "33%" in warning) == (True, True)
    assert not_asked(config, tmp_path, None) == ()
    assert "none" in draw_texts(config, tmp_path, Ledger(total=rows[0], rows=rows[2:]), seed=0)[1]


def test_texts_of_a_file(tmp_path):
    """One JSON object a line; a line that is none is named."""
    path = tmp_path / "asked.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b"}\n')
    assert read_texts(path)[0] == ["a", "b"]
    path.write_text('{"text": "a"}\n{"other": "b"}\n')
    with pytest.raises(InputError, match="Line 2"):
        read_texts(path)


def test_curves_by_workers(tmp_path):
    """A curve replaces that of as many workers; a damaged file is refused."""
    from dataclasses import replace

    assert load_curves(tmp_path) == []
    save(tmp_path, CURVE)
    save(tmp_path, replace(CURVE, workers=2))
    save(tmp_path, replace(CURVE, knee=50.0))
    assert [(curve.workers, curve.knee) for curve in load_curves(tmp_path)] == [(1, 50.0), (2, 100.0)]
    assert all(isinstance(curve, Curve) for curve in load_curves(tmp_path))
    (tmp_path / "state" / "plan.json").write_text("[]")
    with pytest.raises(InputError):
        load_curves(tmp_path)


# --- The application opens its network with the server's lifespan and closes it with it.


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
