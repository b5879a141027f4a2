"""Typed questions about a state: who answers each one, and with which probabilities."""
