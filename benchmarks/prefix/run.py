"""Prompt tokens that three specialists of one base model read for a context of 1,000 tokens, shared and not.

    python benchmarks/prefix/run.py

The same three instructions are asked about the same contexts, laid out in two ways: the specialist's instruction first, and the
context first (`specialists/_layout.py`). One after the other, side by side as one wave, and with an adapter each, which
can share nothing. Needs the model smollm2 (`coterie models pull smollm2`); the contexts are made of the project's own docs.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _record import ROOT, Bar, Record, arguments, sha256
from coterie.engines import LlamaEngine
from coterie.models import installed
from coterie.specialists import context_first
from coterie.testing import write_random_adapter
from coterie.types import Entry, Label, Message, Output, Passage, Prompt

CLAIM = "Specialists of one base model that are shown the same context read it once between them."
INSTRUCTIONS = {
    "summary": "Say in one sentence what the documents above are about.",
    "names": "List the names of settings in the documents above, separated by commas.",
    "tone": "Say in one word whether the documents above sound sure or unsure.",
}
ASKED = "What do the documents say of this?"
CONTEXT_TOKENS = 1000
WRITTEN = 8  # tokens of each answer: the prompt is what is measured
DOCUMENTS = (
    "registry.md",
    "gateway.md",
    "observe.md",
    "adapters.md",
    "tuning.md",
    "extract.md",
    "pairs.md",
    "rightsize.md",
)

Layout = Callable[[Sequence[Entry], str], tuple[Message, ...]]


def shared(view: Sequence[Entry], instruction: str) -> tuple[Message, ...]:
    """The context first, the instruction last."""
    return context_first(view, instruction=instruction, asked=ASKED)


def unshared(view: Sequence[Entry], instruction: str) -> tuple[Message, ...]:
    """The instruction first, as a system message usually is."""
    known, last = context_first(view, instruction="", asked=ASKED)
    return Message(role="system", text=f"{instruction}\n\n{known.text}"), last


def views(tokens_of: Callable[[str], int], count: int) -> list[list[Entry]]:
    """Contexts of about 1,000 tokens, each one passage of a page of the docs."""
    found = []
    for name in DOCUMENTS[:count]:
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        while tokens_of(text) > CONTEXT_TOKENS:
            text = text[: int(len(text) * max(CONTEXT_TOKENS / tokens_of(text), 0.5))]
        passage = Passage(document=name, start=0, end=len(text), text=text, score=1.0, label=Label.PUBLIC, shelf="docs")
        found.append([Entry(content=passage, producer="docs", label=Label.PUBLIC, time=0.0)])
    return found


async def ask(
    engine: LlamaEngine, contexts: Sequence[Sequence[Entry]], layout: Layout, *, together: bool, adapters: bool
) -> dict[str, float]:
    """What three specialists read of each context, per request."""
    outputs: list[Output] = []
    for view in contexts:
        prompts = [
            Prompt(messages=layout(view, text), max_tokens=WRITTEN, adapter=name if adapters else None)
            for name, text in INSTRUCTIONS.items()
        ]
        batches = [prompts] if together else [[prompt] for prompt in prompts]
        for batch in batches:
            outputs += await engine.run(batch)
    read = [output.usage.tokens_in - output.usage.tokens_cached for output in outputs]
    return {
        "requests": len(outputs),
        "prompt tokens": float(np.mean([output.usage.tokens_in for output in outputs])),
        "evaluated": float(np.mean(read)),
        "milliseconds": float(np.mean([output.usage.milliseconds for output in outputs])),
    }


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
    contexts = views(lambda text: len(text) // 4, options.contexts)
    with tempfile.TemporaryDirectory() as folder:
        adapters = {
            name: write_random_adapter(Path(folder) / f"{name}.gguf", path, seed=n)
            for n, name in enumerate(INSTRUCTIONS)
        }
        for key, each in {
            "one after the other": {"parallel": 1, "together": False, "adapters": False},
            "side by side": {"parallel": 3, "together": True, "adapters": False},
            "an adapter each": {"parallel": 1, "together": False, "adapters": True},
        }.items():
            record.figures[key] = found = {}
            for name, layout in {"instruction first": unshared, "context first": shared}.items():
                engine = LlamaEngine(
                    "smollm2",
                    path,
                    threads=2,
                    parallel=int(each["parallel"]),
                    window=2048,
                    adapters=adapters if each["adapters"] else None,
                )
                found[name] = await ask(
                    engine, contexts, layout, together=bool(each["together"]), adapters=bool(each["adapters"])
                )
                await engine.close()
            found["share"] = found["context first"]["evaluated"] / found["instruction first"]["evaluated"]
            print(key, found, flush=True)
    record.bars = [
        Bar(
            what=f"prompt tokens evaluated per request, shared to unshared, {key}",
            measured=record.figures[key]["share"],
            limit=0.45,
            at_most=True,
        )
        for key in ("one after the other", "side by side")
    ]
    record.write(options.out)


if __name__ == "__main__":
    asyncio.run(main())
