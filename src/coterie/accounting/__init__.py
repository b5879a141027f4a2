"""What an answer costs: joules and money for every step, and the totals for people and scripts."""

from ._meter import JOULES_PER_TOKEN, CostMeter, token_money
from ._report import format_money, summary_json

__all__ = ["JOULES_PER_TOKEN", "CostMeter", "format_money", "summary_json", "token_money"]
