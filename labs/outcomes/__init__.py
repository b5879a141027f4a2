"""Experiments on recorded outcomes: which model a prompt should go to, and what that would have cost."""
