"""What may leave this process, decided by a rule that the code cannot walk around."""

from __future__ import annotations

from ._clearance import ClearancePolicy
from ._egress import Gate

__all__ = ["ClearancePolicy", "Gate"]
