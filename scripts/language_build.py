"""Build `src/coterie/text/language.npz`: the n-gram table by which the language of a text is detected.

The table is a part of the naive Bayes model of py3langid 0.4 (BSD-3-Clause; Lui and Baldwin 2012, "langid.py: an
off-the-shelf language identification tool"): the languages in `LANGUAGES`, and of its 100,000 byte n-grams the 40,000
that tell these languages apart best. Restricted so, it reads short texts as well as the whole model and takes some MB
of memory instead of 100.

    pip install py3langid && python scripts/language_build.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from py3langid.langid import MODEL_FILE, LanguageIdentifier

LANGUAGES = [
    "en",
    "de",
    "fr",
    "es",
    "pt",
    "it",
    "nl",
    "sv",
    "da",
    "no",
    "pl",
    "cs",
    "ro",
    "tr",
    "fi",
    "hu",
    "id",
    "ca",
    "hr",
    "ru",
    "uk",
    "bg",
    "et",
    "lt",
    "lv",
    "vi",
    "sk",
    "sl",
]
"""Those with a script of their own (Japanese, Greek, ...) are told by it."""
GRAMS = 40_000
TARGET = Path(__file__).parent.parent / "src" / "coterie" / "text" / "language.npz"


def main() -> None:
    """Choose the n-grams and write the table."""
    model = LanguageIdentifier.from_model_file(MODEL_FILE)
    columns = [model.nb_classes.index(language) for language in LANGUAGES]
    logs = np.asarray(model.nb_ptc, dtype=np.float32)[:, columns]  # (F, L) log-probabilities
    grams = _grams(model)
    # A gram counts for as much as it is frequent where it is most frequent, and rarer elsewhere.
    best = logs.max(axis=1)
    worth = np.exp(best) * (best - np.median(logs, axis=1))
    gram_numbers = np.array(sorted(grams))
    kept = gram_numbers[np.argsort(-worth[gram_numbers], kind="stable")][:GRAMS]
    weights = logs[kept] - logs[kept].mean(axis=1, keepdims=True)
    scale = np.abs(weights).max() / 127
    strings = [grams[int(number)] for number in kept]
    np.savez_compressed(
        TARGET,
        languages=np.array(LANGUAGES),
        grams=np.frombuffer(b"".join(strings), dtype=np.uint8),
        lengths=np.array([len(string) for string in strings], dtype=np.uint8),
        weights=np.round(weights / scale).astype(np.int8),
        scale=np.float32(scale),
    )
    print(f"{TARGET}: {len(strings)} n-grams, {TARGET.stat().st_size / 1e6:.2f} MB")


def _grams(model: LanguageIdentifier) -> dict[int, bytes]:
    """The bytes of each feature: the shortest way to a state of the automaton that reports it."""
    rows = np.asarray(list(model.tk_nextmove)).reshape(-1, 256)[np.asarray(list(model.tk_row))]
    reported = np.asarray(list(model.tk_output))
    strings, grams, frontier = {0: b""}, {}, [0]
    while frontier:
        reached = []
        for state in frontier:
            for byte in np.flatnonzero(rows[state]):
                target = int(rows[state][byte])
                if target not in strings:
                    strings[target] = strings[state] + bytes([int(byte)])
                    reached.append(target)
                    if reported[target] >= 0:
                        grams.setdefault(int(reported[target]), strings[target])
        frontier = reached
    return grams


if __name__ == "__main__":
    main()
