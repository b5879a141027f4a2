"""What an answer costs: joules and money for every step, and the totals for people and scripts."""

from ._meter import FRAME_TOKENS, JOULES_PER_TOKEN, CostMeter, most_read, token_money
from ._overhead import OVERHEAD, Attendance, Overhead
from ._report import format_money, summary_json

__all__ = [
    "FRAME_TOKENS",
    "JOULES_PER_TOKEN",
    "OVERHEAD",
    "Attendance",
    "CostMeter",
    "Overhead",
    "format_money",
    "most_read",
    "summary_json",
    "token_money",
]
