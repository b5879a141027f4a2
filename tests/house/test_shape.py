"""What holds for the whole code base: faces, one-way imports, size, what is never imported."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(importlib.import_module("coterie").__file__).parent
MODULES = sorted(p for p in SOURCE.rglob("*.py") if "examples" not in p.parts)
PACKAGES = sorted(p.parent for p in SOURCE.glob("*/__init__.py"))

# Imports point down this list only; names on one line are siblings, ordered left to right.
LAYERS = [
    [
        "_lazy",
        "_offline",
        "_alike",
        "_durable",
        "_label",
        "_known",
        "_usage",
        "_cpu",
        "_shared_time",
        "_ledger",
        "charts",
        "_written",
        "_concurrency",
        "types",
        "errors",
        "text",
    ],
    [
        "_secret",
        "_section",
        "_price_section",
        "_accounting_section",
        "_budget_section",
        "_observe_section",
        "_cascade_section",
        "_specialist_section",
        "_generalist_section",
        "_privacy_section",
        "_retention_section",
        "protocols",
        "config",
    ],
    ["calibration", "data", "privacy"],
    ["evaluation", "engines", "models", "registry", "store", "accounting", "context", "routing"],
    ["cascade"],
    ["governance", "observe", "extraction", "retrieval", "answering"],
    ["specialists", "tuning"],
    ["training"],
    ["rightsizing"],
    ["hybrid"],
    ["_outcome", "_shelves", "_admission", "_life", "network"],
    ["assembly", "_erasure"],
    ["gateway", "testing"],
    ["cli"],
    ["__init__", "__main__"],
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}


def concept(path: Path) -> str:
    """The package or top module a file belongs to."""
    relative = path.relative_to(SOURCE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports_of(path: Path) -> set[tuple[str, str]]:
    """(module, name) pairs a file imports absolutely, anywhere in it; imports for annotations included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {(alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found |= {(node.module or "", alias.name) for alias in node.names}
    return found


def test_every_concept_has_its_place():
    """A package or top module that the order of layers does not know is refused."""
    assert {concept(path) for path in MODULES} <= set(RANK)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_one_way(path):
    """No module imports from a layer above its own."""
    here = RANK[concept(path)]
    for module, _ in imports_of(path):
        if module.startswith("coterie."):
            other = module.split(".")[1]
            assert RANK[other] <= here, f"{path.relative_to(SOURCE)} imports {module}, which is above it"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_packages_are_used_by_their_face(path):
    """Across packages only the face is imported, never a private module."""
    for module, _ in imports_of(path):
        parts = module.split(".")
        if parts[0] == "coterie" and len(parts) > 2:
            assert not any(part.startswith("_") for part in parts[1:]), f"{path.name} imports {module}"


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.name)
def test_faces_are_whole(package):
    """Each package has all that it lists, each once, and says what it is; the linter keeps the list sorted."""
    face = importlib.import_module(f"coterie.{package.name}")

    names = getattr(face, "__all__", ())  # `text` has none: its modules are imported themselves
    assert len(names) == len(set(names))
    assert all(hasattr(face, name) for name in names)
    assert (face.__doc__ or "").strip()


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_size(path):
    """No file over 500 lines, no function over 60."""
    text = path.read_text()
    assert len(text.splitlines()) <= 500
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{path.name}: {node.name} is too long"


def test_no_code_runs_from_data():
    """Nothing that can run code while loading data is imported: pickle, joblib, marshal, shelve, eval."""
    banned = {"pickle", "joblib", "marshal", "shelve", "dill", "cloudpickle"}
    for path in MODULES:
        assert not {module.split(".")[0] for module, _ in imports_of(path)} & banned, path
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec"}, path


def test_remote_engine_only_behind_the_gate():
    """Only `governance` names the engine that leaves this process."""
    for path in MODULES:
        if concept(path) not in {"governance", "engines"}:
            assert "OpenAIEngine" not in path.read_text(), path


def test_spans_only_from_observe():
    """What sends spans to a collector is imported by `observe` alone."""
    for path in MODULES:
        if concept(path) != "observe":
            assert not {m for m, _ in imports_of(path) if m.split(".")[0] == "opentelemetry"}, path


def test_http_clients_only_where_something_may_leave():
    """An HTTP client is imported by the remote engine and the model download, and nowhere else."""
    allowed = {"engines", "models"}
    clients = {"httpx", "requests", "urllib.request", "http.client", "socket", "aiohttp"}
    for path in MODULES:
        if concept(path) not in allowed | {"testing", "gateway", "cli"}:
            assert not {module for module, _ in imports_of(path)} & clients, path


def test_telemetry_only_in_observe():
    """Spans are made and exported in one package, whose test says that no words are in them."""
    for path in MODULES:
        if concept(path) != "observe":
            assert not any(module.startswith("opentelemetry") for module, _ in imports_of(path)), path


def test_import_is_light():
    """`import coterie` brings no torch, no scikit-learn, no onnxruntime, no web server."""
    code = "import sys, coterie; print('\\n'.join(sys.modules))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )

    assert not loaded & {"torch", "sklearn", "scipy", "onnxruntime", "starlette", "httpx", "xllamacpp", "pydantic"}


def test_offline_by_default():
    """Importing and opening everything opens no connection: any attempt to resolve or connect fails loudly."""
    code = """
import socket, importlib, pkgutil
def refuse(*a, **k): raise SystemExit('the network was touched')
socket.socket.connect = refuse; socket.getaddrinfo = refuse; socket.create_connection = refuse
import coterie
for m in pkgutil.walk_packages(coterie.__path__, 'coterie.'):
    if '__main__' not in m.name: importlib.import_module(m.name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
