"""When a finding is accepted, and the reason in words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """When a finding is accepted: fitted in training, stored with the version."""

    temperature: float
    """Logits are divided by it."""
    threshold: float | None
    """Lowest confidence accepted; None accepts nothing."""
    target_risk: float
    """Share of wrong answers among accepted ones that the threshold holds."""
    scope_threshold: float | None
    """Lowest in-scope score accepted; None accepts any."""

    def judge(self, confidence: float, in_scope: float | None) -> tuple[bool, str]:
        """Accepted or not, and why in words."""
        if self.scope_threshold is not None and in_scope is not None and in_scope < self.scope_threshold:
            return False, (
                f"unlike anything it was trained on (in-scope score {in_scope:.2f}, needs {self.scope_threshold:.2f})"
            )
        if self.threshold is None:
            return False, f"no confidence level keeps the error at {self.target_risk:.0%} or below, so it never decides"
        if confidence < self.threshold:
            return False, f"not sure enough (confidence {confidence:.2f}, needs {self.threshold:.2f})"
        return True, (
            f"confidence {confidence:.2f} reaches {self.threshold:.2f}, which keeps the error at {self.target_risk:.0%} or below"
        )
