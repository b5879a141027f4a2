"""What may be spent on models that cost money."""
