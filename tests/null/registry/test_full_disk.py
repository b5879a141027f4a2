"""A file system that really refuses to write more."""

import subprocess
import sys

import pytest

from coterie.registry.registry import Registry

_SCRIPT = """
import resource, signal, sys
sys.path[:0] = {path!r}
from pathlib import Path
from coterie.errors import SetupError
from coterie.registry.registry import Registry
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most}))
try:
    Registry(Path({root!r})).add("triage", {{"a.md": b"small", "model.onnx": b"x" * 100_000}})
except SetupError as error:
    print(error)
"""


@pytest.mark.parametrize("most", [0, 3, 5_000, 99_999])
def test_the_system_refuses_to_write(registry, most):
    """Where the system cuts a file short, there is an error that says why, and the registry is as it was."""
    old = registry.add("triage", {"a.md": b"old"})
    registry.promote("triage", old)
    script = _SCRIPT.format(path=sys.path, most=most, root=str(registry.root))
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert "Cannot add a version of 'triage'" in output
    assert "File too large" in output
    assert "the disk has space" in output
    assert registry.versions("triage") == (old,)
    assert Registry(registry.root).champion("triage").version == old
    assert sorted(path.name for path in (registry.root / "triage").iterdir()) == sorted(
        [".lock", "champion", "history.head", "history.jsonl", old]
    )
