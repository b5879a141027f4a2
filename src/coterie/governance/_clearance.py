"""The one rule of the egress gate: nothing goes where its label is above the clearance."""

from __future__ import annotations

from coterie.types import Flow, Label, Verdict


class ClearancePolicy:
    """Allows a flow whose label is at most the destination's clearance."""

    RULE = "egress.clearance"

    def judge(self, flow: Flow) -> Verdict:
        """Allowed or not, and why in words."""
        label, clearance = Label(flow.label), Label(flow.clearance)
        allowed = label <= clearance
        relation = "within" if allowed else "above"
        reason = f"{label.value} data is {relation} the clearance of {flow.destination!r}, which is {clearance.value}"
        return Verdict(allowed=allowed, rule=self.RULE, reason=reason)
