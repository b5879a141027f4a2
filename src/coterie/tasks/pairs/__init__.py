"""Decide what a document says of a statement, with the clauses that decide it."""
