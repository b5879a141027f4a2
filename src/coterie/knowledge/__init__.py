"""Indexes of documents: cut into chunks, indexed by words and by meaning, searched as far as the caller may see.

Its parts are imported when they are first asked for: the process that reads files uses only those that read.
"""
