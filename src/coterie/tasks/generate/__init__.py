"""Writes text that its sources support, or a reply as learned from pairs."""
