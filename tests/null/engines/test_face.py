import subprocess
import sys

import pytest

import coterie.engines

HEAVY = ("onnxruntime", "xllamacpp", "httpx", "tokenizers", "sklearn", "scipy", "torch")


@pytest.mark.parametrize(
    "statement",
    [
        "import coterie.engines",
        "import coterie.models",
        "import coterie.governance",
        "from coterie.engines import LlamaEngine",
        "from coterie.engines import Batcher, estimate_tokens",
    ],
)
def test_light(statement):
    """Faces import none of the libraries that run weights; nor does the llama engine before it loads."""
    program = f"{statement}\nimport sys\nprint([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_name_resolves():
    """Each name of the face can be had, and no other."""
    for name in coterie.engines.__all__:
        assert getattr(coterie.engines, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = coterie.engines.Nothing
