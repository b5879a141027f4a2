"""What runs weights: linear heads, the ONNX encoder, GGUF models in this process, OpenAI-compatible servers.

The libraries behind them are imported with the engine that needs them, not with this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coterie._lazy import lazy_face

if TYPE_CHECKING:
    from ._batching import Batcher
    from ._features import NgramFeatures, Sparse, fit_ngrams
    from ._linear import ARRAYS_FILE, MODEL_FILE, KernelBlock, LinearEngine, NgramBlock, TextHead, dump_head
    from ._llama import LlamaEngine
    from ._onnx import BUNDLED_ENCODER, ENCODER_FILES, GRAPH_FILE, PROVENANCE_FILE, TOKENIZER_FILE, OnnxEncoder
    from ._openai import EngineOptions, OpenAIEngine
    from ._openmp import import_with_short_spin
    from ._stored import stored_array
    from ._tables import ColumnBins, TableHead, as_category, as_number, quoted
    from ._text import estimate_tokens

__all__ = [
    "ARRAYS_FILE",
    "BUNDLED_ENCODER",
    "ENCODER_FILES",
    "GRAPH_FILE",
    "MODEL_FILE",
    "PROVENANCE_FILE",
    "TOKENIZER_FILE",
    "Batcher",
    "ColumnBins",
    "EngineOptions",
    "KernelBlock",
    "LinearEngine",
    "LlamaEngine",
    "NgramBlock",
    "NgramFeatures",
    "OnnxEncoder",
    "OpenAIEngine",
    "Sparse",
    "TableHead",
    "TextHead",
    "as_category",
    "as_number",
    "dump_head",
    "estimate_tokens",
    "fit_ngrams",
    "import_with_short_spin",
    "quoted",
    "stored_array",
]

_HOMES = {
    "ARRAYS_FILE": "_linear",
    "BUNDLED_ENCODER": "_onnx",
    "ENCODER_FILES": "_onnx",
    "GRAPH_FILE": "_onnx",
    "PROVENANCE_FILE": "_onnx",
    "TOKENIZER_FILE": "_onnx",
    "MODEL_FILE": "_linear",
    "Batcher": "_batching",
    "ColumnBins": "_tables",
    "EngineOptions": "_openai",
    "KernelBlock": "_linear",
    "LinearEngine": "_linear",
    "LlamaEngine": "_llama",
    "NgramBlock": "_linear",
    "NgramFeatures": "_features",
    "OnnxEncoder": "_onnx",
    "OpenAIEngine": "_openai",
    "Sparse": "_features",
    "TableHead": "_tables",
    "TextHead": "_linear",
    "as_category": "_tables",
    "as_number": "_tables",
    "dump_head": "_linear",
    "estimate_tokens": "_text",
    "fit_ngrams": "_features",
    "import_with_short_spin": "_openmp",
    "quoted": "_tables",
    "stored_array": "_stored",
}

__getattr__ = lazy_face(__name__, _HOMES)
