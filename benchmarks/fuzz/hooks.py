"""What schemathesis does around each request of `served.py`: models that are there, and a line of what came of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import schemathesis

MODELS = json.loads(os.environ.get("COTERIE_FUZZ_MODELS", '["coterie"]'))


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:  # noqa: ANN401 - schemathesis' own
    """Name a model that is there, but for one time in eight: nobody guesses one, and a 404 looks at nothing else."""
    body = case.body
    if isinstance(body, dict) and "model" in body and (chosen := len(str(body))) % 8:
        case.body = body | {"model": MODELS[chosen % len(MODELS)]}


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:  # noqa: ANN401 - schemathesis' own
    """Note the operation, the status and the seconds."""
    seconds = response.elapsed if isinstance(response.elapsed, float) else response.elapsed.total_seconds()
    with Path(os.environ["COTERIE_FUZZ_LOG"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps([case.operation.label, response.status_code, seconds]) + "\n")
