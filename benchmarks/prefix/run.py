"""Prompt tokens that three specialists of one base model read for a context of 1,000 tokens, shared and not.

    python benchmarks/prefix/run.py

The same three instructions are asked about the same contexts, laid out in two ways: the specialist's instruction first,
and the context first (`labs/prompt_layout.py`). One after the other, side by side as one stage, and with an adapter
each, which can share nothing. Needs the model smollm2 (`coterie models pull smollm2`); the contexts are pages of the
project's own docs.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _record import ROOT, Bar, Record, arguments, sha256
from coterie.engines.llama import LlamaEngine
from coterie.models.catalogue import installed
from coterie.testing import write_random_adapter
from coterie.types import Entry, Label, Message, Output, Passage, Prompt
from labs.prompt_layout import context_first

CLAIM = "Specialists of one base model that are shown the same context read it once between them."
INSTRUCTIONS = {
    "summary": "Say in one sentence what the documents above are about.",
    "names": "List the names of settings in the documents above, separated by commas.",
    "tone": "Say in one word whether the documents above sound sure or unsure.",
}
ASKED = "What do the documents say of this?"
CONTEXT_TOKENS = 1000
CHARACTERS_A_TOKEN = 4  # of English in SmolLM2's vocabulary
WRITTEN = 8  # tokens of each answer: the prompt is what is measured
DOCUMENTS = tuple(
    f"{page}.md" for page in ("registry", "gateway", "adapters", "tuning", "extract", "pairs", "rightsize", "context")
)
WAYS = {
    "one after the other": {"parallel": 1, "together": False, "adapted": False},
    "side by side": {"parallel": 3, "together": True, "adapted": False},
    "an adapter each": {"parallel": 1, "together": False, "adapted": True},
}

Layout = Callable[[Sequence[Entry], str], tuple[Message, ...]]


def shared(view: Sequence[Entry], instruction: str) -> tuple[Message, ...]:
    """The context first, the instruction last."""
    return context_first(view, instruction=instruction, asked=ASKED)


def unshared(view: Sequence[Entry], instruction: str) -> tuple[Message, ...]:
    """The instruction first, as a system message usually is."""
    context, last = context_first(view, instruction="", asked=ASKED)
    return Message(role="system", text=f"{instruction}\n\n{context.text}"), last


def views(count: int) -> list[list[Entry]]:
    """Contexts of about 1,000 tokens, each the beginning of a page of the docs."""
    made = []
    for name in DOCUMENTS[:count]:
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        text = (text * 3)[: CHARACTERS_A_TOKEN * CONTEXT_TOKENS]
        passage = Passage(document=name, start=0, end=len(text), text=text, score=1.0, label=Label.PUBLIC, index="docs")
        made.append([Entry(content=passage, producer="docs", label=Label.PUBLIC, time=0.0)])
    return made


async def ask(
    engine: LlamaEngine, contexts: Sequence[Sequence[Entry]], layout: Layout, *, together: bool, adapted: bool
) -> dict[str, float]:
    """What three specialists read of each context, per request."""
    outputs: list[Output] = []
    for view in contexts:
        prompts = [
            Prompt(messages=layout(view, text), max_tokens=WRITTEN, adapter=name if adapted else None)
            for name, text in INSTRUCTIONS.items()
        ]
        for batch in [prompts] if together else [[prompt] for prompt in prompts]:
            outputs += await engine.run(batch)
    read = [output.usage.tokens_in - output.usage.tokens_cached for output in outputs]
    return {
        "requests": len(outputs),
        "prompt tokens": float(np.mean([output.usage.tokens_in for output in outputs])),
        "evaluated": float(np.mean(read)),
        "milliseconds": float(np.mean([output.usage.milliseconds for output in outputs])),
    }


async def measure(
    path: Path,
    adapters: dict[str, Path],
    contexts: Sequence[Sequence[Entry]],
    *,
    parallel: int,
    together: bool,
    adapted: bool,
) -> dict[str, object]:
    """Both layouts in one way, each on an engine that has read nothing yet."""
    figures: dict[str, dict[str, float]] = {}
    for name, layout in {"instruction first": unshared, "context first": shared}.items():
        held = adapters if adapted else None
        engine = LlamaEngine("smollm2", path, threads=2, parallel=parallel, window=2048, adapters=held)
        figures[name] = await ask(engine, contexts, layout, together=together, adapted=adapted)
        await engine.close()
    return {**figures, "share": figures["context first"]["evaluated"] / figures["instruction first"]["evaluated"]}


async def main() -> None:
    """Ask in every way and write what was read."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--contexts", type=int, default=len(DOCUMENTS), help="how many contexts (default: all)")
    options = parser.parse_args()
    path = next((path for model, path in installed() if model.name == "smollm2" and path is not None), None)
    if path is None:
        sys.exit("This benchmark needs the model smollm2: coterie models pull smollm2")
    record = Record(claim=CLAIM)
    record.data = {f"docs/{name}": sha256(ROOT / "docs" / name) for name in DOCUMENTS[: options.contexts]}
    record.note_load()
    contexts = views(options.contexts)
    with tempfile.TemporaryDirectory() as folder:
        adapters = {
            name: write_random_adapter(Path(folder) / f"{name}.gguf", path, seed=seed)
            for seed, name in enumerate(INSTRUCTIONS)
        }
        for way, how in WAYS.items():
            record.figures[way] = figures = await measure(path, adapters, contexts, **how)  # type: ignore[arg-type]
            print(way, figures, flush=True)
            if way != "an adapter each":
                what = f"prompt tokens evaluated per request, shared to unshared, {way}"
                record.bars.append(Bar(what=what, measured=float(str(figures["share"])), limit=0.45, at_most=True))
    record.write(options.out)


if __name__ == "__main__":
    asyncio.run(main())
