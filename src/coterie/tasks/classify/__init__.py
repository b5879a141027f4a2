"""Names the label, or labels, of a text."""
