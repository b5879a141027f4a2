"""Libraries in C have sockets that the socket guard does not see: what they do is looked at from outside."""

import os
import re
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

ENCODE = (
    "from coterie.engines.onnx import OnnxEncoder; import time; OnnxEncoder.bundled().encode(['hello']); time.sleep({})"
)
STAY = 8
"""Seconds: reports are not sent at once."""
_PLACES = re.compile(r'sa_family=AF_INET6?,.*?(?:inet_addr\("|inet_pton\(AF_INET6, ")([^"]+)"')


def surroundings(home):
    """A user's environment without the marks of continuous integration, which keep some libraries quiet."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def test_no_library_writes_down_who_uses_it(tmp_path):
    """No identifier of the machine and no queue of reports is left in the home folder, as onnxruntime's would be."""
    subprocess.run([sys.executable, "-c", ENCODE.format(0)], env=surroundings(tmp_path), check=True)

    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace, which sees the sockets of every library")
def test_no_library_asks_the_way_to_another_machine(tmp_path):
    """Of a process that encodes a text and stays for a while, no connection and no packet goes anywhere but here."""
    traced = tmp_path / "calls"
    home = tmp_path / "home"
    home.mkdir()
    watched = ["strace", "-f", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(traced)]
    done = subprocess.run(
        [*watched, sys.executable, "-c", ENCODE.format(STAY)],
        check=False,
        env=surroundings(home),
        capture_output=True,
        text=True,
    )
    if "ptrace" in done.stderr.lower():
        pytest.skip("this machine lets nobody watch a process")
    assert done.returncode == 0, done.stderr

    assert set(_PLACES.findall(traced.read_text())) <= {"127.0.0.1", "::1"}
