import subprocess
import sys

import pytest

HEAVY = ("onnxruntime", "xllamacpp", "aiohttp", "httpx", "tokenizers", "sklearn", "scipy", "torch")


@pytest.mark.parametrize(
    "statement",
    [
        "import coterie.engines.batching",
        "import coterie.models.catalogue",
        "import coterie.limits.limits",
        "from coterie.engines.llama import LlamaEngine",
        "from coterie.engines.batching import Batcher; from coterie.text.folding import estimate_tokens",
    ],
)
def test_light(statement):
    """These modules import none of the libraries that run weights; nor does the llama engine before it loads."""
    program = f"{statement}\nimport sys\nprint([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
