"""Trained specialists as immutable versions named by their content, with aliases for the one that serves."""
