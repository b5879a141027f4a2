"""Indexes of documents: cut into chunks, indexed by words and by meaning, searched within the caller's clearance.

The submodules are imported on first use: the process that reads files uses only the parsers.
"""
