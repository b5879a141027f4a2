"""Libraries that report their use to their makers are told not to, before they are loaded.

onnxruntime's builds do so since 1.29: on being imported they write an identifier of the machine below the user's cache,
and send which models are opened and how often they are run, with the path of the Python that runs them. One variable
turns all of it off, and only if it is there before the library is (its `Privacy.md`, "Disabling Telemetry").
"""

from __future__ import annotations

import os
import sys

_VARIABLE = "ORT_DISABLE_TELEMETRY"


def report_nothing() -> None:
    """Turn reports off, for this process and those it starts. Who wants them sets the variable to 0 beforehand."""
    os.environ.setdefault(_VARIABLE, "1")
    loaded = sys.modules.get("onnxruntime")
    if loaded is not None and os.environ[_VARIABLE] != "0":
        loaded.disable_telemetry_events()  # it was loaded before us: what it has not yet said, it does not say
