"""Experiments beside the product: they import `coterie`, never the reverse, and the wheel leaves them out."""
