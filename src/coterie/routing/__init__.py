"""Routing: the learned router, its profiles of the specialists, and the order in which they run."""
