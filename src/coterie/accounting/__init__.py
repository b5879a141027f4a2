"""What an answer costs: joules and money for every step, and the totals for people and scripts."""

from ._meter import CostMeter
from ._report import format_money, summary_json

__all__ = ["CostMeter", "format_money", "summary_json"]
