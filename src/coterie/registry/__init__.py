"""Trained specialists as immutable versions named by their content, with aliases for the version in service."""
