"""Write the mean of two trainings' weights: of one and the one that it began with, or of two that began alike.

    python scripts/reading/average.py FIRST.pt SECOND.pt OUT.pt

Such a mean is often better on other data than what was trained on than either (Wortsman et al. 2022, "Robust
fine-tuning of zero-shot models").
"""

from __future__ import annotations

import sys

import torch


def main() -> None:
    """Add, halve, write."""
    first, second = (torch.load(path) for path in sys.argv[1:3])
    torch.save({name: (first[name] + second[name]) / 2 for name in first}, sys.argv[3])


if __name__ == "__main__":
    main()
