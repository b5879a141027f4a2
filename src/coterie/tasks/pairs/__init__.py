"""Decides what a document says about a statement, and gives the clauses that decide it."""
