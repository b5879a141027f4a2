"""Training takes one thread, also in libraries that a task loads when it trains."""

import subprocess
import sys

CODE = """
from threadpoolctl import threadpool_info
from coterie.learning.numerics import one_thread
with one_thread():
    import coterie.tasks.score.fit
    print(*sorted({(each["internal_api"], each["num_threads"]) for each in threadpool_info()}))
"""


def test_openmp_is_limited_too():
    """What is loaded inside the context has no more threads than what was there before."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)

    assert "openmp" in done.stdout
    assert set(done.stdout.split()) - {"('openmp',", "('openblas',"} == {"1)"}
