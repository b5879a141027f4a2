from __future__ import annotations

import hashlib
import re
import threading
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from coterie.models.catalogue import KnownModel

CONTENT = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture
def content():
    return CONTENT


@pytest.fixture
def model(content):
    """A model as the catalogue has them, of a MiB."""
    return KnownModel(
        name="tiny",
        description="a model for tests",
        file="tiny.gguf",
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        licence="Apache-2.0",
        original="someone/tiny",
        package="coterie-tiny-model",
        package_version="1.0",
        package_member="coterie_tiny_model/tiny.gguf",
        hub_repo="someone/tiny-GGUF",
        hub_revision="abc",
        hub_file="tiny.gguf",
        source="made for tests",
    )


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Models go into a folder of the test."""
    monkeypatch.setenv("COTERIE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "models"


@pytest.fixture
def wheel(tmp_path, model, content):
    folder = tmp_path / "wheels"
    folder.mkdir()
    info = "coterie_tiny_model-1.0.dist-info"
    path = folder / "coterie_tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(model.package_member, content)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: coterie-tiny-model\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


@dataclass
class FileServer:
    """A file server that can be told to misbehave. Real, on a port of its own of 127.0.0.1."""

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    cut_after: list[int] = field(default_factory=list)
    """Bytes after which each of the next answers breaks off."""
    statuses: list[int] = field(default_factory=list)
    """Statuses of the next answers, in place of an answer."""
    length: bool = True
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    sent: int = 0
    url: str = ""

    def answer(self, handler):
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.requests.append((handler.path, headers))
        if self.statuses and (status := self.statuses.pop(0)):
            return handler.send(status, {}, b"")
        body = self.files.get(handler.path)
        if body is None:
            return handler.send(404, {}, b"not here")
        marks = {"content-type": "text/html"} if handler.path.endswith("/") else {}
        span = re.fullmatch(r"bytes=(\d+)-", headers.get("range", ""))
        if not (self.ranges and span):
            return handler.send(200, marks, body)
        start = int(span[1])
        if start >= len(body):
            return handler.send(416, {"content-range": f"bytes */{len(body)}"}, b"")
        marks["content-range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        return handler.send(206, marks, body[start:])


@pytest.fixture
def files():
    state = FileServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            state.answer(self)

        def send(self, status, headers, body):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if state.length:
                self.send_header("content-length", str(len(body)))
            self.end_headers()
            cut = state.cut_after.pop(0) if state.cut_after and body else None
            state.sent += len(body[:cut])
            self.wfile.write(body[:cut])

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def no_sleep(monkeypatch):
    """Waits that are noted and not waited."""
    waits = []
    monkeypatch.setattr("time.sleep", waits.append)
    return waits
