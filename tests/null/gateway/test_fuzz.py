"""Requests made out of the OpenAPI document, right and wrong ones: never a 500, never a crash, and it goes on.

A short run with a fixed seed; `benchmarks/fuzz` runs the same longer: `COTERIE_FUZZ` is how many requests each endpoint
gets, and then chance decides.
"""

import asyncio
import json
import os
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from coterie.config.file import GatewaySection
from coterie.gateway.app import ENDPOINTS, create_app, describe_api
from coterie.store.sqlite import SQLiteStore
from coterie.testing import FakeRetriever
from coterie.types import Label, Passage

schemathesis = pytest.importorskip("schemathesis")
generation = pytest.importorskip("schemathesis.generation")

EXAMPLES = os.environ.get("COTERIE_FUZZ")
BASE = "http://127.0.0.1:8321"
DOCUMENT = describe_api(ENDPOINTS)
OPERATIONS = {
    f"{method.upper()} {path}": (path, method) for path, methods in DOCUMENT["paths"].items() for method in methods
}
BODIES = [name for name, (path, method) in OPERATIONS.items() if method == "post"]
"""Endpoints of which there can be wrong requests: the others take any text as the name of something, or nothing."""
pytestmark = pytest.mark.slow


@pytest.fixture
def served(network, tmp_path):
    """A gateway over a real store and an index, with an event loop of its own; gives what sends a request to it."""
    with asyncio.Runner() as runner:
        opening = SQLiteStore.open(tmp_path / "coterie.db", session_days=1, keep_content=True)
        network.store = store = runner.run(opening)
        passage = Passage(document="a.md", start=0, end=5, text="Hello", score=1.0, label=Label.PUBLIC)
        network.knowledge = {"docs": FakeRetriever([passage], index="docs")}

        async def open_door():
            app = create_app(network, GatewaySection())
            return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=BASE)

        http = runner.run(open_door())

        def send(case) -> httpx.Response:
            return runner.run(asyncio.wait_for(http.request(**asked(case)), 120))

        yield send
        assert runner.run(http.get("/healthz")).status_code == 200
        runner.run(store.close())


def asked(case) -> dict[str, object]:
    """A generated request as one of httpx."""
    given = case.as_transport_kwargs(base_url=BASE)
    headers = {
        str(name): str(value).encode("utf-8", "replace")
        for name, value in (given.get("headers") or {}).items()
        if name.lower() not in {"host", "content-length", "transfer-encoding"}
    }
    content = given.get("data")
    if "json" in given:
        content = json.dumps(meant(given["json"])).encode("utf-8", "surrogatepass")
        headers.setdefault("content-type", "application/json")
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogatepass")
    params = given.get("params") or None
    return {"method": given["method"], "url": given["url"], "params": params, "headers": headers, "content": content}


def meant(body: object) -> object:
    """The body for a model that is there, two times in three: nobody guesses one, and a 404 looks at nothing else."""
    if not isinstance(body, dict) or "model" not in body or not (chosen := len(str(body)) % 3):
        return body
    return body | {"model": "coterie" if chosen == 1 else "coterie/reply"}


def note(*values) -> None:
    """For `benchmarks/fuzz`: how many there were, and what became of them."""
    if path := os.environ.get("COTERIE_FUZZ_LOG"):
        with Path(path).open("a") as file:
            file.write(json.dumps(values) + "\n")


@pytest.mark.parametrize(
    ("name", "mode"), [*((name, "POSITIVE") for name in OPERATIONS), *((name, "NEGATIVE") for name in BODIES)]
)
def test_every_endpoint(served, name, mode):
    """What the document allows and what it does not, of each endpoint: an answer, or an error in our shape."""
    path, method = OPERATIONS[name]
    operation = schemathesis.openapi.from_dict(DOCUMENT)[path][method]
    strategy = operation.as_strategy(generation_mode=generation.GenerationMode[mode])
    statuses: list[int] = []

    @settings(
        max_examples=int(EXAMPLES or 25),
        derandomize=EXAMPLES is None,
        database=None,
        deadline=None,
        phases=[Phase.generate] if EXAMPLES is None else [Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def run(case):
        response = served(case)
        statuses.append(response.status_code)
        assert response.status_code < 500, response.text
        if response.status_code >= 400:
            next(e.failed for e in ENDPOINTS if e.template == path).model_validate(response.json())

    run()
    note(name, mode, len(statuses), sorted(set(statuses)))
