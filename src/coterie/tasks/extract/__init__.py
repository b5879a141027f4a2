"""Finds typed fields in a text, each with its quote."""
