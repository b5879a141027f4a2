"""Narrow models with one task each: they answer, or abstain and say why."""
