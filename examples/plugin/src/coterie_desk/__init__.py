"""A task, an engine and a detector for Coterie."""
