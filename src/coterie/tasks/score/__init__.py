"""Gives a probability from columns and text, with reasons."""
