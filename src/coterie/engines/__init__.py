"""What runs weights: linear heads, the ONNX encoder, GGUF models in this process, OpenAI-compatible servers.

The libraries behind them are imported with the engine that needs them, not with this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coterie._lazy import lazy_face

if TYPE_CHECKING:
    from ._adapters import check_adapter
    from ._batching import Batcher
    from ._features import NgramFeatures, Sparse, fit_ngrams
    from ._gguf import GGUFHeader, read_gguf_header
    from ._linear import ARRAYS_FILE, MODEL_FILE, KernelBlock, LinearEngine, NgramBlock, TextHead, dump_head
    from ._llama import LlamaEngine
    from ._onnx import (
        BUNDLED_ENCODER,
        ENCODER_FILES,
        GRAPH_FILE,
        PROVENANCE_FILE,
        TOKENIZER_FILE,
        OnnxEncoder,
        TokenStates,
    )
    from ._onnx_tags import TAGS_OUTPUT, OnnxTagger, TokenTags, windows
    from ._openai import EngineOptions, OpenAIEngine
    from ._openmp import import_with_short_spin
    from ._pairs import (
        COUNT_IN_OPEN,
        COUNT_IN_SUMMARY,
        NEVER,
        Clauses,
        Judged,
        PairHead,
        Question,
        likeness,
        negations,
        normal_form,
        open_features,
        spread,
        summarise,
    )
    from ._stored import stored_array
    from ._tables import ColumnBins, TableHead, as_category, as_number, quoted
    from ._text import estimate_tokens

__all__ = [
    "ARRAYS_FILE",
    "BUNDLED_ENCODER",
    "COUNT_IN_OPEN",
    "COUNT_IN_SUMMARY",
    "ENCODER_FILES",
    "GRAPH_FILE",
    "MODEL_FILE",
    "NEVER",
    "PROVENANCE_FILE",
    "TAGS_OUTPUT",
    "TOKENIZER_FILE",
    "Batcher",
    "Clauses",
    "ColumnBins",
    "EngineOptions",
    "GGUFHeader",
    "Judged",
    "KernelBlock",
    "LinearEngine",
    "LlamaEngine",
    "NgramBlock",
    "NgramFeatures",
    "OnnxEncoder",
    "OnnxTagger",
    "OpenAIEngine",
    "PairHead",
    "Question",
    "Sparse",
    "TableHead",
    "TextHead",
    "TokenStates",
    "TokenTags",
    "as_category",
    "as_number",
    "check_adapter",
    "dump_head",
    "estimate_tokens",
    "fit_ngrams",
    "import_with_short_spin",
    "likeness",
    "negations",
    "normal_form",
    "open_features",
    "quoted",
    "read_gguf_header",
    "spread",
    "stored_array",
    "summarise",
    "windows",
]

_HOMES = {
    "ARRAYS_FILE": "_linear",
    "BUNDLED_ENCODER": "_onnx",
    "COUNT_IN_OPEN": "_pairs",
    "COUNT_IN_SUMMARY": "_pairs",
    "ENCODER_FILES": "_onnx",
    "GRAPH_FILE": "_onnx",
    "MODEL_FILE": "_linear",
    "NEVER": "_pairs",
    "PROVENANCE_FILE": "_onnx",
    "TAGS_OUTPUT": "_onnx_tags",
    "TOKENIZER_FILE": "_onnx",
    "Batcher": "_batching",
    "Clauses": "_pairs",
    "ColumnBins": "_tables",
    "EngineOptions": "_openai",
    "GGUFHeader": "_gguf",
    "Judged": "_pairs",
    "KernelBlock": "_linear",
    "LinearEngine": "_linear",
    "LlamaEngine": "_llama",
    "NgramBlock": "_linear",
    "NgramFeatures": "_features",
    "OnnxEncoder": "_onnx",
    "OnnxTagger": "_onnx_tags",
    "OpenAIEngine": "_openai",
    "PairHead": "_pairs",
    "Question": "_pairs",
    "Sparse": "_features",
    "TableHead": "_tables",
    "TextHead": "_linear",
    "TokenStates": "_onnx",
    "TokenTags": "_onnx_tags",
    "as_category": "_tables",
    "as_number": "_tables",
    "check_adapter": "_adapters",
    "dump_head": "_linear",
    "estimate_tokens": "_text",
    "fit_ngrams": "_features",
    "import_with_short_spin": "_openmp",
    "likeness": "_pairs",
    "negations": "_pairs",
    "normal_form": "_pairs",
    "open_features": "_pairs",
    "quoted": "_tables",
    "read_gguf_header": "_gguf",
    "spread": "_pairs",
    "stored_array": "_stored",
    "summarise": "_pairs",
    "windows": "_onnx_tags",
}

__getattr__ = lazy_face(__name__, _HOMES)
