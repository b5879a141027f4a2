"""Answers in the form of a JSON schema: reads schemas, checks values, and fills schemas from specialists."""
