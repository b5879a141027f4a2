"""What a served model's tokens take, by the published regression of EcoLogits.

Source: EcoLogits 0.11.3 (GenAI Impact; `ecologits/impacts/llm.py`, methodology at ecologits.ai), fitted by its authors
to the ML.ENERGY leaderboard's measurements of open models on H100s. Said in our own words:

- a GPU takes `a * exp(b * B) * P + c` watt-hours a generated token, with P the active parameters in billions and B
  the requests that share a server's batch, 64;
- a token takes `d * P + e * B + f` seconds, and the answer no longer than it was waited for;
- the weights at 16 bits and a fifth more must fit into GPUs of 80 GB, whose number is a power of two;
- a server of eight GPUs takes 1.2 kW beside them, of which a request has the share of its GPUs and of its batch;
- all that times the data centre's PUE.

Prompt tokens are free in it: it was fitted to generation. So it is low for long prompts with short answers. A range of
parameters or of PUE makes a range of energy; what serving differs from the fit by is not in it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from coterie._section import span_ends
from coterie.config import OpenAIModel

_GPU = (1.1665273170451914e-06, -0.011205921025579175, 4.052928146734005e-05)
"""a, b, c: watt-hours a token; with P in billions."""
_LATENCY = (0.0006785088094353663, 0.0003119310311688259, 0.019473717579473387)
"""d, e, f: seconds a token."""
_BATCH = 64
_GPU_GIGABYTES = 80.0
_BYTES_PER_PARAMETER = 2.0
_ROOM = 1.2
_SERVER_WATTS, _SERVER_GPUS = 1200.0, 8
_JOULES_PER_WATT_HOUR = 3600.0


class Joules(NamedTuple):
    """An estimate and what it may lie between."""

    likely: float
    low: float
    high: float


def generation_joules(
    tokens_out: int, *, parameters: float, active: float, pue: float, seconds: float = math.inf
) -> float:
    """Joules of generating so many tokens.

    Args:
        tokens_out: Generated tokens.
        parameters: All of the model's, in billions.
        active: Those that a token uses, in billions.
        pue: Of the data centre.
        seconds: How long the answer was waited for.
    """
    gpus = _gpus(parameters)
    slope, decay, base = _GPU
    gpu = tokens_out * (slope * math.exp(decay * _BATCH) * active + base) * _JOULES_PER_WATT_HOUR
    per_parameter, per_request, least = _LATENCY
    latency = min(tokens_out * (per_parameter * active + per_request * _BATCH + least), seconds)
    server = latency * _SERVER_WATTS * (gpus / _SERVER_GPUS) / _BATCH
    return pue * (server + gpus * gpu)


def _gpus(parameters: float) -> int:
    """So many GPUs hold the weights, rounded up to a power of two."""
    needed = math.ceil(_ROOM * parameters * _BYTES_PER_PARAMETER / _GPU_GIGABYTES)
    return int(2 ** math.ceil(math.log2(needed)))


def remote_joules(model: OpenAIModel, tokens_out: int, milliseconds: float) -> Joules | None:
    """What a remote answer took by the formula; None for a model whose size is not given. Likely is half way."""
    if model.parameters_billion is None or model.joules_per_token is not None:
        return None
    parameters, pue = span_ends(model.parameters_billion), span_ends(model.pue)
    active = span_ends(model.active_billion) if model.active_billion is not None else parameters
    seconds = milliseconds / 1000 if milliseconds > 0 else math.inf
    low, high = (
        generation_joules(tokens_out, parameters=parameters[i], active=active[i], pue=pue[i], seconds=seconds)
        for i in (0, 1)
    )
    return Joules((low + high) / 2, low, high)
