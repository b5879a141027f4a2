"""The large model above the small ones: its input, the limits of its output, and the handling of its failures."""
