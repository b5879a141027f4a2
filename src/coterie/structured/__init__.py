"""Answers in the form of a JSON schema: reading schemas, checking values, what specialists can fill in."""
