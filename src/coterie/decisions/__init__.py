"""Typed questions about a state: which specialist or model answers each one, and with which probabilities."""
