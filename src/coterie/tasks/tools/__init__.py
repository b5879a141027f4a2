"""Chooses a function for a text and fills in its arguments, or says that none fits."""
