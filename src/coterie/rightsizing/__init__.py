"""How much machinery a job needs: every rung measured whole (quality, latency, memory, energy, money), and a verdict.

A large model can stand beside the rungs, by answers on file or asked through an engine that the caller opened. Nothing
here opens a connection, and nothing is stored unless asked for. Names are loaded when they are first used: the process
that measures a rung's memory holds this package, and must hold nothing else of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coterie._lazy import lazy_face

if TYPE_CHECKING:
    from ._answers import Answer, read_answers, write_answers
    from ._ask import ask_model
    from ._html import html_report
    from ._large import Held, Prices, judge_answers
    from ._probe import Probed, probe
    from ._result import ChainPoint, Comparison, Conditions, LargeRow, Per1000, RightSizing, RungRow, Verdict
    from ._rightsize import CHECKPOINTS_FOLDER, rightsize
    from ._rows import Rows, read_rows

__all__ = [
    "CHECKPOINTS_FOLDER",
    "Answer",
    "ChainPoint",
    "Comparison",
    "Conditions",
    "Held",
    "LargeRow",
    "Per1000",
    "Prices",
    "Probed",
    "RightSizing",
    "Rows",
    "RungRow",
    "Verdict",
    "ask_model",
    "html_report",
    "judge_answers",
    "probe",
    "read_answers",
    "read_rows",
    "rightsize",
    "write_answers",
]

_HOMES = {
    "CHECKPOINTS_FOLDER": "_rightsize",
    "Answer": "_answers",
    "ChainPoint": "_result",
    "Comparison": "_result",
    "Conditions": "_result",
    "Held": "_large",
    "LargeRow": "_result",
    "Per1000": "_result",
    "Prices": "_large",
    "Probed": "_probe",
    "RightSizing": "_result",
    "Rows": "_rows",
    "RungRow": "_result",
    "Verdict": "_result",
    "ask_model": "_ask",
    "html_report": "_html",
    "judge_answers": "_large",
    "probe": "_probe",
    "read_answers": "_answers",
    "read_rows": "_rows",
    "rightsize": "_rightsize",
    "write_answers": "_answers",
}

__getattr__ = lazy_face(__name__, _HOMES)
