"""Sharing what is known: what still stands, who may see it, and which part of it one specialist is shown, and why."""
