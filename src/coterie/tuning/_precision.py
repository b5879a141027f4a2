"""Which numbers a frozen network is held in while an adapter is trained beside it: bfloat16 or fp32.

bfloat16 is half the memory and, on a CPU that multiplies it in hardware, half the time. On others, and on some that
claim to, torch converts at every product and takes twice as long: so the products are timed, once a process. The
two differ by a factor, not by a little, so a busy machine does not change the choice.
"""

from __future__ import annotations

import time
from functools import cache

import torch
from torch.nn.functional import linear

_ROWS, _IN, _OUT = 512, 576, 1536  # a batch of short texts through a map of a small model
_TRIES = 5
_WORTH = 1.25
"""Times sooner that bfloat16 must be: what is not a product gains little or nothing."""


@cache
def quickest_dtype() -> torch.dtype:
    """The kind of numbers whose products take less CPU time here."""
    slow, quick = (_seconds(dtype) for dtype in (torch.float32, torch.bfloat16))
    return torch.bfloat16 if slow > _WORTH * quick else torch.float32


def _seconds(dtype: torch.dtype) -> float:
    """CPU time of one product, the best of a few."""
    rows, weight = torch.ones(_ROWS, _IN, dtype=dtype), torch.ones(_OUT, _IN, dtype=dtype)
    found = []
    for _ in range(_TRIES + 1):
        start = time.process_time()
        linear(rows, weight)
        found.append(time.process_time() - start)
    return min(found[1:])  # the first one makes the code


def describe_precision() -> dict[str, str]:
    """The choice and its reason, for a report; no times, which would make every version another one."""
    if quickest_dtype() is torch.bfloat16:
        return {"numbers": "bfloat16", "reason": "this CPU multiplies them in hardware, sooner than float32"}
    return {"numbers": "float32", "reason": "this CPU multiplies bfloat16 no sooner"}
