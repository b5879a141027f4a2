"""The shared context: which entries are valid, who may see them, and which part of them a specialist is shown."""
