"""How alike two texts are, word by word: what is left to measure where there is no single right text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

_WORD = re.compile(r"\w+")


def token_f1(text: str, reference: str) -> float:
    """Harmonic mean of the shares of words that the texts have in common, whatever their order.

    As of SQuAD (Rajpurkar et al. 2016, section 6.1), but articles count. Two texts without words are alike.
    """
    said, wanted = _words(text), _words(reference)
    return _f1((Counter(said) & Counter(wanted)).total(), said, wanted)


def best_f1(text: str, references: Sequence[str]) -> float:
    """Token F1 with the reference that a text is most like; 0 where it says nothing."""
    return max((token_f1(text, each) for each in references), default=0.0) if text.strip() else 0.0


def rouge_l(text: str, reference: str) -> float:
    """The same of the longest common subsequence of words: order counts (Lin 2004, section 3.1, with beta = 1)."""
    said, wanted = _words(text), _words(reference)
    return _f1(_longest_common(said, wanted), said, wanted)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _f1(common: int, said: Sequence[str], wanted: Sequence[str]) -> float:
    if not said and not wanted:
        return 1.0
    return 2 * common / (len(said) + len(wanted))


def _longest_common(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence, a row of the table at a time."""
    best = [0] * (len(second) + 1)
    for word in first:
        before = 0  # the cell above and to the left
        for place, other in enumerate(second, 1):
            before, best[place] = best[place], before + 1 if word == other else max(best[place], best[place - 1])
    return best[-1]
