"""Narrow models with one task each: a specialist answers, or abstains and gives a reason."""
