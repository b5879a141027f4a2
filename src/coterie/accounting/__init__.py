"""What an answer costs: joules and money for every step, and the totals for people and scripts."""

from ._breakdown import Reporting, breakdown_csv, breakdown_json, row_json
from ._cards import CallEnergy, CardMeter, Cards, open_cards
from ._html import report_html
from ._meter import FRAME_TOKENS, JOULES_PER_TOKEN, CostMeter, most_read, token_money
from ._overhead import OVERHEAD, Attendance, Overhead
from ._rapl import POWERCAP, PackageMeter
from ._remote_energy import Joules, generation_joules, remote_joules
from ._report import format_money, summary_json
from ._tokens import fewest_tokens

__all__ = [
    "FRAME_TOKENS",
    "JOULES_PER_TOKEN",
    "OVERHEAD",
    "POWERCAP",
    "Attendance",
    "CallEnergy",
    "CardMeter",
    "Cards",
    "CostMeter",
    "Joules",
    "Overhead",
    "PackageMeter",
    "Reporting",
    "breakdown_csv",
    "breakdown_json",
    "fewest_tokens",
    "format_money",
    "generation_joules",
    "most_read",
    "open_cards",
    "remote_joules",
    "report_html",
    "row_json",
    "summary_json",
    "token_money",
]
